"""Writes small clips of every awkward kind, with PyAV."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

QUADRANTS = {
    "red": (200, 40, 30),
    "green": (20, 180, 40),
    "blue": (30, 50, 210),
    "grey": (128,) * 3,
}


def quadrants(height: int = 64, width: int = 96) -> np.ndarray:
    """Red top left, green top right, blue bottom left, grey bottom right."""
    rgb = np.empty((height, width, 3), np.uint8)
    rgb[: height // 2, : width // 2] = QUADRANTS["red"]
    rgb[: height // 2, width // 2 :] = QUADRANTS["green"]
    rgb[height // 2 :, : width // 2] = QUADRANTS["blue"]
    rgb[height // 2 :, width // 2 :] = QUADRANTS["grey"]
    return rgb


def numbered(count: int, height: int = 64, width: int = 64) -> list[np.ndarray]:
    """Grey pictures whose level tells their number: `number_of` reads it."""
    return [np.full((height, width, 3), 20 + 3 * k, np.uint8) for k in range(count)]


def number_of(rgb: np.ndarray) -> int:
    """The number of a picture made by `numbered`."""
    return round((float(rgb.mean()) - 20) / 3)


def write_video(
    path: Path,
    pictures: Sequence[np.ndarray],
    *,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    fps: int = 15,
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    rotation_deg: int | None = None,
    pixel_aspect: Fraction | None = None,
    tags: dict[str, int] | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    picture_format: str = "rgb24",
) -> Path:
    """Encode pictures [h, w, 3]; `tags` are codec context attributes (colorspace, color_trc...)."""
    quality = {"crf": "4", "preset": "ultrafast"} if codec in ("libx264", "libx265") else {}
    if codec == "libx265":
        quality["x265-params"] = "log-level=none"
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=fps, options={**quality, **(options or {})})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pixel_format
        for name, value in (tags or {}).items():
            setattr(stream.codec_context, name, value)
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if rotation_deg is not None:
            stream.set_display_rotation(rotation_deg)
        unit = time_base or Fraction(1, fps)
        stream.codec_context.time_base = unit
        for k, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format=picture_format)
            if tags:
                frame = frame.reformat(
                    format=pixel_format, dst_colorspace=_SWS_MATRIX.get(tags.get("colorspace", 2))
                )
                for name, value in tags.items():
                    setattr(frame, name, value)
            frame.pts = pts[k] if pts is not None else k
            frame.time_base = unit
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


_SWS_MATRIX = {1: 1, 5: 5, 6: 5, 9: 9}
"""AVCOL_SPC_* to swscale's names of the same matrices."""


def write_sound(path: Path) -> Path:
    """One second of silence."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 48000), np.float32), format="fltp", layout="mono"
        )
        frame.rate = 48000
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)
    return path


def write_picture(path: Path, picture: np.ndarray, picture_format: str = "rgb24") -> Path:
    """A still picture, by the codec of its suffix."""
    codec, pixel_format = {
        ".png": ("png", picture_format),
        ".jpg": ("mjpeg", "yuvj444p"),
        ".bmp": ("bmp", "bgr24"),
    }[path.suffix]
    with av.open(str(path), "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream(codec, rate=1)
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = pixel_format
        frame = av.VideoFrame.from_ndarray(picture, format=picture_format)
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)
    return path
