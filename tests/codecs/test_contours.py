"""The contour codec: both ends agree, budgets hold, losses stay local, garbage does no harm."""

import hashlib
import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from semcast.codecs.contours import (
    MIN_BUDGET_BITS,
    ContourSettings,
    ContourState,
    plan_contours,
    read_contours,
    write_contours,
)
from semcast.codecs.errors import CorruptPayloadError
from semcast.codecs.range_payload import PayloadReader, PayloadWriter
from semcast.errors import InputError
from semcast.samples import sample_masks

SESSION = ContourSettings(width=128, height=96)


def blobs(seed: int, count: int, width: int = 128, height: int = 96) -> NDArray[np.uint8]:
    """A label map of overlapping ellipses, some beyond the frame."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((height, width), dtype=np.uint8)
    for object_id in rng.permutation(15)[:count] + 1:
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        axes = (int(rng.integers(2, width // 3)), int(rng.integers(2, height // 3)))
        cv2.ellipse(labels, centre, axes, float(rng.uniform(0, 180)), 0, 360, int(object_id), -1)
    return labels


def crossed(
    labels: NDArray[np.uint8],
    reference: ContourState | None,
    budget_bits: float,
    session: ContourSettings = SESSION,
) -> tuple[NDArray[np.uint8], ContourState]:
    """Payload and received state; asserts that both ends agree and the budget holds."""
    plan = plan_contours(labels, reference, budget_bits, session)
    assert plan.num_bits <= budget_bits
    writer = PayloadWriter()
    write_contours(writer, plan, reference, session)
    bits = writer.finish()
    assert len(bits) <= plan.num_bits + 2.01
    received = read_contours(PayloadReader(bits), reference, session)
    assert np.array_equal(received.labels, plan.state.labels)
    assert len(received.objects) == len(plan.state.objects)
    for ours, theirs in zip(plan.state.objects, received.objects, strict=True):
        assert (ours.id, ours.level, ours.motion) == (theirs.id, theirs.level, theirs.motion)
        assert np.array_equal(ours.points, theirs.points)
        assert np.array_equal(ours.offsets, theirs.offsets)
    return bits, received


def mean_iou(sent: NDArray[np.uint8], received: NDArray[np.uint8]) -> float:
    ids = [k for k in np.unique(sent) if k]
    pairs = [(sent == k, received == k) for k in ids]
    return float(np.mean([(a & b).sum() / (a | b).sum() for a, b in pairs])) if ids else 1.0


def scene(num_frames: int, size: int = 192) -> list[NDArray[np.uint8]]:
    """The bundled `gripper` clip's objects at 8 frames a second."""
    labels, _ = sample_masks("gripper")
    return [
        cv2.resize(frame, (size, size), interpolation=cv2.INTER_NEAREST)
        for frame in labels[: 2 * num_frames : 2]
    ]


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 15),
    budgets=st.lists(st.floats(MIN_BUDGET_BITS, 900), min_size=1, max_size=3),
)
@settings(max_examples=15, deadline=None)
def test_any_maps_within_any_budget(seed: int, count: int, budgets: list[float]) -> None:
    reference = None
    for step, budget_bits in enumerate(budgets):
        _, reference = crossed(blobs(seed + step, count), reference, budget_bits)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=8, deadline=None)
def test_noise_for_a_map(seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 16, (96, 128)).astype(np.uint8)
    _, state = crossed(labels, None, 300)
    crossed(labels.T.reshape(96, 128).copy(), state, 300)


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (1024, 512), (200, 90)])
def test_every_size_of_frame(size: tuple[int, int]) -> None:
    session = ContourSettings(width=size[0], height=size[1])
    first = blobs(5, 5, *size)
    _, state = crossed(first, None, 400, session)
    _, state = crossed(np.roll(first, 3, axis=1), state, 200, session)
    assert mean_iou(np.roll(first, 3, axis=1), state.labels) > 0.4


def test_a_generous_budget_gives_a_faithful_map() -> None:
    labels = scene(1)[0]
    session = ContourSettings(width=192, height=192, num_symbols=97, min_gain=0.001)
    state = None
    for _ in range(4):
        _, state = crossed(labels, state, 3000, session)
    assert state is not None
    assert mean_iou(labels, state.labels) > 0.9


