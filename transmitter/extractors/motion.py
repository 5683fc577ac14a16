"""How much does the picture move? One number a segment, for the receiver's generator.

The unit is frame widths a frame: 0.01 means that pixels move by 1 % of the picture's width from one
frame of the session to the next, on average over the picture. It depends neither on the picture's
size nor on how far it is reduced before the flow is found; it does depend on the frame rate, which
the receiver knows.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_LONG_SIDE_PX = 128
_SHORTEST_SIDE_PX = 16
"""The flow is found in pictures this small: a millisecond, and motion up to 8 % of the width."""


def mean_motion(previous_rgb: NDArray[np.uint8], rgb: NDArray[np.uint8]) -> float:
    """Mean magnitude of the optical flow from one frame to the next, in frame widths a frame.

    previous_rgb, rgb: uint8 [H, W, 3], of one size (ValueError otherwise). Dense inverse search
    (Kroeger et al. 2016) in grey pictures of 128 pixels a side. Motion beyond about a tenth of the
    width is underestimated: too little of the two pictures is alike.
    """
    if previous_rgb.shape != rgb.shape:
        raise ValueError(f"frames of {previous_rgb.shape} and {rgb.shape}: give equal sizes")
    return _mean_flow(_small_grey(previous_rgb), _small_grey(rgb))


class MotionMeter:
    """Mean motion of each segment of a stream, one frame after the other.

    A segment's motion is known only at its end; no encoder looks ahead. So what can be sent at the
    start of a segment is the motion of the frames up to there.
    """

    def __init__(self) -> None:
        self._previous: NDArray[np.uint8] | None = None
        self._total = 0.0
        self._num_frames = 0

    def reset(self) -> None:
        """Forget everything: what comes next has nothing to do with what was seen."""
        self._previous = None
        self._start_segment()

    def add(self, rgb: NDArray[np.uint8]) -> float | None:
        """Motion from the frame before to this one (uint8 [H, W, 3]); None for the first."""
        grey = _small_grey(rgb)
        previous, self._previous = self._previous, grey
        if previous is None or previous.shape != grey.shape:
            return None
        motion = _mean_flow(previous, grey)
        self._total += motion
        self._num_frames += 1
        return motion

    def end_segment(self) -> float | None:
        """Mean over the frames added since the last call; None where no motion was seen."""
        mean = self._total / self._num_frames if self._num_frames else None
        self._start_segment()
        return mean

    def _start_segment(self) -> None:
        self._total = 0.0
        self._num_frames = 0


def _small_grey(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = rgb.shape[:2]
    scale = _LONG_SIDE_PX / max(height, width)
    size = tuple(max(round(side * scale), _SHORTEST_SIDE_PX) for side in (width, height))
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _mean_flow(previous: NDArray[np.uint8], grey: NDArray[np.uint8]) -> float:
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = np.asarray(search.calc(previous, grey, None))  # type: ignore[call-overload]
    magnitude = np.asarray(cv2.magnitude(flow[..., 0], flow[..., 1]))
    return float(magnitude.mean()) / float(grey.shape[1])
