"""PSNR: exact values, averaging over frames, the cap."""

import json
import math

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from semcast.metrics.psnr import PSNR_CAP_DB, PsnrMeter, psnr_db, squared_error


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (24, 40, 3), dtype=np.uint8)


def test_one_level_of_error_everywhere_is_48_13_db() -> None:
    a = np.full((16, 16, 3), 100, np.uint8)
    assert psnr_db(a, a + np.uint8(1)) == pytest.approx(20 * math.log10(255), abs=1e-12)


def test_agrees_with_scikit_image() -> None:
    a, b = picture(0), picture(1)
    assert psnr_db(a, b) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255), abs=1e-9)


def test_differences_do_not_wrap_around() -> None:
    black, white = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)
    assert squared_error(black, white) == squared_error(white, black) == 12 * 255**2
    assert psnr_db(black, white) == 0.0


def test_identical_pictures_give_the_cap_and_it_is_json() -> None:
    assert psnr_db(picture(0), picture(0)) == PSNR_CAP_DB
    assert json.loads(json.dumps(psnr_db(picture(0), picture(0)), allow_nan=False)) == 100.0


def test_meter_averages_squared_error_not_decibels() -> None:
    zero = np.zeros((16, 16, 3), np.uint8)
    meter = PsnrMeter()
    meter.add(zero, zero + np.uint8(1))
    meter.add(zero, zero + np.uint8(31))
    mean_squared_error = (1 + 31**2) / 2
    assert meter.result() == pytest.approx(10 * math.log10(255**2 / mean_squared_error), abs=1e-12)


def test_meter_is_silent_before_the_first_frame() -> None:
    assert PsnrMeter().result() is None


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="different shapes"):
        psnr_db(picture(0), picture(0)[:-1])
