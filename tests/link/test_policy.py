"""Which scheme `auto` takes: the rule alone."""

from __future__ import annotations

import math

import pytest

from semcast.policy import Choice, pick_scheme

CHOICES = (
    Choice("desc", -math.inf),
    Choice("lowres", -3.0),
    Choice("contours-lowres", 2.0),
)


@pytest.mark.parametrize(
    ("snr_db", "scheme"),
    [
        (math.nan, "desc"),
        (-math.inf, "desc"),
        (-3.01, "desc"),
        (-3.0, "lowres"),
        (1.99, "lowres"),
        (2.0, "contours-lowres"),
        (40.0, "contours-lowres"),
    ],
)
def test_at_the_start_the_thresholds_alone_decide(snr_db: float, scheme: str) -> None:
    assert pick_scheme(snr_db, None, CHOICES) == scheme


def test_visual_semantics_are_gated_by_a_threshold_with_hysteresis() -> None:
    assert pick_scheme(-2.5, "desc", CHOICES) == "desc"
    assert pick_scheme(-2.0, "desc", CHOICES) == "lowres"
    assert pick_scheme(-2.9, "lowres", CHOICES) == "lowres"
    assert pick_scheme(-3.1, "lowres", CHOICES) == "desc"


def test_a_fall_or_rise_may_skip_schemes() -> None:
    assert pick_scheme(-10.0, "contours-lowres", CHOICES) == "desc"
    assert pick_scheme(10.0, "desc", CHOICES) == "contours-lowres"
    assert pick_scheme(math.nan, "contours-lowres", CHOICES) == "desc"


def test_an_estimate_that_wavers_less_than_the_hysteresis_switches_once() -> None:
    current, switches = "lowres", 0
    for snr_db in [1.6, 2.4] * 50 + [3.1] + [2.1, 2.9] * 50:
        picked = pick_scheme(snr_db, current, CHOICES)
        switches += picked != current
        current = picked
    assert (current, switches) == ("contours-lowres", 1)


def test_without_hysteresis_it_would_flap() -> None:
    current, switches = "lowres", 0
    for snr_db in [1.6, 2.4] * 10:
        picked = pick_scheme(snr_db, current, CHOICES, hysteresis_db=0.0)
        switches += picked != current
        current = picked
    assert switches == 19
