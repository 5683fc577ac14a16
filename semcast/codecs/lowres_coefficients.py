"""Quantised transform coefficients of a tiny frame: context model and symbols.

Context model. The scale of each coefficient is predicted as a level

    z = bias[mode, plane, radial class] + sum_k weight[mode, plane, k] * n_k

over the nine features of `features` (logarithms of magnitudes nearby, of the prediction and of
what changed last time), the quantiser and the frame's area. z, in integer arithmetic, picks one of
40 fixed distributions of the quantised value (`lowres_tables`, fitted by
`training/fit_lowres_codec.py`). `mode` is the transform size and the prediction.

Symbols. Per plane the number of coded frequencies comes first (`COUNT_SIZES`), in the context of
which planes before it are empty. Then the values: 0..30 is value - 15 with |value| <= 14 between, 0
and 30 the escapes - and +, followed by |value| - 15 in Exp-Golomb code.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from semcast.codecs import lowres_tables as tables
from semcast.codecs.errors import CorruptPayloadError
from semcast.codecs.lowres_layout import BlockLayout
from semcast.codecs.range_payload import PayloadReader, PayloadWriter, categorical

NUM_QP = 46
STEPS = np.rint(10 * 2.0 ** (np.arange(NUM_QP) / 4)).astype(np.int64)
"""Quantiser step by qp, 1/16 levels: 0.6 to 1520 levels in ratios of 2^(1/4)."""

ESCAPE = 15
NUM_MODES = 9
NUM_FEATURES = 9
NUM_WEIGHTS = NUM_FEATURES + 2
"""Weights of the features, of the qp and of the frame's area."""
NUM_LEVELS = 40
NUM_COUNT_CONTEXTS = 7
_MAX_PREFIX = 12
_Z_BITS = 12

LOG = np.rint(16 * np.log2(1 + np.arange(256))).astype(np.int32)
"""16 * log2(1 + n) for n in 0..255, the unit of every feature."""

_BIAS = np.array(tables.BIAS, dtype=np.int32)  # [modes, 3, classes]
_WEIGHTS = np.array(tables.WEIGHTS, dtype=np.int32)  # [modes, 3, NUM_WEIGHTS]
_LEVELS = np.array(tables.LEVELS, dtype=np.int64)  # [levels, 16] frequencies of |value|
_COUNTS = np.array(tables.COUNTS, dtype=np.int64)  # [modes, contexts, NUM_COUNTS]
RECONSTRUCTION = np.array(tables.RECONSTRUCTION, dtype=np.int64)  # 1/32 step towards zero
# Compiled functions take these as arguments: as globals they would be frozen into numba's cache,
# which does not notice when another file (the tables) changes.


def bit_costs(frequencies: NDArray[np.int64]) -> NDArray[np.int32]:
    """-log2 of the probability of each symbol of the last axis, in 1/256 bit."""
    probability = frequencies / frequencies.sum(axis=-1, keepdims=True)
    return np.asarray(np.rint(-256 * np.log2(probability)), dtype=np.int32)


