"""Mean motion of pictures that move by a known amount."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from transmitter.extractors.motion import MotionMeter, mean_motion


@pytest.fixture(scope="module")
def scene() -> NDArray[np.uint8]:
    """A smooth random texture, uint8 [600, 800, 3]."""
    noise = np.random.default_rng(5).integers(0, 256, (600, 800, 3), dtype=np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 4), None, 0, 255, cv2.NORM_MINMAX)


def window(
    scene: NDArray[np.uint8], x: int, y: int = 40, width: int = 256, height: int = 256
) -> NDArray[np.uint8]:
    return scene[y : y + height, x : x + width]


@pytest.mark.parametrize("shift_px", [1, 3, 8, 16])
def test_a_pan_is_measured_in_frame_widths(scene: NDArray[np.uint8], shift_px: int) -> None:
    measured = mean_motion(window(scene, 40), window(scene, 40 + shift_px))
    assert measured * 256 == pytest.approx(shift_px, rel=0.1, abs=0.15)


def test_a_still_picture_does_not_move(scene: NDArray[np.uint8]) -> None:
    assert mean_motion(window(scene, 40), window(scene, 40)) < 1e-4


def test_where_half_of_the_picture_moves_the_mean_is_half(scene: NDArray[np.uint8]) -> None:
    first, second = window(scene, 40).copy(), window(scene, 40).copy()
    second[:128] = window(scene, 48)[:128]
    assert mean_motion(first, second) * 256 == pytest.approx(4, rel=0.25)


def test_the_unit_does_not_depend_on_size_or_shape(scene: NDArray[np.uint8]) -> None:
    """A pan of 2 % of the width, in a large wide picture and in a small one of the same scene."""
    before, after = (window(scene, x, 20, 700, 400) for x in (20, 34))
    small = [cv2.resize(f, (350, 200), interpolation=cv2.INTER_AREA) for f in (before, after)]
    assert mean_motion(before, after) == pytest.approx(0.02, rel=0.1)
    assert mean_motion(*small) == pytest.approx(0.02, rel=0.1)


def test_frames_of_two_sizes_are_refused(scene: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="equal sizes"):
        mean_motion(window(scene, 0), window(scene, 0, width=200))


def test_a_segment_has_the_mean_of_its_frames(scene: NDArray[np.uint8]) -> None:
    meter = MotionMeter()
    frames = [window(scene, x) for x in (40, 42, 46, 52, 52)]
    motions = [meter.add(frame) for frame in frames[:3]]
    assert motions[0] is None
    assert motions[1] == mean_motion(frames[0], frames[1])
    assert meter.end_segment() == pytest.approx(np.mean([m for m in motions if m is not None]))
    # The segment that follows begins with the step from the last frame of the one before.
    second = [meter.add(frame) for frame in frames[3:]]
    assert meter.end_segment() == pytest.approx(np.mean(second))
    assert meter.end_segment() is None


def test_after_a_reset_nothing_is_compared(scene: NDArray[np.uint8]) -> None:
    meter = MotionMeter()
    meter.add(window(scene, 40))
    meter.add(window(scene, 60))
    meter.reset()
    assert meter.add(window(scene, 300)) is None
    assert meter.end_segment() is None
