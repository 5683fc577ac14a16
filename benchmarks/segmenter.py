"""The bundled segmenter: how well it finds the main object, how steady it is, how long it takes.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/segmenter.py \\
        ../shared/data/masks/davis/val \\
        [--clips NAME,NAME] [--weights FILE] [--sheets DIR] [-o NAME]

The rule, fixed before the first measurement on DAVIS val: every frame of the file is segmented
in order, and every frame counts. `main_iou` is the IoU of label 1, the segmenter's own choice of
main object, with the mask; `best_iou` is that of the one label, 1 to 15, with the highest mean over
the whole clip. Both are means over frames, then over clips. A frame without the object in the
mask counts 1 where nothing is labelled, else 0. `frame` is the file's frame size, `square` the
256x256 that `semcast send --size 256` shows.

Steadiness: `kept` is the mean IoU of label 1 with label 1 of the frame before moved along dense
flow; `kept_truth` is the same of the true masks. `still_changes` is the share of labelled pixels
that change from frame to frame while one picture stands still under noise of 2 grey levels.
`switches` counts frames where the label that fits the object best is another than before.

Times are of one core, per stage, after a warm-up of 10 frames: processor time of the one thread
that computes, which other work on the machine disturbs little. Writes
`benchmarks/results/segmenter-NAME.json`.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from semcast.weights import find_weights, read_weights
from training.data import Shot, centre_square, open_library
from training.sheets import contact_sheet
from transmitter.extractors.object_motion import (
    backward_flow,
    motion_between,
    segmenter_planes,
    warp,
)
from transmitter.extractors.segmenter import BundledSegmenter, masks_of, mix
from transmitter.extractors.segmenter_network import WEIGHTS, build_network
from transmitter.extractors.tracking import MAIN_LABEL, MAX_OBJECTS, Tracker
from transmitter.extractors.working_size import working_size

RESULTS = Path(__file__).parent / "results"
SQUARE = 256
TIMED_FRAMES = 100
NOISE_LEVELS = 2.0
COLOURS = np.array(
    [
        (0, 0, 0), (255, 80, 60), (60, 160, 255), (80, 220, 90), (250, 210, 50), (200, 90, 240),
        (60, 220, 220), (255, 140, 200), (150, 110, 60), (160, 200, 120), (110, 110, 220),
        (230, 160, 110), (120, 230, 170), (190, 190, 190), (140, 60, 110), (90, 130, 130),
    ],
    np.uint8,
)  # fmt: skip

Labels = NDArray[np.uint8]


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union; 1 where both are empty."""
    union = int((a | b).sum())
    return float((a & b).sum() / union) if union else 1.0


def label_clip(segmenter: BundledSegmenter, frames: NDArray[np.uint8]) -> Labels:
    """Labels [F, H, W] of a clip from its beginning."""
    segmenter.reset()
    return np.stack([segmenter.segment(frame) for frame in frames])


def kept(frames: NDArray[np.uint8], masks: NDArray[np.bool_]) -> float:
    """Mean IoU of a mask with the one before, moved; frames where either is empty are left out."""
    scores = []
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    for k in range(1, len(frames)):
        if masks[k].any() and masks[k - 1].any():
            flow = backward_flow(grey[k], grey[k - 1])
            moved = warp(masks[k - 1].astype(np.float32), flow) > 0.5
            scores.append(iou(moved, masks[k]))
    return float(np.mean(scores)) if scores else float("nan")


def still_changes(segmenter: BundledSegmenter, frame: NDArray[np.uint8]) -> float:
    """Share of the labelled pixels that change per frame, after five frames of settling."""
    rng = np.random.default_rng(7777)
    noisy = frame + NOISE_LEVELS * rng.standard_normal((15, *frame.shape))
    labels = label_clip(segmenter, np.clip(np.round(noisy), 0, 255).astype(np.uint8))[5:]
    changed = (labels[1:] != labels[:-1]).sum((1, 2))
    return float(changed.mean() / max(1.0, float((labels > 0).sum((1, 2)).mean())))


