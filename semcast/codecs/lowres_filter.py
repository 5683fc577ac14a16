"""The loop filter of the low-res codec: takes out quantisation noise, keeps edges.

Each sample moves towards its four neighbours; a difference d counts as
sign(d) * max(0, min(|d|, t - |d|/2)), so it counts in full while small against the threshold t and
not at all when it must be an edge (the constraint function of AV1's CDEF, here without
directions). t is a fraction of the quantiser step, one of four strengths sent per frame. The
filtered frame is shown and predicts the next one. Measured gain: docs/CODECS.md.
"""

import numba
import numpy as np
from numpy.typing import NDArray

STRENGTHS = (0, 5, 10, 16)
"""Threshold t in 1/16 quantiser steps, by the frame's filter symbol; 0 is off."""


@numba.njit(cache=True)
def smooth(planes: NDArray[np.int32], step: int, strength: int) -> NDArray[np.int32]:
    """Filtered copy of int32 planes [3, h, w]; `step` in plane units, `strength` of STRENGTHS."""
    if strength == 0:
        return planes.copy()
    threshold = (step * strength) >> 4
    count, height, width = planes.shape
    result = np.empty_like(planes)
    for p in range(count):
        for y in range(height):
            for x in range(width):
                centre = planes[p, y, x]
                total = 0
                for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                    row = min(max(y + dy, 0), height - 1)
                    column = min(max(x + dx, 0), width - 1)
                    difference = planes[p, row, column] - centre
                    size = abs(difference)
                    size = max(0, min(size, threshold - (size >> 1)))
                    total += size if difference > 0 else -size
                result[p, y, x] = centre + ((total + 2) // 5)
    return result


@numba.njit(cache=True)
def blur(planes: NDArray[np.int32], times: int) -> NDArray[np.int32]:
    """Int32 planes [3, h, w] under the kernel [1 2 1] x [1 2 1] / 16, `times` times over."""
    result = planes.copy()
    count, height, width = planes.shape
    for _ in range(times):
        source = result.copy()
        for p in range(count):
            for y in range(height):
                above, below = max(y - 1, 0), min(y + 1, height - 1)
                for x in range(width):
                    left, right = max(x - 1, 0), min(x + 1, width - 1)
                    total = 4 * source[p, y, x] + 8
                    total += 2 * (source[p, above, x] + source[p, below, x])
                    total += 2 * (source[p, y, left] + source[p, y, right])
                    total += source[p, above, left] + source[p, above, right]
                    total += source[p, below, left] + source[p, below, right]
                    result[p, y, x] = total >> 4
    return result
