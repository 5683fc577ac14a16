"""The bundled sample clips: names, files, captions, masks.

Each sample is `NAME.mp4`, `NAME.txt` (its caption) and `NAME_masks.npz` (exact instance labels of
every frame), packaged with semcast. README.md beside them says how they were made.
"""

from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semcast.errors import NotFoundError


def _folder() -> Path:
    return Path(str(files(__name__)))


def sample_names() -> list[str]:
    """Names of the bundled clips, sorted; each works as `sample:NAME` on the command line."""
    return sorted(path.stem for path in _folder().glob("*.mp4"))


def _file(name: str, suffix: str) -> Path:
    if name not in sample_names():
        raise NotFoundError(
            f"no bundled sample is called {name!r}; choose one of {', '.join(sample_names())}"
        )
    return _folder() / f"{name}{suffix}"


def sample_path(name: str) -> Path:
    """The clip's MP4 file. Raises `NotFoundError` naming the samples there are."""
    return _file(name, ".mp4")


def sample_caption(name: str) -> str:
    """The clip's caption, one sentence. Raises `NotFoundError`."""
    return _file(name, ".txt").read_text(encoding="utf-8").strip()


def sample_masks(name: str) -> tuple[NDArray[np.uint8], list[str]]:
    """Instance labels uint8 [F, H, W] of every frame, and the objects' names.

    Label 0 is background; label k is object k - 1 of the list, the same throughout the clip.
    Raises `NotFoundError`.
    """
    with np.load(_file(name, "_masks.npz")) as stored:
        return stored["labels"], [str(name) for name in stored["objects"]]
