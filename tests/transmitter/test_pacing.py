"""When frames go out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transmitter.pacing import Pacer


def test_frames_are_due_on_a_grid_from_the_first_call() -> None:
    pacer = Pacer(8)
    assert [pacer.due_s(k, 100.0) for k in range(4)] == [100, 100.125, 100.25, 100.375]
    assert pacer.wait_s(4, 100.25) == pytest.approx(0.25)


def test_jitter_does_not_add_up() -> None:
    """Each frame is ready 20 ms late; the tenth is still due on the first one's grid."""
    pacer = Pacer(10)
    pacer.due_s(0, 0.0)
    for k in range(1, 11):
        assert pacer.due_s(k, k / 10 + 0.02) == pytest.approx(k / 10)
        assert pacer.wait_s(k, k / 10 + 0.02) == 0.0
    assert pacer.num_stalls == 0


def test_after_a_stall_the_grid_starts_anew_without_a_burst() -> None:
    pacer = Pacer(10)
    for k in range(5):
        pacer.due_s(k, k / 10)
    now_s = 3.0  # frame 5 was due at 0.5
    sent = []
    for k in range(5, 10):
        now_s += pacer.wait_s(k, now_s)
        sent.append(now_s)
    assert sent == pytest.approx([3.0, 3.1, 3.2, 3.3, 3.4])
    assert pacer.num_stalls == 1


@given(
    st.lists(st.floats(0, 1.5), min_size=1, max_size=60),
    st.sampled_from([1.0, 8.0, 30.0]),
)
def test_however_late_frames_are_ready_no_burst_follows(delays: list[float], fps: float) -> None:
    """In any window of n frame periods at most n + 3 frames go out (2 of lateness, 1 of edges)."""
    pacer = Pacer(fps)
    now_s, sent = 0.0, []
    for k, delay in enumerate(delays):
        now_s += delay / fps * 3
        now_s += pacer.wait_s(k, now_s)
        sent.append(now_s)
    for first in range(len(sent)):
        for last in range(first, len(sent)):
            periods = (sent[last] - sent[first]) * fps
            assert last - first + 1 <= periods + 3 + 1e-6


def test_restart_makes_the_next_frame_due_at_once() -> None:
    pacer = Pacer(4)
    pacer.due_s(0, 0.0)
    pacer.restart()
    assert pacer.due_s(1, 50.0) == 50.0
    assert pacer.due_s(2, 50.0) == 50.25
    assert pacer.num_stalls == 0
