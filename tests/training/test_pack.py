"""Packs: what goes in is what comes out, cut to what fits, with no picture changed."""

from __future__ import annotations

import json
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import training.pack
import training.run
from receiver.generator import Conditions
from semcast.errors import InputError
from semcast.metrics.weights import SQUEEZENET_FILE, MetricWeights
from semcast.session import Modality
from training.data import Library, open_library
from training.loop import RunOptions
from training.pack import (
    RECEIVED_SECONDS,
    SCENE_SEEDS,
    VAL_SECONDS,
    beginning,
    count_frames,
    main,
    make_pack,
    render_scenes,
)
from training.received import ReceivedWindow, load_windows, windows_beside, windows_for
from training.recipe import Recipe, RecipeSettings
from training.simulate.seeds import RESERVED_SAMPLE_SEEDS
from training.windows import held_out_spec

Frames = NDArray[np.uint8]

HEIGHT, WIDTH, FPS = 64, 96, 8
SQUEEZENET = b"weights of a metric" * 100


class PlainRecipe(Recipe):
    """Trains on clips; never built here."""

    name = "plain"
    title = "Nothing"
    weights_name = "plain"


class ReceivedRecipe(PlainRecipe):
    """Trains on what was received of clips."""

    name = "received"
    pack_kind = "received"


@pytest.fixture(autouse=True)
def _recipes_and_metric(tmp_path_factory: pytest.TempPathFactory, monkeypatch: Any) -> None:
    recipes = {"plain": PlainRecipe, "received": ReceivedRecipe}
    monkeypatch.setattr(training.pack, "find_recipe", recipes.__getitem__)
    file = tmp_path_factory.mktemp("metric") / SQUEEZENET_FILE
    file.write_bytes(SQUEEZENET)
    monkeypatch.setenv("SEMCAST_SQUEEZENET", str(file))


def _moving(seed: int, count: int) -> Frames:
    """Noise that drifts sideways: every frame differs, and none compresses to nothing."""
    rng = np.random.default_rng(seed)
    wide = cv2.resize(
        rng.integers(0, 256, (16, 64, 3)).astype(np.uint8), (WIDTH + 4 * count, HEIGHT)
    )
    return np.stack([wide[:, 4 * k : 4 * k + WIDTH] for k in range(count)])


