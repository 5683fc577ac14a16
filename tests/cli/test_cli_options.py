"""From a command line to what is asked of the services, and to an exit status."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import semcast.cli.demo
import semcast.cli.doctor
import semcast.cli.replay
import semcast.cli.send
import semcast.cli.serve
from semcast.cli import main
from semcast.errors import CapacityError, InputError, NotFoundError, UnavailableError
from semcast.v1 import link_pb2, transmitter_pb2
from semcast.version import __version__


@dataclass
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `semcast` in this process."""

    def semcast(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["semcast", *map(str, arguments)])
        with pytest.raises(SystemExit) as leaving:
            main()
        captured = capsys.readouterr()
        code = leaving.value.code
        return Done(0 if code is None else int(code), captured.out, captured.err)

    return semcast


@dataclass
class Asked:
    """What `semcast send` would have done."""

    spec: transmitter_pb2.SessionSpec
    outputs: semcast.cli.send.Outputs
    in_process: bool


@pytest.fixture
def sent(run: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Asked]:
    """What a `send` command asks for."""

    def ask(*arguments: str | Path) -> Asked:
        asked: list[Asked] = []

        def note(spec: Any, outputs: Any, *, in_process: bool) -> None:
            asked.append(Asked(spec, outputs, in_process))

        monkeypatch.setattr(semcast.cli.send, "send", note)
        assert run("send", *arguments).status == 0
        return asked[0]

    return ask


# send.


def test_send_has_the_defaults_of_the_contract(sent: Callable[..., Asked]) -> None:
    asked = sent("sample:gripper", "--scheme", "lowres", "--snr-db", "5")
    spec = asked.spec
    assert (spec.clip, spec.scheme, spec.channel.snr_db) == ("sample:gripper", "lowres", 5.0)
    assert (spec.frames_per_second, spec.width_px, spec.height_px) == (8.0, 256, 256)
    assert (spec.segment_frames, spec.seed, spec.channel.seed) == (8, 7777, 7777)
    assert (spec.mcs, spec.cbr, spec.max_frames) == ("default", 0.0, 0)
    assert spec.channel.model == link_pb2.CHANNEL_MODEL_AWGN
    assert (spec.generator, spec.caption, spec.baseline_scheme) == ("passthrough", "", "")
    assert spec.feedback_delay_frames == 1
    assert (spec.generator_steps, spec.guidance) == (0, 0.0)
    # `send` never drops a frame for being slow, and scores what was received.
    assert not spec.paced
    assert not spec.loop
    assert spec.measurement_tap
    assert not asked.in_process
    assert asked.outputs == semcast.cli.send.Outputs(None, None, None, None)


def test_every_option_of_send_arrives(sent: Callable[..., Asked], tmp_path: Path) -> None:
    asked = sent(
        *("walk.mp4", "--scheme", "h264-ldpc", "--snr-db", "-2.5", "-o", tmp_path / "o.mp4"),
        *("--fps", "12.5", "--size", "320x240", "--frames", "30", "--segment", "4"),
        *("--cbr", "0.01", "--mcs", "qpsk-1/2", "--channel", "rayleigh", "--seed", "42"),
        *("--caption", "A walk.", "--generator", "tiny", "--in-process", "--feedback-delay", "3"),
        *("--report", tmp_path / "r.json", "--frames-out", tmp_path / "f.npz"),
        *("--record", tmp_path / "rec", "--steps", "2", "--guidance", "1.5"),
    )
    spec = asked.spec
    assert (spec.clip, spec.scheme, spec.channel.snr_db) == ("walk.mp4", "h264-ldpc", -2.5)
    assert (spec.frames_per_second, spec.width_px, spec.height_px) == (12.5, 320, 240)
    assert (spec.max_frames, spec.segment_frames, spec.cbr) == (30, 4, 0.01)
    assert (spec.mcs, spec.seed, spec.channel.seed) == ("qpsk-1/2", 42, 42)
    assert spec.channel.model == link_pb2.CHANNEL_MODEL_RAYLEIGH
    assert (spec.caption, spec.generator, spec.feedback_delay_frames) == ("A walk.", "tiny", 3)
    assert (spec.generator_steps, spec.guidance) == (2, 1.5)
    assert asked.in_process
    assert asked.outputs == semcast.cli.send.Outputs(
        video=tmp_path / "o.mp4",
        report=tmp_path / "r.json",
        frames=tmp_path / "f.npz",
        record_dir=tmp_path / "rec",
    )


