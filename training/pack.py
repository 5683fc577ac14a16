"""What one recipe trains and measures on, in one file that travels: `python -m training.pack`.

    python -m training.pack autoencoder -o out/autoencoder.pack --max-mb 20

A pack is a zip without compression:

    pack.json     {"recipe", "train": [names], "val": [names], "sources": [lines for the card]}
    clips         videos and photographs, by their path in the data folder; beside a clip, as far
                  as there are any, `NAME_masks.npz` and its caption, `NAME.txt`
    weights/      SqueezeNet, for the perceptual loss and metric
    received.npz  for recipes that train on what was received (`training.received`)

Nothing is encoded again: videos are cut to their beginnings by copying their packets. Clips to
measure on keep `VAL_SECONDS`; those to train on keep the longest time, the same for all, at which
everything fits. With received windows, which are larger than the clips they are of, clips are cut
to the length of a window, and as many clips as fit go in with theirs, chosen at random.

Packs are for carrying data to a machine for a while. They hold other people's footage: no pack is
ever committed or published.
"""

from __future__ import annotations

import argparse
import bisect
import io
import json
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from semcast.errors import InputError
from semcast.metrics.weights import SQUEEZENET_FILE, MetricUnavailableError, MetricWeights
from training.data import PACK_SUFFIX, TRAIN, VAL, VIDEO_SUFFIXES, list_media, open_library
from training.received import (
    FPS,
    RECEIVED_NAME,
    WINDOW_FRAMES,
    ReceivedWindow,
    make_held_out_windows,
    make_windows,
    save_windows,
)
from training.run import PACKED_WEIGHTS, default_data, find_recipe

MAX_MB = 24.0
"""Megabytes of 1e6 bytes. A GPU run takes 64 MiB in all; tree, wheels and weights need the rest."""

VAL_SECONDS = 2.0
"""Of each clip to measure on, so that most of the room is for training. What a network is worth is
measured on whole clips, here."""

RECEIVED_SECONDS = WINDOW_FRAMES / FPS
"""Of each clip to train on that is packed with what was received of it: a window's length. A clip
takes some 0.14 MB then, and a window 0.1 MB, or half a megabyte with key pictures."""

SCENE_SEEDS = range(1_000_000, 2_000_000)
"""Simulated scenes are numbered from here; the bundled samples' seeds lie outside."""

SCENES_DIR = Path("out") / "training" / "scenes"
SCENE_SIZE, SCENE_FPS, SCENE_SECONDS = 320, 8, 4.0
"""The short side and the rate of the real clips, as far as training looks at them."""

_SHORTEST_S, _LONGEST_S, _STEP_S = 1.0, 60.0, 0.05

_WINDOW_SEED = 7777


@dataclass(frozen=True)
class PackReport:
    """What went in. seconds: what the clips to train on were cut to."""

    num_bytes: int
    num_train: int
    num_val: int
    seconds: float

    def __str__(self) -> str:
        """As a person wants to know it."""
        return (
            f"{self.num_bytes / 1e6:.1f} MB, {self.num_train} clips to train on, each at most "
            f"{self.seconds:.1f} s, {self.num_val} to measure on"
        )


@dataclass
class _Contents:
    """Files of a pack by name, as bytes or as a path to copy from."""

    files: dict[str, bytes | Path] = field(default_factory=dict)

    def num_bytes(self) -> int:
        """Of the zip file, to the byte."""
        entries = 0
        for name, content in self.files.items():
            size = len(content) if isinstance(content, bytes) else content.stat().st_size
            entries += size + 30 + 46 + 2 * len(name.encode())
        return entries + 22

    def write(self, path: Path) -> None:
        """Whole or not at all."""
        partial = path.with_suffix(".partial")
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            for name, content in self.files.items():
                data = content if isinstance(content, bytes) else content.read_bytes()
                archive.writestr(zipfile.ZipInfo(name), data)
        partial.replace(path)