def _write(path: Path, count: int, seed: int = 0, bframes: int = 2) -> Path:
    """An H.264 clip whose frames are stored in another order than they are shown."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        stream.time_base = Fraction(1, FPS)
        stream.options = {"crf": "20", "bf": str(bframes), "b_strategy": "0", "g": "250"}
        for frame in _moving(seed, count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def _read(path: Path) -> Frames:
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (got := capture.read())[0]:
        frames.append(got[1])
    return np.stack(frames)


def _data(root: Path, seconds: float = 6.0) -> Path:
    for k, name in enumerate(("alpha", "beta", "gamma")):
        _write(root / "video" / "train" / f"{name}.mp4", round(seconds * FPS), seed=k)
    _write(root / "video" / "val" / "delta.mp4", 5 * FPS, seed=9)
    (root / "video" / "clips.csv").write_text(
        "folder,file,licence\ntrain,alpha.mp4,CC0\ntrain,beta.mp4,CC0\ntrain,gamma.mp4,MIT\n"
    )
    (root / "video" / "captions.csv").write_text(
        'folder,file,caption\ntrain,alpha.mp4,"Alpha, drifting."\n'
    )
    return root


def _mb_for(data: Path, seconds: float) -> float:
    """A pack size that holds about this much of each clip."""
    train = sorted((data / "video" / "train").glob("*.mp4"))
    val = sorted((data / "video" / "val").glob("*.mp4"))
    media = [len(beginning(file, count_frames(file, seconds))) for file in train]
    media += [len(beginning(file, count_frames(file, VAL_SECONDS))) for file in val]
    return (sum(media) + len(SQUEEZENET) + 2000) / 1e6


# Cutting.


@pytest.mark.parametrize("bframes", [0, 2, 3])
def test_a_beginning_is_the_first_frames_untouched(tmp_path: Path, bframes: int) -> None:
    clip = _write(tmp_path / "clip.mp4", 24, bframes=bframes)
    whole = _read(clip)
    assert len(whole) == 24
    seen = set()
    for seconds in np.arange(0.1, 3.2, 0.25):
        count = count_frames(clip, float(seconds))
        cut = tmp_path / "cut.mp4"
        cut.write_bytes(beginning(clip, count))
        frames = _read(cut)
        assert len(frames) == count, "a frame that refers to one cut off is no frame"
        assert np.array_equal(frames, whole[:count])
        assert count <= max(1, np.ceil(seconds * FPS))
        assert count > seconds * FPS - 1 - bframes or count == 24
        seen.add(count)
    assert 24 in seen
    assert len(seen) > 4


def test_a_cut_clip_keeps_its_rate(tmp_path: Path) -> None:
    clip = _write(tmp_path / "clip.mp4", 40)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(beginning(clip, count_frames(clip, 2.0)))
    rates = [cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS) for path in (clip, cut)]
    assert rates == [FPS, FPS]


def test_a_file_that_is_no_video_is_refused_by_name(tmp_path: Path) -> None:
    data = _data(tmp_path / "data")
    (data / "video" / "train" / "broken.mp4").write_bytes(b"no video at all")
    with pytest.raises(InputError, match=r"broken\.mp4"):
        make_pack("plain", tmp_path / "p.pack", data=data)


# Packing.


def test_everything_goes_in_where_there_is_room(tmp_path: Path) -> None:
    data = _data(tmp_path / "data")
    photo = data / "video" / "train" / "still.png"
    cv2.imwrite(str(photo), _moving(5, 1)[0])
    report = make_pack("plain", tmp_path / "p.pack", data=data)
    assert report.num_bytes == (tmp_path / "p.pack").stat().st_size
    assert (report.num_train, report.num_val) == (4, 1)
    packed, whole = open_library(tmp_path / "p.pack"), open_library(data)
    assert [shot.clip for shot in packed.train] == [shot.clip for shot in whole.train]
    for mine, theirs in zip(packed.train, whole.train, strict=True):
        assert np.array_equal(mine.frames, theirs.frames)
        assert (mine.fps, mine.caption) == (theirs.fps, theirs.caption)
    assert [shot.caption for shot in packed.train].count("Alpha, drifting.") == 1
    assert [shot.clip for shot in packed.val] == ["delta"]
    assert len(packed.val[0].frames) == pytest.approx(VAL_SECONDS * FPS, abs=3)
    assert set(whole.sources) < set(packed.sources)


@pytest.mark.parametrize("seconds", [1.5, 3.0, 4.5])
def test_a_pack_is_as_full_as_it_may_be(tmp_path: Path, seconds: float) -> None:
    data = _data(tmp_path / "data")
    max_mb = _mb_for(data, seconds)
    report = make_pack("plain", tmp_path / "p.pack", data=data, max_mb=max_mb)
    assert report.num_bytes <= 1e6 * max_mb
    # No more is left over than a group of frames of each clip takes.
    assert report.num_bytes > 1e6 * _mb_for(data, max(1.0, seconds - 0.6)) - 2000
    lengths = [len(shot.frames) for shot in open_library(tmp_path / "p.pack").train]
    assert max(lengths) - min(lengths) <= 2, "all clips are cut alike"
    assert max(lengths) / FPS == pytest.approx(report.seconds, abs=0.5)


def test_a_pack_that_cannot_hold_a_second_of_each_clip_is_refused(tmp_path: Path) -> None:
    data = _data(tmp_path / "data")
    with pytest.raises(InputError, match="--max-mb"):
        make_pack("plain", tmp_path / "p.pack", data=data, max_mb=0.01)
    assert not (tmp_path / "p.pack").exists()


def test_nothing_is_compressed_and_the_index_names_what_is_there(tmp_path: Path) -> None:
    make_pack("plain", tmp_path / "p.pack", data=_data(tmp_path / "data"))
    with zipfile.ZipFile(tmp_path / "p.pack") as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        index = json.loads(archive.read("pack.json"))
        names = set(archive.namelist())
        assert archive.read(f"weights/{SQUEEZENET_FILE}") == SQUEEZENET
    assert index["recipe"] == "plain"
    assert index["train"] == [f"video/train/{name}.mp4" for name in ("alpha", "beta", "gamma")]
    assert index["val"] == ["video/val/delta.mp4"]
    assert {*index["train"], *index["val"], "video/train/alpha.txt"} < names


@pytest.mark.parametrize("layout", ["labels", "packed"])
def test_masks_are_cut_with_their_clip(tmp_path: Path, layout: str) -> None:
    data = _data(tmp_path / "data")
    masks = np.zeros((48, HEIGHT, WIDTH), np.uint8)
    masks[np.arange(48), 10, np.arange(48)] = 1
    path = data / "video" / "train" / "beta_masks.npz"
    if layout == "labels":
        np.savez_compressed(path, labels=masks, objects=np.array(["pear"]))
    else:
        np.savez(path, masks=np.packbits(masks, axis=-1), shape=np.array(masks.shape))
    max_mb = _mb_for(data, 2.5)
    make_pack("plain", tmp_path / "p.pack", data=data, max_mb=max_mb)
    (shot,) = (s for s in open_library(tmp_path / "p.pack").train if s.clip == "beta")
    assert shot.labels is not None
    assert 8 < len(shot.labels) == len(shot.frames) < 30
    assert np.array_equal(shot.labels, masks[: len(shot.labels)])


def test_missing_metric_weights_are_said_before_anything_is_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEMCAST_SQUEEZENET", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="SEMCAST_SQUEEZENET"):
        make_pack("plain", tmp_path / "p.pack", data=_data(tmp_path / "data"))


# Simulated scenes.


def test_scenes_are_rendered_once_and_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered = []

    def render(seed: int, path: Path) -> None:
        rendered.append(seed)
        _write(path, 16, seed=seed)
        path.with_suffix(".txt").write_text(f"Scene {seed}.\n")

    monkeypatch.setattr(training.pack, "_render_scene", render)
    scenes = render_scenes(2, tmp_path / "scenes")
    assert render_scenes(3, tmp_path / "scenes")[:2] == scenes
    assert rendered == list(SCENE_SEEDS[:3])
    make_pack("plain", tmp_path / "p.pack", data=_data(tmp_path / "data"), scenes=scenes)
    library = open_library(tmp_path / "p.pack")
    assert [s.caption for s in library.train if s.clip.startswith("scene-")] == [
        f"Scene {seed}." for seed in SCENE_SEEDS[:2]
    ]
    assert any("simulated scenes: 2" in source for source in library.sources)
    assert [s.clip for s in library.val] == ["delta"]


def test_no_scene_of_the_samples_is_ever_numbered() -> None:
    assert not set(RESERVED_SAMPLE_SEEDS) & set(SCENE_SEEDS)


# Received windows.


def _window(shot: Any, size: int, rng: np.random.Generator) -> ReceivedWindow:
    """Noise: no two pictures alike, and none compresses."""
    spec = held_out_spec((shot.clip, 0), shot, "lowres")
    had = [
        Conditions({Modality.LOWRES: rng.integers(0, 256, (size, size, 3), np.uint8)}, {})
        for _ in range(spec.num_frames)
    ]
    return ReceivedWindow(spec, tuple(had))


@pytest.fixture
def _link(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the real link: noise, of sizes that tell which window is which."""
    rng = np.random.default_rng(0)
    monkeypatch.setattr(
        training.pack,
        "make_windows",
        lambda shots, count, frames, seed: [
            _window(shot, 24, rng) for shot in shots if len(shot.frames) > 8 for _ in range(count)
        ],
    )
    monkeypatch.setattr(
        training.pack,
        "make_held_out_windows",
        lambda shots, more_schemes: [_window(shot, 8, rng) for shot in shots],
    )


