"""Reals of patches as one block of symbols, behind a few digital ones that say how to read them.

    block = head (digital, CRC) | reals of the patches in pairs, one pair a symbol
    head  = power scalar | base | rate map

The head holds the power scalar (8 bits), for pictures a digital base (`codecs.base_layer`), and for
adaptive rates the rate map (`codecs.rate_map`), of one index for each square of 1, 2 or 4 patches a
side. What is in it and how large follows from the block's size and the rung that both ends agreed
on, so that nothing says how long anything is: the finest map is taken that costs at most
`MOST_MAP_SHARE` of the block. Reals go out channel after channel, the most important of every patch
first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semcast.air import crc, digital
from semcast.air.ladder import Rung
from semcast.air.ladder import rung as find_rung
from semcast.codecs.base_layer import BaseLayout, base_layout
from semcast.codecs.errors import CorruptPayloadError
from semcast.codecs.patch_rates import LEVELS, PATCH, choose_indices, reals_of_patches
from semcast.codecs.range_payload import PayloadReader, PayloadWriter
from semcast.codecs.rate_map import NUM_INDICES, read_rate_map, smoothed, write_rate_map

MOST_MAP_SHARE = 0.035
"""Of a block, for its rate map; ours. On training clips, without a base, rates by patch are worth
0.5 dB at 10 dB and 0.1 dB at 0 dB."""

_FIRST_BASE_SHARE = 0.25
"""At the slowest rung, which stands for an SNR that is not known as well as for a low one."""

_FASTEST_SMALL = find_rung("qpsk-3/4")
"""For a head without a base."""

_GROUPS = (1, 2, 4)
_BITS_PER_INDEX = 1.75
"""Of a rate map, room for which is made; a whole one takes 2.1 to 2.9 on training clips, one that
is smoothed by a step less than this."""

_MOST_TRIES = 8
"""At one smoothness, since smoothing may take what less was asked for; then a smoother map."""

_SCALE_STEP_DB = 0.25
_LEAST_SCALE_DB = -20.0
_SCALE_BITS = 8

_LEAST_POWER = 1e-12


def base_share(rung: Rung) -> float:
    """Of a picture's symbols, for its base; the head goes at this rung.

    Ours. On eleven training clips, 20 and 60 reals a patch, with a network of ten minutes'
    training: within 0.1 dB of the best of seven shares from 0 to 20 dB, 0.3 dB short of it at -5
    dB. The worse the channel, the more bits do better than analogue symbols.
    """
    if rung.index == 0:
        return _FIRST_BASE_SHARE
    return min(max(0.4 - 0.085 * rung.spectral_efficiency, 0.06), 0.36)


def _small_rung(rung: Rung) -> Rung:
    """Of a head without a base: 4-QAM at most.

    So few symbols of 16- and 64-QAM do not tell their own scale, and get lost at any SNR.
    """
    return min(rung, _FASTEST_SMALL, key=lambda each: each.index)


@dataclass(frozen=True, slots=True)
class HeadLayout:
    """group: patches a side that share a rate index, 0 for a uniform rate.

    rung, num_symbols, num_bits: of the head. base_bits: those of the base, if there is one.
    """

    rung: Rung
    group: int
    num_symbols: int
    num_bits: int
    base_bits: int = 0
    base: BaseLayout | None = None


@dataclass(frozen=True, slots=True)
class Allocation:
    """Who gets what of a block. counts: reals of each patch, [rows, columns]."""

    layout: HeadLayout
    indices: NDArray[np.uint8]
    counts: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SentBlock:
    """samples: [num_symbols], complex64, of unit mean power. head_bits: less the CRC's."""

    samples: NDArray[np.complex64]
    head_bits: int
    crc_bits: int


@dataclass(frozen=True, slots=True)
class ReceivedBlock:
    """reals: [max_reals, rows, columns], float32, with noise, zero where nothing was sent.

    base: payload of the base. resent: the block's beginning as it must have been sent.
    """

    layout: HeadLayout
    reals: NDArray[np.float32]
    counts: NDArray[np.int64]
    base: NDArray[np.uint8]
    resent: NDArray[np.complex64]


