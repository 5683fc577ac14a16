"""The report of `semcast send` over schemes, SNRs and clips, through the three services.

    .venv/bin/python benchmarks/send_table.py CLIP [CLIP ...]

Writes `benchmarks/results/send_table.json` and prints a table. Timings depend on the machine; all
else is determined by clip, scheme, SNR and seed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "send_table.json"
KEPT = (
    *("scheme", "snr_db", "frames_sent", "frames_concealed", "cbr", "cbr_payload", "cbr_target"),
    *("bpp", "psnr_db", "ssim", "lpips_squeeze_caffe", "snr_db_measured", "snr_db_estimated"),
    *("latency_ms_p95", "realtime_factor"),
)


def send(clip: Path, scheme: str, snr_db: float, frames: int) -> dict[str, Any]:
    """The report of one run; raises CalledProcessError where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [
            *(sys.executable, "-m", "semcast", "send", str(clip), "--scheme", scheme),
            *("--snr-db", str(snr_db), "--frames", str(frames), "--report", str(report)),
            *("-o", str(Path(folder) / "out.mp4")),
        ]
        subprocess.run(command, check=True, capture_output=True)
        full = json.loads(report.read_text())
    return {"clip": clip.name, **{key: full[key] for key in KEPT}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--schemes", default="lowres,h264-ldpc")
    parser.add_argument("--snr-db", default="10,5,0,-5")
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = []
    for clip in options.clips:
        for scheme in options.schemes.split(","):
            for snr_db in map(float, options.snr_db.split(",")):
                row = send(clip, scheme, snr_db, options.frames)
                rows.append(row)
                off = 100 * (row["cbr"] / row["cbr_target"] - 1)
                print(
                    f"{row['clip'][:30]:30} {scheme:10} {snr_db:5.1f} dB  CBR {row['cbr']:.5f} "
                    f"({off:+.1f} %)  PSNR {row['psnr_db']:.2f}  SSIM {row['ssim']:.3f}  "
                    f"LPIPS-s {row['lpips_squeeze_caffe'] or float('nan'):.3f}  "
                    f"concealed {row['frames_concealed']}/{row['frames_sent']}",
                    flush=True,
                )
    options.output.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
