"""Every recipe trains on tiny shapes, on a CPU and on CUDA, and what it exports is its network."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from receiver.diffusion.latent_codec import LatentCodec
from receiver.diffusion.network import TinyDiffusion
from receiver.generator import Conditions
from semcast.errors import InputError, NotFoundError
from semcast.metrics.perceptual import LpipsScorer
from semcast.metrics.weights import MetricUnavailableError, MetricWeights
from semcast.networks.ntscc import Ntscc
from semcast.session import Modality
from semcast.weights import read_weights, write_weights
from training.data import Library, Shot, open_library
from training.loop import RunOptions, RunResult
from training.received import RECEIVED_PATH, ReceivedWindow, save_windows
from training.recipe import Recipe
from training.recipes.ntscc import NtsccRecipe
from training.recipes.sketch_code import SketchCode
from training.run import RECIPES, find_recipe, parse_duration_s, pick_device, read_settings, train
from training.windows import WindowSpec, draw_spec, held_out_spec, number_shots, source_frame

STEPS = 3
CODEC = "codec.safetensors"
PICTURE_CODE, SKETCH_CODE = "picture_code.safetensors", "sketch_code.safetensors"
NUM_FRAMES = 16

TINY = {
    "size": "64",
    "batch_size": "2",
    "warmup_steps": "1",
    "eval_size": "64",
    "eval_frames_per_clip": "1",
}
OWN = {
    "autoencoder": {"critic_from": "0"},
    "picture-video": {"codec": PICTURE_CODE, "num_frames": "3"},
    "segmenter": {"held_out": "e", "all_clips": "true"},
    "sketch": {"windows": "4", "scenes": "0"},
    "tiny": {
        "num_frames": "4",
        "judged_frames": "2",
        "latent_codec": CODEC,
        "critic_weight": "0.01",
        "critic_from": "0",
    },
}
"""What single recipes need beside TINY, and parts of them that are off unless asked for."""

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def _changes(name: str) -> dict[str, str]:
    return TINY | OWN.get(name, {})


def _write_clip(path: Path, seed: int) -> None:
    """Two seconds of patches that slide."""
    rng = np.random.default_rng(seed)
    picture = cv2.resize(rng.integers(0, 256, (12, 20, 3), np.uint8), (200, 120))
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 8.0, (160, 120))
    for k in range(NUM_FRAMES):
        writer.write(np.ascontiguousarray(picture[:, 2 * k : 2 * k + 160]))
    writer.release()


def _received(library: Library) -> list[ReceivedWindow]:
    """Windows as `training.received` makes them; small pictures stand for what a link leaves."""
    rng = np.random.default_rng(0)
    windows = []
    for key, shot in number_shots(library.train).items():
        spec = draw_spec(rng, key, shot, "lowres", 12)
        windows.append(_had(shot, spec))
    for key, shot in number_shots(library.val).items():
        spec = held_out_spec(key, shot, "contours-lowres")
        windows.append(_had(shot, replace(spec, num_frames=5)))
    return windows


def _had(shot: Shot, spec: WindowSpec) -> ReceivedWindow:
    """Low-res frames, objects and a sketch; at the third frame a key picture."""
    frames = [source_frame(shot, spec, k) for k in range(spec.num_frames)]
    had = []
    for k, frame in enumerate(frames):
        pictures = {Modality.LOWRES: cv2.resize(frame, (24, 24), interpolation=cv2.INTER_AREA)}
        ages = dict.fromkeys((Modality.LOWRES, Modality.CONTOURS, Modality.SKETCH), 0)
        if k >= 2:
            pictures[Modality.KEYFRAME], ages[Modality.KEYFRAME] = frames[2], k - 2
        labels, sketch = frame[..., 0] // 100, (frame[..., 1] > 128).astype(np.uint8) * 255
        had.append(Conditions(pictures, ages, labels=labels, sketch=sketch, snr_db=10.0))
    return ReceivedWindow(spec, tuple(had))


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to train in: clips, received windows where they are looked for, a codec."""
    try:
        LpipsScorer.squeezenet_caffe(MetricWeights.from_environment())
    except MetricUnavailableError as error:
        pytest.skip(f"recipes measure and train with SqueezeNet's features: {error}")
    root = tmp_path_factory.mktemp("workplace")
    for k, name in enumerate(("train/a", "train/b", "val/c", "val/d", "train_extra/f")):
        _write_clip(root / "data" / "video" / f"{name}.mp4", k)
    davis = root / "data" / "masks" / "davis" / "train"
    _write_clip(davis / "e.mp4", 4)
    masks = np.zeros((NUM_FRAMES, 120, 160), bool)
    masks[:, 30:90, 40:100] = True
    np.savez(davis / "e_masks.npz", masks=np.packbits(masks, axis=-1), shape=masks.shape)
    save_windows(root / RECEIVED_PATH, _received(open_library(root / "data")))
    torch.manual_seed(0)
    write_weights(root / CODEC, LatentCodec().state_dict(), {"recipe": "autoencoder", "config": {}})
    for name, shape in ((PICTURE_CODE, NtsccRecipe.shape), (SKETCH_CODE, SketchCode.shape)):
        write_weights(root / name, Ntscc(shape).state_dict(), {"config": shape.config()})
    return root