def _side(window: ReceivedWindow) -> int:
    return len(window.conditions[0].pictures[Modality.LOWRES])


@pytest.mark.usefixtures("_link")
def test_clips_go_in_with_their_windows_as_many_as_fit(tmp_path: Path) -> None:
    data, path = _data(tmp_path / "data"), tmp_path / "p.pack"
    everything = make_pack("received", path, data=data, windows_per_clip=2)
    assert (everything.num_train, everything.seconds) == (3, RECEIVED_SECONDS)
    # Each clip takes much the same: of three, two fit into a little more than two thirds.
    with zipfile.ZipFile(path) as archive:
        held_out = archive.getinfo("video/val/delta.mp4").file_size
    fixed = len(SQUEEZENET) + held_out + 8 * 8 * 3 * 16
    each = (everything.num_bytes - fixed) / 3
    max_mb = (fixed + 2.5 * each) / 1e6
    report = make_pack("received", path, data=data, max_mb=max_mb, windows_per_clip=2)
    assert report.num_train == 2
    assert 1e6 * max_mb - each < path.stat().st_size == report.num_bytes <= 1e6 * max_mb
    library = open_library(path)
    assert any("2 chosen at random" in source for source in library.sources)
    train, val = windows_for(library)
    assert [_side(w) for w in train] == [24] * 4
    assert [_side(w) for w in val] == [8], "the held-out clip keeps its window"
    assert len(windows_beside(path)) == 5
    assert {w.spec.clip for w in train} == {s.clip for s in library.train}
    for shot in library.train:
        assert len(shot.frames) <= RECEIVED_SECONDS * FPS < 6 * FPS
    # Chance chooses, and the same way again.
    again = tmp_path / "again.pack"
    make_pack("received", again, data=data, max_mb=max_mb, windows_per_clip=2)
    assert [s.clip for s in open_library(again).train] == [s.clip for s in library.train]


