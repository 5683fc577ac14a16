"""All four kinds of RPC: what a caller sees of an error, and what Prometheus sees of a call."""

from __future__ import annotations

import asyncio
import math

import grpc
import grpc.aio
import pytest

from semcast.errors import CapacityError, InputError, NotFoundError, UnavailableError
from semcast.rpc.client import error_from_rpc
from semcast.v1 import (
    receiver_pb2,
    receiver_pb2_grpc,
    transmitter_pb2,
    transmitter_pb2_grpc,
)

METHODS = {
    "unary_unary": "/semcast.v1.TransmitterService/StopSession",
    "stream_unary": "/semcast.v1.TransmitterService/UploadClip",
    "unary_stream": "/semcast.v1.TransmitterService/WatchSession",
    "stream_stream": "/semcast.v1.ReceiverService/Receive",
}


async def invoke(channel, kind: str) -> list:
    """Makes one call of a kind, two messages in a request stream; its answers."""
    transmitter = transmitter_pb2_grpc.TransmitterServiceStub(channel)
    if kind == "unary_unary":
        return [await transmitter.StopSession(transmitter_pb2.StopSessionRequest())]
    if kind == "stream_unary":
        parts = [transmitter_pb2.UploadClipRequest(data=bytes(5)) for _ in range(2)]
        return [await transmitter.UploadClip(iter(parts))]
    if kind == "unary_stream":
        call = transmitter.WatchSession(transmitter_pb2.WatchSessionRequest())
        return [answer async for answer in call]
    call = receiver_pb2_grpc.ReceiverServiceStub(channel).Receive(
        iter([receiver_pb2.ReceiveRequest(), receiver_pb2.ReceiveRequest()])
    )
    return [answer async for answer in call]


def sample(probe, name: str, **labels: str) -> float:
    value = probe.server.metrics.registry.get_sample_value(name, labels)
    return math.nan if value is None else value


async def ended_as(probe, kind: str, code: str) -> bool:
    """Whether one call of a kind has ended, with this code: the caller hears of it a little before
    it is counted."""
    method = METHODS[kind]
    for _ in range(500):
        if sample(probe, "semcast_grpc_requests_total", method=method, code=code) == 1:
            break
        await asyncio.sleep(0.01)
    counted = sample(probe, "semcast_grpc_requests_total", method=method, code=code)
    in_flight = sample(probe, "semcast_grpc_requests_in_flight", method=method)
    return (counted, in_flight) == (1, 0)


def raiser(error: BaseException):
    async def act() -> None:
        raise error

    return act


@pytest.mark.parametrize("kind", METHODS)
async def test_a_good_call_is_answered_and_counted(probe, channel, kind):
    answers = await invoke(channel, kind)
    assert len(answers) == {"unary_stream": 3, "stream_stream": 2}.get(kind, 1)
    assert await ended_as(probe, kind, "OK")
    method = METHODS[kind]
    assert sample(probe, "semcast_grpc_request_seconds_count", method=method) == 1
    for direction, streams in (("in", "stream_"), ("out", "_stream")):
        count = sample(
            probe, "semcast_grpc_stream_messages_total", method=method, direction=direction
        )
        if direction == "in":
            assert count == (2 if kind.startswith(streams) else 0)
        else:
            assert count == (len(answers) if kind.endswith(streams) else 0)


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("Scheme 'ü' is not known: see semcast doctor."), "INVALID_ARGUMENT"),
        (NotFoundError("No session 'a': start one."), "NOT_FOUND"),
        (CapacityError("4 of 4 sessions run: stop one."), "RESOURCE_EXHAUSTED"),
        (UnavailableError("The receiver is gone: start it."), "UNAVAILABLE"),
    ],
)
async def test_an_error_of_ours_arrives_as_it_was(probe, channel, kind, error, code):
    probe.act = raiser(error)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await invoke(channel, kind)
    assert caught.value.code().name == code
    again = error_from_rpc(caught.value, "the probe")
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert await ended_as(probe, kind, code)


@pytest.mark.parametrize("kind", METHODS)
async def test_a_fault_is_logged_here_and_short_there(probe, channel, kind, caplog):
    probe.act = raiser(ZeroDivisionError("inner detail"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await invoke(channel, kind)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "inner detail" not in caught.value.details()
    again = error_from_rpc(caught.value, "the probe at X")
    assert type(again) is UnavailableError
    assert str(again).startswith("The probe at X failed: a fault of the service")
    assert "Traceback" in caplog.text and "inner detail" in caplog.text
    assert await ended_as(probe, kind, "INTERNAL")


@pytest.mark.parametrize("kind", METHODS)
async def test_a_cancelled_call_is_counted_and_logged_as_no_fault(probe, channel, kind, caplog):
    entered, left = asyncio.Event(), asyncio.Event()

    async def act() -> None:
        entered.set()
        try:
            await asyncio.sleep(60)
        finally:
            left.set()

    probe.act = act
    calling = asyncio.create_task(invoke(channel, kind))
    async with asyncio.timeout(10):
        await entered.wait()
        assert sample(probe, "semcast_grpc_requests_in_flight", method=METHODS[kind]) == 1
        calling.cancel()
        await left.wait()
    assert await ended_as(probe, kind, "CANCELLED")
    assert "Traceback" not in caplog.text


async def test_a_call_cancelled_while_its_handler_reads_does_not_look_finished(probe, channel):
    acted = []

    async def act() -> None:
        acted.append(1)

    probe.act = act
    call = receiver_pb2_grpc.ReceiverServiceStub(channel).Receive()
    await call.write(receiver_pb2.ReceiveRequest())
    await call.read()
    call.cancel()
    assert await ended_as(probe, "stream_stream", "CANCELLED")
    assert acted == []


@pytest.mark.parametrize("kind", METHODS)
async def test_bytes_that_are_no_message_are_refused(probe, channel, kind):
    raw = getattr(channel, kind)(METHODS[kind])
    garbage = b"\xff" * 30
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        answer = raw(iter([garbage])) if kind.startswith("stream") else raw(garbage)
        if kind.endswith("stream"):
            await answer.read()
        else:
            await answer
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "check the version" in caught.value.details()


async def test_an_unknown_method_is_unimplemented(channel):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary("/semcast.v1.TransmitterService/Fly")(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    error = error_from_rpc(caught.value, "the probe")
    assert str(error) == "The probe does not offer this call: check address and version."
