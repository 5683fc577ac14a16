"""The rate controller keeps the long-run mean at its target, whatever the content costs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semcast.codecs.rate import RateController, RateLimits
from semcast.errors import InputError


def _run(costs: list[float], target: float, *, key_every: int | None = None) -> RateController:
    """Spends `costs` in turn (what the content would cost at each frame), skipping and padding."""
    controller = RateController(target)
    for number, cost in enumerate(costs):
        controller.begin_frame()
        key = number == 0 or (key_every is not None and number % key_every == 0)
        if key or not controller.should_skip():
            controller.spend(cost, burst=key)
            if not key:
                controller.expect(cost)
        controller.spend(controller.padding())
    return controller


def test_mean_within_5_percent_for_easy_hard_and_bursty_content() -> None:
    rng = np.random.default_rng(3)
    for scale in (0.1, 0.8, 1.0, 1.2, 3.0, 5.0):
        for frames in (48, 60, 100, 300):
            costs = list(1000 * scale * rng.uniform(0.7, 1.3, frames))
            costs[0] = 6000.0
            assert _run(costs, 1000.0).mean_per_frame == pytest.approx(1000.0, rel=0.05)


def test_easy_content_is_padded_and_hard_content_skipped() -> None:
    easy = RateController(100.0)
    padded = 0.0
    for _ in range(50):
        easy.begin_frame()
        easy.spend(10.0)
        padded += easy.padding()
        easy.spend(easy.padding())
    assert padded == pytest.approx(50 * 90 - 100, abs=1e-6)
    hard = RateController(100.0)
    sent = 0
    for _ in range(100):
        hard.begin_frame()
        if not hard.should_skip():
            sent += 1
            hard.spend(400.0)
            hard.expect(400.0)
    assert 24 <= sent <= 26


def test_start_up_burst_is_paid_back_gradually() -> None:
    """A six-frame key picture does not freeze the picture for six frames."""
    controller = RateController(1000.0)
    skipped = 0
    for number in range(48):
        controller.begin_frame()
        if controller.should_skip():
            skipped += 1
            continue
        amount = 6000.0 if number == 0 else controller.allowance()
        controller.spend(amount, burst=number == 0)
        if number:
            controller.expect(amount)
    assert skipped == 0
    assert controller.mean_per_frame == pytest.approx(1000.0, rel=0.05)


def test_allowance_follows_the_balance() -> None:
    controller = RateController(100.0, RateLimits(correction_frames=4))
    controller.begin_frame()
    assert controller.allowance() == 100.0
    controller.spend(60.0)
    controller.begin_frame()
    assert controller.allowance() == 110.0
    controller.spend(5000.0)
    controller.begin_frame()
    assert controller.allowance() == 25.0


def test_a_scheduled_burst_waits_until_the_mean_can_bear_it() -> None:
    controller = RateController(100.0)
    for number in range(1, 201):
        controller.begin_frame()
        controller.spend(100.0)
        assert controller.may_burst(600.0) == (number >= 150)


def test_frames_that_are_always_too_large_still_get_sent() -> None:
    controller = RateController(100.0)
    sent = 0
    for _ in range(400):
        controller.begin_frame()
        if not controller.should_skip():
            sent += 1
            controller.spend(2000.0)
            controller.expect(2000.0)
        controller.spend(controller.padding())
    assert sent >= 10
    assert controller.mean_per_frame == pytest.approx(100.0, rel=0.2)


@given(
    costs=st.lists(st.floats(0, 1e5), min_size=1, max_size=80),
    target=st.floats(1.0, 1e4),
)
@settings(max_examples=100, deadline=None)
def test_arithmetic_adds_up(costs: list[float], target: float) -> None:
    controller = _run(costs, target)
    frames = len(costs)
    spent = controller.mean_per_frame * frames
    assert controller.balance == pytest.approx(frames * target - spent, abs=1e-3)
    assert controller.padding() >= 0
    assert controller.allowance() >= 0.25 * target


def test_bad_numbers_are_refused() -> None:
    for target in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError):
            RateController(target)
    with pytest.raises(InputError):
        RateController(1.0).spend(-1.0)
    with pytest.raises(InputError):
        RateLimits(amortise_frames=0)
