"""Labels are kept over time, outlines are steady, label 1 is the main object."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from transmitter.extractors.tracking import MAIN_LABEL, MAX_OBJECTS, Tracker, tidy

SIDE = 176
"""The tracker's own working size for squares, so that masks are not resized."""


def _scene(*boxes: tuple[int, int, int, int]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A textured picture with coloured boxes (left, top, width, height), and their masks."""
    rng = np.random.default_rng(7)
    frame = np.repeat(np.repeat(rng.integers(60, 120, (22, 22, 3)), 8, 0), 8, 1).astype(np.uint8)
    masks = np.zeros((len(boxes), SIDE, SIDE), bool)
    colours = ((220, 60, 40), (40, 80, 230), (60, 210, 60))
    for mask, box, colour in zip(masks, boxes, colours, strict=False):
        left, top, width, height = box
        texture = rng.integers(-25, 25, (height, width, 1))
        spot = np.clip(np.array(colour) + texture, 0, 255)
        frame[top : top + height, left : left + width] = spot
        mask[top : top + height, left : left + width] = True
    return frame, masks


def _label_at(labels: NDArray[np.uint8], box: tuple[int, int, int, int]) -> int:
    left, top, width, height = box
    return int(labels[top + height // 2, left + width // 2])


def test_objects_keep_their_labels_while_masks_change_order() -> None:
    tracker = Tracker()
    seen = set()
    for k in range(12):
        a, b = (20 + 4 * k, 30, 40, 50), (120 - 3 * k, 110, 30, 40)
        frame, masks = _scene(a, b)
        order = [0, 1] if k % 2 else [1, 0]
        labels = tracker.update(masks[order], np.array([0.9, 0.8])[order], frame)
        seen.add((_label_at(labels, a), _label_at(labels, b)))
    assert seen == {(1, 2)}


def test_label_one_is_the_most_salient() -> None:
    small, large = (10, 10, 24, 24), (70, 60, 70, 70)
    frame, masks = _scene(small, large)
    labels = Tracker().update(masks, [0.9, 0.9], frame)
    assert _label_at(labels, large) == MAIN_LABEL
    assert _label_at(labels, small) == 2


def test_main_changes_only_after_a_while() -> None:
    tracker = Tracker()
    a, b = (20, 60, 50, 50), (100, 60, 50, 50)
    frame, masks = _scene(a, b)
    tracker.update(masks, [0.9, 0.5], frame)
    mains = [_label_at(tracker.update(masks, [0.2, 0.9], frame), b) for _ in range(40)]
    assert mains[0] == 2
    assert mains[-1] == MAIN_LABEL
    assert sum(x != y for x, y in itertools.pairwise(mains)) == 1


def test_a_mask_that_is_missing_for_a_frame_changes_nothing() -> None:
    tracker = Tracker()
    box = (60, 60, 50, 50)
    frame, masks = _scene(box)
    for _ in range(4):
        before = tracker.update(masks, [0.9], frame)
    empty = np.zeros((0, SIDE, SIDE), bool)
    assert np.array_equal(tracker.update(empty, [], frame), before)
    assert _label_at(tracker.update(masks, [0.9], frame), box) == MAIN_LABEL


def test_an_object_that_is_gone_ends() -> None:
    tracker = Tracker()
    frame, masks = _scene((60, 60, 50, 50))
    for _ in range(4):
        tracker.update(masks, [0.9], frame)
    empty = np.zeros((0, SIDE, SIDE), bool)
    for _ in range(6):
        labels = tracker.update(empty, [], frame)
    assert not labels.any()


def test_ragged_masks_of_a_still_object_leave_its_outline_still() -> None:
    rng = np.random.default_rng(0)
    frame, masks = _scene((50, 50, 60, 60))
    tracker = Tracker()
    shown = []
    raw = []
    for _ in range(20):
        ragged = masks.copy()
        for _ in range(12):  # bites and bumps along the border, other ones in each frame
            x, y = rng.choice([50, 110]), rng.integers(50, 110)
            ragged[0, y - 2 : y + 2, x - 2 : x + 2] ^= True
        raw.append(ragged[0])
        shown.append(tracker.update(ragged, [0.9], frame) > 0)
    changes = [int((a ^ b).sum()) for a, b in itertools.pairwise(shown[8:])]
    raw_changes = [int((a ^ b).sum()) for a, b in itertools.pairwise(raw[8:])]
    assert np.mean(changes) < 0.3 * np.mean(raw_changes)


def test_two_objects_under_one_mask_stay_two_for_a_while() -> None:
    tracker = Tracker()
    a, b = (40, 60, 40, 50), (84, 60, 40, 50)
    frame, masks = _scene(a, b)
    for _ in range(30):
        tracker.update(masks, [0.9, 0.8], frame)
    together = masks.any(0, keepdims=True)
    for _ in range(5):
        labels = tracker.update(together, [0.9], frame)
    assert {_label_at(labels, a), _label_at(labels, b)} == {1, 2}
    for _ in range(20):
        labels = tracker.update(together, [0.9], frame)
    assert {_label_at(labels, a), _label_at(labels, b)} == {1}


def test_a_newcomer_shows_at_its_second_frame() -> None:
    tracker = Tracker()
    a, b = (20, 60, 50, 50), (110, 60, 50, 50)
    frame, masks = _scene(a, b)
    tracker.update(masks[:1], [0.9], frame)
    assert _label_at(tracker.update(masks, [0.9, 0.9], frame), b) == 0
    assert _label_at(tracker.update(masks, [0.9, 0.9], frame), b) == 2


def test_a_cut_forgets_all_objects() -> None:
    tracker = Tracker()
    a, b = (20, 20, 40, 60), (90, 90, 60, 60)
    frame, masks = _scene(a, b)
    for _ in range(4):
        tracker.update(masks, [0.9, 0.5], frame)
    labels = tracker.update(masks[1:], [0.5], 255 - frame)
    assert _label_at(labels, b) == MAIN_LABEL
    assert _label_at(labels, a) == 0


def test_labels_have_the_size_of_the_frame_and_masks_any_size() -> None:
    frame, masks = _scene((40, 40, 80, 80))
    wide = np.repeat(np.repeat(frame, 2, 0), 3, 1)
    labels = Tracker().update(masks.astype(np.float32), [0.9], wide)
    assert labels.shape == (2 * SIDE, 3 * SIDE)
    assert labels.dtype == np.uint8
    expected = np.repeat(np.repeat(masks[0], 2, 0), 3, 1)
    assert (labels > 0)[expected].mean() > 0.95
    assert (labels > 0)[~expected].mean() < 0.02


def test_at_most_fifteen_objects() -> None:
    frame, _ = _scene()
    masks = np.zeros((25, SIDE, SIDE), bool)
    for k in range(25):
        y, x = 35 * (k // 5) + 4, 35 * (k % 5) + 4
        masks[k, y : y + 24, x : x + 24] = True
    labels = Tracker().update(masks, np.full(25, 0.9), frame)
    assert labels.max() == MAX_OBJECTS
    assert set(np.unique(labels)) == set(range(MAX_OBJECTS + 1))


def test_no_masks_give_no_labels() -> None:
    frame, _ = _scene()
    assert not Tracker().update(np.zeros((0, 8, 8), bool), [], frame).any()


def test_the_same_video_gives_the_same_labels_after_reset() -> None:
    tracker = Tracker()

    def once() -> NDArray[np.uint8]:
        tracker.reset()
        made = []
        for k in range(6):
            frame, masks = _scene((20 + 5 * k, 30, 40, 50), (120, 110 - 4 * k, 30, 40))
            made.append(tracker.update(masks, [0.7, 0.8], frame))
        return np.stack(made)

    assert np.array_equal(once(), once())


def test_masks_and_scores_must_agree() -> None:
    frame, masks = _scene((20, 20, 40, 40))
    with pytest.raises(ValueError, match="scores"):
        Tracker().update(masks, [0.5, 0.5], frame)


def test_tidy_fills_pinholes_and_drops_specks() -> None:
    mask = np.zeros((60, 60), bool)
    mask[10:50, 10:50] = True
    clean = mask.copy()
    mask[30, 30] = False
    mask[2, 2] = True
    assert np.array_equal(tidy(mask), clean)
