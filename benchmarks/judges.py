"""Judges of received frames that no network of ours was trained against.

`spectral_distance_db`: is there as much detail at each scale as in the source? `DetectorJudge`:
does a detector see the same things? Neither is a loss of any recipe.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


def spectral_distance_db(source: Picture, received: Picture) -> float:
    """Mean absolute difference of log power over eight octave-like rings of spatial frequency, dB.

    source, received: [H, W, 3]. 0 where detail is as strong at every scale, wherever it is; a
    picture enlarged from 32 pixels loses tens of dB in its outer rings.
    """
    rings = [_rings_db(picture) for picture in (source, received)]
    return float(np.abs(rings[0] - rings[1]).mean())


def _rings_db(picture: Picture) -> NDArray[np.float64]:
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float64)
    window = np.outer(np.hanning(grey.shape[0]), np.hanning(grey.shape[1]))
    power = np.abs(np.fft.fftshift(np.fft.fft2((grey - grey.mean()) * window))) ** 2
    rows, columns = np.indices(grey.shape)
    radius = np.hypot(rows / grey.shape[0] - 0.5, columns / grey.shape[1] - 0.5)
    edges = np.geomspace(0.01, 0.5, 9)
    # One grey level of white noise as a floor: below it nothing can be seen.
    floor = (window**2).sum()
    means = [power[(radius >= a) & (radius < b)].mean() for a, b in pairwise(edges)]
    return 10 * np.log10(np.asarray(means) + floor)


def flicker_ratio(sources: list[Picture], received: list[Picture]) -> float:
    """How much more received frames change than motion explains, in multiples of the source's own.

    Each frame before is moved by the source's optical flow and compared with the one after: mean
    squared differences, summed over frames. 1 is as steady as the source.
    """
    flow_of = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    totals = np.zeros(2)
    for k in range(1, len(sources)):
        before, after = (cv2.cvtColor(s, cv2.COLOR_RGB2GRAY) for s in sources[k - 1 : k + 1])
        # Where each pixel of the frame after was in the one before.
        flow = flow_of.calc(after, before, np.zeros((*after.shape, 2), np.float32))
        rows, columns = np.indices(after.shape, np.float32)
        at = columns + flow[..., 0], rows + flow[..., 1]
        for index, frames in enumerate((sources, received)):
            moved = cv2.remap(frames[k - 1], *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            totals[index] += np.square(moved.astype(np.float32) - frames[k]).mean()
    return float(totals[1] / max(totals[0], 1e-6))


@dataclass(frozen=True)
class Detection:
    """box: left, top, right, bottom, in shares of the picture. label: class. score: 0 to 1."""

    box: tuple[float, float, float, float]
    label: int
    score: float


class DetectorJudge:
    """FastestDet (COCO, 80 classes): F1 of what it sees in received against source frames."""

    _SIDE = 352
    _LEAST_SCORE = 0.5
    _SAME_IOU = 0.5

    def __init__(self, model: Path) -> None:
        """model: FastestDet.onnx."""
        self._network = cv2.dnn.readNetFromONNX(str(model))

    def detect(self, picture: Picture) -> list[Detection]:
        """Detections after non-maximum suppression; picture: [H, W, 3], RGB."""
        blob = cv2.dnn.blobFromImage(picture, 1 / 255, (self._SIDE, self._SIDE), swapRB=True)
        self._network.setInput(blob)
        grid = self._network.forward()[0]
        classes = grid[5:]
        label = classes.argmax(0)
        # FastestDet's own score: objectness^0.6 times class probability^0.4.
        score = grid[0] ** 0.6 * classes.max(0) ** 0.4
        side_y, side_x = score.shape
        found = []
        for row, column in zip(*np.nonzero(score > self._LEAST_SCORE), strict=True):
            dx, dy, width, height = grid[1:5, row, column]
            x = (column + np.tanh(dx)) / side_x
            y = (row + np.tanh(dy)) / side_y
            w, h = 1 / (1 + np.exp(-width)), 1 / (1 + np.exp(-height))
            box = (float(x - w / 2), float(y - h / 2), float(x + w / 2), float(y + h / 2))
            found.append(Detection(box, int(label[row, column]), float(score[row, column])))
        kept: list[Detection] = []
        for candidate in sorted(found, key=lambda d: -d.score):
            if all(
                other.label != candidate.label or _iou(other.box, candidate.box) < 0.45
                for other in kept
            ):
                kept.append(candidate)
        return kept

    def counts(self, source: Picture, received: Picture) -> tuple[int, int, int]:
        """(same in both, in the source, in the received picture)."""
        wanted, seen = self.detect(source), self.detect(received)
        left = list(seen)
        same = 0
        for detection in wanted:
            match = next(
                (
                    other
                    for other in left
                    if other.label == detection.label
                    and _iou(other.box, detection.box) >= self._SAME_IOU
                ),
                None,
            )
            if match is not None:
                left.remove(match)
                same += 1
        return same, len(wanted), len(seen)


def _iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return both / (area - both)
