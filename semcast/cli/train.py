"""`semcast train`: the recipes are the training room's; so is the command line."""

from __future__ import annotations

from collections.abc import Sequence

from semcast.errors import NotFoundError


def run(arguments: Sequence[str]) -> int:
    """Trains and returns the exit status. Raises InputError for what cannot be done."""
    try:
        from training.command import run_command
    except ModuleNotFoundError as error:
        raise NotFoundError(
            "This installation has no training room: train from a checkout of semcast."
        ) from error
    return run_command(arguments, "semcast train")
