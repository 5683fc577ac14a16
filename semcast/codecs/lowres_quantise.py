"""Rate-distortion optimised quantisation of a tiny frame's coefficients (the encoder's choice)."""

import numba
import numpy as np
from numpy.typing import NDArray

from semcast.codecs import lowres_coefficients as coefficients
from semcast.codecs.lowres_coefficients import (
    STEPS,
    constant_of,
    count_context,
    dequantise,
    level_of,
)
from semcast.codecs.lowres_layout import BlockLayout

_SLACK = 128
"""Kept for the zeros behind a plane's last value where the budget is short, 1/256 bit."""


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
def _quantise(
    target: NDArray[np.float64],
    known: NDArray[np.int32],
    frequencies: NDArray[np.int32],
    blocks: NDArray[np.int32],
    counts: NDArray[np.int32],
    bias: NDArray[np.int32],
    weights: NDArray[np.int32],
    level_costs: NDArray[np.int32],
    count_costs: NDArray[np.int32],
    reconstruction: NDArray[np.int64],
    area_log: int,
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
        constant = constant_of(weights, p, qp, area_log)
        context = count_context(p, chosen[0] > 0, p > 1 and chosen[1] > 0)
        # What the planes to come cost even if they are empty.
        reserve = 0
        if p == 0:
            reserve += count_costs[count_context(1, True, False), 0]
        if p < 2:
            reserve += count_costs[count_context(2, p == 1 and chosen[0] > 0, p == 1), 0]
        left = max_cost - total_rate - reserve
        last = 0
        for f in range(num):
            energy[f] = 0.0
            for b in range(num_blocks):
                values[p, b, f] = 0
                c = abs(target[p, b, f])
                energy[f] += c * c
                if c > 0.5 * step:
                    last = f + 1
        running = 0
        symbol = 0
        for f in range(num):
            rate[f] = 0
            error[f] = energy[f]
            if f >= last:
                continue
            error[f] = 0.0
            while counts[symbol] <= f:
                symbol += 1
            spare = left - count_costs[context, symbol] - _SLACK
            for b in range(num_blocks):
                level = level_of(
                    magnitudes, activity, known, frequencies, blocks, bias, weights,
                    constant, p, f, b,
                )  # fmt: skip
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
                    if squared + per_cost * bits < best and running + bits <= spare:
                        best = squared + per_cost * bits
                        best_value, best_rate, best_error = candidate, bits, squared
                running += best_rate
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
                break
            if symbol > 0 and counts[symbol - 1] >= last:
                break
            while done < counts[symbol]:
                rate_sum += rate[done]
                error_sum += error[done]
                tail -= energy[done]
                if done >= last:
                    for b in range(num_blocks):
                        level = level_of(
                            magnitudes, activity, known, frequencies, blocks, bias, weights,
                            constant, p, done, b,
                        )  # fmt: skip
                        rate_sum += level_costs[level, 0]
                done += 1
            cost = rate_sum + count_costs[context, symbol]
            if symbol > 0 and cost > left:
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
            for f in range(counts[best_symbol]):
                activity[p, b] += magnitudes[p, b, f]
    return total_rate, total_error


def quantise(
    target: NDArray[np.float64],
    known: NDArray[np.int32],
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
    `lagrangian` (squared 1/16 levels per bit) * its bits in its true context, and zero where the
    sum would exceed `max_cost` (1/256 bit); then each plane is cut after the frequency that is best
    for it (empty planes are always allowed). Fills `values` (as `target`) and `chosen` [3] (count
    symbols). Returns the cost in 1/256 bit and the squared error.
    """
    bias, weights = coefficients.model_of(mode)
    cost, error = _quantise(
        target, known, layout.frequencies, layout.blocks, layout.counts,
        bias, weights, coefficients.LEVEL_COSTS, coefficients.COUNT_COSTS[mode],
        coefficients.RECONSTRUCTION, layout.area_log,
        qp, lagrangian, max_cost, values, chosen,
    )  # fmt: skip
    return int(cost), float(error)
