"""`semcast send` and `replay` as a user runs them: processes, gRPC, files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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


def semcast(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "semcast", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def frames_of(path: Path, name: str = "received") -> np.ndarray[Any, np.dtype[np.uint8]]:
    with np.load(path) as arrays:
        return np.asarray(arrays[name])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run through real processes; its files are in the folder."""
    folder = tmp_path_factory.mktemp("send")
    done = semcast(
        *("send", "sample:gripper", "--scheme", "lowres", "--snr-db", "7", "--size", "128"),
        *("--cbr", "0.006", "--frames", "20", "-o", folder / "out.mp4"),
        *("--report", folder / "report.json", "--frames-out", folder / "frames.npz"),
        *("--record", folder / "record"),
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_report_has_every_field_of_the_contract(run: Path) -> None:
    report = json.loads((run / "report.json").read_text())
    assert set(report) >= CONTRACT_FIELDS
    assert set(report["symbols_by_modality"]) == MODALITIES
    assert report["frames_sent"] == report["frames_received"] == 20
    assert report["symbols"] == sum(report["symbols_by_modality"].values())
    assert report["cbr"] == pytest.approx(report["symbols"] / (3 * 128 * 128 * 20))
    assert report["cbr"] == pytest.approx(0.006, rel=0.05)
    assert report["cbr_payload"] < report["cbr"]
    assert report["bpp_payload"] < report["bpp"]
    assert report["snr_db_measured"] == pytest.approx(7.0, abs=0.3)
    assert report["snr_db_estimated"] == pytest.approx(7.0, abs=0.6)
    assert report["feedback_bits"] > 0
    assert report["psnr_db"] > 15
    for metric in ("lpips", "clip_score", "bert_score"):
        assert report[metric] is not None or report["notes"][metric]


def test_written_video_plays_and_has_all_frames(run: Path) -> None:
    import av

    with av.open(str(run / "out.mp4")) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 20
    assert (frames[0].width, frames[0].height) == (128, 128)


def test_replay_of_the_record_gives_the_live_frames_byte_for_byte(run: Path) -> None:
    done = semcast(
        *("replay", run / "record", "-o", run / "replay.mp4"),
        *("--frames-out", run / "replay.npz"),
    )
    assert done.returncode == 0, done.stderr
    assert np.array_equal(frames_of(run / "replay.npz"), frames_of(run / "frames.npz"))


def test_in_process_run_gives_equal_frames_and_counts(run: Path) -> None:
    done = semcast(
        *("send", "sample:gripper", "--scheme", "lowres", "--snr-db", "7", "--size", "128"),
        *("--cbr", "0.006", "--frames", "20", "--in-process"),
        *("--report", run / "in.json", "--frames-out", run / "in.npz"),
    )
    assert done.returncode == 0, done.stderr
    assert np.array_equal(frames_of(run / "in.npz"), frames_of(run / "frames.npz"))
    assert np.array_equal(
        frames_of(run / "in.npz", "source"), frames_of(run / "frames.npz", "source")
    )
    live, in_process = (json.loads((run / f).read_text()) for f in ("report.json", "in.json"))
    for field in ("symbols_by_modality", "payload_bits_by_modality", "psnr_db", "snr_db_measured"):
        assert live[field] == in_process[field]


def test_a_frame_depends_on_no_later_one(run: Path) -> None:
    done = semcast(
        *("send", "sample:gripper", "--scheme", "lowres", "--snr-db", "7", "--size", "128"),
        *("--cbr", "0.006", "--frames", "9", "--in-process", "--frames-out", run / "short.npz"),
    )
    assert done.returncode == 0, done.stderr
    assert np.array_equal(frames_of(run / "short.npz"), frames_of(run / "frames.npz")[:9])


def test_classical_baseline_keeps_its_rate_through_the_services(tmp_path: Path) -> None:
    done = semcast(
        *("send", "sample:tumble", "--scheme", "h264-ldpc", "--snr-db", "8", "--size", "128"),
        *("--cbr", "0.02", "--frames", "48", "--report", tmp_path / "r.json"),
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["cbr"] == pytest.approx(0.02, rel=0.05)
    assert report["frames_concealed"] == 0
    assert report["symbols_by_modality"]["control"] > 0


@pytest.mark.parametrize("channel", ["rayleigh", "burst"])
def test_other_channels_lose_frames_and_go_on(channel: str, tmp_path: Path) -> None:
    done = semcast(
        *("send", "sample:tumble", "--scheme", "lowres", "--snr-db", "8", "--size", "128"),
        *("--cbr", "0.01", "--frames", "40", "--channel", channel, "--in-process"),
        *("--report", tmp_path / "r.json"),
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["channel"] == channel
    assert 0 < report["frames_concealed"] < 40
