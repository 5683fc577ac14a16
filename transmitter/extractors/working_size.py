"""How large a picture the segmenter looks at."""

from __future__ import annotations

SIDE_MULTIPLE = 16
"""The network halves its planes four times."""

WORKING_AREA = 176 * 176
"""Pixels, whatever the shape of the frame: what 25 ms on one core allow, with room to spare."""


def working_size(width: int, height: int) -> tuple[int, int]:
    """Width and height near WORKING_AREA in about the frame's shape, multiples of 16."""
    scale = (WORKING_AREA / (width * height)) ** 0.5
    rounded = [max(2, round(side * scale / SIDE_MULTIPLE)) for side in (width, height)]
    return rounded[0] * SIDE_MULTIPLE, rounded[1] * SIDE_MULTIPLE
