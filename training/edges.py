"""Sketches to train sketch codecs on: soft, thin edges found by classical means."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_FAINTEST = 24.0
"""Gradient of a step of about 12 levels. In pictures with nothing stronger, which show flat walls
and the noise of cameras, lines are fainter than white; ours."""

_PLATEAU = 0.9
"""Share of a gradient that, if it is still there on the way to three pixels off, makes it a slope
and not an edge."""


def soft_edges(rgb: NDArray[np.uint8], rng: np.random.Generator | None = None) -> NDArray[np.uint8]:
    """Edge strength, uint8 [H, W], 255 where strongest; white on black.

    Gradient of the blurred picture, over all colours, thinned across the edge and drawn again as
    lines two to three pixels wide, as edge networks give them. rng: varies scale and contrast.
    """
    sigma, gain = (1.4, 1.0) if rng is None else (rng.uniform(1.0, 2.2), rng.uniform(0.8, 1.4))
    blurred = cv2.GaussianBlur(rgb.astype(np.float32), (0, 0), sigma)
    dx = cv2.Sobel(blurred, cv2.CV_32F, 1, 0)
    dy = cv2.Sobel(blurred, cv2.CV_32F, 0, 1)
    strongest = np.argmax(dx * dx + dy * dy, axis=2)[..., None]
    dx = np.take_along_axis(dx, strongest, 2)[..., 0]
    dy = np.take_along_axis(dy, strongest, 2)[..., 0]
    strength = np.hypot(dx, dy)
    rows, columns = np.indices(strength.shape, np.float32)
    unit_x, unit_y = dx / (strength + 1e-6), dy / (strength + 1e-6)
    ridge = strength.copy()
    for sign in (-1, 1):
        beside, near, far = (
            cv2.remap(strength, columns + away * unit_x, rows + away * unit_y, cv2.INTER_LINEAR)
            for away in (sign, 2 * sign, 3 * sign)
        )
        ridge[(beside > strength) | (np.minimum(near, far) > _PLATEAU * strength)] = 0
    level = max(_FAINTEST, float(np.percentile(strength, 97)))
    lines = cv2.GaussianBlur(np.minimum(ridge / level, 1.5), (0, 0), 0.8) * 2.2 * gain
    return np.asarray(np.clip(lines * 255, 0, 255), np.uint8)
