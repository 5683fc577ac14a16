"""What the encoder does next, decided without clocks or threads."""

from dataclasses import replace

import pytest

from semcast.media.encode_plan import (
    EncodeState,
    EncodeStep,
    EncodeTiming,
    IdrRequest,
    plan_encode,
)

TIMING = EncodeTiming(idr_interval_s=1.5, min_idr_gap_s=0.5, repeat_interval_s=0.7)
NOW_S = 100.0
WATCHED = EncodeState(
    viewers=1,
    frame_waiting=True,
    picture_known=True,
    idr_request=IdrRequest.NONE,
    last_idr_s=NOW_S - 0.2,
    last_packet_s=NOW_S - 0.1,
)
STALLED = replace(WATCHED, frame_waiting=False)


def step(state: EncodeState, **changes: object) -> EncodeStep:
    return plan_encode(replace(state, **changes), TIMING, NOW_S)


def test_nobody_watches() -> None:
    assert step(WATCHED, viewers=0) == EncodeStep(encode=False, wait_s=None)
    assert step(WATCHED, viewers=0, idr_request=IdrRequest.JOIN) == EncodeStep(encode=False)


def test_nothing_to_show_yet() -> None:
    state = replace(STALLED, picture_known=False, idr_request=IdrRequest.JOIN)
    assert plan_encode(state, TIMING, NOW_S) == EncodeStep(encode=False, wait_s=None)


def test_first_picture_is_an_idr() -> None:
    assert step(WATCHED, last_idr_s=None, last_packet_s=None) == EncodeStep(True, idr=True)


@pytest.mark.parametrize(("age_s", "idr"), [(0.2, False), (1.49, False), (1.5, True), (9.0, True)])
def test_idr_each_interval(age_s: float, idr: bool) -> None:
    assert step(WATCHED, last_idr_s=NOW_S - age_s) == EncodeStep(True, idr=idr)


def test_new_viewer_gets_an_idr_at_once() -> None:
    assert step(WATCHED, idr_request=IdrRequest.JOIN, last_idr_s=NOW_S) == EncodeStep(True, True)
    assert step(STALLED, idr_request=IdrRequest.JOIN, last_idr_s=NOW_S) == EncodeStep(True, True)


def test_loss_reports_are_rate_limited() -> None:
    asked = {"idr_request": IdrRequest.LOSS}
    assert step(WATCHED, **asked) == EncodeStep(True, idr=False)
    assert step(WATCHED, **asked, last_idr_s=NOW_S - 0.5) == EncodeStep(True, idr=True)
    early = step(STALLED, **asked)
    assert not early.encode
    assert early.wait_s == pytest.approx(0.3)  # until the gap of 0.5 s is over
    assert step(STALLED, **asked, last_idr_s=NOW_S - 0.5) == EncodeStep(True, idr=True)


def test_stalled_source_is_repeated_now_and_then() -> None:
    waiting = step(STALLED)
    assert not waiting.encode
    assert waiting.wait_s == pytest.approx(0.6)
    assert step(STALLED, last_packet_s=NOW_S - 0.7) == EncodeStep(True, idr=False)
    old = {"last_packet_s": NOW_S - 0.7, "last_idr_s": NOW_S - 1.6}
    assert step(STALLED, **old) == EncodeStep(True, idr=True)
