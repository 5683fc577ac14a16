"""Starts a run: recipe by name, data, device, settings. Behind `semcast train`."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from pydantic import ValidationError

from semcast.errors import InputError, NotFoundError
from semcast.weights import read_weights
from training.data import PACK_SUFFIX, open_library
from training.loop import RunOptions, RunResult, Trainer, check_options
from training.recipe import Recipe, RecipeSettings

RECIPES = {
    "autoencoder": "training.recipes.autoencoder:Autoencoder",
    "djscc-sketch": "training.recipes.sketch_code:SketchCode",
    "ntscc": "training.recipes.ntscc:NtsccRecipe",
    "picture-video": "training.recipes.latent_video:PictureVideo",
    "segmenter": "training.recipes.segmenter:Segmenter",
    "sketch": "training.recipes.sketch:Sketch",
    "tiny": "training.recipes.tiny:TinyRecipe",
}
"""Where each recipe is; imported when asked for."""

PACKED_WEIGHTS = "weights/"
"""Folder of a pack that holds weights of metrics."""

_WEIGHTS_DIR_VARIABLE = "SEMCAST_WEIGHTS_DIR"

RUNS_DIR = Path("out") / "training"
CHECKOUT = Path(__file__).resolve().parents[1]


def default_data() -> Path:
    """`../shared/data` beside a checkout."""
    return CHECKOUT.parent / "shared" / "data"


def find_recipe(name: str) -> type[Recipe]:
    """The recipe class by name. Raises NotFoundError naming what there is."""
    if name not in RECIPES:
        raise NotFoundError(f"No recipe '{name}': choose one of {', '.join(RECIPES)}.")
    module, _, attribute = RECIPES[name].partition(":")
    found: type[Recipe] = getattr(importlib.import_module(module), attribute)
    return found


def parse_duration_s(text: str) -> float:
    """Seconds of "90s", "20m", "1.5h"; a bare number is minutes. Raises InputError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if not match or float(match[1]) <= 0:
        raise InputError(f"'{text}' is no duration: give one such as 90s, 20m or 1.5h.")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600, "": 60}[match[2]]


def pick_device(name: str) -> torch.device:
    """The device by name; "auto" takes CUDA where there is one. Raises InputError."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"'{name}' is no device: give auto, cpu or cuda.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError("This machine has no CUDA device: give --device cpu, or leave it out.")
    return device


def read_settings(recipe: type[Recipe], changes: Mapping[str, str]) -> RecipeSettings:
    """A recipe's settings with some changed. Raises InputError naming the first that is wrong."""
    try:
        return recipe.settings_class.model_validate(dict(changes))
    except ValidationError as error:
        first = error.errors()[0]
        names = ", ".join(recipe.settings_class.model_fields)
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"Setting '{where}': {first['msg']}. Settings: {names}.") from error


def train(
    recipe_name: str,
    options: RunOptions,
    *,
    data: Path | None = None,
    device: str = "auto",
    changes: Mapping[str, str] | None = None,
) -> RunResult:
    """Runs one recipe. changes: settings by name, as text.

    Raises InputError or NotFoundError, with what to do, before any work is done.
    """
    check_options(options)
    return Trainer(_make_recipe(recipe_name, data, device, changes), options).run()


def measure(
    recipe_name: str,
    weights: Path,
    *,
    data: Path | None = None,
    device: str = "auto",
    changes: Mapping[str, str] | None = None,
) -> dict[str, float]:
    """Held-out figures of a weight file, on all the held-out clips that `data` has.

    Raises InputError or NotFoundError, as `train` does, and for weights of another network.
    """
    state, _ = read_weights(weights)
    recipe = _make_recipe(recipe_name, data, device, changes)
    network = recipe.build().to(recipe.device)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{weights.name} holds no network of '{recipe_name}'.") from error
    with torch.inference_mode():
        return recipe.measure(network.eval())


def _make_recipe(
    name: str, data: Path | None, device: str, changes: Mapping[str, str] | None
) -> Recipe:
    recipe_class = find_recipe(name)
    settings = read_settings(recipe_class, changes or {})
    chosen = pick_device(device)
    source = data or default_data()
    library = open_library(source, folders=recipe_class.folders)
    with _metric_weights_of(source):
        return recipe_class(settings, library, chosen)


@contextlib.contextmanager
def _metric_weights_of(data: Path) -> Iterator[None]:
    """Lets metrics and losses find the weights that travel in a pack; a folder has none."""
    if data.suffix != PACK_SUFFIX:
        yield
        return
    before = os.environ.get(_WEIGHTS_DIR_VARIABLE)
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(data) as pack:
        for name in pack.namelist():
            if name.startswith(PACKED_WEIGHTS):
                pack.extract(name, folder)
        os.environ[_WEIGHTS_DIR_VARIABLE] = str(Path(folder) / PACKED_WEIGHTS)
        try:
            yield
        finally:
            del os.environ[_WEIGHTS_DIR_VARIABLE]
            if before is not None:
                os.environ[_WEIGHTS_DIR_VARIABLE] = before
