"""Everything digital at once through real processes: frames, labels, report, record."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from test_send import frames_of, semcast

ARGUMENTS = (
    *("send", "sample:gripper", "--scheme", "desc,contours,sketch,motion,lowres"),
    *("--snr-db", "9", "--size", "128", "--cbr", "0.016", "--frames", "18"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run through the services; its files are in the folder."""
    folder = tmp_path_factory.mktemp("meaning")
    done = semcast(
        *ARGUMENTS,
        *("--report", folder / "report.json", "--frames-out", folder / "frames.npz"),
        *("--record", folder / "record"),
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_every_modality_is_sent_counted_and_received(run: Path) -> None:
    report = json.loads((run / "report.json").read_text())
    sent = {"caption", "contours", "sketch", "motion", "lowres", "pilot"}
    assert {name for name, count in report["symbols_by_modality"].items() if count} == sent
    assert report["symbols"] == sum(report["symbols_by_modality"].values())
    bits = report["payload_bits_by_modality"]
    assert all(bits[name] for name in sent - {"pilot"})
    assert report["cbr"] <= 1.05 * 0.016
    assert report["frames_concealed"] == 0
    assert report["caption_sent"]
    assert report["caption_received"] == report["caption_sent"]
    assert report["stage_ms"]["extract"]["p50"] > 0
    assert report["psnr_db"] > 15


def test_labels_received_equal_labels_sent_when_no_block_is_lost(run: Path) -> None:
    report = json.loads((run / "report.json").read_text())
    assert not any(report["crc_failures_by_modality"].values())
    sent, received = (frames_of(run / "frames.npz", f"labels_{k}") for k in ("sent", "received"))
    assert sent.shape == (18, 128, 128)
    assert sent.dtype == np.uint8
    assert np.array_equal(sent, received)
    assert sent.any()


def test_replay_of_the_record_gives_the_live_frames_byte_for_byte(run: Path) -> None:
    done = semcast(
        *("replay", run / "record", "-o", run / "replay.mp4"),
        *("--frames-out", run / "replay.npz"),
    )
    assert done.returncode == 0, done.stderr
    assert np.array_equal(frames_of(run / "replay.npz"), frames_of(run / "frames.npz"))


def test_in_process_run_gives_equal_frames_labels_and_counts(run: Path) -> None:
    done = semcast(
        *ARGUMENTS,
        *("--in-process", "--report", run / "in.json", "--frames-out", run / "in.npz"),
    )
    assert done.returncode == 0, done.stderr
    for name in ("received", "labels_sent", "labels_received"):
        assert np.array_equal(frames_of(run / "in.npz", name), frames_of(run / "frames.npz", name))
    live, in_process = (json.loads((run / f).read_text()) for f in ("report.json", "in.json"))
    for field in ("symbols_by_modality", "payload_bits_by_modality", "caption_received"):
        assert live[field] == in_process[field]


def test_a_frame_depends_on_no_later_one(run: Path) -> None:
    """Segmenter, sketcher, motion and tracker included."""
    shorter = [*ARGUMENTS[:-1], "9"]
    done = semcast(*shorter, "--in-process", "--frames-out", run / "short.npz")
    assert done.returncode == 0, done.stderr
    for name in ("received", "labels_received"):
        assert np.array_equal(
            frames_of(run / "short.npz", name), frames_of(run / "frames.npz", name)[:9]
        )


def test_auto_through_the_services_says_a_caption_first(tmp_path: Path) -> None:
    done = semcast(
        *("send", "sample:tumble", "--scheme", "auto", "--snr-db", "12", "--size", "128"),
        *("--cbr", "0.01", "--frames", "10", "--caption", "Toys fall."),
        *("--report", tmp_path / "r.json"),
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["scheme"] == "auto"
    assert report["caption_received"] == "Toys fall."
    assert report["symbols_by_modality"]["contours"] > 0


def test_an_unknown_segmenter_is_refused_in_one_line(tmp_path: Path) -> None:
    done = semcast(
        *("send", "sample:tumble", "--scheme", "contours-lowres", "--segmenter", "oracle"),
        *("--frames", "2", "-o", tmp_path / "o.mp4"),
    )
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "bundled" in done.stderr
