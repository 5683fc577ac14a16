"""Which way up is a decoded picture?

Cameras store pictures as the sensor sees them and add a display matrix. The matrix maps a coded
point (x, y) to a displayed point (a*x + c*y, b*x + d*y), y downwards (ISO/IEC 14496-12, 8.2.2); its
36 bytes are nine native 32-bit integers a b u c d v x y w, a-d in 16.16 fixed point. EXIF
orientations of photographs reach us as the same matrix, and may mirror as well as turn.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, TypeVar

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer
from numpy.typing import NDArray

Pixel = TypeVar("Pixel", np.uint8, np.uint16)


_DISPLAY_MATRIX = "DISPLAYMATRIX"


@dataclass(frozen=True)
class Orientation:
    """One of the eight ways a rectangle can lie: transpose first, then flip."""

    transpose: bool = False
    flip_horizontal: bool = False
    flip_vertical: bool = False

    @property
    def rotation_deg(self) -> int:
        """Degrees clockwise by which the picture is turned, a mirror aside: 0, 90, 180, 270."""
        if self.transpose:
            return 90 if self.flip_horizontal else 270
        return 180 if self.flip_vertical else 0

    def apply(self, picture: NDArray[Pixel]) -> NDArray[Pixel]:
        """Turn a picture [h, w, 3] upright; returns a view, [w, h, 3] where transposed."""
        if self.transpose:
            picture = picture.transpose(1, 0, 2)
        if self.flip_horizontal:
            picture = picture[:, ::-1]
        if self.flip_vertical:
            picture = picture[::-1]
        return picture


UPRIGHT = Orientation()


def orientation_from_matrix(matrix: bytes) -> Orientation:
    """The orientation nearest to a display matrix of 36 bytes; upright if it is degenerate."""
    if len(matrix) != 36:
        return UPRIGHT
    a, b, _, c, d, *_ = struct.unpack("=9i", matrix)
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, a < 0, d < 0)
    return Orientation(True, c < 0, b < 0)


def frame_orientation(frame: av.VideoFrame) -> Orientation:
    """The orientation a decoded frame carries; upright if it carries none."""
    # Not frame.side_data: that ties frame and container into a cycle, and frames, megabytes each,
    # would pile up until the garbage collector happens to run.
    open_side_data: Any = SideDataContainer  # PyAV's stubs leave out the argument
    side_data = open_side_data(frame)
    if _DISPLAY_MATRIX not in side_data:
        return UPRIGHT
    return orientation_from_matrix(bytes(side_data[_DISPLAY_MATRIX]))
