"""A transmitter and a receiver that pretend: same gRPC contract, invented frames.

They run on the real `semcast.rpc` server, so health, error mapping and shutdown are the real ones.
With a `FakePictures` factory they answer WHEP with real video; without, with a made-up SDP.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from semcast.errors import InputError, NotFoundError
from semcast.rpc.server import RpcServer, running_service
from semcast.rpc.settings import ServiceSettings
from semcast.v1 import link_pb2, receiver_pb2, receiver_pb2_grpc, transmitter_pb2
from semcast.v1.transmitter_pb2 import SessionSpec
from semcast.v1.transmitter_pb2_grpc import (
    TransmitterServiceServicer,
    add_TransmitterServiceServicer_to_server,
)

SCHEME_CBR = {
    "lowres": 0.004,
    "contours-lowres": 0.004,
    "contours,sketch": 0.004,
    "desc": 0.00082,
    "auto": 0.004,
    "h264-ldpc": 0.008,
    "h265-ldpc": 0.008,
}
AUTO_THRESHOLD_DB = 2.0
BURST_EVERY_FRAMES, BURST_FIRST, BURST_END = 32, 20, 24
"""Where the channel has bursts, these frames of every 32 are lost."""
MEMORY_FRAMES, CUT_EVERY_FRAMES = 8, 45
"""What a generator other than passthrough remembers, and how often it forgets."""
CAPTION = "A robot gripper picks up a red mug from a wooden table."
ANSWER_SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=fake\r\nt=0 0\r\n"


class Pictures(Protocol):
    """Answers WHEP offers with video of one leg ("source", "main" or "baseline"), and WHIP's."""

    async def answer(self, leg: str, offer_sdp: str) -> tuple[str, str]: ...

    async def answer_webcam(self, offer_sdp: str) -> tuple[str, str]: ...

    async def close(self) -> None: ...


class Film(Protocol):
    """What is being sent: shows a frame to the viewers, and says what a receiver tells of it."""

    def show(self, sequence: int, pts_us: int) -> None: ...

    def semantics(self, sequence: int) -> link_pb2.ReceivedSemantics: ...


@dataclass
class FakeSession:
    """A running session and who watches it."""

    spec: SessionSpec
    generation: int
    task: asyncio.Task[None] | None = None
    watchers: set[asyncio.Queue[transmitter_pb2.SessionEvent | None]] = field(default_factory=set)


