"""Splices worth their bits: where a ring the receiver holds fits badly, a new path (encoder only)."""

import numba
import numpy as np
from numpy.typing import NDArray

from semcast.codecs.contours_polygon import SUBPIXELS, edge_score
from semcast.codecs.contours_shape import COSTS, LENGTH_CONTEXT, cheapest_path
from semcast.codecs.contours_syntax import MAX_SPAN, MAX_SPLICED, ContourObject, Geometry, Splice

_HEADER_BITS = 12.0
"""Rough bits of a splice besides its path."""


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
    """Candidate splices of the object's largest ring on one level, with estimated bits.

    `border`: int32 [n, 2], the traced border that the ring should follow, in subpixels of the
    cut-out whose corner is pixel `origin`; `hidden`, `sums` as in `fit_rings`.
    """
    corner = np.array(origin, dtype=np.int32) * SUBPIXELS
    ring = held.points[held.offsets[0] : held.offsets[1]] - corner
    n = len(ring)
    step = geometry.grid_step(level)
    stride = max(1, step // (2 * SUBPIXELS))
    border = np.ascontiguousarray(border[::stride])
    # Where each vertex is on the border, and how far off.
    off = border[None].astype(np.int64) - ring[:, None]
    distance = (off**2).sum(axis=2)
    nearest = distance.argmin(axis=1)
    loss = _edge_loss(ring, border, nearest, sums)
    worst = int(np.argmax(loss))
    found: list[tuple[Splice, float]] = []
    for lead in (0, 1, 2):
        first = (worst - lead) % n
        for span in range(lead + 1, min(lead + 4, MAX_SPAN, n - 1) + 1):
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
            bits = _HEADER_BITS + float(np.log2(n)) + 6.5 * len(chosen)
            found.append((Splice(held.id, level, 0, first, span, path), bits))
    return found


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
