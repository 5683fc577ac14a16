"""What was received, as the tiny model takes it: which picture, planes, facts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from receiver.diffusion.adapters import CONTROL_CHANNELS, NUM_FACTS
from receiver.diffusion.conditions import (
    control_planes,
    degraded_modality,
    edges_of,
    facts_of,
    to_condition_size,
)
from receiver.generator import Conditions
from semcast.session import Modality

NOTHING = Conditions({}, {})


def picture(height: int = 8, width: int = 8) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 90, np.uint8)


def having(**ages: int) -> Conditions:
    came = {Modality[name.upper()]: age for name, age in ages.items()}
    pictures = {m: picture() for m in came if m in (Modality.LOWRES, Modality.KEYFRAME)}
    labels = np.zeros((16, 16), np.uint8) if Modality.CONTOURS in came else None
    sketch = np.zeros((8, 8), np.uint8) if Modality.SKETCH in came else None
    return Conditions(pictures, came, labels=labels, sketch=sketch, snr_db=7.0)


def test_a_frame_is_closest_to_its_low_res_picture_but_for_a_key_picture_of_its_own() -> None:
    assert degraded_modality(NOTHING) is None
    assert degraded_modality(having(sketch=0)) is None
    assert degraded_modality(having(lowres=3)) == Modality.LOWRES
    assert degraded_modality(having(keyframe=40)) == Modality.KEYFRAME
    assert degraded_modality(having(lowres=0, keyframe=1)) == Modality.LOWRES
    assert degraded_modality(having(lowres=0, keyframe=0)) == Modality.KEYFRAME


def test_planes_tell_objects_apart_and_where_they_end() -> None:
    labels = np.zeros((32, 48), np.uint8)
    labels[8:16, 8:24] = 1
    labels[16:24, 24:40] = 2
    planes = control_planes(Conditions({}, {}, labels=labels), 48, 32)
    assert planes.shape == (CONTROL_CHANNELS, 32, 48) and planes.dtype == np.float32
    codes = {tuple(planes[:3, y, x]) for y, x in ((0, 0), (10, 10), (20, 30))}
    assert len(codes) == 3 and (0.0, 0.0, 0.0) in codes
    assert np.array_equal(planes[3], edges_of(labels))
    assert 0 < planes[3].sum() < 120
    assert (planes[4] == 1).all() and not planes[5:].any()


def test_no_contours_and_contours_of_nothing_are_not_the_same() -> None:
    empty = Conditions({}, {}, labels=np.zeros((16, 16), np.uint8))
    assert not control_planes(NOTHING, 16, 16).any()
    assert control_planes(empty, 16, 16)[4].all()


def test_a_sketch_of_any_size_fills_the_frame() -> None:
    sketch = np.zeros((8, 8), np.uint8)
    sketch[:, 3:5] = 255
    planes = control_planes(Conditions({}, {}, sketch=sketch), 64, 32)
    assert planes[5, :, 31:33].min() > 0.9 and planes[5, :, :16].max() == 0
    assert (planes[6] == 1).all() and not planes[:5].any()


def test_labels_of_another_size_keep_their_numbers() -> None:
    labels = np.full((30, 30), 5, np.uint8)
    exact = control_planes(Conditions({}, {}, labels=labels), 30, 30)[:3, 0, 0]
    assert np.array_equal(
        control_planes(Conditions({}, {}, labels=labels), 64, 48)[:3].reshape(3, -1).T,
        np.tile(exact, (48 * 64, 1)),
    )


def test_facts_tell_snr_presence_and_age() -> None:
    facts = facts_of(having(lowres=2, sketch=0))
    assert facts.shape == (NUM_FACTS,)
    assert facts[:2] == pytest.approx([0.7, 1.0])
    assert facts[2:4] == pytest.approx([1.0, math.log(3)])
    assert not facts[4:8].any()
    assert facts[8:] == pytest.approx([1.0, 0.0])


@pytest.mark.parametrize("snr_db", [None, math.nan])
def test_an_snr_that_is_not_known_is_said_so(snr_db: float | None) -> None:
    assert not facts_of(Conditions({}, {}, snr_db=snr_db))[:2].any()
    assert facts_of(Conditions({}, {}, snr_db=0.0))[1] == 1.0


def test_facts_stay_in_range_whatever_the_age() -> None:
    facts = facts_of(having(lowres=10**6, keyframe=10**9))
    assert np.isfinite(facts).all() and abs(facts).max() < 6


def test_pictures_shrink_by_area_and_grow_smoothly() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[::2] = 200
    assert (to_condition_size(stripes, 16, 16) == 100).all()
    assert to_condition_size(picture(5, 7), 40, 30).shape == (30, 40, 3)
    same = picture(24, 16)
    assert to_condition_size(same, 16, 24) is same
