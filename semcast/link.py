"""One link, both ends: a frame's semantics to a radio frame, and back.

A radio frame is laid out at set-up:

    pilots (fixed) | control (fixed, absent where no part needs any) | one block per part

Pilots, control and parts of fixed size follow from `SessionSetup`; the sizes of other parts are in
the control block, or found by trying (captions). Neither the rung of the ladder nor the scheme that
`auto` has picked is ever sent: the receiver says rung and SNR in its feedback on frame k, and both
ends act on it from frame k + feedback_delay_frames on.
"""

from __future__ import annotations

import math
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
from semcast.parts import PartReceiver, PartSender, SentPart, block_key
from semcast.parts.bundle import (
    BUNDLED,
    BundleReceiver,
    BundleSender,
    air_modality,
    least_payload_bits,
)
from semcast.parts.caption import CaptionReceiver, CaptionSender, sizes_that_fit
from semcast.parts.learned import LearnedReceiver, LearnedSender, check_rate
from semcast.parts.video import LEAST_VIDEO_BITS, VIDEO_CONTROL, VideoReceiver, VideoSender
from semcast.policy import Choice, pick_scheme
from semcast.schemes import SCHEMES, Scheme, find_scheme, resolve_mcs
from semcast.semantics import Received, Semantics
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

HEAD_MARGIN_DB = 3.0
"""The head of analogue symbols is sent at a rung safe this far below the SNR; ours. At ten SNRs
from -5 to 20 dB one of 40,000 heads of 8 bits was lost, and none of 110,000 larger ones."""

_LEAST_PILOT_CORRELATION = 0.4
"""A frame whose pilots are less like those sent was lost in a burst: 1 is expected of one that was
not, 0 of one that was, with a deviation of 0.31 at -5 dB and 0.06 at 10 dB; ours."""

_SAFE_DB = 0.5
"""What the ladder asks for above a rung's SNR."""

_ESTIMATE_WINDOW_S = 2.0
_NUM_CONSTELLATION_POINTS = 128


@dataclass(frozen=True, slots=True)
class SentFrame:
    """A radio frame and what it cost.

    Symbols of a block that several modalities share are counted in proportion to their bits.
    scheme_id: in force for this frame. means: what it says, as the receiver will read it.
    """

    radio: RadioFrame
    scheme_id: str
    means: Received
    symbols_by_modality: dict[Modality, int]
    payload_bits_by_modality: dict[Modality, int]
    information_bits: int


@dataclass(frozen=True, slots=True)
class ReceivedFrame:
    """What the receiver read from one radio frame.

    came: semantics that came anew. scheme_id: in force for this frame.
    complete: nothing that was sent is missing.
    constellation: [n], complex64, equalised payload symbols (a sample of them).
    """

    sequence: int
    pts_us: int
    feedback: Feedback
    snr_db: float
    rung: Rung
    scheme_id: str
    came: Received
    complete: bool
    checked: tuple[Modality, ...]
    crc_failed: tuple[Modality, ...]
    constellation: NDArray[np.complex64]


@dataclass(frozen=True, slots=True)
class Grid:
    """What both ends derive from the set-up alone.

    part_symbols: symbols of each part's block, by its modality on the air (average where control
        gives the size; of a caption and of learned pictures, all that a segment may spend).
    bundled: modalities that share a block.
    schemes: that may be in force: the session's own, or those that `auto` picks among.
    choices: from where `auto` takes each; empty for other schemes.
    fixed_rung: the rung of a session with a set rung; None where feedback chooses.
    slowest_rung: the most robust rung at which every part still has the bits it needs at least.
    """

    scheme: Scheme
    control: ControlLayout | None
    part_symbols: dict[Modality, int]
    bundled: tuple[Modality, ...]
    schemes: dict[str, frozenset[Modality]]
    choices: tuple[Choice, ...]
    fixed_rung: Rung | None
    slowest_rung: Rung

    @property
    def control_symbols(self) -> int:
        """Symbols of the control block."""
        return self.control.num_symbols if self.control else 0

    @property
    def block_symbols(self) -> int | None:
        """Size of the shared block; None where there is none. Sizes what a rung needs."""
        return self.part_symbols[air_modality(self.bundled)] if self.bundled else None

    def parts(self, scheme_id: str) -> dict[Modality, frozenset[Modality]]:
        """The parts that send while a scheme is in force, and what each sends."""
        sent = self.schemes[scheme_id]
        shares = {
            modality: sent & (set(self.bundled) if modality in self.bundled else {modality})
            for modality in self.part_symbols
        }
        return {modality: share for modality, share in shares.items() if share}

    def is_analogue(self, modality: Modality) -> bool:
        """Whether a part's block is a picture straight to symbols."""
        return self.scheme.learned is not None and modality == self.scheme.learned.modality

    def rung_of(self, modality: Modality, terms: _Terms) -> Rung:
        """The rung of a part's bits: of analogue ones, what their head is sent at."""
        return terms.safe_rung if self.is_analogue(modality) else terms.rung

    def holds(self, scheme_id: str, rung: Rung) -> bool:
        """Whether the shared block has the bits that a scheme needs at least."""
        sent = self.schemes[scheme_id] & set(self.bundled)
        if not sent:
            return True
        num_bits = digital.payload_bits(self.block_symbols or 0, rung)
        return num_bits >= least_payload_bits(sent)


