"""A camera's frames on the session's grid."""

import threading

import numpy as np
import pytest

from semcast.errors import InputError
from transmitter.sources import LiveGrid


def shot(level: int, height: int = 48, width: int = 64) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def test_nothing_before_the_first_picture_and_no_index_used() -> None:
    grid = LiveGrid(fps=8, width=32, height=32)
    assert grid.tick() is None
    assert grid.age_us(5) is None
    grid.push(shot(10), 0)
    frame = grid.tick()
    assert frame is not None
    assert (frame.index, frame.pts_us) == (0, 0)
    assert frame.rgb.shape == (32, 32, 3)


def test_the_newest_picture_is_shown_and_held() -> None:
    grid = LiveGrid(fps=8, width=32, height=32)
    levels = []
    for pushed in ([10], [20, 30, 40], [], [], [50]):
        for level in pushed:
            grid.push(shot(level), level * 1000)
        frame = grid.tick()
        assert frame is not None
        levels.append(int(frame.rgb[0, 0, 0]))
        assert (frame.index, frame.pts_us) == (len(levels) - 1, (len(levels) - 1) * 125_000)
    assert levels == [10, 40, 40, 40, 50]
    assert grid.num_dropped == 2
    assert grid.num_repeated == 2


def test_repeated_frames_do_not_share_memory() -> None:
    grid = LiveGrid(fps=8, width=64, height=48)
    picture = shot(10)
    grid.push(picture, 0)
    for _ in range(2):
        frame = grid.tick()
        assert frame is not None
        assert int(frame.rgb[0, 0, 0]) == 10
        frame.rgb[:] = 0
    assert picture.min() == 10


def test_a_picture_older_than_the_newest_is_dropped() -> None:
    grid = LiveGrid(fps=8, width=32, height=32)
    grid.push(shot(20), 2000)
    grid.push(shot(10), 1000)
    frame = grid.tick()
    assert frame is not None
    assert int(frame.rgb[0, 0, 0]) == 20
    assert grid.num_dropped == 1
    assert grid.age_us(5000) == 3000


def test_a_camera_may_change_its_size() -> None:
    grid = LiveGrid(fps=8, width=32, height=32)
    for k, (height, width) in enumerate([(48, 64), (720, 1280), (640, 360)]):
        grid.push(shot(100, height, width), k)
        frame = grid.tick()
        assert frame is not None
        assert frame.rgb.shape == (32, 32, 3)


def test_sessions_that_cannot_be() -> None:
    with pytest.raises(InputError):
        LiveGrid(fps=0, width=32, height=32)
    with pytest.raises(InputError):
        LiveGrid(fps=8, width=31, height=32)


def test_pushing_and_ticking_in_two_threads() -> None:
    """Whole pictures, never older than one already shown, every push shown or counted."""
    grid = LiveGrid(fps=8, width=32, height=32)
    count = 200

    def push_all() -> None:
        for k in range(count):
            grid.push(shot(k), k)

    camera = threading.Thread(target=push_all)
    camera.start()
    shown = []
    while camera.is_alive() or not shown or shown[-1] != count - 1:
        frame = grid.tick()
        if frame is not None:
            assert np.ptp(frame.rgb) == 0
            shown.append(int(frame.rgb[0, 0, 0]))
    camera.join()
    assert shown == sorted(shown)
    assert len(set(shown)) + grid.num_dropped == count
    assert len(shown) - len(set(shown)) == grid.num_repeated
