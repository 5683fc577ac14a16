"""A folder of pictures as a clip: one frame each, in the order a person would number them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import av

from semcast.errors import InputError
from transmitter.sources.locate import quoted
from transmitter.sources.video_file import OpenedVideo

PICTURE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".pgm", ".ppm", ".tif", ".tiff", ".webp"}
)


def list_pictures(folder: Path) -> list[Path]:
    """Pictures in a folder, `frame2.png` before `frame10.png`; hidden files are left out.

    Raises InputError if there is none.
    """
    found = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in PICTURE_SUFFIXES
        and not path.name.startswith(".")
        and path.is_file()
    ]
    if not found:
        raise InputError(
            f"folder {quoted(folder)} holds no pictures: put .png or .jpg files directly into it"
        )
    return sorted(found, key=_natural_order)


def first_frame_of_each(pictures: list[Path]) -> Iterator[tuple[av.VideoFrame, float]]:
    """Decode one picture after the other: (frame, pixel aspect).

    Raises InputError, with the file's name, at a picture that cannot be decoded.
    """
    for path in pictures:
        with OpenedVideo(path) as picture:
            yield next(iter(picture.frames())).picture, picture.pixel_aspect


def _natural_order(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key: runs of digits compare as numbers, the rest as text without case."""
    parts = re.findall(r"\d+|\D+", path.name, flags=re.ASCII)
    key = [
        (0, int(p), "") if p[0].isdigit() and p.isascii() else (1, 0, p.casefold()) for p in parts
    ]
    return key, path.name
