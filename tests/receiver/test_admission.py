"""Who may come in: decisions on times that are given, without clock, thread or network."""

from __future__ import annotations

import re
from typing import Any

import pytest
from receiver_link import setup

from receiver.admission import Admission, Demand, StepTime, Work


def work(generator: str = "slow", **changes: Any) -> Work:
    return Work.of(setup(generator=generator, **changes))


def demand(of: Work, fps: float = 8.0, *, live: bool = True, together: bool = False) -> Demand:
    return Demand(of, fps, live, together)


def took(wall_s: float, busy_s: float | None = None) -> StepTime:
    return StepTime(wall_s, wall_s if busy_s is None else busy_s)


def admission(max_load: float = 0.9, **steps_s: float) -> Admission:
    """Knows the time of a step of each generator named."""
    made = Admission(max_load)
    for name, step_s in steps_s.items():
        made.times.add(work(name), 1, took(step_s))
    return made


# What is known.


def test_a_step_takes_the_median_of_the_newest_and_keeps_busy_the_least() -> None:
    times = Admission(0.9).times
    assert times.find(work()) is None
    for wall_s in (0.05, 0.06, 7.0):
        times.add(work(), 1, took(wall_s, wall_s / 2))
    assert times.find(work()) == StepTime(0.06, 0.025)
    for _ in range(32):
        times.add(work(), 1, took(0.2))
    assert times.find(work()) == took(0.2)
    times.replace(work(), 1, took(0.01))
    assert times.find(work()) == took(0.01)


@pytest.mark.parametrize(
    "changes", [{"width": 80}, {"height": 80}, {"generator_steps": 4}, {"guidance": 2.0}]
)
def test_each_size_and_number_of_steps_has_a_time_of_its_own(changes: dict[str, Any]) -> None:
    known = admission(slow=0.05)
    other = work(**changes)
    assert known.unmeasured("new", demand(work())) == []
    assert known.unmeasured("new", demand(other)) == [1]


def test_times_of_what_nobody_uses_do_not_add_up() -> None:
    known = admission(slow=0.05)
    known.enter("kept", demand(work()))
    for width in range(16, 216):
        passing = demand(work(width=width))
        known.times.add(passing.work, 1, took(0.01))
        known.enter("passing", passing)
        known.leave("passing")
    held = [width for width in range(16, 216) if known.times.find(work(width=width))]
    # 64 in all: what is in use, and the newest, which somebody may be about to be judged by.
    assert set(held) == {64, *range(153, 216)}


# Who may come in.


def test_the_load_is_what_live_sessions_need() -> None:
    known = admission(slow=0.05, quick=0.01)
    known.enter("a", demand(work(), fps=8))
    known.enter("b", demand(work("quick"), fps=20))
    known.enter("patient", demand(work(), fps=100, live=False))
    assert known.load == pytest.approx(0.6)
    known.leave("a")
    assert known.load == pytest.approx(0.2)
    known.leave("a")


def test_sessions_come_in_until_the_model_is_full() -> None:
    known = admission(slow=0.05)
    for name in ("a", "b"):
        assert known.refusal(name, demand(work())) == ""
        known.enter(name, demand(work()))
    # Two need 0.8; a third would make it 1.2.
    refusal = known.refusal("c", demand(work()))
    assert "'slow' at 64x64" in refusal and "40%" in refusal and "80%" in refusal
    assert "another receiver" in refusal
    known.leave("a")
    assert known.refusal("c", demand(work())) == ""


def test_the_frame_rate_that_is_advised_is_taken() -> None:
    known = admission(slow=0.05)
    known.enter("a", demand(work(), fps=12))
    refusal = known.refusal("b", demand(work(), fps=12))
    advised = re.search(r"at most (\d+) frames a second", refusal)
    assert advised, refusal
    fps = int(advised[1])
    assert known.refusal("b", demand(work(), fps=fps)) == ""
    assert known.refusal("b", demand(work(), fps=fps + 1))
    # Where there is no room for one frame a second, none is advised.
    known.enter("b", demand(work(), fps=5.5))
    assert "frames a second," not in known.refusal("c", demand(work(), fps=12)).split(":")[1]


def test_a_session_that_starts_again_is_judged_without_itself() -> None:
    known = admission(slow=0.05)
    for name in ("a", "b"):
        known.enter(name, demand(work()))
    assert known.refusal("b", demand(work(), fps=9)) == ""
    known.enter("b", demand(work(), fps=9))
    assert known.load == pytest.approx(0.85)


