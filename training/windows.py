"""Windows of clips: which frames of which shot, which square of them, and how they are sent.

A window names its source; the pixels stay in the clip. `training.received` sends windows and keeps
what came of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from semcast.errors import InputError
from semcast.schemes import SCHEMES
from training.data import Shot

SIZE = 256
MIN_FRAMES = 8
HELD_OUT_FRAMES = 24
MAX_LEVEL_CHANGE = 4
HELD_OUT_SNR_DB = 10.0


@dataclass(frozen=True)
class WindowSpec:
    """Which frames of which shot, which square of them, and how they were sent.

    first, step: frame indices first, first + step, ... of the shot (step may be negative).
    top, left, side: the square, in pixels of the shot, scaled to SIZE.
    levels: mean red, green and blue of the four quarters of the first frame's square: tells whether
        the shot is still the one the window was made from.
    """

    clip: str
    shot: int
    first: int
    step: int
    num_frames: int
    top: int
    left: int
    side: int
    scheme: str
    snr_db: float
    cbr: float
    seed: int
    levels: list[float]


def source_frame(shot: Shot, spec: WindowSpec, index: int) -> NDArray[np.uint8]:
    """Frame `index` of a window, uint8 [SIZE, SIZE, 3]."""
    frame = shot.frames[spec.first + index * spec.step]
    square = frame[spec.top : spec.top + spec.side, spec.left : spec.left + spec.side]
    kind = cv2.INTER_AREA if spec.side > SIZE else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (SIZE, SIZE), interpolation=kind), np.uint8)


def _levels(shot: Shot, spec: WindowSpec) -> list[float]:
    quarters = cv2.resize(source_frame(shot, spec, 0), (2, 2), interpolation=cv2.INTER_AREA)
    return [float(level) for level in quarters.ravel()]


def belongs(shot: Shot | None, spec: WindowSpec) -> bool:
    """Whether a window was made from this shot. A pack's clips are trimmed: then it is too long.

    Raises InputError where the shot is another one than it was.
    """
    if shot is None:
        return False
    last = max(spec.first, spec.first + spec.step * (spec.num_frames - 1))
    if last >= len(shot.frames):
        return False
    if np.abs(np.subtract(_levels(shot, spec), spec.levels)).max() > MAX_LEVEL_CHANGE:
        raise InputError(
            f"The received windows of {spec.clip} were made from other frames than these: make "
            "them anew with 'python -m training.received'."
        )
    return True


def number_shots(shots: Sequence[Shot]) -> dict[tuple[str, int], Shot]:
    """Shots by clip and by number within the clip."""
    numbered: dict[tuple[str, int], Shot] = {}
    counts: dict[str, int] = {}
    for shot in shots:
        number = counts.get(shot.clip, 0)
        counts[shot.clip] = number + 1
        numbered[shot.clip, number] = shot
    return numbered


def draw_spec(
    rng: np.random.Generator, key: tuple[str, int], shot: Shot, scheme: str, max_frames: int
) -> WindowSpec:
    """A random window of a shot with at least MIN_FRAMES frames.

    The SNR is uniform over -5..20 dB, the CBR log-uniform over 0.001..0.008.
    """
    length = len(shot.frames)
    num_frames = min(max_frames, length)
    backwards = rng.random() < 0.5
    first = int(rng.integers(length - num_frames + 1))
    height, width = shot.frames.shape[1:3]
    short = min(height, width)
    side = round(short * float(rng.uniform(0.75, 1.0)))
    spec = WindowSpec(
        clip=key[0],
        shot=key[1],
        first=first + num_frames - 1 if backwards else first,
        step=-1 if backwards else 1,
        num_frames=num_frames,
        top=int(rng.integers(height - side + 1)),
        left=int(rng.integers(width - side + 1)),
        side=side,
        scheme=scheme,
        snr_db=round(float(rng.uniform(-5, 20)), 2),
        cbr=round(math.exp(rng.uniform(math.log(0.001), math.log(0.008))), 5),
        seed=int(rng.integers(1 << 31)),
        levels=[],
    )
    return replace(spec, levels=_levels(shot, spec))


def held_out_spec(key: tuple[str, int], shot: Shot, scheme: str) -> WindowSpec:
    """The beginning of a shot as `semcast send --snr-db 10` shows it: the centre square."""
    height, width = shot.frames.shape[1:3]
    side = min(height, width)
    spec = WindowSpec(
        clip=key[0],
        shot=key[1],
        first=0,
        step=1,
        num_frames=min(HELD_OUT_FRAMES, len(shot.frames)),
        top=(height - side) // 2,
        left=(width - side) // 2,
        side=side,
        scheme=scheme,
        snr_db=HELD_OUT_SNR_DB,
        cbr=SCHEMES[scheme].default_cbr,
        seed=7777,
        levels=[],
    )
    return replace(spec, levels=_levels(shot, spec))
