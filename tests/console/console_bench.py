"""A console in front of fake services: in process for REST, on a socket for streams."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
from fake_services import FakeReceiver, FakeTransmitter, Pictures, serving

from console.app import create_app
from console.server import serve
from console.settings import ConsoleSettings

WAIT_S = 10.0


@dataclass
class Bench:
    """A console, its HTTP client, and the fakes behind it."""

    client: httpx.AsyncClient
    transmitter: FakeTransmitter
    receiver: FakeReceiver
    settings: ConsoleSettings


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until(condition, wait_s: float = WAIT_S):  # type: ignore[no-untyped-def]
    """Waits until `condition()` (may be a coroutine) is true, and returns it."""
    async with asyncio.timeout(wait_s):
        while True:
            value = condition()
            if asyncio.iscoroutine(value):
                value = await value
            if value:
                return value
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def console_in_process(
    settings: ConsoleSettings, base_url: str = "http://localhost"
) -> AsyncIterator[httpx.AsyncClient]:
    """A console without a socket; enough for everything but endless streams."""
    app = create_app(settings)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url=base_url) as client,
    ):
        yield client


@contextlib.asynccontextmanager
async def console_on_socket(settings: ConsoleSettings) -> AsyncIterator[httpx.AsyncClient]:
    """The console as `semcast serve console` runs it, but in this process."""
    task = asyncio.create_task(serve(settings))
    url = f"http://127.0.0.1:{settings.port}"
    async with httpx.AsyncClient(base_url=url, timeout=10, trust_env=False) as client:
        try:
            await until(lambda: _is_ready(client, task))
            yield client
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _is_ready(client: httpx.AsyncClient, task: asyncio.Task[None]) -> bool:
    if task.done():
        task.result()
    with contextlib.suppress(httpx.TransportError):
        return (await client.get("/readyz")).status_code == 200
    return False


@contextlib.asynccontextmanager
async def fakes(
    sent: Pictures | None = None, received: Pictures | None = None
) -> AsyncIterator[tuple[FakeTransmitter, FakeReceiver, dict[str, str]]]:
    """Both services, and the settings that point at them."""
    transmitter, receiver = FakeTransmitter(sent), FakeReceiver(received)
    async with (
        serving(transmitter) as transmitter_port,
        serving(receiver) as receiver_port,
    ):
        yield (
            transmitter,
            receiver,
            {
                "transmitter_address": f"127.0.0.1:{transmitter_port}",
                "receiver_address": f"127.0.0.1:{receiver_port}",
            },
        )


async def is_ready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/readyz")).status_code == 200
