"""How coarse extraction must be for a live session to keep up. Pure decisions, no clock.

When the processor is short, objects and strokes are looked for in every second, fourth or eighth
frame, so that the frames themselves still go out in time.
"""

from __future__ import annotations

from dataclasses import dataclass

MOST_COARSE = 3

_LATE = 0.8
"""A frame that leaves later than this part of a frame interval after its capture is late."""

_CALM = 0.5
_LATE_FRAMES_TO_RISE = 3
_CALM_S_TO_FALL = 4.0


@dataclass(frozen=True, slots=True)
class Coarseness:
    """level: 0 (every frame) to 3 (every eighth). The rest is what the next decision needs."""

    level: int = 0
    late_frames: int = 0
    calm_frames: int = 0

    @property
    def period_frames(self) -> int:
        """Extractors look at one frame of so many."""
        return 1 << self.level

    @property
    def detail(self) -> str:
        """What it means, for the person watching; empty at level 0."""
        if not self.level:
            return ""
        ordinal = {2: "2nd", 4: "4th", 8: "8th"}[self.period_frames]
        return (
            "This computer is short of time: objects and strokes are looked for in every "
            f"{ordinal} frame only."
        )


def adapt(
    current: Coarseness, *, age: float, extractor_behind: bool, dropped: bool, fps: float
) -> Coarseness:
    """The coarseness after one more frame.

    age: from the capture of the frame to when it was put on the air, in frame intervals.
    extractor_behind: the extractors had not finished with an earlier frame when theirs came.
    dropped: a frame was dropped since the last decision.

    Rises by one level after three late frames in a row, or at once after a drop; falls by one level
    after four seconds without trouble.
    """
    if dropped or age > _LATE or extractor_behind:
        late = current.late_frames + 1
        if current.level < MOST_COARSE and (dropped or late >= _LATE_FRAMES_TO_RISE):
            return Coarseness(current.level + 1)
        return Coarseness(current.level, late_frames=late)
    if age > _CALM:
        return Coarseness(current.level)
    calm = current.calm_frames + 1
    if current.level and calm >= _CALM_S_TO_FALL * fps:
        return Coarseness(current.level - 1)
    return Coarseness(current.level, calm_frames=calm)
