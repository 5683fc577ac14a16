"""The services as processes on this machine: free ports, health, and no orphans."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from semcast.errors import UnavailableError
from semcast.rpc.client import is_serving, open_channel

START_TIMEOUT_S = 300.0
"""First starts compile the decoders, which takes a while on a small machine."""

_STOP_TIMEOUT_S = 8.0
_PR_SET_PDEATHSIG = 1


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


class ServiceProcess:
    """One `semcast serve` as a child process, restartable on the same port."""

    def __init__(self, service: str, port: int, arguments: Sequence[str]) -> None:
        self.service = service
        self.address = f"127.0.0.1:{port}"
        self._command = [
            *(sys.executable, "-m", "semcast", "serve", service),
            *("--port", str(port), *arguments),
        ]
        self._log: IO[bytes] = tempfile.TemporaryFile(prefix=f"semcast-{service}-")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it; `wait_ready` before using it."""
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )

    @property
    def pid(self) -> int:
        """Process id of the running child."""
        if self._process is None:
            raise RuntimeError(f"the {self.service} was not started")
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """None while it runs."""
        return self._process.poll() if self._process else None

    def log(self) -> str:
        """What it has printed."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    async def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Returns once it is warm. Raises UnavailableError with its last words where it died."""
        channel = open_channel(self.address)
        try:
            async with asyncio.timeout(timeout_s):
                while not await is_serving(channel, timeout_s=1.0):
                    if self.exit_status is not None:
                        last = self.log().strip().splitlines()[-1:] or ["it printed nothing"]
                        raise UnavailableError(f"The {self.service} did not start: {last[0]}")
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise UnavailableError(
                f"The {self.service} was not ready within {timeout_s:g} s."
            ) from None
        finally:
            await channel.close(grace=None)

    def kill(self) -> None:
        """Ends it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Asks it to end, waits, and kills it if it does not."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class LocalServices:
    """Receiver, channel emulator and transmitter on free ports of this machine."""

    def __init__(
        self,
        *,
        record_dir: Path | None = None,
        clips: Sequence[str] = (),
        live: bool = False,
        any_path: bool = False,
        preload: str = "",
    ) -> None:
        """clips: offered by the transmitter. live: quick shutdown does not wait for streams.

        any_path: RunSession may name any file. preload: generator the receiver has ready at once.
        """
        receiver_port, channel_port, transmitter_port = (free_port() for _ in range(3))
        grace = ["--grace-s", "0.5"] if live else []
        record = ["--record-dir", str(record_dir)] if record_dir else []
        any_path_flag = ["--any-path"] if any_path else []
        offered = [argument for clip in clips for argument in ("--clips", clip)]
        preloaded = ["--preload", preload] if preload else []
        self.receiver = ServiceProcess("receiver", receiver_port, [*record, *grace, *preloaded])
        self.channel = ServiceProcess(
            "channel",
            channel_port,
            ["--receiver-address", self.receiver.address, *grace],
        )
        self.transmitter = ServiceProcess(
            "transmitter",
            transmitter_port,
            ["--channel-address", self.channel.address, *offered, *grace, *any_path_flag],
        )
        self.all = (self.receiver, self.channel, self.transmitter)

    async def __aenter__(self) -> LocalServices:
        for process in self.all:
            process.start()
        try:
            for process in self.all:
                await process.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.stop)

    def stop(self) -> None:
        """Ends all, transmitter first, so that streams end cleanly."""
        for process in reversed(self.all):
            process.stop()


def _die_with_parent() -> None:
    """Runs in the child: the kernel ends it when its parent dies, even by SIGKILL (Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
