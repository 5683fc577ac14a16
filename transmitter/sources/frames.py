"""What a source hands over, and what is known about a clip before it is played."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semcast.errors import InputError

MAX_FPS = 120.0
"""Upper end of the session's frame rate; as in `semcast.session.SessionSetup`."""


@dataclass(frozen=True)
class SourceFrame:
    """One picture on the session's grid.

    index: 0, 1, 2, ... without gaps.
    pts_us: time on the session's clock, index / fps, microseconds, rounded.
    rgb: [height, width, 3], uint8, C-contiguous, owned by the receiver of the frame.
    """

    index: int
    pts_us: int
    rgb: NDArray[np.uint8]


@dataclass(frozen=True)
class ClipInfo:
    """What a clip is, as displayed.

    width, height: pixels after rotation and with square pixels, before scaling to the session.
    fps: average frames per second; None for pictures, which take the session's rate.
    duration_s, num_frames: None where the container does not say.
    codec, pixel_format: FFmpeg's names.
    rotation_deg: degrees clockwise by which the coded picture is turned: 0, 90, 180 or 270.
    """

    name: str
    width: int
    height: int
    fps: float | None
    duration_s: float | None
    num_frames: int | None
    codec: str
    pixel_format: str
    rotation_deg: int


def frame_pts_us(index: int, fps: float) -> int:
    """Time of a frame of the grid: index / fps in microseconds, rounded to the nearest."""
    return round(index * 1_000_000 / fps)


def check_fps(fps: float) -> float:
    """Return `fps` if a session can run at it (0 < fps <= 120); InputError otherwise."""
    if not (math.isfinite(fps) and 0.0 < fps <= MAX_FPS):
        raise InputError(f"{fps} frames per second is out of range: give one above 0, up to 120")
    return fps
