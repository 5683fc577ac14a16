"""The command line of training: `semcast train`, and `python -m training` where only that runs.

Both take the same arguments and print the same. On a machine lent for a while the rest of semcast
may lack packages; this needs none but those that training itself needs.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from semcast.errors import InputError
from semcast.metrics.weights import MetricUnavailableError
from semcast.weights import find_weights

if TYPE_CHECKING:
    from training.recipe import Recipe

DEFAULT_BUDGET = "20m"

BUNDLED = "bundled"

STOPPED = 130
"""Exit status of a run that was told to stop before its end."""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, by an exception."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see '{self.prog} --help')")


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=prog,
        description="Train one weight file of semcast and write its model card.",
        epilog="Without RECIPE, --list names the recipes; with it, the settings of that recipe.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("recipe", nargs="?", metavar="RECIPE", help="what to train")
    add("--list", action="store_true", help="list what there is, and train nothing")
    add("--measure", metavar="WEIGHTS", help="print held-out figures of a file; train nothing")
    add(
        "--data", type=Path, metavar="PATH", help="folder of clips, or pack; default ../shared/data"
    )
    add("--device", default="auto", help="auto, cpu or cuda; default auto")
    add("--budget", metavar="TIME", help="such as 90s, 20m, 1.5h; default 20m unless --steps")
    add("--steps", type=int, metavar="N", help="end after so many steps")
    add("--resume", action="store_true", help="go on with the run in the run folder")
    add("--run", type=Path, metavar="DIR", help="run folder; default out/training/RECIPE")
    add("--start-from", metavar="WEIGHTS", help="a weight file, or 'bundled'; default at random")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting")
    add("--seed", type=int, default=7777, help="of batches, noise and first weights")
    return parser


def run_command(arguments: Sequence[str], prog: str) -> int:
    """Trains, or lists; prints where the results are. Returns the exit status.

    Raises InputError, in one sentence, for what cannot be done.
    """
    asked = _parser(prog).parse_args(arguments)
    try:
        if asked.list:
            _list(asked.recipe)
            return 0
        if asked.recipe is None:
            raise InputError(f"Name a recipe to train: '{prog} --list' shows what there is.")
        if asked.measure is not None:
            _measure(asked)
            return 0
        return _train(asked, prog)
    except MetricUnavailableError as error:
        raise InputError(f"Training measures with SqueezeNet, and {error}.") from error
    except ModuleNotFoundError as error:
        missing = " ".join(str(error).split())
        raise InputError(
            f"Training lacks a package ({missing}): install semcast with its extra 'train'."
        ) from error


def _list(recipe_name: str | None) -> None:
    from training.run import RECIPES, find_recipe

    if recipe_name is None:
        for name in RECIPES:
            recipe = find_recipe(name)
            print(f"{name:14} {recipe.title} ({recipe.weights_name})")
        return
    for name, setting in find_recipe(recipe_name).settings_class.model_fields.items():
        print(f"{name:22} {setting.default!s:10} {setting.description}")


def _measure(asked: argparse.Namespace) -> None:
    from training.run import find_recipe, measure

    recipe, changes = find_recipe(asked.recipe), _changes(asked.set)
    figures = measure(
        recipe.name,
        _weight_file(asked.measure, recipe, changes),
        data=asked.data,
        device=asked.device,
        changes=changes,
    )
    for name, value in figures.items():
        print(f"{name:22} {value:.4g}")


def _weight_file(text: str, recipe: type[Recipe], changes: Mapping[str, str]) -> Path:
    """A weight file by path; or the bundled one that these settings train."""
    from training.run import read_settings

    if text != BUNDLED:
        return Path(text)
    return find_weights(recipe.weights_name_for(read_settings(recipe, changes)))


def _train(asked: argparse.Namespace, prog: str) -> int:
    from training.loop import RunOptions
    from training.run import RUNS_DIR, find_recipe, parse_duration_s, pick_device, train

    recipe, changes = find_recipe(asked.recipe), _changes(asked.set)
    if asked.steps is not None and asked.steps < 1:
        raise InputError(f"--steps {asked.steps} is out of range: give 1 or more.")
    if not 0 <= asked.seed < 1 << 31:
        raise InputError(f"--seed {asked.seed} is out of range: give 0 to {(1 << 31) - 1}.")
    budget = asked.budget or (DEFAULT_BUDGET if asked.steps is None else None)
    start_from = None
    if asked.start_from is not None:
        start_from = _weight_file(asked.start_from, recipe, changes)
    options = RunOptions(
        run_dir=asked.run or RUNS_DIR / recipe.name,
        steps=asked.steps,
        budget_s=parse_duration_s(budget) if budget else None,
        resume=asked.resume,
        start_from=start_from,
        seed=asked.seed,
        workers=_workers(),
    )
    ends = [] if asked.steps is None else [f"{asked.steps} steps"]
    ends += [budget] if budget else []
    print(f"{recipe.title}: {' or '.join(ends)} on {pick_device(asked.device)}", flush=True)
    result = train(recipe.name, options, data=asked.data, device=asked.device, changes=changes)
    figures = ", ".join(f"{name} {value:.4g}" for name, value in result.figures.items())
    print(f"{result.steps} steps in {result.elapsed_s / 60:.1f} minutes. {figures}")
    for what, path in (
        ("weights", result.weights),
        ("card", result.weights.with_suffix(".md")),
        ("sheets", options.run_dir / "sheets"),
        ("log", options.run_dir / "log.jsonl"),
    ):
        print(f"  {what:8} {path}")
    if not result.finished:
        print(f"Stopped before its end: '{prog}' with --resume and the same arguments goes on.")
        return STOPPED
    return 0


def _changes(texts: Sequence[str]) -> dict[str, str]:
    changes = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise InputError(f"--set {text} is no setting: give NAME=VALUE.")
        changes[name] = value
    return changes


def _workers() -> int:
    """Threads that draw batches: two cores are left for the loop and the device."""
    return max(2, min(12, (os.cpu_count() or 1) - 2))
