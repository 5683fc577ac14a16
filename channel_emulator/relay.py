"""One session's way through the emulator: frames forward, everything else back.

Two tasks, one a direction. Neither holds more than one message: each reads, works, writes, and
awaits the write, so a slow reader at either end slows the other end by HTTP/2 flow control alone.
A frame's ChannelTelemetry leaves before the frame goes to the receiver, hence before anything the
receiver says about that frame.
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Protocol

import grpc.aio

from channel_emulator.convert import settings_from_proto, telemetry_to_proto
from channel_emulator.impairments import ChannelSettings, Emulator, Measurement
from channel_emulator.metrics import ChannelMetrics
from semcast.errors import InputError, UnavailableError
from semcast.rpc.client import rpc_errors
from semcast.rpc.messages import (
    frame_from_proto,
    frame_to_proto,
    setup_from_proto,
    setup_to_proto,
)
from semcast.session import RadioFrame, SessionSetup
from semcast.v1 import channel_pb2, link_pb2, receiver_pb2, receiver_pb2_grpc

INLINE_SYMBOLS = 8192
"""Frames up to this size are impaired on the event loop (well under a millisecond); larger ones on
the worker thread, where numpy's loops leave the event loop free."""


class Answers(Protocol):
    """The response half of a Relay call."""

    async def send_initial_metadata(self, initial_metadata: tuple[()], /) -> None:
        """Says that the set-up is accepted, here and by the receiver."""

    async def write(self, message: channel_pb2.RelayResponse) -> None:
        """Sends one response; returns when flow control has taken it."""


@dataclass(frozen=True, slots=True)
class Downstream:
    """What all Relay calls of a process share.

    stopping: when set, no further frame is taken, and the receiver's last answers are delivered.
    executor: where frames beyond `INLINE_SYMBOLS` are impaired.
    """

    receiver: receiver_pb2_grpc.ReceiverServiceStub
    receiver_address: str
    stopping: asyncio.Event
    executor: Executor
    metrics: ChannelMetrics

    @property
    def receiver_name(self) -> str:
        """The receiver as a sentence names it."""
        return f"the receiver at {self.receiver_address}"


class _Ending(enum.Enum):
    HALF_CLOSED = enum.auto()
    STOPPING = enum.auto()
    RECEIVER_GONE = enum.auto()


async def relay(
    requests: AsyncIterator[channel_pb2.RelayRequest], answers: Answers, downstream: Downstream
) -> None:
    """Relays one session until the transmitter half-closes and the receiver has answered.

    Raises InputError for a message that breaks the contract, the receiver's own error where it
    refused, and UnavailableError where it cannot be reached, failed, ended early, or where this
    service shuts down. However it ends, the call to the receiver has ended too.
    """
    session, settings = await _read_setup(requests)
    receive_call = downstream.receiver.Receive()
    answer_turn = asyncio.Lock()
    forward = asyncio.create_task(
        _Forward(downstream, receive_call, session, settings).run(requests, answers, answer_turn)
    )
    back = asyncio.create_task(_bring_back(receive_call, answers, answer_turn))
    try:
        with rpc_errors(downstream.receiver_name):
            await asyncio.wait({forward, back}, return_when=asyncio.FIRST_COMPLETED)
            ending = forward.result() if forward.done() else _Ending.RECEIVER_GONE
            await back
    finally:
        receive_call.cancel()
        forward.cancel()
        back.cancel()
        await asyncio.gather(forward, back, return_exceptions=True)
    if ending is _Ending.STOPPING:
        raise UnavailableError(
            "The channel emulator is shutting down; all frames it had taken were delivered: "
            "connect again."
        )
    if ending is _Ending.RECEIVER_GONE:
        name = downstream.receiver_name
        raise UnavailableError(
            f"{name[0].upper()}{name[1:]} ended the session before the transmitter did: connect "
            "again."
        )


async def _read_setup(
    requests: AsyncIterator[channel_pb2.RelayRequest],
) -> tuple[SessionSetup, ChannelSettings]:
    first = await anext(requests, None)
    if first is None or first.WhichOneof("message") != "setup":
        raise InputError("The first message of a Relay call must be its set-up: send it first.")
    return (
        setup_from_proto(first.setup.session),
        settings_from_proto(first.setup.channel),
    )


