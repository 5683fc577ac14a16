"""Sketches by classical means: white lines on black, thin, where the edges are and nowhere else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from training.edges import soft_edges

DRAWN = 128
"""A line is where the sketch is at least half white."""


def grey(levels: NDArray[np.generic]) -> NDArray[np.uint8]:
    """[H, W] to RGB."""
    return np.repeat(np.asarray(levels)[..., None], 3, 2).astype(np.uint8)


def step(left: int, right: int, at: int = 32, side: int = 64) -> NDArray[np.uint8]:
    levels = np.full((side, side), left)
    levels[:, at:] = right
    return grey(levels)


def disc(radius: int, side: int = 128) -> NDArray[np.uint8]:
    picture = np.full((side, side, 3), (40, 60, 80), np.uint8)
    return cv2.circle(picture, (side // 2, side // 2), radius, (210, 180, 90), -1, cv2.LINE_AA)


def scene(seed: int = 3, side: int = 128) -> NDArray[np.uint8]:
    """Overlapping shapes in many colours, with the noise of a camera."""
    rng = np.random.default_rng(seed)
    picture = np.full((side, side, 3), 120, np.uint8)
    for _ in range(12):
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        centre = tuple(int(c) for c in rng.integers(0, side, 2))
        axes = tuple(int(c) for c in rng.integers(6, 40, 2))
        cv2.ellipse(picture, centre, axes, float(rng.uniform(0, 180)), 0, 360, colour, -1)
    noisy = picture + rng.normal(0, 3, picture.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (33, 97), (16, 16), (1, 40), (250, 130)])
def test_a_sketch_has_the_size_of_its_picture(height: int, width: int) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    for rng in (None, np.random.default_rng(2)):
        sketch = soft_edges(rgb, rng)
        assert sketch.shape == (height, width)
        assert sketch.dtype == np.uint8


def test_lines_are_white_on_black() -> None:
    sketch = soft_edges(scene())
    assert sketch.max() == 255
    assert np.median(sketch) < 32
    assert 0.02 < (sketch > DRAWN).mean() < 0.3


@pytest.mark.parametrize("level", [0, 90, 255])
def test_a_flat_picture_has_none(level: int) -> None:
    for colour in ((level,) * 3, (level, 30, 200)):
        flat = np.full((64, 64, 3), colour, np.uint8)
        assert not soft_edges(flat).any()
        assert not soft_edges(flat, np.random.default_rng(1)).any()


def test_noise_too_faint_to_see_is_not_drawn() -> None:
    """An even wall has no lines because its camera has one level of noise."""
    noise = np.random.default_rng(1).integers(-1, 2, (128, 128, 3))
    for seed in (None, 1, 2):
        rng = None if seed is None else np.random.default_rng(seed)
        assert soft_edges((128 + noise).astype(np.uint8), rng).max() < DRAWN


@pytest.mark.parametrize("slope", [0.5, 1.0, 1.7, 3.0])
def test_an_even_slope_is_not_painted_white(slope: float) -> None:
    """A clear sky is no edge, however far apart its ends."""
    side = min(256, int(250 / slope))
    ramp = grey(np.broadcast_to(slope * np.arange(side), (side, side)).round())
    for rgb in (ramp, ramp.transpose(1, 0, 2), ramp[:, ::-1]):
        assert (soft_edges(np.ascontiguousarray(rgb)) > DRAWN).mean() < 0.05


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("at", [20, 32, 47])
def test_a_step_is_one_thin_line_where_it_is(at: int, turned: bool) -> None:
    for left, right in ((0, 255), (200, 60), (100, 130)):
        rgb = step(left, right, at)
        sketch = soft_edges(np.ascontiguousarray(rgb.transpose(1, 0, 2)) if turned else rgb)
        lines = sketch.T if turned else sketch
        for row in lines[4:-4]:
            (drawn,) = np.nonzero(row > DRAWN)
            assert 1 <= len(drawn) <= 4
            assert drawn.max() - drawn.min() < 4
            assert abs(drawn.mean() - (at - 0.5)) <= 1
            assert row[drawn].max() > 200
            assert not row[: at - 6].any()
            assert not row[at + 6 :].any()


@pytest.mark.parametrize("radius", [15, 30, 50])
def test_an_outline_is_closed_and_two_to_four_pixels_wide_all_around(radius: int) -> None:
    sketch = soft_edges(disc(radius))
    rows, columns = np.indices(sketch.shape)
    distance = np.hypot(rows - 64, columns - 64)
    drawn = sketch > DRAWN
    assert np.all(abs(distance[drawn] - radius) < 4)
    width = drawn.sum() / (2 * np.pi * radius)
    assert 1.0 < width < 4.0
    # The outline separates inside from outside: filling from the centre stays inside.
    _, labels = cv2.connectedComponents((~drawn).astype(np.uint8), connectivity=4)
    assert labels[64, 64] != labels[0, 0]


def test_edges_of_colour_alone_are_seen() -> None:
    """Red beside a green of the same brightness; every channel alone is enough, too."""
    equal = np.full((64, 64, 3), (150, 60, 60), np.uint8)
    equal[:, 32:] = (60, 106, 60)
    luma = cv2.cvtColor(equal, cv2.COLOR_RGB2GRAY)
    assert int(luma.max()) - int(luma.min()) <= 3
    assert (soft_edges(equal)[8:-8, 30:34] > DRAWN).any(1).all()
    for channel in range(3):
        rgb = np.full((64, 64, 3), 90, np.uint8)
        rgb[:, 32:, channel] = 170
        assert (soft_edges(rgb)[8:-8, 30:34] > DRAWN).any(1).all()


def test_a_weaker_edge_is_a_fainter_line() -> None:
    levels = np.full((64, 96), 40)
    levels[:, 32:], levels[:, 64:] = 240, 200
    sketch = soft_edges(grey(levels))
    strong, weak = sketch[20:44, 26:38].max(), sketch[20:44, 58:70].max()
    assert strong == 255
    assert 20 < weak < 200


def test_without_chance_equal_pictures_give_equal_sketches() -> None:
    first = soft_edges(scene())
    np.random.default_rng(5).random(3)
    assert np.array_equal(first, soft_edges(scene().copy()))


def test_chance_comes_from_the_given_generator_alone_and_varies_the_drawing() -> None:
    sketches = [soft_edges(scene(), np.random.default_rng(seed)) for seed in range(4)]
    assert np.array_equal(sketches[2], soft_edges(scene(), np.random.default_rng(2)))
    for k, sketch in enumerate(sketches):
        assert not np.array_equal(sketch, soft_edges(scene()))
        assert not any(np.array_equal(sketch, other) for other in sketches[:k])
        # The same drawing, in another hand.
        plain = soft_edges(scene()).astype(float).ravel()
        assert np.corrcoef(sketch.astype(float).ravel(), plain)[0, 1] > 0.6


def test_the_picture_is_left_as_it_was_and_may_lie_anyhow_in_memory() -> None:
    rgb = scene()
    kept = rgb.copy()
    expected = soft_edges(rgb)
    assert np.array_equal(rgb, kept)
    turned = np.ascontiguousarray(rgb[:, ::-1])[:, ::-1]
    assert np.array_equal(soft_edges(turned), expected)
