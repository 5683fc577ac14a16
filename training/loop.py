"""The one training loop: any recipe, on a CPU or a GPU, for a number of steps or minutes.

A run lives in a folder:

    checkpoint.pt      everything needed to go on exactly (not for shipping); the log is cut
                       back to what it was then
    NAME.safetensors   EMA weights, fp16: usable from the first checkpoint on
    NAME.md            the model card
    log.jsonl          a line per `LOG_EVERY` steps, and one per measurement
    sheets/            sample sheets, PNG
    curve.png          the curves

Batches and noise of a step are drawn by generators keyed by (seed, step), so a run that was killed
goes on from its last checkpoint as if nothing had happened: with `--steps` on a CPU, bit for bit.
With a budget in minutes, the learning rate follows the clock.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from semcast.errors import InputError
from semcast.weights import read_weights, write_weights
from training.card import write_card
from training.curve import draw_curve
from training.recipe import Batch, Losses, Progress, Recipe

LOG_EVERY = 10
"""Steps a log line averages over."""

_CHECKPOINT = "checkpoint.pt"

_LEAST_RATE = 0.02
"""Share of the peak learning rate that is left at the end."""


@dataclass(frozen=True)
class RunOptions:
    """How long and how a run goes.

    steps and budget_s: it ends at whichever comes first; one must be given. The budget counts
    everything from the start, measuring included, also over resumed pieces. resume: goes on from
    the folder's checkpoint, where there is one.
    """

    run_dir: Path
    steps: int | None = None
    budget_s: float | None = None
    resume: bool = False
    start_from: Path | None = None
    seed: int = 7777
    workers: int = 2
    checkpoint_every_s: float = 60.0
    sheet_every_s: float = 300.0
    progress_bar: bool = True
    mixed_precision: bool = True


@dataclass(frozen=True)
class RunResult:
    """What came of a run. finished: it reached its end, rather than being told to stop."""

    weights: Path
    steps: int
    elapsed_s: float
    figures: dict[str, float]
    finished: bool


class _Ema:
    """Running mean of weights; young runs forget faster."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        self.state = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        decay = min(self._decay, (1 + step) / (10 + step))
        kept, seen = [], []
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                kept.append(self.state[name])
                seen.append(value.detach())
            else:
                self.state[name].copy_(value)
        torch._foreach_lerp_(kept, seen, 1 - decay)


