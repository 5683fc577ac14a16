"""From objects to the label map, at both ends: who is painted over whom."""

import numpy as np
from numpy.typing import NDArray

from semcast.codecs.contours_polygon import paint
from semcast.codecs.contours_syntax import ContourObject


def paint_objects(objects: tuple[ContourObject, ...], width: int, height: int) -> NDArray[np.uint8]:
    """The label map uint8 [height, width]: larger objects are painted first, smaller in front."""
    labels = np.zeros((height, width), dtype=np.uint8)
    for held in painting_order(objects):
        paint(labels, held.points, held.offsets, held.id)
    return labels


def painting_order(objects: tuple[ContourObject, ...]) -> list[ContourObject]:
    """Back to front: from the largest area to the smallest, then by id."""
    return sorted(objects, key=lambda held: (-twice_area_of(held), held.id))


def twice_area_of(held: ContourObject) -> int:
    x, y = held.points[:, 0].astype(np.int64), held.points[:, 1].astype(np.int64)
    following = np.arange(1, len(x) + 1)
    following[held.offsets[1:] - 1] = held.offsets[:-1]
    return int((x * y[following] - x[following] * y).sum())