def measure_clip(
    segmenter: BundledSegmenter, frames: NDArray[np.uint8], truth: NDArray[np.bool_]
) -> tuple[dict[str, float], Labels]:
    """Figures of one clip; frames [F, H, W, 3], truth [F, H, W]."""
    labels = label_clip(segmenter, frames)
    scores = np.array(
        [
            [iou(labels[k] == n, truth[k]) for n in range(1, MAX_OBJECTS + 1)]
            for k in range(len(frames))
        ]
    )
    followed = scores.argmax(1)[scores.max(1) > 0.1]
    figures = {
        "main_iou": float(scores[:, MAIN_LABEL - 1].mean()),
        "best_iou": float(scores.mean(0).max()),
        "any_iou": float(scores.max(1).mean()),
        "kept": kept(frames, labels == MAIN_LABEL),
        "kept_truth": kept(frames, truth),
        "still_changes": still_changes(segmenter, frames[len(frames) // 2]),
        "switches": int((followed[1:] != followed[:-1]).sum()),
        "objects": float(np.mean([len(np.unique(frame)) - 1 for frame in labels])),
    }
    return {name: round(value, 4) for name, value in figures.items()}, labels


def overlay(frame: NDArray[np.uint8], labels: Labels) -> NDArray[np.uint8]:
    """The frame with its objects tinted and outlined."""
    out = frame.copy()
    for n in np.unique(labels[labels > 0]):
        mask = labels == n
        out[mask] = (0.6 * out[mask] + 0.4 * COLOURS[n]).astype(np.uint8)
        outlines, _ = cv2.findContours(
            mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(out, outlines, -1, COLOURS[n].tolist(), 1)
    return out


def draw_sheet(frames: NDArray[np.uint8], labels: Labels, path: Path) -> None:
    """Ten frames of a clip with what was found."""
    at = np.linspace(0, len(frames) - 1, 10).round().astype(int)
    pictures = [overlay(frames[k], labels[k]) for k in at]
    rows = [contact_sheet([(str(k), p[None])], side=256) for k, p in zip(at, pictures, strict=True)]
    sheet = np.concatenate([np.concatenate(rows[:5], 1), np.concatenate(rows[5:], 1)])
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))


def time_stages(segmenter: BundledSegmenter, frames: NDArray[np.uint8]) -> dict[str, Any]:
    """Processor milliseconds of each stage, median and 95th percentile; frames go round."""
    tracker = Tracker()
    before = mixed = None
    times: dict[str, list[float]] = {}
    for k in range(10 + TIMED_FRAMES):
        rgb = frames[k % len(frames)]
        marks = [time.thread_time()]
        size = working_size(*rgb.shape[1::-1])
        small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
        grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
        motion = None if before is None else motion_between(grey, before)
        marks.append(time.thread_time())
        planes = segmenter_planes(small, motion)
        marks.append(time.thread_time())
        probabilities = segmenter.probabilities(planes)
        marks.append(time.thread_time())
        if motion is not None and mixed is not None:
            probabilities = mix(mixed, probabilities, motion.flow)
        mixed = probabilities
        masks, scores = masks_of(probabilities, None if motion is None else motion.own)
        marks.append(time.thread_time())
        tracker.update(masks, scores, rgb, None if motion is None else motion.flow)
        marks.append(time.thread_time())
        before = grey
        if k >= 10:
            for name, ms in zip(
                ("flow", "planes", "network", "masks", "tracking"), np.diff(marks), strict=True
            ):
                times.setdefault(name, []).append(1e3 * ms)
            times.setdefault("all", []).append(1e3 * (marks[-1] - marks[0]))
    return {
        name: {
            "median_ms": round(float(np.median(values)), 2),
            "p95_ms": round(float(np.percentile(values, 95)), 2),
        }
        for name, values in times.items()
    }


def mean_of(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Means over clips of every figure."""
    return {
        name: round(float(np.nanmean([row[name] for row in rows])), 4)
        for name in rows[0]
        if name != "clip"
    }


def open_masks(folder: Path, names: set[str]) -> list[Shot]:
    """Clips of a folder with masks, at their full rate."""
    library = open_library(folder, max_fps=60.0)
    shots = sorted((*library.train, *library.val), key=lambda shot: shot.clip)
    return [s for s in shots if s.labels is not None and (not names or s.clip in names)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="clips with masks")
    parser.add_argument("--clips", default="", help="names, with commas between; default all")
    parser.add_argument("--weights", type=Path, help="default: those bundled")
    parser.add_argument("--sheets", type=Path, help="folder for pictures of what was found")
    parser.add_argument("-o", "--name", help="of the results; default the folder's")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    state, header = read_weights(asked.weights or find_weights(WEIGHTS))
    segmenter = BundledSegmenter(build_network(state, header))
    results: dict[str, Any] = {
        "weights": asked.weights.name if asked.weights else "bundled",
        "steps": header["steps"],
        "machine": f"{platform.machine()}, one thread, torch {torch.__version__}",
    }
    names = {name for name in asked.clips.split(",") if name}
    shots = open_masks(asked.folder, names)
    for view in ("frame", "square"):
        rows = []
        for shot in shots:
            frames, truth = shot.frames, shot.labels
            assert truth is not None
            if view == "square":
                frames = np.stack([centre_square(frame, SQUARE) for frame in frames])
                truth = np.stack([centre_square(255 * plane, SQUARE) > 127 for plane in truth])
            figures, labels = measure_clip(segmenter, frames, truth > 0)
            rows.append({"clip": shot.clip, **figures})
            print(view, rows[-1], flush=True)
            if asked.sheets:
                draw_sheet(frames, labels, asked.sheets / f"{shot.clip}-{view}.png")
        results[view] = {"mean": mean_of(rows), "clips": rows}
        print(view, results[view]["mean"], flush=True)
    frames = shots[0].frames
    for width, height in ((256, 256), (1024, 512)):
        resized = np.stack([cv2.resize(frame, (width, height)) for frame in frames[:40]])
        results[f"ms_{width}x{height}"] = time_stages(segmenter, resized)
        print(width, height, results[f"ms_{width}x{height}"], flush=True)
    path = RESULTS / f"segmenter-{asked.name or asked.folder.name}.json"
    path.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