def test_nobody_is_refused_where_it_is_turned_off() -> None:
    known = admission(max_load=0)
    assert known.unmeasured("a", demand(work())) == []
    known.times.add(work(), 1, took(60.0))
    for name in ("a", "b", "c"):
        assert known.refusal(name, demand(work())) == ""
        known.enter(name, demand(work()))


def test_noise_does_not_refuse_a_session_that_is_alone() -> None:
    """A step takes 8 times its time while others use the machine: it is slow, not hopeless."""
    known = Admission(0.9)
    known.times.add(work(), 1, took(0.48, busy_s=0.06))
    assert known.refusal("demo", demand(work())) == ""
    known.enter("demo", demand(work()))
    assert known.load == pytest.approx(3.84)
    # A second one is judged by the time as it is.
    assert known.refusal("second", demand(work()))


@pytest.mark.parametrize(("step_s", "comes_in"), [(0.186, True), (0.189, False), (10.0, False)])
def test_a_session_alone_may_be_somewhat_slower_than_real_time(
    step_s: float, comes_in: bool
) -> None:
    refusal = admission(slow=step_s).refusal("a", demand(work()))
    assert (refusal == "") is comes_in
    if not comes_in:
        assert "8 frames a second leave 125 ms" in refusal


def test_a_baseline_comes_in_beside_a_session_whichever_is_first() -> None:
    main, baseline = demand(work()), demand(work("passthrough"))
    known = admission(slow=0.18, passthrough=0.001)
    known.enter("main", main)
    assert known.refusal("main.baseline", baseline) == ""
    known = admission(slow=0.18, passthrough=0.001)
    known.enter("main.baseline", baseline)
    assert known.refusal("main", main) == ""
    # Two sessions are another matter.
    known.enter("main", main)
    assert known.refusal("second", main)


# Sessions that are not live.


def test_a_session_that_is_not_live_may_be_as_slow_as_it_likes() -> None:
    known = admission(hopeless=60.0, slow=0.1)
    assert known.refusal("a", demand(work("hopeless"), live=False)) == ""
    full = admission(slow=0.1)
    full.enter("live", demand(work()))
    assert full.refusal("b", demand(work(), fps=120, live=False)) == ""


def test_no_step_of_a_session_that_is_not_live_may_outlast_what_a_live_one_can_wait() -> None:
    # At 8 frames a second two frames wait: 250 ms.
    patient, live = demand(work("patient"), live=False), demand(work())
    known = admission(slow=0.05, patient=0.24)
    known.enter("live", live)
    assert known.refusal("patient", patient) == ""
    known = admission(slow=0.05, patient=0.26)
    known.enter("live", live)
    assert "'patient' at 64x64 takes 260 ms" in known.refusal("patient", patient)
    known.leave("live")
    known.enter("patient", patient)
    assert "not live" in known.refusal("live", live)
    assert known.refusal("other", patient) == ""
    known.leave("patient")
    assert known.refusal("live", live) == ""


# Steps that are shared.


def test_sessions_that_share_steps_need_the_time_of_the_shared_step() -> None:
    known = Admission(0.9)
    shared = demand(work(), together=True)
    step_s = {1: 0.05, 2: 0.06, 3: 0.07, 4: 0.12}
    for count in (1, 2, 3):
        assert known.unmeasured(f"s{count}", shared) == [count]
        known.times.add(work(), count, took(step_s[count]))
        assert known.refusal(f"s{count}", shared) == ""
        known.enter(f"s{count}", shared)
        assert known.load == pytest.approx(8 * step_s[count])
    assert known.unmeasured("s3", shared) == []
    known.times.add(work(), 4, took(step_s[4]))
    refusal = known.refusal("s4", shared)
    assert "40% of this receiver's time" in refusal
    # The shared step would come 8 times a second all the same.
    assert "at most" not in refusal.split(":")[1]


def test_a_receiver_that_is_too_full_already_advises_no_frame_rate() -> None:
    known = admission(slow=0.18)
    known.enter("a", demand(work()))
    refusal = known.refusal("b", demand(work()))
    assert "144% already" in refusal
    assert "frames a second," not in refusal.split(":")[1]
    # A shared step that was measured shorter than with fewer is noise, and no fault.
    shared = demand(work(), together=True)
    known.enter("a", shared)
    known.times.add(work(), 2, took(0.17))
    assert "stop one" in known.refusal("b", shared)


def test_a_shared_step_that_was_not_measured_takes_as_long_as_its_frames_in_turn() -> None:
    known = admission(slow=0.05)
    for name in ("a", "b"):
        known.enter(name, demand(work(), together=True))
    assert known.load == pytest.approx(0.8)
