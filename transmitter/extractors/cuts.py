"""Whether a frame begins another scene."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

COLOUR_LEVELS = 6

_LEAST_CHANGE = 0.45
"""Share of colours in the quarters of the frame that a cut changes. Motion within the sequences of
DAVIS's training half changes at most 0.3."""


class CutDetector:
    """Compares the colours of each quarter of a frame with those of the frame before."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets the frame before; the next one begins a scene."""
        self._shares: NDArray[np.float32] | None = None
        self._shape: tuple[int, ...] = ()

    def is_cut(self, codes: NDArray[np.intp]) -> bool:
        """codes: `colour_codes` of the next frame. True for a first frame and another size."""
        rows, columns = codes.shape
        quarter = (np.arange(rows)[:, None] * 2 // rows) * 2 + np.arange(columns) * 2 // columns
        bins = COLOUR_LEVELS**3
        counts = np.bincount((quarter * bins + codes).ravel(), minlength=4 * bins)
        shares = (counts / codes.size).astype(np.float32)
        before, self._shares = self._shares, shares
        same_shape = self._shape == codes.shape
        self._shape = codes.shape
        if before is None or not same_shape:
            return True
        return float(0.5 * np.abs(shares - before).sum()) > _LEAST_CHANGE


def colour_codes(rgb: NDArray[np.uint8]) -> NDArray[np.intp]:
    """One of 6 x 6 x 6 colours for each pixel, [h, w]."""
    levels = rgb.astype(np.intp) * COLOUR_LEVELS // 256
    codes: NDArray[np.intp] = (levels[..., 0] * COLOUR_LEVELS + levels[..., 1]) * COLOUR_LEVELS
    return codes + levels[..., 2]
