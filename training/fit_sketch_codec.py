"""Fits the context model of the sketch codec to sketches of clips and writes it as source.

    python -m training.fit_sketch_codec --data ../shared/data/video/train

Sketches of the training clips (8 fps, several sizes and reference ages) are shrunk as a transmitter
shrinks them; some strokes are left out, of the map and of its reference, as a tight budget leaves
them out. The model is trained by cross entropy (Adam) with and without a reference, rounded to
integers, and written to `semcast/codecs/sketch_tables.py`. `video/val` is
never touched.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from semcast.codecs import sketch_model as model
from semcast.codecs.sketch_bitmap import SketchGeometry, shrink_sketch
from semcast.codecs.sketch_search import best_motion, shifted
from training.data import centre_square
from transmitter.extractors.sketcher import Sketcher

TABLES = Path(model.__file__).with_name("sketch_tables.py")
SIDES = (48, 64, 80, 96, 128)
FPS = 8

Bitmap = NDArray[np.uint8]


def sketches_of(path: Path, num_frames: int, sketcher: Sketcher) -> list[Bitmap]:
    """Sketches, uint8 [256, 256], of a clip's first frames at 8 fps."""
    capture = cv2.VideoCapture(str(path))
    step = max(1, round((capture.get(cv2.CAP_PROP_FPS) or FPS) / FPS))
    sketcher.reset()
    found: list[Bitmap] = []
    count = 0
    while len(found) < num_frames and capture.grab():
        if count % step == 0:
            ok, bgr = capture.retrieve()
            if not ok:
                break
            rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
            found.append(sketcher.sketch(centre_square(np.asarray(rgb, np.uint8), 256)))
        count += 1
    capture.release()
    return found


def with_loss(bitmap: Bitmap, rng: np.random.Generator) -> Bitmap:
    """Some strokes less, the short ones first; or only what lies in a rectangle; or all of it.

    Evenly over how much is left, on a logarithmic scale, down to a fiftieth: a tight budget leaves
    little.
    """
    if rng.random() < 0.4:
        return bitmap
    share = float(np.exp(rng.uniform(np.log(0.02), 0)))
    if rng.random() < 0.5:
        height, width = bitmap.shape
        high = int(np.clip(height * share ** rng.uniform(0.2, 0.8), 4, height))
        wide = int(np.clip(share * height * width / high, 4, width))
        top, left = rng.integers(height - high + 1), rng.integers(width - wide + 1)
        cut = np.zeros_like(bitmap)
        cut[top : top + high, left : left + wide] = bitmap[top : top + high, left : left + wide]
        return cut
    count, labels, stats, _ = cv2.connectedComponentsWithStats(bitmap, connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA]
    order = np.argsort(-areas[1:] * rng.uniform(0.3, 1.7, count - 1)) + 1
    kept = order[: 1 + int(np.searchsorted(np.cumsum(areas[order]), share * bitmap.sum()))]
    keep = np.zeros(count, np.uint8)
    keep[kept] = 1
    return keep[labels]


