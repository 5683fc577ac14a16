"""Quantised transform coefficients of a tiny frame: order, context model, quantisation.

Order. Plane by plane; within a plane frequency by frequency (low to high, `scan` of
`BlockLayout`), within a frequency block by block in raster order. So when a coefficient is coded
every lower frequency of the whole plane is known, and with it the blocks to the right and below.

Context model. The scale of each coefficient is predicted as a level

    z = bias[mode, plane, radial class] + sum_k weight[mode, plane, k] * log2(1 + n_k) + w_qp * qp

with n_0 the lower frequencies of the same block, n_1 the same frequency in the neighbouring
blocks, n_2 and n_3 the sums of magnitudes so far in this and the four adjoining blocks, n_4 and
n_5 the same place in the planes before, n_6 the prediction's own coefficient there. z, in integer
arithmetic, picks one of 40 fixed distributions of the quantised value (`lowres_tables`, fitted by
`training/fit_lowres_codec.py`). `mode` is the transform size and intra or inter.

Symbols. 0..30: value - 15 with |value| <= 14 between, 0 and 30 the escapes - and +, followed by
|value| - 15 in Exp-Golomb code. Per plane the number of coded frequencies comes first, as one of
32 counts in quarter-octave steps.
"""

from dataclasses import dataclass
from functools import lru_cache

import numba
import numpy as np
from numpy.typing import NDArray

from semcast.codecs import lowres_tables as tables
from semcast.codecs.errors import CorruptPayloadError
from semcast.codecs.range_payload import PayloadReader, PayloadWriter, categorical

NUM_QP = 64
STEPS = np.rint(10 * 2.0 ** (np.arange(NUM_QP) / 8)).astype(np.int64)
"""Quantiser step by qp, 1/16 levels: 0.6 to 147 levels in ratios of 2^(1/8)."""

ESCAPE = 15
NUM_COUNTS = 32
NUM_FEATURES = 7
NUM_CLASSES = 19
NUM_LEVELS = 40
_MAX_PREFIX = 12
_Z_BITS = 12

_COUNT_STEPS = (65536, 77936, 92682, 110218)  # 2^(16 + i/4)
# Radial frequency squared, in 1/4096 of the sampling rate's half, where a new class begins.
_CLASS_BORDERS = (2, 4, 8, 12, 20, 32, 52, 84, 136, 220, 340, 500, 760, 1150, 1750, 2600, 4000)

LOG = np.rint(16 * np.log2(1 + np.arange(256))).astype(np.int32)
"""16 * log2(1 + n) for n in 0..255, the unit of every feature."""

_BIAS = np.array(tables.BIAS, dtype=np.int32)  # [6, 3, classes]
_WEIGHTS = np.array(tables.WEIGHTS, dtype=np.int32)  # [6, 3, features + 1 (qp)]
_LEVELS = np.array(tables.LEVELS, dtype=np.int64)  # [levels, 16] frequencies of |value|
_COUNTS = np.array(tables.COUNTS, dtype=np.int64)  # [6, 3, 32]
_RECONSTRUCTION = np.array(tables.RECONSTRUCTION, dtype=np.int64)  # 1/32 step towards zero
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
_COUNT_MODELS = [[categorical(plane) for plane in mode] for mode in _COUNTS]
_BIT = categorical([1, 1])
# Cost of |value| with its sign; [levels, 16].
_LEVEL_COSTS = bit_costs(_LEVELS) + 256 * (np.arange(ESCAPE + 1) > 0).astype(np.int32)
_COUNT_COSTS = bit_costs(_COUNTS)


@dataclass(frozen=True)
class BlockLayout:
    """How a plane of a given size is cut into blocks and frequencies (all int32 arrays)."""

    block: tuple[int, int]
    """(height, width) of a block."""
    num_blocks: int
    scan: NDArray[np.intp]
    """[frequencies]: index into the flattened block, low frequency first."""
    frequencies: NDArray[np.int32]
    """[frequencies, 6]: scan positions of the coefficients left, above, diagonal, two left, two
    above (`frequencies` itself = none), then the radial class."""
    blocks: NDArray[np.int32]
    """[blocks, 6]: the blocks W, N, NW, NE, E, S (`num_blocks` = none)."""
    counts: NDArray[np.int32]
    """[32]: how many frequencies each count symbol stands for."""


