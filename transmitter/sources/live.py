"""A camera's frames on the session's grid: whatever came last is shown at each tick."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from transmitter.sources.frames import SourceFrame, check_fps, frame_pts_us
from transmitter.sources.size import check_size, fit_to_size


class LiveGrid:
    """Resamples a live source: `push` from the camera's thread, `tick` from the sender's.

    Holds one picture. Scaling happens at the tick, so pictures that are never shown cost nothing.
    """

    def __init__(self, *, fps: float, width: int, height: int) -> None:
        """fps: of the session. width, height: of the session, pixels."""
        self.fps = check_fps(fps)
        self.width, self.height = check_size(width, height)
        self._lock = threading.Lock()
        self._newest: NDArray[np.uint8] | None = None
        self._newest_us: int | None = None
        self._newest_shown = False
        self._fitted: NDArray[np.uint8] | None = None
        self._next_index = 0
        self.num_dropped = 0
        self.num_repeated = 0

    def push(self, rgb: NDArray[np.uint8], t_us: int) -> None:
        """Take a picture of any size; it replaces the one before, shown or not.

        rgb: [h, w, 3] uint8; kept, so the caller must not write to it afterwards.
        t_us: when it was taken, microseconds on any clock; one older than the newest is dropped.
        """
        with self._lock:
            if self._newest_us is not None and t_us < self._newest_us:
                self.num_dropped += 1
                return
            if self._newest is not None and not self._newest_shown:
                self.num_dropped += 1
            self._newest, self._newest_us = rgb, t_us
            self._newest_shown = False

    def tick(self) -> SourceFrame | None:
        """The next frame of the session; None, and no index used, before the first picture."""
        with self._lock:
            picture, repeated = self._newest, self._newest_shown
            self._newest_shown = picture is not None
        if picture is None:
            return None
        if repeated and self._fitted is not None:
            self.num_repeated += 1
        else:
            self._fitted = fit_to_size(picture, self.width, self.height)
        index = self._next_index
        self._next_index += 1
        return SourceFrame(index, frame_pts_us(index, self.fps), self._fitted.copy())

    def age_us(self, now_us: int) -> int | None:
        """How old the newest picture is on the camera's clock; None before the first."""
        with self._lock:
            return None if self._newest_us is None else now_us - self._newest_us
