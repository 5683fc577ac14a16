"""Every decoder against random payloads and single-bit corruptions of real ones.

    python -m benchmarks.fuzz_decoders [--count 100000] [--only lowres,text] [--seed 1] [--bounds]

Decoders and their payloads are in fuzz_targets.py. Each is fuzzed in a process of its own, one
thread. Every payload is decoded as the receiver would, from the state of a real frame or from none,
and a real frame is then predicted from whatever came of it. A finding is

* an exception other than `CorruptPayloadError`, or a result of another kind than promised;
* a call of over 50 ms of processor time (other processes may take the processor away; time that the
  process itself sleeps would show as a hang, below), confirmed by a second call;
* an allocation that takes the process more than 64 MB above its size after warm-up: the kernel
  refuses it (RLIMIT_AS), which shows as MemoryError or as the end of the process;
* a hang: no progress for two minutes ends the process with the place it hung at.

With --bounds, what numba compiles checks every index: reading beside an array, which else would
pass unseen, is an IndexError. It is compiled anew for that, and kept as an entry of its own.

Per decoder: calls, refusals, slowest call, growth of the peak resident size, seconds, findings with
their payloads in hex. Results are added to benchmarks/results/fuzz_decoders.json, one entry a
decoder. Exit status 1 where there is a finding.
"""

import argparse
import faulthandler
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fuzz_targets import TARGETS, Bits, Case, random_payload, with_one_bit_flipped
from semcast.codecs.errors import CorruptPayloadError

LONGEST_CALL_S = 0.05
LARGEST_GROWTH = 64 << 20
MOST_FINDINGS = 5
HANG_S = 120
WARM_UP_CALLS = 500
CALLS_A_ROUND = 100
RESULTS = Path("benchmarks/results/fuzz_decoders.json")

Mutation = Callable[[Case, np.random.Generator], Bits]
CHECK_BOUNDS = {
    "NUMBA_BOUNDSCHECK": "1",
    # What is compiled without checks must not be taken from the cache, nor the other way round.
    "NUMBA_CACHE_DIR": str(Path(tempfile.gettempdir()) / "semcast-numba-with-bounds"),
}
MUTATIONS: dict[str, Mutation] = {
    "random": random_payload,
    "one_bit_flipped": with_one_bit_flipped,
}


class Fuzzer:
    """Calls one decoder and keeps what happened."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.slowest_s = 0.0
        self.findings: list[dict[str, Any]] = []

    def call(self, case: Case, bits: Bits, kind: str) -> None:
        """Decode a payload, then a real frame from what came of it."""
        done, result = self._timed(lambda: case.decode(bits), bits, kind)
        if done and case.follow is not None:
            follow = case.follow
            self._timed(lambda: follow(result), bits, f"{kind}, the frame after it")

    def _timed(self, decode: Callable[[], object], bits: Bits, kind: str) -> tuple[bool, object]:
        start = time.thread_time()
        try:
            result, outcome = decode(), "decoded"
        except CorruptPayloadError:
            result, outcome = None, "refused"
        except Exception as error:  # what is looked for
            result, outcome = None, "failed"
            self._found(f"{type(error).__name__}: {error}", bits, kind)
        seconds = time.thread_time() - start
        if seconds > LONGEST_CALL_S:
            seconds = min(seconds, _seconds_again(decode))
            if seconds > LONGEST_CALL_S:
                self._found(f"took {seconds * 1e3:.0f} ms", bits, kind)
        self.slowest_s = max(self.slowest_s, seconds)
        self.counts[f"{kind}: {outcome}"] += 1
        return outcome == "decoded", result

    def _found(self, what: str, bits: Bits, kind: str) -> None:
        if len(self.findings) < MOST_FINDINGS:
            payload = {"num_bits": int(bits.size), "hex": np.packbits(bits).tobytes().hex()}
            self.findings.append({"what": what[:300], "kind": kind, **payload})


def _seconds_again(decode: Callable[[], object]) -> float:
    """A call that was slow once may have waited for a page or the collector."""
    start = time.thread_time()
    try:
        decode()
    except Exception:  # it was counted the first time
        pass
    return time.thread_time() - start


def _virtual_size() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _peak_resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def fuzz(name: str, count: int, seed: int) -> dict[str, Any]:
    """Runs in a process of its own."""
    cases = TARGETS[name]()
    for case in cases:
        case.decode(case.bits)
    rng = np.random.default_rng([seed, 0])
    warm_up = Fuzzer()
    for i in range(WARM_UP_CALLS):
        for kind, mutate in MUTATIONS.items():
            case = cases[i % len(cases)]
            warm_up.call(case, mutate(case, rng), kind)
    limit = _virtual_size() + LARGEST_GROWTH
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    before, start = _peak_resident(), time.monotonic()
    fuzzer = Fuzzer()
    for first in range(0, count, CALLS_A_ROUND):
        faulthandler.dump_traceback_later(HANG_S, exit=True)
        rng = np.random.default_rng([seed, 1, first])
        for i in range(first, min(first + CALLS_A_ROUND, count)):
            for kind, mutate in MUTATIONS.items():
                case = cases[i % len(cases)]
                fuzzer.call(case, mutate(case, rng), kind)
    faulthandler.cancel_dump_traceback_later()
    return {
        "cases": len(cases),
        "payloads": dict.fromkeys(MUTATIONS, count),
        "calls": dict(sorted(fuzzer.counts.items())),
        "slowest_ms": round(fuzzer.slowest_s * 1e3, 2),
        "peak_growth_mb": round((_peak_resident() - before) / 2**20, 1),
        "seconds": round(time.monotonic() - start, 1),
        "findings": warm_up.findings + fuzzer.findings,
    }


def _in_own_process(name: str, count: int, seed: int, bounds: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        command = [sys.executable, "-m", "benchmarks.fuzz_decoders", "--child", name]
        command += ["--count", str(count), "--seed", str(seed), "--out", str(out)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
        if bounds:
            environment |= CHECK_BOUNDS
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return dict(json.loads(out.read_text()))
    what = f"the process ended with status {done.returncode}: {done.stderr[-1500:]}"
    return {"payloads": dict.fromkeys(MUTATIONS, count), "findings": [{"what": what}]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="payloads of each kind")
    parser.add_argument("--only", default=",".join(TARGETS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bounds", action="store_true", help="check every index")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--child", choices=TARGETS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        result = fuzz(arguments.child, arguments.count, arguments.seed)
        arguments.out.write_text(json.dumps(result))
        return 0
    report = json.loads(arguments.out.read_text()) if arguments.out.is_file() else {"decoders": {}}
    report["command"] = "python -m benchmarks.fuzz_decoders"
    report["machine"] = f"{platform.machine()}, Python {platform.python_version()}"
    num_findings = 0
    for name in arguments.only.split(","):
        result = _in_own_process(name, arguments.count, arguments.seed, arguments.bounds)
        entry = f"{name} (bounds checked)" if arguments.bounds else name
        report["decoders"][entry] = {"seed": arguments.seed, **result}
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")
        num_findings += len(result["findings"])
        print(entry, json.dumps(result), flush=True)
    return 1 if num_findings else 0


if __name__ == "__main__":
    sys.exit(main())
