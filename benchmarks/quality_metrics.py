"""What does a quality metric cost a frame? CPU time of one core, and elapsed time.

    python benchmarks/quality_metrics.py [--side 256] [--frames 16]

Pictures are random noise (no metric's cost depends on what they show). One warm-up batch, then
`--frames` pairs; torch on one thread. Metrics without weights here are left out, with the reason.
Writes `benchmarks/results/quality_metrics.json`.
"""

import argparse
import json
import os
import platform
import subprocess
import time
from pathlib import Path

import numpy as np

from semcast.metrics.quality import BATCH_FRAMES, REPORT_METRICS, QualityMeter

RESULT = Path(__file__).parent / "results" / "quality_metrics.json"


def main() -> None:
    """Measure every metric of the report, and MS-SSIM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--frames", type=int, default=16)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    rng = np.random.default_rng(0)
    shape = (options.side, options.side, 3)
    pairs = [rng.integers(0, 256, (2, *shape), dtype=np.uint8) for _ in range(options.frames)]
    costs: dict[str, dict[str, float]] = {}
    left_out: dict[str, str] = {}
    for name in (*REPORT_METRICS, "ms_ssim"):
        meter = QualityMeter((name,))
        for _ in range(BATCH_FRAMES):
            meter.add(*pairs[0])
        values, notes = meter.result()
        if values[name] is None:
            left_out[name] = notes[name]
            continue
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        for source, received in pairs:
            meter.add(source, received)
        meter.result()
        costs[name] = {
            "cpu_ms_per_frame": round((time.process_time() - cpu_s) / len(pairs) * 1e3, 2),
            "wall_ms_per_frame": round((time.perf_counter() - wall_s) / len(pairs) * 1e3, 2),
        }
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    result = {
        "command": f"python benchmarks/quality_metrics.py --side {options.side} "
        f"--frames {options.frames}",
        "commit": commit,
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        "metrics": costs,
        "left_out": left_out,
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
