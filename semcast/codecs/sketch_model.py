"""How likely is a line at a pixel of a sketch, given what both ends know of it already?

A network small enough for integers. Its inputs are pixels (0 or 1) that are known: those before
this one in reading order and, with a reference, those around this place in it; and, as constants of
a map, how full it is, how much of it is as in the reference, and which borders are near.
`NUM_HIDDEN` sums of their weights, cut at 0 and HIDDEN_MAX, are weighted again into a logit, and a
table turns that into a frequency for the range coder. All of it is int32 and int64 arithmetic: both
ends agree to the last bit.

Sketches are nearly empty, so the sums are kept for all pixels and each pixel that is set adds its
weights to those of its neighbours that come later. Fitted by `training/fit_sketch_codec.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cache
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from semcast.codecs import sketch_tables as tables
from semcast.codecs.errors import CorruptPayloadError
from semcast.codecs.range_payload import BINARY_TOTAL, CoderPosition

NUM_HIDDEN = 24

BEFORE = np.array(
    [(0, dx) for dx in range(-5, 0)]
    + [(-1, dx) for dx in range(-4, 5)]
    + [(-2, dx) for dx in range(-4, 5)]
    + [(-3, dx) for dx in range(-3, 4)]
    + [(-4, dx) for dx in range(-2, 3)],
    dtype=np.int64,
)
"""Places (down, right) of known pixels of the map itself."""

AROUND = np.array([(dy, dx) for dy in range(-3, 4) for dx in range(-3, 4)], dtype=np.int64)
"""Places of pixels of the reference."""

NUM_FULLNESS = 8
FULLNESS_PER_MILLE = (2, 5, 10, 20, 35, 55, 80)
"""Upper ends of the classes of how many of a map's pixels are set."""

NUM_STILLNESS = 6
STILLNESS_PER_MILLE = (10, 40, 100, 250, 500)
"""Upper ends of the classes of how many of a map's and its reference's pixels are in one alone."""

NUM_BORDERS = 4
BORDER_REACH = 2

WEIGHT_ONE = 256
"""Of a weight 1.0 of either layer."""

LOGIT_ONE = 128
LOGIT_MAX = 9 * LOGIT_ONE
HIDDEN_MAX = 16 * WEIGHT_ONE
_LOGIT_SHIFT = 9
"""WEIGHT_ONE squared / LOGIT_ONE, as a shift."""


@dataclass(frozen=True)
class ContextModel:
    """Integer weights. before: [35, H]; around: [49, H]; fullness: [8, H]; stillness: [6, H];
    borders: [4, H] (left, right, top, bottom); bias, output: [H]; constant: of the logit, in
    WEIGHT_ONE squared."""

    before: NDArray[np.int32]
    around: NDArray[np.int32]
    fullness: NDArray[np.int32]
    stillness: NDArray[np.int32]
    borders: NDArray[np.int32]
    bias: NDArray[np.int32]
    output: NDArray[np.int32]
    constant: int


@cache
def model_of(with_reference: bool) -> ContextModel:
    """The fitted model of maps that have a reference, or of those that have none."""
    table = tables.INTER if with_reference else tables.INTRA
    return ContextModel(
        constant=table["constant"],
        **{k: np.array(v, dtype=np.int32) for k, v in table.items() if k != "constant"},
    )


@cache
def frequencies() -> NDArray[np.int64]:
    """Frequency of a set pixel for each logit from -LOGIT_MAX to LOGIT_MAX; exact decimals."""
    with localcontext() as context:
        context.prec = 30
        shares = [
            1 / (1 + (-Decimal(k) / LOGIT_ONE).exp()) for k in range(-LOGIT_MAX, LOGIT_MAX + 1)
        ]
        return np.array([int(share * BINARY_TOTAL) for share in shares], dtype=np.int64)


