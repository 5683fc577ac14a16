"""Strokes as a network sees them: soft white lines on black, and back.

A sketch is a bitmap of lines one pixel wide. A network that learns from pixels and features sees
little of those, so lines are drawn two to three pixels wide, with soft edges: a line a pixel off
is then half right. The picture has sides that `Ntscc` takes and about as many pixels as sketchers
look at, however large the video is.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from semcast.codecs.patch_rates import PATCH
from semcast.codecs.sketch_bitmap import checked, thin
from semcast.errors import InputError

MAX_PIXELS = 256 * 256
"""About the largest picture. Sketchers look at no more (`transmitter.extractors.sketcher`)."""

_LINE_SIGMA = 1.0
_LINE_GAIN = 2.5
"""A straight line is a Gaussian 2.4 pixels wide at half its height, which is white."""

DRAWN = 128
"""Level from which a pixel is on a line: half of a line's height."""

Plane = NDArray[np.uint8]


def picture_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of the picture of a sketch, multiples of 16, in about its aspect ratio."""
    if width < 1 or height < 1:
        raise InputError(f"a sketch of {width}x{height} cannot be sent: give it pixels")
    scale = min(1.0, (MAX_PIXELS / (width * height)) ** 0.5)
    wide, high = (max(PATCH, PATCH * round(side * scale / PATCH)) for side in (width, height))
    return wide, high


def strokes_at(strokes: Plane, width: int, height: int) -> Plane:
    """Strokes, uint8 [H, W] of 0 and 1, in another size, one pixel wide: uint8 [height, width].

    Raises InputError for any other array, and for one of no pixels.
    """
    strokes = checked(strokes)
    if not strokes.size:
        raise InputError("a sketch of no pixels cannot be sent: give it pixels")
    if strokes.shape == (height, width):
        return strokes
    # Enlarged first, so that no line is torn, then each pixel put where it belongs.
    size = max(width, strokes.shape[1]), max(height, strokes.shape[0])
    large = np.asarray(cv2.resize(strokes, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    rows, columns = np.nonzero(large)
    resized = np.zeros((height, width), np.uint8)
    resized[rows * height // size[1], columns * width // size[0]] = 1
    thin(resized)
    return resized


def to_picture(strokes: Plane, width: int, height: int) -> Plane:
    """Strokes, uint8 [H, W] of 0 and 1, as soft lines on black: uint8 [height, width].

    width, height: what `picture_size` says. Raises InputError for any other array.
    """
    lines = strokes_at(strokes, width, height).astype(np.float32)
    soft = cv2.GaussianBlur(255 * _LINE_GAIN * lines, (0, 0), _LINE_SIGMA)
    return np.asarray(np.minimum(soft, 255).round(), np.uint8)


def to_strength(picture: Plane, width: int, height: int) -> Plane:
    """A received picture, uint8 [h, w], in the size of the video: uint8 [height, width], 255 on a
    line that is sure."""
    return np.asarray(
        cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8
    )


def to_strokes(strength: Plane) -> Plane:
    """Lines one pixel wide where a picture or its strength is bright: uint8 [H, W] of 0 and 1."""
    lines = (strength >= DRAWN).astype(np.uint8)
    thin(lines)
    return lines
