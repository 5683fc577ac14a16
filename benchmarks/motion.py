"""The motion scalar: what it costs, how true it is, and how the levels are used.

    python -m benchmarks.motion --data ../shared/data/video

`pans`: a smooth random texture moved by a known number of pixels at 256 x 256, and what was
measured. `time_ms`: processor time of `mean_motion` on two frames of 256 x 256, one thread, median
and p95 of 200 calls after 20. `levels`: of every segment of 8 frames at 8 fps and 256 x 256 (the
first 33 frames of each clip), how often each of the 16 levels is sent, and the entropy of that, on
`train` (where the levels were chosen) and on `val`. Writes benchmarks/results/motion.json.
"""

import argparse
import json
import platform
import time
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from semcast.codecs.motion import NUM_LEVELS, quantise_motion
from transmitter.extractors.motion import MotionMeter, mean_motion
from transmitter.sources import read_clip

SIDE = 256
PANS_PX = (0, 0.5, 1, 2, 4, 8, 16, 24)
FPS, SEGMENT, FRAMES = 8, 8, 33


def texture() -> NDArray[np.uint8]:
    noise = np.random.default_rng(5).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4)
    return np.asarray(cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX), np.uint8)


def pans(scene: NDArray[np.uint8]) -> list[dict[str, float]]:
    before = scene[100 : 100 + SIDE, 100 : 100 + SIDE]
    rows = []
    for shift in PANS_PX:
        moved = cv2.warpAffine(scene, np.array([[1, 0, shift], [0, 1, 0]], np.float32), (512, 512))
        after = np.asarray(moved[100 : 100 + SIDE, 100 : 100 + SIDE], np.uint8)
        rows.append({"pan_px": shift, "measured_px": round(mean_motion(before, after) * SIDE, 3)})
    return rows


def time_ms(scene: NDArray[np.uint8]) -> dict[str, float]:
    before, after = scene[100:356, 100:356], scene[100:356, 106:362]
    times = []
    for _ in range(220):
        start = time.thread_time()
        mean_motion(before, after)
        times.append((time.thread_time() - start) * 1e3)
    median, p95 = np.quantile(times[20:], (0.5, 0.95))
    return {"median": round(float(median), 3), "p95": round(float(p95), 3)}


def levels(folder: Path) -> dict[str, Any]:
    counts: Counter[int] = Counter()
    for clip in sorted(folder.glob("*.mp4")):
        meter = MotionMeter()
        for frame in read_clip(str(clip), fps=FPS, width=SIDE, height=SIDE, max_frames=FRAMES):
            meter.add(frame.rgb)
            if frame.index and frame.index % SEGMENT == 0:
                motion = meter.end_segment()
                counts[quantise_motion(motion or 0.0)] += 1
    table = np.array([counts[level] for level in range(NUM_LEVELS)])
    shares = table[table > 0] / table.sum()
    entropy = float(-(shares * np.log2(shares)).sum())
    return {
        "segments": int(table.sum()),
        "counts": table.tolist(),
        "entropy_bits": round(entropy, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/motion.json"))
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    scene = texture()
    result = {
        "command": "python -m benchmarks.motion --data ../shared/data/video",
        "machine": f"{platform.machine()}, one thread",
        "pans": pans(scene),
        "time_ms": time_ms(scene),
        "levels": {split: levels(arguments.data / split) for split in ("train", "val")},
    }
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
