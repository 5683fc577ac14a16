"""Variable frame rate onto the grid, and time stamps that cannot be trusted."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transmitter.sources.grid import LONGEST_GAP_S, PresentationClock, Timed, on_grid


def timed(*times: float, last: float = 0.1) -> list[Timed[int]]:
    """Pictures 0, 1, ... at these times, the last one for `last` seconds."""
    ends = [*times[1:], times[-1] + last]
    return [Timed(t, end - t, k) for k, (t, end) in enumerate(zip(times, ends, strict=True))]


def test_a_grid_of_the_same_rate_shows_each_picture_once() -> None:
    clip = timed(*(k / 15 for k in range(30)), last=1 / 15)
    assert list(on_grid(clip, fps=15)) == list(range(30))


def test_slower_and_faster_grids() -> None:
    clip = timed(*(k / 30 for k in range(30)), last=1 / 30)
    assert list(on_grid(clip, fps=10, tolerance_s=1e-6)) == list(range(0, 30, 3))
    assert list(on_grid(clip, fps=60, tolerance_s=1e-6)) == [k // 2 for k in range(60)]


def test_variable_rate_shows_the_last_picture_not_later_than_the_tick() -> None:
    clip = timed(0.0, 0.05, 0.26, 1.0, last=0.3)
    # ticks: 0 .1 .2 .3 .4 .5 .6 .7 .8 .9 1.0 1.1 1.2
    assert list(on_grid(clip, fps=10)) == [0, 1, 1, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3]


@given(
    gaps=st.lists(st.floats(0.001, 1.5), min_size=0, max_size=30),
    fps=st.sampled_from([1.0, 4.0, 8.0, 23.976, 60.0]),
)
def test_any_clip_follows_the_rule(gaps: list[float], fps: float) -> None:
    times = [0.0]
    for gap in gaps:
        times.append(times[-1] + gap)
    shown = list(on_grid(timed(*times), fps=fps))
    assert len(shown) >= 1
    for tick, picture in enumerate(shown):
        assert picture == max(k for k, t in enumerate(times) if t <= tick / fps)
    assert len(shown) == 1 or (len(shown) - 1) / fps < times[-1] + 0.1 <= len(shown) / fps + 1e-9


def test_stamps_rounded_to_milliseconds_neither_drop_nor_double() -> None:
    """Matroska says 67 ms for the picture at 66.67 ms."""
    clip = timed(*(round(k / 15, 3) for k in range(60)), last=0.067)
    assert list(on_grid(clip, fps=15, tolerance_s=0.001)) == list(range(60))
    assert list(on_grid(clip, fps=15)) != list(range(60))


def test_it_reads_one_picture_ahead_and_no_more() -> None:
    read = []

    def source() -> Iterator[Timed[int]]:
        for item in timed(*(k / 10 for k in range(100))):
            read.append(item.picture)
            yield item

    grid = on_grid(source(), fps=10)
    for tick in range(5):
        assert next(grid) == tick
        assert read[-1] == tick + 1


def test_a_single_picture_of_no_length_is_one_frame() -> None:
    assert list(on_grid([Timed(0.0, 0.0, "a")], fps=8)) == ["a"]
    assert list(on_grid([], fps=8)) == []


def test_clock_counts_from_the_first_stamp() -> None:
    clock = PresentationClock(0.04)
    assert clock.place(7.5, 0.1) == (0.0, 0.1)
    assert clock.place(7.6, None) == (pytest.approx(0.1), 0.04)
    assert clock.place(7.9, None)[0] == pytest.approx(0.4)
    assert clock.num_broken_stamps == 0


def test_clock_without_stamps_uses_the_nominal_rate() -> None:
    clock = PresentationClock(0.04)
    assert [clock.place(None, None)[0] for _ in range(4)] == pytest.approx([0, 0.04, 0.08, 0.12])


def test_clock_bridges_steps_back_and_absurd_jumps() -> None:
    clock = PresentationClock(0.04)
    times = [clock.place(t, None)[0] for t in (0.0, 0.04, -5.0, -4.96, 1e9, 1e9 + 0.04)]
    assert times == pytest.approx([0, 0.04, 0.08, 0.12, 0.16, 0.20], abs=1e-6)
    assert clock.num_broken_stamps == 2


def test_clock_believes_a_long_still_picture() -> None:
    clock = PresentationClock(0.04)
    clock.place(0.0, None)
    assert clock.place(LONGEST_GAP_S - 1, None)[0] == LONGEST_GAP_S - 1


@given(st.lists(st.none() | st.floats(-1e9, 1e9), min_size=1, max_size=50))
def test_clock_never_runs_backwards(stamps: list[float | None]) -> None:
    clock = PresentationClock(1 / 25)
    times = [clock.place(stamp, None)[0] for stamp in stamps]
    assert times[0] == 0
    assert all(0 <= b - a <= LONGEST_GAP_S + 1e-6 for a, b in pairwise(times))