def plan_grid(setup: SessionSetup) -> Grid:
    """Lays out the radio frame.

    Raises InputError where the rate is too small for what the scheme sends.
    """
    scheme = find_scheme(setup.scheme)
    mcs = resolve_mcs(scheme, setup.mcs)
    fixed_rung = None if mcs == "auto" else ladder.rung(mcs)
    # Control must hold where no part does any more, and need not hold far below.
    design_snr_db = (fixed_rung or LADDER[0]).min_snr_db - CONTROL_MARGIN_DB
    design_snr_db = max(DESIGN_SNR_DB, design_snr_db)
    sends_video = Modality.VIDEO in scheme.modalities
    control = ControlLayout(VIDEO_CONTROL, design_snr_db) if sends_video else None
    overhead = setup.pilots_per_frame + (control.num_symbols if control else 0)
    available = max(0, setup.symbols_per_frame - overhead)

    analogue = scheme.learned.modality if scheme.learned else None
    bundled = tuple(m for m in BUNDLED if m in scheme.modalities and m != analogue)
    part_symbols: dict[Modality, int] = {}
    if Modality.CAPTION in scheme.modalities:
        beside = (bundled or scheme.learned) and not scheme.choices
        share = scheme.caption_share if beside else 1.0
        part_symbols[Modality.CAPTION] = int(share * available * setup.segment_frames)
        if not sizes_that_fit(part_symbols[Modality.CAPTION]):
            raise _too_few(setup, overhead, "a caption has no room")
        available -= int(share * available) if beside else 0
    if bundled:
        part_symbols[air_modality(bundled)] = available
    if sends_video:
        part_symbols[Modality.VIDEO] = available
    if scheme.learned:
        segment_symbols = available * setup.segment_frames
        part_symbols[scheme.learned.modality] = segment_symbols
        check_rate(setup, scheme.learned, segment_symbols, overhead)

    schemes = {name: SCHEMES[name] for name in scheme.choices} or {setup.scheme: scheme}
    least_bits = LEAST_VIDEO_BITS if sends_video else 0
    if bundled:
        needs = [
            least_payload_bits(frozenset(s.modalities) & set(bundled)) for s in schemes.values()
        ]
        least_bits = min(bits for bits in needs if bits)
    usable = [r for r in LADDER if digital.payload_bits(available, r) >= least_bits]
    needed = fixed_rung or ladder.rung(_SLOWEST_USABLE_AT_MOST)
    if needed not in usable:
        symbols = overhead + digital.num_symbols(least_bits, needed)
        raise _too_few(setup, overhead, f"a frame needs {least_bits} bits at {needed.id}", symbols)
    choices = tuple(
        Choice(name, _good_from_db(s.good_from_bits, available))
        for name, s in schemes.items()
        if scheme.choices
    )
    return Grid(
        scheme=scheme,
        control=control,
        part_symbols=part_symbols,
        bundled=bundled,
        schemes={name: frozenset(s.modalities) for name, s in schemes.items()},
        choices=choices,
        fixed_rung=fixed_rung,
        slowest_rung=fixed_rung or usable[0],
    )


def _too_few(setup: SessionSetup, overhead: int, why: str, symbols: int = 0) -> InputError:
    advice = "a larger CBR"
    if symbols:
        cbr = 1.05 * symbols / (3 * setup.width * setup.height)
        advice = f"a CBR of at least {cbr:.2g} at this size"
    return InputError(
        f"{setup.symbols_per_frame} symbols a frame are too few for '{setup.scheme}': pilots and "
        f"control take {overhead}, and {why}; give {advice}."
    )


