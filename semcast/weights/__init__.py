"""Weight files that ship with semcast: fp16 safetensors, a model card (`NAME.md`) beside each.

The header of a file holds, as JSON under "semcast", what is needed to build its network again
(`config`) and where it comes from (`recipe`, `steps`). Nothing here is ever unpickled.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semcast.errors import NotFoundError

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = Path(__file__).resolve().parent
SUFFIX = ".safetensors"

_HEADER = "semcast"


@dataclass(frozen=True)
class WeightFile:
    """One bundled file. header: recipe, config, steps."""

    name: str
    path: Path
    num_bytes: int
    header: dict[str, Any]


def bundled_weights() -> tuple[WeightFile, ...]:
    """All files that ship with this version, by name."""
    return tuple(_describe(path) for path in sorted(FOLDER.glob(f"*{SUFFIX}")))


def has_weights(name: str) -> bool:
    """Whether the bundled file `name` is there."""
    return (FOLDER / f"{name}{SUFFIX}").is_file()


def find_weights(name: str) -> Path:
    """The bundled file `name`. Raises NotFoundError naming what there is."""
    path = FOLDER / f"{name}{SUFFIX}"
    if not path.is_file():
        there = ", ".join(path.stem for path in sorted(FOLDER.glob(f"*{SUFFIX}")))
        raise NotFoundError(f"No weights '{name}' in this version, which has {there or 'none'}.")
    return path


@functools.cache
def digest(name: str) -> str:
    """Eight hexadecimal digits that tell versions of the bundled file `name` apart.

    Raises NotFoundError naming what there is.
    """
    return hashlib.sha256(find_weights(name).read_bytes()).hexdigest()[:8]


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (floating ones in float32) and header of a weight file.

    Raises NotFoundError for a file that is not there or not one of ours.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "pt") as file:
            header = (file.metadata() or {}).get(_HEADER)
            state = {name: file.get_tensor(name) for name in file.keys()}
        described = json.loads(header) if header is not None else None
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise NotFoundError(f"{path.name} cannot be read as weights: {error}") from error
    if described is None:
        raise NotFoundError(f"{path.name} was not written by semcast train: give one that was.")
    state = {k: v.to(torch.float32) if v.is_floating_point() else v for k, v in state.items()}
    return state, described


def write_weights(path: Path, state: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Writes tensors in fp16 with a header, whole or not at all.

    Raises ValueError for a value that fp16 cannot hold.
    """
    import torch
    from safetensors.torch import save

    halves = {}
    for name, value in state.items():
        stored = value.detach().cpu()
        if stored.is_floating_point():
            stored = stored.to(torch.float16)
            if not bool(stored.isfinite().all()):
                raise ValueError(f"{name} has values that fp16 cannot hold")
        halves[name] = stored.contiguous()
    partial = path.with_suffix(".partial")
    partial.write_bytes(save(halves, {_HEADER: json.dumps(header)}))
    os.replace(partial, path)


def _describe(path: Path) -> WeightFile:
    """Reads no tensor, and needs no package: a file begins with the length and text of its JSON."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        metadata = json.loads(file.read(length)).get("__metadata__", {})
    header = json.loads(metadata.get(_HEADER, "{}"))
    return WeightFile(path.stem, path, path.stat().st_size, header)
