"""Sketches to train on: what the bundled sketcher draws of every clip, in order, as it is sent.

A sketcher remembers what it drew a moment ago, so every shot is drawn from its first frame to its
last, once as the square that `semcast send` shows and, of shots to train on, once more as a square
within it. What was drawn is kept, by a digest of frames and sketcher: `sketches_of` draws what is
new alone.

    python -m training.sketches --data ../shared/data
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from semcast.errors import InputError
from semcast.networks.strokes import strokes_at
from semcast.weights import find_weights
from training.data import Shot, centre_square
from transmitter.extractors.sketcher import WEIGHTS, open_sketcher

SKETCHES_PATH = Path("out") / "training" / "sketches.npz"

SIDE = 256
"""Of the frames that are drawn: GVSC's."""

_ZOOM = (0.55, 0.9)
"""Side of the second square, as a share of the shot's short side."""

_SCALE = (0.7, 1.4)
"""How much larger or smaller a window of sketches is made, half of the time. Ours: beyond it, lines
lie closer or farther apart than any sketcher draws them."""

_FEWEST = 0.004
"""Share of a window's pixels that are to be line; an emptier one is drawn again, a few times."""
_TRIES = 6

_SAVED_EVERY = 32

Packed = NDArray[np.uint8]


@dataclass(frozen=True)
class SketchedShot:
    """Sketches of consecutive frames of one shot. packed: uint8 [F, SIDE, SIDE/8], bits of rows."""

    clip: str
    fps: float
    packed: Packed

    def strokes(self, index: int) -> NDArray[np.uint8]:
        """Sketch of a frame, uint8 [SIDE, SIDE] of 0 and 1."""
        return np.unpackbits(self.packed[index], axis=-1)


def sketches_of(
    shots: Sequence[Shot], kept: Path = SKETCHES_PATH, *, zoomed: bool
) -> list[SketchedShot]:
    """Every shot's centre square, drawn in order; zoomed: and a square within it, as another shot.

    kept: file of what was drawn before; it grows by what is new.
    """
    squares = [(shot, _whole(shot)) for shot in shots]
    if zoomed:
        squares += [(shot, _within(shot)) for shot in shots]
    drawn = _read(kept)
    sketcher = hashlib.sha256(find_weights(WEIGHTS).read_bytes()).digest()
    keys = [_digest(shot, square, sketcher) for shot, square in squares]
    new = {key: pair for key, pair in zip(keys, squares, strict=True) if key not in drawn}
    frames = sum(len(shot.frames) for shot, _ in new.values())
    with tqdm(total=frames, desc="sketching", unit="frame", disable=frames < 64) as bar:
        for count, (key, (shot, square)) in enumerate(new.items(), 1):
            drawn[key] = _drawn(shot, square, bar)
            if count % _SAVED_EVERY == 0 or count == len(new):
                _write(kept, drawn)
    return [
        SketchedShot(shot.clip, shot.fps, drawn[key])
        for key, (shot, _) in zip(keys, squares, strict=True)
    ]


