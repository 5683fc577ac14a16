"""Training data: what is read, where it is cut, what may be drawn, and that labels come along."""

import json
import shutil
import zipfile
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from semcast.errors import InputError
from semcast.samples import sample_caption, sample_masks, sample_path
from training.data import (
    Augment,
    Shot,
    WindowSampler,
    centre_square,
    find_cuts,
    held_out_frames,
    list_media,
    open_library,
    split_at_cuts,
)
from training.run import RECIPES, default_data, find_recipe

Frames = NDArray[np.uint8]

HEIGHT, WIDTH = 48, 68
STILL = Augment(scale=(1.0, 1.0), speeds=(1,), colour=0.0, flip=False)


def _scene(seed: int, count: int = 10, height: int = HEIGHT, width: int = WIDTH) -> Frames:
    """Patches of a few colours of its own; every frame is a little lighter than the one before."""
    rng = np.random.default_rng(seed)
    palette = rng.integers(0, 200, (5, 3))
    patches = palette[rng.integers(0, 5, (6, 8))].astype(np.uint8)
    picture = cv2.resize(patches, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.stack([np.clip(picture + 2.0 * k, 0, 255).astype(np.uint8) for k in range(count)])


def _levels(count: int, step: int = 8, height: int = HEIGHT, width: int = WIDTH) -> Frames:
    """Grey frames: frame k has level step * k."""
    levels = (step * np.arange(count, dtype=np.uint8))[:, None, None, None]
    return np.broadcast_to(levels, (count, height, width, 3)).copy()


def _write_clip(path: Path, frames: Frames, fps: float = 8.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames.shape[1:3]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, (width, height))
    assert writer.isOpened()
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()


def _folder_of(tmp_path: Path, clips: dict[str, Frames], fps: float = 8.0) -> Path:
    """A plain folder of clips, and one more at the end of the alphabet, to measure on."""
    for name, frames in {**clips, "zz-held-out": _scene(99, 3)}.items():
        _write_clip(tmp_path / f"{name}.mp4", frames, fps)
    return tmp_path


def _shared_layout(root: Path) -> Path:
    for name in ("alpha", "beta"):
        _write_clip(root / "video" / "train" / f"{name}.mp4", _scene(1))
    _write_clip(root / "video" / "train_extra" / "gamma.mp4", _scene(2))
    _write_clip(root / "video" / "val" / "delta.mp4", _scene(3))
    _write_clip(root / "masks" / "davis" / "train" / "dog.mp4", _scene(4))
    _write_clip(root / "masks" / "davis" / "val" / "goat.mp4", _scene(5))
    (root / "video" / "clips.csv").write_text(
        "folder,file,licence\ntrain,alpha.mp4,CC0\ntrain,beta.mp4,CC0\nval,delta.mp4,CC0\n"
    )
    (root / "video" / "captions.csv").write_text(
        'folder,file,caption\ntrain,alpha.mp4,"Alpha, in patches."\n'
    )
    return root


# Reading


def test_frames_come_in_order_as_rgb(tmp_path: Path) -> None:
    red = np.zeros((4, HEIGHT, WIDTH, 3), np.uint8)
    red[..., 0] = 200
    library = open_library(_folder_of(tmp_path, {"b": _levels(9), "a": red}))
    assert [shot.clip for shot in library.train] == ["a", "b"], "by name, however they were decoded"
    first, second = library.train
    assert first.frames.dtype == np.uint8 and first.frames.shape == (4, HEIGHT, WIDTH, 3)
    assert first.frames[..., 0].mean() > 180 and first.frames[..., 1:].mean() < 20
    np.testing.assert_allclose(second.frames.mean((1, 2, 3)), 8 * np.arange(9), atol=4)
    assert second.fps == pytest.approx(8.0) and second.labels is None and second.caption is None


@pytest.mark.parametrize(("fps", "step"), [(24.0, 3), (15.0, 2), (8.0, 1), (5.0, 1)])
def test_faster_clips_are_thinned_to_about_max_fps(tmp_path: Path, fps: float, step: int) -> None:
    library = open_library(_folder_of(tmp_path, {"a": _levels(24)}, fps), max_fps=8.0)
    (shot,) = library.train
    assert shot.fps == pytest.approx(fps / step)
    np.testing.assert_allclose(shot.frames.mean((1, 2, 3)), 8 * np.arange(0, 24, step), atol=4)


def test_memory_holds_no_frames_that_were_thinned_out(tmp_path: Path) -> None:
    library = open_library(_folder_of(tmp_path, {"a": _levels(24)}, 24.0))
    frames = library.train[0].frames
    owner = frames if frames.base is None else frames.base
    assert owner.nbytes == 8 * HEIGHT * WIDTH * 3


def test_photographs_are_clips_that_stand_still(tmp_path: Path) -> None:
    picture = _scene(7)[0]
    cv2.imwrite(str(tmp_path / "a.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    cv2.imwrite(str(tmp_path / "b.JPG"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    library = open_library(_folder_of(tmp_path, {}))
    assert [shot.clip for shot in library.train] == ["a", "b"]
    np.testing.assert_array_equal(library.train[0].frames, picture[None])
    window = WindowSampler(library.train[:1], 32, 5).draw(np.random.default_rng(0))
    assert window.shape == (5, 32, 32, 3)
    assert (window == window[0]).all(), "one crop and one colour change for all frames"


@pytest.mark.parametrize("name", ["a.mp4", "a.jpg"])
def test_unreadable_files_are_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match=name):
        open_library(_folder_of(tmp_path, {}))


# Labels and captions


def test_davis_masks_are_unpacked_and_thinned_with_their_frames(tmp_path: Path) -> None:
    masks = np.random.default_rng(0).random((6, HEIGHT, WIDTH)) < 0.3
    assert WIDTH % 8, "bits at the end of a row that are not pixels"
    data = _shared_layout(tmp_path)
    davis = data / "masks" / "davis" / "train"
    _write_clip(davis / "dog.mp4", _scene(4, 6), fps=24.0)
    np.savez(davis / "dog_masks.npz", masks=np.packbits(masks, -1), shape=masks.shape)
    library = open_library(data, folders=("train", "davis"))
    shot = next(shot for shot in library.train if shot.clip == "dog")
    np.testing.assert_array_equal(shot.labels, masks[::3])
    assert shot.labels.dtype == np.uint8
    assert "davis/train: 1 clips, BSD (fperazzi/davis)" in library.sources


def test_simulated_scenes_bring_labels_and_captions(tmp_path: Path) -> None:
    for suffix in (".mp4", ".txt", "_masks.npz"):
        path = sample_path("tumble")
        shutil.copy(path.with_name(f"tumble{suffix}"), tmp_path)
    library = open_library(_folder_of(tmp_path, {}))
    (shot,) = library.train
    labels, _ = sample_masks("tumble")
    np.testing.assert_array_equal(shot.labels, labels[::2])
    assert shot.frames.shape[:3] == shot.labels.shape and shot.fps == pytest.approx(8.0)
    assert shot.caption == sample_caption("tumble")


def test_labels_are_split_where_frames_are(tmp_path: Path) -> None:
    frames = np.concatenate([_scene(1, 12), _scene(2, 8)])
    labels = np.repeat(np.arange(20, dtype=np.uint8), HEIGHT * WIDTH).reshape(20, HEIGHT, WIDTH)
    folder = _folder_of(tmp_path, {"a": frames}, fps=16.0)
    np.savez(folder / "a_masks.npz", labels=labels)
    (folder / "a.txt").write_text("Two scenes.\n")
    first, second = open_library(folder).train
    assert first.labels[:, 0, 0].tolist() == [0, 2, 4, 6, 8, 10]
    assert second.labels[:, 0, 0].tolist() == [12, 14, 16, 18]
    assert len(first.frames) == 6 and len(second.frames) == 4
    assert first.caption == second.caption == "Two scenes."


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": np.zeros((9, HEIGHT, WIDTH), np.uint8)}, "masks of every frame"),
        ({"labels": np.zeros((10, WIDTH, HEIGHT), np.uint8)}, "in its size"),
        ({"nothing": np.zeros(3)}, "give `labels`, or packed `masks`"),
        ({"masks": np.zeros((10, HEIGHT, 9), np.uint8)}, "and their `shape`"),
    ],
)
def test_masks_that_do_not_fit_are_refused(tmp_path: Path, arrays: dict, message: str) -> None:
    folder = _folder_of(tmp_path, {"a": _scene(1, 10)})
    np.savez(folder / "a_masks.npz", **arrays)
    with pytest.raises(InputError, match=message):
        open_library(folder)


