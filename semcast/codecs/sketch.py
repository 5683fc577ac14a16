"""The sketch codec: a bitmap of lines in as many bits as there are, all of it where they suffice.

What of a sketch is sent, within the digital block of a frame, in the block's one range coder:

    mode        BLANK, HELD (the reference as it is), INTRA, STILL, MOVED; the last two only
                with a reference
    motion      MOVED: down, then right, -7 to 7 pixels, of the whole reference
    fullness    INTRA, STILL, MOVED: class of how many pixels are set
    stillness   STILL, MOVED: class of how many are not as in the reference
    pixels      INTRA, STILL, MOVED: in reading order, under `sketch_model`

The reference is the last sketch that the receiver has acknowledged, or None. Nothing else is
remembered, so a lost frame costs itself only, and both ends hold the same bitmap to the last bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from semcast.codecs.range_payload import (
    Categorical,
    PayloadReader,
    PayloadWriter,
    categorical,
)
from semcast.codecs.sketch_bitmap import (
    SketchGeometry,
    checked,
    enlarge_sketch,
    geometry_for,
    shrink_sketch,
)
from semcast.codecs.sketch_model import (
    NUM_FULLNESS,
    NUM_STILLNESS,
    MapClass,
    class_of,
    decode_pixels,
    fullness_of,
    ones_of,
    pixel_bits,
)
from semcast.codecs.sketch_search import (
    MAX_MOTION,
    best_motion,
    fit_to_budget,
    shifted,
    spoilt,
)
from semcast.errors import InputError

__all__ = [
    "MIN_BUDGET_BITS",
    "SketchGeometry",
    "SketchPlan",
    "SketchState",
    "enlarge_sketch",
    "geometry_for",
    "plan_sketch",
    "read_sketch",
    "shrink_sketch",
    "warm_up",
    "write_sketch",
]

BLANK, HELD, INTRA, STILL, MOVED = range(5)

MIN_BUDGET_BITS = 8
"""Least that `plan_sketch` takes: a blank or a held sketch always fits, with the coder's tail."""

TAIL_BITS = 2
"""What ending the range coder may cost."""

_TRIES = 4
"""Maps that are tried, each smaller than the last by what that was too long."""

_MODES = (2, 6, 4, 30, 22)
_MODES_ALONE = (1, 1, 30)
"""Frequencies of the modes with and without a reference; ours. A held sketch, without one, is
blank."""

_MOTION = (1, 1, 2, 3, 5, 9, 16, 26, 16, 9, 5, 3, 2, 1, 1)
_FULLNESS_CHANGE = (220, 30, 6, 2, 1, 1, 1, 1)


@dataclass(frozen=True)
class SketchState:
    """What both ends know a sketch to be. bitmap: uint8 [h, w] of 0 and 1; never written to."""

    bitmap: NDArray[np.uint8]

    def __post_init__(self) -> None:
        self.bitmap.setflags(write=False)


@dataclass(frozen=True)
class SketchPlan:
    """What is sent: mode, motion, map. bits: length of a payload that holds it alone; behind other
    symbols it adds that, or a few bits more or less. lossless: it is the map that was given."""

    mode: int
    down: int
    right: int
    state: SketchState
    bits: int
    lossless: bool


