"""The sketch code's recipe: GVSC's symbols and loss, and how good what arrives is said to be."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import training.sketches
from semcast.codecs.patch_rates import reals_of_patches
from semcast.metrics.perceptual import LpipsScorer
from semcast.metrics.weights import MetricUnavailableError, MetricWeights
from semcast.networks.ntscc import Ntscc
from semcast.networks.strokes import to_picture
from semcast.weights import write_weights
from training.data import Library, Shot
from training.recipe import Progress
from training.recipes.sketch_code import REALS, SketchCode, even_counts, f_measure, pictures_of
from training.run import read_settings


def lines(*columns: int, side: int = 64) -> NDArray[np.uint8]:
    """Uprights, uint8 [side, side] of 0 and 1."""
    strokes = np.zeros((side, side), np.uint8)
    strokes[4:-4, list(columns)] = 1
    return strokes


def as_received(strokes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return to_picture(strokes, strokes.shape[1], strokes.shape[0])


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    """Two clips of a disc, to train and to measure on."""
    try:
        LpipsScorer.squeezenet_caffe(MetricWeights.from_environment())
    except MetricUnavailableError as error:
        pytest.skip(f"the loss needs SqueezeNet's features: {error}")
    monkeypatch.chdir(tmp_path)
    shots = []
    for name, level in (("a", 220), ("b", 40)):
        frames = np.full((3, 128, 128, 3), 120, np.uint8)
        for frame in frames:
            cv2.circle(frame, (60, 66), 36, (level,) * 3, -1)
        shots.append(Shot(name, frames, 8.0))
    return Library(tmp_path, (shots[0],), (shots[1],), ())


def recipe_of(library: Library, **changes: str) -> SketchCode:
    settings = read_settings(SketchCode, {"size": "64", "batch_size": "3"} | changes)
    return SketchCode(settings, library, torch.device("cpu"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("share", "name"), [("0", "k0"), ("0.3", "k03"), ("0.7", "k07"), ("1", "k1")]
)
def test_the_file_is_named_after_k(share: str, name: str) -> None:
    settings = read_settings(SketchCode, {"pixel_share": share})
    assert SketchCode.weights_name_for(settings) == f"djscc_sketch_{name}"


def test_its_name_is_that_of_its_default_settings() -> None:
    assert SketchCode.weights_name_for(read_settings(SketchCode, {})) == SketchCode.weights_name


def test_symbols_are_those_of_gvsc_and_four_files_are_small(tmp_path: Path) -> None:
    patches = (256 // 16) ** 2
    assert REALS * patches // 2 == 1024
    network = Ntscc(SketchCode.shape)
    assert network.hyperprior is None
    write_weights(tmp_path / "sketch.safetensors", network.state_dict(), {"config": {}})
    assert (tmp_path / "sketch.safetensors").stat().st_size < 0.285e6


@pytest.mark.parametrize("mean", [2.0, 6.53, 7.99, 8.0, 11.3, 16.0])
def test_counts_are_those_of_the_link(mean: float) -> None:
    indices = np.zeros((4, 6), np.uint8)
    expected = reals_of_patches(indices, 4, 6, round(24 * mean), SketchCode.shape.max_reals)
    counts = even_counts(torch.tensor([mean, 5.0]), 4, 6)
    assert np.array_equal(counts[0].numpy(), expected)
    assert (counts[1] == 5).all()


def test_a_batch_has_mostly_the_schemes_symbols(library: Library) -> None:
    recipe = recipe_of(library, batch_size="400")
    batch = recipe.draw(np.random.default_rng(3))
    reals = batch["reals"].numpy()
    assert batch["pictures"].shape == (400, 64, 64, 1) and batch["pictures"].dtype == torch.uint8
    assert reals.min() >= 2 and reals.max() <= 16
    usual = ((reals >= 6.5) & (reals <= 8)).mean()
    # A quarter of 400 examples is drawn from a wide range: 5 sigma are 0.11.
    assert 0.64 < usual < 0.9
    assert (batch["pictures"].numpy() > 200).any((1, 2, 3)).mean() > 0.8, "lines in most"


class _Black(Ntscc):
    """Makes nothing but black of anything."""

    def synthesise(
        self, y: torch.Tensor, counts: torch.Tensor, snr_db: torch.Tensor
    ) -> torch.Tensor:
        return super().synthesise(y, counts, snr_db) * 0 - 1


def test_the_loss_is_gvscs(library: Library) -> None:
    """k MSE + (1 - k) LPIPS, between the two; of black, MSE is about one."""
    batch = recipe_of(library).draw(np.random.default_rng(1))
    losses = {}
    for share in ("0", "0.3", "1"):
        recipe = recipe_of(library, pixel_share=share)
        with torch.inference_mode():
            found = recipe.losses(_Black(SketchCode.shape), None, batch, Progress(0, 0.0))
        losses[share] = found
    black = (batch["pictures"].float() / 255).square().mean((1, 2, 3)) / 0.042
    assert float(losses["1"].total) == pytest.approx(float((black + 0.01).log().mean()), abs=0.01)
    assert "features" not in losses["1"].terms
    only = losses["0"].terms["features"]
    assert float(losses["0"].total) == pytest.approx(math.log(float(only) + 0.01), abs=0.2)
    ends = sorted(float(losses[share].total) for share in ("0", "1"))
    assert ends[0] < float(losses["0.3"].total) < ends[1]


def test_a_few_steps_of_learning_lower_the_loss(library: Library) -> None:
    recipe = recipe_of(library, pixel_share="1", batch_size="8")
    network = recipe.build()
    optimiser = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], 3e-3)
    batch = recipe.draw(np.random.default_rng(1))
    values = []
    for _ in range(20):
        torch.manual_seed(2)  # the same noise at the same SNRs
        loss = recipe.losses(network, None, batch, Progress(0, 0.0)).total
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        values.append(float(loss.detach()))
    assert values[-1] < values[0] - 0.1


def test_f_measure_counts_lines_that_are_there_and_lines_that_are_found() -> None:
    sent = np.stack([lines(20, 40)])

    def of(*columns: int) -> float:
        return f_measure(sent, np.stack([as_received(lines(*columns))]))

    assert of(20, 40) == pytest.approx(1)
    assert of(22, 38) == pytest.approx(1), "two pixels off"
    assert of(26, 34) == 0, "six pixels off"
    assert of(20) == pytest.approx(2 / 3, abs=0.03), "all right, half found"
    assert of(10, 20, 30, 40) == pytest.approx(2 / 3, abs=0.03), "half right, all found"
    assert of() == 0
    assert f_measure(sent, np.stack([as_received(lines(20, 40)) // 3])) == 0, "too faint"


def test_held_out_sketches_are_those_of_held_out_clips(library: Library) -> None:
    recipe = recipe_of(library, eval_size="256", eval_frames_per_clip="2")
    network = recipe.build().eval()
    drawn = training.sketches.sketches_of(library.val, zoomed=False)[0]
    with torch.inference_mode():
        figures = recipe.measure(network)
        sheet = recipe.sheet(network)
    assert {name.split("_at_")[0] for name in figures} == {"psnr_db", "lpips", "f_measure"}
    assert {name.split("_at_")[1] for name in figures} == {f"{s}_db" for s in (-5, 0, 5, 10, 20)}
    assert figures["psnr_db_at_20_db"] > figures["psnr_db_at_-5_db"]
    # The first column of the sheet is what was drawn.
    shown = sheet[-256:, :256, 0]
    assert np.array_equal(shown, pictures_of(drawn.strokes(0)[None])[0, ..., 0])
