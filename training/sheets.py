"""Sample sheets: rows of pictures with a caption above each column."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

_BAR = 22


def contact_sheet(
    columns: Sequence[tuple[str, NDArray[np.uint8]]], side: int = 192
) -> NDArray[np.uint8]:
    """One row per picture, one column per (title, pictures [n, H, W, 3]); uint8 [h, w, 3]."""
    strips = []
    for title, pictures in columns:
        bar = np.full((_BAR, side, 3), 32, np.uint8)
        cv2.putText(bar, title, (4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (235,) * 3, 1, cv2.LINE_AA)
        cells = [
            cv2.resize(
                picture,
                (side, side),
                interpolation=cv2.INTER_AREA if picture.shape[0] > side else cv2.INTER_NEAREST,
            )
            for picture in pictures
        ]
        strips.append(np.concatenate([bar, *cells]))
    return np.concatenate(strips, axis=1)
