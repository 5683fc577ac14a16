"""Viewers over real sockets: aiortc on both ends, in one process."""

import asyncio
import gc
import itertools
import os
import re
import threading
from collections.abc import AsyncIterator, Callable

import av
import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack

from semcast.errors import CapacityError
from semcast.media.ice import bound_gathering
from semcast.media.publisher import VideoPublisher
from semcast.media.udp_batch import BatchSocket
from semcast.media.viewers import ViewerPeers


class Watcher:
    """An aiortc viewer: an offer, then the frames of the answer's track."""

    def __init__(self) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connection.addTransceiver("video", direction="recvonly")
        self.track: asyncio.Future[MediaStreamTrack] = asyncio.get_running_loop().create_future()
        self.connection.on("track", self.track.set_result)

    async def offer(self) -> str:
        bound_gathering(self.connection, 2.0)  # so that the tests need no network either
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


async def until(condition: Callable[[], bool]) -> None:
    """Waits for something that must happen; fails after 10 s."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.fixture
async def viewers() -> AsyncIterator[ViewerPeers]:
    viewers = ViewerPeers()
    yield viewers
    await viewers.close_all()


async def test_viewer_sees_what_was_pushed(scene, publisher, viewers, source) -> None:
    watcher = Watcher()
    await watcher.watch(viewers, publisher)
    frames = [await watcher.frame() for _ in range(6)]
    pushed = publisher.stats.frames_pushed
    matches = [scene.best_match_db(frame, pushed) for frame in frames]
    assert {frame.shape for frame in frames} == {(scene.height, scene.width, 3)}
    assert min(db for db, _ in matches) > 38
    numbers = [k for _, k in matches]
    assert numbers == sorted(numbers) and len(set(numbers)) >= 4  # in order, and it moves
    await watcher.close()


async def test_late_viewer_gets_a_picture_of_its_own(scene, publisher, viewers, source) -> None:
    first = Watcher()
    await first.watch(viewers, publisher)
    for _ in range(4):
        await first.frame()
    idrs_before = publisher.stats.idrs
    late = Watcher()
    await late.watch(viewers, publisher)
    frame = await late.frame()
    assert scene.best_match_db(frame, publisher.stats.frames_pushed)[0] > 38
    assert publisher.stats.idrs > idrs_before
    await asyncio.gather(first.close(), late.close())


async def test_paused_stream_shows_its_last_picture(scene, publisher, viewers) -> None:
    publisher.push(scene.picture(3), 0)
    publisher.push(scene.picture(4), 50_000)
    watcher = Watcher()
    await watcher.watch(viewers, publisher)
    assert scene.psnr_db(await watcher.frame(), 4) > 38
    assert publisher.stats.frames_encoded == 0  # nobody watched when it was pushed
    await watcher.close()


async def test_lost_packets_are_sent_again(scene, publisher, viewers, source, monkeypatch) -> None:
    """Each seventh packet is lost at first; a receiver without them would show nothing more."""
    send, count = BatchSocket.send, itertools.count(1)
    lost, sent_again = 0, 0

    def lossy(self: BatchSocket, packets: list[bytes], address: tuple[str, int]) -> None:
        nonlocal lost, sent_again
        if packets[0][1] & 0x7F == rtx_type:
            sent_again += len(packets)
            send(self, packets, address)
            return
        kept = [packet for packet in packets if next(count) % 7]
        lost += len(packets) - len(kept)
        send(self, kept, address)

    watcher = Watcher()
    _, answer = await viewers.answer(await watcher.offer(), publisher)
    rtx_type = int(re.findall(r"a=rtpmap:(\d+) rtx", answer)[0])
    monkeypatch.setattr(BatchSocket, "send", lossy)
    await watcher.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    frames = [await watcher.frame() for _ in range(25)]
    assert lost >= 3
    assert sent_again >= 2  # the last may be on its way
    pushed = publisher.stats.frames_pushed
    matches = [scene.best_match_db(frame, pushed) for frame in frames]
    assert min(db for db, _ in matches) > 38
    numbers = [k for _, k in matches]
    assert set(range(numbers[0], numbers[-1])) <= set(numbers)  # no picture is missing
    await watcher.close()


async def test_loss_report_makes_an_idr(scene, publisher, viewers) -> None:
    watcher = Watcher()
    publisher.push(scene.picture(0), 0)
    _, answer = await viewers.answer(await watcher.offer(), publisher)
    await watcher.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    await watcher.frame()
    idrs = publisher.stats.idrs
    ssrc = int(re.findall(r"a=ssrc:(\d+) cname", answer)[0])
    for _ in range(5):
        await watcher.connection.getReceivers()[0]._send_rtcp_pli(ssrc)
    await until(lambda: publisher.stats.idrs > idrs)
    assert publisher.stats.idrs == idrs + 1  # five reports, one IDR
    await watcher.close()


async def test_answer_is_what_a_browser_needs(publisher, viewers) -> None:
    watcher = Watcher()
    _, answer = await viewers.answer(await watcher.offer(), publisher)
    assert "a=sendonly" in answer
    assert "a=end-of-candidates" in answer and "typ host" in answer  # no trickle
    assert set(re.findall(r"a=rtpmap:\d+ (\S+)", answer)) == {"H264/90000", "rtx/90000"}
    first_type = re.findall(r"m=video \d+ \S+ (\d+)", answer)[0]
    assert re.search(f"a=fmtp:{first_type} .*profile-level-id=42e01f", answer)
    assert re.search(f"a=fmtp:{first_type} .*packetization-mode=1", answer)
    assert "goog-remb" not in answer
    await watcher.close()


async def test_viewer_whose_candidates_lead_nowhere_connects_all_the_same(
    scene, publisher, viewers
) -> None:
    publisher.push(scene.picture(0), 0)
    watcher = Watcher()
    offer = re.sub(r"a=candidate.*\r\n", "", await watcher.offer())
    assert "a=end-of-candidates" in offer
    _, answer = await viewers.answer(offer, publisher)
    await asyncio.sleep(0.3)  # the answer travels; without patience ICE has failed by now
    await watcher.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    assert scene.psnr_db(await watcher.frame(), 0) > 38
    await watcher.close()


async def test_mdns_candidates_do_not_hold_up_the_answer(scene, publisher, viewers) -> None:
    publisher.push(scene.picture(0), 0)
    watcher = Watcher()
    hidden = "a=candidate:1 1 udp 2113937151 ff84136a-d98f-47c2-94ab-7e47303e48bc.local 9 typ host"
    offer = re.sub(r"a=candidate.*", hidden, await watcher.offer())
    assert hidden in offer
    _, answer = await viewers.answer(offer, publisher)
    await watcher.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    assert scene.psnr_db(await watcher.frame(), 0) > 38  # connected by way of our addresses
    await watcher.close()


async def test_leaving_viewer_leaves_nothing_behind(scene, publisher, viewers) -> None:
    async def visit() -> None:
        watcher = Watcher()
        viewer_id = await watcher.watch(viewers, publisher)
        publisher.push(scene.picture(0), 0)
        await watcher.frame()
        await viewers.close(viewer_id)
        await watcher.close()

    await visit()  # whatever is made once (threads of the executor) is made now
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
    assert (len(viewers), publisher.stats.viewers) == (0, 0)
    assert not [o for o in gc.get_objects() if isinstance(o, RTCPeerConnection)]


async def test_viewer_that_hangs_up_is_forgotten(publisher, viewers, source) -> None:
    watcher = Watcher()
    await watcher.watch(viewers, publisher)
    await watcher.frame()
    assert (len(viewers), publisher.stats.viewers) == (1, 1)
    await watcher.close()
    await until(lambda: len(viewers) == 0 and publisher.stats.viewers == 0)


async def test_viewer_that_never_connects_is_forgotten(publisher, viewers, monkeypatch) -> None:
    monkeypatch.setattr("semcast.media.peer.CONNECT_TIMEOUT_S", 0.1)
    watcher = Watcher()
    await viewers.answer(await watcher.offer(), publisher)
    assert len(viewers) == 1
    await until(lambda: len(viewers) == 0)
    await watcher.close()


async def test_closing_the_publisher_disconnects_its_viewers(publisher, viewers, source) -> None:
    watcher = Watcher()
    await watcher.watch(viewers, publisher)
    await watcher.frame()
    await publisher.close()
    await until(lambda: len(viewers) == 0)
    await watcher.close()


async def test_viewer_of_a_closed_publisher_is_disconnected(publisher, viewers) -> None:
    watcher = Watcher()
    await publisher.close()
    await watcher.watch(viewers, publisher)
    await until(lambda: len(viewers) == 0)
    await watcher.close()


async def test_viewer_beyond_the_limit_is_turned_away(publisher) -> None:
    viewers = ViewerPeers(max_viewers=1)
    first, second = Watcher(), Watcher()
    await first.watch(viewers, publisher)
    with pytest.raises(CapacityError, match="1 viewers are watching"):
        await viewers.answer(await second.offer(), publisher)
    await asyncio.gather(first.close(), second.close(), viewers.close_all())
