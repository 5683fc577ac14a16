"""The channel emulator's process: gRPC wiring, nothing else."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from channel_emulator.impairments import ChannelSettings, impair
from channel_emulator.metrics import ChannelMetrics
from channel_emulator.relay import Answers, Downstream, relay
from channel_emulator.settings import EmulatorSettings
from semcast.rpc.client import open_channel
from semcast.rpc.server import RpcServer, run_service
from semcast.session import Block, ChannelModel, Modality, RadioFrame
from semcast.v1 import channel_pb2, channel_pb2_grpc, receiver_pb2_grpc


class ChannelServicer(channel_pb2_grpc.ChannelServiceServicer):
    """ChannelService over `channel_emulator.relay`."""

    def __init__(self, downstream: Downstream) -> None:
        self._downstream = downstream

    async def Relay(
        self, request_iterator: AsyncIterator[channel_pb2.RelayRequest], context: Answers
    ) -> None:
        """One session, transmitter to receiver and back."""
        await relay(request_iterator, context, self._downstream)


class ChannelEmulator:
    """The service `semcast.rpc.server.run_service` runs. Make it inside the running event loop.

    Owns the channel to the receiver and the worker thread for large frames.
    """

    name = "channel emulator"

    def __init__(self, settings: EmulatorSettings) -> None:
        self._settings = settings
        self._receiver_channel = open_channel(settings.receiver_address, settings.client_tls)
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="impair")

    def register(self, server: RpcServer) -> None:
        """Adds ChannelService."""
        downstream = Downstream(
            receiver=receiver_pb2_grpc.ReceiverServiceStub(  # type: ignore[no-untyped-call]
                self._receiver_channel
            ),
            receiver_address=self._settings.receiver_address,
            stopping=server.stopping,
            executor=self._executor,
            metrics=ChannelMetrics(server.metrics.registry),
        )
        server.add(
            channel_pb2_grpc.add_ChannelServiceServicer_to_server,
            ChannelServicer(downstream),
            channel_pb2.DESCRIPTOR.services_by_name["ChannelService"],
        )

    async def warm_up(self) -> None:
        """Runs one frame through every kind of channel, so that numpy has loaded what it needs."""
        frame = RadioFrame(1, 0, 0, (Block(Modality.PILOT, np.ones(16, np.complex64)),))
        for model in ChannelModel:
            impair(frame, ChannelSettings(snr_db=0.0, model=model))

    async def close(self) -> None:
        """Closes the channel to the receiver and ends the worker thread."""
        await self._receiver_channel.close(grace=None)
        self._executor.shutdown(wait=False, cancel_futures=True)


def serve(settings: EmulatorSettings) -> None:
    """Runs the channel emulator until SIGTERM or SIGINT; InputError where its port is taken."""
    run_service(functools.partial(ChannelEmulator, settings), settings)
