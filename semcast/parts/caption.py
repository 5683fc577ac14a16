"""The caption over the air: text, CRC-16, turbo code, 4-QAM; repeated until acknowledged.

    text -> bits (`codecs.text`) -> zeros up to a size of the list -> inverted CRC-16
         -> turbo code (TS 36.212) -> redundancy version -> scrambling -> 4-QAM

A caption goes out at the first frame of a segment, and of a stretch in which the scheme in force
has captions. It goes out again at each frame after, every time another redundancy version (0, 2, 3,
1), until a feedback in force acknowledges it or the segment's symbols are spent. The receiver adds
up what it heard (incremental redundancy).

Nothing says how long the caption is: the receiver tries the sizes of the list, as LTE receivers do
with control channels, and the CRC tells. For each size both ends know how many symbols a copy has
and when copies end, from set-up, rung and feedback alone. The turbo decoder accepts a word only if
its CRC holds and both its constituents agree, so 15 tries let about 2^-15 of the frames through in
which nothing but noise came (docs/AIR_LINK.md).

The code rate is the rung's, and the symbols are 4-QAM at every rung: a session at `qpsk-1/3` sends
1.5 symbols a bit, as GVSC does (arXiv 2502.13838: 765.04 bits, 1147.56 symbols).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from semcast.air import crc, qam, turbo
from semcast.air.control import ControlField
from semcast.air.ladder import Rung
from semcast.air.scrambling import DOMAIN_DIGITAL, keyed_bits
from semcast.codecs.errors import CorruptPayloadError
from semcast.codecs.text import decode_text, encode_text
from semcast.errors import InputError
from semcast.parts import ReceivedPart, SentPart, block_key
from semcast.semantics import Received, Semantics
from semcast.session import Modality, SessionSetup

WORD_BITS = (64, 96, 128, 176, 240, 320, 432, 592, 800, 1088, 1472, 2048, 2816, 4096, 6144)
"""Sizes of a word, CRC included. Ours: about a third apart, so that padding takes a seventh."""

CRC_KIND = "crc16"

_BITS_PER_SYMBOL = 2
_MOST_RATE = 0.75
_MOST_PUNCTURED_RATE = 0.9
_HOPELESS = 0.8
"""Decoding is not tried where the capacity of what was heard is below this part of the word."""


def copy_symbols(num_word_bits: int, rung: Rung, most: int) -> int:
    """Symbols of one copy of a word at a rung, at most those of a segment."""
    rate = min(rung.spectral_efficiency, _BITS_PER_SYMBOL * _MOST_RATE)
    return min(math.ceil(num_word_bits / rate - 1e-9), most)


def sizes_that_fit(segment_symbols: int) -> tuple[int, ...]:
    """Sizes of words that a segment can carry at all, if the channel is good enough."""
    most = _BITS_PER_SYMBOL * _MOST_PUNCTURED_RATE * segment_symbols
    return tuple(num_bits for num_bits in WORD_BITS if num_bits <= most)


@dataclass(slots=True)
class _Copies:
    """Copies of one word within a segment: how many went out, and what is left to spend."""

    num_bits: int
    left: int
    count: int = 0

    def next(self, rung: Rung, segment_symbols: int) -> tuple[int, int] | None:
        """Symbols and redundancy version of the next copy; None where no more may go out."""
        num_symbols = copy_symbols(self.num_bits, rung, segment_symbols)
        if num_symbols > self.left:
            self.left = 0
            return None
        version = turbo.VERSION_ORDER[self.count % turbo.NUM_VERSIONS]
        self.left -= num_symbols
        self.count += 1
        return num_symbols, version


def _encoded(
    buffer: NDArray[np.uint8], num_word_bits: int, num_symbols: int, version: int, key: int
) -> NDArray[np.complex64]:
    first = turbo.redundancy_start(num_word_bits, version)
    coded = turbo.rate_match(buffer, _BITS_PER_SYMBOL * num_symbols, first)
    return qam.modulate(coded ^ keyed_bits(coded.size, DOMAIN_DIGITAL, key), _BITS_PER_SYMBOL)


class _Segments:
    """Which frames begin anew: the first of a segment, and after a pause."""

    def __init__(self, setup: SessionSetup) -> None:
        self._frames = setup.segment_frames
        self._newest = -2

    def begins(self, sequence: int) -> bool:
        """To be asked once a frame in which captions are in force."""
        paused = sequence != self._newest + 1
        self._newest = sequence
        return paused or sequence % self._frames == 0


class CaptionSender:
    """Transmitter half. segment_symbols: what captions may spend in a segment."""

    modality = Modality.CAPTION
    control_fields: tuple[ControlField, ...] = ()

    def __init__(self, setup: SessionSetup, segment_symbols: int) -> None:
        self._seed = setup.seed
        self._segment_symbols = segment_symbols
        self._segments = _Segments(setup)
        self._buffer = np.empty(0, np.uint8)
        self._copies = _Copies(0, 0)
        self._caption = ""
        self._began = -1
        self._acknowledged = True

    def encode(
        self,
        semantics: Semantics,
        sequence: int,
        rung: Rung,
        snr_db: float | None,
        sent: frozenset[Modality],
    ) -> SentPart:
        """A copy, or nothing. Raises InputError for a caption that no segment can carry."""
        if self._segments.begins(sequence):
            self._begin(semantics.caption, sequence)
        nothing = SentPart(np.empty(0, np.complex64), {}, 0, {})
        if self._acknowledged:
            return nothing
        copy = self._copies.next(rung, self._segment_symbols)
        if copy is None:
            return nothing
        num_word_bits = self._copies.num_bits
        key = block_key(self._seed, sequence, self.modality)
        samples = _encoded(self._buffer, num_word_bits, *copy, key)
        # A repeat has no information of its own, only redundancy.
        first = self._copies.count == 1
        crc_bits = crc.length_bits(CRC_KIND)
        bits = {self.modality: num_word_bits - crc_bits} if first else {}
        means = Received(caption=self._caption)
        return SentPart(samples, bits, crc_bits if first else 0, {}, means)

    def _begin(self, caption: str, sequence: int) -> None:
        text = encode_text(caption)
        needed = text.size + crc.length_bits(CRC_KIND)
        sizes = [size for size in sizes_that_fit(self._segment_symbols) if size >= needed]
        if not sizes:
            raise InputError(
                f"A caption of {len(caption)} characters takes {needed} bits, and a segment has "
                f"{self._segment_symbols} symbols for it: shorten the caption, or raise the CBR."
            )
        payload = np.zeros(sizes[0] - crc.length_bits(CRC_KIND), np.uint8)
        payload[: text.size] = text
        self._buffer = turbo.turbo_encode(crc.attach_inverted(payload, CRC_KIND))
        self._copies = _Copies(sizes[0], self._segment_symbols)
        self._caption = caption
        self._began = sequence
        self._acknowledged = False

    def acknowledge(self, sequence: int, received: bool) -> None:
        """Ends the copies of the present segment."""
        if received and sequence >= self._began:
            self._acknowledged = True


@dataclass(slots=True)
class _Hypothesis:
    """A size that the caption may have, and all that was heard under it."""

    copies: _Copies
    combined: NDArray[np.float32]
    capacity_bits: float = 0.0
    newest: tuple[int, int] | None = field(default=None)


class CaptionReceiver:
    """Receiver half."""

    modality = Modality.CAPTION
    control_fields: tuple[ControlField, ...] = ()
    fixed_size = False

    def __init__(self, setup: SessionSetup, segment_symbols: int) -> None:
        self._seed = setup.seed
        self._segment_symbols = segment_symbols
        self._sizes = sizes_that_fit(segment_symbols)
        self._segments = _Segments(setup)
        self._hypotheses: list[_Hypothesis] = []
        self._held = False

    def num_symbols(self, control: Mapping[str, int], sequence: int) -> int:
        """A whole segment's: where a copy ends is what the receiver has to find out."""
        return self._segment_symbols

    def decode(
        self,
        samples: NDArray[np.complex64],
        noise_var: float,
        sequence: int,
        rung: Rung,
        control: Mapping[str, int],
        sent: frozenset[Modality],
    ) -> ReceivedPart:
        """The caption, when what was heard of it so far is enough."""
        if self._segments.begins(sequence):
            self._held = False
            self._hypotheses = [
                _Hypothesis(
                    _Copies(size, self._segment_symbols),
                    np.zeros(turbo.buffer_size(size), np.float32),
                )
                for size in self._sizes
            ]
        if self._held:
            return ReceivedPart(Received(), expected=False, ok=True, resent=None)
        key = block_key(self._seed, sequence, self.modality)
        expected = False
        for hypothesis in self._hypotheses:
            self._hear(hypothesis, samples, noise_var, rung, key)
            expected = expected or hypothesis.newest is not None
        for hypothesis in self._hypotheses:
            size = hypothesis.copies.num_bits
            if hypothesis.newest is None or hypothesis.capacity_bits < _HOPELESS * size:
                continue
            word = turbo.turbo_decode(hypothesis.combined, size, CRC_KIND).payload
            if word is None:
                continue
            try:
                caption = decode_text(word)
            except CorruptPayloadError:
                continue
            self._held = True
            buffer = turbo.turbo_encode(crc.attach_inverted(word, CRC_KIND))
            resent = _encoded(buffer, size, *hypothesis.newest, key)
            return ReceivedPart(Received(caption=caption), expected=True, ok=True, resent=resent)
        return ReceivedPart(Received(), expected=expected, ok=False, resent=None)

    def _hear(
        self,
        hypothesis: _Hypothesis,
        samples: NDArray[np.complex64],
        noise_var: float,
        rung: Rung,
        key: int,
    ) -> None:
        """Adds the copy of this frame, if there is one under the hypothesis."""
        hypothesis.newest = hypothesis.copies.next(rung, self._segment_symbols)
        if hypothesis.newest is None:
            return
        num_symbols, version = hypothesis.newest
        llr = qam.demodulate(samples[:num_symbols], noise_var, _BITS_PER_SYMBOL)
        llr = np.where(keyed_bits(llr.size, DOMAIN_DIGITAL, key) == 1, -llr, llr)
        first = turbo.redundancy_start(hypothesis.copies.num_bits, version)
        hypothesis.combined = turbo.de_rate_match(hypothesis.combined, llr, first)
        per_symbol = min(math.log2(1 + 1 / noise_var), _BITS_PER_SYMBOL)
        hypothesis.capacity_bits += num_symbols * per_symbol

    def lost(self, sequence: int) -> None:
        """Captions need no control."""
