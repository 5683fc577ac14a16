"""What a receiver had, beside what was sent: pairs to train generators on.

    python -m training.received --data ../shared/data

Windows of training clips go through the real link (codec, code, modulation, noise, feedback) at
random SNR and rate; kept are the pictures that the receiver held at each frame, and where in which
clip the source frames are. The source pixels stay in the clips, so the file is small; `PairSampler`
puts the two together again.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from semcast.errors import InputError
from semcast.schemes import SCHEMES, symbols_per_frame
from training.data import PACK_SUFFIX, Library, Shot, recoloured

RECEIVED_NAME = "received.npz"
RECEIVED_PATH = Path("out") / "training" / RECEIVED_NAME

SIZE = 256
MIN_FRAMES = 8
WINDOWS_PER_CLIP = 3
WINDOW_FRAMES = 24
"""Of 93 clips, 15 MB on disk: fits a pack with the clips."""
HELD_OUT_FRAMES = 24
MAX_LEVEL_CHANGE = 4
HELD_OUT_SNR_DB = 10.0


@dataclass(frozen=True)
class WindowSpec:
    """Which frames of which shot, which square of them, and how they were sent.

    first, step: frame indices first, first + step, ... of the shot (step may be negative).
    top, left, side: the square, in pixels of the shot, scaled to SIZE.
    levels: mean red, green and blue of the four quarters of the first frame's square: tells whether
        the shot is still the one the window was made from.
    """

    clip: str
    shot: int
    first: int
    step: int
    num_frames: int
    top: int
    left: int
    side: int
    scheme: str
    snr_db: float
    cbr: float
    seed: int
    levels: list[float]


@dataclass(frozen=True)
class ReceivedWindow:
    """pictures: uint8 [F, h, w, 3], what the receiver held. ages: [F], frames since it came;
    -1 where nothing had come yet."""

    spec: WindowSpec
    pictures: NDArray[np.uint8]
    ages: NDArray[np.int16]


def source_frame(shot: Shot, spec: WindowSpec, index: int) -> NDArray[np.uint8]:
    """Frame `index` of a window, uint8 [SIZE, SIZE, 3]."""
    frame = shot.frames[spec.first + index * spec.step]
    square = frame[spec.top : spec.top + spec.side, spec.left : spec.left + spec.side]
    kind = cv2.INTER_AREA if spec.side > SIZE else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (SIZE, SIZE), interpolation=kind), np.uint8)


def _levels(shot: Shot, spec: WindowSpec) -> list[float]:
    quarters = cv2.resize(source_frame(shot, spec, 0), (2, 2), interpolation=cv2.INTER_AREA)
    return [float(level) for level in quarters.ravel()]


def belongs(shot: Shot | None, spec: WindowSpec) -> bool:
    """Whether a window was made from this shot. A pack's clips are trimmed: then it is too long.

    Raises InputError where the shot is another one than it was.
    """
    if shot is None:
        return False
    last = max(spec.first, spec.first + spec.step * (spec.num_frames - 1))
    if last >= len(shot.frames):
        return False
    if np.abs(np.subtract(_levels(shot, spec), spec.levels)).max() > MAX_LEVEL_CHANGE:
        raise InputError(
            f"The received windows of {spec.clip} were made from other frames than these: make "
            "them anew with 'python -m training.received'."
        )
    return True


def number_shots(shots: Sequence[Shot]) -> dict[tuple[str, int], Shot]:
    """Shots by clip and by number within the clip."""
    numbered: dict[tuple[str, int], Shot] = {}
    counts: dict[str, int] = {}
    for shot in shots:
        number = counts.get(shot.clip, 0)
        counts[shot.clip] = number + 1
        numbered[shot.clip, number] = shot
    return numbered


def draw_spec(
    rng: np.random.Generator, key: tuple[str, int], shot: Shot, scheme: str, max_frames: int
) -> WindowSpec:
    """A random window of a shot with at least MIN_FRAMES frames.

    The SNR is uniform over -5..20 dB, the CBR log-uniform over 0.001..0.008.
    """
    length = len(shot.frames)
    num_frames = min(max_frames, length)
    backwards = rng.random() < 0.5
    first = int(rng.integers(length - num_frames + 1))
    height, width = shot.frames.shape[1:3]
    short = min(height, width)
    side = round(short * float(rng.uniform(0.75, 1.0)))
    spec = WindowSpec(
        clip=key[0],
        shot=key[1],
        first=first + num_frames - 1 if backwards else first,
        step=-1 if backwards else 1,
        num_frames=num_frames,
        top=int(rng.integers(height - side + 1)),
        left=int(rng.integers(width - side + 1)),
        side=side,
        scheme=scheme,
        snr_db=round(float(rng.uniform(-5, 20)), 2),
        cbr=round(math.exp(rng.uniform(math.log(0.001), math.log(0.008))), 5),
        seed=int(rng.integers(1 << 31)),
        levels=[],
    )
    return replace(spec, levels=_levels(shot, spec))


def held_out_spec(key: tuple[str, int], shot: Shot, scheme: str) -> WindowSpec:
    """The beginning of a shot as `semcast send --snr-db 10` shows it: the centre square."""
    height, width = shot.frames.shape[1:3]
    side = min(height, width)
    spec = WindowSpec(
        clip=key[0],
        shot=key[1],
        first=0,
        step=1,
        num_frames=min(HELD_OUT_FRAMES, len(shot.frames)),
        top=(height - side) // 2,
        left=(width - side) // 2,
        side=side,
        scheme=scheme,
        snr_db=HELD_OUT_SNR_DB,
        cbr=SCHEMES[scheme].default_cbr,
        seed=7777,
        levels=[],
    )
    return replace(spec, levels=_levels(shot, spec))


def send_window(shot: Shot, spec: WindowSpec, fps: float = 8.0) -> ReceivedWindow:
    """Sends a window over the real link and keeps what the receiver held at each frame."""
    from channel_emulator.impairments import ChannelSettings, Emulator
    from semcast.link import LinkReceiver, LinkSender
    from semcast.semantics import Semantics
    from semcast.session import ChannelModel, Modality, SessionSetup

    setup = SessionSetup(
        session_id="training",
        generation=1,
        scheme=spec.scheme,
        width=SIZE,
        height=SIZE,
        fps=fps,
        seed=spec.seed,
        symbols_per_frame=symbols_per_frame(spec.cbr, SIZE, SIZE),
    )
    sender, receiver, emulator = LinkSender(setup), LinkReceiver(setup), Emulator(1)
    settings = ChannelSettings(model=ChannelModel.AWGN, snr_db=spec.snr_db, seed=spec.seed)
    held: NDArray[np.uint8] | None = None
    came = -1
    pictures, ages = [], []
    for k in range(spec.num_frames):
        sent = sender.encode(Semantics(source_frame(shot, spec, k)), round(1e6 * k / fps))
        noisy, _ = emulator.apply(sent.radio, settings)
        received = receiver.receive(noisy)
        sender.feedback(received.feedback)
        picture = received.came.pictures.get(Modality.LOWRES)
        if picture is not None:
            held, came = picture, k
        pictures.append(held)
        ages.append(k - came if held is not None else -1)
    shape = next((p.shape for p in pictures if p is not None), (8, 8, 3))
    filled = [np.full(shape, 128, np.uint8) if p is None else p for p in pictures]
    return ReceivedWindow(spec, np.stack(filled), np.asarray(ages, np.int16))


def save_windows(path: Path, windows: Sequence[ReceivedWindow]) -> None:
    """One npz: specs as JSON, pictures of all windows end to end."""
    arrays = {
        "specs": np.frombuffer(json.dumps([asdict(w.spec) for w in windows]).encode(), np.uint8)
    }
    for k, window in enumerate(windows):
        arrays[f"pictures_{k}"] = window.pictures
        arrays[f"ages_{k}"] = window.ages
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)


def load_windows(path: Path | io.BytesIO) -> list[ReceivedWindow]:
    """Raises InputError for a file that is not there or not ours."""
    try:
        with np.load(path) as arrays:
            specs = [WindowSpec(**s) for s in json.loads(arrays["specs"].tobytes())]
            return [
                ReceivedWindow(spec, arrays[f"pictures_{k}"], arrays[f"ages_{k}"])
                for k, spec in enumerate(specs)
            ]
    except (
        OSError,
        EOFError,
        LookupError,
        ValueError,
        TypeError,
        NotImplementedError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise InputError(
            f"No received windows to train on ({error}): make them with "
            "'python -m training.received'."
        ) from error


def windows_beside(data: Path) -> list[ReceivedWindow]:
    """The windows in a pack; or, for a folder of clips, those made into RECEIVED_PATH.

    Raises InputError where there are none.
    """
    if data.suffix != PACK_SUFFIX:
        return load_windows(RECEIVED_PATH)
    with zipfile.ZipFile(data) as archive:
        if RECEIVED_NAME not in archive.namelist():
            raise InputError(f"{data.name} holds no received windows: pack them with the recipe.")
        with archive.open(RECEIVED_NAME) as member:
            return load_windows(io.BytesIO(member.read()))


def windows_for(library: Library) -> list[ReceivedWindow]:
    """The windows that go with a library: those there are, or else made now and kept."""
    if library.path.suffix != PACK_SUFFIX and not RECEIVED_PATH.exists():
        tqdm.write(f"Sending every clip over the link, once; {RECEIVED_PATH} keeps what came.")
        save_windows(RECEIVED_PATH, windows_of(library))
    return windows_beside(library.path)


def windows_of(
    library: Library,
    scheme: str = "lowres",
    per_clip: int = WINDOWS_PER_CLIP,
    max_frames: int = WINDOW_FRAMES,
    seed: int = 7777,
) -> list[ReceivedWindow]:
    """Windows to train on, and those to measure on."""
    return [
        *make_windows(library.train, scheme, per_clip, max_frames, seed),
        *make_held_out_windows(library.val, scheme),
    ]


class PairSampler:
    """Draws (source frame, received picture) pairs, cropped alike."""

    def __init__(
        self,
        windows: Sequence[ReceivedWindow],
        shots: Sequence[Shot],
        size: int,
        condition_scale: int,
        colour: float = 0.0,
    ) -> None:
        """size: side of the crop of a SIZE frame; condition_scale: how much smaller the received
        picture is handed out; colour: strength of the change of colours, alike for both.

        Raises InputError where no window belongs to these shots."""
        self._shots = number_shots(shots)
        self._windows = [
            w
            for w in windows
            if (w.ages >= 0).any() and belongs(self._shots.get((w.spec.clip, w.spec.shot)), w.spec)
        ]
        if not self._windows:
            raise InputError("No received window belongs to these clips: make them anew.")
        self._size, self._scale, self._colour = size, condition_scale, colour

    def draw(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """uint8 [size, size, 3] and [size/scale, size/scale, 3]."""
        window = self._windows[rng.integers(len(self._windows))]
        index = int(rng.choice(np.flatnonzero(window.ages == 0)))
        shot = self._shots[window.spec.clip, window.spec.shot]
        source = source_frame(shot, window.spec, index)
        small = enlarge(window.pictures[index], SIZE // self._scale, SIZE // self._scale)
        step = 16
        room = (SIZE - self._size) // step
        top, left = (int(rng.integers(room + 1)) * step for _ in range(2))
        source = source[top : top + self._size, left : left + self._size]
        s = self._scale
        small = small[top // s : (top + self._size) // s, left // s : (left + self._size) // s]
        if rng.random() < 0.5:
            source, small = source[:, ::-1], small[:, ::-1]
        source, small = recoloured([source, small], self._colour, rng)
        return source, small


def enlarge(picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """A received picture at the size that a generator looks at, as receivers do it."""
    from receiver.diffusion.tiny import to_condition_size

    return to_condition_size(picture, width, height)


def make_windows(
    shots: Sequence[Shot], scheme: str, per_clip: int, max_frames: int, seed: int
) -> list[ReceivedWindow]:
    """`per_clip` windows of every clip, each sent at its own SNR and rate."""
    rng = np.random.default_rng(seed)
    numbered = number_shots(shots)
    by_clip: dict[str, list[tuple[str, int]]] = {}
    for key, shot in numbered.items():
        if len(shot.frames) >= MIN_FRAMES:
            by_clip.setdefault(key[0], []).append(key)
    windows = []
    for keys in tqdm(by_clip.values(), desc="sending", unit="clip"):
        for _ in range(per_clip):
            key = keys[rng.integers(len(keys))]
            spec = draw_spec(rng, key, numbered[key], scheme, max_frames)
            windows.append(send_window(numbered[key], spec))
    return windows


def make_held_out_windows(shots: Sequence[Shot], scheme: str) -> list[ReceivedWindow]:
    """One window of the first shot of each clip, all at HELD_OUT_SNR_DB and the default rate."""
    return [
        send_window(shot, held_out_spec(key, shot, scheme))
        for key, shot in number_shots(shots).items()
        if key[1] == 0 and len(shot.frames) >= MIN_FRAMES
    ]


def held_out_pairs(
    windows: Sequence[ReceivedWindow], shots: Sequence[Shot], frames_per_clip: int
) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """(source [n, SIZE, SIZE, 3], received [n, h, w, 3]) of each held-out clip, evenly spaced;
    of a window with fewer frames than n, some twice."""
    numbered = number_shots(shots)
    pairs = []
    for window in windows:
        shot = numbered.get((window.spec.clip, window.spec.shot))
        if shot is None or not belongs(shot, window.spec):
            continue
        length = window.spec.num_frames
        at = [max(0, length * (k + 1) // frames_per_clip - 1) for k in range(frames_per_clip)]
        source = np.stack([source_frame(shot, window.spec, k) for k in at])
        pairs.append((source, window.pictures[at]))
    return pairs


def main() -> None:
    """Command line; see the module docstring."""
    from training.data import open_library
    from training.run import default_data

    parser = argparse.ArgumentParser(description="Send training clips and keep what was received.")
    parser.add_argument("-o", type=Path, default=RECEIVED_PATH, help="npz to write")
    parser.add_argument("--data", type=Path, default=default_data())
    parser.add_argument("--scheme", default="lowres")
    parser.add_argument("--windows", type=int, default=WINDOWS_PER_CLIP, help="of each clip")
    parser.add_argument("--frames", type=int, default=WINDOW_FRAMES, help="of each window, at most")
    parser.add_argument("--seed", type=int, default=7777)
    arguments = parser.parse_args()
    library = open_library(arguments.data)
    windows = windows_of(
        library, arguments.scheme, arguments.windows, arguments.frames, arguments.seed
    )
    save_windows(arguments.o, windows)
    frames = sum(len(w.ages) for w in windows)
    print(f"{len(windows)} windows, {frames} frames: {arguments.o.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