def test_a_mask_file_of_something_else_is_refused(tmp_path: Path) -> None:
    folder = _folder_of(tmp_path, {"a": _scene(1, 10)})
    (folder / "a_masks.npz").write_bytes(b"not an archive")
    with pytest.raises(InputError, match=r"a_masks\.npz cannot be read"):
        open_library(folder)


# What is trained on, and what is measured on


def test_a_plain_folder_keeps_every_tenth_clip_for_measuring(tmp_path: Path) -> None:
    for k in range(21):
        _write_clip(tmp_path / "deep" / f"{k:02}.mp4", _scene(k, 2))
    library = open_library(tmp_path)
    assert [shot.clip for shot in library.val] == ["09", "19"]
    assert len(library.train) == 19
    assert not {s.clip for s in library.train} & {s.clip for s in library.val}
    assert library.sources == ("deep: 19 clips, licence not stated",)
    assert library.path == tmp_path


def test_a_small_folder_keeps_its_last_clip(tmp_path: Path) -> None:
    files = list_media(_folder_of(tmp_path, {"a": _scene(1), "b": _scene(2)}))
    assert [file.stem for file in files.train] == ["a", "b"]
    assert [file.stem for file in files.val] == ["zz-held-out"]


@pytest.mark.parametrize("clips", [0, 1])
def test_too_few_clips_are_refused(tmp_path: Path, clips: int) -> None:
    for k in range(clips):
        _write_clip(tmp_path / f"{k}.mp4", _scene(k))
    with pytest.raises(InputError, match="one to train on, and another to measure on"):
        open_library(tmp_path)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder and no pack"):
        open_library(tmp_path / "missing")


