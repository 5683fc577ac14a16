"""When is the next frame due, and what happens to frames that come too fast?

Decisions only: the caller reads the clock and sleeps.
"""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Pacer:
    """Spaces frames 1/fps apart on a monotonic clock.

    A frame that is a little late goes at once and the next ones keep to the old grid, so jitter
    does not add up. After a stall (more than `stall_periods` late) the grid starts anew at the late
    frame: what the stall held back is not sent in a burst.
    """

    def __init__(self, fps: float, *, stall_periods: float = 2.0) -> None:
        """fps: frames per second, above 0. stall_periods: lateness that counts as a stall."""
        self.fps = fps
        self._stall_s = stall_periods / fps
        self._anchor_s: float | None = None
        self._anchor_index = 0
        self.num_stalls = 0

    def due_s(self, index: int, now_s: float) -> float:
        """Clock time at which frame `index` is due, at most `stall_periods` in the past.

        The first call makes its frame due now.
        """
        if self._anchor_s is None:
            self._anchor(index, now_s)
        due_s = self._planned_s(index)
        if now_s - due_s > self._stall_s:
            self.num_stalls += 1
            self._anchor(index, now_s)
            return now_s
        return due_s

    def wait_s(self, index: int, now_s: float) -> float:
        """Seconds to wait at `now_s` before frame `index` goes out; 0 if it is due or late."""
        return max(0.0, self.due_s(index, now_s) - now_s)

    def restart(self) -> None:
        """Forget the grid; the next frame is due at once (pause and resume, a new generation)."""
        self._anchor_s = None

    def _anchor(self, index: int, now_s: float) -> None:
        self._anchor_s, self._anchor_index = now_s, index

    def _planned_s(self, index: int) -> float:
        if self._anchor_s is None:
            raise RuntimeError("the pacer has no anchor yet")
        return self._anchor_s + (index - self._anchor_index) / self.fps


class LatestFrame(Generic[Item]):
    """A mailbox of one slot between two threads: newer replaces older, and that is counted."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: Item | None = None
        self._closed = False
        self.num_dropped = 0

    def put(self, item: Item) -> None:
        """Leave an item; one that was not taken is dropped. Never blocks."""
        with self._condition:
            if self._closed:
                self.num_dropped += 1
                return
            if self._item is not None:
                self.num_dropped += 1
            self._item = item
            self._condition.notify()

    def take(self, timeout_s: float | None = None) -> Item | None:
        """Wait for an item and remove it; None after `timeout_s`, or if closed and empty."""
        with self._condition:
            self._condition.wait_for(lambda: self._item is not None or self._closed, timeout_s)
            item, self._item = self._item, None
            return item

    def close(self) -> None:
        """Wake whoever waits; later items are dropped."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
