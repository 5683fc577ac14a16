"""`semcast models`: what is bundled, what the hub offers; `semcast models pull NAME`."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from semcast.errors import InputError
from semcast.generators import GENERATORS
from semcast.hub import HUB_MODELS, NamedModel, find_hub_model, is_installed, missing_packages, pull
from semcast.metrics.weights import MetricUnavailableError, MetricWeights
from semcast.weights import bundled_weights


def list_models() -> None:
    """Prints generators, weight files, what metrics look for, and what the hub offers."""
    files = {file.name: file for file in bundled_weights()}
    generators = Table(title="Generators", title_justify="left")
    generators.add_column("name")
    generators.add_column("weights")
    for info in GENERATORS.values():
        needs = [name if name in files else f"{name} (not bundled)" for name in info.weights]
        needs += [f"{info.hub_model} (of the hub)"] if info.hub_model else []
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
    console.print(_hub_table())
    console.print("Fetch one with 'semcast models pull NAME'; mind its licence.")


def _hub_table() -> Table:
    hub = Table(title="On the hub", title_justify="left")
    for column in ("name", "what for", "size"):
        hub.add_column(column, no_wrap=True)
    for column in ("state", "licence", "repository @ commit"):
        hub.add_column(column, overflow="fold")
    for model in HUB_MODELS.values():
        hub.add_row(
            model.name,
            model.use.value,
            f"{model.megabytes} MB",
            _hub_state(model),
            model.licence,
            f"{model.repository} @ {model.revision[:7]}",
        )
    return hub


def _hub_state(model: NamedModel) -> str:
    if missing := missing_packages(model):
        return f"needs {', '.join(missing)}"
    return "here" if is_installed(model) else "to pull"


def _squeezenet_state() -> str:
    try:
        return f"found: {MetricWeights.from_environment().squeezenet().name}"
    except MetricUnavailableError as reason:
        return str(reason)


def pull_model(name: str) -> None:
    """Fetches a model of the hub and its parts at their pinned revisions; says where they lie.

    Raises InputError without a name, NotFoundError for an unknown one, UnavailableError where the
    hub cannot be reached.
    """
    if not name:
        raise InputError(f"Which model? 'semcast models pull NAME', of {', '.join(HUB_MODELS)}.")
    model = find_hub_model(name)
    console = Console(soft_wrap=True)
    for part in (model, *(HUB_MODELS[part] for part in model.parts)):
        console.print(f"{part.name}: {part.megabytes} MB, licence {part.licence}")
        folder = pull(part)
        console.print(f"{part.name} is in {folder}")
    if missing := missing_packages(model):
        console.print(f"To load it, install {', '.join(missing)} as well.")