def test_shared_layout_never_mixes_val_into_training(tmp_path: Path) -> None:
    data = _shared_layout(tmp_path)
    library = open_library(data, folders=("train", "train_extra", "davis"))
    assert [shot.clip for shot in library.train] == ["alpha", "beta", "gamma", "dog"]
    assert [shot.clip for shot in library.val] == ["delta"]
    assert library.sources == (
        "davis/train: 1 clips, BSD (fperazzi/davis)",
        "train: 2 clips, CC0",
        "train_extra: 1 clips, licence not stated",
    )
    assert [shot.caption for shot in library.train][:2] == ["Alpha, in patches.", None]
    with pytest.raises(InputError, match="for measuring only"):
        open_library(data, folders=("train", "val"))
    with pytest.raises(InputError, match="'missing'"):
        open_library(data, folders=("missing",))


def test_no_recipe_trains_on_what_is_measured_on() -> None:
    """Nor on what only other folders hold: those of `shared/data` that shipped weights may use."""
    for name in RECIPES:
        assert set(find_recipe(name).folders) <= {"train", "train_extra", "davis"}, name


def test_no_shared_clip_is_in_both_halves() -> None:
    if not (default_data() / "video").is_dir():
        pytest.skip("no shared/data beside this checkout")
    files = list_media(default_data(), ("train", "train_extra", "davis"))
    assert not set(files.train) & set(files.val)
    assert not {f.name for f in files.train} & {f.name for f in files.val}
    # DAVIS sequences are in `video` under the name of the repository that has them.
    davis = {f.stem for f in files.train if f.parent.parent.name == "davis"}
    assert not {f.stem for f in files.val if f.stem.partition("-")[2] in davis}