class _Stop:
    """SIGTERM or Ctrl-C: end after the present step, leaving a checkpoint."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        try:
            before = {s: signal.signal(s, self) for s in (signal.SIGTERM, signal.SIGINT)}
        except ValueError:  # not the main thread: nobody signals us
            yield
            return
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Batches:
    """Batches of consecutive steps, drawn ahead by threads."""

    def __init__(self, recipe: Recipe, seed: int, first_step: int, workers: int) -> None:
        self._recipe, self._seed, self._next = recipe, seed, first_step
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="batch")
        self._ahead: deque[Future[Batch]] = deque()
        for _ in range(2 * workers):
            self._submit()

    def _submit(self) -> None:
        rng = np.random.default_rng([self._seed, self._next])
        self._ahead.append(self._pool.submit(self._recipe.draw, rng))
        self._next += 1

    def take(self) -> Batch:
        self._submit()
        return self._ahead.popleft().result()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


def learning_rate_factor(step: int, done: float, warmup_steps: int) -> float:
    """Share of the peak: linear rise over `warmup_steps`, then half a cosine over the whole run."""
    cosine = _LEAST_RATE + (1 - _LEAST_RATE) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return min(1.0, (step + 1) / warmup_steps) * cosine


def check_options(options: RunOptions) -> None:
    """Raises InputError for a run without an end, or in a folder that another run has."""
    if options.steps is None and options.budget_s is None:
        raise InputError("A run needs an end: give --budget or --steps.")
    if options.run_dir.exists() and not options.run_dir.is_dir():
        raise InputError(f"{options.run_dir} is a file: name a folder with --run.")
    if (options.run_dir / _CHECKPOINT).exists() and not options.resume:
        raise InputError(
            f"{options.run_dir} holds an earlier run: go on with --resume, "
            "or name another folder with --run."
        )


class Trainer:
    """One run of one recipe."""

    def __init__(self, recipe: Recipe, options: RunOptions) -> None:
        """Raises InputError where the run has no end, or an earlier one is in its way."""
        check_options(options)
        self._recipe, self._options = recipe, options
        self._device = recipe.device
        self._log_path = options.run_dir / "log.jsonl"
        self._checkpoint_path = options.run_dir / _CHECKPOINT
        options.run_dir.mkdir(parents=True, exist_ok=True)
        (options.run_dir / "sheets").mkdir(exist_ok=True)
        cv2.setNumThreads(1)
        torch.manual_seed(options.seed)
        settings = recipe.settings
        self._network = self._place(recipe.build())
        self._started_from: str | None = None
        if options.start_from is not None:
            self._start_from(options.start_from)
        critic = recipe.build_critic()
        self._critic = self._place(critic) if critic is not None else None
        self._optimizer = torch.optim.AdamW(
            [p for p in self._network.parameters() if p.requires_grad],
            lr=settings.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=settings.weight_decay,
        )
        self._critic_optimizer = (
            torch.optim.AdamW(
                self._critic.parameters(),
                lr=settings.learning_rate,
                betas=(0.5, 0.99),
                weight_decay=0.0,
            )
            if self._critic is not None
            else None
        )
        self._ema = _Ema(self._network, settings.ema_decay)
        self._step = 0
        self._elapsed_s = 0.0
        self._figures: dict[str, float] = {}
        self._window: list[dict[str, float]] = []
        if options.resume and self._checkpoint_path.exists():
            self._load_checkpoint()
        else:  # a run that was killed before its first checkpoint may have left a log
            self._log_path.write_text("")

    def run(self) -> RunResult:
        """Trains to the end of steps or budget; always leaves weights, card, log and a sheet."""
        options = self._options
        started = time.monotonic() - self._elapsed_s
        last_checkpoint = last_sheet = time.monotonic()
        measure_s = 0.0
        stop = _Stop()
        batches = _Batches(self._recipe, options.seed, self._step, options.workers)
        bar = self._bar()
        try:
            with stop.listening():
                while not stop.asked:
                    self._elapsed_s = time.monotonic() - started
                    done = self._done(measure_s)
                    if done >= 1:
                        break
                    self._window.append(self._train_step(batches.take(), done))
                    self._show(bar, self._window[-1])
                    if self._step % LOG_EVERY:
                        continue
                    self._log_window()
                    now = time.monotonic()
                    if now - last_sheet >= options.sheet_every_s:
                        self._elapsed_s = now - started
                        self._measure()
                        last_sheet = time.monotonic()
                        measure_s = last_sheet - now
                        self._elapsed_s = last_sheet - started
                    if now - last_checkpoint >= options.checkpoint_every_s:
                        self._save()
                        last_checkpoint = time.monotonic()
        finally:
            batches.close()
            bar.close()
        finished = self._done(measure_s) >= 1
        if finished:
            if self._window:
                self._log_window()
            self._save()  # measuring takes a while, and the machine may be taken away
            self._measure()
            self._elapsed_s = time.monotonic() - started
        self._save()
        return RunResult(
            self._weights_path, self._step, self._elapsed_s, dict(self._figures), finished
        )

    @property
    def _weights_path(self) -> Path:
        return self._options.run_dir / f"{self._recipe.weights_name}.safetensors"

    def _place(self, network: nn.Module) -> nn.Module:
        return network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _start_from(self, path: Path) -> None:
        state, header = read_weights(path)
        own = self._network.state_dict()
        fitting = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}
        if not fitting:
            raise InputError(f"{path.name} fits no part of recipe '{self._recipe.name}'.")
        self._network.load_state_dict(fitting, strict=False)
        self._started_from = f"{path.name}, {header.get('steps')} steps of {header.get('recipe')}"

    def _done(self, reserve_s: float) -> float:
        """0 to 1 of the run. reserve_s: time to keep for the last measurement."""
        options = self._options
        shares = [0.0]
        if options.steps is not None:
            shares.append(self._step / options.steps)
        if options.budget_s is not None:
            shares.append(self._elapsed_s / max(1e-3, options.budget_s - 1.2 * reserve_s))
        return max(shares)

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        """bfloat16 where the machine computes in it: any GPU we know, some CPUs."""
        kind = self._device.type
        usable = kind == "cuda" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
        if not (self._options.mixed_precision and usable):
            return contextlib.nullcontext()
        return torch.autocast(kind, torch.bfloat16)

    def _train_step(self, batch: Batch, done: float) -> dict[str, float]:
        settings = self._recipe.settings
        torch.manual_seed((self._options.seed << 32) + self._step)
        rate = settings.learning_rate * learning_rate_factor(
            self._step, done, settings.warmup_steps
        )
        for optimizer in (self._optimizer, self._critic_optimizer):
            for group in optimizer.param_groups if optimizer else ():
                group["lr"] = rate
        on_device = {k: v.to(self._device, non_blocking=True) for k, v in batch.items()}
        self._network.train()
        buffers_before = [buffer.clone() for buffer in self._network.buffers()]
        with self._autocast():
            losses = self._recipe.losses(
                self._network, self._critic, on_device, Progress(self._step, done)
            )
        self._optimizer.zero_grad(set_to_none=True)
        losses.total.backward()
        norm = nn.utils.clip_grad_norm_(self._network.parameters(), settings.gradient_clip)
        terms = {name: float(value.detach()) for name, value in losses.terms.items()}
        if bool(norm.isfinite()):
            self._optimizer.step()
            if losses.made is not None:
                terms["critic"] = self._train_critic(losses)
            self._ema.update(self._network, self._step)
        else:  # as if the step had not been: running statistics may have taken it in
            for buffer, before in zip(self._network.buffers(), buffers_before, strict=True):
                buffer.copy_(before)
        self._step += 1
        return {"loss": float(losses.total.detach()), **terms, "lr": rate, "norm": float(norm)}

    def _train_critic(self, losses: Losses) -> float:
        from training.losses import critic_hinge

        if self._critic is None or self._critic_optimizer is None:
            raise RuntimeError("made and real are for recipes with a critic")
        assert losses.made is not None and losses.real is not None
        with self._autocast():
            value = critic_hinge(self._critic(losses.real), self._critic(losses.made.detach()))
        self._critic_optimizer.zero_grad(set_to_none=True)
        value.backward()
        gradients = [p.grad for p in self._critic.parameters() if p.grad is not None]
        if bool(nn.utils.get_total_norm(gradients).isfinite()):
            self._critic_optimizer.step()
        return float(value.detach())

    def _bar(self) -> tqdm[Any]:
        total = self._options.steps
        by_time = total is None
        return tqdm(
            total=round(self._options.budget_s or 0) if by_time else total,
            initial=round(self._elapsed_s) if by_time else self._step,
            desc=self._recipe.name,
            unit="s" if by_time else "step",
            disable=not self._options.progress_bar,
            mininterval=2.0,
            bar_format="{desc} {percentage:3.0f}% |{bar}| {elapsed} left {remaining} {postfix}",
        )

    def _show(self, bar: tqdm[Any], values: dict[str, float]) -> None:
        if bar.disable:
            return
        bar.set_postfix(step=self._step, loss=f"{values['loss']:.4f}", refresh=False)
        bar.update((round(self._elapsed_s) if self._options.steps is None else self._step) - bar.n)

    def _log(self, entry: dict[str, Any]) -> None:
        with self._log_path.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def _log_window(self) -> None:
        window = self._window
        names = dict.fromkeys(name for values in window for name in values)
        means = {
            name: round(float(np.mean([v[name] for v in window if name in v])), 6) for name in names
        }
        window.clear()
        self._log({"step": self._step, "elapsed_s": round(self._elapsed_s, 1), **means})

    @contextlib.contextmanager
    def _ema_network(self) -> Iterator[nn.Module]:
        """The network with its EMA weights in, in eval mode."""
        raw = {name: value.clone() for name, value in self._network.state_dict().items()}
        self._network.load_state_dict(self._ema.state)
        self._network.eval()
        try:
            with torch.inference_mode():
                yield self._network
        finally:
            self._network.load_state_dict(raw)

    def _measure(self) -> None:
        with self._ema_network() as network:
            self._figures = self._recipe.measure(network)
            sheet = self._recipe.sheet(network)
        path = self._options.run_dir / "sheets" / f"{self._step:07d}.png"
        cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
        self._log(
            {
                "step": self._step,
                "elapsed_s": round(self._elapsed_s, 1),
                "held_out": {k: round(v, 5) for k, v in self._figures.items()},
            }
        )

    def _save(self) -> None:
        """Checkpoint and weights, each whole or not at all; then curve and card."""
        state: dict[str, Any] = {
            "step": self._step,
            "elapsed_s": self._elapsed_s,
            "log_bytes": self._log_path.stat().st_size,
            "figures": self._figures,
            "started_from": self._started_from,
            "window": self._window,
            "network": self._network.state_dict(),
            "ema": self._ema.state,
            "optimizer": self._optimizer.state_dict(),
        }
        if self._critic is not None and self._critic_optimizer is not None:
            state["critic"] = self._critic.state_dict()
            state["critic_optimizer"] = self._critic_optimizer.state_dict()
        partial = self._checkpoint_path.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self._checkpoint_path)
        write_weights(
            self._weights_path,
            self._ema.state,
            {"recipe": self._recipe.name, "config": self._recipe.config(), "steps": self._step},
        )
        draw_curve(self._log_path, self._options.run_dir / "curve.png", self._recipe.title)
        write_card(
            self._weights_path.with_suffix(".md"),
            recipe=self._recipe,
            steps=self._step,
            elapsed_s=self._elapsed_s,
            figures=self._figures,
            log_path=self._log_path,
            run={
                "started from": self._started_from,
                "budget_s": self._options.budget_s,
                "seed": self._options.seed,
            },
        )

    def _load_checkpoint(self) -> None:
        state = torch.load(self._checkpoint_path, map_location=self._device, weights_only=True)
        self._network.load_state_dict(state["network"])
        self._ema.state = state["ema"]
        self._optimizer.load_state_dict(state["optimizer"])
        if self._critic is not None and self._critic_optimizer is not None:
            self._critic.load_state_dict(state["critic"])
            self._critic_optimizer.load_state_dict(state["critic_optimizer"])
        self._step, self._elapsed_s = state["step"], state["elapsed_s"]
        self._figures, self._window = state["figures"], state["window"]
        self._started_from = state.get("started_from")
        os.truncate(self._log_path, state["log_bytes"])
