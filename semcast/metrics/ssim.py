"""Structural similarity, and its multi-scale form, of 8-bit RGB.

SSIM as in Wang et al., "Image quality assessment: from error visibility to structural similarity"
(IEEE TIP 2004): Gaussian window 11 x 11 with sigma 1.5, population statistics, K1 = 0.01,
K2 = 0.03, data range 255, the mean over all windows that lie inside the picture, channels apart and
averaged. Equal to scikit-image's `structural_similarity(gaussian_weights=True, sigma=1.5,
use_sample_covariance=False, data_range=255, channel_axis=-1)`.

MS-SSIM as in Wang et al., "Multiscale structural similarity" (Asilomar 2003): five scales, 2 x 2
means between them, contrast-structure at the finer ones, SSIM at the coarsest; a negative mean
counts as 0; per channel, then averaged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semcast.metrics.weights import MetricUnavailableError

WINDOW = 11
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
MS_SSIM_MIN_SIDE = WINDOW * 2 ** (len(MS_SSIM_WEIGHTS) - 1)

_SIGMA = 1.5
_C1 = (0.01 * 255) ** 2
_C2 = (0.03 * 255) ** 2
_OFFSET = 128.0
"""Taken off before filtering: variances are differences of means of squares, and float32 keeps more
of them when the values lie around 0."""

Float32 = NDArray[np.float32]
Picture = NDArray[np.uint8]


def ssim(a: Picture, b: Picture) -> float:
    """SSIM of two pictures [H, W, 3], uint8, sides of at least 11; -1 to 1, 1 if identical.

    Raises ValueError if the shapes differ, MetricUnavailableError if a side is too short.
    """
    _check_shapes(a, b, WINDOW)
    luminance, structure = _maps(_centred(a), _centred(b))
    return float(np.mean(luminance * structure, dtype=np.float64))


def ms_ssim(a: Picture, b: Picture) -> float:
    """MS-SSIM of two pictures [H, W, 3], uint8, sides of at least 176; 0 to 1, 1 if identical.

    Raises ValueError if the shapes differ, MetricUnavailableError if a side is too short.
    """
    _check_shapes(a, b, MS_SSIM_MIN_SIDE)
    left, right = _centred(a), _centred(b)
    product = np.ones(a.shape[-1])
    for scale, weight in enumerate(MS_SSIM_WEIGHTS, start=1):
        luminance, structure = _maps(left, right)
        coarsest = scale == len(MS_SSIM_WEIGHTS)
        term = luminance * structure if coarsest else structure
        mean = np.mean(term, axis=(0, 1), dtype=np.float64)
        product *= np.maximum(mean, 0) ** weight
        if not coarsest:
            left, right = _halved(left), _halved(right)
    return float(product.mean())


class SsimMeter:
    """Mean over frames of SSIM, or of MS-SSIM."""

    def __init__(self, score: Callable[[Picture, Picture], float] = ssim) -> None:
        """score: `ssim` or `ms_ssim`."""
        self._score = score
        self._sum = 0.0
        self._num_frames = 0

    def add(self, source: Picture, received: Picture) -> None:
        """Count two pictures [H, W, 3], uint8."""
        self._sum += self._score(source, received)
        self._num_frames += 1

    def result(self) -> float | None:
        """Mean over frames; None before the first."""
        return self._sum / self._num_frames if self._num_frames else None


def _check_shapes(a: Picture, b: Picture, min_side: int) -> None:
    if a.shape != b.shape or a.ndim != 3:
        raise ValueError(f"need two pictures [H, W, channels], got {a.shape} and {b.shape}")
    if min(a.shape[:2]) < min_side:
        raise MetricUnavailableError(
            f"pictures of {a.shape[1]}x{a.shape[0]} are too small: each side must be >= {min_side}"
        )


def _centred(picture: Picture) -> Float32:
    return picture.astype(np.float32) - np.float32(_OFFSET)


def _maps(a: Float32, b: Float32) -> tuple[Float32, Float32]:
    """Luminance term and contrast-structure term of each window: [H - 10, W - 10, channels]."""
    mean_a, mean_b = _windowed(a), _windowed(b)
    power = _windowed(a * a + b * b) - mean_a * mean_a - mean_b * mean_b
    covariance = _windowed(a * b) - mean_a * mean_b
    structure = (2 * covariance + _C2) / (power + _C2)
    mean_a, mean_b = mean_a + _OFFSET, mean_b + _OFFSET
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a * mean_a + mean_b * mean_b + _C1)
    return luminance, structure


def _windowed(values: Float32) -> Any:
    """Gaussian mean of each window inside the picture."""
    # Imported here: whoever needs PSNR only must do without OpenCV.
    import cv2

    offsets = np.arange(WINDOW) - WINDOW // 2
    kernel = np.exp(-(offsets**2) / (2 * _SIGMA**2))
    kernel = (kernel / kernel.sum()).astype(np.float32)
    border = WINDOW // 2
    return cv2.sepFilter2D(values, cv2.CV_32F, kernel, kernel)[border:-border, border:-border]


def _halved(values: Float32) -> Float32:
    """Means of 2 x 2; an odd last row or column is left out."""
    height, width = (side // 2 * 2 for side in values.shape[:2])
    even = values[:height, :width]
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / np.float32(4)
