"""SSIM against scikit-image, MS-SSIM against a direct computation with scipy."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from semcast.metrics.ssim import MS_SSIM_WEIGHTS, SsimMeter, ms_ssim, ssim
from semcast.metrics.weights import MetricUnavailableError


def scene(height: int = 180, width: int = 240) -> np.ndarray:
    """Soft shapes, an edge and a flat dark part."""
    y, x = np.mgrid[0:height, 0:width]
    waves = 127 + 90 * np.sin(x[..., None] / np.array([7.0, 11.0, 17.0])) * np.cos(y / 9)[..., None]
    waves[: height // 3, : width // 3] = 8
    waves[:, width // 2] = 255
    return np.clip(waves, 0, 255).astype(np.uint8)


def noisy(a: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, sigma, a.shape)
    return np.clip(a + noise, 0, 255).astype(np.uint8)


def oracle(a: np.ndarray, b: np.ndarray) -> float:
    return float(
        structural_similarity(
            a,
            b,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
            channel_axis=-1,
        )
    )


@pytest.mark.parametrize("sigma", [0.5, 5, 30, 120])
def test_agrees_with_scikit_image(sigma: float) -> None:
    a = scene()
    b = noisy(a, sigma)
    assert ssim(a, b) == pytest.approx(oracle(a, b), abs=1e-5)


@pytest.mark.parametrize("shape", [(11, 11), (16, 16), (37, 53)])
def test_agrees_at_small_and_odd_sizes(shape: tuple[int, int]) -> None:
    a = scene()[: shape[0], : shape[1]]
    b = noisy(a, 12)
    assert ssim(a, b) == pytest.approx(oracle(a, b), abs=1e-5)


def test_agrees_on_extremes() -> None:
    black, white = np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)
    assert ssim(black, white) == pytest.approx(oracle(black, white), abs=1e-6)
    assert ssim(white, white) == pytest.approx(1, abs=1e-6)
    inverted = 255 - scene()
    assert ssim(scene(), inverted) == pytest.approx(oracle(scene(), inverted), abs=1e-5)
    assert ssim(scene(), inverted) < 0


def test_meter_is_the_mean_over_frames() -> None:
    a = scene()
    frames = [noisy(a, 3), noisy(a, 40)]
    meter = SsimMeter()
    assert meter.result() is None
    for frame in frames:
        meter.add(a, frame)
    assert meter.result() == pytest.approx(np.mean([ssim(a, f) for f in frames]), abs=1e-12)


def ms_ssim_by_scipy(a: np.ndarray, b: np.ndarray) -> float:
    """The definition in float64, channel by channel, with another filter."""
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

    def windowed(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, 1.5, truncate=3.5)[5:-5, 5:-5]

    results = []
    for channel in range(3):
        x, y = a[..., channel].astype(float), b[..., channel].astype(float)
        product = 1.0
        for scale, weight in enumerate(MS_SSIM_WEIGHTS):
            mx, my = windowed(x), windowed(y)
            cs = (2 * (windowed(x * y) - mx * my) + c2) / (
                windowed(x * x) - mx**2 + windowed(y * y) - my**2 + c2
            )
            if scale == len(MS_SSIM_WEIGHTS) - 1:
                cs = cs * (2 * mx * my + c1) / (mx**2 + my**2 + c1)
            product *= max(cs.mean(), 0) ** weight
            h, w = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
            x = x[:h, :w].reshape(h // 2, 2, w // 2, 2).mean((1, 3))
            y = y[:h, :w].reshape(h // 2, 2, w // 2, 2).mean((1, 3))
        results.append(product)
    return float(np.mean(results))


@pytest.mark.parametrize("sigma", [2, 25, 90])
def test_ms_ssim_follows_its_definition(sigma: float) -> None:
    a = scene(178, 251)
    b = noisy(a, sigma)
    assert ms_ssim(a, b) == pytest.approx(ms_ssim_by_scipy(a, b), abs=1e-4)


def test_too_small_pictures_and_other_shapes_are_refused() -> None:
    a = scene()
    with pytest.raises(MetricUnavailableError, match="10x180"):
        ssim(a[:, :10], a[:, :10])
    with pytest.raises(MetricUnavailableError, match="176"):
        ms_ssim(a[:175], a[:175])
    with pytest.raises(ValueError, match="two pictures"):
        ssim(a, a[:-1])
