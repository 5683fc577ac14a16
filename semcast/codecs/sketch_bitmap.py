"""Sketches as small bitmaps: their size, how they get there from the extractor's, and back."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from semcast.errors import InputError

MIN_SIDE = 16
MAX_SIDE = 256
MAX_PIXELS = 128 * 128
"""Bounds of a bitmap: what a decoder may be asked to fill."""

_SPECK = 3
"""Pixels of the smallest stroke that is kept when a sketch is shrunk."""


@dataclass(frozen=True)
class SketchGeometry:
    """Size of the bitmap that is sent; at most MAX_PIXELS pixels."""

    width: int
    height: int

    def __post_init__(self) -> None:
        for name, side in (("width", self.width), ("height", self.height)):
            if not MIN_SIDE <= side <= MAX_SIDE:
                raise InputError(
                    f"a sketch's {name} must be {MIN_SIDE} to {MAX_SIDE} pixels, not {side}"
                )
        if self.width * self.height > MAX_PIXELS:
            raise InputError(
                f"a sketch of {self.width}x{self.height} has over {MAX_PIXELS} pixels: "
                "choose a smaller one"
            )


def geometry_for(video_width: int, video_height: int, num_pixels: int = 96 * 96) -> SketchGeometry:
    """A bitmap of about `num_pixels` in the video's aspect ratio, sides multiples of 8."""
    if video_width < 1 or video_height < 1:
        raise InputError(f"a video of {video_width}x{video_height} has no sketch")
    scale = (min(num_pixels, MAX_PIXELS) / (video_width * video_height)) ** 0.5

    def side(length: int) -> int:
        wanted = min(length, length * scale)
        return int(np.clip(8 * round(wanted / 8), MIN_SIDE, MAX_SIDE))

    width, height = side(video_width), side(video_height)
    while width * height > MAX_PIXELS:
        width, height = (width - 8, height) if width >= height else (width, height - 8)
    return SketchGeometry(width, height)


def checked(bitmap: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The bitmap as 0 and 1, contiguous. Raises InputError for any other array."""
    if bitmap.ndim != 2 or bitmap.dtype != np.uint8 or (bitmap.size and bitmap.max() > 1):
        raise InputError(
            f"a sketch is uint8 [h, w] of 0 and 1, not {bitmap.dtype} {list(bitmap.shape)}"
        )
    return np.ascontiguousarray(bitmap)


def shrink_sketch(sketch: NDArray[np.uint8], geometry: SketchGeometry) -> NDArray[np.uint8]:
    """A sketch, uint8 [H, W] of 0 and 1, in the geometry's size: uint8 [h, w].

    A pixel is set where the sketch has one in the area it covers; the result is thinned to lines
    one pixel wide, and specks are left out.
    """
    sketch = checked(sketch)
    if sketch.size == 0:
        raise InputError("a sketch of no pixels cannot be shrunk")
    height, width = sketch.shape
    small = np.zeros((geometry.height, geometry.width), dtype=np.uint8)
    if height < geometry.height or width < geometry.width:
        size = (max(width, geometry.width), max(height, geometry.height))
        sketch = np.asarray(cv2.resize(sketch, size, interpolation=cv2.INTER_NEAREST), np.uint8)
        height, width = sketch.shape
    rows, columns = np.nonzero(sketch)
    small[rows * geometry.height // height, columns * geometry.width // width] = 1
    _fill_pinholes(small)
    thin(small)
    return without_specks(small, _SPECK)


def enlarge_sketch(bitmap: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """A received bitmap as a sketch of the video's size, uint8 [height, width] of 0 and 1.

    Smoothly enlarged, so that stairs become slants, and thinned again.
    """
    soft = cv2.resize(
        cv2.GaussianBlur(checked(bitmap).astype(np.float32), (0, 0), 0.6),
        (width, height),
        interpolation=cv2.INTER_CUBIC,
    )
    lines = (soft > _DRAWN).astype(np.uint8)
    _fill_pinholes(lines)
    thin(lines)
    return lines


_DRAWN = 0.3
"""Of a blurred pixel's height (0.44): a slant of pixels that touch at corners stays one line."""


def without_specks(bitmap: NDArray[np.uint8], smallest: int) -> NDArray[np.uint8]:
    """Without strokes (8-connected) of fewer than `smallest` pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(bitmap, connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= smallest
    keep[0] = False
    return np.asarray(keep[labels], np.uint8)


def _fill_pinholes(bitmap: NDArray[np.uint8]) -> None:
    """Sets, in place, pixels whose four neighbours are set: they would become rings."""
    bitmap[1:-1, 1:-1] |= (
        bitmap[:-2, 1:-1] & bitmap[2:, 1:-1] & bitmap[1:-1, :-2] & bitmap[1:-1, 2:]
    )


@numba.njit(cache=True)
def thin(bitmap):  # type: ignore[no-untyped-def]
    """Zhang and Suen's thinning (1984) of uint8 [h, w] of 0 and 1, in place; then stairs lose their
    corners."""
    height, width = bitmap.shape
    marked = np.empty((height * width, 2), dtype=np.int32)
    ring = np.empty(8, dtype=np.uint8)
    for _ in range(64):
        changed = False
        for phase in range(2):
            count = 0
            for y in range(height):
                for x in range(width):
                    if bitmap[y, x] == 0:
                        continue
                    _neighbours(bitmap, y, x, ring)
                    total = 0
                    rises = 0
                    for k in range(8):
                        total += ring[k]
                        rises += ring[k] == 0 and ring[(k + 1) % 8] == 1
                    if total < 2 or total > 6 or rises != 1:
                        continue
                    # ring: N NE E SE S SW W NW
                    if phase == 0:
                        blocked = ring[0] & ring[2] & ring[4] or ring[2] & ring[4] & ring[6]
                    else:
                        blocked = ring[0] & ring[2] & ring[6] or ring[0] & ring[4] & ring[6]
                    if not blocked:
                        marked[count, 0], marked[count, 1] = y, x
                        count += 1
            for k in range(count):
                bitmap[marked[k, 0], marked[k, 1]] = 0
            changed = changed or count > 0
        if not changed:
            break
    for y in range(height):
        for x in range(width):
            if bitmap[y, x]:
                _neighbours(bitmap, y, x, ring)
                for k in range(0, 8, 2):
                    # A corner whose two arms touch without it, and that carries nothing else.
                    arms = ring[k] and ring[(k + 2) % 8]
                    others = ring[(k + 3) % 8] + ring[(k + 4) % 8] + ring[(k + 5) % 8]
                    others += ring[(k + 6) % 8] + ring[(k + 7) % 8]
                    if arms and others == 0:
                        bitmap[y, x] = 0
                        break


@numba.njit(cache=True, inline="always")
def _neighbours(bitmap, y, x, ring):  # type: ignore[no-untyped-def]
    """The eight neighbours, clockwise from the one above; 0 outside."""
    height, width = bitmap.shape
    above, below = y > 0, y < height - 1
    left, right = x > 0, x < width - 1
    ring[0] = bitmap[y - 1, x] if above else 0
    ring[1] = bitmap[y - 1, x + 1] if above and right else 0
    ring[2] = bitmap[y, x + 1] if right else 0
    ring[3] = bitmap[y + 1, x + 1] if below and right else 0
    ring[4] = bitmap[y + 1, x] if below else 0
    ring[5] = bitmap[y + 1, x - 1] if below and left else 0
    ring[6] = bitmap[y, x - 1] if left else 0
    ring[7] = bitmap[y - 1, x - 1] if above and left else 0
