"""The publisher by itself: no sockets, tracks are read directly."""

import asyncio
import threading

import av
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError

from semcast.errors import InputError
from semcast.media.publisher import FRAME_QUEUE, VIEWER_QUEUE, VideoPublisher


async def next_packet(track):
    return await asyncio.wait_for(track.recv(), 10)


async def joined(publisher, count: int) -> None:
    """Returns when `count` tracks are being read."""
    async with asyncio.timeout(10):
        while publisher.stats.viewers < count:  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_one_encode_for_all_viewers(scene, publisher) -> None:
    tracks = [publisher.track() for _ in range(5)]
    readers = [asyncio.ensure_future(next_packet(track)) for track in tracks]
    await joined(publisher, 5)
    for k in range(12):
        publisher.push(scene.picture(k), k * 50_000)
        packets = await asyncio.gather(*readers)
        assert len({id(packet) for packet in packets}) == 1
        assert packets[0].is_keyframe == (k == 0)
        readers = [asyncio.ensure_future(next_packet(track)) for track in tracks]
    stats = publisher.stats
    assert (stats.viewers, stats.frames_pushed, stats.frames_encoded) == (5, 12, 12)
    assert stats.frames_dropped == 0
    await publisher.close()
    outcomes = await asyncio.gather(*readers, return_exceptions=True)
    assert all(isinstance(outcome, MediaStreamError) for outcome in outcomes)


async def test_nothing_is_encoded_without_viewers(scene, publisher) -> None:
    for k in range(5):
        publisher.push(scene.picture(k), k * 50_000)
    track = publisher.track()  # made but not read: not yet a viewer
    await asyncio.sleep(0.1)
    stats = publisher.stats
    assert (stats.viewers, stats.frames_pushed) == (0, 5)
    assert (stats.frames_encoded, stats.repeats_encoded) == (0, 0)
    track.stop()


async def test_new_viewer_starts_at_an_idr_made_for_it(scene, publisher) -> None:
    first = publisher.track()
    publisher.push(scene.picture(0), 0)
    await next_packet(first)
    second = publisher.track()
    packet = await next_packet(second)  # nothing is pushed meanwhile
    assert packet.is_keyframe
    assert await next_packet(first) is packet
    assert publisher.stats.frames_encoded + publisher.stats.repeats_encoded == 2


async def test_timestamps_keep_the_spacing_and_only_go_forward(scene, publisher) -> None:
    track = publisher.track()
    pts_us = [0, 50_000, 100_000, 0, 50_000, 10**12]  # a restart, a jump
    ticks = []
    for k, time_us in enumerate(pts_us):
        reader = asyncio.ensure_future(next_packet(track))
        await joined(publisher, 1)
        publisher.push(scene.picture(k), time_us)
        ticks.append((await reader).pts)
    assert ticks == sorted(set(ticks))
    assert abs(ticks[1] - ticks[0] - 4500) <= 1
    assert ticks[-1] - ticks[0] < 90_000 * 30  # the jump of days is not followed


async def test_slow_viewer_holds_up_nobody(scene, publisher) -> None:
    quick, slow = publisher.track(), publisher.track()
    publisher.push(scene.picture(0), 0)
    await asyncio.gather(next_packet(quick), next_packet(slow))
    num_frames = 3 * VIEWER_QUEUE
    seen = 0
    for k in range(1, num_frames):
        publisher.push(scene.picture(k), k * 50_000)
        await next_packet(quick)
        seen += 1
    assert seen == num_frames - 1
    assert publisher.stats.viewer_overflows >= 1
    while not (await next_packet(quick)).is_keyframe:  # the overflow asks for one
        pass
    packet = await next_packet(slow)
    assert packet.is_keyframe  # goes on where it can decode, without what was lost


async def test_encoder_that_is_behind_drops_the_oldest(scene, publisher, monkeypatch) -> None:
    busy, go_on, encoded = threading.Event(), threading.Event(), []
    encode = publisher._encoder.encode

    def slow_encode(rgb, **how):
        busy.set()
        go_on.wait(10)
        encoded.append(rgb)
        return encode(rgb, **how)

    monkeypatch.setattr(publisher._encoder, "encode", slow_encode)
    track = publisher.track()
    reader = asyncio.ensure_future(next_packet(track))
    await joined(publisher, 1)
    publisher.push(scene.picture(0), 0)
    await asyncio.to_thread(busy.wait, 10)
    for k in range(1, FRAME_QUEUE + 3):  # returns at once though the encoder stands still
        publisher.push(scene.picture(k), k * 50_000)
    assert publisher.stats.frames_dropped == 2
    go_on.set()
    await reader
    for _ in range(FRAME_QUEUE):
        await next_packet(track)
    numbers = [scene.best_match_db(rgb, 10)[1] for rgb in encoded[: FRAME_QUEUE + 1]]
    assert numbers == [0, 3, 4, 5]


async def test_pushed_array_may_be_reused(scene, publisher) -> None:
    shared = scene.picture(0)
    publisher.push(shared, 0)
    shared[:] = 0
    assert np.array_equal(publisher._picture.rgb, scene.picture(0))


@pytest.mark.parametrize(
    "rgb", [np.zeros((8, 8, 3), np.uint8), np.zeros((128, 192, 3), np.float32)]
)
async def test_wrong_picture_is_an_input_error(publisher, rgb) -> None:
    with pytest.raises(InputError, match="must be uint8 of shape"):
        publisher.push(rgb, 0)


@pytest.mark.parametrize(
    "settings",
    [
        {"width": 0, "height": 64, "fps": 8},
        {"width": 64, "height": 9000, "fps": 8},
        {"width": 64, "height": 64, "fps": 0},
        {"width": 64, "height": 64, "fps": 8, "bitrate_bps": 10},
    ],
)
def test_impossible_stream_is_an_input_error(settings) -> None:
    with pytest.raises(InputError):
        VideoPublisher(**settings)


async def test_encoder_that_fails_disconnects_its_viewers(
    scene, publisher, monkeypatch, caplog
) -> None:
    def fail(rgb, **how):
        raise av.FFmpegError(22, "no encoder")

    monkeypatch.setattr(publisher._encoder, "encode", fail)
    reader = asyncio.ensure_future(next_packet(publisher.track()))
    publisher.push(scene.picture(0), 0)
    with pytest.raises(MediaStreamError):
        await reader
    assert "the H.264 encoder failed" in caplog.text


async def test_close_ends_the_thread_and_the_readers(publisher) -> None:
    reader = asyncio.ensure_future(publisher.track().recv())
    await joined(publisher, 1)
    await publisher.close()
    with pytest.raises(MediaStreamError):
        await reader
    assert not publisher._worker.is_alive()
    publisher.push(np.zeros((128, 192, 3), np.uint8), 0)  # a late push is harmless