def plan_sketch(
    bitmap: NDArray[np.uint8], reference: SketchState | None, budget_bits: int
) -> SketchPlan:
    """What to send of a bitmap, uint8 [h, w] of 0 and 1, in at most `budget_bits`, tail included.

    All of it where that fits, else what of it tells most (see `sketch_search`). reference: a state
    of the same size that the receiver has for sure, or None.
    Raises InputError for a budget below MIN_BUDGET_BITS and for a reference of another size.
    """
    bitmap = checked(bitmap)
    if budget_bits < MIN_BUDGET_BITS:
        raise InputError(
            f"a sketch needs at least {MIN_BUDGET_BITS} bits, not {budget_bits}: send none"
        )
    if reference is not None and reference.bitmap.shape != bitmap.shape:
        raise InputError(
            f"a sketch of {bitmap.shape} cannot be predicted from one of {reference.bitmap.shape}"
        )
    bare = [_bare(BLANK, bitmap, reference)]
    modes = [(INTRA, 0, 0)]
    if reference is not None:
        bare.append(_bare(HELD, bitmap, reference))
        modes += [(STILL, 0, 0), (MOVED, *best_motion(bitmap, reference.bitmap))]
    for plan in bare:
        if np.array_equal(plan.state.bitmap, bitmap):
            return plan
    information = [_information(bitmap, reference, *mode) for mode in modes]
    mode = modes[int(np.argmin(information))]
    if min(information) <= budget_bits:
        whole = _with_pixels(bitmap, bitmap, reference, *mode)
        if whole.bits <= budget_bits:
            return whole
    if reference is not None:
        # Predicted where the reference, moved, tells more than it misleads; else from nothing.
        mode = modes[1 + int(np.argmin(information[1:]))]
        moved = shifted(reference.bitmap, *mode[1:])
        if spoilt(bitmap, moved) >= int(bitmap.sum()):
            mode = modes[0]
    seen = _seen(reference, *mode)
    room = (
        budget_bits
        - TAIL_BITS
        - max(_header_bits(*mode, MapClass(k, 0), reference) for k in range(NUM_FULLNESS))
    )
    for _ in range(_TRIES):
        part = fit_to_budget(bitmap, seen, room)
        if part is None:
            break
        plan = _with_pixels(part, bitmap, reference, *mode)
        if plan.bits <= budget_bits:
            bare.append(plan)
            break
        room -= plan.bits - budget_bits + 0.5
    return min(bare, key=lambda plan: (spoilt(bitmap, plan.state.bitmap), plan.bits))


def write_sketch(
    writer: PayloadWriter, plan: SketchPlan, reference: SketchState | None
) -> SketchState:
    """Append a plan to a payload; its state, which the reader will have."""
    writer.write(plan.mode, _mode_model(reference))
    if plan.mode in (BLANK, HELD):
        return plan.state
    if plan.mode == MOVED:
        writer.write(plan.down + MAX_MOTION, _motion_model())
        writer.write(plan.right + MAX_MOTION, _motion_model())
    seen = _seen(reference, plan.mode, plan.down, plan.right)
    bitmap = plan.state.bitmap
    kind = class_of(bitmap, seen)
    writer.write(kind.fullness, _fullness_model(reference, plan.mode))
    if seen is not None:
        writer.write(kind.stillness, _stillness_model())
    writer.write_binary(bitmap.ravel(), ones_of(bitmap, seen, kind))
    return plan.state


def read_sketch(
    reader: PayloadReader, reference: SketchState | None, geometry: SketchGeometry
) -> SketchState:
    """The sketch that comes next in a payload.

    Raises CorruptPayloadError, or returns a wrong sketch, for bits that are no payload. Time and
    memory are bounded by the geometry. Raises InputError for a reference of another size.
    """
    shape = (geometry.height, geometry.width)
    if reference is not None and reference.bitmap.shape != shape:
        raise InputError(f"a sketch of {shape} cannot follow one of {reference.bitmap.shape}")
    mode = reader.read(_mode_model(reference))
    if mode == BLANK:
        return SketchState(np.zeros(shape, dtype=np.uint8))
    if mode == HELD:
        return SketchState(np.zeros(shape, dtype=np.uint8)) if reference is None else reference
    down = right = 0
    if mode == MOVED:
        down = reader.read(_motion_model()) - MAX_MOTION
        right = reader.read(_motion_model()) - MAX_MOTION
    seen = _seen(reference, mode, down, right)
    fullness = reader.read(_fullness_model(reference, mode))
    stillness = 0 if seen is None else reader.read(_stillness_model())
    kind = MapClass(fullness, stillness)
    bitmap, ones = decode_pixels(reader.position(), shape, seen, kind)
    reader.skip_binary(bitmap.ravel(), ones)
    return SketchState(bitmap)