def _good_from_db(num_bits: int, num_symbols: int) -> float:
    """SNR from which so many symbols hold so many bits; -inf for none."""
    if not num_bits:
        return -math.inf
    good = (
        rung.min_snr_db_for(int(num_symbols * rung.spectral_efficiency))
        for rung in LADDER
        if digital.payload_bits(num_symbols, rung) >= num_bits
    )
    return next(good, math.inf) + _SAFE_DB


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


@dataclass(frozen=True, slots=True)
class _Terms:
    """What is in force for a frame.

    safe_rung: where there are analogue symbols, holds `HEAD_MARGIN_DB` below the SNR that feedback
    told, whatever the session's rung.
    """

    rung: Rung
    scheme_id: str
    safe_rung: Rung


class _Agreement:
    """What is in force for each frame by feedback; the same at both ends."""

    def __init__(self, setup: SessionSetup, grid: Grid) -> None:
        self._delay_frames = setup.feedback_delay_frames
        self._grid = grid
        self._asked: dict[int, tuple[Rung, float]] = {}
        self._scheme: str | None = None
        self._fading = setup.channel_model == ChannelModel.RAYLEIGH
        self._newest: tuple[int, _Terms] | None = None

    def ask(self, sequence: int, rung: Rung, snr_db: float) -> None:
        """Feedback on frame `sequence`."""
        if self._grid.fixed_rung and not self._grid.choices and not self._grid.scheme.learned:
            return
        self._asked[sequence + self._delay_frames] = rung, snr_db

    def at(self, sequence: int) -> _Terms:
        """Terms of a frame; frames in order, each as often as one likes."""
        if self._newest is None or self._newest[0] != sequence:
            self._newest = sequence, self._decide(sequence)
        return self._newest[1]

    def _decide(self, sequence: int) -> _Terms:
        grid = self._grid
        before_any = grid.slowest_rung, math.nan
        rung, snr_db = self._asked.pop(sequence, before_any)
        rung = grid.fixed_rung or rung
        safe_rung = rung
        if grid.scheme.learned:
            margin_db = HEAD_MARGIN_DB + (FADE_MARGIN_DB if self._fading else 0.0)
            safe_rung = ladder.pick_rung(snr_db - margin_db, None)
        if not grid.choices:
            return _Terms(rung, next(iter(grid.schemes)), safe_rung)
        picked = pick_scheme(snr_db, self._scheme, grid.choices)
        names = list(grid.schemes)
        held = [name for name in names[: names.index(picked) + 1] if grid.holds(name, rung)]
        # Before any feedback nothing is in use, and the first estimate may choose freely.
        self._scheme = None if math.isnan(snr_db) else held[-1]
        return _Terms(rung, held[-1], safe_rung)


def _split(num_symbols: int, bits: Mapping[Modality, int], alone: Modality) -> dict[Modality, int]:
    """Symbols of a block for each modality in it, in proportion to their bits."""
    total = sum(bits.values())
    if not total:
        return {alone: num_symbols}
    split: dict[Modality, int] = {}
    bits_so_far = symbols_so_far = 0
    for modality, num_bits in bits.items():
        bits_so_far += num_bits
        upto = round(num_symbols * bits_so_far / total)
        split[modality] = upto - symbols_so_far
        symbols_so_far = upto
    return split


