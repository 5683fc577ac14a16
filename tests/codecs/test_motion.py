"""The motion scalar: levels, four bits, and what a broken payload gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semcast.codecs.motion import (
    NUM_BITS,
    NUM_LEVELS,
    motion_of_level,
    quantise_motion,
    read_motion,
    write_motion,
)
from semcast.codecs.range_payload import PayloadReader, PayloadWriter


@given(st.floats(0.001, 0.128))
def test_a_motion_in_range_is_kept_within_a_fifth(motion: float) -> None:
    assert motion_of_level(quantise_motion(motion)) == pytest.approx(motion, rel=0.19)


def test_levels_stand_for_themselves_and_rise() -> None:
    motions = [motion_of_level(level) for level in range(NUM_LEVELS)]
    assert motions == sorted(set(motions))
    assert [quantise_motion(motion) for motion in motions] == list(range(NUM_LEVELS))
    assert motions[0] == 0
    assert motions[1] == 0.001
    assert motions[15] == pytest.approx(0.128)


@pytest.mark.parametrize(
    ("motion", "level"), [(0.0, 0), (1e-9, 0), (0.0008, 0), (0.3, 15), (9, 15)]
)
def test_what_lies_outside_goes_to_the_ends(motion: float, level: int) -> None:
    assert quantise_motion(motion) == level


@pytest.mark.parametrize("motion", [-0.1, float("nan"), float("inf")])
def test_what_is_no_magnitude_is_refused(motion: float) -> None:
    with pytest.raises(ValueError, match="no magnitude"):
        quantise_motion(motion)


@pytest.mark.parametrize("level", [-1, NUM_LEVELS])
def test_a_level_out_of_range_is_refused(level: int) -> None:
    with pytest.raises(ValueError, match="out of range"):
        write_motion(PayloadWriter(), level)
    with pytest.raises(ValueError, match="out of range"):
        motion_of_level(level)


def test_golden_bits() -> None:
    """Seven levels in a row, as they have been sent since this format began."""
    writer = PayloadWriter()
    for level in (0, 3, 15, 7, 8, 1, 14):
        write_motion(writer, level)
    bits = writer.finish()
    assert len(bits) <= 7 * NUM_BITS + 2
    assert np.packbits(bits).tobytes().hex() == "03f781e0"
    reader = PayloadReader(bits)
    assert [read_motion(reader) for _ in range(7)] == [0, 3, 15, 7, 8, 1, 14]


@given(st.lists(st.integers(0, 1), max_size=64))
def test_any_bits_give_a_level(bits: list[int]) -> None:
    assert 0 <= read_motion(PayloadReader(np.array(bits, dtype=np.uint8))) < NUM_LEVELS