class FakeTransmitter(TransmitterServiceServicer):
    """Plays sessions that consist of reports only."""

    name = "transmitter"

    def __init__(self, pictures: Pictures | None = None) -> None:
        self.sessions: dict[str, FakeSession] = {}
        self.updates: list[tuple[str, float]] = []
        self.uploads: dict[str, tuple[str, int]] = {}
        self.webcams: set[str] = set()
        self.viewers: dict[str, str] = {}
        self.watch_calls = 0
        self.largest_piece_bytes = 0
        self.uploads_broken_off = 0
        self.refuse_upload_after: int | None = None
        self.film: Film | None = None
        self.coarseness = (0, "")
        self.may_start = asyncio.Event()
        self.may_start.set()
        self._ids = itertools.count(1)
        self._pictures = pictures
        self._stopping: asyncio.Event | None = None

    def register(self, server: RpcServer) -> None:
        descriptor = transmitter_pb2.DESCRIPTOR.services_by_name["TransmitterService"]
        server.add(add_TransmitterServiceServicer_to_server, self, descriptor)
        self._stopping = server.stopping

    async def warm_up(self) -> None:
        pass

    async def close(self) -> None:
        for session in self.sessions.values():
            await _cancel(session.task)
        if self._pictures is not None:
            await self._pictures.close()

    async def StartSession(self, request: Any, context: Any) -> Any:
        await self.may_start.wait()
        spec = SessionSpec()
        spec.CopyFrom(request.spec)
        for scheme in filter(None, (spec.scheme, spec.baseline_scheme)):
            if scheme not in SCHEME_CBR:
                raise NotFoundError(f"Unknown scheme '{scheme}': choose lowres.")
        clip_ids = [clip.id for clip in self._clips()]
        if spec.clip not in clip_ids:
            raise NotFoundError(f"Clip '{spec.clip}' is not there: choose {clip_ids[0]}.")
        if not spec.cbr:
            spec.cbr = SCHEME_CBR[spec.scheme]
        generation = 1
        if spec.session_id in self.sessions:
            old = self.sessions[spec.session_id]
            generation = old.generation + 1
            await self._end(old)
        session = FakeSession(spec, generation)
        self.sessions[spec.session_id] = session
        session.task = asyncio.create_task(self._play(session))
        return transmitter_pb2.StartSessionResponse(spec=spec)

    async def UpdateSession(self, request: Any, context: Any) -> Any:
        session = self._session(request.session_id)
        if request.HasField("snr_db"):
            session.spec.channel.snr_db = request.snr_db
            self.updates.append((request.session_id, request.snr_db))
        if request.HasField("channel_model"):
            session.spec.channel.model = request.channel_model
        return transmitter_pb2.UpdateSessionResponse(spec=session.spec)

    async def StopSession(self, request: Any, context: Any) -> Any:
        await self._end(self._session(request.session_id))
        del self.sessions[request.session_id]
        return transmitter_pb2.StopSessionResponse()

    async def ListSessions(self, request: Any, context: Any) -> Any:
        return transmitter_pb2.ListSessionsResponse(
            sessions=[
                transmitter_pb2.RunningSession(
                    spec=session.spec,
                    status=_status(transmitter_pb2.SESSION_STATE_STREAMING),
                )
                for session in self.sessions.values()
            ]
        )

    async def WatchSession(self, request: Any, context: Any) -> AsyncIterator[Any]:
        session = self._session(request.session_id)
        self.watch_calls += 1
        queue: asyncio.Queue[Any] = asyncio.Queue(maxsize=256)
        session.watchers.add(queue)
        try:
            while True:
                event = await self._next(queue)
                if event is None:
                    return
                yield transmitter_pb2.WatchSessionResponse(event=event)
        finally:
            session.watchers.discard(queue)

    async def ListClips(self, request: Any, context: Any) -> Any:
        return transmitter_pb2.ListClipsResponse(clips=self._clips())

    async def UploadClip(self, request_iterator: AsyncIterator[Any], context: Any) -> Any:
        name, size = "", 0
        try:
            async for request in request_iterator:
                if request.WhichOneof("part") == "file_name":
                    name = request.file_name
                else:
                    size += len(request.data)
                    self.largest_piece_bytes = max(self.largest_piece_bytes, len(request.data))
                    if self.refuse_upload_after is not None and size > self.refuse_upload_after:
                        raise InputError(f"'{name}' has no video in it: give a video file.")
        except asyncio.CancelledError:
            self.uploads_broken_off += 1
            raise
        clip_id = f"upload:{next(self._ids)}"
        self.uploads[clip_id] = (name, size)
        return transmitter_pb2.UploadClipResponse(
            clip=next(clip for clip in self._clips() if clip.id == clip_id)
        )

    async def DeleteUpload(self, request: Any, context: Any) -> Any:
        if request.clip_id not in self.uploads:
            raise NotFoundError(f"There is no upload '{request.clip_id}'.")
        del self.uploads[request.clip_id]
        return transmitter_pb2.DeleteUploadResponse()

    async def OpenViewer(self, request: Any, context: Any) -> Any:
        self._session(request.session_id)
        viewer_id, answer = await self._answer("source", request.offer_sdp)
        self.viewers[viewer_id] = request.session_id
        return transmitter_pb2.TransmitterServiceOpenViewerResponse(
            viewer_id=viewer_id, answer_sdp=answer
        )

    async def CloseViewer(self, request: Any, context: Any) -> Any:
        self.viewers.pop(request.viewer_id, None)
        return transmitter_pb2.TransmitterServiceCloseViewerResponse()

    async def OpenWebcam(self, request: Any, context: Any) -> Any:
        webcam_id, answer_sdp = f"cam{next(self._ids)}", ANSWER_SDP
        if self._pictures is not None:
            webcam_id, answer_sdp = await self._pictures.answer_webcam(request.offer_sdp)
        self.webcams.add(webcam_id)
        return transmitter_pb2.OpenWebcamResponse(webcam_id=webcam_id, answer_sdp=answer_sdp)

    async def CloseWebcam(self, request: Any, context: Any) -> Any:
        if request.webcam_id not in self.webcams:
            raise NotFoundError(f"There is no webcam '{request.webcam_id}'.")
        self.webcams.discard(request.webcam_id)
        return transmitter_pb2.CloseWebcamResponse()

    def publish(self, session_id: str, event: transmitter_pb2.SessionEvent) -> None:
        """Hands an event to whoever watches; tests call it too."""
        for queue in self.sessions[session_id].watchers:
            if not queue.full():
                queue.put_nowait(event)

    async def finish(self, session_id: str, state: Any, detail: str = "") -> None:
        """Lets a session end of itself."""
        session = self.sessions[session_id]
        self.publish(session_id, _status_event("main", state, detail))
        await self._end(session)
        del self.sessions[session_id]

    async def _answer(self, leg: str, offer_sdp: str) -> tuple[str, str]:
        if self._pictures is None:
            return f"viewer{next(self._ids)}", ANSWER_SDP
        return await self._pictures.answer(leg, offer_sdp)

    def _session(self, session_id: str) -> FakeSession:
        if session_id not in self.sessions:
            raise NotFoundError(f"There is no session '{session_id}' at the transmitter.")
        return self.sessions[session_id]

    def _clips(self) -> list[Any]:
        samples = [
            transmitter_pb2.Clip(
                id="sample:gripper",
                title="Gripper",
                width_px=256,
                height_px=256,
                frames_per_second=16,
                duration_s=8,
                caption=CAPTION,
            ),
            transmitter_pb2.Clip(
                id="sample:falling-blocks",
                title="Falling blocks",
                width_px=320,
                height_px=256,
                frames_per_second=16,
                duration_s=6,
                caption="Coloured blocks fall onto a checkered floor.",
            ),
        ]
        uploads = [
            transmitter_pb2.Clip(
                id=clip_id, title=name, width_px=640, height_px=360, frames_per_second=25
            )
            for clip_id, (name, _) in self.uploads.items()
        ]
        webcams = [
            transmitter_pb2.Clip(id=f"webcam:{webcam}", title=f"Webcam {webcam}")
            for webcam in self.webcams
        ]
        return samples + uploads + webcams

    async def _next(self, queue: asyncio.Queue[Any]) -> Any:
        """The next event; UNAVAILABLE when the server stops, as a real service does."""
        assert self._stopping is not None
        getter = asyncio.ensure_future(queue.get())
        stopper = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((getter, stopper), return_when=asyncio.FIRST_COMPLETED)
            return getter.result() if getter.done() else None
        finally:
            getter.cancel()
            stopper.cancel()

    async def _end(self, session: FakeSession) -> None:
        await _cancel(session.task)
        for queue in session.watchers:
            queue.put_nowait(None)

    async def _play(self, session: FakeSession) -> None:
        generator = random.Random(session.spec.seed)
        period_s = 1.0 / session.spec.frames_per_second
        for leg in ("main", "baseline"):
            self.publish(
                session.spec.session_id,
                _status_event(leg, transmitter_pb2.SESSION_STATE_STREAMING, ""),
            )
        came: dict[str, dict[int, int]] = {"main": {}, "baseline": {}}
        for sequence in itertools.count():
            await asyncio.sleep(period_s)
            for leg in ("main", "baseline") if session.spec.baseline_scheme else ("main",):
                report = invented_report(session.spec, leg, sequence, generator)
                report.generation = report.receiver.generation = session.generation
                if leg == "main":
                    report.coarseness, report.coarseness_detail = self.coarseness
                if leg == "main" and self.film is not None:
                    self.film.show(sequence, report.pts_us)
                    add_semantics(report, session.spec, self.film.semantics(sequence))
                add_held(report, came[leg])
                self.publish(
                    session.spec.session_id,
                    transmitter_pb2.SessionEvent(leg=leg, frame=report),
                )


