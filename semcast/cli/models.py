"""`semcast models`: what is bundled, what the hub offers."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from semcast.errors import NotFoundError
from semcast.generators import GENERATORS
from semcast.metrics.weights import MetricUnavailableError, MetricWeights
from semcast.weights import bundled_weights


def list_models() -> None:
    """Prints the generators of this version, its weight files, and what metrics look for."""
    files = {file.name: file for file in bundled_weights()}
    generators = Table(title="Generators", title_justify="left")
    generators.add_column("name")
    generators.add_column("weights")
    for info in GENERATORS.values():
        needs = [name if name in files else f"{name} (not bundled)" for name in info.weights]
        generators.add_row(info.name, ", ".join(needs) or "needs none")
    weights = Table(title="Bundled weights", title_justify="left")
    for column in ("name", "size", "trained by", "steps"):
        weights.add_column(column)
    for file in files.values():
        weights.add_row(
            file.name,
            f"{file.num_bytes / 1e6:.1f} MB",
            f"semcast train {file.header.get('recipe', 'unknown')}",
            str(file.header.get("steps", "unknown")),
        )
    metrics = Table(title="Weights that metrics use", title_justify="left")
    metrics.add_column("metric")
    metrics.add_column("state")
    metrics.add_row("lpips_squeeze_caffe", _squeezenet_state())
    for metric in ("lpips", "clip_score", "bert_score"):
        metrics.add_row(metric, "local cache, or the hub with SEMCAST_ALLOW_DOWNLOADS=1")
    console = Console()
    console.print(generators)
    if files:
        console.print(weights)
    else:
        console.print("No weights are bundled.")
    console.print(metrics)


def _squeezenet_state() -> str:
    try:
        return f"found: {MetricWeights.from_environment().squeezenet().name}"
    except MetricUnavailableError as reason:
        return str(reason)


def pull_model(name: str) -> None:
    """Raises NotFoundError: this version has no generator that lives on the hub."""
    raise NotFoundError(
        f"No model '{name}' to pull: this version offers no generator on the hub; "
        "'semcast models' lists what is bundled."
    )
