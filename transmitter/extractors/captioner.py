"""Which sentence goes with the picture, and how does a slow captioner get to say it in time?

First comes `--caption`, then the text beside the clip (`transmitter.sources.caption_beside`), then
a captioner where one is installed, then nothing: `choose_caption`. A captioner takes seconds on a
CPU, so it runs on a thread of its own (`CaptionWorker`): frames are handed over at the start of a
segment, and a later segment takes the newest sentence that is ready.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

_NICENESS = 10
"""The frame path comes first where the processor is short."""


class Captioner(Protocol):
    """Says in one sentence what frames show. Slow; called from one thread."""

    def caption(self, frames: Sequence[NDArray[np.uint8]]) -> str:
        """frames: uint8 [H, W, 3] each, oldest first, at least one."""
        ...


class CaptionOrigin(StrEnum):
    """Where a caption comes from."""

    GIVEN = "given"
    BESIDE = "beside the clip"
    CAPTIONER = "captioner"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ChosenCaption:
    """text: on one line; empty where there is none."""

    text: str
    origin: CaptionOrigin


def choose_caption(given: str, beside: str | None, captioned: str | None) -> ChosenCaption:
    """The first that says anything, of these in this order.

    given: what the user gave, empty where nothing. beside: the text beside the clip.
    captioned: the captioner's newest, None where there is no captioner or nothing yet.
    """
    for text, origin in (
        (given, CaptionOrigin.GIVEN),
        (beside, CaptionOrigin.BESIDE),
        (captioned, CaptionOrigin.CAPTIONER),
    ):
        if line := " ".join((text or "").split()):
            return ChosenCaption(line, origin)
    return ChosenCaption("", CaptionOrigin.NONE)


def wants_captioner(given: str, beside: str | None) -> bool:
    """Whether a captioner would be listened to."""
    return choose_caption(given, beside, None).origin is CaptionOrigin.NONE


class CaptionWorker:
    """Runs one captioner on a thread it owns. At most one request waits; a later one replaces it.

    Nothing here blocks but `drain` and `close`. What goes wrong on the thread ends the captions,
    is logged once and stays readable in `failure`.
    """

    def __init__(self, load: Callable[[], Captioner]) -> None:
        """load: called once, on the thread, at once (reading the weights takes seconds)."""
        self._load = load
        self._changed = threading.Condition()
        self._waiting: tuple[list[NDArray[np.uint8]], int] | None = None
        self._busy = True
        self._closed = False
        self._generation = 0
        self._newest: tuple[str, int] | None = None
        self._failure: str | None = None
        self._thread = threading.Thread(target=self._run, name="captioner", daemon=True)
        self._thread.start()

    def submit(self, frames: Sequence[NDArray[np.uint8]], pts_us: int) -> None:
        """Ask for a caption of these frames (uint8 [H, W, 3], not to be written to from now on).

        pts_us: time of the newest of them. Frames still waiting from before are dropped.
        """
        if not frames:
            raise ValueError("no frames to caption: give at least one")
        with self._changed:
            if not self._closed and self._failure is None:
                self._waiting = (list(frames), pts_us)
                self._changed.notify_all()

    def newest(self) -> str | None:
        """The newest caption that is ready; None while there is none."""
        with self._changed:
            return self._newest[0] if self._newest else None

    @property
    def newest_pts_us(self) -> int | None:
        """The pts that the newest caption's frames were submitted with."""
        with self._changed:
            return self._newest[1] if self._newest else None

    @property
    def failure(self) -> str | None:
        """Why there will be no more captions; None while all is well."""
        with self._changed:
            return self._failure

    def reset(self) -> None:
        """Forget what was captioned and what waits: the scene is another one."""
        with self._changed:
            self._generation += 1
            self._waiting = None
            self._newest = None

    def drain(self, timeout_s: float | None = None) -> bool:
        """Wait until everything submitted is captioned (or failed); False where time ran out.

        For runs that must not depend on the machine's speed: `send` waits, a live session does not.
        """
        with self._changed:
            return self._changed.wait_for(self._is_idle, timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """End the thread. A caption under way is waited for this long, then left to end alone."""
        with self._changed:
            self._closed = True
            self._waiting = None
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def _is_idle(self) -> bool:
        return self._waiting is None and not self._busy

    def _run(self) -> None:
        _step_back()
        try:
            captioner = self._load()
            while (request := self._next_request()) is not None:
                frames, pts_us, generation = request
                text = " ".join(captioner.caption(frames).split())
                with self._changed:
                    if text and generation == self._generation:
                        self._newest = (text, pts_us)
        except Exception as error:  # any: it must reach the report, not die with the thread
            logger.exception("the captioner failed; there will be no more captions")
            with self._changed:
                self._failure = str(error) or type(error).__name__
        finally:
            with self._changed:
                self._waiting = None
                self._busy = False
                self._changed.notify_all()

    def _next_request(self) -> tuple[list[NDArray[np.uint8]], int, int] | None:
        """Waits for frames; None once closed."""
        with self._changed:
            self._busy = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._waiting is not None or self._closed)
            if self._waiting is None:
                return None
            (frames, pts_us), self._waiting = self._waiting, None
            self._busy = True
            return frames, pts_us, self._generation


def _step_back() -> None:
    """Lower this thread's priority, and that of the threads it starts (Linux knows this)."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
