"""What the segmenter learns from: teachers' labels, objects cut out and moved, outlines."""

import numpy as np
import pytest
from numpy.typing import NDArray

from training.data import Shot
from training.recipes.segmenter import (
    _Clip,
    _cut_out,
    _draw_pair,
    _kinds_of_shot,
    _paste,
    _subject_by_kinds,
    outline,
)
from training.teachers import read_labels, refine_person
from transmitter.extractors.segmenter_network import KINDS

PERSON = KINDS.index("person")


def _clip(origin: str, *, labels: bool, kinds: bool, seed: int = 0) -> _Clip:
    """Six frames of noise, 120 x 160, with a box that is an object (and a person to teachers)."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 60, (6, 120, 160, 3), np.uint8)
    mask = np.zeros((6, 120, 160), np.uint8)
    for k in range(6):
        mask[k, 30:90, 30 + 5 * k : 80 + 5 * k] = 1
    frames[mask > 0] += 180
    seen = np.zeros((6, 60, 80, len(KINDS)), np.uint8)
    seen[..., PERSON] = 255 * mask[:, ::2, ::2]
    seen[..., 0] = 255 - seen[..., PERSON]
    return _Clip("clip", origin, frames, 24.0, mask if labels else None, seen if kinds else None)


def test_refined_people_are_still_probabilities() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.random((20, 30, len(KINDS)), np.float32)
    kinds /= kinds.sum(-1, keepdims=True)
    portrait = rng.random((20, 30), np.float32)
    refined = refine_person(kinds, portrait)
    assert np.allclose(refined.sum(-1), 1, atol=1e-5)
    assert np.allclose(refined[..., PERSON], (kinds[..., PERSON] + portrait) / 2, atol=1e-6)


def test_a_small_person_is_not_shown_to_the_portrait_network() -> None:
    kinds = np.zeros((20, 30, len(KINDS)), np.float32)
    kinds[..., 0] = 1
    assert np.array_equal(refine_person(kinds, np.ones((20, 30), np.float32)), kinds)


def test_labels_of_thinned_clips_are_thinned_alike() -> None:
    kinds = np.arange(31, dtype=np.uint8)[:, None, None, None]
    shot = Shot("clip", np.zeros((16, 4, 4, 3), np.uint8), 7.5)
    thinned = _kinds_of_shot(kinds, shot)
    assert thinned is not None
    assert np.array_equal(thinned[:, 0, 0, 0], np.arange(0, 31, 2))
    assert _kinds_of_shot(kinds, Shot("clip", np.zeros((9, 4, 4, 3), np.uint8), 7.5)) is None


def test_no_labels_where_no_teacher_looked(tmp_path: object) -> None:
    assert read_labels(tmp_path, "clip") is None  # type: ignore[arg-type]


def test_outlines_lie_on_both_sides_of_a_border() -> None:
    objects = np.zeros((8, 8), np.uint8)
    objects[:, 4:] = 1
    objects[4:, 4:] = 2
    edge = outline(objects)
    assert edge[:, 3:5].all()
    assert edge[3:5, 4:].all()
    assert not edge[:, :3].any()
    assert not edge[:3, 5:].any(), "the frame's edge is none"


def test_the_largest_seen_object_is_the_subject_and_doubt_does_not_count() -> None:
    kinds = np.zeros((60, 60, len(KINDS)), np.float32)
    kinds[10:40, 10:40, PERSON] = 1.0
    kinds[50:54, 50:54, PERSON] = 1.0
    kinds[45:48, 0:10, PERSON] = 0.3
    kinds[..., 0] = 1 - kinds[..., PERSON]
    objects, main, weight = _subject_by_kinds(kinds)
    assert main[20, 20] == 1 and weight[20, 20] == 0.5
    assert main[51, 51] == 0 and weight[51, 51] == 0, "much smaller: nobody knows"
    assert weight[46, 5] == 0, "unsure"
    assert weight[5, 55] == 0.5 and objects[5, 55] == 0


@pytest.mark.parametrize("origin", ["davis", "scene", "teacher"])
def test_a_pair_is_consistent(origin: str) -> None:
    clip = _clip(origin, labels=origin != "teacher", kinds=origin != "scene")
    rng = np.random.default_rng(3)
    for _ in range(8):
        pair = _draw_pair(clip, 64, rng)
        assert pair.now.shape == pair.before.shape == (64, 64, 3)
        assert np.allclose(pair.kinds.sum(-1), 1, atol=1e-2)
        inside = pair.objects > 0
        assert inside.any()
        bright = pair.now.min(-1) > 120
        assert (bright & inside).sum() > 0.9 * inside.sum(), "labels lie on the object"
        assert pair.main[inside].min() == 1


@pytest.mark.parametrize("from_teacher", [False, True])
def test_a_pasted_object_is_labelled_where_it_is(from_teacher: bool) -> None:
    source = _clip("teacher" if from_teacher else "davis", labels=not from_teacher, kinds=True)
    background = _clip("davis", labels=True, kinds=True, seed=1)
    background.labels[:] = 0  # type: ignore[index]
    background.frames[:] = 20
    pasted = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        pair = _draw_pair(background, 96, rng)
        _paste(pair, source, 0.0, rng)
        if not pair.objects.any():
            continue
        pasted += 1
        found: NDArray[np.bool_] = pair.now.min(-1) > 100
        assert (found ^ (pair.objects > 0)).sum() < 0.15 * found.sum()
        assert np.array_equal(pair.main > 0, pair.objects > 0)
        assert pair.kinds[pair.objects > 0][:, PERSON].min() > 0.9
    assert pasted >= 9


def test_what_the_frame_cuts_off_is_not_cut_out() -> None:
    clip = _clip("teacher", labels=False, kinds=True)
    assert clip.kinds is not None
    clip.kinds[:, :, :, PERSON] = 0
    clip.kinds[:, 30:, :30, PERSON] = 255
    clip.kinds[..., 0] = 255 - clip.kinds[..., PERSON]
    assert _cut_out(clip, 2, np.random.default_rng(0)) is None