def test_each_run_is_a_session_of_its_own(sent: Callable[..., Asked]) -> None:
    ids = {sent("sample:gripper").spec.session_id for _ in range(3)}
    assert len(ids) == 3


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--snr-db", "banana"], "--snr-db"),
        (["--fps", "fast"], "--fps"),
        (["--size", "axb"], "size"),
        (["--size", "15"], "size"),
        (["--size", "255"], "odd"),
        (["--frames", "0"], "--frames"),
        (["--frames", "99999999999999999999"], "--frames"),
        (["--segment", "0"], "--segment"),
        (["--seed", "-1"], "--seed"),
        (["--seed", "99999999999999999999"], "--seed"),
        (["--seed", str(2**63)], "--seed"),
        (["--cbr", "0"], "CBR"),
        (["--cbr", "2"], "CBR"),
        (["--cbr", "nan"], "CBR"),
        (["--channel", "pigeon"], "awgn, rayleigh, burst"),
        (["--feedback-delay", "5"], "--feedback-delay"),
        (["--steps", "9"], "--steps"),
        (["--steps", "-1"], "--steps"),
        (["--steps", "1.5"], "--steps"),
        (["--guidance", "10.5"], "--guidance"),
        (["--guidance", "-1"], "--guidance"),
        (["--guidance", "nan"], "--guidance"),
        (["--guidance", "much"], "--guidance"),
        (["--smell", "rose"], "--smell"),
        (["one", "too", "many"], "--help"),
    ],
)
def test_an_option_that_cannot_be_is_refused_in_one_line(
    run: Run, options: list[str], says: str
) -> None:
    done = run("send", "sample:gripper", *options)
    assert done.status == 2
    assert done.err.count("\n") == 1
    assert done.err.startswith("semcast: ")
    assert says in done.err


