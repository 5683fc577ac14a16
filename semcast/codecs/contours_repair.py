"""Splices worth their bits: a new path where a held ring fits badly (encoder only)."""

from itertools import product

import numba
import numpy as np
from numpy.typing import NDArray

from semcast.codecs.contours_directions import angle_bin, turn_context
from semcast.codecs.contours_polygon import SUBPIXELS, edge_score
from semcast.codecs.contours_shape import COSTS, LENGTH_CONTEXT, cheapest_path
from semcast.codecs.contours_syntax import MAX_SPLICED, ContourObject, Geometry, Splice

_HEADER_BITS = 10.0
"""Rough bits of a splice besides its path."""
_WORST_EDGES = 2
_AROUND = ((0, 0), (0, 1), (1, 0), (1, 1), (2, 2))
"""Edges before and after the worst one that a splice replaces too."""


def splices(
    held: ContourObject,
    border: NDArray[np.int32],
    origin: tuple[int, int],
    hidden: NDArray[np.bool_],
    sums: NDArray[np.int32],
    geometry: Geometry,
    level: int,
    tolerance_px: float,
    lagrangian: float,
) -> list[tuple[Splice, float]]:
    """The two best splices of the object's largest ring on one level, with estimated bits.

    `border`: int32 [n, 2], the traced border that the ring should follow, in subpixels of the
    cut-out whose corner is pixel `origin`; `hidden`, `sums` as in `fit_rings`.
    """
    corner = np.array(origin, dtype=np.int32) * SUBPIXELS
    ring = held.points[held.offsets[0] : held.offsets[1]] - corner
    n = len(ring)
    step = geometry.grid_step(level)
    stride = max(1, step // SUBPIXELS)
    border = np.ascontiguousarray(border[::stride])
    # Where each vertex is on the border.
    nearest = _nearest(ring, border)
    loss = _edge_loss(ring, border, nearest, sums)
    found: list[tuple[float, Splice, float]] = []
    for worst, (lead, tail) in product(np.argsort(-loss)[:_WORST_EDGES], _AROUND):
        first, span = int(worst - lead) % n, lead + 1 + tail
        if span < n:
            last = (first + span) % n
            begin, end = int(nearest[first]), int(nearest[last])
            count = (end - begin) % len(border)
            if not 2 <= count <= len(border) * 3 // 4:
                continue
            arc = border[(begin + np.arange(count + 1)) % len(border)]
            arc[0], arc[-1] = ring[first], ring[last]
            grid = (arc - ring[first] + step // 2) // step
            places = ring[first] + grid * step
            places[-1] = ring[last]
            rows = np.clip(arc[:, 1] // SUBPIXELS, 0, hidden.shape[0] - 1)
            columns = np.clip(arc[:, 0] // SUBPIXELS, 0, hidden.shape[1] - 1)
            chord = ring[last] - ring[first]
            chosen = cheapest_path(
                arc,
                hidden[rows, columns],
                places.astype(np.int32),
                grid.astype(np.int32),
                (int(chord[0]), int(chord[1])),
                sums,
                tolerance_px * SUBPIXELS,
                lagrangian,
                geometry.max_length,
                1,
                COSTS.length,
                COSTS.turn,
                LENGTH_CONTEXT,
            )
            if len(chosen) > MAX_SPLICED or (len(chosen) and chosen[0] < 0):
                continue
            if n - span + len(chosen) < 3 or (span == 1 and not len(chosen)):
                continue
            path = grid[chosen].astype(np.int32)
            bits = _HEADER_BITS + float(np.log2(n)) + _path_bits(path, chord)
            new = np.concatenate([ring[first : first + 1], places[chosen], ring[last : last + 1]])
            old = ring[(first + np.arange(span + 1)) % n]
            gain = _path_score(new.astype(np.int32), sums) - _path_score(old, sums)
            if gain > 0:
                found.append((gain / bits, Splice(held.id, level, 0, first, span, path), bits))
    found.sort(key=lambda entry: -entry[0])
    return [(splice, bits) for _, splice, bits in found[:2]]


def _path_bits(path: NDArray[np.int32], before: NDArray[np.int32]) -> float:
    """Bits of the vertices of a path that starts at (0, 0) after the edge `before`."""
    ring = np.concatenate([-before[None], np.zeros((1, 2), dtype=np.int32), path])
    total = 0.0
    for end in range(2, len(ring)):
        x, y = ring[end] - ring[end - 1]
        px, py = ring[end - 1] - ring[end - 2]
        qx, qy = ring[end - 2] - ring[end - 3] if end > 2 else (0, 0)
        last_turn = angle_bin(qx, qy, px, py) if end > 2 else -1
        last = max(abs(px), abs(py)) if end > 2 else 0
        radius = max(abs(x), abs(y))
        total += COSTS.length[LENGTH_CONTEXT[last], radius] - 0.3
        total += COSTS.turn[turn_context(last_turn, radius), angle_bin(px, py, x, y)]
    return float(total)


@numba.njit(cache=True)
def _nearest(ring: NDArray[np.int32], border: NDArray[np.int32]) -> NDArray[np.int64]:
    """Index of the border point nearest to each vertex."""
    result = np.zeros(len(ring), dtype=np.int64)
    for i in range(len(ring)):
        least = np.int64(1) << 62
        for k in range(len(border)):
            dx = np.int64(border[k, 0]) - ring[i, 0]
            dy = np.int64(border[k, 1]) - ring[i, 1]
            if dx * dx + dy * dy < least:
                least = dx * dx + dy * dy
                result[i] = k
    return result


@numba.njit(cache=True)
def _path_score(path: NDArray[np.int32], sums: NDArray[np.int32]) -> int:
    total = 0
    for i in range(len(path) - 1):
        total += _score(path[i], path[i + 1], sums)
    return total


@numba.njit(cache=True)
def _edge_loss(
    ring: NDArray[np.int32],
    border: NDArray[np.int32],
    nearest: NDArray[np.int64],
    sums: NDArray[np.int32],
) -> NDArray[np.int64]:
    """Wrong pixels between each edge of a ring and its stretch of the border."""
    n, m = len(ring), len(border)
    along = np.zeros(2 * m + 1, dtype=np.int64)
    for k in range(2 * m):
        along[k + 1] = along[k] + _score(border[k % m], border[(k + 1) % m], sums)
    loss = np.zeros(n, dtype=np.int64)
    for i in range(n):
        j = (i + 1) % n
        begin, end = nearest[i], nearest[j]
        if (end - begin) % m > m * 3 // 4:
            continue
        if end < begin:
            end += m
        loss[i] = along[end] - along[begin] - _score(ring[i], ring[j], sums)
        loss[i] += _score(ring[i], border[begin], sums) + _score(border[end % m], ring[j], sums)
    return loss


@numba.njit(cache=True)
def _score(a: NDArray[np.int32], b: NDArray[np.int32], sums: NDArray[np.int32]) -> int:
    return edge_score(int(a[0]), int(a[1]), int(b[0]), int(b[1]), sums)
