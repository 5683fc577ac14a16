"""H.264 and H.265 through PyAV on real clips: is the rate kept, and what is the picture worth?

    python -m benchmarks.classical_codec --data ../shared/data/video/val

Every clip at 8 fps, 256x256 (centre-cropped, area-averaged), at 1000 and 2500 bits a frame. Clips
under 48 frames run forth and back up to 48. A skipped frame shows the picture before it. Writes
benchmarks/results/classical_codec.json.
"""

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.lowres_codec import read_clip
from semcast.codecs.classical import ClassicalDecoder, ClassicalEncoder, Codec

SIDE = 256
FPS = 8.0
CODECS: tuple[Codec, ...] = ("h264", "h265")


def load(path: Path) -> list[NDArray[np.uint8]]:
    """At least 48 frames, uint8 [256, 256, 3]."""
    frames = [
        np.asarray(cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        for frame in read_clip(path, 120)
    ]
    while len(frames) < 48:
        frames = frames + frames[::-1]
    return frames


def run(codec: Codec, frames: list[NDArray[np.uint8]], bits_per_frame: int) -> dict[str, float]:
    """Rate, skips, padding, PSNR and time of one clip."""
    encoder = ClassicalEncoder(codec, SIDE, SIDE, FPS, bits_per_frame)
    decoder = ClassicalDecoder(codec, SIDE, SIDE)
    shown: NDArray[np.uint8] | None = None
    skipped = failed = 0
    padded = 0.0
    errors, times_s = [], []
    for frame in frames:
        started = time.perf_counter()
        access_unit = encoder.encode(frame)
        padding = encoder.rate.padding()
        encoder.rate.spend(padding)
        padded += padding
        skipped += not access_unit
        picture = decoder.decode(access_unit)
        times_s.append(time.perf_counter() - started)
        failed += bool(access_unit) and picture is None
        shown = shown if picture is None else picture
        if shown is None:
            raise AssertionError("the first access unit did not decode")
        errors.append(float(np.mean((frame.astype(float) - shown) ** 2)))
    count = len(frames)
    return {
        "frames": count,
        "mean_over_target": round(encoder.rate.mean_per_frame / bits_per_frame, 3),
        "padded_over_target": round(padded / bits_per_frame / count, 3),
        "skipped": skipped,
        "decode_failures": failed,
        "psnr_db": round(float(10 * np.log10(255**2 / np.mean(errors))), 2),
        "encode_and_decode_ms_p50": round(1e3 * float(np.median(times_s)), 1),
        "encode_and_decode_ms_p95": round(1e3 * float(np.percentile(times_s, 95)), 1),
    }


def main() -> None:
    """Runs every clip of the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    rows = {}
    for path in sorted(arguments.data.glob("*.mp4")):
        frames = load(path)
        for codec in CODECS:
            for bits in (1000, 2500):
                row = rows[f"{path.stem} {codec} {bits}"] = run(codec, frames, bits)
                print(path.stem, codec, bits, row, flush=True)
    worst = max(abs(row["mean_over_target"] - 1) for row in rows.values())
    summary = {}
    for setting in (f"{codec} {bits}" for codec in CODECS for bits in (1000, 2500)):
        chosen = [row for name, row in rows.items() if name.endswith(setting)]
        summary[setting] = {
            key: round(float(np.mean([row[key] for row in chosen])), 3)
            for key in ("psnr_db", "mean_over_target", "padded_over_target", "skipped")
        }
    result = {
        "command": "python -m benchmarks.classical_codec --data ../shared/data/video/val",
        "worst_deviation_from_target": round(worst, 3),
        "mean": summary,
        "clips": rows,
    }
    out = Path(__file__).parent / "results" / "classical_codec.json"
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({k: v for k, v in result.items() if k != "clips"}, indent=1))


if __name__ == "__main__":
    main()
