"""What `semcast demo` shows where nobody says what."""

from __future__ import annotations

from typing import Any

import pytest

from semcast.cli import demo
from semcast.errors import InputError


class _AskedError(Exception):
    """Carries what would have been started."""


@pytest.mark.parametrize(
    ("torch", "cores", "scheme"),
    [
        (object(), 8, "contours-lowres"),
        (object(), 4, "contours-lowres"),
        (object(), 2, "lowres"),
        (None, 8, "lowres"),
    ],
)
def test_it_shows_objects_where_there_is_a_network_and_room_to_find_them(
    torch: object | None, cores: int, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def checked(generator: str, found: Any) -> None:
        raise _AskedError(found.id)

    monkeypatch.setattr(demo, "find_spec", lambda name: torch if name == "torch" else object())
    monkeypatch.setattr(demo.os, "cpu_count", lambda: cores)
    monkeypatch.setattr(demo, "check_generator", checked)
    with pytest.raises(_AskedError, match=rf"^{scheme}$"):
        _run("")
    with pytest.raises(_AskedError, match=r"^h264-ldpc$"):
        _run("h264-ldpc")


def test_an_unknown_scheme_is_refused_before_anything_starts() -> None:
    with pytest.raises(InputError, match="telepathy"):
        _run("telepathy")


def _run(scheme: str) -> None:
    demo.run_demo(
        clip="",
        scheme=scheme,
        snr_db=10.0,
        generator="auto",
        steps=0,
        guidance=0.0,
        port=0,
        browser=False,
        seconds=0.0,
    )
