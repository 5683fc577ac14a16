"""What a frame means: the extractors that a scheme calls for, in step with the frames of one leg.

`Extraction` does all of it at once, for `send`, which never drops and must give equal results on
any machine. `LiveExtraction` has a thread for it and gives what is ready: no frame waits for an
extractor.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from semcast.errors import UnavailableError
from semcast.schemes import Scheme
from semcast.semantics import Semantics
from semcast.session import Modality, SessionSetup
from semcast.timing import timed
from transmitter.extractors.captioner import CaptionWorker
from transmitter.extractors.motion import MotionMeter

if TYPE_CHECKING:
    from transmitter.extractors.segmenter import Segmenter
    from transmitter.extractors.sketcher import SketchExtractor

_CAPTION_FRAMES = 16
"""Of the newest frames, which a captioner is shown."""


NO_CAPTIONER = "none"


@dataclass(frozen=True, slots=True)
class ExtractorNames:
    """Which extractors a session uses."""

    segmenter: str = "bundled"
    sketcher: str = "bundled"
    captioner: str = NO_CAPTIONER


class Extraction:
    """Looks at every frame, in order. Holds state: one for each leg."""

    def __init__(self, scheme: Scheme, setup: SessionSetup, caption: str, names: ExtractorNames):
        """Loads what the scheme needs. caption: used where it says anything.

        Raises NotFoundError for an unknown extractor, UnavailableError where this machine lacks
        what it runs on.
        """
        self._caption = caption
        self._segment_frames = setup.segment_frames
        self._segmenter: Segmenter | None = None
        self._sketcher: SketchExtractor | None = None
        self._motion: MotionMeter | None = None
        self._captions: CaptionWorker | None = None
        if Modality.CONTOURS in scheme.modalities:
            self._segmenter = _make_segmenter(names.segmenter)
        if Modality.SKETCH in scheme.modalities:
            self._sketcher = _make_sketcher(names.sketcher)
        if Modality.MOTION in scheme.modalities:
            self._motion = MotionMeter()
        if names.captioner != NO_CAPTIONER and not caption:
            self._captions = _make_captions(names.captioner)
        self._recent: deque[NDArray[np.uint8]] = deque(maxlen=_CAPTION_FRAMES)
        self._motion_of_segment: float | None = None
        self._count = 0

    @property
    def immediate(self) -> bool:
        """Whether there is nothing to find: what is said of a frame is known at once."""
        return not any((self._segmenter, self._sketcher, self._motion, self._captions))

    @property
    def caption(self) -> str:
        """The caption of the clip; empty where there is none, or a captioner finds them."""
        return self._caption

    def reset(self) -> None:
        """The next frame is the first of a stream."""
        for extractor in (self._segmenter, self._sketcher, self._motion, self._captions):
            if extractor is not None:
                extractor.reset()
        self._recent.clear()
        self._motion_of_segment = None
        self._count = 0

    def close(self) -> None:
        """Ends the captioner's thread."""
        if self._captions:
            self._captions.close()

    def extract(self, rgb: NDArray[np.uint8], *, wait: bool = True) -> Semantics:
        """All there is to say of the next frame. rgb: [H, W, 3], uint8.

        wait: for a caption that is asked for, so that the result depends on no clock.
        """
        begins = self._count % self._segment_frames == 0
        self._count += 1
        if self._motion:
            if begins:
                self._motion_of_segment = self._motion.end_segment()
            self._motion.add(rgb)
        return Semantics(
            rgb=rgb,
            labels=self._segmenter.segment(rgb) if self._segmenter else None,
            sketch=self._sketcher.sketch(rgb) if self._sketcher else None,
            motion=self._motion_of_segment,
            caption=self._caption_for(rgb, begins, wait),
        )

    def _caption_for(self, rgb: NDArray[np.uint8], begins: bool, wait: bool) -> str:
        if not self._captions:
            return self._caption
        self._recent.append(rgb)
        if begins:
            self._captions.submit(list(self._recent), pts_us=self._count)
            if wait:
                self._captions.drain()
                if failure := self._captions.failure:
                    raise UnavailableError(f"The captioner failed: {failure}")
        return self._captions.newest() or ""


class LiveExtraction:
    """Extraction on a thread of its own. A frame takes the newest there is, and waits for nothing.

    So labels may be of a frame or two before. Used from one event loop.

    extract_ms: service time of the newest that is ready. behind: the extractors were not done with
    an earlier frame when the last one came.
    """

    def __init__(self, extraction: Extraction, thread: Executor) -> None:
        self._extraction = extraction
        self._thread = thread
        self._running: asyncio.Future[tuple[Semantics, float]] | None = None
        self._newest: Semantics | None = None
        self._since = 0
        self.extract_ms = 0.0
        self.behind = False

    async def extract(
        self, rgb: NDArray[np.uint8], *, period_frames: int, patience_s: float
    ) -> Semantics:
        """Semantics of a frame as far as they are ready.

        period_frames: frames of which one is looked at. patience_s: how long this frame may wait
        for its own; well under a frame interval, 0 for not at all.
        """
        self._take()
        due = self._since % period_frames == 0
        self.behind = due and self._running is not None
        if due and self._running is None:
            loop = asyncio.get_running_loop()
            self._running = loop.run_in_executor(self._thread, self._work, rgb)
        if not self.behind:
            self._since += 1
        if self._running is not None and patience_s > 0:
            await asyncio.wait({self._running}, timeout=patience_s)
            self._take()
        if self._newest is None:
            return Semantics(rgb, caption=self._extraction.caption)
        return replace(self._newest, rgb=rgb)

    def _work(self, rgb: NDArray[np.uint8]) -> tuple[Semantics, float]:
        return timed(partial(self._extraction.extract, rgb, wait=False))

    def _take(self) -> None:
        if self._running is not None and self._running.done():
            self._newest, self.extract_ms = self._running.result()
            self._running = None


def _make_segmenter(name: str) -> Segmenter:
    from transmitter.extractors.segmenter import open_segmenter

    return open_segmenter(name)


def _make_sketcher(name: str) -> SketchExtractor:
    from transmitter.extractors.sketcher import open_sketcher

    return open_sketcher(name)


def _make_captions(name: str) -> CaptionWorker:
    from transmitter.extractors.hub_captioners import load_captioner

    return CaptionWorker(lambda: load_captioner(name))
