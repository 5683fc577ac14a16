"""One sentence out of a pydantic ValidationError."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import ValidationError

_SHOWN_VALUE_CHARS = 60


def describe_first_error(
    error: ValidationError, name_field: Callable[[str], str] = lambda field: field
) -> str:
    """The first thing that is wrong: "NAME is VALUE, but REASON".

    name_field: turns a field's name into what the user knows it by, e.g. its command-line flag.
    """
    first = error.errors(include_url=False)[0]
    reason = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    field = ".".join(str(part) for part in first["loc"])
    if not field:
        return reason
    name = name_field(field)
    if first["type"] == "missing":
        return f"{name} is required"
    if first["type"] == "extra_forbidden":
        return f"{name} is not a known setting"
    value = repr(first["input"])
    if len(value) > _SHOWN_VALUE_CHARS:
        value = value[:_SHOWN_VALUE_CHARS] + "..."
    return f"{name} is {value}, but {reason}"
