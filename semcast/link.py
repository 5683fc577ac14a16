"""One link, both ends: a frame's semantics to a radio frame, and back.

A radio frame is laid out at set-up:

    pilots (fixed) | control (fixed, absent where no part needs any) | one block per part

Pilots, control and parts of fixed size follow from `SessionSetup`; the sizes of other parts are in
the control block. The rung of the ladder is never sent: the receiver asks for it in its feedback on
frame k, and both ends use it from frame k + feedback_delay_frames on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semcast.air import crc, digital, ladder
from semcast.air.control import (
    CRC_KIND,
    DESIGN_SNR_DB,
    ControlLayout,
    decode_control,
    encode_control,
)
from semcast.air.estimator import LinkEstimator
from semcast.air.ladder import LADDER, Rung
from semcast.air.pilots import pilot_symbols
from semcast.errors import InputError
from semcast.parts import PartReceiver, PartSender, block_key
from semcast.parts.djscc import DjsccReceiver, DjsccSender, check_rate
from semcast.parts.lowres import LowresReceiver, LowresSender
from semcast.parts.video import VideoReceiver, VideoSender
from semcast.schemes import Scheme, find_scheme, resolve_mcs
from semcast.session import (
    RUNG_REPORT_BITS,
    SNR_REPORT_BITS,
    Block,
    ChannelModel,
    Feedback,
    Modality,
    RadioFrame,
    SessionSetup,
    quantise_snr_db,
)

CONTROL_MARGIN_DB = 4.0
"""Control is laid out to hold this far below the rung of a session whose rung is fixed; ours."""

FADE_MARGIN_DB = 6.0
"""Below the mean SNR in Rayleigh fading: 22 % of frames fade deeper (1 - exp(-10^-0.6)); ours."""

_ESTIMATE_WINDOW_S = 2.0
_NUM_CONSTELLATION_POINTS = 128


@dataclass(frozen=True, slots=True)
class SentFrame:
    """A radio frame and what it cost."""

    radio: RadioFrame
    symbols_by_modality: dict[Modality, int]
    payload_bits_by_modality: dict[Modality, int]
    information_bits: int


@dataclass(frozen=True, slots=True)
class ReceivedFrame:
    """What the receiver read from one radio frame.

    pictures: per modality that came anew, [h, w, 3], uint8, RGB.
    complete: nothing that was sent is missing.
    constellation: [n], complex64, equalised payload symbols (a sample of them).
    """

    sequence: int
    pts_us: int
    feedback: Feedback
    snr_db: float
    rung: Rung
    pictures: dict[Modality, NDArray[np.uint8]]
    complete: bool
    checked: tuple[Modality, ...]
    crc_failed: tuple[Modality, ...]
    constellation: NDArray[np.complex64]


@dataclass(frozen=True, slots=True)
class Grid:
    """What both ends derive from the set-up alone.

    part_symbols: symbols of each part (average where control gives the size).
    fixed_rung: the rung of a session with a set rung; None where feedback chooses.
    slowest_rung: the most robust rung at which every part still has the bits it needs at least.
    """

    scheme: Scheme
    control: ControlLayout | None
    part_symbols: dict[Modality, int]
    fixed_rung: Rung | None
    slowest_rung: Rung

    @property
    def control_symbols(self) -> int:
        """Symbols of the control block."""
        return self.control.num_symbols if self.control else 0


def plan_grid(setup: SessionSetup) -> Grid:
    """Lays out the radio frame.

    Raises InputError where the rate is too small for what the scheme sends.
    """
    scheme = find_scheme(setup.scheme)
    receivers = [_RECEIVERS[modality] for modality in scheme.modalities]
    fields = [field for receiver in receivers for field in receiver.control_fields]
    mcs = resolve_mcs(scheme, setup.mcs)
    fixed_rung = None if mcs == "auto" else ladder.rung(mcs)
    # Control must hold where no part does any more, and need not hold far below.
    design_snr_db = (fixed_rung or LADDER[0]).min_snr_db - CONTROL_MARGIN_DB
    design_snr_db = max(DESIGN_SNR_DB, design_snr_db)
    control = ControlLayout(tuple(fields), design_snr_db) if fields else None
    overhead = setup.pilots_per_frame + (control.num_symbols if control else 0)

    share = max(0, setup.symbols_per_frame - overhead) // len(scheme.modalities)
    if Modality.KEYFRAME in scheme.modalities:
        check_rate(setup, share)
    least_bits = max(receiver.least_payload_bits for receiver in receivers)
    usable = [rung for rung in LADDER if digital.payload_bits(share, rung) >= least_bits]
    needed = fixed_rung or ladder.rung(_SLOWEST_USABLE_AT_MOST)
    if needed not in usable:
        symbols = overhead + len(receivers) * digital.num_symbols(least_bits, needed)
        cbr = 1.05 * symbols / (3 * setup.width * setup.height)
        raise InputError(
            f"{setup.symbols_per_frame} symbols a frame are too few for '{scheme.id}': pilots and "
            f"control take {overhead}, and a frame needs {least_bits} bits at {needed.id}; give a "
            f"CBR of at least {cbr:.2g} at this size."
        )
    return Grid(
        scheme=scheme,
        control=control,
        part_symbols=dict.fromkeys(scheme.modalities, share),
        fixed_rung=fixed_rung,
        slowest_rung=fixed_rung or usable[0],
    )


def _as_long_as(block: NDArray[np.complex64] | None, num_symbols: int) -> NDArray[np.complex64]:
    """The samples that control says are this part's, whatever was really sent.

    A receiver on the air would read exactly these, so that a false control word shows only in a
    CRC that fails and never in the length of a message. Where nothing was sent it would read noise;
    zeros stand for it, which no decoder takes for a block.
    """
    read = np.zeros(num_symbols, np.complex64)
    if block is not None:
        kept = block[:num_symbols]
        read[: len(kept)] = kept
    return read


_SLOWEST_USABLE_AT_MOST = "qpsk-1/2"
"""A session whose slowest rung were faster than this would not work below about 5 dB."""

_RECEIVERS: dict[Modality, type[LowresReceiver] | type[VideoReceiver] | type[DjsccReceiver]] = {
    Modality.KEYFRAME: DjsccReceiver,
    Modality.LOWRES: LowresReceiver,
    Modality.VIDEO: VideoReceiver,
}


class _RungClock:
    """The rung in force for each frame, from feedback; the same at both ends."""

    def __init__(self, setup: SessionSetup, grid: Grid) -> None:
        self._delay_frames = setup.feedback_delay_frames
        self._fixed = grid.fixed_rung
        self._slowest = grid.slowest_rung
        self._asked: dict[int, Rung] = {}

    def ask(self, sequence: int, rung: Rung) -> None:
        if self._fixed:
            return
        self._asked[sequence + self._delay_frames] = rung

    def rung(self, sequence: int) -> Rung:
        """The slowest usable rung before any feedback is in force."""
        if self._fixed:
            return self._fixed
        return self._asked.pop(sequence, self._slowest)


class LinkSender:
    """Transmitter end of a link. One frame in, one radio frame out; looks no frame ahead."""

    def __init__(self, setup: SessionSetup) -> None:
        self._setup = setup
        self._grid = plan_grid(setup)
        self._rungs = _RungClock(setup, self._grid)
        self._parts: list[PartSender] = [
            self._part(modality, num) for modality, num in self._grid.part_symbols.items()
        ]
        self._waiting: dict[int, Feedback] = {}
        self._snr_db: float | None = None
        self._next_sequence = 0

    def _part(self, modality: Modality, num_symbols: int) -> PartSender:
        codec = self._grid.scheme.video_codec
        rung = self._grid.fixed_rung
        if modality == Modality.VIDEO and codec and rung:
            return VideoSender(self._setup, num_symbols, codec, rung)
        if modality == Modality.KEYFRAME:
            return DjsccSender(self._setup, num_symbols)
        return LowresSender(self._setup, num_symbols, self._grid.slowest_rung)

    @property
    def next_sequence(self) -> int:
        """Sequence number of the frame `encode` makes next."""
        return self._next_sequence

    @property
    def may_encode(self) -> bool:
        """Whether the feedback that the next frame depends on has come (this is the credit)."""
        due = self._next_sequence - self._setup.feedback_delay_frames
        return due < 0 or due in self._waiting

    def feedback(self, feedback: Feedback) -> None:
        """Keeps feedback until the frame it governs. Other generations' is dropped."""
        if feedback.generation == self._setup.generation:
            self._waiting[feedback.sequence] = feedback

    def encode(self, rgb: NDArray[np.uint8], pts_us: int) -> SentFrame:
        """Radio frame for the next video frame. rgb: [H, W, 3], uint8, of the set-up's size."""
        setup, sequence = self._setup, self._next_sequence
        self._apply_feedback(sequence - setup.feedback_delay_frames)
        self._next_sequence += 1
        rung = self._rungs.rung(sequence)
        pilots = pilot_symbols(setup.pilots_per_frame, setup.seed, sequence)
        blocks = [Block(Modality.PILOT, pilots)]
        payload_bits: dict[Modality, int] = {}
        information_bits = 0
        parts = [
            (part.modality, part.encode(rgb, sequence, rung, self._snr_db)) for part in self._parts
        ]
        if self._grid.control:
            values = {name: value for _, part in parts for name, value in part.control.items()}
            key = block_key(setup.seed, sequence, Modality.CONTROL)
            samples = encode_control(values, self._grid.control, key)
            blocks.append(Block(Modality.CONTROL, samples))
            payload_bits[Modality.CONTROL] = self._grid.control.num_bits
            information_bits += self._grid.control.num_bits + crc.length_bits(CRC_KIND)
        for modality, part in parts:
            payload_bits[modality] = part.payload_bits
            information_bits += part.payload_bits + part.crc_bits
            if len(part.samples):
                blocks.append(Block(modality, part.samples))
        return SentFrame(
            radio=RadioFrame(setup.generation, sequence, pts_us, tuple(blocks)),
            symbols_by_modality={block.modality: len(block.samples) for block in blocks},
            payload_bits_by_modality=payload_bits,
            information_bits=information_bits,
        )

    def _apply_feedback(self, sequence: int) -> None:
        if sequence < 0:
            return
        feedback = self._waiting.pop(sequence)
        if feedback.rung_index >= len(LADDER):
            raise InputError(f"Feedback asks for rung {feedback.rung_index}, past the ladder.")
        self._rungs.ask(sequence, LADDER[feedback.rung_index])
        self._snr_db = feedback.snr_db
        for part in self._parts:
            part.acknowledge(sequence, part.modality in feedback.received)


