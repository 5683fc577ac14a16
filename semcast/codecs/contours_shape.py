"""From an object's mask to polygons worth their bits (the encoder's choice; nothing here is read).

Borders are traced and simplified by Douglas-Peucker with tolerance xi, put on the level's grid, and
then every vertex is tried at its neighbours and left out: what lowers wrong pixels + lambda bits
stays. Pixels hidden by an object in front cost nothing, so a border shared with one is cut short.
"""

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from semcast.codecs.contours_directions import angle_bin, turn_context
from semcast.codecs.contours_polygon import (
    SUBPIXELS,
    edge_score,
    paint,
    prefix_sums,
    trace,
    twice_area,
)
from semcast.codecs.contours_symbols import Frequencies
from semcast.codecs.contours_syntax import (
    _LENGTH_FIRST,
    MAX_LENGTH,
    MAX_RINGS,
    MAX_VERTICES,
    length_context,
)
from semcast.codecs.contours_tables import PRIORS

_MAX_CANDIDATES = 160
"""Points of one border that may become vertices."""


@dataclass(frozen=True)
class Costs:
    """Information of an edge, in bits, from the fitted tables."""

    length: NDArray[np.float64]
    """[5, MAX_LENGTH + 1] by length context; includes the 8 r places on the square."""
    turn: NDArray[np.float64]
    """[10, 32]: what the turn table saves or adds."""


def _costs() -> Costs:
    length = np.full((5, MAX_LENGTH + 1), 99.0)
    for context in range(5):
        row = PRIORS["length"][context]
        for index, first in enumerate(_LENGTH_FIRST):
            end = _LENGTH_FIRST[index + 1] - 1 if index + 1 < len(_LENGTH_FIRST) else MAX_LENGTH
            for value in range(first, end + 1):
                bits = np.log2(row.sum() / row[index]) + np.log2(end - first + 1)
                length[context, value] = bits + np.log2(8 * value) + 0.3
    table: Frequencies = PRIORS["turn"]
    turn = np.log2(table.mean(axis=1, keepdims=True) / table)
    return Costs(length, turn)


COSTS = _costs()
LENGTH_CONTEXT = np.array([length_context(k) for k in range(MAX_LENGTH + 1)])


@numba.njit(cache=True)
def _edge_bits(
    ring: NDArray[np.int32],
    end: int,
    max_length: int,
    length_cost: NDArray[np.float64],
    turn_cost: NDArray[np.float64],
    contexts: NDArray[np.int64],
) -> float:
    """Bits of the edge into vertex `end`, given the two edges before it."""
    n = len(ring)
    d, c, b, a = end % n, (end - 1) % n, (end - 2) % n, (end - 3) % n
    x, y = ring[d, 0] - ring[c, 0], ring[d, 1] - ring[c, 1]
    px, py = ring[c, 0] - ring[b, 0], ring[c, 1] - ring[b, 1]
    qx, qy = ring[b, 0] - ring[a, 0], ring[b, 1] - ring[a, 1]
    radius = max(abs(x), abs(y))
    last = max(abs(px), abs(py))
    if d == 0:
        return 0.0  # The closing edge is not coded.
    if radius == 0 or radius > max_length or last == 0:
        return 1e6
    last = min(last, max_length)
    last_turn = angle_bin(qx, qy, px, py)
    turn = turn_cost[turn_context(last_turn, radius), angle_bin(px, py, x, y)]
    return float(length_cost[contexts[last], radius] + turn)


