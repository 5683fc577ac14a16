"""What to show when something is missing: hold the last good frame, and say so."""

from __future__ import annotations

from dataclasses import dataclass

OUTAGE_AFTER_S = 0.75
"""Ours: a picture held longer than this looks frozen, not merely jerky."""


@dataclass(frozen=True, slots=True)
class Concealment:
    """Decision for one frame.

    concealed: something that was sent is missing, and the last good frame stands in.
    outage: concealment has gone on so long that viewers should be told.
    held_frames: frames in a row that were concealed, this one included.
    """

    concealed: bool
    outage: bool
    held_frames: int


def conceal(previous_held_frames: int, *, complete: bool, fps: float) -> Concealment:
    """Decides from how long the picture has been held, and whether this frame is complete."""
    held = 0 if complete else previous_held_frames + 1
    return Concealment(
        concealed=not complete, outage=held >= OUTAGE_AFTER_S * fps, held_frames=held
    )
