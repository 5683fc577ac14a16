"""Decoders fuzzed by coverage: atheris (libFuzzer) keeps payloads that reach new branches.

    pip install atheris
    python -m benchmarks.fuzz_guided [--only text,contours] [--seconds 120]

Instrumented is semcast's Python: the syntax of every codec. What numba compiles stays compiled,
with its array bounds checked, and its branches unseen. The corpus begins with the real payloads of
fuzz_targets.py; the first byte of an input picks the case, the rest are its bits. A frame is
predicted from whatever is decoded, as in fuzz_decoders.py. A finding is an exception other than
`CorruptPayloadError`, an input that takes over 20 s (the processor may be shared; time is judged by
fuzz_decoders.py), or 2 GB. Adds executions, branches reached and findings to
benchmarks/results/fuzz_guided.json, one entry a decoder.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path("benchmarks/results/fuzz_guided.json")
GUIDED = ("text", "motion", "contours", "sketch", "lowres", "control", "polar", "turbo")
_SLOWEST_INPUT_S = 20
_MOST_MEMORY_MB = 2048


def child(name: str, corpus: Path, libfuzzer: list[str]) -> None:
    """The fuzzing process; libFuzzer ends it."""
    import atheris

    _keep_compiled_functions_plain()
    with atheris.instrument_imports(include=["semcast"], enable_loader_override=False):
        from benchmarks.fuzz_targets import TARGETS
        from semcast.codecs.errors import CorruptPayloadError
    cases = TARGETS[name]()
    for number, case in enumerate(cases[:255]):
        (corpus / f"real{number}").write_bytes(bytes([number]) + np.packbits(case.bits).tobytes())

    def decode(data: bytes) -> None:
        if len(data) < 2:
            return
        case = cases[data[0] % len(cases)]
        bits = np.unpackbits(np.frombuffer(data, np.uint8, offset=1))[: 2 * case.bits.size]
        if case.fixed_length:
            bits = np.resize(bits, case.bits.size)
        try:
            result = case.decode(bits)
            if case.follow is not None:
                case.follow(result)
        except CorruptPayloadError:
            pass

    atheris.Setup([sys.argv[0], *libfuzzer, str(corpus)], decode)
    atheris.Fuzz()


def _keep_compiled_functions_plain() -> None:
    """numba cannot compile instrumented code: give it each function as its source has it."""
    import numba

    compile_plain = numba.njit

    def njit(*arguments: Any, **options: Any) -> Any:
        if arguments and callable(arguments[0]):
            return compile_plain(_plain(arguments[0]), *arguments[1:], **options)
        return lambda function: compile_plain(*arguments, **options)(_plain(function))

    numba.njit = njit


def _plain(function: Any) -> types.FunctionType:
    path = function.__code__.co_filename
    waiting = [compile(Path(path).read_text(), path, "exec")]
    while waiting:
        code = waiting.pop()
        if (code.co_name, code.co_firstlineno) == (
            function.__name__,
            function.__code__.co_firstlineno,
        ):
            plain = types.FunctionType(
                code, function.__globals__, function.__name__, function.__defaults__
            )
            plain.__module__, plain.__qualname__ = function.__module__, function.__qualname__
            return plain
        waiting += [part for part in code.co_consts if isinstance(part, types.CodeType)]
    raise LookupError(f"no source of {function.__qualname__} in {path}")


def run(name: str, seconds: int, seed: int) -> dict[str, Any]:
    """Fuzzes in a process of its own and reads libFuzzer's figures."""
    # Imported here: it imports semcast, which in the child must be imported instrumented.
    from benchmarks.fuzz_decoders import CHECK_BOUNDS

    with tempfile.TemporaryDirectory() as folder:
        corpus, found = Path(folder) / "corpus", Path(folder) / "found"
        corpus.mkdir()
        found.mkdir()
        command = [sys.executable, "-m", "benchmarks.fuzz_guided", "--child", name]
        command += ["--corpus", str(corpus), "--"]
        command += [f"-max_total_time={seconds}", f"-seed={seed}", "-max_len=1024"]
        command += [f"-timeout={_SLOWEST_INPUT_S}", f"-rss_limit_mb={_MOST_MEMORY_MB}"]
        command += ["-print_final_stats=1", f"-artifact_prefix={found}/"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **CHECK_BOUNDS}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        inputs = [path.read_bytes().hex() for path in sorted(found.iterdir())]
        return {**_figures(done.stderr), "findings": _findings(done, inputs)}


def _figures(log: str) -> dict[str, Any]:
    executed = re.search(r"stat::number_of_executed_units:\s*(\d+)", log)
    reached = [int(count) for count in re.findall(r"\bcov: (\d+)", log)]
    kept = [int(count) for count in re.findall(r"corp: (\d+)/", log)]
    return {
        "executions": int(executed.group(1)) if executed else None,
        "branches_of_real_payloads": reached[0] if reached else None,
        "branches": reached[-1] if reached else None,
        "inputs_kept": kept[-1] if kept else None,
    }


def _findings(done: "subprocess.CompletedProcess[str]", inputs: list[str]) -> list[dict[str, Any]]:
    if done.returncode == 0 and not inputs:
        return []
    return [{"status": done.returncode, "inputs": inputs, "log": done.stderr[-2500:]}]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(GUIDED))
    parser.add_argument("--seconds", type=int, default=120, help="for each decoder")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("libfuzzer", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.corpus, arguments.libfuzzer)
        return 0
    report = json.loads(arguments.out.read_text()) if arguments.out.is_file() else {"decoders": {}}
    report["command"] = "python -m benchmarks.fuzz_guided"
    report["machine"] = f"{platform.machine()}, Python {platform.python_version()}"
    num_findings = 0
    for name in arguments.only.split(","):
        result = run(name, arguments.seconds, arguments.seed)
        report["decoders"][name] = {"seconds": arguments.seconds, **result}
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")
        num_findings += len(result["findings"])
        print(name, json.dumps(result), flush=True)
    return 1 if num_findings else 0


if __name__ == "__main__":
    sys.exit(main())
