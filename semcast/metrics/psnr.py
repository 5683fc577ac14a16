"""Peak signal-to-noise ratio of 8-bit RGB."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

PSNR_CAP_DB = 100.0
"""The upper end, and the value for identical pictures: infinity is not JSON."""

_PEAK = 255


class PsnrMeter:
    """PSNR of a stream from the squared error averaged over all frames (CONTRACT.md).

    This is not the mean of the frames' PSNRs: one lost frame weighs as much as its error does.
    """

    def __init__(self) -> None:
        self._squared_error = 0
        self._num_samples = 0

    def add(self, source: NDArray[np.uint8], received: NDArray[np.uint8]) -> None:
        """Count two pictures of the same shape, uint8."""
        self._squared_error += squared_error(source, received)
        self._num_samples += source.size

    def result(self) -> float | None:
        """PSNR in dB over everything added, at most `PSNR_CAP_DB`; None if that is nothing."""
        if self._num_samples == 0:
            return None
        return _psnr_db(self._squared_error, self._num_samples)


def psnr_db(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """PSNR in dB of two uint8 arrays of the same shape; `PSNR_CAP_DB` at most."""
    return _psnr_db(squared_error(a, b), a.size)


def squared_error(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> int:
    """Sum of squared differences of two uint8 arrays of the same shape, exact.

    Raises ValueError if the shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError(f"pictures of different shapes: {a.shape} and {b.shape}")
    difference = a.astype(np.int32) - b
    return int(np.sum(difference * difference, dtype=np.int64))


def _psnr_db(total_squared_error: int, num_samples: int) -> float:
    if total_squared_error == 0:
        return PSNR_CAP_DB
    return min(PSNR_CAP_DB, 10 * math.log10(_PEAK**2 * num_samples / total_squared_error))
