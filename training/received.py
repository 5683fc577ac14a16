"""What a receiver had at each frame, beside what was sent: windows to train generators on.

    python -m training.received --folders train,davis

Windows of training clips go through the real extractors, codecs, code, modulation, noise and
feedback, at random SNR and rate. One window is sent several times, by schemes that between them
send all there is; what the receiver had of each is joined, and training leaves parts out again, so
that any subset is seen. Source pixels stay in the clips (`training.windows.source_frame`).

The file is an npz: `specs`, JSON of each window's spec and captions; of each window, by its number
N, `N.ages` and `N.snr_db` of its frames; and of each kind of plane or picture `N.KIND`, those that
differ from the one before, and `N.KIND.at`, which of these each frame has (-1 for none).
"""

from __future__ import annotations

import argparse
import io
import json
import math
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from receiver.generator import Conditions, PassthroughGenerator
from semcast.errors import InputError
from semcast.schemes import find_scheme, symbols_per_frame
from semcast.session import Modality, SessionSetup
from training.data import PACK_SUFFIX, TRAIN, Library, Shot, open_library
from training.run import default_data
from training.windows import (
    MIN_FRAMES,
    SIZE,
    WindowSpec,
    belongs,
    draw_spec,
    held_out_spec,
    number_shots,
    source_frame,
)

RECEIVED_NAME = "received.npz"
RECEIVED_PATH = Path("out") / "training" / RECEIVED_NAME

WINDOWS_PER_CLIP = 2
WINDOW_FRAMES = 24
FPS = 8.0
HELD_OUT_CBRS = (0.001, 0.004)

KEY_PICTURES, SKETCHES = "first-frame-desc", "sketches-desc"
"""Schemes that a window is sent by as well, for the key pictures or the sketches alone."""

_SCHEMES = {"contours-lowres": 0.6, "contours,sketch,lowres": 0.25, "lowres": 0.15}
"""Schemes of each window's first sending, and how often."""

_KEY_PICTURES_SHARE = 0.4
_SKETCHES_SHARE = 0.2
_PICTURES = (Modality.LOWRES, Modality.KEYFRAME)
_PLANES = ("labels", "sketch")

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class ReceivedWindow:
    """conditions: of each frame of the window that `spec` places in its shot. Motion is not kept.

    A picture or plane that is held is the same array at each frame, as it is at a receiver.
    """

    spec: WindowSpec
    conditions: tuple[Conditions, ...]


def send_window(shot: Shot, spec: WindowSpec, more_schemes: Sequence[str] = ()) -> ReceivedWindow:
    """Sends a window by its scheme at its rate; and by others, each at its own."""
    runs = [_send(shot, spec, spec.scheme, spec.cbr)]
    runs += [_send(shot, spec, name, find_scheme(name).default_cbr) for name in more_schemes]
    return ReceivedWindow(spec, tuple(joined(of_frame) for of_frame in zip(*runs, strict=True)))


def _send(shot: Shot, spec: WindowSpec, scheme: str, cbr: float) -> list[Conditions]:
    # Only where windows are made: a lent machine, which reads them, has no codecs.
    from channel_emulator.impairments import ChannelSettings, Emulator
    from receiver.session import ReceiverSession
    from semcast.link import LinkSender
    from semcast.parts.learned import codec_weights
    from transmitter.extraction import Extraction, ExtractorNames

    found = find_scheme(scheme)
    setup = SessionSetup(
        session_id="training",
        generation=1,
        scheme=scheme,
        width=SIZE,
        height=SIZE,
        fps=FPS,
        seed=spec.seed,
        symbols_per_frame=symbols_per_frame(cbr, SIZE, SIZE),
        codec_weights=codec_weights(found.learned),
    )
    sender, emulator = LinkSender(setup), Emulator(1)
    receiver = ReceiverSession(setup, PassthroughGenerator())
    extraction = Extraction(found, setup, shot.caption or "", ExtractorNames())
    channel = ChannelSettings(snr_db=spec.snr_db, seed=spec.seed)
    had = []
    for k in range(spec.num_frames):
        semantics = extraction.extract(source_frame(shot, spec, k))
        sent = sender.encode(semantics, round(1e6 * k / FPS))
        noisy, _ = emulator.apply(sent.radio, channel)
        decoded = receiver.decode(noisy)
        sender.feedback(decoded.received.feedback)
        had.append(decoded.conditions)
    return had


