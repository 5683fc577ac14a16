"""Where is the clip the user named, and does anything stand beside it?

A clip is a file, a folder of pictures, or `sample:NAME`. Whatever cannot be one gets a sentence
here, before any decoder sees it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from semcast.errors import InputError, NotFoundError

SAMPLE_PREFIX = "sample:"
MAX_CAPTION_BYTES = 4096

_LONGEST_QUOTED = 200


def locate_clip(clip: str) -> Path:
    """The file or folder a clip's name means, readable and not empty.

    Raises NotFoundError if there is none, InputError if it cannot be read.
    """
    path = _named_path(clip)
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(
            f"clip {quoted(clip)} does not exist: "
            "give a video file, a folder of pictures or sample:NAME"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(f"clip {quoted(clip)} cannot be opened: {_reason(error)}") from error
    if stat.S_ISDIR(status.st_mode):
        if not os.access(path, os.R_OK | os.X_OK):
            raise InputError(f"folder {quoted(clip)} may not be read: change its permissions")
        return path
    if not stat.S_ISREG(status.st_mode):
        raise InputError(
            f"clip {quoted(clip)} is a device, pipe or socket: "
            "give a video file or a folder of pictures"
        )
    if not os.access(path, os.R_OK):
        raise InputError(f"clip {quoted(clip)} may not be read: change its permissions")
    if status.st_size == 0:
        raise InputError(f"clip {quoted(clip)} is an empty file: give one that holds video")
    return path


def caption_beside(clip: str) -> str | None:
    """The caption in the .txt file beside a clip, on one line; None if there is none.

    Beside `dir/walk.mp4` that is `dir/walk.txt`; beside a folder `dir/walk` also `dir/walk.txt`.
    Raises NotFoundError for an unknown sample, InputError for a file that is no short text.
    """
    path = _named_path(clip)
    beside = path.parent / ((path.name if path.is_dir() else path.stem) + ".txt")
    if beside == path or not beside.is_file():
        return None
    try:
        with beside.open("rb") as file:
            raw = file.read(MAX_CAPTION_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"caption file {quoted(beside)} is not UTF-8 text: save it as UTF-8"
        ) from error
    except OSError as error:
        raise InputError(
            f"caption file {quoted(beside)} cannot be read: {_reason(error)}"
        ) from error
    if len(raw) > MAX_CAPTION_BYTES:
        raise InputError(
            f"caption file {quoted(beside)} is too long: at most {MAX_CAPTION_BYTES} bytes, "
            "or give a short caption yourself"
        )
    return " ".join(text.split()) or None


def quoted(name: str | Path) -> str:
    """A name as it may stand in a message: on one line, printable, not endless."""
    text = str(name)
    text = text if len(text) <= _LONGEST_QUOTED else "..." + text[-_LONGEST_QUOTED:]
    return '"' + "".join(c if c.isprintable() else "?" for c in text) + '"'


def _named_path(clip: str) -> Path:
    if clip.startswith(SAMPLE_PREFIX):
        # Imported here: a transmitter that plays files needs no samples installed.
        from semcast.samples import sample_path

        return Path(sample_path(clip.removeprefix(SAMPLE_PREFIX)))
    if not clip or "\0" in clip:
        raise InputError("the clip's name is empty: give a video file, a folder or sample:NAME")
    return Path(clip)


def _reason(error: OSError | ValueError) -> str:
    """The system's own words for an error, without path and number."""
    words = error.strerror if isinstance(error, OSError) else None
    return (words or str(error)).lower()