@pytest.fixture
def inside(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(workplace)
    return workplace


@dataclass
class Trained:
    """A few steps of one recipe. recipe: the same one again, to build and judge networks with."""

    run_dir: Path
    result: RunResult
    recipe: Recipe


_RUNS: dict[tuple[str, str], Trained] = {}


def _recipe(name: str, device: str) -> Recipe:
    """In the working folder, with the settings of this test."""
    found = find_recipe(name)
    settings = read_settings(found, _changes(name))
    return found(settings, open_library(Path("data"), folders=found.folders), pick_device(device))


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """With one CPU thread, so that a run again is the same run."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture(params=RECIPES)
def trained(request: pytest.FixtureRequest, device: str, inside: Path) -> Trained:
    """One run for all tests that look at it."""
    name = request.param
    if (name, device) not in _RUNS:
        run_dir = inside / "runs" / f"{name}-{device}"
        options = RunOptions(run_dir=run_dir, steps=STEPS, progress_bar=False)
        result = train(name, options, data=Path("data"), device=device, changes=_changes(name))
        _RUNS[name, device] = Trained(run_dir, result, _recipe(name, device))
    return _RUNS[name, device]


def _judged(recipe: Recipe, state: dict[str, torch.Tensor]) -> tuple[dict[str, float], np.ndarray]:
    """Figures and pictures of a network with these weights."""
    network = recipe.build()
    network.load_state_dict(state)
    network.to(recipe.device).eval()
    with torch.inference_mode():
        torch.manual_seed(0)
        figures = recipe.measure(network)
        torch.manual_seed(0)
        return figures, recipe.sheet(network)


def test_it_trains_and_leaves_everything(trained: Trained) -> None:
    result, recipe, run_dir = trained.result, trained.recipe, trained.run_dir
    assert result.finished and result.steps == STEPS
    assert result.weights == run_dir / f"{recipe.weights_name}.safetensors"
    assert result.figures and all(np.isfinite(v) for v in result.figures.values())
    _, header = read_weights(result.weights)
    assert header["recipe"] == recipe.name and header["steps"] == STEPS
    sheet = cv2.imread(str(run_dir / "sheets" / f"{STEPS:07d}.png"))
    assert sheet.shape[0] > 100 and sheet.std() > 5, "a picture of something"
    card = result.weights.with_suffix(".md").read_text()
    assert "train: 2 clips" in card and "- size: 64" in card
    assert all(f"- {name}: " in card for name in result.figures)


def test_every_part_of_the_network_learns(trained: Trained) -> None:
    """AdamW's first moments: a parameter without any is one that no loss reaches."""
    checkpoint = torch.load(
        trained.run_dir / "checkpoint.pt", weights_only=True, map_location="cpu"
    )
    names = [n for n, p in trained.recipe.build().named_parameters() if p.requires_grad]
    moments = checkpoint["optimizer"]["state"]
    still = [
        name
        for k, name in enumerate(names)
        if k not in moments or not moments[k]["exp_avg"].abs().max() > 0
    ]
    # What stands for an SNR that is not known is needed one time in ten: not in every few steps.
    still = [name for name in still if not name.endswith("unknown_snr")]
    # An output bias before a batch norm has no effect, and a part that is entered rarely may have
    # been passed by in so few steps.
    assert len(still) <= 0.05 * len(names), still
    if "critic" in checkpoint:
        assert checkpoint["critic_optimizer"]["state"], "the critic has learnt as well"


def test_what_it_exports_is_its_network(trained: Trained) -> None:
    """The file, in half precision, makes the pictures that the EMA weights make."""
    exact = torch.load(trained.run_dir / "checkpoint.pt", weights_only=True)["ema"]
    stored, _ = read_weights(trained.result.weights)
    assert stored.keys() == exact.keys()
    for name, value in exact.items():
        if value.is_floating_point():
            torch.testing.assert_close(stored[name], value.cpu(), rtol=2**-11, atol=2**-24)
        else:
            assert torch.equal(stored[name], value.cpu())
    exact_figures, exact_sheet = _judged(trained.recipe, exact)
    figures, sheet = _judged(trained.recipe, stored)
    assert figures == pytest.approx(exact_figures, rel=0.01, abs=0.01)
    assert np.abs(sheet.astype(int) - exact_sheet).max() <= 4
    measured = dict(trained.result.figures)
    assert figures == pytest.approx(measured, rel=0.02, abs=0.02), "the loop measured the same"


def test_the_file_is_small(trained: Trained) -> None:
    """A few megabytes each: all weights of the project are to stay under 20."""
    assert trained.result.weights.stat().st_size < 8e6


@pytest.mark.parametrize("part", ["image", "temporal", "all"])
def test_a_part_of_the_generator_is_trained_and_the_rest_stays(part: str, inside: Path) -> None:
    torch.manual_seed(1)
    network = TinyDiffusion()
    for parameter in network.parameters():
        if not parameter.abs().max():
            torch.nn.init.normal_(parameter, std=0.1)
    write_weights(inside / "start.safetensors", network.state_dict(), {"config": {}})
    start, _ = read_weights(inside / "start.safetensors")
    run_dir = inside / "runs" / f"tiny-{part}"
    options = RunOptions(
        run_dir, steps=2, progress_bar=False, start_from=inside / "start.safetensors"
    )
    changes = _changes("tiny") | {"part": part}
    train("tiny", options, data=Path("data"), device="cpu", changes=changes)
    after = torch.load(run_dir / "checkpoint.pt", weights_only=True)["network"]
    changed = {name for name in start if not torch.equal(after[name], start[name].float())}
    temporal = {name for name in start if ".temporal." in name}
    assert temporal and changed
    if part != "all":
        assert changed <= (temporal if part == "temporal" else start.keys() - temporal)
    assert bool(changed & temporal) == (part != "image")
    assert bool(changed - temporal) == (part != "temporal")


@pytest.mark.parametrize("name", RECIPES)
def test_a_batch_is_its_key_alone(name: str, inside: Path) -> None:
    recipe = _recipe(name, "cpu")
    first = recipe.draw(np.random.default_rng([7, 1]))
    other = recipe.draw(np.random.default_rng([7, 2]))
    again = recipe.draw(np.random.default_rng([7, 1]))
    assert first.keys() == again.keys() == other.keys()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)
    assert all(value.device.type == "cpu" for value in first.values())


