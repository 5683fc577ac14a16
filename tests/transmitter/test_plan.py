"""From what a caller asks for to set-ups, and every value that is refused."""

from __future__ import annotations

import math

import pytest
from fake_relay import spec

from semcast.air.ladder import LADDER
from semcast.errors import InputError, NotFoundError
from semcast.rpc.limits import MAX_MESSAGE_BYTES
from semcast.rpc.messages import setup_from_proto, setup_to_proto
from semcast.session import ChannelModel
from semcast.v1 import link_pb2
from transmitter.plan import (
    BASELINE_LEG,
    MAIN_LEG,
    MAX_PIXELS,
    check_channel,
    plan_legs,
    session_id_of,
)


def channel(**changes: object) -> link_pb2.ChannelSettings:
    values: dict[str, object] = {"snr_db": 10.0, "model": link_pb2.CHANNEL_MODEL_AWGN, "seed": 7}
    return link_pb2.ChannelSettings(**{**values, **changes})  # type: ignore[arg-type]


def test_one_leg_carries_what_was_asked_for() -> None:
    (plan,) = plan_legs(
        spec(
            session_id="abc",
            width_px=96,
            height_px=80,
            frames_per_second=12.5,
            segment_frames=5,
            cbr=0.02,
            mcs="qpsk-1/2",
            seed=99,
            generator="tiny",
            generator_steps=3,
            guidance=2.5,
            feedback_delay_frames=3,
            paced=True,
            measurement_tap=True,
            channel=channel(model=link_pb2.CHANNEL_MODEL_RAYLEIGH),
        )
    )
    setup = plan.setup
    assert (plan.name, plan.cbr) == (MAIN_LEG, 0.02)
    assert (setup.session_id, setup.scheme, setup.generation) == ("abc", "lowres", 1)
    assert (setup.width, setup.height, setup.fps, setup.segment_frames) == (96, 80, 12.5, 5)
    assert setup.symbols_per_frame == round(0.02 * 3 * 96 * 80)
    assert (setup.mcs, setup.seed, setup.generator) == ("qpsk-1/2", 99, "tiny")
    assert (setup.generator_steps, setup.guidance) == (3, 2.5)
    assert setup.feedback_delay_frames == 3
    assert setup.channel_model is ChannelModel.RAYLEIGH
    assert setup.live
    assert setup.measurement_tap


def test_what_is_not_set_takes_its_default() -> None:
    (plan,) = plan_legs(spec(cbr=0.0, mcs="", feedback_delay_frames=0, width_px=256, height_px=256))
    assert plan.cbr == 0.004
    assert plan.setup.symbols_per_frame == round(0.004 * 3 * 256 * 256)
    assert plan.setup.mcs == "auto"
    assert plan.setup.feedback_delay_frames == 1
    assert not plan.setup.live


def test_the_baseline_gets_equal_cbr_under_its_own_id_and_rung() -> None:
    main, baseline = plan_legs(
        spec(
            baseline_scheme="h264-ldpc",
            cbr=0.03,
            mcs="qpsk-1/3",
            generator="tiny",
            generator_steps=2,
            guidance=1.5,
            width_px=128,
            height_px=128,
        )
    )
    assert (main.name, baseline.name) == (MAIN_LEG, BASELINE_LEG)
    assert main.cbr == baseline.cbr == 0.03
    assert main.setup.symbols_per_frame == baseline.setup.symbols_per_frame
    assert main.setup.session_id == "test"
    assert baseline.setup.session_id == session_id_of("test", BASELINE_LEG) != "test"
    assert main.setup.mcs == "qpsk-1/3"
    assert baseline.setup.mcs == "qpsk-2/3"
    assert baseline.setup.scheme == "h264-ldpc"
    assert baseline.setup.generator == "passthrough"
    assert (main.setup.generator_steps, main.setup.guidance) == (2, 1.5)
    assert (baseline.setup.generator_steps, baseline.setup.guidance) == (0, 0.0)
    for field in ("width", "height", "fps", "seed", "channel_model", "live", "measurement_tap"):
        assert getattr(main.setup, field) == getattr(baseline.setup, field)


