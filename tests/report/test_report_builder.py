"""Every figure of a report from frame reports made by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from semcast.metrics.quality import REPORT_METRICS
from semcast.report import Report, ReportBuilder
from semcast.v1 import link_pb2, transmitter_pb2
from semcast.version import __version__

WIDTH, HEIGHT = 32, 16
PIXELS = WIDTH * HEIGHT

CONTRACT_FIELDS = {
    *("symbols", "symbols_by_modality", "cbr", "cbr_payload", "payload_bits_by_modality"),
    *("bpp", "bpp_payload", "feedback_bits", "snr_db", "snr_db_measured", "snr_db_estimated"),
    *("blocks_by_modality", "crc_failures_by_modality", "frames_concealed", "caption_sent"),
    *("caption_received", "psnr_db", "ssim", "lpips", "lpips_squeeze_caffe", "clip_score"),
    *("bert_score", "stage_ms", "latency_ms_p50", "latency_ms_p95", "realtime_factor"),
    *("scheme", "clip", "seed", "width", "height", "fps", "segment", "frames_sent"),
    *("frames_received", "generator", "device", "version", "notes"),
}
MODALITIES = {
    *("caption", "sketch", "keyframe", "contours", "lowres", "video", "motion", "control", "pilot")
}
PILOT, CONTROL = link_pb2.MODALITY_PILOT, link_pb2.MODALITY_CONTROL
LOWRES, VIDEO = link_pb2.MODALITY_LOWRES, link_pb2.MODALITY_VIDEO


class HandQuality:
    """Quality figures as the test says, and the pictures that were given for them."""

    def __init__(self, **values: float) -> None:
        self.values: dict[str, float | None] = dict.fromkeys(REPORT_METRICS)
        self.values.update(values)
        self.pairs: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = []

    def add(self, source: NDArray[np.uint8], received: NDArray[np.uint8]) -> None:
        self.pairs.append((source, received))

    def result(self) -> tuple[dict[str, float | None], dict[str, str]]:
        notes = {name: "no weights" for name, value in self.values.items() if value is None}
        return self.values, notes


def spec(**changes: Any) -> transmitter_pb2.SessionSpec:
    values: dict[str, Any] = {
        "session_id": "test",
        "clip": "sample:gripper",
        "scheme": "lowres",
        "width_px": WIDTH,
        "height_px": HEIGHT,
        "frames_per_second": 10.0,
        "segment_frames": 8,
        "mcs": "auto",
        "seed": 7,
        "generator": "passthrough",
        "generator_steps": 2,
        "guidance": 1.5,
        "channel": link_pb2.ChannelSettings(snr_db=7.3, model=link_pb2.CHANNEL_MODEL_BURST),
    }
    return transmitter_pb2.SessionSpec(**{**values, **changes})


def counts(values: Mapping[int, int]) -> list[transmitter_pb2.ModalityCount]:
    return [
        transmitter_pb2.ModalityCount(modality=modality, count=count)  # type: ignore[arg-type]
        for modality, count in values.items()
    ]


def stages(**durations_ms: float) -> list[link_pb2.StageDuration]:
    return [
        link_pb2.StageDuration(stage=stage, duration_ms=duration_ms)
        for stage, duration_ms in durations_ms.items()
    ]


def frame(
    sequence: int = 0,
    *,
    symbols: Mapping[int, int] | None = None,
    payload_bits: Mapping[int, int] | None = None,
    receiver: Mapping[str, Any] | None = None,
    channel: Mapping[str, Any] | None = None,
    **changes: Any,
) -> transmitter_pb2.FrameReport:
    values: dict[str, Any] = {
        "sequence": sequence,
        "symbols_by_modality": counts(symbols or {PILOT: 16, LOWRES: 100}),
        "payload_bits_by_modality": counts(payload_bits or {LOWRES: 80}),
        "information_bits": 96,
        "feedback_bits": 13,
        "cbr_target": 0.08,
        "latency_ms": 50.0,
        "receiver": link_pb2.ReceiverTelemetry(**{"device": "cpu", **(receiver or {})}),
        "channel": link_pb2.ChannelTelemetry(**(channel or {})),
    }
    return transmitter_pb2.FrameReport(**{**values, **changes})


def report_of(*frames: transmitter_pb2.FrameReport, **changes: Any) -> Report:
    builder = ReportBuilder(spec(**changes), HandQuality())  # type: ignore[arg-type]
    for one in frames:
        builder.add_frame(one)
    return builder.build(notes={})


# What was counted.


def test_symbols_are_all_that_was_sent_by_modality() -> None:
    report = report_of(
        frame(symbols={PILOT: 16, CONTROL: 38, VIDEO: 200}),
        frame(symbols={PILOT: 16, CONTROL: 38, VIDEO: 50}),
        frame(symbols={PILOT: 16, CONTROL: 38}),
    )
    assert report.symbols == 16 * 3 + 38 * 3 + 250
    assert set(report.symbols_by_modality) == MODALITIES
    nonzero = {name: count for name, count in report.symbols_by_modality.items() if count}
    assert nonzero == {"pilot": 48, "control": 114, "video": 250}


def test_cbr_counts_everything_and_its_payload_neither_pilots_nor_control() -> None:
    report = report_of(
        frame(symbols={PILOT: 16, CONTROL: 38, VIDEO: 200}),
        frame(symbols={PILOT: 16, CONTROL: 38, VIDEO: 50}),
    )
    assert report.cbr == pytest.approx((32 + 76 + 250) / (3 * PIXELS * 2))
    assert report.cbr_payload == pytest.approx(250 / (3 * PIXELS * 2))
    assert report.cbr_target == 0.08


def test_bits_a_pixel_count_crc_and_control_and_their_payload_neither() -> None:
    report = report_of(
        frame(payload_bits={CONTROL: 8, VIDEO: 300}, information_bits=8 + 8 + 300 + 24),
        frame(payload_bits={CONTROL: 8, VIDEO: 0}, information_bits=8 + 8),
    )
    assert report.bpp == pytest.approx((340 + 16) / (PIXELS * 2))
    assert report.bpp_payload == pytest.approx(300 / (PIXELS * 2))
    assert report.payload_bits_by_modality["video"] == 300
    assert report.payload_bits_by_modality["control"] == 16
    assert "pilot" not in report.payload_bits_by_modality


def test_feedback_is_counted_in_bits() -> None:
    assert report_of(frame(feedback_bits=13), frame(feedback_bits=9)).feedback_bits == 22


def test_blocks_and_their_failures_are_counted_by_modality() -> None:
    both = {"crc_checked_modalities": [CONTROL, VIDEO]}
    report = report_of(
        frame(receiver=both),
        frame(receiver={**both, "crc_failed_modalities": [VIDEO], "concealed": True}),
        frame(receiver={"crc_checked_modalities": [CONTROL], "crc_failed_modalities": [CONTROL]}),
    )
    assert {k: v for k, v in report.blocks_by_modality.items() if v} == {"control": 3, "video": 2}
    assert {k: v for k, v in report.crc_failures_by_modality.items() if v} == {
        "control": 1,
        "video": 1,
    }
    assert set(report.blocks_by_modality) == MODALITIES - {"pilot"}
    assert report.frames_concealed == 1


def test_frames_that_were_skipped_were_sent_and_not_received() -> None:
    report = report_of(frame(), frame(receiver={"skipped": True}), frame())
    assert (report.frames_sent, report.frames_received) == (3, 2)


def test_captions_are_those_that_came_last_and_null_where_none_did() -> None:
    assert report_of(frame()).caption_sent is None
    report = report_of(
        frame(caption_sent="A cat."),
        frame(receiver={"caption_received": "A hat."}),
        frame(),
    )
    assert report.caption_sent == "A cat."
    assert report.caption_received == "A hat."


# The link.


def energies(signal: float, noise: float, *, lost: bool = False) -> dict[str, Any]:
    return {"signal_energy": signal, "noise_energy": noise, "block_lost": lost}


def test_measured_snr_is_the_ratio_of_energies_over_all_frames() -> None:
    report = report_of(
        frame(channel=energies(100.0, 30.0)),
        frame(channel=energies(300.0, 10.0)),
    )
    # Not the mean of the frames' ratios, which would be 10.0 dB.
    assert report.snr_db_measured == pytest.approx(10 * math.log10(400 / 40))


def test_lost_frames_are_left_out_of_the_measured_snr() -> None:
    report = report_of(
        frame(channel=energies(100.0, 10.0)),
        frame(channel=energies(0.0, 500.0, lost=True)),
    )
    assert report.snr_db_measured == pytest.approx(10.0)


def test_where_nothing_was_measured_the_snr_is_null() -> None:
    assert report_of(frame(channel=energies(0.0, 50.0, lost=True))).snr_db_measured is None
    assert report_of(frame(channel=energies(100.0, 0.0))).snr_db_measured is None


def test_the_snr_asked_for_is_given_as_it_was_asked_for() -> None:
    assert report_of(frame()).snr_db == 7.3


def test_the_estimate_is_that_of_the_last_frame() -> None:
    report = report_of(*(frame(receiver={"snr_db_estimated": db}) for db in (3.0, 6.5)))
    assert report.snr_db_estimated == 6.5


# Speed.


def test_stages_have_median_and_95th_percentile_of_their_service_times() -> None:
    encode = [10.0 + k for k in range(21)]
    report = report_of(
        *(
            frame(
                stages=stages(source=1.0, encode=ms),
                receiver={"stages": stages(decode=3.0, generate=4.0)},
                channel={"process_ms": 0.5},
            )
            for ms in encode
        )
    )
    assert set(report.stage_ms) == {"source", "encode", "channel", "decode", "generate"}
    # Of 10, 11 .. 30: the median is 20, and the 95th percentile lies 19 steps of 20 along.
    assert report.stage_ms["encode"].p50 == pytest.approx(20.0)
    assert report.stage_ms["encode"].p95 == pytest.approx(29.0)
    assert report.stage_ms["channel"].p50 == pytest.approx(0.5)
    assert report.stage_ms["decode"].p95 == pytest.approx(3.0)


def test_realtime_factor_is_the_busiest_stage_over_the_frame_duration() -> None:
    report = report_of(
        *(
            frame(stages=stages(encode=20.0), receiver={"stages": stages(generate=ms)})
            for ms in [40.0] * 20
        ),
        frames_per_second=10.0,
    )
    assert report.realtime_factor == pytest.approx(0.4)
    twice = report_of(
        *(frame(stages=stages(encode=20.0), receiver={"stages": stages(generate=40.0)}),),
        frames_per_second=20.0,
    )
    assert twice.realtime_factor == pytest.approx(0.8)


def test_latencies_have_median_and_95th_percentile() -> None:
    report = report_of(*(frame(latency_ms=100.0 + 10 * k) for k in range(21)))
    assert report.latency_ms_p50 == pytest.approx(200.0)
    assert report.latency_ms_p95 == pytest.approx(290.0)


# The run, and quality.


def test_the_run_is_described() -> None:
    report = report_of(frame())
    assert (report.scheme, report.clip, report.seed) == ("lowres", "sample:gripper", 7)
    assert (report.width, report.height, report.fps, report.segment) == (WIDTH, HEIGHT, 10.0, 8)
    assert (report.generator, report.device, report.version) == ("passthrough", "cpu", __version__)
    assert (report.mcs, report.channel) == ("auto", "burst")
    assert (report.generator_steps, report.guidance) == (2, 1.5)


def test_quality_is_passed_on_with_the_reasons_for_what_is_missing() -> None:
    quality = HandQuality(psnr_db=31.5, ssim=0.9)
    builder = ReportBuilder(spec(), quality)  # type: ignore[arg-type]
    builder.add_frame(frame())
    pictures = [np.full((HEIGHT, WIDTH, 3), level, np.uint8) for level in (10, 20)]
    builder.add_pictures(*pictures)
    report = builder.build(notes={"device": "no GPU here"})
    assert (report.psnr_db, report.ssim, report.lpips) == (31.5, 0.9, None)
    assert [np.array_equal(a, b) for a, b in zip(quality.pairs[0], pictures, strict=True)] == [
        True,
        True,
    ]
    nulls = {name for name in REPORT_METRICS if getattr(report, name) is None}
    assert nulls <= set(report.notes)
    assert report.notes["lpips"] == "no weights"
    assert report.notes["device"] == "no GPU here"


# JSON.


def no_constant(name: str) -> float:
    raise AssertionError(f"{name} is not JSON")


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [frame()],
        [frame(channel=energies(100.0, 0.0))],
        [frame(channel=energies(0.0, 0.0)), frame(latency_ms=0.0)],
        [frame(receiver={"skipped": True})],
    ],
)
def test_the_json_says_all_that_the_contract_names_and_reads_back_equal(
    frames: list[transmitter_pb2.FrameReport],
) -> None:
    report = report_of(*frames)
    text = report.model_dump_json(indent=2)
    values = json.loads(text, parse_constant=no_constant)
    assert set(values) >= CONTRACT_FIELDS
    assert Report.model_validate_json(text) == report
    assert values["symbols"] == sum(values["symbols_by_modality"].values())


def test_a_run_without_frames_divides_by_nothing() -> None:
    report = report_of()
    assert (report.symbols, report.cbr, report.bpp, report.frames_sent) == (0, 0.0, 0.0, 0)
    assert report.stage_ms == {}
    for name in ("realtime_factor", "latency_ms_p50", "latency_ms_p95", "snr_db_estimated"):
        assert getattr(report, name) is None
