"""Sketches are drawn in order and kept; windows of them are lines of consecutive frames."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import training.sketches
from semcast.errors import InputError
from training.data import Shot
from training.sketches import SIDE, SketchedShot, SketchSampler, sketches_of
from transmitter.extractors.sketcher import open_sketcher


def sliding(clip: str, seed: int, count: int = 5) -> Shot:
    """A bright square that slides over a dark ground."""
    rng = np.random.default_rng(seed)
    frames = np.full((count, 64, 96, 3), rng.integers(20, 60), np.uint8)
    for k in range(count):
        frames[k, 20:44, 24 + 2 * k : 54 + 2 * k] = 200
    return Shot(clip, frames, 8.0)


def uprights(clip: str = "a", count: int = 12) -> SketchedShot:
    """Sketch k has an upright at column 8k + 16, and a level line at row 100."""
    strokes = np.zeros((count, SIDE, SIDE), np.uint8)
    for k in range(count):
        strokes[k, :, 8 * k + 16] = 1
    strokes[:, 100] = 1
    return SketchedShot(clip, 8.0, np.packbits(strokes, axis=-1))


@pytest.fixture
def count_drawn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many frames were drawn, shot by shot."""
    counts: list[int] = []
    drawn = training.sketches._drawn

    def counting(shot: Shot, *rest: object) -> NDArray[np.uint8]:
        counts.append(len(shot.frames))
        return drawn(shot, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(training.sketches, "_drawn", counting)
    return counts


def same(first: Sequence[SketchedShot], second: Sequence[SketchedShot]) -> bool:
    return len(first) == len(second) and all(
        a.clip == b.clip and np.array_equal(a.packed, b.packed)
        for a, b in zip(first, second, strict=True)
    )


def test_a_shot_is_drawn_in_order_as_it_is_sent(tmp_path: Path) -> None:
    shot = sliding("a", 1)
    (sketched,) = sketches_of([shot], tmp_path / "kept.npz", zoomed=False)
    sketcher = open_sketcher("bundled")
    from training.data import centre_square

    expected = [sketcher.sketch(centre_square(frame, SIDE)) for frame in shot.frames]
    assert sketched.packed.shape == (5, SIDE, SIDE // 8)
    for k, strokes in enumerate(expected):
        assert np.array_equal(sketched.strokes(k), strokes)
    assert 100 < expected[0].sum() < 5000, "an outline"


def test_what_was_drawn_is_kept_and_only_what_is_new_is_drawn(
    tmp_path: Path, count_drawn: list[int]
) -> None:
    kept = tmp_path / "kept.npz"
    shots = [sliding("a", 1), sliding("b", 2, 4)]
    first = sketches_of(shots, kept, zoomed=True)
    assert [shot.clip for shot in first] == ["a", "b", "a", "b"]
    assert count_drawn == [5, 4, 5, 4]
    assert not same(first[:2], first[2:]), "the second square is another one"
    assert same(sketches_of(shots, kept, zoomed=True), first)
    assert len(count_drawn) == 4
    sketches_of([sliding("c", 3), *shots], kept, zoomed=False)
    assert count_drawn[4:] == [5]
    changed = sliding("a", 1)
    changed.frames[2, 0, 0] = 255
    sketches_of([changed], kept, zoomed=False)
    assert len(count_drawn) == 6, "other frames are another shot"


def test_another_sketcher_draws_anew(
    tmp_path: Path, count_drawn: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept.npz"
    sketches_of([sliding("a", 1)], kept, zoomed=False)
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"another network")
    monkeypatch.setattr(training.sketches, "find_weights", lambda name: other)
    sketches_of([sliding("a", 1)], kept, zoomed=False)
    assert count_drawn == [5, 5]


def test_windows_hold_consecutive_frames_of_one_square() -> None:
    """The upright moves 8 pixels a frame, or 16, times the scale, and the level line stands."""
    sampler = SketchSampler([uprights()], 128)
    batch = sampler.batch(60, 4, np.random.default_rng(5))
    assert batch.shape == (60, 4, 128, 128) and batch.dtype == np.uint8 and batch.max() == 1
    moves = []
    for window in batch:
        level = window.mean(2)
        assert len({int(rows.argmax()) for rows in level if rows.max() > 0.9}) <= 1
        counts = window.sum(1)
        columns = [int(c.argmax()) if c.max() > 40 else None for c in counts]
        steps = [b - a for a, b in itertools.pairwise(columns) if a is not None and b is not None]
        if len(steps) == 3:
            assert max(steps) - min(steps) <= 3, "equal steps in time"
            moves.append(steps[0])
    assert min(moves) < 0 < max(moves), "both directions"
    assert {7, 8, 9} & {abs(move) for move in moves}
    assert max(abs(move) for move in moves) >= 15, "every second frame as well"


def test_lines_stay_one_pixel_wide_at_any_scale() -> None:
    batch = SketchSampler([uprights()], 128).batch(40, 1, np.random.default_rng(1))[:, 0]
    for window in batch:
        across = window[:90].sum(1) if window[64].mean() < 0.5 else window[66:].sum(1)
        assert np.median(across) <= 2


def test_a_window_is_its_key_alone_and_no_window_is_larger_than_a_sketch() -> None:
    sampler = SketchSampler([uprights()])
    first, again, other = (sampler.batch(3, 2, np.random.default_rng(k)) for k in (1, 1, 2))
    assert first.shape == (3, 2, SIDE, SIDE)
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    with pytest.raises(InputError, match="1 to 256"):
        SketchSampler([uprights()], 512)


def test_windows_with_lines_come_first() -> None:
    """Half of the clip is empty; a window is drawn again where there is nothing to learn."""
    half = np.zeros((10, SIDE, SIDE // 8), np.uint8)
    half[:, :, : SIDE // 16] = uprights(count=10).packed[:, :, : SIDE // 16]
    sampler = SketchSampler([SketchedShot("a", 8.0, half)], 96)
    batch = sampler.batch(80, 1, np.random.default_rng(2))
    assert (batch.mean((1, 2, 3)) > 0).mean() > 0.9


def test_what_cannot_be_drawn_is_said() -> None:
    with pytest.raises(InputError, match="give clips"):
        SketchSampler([])
    with pytest.raises(InputError, match="No shot has 13 frames"):
        SketchSampler([uprights()]).batch(1, 13, np.random.default_rng(1))
