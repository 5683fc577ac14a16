"""Fixtures: an emulator and the receiver behind it, in this process, on free ports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from relay_bench import Bench, RecordingReceiver

from channel_emulator.server import ChannelEmulator
from channel_emulator.settings import EmulatorSettings
from semcast.rpc.client import open_channel
from semcast.rpc.server import running_service
from semcast.rpc.settings import ServiceSettings
from semcast.v1 import channel_pb2_grpc


@pytest.fixture
async def make_bench() -> AsyncIterator[Callable[..., Any]]:
    """Starts receiver and emulator; keyword arguments are the emulator's settings."""
    async with AsyncExitStack() as stack:

        async def make(**settings: Any) -> Bench:
            receiver = RecordingReceiver()
            receiver_port = await stack.enter_async_context(
                running_service(receiver, ServiceSettings(grace_s=0.2))
            )
            address = f"127.0.0.1:{receiver_port}"
            emulator_settings = EmulatorSettings(
                **({"port": 0, "grace_s": 0.2, "receiver_address": address} | settings)
            )
            port = await stack.enter_async_context(
                running_service(ChannelEmulator(emulator_settings), emulator_settings)
            )
            channel = open_channel(f"127.0.0.1:{port}")
            stack.push_async_callback(channel.close, None)
            stub = channel_pb2_grpc.ChannelServiceStub(channel)
            return Bench(receiver, address, stub, f"127.0.0.1:{port}")

        yield make


@pytest.fixture
async def bench(make_bench: Callable[..., Any]) -> Bench:
    made: Bench = await make_bench()
    return made
