"""Layers of a bundle: one modality's bits in a block that several share, both halves of each.

A layer writes to, and reads from, a range coder in which other layers stand before it. What it
predicts from is its own state in the newest block that the receiver has acknowledged; what it
returns is its state after this block, equal at both ends. Nothing else is remembered.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from semcast.codecs import contours, lowres, motion, sketch
from semcast.codecs.range_payload import PayloadReader, PayloadWriter
from semcast.semantics import Received, Semantics
from semcast.session import Modality, SessionSetup

_SKETCH_PIXELS_PER_BIT = 15
"""Ours: of the sketches measured in docs/CODECS.md, between whole ones and recognisable ones."""


class Layer(Protocol):
    """One modality in a bundle. State: immutable; None where the receiver has nothing yet.

    share: of a block's bits that it may take where others want some too. least_bits: with fewer
    it can say nothing of use.
    """

    modality: Modality
    share: float
    least_bits: int

    def write(
        self,
        writer: PayloadWriter,
        semantics: Semantics,
        reference: object,
        budget_bits: int,
        sequence: int,
    ) -> object:
        """Writes at most `budget_bits` more bits; returns the state after."""

    def read(self, reader: PayloadReader, reference: object, sequence: int) -> object:
        """The state after. Raises CorruptPayloadError for bits that nothing writes."""

    def received(self, state: object) -> Received:
        """What a state means."""


class ContourLayer:
    """Label maps."""

    modality = Modality.CONTOURS
    share = 0.45
    least_bits = contours.MIN_BUDGET_BITS

    def __init__(self, setup: SessionSetup) -> None:
        self._settings = contours.ContourSettings(width=setup.width, height=setup.height)

    def write(
        self,
        writer: PayloadWriter,
        semantics: Semantics,
        reference: object,
        budget_bits: int,
        sequence: int,
    ) -> contours.ContourState:
        """A frame in which nothing was segmented has no objects."""
        assert reference is None or isinstance(reference, contours.ContourState)
        labels = semantics.labels
        if labels is None:
            labels = np.zeros(semantics.rgb.shape[:2], np.uint8)
        plan = contours.plan_contours(labels, reference, budget_bits, self._settings)
        contours.write_contours(writer, plan, reference, self._settings)
        return plan.state

    def read(self, reader: PayloadReader, reference: object, sequence: int) -> object:
        """The label map."""
        assert reference is None or isinstance(reference, contours.ContourState)
        return contours.read_contours(reader, reference, self._settings)

    def received(self, state: object) -> Received:
        """A label map."""
        assert isinstance(state, contours.ContourState)
        return Received(contours=state)


class SketchLayer:
    """Strokes."""

    modality = Modality.SKETCH
    share = 0.5
    least_bits = sketch.MIN_BUDGET_BITS

    def __init__(self, setup: SessionSetup, num_bits: float) -> None:
        """num_bits: that a block has where the channel is fair."""
        num_pixels = round(_SKETCH_PIXELS_PER_BIT * self.share * num_bits)
        self._geometry = sketch.geometry_for(setup.width, setup.height, num_pixels)

    def write(
        self,
        writer: PayloadWriter,
        semantics: Semantics,
        reference: object,
        budget_bits: int,
        sequence: int,
    ) -> sketch.SketchState:
        """A frame that was not sketched has no strokes."""
        assert reference is None or isinstance(reference, sketch.SketchState)
        strokes = semantics.sketch
        if strokes is None:
            strokes = np.zeros(semantics.rgb.shape[:2], np.uint8)
        bitmap = sketch.shrink_sketch(strokes, self._geometry)
        plan = sketch.plan_sketch(bitmap, reference, budget_bits)
        sketch.write_sketch(writer, plan, reference)
        return plan.state

    def read(self, reader: PayloadReader, reference: object, sequence: int) -> object:
        """The strokes."""
        assert reference is None or isinstance(reference, sketch.SketchState)
        return sketch.read_sketch(reader, reference, self._geometry)

    def received(self, state: object) -> Received:
        """A bitmap."""
        assert isinstance(state, sketch.SketchState)
        return Received(sketch=255 * state.bitmap)


class MotionLayer:
    """One scalar a segment, written until a block with it is acknowledged.

    State: (segment, level): both ends see in it whether the segment's level has arrived.
    """

    modality = Modality.MOTION
    share = 0.2
    least_bits = motion.NUM_BITS

    def __init__(self, setup: SessionSetup) -> None:
        self._segment_frames = setup.segment_frames

    def _held(self, reference: object, sequence: int) -> tuple[int, int] | None:
        if not isinstance(reference, tuple) or reference[0] != sequence // self._segment_frames:
            return None
        return reference

    def write(
        self,
        writer: PayloadWriter,
        semantics: Semantics,
        reference: object,
        budget_bits: int,
        sequence: int,
    ) -> tuple[int, int]:
        """Nothing where the receiver has it; a motion nobody measured is none."""
        if held := self._held(reference, sequence):
            return held
        level = motion.quantise_motion(semantics.motion or 0.0)
        motion.write_motion(writer, level)
        return sequence // self._segment_frames, level

    def read(self, reader: PayloadReader, reference: object, sequence: int) -> object:
        """Segment and level."""
        if held := self._held(reference, sequence):
            return held
        return sequence // self._segment_frames, motion.read_motion(reader)

    def received(self, state: object) -> Received:
        """Frame widths a frame."""
        assert isinstance(state, tuple)
        return Received(motion=motion.motion_of_level(state[1]))


class LowresLayer:
    """Tiny frames: the last layer of a block, which fills what the others left."""

    modality = Modality.LOWRES
    least_bits = lowres.MIN_BUDGET_BITS

    def __init__(self, geometry: lowres.LowresGeometry) -> None:
        self._geometry = geometry

    def fill(
        self, writer: PayloadWriter, semantics: Semantics, reference: object, num_bits: int
    ) -> tuple[NDArray[np.uint8], lowres.LowresState]:
        """The whole payload, num_bits long, and the state after."""
        assert reference is None or isinstance(reference, lowres.LowresState)
        small = lowres.shrink(semantics.rgb, self._geometry)
        return lowres.encode(small, reference, num_bits, prefix=writer)

    def read(self, reader: PayloadReader, reference: object, sequence: int) -> object:
        """The tiny frame."""
        assert reference is None or isinstance(reference, lowres.LowresState)
        return lowres.read(reader, reference, self._geometry)

    def received(self, state: object) -> Received:
        """A picture."""
        assert isinstance(state, lowres.LowresState)
        return Received({self.modality: state.rgb})
