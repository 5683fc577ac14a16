"""Which masks of a network's output are objects? One rule for each kind of output.

Pure functions of arrays. Every one gives masks float32 [n, h, w], probabilities 0 to 1, and scores
float32 [n], 0 to 1, the best first, at most 15 of them.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

MOST_OBJECTS = 15
_LEAST_AREA = 0.002
"""Share of the frame below which a region is noise."""
_LEAST_SCORE = 0.5
_LEAST_IOU_FORETOLD = 0.75
_LARGEST_THING = 0.6
_SAME = 0.7
_PART = 0.85
_SIDES_OF_A_BACKGROUND = 3

Masks = tuple[NDArray[np.float32], NDArray[np.float32]]


def regions_of_classes(probabilities: NDArray[np.float32], is_thing: NDArray[np.bool_]) -> Masks:
    """Connected regions of one class, where the class is of things.

    probabilities: float32 [classes, h, w], summing to 1 over the classes. is_thing: bool [classes].
    A region's score is the mean probability of its class in it.
    """
    best = probabilities.argmax(0)
    masks, scores = [], []
    for kind in np.unique(best):
        if not is_thing[kind]:
            continue
        count, regions = cv2.connectedComponents((best == kind).astype(np.uint8))
        for number in range(1, count):
            region = regions == number
            if region.mean() >= _LEAST_AREA:
                masks.append(np.where(region, np.maximum(probabilities[kind], 0.51), 0))
                scores.append(float(probabilities[kind][region].mean()))
    return _best_of(masks, scores, probabilities.shape[1:])


def confident_queries(classes: NDArray[np.float32], probabilities: NDArray[np.float32]) -> Masks:
    """Masks of queries that are sure of a class and of their mask, each object once.

    classes: float32 [queries, classes + 1], the last for "nothing". probabilities: float32
    [queries, h, w]. The score is that of Mask2Former: the class's probability times the mean of the
    mask where it is on.
    """
    masks, scores = [], []
    for sure, mask in zip(classes[:, :-1].max(1), probabilities, strict=True):
        on = mask > 0.5
        if sure > _LEAST_SCORE and on.mean() >= _LEAST_AREA:
            masks.append(mask)
            scores.append(float(sure * mask[on].mean()))
    return _best_of(*_each_once(masks, scores), probabilities.shape[1:])


def whole_things(probabilities: NDArray[np.float32], ious: NDArray[np.float32]) -> Masks:
    """Of masks of anything, at every level of detail: things rather than their parts or the scene.

    probabilities: float32 [n, h, w]. ious: float32 [n], the quality that the network foretells.
    """
    masks, scores = [], []
    for mask, iou in zip(probabilities, ious, strict=True):
        on = mask > 0.5
        sides = sum(bool(edge.mean() > 0.5) for edge in (on[0], on[-1], on[:, 0], on[:, -1]))
        small_enough = _LEAST_AREA <= on.mean() <= _LARGEST_THING
        if iou > _LEAST_IOU_FORETOLD and small_enough and sides < _SIDES_OF_A_BACKGROUND:
            masks.append(mask)
            scores.append(min(float(iou), 1.0))
    masks, scores = _each_once(masks, scores)
    return _best_of(*_without_parts(masks, scores), probabilities.shape[1:])


def _each_once(
    masks: list[NDArray[np.float32]], scores: list[float]
) -> tuple[list[NDArray[np.float32]], list[float]]:
    """Of masks that are nearly the same, the one with the best score."""
    kept: list[int] = []
    planes = [mask > 0.5 for mask in masks]
    for i in sorted(range(len(masks)), key=lambda i: -scores[i]):
        if all(_iou(planes[i], planes[j]) < _SAME for j in kept):
            kept.append(i)
    return [masks[i] for i in kept], [scores[i] for i in kept]


def _without_parts(
    masks: list[NDArray[np.float32]], scores: list[float]
) -> tuple[list[NDArray[np.float32]], list[float]]:
    """Masks that do not lie within a larger one."""
    planes = [mask > 0.5 for mask in masks]
    areas = [int(plane.sum()) for plane in planes]
    kept = [
        i
        for i in range(len(masks))
        if not any(
            areas[j] > areas[i] and (planes[i] & planes[j]).sum() > _PART * areas[i]
            for j in range(len(masks))
        )
    ]
    return [masks[i] for i in kept], [scores[i] for i in kept]


def _iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / max(int((a | b).sum()), 1))


def _best_of(
    masks: list[NDArray[np.float32]], scores: list[float], shape: tuple[int, ...]
) -> Masks:
    order = sorted(range(len(masks)), key=lambda i: -scores[i])[:MOST_OBJECTS]
    stacked = np.zeros((len(order), *shape), np.float32)
    for place, i in enumerate(order):
        stacked[place] = masks[i]
    return stacked, np.array([scores[i] for i in order], dtype=np.float32)
