"""Fits the context model of the sketch codec to sketches of clips and writes it as source.

    python -m training.fit_sketch_codec --data ../shared/data/video/train

Sketches of the training clips (8 fps, several sizes and reference ages) are shrunk as a transmitter
shrinks them; some strokes are left out, of the map and of its reference, as a tight budget leaves
them out. The model is then a masked convolution, trained by cross entropy (Adam) with and without a
reference, rounded to integers, and written to `semcast/codecs/sketch_tables.py`. `video/val` is
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


def without_some_strokes(bitmap: Bitmap, share: float, rng: np.random.Generator) -> Bitmap:
    """Leaves out strokes, the short ones first, until `share` of the pixels is gone."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(bitmap, connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA] * rng.uniform(0.3, 1.7, count)
    order = [k for k in np.argsort(areas) if k]
    gone, wanted = 0, share * bitmap.sum()
    keep = np.ones(count, np.uint8)
    keep[0] = 0
    for k in order:
        if gone + stats[k, cv2.CC_STAT_AREA] > wanted:
            break
        gone += stats[k, cv2.CC_STAT_AREA]
        keep[k] = 0
    return keep[labels]


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
        if rng.random() < 0.5:
            bitmap = without_some_strokes(bitmap, rng.uniform(0, 0.8), rng)
        if rng.random() < 0.5:
            before = without_some_strokes(before, rng.uniform(0, 0.8), rng)
        if rng.random() < 0.3:
            # A reference that was coded with loss holds strokes that are older still.
            older = shrink_sketch(clip[max(0, now - 2 * age)], geometry)
            half = side // 2
            before[:, :half] = older[:, :half]
        has_reference = rng.random() < 0.7
        before = shifted(before, *best_motion(bitmap, before)) if has_reference else before * 0
        yield bitmap, before, has_reference


class ContextNetwork(nn.Module):
    """What `sketch_model` computes, in floating point and for whole maps at once."""

    def __init__(self) -> None:
        super().__init__()
        hidden = model.NUM_HIDDEN
        self.before = nn.Parameter(0.3 * torch.randn(len(model.BEFORE), hidden))
        self.around = nn.Parameter(0.3 * torch.randn(len(model.AROUND), hidden))
        self.fullness = nn.Parameter(torch.zeros(model.NUM_FULLNESS, hidden))
        self.borders = nn.Parameter(torch.zeros(model.NUM_BORDERS, hidden))
        self.bias = nn.Parameter(torch.rand(hidden))
        self.output = nn.Parameter(0.2 * torch.randn(hidden))
        self.constant = nn.Parameter(torch.tensor(-4.0))

    def forward(self, bitmap: Tensor, reference: Tensor, fullness: Tensor) -> Tensor:
        """Logits [B, h, w] of maps [B, h, w] of 0 and 1."""
        height, width = bitmap.shape[1:]

        def seen(planes: Tensor, places: NDArray[np.int64], weights: Tensor) -> Tensor:
            reach = int(np.abs(places).max())
            kernel = torch.zeros(weights.shape[1], 1, 2 * reach + 1, 2 * reach + 1)
            rows = torch.from_numpy(places[:, 0] + reach)
            columns = torch.from_numpy(places[:, 1] + reach)
            kernel = kernel.index_put(
                (
                    torch.arange(weights.shape[1])[:, None],
                    torch.zeros(1, 1, dtype=torch.long),
                    rows[None],
                    columns[None],
                ),
                weights.T,
            )
            return nn.functional.conv2d(planes[:, None], kernel, padding=reach)

        sums = seen(bitmap, model.BEFORE, self.before) + seen(reference, model.AROUND, self.around)
        sums = sums + (self.bias + self.fullness[fullness])[:, :, None, None]
        borders = torch.zeros(model.NUM_BORDERS, height, width)
        borders[0, :, :2], borders[1, :, -2:], borders[2, :2], borders[3, -2:] = 1, 1, 1, 1
        sums = sums + torch.einsum("khw,ki->ihw", borders, self.borders)
        hidden = sums.clamp(0, 16)
        return torch.einsum("bihw,i->bhw", hidden, self.output) + self.constant


def fit(clips: list[list[Bitmap]], with_reference: bool, steps: int) -> dict[str, object]:
    """One of the two models, as integers."""
    torch.manual_seed(int(with_reference))
    rng = np.random.default_rng(int(with_reference))
    network = ContextNetwork()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, 1e-4)
    stream = (e for e in examples(clips, rng) if e[2] == with_reference)
    running = 0.0
    for step in range(steps):
        maps = [next(stream) for _ in range(6)]
        total, pixels = torch.zeros(()), 0
        for bitmap, before, _ in maps:
            fullness = torch.tensor([model.fullness_of(bitmap)])
            wanted = torch.from_numpy(bitmap)[None].float()
            logits = network(wanted, torch.from_numpy(before)[None].float(), fullness)
            total = total + nn.functional.binary_cross_entropy_with_logits(
                logits.clamp(-9, 9), wanted, reduction="sum"
            )
            pixels += max(20, int(bitmap.sum()))
        loss = total / pixels / np.log(2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        running = loss.item() if step == 0 else 0.98 * running + 0.02 * loss.item()
        if step % 200 == 0 or step == steps - 1:
            print(f"  step {step}: {running:.3f} bit per line pixel", flush=True)
    weights = {
        name: np.rint(value.detach().numpy() * model.WEIGHT_ONE).astype(int)
        for name, value in network.named_parameters()
        if name != "constant"
    }
    if not with_reference:
        weights["around"][:] = 0
    constant = round(network.constant.item() * model.WEIGHT_ONE**2)
    return {**{name: value.tolist() for name, value in weights.items()}, "constant": constant}


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
    parser.add_argument("--frames", type=int, default=24, help="per clip")
    parser.add_argument("--steps", type=int, default=2500)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    sketcher = Sketcher()
    clips = [
        sketches_of(path, arguments.frames, sketcher)
        for path in sorted(arguments.data.glob("*.mp4"))
    ]
    write_tables(
        {
            "INTRA": fit(clips, False, arguments.steps),
            "INTER": fit(clips, True, arguments.steps),
        }
    )


if __name__ == "__main__":
    main()
