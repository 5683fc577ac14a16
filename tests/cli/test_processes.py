"""Services as child processes: how they start, say why not, and never outlive their parent."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from semcast.cli.processes import LocalServices, ServiceProcess, free_port
from semcast.errors import UnavailableError

PATIENCE_S = 60.0


def test_a_free_port_can_be_bound() -> None:
    port = free_port()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))


async def test_a_service_that_dies_at_start_says_why() -> None:
    process = ServiceProcess("channel", free_port(), ["--receiver-address", "nowhere"])
    process.start()
    with pytest.raises(UnavailableError, match=r"channel did not start: .*receiver-address"):
        await process.wait_ready(PATIENCE_S)
    assert process.exit_status == 2
    process.stop()


async def test_a_service_is_ready_stopped_killed_and_started_again_on_its_port() -> None:
    process = ServiceProcess("channel", free_port(), [])
    assert process.exit_status is None
    process.start()
    try:
        await process.wait_ready(PATIENCE_S)
        first = process.pid
        process.kill()
        assert process.exit_status == -signal.SIGKILL
        process.start()
        await process.wait_ready(PATIENCE_S)
        assert process.pid != first
        process.stop()
        assert process.exit_status == 0
        # Stopping what has ended is no mistake.
        process.stop()
    finally:
        process.stop()


async def test_a_service_that_is_not_ready_in_time_is_named() -> None:
    process = ServiceProcess("channel", free_port(), [])
    process.start()
    try:
        with pytest.raises(UnavailableError, match="channel was not ready within 0 s"):
            await process.wait_ready(0.0)
    finally:
        process.stop()


def test_a_process_that_was_never_started_has_no_pid() -> None:
    with pytest.raises(RuntimeError, match="channel was not started"):
        _ = ServiceProcess("channel", 1, []).pid


def test_each_service_is_told_where_the_next_one_is(tmp_path: Path) -> None:
    services = LocalServices(record_dir=tmp_path, clips=["a.mp4"], any_path=True)
    commands = {process.service: process._command for process in services.all}
    assert list(commands) == ["receiver", "channel", "transmitter"]
    assert str(tmp_path) in commands["receiver"]
    assert services.receiver.address in commands["channel"]
    assert services.channel.address in commands["transmitter"]
    assert commands["transmitter"][-1] == "--any-path"
    assert ["--clips", "a.mp4"] == commands["transmitter"][-3:-1]
    assert len({process.address for process in services.all}) == 3
    assert "--any-path" not in LocalServices().transmitter._command


@pytest.mark.skipif(sys.platform != "linux", reason="only the Linux kernel can tell a child")
def test_a_service_does_not_outlive_a_parent_that_was_killed() -> None:
    script = (
        "import time\n"
        "from semcast.cli.processes import ServiceProcess, free_port\n"
        "process = ServiceProcess('channel', free_port(), [])\n"
        "process.start()\n"
        "print(process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline_s = time.monotonic() + PATIENCE_S
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline_s, "the service lives on"
        time.sleep(0.02)