def test_the_baseline_gets_the_main_schemes_default_cbr() -> None:
    main, baseline = plan_legs(
        spec(baseline_scheme="h264-ldpc", cbr=0.0, width_px=256, height_px=256)
    )
    assert main.cbr == baseline.cbr == 0.004


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"cbr": -0.1}, "CBR"),
        ({"cbr": 1.5}, "CBR"),
        ({"cbr": math.nan}, "CBR"),
        ({"cbr": 1e-6}, "give a CBR of at least"),
        ({"mcs": "psk-7/8"}, "qpsk-1/2"),
        ({"width_px": 0}, "width"),
        ({"height_px": 8}, "height"),
        ({"width_px": 5000, "height_px": 16}, "width"),
        ({"frames_per_second": 0.0}, "fps"),
        ({"frames_per_second": -1.0}, "fps"),
        ({"frames_per_second": 1000.0}, "fps"),
        ({"frames_per_second": math.nan}, "fps"),
        ({"segment_frames": 0}, "segment"),
        ({"segment_frames": 1_000_000}, "segment"),
        ({"seed": 2**63}, "seed"),
        ({"feedback_delay_frames": 5}, "feedback_delay"),
        ({"session_id": ""}, "session_id"),
        ({"session_id": "a b"}, "session_id"),
        ({"session_id": "../x"}, "session_id"),
        ({"session_id": "x" * 65}, "session_id"),
        ({"session_id": "x" * 60, "baseline_scheme": "h264-ldpc"}, "session_id"),
        ({"channel": channel(snr_db=1000.0)}, "out of range"),
        ({"channel": channel(snr_db=-1000.0)}, "out of range"),
        ({"channel": channel(snr_db=math.nan)}, "out of range"),
        ({"channel": channel(snr_db=math.inf)}, "out of range"),
        ({"channel": channel(model=0)}, "AWGN"),
        ({"channel": channel(model=77)}, "AWGN"),
        ({"generator": ""}, "generator"),
        ({"generator": "two words"}, "generator"),
        ({"generator_steps": 9}, "generator_steps"),
        ({"guidance": 10.5}, "guidance"),
        ({"guidance": -0.5}, "guidance"),
        ({"guidance": math.nan}, "guidance"),
        ({"guidance": math.inf}, "guidance"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_a_sentence(
    changes: dict[str, object], says: str
) -> None:
    with pytest.raises(InputError, match=says) as refusal:
        plan_legs(spec(**changes))
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).endswith(".")


@pytest.mark.parametrize("field", ["scheme", "baseline_scheme"])
def test_an_unknown_scheme_is_not_found_and_the_known_ones_are_named(field: str) -> None:
    with pytest.raises(NotFoundError, match="h264-ldpc"):
        plan_legs(spec(**{field: "telepathy"}))


def test_a_picture_too_large_for_the_way_back_is_refused() -> None:
    # Full HD must pass, and source and received picture together fit one message.
    assert 1920 * 1080 <= MAX_PIXELS <= MAX_MESSAGE_BYTES // 6
    most = MAX_PIXELS // 1920
    (plan,) = plan_legs(spec(width_px=1920, height_px=most, cbr=0.004))
    assert plan.setup.height == most
    with pytest.raises(InputError, match=f"1920x{most + 2} is too large"):
        plan_legs(spec(width_px=1920, height_px=most + 2, cbr=0.004))


def test_a_rate_the_next_hop_would_refuse_is_refused_here() -> None:
    with pytest.raises(InputError, match="symbols"):
        plan_legs(spec(width_px=1920, height_px=1080, cbr=0.5))


@pytest.mark.parametrize("mcs", ["", "default", "auto", *(rung.id for rung in LADDER)])
def test_what_is_planned_passes_the_next_hop(mcs: str) -> None:
    for plan in plan_legs(
        spec(mcs=mcs, baseline_scheme="h265-ldpc", width_px=128, height_px=128, cbr=0.05)
    ):
        assert setup_from_proto(setup_to_proto(plan.setup)) == plan.setup


def test_any_snr_the_emulator_takes_passes() -> None:
    for snr_db in (-30.0, -5.0, 0.0, 60.0):
        check_channel(channel(snr_db=snr_db))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"snr_db": 61.0}, "SNR 61 dB is out of range: -30 to 60 dB"),
        ({"model": 0}, "Channel model 0 is not known"),
        ({"burst_frames_mean": -1.0, "model": link_pb2.CHANNEL_MODEL_BURST}, "burst"),
        ({"gap_frames_mean": 0.5, "model": link_pb2.CHANNEL_MODEL_BURST}, "gap"),
        ({"seed": 2**63}, "seed"),
    ],
)
def test_a_channel_that_cannot_be_emulated_is_refused(
    changes: dict[str, object], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        check_channel(channel(**changes))
