"""Viewers over real sockets: aiortc on both ends, in one process."""

import asyncio
import gc
import os
import threading
from collections.abc import AsyncIterator, Callable

import av
import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack

from semcast.errors import CapacityError, InputError
from semcast.media.publisher import VideoPublisher
from semcast.media.viewers import ViewerPeers

WIDTH, HEIGHT, FPS = 192, 128, 20


def picture(k: int) -> np.ndarray:
    """A smooth coloured picture that says which it is: its brightness pattern moves with k."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    red = 128 + 60 * np.sin((x + 7 * k) / 17)
    green = 128 + 60 * np.cos((y - 5 * k) / 13)
    blue = 128 + 40 * np.sin((x + y + 3 * k) / 23)
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def psnr_db(a: np.ndarray, b: np.ndarray) -> float:
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return float(10 * np.log10(255**2 / error))


class Watcher:
    """An aiortc viewer: an offer, then the frames of the answer's track."""

    def __init__(self) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connection.addTransceiver("video", direction="recvonly")
        self.track: asyncio.Future[MediaStreamTrack] = asyncio.get_running_loop().create_future()
        self.connection.on("track", self.track.set_result)

    async def offer(self) -> str:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return self.connection.localDescription.sdp

    async def watch(self, viewers: ViewerPeers, publisher: VideoPublisher) -> str:
        viewer_id, answer = await viewers.answer(await self.offer(), publisher)
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        return viewer_id

    async def frame(self) -> np.ndarray:
        frame = await asyncio.wait_for((await self.track).recv(), 10)
        assert isinstance(frame, av.VideoFrame)
        return frame.to_ndarray(format="rgb24")

    async def close(self) -> None:
        await self.connection.close()


class Source:
    """Pushes picture k = 0, 1, ... from a thread, as the model worker does."""

    def __init__(self, publisher: VideoPublisher) -> None:
        self._publisher = publisher
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        k = 0
        while not self._stop.wait(1 / FPS):
            self._publisher.push(picture(k), k * 1_000_000 // FPS)
            k += 1

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


async def until(condition: Callable[[], bool]) -> None:
    """Waits for something that must happen; fails after 10 s."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def best_match_db(frame: np.ndarray, last: int) -> float:
    return max(psnr_db(frame, picture(k)) for k in range(last))


@pytest.fixture
async def publisher() -> AsyncIterator[VideoPublisher]:
    publisher = VideoPublisher(width=WIDTH, height=HEIGHT, fps=FPS)
    yield publisher
    await publisher.close()


@pytest.fixture
async def viewers() -> AsyncIterator[ViewerPeers]:
    viewers = ViewerPeers()
    yield viewers
    await viewers.close_all()


@pytest.fixture
def source(publisher: VideoPublisher) -> Source:
    source = Source(publisher)
    yield source
    source.stop()


async def test_viewer_sees_what_was_pushed(publisher, viewers, source) -> None:
    watcher = Watcher()
    await watcher.watch(viewers, publisher)
    frames = [await watcher.frame() for _ in range(6)]
    pushed = publisher.stats.frames_pushed
    assert [f.shape for f in frames] == [(HEIGHT, WIDTH, 3)] * 6
    assert min(best_match_db(frame, pushed) for frame in frames) > 38
    assert psnr_db(frames[0], frames[-1]) < 30  # it moves
    await watcher.close()


async def test_late_viewer_gets_a_picture_of_its_own(publisher, viewers, source) -> None:
    first = Watcher()
    await first.watch(viewers, publisher)
    for _ in range(4):
        await first.frame()
    idrs_before = publisher.stats.idrs
    late = Watcher()
    await late.watch(viewers, publisher)
    frame = await late.frame()
    assert best_match_db(frame, publisher.stats.frames_pushed) > 38
    assert publisher.stats.idrs > idrs_before
    await asyncio.gather(first.close(), late.close())


async def test_paused_stream_shows_its_last_picture_to_a_new_viewer(publisher, viewers) -> None:
    publisher.push(picture(3), 0)
    publisher.push(picture(4), 50_000)
    watcher = Watcher()
    await watcher.watch(viewers, publisher)
    assert psnr_db(await watcher.frame(), picture(4)) > 38
    assert publisher.stats.frames_encoded == 0  # nobody watched when it was pushed
    assert publisher.stats.repeats_encoded >= 1
    await watcher.close()


async def test_nothing_is_encoded_without_viewers(publisher, viewers) -> None:
    for k in range(5):
        publisher.push(picture(k), k * 50_000)
    await asyncio.sleep(0.2)
    stats = publisher.stats
    assert (stats.frames_pushed, stats.frames_encoded, stats.repeats_encoded) == (5, 0, 0)


async def test_leaving_viewer_leaves_nothing_behind(publisher, viewers) -> None:
    async def visit() -> None:
        watcher = Watcher()
        viewer_id = await watcher.watch(viewers, publisher)
        publisher.push(picture(0), 0)
        await watcher.frame()
        await viewers.close(viewer_id)
        await watcher.close()

    await visit()  # whatever is made once (mDNS, threads of the executor) is made now
    own = asyncio.current_task()
    await until(lambda: asyncio.all_tasks() == {own})
    gc.collect()
    fds_before, threads_before = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(3):
        await visit()
    await until(lambda: asyncio.all_tasks() == {own})
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == fds_before
    assert threading.active_count() == threads_before
    assert len(viewers) == 0
    assert publisher.stats.viewers == 0
    gc.collect()
    assert not [o for o in gc.get_objects() if isinstance(o, RTCPeerConnection)]


async def test_viewer_that_hangs_up_is_forgotten(publisher, viewers, source) -> None:
    watcher = Watcher()
    await watcher.watch(viewers, publisher)
    await watcher.frame()
    assert (len(viewers), publisher.stats.viewers) == (1, 1)
    await watcher.close()
    await until(lambda: len(viewers) == 0 and publisher.stats.viewers == 0)


async def test_closing_the_publisher_disconnects_its_viewers(publisher, viewers, source) -> None:
    watcher = Watcher()
    await watcher.watch(viewers, publisher)
    await watcher.frame()
    await publisher.close()
    await until(lambda: len(viewers) == 0)
    await watcher.close()


async def test_viewer_beyond_the_limit_is_turned_away(publisher) -> None:
    viewers = ViewerPeers(max_viewers=1)
    first, second = Watcher(), Watcher()
    await first.watch(viewers, publisher)
    with pytest.raises(CapacityError, match="1 viewers are watching"):
        await viewers.answer(await second.offer(), publisher)
    await asyncio.gather(first.close(), second.close(), viewers.close_all())


@pytest.mark.parametrize(
    "sdp",
    ["", "hello", "v=0\r\n", "m=video", "\x00" * 50, "v=x\r\nm=video 9 A 96\r\n", "a" * 200_000],
)
async def test_garbage_offer_is_an_input_error(publisher, viewers, sdp) -> None:
    with pytest.raises(InputError):
        await viewers.answer(sdp, publisher)
    assert len(viewers) == 0
