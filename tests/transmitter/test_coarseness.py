"""How coarse a live session's extractors get: the rule alone."""

from __future__ import annotations

from transmitter.coarseness import MOST_COARSE, Coarseness, adapt

FPS = 8.0


def after(
    start: Coarseness, num_frames: int, *, age: float, behind: bool = False, dropped: bool = False
) -> Coarseness:
    state = start
    for _ in range(num_frames):
        state = adapt(state, age=age, extractor_behind=behind, dropped=dropped, fps=FPS)
    return state


def test_frames_in_time_change_nothing() -> None:
    assert after(Coarseness(), 100, age=0.3).level == 0
    assert Coarseness().detail == ""
    assert Coarseness().period_frames == 1


def test_a_single_late_frame_is_forgiven_and_three_in_a_row_are_not() -> None:
    assert after(Coarseness(), 2, age=1.2).level == 0
    once_more = after(after(Coarseness(), 2, age=1.2), 1, age=0.6)
    assert after(once_more, 2, age=1.2).level == 0
    assert after(Coarseness(), 3, age=1.2).level == 1


def test_it_gets_coarser_well_before_a_queue_of_two_frames_drops() -> None:
    assert after(Coarseness(), 3, age=0.9).level == 1


def test_an_extractor_that_cannot_keep_up_counts_as_late() -> None:
    assert after(Coarseness(), 3, age=0.1, behind=True).level == 1


def test_a_dropped_frame_raises_it_at_once_and_it_ends_at_every_eighth_frame() -> None:
    state = Coarseness()
    levels = []
    for _ in range(6):
        state = adapt(state, age=2.5, extractor_behind=False, dropped=True, fps=FPS)
        levels.append((state.level, state.period_frames))
    assert levels == [(1, 2), (2, 4), (3, 8), (3, 8), (3, 8), (3, 8)]
    assert MOST_COARSE == 3


def test_it_recovers_one_level_after_four_calm_seconds() -> None:
    state = Coarseness(2)
    assert after(state, 31, age=0.3).level == 2
    assert after(state, 32, age=0.3).level == 1
    assert after(state, 64, age=0.3).level == 0


def test_neither_late_nor_calm_starts_the_count_again() -> None:
    state = after(Coarseness(1), 31, age=0.3)
    state = after(state, 1, age=0.7)
    assert after(state, 31, age=0.3).level == 1


def test_the_person_watching_is_told_what_it_means() -> None:
    assert "2nd" in Coarseness(1).detail
    assert "8th" in Coarseness(3).detail
