"""Where an object of the reference has gone: the encoder's search for translation, growth, turn."""

import numba
import numpy as np
from numpy.typing import NDArray

from semcast.codecs.contours_polygon import shape_score, transform


@numba.njit(cache=True)
def number_bits(value: int) -> float:
    """Rough bits of a number coded by `code_number`."""
    return float(1.0 + 2.0 * np.log2(1.0 + abs(value)))


@numba.njit(cache=True)
def _gain(
    points: NDArray[np.int32],
    offsets: NDArray[np.int32],
    sums: NDArray[np.int32],
    origin: tuple[int, int],
    limits: tuple[int, int],
    unit: int,
    state: NDArray[np.int64],
    predicted: tuple[int, int],
    lagrangian: float,
) -> float:
    """Weight inside the moved shape, less lambda times the bits of the motion."""
    moved = transform(
        points, state[0] * unit, state[1] * unit, state[2], state[3], limits[0], limits[1]
    )
    moved[:, 0] -= origin[0]
    moved[:, 1] -= origin[1]
    bits = number_bits(state[0] - predicted[0]) + number_bits(state[1] - predicted[1])
    if state[2] != 0 or state[3] != 0:
        bits += number_bits(state[2]) + number_bits(state[3])
    return shape_score(moved, offsets, sums) - lagrangian * bits


@numba.njit(cache=True)
def search_motion(
    points: NDArray[np.int32],
    offsets: NDArray[np.int32],
    sums: NDArray[np.int32],
    origin: tuple[int, int],
    limits: tuple[int, int],
    unit: int,
    starts: NDArray[np.int64],
    predicted: tuple[int, int],
    lagrangian: float,
    reach: int,
    max_shape_change: int,
) -> NDArray[np.int64]:
    """Best (dx, dy, scale, turn), int64 [4]: motion in `unit` subpixels, the rest in 1/64.

    `starts`: int64 [m, 2] motions to start from. With `max_shape_change` 0 the object only moves.
    """
    state = np.zeros(4, dtype=np.int64)
    best = -1e18
    trial = np.zeros(4, dtype=np.int64)
    for k in range(len(starts)):
        trial[0], trial[1] = starts[k, 0], starts[k, 1]
        gain = _gain(points, offsets, sums, origin, limits, unit, trial, predicted, lagrangian)
        if gain > best:
            best = gain
            state[:] = trial
    num_axes = 4 if max_shape_change > 0 else 2
    stride = 8
    while stride >= 1:
        improved = False
        for axis in range(num_axes):
            for sign in (-1, 1):
                trial[:] = state
                trial[axis] += sign * (stride if axis < 2 else max(1, stride // 2))
                if max(abs(trial[0]), abs(trial[1])) > reach:
                    continue
                if max(abs(trial[2]), abs(trial[3])) > max_shape_change:
                    continue
                gain = _gain(
                    points, offsets, sums, origin, limits, unit, trial, predicted, lagrangian
                )
                if gain > best:
                    best = gain
                    state[:] = trial
                    improved = True
        if not improved:
            stride //= 2
    return state