class PatchBlocks:
    """Blocks for pictures of rows x columns patches. Pure: the same at both ends."""

    def __init__(
        self,
        rows: int,
        columns: int,
        max_reals: int,
        *,
        adaptive: bool,
        most_map_share: float = MOST_MAP_SHARE,
        with_base: bool = False,
    ) -> None:
        """max_reals: of a patch. adaptive: rates by patch, else uniform ones."""
        self.rows, self.columns = rows, columns
        self._max_reals = max_reals
        self._adaptive = adaptive
        self._most_map_share = most_map_share
        self._with_base = with_base

    @property
    def max_symbols(self) -> int:
        """More symbols than this, less the head's, say nothing more."""
        return self.rows * self.columns * self._max_reals // 2

    def least_symbols(self, rung: Rung) -> int:
        """Of a block that can say anything."""
        return digital.num_symbols(_SCALE_BITS, _small_rung(rung)) + 1

    def head_layout(self, num_symbols: int, rung: Rung) -> HeadLayout:
        """Of a block of so many symbols, at a rung that is safe."""
        if self._with_base:
            layout = self._layout_with_base(num_symbols, rung)
            if layout is not None:
                return layout
        rung = _small_rung(rung)
        group, map_bits = self._map_size(num_symbols, rung)
        other_bits = _SCALE_BITS + map_bits
        needed = digital.num_symbols(other_bits, rung)
        num_bits = digital.payload_bits(needed, rung) if group else other_bits
        return HeadLayout(rung, group, needed, num_bits)

    def _layout_with_base(self, num_symbols: int, rung: Rung) -> HeadLayout | None:
        """None where a base has no room."""
        group, map_bits = self._map_size(num_symbols, rung)
        other_bits = _SCALE_BITS + map_bits
        needed = digital.num_symbols(other_bits, rung)
        enlarged = needed + round(base_share(rung) * num_symbols)
        base_bits = digital.payload_bits(enlarged, rung) - other_bits
        base = base_layout(PATCH * self.columns, PATCH * self.rows, base_bits)
        if base is None:
            return None
        return HeadLayout(rung, group, enlarged, other_bits + base_bits, base_bits, base)

    def _map_size(self, num_symbols: int, rung: Rung) -> tuple[int, int]:
        """Group and bits of the finest rate map that is worth its symbols; 0, 0 for none."""
        for group in _GROUPS if self._adaptive else ():
            count = -(-self.rows // group) * -(-self.columns // group)
            num_bits = math.ceil(_BITS_PER_INDEX * count)
            needed = digital.num_symbols(_SCALE_BITS + num_bits, rung)
            if needed <= self._most_map_share * num_symbols:
                return group, num_bits
        return 0, 0

    def allocate(
        self, patch_bits: NDArray[np.float32] | None, num_symbols: int, layout: HeadLayout
    ) -> Allocation:
        """Rates for a block of so many symbols, of which the layout's are the head.

        patch_bits: how surprising each patch is, [rows, columns]; None for uniform rates.
        """
        total_reals = 2 * (num_symbols - layout.num_symbols)
        indices = self._no_rates(layout)
        if layout.group and patch_bits is not None:
            indices = self._rates(patch_bits, total_reals, layout)
        return Allocation(layout, indices, self._counts(indices, total_reals, layout))

    def write(
        self,
        allocation: Allocation,
        base: NDArray[np.uint8],
        reals: NDArray[np.float32],
        key: int,
    ) -> SentBlock:
        """The block of reals [max_reals, rows, columns], of which each patch's first are sent.

        base: payload of the base, of the layout's size.
        """
        sent = reals[_mask(allocation.counts, self._max_reals)]
        scale = math.sqrt(float(np.mean(np.square(sent, dtype=np.float64))) + _LEAST_POWER)
        layout = allocation.layout
        head = np.zeros(layout.num_bits, np.uint8)
        # In bits of its own, so that the power scalar does not change the length of the map.
        level = np.unpackbits(np.array([_scale_level(scale)], np.uint8))
        written = np.concatenate([level, base, _map_bits(allocation.indices, layout)])
        head[: len(written)] = written
        analogue = np.ascontiguousarray(sent / (scale * math.sqrt(2)), np.float32)
        block = [
            digital.encode_block(head, layout.num_symbols, layout.rung, key),
            analogue.view(np.complex64),
        ]
        crc_bits = crc.length_bits(digital.crc_kind(layout.num_bits))
        return SentBlock(np.concatenate(block), layout.num_bits, crc_bits)

    def read(
        self, samples: NDArray[np.complex64], noise_var: float, rung: Rung, key: int
    ) -> ReceivedBlock | None:
        """What a block says; None where its head is lost.

        samples: equalised; noise_var: theirs, complex.
        """
        layout = self.head_layout(len(samples), rung)
        head, analogue = samples[: layout.num_symbols], samples[layout.num_symbols :]
        found = digital.decode_block(head, noise_var, layout.rung, layout.num_bits, key)
        if found.payload is None or found.resent is None:
            return None
        level, base, rate_map = np.split(
            found.payload, [_SCALE_BITS, _SCALE_BITS + layout.base_bits]
        )
        try:
            indices = self._no_rates(layout)
            if layout.group:
                indices = read_rate_map(PayloadReader(rate_map), *indices.shape)
            counts = self._counts(indices, 2 * len(analogue), layout)
        except (CorruptPayloadError, ValueError):
            return None
        reals = np.zeros((self._max_reals, self.rows, self.columns), np.float32)
        received = np.ascontiguousarray(analogue, np.complex64).view(np.float32)
        scale = _scale_of(int(np.packbits(level)[0]))
        reals[_mask(counts, self._max_reals)] = received * np.float32(math.sqrt(2) * scale)
        return ReceivedBlock(layout, reals, counts, base, found.resent)

    def _no_rates(self, layout: HeadLayout) -> NDArray[np.uint8]:
        side = layout.group or max(self.rows, self.columns)
        return np.zeros((-(-self.rows // side), -(-self.columns // side)), np.uint8)

    def _counts(
        self, indices: NDArray[np.uint8], total_reals: int, layout: HeadLayout
    ) -> NDArray[np.int64]:
        """Raises ValueError for indices that ask for more than there is."""
        group = layout.group or max(self.rows, self.columns)
        return reals_of_patches(
            indices, self.rows, self.columns, total_reals, self._max_reals, group
        )

    def _rates(
        self, patch_bits: NDArray[np.float32], total_reals: int, layout: HeadLayout
    ) -> NDArray[np.uint8]:
        """The rate map, as smooth as it must be to fit."""
        # What stands for others when smoothed must be a rate that a patch can hold.
        last = int(np.searchsorted(LEVELS, self._max_reals, side="right")) - 1
        for tolerance in range(NUM_INDICES):
            wanted = total_reals
            for _ in range(_MOST_TRIES):
                chosen = choose_indices(patch_bits, wanted, self._max_reals, layout.group)
                indices = np.minimum(smoothed(chosen, tolerance), np.uint8(last))
                over = self._steps(indices, layout.group) - total_reals
                if over <= 0:
                    break
                wanted -= over
            room = layout.num_bits - _SCALE_BITS - layout.base_bits
            fits = len(_map_bits(indices, layout)) <= room
            if over <= 0 and fits:
                return indices
        return self._no_rates(layout)

    def _steps(self, indices: NDArray[np.uint8], group: int) -> int:
        steps = np.repeat(np.repeat(LEVELS[indices], group, 0), group, 1)
        return int(steps[: self.rows, : self.columns].sum())


def _map_bits(indices: NDArray[np.uint8], layout: HeadLayout) -> NDArray[np.uint8]:
    """Of the rate map; none where rates are uniform."""
    writer = PayloadWriter()
    if layout.group:
        write_rate_map(writer, indices)
    return writer.finish()


def _mask(counts: NDArray[np.int64], max_reals: int) -> NDArray[np.bool_]:
    """Which reals of [max_reals, rows, columns] are sent."""
    mask: NDArray[np.bool_] = np.arange(max_reals)[:, None, None] < counts
    return mask


def _scale_level(scale: float) -> int:
    """The power scalar in steps of a quarter of a decibel."""
    level = round((20 * math.log10(max(scale, 1e-9)) - _LEAST_SCALE_DB) / _SCALE_STEP_DB)
    return min(max(level, 0), (1 << _SCALE_BITS) - 1)


def _scale_of(level: int) -> float:
    return float(10 ** ((_LEAST_SCALE_DB + _SCALE_STEP_DB * level) / 20))