@lru_cache(maxsize=64)
def block_layout(height: int, width: int, block_height: int, block_width: int) -> BlockLayout:
    """Layout of a plane height x width in blocks that divide it."""
    num = block_height * block_width
    v, u = np.divmod(np.arange(num), block_width)
    ranks = np.lexsort((u, u * block_height + v * block_width))
    position = np.empty((block_height + 2, block_width + 2), dtype=np.int32)
    position.fill(num)
    inner = np.empty(num, dtype=np.int32)
    inner[ranks] = np.arange(num)
    position[2:, 2:] = inner.reshape(block_height, block_width)
    radius = ((u * block_height) ** 2 + (v * block_width) ** 2) * 4096 // num**2
    radial = 1 + np.searchsorted(np.array(_CLASS_BORDERS), radius, side="right")
    radial[0] = 0
    frequency_rows = []
    for index in ranks:
        y, x = int(v[index]) + 2, int(u[index]) + 2
        near = ((y, x - 1), (y - 1, x), (y - 1, x - 1), (y, x - 2), (y - 2, x))
        frequency_rows.append([*(int(position[at]) for at in near), int(radial[index])])
    rows, columns = height // block_height, width // block_width
    count = rows * columns
    grid = np.full((rows + 2, columns + 2), count, dtype=np.int32)
    grid[1:-1, 1:-1] = np.arange(count).reshape(rows, columns)
    block_rows = [
        [
            int(grid[y + dy, x + dx])
            for dy, dx in ((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, 1), (1, 0))
        ]
        for y in range(1, rows + 1)
        for x in range(1, columns + 1)
    ]
    sizes = [0]
    for symbol in range(1, NUM_COUNTS):
        octaves, quarter = divmod(symbol - (NUM_COUNTS - 1), 4)
        sizes.append(-(-num * _COUNT_STEPS[quarter] // (65536 << -octaves)))
    return BlockLayout(
        block=(block_height, block_width),
        num_blocks=count,
        scan=ranks.astype(np.intp),
        frequencies=np.array(frequency_rows, dtype=np.int32),
        blocks=np.array(block_rows, dtype=np.int32),
        counts=np.array(sizes, dtype=np.int32),
    )


def to_scan(layout: BlockLayout, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    """[3, blocks, bh, bw] to scan order [3, blocks, frequencies]."""
    return np.ascontiguousarray(coefficients.reshape(3, layout.num_blocks, -1)[:, :, layout.scan])


def prediction_logs(
    layout: BlockLayout, scanned: NDArray[np.float64], qp: int
) -> NDArray[np.int32]:
    """Feature 6: LOG of the prediction's coefficient in quarter steps; int32, shape kept."""
    quarters = np.minimum(np.abs(scanned) * 4 // int(STEPS[qp]), 255).astype(np.intp)
    return np.asarray(LOG[quarters])


@numba.njit(cache=True)
def features(
    magnitudes: NDArray[np.int32],
    activity: NDArray[np.int32],
    prediction: NDArray[np.int32],
    frequencies: NDArray[np.int32],
    blocks: NDArray[np.int32],
    p: int,
    f: int,
    b: int,
) -> tuple[int, int, int, int, int, int, int]:
    """The seven features of a coefficient, as LOG values.

    `magnitudes` int32 [3, blocks+1, frequencies+1] (last row and column stay zero), `activity`
    int32 [3, blocks+1] sums of magnitudes so far, `prediction` from `prediction_logs`.
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
        prediction[p, b, f],
    )


@numba.njit(cache=True)
def _level(
    magnitudes: NDArray[np.int32],
    activity: NDArray[np.int32],
    prediction: NDArray[np.int32],
    frequencies: NDArray[np.int32],
    blocks: NDArray[np.int32],
    bias: NDArray[np.int32],
    weights: NDArray[np.int32],
    qp: int,
    p: int,
    f: int,
    b: int,
) -> int:
    """Index of the distribution of one coefficient."""
    n0, n1, n2, n3, n4, n5, n6 = features(
        magnitudes, activity, prediction, frequencies, blocks, p, f, b
    )
    w = weights[p]
    z = bias[p, frequencies[f, 5]] + w[0] * n0 + w[1] * n1 + w[2] * n2 + w[3] * n3
    z += w[4] * n4 + w[5] * n5 + w[6] * n6 + w[7] * qp
    return int(min(max(z >> _Z_BITS, 0), NUM_LEVELS - 1))


@numba.njit(cache=True)
def _store_and_level(
    values: NDArray[np.int32],
    magnitudes: NDArray[np.int32],
    activity: NDArray[np.int32],
    prediction: NDArray[np.int32],
    frequencies: NDArray[np.int32],
    blocks: NDArray[np.int32],
    bias: NDArray[np.int32],
    weights: NDArray[np.int32],
    qp: int,
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
    return _level(magnitudes, activity, prediction, frequencies, blocks, bias, weights, qp, p, f, b)


@numba.njit(cache=True)
def _plane_levels(
    values: NDArray[np.int32],
    magnitudes: NDArray[np.int32],
    activity: NDArray[np.int32],
    prediction: NDArray[np.int32],
    frequencies: NDArray[np.int32],
    blocks: NDArray[np.int32],
    bias: NDArray[np.int32],
    weights: NDArray[np.int32],
    qp: int,
    p: int,
    ordered: NDArray[np.int32],
) -> NDArray[np.int32]:
    """Levels of all the coefficients of plane p, whose values the encoder knows beforehand."""
    levels = np.empty(len(ordered), dtype=np.int32)
    previous = 0
    for index in range(len(ordered) + 1):
        level = _store_and_level(
            values, magnitudes, activity, prediction, frequencies, blocks,
            bias, weights, qp, p, index, previous,
        )  # fmt: skip
        if index < len(ordered):
            levels[index] = level
            previous = ordered[index]
    return levels


@numba.njit(cache=True)
def _escape_bits(magnitude: int) -> int:
    """Bits of the Exp-Golomb suffix of an escaped magnitude."""
    rest = magnitude - 15 + 1
    length = 0
    while rest > 1:
        rest >>= 1
        length += 1
    return 2 * length + 1


@numba.njit(cache=True)
def dequantise(value: int, step: int, reconstruction: NDArray[np.int64]) -> int:
    """Reconstruction of a quantised value, 1/16 levels."""
    magnitude = min(abs(value), 1 << 14)
    if magnitude == 0:
        return 0
    level = magnitude * step - ((step * reconstruction[min(magnitude, 3) - 1]) >> 5)
    return int(level) if value > 0 else -int(level)


@numba.njit(cache=True)
def _quantise(
    target: NDArray[np.float64],
    prediction: NDArray[np.int32],
    frequencies: NDArray[np.int32],
    blocks: NDArray[np.int32],
    counts: NDArray[np.int32],
    bias: NDArray[np.int32],
    weights: NDArray[np.int32],
    level_costs: NDArray[np.int32],
    count_costs: NDArray[np.int32],
    reconstruction: NDArray[np.int64],
    qp: int,
    lagrangian: float,
    max_cost: int,
    values: NDArray[np.int32],
    chosen: NDArray[np.int32],
) -> tuple[int, float]:
    """See `quantise`."""
    num_blocks, num = target.shape[1], target.shape[2]
    step = STEPS[qp]
    magnitudes = np.zeros((3, num_blocks + 1, num + 1), dtype=np.int32)
    activity = np.zeros((3, num_blocks + 1), dtype=np.int32)
    rate = np.zeros(num, dtype=np.int64)
    error = np.zeros(num)
    energy = np.zeros(num)
    total_rate = 0
    total_error = 0.0
    per_cost = lagrangian / 256.0
    for p in range(3):
        last = 0
        for f in range(num):
            energy[f] = 0.0
            for b in range(num_blocks):
                values[p, b, f] = 0
                c = abs(target[p, b, f])
                energy[f] += c * c
                if c > 0.5 * step:
                    last = f + 1
        for f in range(num):
            rate[f] = 0
            error[f] = energy[f]
            if f >= last:
                continue
            error[f] = 0.0
            for b in range(num_blocks):
                level = _level(
                    magnitudes,
                    activity,
                    prediction,
                    frequencies,
                    blocks,
                    bias,
                    weights,
                    qp,
                    p,
                    f,
                    b,
                )
                c = abs(target[p, b, f])
                top = min(int(c / step + 0.5), 1 << 12)
                best_rate = level_costs[level, 0]
                best_error = c * c
                best = best_error + per_cost * best_rate
                best_value = 0
                for candidate in range(max(top - 1, 1), top + 1):
                    bits = level_costs[level, min(candidate, 15)]
                    if candidate >= 15:
                        bits += 256 * _escape_bits(candidate)
                    difference = c - dequantise(candidate, step, reconstruction)
                    squared = difference * difference
                    if squared + per_cost * bits < best:
                        best = squared + per_cost * bits
                        best_value, best_rate, best_error = candidate, bits, squared
                rate[f] += best_rate
                error[f] += best_error
                magnitudes[p, b, f] = min(best_value, 63)
                activity[p, b] += magnitudes[p, b, f]
                values[p, b, f] = best_value if target[p, b, f] > 0 else -best_value
        # The best cut. Cutting at f costs the energy of everything from f on.
        tail = 0.0
        for f in range(num):
            tail += energy[f]
        best = 1e300
        best_symbol = 0
        best_rate_sum = 0
        best_error_sum = 0.0
        done = 0
        rate_sum = 0
        error_sum = 0.0
        for symbol in range(counts.shape[0]):
            if symbol > 0 and counts[symbol] == counts[symbol - 1]:
                continue
            if symbol > 0 and counts[symbol - 1] >= last:
                break
            while done < counts[symbol]:
                rate_sum += rate[done]
                error_sum += error[done]
                tail -= energy[done]
                if done >= last:
                    for b in range(num_blocks):
                        level = _level(
                            magnitudes,
                            activity,
                            prediction,
                            frequencies,
                            blocks,
                            bias,
                            weights,
                            qp,
                            p,
                            done,
                            b,
                        )
                        rate_sum += level_costs[level, 0]
                done += 1
            cost = rate_sum + count_costs[p, symbol]
            if symbol > 0 and total_rate + cost > max_cost:
                break
            if error_sum + tail + per_cost * cost < best:
                best = error_sum + tail + per_cost * cost
                best_symbol = symbol
                best_rate_sum, best_error_sum = cost, error_sum + tail
        chosen[p] = best_symbol
        total_rate += best_rate_sum
        total_error += best_error_sum
        for b in range(num_blocks):
            activity[p, b] = 0
            for f in range(counts[best_symbol], num):
                values[p, b, f] = 0
                magnitudes[p, b, f] = 0
            for f in range(num):
                activity[p, b] += magnitudes[p, b, f]
    return total_rate, total_error


def quantise(
    target: NDArray[np.float64],
    prediction: NDArray[np.int32],
    layout: BlockLayout,
    mode: int,
    qp: int,
    lagrangian: float,
    max_cost: int,
    values: NDArray[np.int32],
    chosen: NDArray[np.int32],
) -> tuple[int, float]:
    """Rate-distortion optimised quantisation of `target` [3, blocks, frequencies] (scan order).

    Each coefficient takes, in coding order, the candidate with the least squared error +
    `lagrangian` (squared 1/16 levels per bit) * its bits in its true context; then each plane is
    cut after the frequency that is best for it and keeps the sum within `max_cost` (1/256 bit;
    empty planes are always allowed). Fills `values` (as `target`) and `chosen` [3] (count
    symbols). Returns the cost in 1/256 bit and the squared error.
    """
    cost, error = _quantise(
        target, prediction, layout.frequencies, layout.blocks, layout.counts,
        _BIAS[mode], _WEIGHTS[mode], _LEVEL_COSTS, _COUNT_COSTS[mode], _RECONSTRUCTION,
        qp, lagrangian, max_cost, values, chosen,
    )  # fmt: skip
    return int(cost), float(error)


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
    return np.asarray(_dequantise_all(values, step, _RECONSTRUCTION))


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
    prediction: NDArray[np.int32],
    mode: int,
    qp: int,
    values: NDArray[np.int32],
    chosen: NDArray[np.int32],
) -> None:
    """Code what `quantise` chose."""
    num = len(layout.scan)
    magnitudes = np.zeros((3, layout.num_blocks + 1, num + 1), dtype=np.int32)
    activity = np.zeros((3, layout.num_blocks + 1), dtype=np.int32)
    scratch = np.zeros_like(values)
    for p in range(3):
        writer.write(int(chosen[p]), _COUNT_MODELS[mode][p])
        total = int(layout.counts[chosen[p]]) * layout.num_blocks
        ordered = np.ascontiguousarray(values[p].T).ravel()[:total]
        levels = _plane_levels(
            scratch, magnitudes, activity, prediction, layout.frequencies, layout.blocks,
            _BIAS[mode], _WEIGHTS[mode], qp, p, ordered,
        )  # fmt: skip
        for value, level in zip(ordered.tolist(), levels.tolist(), strict=True):
            clipped = max(-ESCAPE, min(ESCAPE, value))
            writer.write(clipped + ESCAPE, _LEVEL_MODELS[level])
            if clipped != value or abs(value) == ESCAPE:
                _write_escape(writer, abs(value))


def read_coefficients(
    reader: PayloadReader,
    layout: BlockLayout,
    prediction: NDArray[np.int32],
    mode: int,
    qp: int,
) -> NDArray[np.int32]:
    """Quantised values int32 [3, blocks, frequencies], as `write_coefficients` coded them."""
    num = len(layout.scan)
    magnitudes = np.zeros((3, layout.num_blocks + 1, num + 1), dtype=np.int32)
    activity = np.zeros((3, layout.num_blocks + 1), dtype=np.int32)
    values = np.zeros((3, layout.num_blocks, num), dtype=np.int32)
    for p in range(3):
        previous = 0
        total = int(layout.counts[reader.read(_COUNT_MODELS[mode][p])]) * layout.num_blocks
        for index in range(total + 1):
            level = _store_and_level(
                values, magnitudes, activity, prediction, layout.frequencies, layout.blocks,
                _BIAS[mode], _WEIGHTS[mode], qp, p, index, previous,
            )  # fmt: skip
            if index == total:
                break
            previous = reader.read(_LEVEL_MODELS[level]) - ESCAPE
            if abs(previous) == ESCAPE:
                magnitude = _read_escape(reader)
                previous = magnitude if previous > 0 else -magnitude
    return values
