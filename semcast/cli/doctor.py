"""`semcast doctor`: what this machine can run, a line each."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from semcast.cli.processes import free_port
from semcast.metrics.weights import MetricUnavailableError, MetricWeights

_CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. needed: without it, demo and send do not work."""

    what: str
    good: bool
    detail: str
    needed: bool = False


def examine() -> int:
    """Prints the findings; 0 where everything that is needed is there, else 1."""
    findings = [finding for check in _CHECKS for finding in check()]
    table = Table(title="semcast doctor", title_justify="left")
    for column in ("what", "state", "detail"):
        table.add_column(column)
    for finding in findings:
        state = "ok" if finding.good else ("MISSING" if finding.needed else "without")
        table.add_row(finding.what, state, finding.detail)
    Console().print(table)
    return 1 if any(finding.needed and not finding.good for finding in findings) else 0


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    yield Finding("Python 3.11 or newer", sys.version_info >= (3, 11), version, needed=True)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("processor", True, f"{cores} cores, {platform.machine()}")


def _packages() -> Iterator[Finding]:
    groups = {
        "transmitter and receiver (extra media)": ("aiortc", "av", "constriction", "cv2"),
        "page (extra console)": ("fastapi", "uvicorn", "plotly", "httpx"),
    }
    for what, modules in groups.items():
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        detail = f"missing: {', '.join(missing)}; run make setup" if missing else "installed"
        yield Finding(what, not missing, detail, needed=True)


def _codecs() -> Iterator[Finding]:
    if importlib.util.find_spec("av") is None:
        return
    import av

    for encoder in ("libx264", "libx265"):
        there = encoder in av.codec.codecs_available
        yield Finding(f"encoder {encoder}", there, "in PyAV" if there else "not in this PyAV")


def _torch() -> Iterator[Finding]:
    if importlib.util.find_spec("torch") is None:
        yield Finding("torch (extra models)", False, "perceptual metrics and generators need it")
        return
    import torch

    yield Finding("torch (extra models)", True, torch.__version__)
    gpu = torch.cuda.is_available()
    name = torch.cuda.get_device_name(0) if gpu else "none found; everything runs on the CPU"
    yield Finding("CUDA device", gpu, name)


def _metrics() -> Iterator[Finding]:
    try:
        path = MetricWeights.from_environment().squeezenet()
        yield Finding("weights of lpips_squeeze_caffe", True, path.name)
    except MetricUnavailableError as reason:
        yield Finding("weights of lpips_squeeze_caffe", False, str(reason))


def _network() -> Iterator[Finding]:
    try:
        free_port()
        yield Finding("loopback ports", True, "can be opened", needed=True)
    except OSError as error:
        yield Finding("loopback ports", False, f"cannot be opened: {error}", needed=True)
    with socket.socket() as probe:
        taken = probe.connect_ex(("127.0.0.1", 8080)) == 0
    detail = "in use: give the demo another --port" if taken else "free"
    yield Finding("port 8080 for the page", not taken, detail)


def _browser() -> Iterator[Finding]:
    found = next((name for name in _CHROMIUM_NAMES if shutil.which(name)), None)
    yield Finding("Chromium for the browser tests", found is not None, found or "not installed")


_CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _python,
    _packages,
    _codecs,
    _torch,
    _metrics,
    _network,
    _browser,
)
