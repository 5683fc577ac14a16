"""Shots to take windows of, and windows whose conditions are known without any link."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from receiver.generator import Conditions
from training.data import Shot
from training.received import ReceivedWindow
from training.windows import SIZE, WindowSpec, held_out_spec, source_frame

HEIGHT, WIDTH = 144, 192
Picture = NDArray[np.uint8]


def moving(num_frames: int, seed: int = 1, height: int = HEIGHT, width: int = WIDTH) -> Picture:
    """A bright blob that wanders over a background of its own, [F, H, W, 3]."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 200, (4, 5, 3)).astype(np.uint8)
    background = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(float)
    y, x = np.mgrid[0:height, 0:width]
    frames = []
    for k in range(num_frames):
        blob = 120 * np.exp(-((x - 20 - 5 * k) ** 2 + (y - 70) ** 2) / 300)
        frames.append(np.clip(background + blob[..., None], 0, 255).astype(np.uint8))
    return np.stack(frames)


def moving_shot(clip: str = "walk", num_frames: int = 12, seed: int = 1) -> Shot:
    return Shot(clip, moving(num_frames, seed), 8.0, caption="A ball of light drifts over a wall.")


def map_shot(clip: str = "map") -> Shot:
    """Each pixel says where it is: row, column, and frame number times 20."""
    rows, columns = np.indices((SIZE, SIZE))
    frames = [np.stack([rows, columns, np.full_like(rows, 20 * k)], -1) for k in range(8)]
    return Shot(clip, np.stack(frames).astype(np.uint8), 8.0)


def spec_of(source: Shot, **changes: object) -> WindowSpec:
    """A window in the middle of a shot, all numbers plain."""
    spec = replace(
        held_out_spec((source.clip, 0), source, "lowres"),
        first=2,
        num_frames=8,
        top=10,
        left=33,
        side=120,
        cbr=0.004,
        seed=77,
    )
    spec = replace(spec, **changes)  # type: ignore[arg-type]
    quarters = cv2.resize(source_frame(source, spec, 0), (2, 2), interpolation=cv2.INTER_AREA)
    return replace(spec, levels=[float(level) for level in quarters.ravel()])


def whole_spec(source: Shot) -> WindowSpec:
    """All of a shot of SIZE pixels a side."""
    return spec_of(source, first=0, top=0, left=0, side=SIZE, num_frames=len(source.frames))


def window_of(
    source: Shot, spec: WindowSpec, had: Callable[[int, Picture], Conditions]
) -> ReceivedWindow:
    """had: conditions by the number of the frame in the window, and the frame."""
    frames = [source_frame(source, spec, k) for k in range(spec.num_frames)]
    return ReceivedWindow(spec, tuple(had(k, frame) for k, frame in enumerate(frames)))


def quarter(rgb: Picture) -> Picture:
    """A quarter of the side, averaged."""
    size = (rgb.shape[1] // 4, rgb.shape[0] // 4)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