def warm_up(geometry: SketchGeometry) -> None:
    """Compile, or load what is compiled, for a session's first frame."""
    bitmap = np.zeros((geometry.height, geometry.width), dtype=np.uint8)
    bitmap[4, 2:14] = bitmap[8, 2:14] = 1
    reference = None
    for budget_bits in (4000, 24, 4000):
        plan = plan_sketch(np.roll(bitmap, budget_bits % 7, 1), reference, budget_bits)
        writer = PayloadWriter()
        write_sketch(writer, plan, reference)
        reference = read_sketch(PayloadReader(writer.finish()), reference, geometry)
    enlarge_sketch(shrink_sketch(bitmap, geometry), 2 * geometry.width, 2 * geometry.height)


def _bare(mode: int, bitmap: NDArray[np.uint8], reference: SketchState | None) -> SketchPlan:
    """Blank or held."""
    held = mode == HELD and reference is not None
    state = reference if held and reference else SketchState(np.zeros_like(bitmap))
    return _measured(
        SketchPlan(mode, 0, 0, state, 0, np.array_equal(state.bitmap, bitmap)), reference
    )


def _with_pixels(
    sent: NDArray[np.uint8],
    bitmap: NDArray[np.uint8],
    reference: SketchState | None,
    mode: int,
    down: int,
    right: int,
) -> SketchPlan:
    """The plan that sends this map for that."""
    lossless = np.array_equal(sent, bitmap)
    plan = SketchPlan(mode, down, right, SketchState(sent.copy()), 0, lossless)
    return _measured(plan, reference)


def _measured(plan: SketchPlan, reference: SketchState | None) -> SketchPlan:
    """With its length, found by writing it: over thousands of pixels, the coder's rounding adds a
    bit or two in a hundred to the information."""
    writer = PayloadWriter()
    write_sketch(writer, plan, reference)
    return replace(plan, bits=writer.num_bits)


def _seen(
    reference: SketchState | None, mode: int, down: int, right: int
) -> NDArray[np.uint8] | None:
    """The reference as the pixels' model sees it."""
    if mode == INTRA or reference is None:
        return None
    return shifted(reference.bitmap, down, right)


def _mode_frequencies(reference: SketchState | None) -> tuple[int, ...]:
    return _MODES if reference is not None else _MODES_ALONE


def _mode_bits(mode: int, reference: SketchState | None) -> float:
    frequencies = _mode_frequencies(reference)
    return math.log2(sum(frequencies) / frequencies[mode])


def _fullness_frequencies(reference: SketchState | None, mode: int) -> list[int]:
    """Near the reference's own, or anything."""
    if mode == INTRA or reference is None:
        return [1] * NUM_FULLNESS
    before = fullness_of(reference.bitmap)
    return [_FULLNESS_CHANGE[abs(k - before)] for k in range(NUM_FULLNESS)]


def _header_bits(
    mode: int, down: int, right: int, kind: MapClass, reference: SketchState | None
) -> float:
    """Of everything before the pixels."""
    bits = _mode_bits(mode, reference)
    if mode == MOVED:
        total = sum(_MOTION)
        bits += sum(math.log2(total / _MOTION[step + MAX_MOTION]) for step in (down, right))
    frequencies = _fullness_frequencies(reference, mode)
    bits += math.log2(sum(frequencies) / frequencies[kind.fullness])
    if mode != INTRA and reference is not None:
        bits += math.log2(NUM_STILLNESS)
    return bits


def _information(
    bitmap: NDArray[np.uint8], reference: SketchState | None, mode: int, down: int, right: int
) -> float:
    """Bits of all symbols of a map, less what the coder's rounding adds."""
    seen = _seen(reference, mode, down, right)
    kind = class_of(bitmap, seen)
    header = _header_bits(mode, down, right, kind, reference)
    return header + float(pixel_bits(bitmap, seen, kind).sum())


def _mode_model(reference: SketchState | None) -> Categorical:
    return categorical(_mode_frequencies(reference))


def _motion_model() -> Categorical:
    return categorical(_MOTION)


def _stillness_model() -> Categorical:
    return categorical([1] * NUM_STILLNESS)


def _fullness_model(reference: SketchState | None, mode: int) -> Categorical:
    return categorical(_fullness_frequencies(reference, mode))
