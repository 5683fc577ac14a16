"""Labels that permissively licensed networks give to training clips: who is where in each frame.

    python -m training.teachers [--data ../shared/data]

writes `out/teachers/CLIP.npz` for every clip of `video/train` and of DAVIS's training half: `kinds`
uint8 [F, rows, columns, K], the probability of each kind of `KINDS` in 255ths, for every frame of
the file. Needs the package `ai-edge-litert`, which nothing else does: it is in no extra.

Teachers: DeepLabv3 on MobileNetV2 (21 classes of PASCAL VOC, int8, Apache-2.0), and where it sees a
person that fills much of the frame, SINet for portraits (MIT), whose outline is finer. ESPNetv2's
weights come without the network's description and are not used.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from semcast.errors import InputError, NotFoundError, UnavailableError
from training.data import DAVIS, TRAIN, VIDEO_SUFFIXES
from transmitter.extractors.segmenter_network import KINDS

LABELS_DIR = Path("out") / "teachers"

_DEEPLAB = Path("weights") / "deeplab" / "deeplabv3_mnv2_pascal_quant.tflite"
_PORTRAIT = Path("weights") / "portrait" / "SINet.onnx"

_VOC = (
    "background vehicle vehicle animal vehicle thing vehicle vehicle animal thing animal thing "
    "animal animal vehicle person thing animal thing vehicle thing"
).split()
"""Kind of each class: background, aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair,
cow, table, dog, horse, motorbike, person, plant, sheep, sofa, train, screen."""

_FURNITURE = (9, 11, 16, 18)
"""Chair, table, plant and sofa are rooms more than objects: their probability goes to nothing."""

_SHORT_SIDE = 80
_PORTRAIT_SHARE = 0.12
_PERSON = KINDS.index("person")

Probabilities = NDArray[np.float32]


def open_deeplab(path: Path) -> Callable[[NDArray[np.uint8]], Probabilities]:
    """A function from a frame, RGB [H, W, 3], to probabilities [rows, columns, K].

    Raises UnavailableError without the package that runs it, NotFoundError without the file.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise UnavailableError("Teachers need a package: pip install ai-edge-litert.") from error
    if not path.is_file():
        raise NotFoundError(f"{path} is not there: give --data a folder with weights/deeplab.")
    network = Interpreter(str(path), num_threads=1, experimental_preserve_all_tensors=True)
    network.allocate_tensors()
    source = network.get_input_details()[0]
    side = int(source["shape"][1])
    logits = next(t for t in network.get_tensor_details() if t["name"] == "ResizeBilinear_1")
    scale, zero = logits["quantization"]
    to_kinds = np.zeros((len(_VOC), len(KINDS)), np.float32)
    for k, kind in enumerate(_VOC):
        to_kinds[k, 0 if k in _FURNITURE else KINDS.index(kind)] = 1

    def look(frame: NDArray[np.uint8]) -> Probabilities:
        height, width = frame.shape[:2]
        inner = [round(side * length / max(height, width)) for length in (width, height)]
        square = np.full((side, side, 3), 127, np.uint8)
        square[: inner[1], : inner[0]] = cv2.resize(frame, inner)
        network.set_tensor(source["index"], square[None])
        network.invoke()
        raw = (network.get_tensor(logits["index"])[0].astype(np.float32) - zero) * scale
        # Logits are enlarged before the softmax, which keeps outlines sharp. Pixel (x, y) of the
        # grid lies at (x + 0.5) / scale in the frame, and so in the square and its 33x33 cells.
        columns, rows = _grid(width, height)
        cells = raw.shape[0] / side
        x = (np.arange(columns) + 0.5) * inner[0] / columns * cells - 0.5
        y = (np.arange(rows) + 0.5) * inner[1] / rows * cells - 0.5
        map_x, map_y = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
        fine = np.stack(
            [
                cv2.remap(plane, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
                for plane in np.moveaxis(raw, -1, 0)
            ],
            -1,
        )
        fine = np.exp(fine - fine.max(-1, keepdims=True))
        return np.asarray((fine / fine.sum(-1, keepdims=True)) @ to_kinds, np.float32)

    return look


def open_portrait(path: Path) -> Callable[[NDArray[np.uint8]], Probabilities]:
    """A function from a frame, RGB [H, W, 3], to the probability of a person [rows, columns]."""
    if not path.is_file():
        raise NotFoundError(f"{path} is not there: give --data a folder with weights/portrait.")
    network = cv2.dnn.readNet(str(path))
    mean, std = (102.890434, 111.25247, 126.91212), (62.93292, 62.82138, 66.355705)

    def look(frame: NDArray[np.uint8]) -> Probabilities:
        height, width = frame.shape[:2]
        bgr = cv2.cvtColor(cv2.resize(frame, (320, 320)), cv2.COLOR_RGB2BGR).astype(np.float32)
        network.setInput(np.transpose((bgr - mean) / std / 255, (2, 0, 1))[None].astype(np.float32))
        logits = network.forward()[0]
        person = 1 / (1 + np.exp(logits[0] - logits[1]))
        return cv2.resize(person, _grid(width, height))

    return look


def _grid(width: int, height: int) -> tuple[int, int]:
    scale = _SHORT_SIDE / min(width, height)
    return round(width * scale), round(height * scale)


def refine_person(kinds: Probabilities, portrait: Probabilities) -> Probabilities:
    """Kinds [rows, columns, K] with the person drawn as the mean of both teachers draw it.

    Where the person is small the portrait network, made for close views, is not asked.
    """
    if kinds[..., _PERSON].mean() < _PORTRAIT_SHARE:
        return kinds
    person = 0.5 * (kinds[..., _PERSON] + portrait)
    rest = np.delete(kinds, _PERSON, axis=-1)
    rest = rest / np.maximum(rest.sum(-1, keepdims=True), 1e-6) * (1 - person[..., None])
    return np.insert(rest, _PERSON, person, axis=-1)


def label_clips(data: Path, folder: Path) -> None:
    """Labels every clip to train on that has no labels yet. Raises InputError without any."""
    folders = (data / "video" / TRAIN, data / "masks" / DAVIS / TRAIN)
    clips = [f for d in folders for f in sorted(d.glob("*")) if f.suffix in VIDEO_SUFFIXES]
    if not clips:
        raise InputError(f"{data} has no clips in video/train: give --data another folder.")
    cv2.setNumThreads(1)
    deeplab, portrait = open_deeplab(data / _DEEPLAB), open_portrait(data / _PORTRAIT)
    folder.mkdir(parents=True, exist_ok=True)
    for clip in tqdm(clips, unit="clip"):
        target = folder / f"{clip.stem}.npz"
        if target.exists():
            continue
        frames = []
        capture = cv2.VideoCapture(str(clip))
        while True:
            ok, bgr = capture.read()
            if not ok:
                break
            rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
            kinds = deeplab(rgb)
            if kinds[..., _PERSON].mean() >= _PORTRAIT_SHARE:
                kinds = refine_person(kinds, portrait(rgb))
            frames.append(np.round(255 * kinds).astype(np.uint8))
        capture.release()
        np.savez_compressed(target, kinds=np.stack(frames))


def read_labels(folder: Path, clip: str) -> NDArray[np.uint8] | None:
    """`kinds` of a clip, uint8 [F, rows, columns, K], or None where no teacher saw it."""
    path = folder / f"{clip}.npz"
    if not path.is_file():
        return None
    with np.load(path) as stored:
        return np.asarray(stored["kinds"], np.uint8)


def main() -> None:
    """Labels all clips."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("-o", "--out", type=Path, default=LABELS_DIR)
    asked = parser.parse_args()
    label_clips(asked.data, asked.out)


if __name__ == "__main__":
    main()
