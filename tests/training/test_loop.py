"""The training loop: exact over kills, true to its clock, and never without usable weights."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_run
import torch
from tiny_run import SETTINGS, TinyRecipe, run_tiny

from semcast.errors import InputError
from semcast.weights import read_weights, write_weights
from training.loop import LOG_EVERY, RunOptions, Trainer, learning_rate_factor

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def one_thread():
    """Sums in one order, here and in the processes these tests start."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _log(run_dir: Path) -> list[dict]:
    """The log without what the clock says."""
    lines = (run_dir / "log.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "elapsed_s"} for line in lines]


def _weights(run_dir: Path) -> dict[str, torch.Tensor]:
    return read_weights(run_dir / "tiny_test.safetensors")[0]


def _checkpoint(run_dir: Path) -> dict:
    return torch.load(run_dir / "checkpoint.pt", weights_only=True)


def _assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert torch.equal(value, b[name]), name


def _assert_same_run(a: Path, b: Path) -> None:
    """Log, shipped weights, and everything that a further step would depend on."""
    assert _log(a) == _log(b)
    _assert_same(_weights(a), _weights(b))
    left, right = _checkpoint(a), _checkpoint(b)
    for part in ("network", "ema", "critic"):
        _assert_same(left[part], right[part])
    for part in ("optimizer", "critic_optimizer"):
        for key, state in left[part]["state"].items():
            _assert_same(state, right[part]["state"][key])


def _stop_at(step: int):
    """A hook that asks the run to end while step `step` is under way."""

    def hook(network, progress, losses):
        if progress.step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return hook


def _reached(log: Path) -> int:
    lines = log.read_text().splitlines() if log.exists() else []
    return json.loads(lines[-1])["step"] if lines else 0


def test_a_run_killed_at_a_random_moment_goes_on_exactly(tmp_path: Path) -> None:
    steps = 250
    run_tiny(tmp_path / "whole", steps)
    killed = tmp_path / "killed"
    after = random.randrange(0, steps - 70)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, tiny_run.__file__, str(killed), str(steps)], env=environment
    )
    try:
        while _reached(killed / "log.jsonl") < after and process.poll() is None:
            time.sleep(0.001)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL, "it was killed in its run"
    assert _reached(killed / "log.jsonl") < steps

    result = run_tiny(killed, steps, resume=True)
    assert result.finished and result.steps == steps, f"killed after step {after}"
    _assert_same_run(tmp_path / "whole", killed)


def test_sigterm_leaves_a_usable_checkpoint_at_once(tmp_path: Path) -> None:
    run_tiny(tmp_path / "whole", 40)
    stopped = tmp_path / "stopped"
    result = run_tiny(stopped, 40, _stop_at(16))
    assert not result.finished
    assert result.steps == 17, "the step under way is done, and no other"
    assert _checkpoint(stopped)["step"] == 17
    state, header = read_weights(result.weights)
    assert header == {"recipe": "tiny-test", "config": {"channels": 8}, "steps": 17}
    TinyRecipe().build().load_state_dict(state)
    assert "steps | 17" in (stopped / "tiny_test.md").read_text()

    assert run_tiny(stopped, 40, resume=True).finished
    _assert_same_run(tmp_path / "whole", stopped)


def test_signals_are_handled_as_before_once_a_run_is_over(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    run_tiny(tmp_path, 3)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_resume_cuts_the_log_back_to_the_checkpoint(tmp_path: Path) -> None:
    run_tiny(tmp_path / "whole", 40)
    stopped = tmp_path / "stopped"
    run_tiny(stopped, 40, _stop_at(24))
    with (stopped / "log.jsonl").open("a") as log:  # a piece that was killed while it wrote
        log.write('{"step": 30, "loss": 1e9}\n{"step": 40, "held_out": {"error": 1}}\n{"ste')
    run_tiny(stopped, 40, resume=True)
    assert _log(tmp_path / "whole") == _log(stopped)


def test_a_run_killed_before_its_first_checkpoint_starts_its_log_anew(tmp_path: Path) -> None:
    run_tiny(tmp_path / "whole", 20)
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / "log.jsonl").write_text('{"step": 10, "loss": 1e9}\n{"ste')
    run_tiny(tmp_path / "killed", 20, resume=True)
    _assert_same_run(tmp_path / "whole", tmp_path / "killed")


