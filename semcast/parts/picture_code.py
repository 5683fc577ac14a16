"""Pictures of one size to blocks of symbols and back, each by itself: the network and its block."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from semcast.air.ladder import Rung
from semcast.errors import UnavailableError
from semcast.parts.patch_blocks import PatchBlocks, SentBlock

if TYPE_CHECKING:
    from torch import Tensor

    from semcast.networks.ntscc import Ntscc

PATCH = 16

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


class PictureCode:
    """Pure: the same at both ends."""

    def __init__(self, weights: str, width: int, height: int, *, adaptive: bool) -> None:
        """Pictures [height, width, channels], uint8. adaptive: rates by patch, else uniform ones.

        Raises UnavailableError where torch is missing.
        """
        self.network = load_ntscc(weights)
        self._size = width, height
        rows, columns = -(-height // PATCH), -(-width // PATCH)
        self._blocks = PatchBlocks(rows, columns, self.network.shape.max_reals, adaptive=adaptive)
        self._adaptive = adaptive

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self._blocks.rows, self._blocks.columns

    @property
    def max_symbols(self) -> int:
        """More symbols than this, less the side information's, say nothing more."""
        return self._blocks.max_symbols

    def least_symbols(self, rung: Rung) -> int:
        """Of a block that can say anything."""
        return self._blocks.least_symbols(rung)

    def latent(self, picture: Picture, snr_db: float | None) -> Tensor:
        """[1, C, rows, columns] of a picture; edges are repeated up to whole patches."""
        import torch

        from semcast.networks.pixels import to_unit

        width, height = self._size
        below, right = self._blocks.rows * PATCH - height, self._blocks.columns * PATCH - width
        whole = np.pad(picture, ((0, below), (0, right), (0, 0)), mode="edge")
        with torch.inference_mode():
            x = to_unit(torch.from_numpy(whole[None]))
            return self.network.analyse(x, known_snr_db(snr_db))

    def picture(self, y: Tensor, counts: NDArray[np.int64], snr_db: float | None) -> Picture:
        """[height, width, channels] of a latent that came at these rates."""
        import torch

        from semcast.networks.pixels import to_pixels

        with torch.inference_mode():
            on_patches = torch.from_numpy(counts)[None]
            whole = self.network.synthesise(y, on_patches, known_snr_db(snr_db))
        width, height = self._size
        return np.ascontiguousarray(to_pixels(whole)[0, :height, :width].numpy())

    def encode(
        self, y: Tensor, num_symbols: int, rung: Rung, snr_db: float | None, key: int
    ) -> tuple[SentBlock, Tensor, NDArray[np.int64]]:
        """The block of a latent; what a receiver without noise would make of it; its rates.

        rung: agreed on. snr_db: what the transmitter knows, None for nothing.
        """
        import torch

        with torch.inference_mode():
            bits = self.network.patch_bits(y)[0].numpy() if self._adaptive else None
            allocation = self._blocks.allocate(bits, num_symbols, rung)
            on_patches = torch.from_numpy(allocation.counts)[None]
            known = known_snr_db(snr_db)
            reals = self.network.to_reals(y, on_patches, known)
            expected = self.network.from_reals(reals, on_patches, known)
        return (
            self._blocks.write(allocation, reals[0].numpy(), rung, key),
            expected,
            allocation.counts,
        )

    def decode(
        self, samples: NDArray[np.complex64], noise_var: float, rung: Rung, key: int
    ) -> tuple[Tensor, NDArray[np.int64], NDArray[np.complex64]] | None:
        """The latent, however noisy, its rates, and the block's beginning as it was sent.

        None where the side information is lost. samples: equalised; noise_var: theirs, complex.
        """
        import torch

        block = self._blocks.read(samples, noise_var, rung, key)
        if block is None:
            return None
        with torch.inference_mode():
            y = self.network.from_reals(
                torch.from_numpy(block.reals)[None],
                torch.from_numpy(block.counts)[None],
                known_snr_db(snr_db_of(noise_var)),
            )
        return y, block.counts, block.resent