class LinkReceiver:
    """Receiver end of a link: what the symbols say, and nothing else."""

    def __init__(self, setup: SessionSetup) -> None:
        self._setup = setup
        self._grid = plan_grid(setup)
        self._rungs = _RungClock(setup, self._grid)
        self._asked = self._grid.slowest_rung
        self._parts: list[PartReceiver] = [
            self._part(modality, num) for modality, num in self._grid.part_symbols.items()
        ]
        self._fading = setup.channel_model == ChannelModel.RAYLEIGH
        self._estimator = LinkEstimator(
            window_frames=max(1, round(_ESTIMATE_WINDOW_S * setup.fps)), fading=self._fading
        )
        self._next_sequence = 0

    def _part(self, modality: Modality, num_symbols: int) -> PartReceiver:
        codec = self._grid.scheme.video_codec
        if modality == Modality.VIDEO and codec:
            return VideoReceiver(self._setup, num_symbols, codec)
        if modality == Modality.KEYFRAME:
            return DjsccReceiver(self._setup, num_symbols)
        return LowresReceiver(self._setup, num_symbols, self._grid.slowest_rung)

    def receive(self, frame: RadioFrame) -> ReceivedFrame:
        """Decodes the next radio frame.

        Raises InputError for a frame that cannot be of this session: wrong generation, out of
        order, a fixed block of the wrong size, samples that are not finite.
        """
        setup = self._setup
        samples = self._check(frame)
        sequence = self._next_sequence
        self._next_sequence += 1
        rung = self._rungs.rung(sequence)
        estimator = self._estimator
        pilots = pilot_symbols(setup.pilots_per_frame, setup.seed, sequence)
        estimator.observe_pilots(samples[Modality.PILOT], pilots)

        failed: list[Modality] = []
        checked: list[Modality] = []
        control: Mapping[str, int] | None = {}
        if self._grid.control:
            checked.append(Modality.CONTROL)
            equalised, noise_var = self._equalise(samples[Modality.CONTROL])
            key = block_key(setup.seed, sequence, Modality.CONTROL)
            control = decode_control(equalised, noise_var, self._grid.control, key)
            if control is None:
                failed.append(Modality.CONTROL)

        pictures: dict[Modality, NDArray[np.uint8]] = {}
        received: set[Modality] = set()
        seen: list[NDArray[np.complex64]] = []
        for part in self._parts:
            if control is None:
                part.lost(sequence)
                continue
            block = _as_long_as(samples.get(part.modality), part.num_symbols(control))
            equalised, noise_var = self._equalise(block)
            seen.append(equalised)
            result = part.decode(equalised, noise_var, sequence, rung, control)
            if result.expected:
                checked.append(part.modality)
                if result.resent is None:
                    failed.append(part.modality)
            if result.ok:
                received.add(part.modality)
            if result.picture is not None:
                pictures[part.modality] = result.picture
            if result.resent is not None:
                estimator.observe_resent(block, result.resent)
            elif not part.control_fields and not self._fading:
                # Not known, but of unit power when sent: tells the noise where little else does.
                estimator.observe_blind(block)

        feedback = self._feedback(sequence, frozenset(received))
        return ReceivedFrame(
            sequence=sequence,
            pts_us=frame.pts_us,
            feedback=feedback,
            snr_db=estimator.mean_snr_db,
            rung=rung,
            pictures=pictures,
            complete=len(received) == len(self._parts),
            checked=tuple(checked),
            crc_failed=tuple(failed),
            constellation=np.concatenate([*seen, np.empty(0, np.complex64)])[
                :_NUM_CONSTELLATION_POINTS
            ],
        )

    def _equalise(self, block: NDArray[np.complex64]) -> tuple[NDArray[np.complex64], float]:
        """Divides out the gain; noise_var is that of the result, per complex symbol."""
        gain = self._estimator.gain
        power = max(abs(gain) ** 2, 1e-6)
        equalised = (block * (np.conj(gain) / power)).astype(np.complex64)
        return equalised, self._estimator.noise_var / power

    def _feedback(self, sequence: int, received: frozenset[Modality]) -> Feedback:
        snr_db = quantise_snr_db(self._estimator.mean_snr_db)
        if self._grid.fixed_rung is None:
            safe_db = snr_db - FADE_MARGIN_DB if self._fading else snr_db
            picked = ladder.pick_rung(safe_db, self._asked)
            self._asked = max(picked, self._grid.slowest_rung, key=lambda rung: rung.index)
        self._rungs.ask(sequence, self._asked)
        adaptive_bits = RUNG_REPORT_BITS if self._grid.fixed_rung is None else 0
        return Feedback(
            generation=self._setup.generation,
            sequence=sequence,
            received=received,
            rung_index=self._asked.index,
            snr_db=snr_db,
            num_bits=len(self._parts) + adaptive_bits + SNR_REPORT_BITS,
        )

    def _check(self, frame: RadioFrame) -> dict[Modality, NDArray[np.complex64]]:
        if frame.generation != self._setup.generation or frame.sequence != self._next_sequence:
            raise InputError(
                f"Radio frame {frame.generation}/{frame.sequence} came where "
                f"{self._setup.generation}/{self._next_sequence} was due: send frames in order."
            )
        samples = {block.modality: block.samples for block in frame.blocks}
        fixed = {Modality.PILOT: self._setup.pilots_per_frame}
        for part in self._parts:
            if not part.control_fields:
                fixed[part.modality] = part.num_symbols({})
        if self._grid.control:
            fixed[Modality.CONTROL] = self._grid.control_symbols
        for modality, num_symbols in fixed.items():
            if len(samples.get(modality, ())) != num_symbols:
                raise InputError(
                    f"A {modality.label} block of {len(samples.get(modality, ()))} symbols came "
                    f"where the set-up fixes {num_symbols}."
                )
        if not all(np.isfinite(block).all() for block in samples.values()):
            raise InputError("A radio frame holds samples that are not finite numbers.")
        return samples
