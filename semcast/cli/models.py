"""`semcast models`: what is bundled, what the hub offers."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from semcast.generators import GENERATORS
from semcast.errors import NotFoundError
from semcast.metrics.weights import MetricUnavailableError, MetricWeights


def list_models() -> None:
    """Prints the generators of this version and the weights that metrics look for."""
    table = Table(title="Generators", title_justify="left")
    table.add_column("name")
    table.add_column("weights")
    for name in GENERATORS:
        table.add_row(name, "needs none")
    metrics = Table(title="Weights that metrics use", title_justify="left")
    metrics.add_column("metric")
    metrics.add_column("state")
    metrics.add_row("lpips_squeeze_caffe", _squeezenet_state())
    for metric in ("lpips", "clip_score", "bert_score"):
        metrics.add_row(metric, "local cache, or the hub with SEMCAST_ALLOW_DOWNLOADS=1")
    console = Console()
    console.print(table)
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
