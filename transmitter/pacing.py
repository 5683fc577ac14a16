"""When is the next frame due?

Decisions only: the caller reads the clock and sleeps.
"""

from __future__ import annotations


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