@cache
def _packet_times_s(path: Path) -> tuple[float, ...]:
    """When each packet of a video is shown, from the first shown on, in the order of decoding."""
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            stream = container.streams.video[0]
            times = [
                float((packet.pts if packet.pts is not None else packet.dts) * stream.time_base)
                for packet in container.demux(stream)
                if packet.size and packet.dts is not None and stream.time_base is not None
            ]
    except (av.error.FFmpegError, IndexError) as error:
        raise InputError(f"{path.name} is not a video that can be copied: {error}") from error
    if not times:
        raise InputError(f"{path.name} holds no frame: take it out of the data folder.")
    first = min(times)
    return tuple(time - first for time in times)


@cache
def _whole_beginnings(path: Path) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """After how many packets a video can be cut, and how long what is left of it is shown, in s.

    Frames are stored in the order of decoding. A cut is good where the packets before it are also
    the ones shown first: then none refers to a frame that is gone, and no time is left out.
    """
    times = _packet_times_s(path)
    shown = sorted(times)
    counts = []
    latest = -1.0
    for count, time in enumerate(times, start=1):
        latest = max(latest, time)
        if latest <= shown[count - 1]:
            counts.append(count)
    return tuple(shown[count - 1] for count in counts), tuple(counts)


def count_frames(path: Path, seconds: float) -> int:
    """How many frames of a video are left of its first `seconds`; at least one."""
    last_shown, counts = _whole_beginnings(path)
    return counts[max(0, bisect.bisect_left(last_shown, seconds) - 1)]


@cache
def beginning(path: Path, num_frames: int) -> bytes:
    """The first frames of a video, in its own container and encoding. num_frames: `count_frames`'.

    Raises InputError for a file that cannot be copied.
    """
    with tempfile.TemporaryDirectory() as folder:
        cut = Path(folder) / f"cut{path.suffix}"
        try:
            with (
                av.open(str(path), metadata_errors="replace") as source,
                av.open(str(cut), "w") as target,
            ):
                stream = source.streams.video[0]
                copied = target.add_stream_from_template(stream)
                left = num_frames
                for packet in source.demux(stream):
                    if not left:
                        break
                    if packet.size and packet.dts is not None:
                        packet.stream = copied
                        target.mux(packet)
                        left -= 1
        except (av.error.FFmpegError, ValueError) as error:
            raise InputError(f"{path.name} is not a video that can be copied: {error}") from error
        return cut.read_bytes()


def _first_masks(path: Path, num_frames: int) -> bytes:
    """A mask file of fewer frames, in its own layout (see `training.data`)."""
    with np.load(path) as stored:
        arrays: dict[str, NDArray[np.generic]] = dict(stored)
    for name in ("labels", "masks"):
        if name in arrays:
            arrays[name] = arrays[name][:num_frames]
    if "shape" in arrays:
        arrays["shape"] = np.array([num_frames, *arrays["shape"][1:]])
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


@dataclass(frozen=True)
class _Source:
    """A clip or photograph and its name in the pack."""

    path: Path
    name: str
    caption: str | None = None

    @property
    def is_video(self) -> bool:
        """Or else a photograph."""
        return self.path.suffix.lower() in VIDEO_SUFFIXES

    def add_to(self, contents: _Contents, seconds: float) -> None:
        """Puts its beginning in, with masks and caption."""
        if not self.is_video:
            contents.files[self.name] = self.path
        else:
            num_frames = count_frames(self.path, seconds)
            contents.files[self.name] = beginning(self.path, num_frames)
            masks = self.path.with_name(f"{self.path.stem}_masks.npz")
            if masks.is_file():
                name = str(Path(self.name).with_name(masks.name))
                contents.files[name] = _first_masks(masks, num_frames)
        text = self.path.with_suffix(".txt")
        caption = text.read_text(encoding="utf-8").strip() if text.is_file() else self.caption
        if caption:
            contents.files[str(Path(self.name).with_suffix(".txt"))] = f"{caption}\n".encode()


def render_scenes(count: int, folder: Path) -> list[Path]:
    """The first `count` simulated scenes, rendered into `folder` unless they are there.

    Each is `scene-SEED.mp4` with `_masks.npz` and `.txt` beside it; some 15 s each on one core.
    """
    if not 0 <= count <= len(SCENE_SEEDS):
        raise InputError(f"{count} scenes are out of range: give 0 to {len(SCENE_SEEDS)}.")
    if count:
        folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for seed in tqdm(SCENE_SEEDS[:count], desc="scenes", unit="scene", disable=not count):
        path = folder / f"scene-{seed}.mp4"
        if not path.is_file():
            _render_scene(seed, path)
        paths.append(path)
    return paths


