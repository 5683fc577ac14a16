"""Has another scene begun? Told from received pictures alone, as they come."""

from __future__ import annotations

import itertools
from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

_SIDE = 32
_LEAST_EXCESS = 0.27
"""How far colours must lie apart beyond what motion did just before; chosen on whole training
clips with a look at both sides of a cut (`training.data`), of which a receiver sees only one."""
_REACH = 3

Picture = NDArray[np.uint8]


def colours(picture: Picture) -> NDArray[np.float64]:
    """How often each colour occurs in each quarter of a picture, 4 x 512 shares that sum to 1.

    A pixel counts for the eight colours around its own, the nearer the more, so that a slow change
    of light is a small change.
    """
    small = cv2.resize(picture, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) * (7 / 255)
    low = np.minimum(small.astype(np.intp), 6)
    share = small - low
    rows, columns = np.indices((_SIDE, _SIDE)) // (_SIDE // 2)
    quarters = 512 * (2 * rows + columns)
    counts = np.zeros(4 * 512)
    for corner in itertools.product((0, 1), repeat=3):
        codes = quarters + (low + corner) @ np.array([64, 8, 1])
        weights = np.where(corner, share, 1 - share).prod(-1)
        counts += np.bincount(codes.ravel(), weights.ravel(), len(counts))
    return counts / _SIDE**2


def colour_distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Total variation of two such, 0 to 1."""
    return float(0.5 * np.abs(a - b).sum())


class CutFinder:
    """Looks at received pictures in order."""

    def __init__(self) -> None:
        self._picture: Picture | None = None
        self._last: NDArray[np.float64] | None = None
        self._steps: deque[float] = deque(maxlen=_REACH)

    def is_cut(self, picture: Picture) -> bool:
        """Whether this one begins another scene; a flash is taken for one too.

        One that is held, the same array again, is no new one: that nothing came says nothing of
        how much things move.
        """
        if picture is self._picture:
            return False
        self._picture = picture
        now = colours(picture)
        last, self._last = self._last, now
        if last is None:
            return False
        step = colour_distance(last, now)
        found = step - max(self._steps, default=0.0) > _LEAST_EXCESS
        if found:
            self._steps.clear()
        else:
            self._steps.append(step)
        return found
