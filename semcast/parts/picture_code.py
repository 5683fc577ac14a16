"""One picture as one block of analogue symbols, with a few digital ones that say how to read it.

    block = side information (digital, CRC) | reals of the patches in pairs, one pair a symbol

The side information is the power scalar (8 bits) and, for adaptive rates, the rate map
(`codecs.rate_map`), of one index for each square of 1, 2 or 4 patches a side. How fine the map is
follows from the block's size and the rung that both ends agreed on, so that nothing says how long
anything is: the finest map is taken that costs at most `MOST_SIDE_SHARE` of the block. Reals go out
channel after channel, the most important of every patch first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from semcast.air import crc, digital
from semcast.air.ladder import Rung
from semcast.codecs.errors import CorruptPayloadError
from semcast.codecs.patch_rates import LEVELS, choose_indices, reals_of_patches
from semcast.codecs.range_payload import PayloadReader, PayloadWriter, categorical
from semcast.codecs.rate_map import NUM_INDICES, read_rate_map, smoothed, write_rate_map
from semcast.errors import UnavailableError

if TYPE_CHECKING:
    from torch import Tensor

    from semcast.networks.ntscc import Ntscc

PATCH = 16
MOST_SIDE_SHARE = 0.06

_GROUPS = (1, 2, 4)
_BITS_PER_INDEX = 1.75
"""Of a rate map, room for which is made; ours, see benchmarks/pictures.py."""

_SLACK_BITS = 2
"""By how much the length of a payload may vary with its power scalar."""

_SCALE_STEP_DB = 0.25
_LEAST_SCALE_DB = -20.0
_SCALE_BITS = 8
_SCALE_MODEL = categorical([1] * (1 << _SCALE_BITS))

_LEAST_NOISE_VAR = 1e-4
"""The networks were trained up to 20 dB; beyond 40 dB there is nothing more to tell them."""

Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SideLayout:
    """group: patches a side that share a rate index, 0 for a uniform rate."""

    group: int
    num_symbols: int
    num_bits: int


def load_ntscc(weights: str) -> Ntscc:
    """A bundled network. Raises UnavailableError where torch is missing."""
    try:
        from semcast.networks.ntscc import bundled_ntscc
    except ImportError as error:
        raise UnavailableError(
            f'Learned codecs need the "models" extra of semcast ({error.name} is missing).'
        ) from error
    return bundled_ntscc(weights)


class PictureCode:
    """Pictures of one size, to blocks of any size. Pure: the same at both ends."""

    def __init__(self, weights: str, width: int, height: int, *, adaptive: bool) -> None:
        """Pictures [height, width, channels], uint8. adaptive: rates by patch, else uniform ones.

        Raises UnavailableError where torch is missing.
        """
        self._network = load_ntscc(weights)
        self._size = width, height
        self._rows, self._columns = -(-height // PATCH), -(-width // PATCH)
        self._adaptive = adaptive

    @property
    def max_symbols(self) -> int:
        """More symbols than this, less the side information's, say nothing more."""
        return self._rows * self._columns * self._network.shape.max_reals // 2

    def least_symbols(self, rung: Rung) -> int:
        """Of a block that can say anything."""
        return digital.num_symbols(_SCALE_BITS, rung) + 1

    def side_layout(self, num_symbols: int, rung: Rung) -> SideLayout:
        """Of a block of so many symbols, at a rung that is safe."""
        for group in _GROUPS if self._adaptive else ():
            count = -(-self._rows // group) * -(-self._columns // group)
            needed = digital.num_symbols(_SCALE_BITS + math.ceil(_BITS_PER_INDEX * count), rung)
            if needed <= MOST_SIDE_SHARE * num_symbols:
                return SideLayout(group, needed, digital.payload_bits(needed, rung))
        return SideLayout(0, digital.num_symbols(_SCALE_BITS, rung), _SCALE_BITS)

    def encode(
        self, picture: Picture, num_symbols: int, rung: Rung, snr_db: float | None, key: int
    ) -> tuple[NDArray[np.complex64], int, int]:
        """The block, [num_symbols], of unit mean power; bits of side information, and of its CRC.

        rung: agreed on. snr_db: what the transmitter knows, None for nothing.
        """
        import torch

        from semcast.networks.ntscc import power_scale
        from semcast.networks.pixels import to_unit

        layout = self.side_layout(num_symbols, rung)
        total_reals = 2 * (num_symbols - layout.num_symbols)
        known = torch.tensor([math.nan if snr_db is None else snr_db])
        with torch.inference_mode():
            x = to_unit(torch.from_numpy(self._padded(picture)[None]))
            y = self._network.analyse(x, known)
            indices = self._rates(y, total_reals, layout)
            counts = self._counts(indices, total_reals, layout)
            on_patches = torch.from_numpy(counts)[None]
            grid = self._network.to_reals(y, on_patches, known)
            scale = float(power_scale(grid, on_patches))
            reals = grid[0].numpy()
        side = _padded_bits(_side_bits(_scale_level(scale), indices, layout), layout.num_bits)
        sent = reals[_mask(counts, len(reals))] / (scale * math.sqrt(2))
        analogue = np.ascontiguousarray(sent, np.float32).view(np.complex64)
        block = [digital.encode_block(side, layout.num_symbols, rung, key), analogue]
        crc_bits = crc.length_bits(digital.crc_kind(layout.num_bits))
        return np.concatenate(block), layout.num_bits, crc_bits

    def decode(
        self, samples: NDArray[np.complex64], noise_var: float, rung: Rung, key: int
    ) -> tuple[Picture, NDArray[np.complex64]] | None:
        """The picture, however noisy, and the block's beginning as it must have been sent.

        None where the side information is lost. samples: equalised; noise_var: theirs, complex.
        """
        import torch

        from semcast.networks.pixels import to_pixels

        layout = self.side_layout(len(samples), rung)
        side = samples[: layout.num_symbols]
        found = digital.decode_block(side, noise_var, rung, layout.num_bits, key)
        if found.payload is None or found.resent is None:
            return None
        total_reals = 2 * (len(samples) - layout.num_symbols)
        try:
            reader = PayloadReader(found.payload)
            scale = _scale_of(reader.read(_SCALE_MODEL))
            indices = self._no_rates(layout)
            if layout.group:
                indices = read_rate_map(reader, *indices.shape)
            counts = self._counts(indices, total_reals, layout)
        except (CorruptPayloadError, ValueError):
            return None
        grid = np.zeros((self._network.shape.max_reals, self._rows, self._columns), np.float32)
        reals = np.ascontiguousarray(samples[layout.num_symbols :], np.complex64).view(np.float32)
        grid[_mask(counts, len(grid))] = reals * (math.sqrt(2) * scale)
        known = torch.tensor([-10 * math.log10(max(noise_var, _LEAST_NOISE_VAR))])
        with torch.inference_mode():
            on_patches = torch.from_numpy(counts)[None]
            y = self._network.from_reals(torch.from_numpy(grid)[None], on_patches, known)
            picture = to_pixels(self._network.synthesise(y, on_patches, known))[0].numpy()
        width, height = self._size
        return np.ascontiguousarray(picture[:height, :width]), found.resent

    def _padded(self, picture: Picture) -> Picture:
        """Edges repeated up to whole patches."""
        width, height = self._size
        below, right = self._rows * PATCH - height, self._columns * PATCH - width
        if not below and not right:
            return np.array(picture)
        return np.pad(picture, ((0, below), (0, right), (0, 0)), mode="edge")

    def _no_rates(self, layout: SideLayout) -> NDArray[np.uint8]:
        side = layout.group or max(self._rows, self._columns)
        return np.zeros((-(-self._rows // side), -(-self._columns // side)), np.uint8)

    def _counts(
        self, indices: NDArray[np.uint8], total_reals: int, layout: SideLayout
    ) -> NDArray[np.int64]:
        """Raises ValueError for indices that ask for more than there is."""
        group = layout.group or max(self._rows, self._columns)
        most = self._network.shape.max_reals
        return reals_of_patches(indices, self._rows, self._columns, total_reals, most, group)

    def _rates(self, y: Tensor, total_reals: int, layout: SideLayout) -> NDArray[np.uint8]:
        """The rate map, as smooth as it must be to fit."""
        if not layout.group:
            return self._no_rates(layout)
        bits = self._network.patch_bits(y)[0].numpy()
        most = self._network.shape.max_reals
        for tolerance in range(NUM_INDICES):
            wanted = total_reals
            while True:
                indices = smoothed(choose_indices(bits, wanted, most, layout.group), tolerance)
                over = self._reals(indices, layout.group) - total_reals
                if over <= 0:
                    break
                wanted -= over
            if len(_side_bits(0, indices, layout)) + _SLACK_BITS <= layout.num_bits:
                return indices
        return self._no_rates(layout)

    def _reals(self, indices: NDArray[np.uint8], group: int) -> int:
        steps = np.repeat(np.repeat(LEVELS[indices], group, 0), group, 1)
        return int(steps[: self._rows, : self._columns].sum())


def _side_bits(level: int, indices: NDArray[np.uint8], layout: SideLayout) -> NDArray[np.uint8]:
    writer = PayloadWriter()
    writer.write(level, _SCALE_MODEL)
    if layout.group:
        write_rate_map(writer, indices)
    return writer.finish()


def _padded_bits(bits: NDArray[np.uint8], num_bits: int) -> NDArray[np.uint8]:
    payload = np.zeros(num_bits, np.uint8)
    payload[: len(bits)] = bits
    return payload


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
