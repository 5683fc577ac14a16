"""Curves of a run, drawn from its log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_log(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Lines of training and lines of measurement (those with "held_out")."""
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    return [e for e in entries if "loss" in e], [e for e in entries if "held_out" in e]


def draw_curve(log_path: Path, picture_path: Path, title: str) -> None:
    """Loss over steps, and every held-out figure below it; PNG."""
    if not log_path.exists():
        return
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    training, held_out = read_log(log_path)
    names = list(dict.fromkeys(name for entry in held_out for name in entry["held_out"]))
    figure, axes = pyplot.subplots(
        1 + len(names), 1, figsize=(7, 2 + 1.5 * (1 + len(names))), sharex=True, squeeze=False
    )
    top = axes[0][0]
    top.plot([e["step"] for e in training], [e["loss"] for e in training], lw=0.8, color="#3b6ea5")
    top.set_ylabel("loss")
    top.set_title(title, fontsize=10)
    for name, row in zip(names, axes[1:], strict=True):
        points = [(e["step"], e["held_out"][name]) for e in held_out if name in e["held_out"]]
        row[0].plot(*zip(*points, strict=True), marker="o", ms=3, color="#b5542c")
        row[0].set_ylabel(name, fontsize=8)
    for row in axes:
        row[0].grid(alpha=0.3)
    axes[-1][0].set_xlabel("step")
    figure.tight_layout()
    figure.savefig(picture_path, dpi=80)
    pyplot.close(figure)
