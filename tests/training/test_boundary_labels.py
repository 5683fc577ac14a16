"""Boundaries found without drawings: around things, not in their texture; kept between runs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import training.boundary_labels
from semcast.metrics.weights import MetricUnavailableError, MetricWeights
from training.boundary_labels import boundaries_of, boundary_strength
from training.recipes.sketch import outline_lines, target_lines

SIDE = 128


@pytest.fixture(autouse=True)
def needs_squeezenet() -> None:
    try:
        MetricWeights.from_environment().squeezenet()
    except MetricUnavailableError as error:
        pytest.skip(f"features are SqueezeNet's: {error}")


def textured() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A disc on a ground of strong, fine, random texture; and its outline."""
    rng = np.random.default_rng(1)
    grain = rng.integers(-45, 46, (SIDE, SIDE, 1))
    picture = np.full((SIDE, SIDE, 3), (90, 130, 80)) + grain
    disc = cv2.circle(np.zeros((SIDE, SIDE), np.uint8), (64, 64), 36, 1, -1)
    picture[disc > 0] = (200, 90, 60)
    outline = cv2.circle(np.zeros((SIDE, SIDE), np.uint8), (64, 64), 36, 1)
    return np.clip(picture, 0, 255).astype(np.uint8), outline


def test_a_thing_is_bounded_more_strongly_than_texture() -> None:
    picture, outline = textured()
    strength = boundary_strength(picture)
    assert strength.shape == (SIDE, SIDE) and strength.dtype == np.float32
    assert 0 <= strength.min() and strength.max() <= 1
    on = cv2.dilate(outline, np.ones((3, 3), np.uint8)) > 0
    off = cv2.dilate(outline, np.ones((13, 13), np.uint8)) == 0
    assert strength[on].mean() > 4 * strength[off].mean()
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    gradient = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    assert gradient[on].mean() < 2 * gradient[off].mean(), "which gradients alone do not tell"


def test_an_even_picture_has_none() -> None:
    noise = np.random.default_rng(0).integers(-1, 2, (SIDE, SIDE, 3))
    assert boundary_strength((128 + noise).astype(np.uint8)).mean() < 0.1


def test_equal_pictures_give_equal_boundaries() -> None:
    picture, _ = textured()
    assert np.array_equal(boundary_strength(picture), boundary_strength(picture.copy()))


def test_what_was_found_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture, _ = textured()
    kept = tmp_path / "new" / "boundaries.npz"
    first = boundaries_of([picture, picture[:, ::-1], picture], kept)
    assert first.dtype == np.uint8 and first.shape == (3, SIDE, SIDE)
    assert np.array_equal(first[0], first[2])
    asked = []

    def counted(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        asked.append(rgb)
        return np.zeros(rgb.shape[:2], np.float32)

    monkeypatch.setattr(training.boundary_labels, "boundary_strength", counted)
    again = boundaries_of([picture[::-1], picture], kept)
    assert len(asked) == 1 and np.array_equal(asked[0], picture[::-1])
    assert np.array_equal(again[1], first[0])


def test_targets_are_thin_lines_where_the_ridge_is() -> None:
    strength = np.zeros((64, 64), np.float32)
    strength[:, 30], strength[:, 50] = 200, 8
    soft = cv2.GaussianBlur(strength, (0, 0), 1.5) * 3.5
    lines = target_lines(np.clip(soft, 0, 255).astype(np.uint8))
    assert (lines[8:-8, 30] > 200).all() and (lines[8:-8, 34:] == 0).all()
    assert ((lines[8:-8] > 128).sum(1) <= 3).all()


def test_outlines_run_between_labels() -> None:
    labels = np.zeros((64, 64), np.uint8)
    labels[20:40, 20:40], labels[20:40, 40:50] = 1, 2
    lines = outline_lines(labels)
    for place in ((30, 20), (30, 40), (30, 50), (20, 30), (40, 30)):
        assert lines[place] > 200, place
    assert not lines[:16].any() and not lines[25:35, 25:35].any()
