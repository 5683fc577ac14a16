"""RTP time keeps stream spacing, goes forward, and follows wall time where the stream does not."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from semcast.media.rtp_clock import MIN_STEP_US, RtpClock, rtp_ticks

FRAME_US = 125_000


def clock() -> RtpClock:
    return RtpClock(max_lead_us=2 * FRAME_US, max_lag_us=4 * FRAME_US)


def test_spacing_is_that_of_the_stream_not_of_the_arrivals() -> None:
    rtp = clock()
    jitter_us = [0, 40_000, -30_000, 60_000, 10_000]
    stamps = [rtp.stamp(k * FRAME_US, 10**9 + k * FRAME_US + j) for k, j in enumerate(jitter_us)]
    assert stamps == [10**9 + k * FRAME_US for k in range(5)]


def test_after_a_pause_time_goes_on_from_now() -> None:
    rtp = clock()
    rtp.stamp(0, 10**9)
    assert rtp.stamp(FRAME_US, 10**9 + 60_000_000) == 10**9 + 60_000_000
    assert rtp.stamp(2 * FRAME_US, 10**9 + 60_000_000 + FRAME_US) == 10**9 + 60_000_000 + FRAME_US


def test_a_burst_does_not_run_ahead_of_wall_time() -> None:
    rtp = clock()
    stamps = [rtp.stamp(k * FRAME_US, 10**9) for k in range(20)]
    assert max(stamps) - 10**9 <= 2 * FRAME_US + 20 * MIN_STEP_US


def test_a_stream_that_restarts_at_zero_goes_on() -> None:
    rtp = clock()
    first = rtp.stamp(3_600_000_000, 10**9)
    assert rtp.stamp(0, 10**9 + FRAME_US) == first + FRAME_US


def test_a_repeat_leaves_the_spacing_of_the_frames_alone() -> None:
    rtp = clock()
    rtp.stamp(0, 10**9)
    assert rtp.stamp_repeat(10**9 + 50_000) == 10**9 + 50_000
    assert rtp.stamp(FRAME_US, 10**9 + FRAME_US) == 10**9 + FRAME_US


@given(
    st.lists(
        st.tuples(st.integers(-(2**40), 2**40), st.integers(0, 5_000_000), st.booleans()),
        min_size=2,
        max_size=40,
    )
)
def test_time_only_goes_forward(events: list[tuple[int, int, bool]]) -> None:
    rtp, now_us, stamps = clock(), 0, []
    for pts_us, elapsed_us, is_repeat in events:
        now_us += elapsed_us
        stamps.append(rtp.stamp_repeat(now_us) if is_repeat else rtp.stamp(pts_us, now_us))
    steps = [b - a for a, b in pairwise(stamps)]
    assert min(steps) >= MIN_STEP_US
    ticks = [rtp_ticks(stamp) for stamp in stamps]
    assert ticks == sorted(set(ticks))