def signed_frequencies(magnitudes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Frequencies of -n..n from those of 0..n: both signs are equally likely."""
    return np.concatenate([magnitudes[:0:-1], 2 * magnitudes[:1], magnitudes[1:]])


_LEVEL_MODELS = [categorical(signed_frequencies(level)) for level in _LEVELS]
_COUNT_MODELS = [[categorical(row) for row in mode] for mode in _COUNTS]
_BIT = categorical([1, 1])
LEVEL_COSTS = bit_costs(_LEVELS) + 256 * (np.arange(ESCAPE + 1) > 0).astype(np.int32)
"""Cost of |value| with its sign, int32 [levels, 16]."""
COUNT_COSTS = bit_costs(_COUNTS)


def model_of(mode: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Bias [3, classes] and weights [3, NUM_WEIGHTS] of a mode."""
    return _BIAS[mode], _WEIGHTS[mode]


@numba.njit(cache=True)
def count_context(p: int, first: bool, second: bool) -> int:
    """Context of the count of plane p; `first`, `second`: planes 0 and 1 hold something."""
    if p == 0:
        return 0
    if p == 1:
        return 2 if first else 1
    return 3 + (1 if first else 0) + (2 if second else 0)


@numba.njit(cache=True)
def _known_logs(
    transforms: NDArray[np.float64], step: int, log: NDArray[np.int32]
) -> NDArray[np.int32]:
    _, planes, blocks, frequencies = transforms.shape
    result = np.empty((3, planes, blocks, frequencies), dtype=np.int32)
    for p in range(planes):
        for b in range(blocks):
            total = 0
            for f in range(frequencies):
                predicted = int(abs(transforms[0, p, b, f]) * 4) // step
                changed = int(abs(transforms[1, p, b, f]) * 4) // step
                result[0, p, b, f] = log[min(predicted, 255)]
                result[1, p, b, f] = log[min(changed, 255)]
                total += changed
            for f in range(frequencies):
                result[2, p, b, f] = log[min(total >> 2, 255)]
    return result


def known_logs(transforms: NDArray[np.float64], qp: int) -> NDArray[np.int32]:
    """Features 6 to 8 of every coefficient, int32 [3, 3, blocks, frequencies].

    `transforms` [2, 3, blocks, frequencies], exact integers: the coefficients of the prediction and
    of what the reference changed. Features 6 and 7: LOG of their magnitudes in quarter steps;
    feature 8: LOG of the sum of the second over the block, in steps.
    """
    return np.asarray(_known_logs(transforms, int(STEPS[qp]), LOG))


@numba.njit(cache=True)
def features(
    magnitudes: NDArray[np.int32],
    activity: NDArray[np.int32],
    known: NDArray[np.int32],
    frequencies: NDArray[np.int32],
    blocks: NDArray[np.int32],
    p: int,
    f: int,
    b: int,
) -> tuple[int, int, int, int, int, int, int, int, int]:
    """The nine features of a coefficient, as LOG values.

    n_0: lower frequencies of the same block; n_1: the same frequency in the neighbouring blocks;
    n_2, n_3: sums of magnitudes so far in this and in the four adjoining blocks; n_4, n_5: the same
    place in the planes before; n_6 to n_8 from `known_logs`. `magnitudes` int32 [3, blocks+1,
    frequencies+1] (last row and column stay zero), `activity` int32 [3, blocks+1], `known` int32
    [3, 3, blocks, frequencies].
    """
    m = magnitudes[p, b]
    left, up = frequencies[f, 0], frequencies[f, 1]
    near = 2 * (m[left] + m[up]) + m[frequencies[f, 2]] + m[frequencies[f, 3]]
    near += m[frequencies[f, 4]]
    plane = magnitudes[p]
    around = 2 * (plane[blocks[b, 0], f] + plane[blocks[b, 1], f])
    around += plane[blocks[b, 2], f] + plane[blocks[b, 3], f]
    beside = activity[p, blocks[b, 0]] + activity[p, blocks[b, 1]]
    beside += activity[p, blocks[b, 4]] + activity[p, blocks[b, 5]]
    first = 0
    second = 0
    if p > 0:
        n = magnitudes[0, b]
        first = 2 * n[f] + n[left] + n[up]
    if p > 1:
        n = magnitudes[1, b]
        second = 2 * n[f] + n[left] + n[up]
    return (
        LOG[min(near, 255)],
        LOG[min(around, 255)],
        LOG[min(activity[p, b], 255)],
        LOG[min(beside, 255)],
        LOG[min(first, 255)],
        LOG[min(second, 255)],
        known[0, p, b, f],
        known[1, p, b, f],
        known[2, p, b, f],
    )


@numba.njit(cache=True)
def level_of(
    magnitudes: NDArray[np.int32],
    activity: NDArray[np.int32],
    known: NDArray[np.int32],
    frequencies: NDArray[np.int32],
    blocks: NDArray[np.int32],
    bias: NDArray[np.int32],
    weights: NDArray[np.int32],
    constant: int,
    p: int,
    f: int,
    b: int,
) -> int:
    """Index of the distribution of one coefficient; `constant` int32 [3] from `constants`."""
    n0, n1, n2, n3, n4, n5, n6, n7, n8 = features(
        magnitudes, activity, known, frequencies, blocks, p, f, b
    )
    w = weights[p]
    z = constant + bias[p, frequencies[f, 5]] + w[0] * n0 + w[1] * n1 + w[2] * n2 + w[3] * n3
    z += w[4] * n4 + w[5] * n5 + w[6] * n6 + w[7] * n7 + w[8] * n8
    return int(min(max(z >> _Z_BITS, 0), NUM_LEVELS - 1))


@numba.njit(cache=True)
def constant_of(weights: NDArray[np.int32], p: int, qp: int, area_log: int) -> int:
    """The part of z that is the same throughout plane p."""
    return int(weights[p, NUM_FEATURES] * qp + weights[p, NUM_FEATURES + 1] * area_log)


@numba.njit(cache=True)
def _store_and_level(
    values: NDArray[np.int32],
    magnitudes: NDArray[np.int32],
    activity: NDArray[np.int32],
    known: NDArray[np.int32],
    frequencies: NDArray[np.int32],
    blocks: NDArray[np.int32],
    bias: NDArray[np.int32],
    weights: NDArray[np.int32],
    constant: int,
    p: int,
    index: int,
    previous: int,
) -> int:
    """Store `previous` at coefficient `index - 1` of plane p (frequency-major order), then the
    level of coefficient `index`; -1 where that is past the end of the arrays."""
    num_blocks = blocks.shape[0]
    if index > 0:
        f, b = (index - 1) // num_blocks, (index - 1) % num_blocks
        values[p, b, f] = previous
        magnitudes[p, b, f] = min(abs(previous), 63)
        activity[p, b] += magnitudes[p, b, f]
    f, b = index // num_blocks, index % num_blocks
    if f >= frequencies.shape[0]:
        return -1
    return level_of(
        magnitudes, activity, known, frequencies, blocks, bias, weights, constant, p, f, b
    )


@numba.njit(cache=True)
def _plane_levels(
    values: NDArray[np.int32],
    magnitudes: NDArray[np.int32],
    activity: NDArray[np.int32],
    known: NDArray[np.int32],
    frequencies: NDArray[np.int32],
    blocks: NDArray[np.int32],
    bias: NDArray[np.int32],
    weights: NDArray[np.int32],
    constant: int,
    p: int,
    ordered: NDArray[np.int32],
) -> NDArray[np.int32]:
    """Levels of all the coefficients of plane p, whose values the encoder knows beforehand."""
    levels = np.empty(len(ordered), dtype=np.int32)
    previous = 0
    for index in range(len(ordered) + 1):
        level = _store_and_level(
            values, magnitudes, activity, known, frequencies, blocks,
            bias, weights, constant, p, index, previous,
        )  # fmt: skip
        if index < len(ordered):
            levels[index] = level
            previous = ordered[index]
    return levels


@numba.njit(cache=True)
def dequantise(value: int, step: int, reconstruction: NDArray[np.int64]) -> int:
    """Reconstruction of a quantised value, 1/16 levels."""
    magnitude = min(abs(value), 1 << 14)
    if magnitude == 0:
        return 0
    level = magnitude * step - ((step * reconstruction[min(magnitude, 3) - 1]) >> 5)
    return int(level) if value > 0 else -int(level)


@numba.njit(cache=True)
def _dequantise_all(
    values: NDArray[np.int32], step: int, reconstruction: NDArray[np.int64]
) -> NDArray[np.float64]:
    result = np.empty(values.shape)
    for p in range(values.shape[0]):
        for b in range(values.shape[1]):
            for f in range(values.shape[2]):
                result[p, b, f] = dequantise(values[p, b, f], step, reconstruction)
    return result


def dequantise_all(values: NDArray[np.int32], step: int) -> NDArray[np.float64]:
    """`dequantise` of an array, as the exact float64 integers that the transform takes."""
    return np.asarray(_dequantise_all(values, step, RECONSTRUCTION))


def _write_escape(writer: PayloadWriter, magnitude: int) -> None:
    rest = magnitude - ESCAPE + 1
    length = rest.bit_length() - 1
    for _ in range(length):
        writer.write(1, _BIT)
    writer.write(0, _BIT)
    for bit in range(length - 1, -1, -1):
        writer.write(rest >> bit & 1, _BIT)


def _read_escape(reader: PayloadReader) -> int:
    length = 0
    while reader.read(_BIT):
        length += 1
        if length > _MAX_PREFIX:
            raise CorruptPayloadError("an escaped coefficient is larger than any picture has")
    rest = 1
    for _ in range(length):
        rest = rest << 1 | reader.read(_BIT)
    return rest - 1 + ESCAPE


def write_coefficients(
    writer: PayloadWriter,
    layout: BlockLayout,
    known: NDArray[np.int32],
    mode: int,
    qp: int,
    values: NDArray[np.int32],
    chosen: NDArray[np.int32],
) -> None:
    """Code `values` int32 [3, blocks, frequencies], cut after `chosen` [3] (count symbols)."""
    num = len(layout.scan)
    magnitudes = np.zeros((3, layout.num_blocks + 1, num + 1), dtype=np.int32)
    activity = np.zeros((3, layout.num_blocks + 1), dtype=np.int32)
    scratch = np.zeros_like(values)
    bias, weights = model_of(mode)
    for p in range(3):
        context = count_context(p, chosen[0] > 0, chosen[1] > 0)
        writer.write(int(chosen[p]), _COUNT_MODELS[mode][context])
        total = int(layout.counts[chosen[p]]) * layout.num_blocks
        ordered = np.ascontiguousarray(values[p].T).ravel()[:total]
        constant = constant_of(weights, p, qp, layout.area_log)
        levels = _plane_levels(
            scratch, magnitudes, activity, known, layout.frequencies, layout.blocks,
            bias, weights, constant, p, ordered,
        )  # fmt: skip
        for value, level in zip(ordered.tolist(), levels.tolist(), strict=True):
            clipped = max(-ESCAPE, min(ESCAPE, value))
            writer.write(clipped + ESCAPE, _LEVEL_MODELS[level])
            if abs(clipped) == ESCAPE:
                _write_escape(writer, abs(value))


def read_coefficients(
    reader: PayloadReader,
    layout: BlockLayout,
    known: NDArray[np.int32],
    mode: int,
    qp: int,
) -> NDArray[np.int32]:
    """Quantised values int32 [3, blocks, frequencies], as `write_coefficients` coded them."""
    num = len(layout.scan)
    magnitudes = np.zeros((3, layout.num_blocks + 1, num + 1), dtype=np.int32)
    activity = np.zeros((3, layout.num_blocks + 1), dtype=np.int32)
    values = np.zeros((3, layout.num_blocks, num), dtype=np.int32)
    bias, weights = model_of(mode)
    chosen = [0, 0, 0]
    for p in range(3):
        context = count_context(p, chosen[0] > 0, chosen[1] > 0)
        chosen[p] = reader.read(_COUNT_MODELS[mode][context])
        total = int(layout.counts[chosen[p]]) * layout.num_blocks
        constant = constant_of(weights, p, qp, layout.area_log)
        previous = 0
        for index in range(total + 1):
            level = _store_and_level(
                values, magnitudes, activity, known, layout.frequencies, layout.blocks,
                bias, weights, constant, p, index, previous,
            )  # fmt: skip
            if index == total:
                break
            previous = reader.read(_LEVEL_MODELS[level]) - ESCAPE
            if abs(previous) == ESCAPE:
                magnitude = _read_escape(reader)
                previous = magnitude if previous > 0 else -magnitude
    return values
