"""Motion-compensated prediction of a tiny frame: 8x8 blocks, quarter pel, overlapped windows.

A motion field is int32 [rows, columns, 2] of (dy, dx) in quarter pixels, one vector per 8x8
block. A pixel is predicted as the window-weighted mean of what the vectors of the four nearest
blocks point at (overlapped block motion compensation): no block edges, and a fair model of zoom
and rotation. The reference is interpolated once to quarter pixels (8-tap windowed sinc, integer);
beyond the frame its edge repeats. All integer, so encoder and decoder agree on every machine.
"""

import numba
import numpy as np
from numpy.typing import NDArray

BLOCK = 8
PEL = 4
"""Motion steps per pixel."""
MAX_MOTION = 9 * PEL
"""Largest component of a vector, in motion steps."""

# Windowed-sinc taps for the phases 0, 1/4, 1/2, 3/4; each sums to 64. Pixels -3..+4.
_TAPS = np.array(
    [
        [0, 0, 0, 64, 0, 0, 0, 0],
        [-1, 4, -10, 58, 17, -5, 1, 0],
        [-1, 4, -11, 40, 40, -11, 4, -1],
        [0, 1, -5, 17, 58, -10, 4, -1],
    ],
    dtype=np.int32,
)
# Hat window over 16 pixels, weight of the own block in 1/16 by position in the block.
_OWN = np.array([9, 11, 13, 15, 15, 13, 11, 9], dtype=np.int32)


@numba.njit(cache=True)
def upsample(planes: NDArray[np.int32]) -> NDArray[np.int32]:
    """Planes int32 [3, h, w] at quarter-pel spacing: int32 [3, 4h, 4w]."""
    count, height, width = planes.shape
    wide = np.empty((count, height, width * PEL), dtype=np.int32)
    for p in range(count):
        for y in range(height):
            for x in range(width):
                wide[p, y, x * PEL] = planes[p, y, x] * 64
                for phase in range(1, PEL):
                    total = 0
                    for tap in range(8):
                        source = min(max(x + tap - 3, 0), width - 1)
                        total += _TAPS[phase, tap] * planes[p, y, source]
                    wide[p, y, x * PEL + phase] = total
    result = np.empty((count, height * PEL, width * PEL), dtype=np.int32)
    for p in range(count):
        for y in range(height):
            for phase in range(PEL):
                for x in range(width * PEL):
                    total = 2048
                    for tap in range(8):
                        source = min(max(y + tap - 3, 0), height - 1)
                        total += _TAPS[phase, tap] * wide[p, source, x]
                    result[p, y * PEL + phase, x] = total >> 12
    return result


@numba.njit(cache=True)
def _fetch(fine: NDArray[np.int32], p: int, y: int, x: int, dy: int, dx: int) -> int:
    row = min(max(y * PEL + dy, 0), fine.shape[1] - 1)
    column = min(max(x * PEL + dx, 0), fine.shape[2] - 1)
    return int(fine[p, row, column])