@pytest.mark.parametrize(
    "options",
    [
        ["--snr-db", "1e39"],
        ["--snr-db", "nan"],
        ["--fps", "0"],
        ["--fps", "inf"],
        ["--fps", "nan"],
        ["--scheme", "telepathy"],
        ["--scheme", ""],
        ["--mcs", "psk-7/8"],
        ["--generator", "dreams"],
        ["--generator", ""],
        ["--size", "4096x4096"],
        ["--cbr", "0.00001"],
    ],
)
def test_a_value_that_cannot_be_is_refused_before_anything_starts(
    run: Run, options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("services were started")

    monkeypatch.setattr(semcast.cli.send, "LocalServices", started)
    process = [] if "dreams" not in options else ["--in-process"]
    done = run("send", "sample:gripper", "--frames", "2", *options, *process)
    assert done.status == 2, done.err
    assert done.err.count("\n") == 1


# Where results go.


@pytest.mark.parametrize(
    ("command", "option"),
    [
        *((["send", "sample:gripper"], option) for option in ("-o", "--report", "--frames-out")),
        *((["replay", "r"], option) for option in ("-o", "--frames-out")),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_at_once(
    run: Run, tmp_path: Path, command: list[str], option: str
) -> None:
    (tmp_path / "folder.mp4").mkdir()
    video = ["-o", str(tmp_path / "v.mp4")] if command[0] == "replay" and option != "-o" else []
    for path in (tmp_path / "folder.mp4", tmp_path / "missing" / "x.mp4"):
        done = run(*command, *video, option, path)
        assert done.status == 2, done.err
        assert done.err.count("\n") == 1
        assert str(path.name) in done.err or str(path.parent) in done.err
    assert not (tmp_path / "v.mp4").exists()


def test_a_record_folder_that_is_a_file_is_refused(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    done = run("send", "sample:gripper", "--in-process", "--frames", "2", "--record", file)
    assert done.status == 2
    assert done.err.count("\n") == 1
    assert str(file) in done.err


# demo, replay, serve, models, doctor.


def test_demo_has_the_defaults_of_the_contract(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(semcast.cli.demo, "run_demo", lambda **options: asked.append(options))
    assert run("demo").status == 0
    assert asked[0] == {
        "clip": "",
        "scheme": "",
        "snr_db": 10.0,
        "generator": "auto",
        "steps": 0,
        "guidance": 0.0,
        "port": 8080,
        "browser": True,
        "seconds": None,
    }
    options = ("--clip", "c.mp4", "--scheme", "h264-ldpc", "--snr-db", "3", "--port", "0")
    more = ("--steps", "2", "--guidance", "1.5", "--no-browser", "--for", "2.5")
    assert run("demo", *options, *more).status == 0
    assert asked[1] == {
        "clip": "c.mp4",
        "scheme": "h264-ldpc",
        "snr_db": 3.0,
        "generator": "auto",
        "steps": 2,
        "guidance": 1.5,
        "port": 0,
        "browser": False,
        "seconds": 2.5,
    }


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--port", "70000"], "--port"),
        (["--for", "-1"], "--for"),
        (["--scheme", "telepathy"], "choose one of"),
        (["--snr-db", "nan"], "out of range"),
        (["--steps", "9"], "--steps"),
        (["--guidance", "nan"], "--guidance"),
        (["--clip", "missing.mp4"], "does not exist"),
    ],
)
def test_demo_refuses_before_it_starts_anything(
    run: Run, options: list[str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("services were started")

    monkeypatch.setattr(semcast.cli.demo, "LocalServices", started)
    done = run("demo", "--no-browser", "--port", "0", *options)
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert says in done.err


def test_replay_passes_its_paths(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Path, Path, Path | None]] = []
    monkeypatch.setattr(semcast.cli.replay, "replay_record", lambda *paths: asked.append(paths))
    assert run("replay", "rec", "-o", "o.mp4", "--frames-out", "f.npz").status == 0
    assert run("replay", "rec", "-o", "o.mp4").status == 0
    assert asked == [
        (Path("rec"), Path("o.mp4"), Path("f.npz")),
        (Path("rec"), Path("o.mp4"), None),
    ]


def test_serve_leaves_its_options_to_the_settings(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(semcast.cli.serve, "run", lambda *a: asked.append(a))
    assert run("serve", "receiver", "--port", "7", "--max-sessions", "3").status == 0
    assert asked == [("receiver", ["--port", "7", "--max-sessions", "3"])]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["pigeon"], "transmitter, channel, receiver or console"),
        (["receiver", "--max-sessions", "banana"], "max-sessions"),
        (["receiver", "--smell", "rose"], "smell"),
        (["channel", "--port", "banana"], "port"),
        (["transmitter", "--clips", "missing.mp4"], "missing.mp4"),
    ],
)
def test_a_service_that_cannot_be_served_is_refused_in_one_line(
    run: Run, arguments: list[str], says: str
) -> None:
    done = run("serve", *arguments)
    assert done.status == 2
    assert done.err.count("\n") == 1
    assert says in done.err


def test_models_lists_every_generator_and_what_metrics_need(run: Run) -> None:
    from semcast.generators import GENERATORS

    done = run("models")
    assert done.status == 0
    for name in (*GENERATORS, "lpips_squeeze_caffe", "lpips", "clip_score", "bert_score"):
        assert name in done.out
    assert run("models", "list").out == done.out


def test_models_pull_names_where_to_look(run: Run) -> None:
    for arguments in (["pull", "nothing"], ["pull"], ["push", "tiny"]):
        done = run("models", *arguments)
        assert (done.status, done.err.count("\n")) == (2, 1)
        assert "semcast models" in done.err


def test_doctor_says_what_this_machine_can_run(run: Run) -> None:
    done = run("doctor")
    assert done.status == 0, done.out
    for what in ("Python", "libx264", "torch", "CUDA", "port 8080", "Chromium"):
        assert what in done.out


def test_doctor_fails_only_for_what_is_needed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    finding = semcast.cli.doctor.Finding
    for needed, status, state in ((False, 0, "without"), (True, 1, "MISSING")):
        check = lambda needed=needed: iter([finding("tea", False, "no pot", needed)])  # noqa: E731
        monkeypatch.setattr(semcast.cli.doctor, "_CHECKS", (check,))
        done = run("doctor")
        assert done.status == status
        assert state in done.out


# Exit statuses.


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (InputError("The clip is bad: give another."), 2),
        (NotFoundError("There is none: make one."), 2),
        (CapacityError("It is full: wait."), 1),
        (UnavailableError("It is gone: start it."), 1),
    ],
)
def test_a_failure_is_one_line_and_its_status(
    run: Run, monkeypatch: pytest.MonkeyPatch, failure: Exception, status: int
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise failure

    monkeypatch.setattr(semcast.cli.send, "send", fail)
    done = run("send", "sample:gripper")
    assert (done.status, done.err) == (status, f"semcast: {failure}\n")
    assert done.out == ""


def test_ctrl_c_is_no_failure_of_the_program(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(semcast.cli.send, "send", interrupted)
    done = run("send", "sample:gripper")
    assert (done.status, done.err) == (130, "")


def test_no_command_shows_the_help(run: Run) -> None:
    done = run()
    assert done.status == 2
    for command in ("demo", "send", "replay", "serve", "models", "doctor"):
        assert command in done.out
    for command in ("send", "replay", "demo"):
        assert run(command, "--help").status == 0


@pytest.mark.parametrize("arguments", [["fly"], ["send"], ["replay", "r"], ["serve"]])
def test_a_mistake_in_usage_is_one_line_with_where_to_read_on(
    run: Run, arguments: list[str]
) -> None:
    done = run(*arguments)
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert "--help" in done.err


def test_the_version_is_printed(run: Run) -> None:
    assert run("--version").out == f"semcast {__version__}\n"
    done = subprocess.run(
        [sys.executable, "-m", "semcast", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"semcast {__version__}\n", "")
