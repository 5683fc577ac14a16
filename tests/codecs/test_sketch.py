"""The sketch codec: what is read is what was planned, in no more bits than were given."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from semcast.codecs import sketch
from semcast.codecs.errors import CorruptPayloadError
from semcast.codecs.range_payload import PayloadReader, PayloadWriter, categorical
from semcast.codecs.sketch import SketchGeometry, SketchPlan, SketchState
from semcast.codecs.sketch_search import best_motion, shifted, spoilt
from semcast.errors import InputError

Bitmap = NDArray[np.uint8]

GEOMETRY = SketchGeometry(64, 48)
PLENTY = 20_000


def drawing(step: int = 0, geometry: SketchGeometry = GEOMETRY) -> Bitmap:
    """A house that stands, a sun that moves, and grass."""
    bitmap = np.zeros((geometry.height, geometry.width), np.uint8)
    cv2.polylines(bitmap, [np.array([(8, 40), (8, 24), (18, 14), (28, 24), (28, 40)])], True, 1)
    cv2.rectangle(bitmap, (15, 30), (20, 40), 1)
    cv2.circle(bitmap, (36 + step, 12), 7, 1)
    for x in range(34, 60, 5):
        bitmap[42:45, x] = 1
    return bitmap


def sent(
    bitmap: Bitmap, reference: SketchState | None, budget_bits: int
) -> tuple[SketchPlan, SketchState, Bitmap]:
    """Plan, what is read of it, and the payload."""
    plan = sketch.plan_sketch(bitmap, reference, budget_bits)
    writer = PayloadWriter()
    state = sketch.write_sketch(writer, plan, reference)
    payload = writer.finish()
    geometry = SketchGeometry(bitmap.shape[1], bitmap.shape[0])
    read = sketch.read_sketch(PayloadReader(payload), reference, geometry)
    assert np.array_equal(read.bitmap, state.bitmap)
    assert np.array_equal(state.bitmap, plan.state.bitmap)
    assert len(payload) == plan.bits <= budget_bits
    return plan, read, payload


def test_all_of_it_where_bits_suffice() -> None:
    reference = None
    for step in range(3):
        plan, read, _ = sent(drawing(step), reference, PLENTY)
        assert plan.lossless
        assert np.array_equal(read.bitmap, drawing(step))
        reference = read


def test_golden_payloads() -> None:
    """The format: tables, order, headers. A change of any of them changes these."""
    _, first, alone = sent(drawing(), None, PLENTY)
    _, second, after = sent(drawing(1), first, PLENTY)
    _, _, scant = sent(drawing(6), second, 60)
    found = [hashlib.sha256(bits.tobytes()).hexdigest()[:16] for bits in (alone, after, scant)]
    assert found == GOLDEN, (found, len(alone), len(after), len(scant))


GOLDEN = ["7b692ff1eadd80e2", "971cf62011be9da1", "437a344f8e797e64"]


@given(
    seed=st.integers(0, 2**32 - 1),
    width=st.integers(16, 70),
    height=st.integers(16, 70),
    fullness=st.floats(0, 1),
    budget_bits=st.integers(sketch.MIN_BUDGET_BITS, 6000),
)
@settings(max_examples=60, deadline=None)
def test_any_map_fits_any_budget(
    seed: int, width: int, height: int, fullness: float, budget_bits: int
) -> None:
    """Noise, full maps, empty ones; with a reference and without."""
    rng = np.random.default_rng(seed)
    reference = None
    for _ in range(3):
        bitmap = (rng.random((height, width)) < fullness**3).astype(np.uint8)
        plan, reference, _ = sent(bitmap, reference, budget_bits)
        assert plan.lossless == np.array_equal(reference.bitmap, bitmap)


@pytest.mark.parametrize("with_reference", [False, True])
def test_more_bits_spoil_less(with_reference: bool) -> None:
    reference = SketchState(drawing(-8)) if with_reference else None
    spoils = []
    for budget_bits in (8, 40, 80, 160, 320, PLENTY):
        _, read, _ = sent(drawing(), reference, budget_bits)
        spoils.append(spoilt(drawing(), read.bitmap))
    assert spoils == sorted(spoils, reverse=True)
    assert spoils[0] > spoils[2] > spoils[-1] == 0


def test_long_strokes_come_first() -> None:
    """What is short of bits keeps the house and drops the grass."""
    _, read, _ = sent(drawing(), None, 150)
    house, grass = read.bitmap[12:42, 6:30], read.bitmap[42:46, 32:]
    assert house.sum() > 0.5 * drawing()[12:42, 6:30].sum()
    assert grass.sum() < 0.3 * drawing()[42:46, 32:].sum()


def test_nothing_new_costs_next_to_nothing() -> None:
    """Held: a few bits. Moved as a whole: little more."""
    state = SketchState(drawing())
    plan, _, payload = sent(drawing(), state, PLENTY)
    assert plan.mode == sketch.HELD and len(payload) <= 6
    alone = sent(drawing(), None, PLENTY)[0].bits
    moved = shifted(drawing(), 2, -3)
    plan, _, _ = sent(moved, state, PLENTY)
    assert plan.mode == sketch.MOVED and (plan.down, plan.right) == (2, -3)
    assert plan.bits < 0.5 * alone
    still = sent(drawing(1), state, PLENTY)[0]
    assert still.bits < 0.75 * alone, "the house stands"


def test_a_blank_sketch_and_one_that_becomes_blank() -> None:
    empty = np.zeros((48, 64), np.uint8)
    for reference in (None, SketchState(drawing())):
        plan, read, payload = sent(empty, reference, sketch.MIN_BUDGET_BITS)
        assert plan.lossless and not read.bitmap.any() and len(payload) <= 8


def test_a_cut_is_coded_alone() -> None:
    """A reference that shows something else is not followed."""
    rng = np.random.default_rng(3)
    other = cv2.resize(rng.integers(0, 2, (12, 16), np.uint8), (64, 48), interpolation=0)
    other = sketch.shrink_sketch(
        cv2.morphologyEx(other, cv2.MORPH_GRADIENT, np.ones((2, 2))), GEOMETRY
    )
    plan, _read, _ = sent(drawing(), SketchState(other), PLENTY)
    assert plan.mode == sketch.INTRA and plan.lossless


def test_it_shares_a_coder_with_what_comes_before_and_after() -> None:
    model = categorical([3, 1, 40, 7])
    rng = np.random.default_rng(1)
    symbols = [int(s) for s in rng.integers(0, 4, 300)]
    writer = PayloadWriter()
    states = []
    for step in range(2):
        for symbol in symbols[150 * step :][:150]:
            writer.write(symbol, model)
        reference = states[-1] if states else None
        plan = sketch.plan_sketch(drawing(step), reference, PLENTY)
        states.append(sketch.write_sketch(writer, plan, reference))
    writer.write(2, model)
    reader = PayloadReader(writer.finish())
    reference = None
    for step in range(2):
        assert [reader.read(model) for _ in range(150)] == symbols[150 * step :][:150]
        reference = sketch.read_sketch(reader, reference, GEOMETRY)
        assert np.array_equal(reference.bitmap, drawing(step))
    assert reader.read(model) == 2


def test_the_plan_knows_its_bits() -> None:
    """The growth of a payload is what the plan said, but for the tail."""
    model = categorical([5, 3])
    for step, budget_bits in ((0, PLENTY), (2, 100)):
        writer = PayloadWriter()
        for k in range(100):
            writer.write(k % 2, model)
        before = writer.num_bits
        plan = sketch.plan_sketch(drawing(step), None, budget_bits)
        sketch.write_sketch(writer, plan, None)
        assert abs(writer.num_bits - before - plan.bits) <= 3 + 0.02 * plan.bits


@given(seed=st.integers(0, 2**32 - 1), size=st.integers(0, 900), kind=st.integers(0, 2))
@settings(max_examples=150, deadline=None)
def test_garbage_is_refused_or_read_as_some_sketch(seed: int, size: int, kind: int) -> None:
    rng = np.random.default_rng(seed)
    reference = SketchState(drawing()) if seed % 2 else None
    if kind == 0:
        bits = rng.integers(0, 2, size, np.uint8)
    elif kind == 1:
        bits = np.ones(size, np.uint8)
    else:
        writer = PayloadWriter()
        sketch.write_sketch(writer, sketch.plan_sketch(drawing(2), reference, 400), reference)
        bits = writer.finish()
        bits[rng.integers(len(bits))] ^= 1
    try:
        read = sketch.read_sketch(PayloadReader(bits), reference, GEOMETRY)
    except CorruptPayloadError:
        return
    assert read.bitmap.shape == (48, 64) and set(np.unique(read.bitmap)) <= {0, 1}


def test_states_cannot_be_written_to() -> None:
    _, read, _ = sent(drawing(), None, PLENTY)
    with pytest.raises(ValueError, match="read-only"):
        read.bitmap[0, 0] = 1


def test_a_plan_leaves_its_input_alone() -> None:
    bitmap = drawing()
    plan = sketch.plan_sketch(bitmap, None, PLENTY)
    bitmap[:] = 1
    assert np.array_equal(plan.state.bitmap, drawing())


def test_what_cannot_be_sent_is_said() -> None:
    with pytest.raises(InputError, match="at least 8 bits, not 7"):
        sketch.plan_sketch(drawing(), None, 7)
    with pytest.raises(InputError, match="cannot be predicted"):
        sketch.plan_sketch(drawing(), SketchState(np.zeros((16, 16), np.uint8)), 100)
    with pytest.raises(InputError, match="0 and 1"):
        sketch.plan_sketch(255 * drawing(), None, 100)
    with pytest.raises(InputError, match="width must be 16 to 256"):
        SketchGeometry(8, 64)
    with pytest.raises(InputError, match="choose a smaller one"):
        SketchGeometry(256, 128)


@pytest.mark.parametrize(
    ("video", "expected"),
    [
        ((256, 256), (96, 96)),
        ((1024, 512), (136, 64)),
        ((64, 64), (64, 64)),
        ((9, 9000), (16, 256)),
    ],
)
def test_geometry_follows_the_video(video: tuple[int, int], expected: tuple[int, int]) -> None:
    geometry = sketch.geometry_for(*video)
    assert (geometry.width, geometry.height) == expected


def test_shrinking_keeps_lines_whole_and_thin() -> None:
    large = np.zeros((256, 256), np.uint8)
    cv2.circle(large, (128, 128), 90, 1)
    cv2.line(large, (10, 20), (240, 60), 1)
    large[250, 250] = 1
    small = sketch.shrink_sketch(large, SketchGeometry(96, 96))
    count, _, _stats, _ = cv2.connectedComponentsWithStats(small, connectivity=8)
    assert count - 1 <= 2, "nothing is torn, and the speck is gone"
    blocks = small[:-1, :-1] + small[1:, :-1] + small[:-1, 1:] + small[1:, 1:]
    assert blocks.max() <= 3, "nowhere two pixels thick"
    assert small.sum() < 0.5 * large.sum()
    # Inside and outside of the circle stay apart.
    _, regions = cv2.connectedComponents(1 - small, connectivity=4)
    assert regions[48, 48] != regions[90, 90]


@pytest.mark.parametrize("size", [(96, 96), (256, 256), (512, 256)])
def test_enlarging_gives_the_same_drawing(size: tuple[int, int]) -> None:
    small = sketch.shrink_sketch(
        cv2.circle(np.zeros((256, 256), np.uint8), (128, 128), 90, 1), SketchGeometry(96, 96)
    )
    large = sketch.enlarge_sketch(small, *size)
    assert large.shape == size[::-1] and set(np.unique(large)) == {0, 1}
    rows, columns = np.nonzero(large)
    radius = np.hypot((rows + 0.5) / size[1] - 0.5, (columns + 0.5) / size[0] - 0.5)
    assert np.all(abs(radius - 90 / 256) < 0.02)
    _, regions = cv2.connectedComponents(1 - large, connectivity=4)
    assert regions[size[1] // 2, size[0] // 2] != regions[0, 0], "still closed"
    assert cv2.connectedComponents(large, connectivity=8)[0] == 2, "still one line"


@given(down=st.integers(-7, 7), right=st.integers(-7, 7))
@settings(max_examples=30, deadline=None)
def test_motion_is_found(down: int, right: int) -> None:
    assert best_motion(shifted(drawing(), down, right), drawing()) == (down, right)
