"""The transmitter as a gRPC service. Wiring only: sessions run in `session` and `leg`."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

from prometheus_client import Gauge, Histogram

from semcast.errors import CapacityError, InputError, NotFoundError
from semcast.media.ice import parse_ice_servers
from semcast.media.viewers import ViewerPeers
from semcast.rpc.client import open_channel
from semcast.rpc.metrics import STAGE_BUCKETS_S
from semcast.rpc.server import RpcServer, run_service
from semcast.v1 import channel_pb2_grpc, transmitter_pb2, transmitter_pb2_grpc
from transmitter.catalogue import Catalogue
from transmitter.events import Subscription
from transmitter.extractors.captioner import choose_caption
from transmitter.plan import check_channel, plan_legs
from transmitter.session import FrameSource, RunningSession
from transmitter.settings import TransmitterSettings
from transmitter.sources import caption_beside, read_clip
from transmitter.webcams import PREFIX, Webcams

_ENDED = (transmitter_pb2.SESSION_STATE_ENDED, transmitter_pb2.SESSION_STATE_FAILED)


_EXPIRE_EVERY_S = 60.0


class TransmitterService(transmitter_pb2_grpc.TransmitterServiceServicer):
    """Owns sources and sessions."""

    name = "transmitter"

    def __init__(self, settings: TransmitterSettings) -> None:
        self._settings = settings
        ice_servers = parse_ice_servers(settings.ice_servers)
        self._catalogue = Catalogue(settings.clips, settings.max_upload_mb, settings.upload_hours)
        self._webcams = Webcams(ice_servers)
        self._viewers = ViewerPeers(ice_servers)
        self._channel = open_channel(settings.channel_address, settings.client_tls)
        self._stub = channel_pb2_grpc.ChannelServiceStub(self._channel)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="transmitter-maths")
        self._eyes = ThreadPoolExecutor(1, thread_name_prefix="transmitter-eyes")
        self._sessions: dict[str, tuple[RunningSession, asyncio.Task[None]]] = {}
        self._expiring: asyncio.Task[None] | None = None

    def register(self, server: RpcServer) -> None:
        """Adds the service and its metrics."""
        server.add(
            transmitter_pb2_grpc.add_TransmitterServiceServicer_to_server,
            self,
            transmitter_pb2.DESCRIPTOR.services_by_name["TransmitterService"],
        )
        registry = server.metrics.registry
        Gauge(
            "semcast_transmitter_sessions", "Sessions being sent", registry=registry
        ).set_function(lambda: self._num_running)
        Gauge(
            "semcast_transmitter_viewers", "WebRTC viewers of sources", registry=registry
        ).set_function(lambda: len(self._viewers))

        self._latency_seconds = Histogram(
            "semcast_transmitter_latency_seconds",
            "Source frame in to received frame out",
            ["leg"],
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        self._stage_seconds = Histogram(
            "semcast_transmitter_stage_seconds",
            "Service time of a stage for one frame",
            ["stage"],
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )

    def _observe(self, leg: str, report: transmitter_pb2.FrameReport) -> None:
        self._latency_seconds.labels(leg).observe(report.latency_ms / 1e3)
        for stage in report.stages:
            self._stage_seconds.labels(stage.stage).observe(stage.duration_ms / 1e3)

    async def warm_up(self) -> None:
        """Compiles what the first frame would otherwise wait for."""
        from semcast.warm import warm_up

        await asyncio.get_running_loop().run_in_executor(self._worker, warm_up)
        self._expiring = asyncio.create_task(self._expire_uploads())

    async def _expire_uploads(self) -> None:
        while True:
            await asyncio.sleep(_EXPIRE_EVERY_S)
            self._catalogue.expire({session.spec.clip for session, _ in self._sessions.values()})

    async def close(self) -> None:
        """Stops sessions, viewers and webcams; removes uploads."""
        if self._expiring:
            self._expiring.cancel()
        for session_id in list(self._sessions):
            await self._stop(session_id)
        await self._viewers.close_all()
        await self._webcams.close_all()
        await self._channel.close(grace=None)
        self._catalogue.close()
        for thread in (self._worker, self._eyes):
            thread.shutdown(wait=True, cancel_futures=True)

    @property
    def _num_running(self) -> int:
        return sum(session.status.state not in _ENDED for session, _ in self._sessions.values())

    async def RunSession(
        self,
        request: transmitter_pb2.RunSessionRequest,
        context: object,
    ) -> AsyncIterator[transmitter_pb2.RunSessionResponse]:
        """Starts a session and streams its events; with `any_path`, of any file it can read."""
        session, subscription = await self._start(
            request.spec, any_path=self._settings.any_path, pictures=request.include_frames
        )
        assert subscription is not None
        try:
            async for event in subscription:
                yield transmitter_pb2.RunSessionResponse(event=event)
            if session.failure is not None:
                raise session.failure
        finally:
            session.hub.unsubscribe(subscription)
            found = self._sessions.get(request.spec.session_id)
            if found is not None and found[0] is session:
                await self._stop(request.spec.session_id)

    async def StartSession(
        self,
        request: transmitter_pb2.StartSessionRequest,
        context: object,
    ) -> transmitter_pb2.StartSessionResponse:
        """Starts a session that lives until it is stopped."""
        await self._start(request.spec, any_path=False, pictures=None)
        return transmitter_pb2.StartSessionResponse(spec=request.spec)

    async def _start(
        self, spec: transmitter_pb2.SessionSpec, *, any_path: bool, pictures: bool | None
    ) -> tuple[RunningSession, Subscription | None]:
        source = await asyncio.to_thread(self._open_source, spec, any_path)
        try:
            # On a thread: the first plan of a learned scheme loads torch and its network.
            plans = await asyncio.to_thread(plan_legs, spec)
        except BaseException:
            source.close()
            raise
        while spec.session_id in self._sessions:
            await self._stop(spec.session_id)
        if self._num_running >= self._settings.max_sessions:
            source.close()
            raise CapacityError(
                f"This transmitter runs {self._settings.max_sessions} sessions already; "
                "stop one first."
            )
        for session_id, (ended, _) in list(self._sessions.items()):
            if ended.status.state in _ENDED:
                del self._sessions[session_id]
        session = RunningSession(
            spec, plans, source, self._stub, self._worker, self._eyes, self._observe
        )
        subscription = None
        if pictures is not None:
            subscription = session.hub.subscribe(lossless=True, pictures=pictures)
        task = asyncio.create_task(session.run())
        self._sessions[spec.session_id] = (session, task)
        return session, subscription

    def _open_source(self, spec: transmitter_pb2.SessionSpec, any_path: bool) -> FrameSource:
        fps, width, height = spec.frames_per_second, spec.width_px, spec.height_px
        if spec.clip.startswith(PREFIX):
            return self._webcams.source(spec.clip, fps=fps, width=width, height=height)
        listed = spec.clip.startswith(("sample:", "upload:", "file:"))
        clip = spec.clip if any_path and not listed else self._catalogue.locate(spec.clip)
        spec.caption = choose_caption(spec.caption, caption_beside(clip), None).text
        frames = read_clip(
            clip,
            fps=fps,
            width=width,
            height=height,
            max_frames=spec.max_frames or None,
            loop=spec.loop,
        )
        return FrameSource(open=lambda: frames, live=False, close=lambda: None)

    async def UpdateSession(
        self,
        request: transmitter_pb2.UpdateSessionRequest,
        context: object,
    ) -> transmitter_pb2.UpdateSessionResponse:
        """New channel settings, from the next frame on."""
        session = self._find(request.session_id)
        channel = type(session.spec.channel)()
        channel.CopyFrom(session.spec.channel)
        if request.HasField("snr_db"):
            channel.snr_db = request.snr_db
        if request.HasField("channel_model") and request.channel_model != channel.model:
            raise InputError("The channel model is part of the set-up: start the session again.")
        check_channel(channel)
        session.set_channel(channel)
        return transmitter_pb2.UpdateSessionResponse(spec=session.spec)

    async def StopSession(
        self,
        request: transmitter_pb2.StopSessionRequest,
        context: object,
    ) -> transmitter_pb2.StopSessionResponse:
        """Stops and forgets a session."""
        self._find(request.session_id)
        await self._stop(request.session_id)
        return transmitter_pb2.StopSessionResponse()

    async def _stop(self, session_id: str) -> None:
        found = self._sessions.pop(session_id, None)
        if found is None:
            return
        session, task = found
        task.cancel()
        await asyncio.wait([task])
        # A task that is cancelled before its first step runs nothing, not even its clean-up.
        await session.close()

    def _find(self, session_id: str) -> RunningSession:
        if session_id not in self._sessions:
            raise NotFoundError(f"No session '{session_id[:80]}' is running.")
        return self._sessions[session_id][0]

    async def ListSessions(
        self,
        request: transmitter_pb2.ListSessionsRequest,
        context: object,
    ) -> transmitter_pb2.ListSessionsResponse:
        """All sessions, also those that have ended and were not stopped."""
        return transmitter_pb2.ListSessionsResponse(
            sessions=[
                transmitter_pb2.RunningSession(spec=session.spec, status=session.status)
                for session, _ in self._sessions.values()
            ]
        )

    async def WatchSession(
        self,
        request: transmitter_pb2.WatchSessionRequest,
        context: object,
    ) -> AsyncIterator[transmitter_pb2.WatchSessionResponse]:
        """Events of a session, beginning with its status."""
        session = self._find(request.session_id)
        subscription = session.hub.subscribe(lossless=False, pictures=request.include_frames)
        try:
            yield transmitter_pb2.WatchSessionResponse(
                event=transmitter_pb2.SessionEvent(leg="main", status=session.status)
            )
            if session.status.state in _ENDED:
                return
            async for event in subscription:
                yield transmitter_pb2.WatchSessionResponse(event=event)
        finally:
            session.hub.unsubscribe(subscription)

    async def ListClips(
        self, request: transmitter_pb2.ListClipsRequest, context: object
    ) -> transmitter_pb2.ListClipsResponse:
        """Everything that can be played."""
        clips = await asyncio.to_thread(self._catalogue.clips)
        return transmitter_pb2.ListClipsResponse(
            clips=list(itertools.chain(self._webcams.clips(), clips))
        )

    async def UploadClip(
        self,
        requests: AsyncIterator[transmitter_pb2.UploadClipRequest],
        context: object,
    ) -> transmitter_pb2.UploadClipResponse:
        """Takes in a file."""
        return transmitter_pb2.UploadClipResponse(clip=await self._catalogue.upload(requests))

    async def DeleteUpload(
        self, request: transmitter_pb2.DeleteUploadRequest, context: object
    ) -> transmitter_pb2.DeleteUploadResponse:
        """Removes an upload."""
        self._catalogue.delete_upload(request.clip_id)
        return transmitter_pb2.DeleteUploadResponse()

    async def OpenViewer(
        self,
        request: transmitter_pb2.TransmitterServiceOpenViewerRequest,
        context: object,
    ) -> transmitter_pb2.TransmitterServiceOpenViewerResponse:
        """WHEP offer to answer: a preview of the source."""
        preview = self._find(request.session_id).preview
        if preview is None:
            raise NotFoundError(f"Session '{request.session_id}' is not live; it has no preview.")
        viewer_id, answer_sdp = await self._viewers.answer(request.offer_sdp, preview)
        return transmitter_pb2.TransmitterServiceOpenViewerResponse(
            viewer_id=viewer_id, answer_sdp=answer_sdp
        )

    async def CloseViewer(
        self,
        request: transmitter_pb2.TransmitterServiceCloseViewerRequest,
        context: object,
    ) -> transmitter_pb2.TransmitterServiceCloseViewerResponse:
        """Ends a preview."""
        await self._viewers.close(request.viewer_id)
        return transmitter_pb2.TransmitterServiceCloseViewerResponse()

    async def OpenWebcam(
        self, request: transmitter_pb2.OpenWebcamRequest, context: object
    ) -> transmitter_pb2.OpenWebcamResponse:
        """WHIP offer to answer."""
        webcam_id, answer_sdp = await self._webcams.open(request.offer_sdp)
        return transmitter_pb2.OpenWebcamResponse(webcam_id=webcam_id, answer_sdp=answer_sdp)

    async def CloseWebcam(
        self, request: transmitter_pb2.CloseWebcamRequest, context: object
    ) -> transmitter_pb2.CloseWebcamResponse:
        """Ends a webcam."""
        await self._webcams.close(request.webcam_id)
        return transmitter_pb2.CloseWebcamResponse()


def serve(settings: TransmitterSettings) -> None:
    """Runs the transmitter as this process until it is told to stop."""
    run_service(lambda: TransmitterService(settings), settings)
