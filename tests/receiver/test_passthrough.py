"""The generator without a network: which picture it takes, and how large it makes it."""

from __future__ import annotations

import numpy as np
import pytest

from receiver.generator import Conditions, GeneratorContext, PassthroughGenerator
from semcast.session import Modality

CONTEXT = GeneratorContext(width=48, height=32, fps=8.0, seed=1)


def conditions(**levels: int) -> Conditions:
    """Small pictures of one level each, by modality."""
    pictures = {
        Modality[name.upper()]: np.full((8, 12, 3), level, np.uint8)
        for name, level in levels.items()
    }
    return Conditions(pictures, dict.fromkeys(pictures, 0))


def generator() -> PassthroughGenerator:
    made = PassthroughGenerator()
    made.reset(CONTEXT)
    return made


def test_before_any_picture_the_frame_is_grey() -> None:
    frame = generator().step(Conditions({}, {}))
    assert frame.shape == (32, 48, 3)
    assert frame.dtype == np.uint8
    assert np.all(frame == 128)


def test_a_picture_is_scaled_to_the_frame() -> None:
    ramp = np.repeat(np.arange(0, 240, 20, dtype=np.uint8)[None, :, None], 8, axis=0)
    small = np.ascontiguousarray(np.broadcast_to(ramp, (8, 12, 3)))
    frame = generator().step(Conditions({Modality.LOWRES: small}, {Modality.LOWRES: 0}))
    assert frame.shape == (32, 48, 3)
    row = frame[16, :, 0].astype(int)
    assert np.all(np.diff(row) >= 0)
    # A bicubic of a ramp is the ramp; nearest neighbour would repeat each value four times.
    assert len(set(row.tolist())) > 30


def test_a_picture_of_the_frames_size_comes_through_bit_for_bit() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (32, 48, 3), np.uint8)
    frame = generator().step(Conditions({Modality.VIDEO: picture}, {Modality.VIDEO: 0}))
    assert np.array_equal(frame, picture)


def test_the_best_picture_at_hand_is_taken() -> None:
    everything = {"video": 10, "keyframe": 20, "lowres": 30, "sketch": 40, "contours": 50}
    for best in ("video", "keyframe", "lowres"):
        assert np.all(generator().step(conditions(**everything)) == everything[best])
        del everything[best]
    # What is no picture of the scene is not shown as one.
    assert np.all(generator().step(conditions(**everything)) == 128)


def test_equal_conditions_give_equal_frames_and_leave_no_trace() -> None:
    one = generator()
    first = one.step(conditions(lowres=60)).copy()
    one.step(conditions(lowres=200))
    assert np.array_equal(one.step(conditions(lowres=60)), first)


def test_step_before_reset_is_a_fault_of_the_caller() -> None:
    with pytest.raises(RuntimeError, match="reset"):
        PassthroughGenerator().step(Conditions({}, {}))
