"""Sketches of frames: thin, as full as asked, where things end, and still where the picture is."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from semcast.errors import InputError, NotFoundError, UnavailableError
from semcast.weights import write_weights
from transmitter.extractors.sketch_network import STRIDE, WIDTHS, SketchNetwork
from transmitter.extractors.sketcher import LineDrawer, Sketcher, open_sketcher
from transmitter.extractors.thinning import ridges

Frame = NDArray[np.uint8]


def scene(step: int = 0, side: int = 256, noise: float = 2.0, seed: int = 0) -> Frame:
    """A disc that moves and a box that stands, before a wall with the noise of a camera."""
    picture = np.full((side, side, 3), (190, 180, 160), np.uint8)
    unit = side / 256
    corners = [(int(30 * unit), int(120 * unit)), (int(110 * unit), int(220 * unit))]
    cv2.rectangle(picture, *corners, (60, 90, 140), -1)
    centre = (int((180 + step) * unit), int(80 * unit))
    cv2.circle(picture, centre, int(45 * unit), (40, 140, 60), -1, cv2.LINE_AA)
    noisy = picture + np.random.default_rng([seed, step % 1000]).normal(0, noise, picture.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def outlines(step: int = 0) -> Frame:
    """Where the lines of `scene` should be."""
    lines = np.zeros((256, 256), np.uint8)
    cv2.rectangle(lines, (30, 120), (110, 220), 1)
    return cv2.circle(lines, (180 + step, 80), 45, 1)


def near(lines: Frame, pixels: int) -> NDArray[np.bool_]:
    return cv2.dilate(lines, np.ones((2 * pixels + 1,) * 2, np.uint8)) > 0


@pytest.fixture(scope="module")
def sketcher() -> Sketcher:
    return Sketcher()


def test_things_are_outlined_and_nothing_else(sketcher: Sketcher) -> None:
    sketcher.reset()
    lines = sketcher.sketch(scene())
    assert lines.dtype == np.uint8 and lines.shape == (256, 256) and set(np.unique(lines)) == {0, 1}
    recall = near(lines, 3)[outlines() > 0].mean()
    precision = near(outlines(), 3)[lines > 0].mean()
    assert recall > 0.9 and precision > 0.85, (recall, precision)


def test_lines_are_thin(sketcher: Sketcher) -> None:
    sketcher.reset()
    lines = sketcher.sketch(scene())
    eroded = cv2.erode(lines, np.ones((3, 3), np.uint8))
    assert not eroded.any(), "nowhere three pixels thick"
    assert lines.sum() < 1.4 * outlines().sum()


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_even_wall_has_no_lines(sketcher: Sketcher, level: int) -> None:
    sketcher.reset()
    assert sketcher.sketch(np.full((256, 256, 3), level, np.uint8)).sum() < 40


@pytest.mark.parametrize(("height", "width"), [(256, 256), (100, 340), (37, 53), (480, 640)])
def test_any_size_of_frame(sketcher: Sketcher, height: int, width: int) -> None:
    sketcher.reset()
    frame = cv2.resize(scene(), (width, height), interpolation=cv2.INTER_AREA)
    lines = sketcher.sketch(frame)
    assert lines.shape == (height, width) and lines.any()


def test_it_is_as_full_as_asked() -> None:
    rng = np.random.default_rng(1)
    busy = cv2.resize(rng.integers(0, 256, (24, 24, 3), np.uint8), (256, 256), interpolation=0)
    shares = []
    for density in (0.01, 0.03, 0.06):
        drawn = Sketcher(density=density)
        shares.append(float(drawn.sketch(busy).mean()))
        assert shares[-1] < 1.5 * density
    assert shares == sorted(shares) and shares[0] < shares[-1]


def test_a_still_scene_keeps_its_lines(sketcher: Sketcher) -> None:
    """Only the camera's noise differs from frame to frame."""
    sketcher.reset()
    last = None
    for k in range(6):
        lines = sketcher.sketch(scene(noise=5.0, seed=k))
        if last is not None and k > 2:
            assert near(last, 1)[lines > 0].mean() > 0.95
            assert near(lines, 1)[last > 0].mean() > 0.95
        last = lines


