"""`semcast train` and `python -m training`: what is asked of the loop, what is printed, and how it
ends; `semcast models` on bundled weights."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import training.command
import training.run
from semcast.cli import main
from semcast.errors import InputError
from semcast.metrics.weights import MetricUnavailableError
from semcast.weights import bundled_weights, write_weights
from training.loop import RunOptions, RunResult
from training.run import RECIPES

ROOT = Path(__file__).resolve().parents[2]


class Done:
    """How a command ended."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


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


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What would be trained; nothing is."""
    calls: list[dict[str, Any]] = []

    def train(recipe_name: str, options: RunOptions, **more: Any) -> RunResult:
        calls.append({"recipe": recipe_name, "options": options, **more})
        weights = options.run_dir / "latent_codec.safetensors"
        return RunResult(weights, 30, 90.0, {"psnr_db": 28.51}, finished=True)

    monkeypatch.setattr(training.run, "train", train)
    return calls


# What is asked for.


def test_train_has_the_defaults_of_the_contract(run: Run, asked: list[dict[str, Any]]) -> None:
    assert run("train", "autoencoder").status == 0
    call = asked[0]
    options = call["options"]
    assert (call["recipe"], call["data"], call["device"]) == ("autoencoder", None, "auto")
    assert call["changes"] == {}
    assert options.run_dir == Path("out/training/autoencoder")
    assert (options.budget_s, options.steps, options.resume) == (20 * 60, None, False)
    assert (options.start_from, options.seed) == (None, 7777)


def test_every_option_of_train_arrives(
    run: Run, asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    run(
        *("train", "autoencoder", "--data", tmp_path / "p.pack", "--device", "cpu"),
        *("--budget", "90s", "--steps", "5", "--resume", "--run", tmp_path / "r"),
        *("--start-from", tmp_path / "w.safetensors", "--seed", "3"),
        *("--set", "size=64", "--set", "batch_size=2"),
    )
    call = asked[0]
    options = call["options"]
    assert (call["data"], call["device"]) == (tmp_path / "p.pack", "cpu")
    assert call["changes"] == {"size": "64", "batch_size": "2"}
    assert (options.budget_s, options.steps, options.resume) == (90, 5, True)
    assert (options.run_dir, options.seed) == (tmp_path / "r", 3)
    assert options.start_from == tmp_path / "w.safetensors"


def test_steps_alone_are_no_budget(run: Run, asked: list[dict[str, Any]]) -> None:
    run("train", "autoencoder", "--steps", "5")
    assert (asked[0]["options"].steps, asked[0]["options"].budget_s) == (5, None)


def test_bundled_weights_are_found_by_the_recipe(
    run: Run, asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(training.command, "find_weights", lambda name: tmp_path / name)
    run("train", "ntscc", "--start-from", "bundled")
    assert asked[0]["options"].start_from == tmp_path / "ntscc"


def test_python_m_training_asks_for_the_same(
    asked: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], run: Run
) -> None:
    arguments = ("autoencoder", "--budget", "2m", "--set", "size=64")
    assert training.command.run_command(arguments, "python -m training") == 0
    out = capsys.readouterr().out
    assert run("train", *arguments).out == out
    assert asked[0] == asked[1]


# What is printed, and how it ends.


def test_the_end_says_where_results_are(
    run: Run, asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    out = run("train", "autoencoder", "--run", tmp_path).out
    for what in ("latent_codec.safetensors", "latent_codec.md", "sheets", "log.jsonl"):
        assert str(tmp_path / what) in out
    assert "psnr_db 28.51" in out
    assert "--resume" not in out


def test_a_run_that_was_stopped_says_how_to_go_on(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    result = RunResult(tmp_path / "w.safetensors", 3, 1.0, {}, finished=False)
    monkeypatch.setattr(training.run, "train", lambda *_, **__: result)
    done = run("train", "autoencoder")
    assert done.status == 130
    assert "--resume" in done.out


def test_list_names_recipes_and_settings(run: Run, asked: list[dict[str, Any]]) -> None:
    done = run("train", "--list")
    assert done.status == 0
    assert [line.split()[0] for line in done.out.splitlines()] == list(RECIPES)
    done = run("train", "autoencoder", "--list")
    assert done.status == 0
    assert "batch_size" in done.out
    assert "perceptual_weight" in done.out
    assert not asked


def test_help_is_that_of_train(run: Run) -> None:
    done = run("train", "--help")
    assert done.status == 0
    for option in ("--budget", "--resume", "--start-from", "--set", "--list", "semcast train"):
        assert option in done.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--list"),
        (["nothing"], "autoencoder, djscc-sketch"),
        (["autoencoder", "--budget", "soon"], "20m"),
        (["autoencoder", "--budget", "0m"], "duration"),
        (["autoencoder", "--steps", "0"], "--steps"),
        (["autoencoder", "--steps", "many"], "--steps"),
        (["autoencoder", "--seed", "-1"], "--seed"),
        (["autoencoder", "--seed", str(1 << 31)], "--seed"),
        (["autoencoder", "--set", "size"], "NAME=VALUE"),
        (["autoencoder", "--set", "smell=rose"], "smell"),
        (["autoencoder", "--set", "size=33"], "size"),
        (["autoencoder", "--device", "abacus"], "abacus"),
        (["autoencoder", "--data", "nowhere"], "nowhere"),
        (["autoencoder", "--data", "nowhere.pack"], "nowhere.pack"),
        (["ntscc", "--start-from", "bundled"], "ntscc"),
        (["ntscc", "--measure", "bundled"], "ntscc"),
        (["ntscc", "--measure", "nowhere.safetensors"], "nowhere.safetensors"),
        (["autoencoder", "--smell", "rose"], "--smell"),
        (["autoencoder", "more"], "more"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(
    run: Run,
    arguments: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("semcast.weights.FOLDER", tmp_path)
    done = run("train", *arguments)
    assert (done.status, done.err.count("\n")) == (2, 1), done.err
    assert says in done.err
    assert not (tmp_path / "out").exists()


def test_an_earlier_run_is_not_written_over_and_no_clip_is_read_for_that(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "checkpoint.pt").touch()
    done = run("train", "autoencoder", "--run", tmp_path, "--data", "nowhere")
    assert done.status == 2
    assert "--resume" in done.err
    (tmp_path / "file").touch()
    done = run("train", "autoencoder", "--run", tmp_path / "file", "--data", "nowhere")
    assert (done.status, "is a file" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ModuleNotFoundError("No module named 'tqdm'", name="tqdm"), "'tqdm'"),
        (MetricUnavailableError("squeezenet1_1.safetensors not found: set it"), "squeezenet"),
        (InputError("No shot has 9 frames: give longer clips."), "longer clips"),
    ],
)
def test_what_a_run_misses_is_said_in_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception, says: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(training.run, "train", fail)
    done = run("train", "autoencoder")
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert says in done.err


def test_python_m_training_ends_as_semcast_does() -> None:
    def ended(*arguments: str) -> tuple[int, int]:
        done = subprocess.run(
            [sys.executable, "-m", "training", *arguments],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
        return done.returncode, done.stderr.count("\n")

    assert ended("autoencoder", "--list") == (0, 0)
    assert ended("nothing") == (2, 1)


def test_a_pack_trains_from_the_command_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way, on tiny clips and a metric of random weights: pack, train, resume."""
    torchvision = pytest.importorskip("torchvision")
    pytest.importorskip("lpips")
    from safetensors.torch import save_file

    from training.pack import make_pack

    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        writer = cv2.VideoWriter(
            str(tmp_path / f"{name}.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 8, (64, 48)
        )
        for _ in range(10):
            writer.write(cv2.resize(rng.integers(0, 256, (6, 8, 3)).astype(np.uint8), (64, 48)))
        writer.release()
    (tmp_path / "metric").mkdir()
    network = torchvision.models.squeezenet1_1(weights=None)
    save_file(network.state_dict(), str(tmp_path / "metric" / "squeezenet1_1.safetensors"))
    monkeypatch.setenv("SEMCAST_WEIGHTS_DIR", str(tmp_path / "metric"))
    make_pack("autoencoder", tmp_path / "p.pack", data=tmp_path)
    monkeypatch.delenv("SEMCAST_WEIGHTS_DIR")
    sizes = ("size=32", "eval_size=32", "batch_size=2", "eval_frames_per_clip=1")
    arguments = (
        *("train", "autoencoder", "--data", tmp_path / "p.pack", "--run", tmp_path / "run"),
        *("--device", "cpu", *(part for size in sizes for part in ("--set", size))),
    )
    threads = torch.get_num_threads()
    done = run(*arguments, "--steps", "2")
    assert done.status == 0, done.err
    assert "2 steps" in done.out
    done = run(*arguments, "--steps", "3", "--resume")
    assert done.status == 0, done.err
    assert "3 steps" in done.out
    measured = run(*arguments, "--measure", tmp_path / "run" / "latent_codec.safetensors")
    assert measured.status == 0, measured.err
    log = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    figures = [json.loads(line)["held_out"] for line in log if "held_out" in line][-1]
    for line in measured.out.splitlines():
        name, value = line.split()
        # Stored in fp16, so not to the last digit.
        assert float(value) == pytest.approx(figures.pop(name), rel=0.01, abs=0.01)
    assert not figures
    torch.set_num_threads(threads)
    for name in ("latent_codec.safetensors", "latent_codec.md", "log.jsonl", "curve.png"):
        assert (tmp_path / "run" / name).is_file()
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines if "held_out" in line][-1] == 3
    assert "licence not stated" in (tmp_path / "run" / "latent_codec.md").read_text()


# Bundled weights.


def test_models_lists_bundled_weights_and_what_trained_them(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("semcast.weights.FOLDER", tmp_path)
    out = run("models").out
    assert "No weights are bundled" in out
    assert "tiny (not bundled)" in " ".join(out.split())
    header = {"recipe": "tiny", "config": {}, "steps": 4321}
    write_weights(tmp_path / "tiny.safetensors", {"w": torch.zeros(600_000)}, header)
    done = run("models")
    assert done.status == 0
    for what in ("1.2 MB", "semcast train tiny", "4321"):
        assert what in done.out
    assert "tiny (not bundled)" not in " ".join(done.out.split())


def test_a_weight_file_is_described_without_the_packages_that_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("semcast.weights.FOLDER", tmp_path)
    header = {"recipe": "r", "config": {"width": 3}, "steps": 2}
    write_weights(tmp_path / "name.safetensors", {"w": torch.zeros(2)}, header)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    (file,) = bundled_weights()
    assert (file.name, file.header) == ("name", header)
    assert file.num_bytes == (tmp_path / "name.safetensors").stat().st_size