def partly_kept(bitmap: Bitmap, before: Bitmap, rng: np.random.Generator) -> Bitmap:
    """With the reference's own pixels in many of its squares, as an encoder short of bits does."""
    side = int(rng.integers(8, 28))
    share = float(rng.choice([0.4, 0.7, 0.85, 0.93, 0.97, 1.0]))
    squares = rng.random((bitmap.shape[0] // side + 1, bitmap.shape[1] // side + 1)) < share
    kept = np.kron(squares, np.ones((side, side), bool))[: bitmap.shape[0], : bitmap.shape[1]]
    return np.where(kept, before, bitmap)


def examples(
    clips: list[list[Bitmap]], rng: np.random.Generator
) -> Iterator[tuple[Bitmap, Bitmap, bool]]:
    """Without end: a map, its reference moved as the encoder would, and whether it has one."""
    while True:
        clip = clips[rng.integers(len(clips))]
        side = int(rng.choice(SIDES))
        geometry = SketchGeometry(side, side)
        age = int(rng.choice([1, 1, 2, 3, 4]))
        now = int(rng.integers(len(clip)))
        bitmap = shrink_sketch(clip[now], geometry)
        before = shrink_sketch(clip[max(0, now - age)], geometry)
        if rng.random() < 0.3:
            bitmap = with_loss(bitmap, rng)
            before &= cv2.dilate(bitmap, np.ones((9, 9), np.uint8))  # which had the same strokes
        else:
            bitmap, before = with_loss(bitmap, rng), with_loss(before, rng)
        if rng.random() < 0.3:
            # A reference that was coded with loss holds strokes that are older still.
            older = shrink_sketch(clip[max(0, now - 2 * age)], geometry)
            half = side // 2
            before[:, :half] = older[:, :half]
        has_reference = rng.random() < 0.7
        before = shifted(before, *best_motion(bitmap, before)) if has_reference else before * 0
        if has_reference and rng.random() < 0.6:
            bitmap = partly_kept(bitmap, before, rng)
        yield bitmap, before, has_reference


def inputs_of(bitmap: Bitmap, reference: Bitmap, with_reference: bool) -> NDArray[np.uint8]:
    """What `sketch_model` knows of each pixel, uint8 [h * w, n]: before, around, fullness,
    stillness, borders. Without a reference, it is empty."""
    height, width = bitmap.shape
    reach = 5
    columns = []
    for plane, places in ((bitmap, model.BEFORE), (reference, model.AROUND)):
        padded = np.pad(plane, reach)
        for dy, dx in places + reach:
            columns.append(padded[dy : dy + height, dx : dx + width].ravel())
    fullness = np.zeros((model.NUM_FULLNESS, bitmap.size), np.uint8)
    kind = model.class_of(bitmap, reference if with_reference else None)
    fullness[kind.fullness] = 1
    stillness = np.zeros((model.NUM_STILLNESS, bitmap.size), np.uint8)
    stillness[kind.stillness] = 1
    borders = np.zeros((model.NUM_BORDERS, height, width), np.uint8)
    near = model.BORDER_REACH
    borders[0, :, :near], borders[1, :, -near:] = 1, 1
    borders[2, :near], borders[3, -near:] = 1, 1
    return np.stack([*columns, *fullness, *stillness, *borders.reshape(len(borders), -1)], axis=1)


def gather(
    clips: list[list[Bitmap]], with_reference: bool, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, pixels and how many pixels each stands for, of `count` maps.

    Of pixels far from any line, which are most and all alike, every tenth.
    """
    rng = np.random.default_rng(int(with_reference))
    stream = (e for e in examples(clips, rng) if e[2] == with_reference)
    inputs, pixels, weights = [], [], []
    for _ in range(count):
        bitmap, before, _ = next(stream)
        found = inputs_of(bitmap, before, with_reference)
        known = found[:, : len(model.BEFORE) + len(model.AROUND)].any(1)
        chosen = known | (rng.random(len(known)) < 0.1) | (bitmap.ravel() > 0)
        weight = np.where(known | (bitmap.ravel() > 0), 1.0, 10.0)
        # Every map counts alike, whatever its size: what matters is bits a line.
        weight /= max(20, int(bitmap.sum()))
        inputs.append(found[chosen])
        pixels.append(bitmap.ravel()[chosen])
        weights.append(weight[chosen])
    return (
        torch.from_numpy(np.concatenate(inputs)),
        torch.from_numpy(np.concatenate(pixels)).float(),
        torch.from_numpy(np.concatenate(weights)).float(),
    )


def fit(
    clips: list[list[Bitmap]], with_reference: bool, maps: int, steps: int
) -> dict[str, object]:
    """One of the two models, as integers."""
    torch.manual_seed(int(with_reference))
    inputs, pixels, weights = gather(clips, with_reference, maps)
    hidden = model.NUM_HIDDEN
    first = (0.3 * torch.randn(inputs.shape[1], hidden)).requires_grad_()
    bias = torch.rand(hidden).requires_grad_()
    output = (0.2 * torch.randn(hidden)).requires_grad_()
    constant = torch.tensor(-4.0, requires_grad=True)
    optimizer = torch.optim.Adam([first, bias, output, constant], lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, 1e-4)
    scale = len(pixels) / maps / np.log(2)
    running = 0.0
    for step in range(steps):
        some = torch.randint(len(pixels), (8192,))
        sums = inputs[some].float() @ first + bias
        logits = (sums.clamp(0, model.HIDDEN_MAX / model.WEIGHT_ONE) @ output + constant).clamp(
            -9, 9
        )
        losses = nn.functional.binary_cross_entropy_with_logits(
            logits, pixels[some], reduction="none"
        )
        loss = (losses * weights[some]).mean() * scale
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        running = loss.item() if step == 0 else 0.99 * running + 0.01 * loss.item()
        if step % 500 == 0 or step == steps - 1:
            print(f"  step {step}: {running:.3f} bit per line pixel", flush=True)
    ends = np.cumsum(
        [len(model.BEFORE), len(model.AROUND), model.NUM_FULLNESS, model.NUM_STILLNESS]
    )
    parts = np.split(first.detach().numpy(), ends)
    if not with_reference:
        parts[1][:] = 0
    named = {
        "before": parts[0],
        "around": parts[1],
        "fullness": parts[2],
        "stillness": parts[3],
        "borders": parts[4],
        "bias": bias.detach().numpy(),
        "output": output.detach().numpy(),
    }
    return {
        **{k: np.rint(v * model.WEIGHT_ONE).astype(int).tolist() for k, v in named.items()},
        "constant": round(constant.item() * model.WEIGHT_ONE**2),
    }


def write_tables(values: dict[str, dict[str, object]]) -> None:
    """Rewrites sketch_tables.py."""
    lines = [
        '"""Context model of the sketch codec, written by training/fit_sketch_codec.py.',
        "",
        "Fitted on sketches of the clips of video/train. Changing it changes the bitstream.",
        '"""',
        "",
        "from typing import Any",
        "",
        "# fmt: off",
    ]
    for name, value in values.items():
        lines.append(f"{name}: dict[str, Any] = {{")
        for key, numbers in value.items():
            text = repr(numbers).replace(" ", "")
            text = "\n".join(textwrap.wrap(text.replace(",", ", "), 96))
            lines.append(f'"{key}": {text},' if len(text) < 60 else f'"{key}":\n{text},')
        lines.append("}")
    TABLES.write_text("\n".join(lines) + "\n")


def main() -> None:
    """Gathers, fits, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder of clips")
    parser.add_argument("--frames", type=int, default=16, help="per clip")
    parser.add_argument("--maps", type=int, default=900, help="for each of the two models")
    parser.add_argument("--steps", type=int, default=4000)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    sketcher = Sketcher()
    clips = [
        sketches_of(path, arguments.frames, sketcher)
        for path in sorted(arguments.data.glob("*.mp4"))
    ]
    write_tables(
        {
            "INTRA": fit(clips, False, arguments.maps, arguments.steps),
            "INTER": fit(clips, True, arguments.maps, arguments.steps),
        }
    )


if __name__ == "__main__":
    main()