@pytest.mark.usefixtures("_link")
def test_what_cannot_be_sent_stays_out_of_such_a_pack(tmp_path: Path) -> None:
    data, path = _data(tmp_path / "data"), tmp_path / "p.pack"
    cv2.imwrite(str(data / "video" / "train" / "still.png"), _moving(5, 1)[0])
    assert make_pack("received", path, data=data).num_train == 3
    assert "still" not in {shot.clip for shot in open_library(path).train}
    # A pack of clips alone has them all, and no windows.
    assert make_pack("plain", path, data=data).num_train == 4
    with pytest.raises(InputError, match="no received windows"):
        windows_beside(path)
    with pytest.raises(InputError):
        load_windows(tmp_path / "nowhere.npz")


@pytest.mark.usefixtures("_link")
def test_a_pack_without_room_for_one_clip_and_its_window_is_refused(tmp_path: Path) -> None:
    data = _data(tmp_path / "data")
    with pytest.raises(InputError, match=r"no room for received windows: .*--max-mb"):
        make_pack("received", tmp_path / "p.pack", data=data, max_mb=0.02)
    assert not (tmp_path / "p.pack").exists()


# The command line, and what a run finds in a pack.


def test_the_command_line_packs_and_says_what(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = _data(tmp_path / "data")
    out = tmp_path / "deep" / "p.pack"
    assert main(["plain", "-o", str(out), "--data", str(data)]) == 0
    assert "3 clips to train on" in capsys.readouterr().out
    for wrong in (
        ["plain", "-o", str(tmp_path / "p.zip"), "--data", str(data)],
        ["plain", "-o", str(out), "--data", str(tmp_path / "nowhere")],
        ["plain", "-o", str(out), "--data", str(data), "--max-mb", "0.001"],
        ["plain", "-o", str(out), "--data", str(data), "--simulated", "-1"],
    ):
        assert main(wrong) == 2
        assert capsys.readouterr().err.count("\n") == 1


class _ProbeError(Exception):
    """What the probe found, instead of training."""


class ProbeRecipe(PlainRecipe):
    """Looks for the metric's weights as losses and judges do."""

    def __new__(cls, settings: RecipeSettings, library: Library, device: torch.device) -> Any:
        raise _ProbeError(MetricWeights.from_environment().squeezenet().read_bytes())


def test_a_run_finds_the_weights_that_are_in_its_pack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = _data(tmp_path / "data")
    make_pack("plain", tmp_path / "p.pack", data=data)
    monkeypatch.delenv("SEMCAST_SQUEEZENET")
    monkeypatch.setenv("SEMCAST_WEIGHTS_DIR", str(tmp_path / "other"))
    monkeypatch.setattr(training.run, "find_recipe", lambda name: ProbeRecipe)
    with pytest.raises(_ProbeError) as found:
        training.run.train(
            "plain", RunOptions(tmp_path / "run", steps=1), data=tmp_path / "p.pack", device="cpu"
        )
    assert found.value.args[0] == SQUEEZENET
    assert MetricWeights.from_environment().folders[0] == tmp_path / "other", "and then no more"
