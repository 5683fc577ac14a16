"""Contours: label maps of up to 15 objects as polygons, at 0.3-0.6 bit per contour point or less.

Eteke et al. (arXiv 2602.13837) Fig. 2: borders are simplified with a tolerance xi, coded as
differences of vertices out of Q levels, range-coded; frames with a reference send each object's
motion only, and new polygons where the old no longer fit. Prediction starts from one earlier state
(the last the receiver has acknowledged) or from none, nothing else is remembered: a lost frame
costs itself only. Decoding is integer arithmetic, so both ends hold the same map to the last pixel.

Layout of the bits: `contours_syntax`. The encoder's decisions: `contours_plan`, `contours_offers`.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from semcast.codecs.contours_offers import EncoderChoices
from semcast.codecs.contours_painting import paint_objects
from semcast.codecs.contours_plan import plan_frame
from semcast.codecs.contours_polygon import SUBPIXELS
from semcast.codecs.contours_symbols import SymbolReader, SymbolWriter
from semcast.codecs.contours_syntax import (
    MAX_OBJECTS,
    ContourObject,
    FramePlan,
    Geometry,
    code_frame,
)
from semcast.codecs.range_payload import PayloadReader, PayloadWriter
from semcast.errors import InputError

MIN_BUDGET_BITS = 8
"""Smallest budget `plan_contours` takes. "All as it was", or "nothing yet", always fits."""


class ContourSettings(BaseModel):
    """A session's contours. Width, height and `num_symbols` must be equal at both ends."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(ge=16, le=4096, description="Width of the label maps, pixels.")
    height: int = Field(ge=16, le=4096, description="Height of the label maps, pixels.")
    num_symbols: int = Field(
        default=65,
        ge=9,
        le=129,
        description="Q: levels of a vertex difference's component (odd). They span a quarter "
        "of the frame's longer side, so more levels mean a finer grid.",
    )
    tolerance: float = Field(
        default=1.4,
        gt=0,
        le=8,
        description="Douglas-Peucker's xi on the finest grid, in steps of that grid.",
    )
    min_gain: float = Field(
        default=0.01,
        ge=0,
        le=10,
        description="Least gain that a bit must bring, in wrong pixels at 256 pixels a side over "
        "the root of the object's area. Higher sends less, lower corrects more.",
    )

    @cached_property
    def geometry(self) -> Geometry:
        """The same in subpixels."""
        longest = max(self.width, self.height)
        max_length = (self.num_symbols - 1) // 2
        step = max(2, 2 * round(longest * SUBPIXELS / 8 / max_length / 2))
        return Geometry(
            self.width, self.height, step, max(2, longest * SUBPIXELS // 256), max_length
        )

    @cached_property
    def choices(self) -> EncoderChoices:
        """What the encoder weighs by."""
        longest = max(self.width, self.height)
        step_px = self.geometry.finest_step / SUBPIXELS
        return EncoderChoices(
            tolerance_px=self.tolerance * step_px,
            min_gain=self.min_gain * longest / 256,
            min_area_px=max(9.0, (longest / 256) ** 2 * 16),
        )


@dataclass(frozen=True, eq=False)
class ContourState:
    """What both ends hold of a frame. Never written to."""

    objects: tuple[ContourObject, ...]
    width: int
    height: int

    @cached_property
    def labels(self) -> NDArray[np.uint8]:
        """uint8 [height, width]: 0 background, else the object's id."""
        labels = paint_objects(self.objects, self.width, self.height)
        labels.flags.writeable = False
        return labels

    @cached_property
    def polygons(self) -> dict[int, list[NDArray[np.float32]]]:
        """Rings of each object by id: float32 [n, 2] of (x, y) in pixels."""
        return {
            held.id: [
                (held.points[a:b] / SUBPIXELS).astype(np.float32)
                for a, b in zip(held.offsets[:-1], held.offsets[1:], strict=True)
            ]
            for held in self.objects
        }


@dataclass(frozen=True, eq=False)
class ContourPlan:
    """The encoder's decisions for one frame."""

    frame: FramePlan
    state: ContourState
    """What the receiver will hold."""
    num_bits: float
    """Information in the symbols. A payload's tail (at most 2 bits) is its writer's."""


def plan_contours(
    labels: NDArray[np.uint8],
    reference: ContourState | None,
    budget_bits: float,
    settings: ContourSettings,
) -> ContourPlan:
    """Decide how to send a label map in at most `budget_bits`.

    `labels`: uint8 [height, width], 0 background, 1..15 object ids kept over time. `reference`: a
    state the receiver holds, or None. What does not fit is left for later frames. Raises
    `InputError` for another map or a budget under `MIN_BUDGET_BITS`.
    """
    if labels.shape != (settings.height, settings.width) or labels.dtype != np.uint8:
        raise InputError(
            f"labels must be uint8 [{settings.height}, {settings.width}], "
            f"not {labels.dtype} {list(labels.shape)}"
        )
    if int(labels.max()) > MAX_OBJECTS:
        raise InputError(f"label {int(labels.max())} is over {MAX_OBJECTS}; keep fewer objects")
    if budget_bits < MIN_BUDGET_BITS:
        raise InputError(f"contours need at least {MIN_BUDGET_BITS} bits, not {budget_bits}")
    held = _objects(reference, settings)
    frame, num_bits = plan_frame(
        np.ascontiguousarray(labels), held, budget_bits, settings.geometry, settings.choices
    )
    discard = SymbolWriter(PayloadWriter())
    objects = code_frame(discard, settings.geometry, held, frame)
    return ContourPlan(frame, ContourState(objects, settings.width, settings.height), num_bits)


def write_contours(
    writer: PayloadWriter,
    plan: ContourPlan,
    reference: ContourState | None,
    settings: ContourSettings,
) -> None:
    """Append a plan made with the same reference and settings to a payload."""
    code_frame(SymbolWriter(writer), settings.geometry, _objects(reference, settings), plan.frame)


def read_contours(
    reader: PayloadReader, reference: ContourState | None, settings: ContourSettings
) -> ContourState:
    """The state that `plan_contours` promised, from the payload and the same reference.

    Any other bits give a wrong state or `CorruptPayloadError`, in bounded time and memory.
    """
    objects = code_frame(
        SymbolReader(reader), settings.geometry, _objects(reference, settings), None
    )
    return ContourState(objects, settings.width, settings.height)


def _objects(
    reference: ContourState | None, settings: ContourSettings
) -> tuple[ContourObject, ...]:
    if reference is None:
        return ()
    if (reference.width, reference.height) != (settings.width, settings.height):
        raise InputError("the reference has another size than the session; start without one")
    return reference.objects


def warm_up(settings: ContourSettings) -> None:
    """Compiles, or loads from numba's cache, all that coding takes (a service does it at start)."""
    labels = np.zeros((settings.height, settings.width), dtype=np.uint8)
    labels[8:-8, 8 : settings.width // 2] = 1
    labels[12:-12, settings.width // 2 :] = 2
    state = plan_contours(labels, None, 400, settings).state
    plan = plan_contours(np.roll(labels, 3, axis=1), state, 400, settings)
    writer = PayloadWriter()
    write_contours(writer, plan, state, settings)
    read_contours(PayloadReader(writer.finish()), state, settings)
