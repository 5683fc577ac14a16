"""All quality figures of a stream at once, in constant memory.

Cheap metrics are computed at once; those with a network are gathered and run `BATCH_FRAMES` pairs
at a time. A metric that cannot be computed is null, with its reason, and costs nothing after the
first attempt.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from semcast.metrics.bert_score import FRAMES_PER_CAPTION, BertScorer
from semcast.metrics.clip_score import ClipScorer
from semcast.metrics.perceptual import LpipsScorer
from semcast.metrics.psnr import PsnrMeter
from semcast.metrics.ssim import SsimMeter, ms_ssim
from semcast.metrics.weights import MetricUnavailableError, MetricWeights

logger = logging.getLogger(__name__)

REPORT_METRICS = (
    "psnr_db",
    "ssim",
    "lpips",
    "lpips_squeeze_caffe",
    "clip_score",
    "bert_score",
)
"""The quality columns of a report (CONTRACT.md)."""

BATCH_FRAMES = 4
NO_FRAMES = "no frame was received"

Picture = NDArray[np.uint8]


class Meter(Protocol):
    """One figure over a stream."""

    def add(self, source: Picture, received: Picture) -> None:
        """Count a pair of pictures [H, W, 3], uint8."""
        ...

    def result(self) -> float | None:
        """The figure so far; None before the first frame."""
        ...


class Scorer(Protocol):
    """A network that scores pairs of pictures."""

    def score(self, sources: list[Picture], received: list[Picture]) -> list[float]:
        """One value for each pair [H, W, 3], uint8."""
        ...


class BatchedMeter:
    """Mean over frames of a network's score; the network is loaded with the first batch.

    frames_per_score: score every n-th frame only, starting with the first.
    Raises MetricUnavailableError from `add` or `result` if the network cannot be had.
    """

    def __init__(self, load: Callable[[], Scorer], *, frames_per_score: int = 1) -> None:
        self._load = load
        self._frames_per_score = frames_per_score
        self._scorer: Scorer | None = None
        self._sources: list[Picture] = []
        self._received: list[Picture] = []
        self._num_frames = 0
        self._sum = 0.0
        self._num_scores = 0

    def add(self, source: Picture, received: Picture) -> None:
        """Count two pictures [H, W, 3], uint8; they are copied."""
        wanted = self._num_frames % self._frames_per_score == 0
        self._num_frames += 1
        if wanted:
            self._sources.append(source.copy())
            self._received.append(received.copy())
        if len(self._sources) >= BATCH_FRAMES:
            self._flush()

    def result(self) -> float | None:
        """Mean score; None before the first frame."""
        self._flush()
        return self._sum / self._num_scores if self._num_scores else None

    def _flush(self) -> None:
        if not self._sources:
            return
        if self._scorer is None:
            self._scorer = self._load()
        scores = self._scorer.score(self._sources, self._received)
        self._sum += sum(scores)
        self._num_scores += len(scores)
        self._sources, self._received = [], []


class QualityMeter:
    """Source against received over a stream.

    The networks make `add` slow now and then (seconds, the first time): call it from a worker
    thread, never from an event loop. Not thread-safe.
    """

    def __init__(
        self,
        metrics: Sequence[str] = REPORT_METRICS,
        *,
        weights: MetricWeights | None = None,
        device: str = "cpu",
    ) -> None:
        """metrics: names of `REPORT_METRICS` or "ms_ssim". weights: default from the environment.

        Raises ValueError for a name that is no metric.
        """
        weights = MetricWeights.from_environment() if weights is None else weights
        makers: dict[str, Callable[[], Meter]] = {
            "psnr_db": PsnrMeter,
            "ssim": SsimMeter,
            "ms_ssim": lambda: SsimMeter(ms_ssim),
            "lpips": lambda: BatchedMeter(lambda: LpipsScorer.alexnet(weights, device)),
            "lpips_squeeze_caffe": lambda: BatchedMeter(
                lambda: LpipsScorer.squeezenet_caffe(weights, device)
            ),
            "clip_score": lambda: BatchedMeter(lambda: ClipScorer.load(weights, device)),
            "bert_score": lambda: BatchedMeter(
                lambda: BertScorer.load(weights, device), frames_per_score=FRAMES_PER_CAPTION
            ),
        }
        unknown = [name for name in metrics if name not in makers]
        if unknown:
            raise ValueError(f"no metric {unknown[0]!r}: choose among {', '.join(makers)}")
        self._meters: dict[str, Meter] = {name: makers[name]() for name in metrics}
        self._metrics = tuple(metrics)
        self._unavailable: dict[str, str] = {}

    def add(self, source_rgb: Picture, received_rgb: Picture) -> None:
        """Count a source frame and what was received for it.

        source_rgb, received_rgb: [H, W, 3], uint8, the same shape; not kept.
        """
        for name in list(self._meters):
            self._attempt(name, source_rgb, received_rgb)

    def result(self) -> tuple[dict[str, float | None], dict[str, str]]:
        """(value of every metric asked for, reason for every one that is None). JSON-safe."""
        values: dict[str, float | None] = {}
        notes: dict[str, str] = {}
        for name in self._metrics:
            values[name] = self._finish(name)
            if values[name] is None:
                notes[name] = self._unavailable.get(name, NO_FRAMES)
        return values, notes

    def _attempt(self, name: str, source_rgb: Picture, received_rgb: Picture) -> None:
        try:
            self._meters[name].add(source_rgb, received_rgb)
        except MetricUnavailableError as reason:
            self._give_up(name, reason)

    def _finish(self, name: str) -> float | None:
        if name not in self._meters:
            return None
        try:
            return self._meters[name].result()
        except MetricUnavailableError as reason:
            self._give_up(name, reason)
            return None

    def _give_up(self, name: str, reason: MetricUnavailableError) -> None:
        logger.info("%s is null: %s", name, reason)
        self._unavailable[name] = str(reason)
        del self._meters[name]