def test_a_pack_opens_with_what_lies_beside_its_clips(tmp_path: Path) -> None:
    _write_clip(tmp_path / "a.mp4", _scene(1))
    _write_clip(tmp_path / "b.mp4", _scene(2))
    index = {"train": ["clips/a.mp4"], "val": ["clips/b.mp4"], "sources": ["train: 1, CC0"]}
    with zipfile.ZipFile(tmp_path / "x.pack", "w") as archive:
        archive.writestr("pack.json", json.dumps(index))
        archive.writestr("clips/a.txt", "Patches.")
        for name in "ab":
            archive.write(tmp_path / f"{name}.mp4", f"clips/{name}.mp4")
    library = open_library(tmp_path / "x.pack")
    assert [(s.clip, s.caption) for s in library.train] == [("a", "Patches.")]
    assert [s.clip for s in library.val] == ["b"]
    assert library.sources == ("train: 1, CC0",)


@pytest.mark.parametrize("kind", ["missing", "broken", "foreign"])
def test_what_is_no_pack_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.pack"
    if kind == "broken":
        path.write_bytes(b"PK no more")
    if kind == "foreign":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("other.txt", "")
    with pytest.raises(InputError, match=r"x\.pack is not a pack"):
        open_library(path)


# Cuts


def test_hard_cuts_are_found() -> None:
    frames = np.concatenate([_scene(1, 8), _scene(2, 5), _scene(3, 9)])
    assert find_cuts(frames) == [8, 13]
    shots = split_at_cuts(Shot("a", frames, 8.0))
    assert [len(shot.frames) for shot in shots] == [8, 5, 9]
    np.testing.assert_array_equal(np.concatenate([shot.frames for shot in shots]), frames)


@pytest.mark.parametrize("at", [1, 9])
def test_a_cut_next_to_an_end_is_found(at: int) -> None:
    assert find_cuts(np.concatenate([_scene(1, at), _scene(2, 10 - at)])) == [at]


def test_one_frame_has_no_cut() -> None:
    assert find_cuts(_scene(1, 1)) == []


@pytest.mark.parametrize("length", [1, 2])
@pytest.mark.parametrize("gain", [2.0, 4.0])
def test_a_flash_is_no_cut(length: int, gain: float) -> None:
    frames = _scene(1, 14)
    lit = np.clip(frames[6 : 6 + length] * gain + 60, 0, 255)
    frames[6 : 6 + length] = lit.astype(np.uint8)
    assert find_cuts(frames) == []


@pytest.mark.parametrize("through_black", [False, True])
def test_a_fade_is_no_cut(through_black: bool) -> None:
    before, after = _scene(1, 16).astype(float), _scene(2, 16).astype(float)
    share = np.clip((np.arange(16) - 4) / 8, 0, 1)[:, None, None, None]
    if through_black:
        mixed = np.clip(1 - 2 * share, 0, 1) * before + np.clip(2 * share - 1, 0, 1) * after
    else:
        mixed = (1 - share) * before + share * after
    assert find_cuts(mixed.astype(np.uint8)) == []


