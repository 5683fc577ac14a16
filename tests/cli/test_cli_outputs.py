"""What `send` and `replay` write, in one process and without networks for quality."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

import semcast.cli.send
from receiver.record import Recorder, find_record, read_record
from semcast.cli import main
from semcast.metrics.psnr import psnr_db
from semcast.metrics.quality import REPORT_METRICS, QualityMeter
from semcast.session import SessionSetup

Run = Callable[..., tuple[int, str]]

SEND = (
    *("send", "sample:gripper", "--in-process", "--size", "64", "--cbr", "0.05"),
    *("--frames", "5", "--snr-db", "8"),
)


class CheapQuality(QualityMeter):
    """PSNR alone; the networks are tested where they live."""

    def __init__(self) -> None:
        super().__init__(("psnr_db",))

    def result(self) -> tuple[dict[str, float | None], dict[str, str]]:
        values, notes = super().result()
        return {**dict.fromkeys(REPORT_METRICS), **values}, notes


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `semcast` in this process; exit status and stderr."""
    monkeypatch.setattr(semcast.cli.send, "QualityMeter", CheapQuality)

    def semcast_command(*arguments: str | Path) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["semcast", *map(str, arguments)])
        with pytest.raises(SystemExit) as leaving:
            main()
        return int(leaving.value.code or 0), capsys.readouterr().err

    return semcast_command


def arrays(path: Path) -> dict[str, NDArray[np.uint8]]:
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


def num_frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_send_writes_video_report_frames_and_record(run: Run, tmp_path: Path) -> None:
    status, error = run(
        *SEND,
        *("-o", tmp_path / "o.mp4", "--report", tmp_path / "r.json"),
        *("--frames-out", tmp_path / "f.npz", "--record", tmp_path / "rec"),
    )
    assert (status, error) == (0, "")
    assert num_frames(tmp_path / "o.mp4") == 5
    frames = arrays(tmp_path / "f.npz")
    assert set(frames) == {"received", "source"}
    for stored in frames.values():
        assert (stored.shape, stored.dtype) == ((5, 64, 64, 3), np.uint8)
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["frames_sent"] == report["frames_received"] == 5
    assert report["snr_db"] == 8.0
    # The report's PSNR is that of the very frames that were written.
    whole = psnr_db(frames["source"], frames["received"])
    assert report["psnr_db"] == pytest.approx(whole)
    # "default" is told as what it turned out to be.
    assert report["mcs"] == "auto"
    status, error = run(
        *("replay", tmp_path / "rec", "-o", tmp_path / "p.mp4"),
        *("--frames-out", tmp_path / "p.npz"),
    )
    assert (status, error) == (0, "")
    replayed = arrays(tmp_path / "p.npz")
    assert set(replayed) == {"received"}
    assert np.array_equal(replayed["received"], frames["received"])
    assert num_frames(tmp_path / "p.mp4") == 5


def test_frames_are_written_to_the_very_path_that_was_named(run: Run, tmp_path: Path) -> None:
    assert run(*SEND, "--frames-out", tmp_path / "frames.v1", "--record", tmp_path / "r")[0] == 0
    assert arrays(tmp_path / "frames.v1")["received"].shape == (5, 64, 64, 3)
    replay = ("replay", tmp_path / "r", "-o", tmp_path / "o.mp4")
    assert run(*replay, "--frames-out", tmp_path / "again")[0] == 0
    assert arrays(tmp_path / "again")["received"].shape == (5, 64, 64, 3)


def test_equal_seeds_give_equal_symbols_and_frames_and_other_seeds_do_not(
    run: Run, tmp_path: Path
) -> None:
    symbols, received = {}, {}
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        files = ["--frames-out", tmp_path / f"{name}.npz", "--record", tmp_path / name]
        assert run(*SEND, "--snr-db", "-3", "--seed", seed, *files)[0] == 0
        received[name] = arrays(tmp_path / f"{name}.npz")["received"]
        _, frames = read_record(find_record(tmp_path / name))
        symbols[name] = [block.samples.tobytes() for frame in frames for block in frame.blocks]
    assert np.array_equal(received["a"], received["b"])
    assert symbols["a"] == symbols["b"]
    assert not set(symbols["a"]) & set(symbols["c"])


def test_a_second_record_in_a_folder_is_one_to_choose_from(run: Run, tmp_path: Path) -> None:
    for _ in range(2):
        assert run(*SEND, "--record", tmp_path / "rec")[0] == 0
    status, error = run("replay", tmp_path / "rec", "-o", tmp_path / "o.mp4")
    assert status == 2
    assert "2 records" in error


@pytest.mark.parametrize("frames_out", [True, False])
def test_a_record_without_a_frame_is_refused_not_a_crash(
    run: Run, tmp_path: Path, frames_out: bool
) -> None:
    setup = SessionSetup(
        session_id="test", scheme="lowres", width=64, height=64, fps=8, symbols_per_frame=600
    )
    Recorder(tmp_path / "rec", setup).close()
    extra: list[Any] = ["--frames-out", tmp_path / "f.npz"] if frames_out else []
    status, error = run("replay", tmp_path / "rec", "-o", tmp_path / "o.mp4", *extra)
    assert status == 2
    assert error.count("\n") == 1
    assert "no frame" in error


def test_a_record_that_is_cut_short_is_refused_in_one_line(run: Run, tmp_path: Path) -> None:
    assert run(*SEND, "--record", tmp_path / "rec")[0] == 0
    path = find_record(tmp_path / "rec")
    path.write_bytes(path.read_bytes()[:-100])
    status, error = run("replay", path, "-o", tmp_path / "o.mp4")
    assert (status, error.count("\n")) == (2, 1)
    assert "cut short" in error
