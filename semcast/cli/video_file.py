"""Files of frames: an mp4 written as they come, arrays at the end."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from semcast.errors import InputError

_CRF = "12"
"""Visually lossless: the file shows what the receiver made, not what x264 did to it."""


class VideoFile:
    """An H.264 mp4 being written. Use as a context manager."""

    def __init__(self, path: Path, *, width: int, height: int, fps: float) -> None:
        """Raises InputError where the file cannot be written."""
        if path.suffix.lower() != ".mp4":
            raise InputError(f"'{path}' must end in .mp4: that is what is written.")
        try:
            # PyAV opens the file with the first packet; what is wrong with it is said now.
            path.open("ab").close()
            self._container = av.open(str(path), "w")
        except OSError as error:
            raise InputError(f"'{path}' cannot be written: {error.strerror}.") from error
        rate = Fraction(fps).limit_denominator(1001)
        stream = self._container.add_stream("libx264", rate=rate)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv420p" if width % 2 == height % 2 == 0 else "yuv444p"
        # Players take untagged video of this size for either matrix; say which it is.
        stream.colorspace = Colorspace.ITU709
        stream.color_range = ColorRange.MPEG
        stream.options = {"crf": _CRF, "preset": "veryfast"}
        self._stream = stream

    def add(self, rgb: NDArray[np.uint8]) -> None:
        """Appends a frame. rgb: [H, W, 3], uint8."""
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
            format=self._stream.pix_fmt, dst_colorspace=Colorspace.ITU709
        )
        frame.colorspace = Colorspace.ITU709
        self._container.mux(self._stream.encode(frame))

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._container.mux(self._stream.encode(None))
        self._container.close()


def require_folders(*paths: Path | None) -> None:
    """Raises InputError where a file that is to be written has no folder to be in, or is one."""
    for path in paths:
        if path is None:
            continue
        if not path.parent.is_dir():
            raise InputError(f"The folder '{path.parent}' does not exist: make it first.")
        if path.is_dir():
            raise InputError(f"'{path}' is a folder: name a file in it.")


def write_arrays(path: Path, **arrays: NDArray[np.uint8]) -> None:
    """Writes an .npz to the very path; numpy alone would add a suffix to some."""
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
