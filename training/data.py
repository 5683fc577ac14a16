"""Clips to train on: read, split at hard cuts, cropped, scaled, flipped, slowed, reversed, recoloured.

A source is a folder (videos, photographs, scenes rendered by `training.pack`) or one pack file.
Everything is decoded once, through OpenCV, and kept as uint8 in memory; a batch is drawn from there
by a random generator that the caller keys by step, so the batch of step n is the same whatever was
drawn before it: that is what makes a resumed run exact.
"""

from __future__ import annotations

import csv
import itertools
import json
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from semcast.errors import InputError

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm")
PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png")
PACK_SUFFIX = ".pack"

TRAIN = "train"
VAL = "val"

_CUT_DISTANCE = 0.45
_CUT_RATIO = 2.5
"""A cut: colour histograms at least this far apart (total variation, 0 to 1), and this many times
farther than their neighbours in time. On `video/train` this finds the cuts that its index counts,
give or take a few."""


@dataclass(frozen=True)
class Shot:
    """A stretch of one clip without a cut.

    frames: uint8 [F, H, W, 3], RGB. fps: frames a second. A photograph is a shot of one frame.
    """

    clip: str
    frames: NDArray[np.uint8]
    fps: float


def read_frames(path: Path, max_frames: int | None = None) -> tuple[NDArray[np.uint8], float]:
    """All frames of a video, uint8 [F, H, W, 3], RGB, and their rate.

    Raises InputError for a file that OpenCV cannot read.
    """
    capture = cv2.VideoCapture(str(path))
    try:
        fps = capture.get(cv2.CAP_PROP_FPS) or 8.0
        frames = []
        while max_frames is None or len(frames) < max_frames:
            ok, bgr = capture.read()
            if not ok:
                break
            frames.append(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
    finally:
        capture.release()
    if not frames:
        raise InputError(f"{path.name} holds no frame that OpenCV can read: give a video file.")
    return np.stack(frames), fps


def find_cuts(frames: NDArray[np.uint8]) -> list[int]:
    """Indices of frames that begin a new shot after a hard cut; frames: [F, H, W, 3]."""
    if len(frames) < 3:
        return []
    histograms = []
    for frame in frames:
        small = cv2.resize(frame, (64, 64), interpolation=cv2.INTER_AREA).astype(np.int64) >> 5
        codes = (small[..., 0] << 6) | (small[..., 1] << 3) | small[..., 2]
        histograms.append(np.bincount(codes.ravel(), minlength=512) / codes.size)
    distance = 0.5 * np.abs(np.diff(np.stack(histograms), axis=0)).sum(1)
    cuts = []
    for k, value in enumerate(distance):
        around = np.r_[distance[max(0, k - 2) : k], distance[k + 1 : k + 3]]
        if value > _CUT_DISTANCE and value > _CUT_RATIO * np.median(around):
            cuts.append(k + 1)
    return cuts


def split_at_cuts(clip: str, frames: NDArray[np.uint8], fps: float) -> list[Shot]:
    """The shots of a clip."""
    edges = [0, *find_cuts(frames), len(frames)]
    return [Shot(clip, frames[a:b], fps) for a, b in itertools.pairwise(edges) if b > a]


def _thinned(
    frames: NDArray[np.uint8], fps: float, max_fps: float
) -> tuple[NDArray[np.uint8], float]:
    step = max(1, round(fps / max_fps))
    return frames[::step], fps / step


@dataclass(frozen=True)
class Library:
    """Shots to train on and shots to measure on.

    sources: for the model card, a line per source folder: how many clips of which licence.
    """

    train: tuple[Shot, ...]
    val: tuple[Shot, ...]
    sources: tuple[str, ...]


def open_library(path: Path, *, max_fps: float = 8.0, folders: Sequence[str] = (TRAIN,)) -> Library:
    """Reads a pack, or a data folder.

    A folder is `shared/data`'s layout (`video/train`, `video/val` and so on; `folders` names those
    to train on), or simply holds videos and photographs, of which every tenth is for measuring.
    max_fps: faster clips are thinned. Raises InputError where there is nothing to train on.
    """
    if path.suffix == PACK_SUFFIX:
        return _open_pack(path, max_fps)
    if not path.is_dir():
        raise InputError(f"{path.name} is no folder and no pack: give --data a folder of clips.")
    if (path / "video" / TRAIN).is_dir():
        parts = {name: sorted(_media(path / "video" / name)) for name in (*folders, VAL)}
        train_files = [file for name in folders for file in parts[name]]
        val_files = parts[VAL]
    else:
        files = sorted(_media(path))
        val_files = files[9::10]
        train_files = [file for file in files if file not in set(val_files)]
    if not train_files:
        raise InputError(f"{path.name} holds no video and no photograph to train on.")
    return Library(
        train=tuple(_shots(train_files, max_fps)),
        val=tuple(_shots(val_files, max_fps)),
        sources=_describe(train_files, path / "video" / "clips.csv"),
    )


def _media(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.suffix.lower() in (*VIDEO_SUFFIXES, *PHOTO_SUFFIXES):
            yield path


def _shots(files: Sequence[Path], max_fps: float) -> Iterator[Shot]:
    for file in files:
        if file.suffix.lower() in PHOTO_SUFFIXES:
            bgr = cv2.imread(str(file), cv2.IMREAD_COLOR)
            if bgr is None:
                raise InputError(f"{file.name} is not a picture that OpenCV can read.")
            yield Shot(file.stem, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)[None], max_fps)
            continue
        frames, fps = read_frames(file)
        for shot in split_at_cuts(file.stem, frames, fps):
            thinned, thinned_fps = _thinned(shot.frames, shot.fps, max_fps)
            yield Shot(shot.clip, thinned, thinned_fps)


def _describe(files: Sequence[Path], index: Path) -> tuple[str, ...]:
    """One line per folder and licence, from `clips.csv` where there is one."""
    licences: dict[str, str] = {}
    if index.is_file():
        with index.open(newline="") as rows:
            licences = {row["file"]: row["licence"] for row in csv.DictReader(rows)}
    counts: dict[tuple[str, str], int] = {}
    for file in files:
        key = (file.parent.name, licences.get(file.name, "licence not stated"))
        counts[key] = counts.get(key, 0) + 1
    return tuple(
        f"{folder}: {count} clips, {licence}" for (folder, licence), count in sorted(counts.items())
    )


def _open_pack(path: Path, max_fps: float) -> Library:
    """A pack: `pack.json` and the media files it lists (see `training.pack`)."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
        index = json.loads(archive.read("pack.json"))
        archive.extractall(folder)
        root = Path(folder)
        return Library(
            train=tuple(_shots([root / name for name in index[TRAIN]], max_fps)),
            val=tuple(_shots([root / name for name in index[VAL]], max_fps)),
            sources=tuple(index["sources"]),
        )


@dataclass(frozen=True)
class Augment:
    """How a training window is drawn from a shot.

    scale: side of the square crop, as a share of the shot's short side, drawn from this range.
    speeds: frames of the shot per frame of the window; negative runs backwards.
    colour: strength of brightness, contrast, saturation and hue changes; 0 is none.
    """

    scale: tuple[float, float] = (0.5, 1.0)
    speeds: tuple[int, ...] = (1, -1, 2, -2)
    colour: float = 0.2
    flip: bool = True


class WindowSampler:
    """Draws windows of `num_frames` squares of `size` pixels; every clip has an equal chance."""

    def __init__(
        self, shots: Sequence[Shot], size: int, num_frames: int = 1, augment: Augment | None = None
    ) -> None:
        """Raises InputError if no shot is long enough (photographs stand still for ever)."""
        self._size = size
        self._num_frames = num_frames
        self._augment = augment or Augment()
        usable = [s for s in shots if len(s.frames) == 1 or len(s.frames) >= num_frames]
        if not usable:
            raise InputError(f"No shot has {num_frames} frames: give longer clips.")
        by_clip: dict[str, list[Shot]] = {}
        for shot in usable:
            by_clip.setdefault(shot.clip, []).append(shot)
        self._clips = list(by_clip.values())

    def draw(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        """One window, uint8 [num_frames, size, size, 3]."""
        shots = self._clips[rng.integers(len(self._clips))]
        lengths = np.array([len(shot.frames) for shot in shots], float)
        shot = shots[rng.choice(len(shots), p=lengths / lengths.sum())]
        frames = shot.frames[self._times(len(shot.frames), rng)]
        return self._recolour(self._crop(frames, rng), rng)

    def batch(self, count: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        """uint8 [count, num_frames, size, size, 3]."""
        return np.stack([self.draw(rng) for _ in range(count)])

    def _times(self, length: int, rng: np.random.Generator) -> NDArray[np.intp]:
        count = self._num_frames
        if length == 1:
            return np.zeros(count, np.intp)
        speeds = [s for s in self._augment.speeds if (count - 1) * abs(s) < length]
        speed = int(rng.choice(speeds)) if speeds else 1
        span = (count - 1) * abs(speed)
        start = int(rng.integers(length - span))
        times = start + abs(speed) * np.arange(count)
        return times[::-1] if speed < 0 else times

    def _crop(self, frames: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        height, width = frames.shape[1:3]
        short = min(height, width)
        low, high = self._augment.scale
        # Enlarging blurs, and a codec should not learn blur: at most 1.25 times.
        side = int(
            np.clip(round(short * rng.uniform(low, high)), min(short, self._size / 1.25), short)
        )
        top = int(rng.integers(height - side + 1))
        left = int(rng.integers(width - side + 1))
        flip = self._augment.flip and rng.random() < 0.5
        kind = cv2.INTER_AREA if side > self._size else cv2.INTER_CUBIC
        out = np.empty((len(frames), self._size, self._size, 3), np.uint8)
        for k, frame in enumerate(frames):
            square = frame[top : top + side, left : left + side]
            out[k] = cv2.resize(square, (self._size, self._size), interpolation=kind)
        return out[:, :, ::-1] if flip else out

    def _recolour(self, frames: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """The same change for all frames: a 3x4 affine map of RGB."""
        strength = self._augment.colour
        if not strength or rng.random() < 0.3:
            return np.ascontiguousarray(frames)
        gain = 1 + strength * rng.uniform(-1, 1)
        lift = 255 * 0.5 * strength * rng.uniform(-1, 1)
        saturation = 1 + 1.5 * strength * rng.uniform(-1, 1)
        tint = 1 + 0.4 * strength * rng.uniform(-1, 1, 3)
        grey = np.outer(np.ones(3), [0.299, 0.587, 0.114])
        matrix = gain * np.diag(tint) @ (saturation * np.eye(3) + (1 - saturation) * grey)
        offset = 128 - matrix @ np.full(3, 128.0) + lift
        affine = np.c_[matrix, offset]
        return np.stack([cv2.transform(np.ascontiguousarray(f), affine) for f in frames])


def centre_square(frame: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The square that `semcast send --size N` shows: covered, then cropped at the centre."""
    height, width = frame.shape[:2]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    square = frame[top : top + short, left : left + short]
    kind = cv2.INTER_AREA if short > size else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (size, size), interpolation=kind), np.uint8)


def held_out_frames(
    shots: Sequence[Shot], size: int, frames_per_clip: int
) -> dict[str, NDArray[np.uint8]]:
    """Evenly spaced centre squares of each clip, uint8 [n, size, size, 3]."""
    by_clip: dict[str, list[NDArray[np.uint8]]] = {}
    for shot in shots:
        by_clip.setdefault(shot.clip, []).extend(shot.frames)
    chosen = {}
    for clip, frames in by_clip.items():
        at = np.unique(np.linspace(0, len(frames) - 1, frames_per_clip).round().astype(int))
        chosen[clip] = np.stack([centre_square(frames[k], size) for k in at])
    return chosen