def joined(runs: Sequence[Conditions]) -> Conditions:
    """What a receiver of all of them would have; its SNR is that of the first."""
    return Conditions(
        pictures={m: p for run in runs for m, p in run.pictures.items() if m in _PICTURES},
        age_frames={m: age for run in runs for m, age in run.age_frames.items()},
        labels=_first(run.labels for run in runs),
        sketch=_first(run.sketch for run in runs),
        caption=next((run.caption for run in runs if run.caption), ""),
        snr_db=runs[0].snr_db,
    )


def _first(planes: Iterable[Picture | None]) -> Picture | None:
    return next((plane for plane in planes if plane is not None), None)


def make_windows(
    shots: Sequence[Shot], per_clip: int, max_frames: int, seed: int
) -> list[ReceivedWindow]:
    """`per_clip` windows of every clip, each at its own SNR, rate and schemes."""
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
            scheme = str(rng.choice(list(_SCHEMES), p=list(_SCHEMES.values())))
            more = [KEY_PICTURES] if rng.random() < _KEY_PICTURES_SHARE else []
            if rng.random() < _SKETCHES_SHARE and "sketch" not in scheme:
                more.append(SKETCHES)
            spec = draw_spec(rng, key, numbered[key], scheme, max_frames)
            windows.append(send_window(numbered[key], spec, more))
    return windows


def make_held_out_windows(
    shots: Sequence[Shot], more_schemes: Sequence[str] = (KEY_PICTURES,)
) -> list[ReceivedWindow]:
    """The beginning of each clip's first shot by `contours-lowres` at 10 dB, at each of
    HELD_OUT_CBRS; and by `more_schemes`."""
    windows = []
    for key, shot in tqdm(number_shots(shots).items(), desc="sending, held out", unit="shot"):
        if key[1] or len(shot.frames) < MIN_FRAMES:
            continue
        for cbr in HELD_OUT_CBRS:
            spec = replace(held_out_spec(key, shot, "contours-lowres"), cbr=cbr)
            windows.append(send_window(shot, spec, more_schemes))
    return windows


