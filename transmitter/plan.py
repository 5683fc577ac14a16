"""From what a caller asks for to the set-up of each leg: pure decisions, every value checked."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import ValidationError

from semcast.errors import InputError
from semcast.generators import check_generator
from semcast.link import plan_grid
from semcast.parts.learned import codec_weights
from semcast.rpc.limits import MAX_SYMBOLS_PER_FRAME
from semcast.rpc.messages import channel_model_from_proto, setup_from_proto, setup_to_proto
from semcast.schemes import Scheme, find_scheme, resolve_mcs, symbols_per_frame
from semcast.session import ChannelModel, Modality, SessionSetup
from semcast.v1 import link_pb2, transmitter_pb2
from transmitter.extraction import NO_CAPTIONER, ExtractorNames
from transmitter.extractors.captioner import wants_captioner
from transmitter.extractors.hub_captioners import installed_captioner

MAIN_LEG = "main"
BASELINE_LEG = "baseline"

SNR_MIN_DB, SNR_MAX_DB = -30.0, 60.0
"""Beyond these the emulator's arithmetic means nothing any more."""

_SEED_END = 2**63
_BURST_BOUNDS_FRAMES = {"burst_frames_mean": (1, 10_000), "gap_frames_mean": (2, 10_000)}
"""What the emulator takes; 0, not set, takes its default."""

MAX_PIXELS = 2_700_000
"""A frame's source and received picture must fit one gRPC message (16 MiB) together."""


@dataclass(frozen=True, slots=True)
class LegPlan:
    """One link of a session. cbr: its target. caption, extractors: what its frames mean."""

    name: str
    setup: SessionSetup
    cbr: float
    caption: str = ""
    extractors: ExtractorNames = field(default_factory=ExtractorNames)


def session_id_of(session_id: str, leg: str) -> str:
    """Id under which a leg is known to channel and receiver."""
    return session_id if leg == MAIN_LEG else f"{session_id}.{leg}"


def plan_legs(spec: transmitter_pb2.SessionSpec) -> list[LegPlan]:
    """Set-ups of the main leg and of the baseline, which gets the same CBR.

    Raises InputError (NotFoundError for an unknown name) saying which value cannot be.
    """
    check_channel(spec.channel)
    if spec.width_px * spec.height_px > MAX_PIXELS:
        raise InputError(
            f"{spec.width_px}x{spec.height_px} is too large: at most {MAX_PIXELS} pixels a frame."
        )
    main = find_scheme(spec.scheme)
    cbr = spec.cbr or main.default_cbr
    names = {MAIN_LEG: main}
    if spec.baseline_scheme:
        names[BASELINE_LEG] = find_scheme(spec.baseline_scheme)
    plans = []
    for leg, scheme in names.items():
        mcs = resolve_mcs(scheme, spec.mcs if leg == MAIN_LEG else "")
        generator, steps, guidance = "passthrough", 0, 0.0
        if leg == MAIN_LEG:
            generator, steps, guidance = spec.generator, spec.generator_steps, spec.guidance
        check_generator(generator, scheme)
        try:
            setup = SessionSetup(
                session_id=session_id_of(spec.session_id, leg),
                scheme=scheme.id,
                width=spec.width_px,
                height=spec.height_px,
                fps=spec.frames_per_second,
                segment_frames=spec.segment_frames,
                symbols_per_frame=symbols_per_frame(cbr, spec.width_px, spec.height_px),
                mcs=mcs,
                seed=spec.seed,
                generator=generator,
                feedback_delay_frames=spec.feedback_delay_frames or 1,
                channel_model=ChannelModel(spec.channel.model),
                live=spec.paced,
                measurement_tap=spec.measurement_tap,
                codec_weights=codec_weights(scheme.learned),
                generator_steps=steps,
                guidance=guidance,
            )
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InputError(f"The value for {where} cannot be: {first['msg']}.") from error
        if setup.symbols_per_frame > MAX_SYMBOLS_PER_FRAME:
            raise InputError(
                f"CBR {cbr:g} makes {setup.symbols_per_frame} symbols a frame at this size: "
                f"at most {MAX_SYMBOLS_PER_FRAME} can be sent."
            )
        # What the next hop would refuse is refused before anything starts.
        setup_from_proto(setup_to_proto(setup))
        plan_grid(setup)
        plans.append(LegPlan(leg, setup, cbr, spec.caption, _extractors(spec, scheme)))
    return plans


def _extractors(spec: transmitter_pb2.SessionSpec, scheme: Scheme) -> ExtractorNames:
    bundled = ExtractorNames()
    captioner = NO_CAPTIONER
    # The hub's cache is only looked into where a captioner would be listened to.
    if Modality.CAPTION in scheme.modalities and wants_captioner(spec.caption, None):
        installed = None if spec.captioner else installed_captioner()
        captioner = installed.name if installed else spec.captioner or NO_CAPTIONER
    return ExtractorNames(
        segmenter=spec.segmenter or bundled.segmenter,
        sketcher=spec.sketcher or bundled.sketcher,
        captioner=captioner,
    )


def check_channel(channel: link_pb2.ChannelSettings) -> None:
    """Raises InputError for a channel that cannot be emulated."""
    if not SNR_MIN_DB <= channel.snr_db <= SNR_MAX_DB:
        raise InputError(
            f"SNR {channel.snr_db:g} dB is out of range: {SNR_MIN_DB:g} to {SNR_MAX_DB:g} dB."
        )
    channel_model_from_proto(channel.model)
    if channel.seed >= _SEED_END:
        raise InputError(f"The channel's seed {channel.seed} is out of range: 0 to 2^63 - 1.")
    for name, (least, most) in _BURST_BOUNDS_FRAMES.items():
        frames = getattr(channel, name)
        if frames != 0 and not least <= frames <= most:
            raise InputError(f"The channel's {name} {frames:g} is out of range: {least} to {most}.")
