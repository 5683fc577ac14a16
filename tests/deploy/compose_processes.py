"""The services of docker-compose.yml as processes of this machine, for want of a Docker engine.

Each gets its command and its environment from the file and nothing of the caller's but PATH (where
`python` is the one that runs the tests) and the caches; its `/tmp` is a folder of its own. Its
health check is run as compose would run it, and decides when what depends on it may start.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from compose_file import Model, Service

_INHERITED = ("LANG", "NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "HOME")


class ComposeProcess:
    """One service as a process."""

    def __init__(self, service: Service, folder: Path) -> None:
        self.service = service
        self.tmp = folder / service.name
        self.tmp.mkdir()
        self._log = folder / f"{service.name}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                service.command,
                cwd=self.tmp,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _environment(self) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
        return {
            **inherited,
            "PATH": path,
            "TMPDIR": str(self.tmp),
            "PYTHONDONTWRITEBYTECODE": "1",
            **self.service.environment,
        }

    @property
    def exit_status(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def log(self) -> str:
        """What it has printed."""
        return self._log.read_text(errors="replace")

    def healthy(self) -> bool:
        """Whether its health check says so now."""
        check = subprocess.run(
            self.service.healthcheck,
            cwd=self.tmp,
            env=self._environment(),
            capture_output=True,
            timeout=30,
        )
        return check.returncode == 0

    def wait_healthy(self, timeout_s: float) -> None:
        """Returns once it is healthy; AssertionError, with its log, where it never is."""
        deadline_s = time.monotonic() + timeout_s
        while not self.healthy():
            assert self.exit_status is None, f"{self.service.name} died:\n{self.log()}"
            assert time.monotonic() < deadline_s, f"{self.service.name} not ready:\n{self.log()}"
            time.sleep(0.2)

    def terminate(self) -> None:
        """SIGTERM, as `docker compose stop` sends it."""
        if self.exit_status is None:
            self._process.send_signal(signal.SIGTERM)

    def wait_exit(self) -> int:
        """Its exit status; -9 where it had to be killed after its stop_grace_period."""
        try:
            return self._process.wait(self.service.stop_grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


class ComposeUp:
    """`docker compose up --wait` and `down`, as a context manager."""

    def __init__(self, model: Model, folder: Path, start_timeout_s: float = 120.0) -> None:
        self.model = model
        self._folder = folder
        self._start_timeout_s = start_timeout_s
        self.processes: dict[str, ComposeProcess] = {}

    def __enter__(self) -> ComposeUp:
        try:
            for service in self.model.running():
                for dependency in service.depends_on:
                    if dependency in self.processes:
                        self.processes[dependency].wait_healthy(self._start_timeout_s)
                self.processes[service.name] = ComposeProcess(service, self._folder)
            for process in self.processes.values():
                if process.service.healthcheck:
                    process.wait_healthy(self._start_timeout_s)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> Mapping[str, int]:
        """Stops all, dependents first; exit status by service."""
        statuses: dict[str, int] = {}
        for name, process in reversed(self.processes.items()):
            process.terminate()
            statuses[name] = process.wait_exit()
        return statuses
