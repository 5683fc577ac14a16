"""The calls of the transmitter, without gRPC and with an emulator in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest
from clip_files import numbered, quadrants, write_video
from fake_relay import PATIENCE_S, FakeRelay, rpc_error, settle, spec, until
from prometheus_client import CollectorRegistry

import transmitter.server
from semcast.errors import CapacityError, InputError, NotFoundError, UnavailableError
from semcast.v1 import link_pb2
from semcast.v1 import transmitter_pb2 as pb
from transmitter.server import TransmitterService
from transmitter.settings import TransmitterSettings

STREAMING = pb.SESSION_STATE_STREAMING


class Bench:
    """A service and its fake emulator."""

    def __init__(self, service: TransmitterService, relay: FakeRelay) -> None:
        self.service = service
        self.relay = relay

    async def start(self, **changes: Any) -> None:
        """Starts a session that plays a sample for ever."""
        live = {"paced": True, "loop": True, "frames_per_second": 50.0, **changes}
        await self.service.StartSession(pb.StartSessionRequest(spec=spec(**live)), None)

    async def states(self) -> dict[str, int]:
        listed = await self.service.ListSessions(pb.ListSessionsRequest(), None)
        return {session.spec.session_id: session.status.state for session in listed.sessions}

    async def wait_for(self, session_id: str, state: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while (await self.states())[session_id] != state:  # noqa: ASYNC110 - as a caller would
                await asyncio.sleep(0.005)

    async def stop(self, session_id: str) -> None:
        await self.service.StopSession(pb.StopSessionRequest(session_id=session_id), None)

    def open_calls(self) -> int:
        return sum(not call.cancelled for call in self.relay.calls)

    def run(self, **changes: Any) -> AsyncIterator[pb.RunSessionResponse]:
        return self.service.RunSession(pb.RunSessionRequest(spec=spec(**changes)), None)

    def watch(self, session_id: str) -> AsyncIterator[pb.WatchSessionResponse]:
        return self.service.WatchSession(pb.WatchSessionRequest(session_id=session_id), None)


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    relay = FakeRelay(answer_all=True)
    monkeypatch.setattr(
        transmitter.server.channel_pb2_grpc, "ChannelServiceStub", lambda channel: relay
    )
    service = TransmitterService(TransmitterSettings(max_sessions=2, max_upload_mb=1))
    metrics = SimpleNamespace(registry=CollectorRegistry())
    service.register(SimpleNamespace(add=lambda *_: None, metrics=metrics))  # type: ignore[arg-type]
    made = Bench(service, relay)
    yield made
    await service.close()
    await relay.stop()


async def test_a_session_lives_until_it_is_stopped(bench: Bench) -> None:
    await bench.start()
    await bench.wait_for("test", STREAMING)
    await bench.stop("test")
    assert await bench.states() == {}
    assert bench.open_calls() == 0


async def test_what_does_not_run_is_not_found(bench: Bench) -> None:
    for call in (
        bench.stop("nobody"),
        bench.service.UpdateSession(pb.UpdateSessionRequest(session_id="nobody"), None),
        bench.service.OpenViewer(
            pb.TransmitterServiceOpenViewerRequest(session_id="nobody", offer_sdp="v=0"), None
        ),
        bench.service.CloseWebcam(pb.CloseWebcamRequest(webcam_id="nobody"), None),
        bench.service.DeleteUpload(pb.DeleteUploadRequest(clip_id="upload:nobody"), None),
        anext(aiter(bench.watch("nobody"))),
    ):
        with pytest.raises(NotFoundError):
            await call


async def test_starting_an_id_that_runs_replaces_it(bench: Bench) -> None:
    await bench.start(seed=1)
    await bench.wait_for("test", STREAMING)
    await bench.start(seed=2)
    await bench.wait_for("test", STREAMING)
    assert bench.open_calls() == 1
    listed = await bench.service.ListSessions(pb.ListSessionsRequest(), None)
    assert [session.spec.seed for session in listed.sessions] == [2]


async def test_a_start_that_is_refused_leaves_what_runs(bench: Bench) -> None:
    await bench.start()
    await bench.wait_for("test", STREAMING)
    for changes in ({"scheme": "telepathy"}, {"clip": "sample:nothing"}, {"width_px": 63}):
        with pytest.raises(InputError):
            await bench.start(**changes)
    assert await bench.states() == {"test": STREAMING}
    assert bench.open_calls() == 1


async def test_two_starts_at_once_leave_one_session(bench: Bench) -> None:
    await bench.start(seed=1)
    await bench.wait_for("test", STREAMING)
    await asyncio.gather(*(bench.start(seed=seed) for seed in (2, 3, 4)))
    await bench.wait_for("test", STREAMING)
    await settle()
    assert bench.open_calls() == 1
    await bench.stop("test")
    await settle()
    assert bench.open_calls() == 0


async def test_more_sessions_than_there_may_be_are_refused(bench: Bench) -> None:
    await bench.start(session_id="a")
    await bench.start(session_id="b")
    with pytest.raises(CapacityError, match="2 sessions already"):
        await bench.start(session_id="c")
    # Replacing one is always possible, and ended ones do not count.
    await bench.start(session_id="b")
    await bench.stop("a")
    await bench.start(session_id="c", paced=False, loop=False, max_frames=1)
    await bench.wait_for("c", pb.SESSION_STATE_ENDED)
    await bench.start(session_id="d")
    assert set(await bench.states()) >= {"b", "d"}


async def test_the_network_plays_only_what_is_listed(bench: Bench, tmp_path: Path) -> None:
    path = write_video(tmp_path / "secret.mp4", numbered(3))
    for clip in (str(path), "/etc/passwd", "../secret.mp4", f"file:{path}", "webcam:nobody"):
        with pytest.raises(NotFoundError):
            await bench.start(clip=clip)
    assert await bench.states() == {}


async def test_a_run_gives_every_frame_and_then_ends(bench: Bench) -> None:
    events = [response.event async for response in bench.run(max_frames=4)]
    frames = [event.frame.sequence for event in events if event.WhichOneof("event") == "frame"]
    assert frames == [0, 1, 2, 3]
    assert events[-1].status.state == pb.SESSION_STATE_ENDED
    assert await bench.states() == {}


async def test_a_run_that_fails_raises_the_sentence(bench: Bench) -> None:
    bench.relay.refused["test"] = rpc_error(
        grpc.StatusCode.INVALID_ARGUMENT, "Too much power: normalise it."
    )
    with pytest.raises(InputError, match=r"^Too much power: normalise it\.$"):
        async for _ in bench.run():
            pass
    assert await bench.states() == {}


async def test_a_run_whose_services_are_gone_fails_as_unavailable(bench: Bench) -> None:
    gone = rpc_error(grpc.StatusCode.UNAVAILABLE, "connection refused", ours=False)
    bench.relay.errors = [gone] * 10
    with pytest.raises(UnavailableError, match="channel emulator"):
        async for _ in bench.run():
            pass


async def test_a_run_that_breaks_by_a_fault_of_ours_does_not_pass_for_complete(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(clip: str, **options: Any) -> Any:
        def frames() -> Any:
            raise RuntimeError("the decoder lost its mind")
            yield

        return frames()

    monkeypatch.setattr(transmitter.server, "read_clip", broken)
    with pytest.raises(RuntimeError, match="lost its mind"):
        async for _ in bench.run():
            pass


async def test_a_run_that_its_caller_leaves_is_stopped_though_nobody_reads(bench: Bench) -> None:
    responses = bench.run(loop=True)
    await anext(aiter(responses))
    # More frames than its caller's queue holds: the session waits for its caller.
    await until(lambda: bench.relay.frames_answered >= 12)
    async with asyncio.timeout(PATIENCE_S):
        await responses.aclose()  # type: ignore[attr-defined]
    assert await bench.states() == {}
    assert bench.open_calls() == 0


async def test_a_run_that_is_replaced_does_not_stop_its_successor(bench: Bench) -> None:
    """Its caller is slow, and notices only later that it was replaced."""
    responses = bench.run(loop=True)
    await anext(aiter(responses))
    await bench.start(seed=2)
    await bench.wait_for("test", STREAMING)
    async with asyncio.timeout(PATIENCE_S):
        async for _ in responses:
            pass
    await settle()
    assert await bench.states() == {"test": STREAMING}
    assert bench.open_calls() == 1


async def test_a_watcher_is_told_the_status_first(bench: Bench) -> None:
    await bench.start()
    await bench.wait_for("test", STREAMING)
    watching = aiter(bench.watch("test"))
    async with asyncio.timeout(PATIENCE_S):
        first = await anext(watching)
        second = await anext(watching)
    assert first.event.status.state == STREAMING
    assert second.event.WhichOneof("event") == "frame"
    await watching.aclose()  # type: ignore[attr-defined]


async def test_a_watcher_of_a_session_that_is_stopped_is_let_go(bench: Bench) -> None:
    await bench.start()
    watching = aiter(bench.watch("test"))
    await anext(watching)
    await bench.stop("test")

    async def rest() -> int:
        return sum([1 async for _ in watching])

    async with asyncio.timeout(PATIENCE_S):
        await rest()


async def test_a_watcher_of_a_session_that_has_ended_is_told_so(bench: Bench) -> None:
    await bench.start(paced=False, loop=False, max_frames=2)
    await bench.wait_for("test", pb.SESSION_STATE_ENDED)
    async with asyncio.timeout(PATIENCE_S):
        responses = [response async for response in bench.watch("test")]
    assert [response.event.status.state for response in responses] == [pb.SESSION_STATE_ENDED]


async def update(bench: Bench, **changes: Any) -> pb.UpdateSessionResponse:
    return await bench.service.UpdateSession(
        pb.UpdateSessionRequest(session_id="test", **changes), None
    )


async def test_an_update_changes_the_snr_and_nothing_else(bench: Bench) -> None:
    await bench.start()
    updated = await update(bench, snr_db=-3.0)
    assert updated.spec.channel.snr_db == -3.0
    assert updated.spec.channel.model == link_pb2.CHANNEL_MODEL_AWGN
    listed = await bench.service.ListSessions(pb.ListSessionsRequest(), None)
    assert listed.sessions[0].spec.channel.snr_db == -3.0
    same = await update(bench, channel_model=link_pb2.CHANNEL_MODEL_AWGN)
    assert same.spec.channel.snr_db == -3.0


async def test_an_update_that_cannot_be_changes_nothing(bench: Bench) -> None:
    await bench.start()
    with pytest.raises(InputError, match="out of range"):
        await update(bench, snr_db=1000.0)
    with pytest.raises(InputError, match="start the session again"):
        await update(bench, snr_db=1.0, channel_model=link_pb2.CHANNEL_MODEL_RAYLEIGH)
    listed = await bench.service.ListSessions(pb.ListSessionsRequest(), None)
    assert listed.sessions[0].spec.channel.snr_db == 10.0


async def test_a_session_that_is_not_live_has_no_preview_to_open(bench: Bench) -> None:
    bench.relay.answer_all = False
    await bench.start(paced=False)
    with pytest.raises(NotFoundError, match="not live"):
        await bench.service.OpenViewer(
            pb.TransmitterServiceOpenViewerRequest(session_id="test", offer_sdp="v=0"), None
        )


async def test_an_upload_is_listed_played_and_removed(bench: Bench, tmp_path: Path) -> None:
    moving = [np.roll(quadrants(), 7 * k, axis=1) for k in range(5)]
    data = write_video(tmp_path / "v.mp4", moving).read_bytes()

    async def parts() -> AsyncIterator[pb.UploadClipRequest]:
        yield pb.UploadClipRequest(file_name="v.mp4")
        yield pb.UploadClipRequest(data=data)

    clip = (await bench.service.UploadClip(parts(), None)).clip
    listed = await bench.service.ListClips(pb.ListClipsRequest(), None)
    assert clip in listed.clips
    await bench.start(clip=clip.id, paced=False, loop=False)
    await bench.wait_for("test", pb.SESSION_STATE_ENDED)
    await bench.service.DeleteUpload(pb.DeleteUploadRequest(clip_id=clip.id), None)
    with pytest.raises(NotFoundError):
        await bench.start(clip=clip.id)


async def test_uploads_expire_by_themselves_unless_a_session_plays_them(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("semcast.warm.warm_up", lambda: None)
    monkeypatch.setattr(transmitter.server, "_EXPIRE_EVERY_S", 0.005)
    bench.service._catalogue._upload_s = 0.01
    moving = [np.roll(quadrants(), 7 * k, axis=1) for k in range(5)]
    data = write_video(tmp_path / "v.mp4", moving).read_bytes()

    async def parts() -> AsyncIterator[pb.UploadClipRequest]:
        yield pb.UploadClipRequest(file_name="v.mp4")
        yield pb.UploadClipRequest(data=data)

    async def uploads() -> list[str]:
        listed = await bench.service.ListClips(pb.ListClipsRequest(), None)
        return [clip.id for clip in listed.clips if clip.id.startswith("upload:")]

    clip = (await bench.service.UploadClip(parts(), None)).clip
    await bench.start(clip=clip.id)
    await bench.service.warm_up()
    await bench.service.UploadClip(parts(), None)
    async with asyncio.timeout(PATIENCE_S):
        while len(await uploads()) > 1:
            pass
    await until(lambda: bench.relay.frames_answered >= 15)
    assert await uploads() == [clip.id]
    await bench.stop("test")
    async with asyncio.timeout(PATIENCE_S):
        while await uploads():
            pass


async def test_closing_the_service_ends_all_sessions(bench: Bench) -> None:
    await bench.start(session_id="a", baseline_scheme="h264-ldpc")
    await bench.start(session_id="b")
    await bench.relay.call(2)
    async with asyncio.timeout(PATIENCE_S):
        await bench.service.close()
    assert await bench.states() == {}
    assert bench.open_calls() == 0
