"""Directions on the grid: places on a square around a vertex, and turns from edge to edge.

All integer: encoder and decoder agree on every machine.
"""

import numba
import numpy as np
from numpy.typing import NDArray

_NUM_ANGLES = 32
# tan of the bin borders at 5.625 + 11.25 k degrees, times 4096.
_TANGENTS = np.array([403, 1242, 2189, 3362, 4990, 7663, 13503, 41587], dtype=np.int64)


@numba.njit(cache=True)
def angle_bin(before_x: int, before_y: int, x: int, y: int) -> int:
    """Turn from one edge to the next in 32 bins, 0 straight ahead, 8 to the right, 24 left."""
    dot = before_x * x + before_y * y
    cross = before_x * y - before_y * x
    quadrant = 0
    for k in range(8):
        if abs(cross) * 4096 > abs(dot) * _TANGENTS[k]:
            quadrant += 1
    half = 16 - quadrant if dot < 0 else quadrant
    return half if cross >= 0 else (_NUM_ANGLES - half) % _NUM_ANGLES


@numba.njit(cache=True)
def on_square(radius: int, index: int) -> tuple[int, int]:
    """Point `index` (0..8 radius - 1) on the square of a radius around the origin."""
    side, along = index // (2 * radius), index % (2 * radius)
    if side == 0:
        return along - radius, -radius
    if side == 1:
        return radius, along - radius
    if side == 2:
        return radius - along, radius
    return -radius, radius - along


@numba.njit(cache=True)
def square_index(x: int, y: int) -> int:
    """Inverse of `on_square`."""
    radius = max(abs(x), abs(y))
    if y == -radius and x < radius:
        return x + radius
    if x == radius and y < radius:
        return 2 * radius + y + radius
    if y == radius and x > -radius:
        return 4 * radius + radius - x
    return 6 * radius + radius - y


@numba.njit(cache=True)
def turn_context(last_turn: int, radius: int) -> int:
    """Row of the turn table, from the turn before (-1: none) and the new edge's length."""
    if last_turn < 0:
        kind = 0
    elif last_turn <= 4:
        kind = 1
    elif last_turn < 16:
        kind = 2
    elif last_turn < 28:
        kind = 3
    else:
        kind = 4
    return kind * 2 + (1 if radius > 2 else 0)


@numba.njit(cache=True)
def direction_frequencies(
    table: NDArray[np.int64], before_x: int, before_y: int, last_turn: int, radius: int
) -> NDArray[np.int64]:
    """Frequencies int64 [8 radius] of the positions on the square, after the edge (before)."""
    context = turn_context(last_turn, radius)
    result = np.empty(8 * radius, dtype=np.int64)
    for index in range(8 * radius):
        x, y = on_square(radius, index)
        result[index] = table[context, angle_bin(before_x, before_y, x, y)]
    return result