@pytest.mark.parametrize("name", RECIPES)
def test_measuring_uses_held_out_clips_alone(name: str, inside: Path) -> None:
    """Other clips to train on, the same clips to measure on: the same figures."""
    network = _recipe(name, "cpu").build()
    found = find_recipe(name)
    settings = read_settings(found, _changes(name))
    library = open_library(Path("data"))
    figures = []
    for train_shots in (library.train, library.train[:1]):
        given = Library(library.path, train_shots, library.val, library.sources)
        recipe = found(settings, given, torch.device("cpu"))
        with torch.inference_mode():
            torch.manual_seed(0)
            figures.append(recipe.measure(network.eval()))
    assert figures[0] == figures[1]


@pytest.mark.parametrize("name", RECIPES)
def test_it_says_what_it_is(name: str) -> None:
    recipe = find_recipe(name)
    assert recipe.name == name and recipe.title and issubclass(recipe, Recipe)
    fields = recipe.settings_class.model_fields
    assert all(field.description for field in fields.values())
    recipe.settings_class()  # has a default for everything


def test_each_recipe_has_a_weight_file_of_its_own() -> None:
    names = [find_recipe(name).weights_name for name in RECIPES]
    assert len(set(names)) == len(names)


def test_what_cannot_be_is_said_before_any_work(tmp_path: Path) -> None:
    options = RunOptions(run_dir=tmp_path / "run", steps=1)
    with pytest.raises(NotFoundError, match=r"No recipe 'poetry': choose one of autoencoder"):
        train("poetry", options, data=tmp_path)
    with pytest.raises(InputError, match=r"Setting 'colour': .*Settings: size, batch_size"):
        train("autoencoder", options, data=tmp_path, changes={"colour": "red"})
    with pytest.raises(InputError, match="Setting 'size'"):
        train("autoencoder", options, data=tmp_path, changes={"size": "100"})
    with pytest.raises(InputError, match="'abacus' is no device"):
        train("autoencoder", options, data=tmp_path, device="abacus")
    with pytest.raises(InputError, match="too few clips"):
        train("autoencoder", options, data=tmp_path)
    assert not (tmp_path / "run").exists()


def test_cuda_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == torch.device("cpu")
    with pytest.raises(InputError, match="no CUDA device: give --device cpu"):
        pick_device("cuda")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("20m", 1200), ("1.5h", 5400), ("2", 120), (" 3m ", 180)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-3m", "0m", "3 days", "1e3s", "nan"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is no duration"):
        parse_duration_s(text)
