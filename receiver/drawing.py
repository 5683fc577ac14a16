"""Pictures of semantics that are no picture: what passthrough shows where no picture was sent."""

from __future__ import annotations

import textwrap

import cv2
import numpy as np
from numpy.typing import NDArray

_GROUND = (24, 26, 32)
_STROKE = (236, 236, 230)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LINE_CHARACTERS = 26


_OBJECTS = (
    *((86, 180, 233), (240, 228, 66), (255, 122, 60), (53, 214, 164)),
    *((242, 154, 201), (255, 255, 255), (127, 162, 255), (255, 176, 46)),
)
"""RGB of labels 1, 2, ...; the page's pens (`console/static/modalities.js`)."""


def label_colour(label: int) -> tuple[int, int, int]:
    """RGB of an object, label 1 or more."""
    return _OBJECTS[(label - 1) % len(_OBJECTS)]


def draw_labels(labels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Objects as flat colours on a dark ground. labels: [h, w], uint8; gives [height, width, 3]."""
    colours = np.array([_GROUND, *(label_colour(label) for label in range(1, 256))], np.uint8)
    picture = colours[labels]
    if labels.shape != (height, width):
        enlarged = cv2.resize(picture, (width, height), interpolation=cv2.INTER_NEAREST)
        return np.asarray(enlarged, np.uint8)
    return picture


def draw_sketch(
    sketch: NDArray[np.uint8], under: NDArray[np.uint8] | None, width: int, height: int
) -> NDArray[np.uint8]:
    """Bright strokes, on `under` ([height, width, 3]) or on dark ground.

    sketch: [h, w], uint8, 255 where a stroke is sure.
    """
    strokes = np.asarray(
        cv2.resize(sketch, (width, height), interpolation=cv2.INTER_LINEAR), np.float32
    )
    ground = np.empty((height, width, 3), np.float32)
    ground[:] = _GROUND if under is None else under
    weight = strokes[..., None] / 255
    return np.asarray(ground * (1 - weight) + weight * np.array(_STROKE), np.uint8)


def draw_caption(caption: str, width: int, height: int) -> NDArray[np.uint8]:
    """The caption as a card, [height, width, 3]. Letters that the font lacks become "?"."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = _GROUND
    text = caption.encode("ascii", "replace").decode()
    lines = textwrap.wrap(text, _LINE_CHARACTERS)
    # As large as the longest line and the number of lines allow, with a margin of a tenth.
    widest = max((cv2.getTextSize(line, _FONT, 1.0, 1)[0][0] for line in lines), default=1)
    line_height = 34.0
    scale = min(
        0.8 * width / widest, 0.8 * height / (line_height * max(1, len(lines))), width / 320
    )
    top = (height - scale * line_height * len(lines)) / 2 + scale * 24
    for index, line in enumerate(lines):
        text_width = scale * cv2.getTextSize(line, _FONT, 1.0, 1)[0][0]
        place = (int((width - text_width) / 2), int(top + index * scale * line_height))
        cv2.putText(
            picture, line, place, _FONT, scale, _STROKE, max(1, round(2 * scale)), cv2.LINE_AA
        )
    return picture
