"""Measures the switching points of `semcast/air/ladder.py`.

For every rung and payload size: the Es/N0 at which the block error rate of `encode_block` ->
AWGN -> `decode_block` is 1 %. The receiver is told N0; its own estimate costs little on top. The
SNR goes down in steps of 0.25 dB until more than 1 % of the blocks fail; the point is interpolated
in log error rate. A rung's `min_snr_db` is the worst over the payload sizes, rounded up to 0.1 dB.

    python benchmarks/ladder.py [--blocks 2000] [--seed 1]

writes benchmarks/results/ladder.json. Exit status 1 if the ladder in the code is more than 0.3 dB
off what was measured.
"""

import argparse
import json
import math
import platform
import sys
import time
from pathlib import Path

import numpy as np

from semcast.air.digital import decode_block, encode_block, num_symbols
from semcast.air.ladder import LADDER, Rung
from semcast.air.warm import warm_up

PAYLOAD_BITS = (100, 200, 400, 800)
TARGET = 0.01
STEP_DB = 0.25
RESULT = Path(__file__).parent / "results" / "ladder.json"


def block_error_rate(
    rung: Rung, num_bits: int, snr_db: float, num_blocks: int, rng: np.random.Generator
) -> float:
    """Fraction of blocks lost; stops early, once 40 are lost, or none of the first 600."""
    size = num_symbols(num_bits, rung)
    noise_var = 10.0 ** (-snr_db / 10.0)
    lost = 0
    for i in range(num_blocks):
        payload = rng.integers(0, 2, num_bits).astype(np.uint8)
        noise = rng.normal(size=(size, 2)) @ np.array([1.0, 1.0j]) * math.sqrt(noise_var / 2.0)
        received = encode_block(payload, size, rung, key=i) + noise
        block = decode_block(received, noise_var, rung, num_bits, key=i)
        if block.payload is None or not np.array_equal(block.payload, payload):
            lost += 1
        if lost == 40 or (lost == 0 and i == 599):
            return lost / (i + 1)
    return lost / num_blocks


def threshold(
    rung: Rung, num_bits: int, num_blocks: int, rng: np.random.Generator
) -> tuple[float, dict[str, float]]:
    """(Es/N0 in dB at an error rate of 1 %, the curve it was read from)."""
    snr_db = math.ceil(4.0 * (rung.min_snr_db + 0.25)) / 4.0
    curve: dict[str, float] = {}
    above: tuple[float, float] | None = None
    while True:
        rate = block_error_rate(rung, num_bits, snr_db, num_blocks, rng)
        curve[f"{snr_db:.2f}"] = rate
        if rate > TARGET and above is not None:
            high_db, high_rate = above
            # None lost of 600: as if one of 1000 had been.
            low_log, high_log = math.log(rate), math.log(max(high_rate, 0.001))
            share = (math.log(TARGET) - low_log) / (high_log - low_log)
            return snr_db + share * (high_db - snr_db), curve
        if rate > TARGET:
            snr_db += 1.0
            continue
        above = (snr_db, rate)
        snr_db -= STEP_DB


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    warm_up()
    rng = np.random.default_rng(options.seed)
    started = time.perf_counter()
    rows = []
    worst_error_db = 0.0
    for rung in LADDER:
        points = {}
        curves = {}
        for num_bits in PAYLOAD_BITS:
            points[str(num_bits)], curves[str(num_bits)] = threshold(
                rung, num_bits, options.blocks, rng
            )
        measured = math.ceil(10.0 * max(points.values())) / 10.0
        worst_error_db = max(worst_error_db, abs(measured - rung.min_snr_db))
        rows.append(
            {
                "id": rung.id,
                "min_snr_db_measured": measured,
                "snr_db_at_1_percent_by_payload_bits": {k: round(v, 2) for k, v in points.items()},
                "block_error_rate": curves,
            }
        )
        rounded = {bits: round(point, 2) for bits, point in points.items()}
        print(f"{rung.id:12s} code {rung.min_snr_db:6.1f} measured {measured:6.1f}  {rounded}")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(
        json.dumps(
            {
                "command": f"python benchmarks/ladder.py --blocks {options.blocks}"
                f" --seed {options.seed}",
                "machine": f"{platform.machine()} {platform.system()}, Python "
                f"{platform.python_version()}, numpy {np.__version__}",
                "seconds": round(time.perf_counter() - started, 1),
                "target_block_error_rate": TARGET,
                "rungs": rows,
            },
            indent=1,
        )
        + "\n"
    )
    return 1 if worst_error_db > 0.3 else 0


if __name__ == "__main__":
    sys.exit(main())