def test_a_finished_run_is_not_trained_further(tmp_path: Path) -> None:
    run_tiny(tmp_path, 20)
    before = _checkpoint(tmp_path)["network"]
    result = run_tiny(tmp_path, 20, resume=True)
    assert result.steps == 20 and result.finished
    _assert_same(before, _checkpoint(tmp_path)["network"])


def test_more_steps_can_be_asked_of_a_finished_run(tmp_path: Path) -> None:
    run_tiny(tmp_path, 20)
    assert run_tiny(tmp_path, 30, resume=True).steps == 30
    assert [entry["step"] for entry in _log(tmp_path) if "loss" in entry] == [10, 20, 30]


def test_an_earlier_run_is_not_overwritten(tmp_path: Path) -> None:
    run_tiny(tmp_path, 10)
    before = {file: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    with pytest.raises(InputError, match=r"--resume.*--run"):
        run_tiny(tmp_path, 20)
    assert {file: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()} == before


def test_a_run_without_an_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--budget or --steps"):
        Trainer(TinyRecipe(), RunOptions(run_dir=tmp_path))


def test_a_budget_ends_with_usable_ema_weights_and_figures(tmp_path: Path) -> None:
    rates = []

    def note(network, progress, losses):
        rates.append(progress.done)

    result = run_tiny(tmp_path, None, note, budget_s=1.0)
    assert result.finished and result.steps == len(rates) > 1
    assert rates == sorted(rates) and 0 <= rates[0] < rates[-1] < 1, "the schedule is the clock's"
    assert result.figures.keys() == {"error"} and np.isfinite(result.figures["error"])
    state, header = read_weights(result.weights)
    assert header["steps"] == result.steps
    checkpoint = _checkpoint(tmp_path)
    for name, value in checkpoint["ema"].items():
        expected = value.half().float() if value.is_floating_point() else value
        assert torch.equal(state[name], expected), name
    assert not torch.equal(checkpoint["ema"]["3.weight"], checkpoint["network"]["3.weight"])
    card = (tmp_path / "tiny_test.md").read_text()
    assert f"error: {result.figures['error']:.4g}" in card
    assert "train: 1 clip, CC0" in card and "batch_size: 4" in card

    again = run_tiny(tmp_path, None, budget_s=1.0, resume=True)
    assert again.steps == result.steps, "a budget that is spent stays spent"


def test_weights_are_there_before_the_last_measurement(tmp_path: Path) -> None:
    """A machine that is taken away while the run measures takes nothing with it."""

    class Killed(Exception):
        pass

    class Recipe(TinyRecipe):
        def measure(self, network):
            raise Killed

    options = RunOptions(run_dir=tmp_path, steps=12, progress_bar=False)
    with pytest.raises(Killed):
        Trainer(Recipe(), options).run()
    assert read_weights(tmp_path / "tiny_test.safetensors")[1]["steps"] == 12


def test_ema_is_the_running_mean_of_the_weights(tmp_path: Path) -> None:
    """ema_n = d ema_(n-1) + (1 - d) weights_n, where d = min(decay, (1 + n) / (10 + n))."""
    seen = []

    def note(network, progress, losses):
        seen.append({k: v.detach().double() for k, v in network.state_dict().items()})

    run_tiny(tmp_path, 30, note)
    checkpoint = _checkpoint(tmp_path)
    # Parameters before step n are those after step n - 1; at the end the checkpoint has them.
    expected = seen[0]["3.weight"]
    for step, after in enumerate([*seen[1:], checkpoint["network"]]):
        decay = min(SETTINGS.ema_decay, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * after["3.weight"].double()
    assert (1 + 30) / (10 + 30) < SETTINGS.ema_decay, "none of these steps reached the decay"
    torch.testing.assert_close(checkpoint["ema"]["3.weight"].double(), expected)
    counted = checkpoint["ema"]["1.num_batches_tracked"]
    assert counted == 30, "what is no number to average is taken as it is"


def test_ema_decay_is_reached(tmp_path: Path) -> None:
    """With a decay of 0 the mean is the last value."""
    run_tiny(tmp_path, 5, settings=SETTINGS.model_copy(update={"ema_decay": 0.0}))
    checkpoint = _checkpoint(tmp_path)
    _assert_same(checkpoint["ema"], checkpoint["network"])


@pytest.mark.parametrize("poison", ["loss", "activations"])
def test_a_step_that_is_not_finite_leaves_no_trace(tmp_path: Path, poison: str) -> None:
    bad = 12
    seen = []

    def spoil(network, progress, losses):
        seen.append({k: v.clone() for k, v in network.state_dict().items()})
        if progress.step == bad and poison == "loss":
            losses.total = losses.total * float("nan")
            losses.made = losses.real * float("nan")

    class Recipe(TinyRecipe):
        def losses(self, network, critic, batch, progress):
            if progress.step == bad and poison == "activations":
                batch["x"][0, 0, 0, 0] = float("inf")
            return super().losses(network, critic, batch, progress)

    options = RunOptions(run_dir=tmp_path, steps=20, progress_bar=False)
    Trainer(Recipe(spoil), options).run()
    before = dict(seen[bad])
    if poison == "activations":  # seen after the forward pass, which the statistics took in
        running = ("1.running_mean", "1.running_var", "1.num_batches_tracked")
        assert not before["1.running_mean"].isfinite().all(), "the step was bad"
        before |= {name: seen[bad - 1][name] for name in running}
    parameters = [name for name in before if name[0] in "03"]
    for name in parameters:
        assert torch.equal(before[name], seen[bad + 1][name]), "the step was left out"
    assert not torch.equal(seen[bad + 1]["3.weight"], seen[bad + 2]["3.weight"]), "it goes on"
    checkpoint = _checkpoint(tmp_path)
    for part in ("network", "ema", "critic"):
        for name, value in checkpoint[part].items():
            assert value.isfinite().all(), (part, name)
    assert all(v.isfinite().all() for v in _weights(tmp_path).values())


def test_a_critic_is_not_poisoned_either(tmp_path: Path) -> None:
    def spoil(network, progress, losses):
        if progress.step == 12:
            losses.made = losses.real * float("nan")

    run_tiny(tmp_path, 20, spoil)
    assert all(value.isfinite().all() for value in _checkpoint(tmp_path)["critic"].values())


def test_gradients_are_clipped(tmp_path: Path) -> None:
    """The log has the norm before clipping; AdamW's first moment shows what was left of it."""
    clip = 1e-3

    def enlarge(network, progress, losses):
        losses.total = 1e4 * losses.total

    run_tiny(tmp_path, 1, enlarge, settings=SETTINGS.model_copy(update={"gradient_clip": clip}))
    moments = [s["exp_avg"] for s in _checkpoint(tmp_path)["optimizer"]["state"].values()]
    norm = float(torch.cat([m.flatten() for m in moments]).norm()) / 0.1  # beta1 is 0.9
    assert norm == pytest.approx(clip, rel=1e-3)
    assert _log(tmp_path)[0]["norm"] > 100 * clip


def test_start_from_takes_what_fits(tmp_path: Path) -> None:
    given = TinyRecipe().build().state_dict()
    given["3.weight"] = torch.zeros(5)  # another shape
    write_weights(tmp_path / "given.safetensors", given, {"recipe": "tiny-test"})
    still = SETTINGS.model_copy(update={"learning_rate": 1e-12})
    run_tiny(tmp_path / "run", 1, start_from=tmp_path / "given.safetensors", settings=still)
    state = _weights(tmp_path / "run")
    assert torch.equal(state["0.weight"], given["0.weight"].half().float())
    assert state["3.weight"].shape == (3, 8, 1, 1)


def test_the_card_says_what_a_run_started_from_also_after_a_resume(tmp_path: Path) -> None:
    given = TinyRecipe().build().state_dict()
    header = {"recipe": "tiny-test", "steps": 4321}
    write_weights(tmp_path / "given.safetensors", given, header)
    run_tiny(tmp_path / "run", 1, start_from=tmp_path / "given.safetensors")
    card = tmp_path / "run" / "tiny_test.md"
    says = "| started from | given.safetensors, 4321 steps of tiny-test |"
    assert says in card.read_text()
    run_tiny(tmp_path / "run", 2, resume=True)
    assert says in card.read_text()
    run_tiny(tmp_path / "fresh", 1)
    assert "started from" not in (tmp_path / "fresh" / "tiny_test.md").read_text()


def test_start_from_something_else_altogether_is_refused(tmp_path: Path) -> None:
    write_weights(tmp_path / "other.safetensors", {"x": torch.zeros(1)}, {"recipe": "other"})
    with pytest.raises(InputError, match="fits no part of recipe 'tiny-test'"):
        run_tiny(tmp_path / "run", 1, start_from=tmp_path / "other.safetensors")


def test_batches_depend_on_the_step_and_the_seed_alone(tmp_path: Path) -> None:
    run_tiny(tmp_path / "one", 20, workers=1)
    run_tiny(tmp_path / "four", 20, workers=4)
    run_tiny(tmp_path / "other", 20, seed=1)
    _assert_same_run(tmp_path / "one", tmp_path / "four")
    assert _log(tmp_path / "one") != _log(tmp_path / "other")


def test_measuring_shows_ema_weights_and_does_not_touch_the_training(tmp_path: Path) -> None:
    run_tiny(tmp_path / "plain", 30)
    recipe = TinyRecipe()
    often = RunOptions(
        run_dir=tmp_path / "often",
        steps=30,
        sheet_every_s=0.0,
        checkpoint_every_s=0.0,
        progress_bar=False,
    )
    Trainer(recipe, often).run()
    _assert_same(
        _checkpoint(tmp_path / "plain")["network"], _checkpoint(tmp_path / "often")["network"]
    )
    _assert_same(recipe.measured[-1], _checkpoint(tmp_path / "often")["ema"])
    measured = [entry["step"] for entry in _log(tmp_path / "often") if "held_out" in entry]
    assert measured == [10, 20, 30, 30]
    sheets = sorted((tmp_path / "often" / "sheets").iterdir())
    assert [sheet.stem for sheet in sheets] == ["0000010", "0000020", "0000030"]
    assert cv2.imread(str(sheets[0]))[0, 0].tolist() == [0, 0, 255], "red, in OpenCV's order"
    assert cv2.imread(str(tmp_path / "often" / "curve.png")) is not None
    card = (tmp_path / "often" / "tiny_test.md").read_text()
    assert card.count("\n| 10 |") == card.count("\n| 20 |") == 1


def test_the_log_averages_its_window(tmp_path: Path) -> None:
    values = []

    def note(network, progress, losses):
        values.append(float(losses.total.detach()))

    run_tiny(tmp_path, LOG_EVERY + 3, note)
    first, rest = (entry for entry in _log(tmp_path) if "loss" in entry)
    assert first["step"] == LOG_EVERY and rest["step"] == LOG_EVERY + 3
    assert first["loss"] == pytest.approx(np.mean(values[:LOG_EVERY]), abs=1e-5)
    assert rest["loss"] == pytest.approx(np.mean(values[LOG_EVERY:]), abs=1e-5)


def test_learning_rate_rises_then_follows_half_a_cosine() -> None:
    assert learning_rate_factor(0, 0.0, 100) == pytest.approx(0.01)
    assert learning_rate_factor(49, 0.0, 100) == pytest.approx(0.5)
    assert learning_rate_factor(1000, 0.5, 100) == pytest.approx(0.51)
    assert learning_rate_factor(1000, 1.0, 100) == pytest.approx(0.02)
    assert learning_rate_factor(1000, 1.7, 100) == pytest.approx(0.02), "never up again"
    falling = [learning_rate_factor(1000, done, 100) for done in np.linspace(0, 1, 50)]
    assert all(a > b for a, b in pairwise(falling))


@pytest.mark.gpu
def test_the_same_run_on_cuda(tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    stopped = run_tiny(tmp_path / "cuda", 40, _stop_at(20), device="cuda")
    assert stopped.steps == 21
    result = run_tiny(tmp_path / "cuda", 40, resume=True, device="cuda")
    assert result.finished and result.steps == 40
    run_tiny(tmp_path / "cpu", 40)
    cuda, cpu = _log(tmp_path / "cuda"), _log(tmp_path / "cpu")
    assert [e["step"] for e in cuda] == [e["step"] for e in cpu]
    # The same batches; noise, rounding to bfloat16 and order of sums are the device's own.
    for a, b in zip(cuda, cpu, strict=True):
        if "error" in a:
            assert a["error"] == pytest.approx(b["error"], rel=0.1)
    assert all(value.isfinite().all() for value in _weights(tmp_path / "cuda").values())
