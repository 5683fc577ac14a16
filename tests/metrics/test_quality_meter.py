"""The meter over a stream: batches, reasons instead of values, JSON, memory."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from semcast.metrics.psnr import psnr_db
from semcast.metrics.quality import (
    BATCH_FRAMES,
    NO_FRAMES,
    REPORT_METRICS,
    BatchedMeter,
    QualityMeter,
)
from semcast.metrics.weights import MetricUnavailableError, MetricWeights


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MetricWeights:
    """Nothing anywhere, whatever lies in this user's caches."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return MetricWeights(hub_cache=tmp_path / "hub")


def picture(seed: int, side: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


class CountingScorer:
    """Scores a pair by the first sample of the source; remembers the size of each batch."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def score(self, sources: list[np.ndarray], received: list[np.ndarray]) -> list[float]:
        self.batches.append(len(sources))
        return [float(s[0, 0, 0]) for s in sources]


def test_values_and_reasons_cover_every_metric_asked_for(no_weights: MetricWeights) -> None:
    meter = QualityMeter(weights=no_weights)
    a, b = picture(0), picture(1)
    for _ in range(3):
        meter.add(a, b)
    values, notes = meter.result()
    assert tuple(values) == REPORT_METRICS
    assert values["psnr_db"] == pytest.approx(psnr_db(a, b))
    assert values["ssim"] is not None
    missing = {"lpips", "lpips_squeeze_caffe", "clip_score", "bert_score"}
    assert {name for name, value in values.items() if value is None} == missing == set(notes)
    assert "AlexNet" in notes["lpips"]
    assert "squeezenet1_1" in notes["lpips_squeeze_caffe"]
    assert "clip-vit-base-patch32" in notes["clip_score"]
    assert "blip" in notes["bert_score"]
    assert all("\n" not in note for note in notes.values())
    json.dumps([values, notes], allow_nan=False)


def test_without_frames_everything_is_null_with_that_reason(
    no_weights: MetricWeights,
) -> None:
    values, notes = QualityMeter(weights=no_weights).result()
    assert set(values.values()) == {None}
    assert set(notes.values()) == {NO_FRAMES}


def test_result_may_be_asked_in_the_middle() -> None:
    meter = QualityMeter(("psnr_db",))
    a = picture(0)
    meter.add(a, a)
    assert meter.result()[0] == {"psnr_db": 100.0}
    meter.add(a, 255 - a)
    assert meter.result()[0]["psnr_db"] < 20


def test_ms_ssim_of_small_pictures_is_null_with_a_reason() -> None:
    meter = QualityMeter(("ms_ssim",))
    meter.add(picture(0), picture(0))
    meter.add(picture(0), picture(0))
    values, notes = meter.result()
    assert values == {"ms_ssim": None}
    assert "64x64" in notes["ms_ssim"]


def test_unknown_metric_is_refused() -> None:
    with pytest.raises(ValueError, match="vmaf"):
        QualityMeter(("psnr_db", "vmaf"))


def test_networks_run_in_batches_and_the_rest_at_the_end() -> None:
    scorer = CountingScorer()
    meter = BatchedMeter(lambda: scorer)
    levels = list(range(2 * BATCH_FRAMES + 1))
    for level in levels:
        frame = np.full((4, 4, 3), level, np.uint8)
        meter.add(frame, frame)
        frame[:] = 255  # the caller may reuse its buffer
    assert scorer.batches == [BATCH_FRAMES, BATCH_FRAMES]
    assert meter.result() == pytest.approx(np.mean(levels))
    assert scorer.batches == [BATCH_FRAMES, BATCH_FRAMES, 1]
    assert meter.result() == pytest.approx(np.mean(levels))


def test_a_sampled_metric_looks_at_every_nth_frame() -> None:
    meter = BatchedMeter(CountingScorer, frames_per_score=8)
    for level in range(20):
        meter.add(*[np.full((4, 4, 3), level, np.uint8)] * 2)
    assert meter.result() == pytest.approx(np.mean([0, 8, 16]))


def test_a_missing_network_is_tried_once_and_holds_no_frames() -> None:
    attempts = []

    def load() -> CountingScorer:
        attempts.append(1)
        raise MetricUnavailableError("not here")

    meter = QualityMeter(("psnr_db",))
    batched = BatchedMeter(load)
    meter._meters["lpips"] = batched
    meter._metrics = ("psnr_db", "lpips")
    for _ in range(5 * BATCH_FRAMES):
        meter.add(picture(0), picture(1))
    assert meter.result()[1] == {"lpips": "not here"}
    assert len(attempts) == 1
    assert "lpips" not in meter._meters


def test_importing_the_meter_imports_no_torch() -> None:
    code = (
        "import sys, numpy as np\n"
        "from semcast.metrics.quality import QualityMeter\n"
        "m = QualityMeter(('psnr_db', 'ssim'))\n"
        "m.add(np.zeros((16, 16, 3), np.uint8), np.zeros((16, 16, 3), np.uint8))\n"
        "m.result()\n"
        "assert not {'torch', 'transformers', 'lpips'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_environment_names_the_places(tmp_path: Path) -> None:
    file = tmp_path / "squeezenet1_1.safetensors"
    file.write_bytes(b"x")
    by_folder = MetricWeights.from_environment({"SEMCAST_WEIGHTS_DIR": str(tmp_path)})
    assert by_folder.squeezenet() == file
    assert not by_folder.allow_downloads
    by_file = MetricWeights.from_environment(
        {"SEMCAST_SQUEEZENET": str(file), "SEMCAST_ALLOW_DOWNLOADS": "1"}
    )
    assert by_file.squeezenet() == file
    assert by_file.allow_downloads
    wrong = MetricWeights.from_environment({"SEMCAST_SQUEEZENET": str(tmp_path / "none")})
    with pytest.raises(MetricUnavailableError, match="SEMCAST_SQUEEZENET"):
        wrong.squeezenet()