class FakeReceiver(receiver_pb2_grpc.ReceiverServiceServicer):
    """Answers viewers."""

    name = "receiver"

    def __init__(self, pictures: Pictures | None = None) -> None:
        self.viewers: dict[str, str] = {}
        self.known_sessions: Callable[[str], bool] = lambda session_id: session_id != "missing"
        self._pictures = pictures
        self._ids = itertools.count(1)

    def register(self, server: RpcServer) -> None:
        descriptor = receiver_pb2.DESCRIPTOR.services_by_name["ReceiverService"]
        server.add(receiver_pb2_grpc.add_ReceiverServiceServicer_to_server, self, descriptor)

    async def warm_up(self) -> None:
        pass

    async def close(self) -> None:
        if self._pictures is not None:
            await self._pictures.close()

    async def OpenViewer(self, request: Any, context: Any) -> Any:
        if not self.known_sessions(request.session_id):
            raise NotFoundError(f"There is no session '{request.session_id}' at the receiver.")
        if self._pictures is None:
            viewer_id, answer = f"viewer{next(self._ids)}", ANSWER_SDP
        else:
            leg = "baseline" if request.session_id.endswith(".baseline") else "main"
            viewer_id, answer = await self._pictures.answer(leg, request.offer_sdp)
        self.viewers[viewer_id] = request.session_id
        return receiver_pb2.ReceiverServiceOpenViewerResponse(
            viewer_id=viewer_id, answer_sdp=answer
        )

    async def CloseViewer(self, request: Any, context: Any) -> Any:
        if request.viewer_id not in self.viewers:
            raise NotFoundError(f"There is no viewer '{request.viewer_id}'.")
        del self.viewers[request.viewer_id]
        return receiver_pb2.ReceiverServiceCloseViewerResponse()


