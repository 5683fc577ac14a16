"""Webcams as sources of sessions, over an ingest that needs no network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest
from fake_relay import picture
from numpy.typing import NDArray

import transmitter.webcams
from semcast.errors import CapacityError, NotFoundError
from transmitter.session import FrameSource
from transmitter.webcams import Webcams

OnFrame = Callable[[NDArray[np.uint8], int], None]


class FakeIngest:
    """WHIP without the network: the test plays the cameras."""

    def __init__(self, ice_servers: object = None) -> None:
        self.on_frame: dict[str, OnFrame] = {}
        self.on_closed: dict[str, Callable[[], None]] = {}
        self.refuse = False
        self.hangs_up_at_once = False

    async def answer(
        self, offer_sdp: str, on_frame: OnFrame, on_closed: Callable[[], None]
    ) -> tuple[str, str]:
        await asyncio.sleep(0)
        if self.refuse:
            raise CapacityError("4 webcams are connected already; disconnect one first.")
        webcam_id = f"cam{len(self.on_frame)}"
        self.on_frame[webcam_id] = on_frame
        self.on_closed[webcam_id] = on_closed
        if self.hangs_up_at_once:
            on_closed()
        return webcam_id, f"answer to {offer_sdp}"

    async def close(self, webcam_id: str) -> None:
        self.on_closed.pop(webcam_id)()

    async def close_all(self) -> None:
        for webcam_id in list(self.on_closed):
            await self.close(webcam_id)


@pytest.fixture
def webcams(monkeypatch: pytest.MonkeyPatch) -> Webcams:
    monkeypatch.setattr(transmitter.webcams, "WebcamIngest", FakeIngest)
    return Webcams([])


def ingest(webcams: Webcams) -> FakeIngest:
    made = webcams._ingest
    assert isinstance(made, FakeIngest)
    return made


def view(webcams: Webcams, webcam_id: str, *, side: int = 32, fps: float = 10.0) -> FrameSource:
    return webcams.source(f"webcam:{webcam_id}", fps=fps, width=side, height=side)


async def test_a_webcam_is_listed_with_the_size_of_its_newest_picture(webcams: Webcams) -> None:
    webcam_id, answer = await webcams.open("offer")
    assert answer == "answer to offer"
    (clip,) = webcams.clips()
    assert clip.id == f"webcam:{webcam_id}"
    assert clip.width_px == clip.height_px == 0
    for width in (64, 48):
        ingest(webcams).on_frame[webcam_id](np.zeros((32, width, 3), np.uint8), width)
        (clip,) = webcams.clips()
        assert (clip.width_px, clip.height_px) == (width, 32)


async def test_before_the_first_picture_there_is_none(webcams: Webcams) -> None:
    webcam_id, _ = await webcams.open("offer")
    frames = view(webcams, webcam_id).open()
    assert [next(frames) for _ in range(3)] == [None, None, None]
    ingest(webcams).on_frame[webcam_id](picture(90), 0)
    frame = next(frames)
    assert frame is not None
    assert (frame.index, frame.pts_us) == (0, 0)
    assert frame.rgb.shape == (32, 32, 3)
    assert np.all(frame.rgb == 90)


async def test_two_sessions_of_one_webcam_each_have_its_pictures(webcams: Webcams) -> None:
    webcam_id, _ = await webcams.open("offer")
    small, large = view(webcams, webcam_id, side=32), view(webcams, webcam_id, side=48, fps=20.0)
    assert small.live and large.live
    frames = {32: small.open(), 48: large.open()}
    for index, level in enumerate((50, 60, 70)):
        ingest(webcams).on_frame[webcam_id](picture(level), index * 100_000)
        for side, iterator in frames.items():
            frame = next(iterator)
            assert frame is not None
            assert frame.index == index
            assert frame.rgb.shape == (side, side, 3)
            assert np.all(frame.rgb == level)
    # One ends; the other goes on, and the first costs nothing more.
    small.close()
    ingest(webcams).on_frame[webcam_id](picture(80), 900_000)
    later = next(frames[48])
    stale = next(frames[32])
    assert later is not None and np.all(later.rgb == 80)
    assert stale is not None and np.all(stale.rgb == 70)


async def test_a_session_that_begins_later_begins_at_zero(webcams: Webcams) -> None:
    webcam_id, _ = await webcams.open("offer")
    first = view(webcams, webcam_id).open()
    ingest(webcams).on_frame[webcam_id](picture(50), 0)
    for _ in range(3):
        next(first)
    second = view(webcams, webcam_id).open()
    assert next(second) is None
    ingest(webcams).on_frame[webcam_id](picture(60), 500_000)
    frame = next(second)
    assert frame is not None and frame.index == 0


async def test_a_webcam_that_has_gone_ends_its_sources(webcams: Webcams) -> None:
    webcam_id, _ = await webcams.open("offer")
    sources = [view(webcams, webcam_id).open() for _ in range(2)]
    ingest(webcams).on_frame[webcam_id](picture(50), 0)
    for frames in sources:
        assert next(frames) is not None
    ingest(webcams).on_closed[webcam_id]()
    for frames in sources:
        assert list(frames) == []
    assert webcams.clips() == []
    with pytest.raises(NotFoundError, match="start it again"):
        view(webcams, webcam_id)


async def test_a_webcam_that_goes_leaves_the_others(webcams: Webcams) -> None:
    first, _ = await webcams.open("offer")
    second, _ = await webcams.open("offer")
    await webcams.close(first)
    assert [clip.id for clip in webcams.clips()] == [f"webcam:{second}"]
    ingest(webcams).on_frame[second](picture(50), 0)
    assert next(view(webcams, second).open()) is None
    with pytest.raises(NotFoundError):
        await webcams.close(first)


async def test_a_webcam_that_hangs_up_while_it_is_answered_is_not_listed(
    webcams: Webcams,
) -> None:
    ingest(webcams).hangs_up_at_once = True
    webcam_id, _ = await webcams.open("offer")
    assert webcams.clips() == []
    with pytest.raises(NotFoundError):
        view(webcams, webcam_id)


async def test_a_webcam_that_is_refused_is_not_listed(webcams: Webcams) -> None:
    ingest(webcams).refuse = True
    with pytest.raises(CapacityError):
        await webcams.open("offer")
    assert webcams.clips() == []


@pytest.mark.parametrize("clip_id", ["webcam:", "webcam:nobody", "webcam:../cam0", "nobody"])
async def test_an_unknown_webcam_is_not_found(webcams: Webcams, clip_id: str) -> None:
    await webcams.open("offer")
    with pytest.raises(NotFoundError):
        webcams.source(clip_id, fps=10.0, width=32, height=32)
    with pytest.raises(NotFoundError):
        await webcams.close(clip_id)


async def test_closing_all_ends_every_source(webcams: Webcams) -> None:
    sources = [view(webcams, (await webcams.open("offer"))[0]).open() for _ in range(3)]
    await webcams.close_all()
    assert [list(frames) for frames in sources] == [[], [], []]
    assert webcams.clips() == []
