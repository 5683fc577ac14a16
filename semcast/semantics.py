"""Semantics: what a frame means, before it is coded and after it has been received."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from semcast.session import Modality

if TYPE_CHECKING:
    from semcast.codecs.contours import ContourState

MAX_OBJECTS = 15
"""Objects a label map may hold; ours: a number a viewer can still tell apart."""


@dataclass(frozen=True, slots=True)
class Semantics:
    """What the transmitter knows of one source frame. What no extractor found is None.

    rgb: [H, W, 3], uint8. labels: [H, W], uint8, 0 for background, 1 .. 15 for objects, which keep
    their label over time. sketch: [H, W], uint8, 1 on a stroke. motion: mean motion of the newest
    whole segment, frame widths a frame. caption: of the clip or segment.
    """

    rgb: NDArray[np.uint8]
    labels: NDArray[np.uint8] | None = None
    sketch: NDArray[np.uint8] | None = None
    motion: float | None = None
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Received:
    """Semantics read from symbols. What did not come is None, or absent from `pictures`.

    pictures: [h, w, 3], uint8, RGB, of any size. sketch: [h, w], uint8, 255 on a stroke; less where
    analogue symbols leave it unsure.
    """

    pictures: Mapping[Modality, NDArray[np.uint8]] = field(default_factory=dict)
    contours: ContourState | None = None
    sketch: NDArray[np.uint8] | None = None
    motion: float | None = None
    caption: str | None = None

    @property
    def modalities(self) -> frozenset[Modality]:
        """Of all that is there."""
        others = {
            Modality.CONTOURS: self.contours,
            Modality.SKETCH: self.sketch,
            Modality.MOTION: self.motion,
            Modality.CAPTION: self.caption,
        }
        came = {modality for modality, value in others.items() if value is not None}
        return frozenset(came | set(self.pictures))

    def then(self, newer: Received) -> Received:
        """This, with everything replaced that came anew."""
        values = {f.name: getattr(newer, f.name) for f in fields(newer) if f.name != "pictures"}
        kept = {
            name: getattr(self, name) if value is None else value for name, value in values.items()
        }
        return Received(pictures={**self.pictures, **newer.pictures}, **kept)
