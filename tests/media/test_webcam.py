"""A webcam over real sockets: aiortc sends, the ingest receives."""

import asyncio
import threading
from fractions import Fraction

import av
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack

from semcast.errors import CapacityError, InputError
from semcast.media.ice import bound_gathering
from semcast.media.webcam import WebcamIngest


class Camera(MediaStreamTrack):
    """Films picture k = 0, 1, ... of the scene at its frame rate."""

    kind = "video"

    def __init__(self, scene) -> None:
        super().__init__()
        self._scene = scene
        self.filmed = 0

    async def recv(self) -> av.VideoFrame:
        await asyncio.sleep(1 / self._scene.fps)
        frame = av.VideoFrame.from_ndarray(self._scene.picture(self.filmed), format="rgb24")
        frame.pts, frame.time_base = self.filmed, Fraction(1, self._scene.fps)
        self.filmed += 1
        return frame.reformat(format="yuv420p")


class Sender:
    """The other side of WHIP."""

    def __init__(self, *tracks: MediaStreamTrack, codec: str = "video/VP8") -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        for track in tracks:
            transceiver = self.connection.addTransceiver(track, direction="sendonly")
            if track.kind == "video":
                codecs = RTCRtpSender.getCapabilities("video").codecs
                transceiver.setCodecPreferences([c for c in codecs if c.mimeType == codec])

    async def connect(self, ingest: WebcamIngest, on_frame, on_closed=None) -> str:
        bound_gathering(self.connection, 2.0)
        await self.connection.setLocalDescription(await self.connection.createOffer())
        webcam_id, self.answer = await ingest.answer(
            self.connection.localDescription.sdp, on_frame, on_closed
        )
        await self.connection.setRemoteDescription(RTCSessionDescription(self.answer, "answer"))
        return webcam_id

    async def close(self) -> None:
        await self.connection.close()


class Album:
    """Keeps what `on_frame` gets; `wait_for` returns once it has so many."""

    def __init__(self) -> None:
        self.frames = []
        self._changed = asyncio.Condition()
        self._loop = asyncio.get_running_loop()

    def __call__(self, rgb, time_us: int) -> None:
        asyncio.run_coroutine_threadsafe(self._add(rgb, time_us), self._loop).result(10)

    async def _add(self, rgb, time_us: int) -> None:
        async with self._changed:
            self.frames.append((rgb, time_us))
            self._changed.notify_all()

    async def wait_for(self, count: int) -> None:
        async with asyncio.timeout(15), self._changed:
            await self._changed.wait_for(lambda: len(self.frames) >= count)


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.fixture
async def ingest():
    ingest = WebcamIngest()
    yield ingest
    await ingest.close_all()


@pytest.mark.parametrize("codec", ["video/VP8", "video/H264"])
async def test_frames_arrive_as_filmed(scene, ingest, codec) -> None:
    camera, album = Camera(scene), Album()
    sender = Sender(camera, codec=codec)
    await sender.connect(ingest, album)
    await album.wait_for(10)
    matches = [scene.best_match_db(rgb, camera.filmed) for rgb, _ in album.frames]
    assert min(db for db, _ in matches) > 28  # the sender's own encoder at its default rate
    numbers = [k for _, k in matches]
    assert numbers == sorted(set(numbers))
    frame_us = 1_000_000 / scene.fps
    first_us = album.frames[0][1] - numbers[0] * frame_us
    times_us = [first_us + k * frame_us for k in numbers]
    assert [t for _, t in album.frames] == pytest.approx(times_us, abs=100)
    await sender.close()


async def test_slow_consumer_gets_the_newest_frame(scene, ingest) -> None:
    album, in_call, go_on = Album(), threading.Event(), threading.Event()

    def slow(rgb, time_us: int) -> None:
        in_call.set()
        go_on.wait(10)
        album(rgb, time_us)

    camera = Camera(scene)
    sender = Sender(camera)
    await sender.connect(ingest, slow)
    await asyncio.to_thread(in_call.wait, 10)
    received = ingest.stats.frames_received
    await until(lambda: ingest.stats.frames_received >= received + 6)
    filmed = camera.filmed
    go_on.set()
    await album.wait_for(2)
    assert ingest.stats.frames_dropped >= 4
    assert scene.best_match_db(album.frames[1][0], camera.filmed)[1] >= filmed - 4
    await sender.close()


async def test_audio_is_left_out(scene, ingest) -> None:
    album = Album()
    sender = Sender(AudioStreamTrack(), Camera(scene))
    await sender.connect(ingest, album)
    await album.wait_for(3)
    audio, video = sender.answer.split("m=")[1:]
    assert audio.startswith("audio") and "a=inactive" in audio
    assert video.startswith("video") and "a=recvonly" in video
    await sender.close()


async def test_webcam_that_leaves_is_reported_and_forgotten(scene, ingest) -> None:
    album, closed = Album(), asyncio.Event()
    sender = Sender(Camera(scene))
    await sender.connect(ingest, album, closed.set)
    await album.wait_for(2)
    await sender.close()
    await asyncio.wait_for(closed.wait(), 10)
    assert (len(ingest), ingest.stats.webcams) == (0, 0)
    assert ingest.stats.frames_received >= 2  # counted on
    own = asyncio.current_task()
    await until(lambda: asyncio.all_tasks() == {own})
    names = {"webcam", "video-decoder"}
    await until(lambda: not names & {thread.name for thread in threading.enumerate()})


async def test_closing_a_webcam_hangs_up(scene, ingest) -> None:
    album, closed = Album(), asyncio.Event()
    sender = Sender(Camera(scene))
    webcam_id = await sender.connect(ingest, album, closed.set)
    await album.wait_for(2)
    await ingest.close(webcam_id)
    assert closed.is_set() and len(ingest) == 0
    await ingest.close(webcam_id)  # gone already
    await until(lambda: sender.connection.connectionState == "closed")


async def test_consumer_that_fails_ends_its_webcam(scene, ingest, caplog) -> None:
    def broken(rgb, time_us: int) -> None:
        raise RuntimeError("broken consumer")

    closed = asyncio.Event()
    sender = Sender(Camera(scene))
    await sender.connect(ingest, broken, closed.set)
    await asyncio.wait_for(closed.wait(), 10)
    assert "on_frame failed" in caplog.text and "broken consumer" in caplog.text
    await sender.close()


async def test_limit_and_garbage(scene) -> None:
    ingest = WebcamIngest(max_webcams=1)
    first, second = Sender(Camera(scene)), Sender(Camera(scene))
    await first.connect(ingest, Album())
    with pytest.raises(CapacityError, match="1 webcams are connected"):
        await second.connect(ingest, Album())
    with pytest.raises(InputError, match="has no video section"):
        await ingest.answer("hello", Album())
    assert len(ingest) == 1
    await asyncio.gather(first.close(), second.close(), ingest.close_all())
