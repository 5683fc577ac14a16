"""A new scene is noticed as it comes; motion and light are not new scenes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from receiver.cuts import CutFinder, colour_distance, colours

Picture = NDArray[np.uint8]


def scene(seed: int, shift: float = 0.0, light: float = 1.0) -> Picture:
    """A blurred mosaic that can be shifted and lit."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 12, 3)).astype(np.uint8)
    wide = cv2.resize(coarse, (96, 48), interpolation=cv2.INTER_CUBIC)
    moved = np.roll(wide, round(shift), 1)[:, :48]
    return np.clip(light * moved.astype(float), 0, 255).astype(np.uint8)


def found(pictures: list[Picture]) -> list[int]:
    finder = CutFinder()
    return [index for index, picture in enumerate(pictures) if finder.is_cut(picture)]


def test_colours_are_shares_and_a_picture_is_not_far_from_itself() -> None:
    assert colours(scene(1)).sum() == pytest.approx(4 / 4)
    assert colour_distance(colours(scene(1)), colours(scene(1))) == 0
    assert colour_distance(colours(scene(1)), colours(scene(2))) > 0.4


@pytest.mark.parametrize("seed", range(4))
def test_another_scene_is_a_cut_at_its_first_picture(seed: int) -> None:
    pictures = [scene(seed, k) for k in range(8)] + [scene(seed + 50, k) for k in range(8)]
    assert found(pictures) == [8]


def test_motion_and_a_change_of_light_are_none() -> None:
    assert found([scene(3, 3 * k) for k in range(20)]) == []
    assert found([scene(3, 0, 1 - 0.03 * k) for k in range(20)]) == []


def test_the_first_picture_and_pictures_of_other_sizes_are_none() -> None:
    small = cv2.resize(scene(5), (24, 24), interpolation=cv2.INTER_AREA)
    assert found([scene(5), np.asarray(small, np.uint8), scene(5)]) == []


def test_two_cuts_in_a_row_are_two() -> None:
    pictures = [scene(1)] * 4 + [scene(60)] * 2 + [scene(70)] * 4
    assert found(pictures) == [4, 6]


def test_a_picture_that_is_held_says_nothing_of_motion() -> None:
    """Frames without news between fast ones: the next fast one is motion, as the last was."""
    fast = [scene(3, 7 * k) for k in range(8)]
    held = [picture for picture in fast for _ in range(4)]
    assert found(held) == [4 * index for index in found(fast)]
    slow = [np.array(picture) for picture in held]
    assert found(slow) != found(held), "as new arrays they would be stillness, then cuts"
