"""Fixtures: a probe service in this process, on a free port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import grpc.aio
import pytest
from probe import Certificates, Probe, make_certificates

from semcast.rpc.client import open_channel
from semcast.rpc.server import running_service
from semcast.rpc.settings import ServiceSettings


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., Any]]:
    """Starts a service; keyword arguments are its settings. Returns its address."""
    async with AsyncExitStack() as stack:

        async def start_one(service: Any, **settings: Any) -> str:
            made = ServiceSettings(**({"grace_s": 0.2} | settings))
            port = await stack.enter_async_context(running_service(service, made))
            return f"127.0.0.1:{port}"

        yield start_one


@pytest.fixture
async def probe() -> Probe:
    return Probe()


@pytest.fixture
async def channel(start: Callable[..., Any], probe: Probe) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the probe."""
    opened = open_channel(await start(probe))
    yield opened
    await opened.close(None)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))
