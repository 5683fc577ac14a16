"""The sketch codes that ship: lines arrive, at every SNR as well as it allows.

The floors are for what is broken; how good a network is, its card says.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from semcast.errors import NotFoundError
from semcast.networks.ntscc import Ntscc, bundled_ntscc, noisy, power_scale
from semcast.networks.pixels import to_pixels, to_unit
from semcast.networks.strokes import picture_size, to_picture, to_strength
from semcast.samples import sample_path
from semcast.schemes import SKETCH_NETWORK
from semcast.weights import find_weights, read_weights
from training.recipes.sketch_code import REALS, SketchCode, even_counts, f_measure
from training.run import find_recipe
from transmitter.extractors.sketcher import open_sketcher

NAMES = tuple(f"djscc_sketch_{k}" for k in ("k0", "k03", "k07", "k1"))


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    """Skips where this version does not bundle it yet."""
    try:
        find_weights(request.param)
    except NotFoundError as missing:
        pytest.skip(str(missing))
    return str(request.param)


@cache
def sketch(width: int = 256, height: int = 256) -> NDArray[np.uint8]:
    """Strokes of a frame from the middle of a bundled clip, uint8 [height, width]."""
    capture = cv2.VideoCapture(str(sample_path("gripper")))
    capture.set(cv2.CAP_PROP_POS_FRAMES, 20)
    ok, bgr = capture.read()
    capture.release()
    assert ok
    rgb = cv2.resize(bgr[:, :, ::-1], (width, height), interpolation=cv2.INTER_AREA)
    return open_sketcher("bundled").sketch(np.ascontiguousarray(rgb))


def arrived(
    network: Ntscc,
    strokes: NDArray[np.uint8],
    snr_db: float,
    mean_reals: float = REALS,
    believed_db: float | None = None,
) -> NDArray[np.uint8]:
    """Strength of the lines, uint8, of the strokes' size. believed_db: by both ends."""
    height, width = strokes.shape
    picture = to_picture(strokes, *picture_size(width, height))
    known = torch.tensor([snr_db if believed_db is None else believed_db])
    torch.manual_seed(1)
    with torch.inference_mode():
        y = network.analyse(to_unit(torch.from_numpy(picture)[None, ..., None]), known)
        counts = even_counts(torch.tensor([float(mean_reals)]), *y.shape[2:])
        reals = network.to_reals(y, counts, known)
        scale = power_scale(reals, counts)
        received = noisy(reals / scale, counts, torch.tensor([snr_db])) * scale
        made = network.synthesise(network.from_reals(received, counts, known), counts, known)
    return to_strength(to_pixels(made)[0, ..., 0].numpy(), width, height)


def quality(network: Ntscc, *arguments: float, **named: float) -> float:
    """F-measure of what arrives of the sample's sketch."""
    return f_measure(sketch()[None], arrived(network, sketch(), *arguments, **named)[None])


def test_the_sample_has_lines() -> None:
    assert 600 < sketch().sum() < 3000


def test_the_schemes_network_is_one_of_them() -> None:
    assert SKETCH_NETWORK in NAMES


def test_card_and_header_say_what_trained_it(name: str) -> None:
    path = find_weights(name)
    _, header = read_weights(path)
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    assert find_recipe(header["recipe"]) is SketchCode
    assert header["config"] == {k: _as_json(v) for k, v in SketchCode.shape.config().items()}
    assert header["steps"] > 100
    share = {"k0": "0.0", "k03": "0.3", "k07": "0.7", "k1": "1.0"}[name.rpartition("_")[2]]
    assert f"- pixel_share: {share}\n" in card
    assert "semcast train djscc-sketch" in card
    assert path.stat().st_size < 0.285e6


def _as_json(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def test_lines_arrive_and_the_better_the_channel_the_better(name: str) -> None:
    network = bundled_ntscc(name)
    at = {snr_db: quality(network, snr_db) for snr_db in (-5.0, 0.0, 10.0, 20.0)}
    assert at[-5.0] < at[0.0] < at[10.0] <= at[20.0] + 0.02
    assert at[-5.0] > 0.35 and at[0.0] > 0.75 and at[10.0] > 0.93


def test_without_knowing_the_snr_lines_arrive(name: str) -> None:
    network = bundled_ntscc(name)
    assert quality(network, 10.0, believed_db=float("nan")) > 0.85
    assert quality(network, 0.0, believed_db=float("nan")) > 0.5


def test_half_the_symbols_and_twice_the_symbols(name: str) -> None:
    network = bundled_ntscc(name)
    half, whole, twice = (quality(network, 5.0, reals) for reals in (4, 8, 16))
    assert half < whole < twice + 0.01
    assert half > 0.6


def test_other_sizes_than_the_one_it_was_trained_for(name: str) -> None:
    strokes = sketch(480, 270)
    strength = arrived(bundled_ntscc(name), strokes, 10.0)
    assert strength.shape == strokes.shape
    assert f_measure(strokes[None], strength[None]) > 0.85


def test_an_empty_sketch_stays_empty(name: str) -> None:
    """As far as one can tell: nothing sent is noise at full power."""
    strength = arrived(bundled_ntscc(name), np.zeros((256, 256), np.uint8), 10.0)
    assert (strength >= 128).mean() < 0.01
