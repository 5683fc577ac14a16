"""What was received, as arrays of the sizes that the tiny model takes."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from receiver.generator import Conditions
from semcast.semantics import MAX_OBJECTS
from semcast.session import Modality

Picture = NDArray[np.uint8]

CONDITION_DOWNSCALE = 4
"""Received pictures are scaled to a quarter of the frame's side before they are encoded."""

_OBJECT_CODES = 2 * np.random.Generator(np.random.Philox(7777)).random((MAX_OBJECTS + 1, 3)) - 1
_OBJECT_CODES[0] = 0.0
"""Three numbers for each object's label: which, not what."""

_LONG_AGO_FRAMES = 255
_AGED = (Modality.LOWRES, Modality.KEYFRAME, Modality.CONTOURS, Modality.SKETCH)


def to_condition_size(picture: Picture, width: int, height: int) -> Picture:
    """A received picture, uint8 [h, w, 3] or [h, w], at another size: averaged to shrink, bicubic
    to enlarge."""
    if picture.shape[:2] == (height, width):
        return picture
    kind = cv2.INTER_AREA if picture.shape[0] > height else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (width, height), interpolation=kind), np.uint8)


def degraded_modality(conditions: Conditions) -> Modality | None:
    """The picture that a frame is closest to: a low-res frame, but a key picture where it came
    with this frame or there is nothing else."""
    pictures, ages = conditions.pictures, conditions.age_frames
    if Modality.KEYFRAME in pictures and (
        Modality.LOWRES not in pictures or ages.get(Modality.KEYFRAME) == 0
    ):
        return Modality.KEYFRAME
    return Modality.LOWRES if Modality.LOWRES in pictures else None


def control_planes(conditions: Conditions, width: int, height: int) -> NDArray[np.float32]:
    """Contours and sketch as planes, [7, height, width], -1 to 1; see CONTROL_CHANNELS."""
    planes = np.zeros((7, height, width), np.float32)
    labels, sketch = conditions.labels, conditions.sketch
    if labels is not None:
        fitted = _at_size(labels, width, height, cv2.INTER_NEAREST_EXACT)
        planes[:3] = _OBJECT_CODES[np.minimum(fitted, MAX_OBJECTS)].transpose(2, 0, 1)
        planes[3] = edges_of(fitted)
        planes[4] = 1.0
    if sketch is not None:
        planes[5] = _at_size(sketch, width, height, cv2.INTER_LINEAR) / np.float32(255)
        planes[6] = 1.0
    return planes


def _at_size(plane: Picture, width: int, height: int, interpolation: int) -> Picture:
    if plane.shape == (height, width):
        return plane
    return np.asarray(cv2.resize(plane, (width, height), interpolation=interpolation), np.uint8)


def edges_of(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a label differs from that below or to the right of it."""
    edges = np.zeros(labels.shape, bool)
    edges[:-1] |= labels[:-1] != labels[1:]
    edges[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    return edges


def facts_of(conditions: Conditions) -> NDArray[np.float32]:
    """Numbers about a frame's conditions, [10]: SNR in tens of dB and whether it is known; for
    each kind whether it is there, and the logarithm of its age in frames."""
    snr_db = conditions.snr_db
    known = snr_db is not None and not math.isnan(snr_db)
    facts = [float(np.clip(snr_db or 0.0, -10, 30)) / 10 if known else 0.0, float(known)]
    there = {
        Modality.LOWRES: Modality.LOWRES in conditions.pictures,
        Modality.KEYFRAME: Modality.KEYFRAME in conditions.pictures,
        Modality.CONTOURS: conditions.labels is not None,
        Modality.SKETCH: conditions.sketch is not None,
    }
    for modality in _AGED:
        age = min(conditions.age_frames.get(modality, 0), _LONG_AGO_FRAMES)
        facts += [float(there[modality]), math.log1p(age) if there[modality] else 0.0]
    return np.array(facts, np.float32)
