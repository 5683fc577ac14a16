"""Fixtures: a ready console, in process or on a socket, in front of fake services."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from console_bench import (
    Bench,
    console_in_process,
    console_on_socket,
    fakes,
    free_port,
    is_ready,
    until,
)

from console.settings import ConsoleSettings


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A ready console in process."""
    async with fakes() as (transmitter, receiver, addresses):
        settings = ConsoleSettings(max_upload_mb=1, **addresses)
        async with console_in_process(settings) as client:
            await until(lambda: is_ready(client))
            yield Bench(client, transmitter, receiver, settings)


@pytest.fixture
async def socket_bench() -> AsyncIterator[Bench]:
    """A ready console on a socket."""
    async with fakes() as (transmitter, receiver, addresses):
        settings = ConsoleSettings(port=free_port(), max_upload_mb=1, **addresses)
        async with console_on_socket(settings) as client:
            yield Bench(client, transmitter, receiver, settings)
