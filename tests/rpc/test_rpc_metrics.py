"""The metrics endpoint of a process."""

from __future__ import annotations

import asyncio
import socket
import time
import urllib.request

import pytest
from probe import Probe

from semcast.errors import InputError
from semcast.rpc.client import open_channel
from semcast.rpc.metrics import ServiceMetrics
from semcast.v1 import transmitter_pb2, transmitter_pb2_grpc


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        return str(response.read().decode())


async def test_metrics_are_served_on_their_own_port(probe, start):
    port = free_port()
    channel = open_channel(await start(probe, metrics_port=port))
    stub = transmitter_pb2_grpc.TransmitterServiceStub(channel)
    await stub.StopSession(transmitter_pb2.StopSessionRequest())
    text = await asyncio.to_thread(scrape, port)
    assert (
        'semcast_grpc_requests_total{code="OK",'
        'method="/semcast.v1.TransmitterService/StopSession"} 1.0'
    ) in text
    assert "process_resident_memory_bytes" in text
    assert "semcast_event_loop_lag_seconds" in text
    await channel.close(None)


async def test_a_taken_metrics_port_is_one_sentence(start):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=f"Metrics cannot be served on 127.0.0.1:{port}"):
            await start(Probe(), metrics_port=port)


async def test_the_port_is_free_again_after_shutdown():
    from semcast.rpc.server import running_service
    from semcast.rpc.settings import ServiceSettings

    settings = ServiceSettings(metrics_port=free_port(), grace_s=0)
    for _ in range(2):
        async with running_service(Probe(), settings):
            pass
    with pytest.raises(OSError):
        await asyncio.to_thread(scrape, settings.metrics_port)


async def test_a_blocked_event_loop_shows():
    metrics = ServiceMetrics()
    watcher = asyncio.create_task(metrics.watch_event_loop())
    await asyncio.sleep(0.05)
    time.sleep(0.4)  # noqa: ASYNC251 - blocking the loop is the point
    await asyncio.sleep(0.05)
    watcher.cancel()
    lag_s = metrics.registry.get_sample_value("semcast_event_loop_lag_seconds")
    assert lag_s is not None and lag_s > 0.2
