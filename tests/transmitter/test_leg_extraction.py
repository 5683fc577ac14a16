"""A leg and its extractors: what live sessions give up first, and what `send` never gives up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from fake_relay import (
    PATIENCE_S,
    SIDE,
    FakeCall,
    FakeRelay,
    InlineExecutor,
    captured,
    feedback,
    passed_on,
    shown,
    spec,
    until,
)
from numpy.typing import NDArray

from semcast.session import Modality
from transmitter.extractors import segmenter as segmenters
from transmitter.ledger import FinishedFrame
from transmitter.leg import Leg
from transmitter.plan import plan_legs


class GatedSegmenter:
    """One object that grows by a pixel a frame; waits for a gate where there is one."""

    gate: threading.Event | None = None
    frames = 0

    def reset(self) -> None:
        """Has no state of its own."""

    def segment(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self.gate:
            assert self.gate.wait(PATIENCE_S)
        type(self).frames += 1
        labels = np.zeros(rgb.shape[:2], np.uint8)
        labels[8 : 24 + self.frames, 8:40] = 1
        return labels


@pytest.fixture(autouse=True)
def _gated(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(segmenters.SEGMENTERS, "bundled", GatedSegmenter)
    GatedSegmenter.gate = None
    GatedSegmenter.frames = 0
    yield
    if GatedSegmenter.gate:
        GatedSegmenter.gate.set()


class Bench:
    """A leg of `contours-lowres` whose emulator answers every frame at once."""

    def __init__(self, eyes: Executor, *, paced: bool) -> None:
        self.relay = FakeRelay()
        self.finished: list[FinishedFrame] = []
        wanted = spec(paced=paced, scheme="contours-lowres", cbr=0.05)
        self.leg = Leg(
            plan_legs(wanted)[0],
            wanted.channel,
            self.relay,  # type: ignore[arg-type]
            InlineExecutor(),
            eyes,
            self._on_finished,
            self._on_state,
            lambda: False,
            paced=paced,
        )
        self.running = asyncio.create_task(self.leg.run())

    async def _on_finished(self, name: str, frame: FinishedFrame) -> None:
        self.finished.append(frame)

    async def _on_state(self, name: str, trouble: str) -> None:
        """Not of interest here."""

    async def opened(self) -> FakeCall:
        call = await self.relay.call(0)
        await call.next()
        return call

    async def pass_frame(self, call: FakeCall, index: int) -> Any:
        """Offers a frame and sees it through; returns the radio frame."""
        await self.leg.offer(captured(index))
        frame = await call.next_frame()
        call.answer(passed_on(index), feedback(index, received=(Modality.LOWRES,)), shown(index))
        return frame

    async def close(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        await self.relay.stop()


async def test_frames_go_out_while_the_segmenter_hangs_and_it_is_asked_less_often() -> None:
    GatedSegmenter.gate = threading.Event()
    with ThreadPoolExecutor(1) as eyes:
        bench = Bench(eyes, paced=True)
        try:
            call = await bench.opened()
            for index in range(12):
                await asyncio.wait_for(bench.pass_frame(call, index), PATIENCE_S)
            assert GatedSegmenter.frames == 0
            assert bench.leg.frames_dropped == 0
            await until(lambda: len(bench.finished) == 12)
            levels = [frame.report.coarseness for frame in bench.finished]
            assert levels[0] == 0
            assert levels == sorted(levels)
            assert levels[-1] >= 1
            told = bench.finished[-1].report.coarseness_detail
            assert "short of time" in told
        finally:
            GatedSegmenter.gate.set()
            await bench.close()


async def test_send_looks_at_every_frame_however_long_it_takes() -> None:
    with ThreadPoolExecutor(1) as eyes:
        bench = Bench(eyes, paced=False)
        try:
            call = await bench.opened()
            for index in range(6):
                await asyncio.wait_for(bench.pass_frame(call, index), PATIENCE_S)
                assert GatedSegmenter.frames == index + 1
            await until(lambda: len(bench.finished) == 6)
            assert {frame.report.coarseness for frame in bench.finished} == {0}
            stages = [s.stage for s in bench.finished[-1].report.stages]
            assert stages == ["source", "extract", "encode"]
        finally:
            await bench.close()


def test_the_fixture_stands_for_the_bundled_segmenter() -> None:
    labels = segmenters.open_segmenter("bundled").segment(np.zeros((SIDE, SIDE, 3), np.uint8))
    assert labels.shape == (SIDE, SIDE)
    assert set(np.unique(labels)) == {0, 1}
