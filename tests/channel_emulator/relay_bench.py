"""A receiver that records, in the same process, and an emulator in front of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc.aio
import numpy as np

from semcast.rpc.messages import frame_to_proto, setup_to_proto
from semcast.rpc.server import RpcServer
from semcast.session import Block, Modality, RadioFrame, SessionSetup
from semcast.v1 import (
    channel_pb2,
    channel_pb2_grpc,
    link_pb2,
    receiver_pb2,
    receiver_pb2_grpc,
)

SETUP = SessionSetup(
    session_id="test-1", scheme="lowres", width=256, height=256, fps=8, symbols_per_frame=1000
)


class RecordingReceiver(receiver_pb2_grpc.ReceiverServiceServicer):
    """Answers every frame with feedback, telemetry and a tap frame, and remembers what came."""

    name = "receiver"

    def __init__(self) -> None:
        self.setups: list[link_pb2.SessionSetup] = []
        self.frames: list[link_pb2.RadioFrame] = []
        self.endings: list[str] = []
        self.ended = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.refuse_setup: Exception | None = None
        self.fail_at: tuple[int, Exception] | None = None
        self.leave_at: int | None = None

    def register(self, server: RpcServer) -> None:
        server.add(
            receiver_pb2_grpc.add_ReceiverServiceServicer_to_server,
            self,
            receiver_pb2.DESCRIPTOR.services_by_name["ReceiverService"],
        )

    async def warm_up(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def Receive(self, request_iterator: Any, context: Any) -> AsyncIterator[Any]:
        ending = "cancelled"
        try:
            async for request in request_iterator:
                if request.WhichOneof("message") == "setup":
                    self.setups.append(request.setup)
                    if self.refuse_setup:
                        raise self.refuse_setup
                    await context.send_initial_metadata(())
                    continue
                frame = request.frame
                self.frames.append(frame)
                if self.fail_at and frame.sequence == self.fail_at[0]:
                    raise self.fail_at[1]
                if self.leave_at == frame.sequence:
                    return
                await self.may_answer.wait()
                sequence = frame.sequence
                yield receiver_pb2.ReceiveResponse(feedback=link_pb2.Feedback(sequence=sequence))
                yield receiver_pb2.ReceiveResponse(
                    telemetry=link_pb2.ReceiverTelemetry(sequence=sequence)
                )
                yield receiver_pb2.ReceiveResponse(
                    tap_frame=link_pb2.TapFrame(sequence=sequence, rgb=bytes(12))
                )
            ending = "half-closed"
        except Exception:
            ending = "failed"
            raise
        finally:
            self.endings.append(ending)
            self.ended.set()


@dataclass
class Bench:
    """A transmitter's view: a stub of the emulator, and the receiver behind it."""

    receiver: RecordingReceiver
    receiver_address: str
    stub: channel_pb2_grpc.ChannelServiceStub
    address: str

    async def open(
        self, setup: SessionSetup = SETUP, **channel: Any
    ) -> grpc.aio.StreamStreamCall[Any, Any]:
        """A Relay call whose set-up is sent."""
        call = self.stub.Relay()
        await call.write(setup_request(setup, **channel))
        return call


def setup_request(setup: SessionSetup = SETUP, **channel: Any) -> channel_pb2.RelayRequest:
    settings = {"snr_db": 10.0, "model": link_pb2.CHANNEL_MODEL_AWGN, "seed": 7} | channel
    return channel_pb2.RelayRequest(
        setup=channel_pb2.RelaySetup(
            session=setup_to_proto(setup), channel=link_pb2.ChannelSettings(**settings)
        )
    )


def radio_frame(sequence: int, count: int = 200, amplitude: float = 1.0) -> RadioFrame:
    samples = np.full(count, amplitude, np.complex64)
    pilots = np.ones(16, np.complex64)
    blocks = (Block(Modality.PILOT, pilots), Block(Modality.LOWRES, samples))
    return RadioFrame(1, sequence, 125_000 * sequence, blocks)


def frame_request(frame: RadioFrame, session_id: str = SETUP.session_id) -> Any:
    return channel_pb2.RelayRequest(frame=frame_to_proto(frame, session_id))