class LinkSender:
    """Transmitter end of a link. One frame in, one radio frame out; looks no frame ahead."""

    def __init__(self, setup: SessionSetup) -> None:
        self._setup = setup
        self._grid = plan_grid(setup)
        self._agreement = _Agreement(setup, self._grid)
        self._parts: dict[Modality, PartSender] = {
            modality: self._part(modality, num) for modality, num in self._grid.part_symbols.items()
        }
        self._waiting: dict[int, Feedback] = {}
        self._snr_db: float | None = None
        self._next_sequence = 0

    def _part(self, modality: Modality, num_symbols: int) -> PartSender:
        grid = self._grid
        codec = grid.scheme.video_codec
        if modality == Modality.VIDEO and codec and grid.fixed_rung:
            return VideoSender(self._setup, num_symbols, codec, grid.fixed_rung)
        if grid.scheme.learned and grid.is_analogue(modality):
            return LearnedSender(self._setup, grid.scheme.learned, num_symbols)
        if modality == Modality.CAPTION:
            return CaptionSender(self._setup, num_symbols)
        return BundleSender(self._setup, grid.bundled, num_symbols)

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

    def encode(self, semantics: Semantics, pts_us: int) -> SentFrame:
        """Radio frame for the next video frame, which is of the set-up's size."""
        setup, sequence, grid = self._setup, self._next_sequence, self._grid
        self._apply_feedback(sequence - setup.feedback_delay_frames)
        self._next_sequence += 1
        terms = self._agreement.at(sequence)
        pilots = pilot_symbols(setup.pilots_per_frame, setup.seed, sequence)
        blocks = [Block(Modality.PILOT, pilots)]
        symbols: dict[Modality, int] = {Modality.PILOT: len(pilots)}
        payload_bits: dict[Modality, int] = {}
        information_bits = 0
        parts: list[tuple[Modality, SentPart]] = [
            (
                modality,
                self._parts[modality].encode(
                    semantics, sequence, grid.rung_of(modality, terms), self._snr_db, sent
                ),
            )
            for modality, sent in grid.parts(terms.scheme_id).items()
        ]
        if grid.control:
            values = {name: value for _, part in parts for name, value in part.control.items()}
            key = block_key(setup.seed, sequence, Modality.CONTROL)
            samples = encode_control(values, grid.control, key)
            blocks.append(Block(Modality.CONTROL, samples))
            symbols[Modality.CONTROL] = len(samples)
            payload_bits[Modality.CONTROL] = grid.control.num_bits
            information_bits += grid.control.num_bits + crc.length_bits(CRC_KIND)
        means = Received()
        for modality, part in parts:
            means = means.then(part.means)
            payload_bits.update(part.payload_bits)
            information_bits += sum(part.payload_bits.values()) + part.crc_bits
            if len(part.samples):
                blocks.append(Block(modality, part.samples))
                symbols.update(_split(len(part.samples), part.payload_bits, modality))
        return SentFrame(
            radio=RadioFrame(setup.generation, sequence, pts_us, tuple(blocks)),
            scheme_id=terms.scheme_id,
            means=means,
            symbols_by_modality=symbols,
            payload_bits_by_modality=payload_bits,
            information_bits=information_bits,
        )

    def _apply_feedback(self, sequence: int) -> None:
        if sequence < 0:
            return
        feedback = self._waiting.pop(sequence)
        if feedback.rung_index >= len(LADDER):
            raise InputError(f"Feedback asks for rung {feedback.rung_index}, past the ladder.")
        self._agreement.ask(sequence, LADDER[feedback.rung_index], feedback.snr_db)
        self._snr_db = feedback.snr_db
        for modality, part in self._parts.items():
            part.acknowledge(sequence, modality in feedback.received)


