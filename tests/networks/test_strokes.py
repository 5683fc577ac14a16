"""Strokes become soft lines of one width, in a size that networks take, and come back."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from semcast.errors import InputError
from semcast.networks.strokes import (
    MAX_PIXELS,
    picture_size,
    strokes_at,
    to_picture,
    to_strength,
    to_strokes,
)


def drawing(width: int = 256, height: int = 256) -> NDArray[np.uint8]:
    """A circle, a slant and an upright, one pixel wide, scaled to the size."""
    lines = np.zeros((height, width), np.uint8)
    short = min(width, height)
    cv2.circle(lines, (width // 2, height // 2), round(0.35 * short), 1)
    cv2.line(
        lines, (round(0.1 * width), round(0.15 * height)), (round(0.8 * width), height // 4), 1
    )
    cv2.line(lines, (round(0.9 * width), height // 4), (round(0.9 * width), round(0.8 * height)), 1)
    return lines


def share_near(lines: NDArray[np.uint8], others: NDArray[np.uint8], reach: int = 2) -> float:
    """Of the pixels of `lines`, how many lie within `reach` of one of `others`."""
    around = cv2.dilate(others, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    return float(around[lines > 0].mean())


def test_sizes_are_those_of_the_papers_and_of_video() -> None:
    assert picture_size(256, 256) == (256, 256)
    assert picture_size(512, 512) == (256, 256)
    assert picture_size(1280, 720) == (336, 192)
    assert picture_size(320, 180) == (320, 176)
    assert picture_size(5, 40) == (16, 32)
    with pytest.raises(InputError, match="0x4"):
        picture_size(0, 4)


@given(width=st.integers(16, 4096), height=st.integers(16, 4096))
def test_any_video_has_a_picture_of_a_bounded_size(width: int, height: int) -> None:
    wide, high = picture_size(width, height)
    assert wide % 16 == high % 16 == 0 and wide >= 16 and high >= 16
    assert wide <= width + 8 and high <= height + 8
    assert wide * high <= 1.6 * MAX_PIXELS
    if min(wide, high) >= 96:  # where rounding is small
        assert wide / high == pytest.approx(width / height, rel=0.2)


def test_a_line_is_white_two_to_three_pixels_wide_and_soft() -> None:
    upright = np.zeros((32, 48), np.uint8)
    upright[:, 20] = 1
    picture = to_picture(upright, 48, 32)
    assert picture.shape == (32, 48) and picture.dtype == np.uint8
    row = picture[16].astype(float)
    assert row.argmax() == 20 and row.max() > 250
    assert 2 <= row.sum() / 255 <= 3
    assert 100 < row[21] < 200 and row[19] == row[21]
    assert row[:16].max() == row[25:].max() == 0


@pytest.mark.parametrize("size", [(256, 256), (512, 512), (1280, 720), (250, 190), (100, 60)])
def test_strokes_come_back_where_they_were(size: tuple[int, int]) -> None:
    sent = drawing(*size)
    picture = to_picture(sent, *picture_size(*size))
    strength = to_strength(picture, *size)
    assert strength.shape == sent.shape and strength.dtype == np.uint8
    again = to_strokes(strength)
    reach = 2 if size[0] <= 512 else 5
    assert share_near(again, sent, reach) == 1
    assert share_near(sent, again, reach) > 0.97
    # Lines, not bands: as long as they were, in this size.
    assert int(again.sum()) == pytest.approx(int(sent.sum()), rel=0.15)


@settings(max_examples=30, deadline=None)
@given(
    width=st.integers(1, 80),
    height=st.integers(1, 80),
    wide=st.integers(1, 90),
    high=st.integers(1, 90),
    share=st.sampled_from([0.0, 0.02, 0.5, 1.0]),
)
def test_any_bitmap_fits_any_size(
    width: int, height: int, wide: int, high: int, share: float
) -> None:
    strokes = (np.random.default_rng(3).random((height, width)) < share).astype(np.uint8)
    kept = strokes.copy()
    resized = strokes_at(strokes, wide, high)
    assert np.array_equal(strokes, kept), "the caller's array is left as it was"
    assert resized.shape == (high, wide) and resized.max(initial=0) <= 1
    assert resized.any() == strokes.any()
    assert to_picture(strokes, wide, high).any() == strokes.any()


def test_an_enlarged_line_is_whole_and_thin() -> None:
    upright = np.zeros((40, 40), np.uint8)
    upright[:, 13] = 1
    resized = strokes_at(upright, 100, 100)
    # Thinning may take a line's very ends.
    assert (resized.sum(1)[2:-2] == 1).all()
    assert abs(np.nonzero(resized)[1] - 33).max() <= 2


def test_what_is_no_sketch_is_refused() -> None:
    for wrong in (np.full((8, 8), 2, np.uint8), np.zeros((8, 8, 1), np.uint8), np.zeros((8, 8))):
        with pytest.raises(InputError, match="a sketch is uint8"):
            to_picture(wrong, 16, 16)
    with pytest.raises(InputError, match="no pixels"):
        to_picture(np.zeros((0, 8), np.uint8), 16, 16)


def test_faint_lines_are_not_drawn() -> None:
    faint = to_picture(drawing(), 256, 256) // 3
    assert to_strength(faint, 256, 256).any()
    assert not to_strokes(faint).any()
