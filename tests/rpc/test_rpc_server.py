"""The answering end: health, reflection, ports, TLS, shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from probe import Probe

from semcast.errors import InputError, UnavailableError
from semcast.rpc.client import ClientTls, is_serving, open_channel, rpc_errors
from semcast.rpc.limits import MAX_MESSAGE_BYTES
from semcast.rpc.server import format_address, running_service
from semcast.rpc.settings import ServiceSettings
from semcast.v1 import receiver_pb2, receiver_pb2_grpc, transmitter_pb2, transmitter_pb2_grpc

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def stop_session(channel) -> grpc.aio.UnaryUnaryCall:
    stub = transmitter_pb2_grpc.TransmitterServiceStub(channel)
    return stub.StopSession(transmitter_pb2.StopSessionRequest(), timeout=10)


async def health_of(channel, service: str = "") -> int:
    stub = health_pb2_grpc.HealthStub(channel)
    return (await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)).status


async def test_serving_only_when_warm_and_until_then_calls_are_refused(probe, start):
    probe.warm.clear()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    starting = asyncio.create_task(start(probe, port=port))
    channel = open_channel(f"127.0.0.1:{port}")
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                assert await health_of(channel) == NOT_SERVING
                break
            await asyncio.sleep(0.02)
    names = ["semcast.v1.TransmitterService", "semcast.v1.ReceiverService"]
    assert [await health_of(channel, name) for name in names] == [NOT_SERVING] * 2
    with pytest.raises(UnavailableError, match="The probe is still starting: try again"):
        with rpc_errors("x"):
            await stop_session(channel)
    probe.warm.set()
    await starting
    assert [await health_of(channel, name) for name in ["", *names]] == [SERVING] * 3
    await stop_session(channel)
    await channel.close(None)


async def test_reflection_lists_the_services(channel):
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    call = stub.ServerReflectionInfo(
        iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    )
    listed = {service.name for service in (await call.read()).list_services_response.service}
    assert listed == {
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "semcast.v1.ReceiverService",
        "semcast.v1.TransmitterService",
    }


async def test_a_taken_port_is_one_sentence(probe, start):
    port = int((await start(probe)).split(":")[1])
    second = Probe()
    with pytest.raises(InputError, match=f"Port {port} on 127.0.0.1 is in use: stop the program"):
        await start(second, port=port)
    assert second.closed


async def test_a_port_that_another_program_has_is_one_sentence(start):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=f"Port {port} on 127.0.0.1 is in use"):
            await start(Probe(), port=port)


@pytest.mark.parametrize("host", ["203.0.113.7", "no.such.host.invalid"])
async def test_a_host_that_is_not_ours_is_one_sentence(start, host):
    with pytest.raises(InputError, match=f"--host {host} is not an address of this machine"):
        await start(Probe(), host=host)


def test_addresses_of_both_families():
    assert format_address("127.0.0.1", 5) == "127.0.0.1:5"
    assert format_address("::1", 5) == "[::1]:5"


async def test_messages_up_to_the_limit_pass_both_ways(probe, channel):
    stub = transmitter_pb2_grpc.TransmitterServiceStub(channel)
    data = bytes(MAX_MESSAGE_BYTES - 100)
    response = await stub.UploadClip(iter([transmitter_pb2.UploadClipRequest(data=data)]))
    assert response.clip.title == str(len(data))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        too_long = transmitter_pb2.UploadClipRequest(data=bytes(MAX_MESSAGE_BYTES))
        await stub.UploadClip(iter([too_long]))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_tls(probe, start, certificates):
    address = await start(probe, tls_cert_file=certificates.cert, tls_key_file=certificates.key)
    trusting = open_channel(address, ClientTls(certificates.ca))
    await stop_session(trusting)
    for tls in (None, ClientTls(certificates.stranger_ca)):
        channel = open_channel(address, tls)
        with pytest.raises(UnavailableError, match="cannot be reached"):
            with rpc_errors("the probe"):
                await stop_session(channel)
        await channel.close(None)
    await trusting.close(None)


async def test_mutual_tls(probe, start, certificates):
    address = await start(
        probe,
        tls_cert_file=certificates.cert,
        tls_key_file=certificates.key,
        tls_client_ca_file=certificates.ca,
    )
    ours = ServiceSettings(
        tls_ca_file=certificates.ca,
        tls_cert_file=certificates.cert,
        tls_key_file=certificates.key,
    )
    known = open_channel(address, ours.client_tls)
    await stop_session(known)
    stranger = ClientTls(certificates.ca, certificates.stranger_cert, certificates.stranger_key)
    for tls in (ClientTls(certificates.ca), stranger):
        channel = open_channel(address, tls)
        with pytest.raises(UnavailableError, match="cannot be reached"):
            with rpc_errors("the probe"):
                await stop_session(channel)
        await channel.close(None)
    await known.close(None)


async def test_tls_files_that_do_not_fit_are_one_sentence(start, certificates):
    with pytest.raises(InputError, match="check certificate and key"):
        await start(
            Probe(), tls_cert_file=certificates.cert, tls_key_file=certificates.stranger_key
        )


async def test_shutdown_lets_running_calls_finish(probe):
    entered, finish = asyncio.Event(), asyncio.Event()

    async def act() -> None:
        entered.set()
        await finish.wait()

    probe.act = act
    shut_down = asyncio.Event()

    async def run(started: asyncio.Future) -> None:
        async with running_service(probe, ServiceSettings(grace_s=20)) as port:
            started.set_result(port)
            await shut_down.wait()

    started = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(run(started))
    channel = open_channel(f"127.0.0.1:{await started}")
    health = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
    assert (await health.read()).status == SERVING
    call = stop_session(channel)
    await entered.wait()
    shut_down.set()
    assert (await health.read()).status == NOT_SERVING
    health.cancel()
    assert probe.server.stopping.is_set()
    with pytest.raises(grpc.aio.AioRpcError):
        await stop_session(channel)
    assert not running.done()
    assert not probe.closed
    finish.set()
    await call
    async with asyncio.timeout(10):
        await running
    assert probe.closed
    await channel.close(None)


async def test_shutdown_cancels_what_outlasts_its_grace(probe):
    async with running_service(probe, ServiceSettings(grace_s=0.1)) as port:
        channel = open_channel(f"127.0.0.1:{port}")
        call = receiver_pb2_grpc.ReceiverServiceStub(channel).Receive()
        await call.write(receiver_pb2.ReceiveRequest())
        await call.read()
    with pytest.raises(grpc.aio.AioRpcError):
        await call.read()
    assert probe.closed
    assert not await is_serving(channel)
    await channel.close(None)


async def test_a_failed_warm_up_shuts_everything_down(probe):
    async def fail() -> None:
        raise InputError("The weights are missing: run semcast models pull.")

    probe.warm_up = fail
    with pytest.raises(InputError, match="weights are missing"):
        async with running_service(probe, ServiceSettings(grace_s=0)):
            pytest.fail("it must not run")
    assert probe.closed
