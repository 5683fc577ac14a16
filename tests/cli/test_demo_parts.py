"""The parts of `semcast demo` that need no service: waiting, starting, supervising."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from rich.console import Console

import semcast.cli.demo as demo
from semcast.errors import InputError, SemcastError, UnavailableError

PATIENCE_S = 20.0


class FakeProcess:
    """A service that dies when the test says."""

    def __init__(self, service: str = "receiver", deaths: int = 0) -> None:
        self.service = service
        self.deaths = deaths
        self.starts = 0
        self.last_words = "it printed nothing"

    @property
    def exit_status(self) -> int | None:
        return -9 if self.starts < self.deaths else None

    def start(self) -> None:
        self.starts += 1

    def log(self) -> str:
        return f"starting\n{self.last_words}\n"


def page(handler: Callable[[httpx.Request], httpx.Response]) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url="http://page/", transport=httpx.MockTransport(handler))


async def supervise(*processes: FakeProcess, seconds: float | None = 0.05) -> asyncio.Event:
    stop = asyncio.Event()
    async with asyncio.timeout(PATIENCE_S):
        await demo._supervise(processes, stop, seconds, Console(quiet=True))  # type: ignore[arg-type]
    return stop


async def test_the_demo_ends_after_its_seconds() -> None:
    process = FakeProcess()
    await supervise(process)
    assert process.starts == 0


async def test_the_demo_ends_when_it_is_told_to() -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(
        demo._supervise((FakeProcess(),), stop, None, Console(quiet=True))  # type: ignore[arg-type]
    )
    await asyncio.sleep(0)
    assert not running.done()
    stop.set()
    async with asyncio.timeout(PATIENCE_S):
        await running


async def test_a_service_that_has_died_is_started_again_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demo, "_QUICK_DEATH_S", 0.0)
    monkeypatch.setattr(demo, "_WATCH_S", 0.001)
    dying, healthy = FakeProcess(deaths=2), FakeProcess("channel")
    await supervise(dying, healthy)
    assert (dying.starts, healthy.starts) == (2, 0)


async def test_a_service_that_keeps_dying_ends_the_demo_with_its_last_words() -> None:
    dying = FakeProcess(deaths=1)
    dying.last_words = "no memory left"
    with pytest.raises(UnavailableError, match="receiver keeps dying: no memory left"):
        await supervise(dying)


async def test_the_page_is_waited_for() -> None:
    answers = iter([httpx.ConnectError("refused"), 503, 200])

    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/readyz"
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer)

    async with page(handler) as client, asyncio.timeout(PATIENCE_S):
        await demo._wait_for_page(client, FakeProcess("console"))  # type: ignore[arg-type]
    assert next(answers, None) is None


async def test_a_page_that_does_not_start_ends_the_demo_with_its_last_words() -> None:
    dead = FakeProcess("console", deaths=1)
    dead.last_words = "port in use"

    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    async with page(handler) as client:
        with pytest.raises(UnavailableError, match="console did not start: port in use"):
            await demo._wait_for_page(client, dead)  # type: ignore[arg-type]


CLIPS = [{"id": "file:walk.mp4"}, {"id": "sample:gripper"}]


async def posted(clip: str, answer: httpx.Response | None = None) -> dict[str, Any]:
    """What the demo asks the console for."""
    bodies = []

    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"clips": CLIPS})
        bodies.append(json.loads(request.content))
        return answer or httpx.Response(201, json={})

    async with page(handler) as client:
        await demo._start_session(client, clip, scheme="lowres", snr_db=7.5, guidance=1.5)
    (body,) = bodies
    return dict(body)


async def test_the_first_session_is_what_was_asked_for() -> None:
    assert await posted("sample:tumble") == {
        "clip": "sample:tumble",
        "scheme": "lowres",
        "snr_db": 7.5,
        "guidance": 1.5,
    }
    assert (await posted("/home/me/walk.mp4"))["clip"] == "file:walk.mp4"


async def test_a_session_that_is_refused_ends_the_demo_with_the_sentence() -> None:
    refusal = httpx.Response(422, json={"error": "The clip is too short: give another."})
    with pytest.raises(InputError, match=r"^The clip is too short: give another\.$"):
        await posted("sample:tumble", refusal)


async def test_a_console_that_cannot_list_clips_ends_the_demo_with_its_sentence() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503, json={"error": "The transmitter cannot be reached: start it."})

    async with page(handler) as client:
        with pytest.raises(SemcastError, match="transmitter cannot be reached"):
            await demo._start_session(client, "walk.mp4", scheme="lowres")


@pytest.mark.slow
def test_the_demo_runs_for_its_seconds_and_exits_0() -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "semcast", "demo"),
            *("--for", "1", "--no-browser", "--port", "0"),
        ],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "http://127.0.0.1:" in done.stdout