def save_windows(path: Path, windows: Sequence[ReceivedWindow]) -> None:
    """One npz. What is the same as at the frame before is written once."""
    specs = []
    arrays: dict[str, NDArray[Any]] = {}
    for index, window in enumerate(windows):
        frames = window.conditions
        ages = np.array([[c.age_frames.get(m, -1) for m in Modality] for c in frames], np.int16)
        arrays[f"{index}.ages"] = ages
        arrays[f"{index}.snr_db"] = np.array(
            [math.nan if c.snr_db is None else c.snr_db for c in frames], np.float32
        )
        planes = {"labels": [c.labels for c in frames], "sketch": [c.sketch for c in frames]}
        planes |= {m.label: [c.pictures.get(m) for c in frames] for m in _PICTURES}
        for name, of_frames in planes.items():
            kinds: list[Picture] = []
            at = []
            for value in of_frames:
                if value is not None and (not kinds or not np.array_equal(kinds[-1], value)):
                    kinds.append(value)
                at.append(len(kinds) - 1 if value is not None else -1)
            if kinds:
                arrays[f"{index}.{name}"] = np.stack(kinds)
                arrays[f"{index}.{name}.at"] = np.array(at, np.int16)
        specs.append({"spec": asdict(window.spec), "captions": [c.caption for c in frames]})
    arrays["specs"] = np.frombuffer(json.dumps(specs).encode(), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Whole or not at all: making them takes minutes.
    partial = path.with_suffix(".partial.npz")
    np.savez_compressed(partial, **arrays)
    partial.replace(path)


def load_windows(path: Path | io.BytesIO) -> list[ReceivedWindow]:
    """Raises InputError for a file that is not there or not ours."""
    try:
        with np.load(path) as arrays:
            return [
                _read_window(arrays, f"{index}.", WindowSpec(**said["spec"]), said["captions"])
                for index, said in enumerate(json.loads(arrays["specs"].tobytes()))
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


def _read_window(
    arrays: Mapping[str, NDArray[np.generic]], prefix: str, spec: WindowSpec, captions: list[str]
) -> ReceivedWindow:
    ages, snrs_db = arrays[f"{prefix}ages"], arrays[f"{prefix}snr_db"]

    def of_frames(name: str) -> list[Picture | None]:
        if prefix + name not in arrays:
            return [None] * len(ages)
        kinds = list(np.asarray(arrays[prefix + name], np.uint8))
        return [kinds[k] if k >= 0 else None for k in arrays[f"{prefix}{name}.at"].tolist()]

    planes = [of_frames(name) for name in _PLANES]
    pictures = [of_frames(m.label) for m in _PICTURES]
    return ReceivedWindow(
        spec,
        tuple(
            Conditions(
                pictures={m: p for m, p in zip(_PICTURES, shown, strict=True) if p is not None},
                age_frames={m: a for m, a in zip(Modality, of_each, strict=True) if a >= 0},
                labels=labels,
                sketch=sketch,
                caption=caption,
                snr_db=None if math.isnan(snr_db) else snr_db,
            )
            for of_each, snr_db, labels, sketch, shown, caption in zip(
                ages.tolist(),
                snrs_db.tolist(),
                *planes,
                zip(*pictures, strict=True),
                captions,
                strict=True,
            )
        ),
    )


def windows_beside(data: Path) -> list[ReceivedWindow]:
    """The windows in a pack; or, for a folder of clips, those made into RECEIVED_PATH.

    Raises InputError where there are none.
    """
    if data.suffix != PACK_SUFFIX:
        return load_windows(RECEIVED_PATH)
    with zipfile.ZipFile(data) as archive:
        if RECEIVED_NAME not in archive.namelist():
            raise InputError(f"{data.name} holds no received windows: pack them with the recipe.")
        return load_windows(io.BytesIO(archive.read(RECEIVED_NAME)))


def windows_of(
    library: Library,
    per_clip: int = WINDOWS_PER_CLIP,
    max_frames: int = WINDOW_FRAMES,
    seed: int = 7777,
) -> list[ReceivedWindow]:
    """Windows to measure on, and those to train on."""
    return [
        *make_held_out_windows(library.val),
        *make_windows(library.train, per_clip, max_frames, seed),
    ]


def windows_for(library: Library) -> tuple[list[ReceivedWindow], list[ReceivedWindow]]:
    """(to train on, to measure on) of a library: those there are, or else made now and kept.

    Raises InputError where there are none to train on.
    """
    if library.path.suffix != PACK_SUFFIX and not RECEIVED_PATH.exists():
        tqdm.write(f"Sending every clip over the link; {RECEIVED_PATH} keeps what was received.")
        save_windows(RECEIVED_PATH, windows_of(library))
    windows = windows_beside(library.path)

    def of(shots: Sequence[Shot]) -> list[ReceivedWindow]:
        numbered = number_shots(shots)
        return [w for w in windows if belongs(numbered.get((w.spec.clip, w.spec.shot)), w.spec)]

    train, val = of(library.train), of(library.val)
    if not train:
        raise InputError(
            "No received window belongs to these clips: make them anew with "
            "'python -m training.received'."
        )
    return train, val


def main() -> None:
    """Command line; see the module docstring."""
    parser = argparse.ArgumentParser(description="Send training clips; keep what was received.")
    parser.add_argument("-o", type=Path, default=RECEIVED_PATH, help="npz to write")
    parser.add_argument("--data", type=Path, default=default_data())
    parser.add_argument("--folders", default=TRAIN, help="to train on, comma between")
    parser.add_argument("--windows", type=int, default=WINDOWS_PER_CLIP, help="of each clip")
    parser.add_argument("--frames", type=int, default=WINDOW_FRAMES, help="of each window, at most")
    parser.add_argument("--seed", type=int, default=7777)
    asked = parser.parse_args()
    library = open_library(asked.data, folders=asked.folders.split(","))
    windows = windows_of(library, asked.windows, asked.frames, asked.seed)
    save_windows(asked.o, windows)
    frames = sum(len(w.conditions) for w in windows)
    print(f"{len(windows)} windows, {frames} frames: {asked.o.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
