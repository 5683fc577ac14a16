"""Tracing, filling and counting agree with each other and with OpenCV, pixel for pixel."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semcast.codecs.contours_directions import angle_bin, on_square, square_index
from semcast.codecs.contours_polygon import (
    SUBPIXELS,
    paint,
    prefix_sums,
    shape_score,
    trace,
    transform,
    twice_area,
)


def random_mask(seed: int, smoothness: float) -> np.ndarray:
    noise = np.random.default_rng(seed).random((48, 64))
    return cv2.GaussianBlur(noise, (0, 0), smoothness) > 0.5


@given(seed=st.integers(0, 2**32 - 1), smoothness=st.floats(0.3, 5.0))
@settings(max_examples=60, deadline=None)
def test_traced_borders_paint_the_mask_again(seed: int, smoothness: float) -> None:
    mask = random_mask(seed, smoothness)
    points, offsets = trace(mask)
    painted = np.zeros(mask.shape, dtype=np.uint8)
    paint(painted, points, offsets, 7)
    assert np.array_equal(painted, np.where(mask, 7, 0))


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_score_counts_the_weight_inside(seed: int) -> None:
    mask = random_mask(seed, 2.0)
    weights = np.random.default_rng(seed).integers(-1, 2, mask.shape).astype(np.int8)
    points, offsets = trace(mask)
    assert shape_score(points, offsets, prefix_sums(weights)) == weights[mask].sum()


def test_outer_rings_are_positive_and_holes_negative() -> None:
    mask = np.zeros((20, 20), dtype=bool)
    mask[2:18, 2:18] = True
    mask[8:12, 8:12] = False
    points, offsets = trace(mask)
    areas = [twice_area(points[a:b]) for a, b in pairwise(offsets)]
    assert areas[0] > 0 > areas[1]


@pytest.mark.parametrize("shift", [(-300, 40), (700, 90), (30, -900), (20, 2000), (-9000, -9000)])
def test_polygons_beyond_the_frame_are_cut_off(shift: tuple[int, int]) -> None:
    square = np.array([[0, 0], [400, 0], [400, 300], [0, 300]], dtype=np.int32) + shift
    painted = np.zeros((64, 96), dtype=np.uint8)
    paint(painted, square.astype(np.int32), np.array([0, 4], dtype=np.int32), 3)
    rows = np.arange(64) * SUBPIXELS + SUBPIXELS // 2
    columns = np.arange(96) * SUBPIXELS + SUBPIXELS // 2
    inside_y = (rows >= shift[1]) & (rows < shift[1] + 300)
    inside_x = (columns >= shift[0]) & (columns < shift[0] + 400)
    assert np.array_equal(painted == 3, inside_y[:, None] & inside_x[None])


@pytest.mark.parametrize(
    "points", [[], [[80, 80]] * 3, [[0, 0], [800, 800], [0, 0]], [[0, 0], [200, 0], [100, 0]]]
)
def test_degenerate_rings_paint_nothing(points: list[list[int]]) -> None:
    ring = np.array(points, dtype=np.int32).reshape(-1, 2)
    painted = np.zeros((64, 64), dtype=np.uint8)
    paint(painted, ring, np.array([0, len(ring)], dtype=np.int32), 1)
    assert not painted.any()


def test_a_still_motion_changes_nothing_and_motions_stay_near_the_frame() -> None:
    points = np.array([[8, 8], [200, 16], [160, 240]], dtype=np.int32)
    assert np.array_equal(transform(points, 0, 0, 0, 0, 512, 512), points)
    far = transform(points, 10**6, -(10**6), 24, 24, 512, 512)
    assert far[:, 0].max() <= 1024 and far[:, 1].min() >= -512


@pytest.mark.parametrize("radius", [1, 2, 5, 64])
def test_square_index_inverts_on_square(radius: int) -> None:
    places = [on_square(radius, index) for index in range(8 * radius)]
    assert len(set(places)) == 8 * radius
    assert [square_index(x, y) for x, y in places] == list(range(8 * radius))


def test_angle_bins_follow_the_angle() -> None:
    rng = np.random.default_rng(1)
    for before_x, before_y, x, y in rng.integers(-40, 41, (500, 4)):
        if (before_x, before_y) == (0, 0) or (x, y) == (0, 0):
            continue
        angle = np.arctan2(before_x * y - before_y * x, before_x * x + before_y * y)
        exact = np.degrees(angle) / 11.25
        if abs(exact - np.floor(exact) - 0.5) > 0.01:
            assert angle_bin(before_x, before_y, x, y) == round(exact) % 32