@cache
def bits_of() -> NDArray[np.float64]:
    """Cost in bits of an empty and of a set pixel at each logit, [n, 2]; for the encoder alone."""
    ones = (1.0 + frequencies()) / 2**24
    return np.stack([-np.log2(1 - ones), -np.log2(ones)], axis=1)


def fullness_of(bitmap: NDArray[np.uint8]) -> int:
    """Class of how many pixels are set, 0 to NUM_FULLNESS - 1."""
    per_mille = 1000 * int(bitmap.sum()) / bitmap.size
    return int(np.searchsorted(FULLNESS_PER_MILLE, per_mille))


@dataclass(frozen=True)
class MapClass:
    """What is known of a map as a whole. fullness: 0 to 7. stillness: 0 to 5, 0 the stillest; 0 for
    a map without a reference."""

    fullness: int
    stillness: int


def class_of(bitmap: NDArray[np.uint8], reference: NDArray[np.uint8] | None) -> MapClass:
    """The class of a map, beside its reference."""
    stillness = 0
    if reference is not None:
        changed = 1000 * int((bitmap ^ reference).sum())
        both = max(1, int(bitmap.sum()) + int(reference.sum()))
        stillness = int(np.searchsorted(STILLNESS_PER_MILLE, changed / both))
    return MapClass(fullness_of(bitmap), stillness)


def sums_without_class(
    shape: tuple[int, int], reference: NDArray[np.uint8] | None
) -> NDArray[np.int32]:
    """The hidden layer's sums of a map of which nothing is known but its reference, [h, w, H]."""
    model = model_of(reference is not None)
    sums = np.empty((*shape, NUM_HIDDEN), dtype=np.int32)
    sums[:] = model.bias
    reach: int = BORDER_REACH
    sums[:, :reach] += model.borders[0]
    sums[:, -reach:] += model.borders[1]
    sums[:reach] += model.borders[2]
    sums[-reach:] += model.borders[3]
    if reference is not None:
        _add_reference(reference, AROUND, model.around, sums)
    return sums


def _of_class(sums: NDArray[np.int32], model: ContextModel, kind: MapClass) -> NDArray[np.int32]:
    of_all = model.fullness[kind.fullness] + model.stillness[kind.stillness]
    return np.asarray(sums + of_all, dtype=np.int32)


@numba.njit(cache=True)
def _add_reference(reference, places, weights, sums):  # type: ignore[no-untyped-def]
    height, width = reference.shape
    for y in range(height):
        for x in range(width):
            if reference[y, x]:
                for k in range(places.shape[0]):
                    row, column = y - places[k, 0], x - places[k, 1]
                    if 0 <= row < height and 0 <= column < width:
                        for i in range(sums.shape[2]):
                            sums[row, column, i] += weights[k, i]


@numba.njit(cache=True, inline="always")
def _logit_index(sums, y, x, output, constant):  # type: ignore[no-untyped-def]
    """Index into `frequencies` of the pixel's logit."""
    total: Any = np.int64(constant)
    for i in range(sums.shape[2]):
        hidden: Any = min(max(sums[y, x, i], 0), HIDDEN_MAX)
        total += np.int64(hidden) * output[i]
    return min(max(total >> _LOGIT_SHIFT, -LOGIT_MAX), LOGIT_MAX) + LOGIT_MAX


@numba.njit(cache=True, inline="always")
def _add_pixel(y, x, places, weights, sums):  # type: ignore[no-untyped-def]
    height, width = sums.shape[:2]
    for k in range(places.shape[0]):
        row, column = y - places[k, 0], x - places[k, 1]
        if row < height and 0 <= column < width:
            for i in range(sums.shape[2]):
                sums[row, column, i] += weights[k, i]


@numba.njit(cache=True)
def _walk(bitmap, sums, places, weights, output, constant, indices):  # type: ignore[no-untyped-def]
    """Logit index of every pixel of a map that is known."""
    height, width = bitmap.shape
    for y in range(height):
        for x in range(width):
            indices[y, x] = _logit_index(sums, y, x, output, constant)
            if bitmap[y, x]:
                _add_pixel(y, x, places, weights, sums)


