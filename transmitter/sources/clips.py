"""What a clip is, and its frames on the session's grid: the two calls the transmitter makes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semcast.errors import InputError
from transmitter.sources.frames import ClipInfo, SourceFrame, check_fps, frame_pts_us
from transmitter.sources.grid import on_grid
from transmitter.sources.locate import locate_clip
from transmitter.sources.pictures import first_frame_of_each, list_pictures
from transmitter.sources.rendering import render_frame
from transmitter.sources.size import check_size
from transmitter.sources.video_file import OpenedVideo

_LARGEST_TOLERANCE_PERIODS = 0.25


def probe_clip(clip: str) -> ClipInfo:
    """Look at a clip and decode its first frame.

    clip: a file, a folder of pictures, or "sample:NAME".
    Raises NotFoundError if there is no such clip, InputError if it cannot be a source.
    """
    path = locate_clip(clip)
    if not path.is_dir():
        with OpenedVideo(path) as video:
            return video.info(clip)
    pictures = list_pictures(path)
    with OpenedVideo(pictures[0]) as first:
        info = first.info(clip)
    return ClipInfo(
        name=clip,
        width=info.width,
        height=info.height,
        fps=None,
        duration_s=None,
        num_frames=len(pictures),
        codec=info.codec,
        pixel_format=info.pixel_format,
        rotation_deg=info.rotation_deg,
    )


def read_clip(
    clip: str,
    *,
    fps: float,
    width: int,
    height: int,
    max_frames: int | None = None,
    loop: bool = False,
) -> Iterator[SourceFrame]:
    """Frames of a clip on a grid of 1/fps, width x height, decoded as they are asked for.

    A video's frame k is its picture at k/fps seconds after its first one; a folder's is its k-th
    picture. With `loop` the clip starts again at its end and the index goes on.

    fps: above 0, up to 120. width, height: even, 16 to 4096. max_frames: at least 1.
    Raises InputError or NotFoundError at the call for what can be known by then, and from the
    iterator for a picture that turns out to be unusable later.
    """
    check_fps(fps)
    check_size(width, height)
    if max_frames is not None and max_frames < 1:
        raise InputError(f"{max_frames} frames is too few: ask for at least one")
    probe_clip(clip)
    path = locate_clip(clip)
    return itertools.islice(_numbered(path, fps, width, height, loop), max_frames)


def _numbered(path: Path, fps: float, width: int, height: int, loop: bool) -> Iterator[SourceFrame]:
    index = 0
    while True:
        for rgb in _one_pass(path, fps, width, height):
            yield SourceFrame(index, frame_pts_us(index, fps), rgb)
            index += 1
        if not loop:
            return


def _one_pass(path: Path, fps: float, width: int, height: int) -> Iterator[NDArray[np.uint8]]:
    if path.is_dir():
        for frame, pixel_aspect in first_frame_of_each(list_pictures(path)):
            yield render_frame(frame, width, height, pixel_aspect=pixel_aspect)
        return
    with OpenedVideo(path) as video:
        tolerance_s = min(video.time_base_s, _LARGEST_TOLERANCE_PERIODS / fps)
        rendered = None
        previous = None
        for frame in on_grid(video.frames(), fps=fps, tolerance_s=tolerance_s):
            if rendered is None or frame is not previous:
                rendered = render_frame(frame, width, height, pixel_aspect=video.pixel_aspect)
                previous = frame
                yield rendered
            else:
                yield rendered.copy()