@numba.njit(cache=True)
def _predict_pixel(
    fine: NDArray[np.int32], field: NDArray[np.int32], p: int, y: int, x: int
) -> int:
    by, bx = y // BLOCK, x // BLOCK
    oy, ox = y % BLOCK, x % BLOCK
    ny = min(max(by + (1 if oy >= BLOCK // 2 else -1), 0), field.shape[0] - 1)
    nx = min(max(bx + (1 if ox >= BLOCK // 2 else -1), 0), field.shape[1] - 1)
    wy, wx = _OWN[oy], _OWN[ox]
    total = wy * wx * _fetch(fine, p, y, x, field[by, bx, 0], field[by, bx, 1])
    total += wy * (16 - wx) * _fetch(fine, p, y, x, field[by, nx, 0], field[by, nx, 1])
    total += (16 - wy) * wx * _fetch(fine, p, y, x, field[ny, bx, 0], field[ny, bx, 1])
    total += (16 - wy) * (16 - wx) * _fetch(fine, p, y, x, field[ny, nx, 0], field[ny, nx, 1])
    return int((total + 128) >> 8)


@numba.njit(cache=True)
def predict(fine: NDArray[np.int32], field: NDArray[np.int32]) -> NDArray[np.int32]:
    """Prediction int32 [3, h, w] from the quarter-pel reference and a motion field."""
    height, width = field.shape[0] * BLOCK, field.shape[1] * BLOCK
    result = np.empty((fine.shape[0], height, width), dtype=np.int32)
    for p in range(fine.shape[0]):
        for y in range(height):
            for x in range(width):
                result[p, y, x] = _predict_pixel(fine, field, p, y, x)
    return result


@numba.njit(cache=True)
def median_predictor(field: NDArray[np.int32], by: int, bx: int) -> tuple[int, int, int]:
    """(dy, dx, spread) from the left, upper and upper-right (else upper-left) vectors.

    `spread` is the largest disagreement among them, the context of the coded difference.
    """
    ys = np.zeros(3, dtype=np.int32)
    xs = np.zeros(3, dtype=np.int32)
    count = 0
    if bx > 0:
        ys[count], xs[count] = field[by, bx - 1, 0], field[by, bx - 1, 1]
        count += 1
    if by > 0:
        ys[count], xs[count] = field[by - 1, bx, 0], field[by - 1, bx, 1]
        count += 1
        corner = bx + 1 if bx + 1 < field.shape[1] else bx - 1
        if corner >= 0:
            ys[count], xs[count] = field[by - 1, corner, 0], field[by - 1, corner, 1]
            count += 1
    if count == 0:
        return 0, 0, 1 << 20
    if count == 1:
        return int(ys[0]), int(xs[0]), 1
    spread = 0
    for i in range(count):
        for j in range(i):
            spread = max(spread, abs(ys[i] - ys[j]), abs(xs[i] - xs[j]))
    if count == 2:
        return int(ys[0]), int(xs[0]), int(spread)
    dy = max(min(ys[0], ys[1]), min(max(ys[0], ys[1]), ys[2]))
    dx = max(min(xs[0], xs[1]), min(max(xs[0], xs[1]), xs[2]))
    return int(dy), int(dx), int(spread)


@numba.njit(cache=True)
def motion_context(spread: int) -> int:
    """Which of the four tables codes a difference, from the predictor's spread."""
    if spread >= 1 << 20:
        return 3
    if spread == 0:
        return 0
    return 1 if spread <= 3 else 2


@numba.njit(cache=True)
def field_cost(field: NDArray[np.int32], costs: NDArray[np.int32]) -> int:
    """Cost of coding a field, in 1/256 bit; `costs` int32 [4, 4*MAX_MOTION+1]."""
    total = 0
    for by in range(field.shape[0]):
        for bx in range(field.shape[1]):
            dy, dx, spread = median_predictor(field, by, bx)
            context = motion_context(spread)
            total += costs[context, field[by, bx, 0] - dy + 2 * MAX_MOTION]
            total += costs[context, field[by, bx, 1] - dx + 2 * MAX_MOTION]
    return total


@numba.njit(cache=True)
def _cost_around(field: NDArray[np.int32], costs: NDArray[np.int32], by: int, bx: int) -> int:
    """The part of `field_cost` that the vector of one block takes part in."""
    total = 0
    for y in range(by, min(by + 2, field.shape[0])):
        for x in range(bx if y == by else max(bx - 1, 0), min(bx + 2, field.shape[1])):
            dy, dx, spread = median_predictor(field, y, x)
            context = motion_context(spread)
            total += costs[context, field[y, x, 0] - dy + 2 * MAX_MOTION]
            total += costs[context, field[y, x, 1] - dx + 2 * MAX_MOTION]
    return total


@numba.njit(cache=True)
def _window_error(
    target: NDArray[np.int32],
    fine: NDArray[np.int32],
    field: NDArray[np.int32],
    by: int,
    bx: int,
    bound: float,
) -> int:
    """Squared error of the overlapped prediction over the 16x16 window of a block, plane 0; stops
    at `bound`."""
    height, width = target.shape[1], target.shape[2]
    total = 0
    for y in range(max(by * BLOCK - 4, 0), min(by * BLOCK + 12, height)):
        for x in range(max(bx * BLOCK - 4, 0), min(bx * BLOCK + 12, width)):
            error = target[0, y, x] - _predict_pixel(fine, field, 0, y, x)
            total += error * error
        if total > bound:
            return total
    return total


@numba.njit(cache=True)
def _block_error(
    target: NDArray[np.int32],
    fine: NDArray[np.int32],
    by: int,
    bx: int,
    dy: int,
    dx: int,
    bound: int,
) -> int:
    """Squared error of one vector over the block and two pixels around it; stops at `bound`."""
    height, width = target.shape[1], target.shape[2]
    total = 0
    for y in range(max(by * BLOCK - 2, 0), min(by * BLOCK + 10, height)):
        for x in range(max(bx * BLOCK - 2, 0), min(bx * BLOCK + 10, width)):
            error = target[0, y, x] - _fetch(fine, 0, y, x, dy, dx)
            total += error * error
        if total > bound:
            return total
    return total


@numba.njit(cache=True)
def search(
    target: NDArray[np.int32],
    fine: NDArray[np.int32],
    costs: NDArray[np.int32],
    lagrangian: float,
) -> NDArray[np.int32]:
    """Motion field for `target` int32 [3, h, w] against the quarter-pel reference.

    Per block a full-pel search, half and quarter refinement, then two passes over the field that
    weigh the true overlapped error against the bits. `lagrangian`: squared error (in 1/256
    level^2) per bit.
    """
    rows, columns = target.shape[1] // BLOCK, target.shape[2] // BLOCK
    field = np.zeros((rows, columns, 2), dtype=np.int32)
    per_cost = lagrangian / 256.0
    radius = MAX_MOTION // PEL - 1
    for by in range(rows):
        for bx in range(columns):
            py, px, spread = median_predictor(field, by, bx)
            context = motion_context(spread)
            best_y, best_x = py, px
            best = _block_error(target, fine, by, bx, py, px, 1 << 62) + per_cost * (
                costs[context, 2 * MAX_MOTION] + costs[context, 2 * MAX_MOTION]
            )
            for step in (PEL, 2, 1):
                reach = radius if step == PEL else 1
                cy, cx = (0, 0) if step == PEL else (best_y, best_x)
                for iy in range(-reach, reach + 1):
                    for ix in range(-reach, reach + 1):
                        dy, dx = cy + iy * step, cx + ix * step
                        if max(abs(dy), abs(dx)) > MAX_MOTION:
                            continue
                        rate = per_cost * (
                            costs[context, dy - py + 2 * MAX_MOTION]
                            + costs[context, dx - px + 2 * MAX_MOTION]
                        )
                        if rate >= best:
                            continue
                        error = rate + _block_error(
                            target, fine, by, bx, dy, dx, int(best - rate) + 1
                        )
                        if error < best:
                            best, best_y, best_x = error, dy, dx
            field[by, bx, 0], field[by, bx, 1] = best_y, best_x
    for _ in range(2):
        _refine(target, fine, field, costs, per_cost)
    return field


@numba.njit(cache=True)
def _refine(
    target: NDArray[np.int32],
    fine: NDArray[np.int32],
    field: NDArray[np.int32],
    costs: NDArray[np.int32],
    per_cost: float,
) -> None:
    """One pass: each block takes the best of its neighbours' vectors, zero and small changes."""
    rows, columns = field.shape[0], field.shape[1]
    candidates = np.zeros((17, 2), dtype=np.int32)
    for by in range(rows):
        for bx in range(columns):
            old_y, old_x = field[by, bx, 0], field[by, bx, 1]
            count = 1  # candidate 0 is the zero vector
            for ny, nx in ((by - 1, bx), (by + 1, bx), (by, bx - 1), (by, bx + 1)):
                if 0 <= ny < rows and 0 <= nx < columns:
                    candidates[count] = field[ny, nx]
                    count += 1
            py, px, _ = median_predictor(field, by, bx)
            candidates[count, 0], candidates[count, 1] = py, px
            count += 1
            for sy, sx in ((-1, 0), (1, 0), (0, -1), (0, 1), (-2, 0), (2, 0), (0, -2), (0, 2)):
                candidates[count, 0], candidates[count, 1] = old_y + sy, old_x + sx
                count += 1
            best = per_cost * _cost_around(field, costs, by, bx)
            best += _window_error(target, fine, field, by, bx, 1e18)
            best_y, best_x = old_y, old_x
            for i in range(count):
                dy, dx = candidates[i, 0], candidates[i, 1]
                if (dy == old_y and dx == old_x) or max(abs(dy), abs(dx)) > MAX_MOTION:
                    continue
                field[by, bx, 0], field[by, bx, 1] = dy, dx
                total = per_cost * _cost_around(field, costs, by, bx)
                if total < best:
                    total += _window_error(target, fine, field, by, bx, best - total)
                if total < best:
                    best, best_y, best_x = total, dy, dx
            field[by, bx, 0], field[by, bx, 1] = best_y, best_x