def _render_scene(seed: int, path: Path) -> None:
    from training.simulate.samples import write_video
    from training.simulate.scene import scene_info, simulate_training_scene

    frames = list(
        simulate_training_scene(seed, SCENE_SIZE, SCENE_SIZE, float(SCENE_FPS), SCENE_SECONDS)
    )
    info = scene_info(seed, SCENE_SECONDS)
    np.savez_compressed(
        path.with_name(f"{path.stem}_masks.npz"),
        labels=np.stack([frame.labels for frame in frames]),
        objects=np.array(info.objects),
    )
    path.with_suffix(".txt").write_text(info.caption + "\n", encoding="utf-8")
    # The video comes last: where it is, the scene is whole.
    partial = path.with_name(f"partial-{path.name}")
    write_video(partial, frames, SCENE_FPS)
    partial.replace(path)


def make_pack(
    recipe_name: str,
    path: Path,
    *,
    data: Path,
    max_mb: float = MAX_MB,
    scenes: Sequence[Path] = (),
    windows_per_clip: int = 1,
) -> PackReport:
    """Packs what a recipe needs into at most `max_mb` megabytes.

    data: a folder as in `list_media`. scenes: simulated clips to train on as well.
    windows_per_clip: received windows of each, where the recipe trains on those.
    Raises InputError where a second of each clip does not fit, or something is missing.
    """
    if path.suffix != PACK_SUFFIX:
        raise InputError(f"{path.name} is no name for a pack: let it end in {PACK_SUFFIX}.")
    recipe = find_recipe(recipe_name)
    files = list_media(data, recipe.folders)
    train = [_named(file, data, files.captions) for file in files.train]
    train += [_Source(file, f"scenes/{file.name}") for file in scenes]
    val = [_named(file, data, files.captions) for file in files.val]

    def index(chosen: Sequence[_Source], seconds: float) -> bytes:
        lines = [*files.sources, f"of each clip at most the first {seconds:.1f} s"]
        if scenes:
            lines.append(f"simulated scenes: {len(scenes)}, rendered by training/simulate")
        if len(chosen) < len(train):
            lines.append(f"of all these, {len(chosen)} chosen at random")
        names = {TRAIN: [s.name for s in chosen], VAL: [s.name for s in val]}
        return json.dumps({"recipe": recipe_name, **names, "sources": lines}, indent=1).encode()

    contents = _Contents()
    contents.files[f"{PACKED_WEIGHTS}{SQUEEZENET_FILE}"] = _squeezenet()
    contents.files["pack.json"] = index(train, _LONGEST_S)
    for source in val:
        source.add_to(contents, VAL_SECONDS)
    room = round(1e6 * max_mb) - contents.num_bytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    if recipe.pack_kind == "received":
        # The index grows by a line where clips are left out.
        chosen, more = _with_windows(train, val, room - 100, windows_per_clip)
        seconds = RECEIVED_SECONDS
    else:
        more, seconds = _longest(train, room)
        chosen = train
    contents.files |= more.files
    contents.files["pack.json"] = index(chosen, seconds)
    contents.write(path)
    return PackReport(path.stat().st_size, len(chosen), len(val), seconds)


def _named(file: Path, data: Path, captions: Mapping[str, str]) -> _Source:
    return _Source(file, file.relative_to(data).as_posix(), captions.get(file.name))


def _squeezenet() -> Path:
    try:
        return MetricWeights.from_environment().squeezenet()
    except MetricUnavailableError as error:
        raise InputError(f"{error}.") from error


def _cut(sources: Sequence[_Source], seconds: float) -> _Contents:
    """The beginnings of clips, with what lies beside them."""
    contents = _Contents()
    for source in sources:
        source.add_to(contents, seconds)
    return contents


