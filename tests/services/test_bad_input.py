"""Bad input: exit status 2 and one line that says what and how to mend it. Never a traceback."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest


def semcast(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "semcast", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def refusal(*arguments: str | Path) -> str:
    """The one line with which a command is refused."""
    done = semcast(*arguments)
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("semcast: ")
    return lines[0]


def video(path: Path, width: int, height: int, frames: int = 4) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv444p"
        for _ in range(frames):
            image = np.zeros((height, width, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def audio_only(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        frame.rate = 16000
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_clips_that_cannot_be(tmp_path: Path) -> None:
    empty = tmp_path / "empty.mp4"
    empty.touch()
    text = tmp_path / "text.mp4"
    text.write_text("this is not a video\n" * 100)
    whole = video(tmp_path / "whole.mp4", 64, 64, frames=20)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[:200])
    clips = {
        tmp_path / "missing.mp4": "does not exist",
        empty: "empty",
        text: "",
        audio_only(tmp_path / "sound.m4a"): "",
        cut: "",
        video(tmp_path / "dot.mp4", 1, 1): "",
        "sample:nothing": "gripper",
    }
    for clip, says in clips.items():
        assert says in refusal("send", clip, "--snr-db", "5", "-o", tmp_path / "o.mp4")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--snr-db", "banana"], "--snr-db"),
        (["--snr-db", "1000"], "out of range"),
        (["--snr-db", "nan"], "out of range"),
        (["--scheme", "telepathy"], "choose one of"),
        (["--scheme", "lowres,smell"], "choose one of"),
        (["--mcs", "psk-7/8"], "qpsk"),
        (["--cbr", "0"], "CBR"),
        (["--cbr", "0.00001"], "at least"),
        (["--size", "0"], ""),
        (["--size", "axb"], ""),
        (["--fps", "0"], ""),
        (["--channel", "pigeon"], "awgn"),
        (["--generator", "dreams"], "passthrough"),
        (["--frames", "-3"], "--frames"),
        (["-o", "/nonexistent-folder/x.mp4"], "does not exist"),
        (["-o", "x.avi"], ".mp4"),
        (["--no-such-option"], "--help"),
    ],
)
def test_options_that_cannot_be(options: list[str], says: str) -> None:
    assert says in refusal("send", "sample:gripper", "--in-process", "--frames", "2", *options)


def test_a_generator_that_is_not_there_is_refused_through_the_services_too() -> None:
    line = refusal("send", "sample:gripper", "--frames", "2", "--generator", "dreams")
    assert "passthrough" in line


def test_records_that_cannot_be(tmp_path: Path) -> None:
    assert "--record" in refusal("replay", tmp_path, "-o", tmp_path / "o.mp4")
    broken = tmp_path / "broken.semcast"
    broken.write_bytes(b"\xff" * 300)
    refusal("replay", broken, "-o", tmp_path / "o.mp4")


def test_a_taken_port_is_named() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        for command in (["demo", "--no-browser"], ["serve", "receiver"], ["serve", "console"]):
            assert port in refusal(*command, "--port", port)


def test_demo_refuses_before_it_starts_anything() -> None:
    assert "choose one of" in refusal("demo", "--no-browser", "--scheme", "telepathy")
    assert "does not exist" in refusal("demo", "--no-browser", "--clip", "missing.mp4")
