"""Thin lines from soft ones: ridges of an edge map, followed from strong to weak."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_BLUR = 0.7
"""Pixels; settles which of two equal neighbours is the ridge."""

_DIRECTION_BLUR = 2.0
"""Pixels; over which the direction of a line is found."""


def ridges(strength: NDArray[np.float32]) -> NDArray[np.float32]:
    """Non-maximum suppression across lines: `strength` on ridges, 0 elsewhere; float32 [H, W].

    The direction across is that of the strongest curvature (the Hessian of the blurred map), as in
    structured edges (Dollár & Zitnick, 2015): downward on a line, upward beside it.
    """
    broad = cv2.GaussianBlur(strength, (0, 0), _DIRECTION_BLUR)
    dxx = cv2.Sobel(broad, cv2.CV_32F, 2, 0)
    dyy = cv2.Sobel(broad, cv2.CV_32F, 0, 2)
    dxy = cv2.Sobel(broad, cv2.CV_32F, 1, 1)
    # Along angle t the curvature is a mean plus R cos(2t - phase): greatest at half the phase,
    # least across that, and which of the two is stronger the mean tells.
    across = 0.5 * np.arctan2(2 * dxy, dxx - dyy)
    across[dxx + dyy < 0] += np.pi / 2
    step_x, step_y = np.cos(across, dtype=np.float32), np.sin(across, dtype=np.float32)
    soft = cv2.GaussianBlur(strength, (0, 0), _BLUR)
    rows, columns = np.indices(strength.shape, np.float32)
    kept = np.asarray(strength, np.float32).copy()
    for sign in (-1, 1):
        beside = cv2.remap(
            soft,
            columns + sign * step_x,
            rows + sign * step_y,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        kept[beside > soft] = 0
    return kept