def logit_indices(
    bitmap: NDArray[np.uint8],
    reference: NDArray[np.uint8] | None,
    kind: MapClass,
    known: NDArray[np.int32] | None = None,
) -> NDArray[np.int64]:
    """Index into `frequencies` and `bits_of` of each pixel of a map, [h, w].

    known: `sums_without_class`, by one who asks for many maps of one reference.
    """
    height, width = bitmap.shape
    if known is None:
        known = sums_without_class((height, width), reference)
    model = model_of(reference is not None)
    indices = np.empty(bitmap.shape, dtype=np.int64)
    _walk(
        bitmap, _of_class(known, model, kind), BEFORE, model.before, model.output, model.constant,
        indices,
    )  # fmt: skip
    return indices


def pixel_bits(
    bitmap: NDArray[np.uint8],
    reference: NDArray[np.uint8] | None,
    kind: MapClass,
    known: NDArray[np.int32] | None = None,
) -> NDArray[np.float64]:
    """Cost of each pixel in bits, [h, w]; arguments as of `logit_indices`."""
    return np.asarray(bits_of()[logit_indices(bitmap, reference, kind, known), bitmap])


def ones_of(
    bitmap: NDArray[np.uint8], reference: NDArray[np.uint8] | None, kind: MapClass
) -> NDArray[np.int64]:
    """What `PayloadWriter.write_binary` takes for the map's pixels in reading order."""
    return np.asarray(frequencies()[logit_indices(bitmap, reference, kind)].ravel())


@numba.njit(cache=True)
def _decode(  # type: ignore[no-untyped-def]
    words, next_word, lower, interval, sums, places, weights, output, constant, table, bitmap, ones
):
    """Constriction's range decoder beside the model; False where the bits fit no symbol."""
    word_bits, precision = np.uint64(32), np.uint64(24)
    total = np.uint64(1 << 24)
    num_words = len(words)
    point = np.uint64(0)
    for _ in range(2):
        point <<= word_bits
        if next_word < num_words:
            point |= np.uint64(words[next_word])
        next_word += 1
    height, width = bitmap.shape
    for y in range(height):
        for x in range(width):
            one = table[_logit_index(sums, y, x, output, constant)]
            ones[y * width + x] = one
            # Of 2**24, a zero has all but the last 1 + one.
            zeros = total - np.uint64(1 + one)
            scale = interval >> precision
            quantile = (point - lower) // scale
            if quantile >= total:
                return False
            if quantile < zeros:
                interval = scale * zeros
            else:
                bitmap[y, x] = 1
                _add_pixel(y, x, places, weights, sums)
                lower += scale * zeros
                interval = scale * np.uint64(1 + one)
            if interval < (np.uint64(1) << word_bits):
                interval <<= word_bits
                lower <<= word_bits
                point <<= word_bits
                if next_word < num_words:
                    point |= np.uint64(words[next_word])
                next_word += 1
    return True


def decode_pixels(
    position: CoderPosition,
    shape: tuple[int, int],
    reference: NDArray[np.uint8] | None,
    kind: MapClass,
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """A map from where a payload's reader stands: bitmap [h, w], and frequencies of 1 [h * w].

    Raises CorruptPayloadError where the bits fit no symbol.
    """
    model = model_of(reference is not None)
    sums = _of_class(sums_without_class(shape, reference), model, kind)
    bitmap = np.zeros(shape, dtype=np.uint8)
    ones = np.zeros(bitmap.size, dtype=np.int64)
    fits = _decode(
        position.words, position.next_word, np.uint64(position.lower), np.uint64(position.interval),
        sums, BEFORE, model.before, model.output, model.constant, frequencies(), bitmap, ones,
    )  # fmt: skip
    if not fits:
        raise CorruptPayloadError("the payload is no output of this range coder")
    return bitmap, ones
