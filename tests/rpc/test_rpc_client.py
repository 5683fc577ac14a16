"""The calling end: unreachable and slow services, and waiting for one to be warm."""

from __future__ import annotations

import asyncio
import socket

import grpc
import grpc.aio
import pytest

from semcast.errors import InputError, UnavailableError
from semcast.rpc.client import (
    ClientTls,
    error_from_rpc,
    is_serving,
    open_channel,
    rpc_errors,
    wait_serving,
)
from semcast.v1 import transmitter_pb2, transmitter_pb2_grpc


def closed_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


async def test_nobody_there_is_unavailable_at_once():
    address = closed_address()
    channel = open_channel(address)
    stub = transmitter_pb2_grpc.TransmitterServiceStub(channel)
    with pytest.raises(UnavailableError, match=f"The transmitter at {address} cannot be reached"):
        with rpc_errors(f"the transmitter at {address}"):
            await stub.ListClips(transmitter_pb2.ListClipsRequest(), timeout=30)
    await channel.close(None)


async def test_a_deadline_is_unavailable(probe, channel):
    probe.act = lambda: asyncio.sleep(30)
    stub = transmitter_pb2_grpc.TransmitterServiceStub(channel)
    with pytest.raises(UnavailableError, match=r"The probe did not answer in time"):
        with rpc_errors("the probe"):
            await stub.StopSession(transmitter_pb2.StopSessionRequest(), timeout=0.1)


async def test_texts_of_grpc_itself_never_pass_for_ours():
    """Without the mark, RESOURCE_EXHAUSTED details are gRPC's and get a subject."""
    error = grpc.aio.AioRpcError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.aio.Metadata(),
        grpc.aio.Metadata(),
        details="Received message larger\nthan max",
    )
    assert str(error_from_rpc(error, "the receiver")) == (
        "The receiver failed (RESOURCE_EXHAUSTED: Received message larger than max)."
    )


async def test_waiting_for_a_service_ends_when_it_is_warm(probe, start):
    probe.warm.clear()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    starting = asyncio.create_task(start(probe, port=port))
    waiting = asyncio.create_task(wait_serving(f"127.0.0.1:{port}", timeout_s=30))
    await asyncio.sleep(0.4)
    assert not waiting.done()
    probe.warm.set()
    async with asyncio.timeout(10):
        await waiting
        await starting


async def test_waiting_gives_up_by_one_sentence():
    address = closed_address()
    with pytest.raises(UnavailableError, match=f"at {address} was not ready within 0.2 s"):
        await wait_serving(address, timeout_s=0.2)


async def test_waiting_gives_up_at_a_port_that_never_answers():
    """A listener that accepts nothing: the time limit holds all the same."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        async with asyncio.timeout(8):
            with pytest.raises(UnavailableError, match="was not ready"):
                await wait_serving(address, timeout_s=0.3)


async def test_a_service_that_comes_back_is_found_by_the_same_channel(probe, start):
    from probe import Probe

    from semcast.rpc.server import running_service
    from semcast.rpc.settings import ServiceSettings

    async with running_service(probe, ServiceSettings(grace_s=0)) as port:
        channel = open_channel(f"127.0.0.1:{port}")
        assert await is_serving(channel)
    assert not await is_serving(channel)
    async with running_service(Probe(), ServiceSettings(port=port, grace_s=0)):
        async with asyncio.timeout(10):
            while not await is_serving(channel):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    await channel.close(None)


def test_a_tls_file_that_is_missing_or_no_pem_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.pem cannot be read: No such file"):
        open_channel("127.0.0.1:1", ClientTls(tmp_path / "none.pem"))
    (tmp_path / "text.pem").write_text("hello")
    with pytest.raises(InputError, match=r"text\.pem is not a PEM file"):
        open_channel("127.0.0.1:1", ClientTls(tmp_path / "text.pem"))