@contextlib.asynccontextmanager
async def serving(service: Any, port: int = 0) -> AsyncIterator[int]:
    """The service on a port of loopback; leaving is as abrupt as a crash."""
    async with running_service(service, ServiceSettings(port=port, grace_s=0)) as bound:
        yield bound


def invented_report(
    spec: SessionSpec, leg: str, sequence: int, generator: random.Random
) -> transmitter_pb2.FrameReport:
    """A plausible frame: `lowres` slopes with the SNR, the classical baseline has its cliff."""
    scheme = spec.scheme if leg == "main" else spec.baseline_scheme
    snr_db = spec.channel.snr_db
    classical = scheme.endswith("-ldpc")
    num_symbols = round(spec.cbr * 3 * spec.width_px * spec.height_px)
    num_symbols += round(generator.gauss(0, 0.03 * num_symbols))
    decoded = not classical or snr_db + generator.gauss(0, 0.6) > 5.0
    slope = 1 / (1 + math.exp(-(snr_db - 1) / 3.0))
    psnr_db = (29.0 if classical and decoded else 10.5) if classical else 16 + 9 * slope
    modality = link_pb2.MODALITY_VIDEO if classical else link_pb2.MODALITY_LOWRES
    noise = 10 ** (-snr_db / 20) / math.sqrt(2)
    ideal = [complex(re, im) / math.sqrt(2) for re in (-1, 1) for im in (-1, 1)]
    points = [
        generator.choice(ideal) + complex(generator.gauss(0, noise), generator.gauss(0, noise))
        for _ in range(64)
    ]
    payload_bits = round(1.3 * num_symbols)
    report = transmitter_pb2.FrameReport(
        sequence=sequence,
        pts_us=int(sequence * 1e6 / spec.frames_per_second),
        information_bits=payload_bits + 48,
        feedback_bits=13,
        latency_ms=90 + 25 * generator.random() + (140 if generator.random() < 0.04 else 0),
        psnr_db=psnr_db + generator.gauss(0, 0.5),
        cbr_target=spec.cbr,
    )
    for kind, count in ((modality, num_symbols - 28), (8, 12), (9, 16)):
        report.symbols_by_modality.add(modality=kind, count=count)
    report.payload_bits_by_modality.add(modality=modality, count=payload_bits)
    report.stages.add(stage="encode", duration_ms=6.5)
    receiver = report.receiver
    receiver.sequence, receiver.pts_us = report.sequence, report.pts_us
    receiver.snr_db_estimated = round((snr_db + generator.gauss(0, 0.3)) * 4) / 4
    receiver.crc_checked_modalities.append(modality)
    if not decoded:
        receiver.crc_failed_modalities.append(modality)
    receiver.concealed = not decoded
    receiver.outage = classical and snr_db < 4.5
    receiver.generator = spec.generator
    receiver.stages.add(stage="decode", duration_ms=4.2)
    receiver.constellation_iq = np.array(points, dtype="<c8").tobytes()
    receiver.constellation_kind = "qpsk"
    receiver.rung_id = "qpsk-3/4" if classical else "qpsk-1/2"
    channel = report.channel
    channel.sequence, channel.snr_db_requested = report.sequence, snr_db
    channel.num_symbols = num_symbols
    channel.signal_energy = num_symbols * generator.gauss(1, 0.01)
    channel.noise_energy = num_symbols * 10 ** (-snr_db / 10) * generator.gauss(1, 0.02)
    return report


