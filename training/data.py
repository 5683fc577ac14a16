"""Clips to train on: read, split at hard cuts, and drawn as cropped, timed, recoloured windows.

A source is a folder (videos, photographs, simulated scenes) or one pack file. Beside a clip
`NAME.mp4` may lie `NAME_masks.npz`, with object labels of every frame, and `NAME.txt`, its caption.
Everything is decoded once, through OpenCV, and kept as uint8 in memory; a batch is drawn from there
by a random generator that the caller keys by step, so the batch of step n is the same whatever was
drawn before it: that is what makes a resumed run exact.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from receiver.cuts import colour_distance
from receiver.cuts import colours as colours_of
from semcast.errors import InputError

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm")
PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png")
PACK_SUFFIX = ".pack"

TRAIN = "train"
VAL = "val"
DAVIS = "davis"
"""Folders of `shared/data`: `video/train`, `video/val`, and `masks/davis/train` with its masks."""

_DAVIS_LICENCE = "BSD (fperazzi/davis)"

_CUT_EXCESS = 0.27
_CUT_REACH = 3
"""How far the colours of two shots must lie apart, beyond what motion does within each; how many
frames on either side are compared. See `find_cuts`.

Chosen on `video/train` alone, seen as strips of 14 frames of every clip and frame by frame around
every large change. It has one hard cut (amazon-sci-audi-snow-trail, frame 68, excess 0.47); the
other 26 that `clips.csv` counts are fast motion and a time lapse, whose excess of 0.23 is the
largest without a cut. Found were 968 of 971 joints spliced between random clips (960 of 968 at half
the frame rate) and 8 of 32 between clips from one camera and one wall; 368 flashes of one or two
frames gave no cut, 800 fades over 4 to 12 frames gave one."""


@dataclass(frozen=True)
class Shot:
    """A stretch of one clip without a cut.

    frames: uint8 [F, H, W, 3], RGB. fps: frames a second. A photograph is a shot of one frame.
    labels: uint8 [F, H, W], 0 background and one number for each object throughout the clip, where
    the clip has masks. caption: a sentence, where there is one.
    """

    clip: str
    frames: NDArray[np.uint8]
    fps: float
    labels: NDArray[np.uint8] | None = None
    caption: str | None = None


def _read_video(path: Path, max_fps: float) -> tuple[NDArray[np.uint8], float, int, int]:
    """Frames, their rate, every how-many-th of the file they are, and how many the file has.

    Of a clip faster than `max_fps` every second, third... frame is read, to come nearest to it.
    Raises InputError for a file that OpenCV cannot read.
    """
    capture = cv2.VideoCapture(str(path))
    try:
        fps = capture.get(cv2.CAP_PROP_FPS) or 8.0
        step = max(1, round(fps / max_fps))
        frames = []
        count = 0
        while capture.grab():
            if count % step == 0:
                ok, bgr = capture.retrieve()
                if not ok:
                    break
                frames.append(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
            count += 1
    finally:
        capture.release()
    if not frames:
        raise InputError(f"{path.name} holds no frame that OpenCV can read: give a video file.")
    return np.stack(frames), fps / step, step, count


def find_cuts(frames: NDArray[np.uint8]) -> list[int]:
    """Indices of frames that begin a new shot after a hard cut; frames: [F, H, W, 3].

    At a cut, each of the three frames before it differs from each of the three after it, by more
    than any frame there differs from its own neighbour. Fast motion differs from frame to frame on
    both sides as well; after a flash the picture is as it was before; a fade is motion. Frames
    differ by the total variation (0 to 1) between the colours of their quarters.
    """
    colours = [colours_of(frame) for frame in frames]

    def distance(i: int, j: int) -> float:
        return colour_distance(colours[i], colours[j])

    count = len(frames)
    steps = [distance(k, k + 1) for k in range(count - 1)]
    cuts = []
    for k in range(1, count):
        if steps[k - 1] <= _CUT_EXCESS:
            continue
        first, last = max(0, k - _CUT_REACH), min(count, k + _CUT_REACH)
        across = min(distance(i, j) for i in range(first, k) for j in range(k, last))
        within = max([*steps[first : k - 1], *steps[k : last - 1]], default=0.0)
        if across - within > _CUT_EXCESS:
            cuts.append(k)
    return cuts


def split_at_cuts(shot: Shot) -> list[Shot]:
    """The shots of what may hold several, frames and labels alike."""
    edges = [0, *find_cuts(shot.frames), len(shot.frames)]
    return [
        replace(
            shot,
            frames=shot.frames[a:b],
            labels=None if shot.labels is None else shot.labels[a:b],
        )
        for a, b in itertools.pairwise(edges)
    ]


@dataclass(frozen=True)
class Library:
    """Shots to train on and shots to measure on.

    path: the pack or folder it was read from.
    sources: for the model card, a line per source folder: how many clips of which licence.
    """

    path: Path
    train: tuple[Shot, ...]
    val: tuple[Shot, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True)
class MediaFiles:
    """Which files of a data folder are for training, and which for measuring.

    captions: by file name, where a table has them. sources: as in `Library`.
    """

    train: tuple[Path, ...]
    val: tuple[Path, ...]
    captions: Mapping[str, str]
    sources: tuple[str, ...]


def open_library(path: Path, *, max_fps: float = 8.0, folders: Sequence[str] = (TRAIN,)) -> Library:
    """Reads a pack, or the files of a data folder that `list_media` names.

    max_fps: faster clips are thinned.
    Raises InputError where there is nothing to train or to measure on.
    """
    if path.suffix == PACK_SUFFIX:
        return _open_pack(path, max_fps)
    files = list_media(path, folders)
    return Library(
        path=path,
        train=_shots(files.train, max_fps, files.captions),
        val=_shots(files.val, max_fps, files.captions),
        sources=files.sources,
    )


def list_media(path: Path, folders: Sequence[str] = (TRAIN,)) -> MediaFiles:
    """The clips and photographs of a data folder.

    A folder is `shared/data`'s layout (`folders` names those to train on: of `video`, or `davis`;
    `video/val` is for measuring), or simply holds clips and photographs: every tenth of those, or
    else the last, is for measuring.
    Raises InputError where there is nothing to train or to measure on.
    """
    if not path.is_dir():
        raise InputError(f"{path.name} is no folder and no pack: give --data a folder of clips.")
    video = path / "video"
    captions: dict[str, str] = {}
    if (video / TRAIN).is_dir():
        if VAL in folders:
            raise InputError("video/val is for measuring only: name other folders to train on.")
        train_files = [file for name in folders for file in _media(_folder(path, name))]
        val_files = _media(_folder(path, VAL))
        captions = _column(video / "captions.csv", "caption")
    else:
        files = _media(path)
        val_files = files[9::10] or files[1:][-1:]
        train_files = [file for file in files if file not in val_files]
    if not train_files or not val_files:
        raise InputError(
            f"{path.name} holds too few clips: give one to train on, and another to measure on."
        )
    return MediaFiles(
        train=tuple(train_files),
        val=tuple(val_files),
        captions=captions,
        sources=_describe(train_files, _column(video / "clips.csv", "licence")),
    )


def _folder(data: Path, name: str) -> Path:
    folder = data / "masks" / DAVIS / TRAIN if name == DAVIS else data / "video" / name
    if not folder.is_dir():
        raise InputError(f"{data.name} has no folder for '{name}': {folder} is not there.")
    return folder


def _media(folder: Path) -> list[Path]:
    suffixes = (*VIDEO_SUFFIXES, *PHOTO_SUFFIXES)
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in suffixes)


def _shots(
    files: Sequence[Path], max_fps: float, captions: Mapping[str, str] | None = None
) -> tuple[Shot, ...]:
    """Shots of files, in the order of the files; OpenCV decodes several at a time."""

    def read(file: Path) -> list[Shot]:
        return _read_clip(file, max_fps, (captions or {}).get(file.name))

    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode") as pool:
        return tuple(itertools.chain.from_iterable(pool.map(read, files)))


def _read_clip(file: Path, max_fps: float, caption: str | None) -> list[Shot]:
    """The shots of a video, or a photograph, with the labels and the caption that lie beside it."""
    if file.suffix.lower() in PHOTO_SUFFIXES:
        bgr = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if bgr is None:
            raise InputError(f"{file.name} is not a picture that OpenCV can read.")
        frames = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)[None]
        fps, step, count = max_fps, 1, 1
    else:
        frames, fps, step, count = _read_video(file, max_fps)
    text = file.with_suffix(".txt")
    if text.is_file():
        caption = text.read_text(encoding="utf-8").strip()
    masks = file.with_name(f"{file.stem}_masks.npz")
    labels = None
    if masks.is_file():
        labels = _read_labels(masks)
        if labels.shape != (count, *frames.shape[1:3]):
            raise InputError(
                f"{masks.name} has masks of {labels.shape} and {file.name} has frames of "
                f"{(count, *frames.shape[1:3])}: give masks of every frame, in its size."
            )
        labels = labels[::step].copy()
    return split_at_cuts(Shot(file.stem, frames, fps, labels, caption))


def _read_labels(path: Path) -> NDArray[np.uint8]:
    """Labels [F, H, W] of a mask file.

    It has `labels`, as simulated scenes do, or one object's packed bits, `masks`, and their
    `shape`, as DAVIS does. Raises InputError for any other.
    """
    try:
        with np.load(path) as stored:
            if "labels" in stored:
                return np.asarray(stored["labels"], np.uint8)
            width = int(stored["shape"][-1])
            return np.unpackbits(stored["masks"], axis=-1, count=width)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path.name} cannot be read: give `labels`, or packed `masks` and their `shape`."
        ) from error


def _column(table: Path, name: str) -> dict[str, str]:
    """One column of `clips.csv` or `captions.csv` by file name; empty without the table."""
    if not table.is_file():
        return {}
    with table.open(newline="") as rows:
        return {row["file"]: row[name] for row in csv.DictReader(rows)}


def _describe(files: Sequence[Path], licences: Mapping[str, str]) -> tuple[str, ...]:
    """One line per folder and licence."""
    counts: dict[tuple[str, str], int] = {}
    for file in files:
        folder, licence = file.parent.name, licences.get(file.name, "licence not stated")
        if file.parent.parent.name == DAVIS:
            folder, licence = f"{DAVIS}/{folder}", _DAVIS_LICENCE
        counts[folder, licence] = counts.get((folder, licence), 0) + 1
    return tuple(
        f"{folder}: {count} clips, {licence}" for (folder, licence), count in sorted(counts.items())
    )


def _open_pack(path: Path, max_fps: float) -> Library:
    """A pack: `pack.json` and the media files it lists (see `training.pack`)."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)
            root = Path(folder)
            index = json.loads((root / "pack.json").read_text(encoding="utf-8"))
            train, val, sources = (index[name] for name in (TRAIN, VAL, "sources"))
        except (OSError, zipfile.BadZipFile, ValueError, KeyError) as error:
            raise InputError(f"{path.name} is not a pack: make one with training.pack.") from error
        return Library(
            path=path,
            train=_shots([root / name for name in train], max_fps),
            val=_shots([root / name for name in val], max_fps),
            sources=tuple(sources),
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


@dataclass(frozen=True)
class _Square:
    """Rows from `top`, columns from `left`, `side` of each; mirrored or not."""

    top: int
    left: int
    side: int
    flip: bool


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
        shot, times, square = self._place(rng)
        return self._recolour(self._cut(shot.frames, times, square), rng)

    def draw_labelled(
        self, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The window that `draw` gives, and its labels, uint8 [num_frames, size, size].

        Raises ValueError for a shot without labels: give the sampler those that have them.
        """
        shot, times, square = self._place(rng)
        if shot.labels is None:
            raise ValueError(f"{shot.clip} has no labels")
        frames = self._recolour(self._cut(shot.frames, times, square), rng)
        return frames, np.ascontiguousarray(self._cut(shot.labels, times, square))

    def batch(self, count: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        """uint8 [count, num_frames, size, size, 3]."""
        return np.stack([self.draw(rng) for _ in range(count)])

    def _place(self, rng: np.random.Generator) -> tuple[Shot, NDArray[np.intp], _Square]:
        """Where a window lies: the shot, the times of its frames, the square within them."""
        shots = self._clips[rng.integers(len(self._clips))]
        lengths = np.array([len(shot.frames) for shot in shots], float)
        shot = shots[rng.choice(len(shots), p=lengths / lengths.sum())]
        times = self._times(len(shot.frames), rng)
        height, width = shot.frames.shape[1:3]
        short = min(height, width)
        low, high = self._augment.scale
        # Enlarging blurs, and a codec should not learn blur: at most 1.25 times.
        side = int(
            np.clip(round(short * rng.uniform(low, high)), min(short, self._size / 1.25), short)
        )
        top = int(rng.integers(height - side + 1))
        left = int(rng.integers(width - side + 1))
        flip = bool(self._augment.flip and rng.random() < 0.5)
        return shot, times, _Square(top, left, side, flip)

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

    def _cut(
        self, planes: NDArray[np.uint8], times: NDArray[np.intp], square: _Square
    ) -> NDArray[np.uint8]:
        """The window of frames [F, H, W, 3] or labels [F, H, W]."""
        kind = cv2.INTER_AREA if square.side > self._size else cv2.INTER_CUBIC
        if planes.ndim == 3:
            kind = cv2.INTER_NEAREST_EXACT
        rows = slice(square.top, square.top + square.side)
        columns = slice(square.left, square.left + square.side)
        size = (self._size, self._size)
        out = np.stack(
            [cv2.resize(planes[k, rows, columns], size, interpolation=kind) for k in times]
        )
        return out[:, :, ::-1] if square.flip else out

    def _recolour(self, frames: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        return np.stack(recoloured(list(frames), self._augment.colour, rng))


def recoloured(
    pictures: Sequence[NDArray[np.uint8]], strength: float, rng: np.random.Generator
) -> list[NDArray[np.uint8]]:
    """The same change of light and colour for all pictures [H, W, 3]: a 3x4 affine map of RGB.

    strength: of brightness, contrast, saturation and tint; 0 changes nothing. Three times in ten
    nothing is changed anyway.
    """
    if not strength or rng.random() < 0.3:
        return [np.ascontiguousarray(picture) for picture in pictures]
    gain = 1 + strength * rng.uniform(-1, 1)
    lift = 255 * 0.5 * strength * rng.uniform(-1, 1)
    saturation = 1 + 1.5 * strength * rng.uniform(-1, 1)
    tint = 1 + 0.4 * strength * rng.uniform(-1, 1, 3)
    grey = np.outer(np.ones(3), [0.299, 0.587, 0.114])
    matrix = gain * np.diag(tint) @ (saturation * np.eye(3) + (1 - saturation) * grey)
    offset = 128 - matrix @ np.full(3, 128.0) + lift
    affine = np.c_[matrix, offset]
    return [cv2.transform(np.ascontiguousarray(picture), affine) for picture in pictures]


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
