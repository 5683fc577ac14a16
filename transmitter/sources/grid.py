"""Which decoded picture is on screen at each tick of the session's grid?

Causal: at time T the last picture with time <= T is shown, however far away the next one is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Picture = TypeVar("Picture")

LONGEST_GAP_S = 600.0
"""A longer jump between two pictures is a broken time stamp, not a still picture."""


@dataclass(frozen=True)
class Timed(Generic[Picture]):
    """A picture, when it appears after the clip's first one, and for how long; seconds."""

    time_s: float
    duration_s: float
    picture: Picture


def on_grid(
    pictures: Iterable[Timed[Picture]], *, fps: float, tolerance_s: float = 0.0
) -> Iterator[Picture]:
    """Yield the picture on screen at 0, 1/fps, 2/fps, ... until the last one's time is over.

    A clip with any picture at all gives at least one. Reads one picture beyond the tick it yields.

    pictures: in order of time, the first at 0.
    tolerance_s: a picture this much late for a tick still counts as in time; the time stamps of
        many containers are rounded (milliseconds), and a strict comparison would then drop one
        picture and show another twice.
    """
    tick = 0
    shown: Timed[Picture] | None = None
    for arriving in pictures:
        while shown is not None and tick / fps + tolerance_s < arriving.time_s:
            yield shown.picture
            tick += 1
        shown = arriving
    if shown is None:
        return
    end_s = shown.time_s + shown.duration_s - tolerance_s
    while tick == 0 or tick / fps < end_s:
        yield shown.picture
        tick += 1


class PresentationClock:
    """Turns a decoder's time stamps into seconds from the first picture, always forwards.

    Where a stamp is missing, runs backwards or jumps by more than `LONGEST_GAP_S`, the picture is
    taken to follow the one before it after that one's duration, and later stamps count from there.
    """

    def __init__(self, nominal_duration_s: float) -> None:
        self._nominal_duration_s = nominal_duration_s
        self._offset_s: float | None = None
        self._previous_s: float | None = None
        self._previous_duration_s = nominal_duration_s
        self.num_broken_stamps = 0

    def place(self, stamp_s: float | None, duration_s: float | None) -> tuple[float, float]:
        """Time and duration of the next picture, seconds; both may be unknown to the container."""
        duration_s = duration_s if duration_s else self._nominal_duration_s
        if self._previous_s is None:
            time_s = 0.0
            self._offset_s = stamp_s
        else:
            expected_s = self._previous_s + self._previous_duration_s
            time_s = expected_s
            if stamp_s is not None and self._offset_s is not None:
                time_s = stamp_s - self._offset_s
                if not self._previous_s <= time_s <= self._previous_s + LONGEST_GAP_S:
                    self.num_broken_stamps += 1
                    time_s = expected_s
                    self._offset_s = stamp_s - expected_s
            elif stamp_s is not None:
                self._offset_s = stamp_s - expected_s
        self._previous_s = time_s
        self._previous_duration_s = duration_s
        return time_s, duration_s