def _longest(sources: Sequence[_Source], max_bytes: int) -> tuple[_Contents, float]:
    """The beginnings, as long as fit, and how long that is. Raises InputError if none do."""
    low, high = _SHORTEST_S, _LONGEST_S
    best = _cut(sources, low)
    if best.num_bytes() > max_bytes:
        raise InputError(
            f"{low:g} s of each clip are {best.num_bytes() / 1e6:.1f} MB, and there is room for "
            f"{max(0, max_bytes) / 1e6:.1f} MB: allow more with --max-mb, or give fewer clips."
        )
    whole = _cut(sources, high)
    if whole.num_bytes() <= max_bytes:
        lengths = [max(_packet_times_s(s.path)) for s in sources if s.is_video]
        return whole, max(lengths, default=0.0)
    while high - low > _STEP_S:
        middle = (low + high) / 2
        contents = _cut(sources, middle)
        if contents.num_bytes() <= max_bytes:
            low, best = middle, contents
        else:
            high = middle
    return best, low


def _with_windows(
    train: Sequence[_Source], val: Sequence[_Source], max_bytes: int, windows_per_clip: int
) -> tuple[list[_Source], _Contents]:
    """As many clips to train on as fit with what was received of them, chosen at random; and, with
    the held-out clips' windows, what goes into the pack. Raises InputError if none does."""
    with tempfile.TemporaryDirectory() as folder:
        # Windows are of the clips as they will be in the pack.
        cut = Path(folder) / f"cut{PACK_SUFFIX}"
        contents = _cut(train, RECEIVED_SECONDS)
        for source in val:
            source.add_to(contents, VAL_SECONDS)
        names = {TRAIN: [s.name for s in train], VAL: [s.name for s in val], "sources": []}
        contents.files["pack.json"] = json.dumps(names).encode()
        contents.write(cut)
        library = open_library(cut)
    # Held-out key pictures are large, and nothing is measured with them.
    held_out = make_held_out_windows(library.val, more_schemes=())
    made = make_windows(library.train, windows_per_clip, WINDOW_FRAMES, _WINDOW_SEED)
    of_clip: dict[str, list[ReceivedWindow]] = {}
    for window in made:
        of_clip.setdefault(window.spec.clip, []).append(window)
    sent = [source for source in train if source.path.stem in of_clip]
    order = np.random.default_rng(_WINDOW_SEED).permutation(len(sent))

    def packed(count: int) -> _Contents:
        chosen = [sent[k] for k in order[:count]]
        windows = [window for source in chosen for window in of_clip[source.path.stem]]
        contents = _cut(chosen, RECEIVED_SECONDS)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / RECEIVED_NAME
            save_windows(path, windows + held_out)
            contents.files[RECEIVED_NAME] = path.read_bytes()
        return contents

    low, high = 0, len(sent) + 1
    best = _Contents()
    while high - low > 1:
        middle = (low + high) // 2
        contents = packed(middle)
        if contents.num_bytes() <= max_bytes:
            low, best = middle, contents
        else:
            high = middle
    if not low:
        raise InputError("There is no room for received windows: allow more with --max-mb.")
    return [sent[k] for k in sorted(order[:low])], best


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; see the module docstring. Exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m training.pack", description="Pack what one recipe needs into one file."
    )
    parser.add_argument("recipe")
    parser.add_argument("-o", "--output", type=Path, required=True, help="a name in .pack")
    add_pack_options(parser)
    asked = parser.parse_args(arguments)
    try:
        report = make_pack(
            asked.recipe,
            asked.output,
            data=asked.data or default_data(),
            max_mb=asked.max_mb if asked.max_mb is not None else MAX_MB,
            scenes=render_scenes(asked.simulated, SCENES_DIR),
            windows_per_clip=asked.windows,
        )
    except InputError as error:
        print(f"training.pack: {error}", file=sys.stderr)
        return 2
    print(f"{asked.output}: {report}")
    return 0


def add_pack_options(parser: argparse.ArgumentParser) -> None:
    """Options of what goes into a pack, for every command that makes one."""
    parser.add_argument("--data", type=Path, help="folder of clips; default ../shared/data")
    parser.add_argument("--max-mb", type=float, help="megabytes of the pack, at most")
    parser.add_argument("--simulated", type=int, default=0, metavar="N", help="simulated scenes")
    parser.add_argument(
        "--windows", type=int, default=1, metavar="N", help="received windows of each clip"
    )


if __name__ == "__main__":
    sys.exit(main())
