"""What changed since the last picture, to blocks of symbols and back: the network and its block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from semcast.air.ladder import Rung
from semcast.parts.patch_blocks import PatchBlocks
from semcast.parts.picture_code import Coded, known_snr_db, snr_db_of, squared_error

if TYPE_CHECKING:
    from torch import Tensor

MOST_MAP_SHARE = 0.2
"""Of a block, for its rate map: where most patches stand still, knowing which do is worth it."""


class ChangeCode:
    """Pure: the same at both ends. Latents and contexts: [1, C, rows, columns]."""

    def __init__(self, weights: str, rows: int, columns: int) -> None:
        from semcast.networks.latent_video import bundled_latent_video

        self._network = bundled_latent_video(weights)
        most = self._network.shape.max_reals
        self._blocks = PatchBlocks(
            rows, columns, most, adaptive=True, most_map_share=MOST_MAP_SHARE
        )

    @property
    def max_symbols(self) -> int:
        """More symbols than this, less the head's, say nothing more."""
        return self._blocks.max_symbols

    def least_symbols(self, rung: Rung) -> int:
        """Of a block that can say anything."""
        return self._blocks.least_symbols(rung)

    def encode(
        self,
        y: Tensor,
        context: Tensor,
        num_symbols: int,
        rung: Rung,
        snr_db: float | None,
        key: int,
    ) -> Coded:
        """The block of what changed.

        context: what a receiver without noise held before.
        """
        import torch

        with torch.inference_mode():
            known = known_snr_db(snr_db)
            predicted = self._network.predict(context, known)
            innovation = y - predicted
            bits = self._network.patch_bits(innovation)[0].numpy()
            layout = self._blocks.head_layout(num_symbols, rung)
            allocation = self._blocks.allocate(bits, num_symbols, layout)
            on_patches = torch.from_numpy(allocation.counts)[None]
            reals = self._network.to_reals(innovation, on_patches, known)
            expected = self._network.from_reals(reals, on_patches, predicted, known)
        no_base = np.empty(0, np.uint8)
        block = self._blocks.write(allocation, no_base, reals[0].numpy(), key)
        return Coded(block, expected, squared_error(expected, y))

    def decode(
        self,
        samples: NDArray[np.complex64],
        noise_var: float,
        context: Tensor,
        rung: Rung,
        key: int,
    ) -> tuple[Tensor, NDArray[np.complex64]] | None:
        """The latent, and the block's beginning as it was sent; None where its head is lost.

        context: what the receiver held before.
        """
        import torch

        block = self._blocks.read(samples, noise_var, rung, key)
        if block is None:
            return None
        with torch.inference_mode():
            known = known_snr_db(snr_db_of(noise_var))
            latent = self._network.from_reals(
                torch.from_numpy(block.reals)[None],
                torch.from_numpy(block.counts)[None],
                self._network.predict(context, known),
                known,
            )
        return latent, block.resent
