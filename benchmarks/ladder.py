"""Measures the table of `semcast/air/ladder.py`: the SNR each rung needs, by block length.

For every rung and number of information bits (payload and CRC): the Es/N0 at which the block error
rate of `encode_block` -> AWGN -> `decode_block` is 1 %. The receiver is told N0; its own estimate
costs little on top. Points a step apart are measured until two enclose 1 %; the threshold is
interpolated in log error rate and rounded up to 0.1 dB. 30 dB stands for never: a 64-QAM block of
half a dozen symbols whose scale cannot be found.

    python benchmarks/ladder.py [--blocks 1500] [--step-db 0.25] [--seed 1] [--rungs qpsk-1/3,...]

writes benchmarks/results/ladder.json (rungs not asked for keep their last result) and prints the
table. Exit status 1 if the table in the code
is more than 0.3 dB off what was measured.
"""

import argparse
import json
import math
import platform
import sys
import time
from pathlib import Path

import numpy as np

from semcast.air import crc, ladder
from semcast.air.digital import decode_block, encode_block, num_symbols
from semcast.air.ladder import LADDER, TABLE_INFO_BITS, Rung
from semcast.air.warm import warm_up

TARGET = 0.01
NEVER_DB = 30.0
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
    rung: Rung,
    num_bits: int,
    start_db: float,
    step_db: float,
    num_blocks: int,
    rng: np.random.Generator,
) -> tuple[float, dict[str, float]]:
    """(Es/N0 in dB at an error rate of 1 %, the curve it was read from), searched from a start."""
    snr_db = round(start_db / step_db) * step_db
    curve: dict[float, float] = {}
    while True:
        curve[snr_db] = block_error_rate(rung, num_bits, snr_db, num_blocks, rng)
        lossy = [point for point, rate in curve.items() if rate > TARGET]
        sound = [point for point, rate in curve.items() if rate <= TARGET]
        if not sound and snr_db >= NEVER_DB:
            return NEVER_DB, {f"{point:.2f}": curve[point] for point in sorted(curve)}
        if not sound:
            snr_db = max(lossy) + (step_db if curve[max(lossy)] < 0.2 else 4 * step_db)
        elif not lossy or max(lossy) < min(sound) - 1.5 * step_db:
            snr_db = min(sound) - step_db
        else:
            break
    low_db = max(point for point in lossy if point < min(sound))
    high_db = min(sound)
    # None lost of 600: as if one of 1000 had been.
    low_log, high_log = math.log(curve[low_db]), math.log(max(curve[high_db], 0.001))
    share = (math.log(TARGET) - low_log) / (high_log - low_log)
    points = {f"{point:.2f}": curve[point] for point in sorted(curve)}
    return low_db + share * (high_db - low_db), points


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--step-db", type=float, default=0.25)
    parser.add_argument("--rungs", default=",".join(rung.id for rung in LADDER))
    options = parser.parse_args()
    warm_up()
    worst_error_db = 0.0
    for rung in (ladder.rung(rung_id) for rung_id in options.rungs.split(",")):
        rng = np.random.default_rng((options.seed, rung.index))
        started = time.perf_counter()
        measured = {}
        curves = {}
        for num_info_bits in TABLE_INFO_BITS:
            payload_bits = num_info_bits - crc.length_bits("crc16")
            in_code_db = rung.min_snr_db_for(num_info_bits)
            point, curves[str(num_info_bits)] = threshold(
                rung, payload_bits, in_code_db, options.step_db, options.blocks, rng
            )
            measured[str(num_info_bits)] = math.ceil(10.0 * point) / 10.0
            worst_error_db = max(worst_error_db, abs(measured[str(num_info_bits)] - in_code_db))
        print(f"{rung.id:12s}", tuple(measured.values()), flush=True)
        keep(
            {
                "id": rung.id,
                "command": f"python benchmarks/ladder.py --blocks {options.blocks}"
                f" --seed {options.seed} --step-db {options.step_db} --rungs {rung.id}",
                "seconds": round(time.perf_counter() - started, 1),
                "min_snr_db_by_info_bits": measured,
                "block_error_rate": curves,
            }
        )
    return 1 if worst_error_db > 0.3 else 0


def keep(row: dict[str, object]) -> None:
    """Puts a rung's result in the place of its last one."""
    rows = json.loads(RESULT.read_text())["rungs"] if RESULT.exists() else []
    by_id = {each["id"]: each for each in rows} | {row["id"]: row}
    result = {
        "machine": f"{platform.machine()} {platform.system()}, Python "
        f"{platform.python_version()}, numpy {np.__version__}",
        "target_block_error_rate": TARGET,
        "rungs": [by_id[rung.id] for rung in LADDER if rung.id in by_id],
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
