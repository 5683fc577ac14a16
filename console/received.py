"""What was received, as JSON small enough to go to every page with every frame.

    {"contours": [{"label": 1, "hole": false, "xy_px": [x, y, x, y, ...]}, ...],
     "lowres": {"width_px": 24, "height_px": 24, "rgb": base64},
     "sketch": {"width_px": 128, "height_px": 128, "bits_deflated": base64},
     "motion_percent": 1.25}

Each key is there only where it came anew with the frame; "contours" may be an empty list, for a map
without objects. The bits of a sketch are deflated (zlib), since most of it is empty: a browser has
DecompressionStream("deflate") for it.
"""

from __future__ import annotations

import base64
import math
import zlib
from typing import Any

from semcast.v1 import link_pb2

_DEFLATE_LEVEL = 6


def semantics_json(semantics: link_pb2.ReceivedSemantics) -> dict[str, Any]:
    """The record above.

    A picture whose data does not fit its size, or an outline of less than three vertices, is left
    out: all this is for looking at, nothing depends on it.
    """
    record: dict[str, Any] = {}
    if semantics.has_contours:
        record["contours"] = [
            {"label": contour.label, "hole": contour.hole, "xy_px": list(contour.xy_px)}
            for contour in semantics.contours
            if _is_outline(contour)
        ]
    if semantics.HasField("lowres"):
        lowres = semantics.lowres
        if _has_size(lowres, 3 * lowres.width_px):
            record["lowres"] = {**_size(lowres), "rgb": _text(lowres.data)}
    if semantics.HasField("sketch"):
        sketch = semantics.sketch
        if _has_size(sketch, (sketch.width_px + 7) // 8):
            bits = zlib.compress(sketch.data, _DEFLATE_LEVEL)
            record["sketch"] = {**_size(sketch), "bits_deflated": _text(bits)}
    if semantics.HasField("motion_percent") and math.isfinite(semantics.motion_percent):
        record["motion_percent"] = float(f"{semantics.motion_percent:.4g}")
    return record


def _is_outline(contour: link_pb2.Contour) -> bool:
    return len(contour.xy_px) >= 6 and len(contour.xy_px) % 2 == 0


def _has_size(bitmap: link_pb2.Bitmap, row_bytes: int) -> bool:
    return row_bytes > 0 and len(bitmap.data) == row_bytes * bitmap.height_px > 0


def _size(bitmap: link_pb2.Bitmap) -> dict[str, int]:
    return {"width_px": bitmap.width_px, "height_px": bitmap.height_px}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
