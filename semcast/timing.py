"""How long a piece of work takes where it is done, not where it is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def timed(function: Callable[[], Result]) -> tuple[Result, float]:
    """The function's result, and its service time in milliseconds."""
    start_s = time.perf_counter()
    result = function()
    return result, 1e3 * (time.perf_counter() - start_s)
