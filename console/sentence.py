"""One sentence out of pydantic's list of errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from console.request import SessionRequest


def validation_sentence(errors: Sequence[Mapping[str, Any]]) -> str:
    """Says what the first error is, and what the field takes."""
    error = errors[0]
    path = [str(part) for part in error["loc"] if part not in ("body", "path", "query")]
    field = ".".join(path)
    given = error.get("input")
    match error["type"]:
        case "missing" if not field:
            return "The request has no body: send a JSON object."
        case "missing":
            return f"{field} is missing: {_takes(field)}"
        case "extra_forbidden":
            known = ", ".join(SessionRequest.model_fields)
            return f"{field} is not a field of a session: use some of {known}."
        case "json_invalid":
            return "The request is not JSON: send a JSON object with Content-Type application/json."
        case "model_attributes_type" | "dict_type":
            return "The request is not a JSON object: send one with Content-Type application/json."
        case _:
            return f"{field} cannot be {given!r:.80}: {_lower_first(error['msg'])}. {_takes(field)}"


def _takes(field: str) -> str:
    info = SessionRequest.model_fields.get(field)
    return info.description if info is not None and info.description else "see /docs."


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