def test_a_still_scene_falls_silent_and_stays_so() -> None:
    labels = blobs(3, 4)
    session = SESSION
    state = None
    for _ in range(25):
        _, state = crossed(labels, state, 150, session)
    assert state is not None
    fidelity = mean_iou(labels, state.labels)
    assert fidelity > 0.85
    for _ in range(3):
        bits, state = crossed(labels, state, 120, session)
        # The issue asks for at most one bit an object and a byte.
        assert len(bits) <= 6
    assert mean_iou(labels, state.labels) == fidelity


def test_bits_left_over_build_up_quality() -> None:
    labels = scene(1)[0]
    session = ContourSettings(width=192, height=192)
    state, fidelity = None, []
    for _ in range(24):
        _, state = crossed(labels, state, 100, session)
        fidelity.append(mean_iou(labels, state.labels))
    assert fidelity[-1] > fidelity[0] + 0.3
    assert fidelity[-1] > 0.7


def test_motion_costs_a_fraction_of_a_new_map() -> None:
    labels = np.zeros((96, 128), dtype=np.uint8)
    cv2.ellipse(labels, (50, 40), (30, 18), 20, 0, 360, 4, -1)
    bits_first, state = crossed(labels, None, 400)
    shifted = np.roll(labels, (5, 9), axis=(0, 1))
    bits_next, state = crossed(shifted, state, 400)
    assert len(bits_next) < len(bits_first) / 2
    assert mean_iou(shifted, state.labels) > 0.93


def test_constant_motion_is_predicted() -> None:
    labels = np.zeros((96, 128), dtype=np.uint8)
    cv2.ellipse(labels, (40, 40), (16, 16), 0, 0, 360, 4, -1)
    _, state = crossed(labels, None, 400)
    spent = []
    for step in range(1, 6):
        bits, state = crossed(np.roll(labels, 6 * step, axis=1), state, 400)
        spent.append(len(bits))
    assert np.mean(spent[2:]) < spent[0]


def test_births_and_deaths() -> None:
    both = np.zeros((96, 128), dtype=np.uint8)
    both[10:40, 10:50] = 2
    one = both.copy()
    both[50:80, 60:110] = 9
    _, state = crossed(one, None, 200)
    assert list(state.polygons) == [2]
    _, state = crossed(both, state, 200)
    assert list(state.polygons) == [2, 9]
    both[both == 2] = 0
    _, state = crossed(both, state, 200)
    assert list(state.polygons) == [9]
    _, state = crossed(np.zeros_like(both), state, MIN_BUDGET_BITS)
    assert not state.polygons and not state.labels.any()


def test_a_hole_and_several_pieces_survive() -> None:
    labels = np.zeros((96, 128), dtype=np.uint8)
    labels[8:80, 8:70] = 1
    labels[30:60, 25:50] = 0
    labels[20:70, 90:120] = 1
    _, state = crossed(labels, None, 2000)
    assert len(state.polygons[1]) == 3
    assert mean_iou(labels, state.labels) > 0.95


def test_a_shared_border_is_cheaper_than_two() -> None:
    left = np.zeros((96, 128), dtype=np.uint8)
    cv2.ellipse(left, (64, 48), (44, 36), 0, 0, 360, 1, -1)
    together = left.copy()
    cv2.ellipse(together, (64, 48), (20, 14), 30, 0, 360, 2, -1)
    inner = np.where(together == 2, together, 0)
    bits_together, state = crossed(together, None, 4000)
    alone = [len(crossed(part, None, 4000)[0]) for part in (left, inner)]
    # The object behind goes on under the one in front: no second copy of the border is sent.
    assert len(bits_together) <= sum(alone) + 4
    assert mean_iou(together, state.labels) > 0.93