def test_a_whip_pan_is_no_cut() -> None:
    """A third of the width a frame: after three frames nothing of the picture is left."""
    panorama = np.concatenate([_scene(seed, 1)[0] for seed in range(6)], axis=1)
    steps = np.arange(0, panorama.shape[1] - WIDTH, WIDTH // 3)
    frames = np.stack([panorama[:, left : left + WIDTH] for left in steps])
    assert np.abs(frames[0].astype(int) - frames[1]).mean() > 20, "neighbours differ a lot"
    assert find_cuts(frames) == []


def test_a_cut_between_moving_shots_is_found() -> None:
    """Motion hides no cut: the colours move a tenth of the width a frame, and then are others."""
    pans = []
    for first in (0, 6):
        wide = np.concatenate([_scene(seed, 1)[0] for seed in (first, first, first)], axis=1)
        pans.append(np.stack([wide[:, 7 * k : 7 * k + WIDTH] for k in range(8)]))
    assert find_cuts(np.concatenate(pans)) == [8]


def test_cuts_of_real_clips(tmp_path: Path) -> None:
    """One clip has a cut; the others are those that come nearest to having one."""
    folder = default_data() / "video" / "train"
    names = {"amazon-sci-audi-snow-trail": 2, "amazon-sci-airbrush-painting": 1}
    names |= {"facebookre-07-snowboarder": 1, "mathlee-motocross-jump": 1}
    if not folder.is_dir():
        pytest.skip("no shared/data beside this checkout")
    for name in names:
        shutil.copy(folder / f"{name}.mp4", tmp_path)
    shots = open_library(_folder_of(tmp_path, {})).train
    assert {name: sum(shot.clip == name for shot in shots) for name in names} == names


# Windows


def _coordinates(height: int, width: int, count: int = 1) -> Frames:
    """Red says the column, green the row, blue the time: where a window was taken shows."""
    frames = np.empty((count, height, width, 3), np.uint8)
    frames[..., 0] = np.arange(width)
    frames[..., 1] = np.arange(height)[:, None]
    frames[..., 2] = np.arange(count)[:, None, None]
    return frames


def test_windows_keep_size_and_type() -> None:
    sampler = WindowSampler([Shot("a", _scene(1, 20), 8.0), Shot("b", _scene(2, 1), 8.0)], 40, 4)
    batch = sampler.batch(6, np.random.default_rng(0))
    assert batch.shape == (6, 4, 40, 40, 3) and batch.dtype == np.uint8
    window = sampler.draw(np.random.default_rng(0))
    assert window.flags.c_contiguous, "torch takes no negative strides"


def test_a_batch_is_its_key_alone() -> None:
    sampler = WindowSampler([Shot("a", _scene(1, 20), 8.0), Shot("b", _scene(2, 20), 8.0)], 32, 3)
    first = sampler.batch(4, np.random.default_rng([7777, 12]))
    sampler.batch(9, np.random.default_rng([7777, 13]))  # what was drawn in between changes nothing
    again = sampler.batch(4, np.random.default_rng([7777, 12]))
    other = sampler.batch(4, np.random.default_rng([7777, 13]))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("speed", [1, -1, 2, -2])
def test_time_runs_at_the_speed_asked_for(speed: int) -> None:
    shot = Shot("a", _coordinates(40, 40, 20), 8.0)
    augment = Augment(scale=(1.0, 1.0), speeds=(speed,), colour=0.0)
    sampler = WindowSampler([shot], 40, 4, augment)
    starts = set()
    for seed in range(60):
        times = sampler.draw(np.random.default_rng(seed))[:, 0, 0, 2].astype(int)
        assert np.diff(times).tolist() == [speed] * 3
        starts.add(int(times.min()))
    assert min(starts) == 0 and max(starts) == 20 - 3 * abs(speed) - 1, "the whole shot is used"


def test_both_directions_and_speeds_are_drawn() -> None:
    sampler = WindowSampler([Shot("a", _coordinates(40, 40, 20), 8.0)], 40, 3, Augment(colour=0.0))
    steps = [
        int(np.diff(sampler.draw(np.random.default_rng(seed))[:, 0, 0, 2].astype(int))[0])
        for seed in range(400)
    ]
    for speed in (1, -1, 2, -2):  # 400 draws at 1/4: 100, sigma 8.7
        assert abs(steps.count(speed) - 100) < 5 * 8.7


def test_a_short_shot_is_shown_at_speeds_that_fit() -> None:
    sampler = WindowSampler([Shot("a", _coordinates(40, 40, 4), 8.0)], 40, 4, Augment(colour=0.0))
    for seed in range(20):
        times = sampler.draw(np.random.default_rng(seed))[:, 0, 0, 2].tolist()
        assert times in ([0, 1, 2, 3], [3, 2, 1, 0])


def test_half_of_the_windows_are_mirrored() -> None:
    shots = [Shot("a", _coordinates(40, 40), 8.0)]
    sampler = WindowSampler(shots, 40, 1, Augment(scale=(1.0, 1.0), colour=0.0))
    windows = [sampler.draw(np.random.default_rng(seed))[0, :, :, 0] for seed in range(200)]
    mirrored = sum(int(w[0, 0]) > int(w[0, -1]) for w in windows)
    assert abs(mirrored - 100) < 5 * 7.1  # sigma of 200 fair coins
    straight = WindowSampler(shots, 40, 1, STILL).draw(np.random.default_rng(0))
    np.testing.assert_array_equal(straight, shots[0].frames)


def test_crops_are_as_large_as_asked_and_everywhere() -> None:
    shot = Shot("a", _coordinates(200, 240), 8.0)
    augment = Augment(scale=(0.5, 0.8), colour=0.0, flip=False)
    sampler = WindowSampler([shot], 64, 1, augment)
    sides, lefts, tops = [], [], []
    for seed in range(300):
        window = sampler.draw(np.random.default_rng(seed))[0].astype(int)
        # Of a ramp, columns of a 64 wide picture of `side` columns are side / 64 apart.
        sides.append((window[0, -4, 0] - window[0, 3, 0]) * 64 / 57)
        lefts.append(window[0, 0, 0])
        tops.append(window[0, 0, 1])
        vertical = (window[-4, 0, 1] - window[3, 0, 1]) * 64 / 57
        assert abs(sides[-1] - vertical) < 4, "squares stay squares"
    assert min(sides) > 98 and max(sides) < 162
    assert min(sides) < 108 and max(sides) > 152
    assert min(lefts) < 15 and max(lefts) > 120 and min(tops) < 15 and max(tops) > 75


def test_nothing_is_enlarged_by_more_than_a_quarter_where_there_is_more_to_show() -> None:
    shot = Shot("a", _coordinates(100, 100), 8.0)
    sampler = WindowSampler([shot], 100, 1, Augment(scale=(0.1, 0.1), colour=0.0, flip=False))
    for seed in range(20):
        window = sampler.draw(np.random.default_rng(seed))[0].astype(int)
        assert abs((window[0, 80, 0] - window[0, 20, 0]) - 60 * 0.8) <= 2


def test_a_shot_smaller_than_the_window_is_enlarged_whole() -> None:
    shot = Shot("a", _coordinates(30, 40), 8.0)
    window = WindowSampler([shot], 64, 1).draw(np.random.default_rng(0))
    assert window.shape == (1, 64, 64, 3)


def test_colours_change_alike_in_all_frames_and_not_always() -> None:
    frames = np.repeat(_scene(1, 1, 40, 40), 6, axis=0)
    augment = Augment(scale=(1.0, 1.0), flip=False, colour=0.2)
    sampler = WindowSampler([Shot("a", frames, 8.0)], 40, 4, augment)
    changed = []
    for seed in range(200):
        window = sampler.draw(np.random.default_rng(seed))
        assert (window == window[0]).all()
        changed.append(bool((window[0] != frames[0]).any()))
    assert abs(sum(changed) - 140) < 5 * 6.5  # three in ten are left as they are; sigma 6.5


def test_every_clip_has_the_same_chance_and_long_shots_have_more_of_it() -> None:
    shots = [
        Shot("long", _levels(16, 1, 40, 40), 8.0),
        Shot("long", 100 + _levels(4, 1, 40, 40), 8.0),
        Shot("short", 200 + _levels(2, 1, 40, 40), 8.0),
    ]
    sampler = WindowSampler(shots, 40, 1, STILL)
    drawn = [int(sampler.draw(np.random.default_rng(k)).flat[0]) // 100 for k in range(500)]
    assert abs(drawn.count(2) - 250) < 5 * 11.2
    assert abs(drawn.count(1) - 50) < 5 * 6.7, "a fifth of the long clip's frames"


def test_shots_that_are_too_short_are_left_out() -> None:
    shots = [Shot("a", _levels(3, 1, 40, 40), 8.0), Shot("b", 100 + _levels(9, 1, 40, 40), 8.0)]
    sampler = WindowSampler(shots, 40, 5, STILL)
    assert all(sampler.draw(np.random.default_rng(k)).min() >= 100 for k in range(20))
    with pytest.raises(InputError, match="No shot has 5 frames"):
        WindowSampler(shots[:1], 40, 5)


def _moving_object(count: int = 12) -> Shot:
    """A white disc, label 3, moves over black; labels say where exactly."""
    frames = np.zeros((count, 120, 160, 3), np.uint8)
    labels = np.zeros((count, 120, 160), np.uint8)
    for k in range(count):
        centre = (30 + 8 * k, 50 + 2 * k)
        frames[k] = cv2.circle(frames[k], centre, 25, (255, 255, 255), -1)
        labels[k] = cv2.circle(labels[k], centre, 25, 3, -1)
    return Shot("disc", frames, 8.0, labels)


@pytest.mark.parametrize("size", [48, 128])
def test_labels_follow_crop_scale_flip_and_time(size: int) -> None:
    sampler = WindowSampler([_moving_object()], size, 4, Augment(colour=0.1))
    seen = 0
    for seed in range(60):
        frames, labels = sampler.draw_labelled(np.random.default_rng(seed))
        assert frames.shape == (4, size, size, 3) and labels.shape == (4, size, size)
        assert labels.dtype == np.uint8 and labels.flags.c_contiguous
        assert set(np.unique(labels)) <= {0, 3}, "labels are numbers, and never blended"
        disagree = (frames[..., 1] > 127) != (labels == 3)
        assert disagree.mean() < 0.015, "but for the disc's rim"
        seen += bool((labels == 3).any())
    assert seen > 50


def test_labelled_windows_are_those_drawn_without_labels() -> None:
    sampler = WindowSampler([_moving_object()], 48, 4)
    for seed in range(5):
        frames, _ = sampler.draw_labelled(np.random.default_rng(seed))
        np.testing.assert_array_equal(frames, sampler.draw(np.random.default_rng(seed)))


def test_labels_of_a_shot_without_them_are_an_error() -> None:
    with pytest.raises(ValueError, match="a has no labels"):
        WindowSampler([Shot("a", _scene(1), 8.0)], 32).draw_labelled(np.random.default_rng(0))


# Held-out pictures


def test_centre_square_is_the_middle() -> None:
    frame = _coordinates(60, 100)[0]
    square = centre_square(frame, 60)
    np.testing.assert_array_equal(square, frame[:, 20:80])
    assert centre_square(frame, 30).shape == (30, 30, 3)
    assert abs(int(centre_square(frame, 30)[0, 0, 0]) - 20) <= 1


def test_held_out_frames_span_each_clip_evenly() -> None:
    shots = [
        Shot("a", _levels(6, 4, 40, 40), 8.0),
        Shot("a", 100 + _levels(5, 4, 40, 40), 8.0),
        Shot("b", _levels(2, 4, 40, 40), 8.0),
    ]
    pictures = held_out_frames(shots, 32, 3)
    assert list(pictures) == ["a", "b"]
    assert pictures["a"].shape == (3, 32, 32, 3)
    assert pictures["a"][:, 0, 0, 0].tolist() == [0, 20, 116]
    assert pictures["b"][:, 0, 0, 0].tolist() == [0, 4], "a short clip gives what it has"
    assert all(a < b for a, b in pairwise(pictures["a"][:, 0, 0, 0]))
