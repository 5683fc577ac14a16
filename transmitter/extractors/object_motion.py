"""What moves against its surroundings: flow to the frame before, less the camera's own motion.

Flow is OpenCV's DIS (Kroeger et al., arXiv 1603.03590) on a small grey picture. The camera's part
is the affine motion that most of the picture agrees on, by iteratively reweighted least squares. An
object that moves on its own stands out in what is left, whatever it looks like.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

IN_PLANES = 6
"""Planes that the segmenter's network sees."""

_FIT_STEP = 6
_FIT_ROUNDS = 5
_FIT_SOFTNESS_PX = 0.5
"""The fit looks at every sixth pixel a side; a pixel this far from the fit counts half."""

_MISMATCH_SCALE = 1 / 48

Grey = NDArray[np.uint8]
Flow = NDArray[np.float32]
"""float32 [h, w, 2], x and y in pixels: what is at p now was at p + flow[p] in the frame before."""


@dataclass(frozen=True)
class Motion:
    """How one small picture came of the one before. flow: all; camera: the camera's part of it."""

    before: Grey
    flow: Flow
    camera: Flow

    @property
    def own(self) -> Flow:
        """What is left of the flow without the camera's."""
        return self.flow - self.camera


def motion_between(now: Grey, before: Grey) -> Motion:
    """Motion from one grey picture [h, w] to the next, sides at least 16."""
    flow = backward_flow(now, before)
    return Motion(before, flow, camera_flow(flow))


def backward_flow(now: Grey, before: Grey) -> Flow:
    """Flow between grey pictures [h, w], sides at least 16."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = np.zeros((*now.shape, 2), np.float32)
    return np.asarray(dis.calc(now, before, flow), np.float32)


def camera_flow(flow: Flow) -> Flow:
    """The affine flow that most of the picture follows, in the shape of `flow`."""
    height, width = flow.shape[:2]
    sampled = flow[_FIT_STEP // 2 :: _FIT_STEP, _FIT_STEP // 2 :: _FIT_STEP].reshape(-1, 2)
    terms = _affine_terms(height, width)
    basis = terms[_FIT_STEP // 2 :: _FIT_STEP, _FIT_STEP // 2 :: _FIT_STEP].reshape(-1, 3)
    fit = np.zeros((3, 2))
    fit[0] = np.median(sampled, axis=0)
    for _ in range(_FIT_ROUNDS):
        squared = ((sampled - basis @ fit) ** 2).sum(1)
        softness = max(_FIT_SOFTNESS_PX**2, float(np.median(squared)))
        weights = 1 / (1 + squared / softness) ** 2
        weighted = basis * weights[:, None]
        fit = np.linalg.solve(weighted.T @ basis + 1e-3 * np.eye(3), weighted.T @ sampled)
    return np.asarray(terms @ fit, np.float32)


@functools.lru_cache(maxsize=8)
def _affine_terms(height: int, width: int) -> NDArray[np.float64]:
    """[h, w, 3]: one, and x and y in -1..1."""
    x = np.linspace(-1, 1, width)
    y = np.linspace(-1, 1, height)
    return np.stack([np.ones((height, width)), *np.meshgrid(x, y)], axis=-1)


def warp(plane: NDArray[Any], flow: Flow) -> NDArray[Any]:
    """What a plane [h, w] or planes [h, w, n] of the frame before look like now."""
    return Warp(flow)(plane)


class Warp:
    """Moves many planes along one flow: what `warp` does, with the sampling places made once."""

    def __init__(self, flow: Flow) -> None:
        height, width = flow.shape[:2]
        places = flow + _places(height, width)
        # Fixed point, which OpenCV samples faster; None is right where x and y are in one array.
        self._coarse, self._fine = cv2.convertMaps(
            places,
            None,  # type: ignore[call-overload]
            cv2.CV_16SC2,
        )

    def __call__(self, plane: NDArray[Any]) -> NDArray[Any]:
        """A plane [h, w], or planes [h, w, n], of the frame before as they are now."""
        moved = cv2.remap(
            plane, self._coarse, self._fine, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(moved, plane.dtype)


@functools.lru_cache(maxsize=8)
def _places(height: int, width: int) -> NDArray[np.float32]:
    """[h, w, 2]: x and y of each pixel."""
    rows, columns = np.indices((height, width), np.float32)
    return np.stack([columns, rows], axis=-1)


def segmenter_planes(rgb: NDArray[np.uint8], motion: Motion | None) -> NDArray[np.float32]:
    """float32 [6, h, w] for the network, from a small picture [h, w, 3].

    Colours in -1..1; the object's own flow on a logarithmic scale; how much the picture differs
    from the one before, moved by the camera. The last three are zero where nothing was before.
    """
    planes = np.zeros((IN_PLANES, *rgb.shape[:2]), np.float32)
    planes[:3] = np.transpose(rgb, (2, 0, 1)) * np.float32(1 / 127.5) - 1
    if motion is not None:
        own = motion.own
        planes[3:5] = np.transpose(np.sign(own) * np.log1p(np.abs(own)), (2, 0, 1))
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        moved = warp(motion.before, motion.camera)
        planes[5] = cv2.absdiff(grey, np.asarray(moved, np.uint8)) * np.float32(_MISMATCH_SCALE)
    return planes
