"""Tiny pictures as the low-res codec sees them: size, colour planes, block transform.

Everything a decoder needs is exact: matrices hold integers, products stay below 2^53, so float64
matrix products are the same on every machine, whatever order a BLAS adds in.

Colour: an orthonormal opponent space, so that squared error in it is squared error in RGB,

    P0 = (R + G + B) / sqrt 3,   P1 = (R - B) / sqrt 2,   P2 = (R - 2G + B) / sqrt 6,

kept as int32 in 1/16 levels. No chroma subsampling: high chroma frequencies that are not worth
their bits quantise to zero by themselves.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from semcast.errors import InputError

PLANE_SCALE = 16
"""Units of a plane value per RGB level."""

MIN_SIDE = 16
MAX_SIDE = 128
"""Bounds of a tiny frame's sides: below, nothing is recognisable; above, decoding gets slow."""

_COLOUR_BITS = 14
_COLOUR = np.rint(
    PLANE_SCALE
    * 2.0**_COLOUR_BITS
    * np.array(
        [
            [3**-0.5, 3**-0.5, 3**-0.5],
            [2**-0.5, 0.0, -(2**-0.5)],
            [6**-0.5, -2 * 6**-0.5, 6**-0.5],
        ]
    )
)
_INVERSE_BITS = 20
_INVERSE = np.rint(_COLOUR.T / (PLANE_SCALE**2 * 2.0**_COLOUR_BITS) * 2.0**_INVERSE_BITS)
_TRANSFORM_BITS = 12

PLANE_MIN = np.array([0, -2886, -3333], dtype=np.int32)
PLANE_MAX = np.array([7067, 2886, 3333], dtype=np.int32)
"""Range that RGB in 0..255 can reach, per plane, in 1/16 levels."""


@dataclass(frozen=True)
class LowresGeometry:
    """Size of the tiny frame in pixels; both sides are multiples of 8 in 16..128."""

    width: int
    height: int

    def __post_init__(self) -> None:
        for name, side in (("width", self.width), ("height", self.height)):
            if side % 8 or not MIN_SIDE <= side <= MAX_SIDE:
                raise InputError(
                    f"low-res {name} must be a multiple of 8 between {MIN_SIDE} and {MAX_SIDE}, "
                    f"not {side}"
                )


def shrink(rgb: NDArray[np.uint8], geometry: LowresGeometry) -> NDArray[np.uint8]:
    """Area average of `rgb` uint8 [H, W, 3] to uint8 [height, width, 3].

    Each output pixel is the exact mean of the (fractional) input area it covers, rounded half up.
    Where the input is smaller than the geometry the same rule repeats pixels.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or 0 in rgb.shape:
        raise InputError(f"a picture must be uint8 [H, W, 3], not {rgb.dtype} {list(rgb.shape)}")
    rows = _coverage(rgb.shape[0], geometry.height)
    columns = _coverage(rgb.shape[1], geometry.width)
    area = rgb.shape[0] * rgb.shape[1]
    # [h, H] @ [H, W*3] -> [h, W, 3]; then over columns. Integers below 2^53 throughout.
    partial = (rows @ rgb.reshape(rgb.shape[0], -1).astype(np.float64)).reshape(
        geometry.height, rgb.shape[1], 3
    )
    total = np.einsum("wW,hWc->hwc", columns, partial, optimize=True)
    return np.asarray((2 * total + area) // (2 * area), dtype=np.uint8)


@lru_cache(maxsize=64)
def _coverage(size: int, small: int) -> NDArray[np.float64]:
    """float64 [small, size]: overlap of input pixel and output pixel, in 1/small input pixels."""
    output = np.arange(small)[:, None] * size
    source = np.arange(size)[None, :] * small
    overlap = np.minimum(output + size, source + small) - np.maximum(output, source)
    return np.asarray(np.clip(overlap, 0, None), dtype=np.float64)


def planes_from_rgb(rgb: NDArray[np.uint8]) -> NDArray[np.int32]:
    """uint8 [h, w, 3] to opponent planes int32 [3, h, w], 1/16 levels."""
    product = np.einsum("pc,hwc->phw", _COLOUR, rgb.astype(np.float64), optimize=True)
    return np.asarray(np.floor(product / 2.0**_COLOUR_BITS + 0.5), dtype=np.int32)


def rgb_from_planes(planes: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Opponent planes int32 [3, h, w] to uint8 [h, w, 3], clipped."""
    product = np.einsum("cp,phw->hwc", _INVERSE, planes.astype(np.float64), optimize=True)
    levels = np.floor(product / 2.0**_INVERSE_BITS + 0.5)
    return np.asarray(np.clip(levels, 0, 255), dtype=np.uint8)


def clip_planes(planes: NDArray[np.int32]) -> NDArray[np.int32]:
    """Planes int32 [3, h, w] clipped to what RGB can reach."""
    return np.clip(planes, PLANE_MIN[:, None, None], PLANE_MAX[:, None, None])


@lru_cache(maxsize=64)
def _basis(size: int) -> NDArray[np.float64]:
    """Orthonormal DCT-II basis [frequency, sample] times 2^12, rounded to integers."""
    sample = np.arange(size)
    basis = np.cos(np.pi * sample[:, None] * (2 * sample + 1) / (2 * size)) * (2 / size) ** 0.5
    basis[0] /= 2**0.5
    return np.asarray(np.rint(basis * 2.0**_TRANSFORM_BITS), dtype=np.float64)


def forward_transform(planes: NDArray[np.int32], block: tuple[int, int]) -> NDArray[np.float64]:
    """Blockwise DCT of int planes [3, h, w] to [3, blocks, block height, block width].

    Blocks in raster order, `block` = (height, width) divides the plane. Orthonormal scale (1/16
    levels), rounded down to integers, so exact on every machine.
    """
    height, width = block
    count_y, count_x = planes.shape[1] // height, planes.shape[2] // width
    blocks = planes.reshape(3, count_y, height, count_x, width).transpose(0, 1, 3, 2, 4)
    result = _basis(height) @ blocks.astype(np.float64) @ _basis(width).T
    coefficients = np.floor(result / 2.0 ** (2 * _TRANSFORM_BITS) + 0.5)
    return np.asarray(coefficients.reshape(3, count_y * count_x, height, width))


def inverse_transform(
    coefficients: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.int32]:
    """Inverse of `forward_transform`: [3, blocks, bh, bw] to int32 planes [3, *shape]."""
    height, width = coefficients.shape[2:]
    count_y, count_x = shape[0] // height, shape[1] // width
    result = _basis(height).T @ coefficients @ _basis(width)
    samples = np.floor(result / 2.0 ** (2 * _TRANSFORM_BITS) + 0.5)
    planes = samples.reshape(3, count_y, count_x, height, width).transpose(0, 1, 3, 2, 4)
    return np.asarray(planes.reshape(3, *shape), dtype=np.int32)