@numba.njit(cache=True)
def cheapest_path(
    border: NDArray[np.int32],
    free: NDArray[np.bool_],
    places: NDArray[np.int32],
    grid: NDArray[np.int32],
    before: tuple[int, int],
    sums: NDArray[np.int32],
    tolerance: float,
    lagrangian: float,
    max_length: int,
    min_edges: int,
    length_cost: NDArray[np.float64],
    turn_cost: NDArray[np.float64],
    contexts: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Which points of a border to make vertices, from its first to its last.

    `border`: int32 [n, 2] in subpixels of the cut-out; `places` where a vertex at that point would
    lie, `grid` the same in grid steps from any origin (the last edge costs no bits, so the last
    point need not lie on the grid). `before`: direction of the edge before, (0, 0) for none. An
    edge may leave out border points within `tolerance` (subpixels) of it, or `free` ones (checked
    at about eight points an edge). Shortest
    path in wrong pixels + lambda bits; turns are judged by the cheapest way to their vertex.
    Returns the indices of the vertices between first and last; one of -1 if there is no way.
    """
    n = len(border)
    ideal = np.zeros(n, dtype=np.int64)
    for i in range(1, n):
        ideal[i] = ideal[i - 1] + edge_score(
            int(border[i - 1, 0]),
            int(border[i - 1, 1]),
            int(border[i, 0]),
            int(border[i, 1]),
            sums,
        )
    cost = np.full(n, 1e18)
    back = np.full(n, -1, dtype=np.int64)
    edges = np.zeros(n, dtype=np.int64)
    cost[0] = 0.0
    bound = tolerance * tolerance
    for i in range(n - 1):
        if cost[i] > 1e17:
            continue
        px, py, last_turn = before[0], before[1], -1
        last = 0
        if back[i] >= 0:
            p = back[i]
            px, py = grid[i, 0] - grid[p, 0], grid[i, 1] - grid[p, 1]
            last = max(abs(px), abs(py))
            qx, qy = before
            if back[p] >= 0:
                qx, qy = grid[p, 0] - grid[back[p], 0], grid[p, 1] - grid[back[p], 1]
            if qx != 0 or qy != 0:
                last_turn = angle_bin(qx, qy, px, py)
        x0, y0 = int(places[i, 0]), int(places[i, 1])
        misses = 0
        for j in range(i + 1, n):
            dx, dy = int(grid[j, 0] - grid[i, 0]), int(grid[j, 1] - grid[i, 1])
            radius = max(abs(dx), abs(dy))
            if j < n - 1 and (radius == 0 or radius > max_length):
                if radius > 2 * max_length:
                    break
                continue
            x1, y1 = int(places[j, 0]), int(places[j, 1])
            ex, ey = float(x1 - x0), float(y1 - y0)
            square = ex * ex + ey * ey
            if square == 0.0:
                continue
            worst = 0.0
            for k in range(i + 1, j, (j - i) // 8 + 1):
                if free[k]:
                    continue
                ax, ay = border[k, 0] - x0, border[k, 1] - y0
                along = min(max((ax * ex + ay * ey) / square, 0.0), 1.0)
                ox, oy = ax - along * ex, ay - along * ey
                worst = max(worst, ox * ox + oy * oy)
                if worst > bound:
                    break
            if worst > bound:
                misses += 1
                if misses > 4:
                    break
                continue
            misses = 0
            total = cost[i] + ideal[j] - ideal[i] - edge_score(x0, y0, x1, y1, sums)
            if j < n - 1:
                bits = length_cost[contexts[last], radius]
                if px != 0 or py != 0:
                    bits += turn_cost[turn_context(last_turn, radius), angle_bin(px, py, dx, dy)]
                total += lagrangian * bits
            elif edges[i] + 1 < min_edges:
                continue
            if total < cost[j]:
                cost[j] = total
                back[j] = i
                edges[j] = edges[i] + 1
    if cost[n - 1] > 1e17:
        return np.full(1, -1, dtype=np.int64)
    result = np.empty(edges[n - 1] - 1, dtype=np.int64)
    at = back[n - 1]
    for k in range(len(result) - 1, -1, -1):
        result[k] = at
        at = back[at]
    return result


@numba.njit(cache=True)
def _around_cost(
    ring: NDArray[np.int32],
    i: int,
    step: int,
    origin_x: int,
    origin_y: int,
    sums: NDArray[np.int32],
    lagrangian: float,
    max_length: int,
    length_cost: NDArray[np.float64],
    turn_cost: NDArray[np.float64],
    contexts: NDArray[np.int64],
) -> float:
    """Wrong pixels + lambda bits of the edges that vertex i touches."""
    n = len(ring)
    total = 0.0
    for end in range(i, i + 2):
        c, d = (end - 1) % n, end % n
        total -= edge_score(
            int(ring[c, 0]) * step - origin_x,
            int(ring[c, 1]) * step - origin_y,
            int(ring[d, 0]) * step - origin_x,
            int(ring[d, 1]) * step - origin_y,
            sums,
        )
    for end in range(i, i + 3):
        total += lagrangian * _edge_bits(ring, end, max_length, length_cost, turn_cost, contexts)
    return total


@numba.njit(cache=True)
def improve(
    ring: NDArray[np.int32],
    step: int,
    origin_x: int,
    origin_y: int,
    sums: NDArray[np.int32],
    lagrangian: float,
    max_length: int,
    grid: tuple[int, int],
    length_cost: NDArray[np.float64],
    turn_cost: NDArray[np.float64],
    contexts: NDArray[np.int64],
) -> None:
    """Moves each vertex of a ring int32 [n, 2] by at most one grid step where that pays."""
    for i in range(len(ring)):
        x, y = ring[i, 0], ring[i, 1]
        best, best_x, best_y = 1e18, x, y
        for k in range(9):
            # The present place first.
            dx, dy = (k + 4) % 9 % 3 - 1, (k + 4) % 9 // 3 - 1
            if not (0 <= x + dx < grid[0] and 0 <= y + dy < grid[1]):
                continue
            ring[i, 0], ring[i, 1] = x + dx, y + dy
            cost = _around_cost(
                ring,
                i,
                step,
                origin_x,
                origin_y,
                sums,
                lagrangian,
                max_length,
                length_cost,
                turn_cost,
                contexts,
            )
            if cost < best - 1e-6:
                best, best_x, best_y = cost, x + dx, y + dy
        ring[i, 0], ring[i, 1] = best_x, best_y


@numba.njit(cache=True)
def ring_bits(
    ring: NDArray[np.int32],
    max_length: int,
    length_cost: NDArray[np.float64],
    turn_cost: NDArray[np.float64],
    contexts: NDArray[np.int64],
) -> float:
    """Estimated bits of a ring's vertices after its start (the closing edge is free)."""
    total = 0.0
    for end in range(1, len(ring)):
        total += _edge_bits(ring, end, max_length, length_cost, turn_cost, contexts)
    return total


@numba.njit(cache=True)
def split_long(ring: NDArray[np.int32], max_length: int) -> NDArray[np.int32]:
    """Drops repeated vertices and cuts edges longer than `max_length` into equal parts."""
    result = np.empty((4096, 2), dtype=np.int32)
    count = 0
    n = len(ring)
    for i in range(n):
        j = (i + 1) % n
        x, y = ring[i, 0], ring[i, 1]
        dx, dy = ring[j, 0] - x, ring[j, 1] - y
        length = max(abs(dx), abs(dy))
        if length == 0:
            continue
        # The closing edge is never coded: it may have any length.
        parts = 1 if i == n - 1 else (length + max_length - 1) // max_length
        for part in range(parts):
            if count < 4096:
                result[count, 0] = x + dx * part // parts
                result[count, 1] = y + dy * part // parts
                count += 1
    return result[:count].copy()


def fit_rings(
    borders: list[NDArray[np.int32]],
    origin: tuple[int, int],
    hidden: NDArray[np.bool_],
    step: int,
    tolerance_px: float,
    lagrangian: float,
    max_length: int,
    grid: tuple[int, int],
    start: tuple[int, int] | None,
) -> tuple[tuple[NDArray[np.int32], ...], float]:
    """Polygons along traced borders on the grid of `step` subpixels, and their estimated bits.

    `borders`: as `traced_rings` gives them, of a cut-out of the frame with its corner at pixel
    `origin`. `hidden`: the cut-out's pixels that objects in front cover. `start`: grid point near
    which the first ring should start. No rings if the mask is smaller than the grid.
    """
    corner = np.array(origin, dtype=np.int32) * SUBPIXELS
    rings: list[NDArray[np.int32]] = []
    bits = 0.0
    limit = np.array(grid, dtype=np.int32) - 1
    for border in borders:
        hole = twice_area(border) < 0
        stride = max(1, step // (2 * SUBPIXELS), len(border) // _MAX_CANDIDATES)
        points = np.ascontiguousarray((border[::-1] if hole else border)[::stride])
        on_grid = np.minimum((points + corner + step // 2) // step, limit)
        if start is not None:
            first = int(np.argmin(np.abs(on_grid - np.array(start)).sum(axis=1)))
        else:
            first = int(np.argmax(np.abs(points - points.mean(axis=0)).sum(axis=1)))
        points = _closed(points, first)
        on_grid = _closed(on_grid, first)
        rows = np.clip(points[:, 1] // SUBPIXELS, 0, hidden.shape[0] - 1)
        columns = np.clip(points[:, 0] // SUBPIXELS, 0, hidden.shape[1] - 1)
        sums = _ring_sums(border, hidden)
        chosen = cheapest_path(
            points,
            hidden[rows, columns],
            on_grid * step - corner,
            on_grid,
            (0, 0),
            sums,
            tolerance_px * SUBPIXELS,
            lagrangian,
            max_length,
            3,
            COSTS.length,
            COSTS.turn,
            LENGTH_CONTEXT,
        )
        if chosen[0] < 0:
            continue
        ring = np.concatenate([on_grid[:1], on_grid[chosen]])
        if not 3 <= len(ring) <= MAX_VERTICES:
            continue
        improve(
            ring,
            step,
            int(corner[0]),
            int(corner[1]),
            sums,
            lagrangian,
            max_length,
            grid,
            COSTS.length,
            COSTS.turn,
            LENGTH_CONTEXT,
        )
        if hole:
            ring = ring[::-1].copy()
        ring = split_long(ring, max_length)
        if not 3 <= len(ring) <= MAX_VERTICES:
            continue
        bits += ring_bits(ring, max_length, COSTS.length, COSTS.turn, LENGTH_CONTEXT) + 6
        rings.append(ring)
        start = (int(ring[0, 0]), int(ring[0, 1]))
    return tuple(rings), bits


def _closed(points: NDArray[np.int32], first: int) -> NDArray[np.int32]:
    """A ring's points from `first` once around and back to it."""
    return np.ascontiguousarray(np.concatenate([points[first:], points[: first + 1]]))


def _ring_sums(points: NDArray[np.int32], hidden: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Sums of weights: 1 within a traced ring, -1 outside, 0 where hidden."""
    inside = np.zeros(hidden.shape, dtype=np.uint8)
    paint(inside, points, np.array([0, len(points)], dtype=np.int32), 1)
    weights = 2 * inside.view(np.int8) - 1
    weights[hidden] = 0
    return prefix_sums(weights)


def traced_rings(mask: NDArray[np.bool_], min_area_px: float) -> list[NDArray[np.int32]]:
    """Borders of a mask worth coding, largest first, outer ones and holes alike."""
    points, offsets = trace(mask)
    rings = [points[offsets[i] : offsets[i + 1]] for i in range(len(offsets) - 1)]
    areas = [abs(twice_area(ring)) / 2 / SUBPIXELS**2 for ring in rings]
    order = sorted(range(len(rings)), key=lambda i: -areas[i])[:MAX_RINGS]
    return [rings[i] for i in order if areas[i] >= min_area_px]
