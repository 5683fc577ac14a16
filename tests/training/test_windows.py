"""Windows of clips: where they lie, how they are drawn, and whether they are of the clips at
hand."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from moving_shots import HEIGHT, WIDTH, moving, moving_shot, spec_of

from semcast.errors import InputError
from semcast.link import plan_grid
from semcast.schemes import symbols_per_frame
from semcast.session import SessionSetup
from training.data import Shot
from training.windows import (
    HELD_OUT_FRAMES,
    HELD_OUT_SNR_DB,
    SIZE,
    belongs,
    draw_spec,
    held_out_spec,
    number_shots,
    source_frame,
)


@pytest.mark.parametrize(("first", "step"), [(2, 1), (9, -1)])
def test_a_frame_is_the_square_that_the_window_names(first: int, step: int) -> None:
    source = moving_shot()
    spec = spec_of(source, first=first, step=step)
    for k in range(8):
        square = source.frames[first + k * step, 10:130, 33:153]
        enlarged = cv2.resize(square, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
        assert np.array_equal(source_frame(source, spec, k), enlarged)


def test_a_square_larger_than_the_frame_is_averaged() -> None:
    large = Shot("large", moving(8, 1, 600, 700), 8.0)
    spec = spec_of(large, first=0, top=20, left=50, side=512)
    expected = large.frames[3, 20:532, 50:562].reshape(SIZE, 2, SIZE, 2, 3).mean((1, 3))
    assert abs(source_frame(large, spec, 3) - expected).max() <= 1


def test_windows_lie_within_their_shots_and_can_be_sent() -> None:
    source = moving_shot(num_frames=30)
    specs = [
        draw_spec(np.random.default_rng(seed), ("walk", 2), source, "lowres", 20)
        for seed in range(200)
    ]
    for spec in specs:
        assert (spec.clip, spec.shot, spec.scheme) == ("walk", 2, "lowres")
        at = [spec.first + k * spec.step for k in range(spec.num_frames)]
        assert len(at) == 20
        assert min(at) >= 0
        assert max(at) < 30
        assert 0 <= spec.top <= HEIGHT - spec.side
        assert 0 <= spec.left <= WIDTH - spec.side
        assert 0.75 * HEIGHT - 1 <= spec.side <= HEIGHT
        assert -5 <= spec.snr_db <= 20
        assert 0.001 <= spec.cbr <= 0.008
        assert belongs(source, spec)
        setup = SessionSetup(
            session_id="t",
            scheme="lowres",
            width=SIZE,
            height=SIZE,
            fps=8.0,
            seed=spec.seed,
            symbols_per_frame=symbols_per_frame(spec.cbr, SIZE, SIZE),
        )
        plan_grid(setup)
    assert {spec.step for spec in specs} == {1, -1}
    assert len({spec.seed for spec in specs}) == 200
    # Uniform in dB and in the logarithm of the rate: means within 4 sigma.
    snrs = [spec.snr_db for spec in specs]
    assert np.mean(snrs) == pytest.approx(7.5, abs=4 * 25 / math.sqrt(12 * 200))
    rates = np.log([spec.cbr for spec in specs])
    spread = math.log(8) / math.sqrt(12 * 200)
    assert rates.mean() == pytest.approx(math.log(0.001 * math.sqrt(8)), abs=4 * spread)
    firsts = {spec.first for spec in specs if spec.step == 1}
    assert firsts == set(range(11))


def test_a_short_shot_is_sent_whole() -> None:
    source = moving_shot(num_frames=9)
    spec = draw_spec(np.random.default_rng(1), ("walk", 0), source, "lowres", 40)
    assert spec.num_frames == 9
    assert spec.first == (0 if spec.step == 1 else 8)


def test_held_out_windows_show_what_send_shows() -> None:
    """The beginning, the centre square, 10 dB, the scheme's own rate."""
    source = moving_shot(num_frames=40)
    spec = held_out_spec(("walk", 0), source, "lowres")
    assert (spec.first, spec.step, spec.num_frames) == (0, 1, HELD_OUT_FRAMES)
    assert (spec.top, spec.left, spec.side) == (0, (WIDTH - HEIGHT) // 2, HEIGHT)
    assert (spec.snr_db, spec.cbr, spec.seed) == (HELD_OUT_SNR_DB, 0.004, 7777)
    assert belongs(source, spec)


def test_shots_are_numbered_within_their_clip() -> None:
    names = ("a", "b", "a", "a")
    shots = [moving_shot(name, 8, seed) for seed, name in enumerate(names)]
    assert number_shots(shots) == {
        ("a", 0): shots[0],
        ("a", 1): shots[2],
        ("a", 2): shots[3],
        ("b", 0): shots[1],
    }


# Whether a window is of these clips.


def test_a_changed_clip_is_refused_by_its_name() -> None:
    source = moving_shot()
    spec = spec_of(source)
    assert belongs(source, spec)
    for changed in (
        moving(12, seed=2),
        source.frames[:, :, ::-1],
        source.frames[..., ::-1],
        255 - source.frames,
    ):
        with pytest.raises(InputError, match=r"windows of walk .*python -m training\.received"):
            belongs(Shot("walk", changed, 8.0), spec)


def test_another_decoder_is_not_another_clip() -> None:
    """Frames that a level or two of rounding sets apart are the same."""
    source = moving_shot()
    noise = np.random.default_rng(1).integers(-2, 3, source.frames.shape)
    rounded = np.clip(source.frames.astype(int) + noise, 0, 255).astype(np.uint8)
    assert belongs(Shot("walk", rounded, 8.0), spec_of(source))


def test_a_trimmed_clip_loses_the_windows_that_reach_beyond_it() -> None:
    source = moving_shot(num_frames=20)
    specs = {
        "early": spec_of(source, first=0, num_frames=8),
        "late": spec_of(source, first=9, num_frames=8),
        "late, backwards": spec_of(source, first=16, step=-1, num_frames=8),
        "to its end": spec_of(source, first=4, num_frames=8),
        "one too far": spec_of(source, first=5, num_frames=8),
    }
    trimmed = Shot("walk", source.frames[:12], 8.0)
    assert [name for name, spec in specs.items() if belongs(trimmed, spec)] == [
        "early",
        "to its end",
    ]
    assert all(belongs(source, spec) for spec in specs.values())
    assert not belongs(None, specs["early"])
