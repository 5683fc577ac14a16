"""Extractors in step with frames: all at once for `send`, never waited for when live."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from semcast.errors import NotFoundError
from semcast.schemes import find_scheme
from semcast.session import SessionSetup
from transmitter.extraction import Extraction, ExtractorNames, LiveExtraction
from transmitter.extractors import segmenter as segmenters

SIDE = 32


class NumberingSegmenter:
    """Labels the whole frame with its red level; waits for a gate where there is one."""

    gate: threading.Event | None = None
    seen: list[int]
    resets = 0

    def __init__(self) -> None:
        type(self).seen = []
        type(self).resets = 0

    def reset(self) -> None:
        type(self).resets += 1

    def segment(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self.gate:
            assert self.gate.wait(20)
        self.seen.append(int(rgb[0, 0, 0]))
        return np.full(rgb.shape[:2], rgb[0, 0, 0], np.uint8)


@pytest.fixture(autouse=True)
def _fake_segmenter(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(segmenters.SEGMENTERS, "numbering", NumberingSegmenter)
    NumberingSegmenter.gate = None
    yield
    if NumberingSegmenter.gate:
        NumberingSegmenter.gate.set()


def frame(level: int) -> NDArray[np.uint8]:
    return np.full((SIDE, SIDE, 3), level, np.uint8)


def extraction(scheme: str, caption: str = "", segment_frames: int = 4) -> Extraction:
    setup = SessionSetup(
        session_id="test",
        scheme=scheme,
        width=SIDE,
        height=SIDE,
        fps=8.0,
        symbols_per_frame=400,
        segment_frames=segment_frames,
    )
    names = ExtractorNames(segmenter="numbering")
    return Extraction(find_scheme(scheme), setup, caption, names)


def test_only_what_the_scheme_sends_is_looked_for() -> None:
    assert extraction("lowres").immediate
    assert extraction("desc", caption="A dog.").immediate
    assert not extraction("contours-lowres").immediate
    found = extraction("lowres", caption="A dog.").extract(frame(3))
    assert found.labels is None and found.sketch is None and found.motion is None
    assert found.caption == "A dog."


def test_every_frame_gets_its_own_labels() -> None:
    eyes = extraction("contours-lowres")
    for level in (1, 2, 3):
        found = eyes.extract(frame(level))
        assert found.labels is not None
        assert np.all(found.labels == level)
        assert np.array_equal(found.rgb, frame(level))


def test_motion_is_that_of_the_segment_before_and_held_over_the_next() -> None:
    rng = np.random.default_rng(0)
    texture = np.repeat(rng.integers(0, 256, (SIDE, 4 * SIDE, 1), np.uint8), 3, axis=2)

    def moving(index: int) -> NDArray[np.uint8]:
        return np.ascontiguousarray(texture[:, index : index + SIDE])

    eyes = extraction("motion,lowres")
    motions = [eyes.extract(moving(k)).motion for k in range(12)]
    assert motions[:4] == [None] * 4
    assert len(set(motions[4:8])) == 1 and len(set(motions[8:])) == 1
    assert motions[4] is not None and motions[4] > 0.005


def test_reset_begins_anew() -> None:
    eyes = extraction("contours,motion,lowres")
    for level in range(6):
        eyes.extract(frame(level))
    eyes.reset()
    assert NumberingSegmenter.resets == 1
    assert eyes.extract(frame(0)).motion is None


def test_an_unknown_extractor_is_named_with_those_there_are() -> None:
    setup = SessionSetup(
        session_id="t", scheme="contours", width=32, height=32, fps=8.0, symbols_per_frame=400
    )
    with pytest.raises(NotFoundError, match="bundled"):
        Extraction(find_scheme("contours"), setup, "", ExtractorNames(segmenter="oracle"))


def test_a_live_frame_never_waits_for_a_slow_extractor() -> None:
    NumberingSegmenter.gate = threading.Event()

    async def play() -> None:
        with ThreadPoolExecutor(1) as thread:
            live = LiveExtraction(extraction("contours-lowres"), thread)
            for level in (1, 2, 3):
                # The extractor hangs, and these come back all the same.
                found = await live.extract(frame(level), period_frames=1, patience_s=0.0)
                assert found.labels is None
                assert np.array_equal(found.rgb, frame(level))
            assert live.behind
            NumberingSegmenter.gate.set()
            while True:
                await asyncio.sleep(0.001)
                found = await live.extract(frame(9), period_frames=1, patience_s=0.0)
                if found.labels is not None:
                    break
            # What was found of an earlier frame, with the picture of this one.
            assert np.all(found.labels == 1)
            assert np.array_equal(found.rgb, frame(9))

    asyncio.run(play())


def test_a_live_frame_gets_its_own_labels_where_they_come_in_time() -> None:
    async def play() -> None:
        with ThreadPoolExecutor(1) as thread:
            live = LiveExtraction(extraction("contours-lowres"), thread)
            for level in (4, 5, 6):
                found = await live.extract(frame(level), period_frames=1, patience_s=20.0)
                assert found.labels is not None and np.all(found.labels == level)
                assert not live.behind
            assert live.extract_ms > 0

    asyncio.run(play())


def test_coarser_means_fewer_frames_looked_at_and_labels_kept() -> None:
    async def play() -> list[int]:
        kept = []
        with ThreadPoolExecutor(1) as thread:
            live = LiveExtraction(extraction("contours-lowres"), thread)
            for level in range(1, 10):
                found = await live.extract(frame(level), period_frames=4, patience_s=20.0)
                assert found.labels is not None
                kept.append(int(found.labels[0, 0]))
        return kept

    assert asyncio.run(play()) == [1, 1, 1, 1, 5, 5, 5, 5, 9]
    assert NumberingSegmenter.seen == [1, 5, 9]


def test_the_caption_of_the_clip_needs_no_waiting_even_before_the_first_labels() -> None:
    NumberingSegmenter.gate = threading.Event()

    async def play() -> str:
        with ThreadPoolExecutor(1) as thread:
            live = LiveExtraction(extraction("desc,contours", caption="A goat."), thread)
            found = await live.extract(frame(1), period_frames=1, patience_s=0.0)
            NumberingSegmenter.gate.set()
            return found.caption

    assert asyncio.run(play()) == "A goat."


def test_a_failing_extractor_is_heard_of() -> None:
    class Broken(NumberingSegmenter):
        def segment(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
            raise RuntimeError("lens cap on")

    segmenters.SEGMENTERS["numbering"] = Broken

    async def play() -> None:
        with ThreadPoolExecutor(1) as thread:
            live = LiveExtraction(extraction("contours-lowres"), thread)
            await live.extract(frame(1), period_frames=1, patience_s=20.0)

    with pytest.raises(RuntimeError, match="lens cap on"):
        asyncio.run(play())
