"""How large is the session's picture, and how does a source picture come to that size?

The picture is scaled to cover the wanted size and its middle is kept (CONTRACT.md, `--size`). An
axis that shrinks is filtered by area, so nothing aliases; an axis that grows is interpolated by a
bicubic. An axis that keeps its length is not touched, so a picture that already fits comes through
bit for bit.
"""

from __future__ import annotations

import re
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from semcast.errors import InputError
from transmitter.sources.locate import quoted

Pixel = TypeVar("Pixel", np.uint8, np.uint16)

MIN_SIDE = 16
MAX_SIDE = 4096


def parse_size(text: str) -> tuple[int, int]:
    """Read `--size`: "256" is a square, "WxH" a rectangle.

    Returns (width, height) in pixels, both even, 16 to 4096.
    Raises InputError for anything else.
    """
    match = re.fullmatch(r"\s*(\d{1,6})(?:\s*[xX×]\s*(\d{1,6}))?\s*", text, flags=re.ASCII)
    if match is None:
        raise InputError(f"size {quoted(text)} is not a size: write a side like 256, or 320x240")
    width = int(match[1])
    height = int(match[2]) if match[2] is not None else width
    return check_size(width, height)


def check_size(width: int, height: int) -> tuple[int, int]:
    """Return the size if a session can have it; InputError says which rule it breaks."""
    for side in (width, height):
        if not MIN_SIDE <= side <= MAX_SIDE:
            raise InputError(
                f"size {width}x{height} is out of range: each side must be {MIN_SIDE} to {MAX_SIDE}"
            )
        if side % 2:
            raise InputError(
                f"size {width}x{height} has an odd side: video needs even ones, so write "
                f"{min(width + width % 2, MAX_SIDE)}x{min(height + height % 2, MAX_SIDE)}"
            )
    return width, height


def fit_to_size(
    rgb: NDArray[Pixel], width: int, height: int, *, pixel_aspect: float = 1.0
) -> NDArray[Pixel]:
    """Scale a picture to cover width x height and keep its middle.

    The part that is kept is rounded to whole source pixels, then resized.

    rgb: [h, w, 3], uint8 or uint16.
    pixel_aspect: width of a source pixel over its height.
    Returns [height, width, 3], same dtype, C-contiguous, never a view of the input.
    """
    source_height, source_width = rgb.shape[:2]
    scale = max(width / (source_width * pixel_aspect), height / source_height)
    kept_width = min(source_width, max(1, round(width / (scale * pixel_aspect))))
    kept_height = min(source_height, max(1, round(height / scale)))
    left = (source_width - kept_width) // 2
    top = (source_height - kept_height) // 2
    kept = rgb[top : top + kept_height, left : left + kept_width]
    shrunk = _resize(kept, min(width, kept_width), min(height, kept_height), cv2.INTER_AREA)
    fitted = _resize(shrunk, width, height, cv2.INTER_CUBIC)
    return fitted.copy() if fitted is kept else fitted


def _resize(picture: NDArray[Pixel], width: int, height: int, interpolation: int) -> NDArray[Pixel]:
    """Resize, or return the very array where there is nothing to do."""
    if picture.shape[:2] == (height, width):
        return picture
    resized = cv2.resize(
        np.ascontiguousarray(picture), (width, height), interpolation=interpolation
    )
    return resized.astype(picture.dtype, copy=False)