def test_a_coarser_tolerance_costs_fewer_bits() -> None:
    totals, fidelity = [], []
    frames = [np.where(frame == 2, 1, 0).astype(np.uint8) for frame in scene(17)[::8]]
    for tolerance in (0.7, 1.4, 2.8, 5.6):
        session = ContourSettings(width=192, height=192, tolerance=tolerance, min_gain=0)
        sent = [crossed(frame, None, 1e5, session) for frame in frames]
        totals.append(sum(len(bits) for bits, _ in sent))
        pairs = zip(frames, sent, strict=True)
        fidelity.append(np.mean([mean_iou(frame, state.labels) for frame, (_, state) in pairs]))
    assert all(a > b for a, b in itertools.pairwise(totals))
    assert all(a > b - 0.02 for a, b in itertools.pairwise(fidelity))


def test_a_lost_frame_costs_itself_only() -> None:
    frames = scene(6)
    session = ContourSettings(width=192, height=192)
    _, first = crossed(frames[0], None, 300, session)
    crossed(frames[1], first, 150, session)  # lost: its state is never used
    _, third = crossed(frames[2], first, 150, session)
    bits, again = crossed(frames[2], first, 150, session)
    assert np.array_equal(third.labels, again.labels)
    crossed(frames[3], again, 150, session)
    assert len(bits) <= 152


def test_states_are_not_changed_by_coding_from_them() -> None:
    frames = scene(3)
    session = ContourSettings(width=192, height=192)
    _, state = crossed(frames[0], None, 300, session)
    points = [held.points.copy() for held in state.objects]
    crossed(frames[1], state, 150, session)
    crossed(frames[2], state, 150, session)
    for held, before in zip(state.objects, points, strict=True):
        assert np.array_equal(held.points, before)


def test_golden_bitstream() -> None:
    """Three frames of `gripper` at 160 bits, as coded when the format was fixed."""
    session = ContourSettings(width=192, height=192)
    payloads = (
        "cb3a67a79b39d76a8c5f19163b4f9c768d10",
        "9cb62e004937a576eaf1dc4dd5b89b8721b52248",
        "284da68d1873104e1fdc269de31557efc98c95ce",
    )
    digest = hashlib.sha256()
    state = None
    for payload in payloads:
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(payload), dtype=np.uint8))
        state = read_contours(PayloadReader(bits), state, session)
        digest.update(state.labels.tobytes())
    assert digest.hexdigest()[:16] == "a79a1508f12ec3ce"


@pytest.fixture(scope="module")
def held_state() -> ContourState:
    state = None
    for _ in range(3):
        _, state = crossed(blobs(11, 6), state, 300)
    assert state is not None
    return state


@given(data=st.binary(min_size=0, max_size=80), with_reference=st.booleans())
@settings(max_examples=150, deadline=None)
def test_random_payloads_do_no_harm(
    data: bytes, with_reference: bool, held_state: ContourState
) -> None:
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8))
    reference = held_state if with_reference else None
    try:
        state = read_contours(PayloadReader(bits), reference, SESSION)
    except CorruptPayloadError:
        return
    assert state.labels.shape == (96, 128)
    assert len(state.objects) <= 15
    plan_contours(blobs(12, 3), state, 100, SESSION)


def test_single_bit_errors_do_no_harm(held_state: ContourState) -> None:
    bits, _ = crossed(np.roll(blobs(11, 6), 6, axis=1), held_state, 400)
    for position in range(len(bits)):
        corrupt = bits.copy()
        corrupt[position] ^= 1
        try:
            state = read_contours(PayloadReader(corrupt), held_state, SESSION)
        except CorruptPayloadError:
            continue
        assert state.labels.max() <= 15


def test_what_cannot_be_coded_is_refused() -> None:
    with pytest.raises(InputError, match="labels must be"):
        plan_contours(np.zeros((96, 100), dtype=np.uint8), None, 100, SESSION)
    with pytest.raises(InputError, match="over 15"):
        plan_contours(np.full((96, 128), 16, dtype=np.uint8), None, 100, SESSION)
    with pytest.raises(InputError, match="at least"):
        plan_contours(np.zeros((96, 128), dtype=np.uint8), None, 3, SESSION)
    other = ContourState((), 64, 64)
    with pytest.raises(InputError, match="another size"):
        plan_contours(np.zeros((96, 128), dtype=np.uint8), other, 100, SESSION)