class SketchSampler:
    """Draws windows of consecutive sketches; every clip has an equal chance."""

    def __init__(self, shots: Sequence[SketchedShot], size: int = SIDE) -> None:
        """size: side of a window, at most SIDE. Raises InputError where there is nothing to draw
        from."""
        if not 1 <= size <= SIDE:
            raise InputError(f"a window of sketches is 1 to {SIDE} pixels wide, not {size}")
        self._size = size
        self._by_clip: dict[str, list[SketchedShot]] = {}
        for shot in shots:
            self._by_clip.setdefault(shot.clip, []).append(shot)
        if not self._by_clip:
            raise InputError("No sketches to train on: give clips.")

    def batch(self, count: int, num_frames: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        """uint8 [count, num_frames, size, size] of 0 and 1.

        A window is one square of the sketches of consecutive frames, or of every second, in either
        direction; mirrored and scaled now and then.
        Raises InputError where no shot is long enough.
        """
        clips = [
            long
            for shots in self._by_clip.values()
            if (long := [shot for shot in shots if len(shot.packed) >= num_frames])
        ]
        if not clips:
            raise InputError(f"No shot has {num_frames} frames: give longer clips.")
        return np.stack([self._window(clips, num_frames, rng) for _ in range(count)])

    def _window(
        self,
        clips: Sequence[Sequence[SketchedShot]],
        num_frames: int,
        rng: np.random.Generator,
    ) -> NDArray[np.uint8]:
        for _ in range(_TRIES):
            shots = clips[rng.integers(len(clips))]
            shot = shots[rng.integers(len(shots))]
            window = self._cut(shot, _times(len(shot.packed), num_frames, rng), rng)
            if window.mean() >= _FEWEST:
                break
        return window

    def _cut(
        self, shot: SketchedShot, times: NDArray[np.intp], rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        scale = 1.0 if rng.random() < 0.5 else float(rng.uniform(*_SCALE))
        side = min(SIDE, round(self._size / scale))
        top, left = rng.integers(SIDE - side + 1, size=2)
        flip = -1 if rng.random() < 0.5 else 1
        return np.stack(
            [
                strokes_at(
                    shot.strokes(k)[top : top + side, left : left + side][:, ::flip],
                    self._size,
                    self._size,
                )
                for k in times
            ]
        )


def _times(length: int, num_frames: int, rng: np.random.Generator) -> NDArray[np.intp]:
    step = 2 if 2 * (num_frames - 1) < length and rng.random() < 0.5 else 1
    first = int(rng.integers(length - step * (num_frames - 1)))
    times = first + step * np.arange(num_frames)
    return times[::-1] if rng.random() < 0.5 else times


@dataclass(frozen=True)
class _Square:
    top: int
    left: int
    side: int


def _whole(shot: Shot) -> _Square:
    """The square that `semcast send` shows."""
    height, width = shot.frames.shape[1:3]
    side = min(height, width)
    return _Square((height - side) // 2, (width - side) // 2, side)


def _within(shot: Shot) -> _Square:
    """A smaller one, anywhere; the same for the same shot."""
    height, width = shot.frames.shape[1:3]
    rng = np.random.default_rng([len(shot.frames), *shot.clip.encode()])
    side = round(min(height, width) * rng.uniform(*_ZOOM))
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    return _Square(int(top), int(left), side)


def _drawn(shot: Shot, square: _Square, bar: tqdm[object]) -> Packed:
    sketcher = open_sketcher("bundled")
    rows = slice(square.top, square.top + square.side)
    columns = slice(square.left, square.left + square.side)
    sketches = []
    for frame in shot.frames:
        sketches.append(sketcher.sketch(centre_square(frame[rows, columns], SIDE)))
        bar.update()
    return np.packbits(np.stack(sketches), axis=-1)


def _digest(shot: Shot, square: _Square, sketcher: bytes) -> str:
    found = hashlib.sha256(sketcher)
    found.update(repr((shot.frames.shape, square)).encode())
    found.update(np.ascontiguousarray(shot.frames))
    return found.hexdigest()[:24]


def _read(path: Path) -> dict[str, Packed]:
    if not path.is_file():
        return {}
    with np.load(path) as stored:
        return {name: stored[name] for name in stored}


def _write(path: Path, drawn: Mapping[str, Packed]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"partial-{path.name}")
    with partial.open("wb") as file:
        np.savez_compressed(file, **drawn)  # type: ignore[arg-type]
    partial.replace(path)


def main() -> None:
    """Command line; see the module docstring."""
    from training.data import open_library
    from training.run import default_data

    parser = argparse.ArgumentParser(description="Draw sketches of all clips, and keep them.")
    parser.add_argument("--data", type=Path, default=default_data())
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    library = open_library(arguments.data)
    train = sketches_of(library.train, zoomed=True)
    val = sketches_of(library.val, zoomed=False)
    for name, shots in (("train", train), ("measure", val)):
        count = sum(len(shot.packed) for shot in shots)
        lines = np.mean([np.unpackbits(shot.packed).mean() for shot in shots])
        print(f"to {name} on: {count} sketches of {len(shots)} shots, {lines:.4f} of them line")


if __name__ == "__main__":
    main()