def test_lines_follow_what_moves(sketcher: Sketcher) -> None:
    sketcher.reset()
    for step in range(0, -60, -12):
        lines = sketcher.sketch(scene(step))
    assert near(lines, 3)[outlines(-48) > 0].mean() > 0.85
    gone = (outlines(0) > 0) & ~near(outlines(-48), 6)
    assert lines[gone].mean() < 0.1, "no line stays behind"


def test_after_reset_a_video_begins_anew(sketcher: Sketcher) -> None:
    sketcher.reset()
    first = [sketcher.sketch(scene(4 * k)) for k in range(3)]
    for k in range(3):
        sketcher.sketch(scene(-10 * k, noise=20))
    sketcher.reset()
    again = [sketcher.sketch(scene(4 * k)) for k in range(3)]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_no_frame_to_come_changes_one_that_was(sketcher: Sketcher) -> None:
    results = []
    for after in (scene(30), np.zeros((256, 256, 3), np.uint8)):
        sketcher.reset()
        results.append([sketcher.sketch(frame) for frame in (scene(), scene(3), after)])
    assert all(np.array_equal(results[0][k], results[1][k]) for k in range(2))


def test_a_frame_of_another_size_begins_a_video(sketcher: Sketcher) -> None:
    sketcher.reset()
    sketcher.sketch(scene())
    small = sketcher.sketch(scene(side=128))
    sketcher.reset()
    assert np.array_equal(small, sketcher.sketch(scene(side=128)))


def test_the_frame_is_left_as_it_was(sketcher: Sketcher) -> None:
    frame = scene()
    frame.setflags(write=False)
    sketcher.reset()
    sketcher.sketch(frame)


def test_what_is_no_frame_is_refused(sketcher: Sketcher) -> None:
    for wrong in (np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((0, 8, 3), np.uint8)):
        with pytest.raises(InputError, match="a frame is uint8"):
            sketcher.sketch(wrong)
    with pytest.raises(InputError, match="density is 0"):
        Sketcher(density=0.5)


def test_other_weights_draw_otherwise(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "sketcher.safetensors"
    config = {"widths": list(WIDTHS)}
    write_weights(path, SketchNetwork().state_dict(), {"recipe": "sketch", "config": config})
    other, bundled = Sketcher(weights=path), Sketcher()
    assert not np.allclose(other.probability(scene()), bundled.probability(scene()))
    with pytest.raises(NotFoundError):
        Sketcher(weights=tmp_path / "none.safetensors")


def test_the_network_takes_multiples_of_its_stride() -> None:
    network = SketchNetwork()
    for height, width in ((STRIDE, STRIDE), (48, 80)):
        assert network(torch.zeros(2, 3, height, width)).shape == (2, 1, height, width)
    assert sum(p.numel() for p in network.parameters()) < 3.1e5


def test_ridges_are_single_pixels_across_a_soft_line() -> None:
    for turned in (False, True):
        soft = np.zeros((64, 64), np.float32)
        soft[:, 30] = 1.0
        soft = cv2.GaussianBlur(soft, (0, 0), 2.0)
        soft = soft.T.copy() if turned else soft
        thin = ridges(soft)
        thin = thin.T if turned else thin
        assert ((thin[8:-8] > 0.01).sum(1) == 1).all() and (thin[8:-8, 30] > 0.1).all()


def test_a_weak_stretch_of_a_strong_line_is_drawn_and_a_weak_line_is_not() -> None:
    probability = np.zeros((128, 128), np.float32)
    probability[20, 10:60], probability[20, 60:100] = 0.9, 0.25
    probability[80, 10:100] = 0.25
    probability = cv2.GaussianBlur(probability, (0, 0), 0.6) / 0.67
    lines = LineDrawer(0.1).draw(np.zeros((128, 128, 3), np.uint8), probability)
    assert near(lines, 1)[20, 62:95].all() and not lines[70:90].any()


def test_sketchers_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(open_sketcher("bundled"), Sketcher)
    with pytest.raises(NotFoundError, match="No sketcher 'pencil': choose one of bundled, pidinet"):
        open_sketcher("pencil")
    monkeypatch.setitem(__import__("sys").modules, "controlnet_aux", None)
    with pytest.raises(UnavailableError, match="pip install controlnet-aux"):
        open_sketcher("pidinet")
