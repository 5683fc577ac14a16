"""LPIPS on networks whose weights are made here, and on the real SqueezeNet where it lies."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from semcast.metrics.perceptual import LpipsScorer
from semcast.metrics.quality import QualityMeter
from semcast.metrics.weights import MetricUnavailableError, MetricWeights

REAL = Path(__file__).parents[3] / "shared" / "data" / "weights" / "squeezenet1_1.safetensors"


def picture(side: int = 64) -> np.ndarray:
    y, x = np.mgrid[0:side, 0:side] / side
    return np.stack([255 * x, 255 * y, 127 + 120 * np.sin(25 * x * y)], -1).astype(np.uint8)


def noisy(a: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, sigma, a.shape)
    return np.clip(a + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def squeezenet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SqueezeNet with torchvision's keys and random values."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = torchvision.models.squeezenet1_1(weights=None)
    path = tmp_path_factory.mktemp("weights") / "squeezenet1_1.safetensors"
    save_file(network.state_dict(), path)
    return path


def test_squeezenet_features_are_those_of_the_file(squeezenet_file: Path) -> None:
    """Every layer is loaded to its place: the same features as torchvision's own forward."""
    scorer = LpipsScorer.squeezenet_caffe(MetricWeights(squeezenet_path=squeezenet_file))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        whole = torchvision.models.squeezenet1_1(weights=None).eval()
    batch = scorer._batch([picture()])
    scaled = scorer.network.scaling_layer(batch)
    with torch.inference_mode():
        deepest = scorer.network.net(scaled)[-1]
        assert torch.allclose(deepest, whole.features(scaled), atol=1e-5)
    assert float(batch.min()) >= -1
    assert float(batch.max()) <= 1
    assert tuple(batch.shape) == (1, 3, 64, 64)


def test_identical_is_zero_and_batches_do_not_matter(squeezenet_file: Path) -> None:
    scorer = LpipsScorer.squeezenet_caffe(MetricWeights(squeezenet_path=squeezenet_file))
    a = picture()
    pairs = [(a, a), (a, noisy(a, 10)), (a, noisy(a, 60))]
    together = scorer.score([p[0] for p in pairs], [p[1] for p in pairs])
    alone = [scorer.score([p[0]], [p[1]])[0] for p in pairs]
    assert together == pytest.approx(alone, abs=1e-5)
    assert together[0] == pytest.approx(0, abs=1e-6)
    assert 0 < together[1] < together[2]


def test_loading_leaves_the_global_random_numbers_alone(squeezenet_file: Path) -> None:
    before = torch.random.get_rng_state()
    LpipsScorer.squeezenet_caffe(MetricWeights(squeezenet_path=squeezenet_file))
    assert torch.equal(before, torch.random.get_rng_state())


def test_alexnet_is_loaded_from_a_weights_folder(tmp_path: Path) -> None:
    url = torchvision.models.AlexNet_Weights.IMAGENET1K_V1.url
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        features = torchvision.models.alexnet(weights=None).features
    state = {f"features.{key}": value for key, value in features.state_dict().items()}
    torch.save(state, tmp_path / url.rsplit("/", 1)[-1])
    scorer = LpipsScorer.alexnet(MetricWeights(folders=(tmp_path,)))
    a = picture()
    same, near, far = scorer.score([a, a, a], [a, noisy(a, 8), noisy(a, 80)])
    assert same == pytest.approx(0, abs=1e-6)
    assert 0 < near < far


def test_unusable_weights_are_a_reason_not_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    garbage = tmp_path / "squeezenet1_1.safetensors"
    garbage.write_bytes(b"no tensors in here")
    with pytest.raises(MetricUnavailableError, match="cannot be read"):
        LpipsScorer.squeezenet_caffe(MetricWeights(squeezenet_path=garbage))
    save_file({"features.0.weight": torch.zeros(1)}, garbage)
    with pytest.raises(MetricUnavailableError, match="layout"):
        LpipsScorer.squeezenet_caffe(MetricWeights(squeezenet_path=garbage))
    with pytest.raises(MetricUnavailableError, match="SEMCAST_ALLOW_DOWNLOADS"):
        LpipsScorer.alexnet(MetricWeights())


def test_too_small_pictures_are_a_reason(squeezenet_file: Path) -> None:
    meter = QualityMeter(
        ("lpips_squeeze_caffe",), weights=MetricWeights(squeezenet_path=squeezenet_file)
    )
    meter.add(picture(16), picture(16))
    values, notes = meter.result()
    assert values == {"lpips_squeeze_caffe": None}
    assert "too small" in notes["lpips_squeeze_caffe"]


@pytest.mark.skipif(not REAL.is_file(), reason="../shared/data/weights is not on this machine")
def test_the_real_squeezenet_orders_distortions() -> None:
    """Stronger is worse, and a blur is worse than noise of the same squared error."""
    kodak = sorted((REAL.parents[1] / "images" / "kodak").glob("*.png"))
    if not kodak:
        pytest.skip("../shared/data/images/kodak is not on this machine")
    scorer = LpipsScorer.squeezenet_caffe(MetricWeights(squeezenet_path=REAL))
    a = np.ascontiguousarray(cv2.imread(str(kodak[0]))[128:384, 128:384, ::-1])
    soft, softer = (cv2.GaussianBlur(a, (0, 0), s) for s in (1.0, 3.0))
    same_error = float(np.sqrt(np.mean((softer.astype(float) - a) ** 2)))
    values = scorer.score([a] * 4, [a, soft, softer, noisy(a, same_error)])
    assert values[0] == pytest.approx(0, abs=1e-6)
    assert values[0] < values[1] < values[2]
    assert values[3] < values[2]
