"""When is a frame concealed, and when is it an outage?"""

from __future__ import annotations

import pytest

from receiver.concealment import OUTAGE_AFTER_S, Concealment, conceal


def run(completes: str, fps: float) -> list[Concealment]:
    """One decision a letter: '+' a complete frame, '-' one with something missing."""
    held, decisions = 0, []
    for letter in completes:
        decisions.append(conceal(held, complete=letter == "+", fps=fps))
        held = decisions[-1].held_frames
    return decisions


def test_a_complete_frame_is_shown_and_ends_what_was() -> None:
    for held in (0, 1, 100):
        assert conceal(held, complete=True, fps=8.0) == Concealment(False, False, 0)


def test_frames_held_in_a_row_are_counted() -> None:
    decisions = run("+--+---", 8.0)
    assert [d.concealed for d in decisions] == [letter == "-" for letter in "+--+---"]
    assert [d.held_frames for d in decisions] == [0, 1, 2, 0, 1, 2, 3]


@pytest.mark.parametrize("fps", [1.0, 5.0, 8.0, 25.0, 120.0])
def test_outage_is_told_once_the_picture_has_been_held_for_so_long(fps: float) -> None:
    decisions = run("-" * 200, fps)
    outages = [d.outage for d in decisions]
    first = outages.index(True)
    assert (first + 1) / fps >= OUTAGE_AFTER_S
    assert first / fps < OUTAGE_AFTER_S
    assert all(outages[first:])


def test_at_8_fps_that_is_the_sixth_frame() -> None:
    assert [d.outage for d in run("------", 8.0)] == [False] * 5 + [True]


def test_an_outage_ends_with_the_first_complete_frame() -> None:
    assert [d.outage for d in run("-" * 10 + "+-", 8.0)][-2:] == [False, False]


def test_losses_that_do_not_follow_each_other_are_no_outage() -> None:
    assert not any(d.outage for d in run("-----+" * 20, 8.0))
