"""Pictures of one size to blocks of symbols and back, each by itself: the network and its block."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from semcast.air.ladder import Rung
from semcast.codecs.base_layer import encode_base, no_base, read_base
from semcast.codecs.errors import CorruptPayloadError
from semcast.codecs.patch_rates import PATCH
from semcast.codecs.range_payload import PayloadReader
from semcast.errors import UnavailableError
from semcast.parts.patch_blocks import PatchBlocks, SentBlock

if TYPE_CHECKING:
    from torch import Tensor

    from semcast.networks.ntscc import Base, Ntscc

_LEAST_NOISE_VAR = 1e-4
"""The networks were trained up to 20 dB; beyond 40 dB there is nothing more to tell them."""

Picture = NDArray[np.uint8]


def load_ntscc(weights: str) -> Ntscc:
    """A bundled network. Raises UnavailableError where torch is missing."""
    try:
        from semcast.networks.ntscc import bundled_ntscc
    except ImportError as error:
        raise UnavailableError(
            f'Learned codecs need the "models" extra of semcast ({error.name} is missing).'
        ) from error
    return bundled_ntscc(weights)


def known_snr_db(snr_db: float | None) -> Tensor:
    """What a network is told of the SNR, [1]: NaN for nothing."""
    import torch

    return torch.tensor([math.nan if snr_db is None else snr_db])


def snr_db_of(noise_var: float) -> float:
    """What a receiver tells its network."""
    return -10 * math.log10(max(noise_var, _LEAST_NOISE_VAR))


@dataclass(frozen=True, slots=True)
class Ground:
    """What the head of a picture's block says, equal at both ends.

    counts: reals of each patch, [rows, columns]. base: the digital base of whole patches, and how
    many bits of it a patch has; None for a network that knows no base.
    """

    counts: NDArray[np.int64]
    base: Base | None


@dataclass(frozen=True, slots=True)
class Coded:
    """A block; the latent that a receiver without noise would then hold; how far that is off."""

    block: SentBlock
    latent: Tensor
    error: float


@dataclass(frozen=True, slots=True)
class CodedPicture(Coded):
    """With the picture's ground."""

    ground: Ground


def squared_error(latent: Tensor, wanted: Tensor) -> float:
    """Sum of squared differences; of latents above any base, for they are nearly orthonormal."""
    return float((latent - wanted).square().sum())


class PictureCode:
    """Pure: the same at both ends."""

    def __init__(self, weights: str, width: int, height: int, *, adaptive: bool) -> None:
        """Pictures [height, width, channels], uint8. adaptive: a base and rates by patch; else no
        base and equal rates.

        Raises UnavailableError where torch is missing.
        """
        self.network = load_ntscc(weights)
        self._size = width, height
        shape = self.network.shape
        self._blocks = PatchBlocks(
            -(-height // PATCH),
            -(-width // PATCH),
            shape.max_reals,
            adaptive=adaptive,
            with_base=adaptive and shape.base,
        )

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self._blocks.rows, self._blocks.columns

    @property
    def max_symbols(self) -> int:
        """More symbols than this, less the head's, say nothing more."""
        return self._blocks.max_symbols

    def least_symbols(self, rung: Rung) -> int:
        """Of a block that can say anything."""
        return self._blocks.least_symbols(rung)

    def latent(self, picture: Picture, ground: Ground, snr_db: float | None) -> Tensor:
        """[1, C, rows, columns] of a picture: what it adds to a base; counts play no part."""
        return self._latent(self._whole(picture), ground.base, snr_db)

    def picture(self, latent: Tensor, ground: Ground, snr_db: float | None) -> Picture:
        """[height, width, channels] of a latent."""
        import torch

        from semcast.networks.pixels import to_pixels

        with torch.inference_mode():
            counts = torch.from_numpy(ground.counts)[None]
            known = known_snr_db(snr_db)
            whole = self.network.synthesise(latent, counts, known, ground.base)
        width, height = self._size
        return np.ascontiguousarray(to_pixels(whole)[0, :height, :width].numpy())

    def encode(
        self, picture: Picture, num_symbols: int, rung: Rung, snr_db: float | None, key: int
    ) -> CodedPicture:
        """The block of a picture.

        rung: agreed on. snr_db: what the transmitter knows, None for nothing.
        """
        import torch

        whole = self._whole(picture)
        layout = self._blocks.head_layout(num_symbols, rung)
        payload, under = np.empty(0, np.uint8), None
        if layout.base:
            payload, under = encode_base(whole, layout.base, layout.base_bits)
        base = self._base(under, layout.base_bits)
        y = self._latent(whole, base, snr_db)
        with torch.inference_mode():
            bits = self.network.patch_bits(y)[0].numpy() if layout.group else None
            allocation = self._blocks.allocate(bits, num_symbols, layout)
            counts = torch.from_numpy(allocation.counts)[None]
            known = known_snr_db(snr_db)
            reals = self.network.to_reals(y, counts, known, base)
            expected = self.network.from_reals(reals, counts, known, base)
        block = self._blocks.write(allocation, payload, reals[0].numpy(), key)
        ground = Ground(allocation.counts, base)
        return CodedPicture(block, expected, squared_error(expected, y), ground)

    def decode(
        self, samples: NDArray[np.complex64], noise_var: float, rung: Rung, key: int
    ) -> tuple[Tensor, Ground, NDArray[np.complex64]] | None:
        """The latent, however noisy, its ground, and the block's beginning as it was sent.

        None where the head is lost. samples: equalised; noise_var: theirs, complex.
        """
        import torch

        block = self._blocks.read(samples, noise_var, rung, key)
        if block is None:
            return None
        under = None
        if block.layout.base:
            try:
                under = read_base(PayloadReader(block.base), block.layout.base)
            except CorruptPayloadError:
                return None
        base = self._base(under, block.layout.base_bits)
        with torch.inference_mode():
            latent = self.network.from_reals(
                torch.from_numpy(block.reals)[None],
                torch.from_numpy(block.counts)[None],
                known_snr_db(snr_db_of(noise_var)),
                base,
            )
        return latent, Ground(block.counts, base), block.resent

    def _whole(self, picture: Picture) -> Picture:
        """Edges repeated up to whole patches."""
        width, height = self._size
        below, right = self._blocks.rows * PATCH - height, self._blocks.columns * PATCH - width
        return np.pad(picture, ((0, below), (0, right), (0, 0)), mode="edge")

    def _latent(self, whole: Picture, base: Base | None, snr_db: float | None) -> Tensor:
        import torch

        from semcast.networks.pixels import to_unit

        with torch.inference_mode():
            x = to_unit(torch.from_numpy(np.ascontiguousarray(whole)[None]))
            return self.network.analyse(x, known_snr_db(snr_db), base)

    def _base(self, under: Picture | None, num_bits: int) -> Base | None:
        """As the network takes it; grey where none was sent."""
        if not self.network.shape.base:
            return None
        import torch

        from semcast.networks.ntscc import Base
        from semcast.networks.pixels import to_unit

        rows, columns = self.grid
        if under is None:
            under = no_base(PATCH * columns, PATCH * rows)
        patch_bits = torch.tensor([num_bits / (rows * columns)])
        return Base(to_unit(torch.from_numpy(under[None])), patch_bits)
