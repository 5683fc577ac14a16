"""Polygons on a pixel grid: tracing borders, filling, counting wrong pixels. All integer.

Coordinates are (x, y) in `SUBPIXELS`-ths of a pixel; pixel (column c, row r) covers
[c, c+1) x [r, r+1) and belongs to a polygon that winds clockwise, as seen on screen, around its
centre. Several closed rings make a shape: `points` int32 [n, 2] holds them one after another, ring
i from `offsets[i]` to `offsets[i+1]` (int32 [rings + 1]). Outer rings run clockwise, holes the
other way round.
"""

import numba
import numpy as np
from numpy.typing import NDArray

SUBPIXELS = 8
_HALF = SUBPIXELS // 2


@numba.njit(cache=True)
def trace(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """All borders of a mask bool [H, W] (4-connected), as (points, offsets).

    A border runs along the cracks between pixels; its points are the cracks' midpoints, which
    smooths staircases.
    """
    height, width = mask.shape
    visited = np.zeros((height, width), dtype=np.bool_)
    step_x = np.array([1, 0, -1, 0])
    step_y = np.array([0, 1, 0, -1])
    # Pixel ahead on the right, seen from a corner, when heading east, south, west, north.
    right_x = np.array([0, -1, -1, 0])
    right_y = np.array([0, 0, -1, -1])
    points = np.empty((256, 2), dtype=np.int32)
    offsets = np.zeros(16, dtype=np.int32)
    count = rings = 0
    for row in range(height):
        for column in range(width):
            if not mask[row, column] or visited[row, column]:
                continue
            if row > 0 and mask[row - 1, column]:
                continue
            x, y, heading = column, row, 0
            while True:
                if heading == 0:
                    if visited[y, x]:
                        break
                    visited[y, x] = True
                if count == len(points):
                    grown = np.empty((2 * count, 2), dtype=np.int32)
                    grown[:count] = points
                    points = grown
                points[count, 0] = SUBPIXELS * x + _HALF * step_x[heading]
                points[count, 1] = SUBPIXELS * y + _HALF * step_y[heading]
                count += 1
                x += step_x[heading]
                y += step_y[heading]
                ahead_x, ahead_y = x + right_x[heading], y + right_y[heading]
                left = (heading + 3) % 4
                beside_x, beside_y = x + right_x[left], y + right_y[left]
                if not (0 <= ahead_x < width and 0 <= ahead_y < height and mask[ahead_y, ahead_x]):
                    heading = (heading + 1) % 4
                elif 0 <= beside_x < width and 0 <= beside_y < height and mask[beside_y, beside_x]:
                    heading = left
            rings += 1
            if rings == len(offsets):
                longer = np.zeros(2 * rings, dtype=np.int32)
                longer[:rings] = offsets
                offsets = longer
            offsets[rings] = count
    return points[:count].copy(), offsets[: rings + 1].copy()


@numba.njit(cache=True)
def label_boxes(labels: NDArray[np.uint8], num_labels: int) -> NDArray[np.int64]:
    """Boxes and areas of labels 0..num_labels - 1: int64 [num_labels, 5] of x0, y0, x1, y1, pixels.

    The box is half-open; a label that does not occur has no pixels.
    """
    height, width = labels.shape
    boxes = np.zeros((num_labels, 5), dtype=np.int64)
    boxes[:, 0], boxes[:, 1] = width, height
    for row in range(height):
        for column in range(width):
            box = boxes[labels[row, column]]
            box[0] = min(box[0], column)
            box[1] = min(box[1], row)
            box[2] = max(box[2], column + 1)
            box[3] = max(box[3], row + 1)
            box[4] += 1
    return boxes


@numba.njit(cache=True)
def twice_area(points: NDArray[np.int32]) -> int:
    """Twice the signed area of one ring, in squared subpixels; positive for an outer ring."""
    total = 0
    n = len(points)
    for i in range(n):
        j = i + 1 if i + 1 < n else 0
        total += np.int64(points[i, 0]) * points[j, 1] - np.int64(points[j, 0]) * points[i, 1]
    return int(total)


@numba.njit(cache=True)
def prefix_sums(weights: NDArray[np.int8]) -> NDArray[np.int32]:
    """Row-wise sums int32 [H, W+1]: entry [r, c] is the weight left of column c in row r."""
    height, width = weights.shape
    sums = np.zeros((height, width + 1), dtype=np.int32)
    for row in range(height):
        total = 0
        for column in range(width):
            total += weights[row, column]
            sums[row, column + 1] = total
    return sums


@numba.njit(cache=True)
def edge_score(x0: int, y0: int, x1: int, y1: int, sums: NDArray[np.int32]) -> int:
    """What one edge adds to the weight inside a ring (Green's theorem on the pixel grid)."""
    if y0 == y1:
        return 0
    sign = 1
    if y0 > y1:
        x0, y0, x1, y1 = x1, y1, x0, y0
        sign = -1
    height, width = sums.shape[0], sums.shape[1] - 1
    first = max((y0 + _HALF - 1) // SUBPIXELS, 0)
    last = min((y1 + _HALF - 1) // SUBPIXELS, height)
    total = 0
    for row in range(first, last):
        crossing = x0 + (SUBPIXELS * row + _HALF - y0) * (x1 - x0) // (y1 - y0)
        column = min(max((crossing + _HALF - 1) // SUBPIXELS, 0), width)
        total += sums[row, column]
    return sign * total


@numba.njit(cache=True)
def ring_score(points: NDArray[np.int32], sums: NDArray[np.int32]) -> int:
    """Weight inside one ring; pixels wound around twice count twice, backwards negatively."""
    total = 0
    n = len(points)
    for i in range(n):
        j = i + 1 if i + 1 < n else 0
        total += edge_score(
            int(points[i, 0]), int(points[i, 1]), int(points[j, 0]), int(points[j, 1]), sums
        )
    return total


@numba.njit(cache=True)
def shape_score(
    points: NDArray[np.int32], offsets: NDArray[np.int32], sums: NDArray[np.int32]
) -> int:
    """Weight inside a shape."""
    total = 0
    for i in range(len(offsets) - 1):
        total += ring_score(points[offsets[i] : offsets[i + 1]], sums)
    return total


@numba.njit(cache=True)
def _windings(
    points: NDArray[np.int32], offsets: NDArray[np.int32], height: int, width: int
) -> tuple[int, NDArray[np.int16]]:
    """Row of the topmost pixel, and the changes of the winding number along each row from there:
    int16 [rows, width + 1]."""
    top = bottom = 0
    if len(points) > 0:
        top = max((int(points[:, 1].min()) + _HALF - 1) // SUBPIXELS, 0)
        bottom = min((int(points[:, 1].max()) + _HALF - 1) // SUBPIXELS, height)
    turns = np.zeros((max(bottom - top, 0), width + 1), dtype=np.int16)
    if bottom <= top:
        return 0, turns
    for i in range(len(offsets) - 1):
        for a in range(offsets[i], offsets[i + 1]):
            b = a + 1 if a + 1 < offsets[i + 1] else offsets[i]
            x0, y0 = int(points[a, 0]), int(points[a, 1])
            x1, y1 = int(points[b, 0]), int(points[b, 1])
            if y0 == y1:
                continue
            sign = -1
            if y0 > y1:
                x0, y0, x1, y1 = x1, y1, x0, y0
                sign = 1
            first = max((y0 + _HALF - 1) // SUBPIXELS, 0)
            last = min((y1 + _HALF - 1) // SUBPIXELS, height)
            for row in range(first, last):
                crossing = x0 + (SUBPIXELS * row + _HALF - y0) * (x1 - x0) // (y1 - y0)
                column = min(max((crossing + _HALF - 1) // SUBPIXELS, 0), width)
                turns[row - top, column] += sign
    return top, turns


@numba.njit(cache=True)
def paint(
    labels: NDArray[np.uint8], points: NDArray[np.int32], offsets: NDArray[np.int32], value: int
) -> None:
    """Write `value` into every pixel of `labels` uint8 [H, W] that a shape covers."""
    top, turns = _windings(points, offsets, labels.shape[0], labels.shape[1])
    for row in range(len(turns)):
        winding = 0
        for column in range(labels.shape[1]):
            winding += turns[row, column]
            if winding > 0:
                labels[top + row, column] = value


@numba.njit(cache=True)
def painted_score(
    points: NDArray[np.int32], offsets: NDArray[np.int32], weights: NDArray[np.int8]
) -> int:
    """Weight of the pixels that a shape covers; exact where rings cross themselves too."""
    top, turns = _windings(points, offsets, weights.shape[0], weights.shape[1])
    total = 0
    for row in range(len(turns)):
        winding = 0
        for column in range(weights.shape[1]):
            winding += turns[row, column]
            if winding > 0:
                total += weights[top + row, column]
    return total


@numba.njit(cache=True)
def transform(
    points: NDArray[np.int32],
    dx: int,
    dy: int,
    scale: int,
    turn: int,
    limit_x: int,
    limit_y: int,
) -> NDArray[np.int32]:
    """A shape moved by (dx, dy) subpixels, grown by `scale`/64 and turned by `turn`/64 radians.

    Growth and turn are about the middle of the bounding box (the turn by its tangent, which also
    grows a little). Coordinates are held within one frame size around the frame.
    """
    moved = np.empty_like(points)
    if len(points) == 0:
        return moved
    cx = (int(points[:, 0].min()) + int(points[:, 0].max())) // 2
    cy = (int(points[:, 1].min()) + int(points[:, 1].max())) // 2
    for i in range(len(points)):
        x, y = int(points[i, 0]) - cx, int(points[i, 1]) - cy
        new_x = cx + dx + ((64 + scale) * x - turn * y + 32) // 64
        new_y = cy + dy + ((64 + scale) * y + turn * x + 32) // 64
        moved[i, 0] = min(max(new_x, -limit_x), 2 * limit_x)
        moved[i, 1] = min(max(new_y, -limit_y), 2 * limit_y)
    return moved