class LinkReceiver:
    """Receiver end of a link: what the symbols say, and nothing else."""

    def __init__(self, setup: SessionSetup) -> None:
        self._setup = setup
        self._grid = plan_grid(setup)
        self._agreement = _Agreement(setup, self._grid)
        self._asked = self._grid.slowest_rung
        self._parts: dict[Modality, PartReceiver] = {
            modality: self._part(modality, num) for modality, num in self._grid.part_symbols.items()
        }
        self._fading = setup.channel_model == ChannelModel.RAYLEIGH
        self._estimator = LinkEstimator(
            window_frames=max(1, round(_ESTIMATE_WINDOW_S * setup.fps)), fading=self._fading
        )
        self._next_sequence = 0

    def _part(self, modality: Modality, num_symbols: int) -> PartReceiver:
        grid = self._grid
        codec = grid.scheme.video_codec
        if modality == Modality.VIDEO and codec:
            return VideoReceiver(self._setup, num_symbols, codec)
        if grid.scheme.learned and grid.is_analogue(modality):
            return LearnedReceiver(self._setup, grid.scheme.learned, num_symbols)
        if modality == Modality.CAPTION:
            return CaptionReceiver(self._setup, num_symbols)
        return BundleReceiver(self._setup, grid.bundled, num_symbols)

    def receive(self, frame: RadioFrame) -> ReceivedFrame:
        """Decodes the next radio frame.

        Raises InputError for a frame that cannot be of this session: wrong generation, out of
        order, a fixed block of the wrong size, samples that are not finite.
        """
        setup, grid = self._setup, self._grid
        sequence = self._next_sequence
        samples = self._check_frame(frame)
        terms = self._agreement.at(sequence)
        parts = grid.parts(terms.scheme_id)
        self._check_sizes(samples, parts, sequence)
        self._next_sequence += 1
        estimator = self._estimator
        pilots = pilot_symbols(setup.pilots_per_frame, setup.seed, sequence)
        estimator.observe_pilots(samples[Modality.PILOT], pilots)
        heard = self._hears(samples[Modality.PILOT], pilots)

        failed: list[Modality] = []
        checked: list[Modality] = []
        control: Mapping[str, int] | None = {}
        if grid.control:
            checked.append(Modality.CONTROL)
            equalised, noise_var = self._equalise(samples[Modality.CONTROL])
            key = block_key(setup.seed, sequence, Modality.CONTROL)
            control = decode_control(equalised, noise_var, grid.control, key)
            if control is None:
                failed.append(Modality.CONTROL)

        came = Received()
        received: set[Modality] = set()
        seen: list[NDArray[np.complex64]] = []
        for modality, sent in parts.items():
            part = self._parts[modality]
            if control is None:
                part.lost(sequence)
                continue
            block = _as_long_as(samples.get(modality), part.num_symbols(control, sequence))
            equalised, noise_var = self._equalise(block)
            if grid.is_analogue(modality) or not grid.scheme.learned:
                seen.append(equalised[: len(samples.get(modality, ()))])
            if len(block) and grid.is_analogue(modality) and not heard:
                part.lost(sequence)
                checked.append(modality)
                failed.append(modality)
                continue
            rung = grid.rung_of(modality, terms)
            result = part.decode(equalised, noise_var, sequence, rung, control, sent)
            if result.expected:
                checked.extend(sorted(sent))
                if result.resent is None:
                    failed.extend(sorted(sent))
            if result.ok:
                received.add(modality)
            came = came.then(result.came)
            known = 0
            if result.resent is not None:
                known = len(result.resent)
                estimator.observe_resent(block[:known], result.resent)
            if part.fixed_size and not self._fading and (not known or grid.is_analogue(modality)):
                # Not known, but of unit power when sent: tells the noise where little else does.
                estimator.observe_blind(block[known:])

        return ReceivedFrame(
            sequence=sequence,
            pts_us=frame.pts_us,
            feedback=self._feedback(sequence, frozenset(received)),
            snr_db=estimator.mean_snr_db,
            rung=terms.rung,
            scheme_id=terms.scheme_id,
            came=came,
            complete=len(received) == len(parts),
            checked=tuple(checked),
            crc_failed=tuple(failed),
            # The last ones: captions, and what tells how to read a picture, stand before them.
            constellation=np.concatenate([np.empty(0, np.complex64), *seen])[
                -_NUM_CONSTELLATION_POINTS:
            ],
        )

    def _hears(self, received: NDArray[np.complex64], pilots: NDArray[np.complex64]) -> bool:
        """Whether the frame's symbols came at all. A digital block says so itself, by its CRC."""
        if self._setup.channel_model != ChannelModel.BURST:
            return True
        return float(np.vdot(pilots, received).real) >= _LEAST_PILOT_CORRELATION * len(pilots)

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
            picked = ladder.pick_rung(safe_db, self._asked, num_symbols=self._grid.block_symbols)
            self._asked = max(picked, self._grid.slowest_rung, key=lambda rung: rung.index)
        self._agreement.ask(sequence, self._asked, snr_db)
        adaptive_bits = RUNG_REPORT_BITS if self._grid.fixed_rung is None else 0
        return Feedback(
            generation=self._setup.generation,
            sequence=sequence,
            received=received,
            rung_index=self._asked.index,
            snr_db=snr_db,
            num_bits=len(self._parts) + adaptive_bits + SNR_REPORT_BITS,
        )

    def _check_frame(self, frame: RadioFrame) -> dict[Modality, NDArray[np.complex64]]:
        if frame.generation != self._setup.generation or frame.sequence != self._next_sequence:
            raise InputError(
                f"Radio frame {frame.generation}/{frame.sequence} came where "
                f"{self._setup.generation}/{self._next_sequence} was due: send frames in order."
            )
        samples = {block.modality: block.samples for block in frame.blocks}
        if not all(np.isfinite(block).all() for block in samples.values()):
            raise InputError("A radio frame holds samples that are not finite numbers.")
        return samples

    def _check_sizes(
        self,
        samples: Mapping[Modality, NDArray[np.complex64]],
        parts: Mapping[Modality, frozenset[Modality]],
        sequence: int,
    ) -> None:
        fixed = {Modality.PILOT: self._setup.pilots_per_frame}
        if self._grid.control:
            fixed[Modality.CONTROL] = self._grid.control_symbols
        for modality in parts:
            if self._parts[modality].fixed_size:
                fixed[modality] = self._parts[modality].num_symbols({}, sequence)
        for modality, num_symbols in fixed.items():
            if len(samples.get(modality, ())) != num_symbols:
                raise InputError(
                    f"A {modality.label} block of {len(samples.get(modality, ()))} symbols came "
                    f"where the set-up fixes {num_symbols}."
                )
