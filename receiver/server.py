"""The receiver as a gRPC service. Wiring only: `streams` runs sessions, `session` does the work."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Protocol

from prometheus_client import Counter, Gauge, Histogram

from receiver.convert import tap_to_proto, telemetry_to_proto
from receiver.session import DecodedFrame
from receiver.settings import ReceiverSettings
from receiver.streams import FrameOutcome, Streams
from semcast.errors import CapacityError, InputError
from semcast.media.ice import parse_ice_servers
from semcast.media.viewers import ViewerPeers
from semcast.rpc.messages import feedback_to_proto, frame_from_proto, setup_from_proto
from semcast.rpc.metrics import STAGE_BUCKETS_S
from semcast.rpc.server import RpcServer, run_service
from semcast.session import RadioFrame, SessionSetup
from semcast.v1 import receiver_pb2, receiver_pb2_grpc


class Answers(Protocol):
    """The response half of a Receive call."""

    async def send_initial_metadata(self, initial_metadata: tuple[()], /) -> None:
        """Says that the set-up is accepted."""

    async def write(self, message: receiver_pb2.ReceiveResponse) -> None:
        """Sends one response; returns when flow control has taken it."""


class ReceiverService(receiver_pb2_grpc.ReceiverServiceServicer):
    """Receives sessions, shows them to viewers."""

    name = "receiver"

    def __init__(self, settings: ReceiverSettings) -> None:
        self._streams = Streams(settings.max_sessions, settings.record_dir, settings.max_load)
        self._preload = settings.preload
        self._viewers = ViewerPeers(parse_ice_servers(settings.ice_servers))

    def register(self, server: RpcServer) -> None:
        """Adds the service and its metrics."""
        server.add(
            receiver_pb2_grpc.add_ReceiverServiceServicer_to_server,
            self,
            receiver_pb2.DESCRIPTOR.services_by_name["ReceiverService"],
        )
        registry = server.metrics.registry
        sessions = Gauge("semcast_receiver_sessions", "Sessions being received", registry=registry)
        sessions.set_function(lambda: self._streams.num_running)
        viewers = Gauge("semcast_receiver_viewers", "WebRTC viewers", registry=registry)
        viewers.set_function(lambda: len(self._viewers))
        load = Gauge(
            "semcast_receiver_model_load",
            "Share of real time that live sessions need of the generators' thread",
            registry=registry,
        )
        load.set_function(lambda: self._streams.model_load)
        self._refused = Counter(
            "semcast_receiver_refused_sessions",
            "Sessions refused for want of capacity",
            registry=registry,
        )
        self._frames = Counter(
            "semcast_receiver_frames", "Video frames", ["outcome"], registry=registry
        )
        self._crc_failures = Counter(
            "semcast_receiver_crc_failures",
            "Blocks whose CRC failed",
            ["modality"],
            registry=registry,
        )
        self._stage_seconds = Histogram(
            "semcast_receiver_stage_seconds",
            "Service time of a stage for one frame",
            ["stage"],
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        self._step_seconds = Histogram(
            "semcast_receiver_step_seconds",
            "Time of the step that made a frame, maybe with those of other sessions",
            ["generator"],
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        self._cached_frames = Gauge(
            "semcast_receiver_cached_frames",
            "Past frames that the newest frame was made with",
            ["generator"],
            registry=registry,
        )
        self._cache_resets = Counter(
            "semcast_receiver_cache_resets",
            "Times that a generator forgot past frames of its own accord, as at a cut",
            ["generator"],
            registry=registry,
        )
        self._snr_db = Gauge(
            "semcast_receiver_snr_db", "Newest estimate of Es/N0, dB", registry=registry
        )

    async def warm_up(self) -> None:
        """Compiles the decoders, and loads the generator that is to be ready."""
        await self._streams.warm_up(self._preload)

    async def close(self) -> None:
        """Ends streams and viewers."""
        await self._viewers.close_all()
        await self._streams.close()

    async def Receive(
        self,
        requests: AsyncIterator[receiver_pb2.ReceiveRequest],
        context: Answers,
    ) -> None:
        """One session's stream."""
        first = await anext(aiter(requests), None)
        if first is None or first.WhichOneof("message") != "setup":
            raise InputError("The first message of a Receive stream must be the set-up.")
        setup = setup_from_proto(first.setup)
        writing = asyncio.Lock()
        resets_counted = 0

        async def write(message: receiver_pb2.ReceiveResponse) -> None:
            async with writing:
                await context.write(message)

        async def on_decoded(decoded: DecodedFrame) -> None:
            feedback = feedback_to_proto(decoded.received.feedback)
            await write(receiver_pb2.ReceiveResponse(feedback=feedback))

        async def on_outcome(outcome: FrameOutcome) -> None:
            nonlocal resets_counted
            self._count(outcome)
            if outcome.rendered is not None:
                resets = outcome.rendered.cache_resets
                self._cache_resets.labels(outcome.rendered.generator).inc(resets - resets_counted)
                resets_counted = resets
            if setup.measurement_tap and outcome.rendered is not None:
                tap_frame = tap_to_proto(setup, outcome)
                await write(receiver_pb2.ReceiveResponse(tap_frame=tap_frame))
            telemetry = telemetry_to_proto(setup, outcome)
            await write(receiver_pb2.ReceiveResponse(telemetry=telemetry))

        frames = _frames(requests, setup, context)
        try:
            await self._streams.run(setup, frames, on_decoded, on_outcome)
        except CapacityError:
            self._refused.inc()
            raise

    def _count(self, outcome: FrameOutcome) -> None:
        received = outcome.decoded.received
        self._stage_seconds.labels("decode").observe(outcome.decode_ms / 1e3)
        rendered = outcome.rendered
        if rendered is None:
            self._frames.labels("skipped").inc()
        else:
            self._frames.labels("concealed" if rendered.concealed else "shown").inc()
            self._stage_seconds.labels("generate").observe(outcome.render_ms / 1e3)
            self._cached_frames.labels(rendered.generator).set(rendered.cached_frames)
            if not rendered.repeated:
                self._step_seconds.labels(rendered.generator).observe(outcome.render_ms / 1e3)
        for modality in received.crc_failed:
            self._crc_failures.labels(modality.label).inc()
        self._snr_db.set(received.snr_db)

    async def OpenViewer(
        self,
        request: receiver_pb2.ReceiverServiceOpenViewerRequest,
        context: object,
    ) -> receiver_pb2.ReceiverServiceOpenViewerResponse:
        """WHEP offer to answer."""
        publisher = self._streams.publisher(request.session_id)
        viewer_id, answer_sdp = await self._viewers.answer(request.offer_sdp, publisher)
        return receiver_pb2.ReceiverServiceOpenViewerResponse(
            viewer_id=viewer_id, answer_sdp=answer_sdp
        )

    async def CloseViewer(
        self,
        request: receiver_pb2.ReceiverServiceCloseViewerRequest,
        context: object,
    ) -> receiver_pb2.ReceiverServiceCloseViewerResponse:
        """Ends a viewer."""
        await self._viewers.close(request.viewer_id)
        return receiver_pb2.ReceiverServiceCloseViewerResponse()


async def _frames(
    requests: AsyncIterator[receiver_pb2.ReceiveRequest], setup: SessionSetup, answers: Answers
) -> AsyncIterator[RadioFrame]:
    """The frames of a stream. Asking for the first one tells the sender that it may begin."""
    await answers.send_initial_metadata(())
    async for request in requests:
        if request.WhichOneof("message") != "frame":
            raise InputError("After the set-up, a Receive stream carries radio frames only.")
        yield frame_from_proto(request.frame, setup)


def serve(settings: ReceiverSettings) -> None:
    """Runs the receiver as this process until it is told to stop."""
    # Read when torch is loaded, later. Threads that spin while they wait for each other take the
    # processors from the services beside: on 2 busy cores a step of `tiny` took 7 times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    run_service(lambda: ReceiverService(settings), settings)