class _Forward:
    """Transmitter to receiver: frames through the channel, settings into force."""

    def __init__(
        self,
        downstream: Downstream,
        receive_call: Any,
        session: SessionSetup,
        settings: ChannelSettings,
    ) -> None:
        self._downstream = downstream
        self._call = receive_call
        self._session = session
        self._settings = settings
        self._emulator = Emulator(session.generation)

    async def run(
        self,
        requests: AsyncIterator[channel_pb2.RelayRequest],
        answers: Answers,
        answer_turn: asyncio.Lock,
    ) -> _Ending:
        stopping = asyncio.create_task(self._downstream.stopping.wait())
        try:
            await self._call.write(receiver_pb2.ReceiveRequest(setup=setup_to_proto(self._session)))
            # It comes when the set-up is accepted, or when the call has ended. A frame written
            # before would, where the set-up is refused, hide why.
            await self._call.initial_metadata()
            if not self._call.done():
                await answers.send_initial_metadata(())
            while True:
                request = await _next_unless(stopping, requests)
                if request is None:
                    await self._call.done_writing()
                    return _Ending.STOPPING if stopping.done() else _Ending.HALF_CLOSED
                match request.WhichOneof("message"):
                    case "frame":
                        await self._pass_on(request.frame, answers, answer_turn)
                    case "channel":
                        self._settings = settings_from_proto(request.channel)
                    case "setup":
                        raise InputError(
                            "A second set-up came on a Relay call: open a new call for it."
                        )
                    case None:
                        raise InputError(
                            "An empty message came on a Relay call: send a frame or settings."
                        )
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The call to the receiver has ended; reading from it says how.
            return _Ending.RECEIVER_GONE
        finally:
            stopping.cancel()

    async def _pass_on(
        self, message: link_pb2.RadioFrame, answers: Answers, answer_turn: asyncio.Lock
    ) -> None:
        frame = frame_from_proto(message, self._session)
        if frame.num_symbols <= INLINE_SYMBOLS:
            arrived, measurement, process_ms = self._apply_timed(frame)
        else:
            arrived, measurement, process_ms = await asyncio.get_running_loop().run_in_executor(
                self._downstream.executor, self._apply_timed, frame
            )
        self._downstream.metrics.record(frame, measurement)
        telemetry = telemetry_to_proto(measurement, process_ms)
        async with answer_turn:
            await answers.write(channel_pb2.RelayResponse(channel=telemetry))
        await self._call.write(
            receiver_pb2.ReceiveRequest(frame=frame_to_proto(arrived, self._session.session_id))
        )

    def _apply_timed(self, frame: RadioFrame) -> tuple[RadioFrame, Measurement, float]:
        started_s = time.perf_counter()
        arrived, measurement = self._emulator.apply(frame, self._settings)
        return arrived, measurement, 1e3 * (time.perf_counter() - started_s)


async def _bring_back(receive_call: Any, answers: Answers, answer_turn: asyncio.Lock) -> None:
    """Receiver to transmitter, until the receiver ends the call; AioRpcError where it failed."""
    async for response in receive_call:
        match response.WhichOneof("message"):
            case "feedback":
                answer = channel_pb2.RelayResponse(feedback=response.feedback)
            case "telemetry":
                answer = channel_pb2.RelayResponse(receiver=response.telemetry)
            case "tap_frame":
                answer = channel_pb2.RelayResponse(tap_frame=response.tap_frame)
            case None:
                continue
        async with answer_turn:
            await answers.write(answer)


async def _next_unless(
    stopping: asyncio.Task[Any], requests: AsyncIterator[channel_pb2.RelayRequest]
) -> channel_pb2.RelayRequest | None:
    """The next request; None at the end of the stream, or once `stopping` is done."""
    reading = asyncio.create_task(_next(requests))
    try:
        await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return reading.result() if reading.done() else None
    finally:
        reading.cancel()


async def _next(
    requests: AsyncIterator[channel_pb2.RelayRequest],
) -> channel_pb2.RelayRequest | None:
    return await anext(requests, None)