def add_semantics(
    report: transmitter_pb2.FrameReport, spec: SessionSpec, semantics: link_pb2.ReceivedSemantics
) -> None:
    """Makes an invented report one of the session's scheme: what it sends comes, and is counted."""
    scheme = spec.scheme
    if scheme == "auto":
        scheme = "contours-lowres" if spec.channel.snr_db >= AUTO_THRESHOLD_DB else "lowres"
    report.receiver.scheme_id = scheme
    starts_segment = report.sequence % spec.segment_frames == 0
    num_symbols = {"pilot": 16, "control": 12}
    if "contours" in scheme:
        report.receiver.semantics.has_contours = True
        report.receiver.semantics.contours.extend(semantics.contours)
        num_symbols["contours"] = 240 if starts_segment else 90 + report.sequence % 5 * 12
        if starts_segment:
            report.receiver.semantics.motion_percent = semantics.motion_percent
            num_symbols["motion"] = 9
    if starts_segment and ("contours" in scheme or scheme == "desc"):
        report.receiver.caption_received = spec.caption or CAPTION
        num_symbols["caption"] = 130
    if "sketch" in scheme:
        report.receiver.semantics.sketch.CopyFrom(semantics.sketch)
        num_symbols["sketch"] = 160
    if "lowres" in scheme:
        report.receiver.semantics.lowres.CopyFrom(semantics.lowres)
        num_all = round(spec.cbr * 3 * spec.width_px * spec.height_px)
        num_symbols["lowres"] = num_all - sum(num_symbols.values())
    is_burst = spec.channel.model == link_pb2.CHANNEL_MODEL_BURST
    is_lost = is_burst and BURST_FIRST <= report.sequence % BURST_EVERY_FRAMES < BURST_END
    if is_lost:
        report.receiver.concealed = True
        report.receiver.ClearField("semantics")
    del report.symbols_by_modality[:]
    del report.receiver.crc_checked_modalities[:], report.receiver.crc_failed_modalities[:]
    for name, count in num_symbols.items():
        modality = link_pb2.Modality.Value(f"MODALITY_{name.upper()}")
        report.symbols_by_modality.add(modality=modality, count=count)
        if name != "pilot":
            report.receiver.crc_checked_modalities.append(modality)
            if is_lost:
                report.receiver.crc_failed_modalities.append(modality)


def add_held(report: transmitter_pb2.FrameReport, came: dict[int, int]) -> None:
    """Says what the receiver holds. came: in which frame each modality came last; is updated."""
    receiver = report.receiver
    overhead = {link_pb2.MODALITY_PILOT, link_pb2.MODALITY_CONTROL}
    sent = {item.modality for item in report.symbols_by_modality} - overhead
    came.update(dict.fromkeys(sent - set(receiver.crc_failed_modalities), report.sequence))
    for modality, sequence in sorted(came.items()):
        receiver.held.add(
            modality=modality,  # type: ignore[arg-type]
            age_frames=report.sequence - sequence,
        )
    if receiver.generator not in ("passthrough", "auto"):
        since_cut = report.sequence % CUT_EVERY_FRAMES
        receiver.cached_frames = min(since_cut + 1, MEMORY_FRAMES)
        receiver.cache_resets = report.sequence // CUT_EVERY_FRAMES


def _status(state: Any, detail: str = "") -> transmitter_pb2.SessionStatus:
    return transmitter_pb2.SessionStatus(state=state, detail=detail)


def _status_event(leg: str, state: Any, detail: str) -> transmitter_pb2.SessionEvent:
    return transmitter_pb2.SessionEvent(leg=leg, status=_status(state, detail))


async def _cancel(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
