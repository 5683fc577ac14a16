"""The model card of a weight file: what trained it, on what, for how long, how good it is."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from semcast.version import __version__
from training.curve import read_log

if TYPE_CHECKING:
    from training.recipe import Recipe

_MAX_CURVE_ROWS = 12


def hardware(device: torch.device) -> str:
    """The machine, in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{os.cpu_count()} CPU cores ({platform.machine()}), torch {torch.__version__}"


def write_card(
    path: Path,
    *,
    recipe: Recipe,
    steps: int,
    elapsed_s: float,
    figures: dict[str, float],
    log_path: Path,
    run: dict[str, Any],
) -> None:
    """Markdown, written anew at each checkpoint."""
    held_out = read_log(log_path)[1] if log_path.exists() else []
    network = recipe.build()
    num_parameters = sum(p.numel() for p in network.parameters())
    lines = [
        f"# {recipe.weights_name}",
        "",
        f"{recipe.title}. Trained by `semcast train {recipe.name}` (semcast {__version__}); "
        f"{num_parameters / 1e6:.2f} M parameters, fp16 safetensors.",
        "",
        "| | |",
        "|---|---|",
        f"| steps | {steps}, of {recipe.settings.batch_size} windows |",
        f"| time | {elapsed_s / 60:.1f} minutes |",
        f"| hardware | {hardware(recipe.device)} |",
        *(f"| {name} | {value} |" for name, value in run.items() if value is not None),
        "",
        "## Held-out figures",
        "",
        "On clips it was not trained on, with the EMA weights in float32.",
        "",
        *(f"- {name}: {value:.4g}" for name, value in figures.items()),
        "",
    ]
    if held_out:
        names = list(held_out[-1]["held_out"])
        rows = held_out[:: max(1, len(held_out) // _MAX_CURVE_ROWS)]
        if rows[-1] is not held_out[-1]:
            rows.append(held_out[-1])
        lines += [
            "## How it got there",
            "",
            "| step | minutes | " + " | ".join(names) + " |",
            "|---" * (2 + len(names)) + "|",
        ]
        for row in rows:
            values = " | ".join(f"{row['held_out'].get(name, float('nan')):.4g}" for name in names)
            lines.append(f"| {row['step']} | {row['elapsed_s'] / 60:.1f} | {values} |")
        lines.append("")
    lines += [
        "## Trained on",
        "",
        *(f"- {source}" for source in recipe.library.sources),
        "",
        "## Settings",
        "",
        *(f"- {name}: {value}" for name, value in recipe.settings.model_dump().items()),
        "",
    ]
    path.write_text("\n".join(lines))
