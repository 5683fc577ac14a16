"""Runs the console: checks what it was given, takes the port, serves until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import signal
import socket
import sys
from collections.abc import Iterator

import uvicorn

from console.app import create_app
from console.settings import ConsoleSettings
from semcast.errors import InputError
from semcast.rpc.server import format_address

logger = logging.getLogger(__name__)


def run_console(settings: ConsoleSettings) -> None:
    """Runs the console as this process until SIGTERM or SIGINT. A second signal ends it at once.

    Raises InputError where the port is taken.
    """
    logging.basicConfig(
        level=settings.log_level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    asyncio.run(serve(settings))


async def serve(settings: ConsoleSettings) -> None:
    """Serves until SIGINT, SIGTERM or cancellation, then drains.

    Prints "console ready on URL" once it answers. Raises InputError, before anything is started,
    where the port is taken.
    """
    with contextlib.closing(take_port(settings.host, settings.port)) as listener:
        port = listener.getsockname()[1]
        scheme = "https" if settings.serves_tls else "http"
        server = _Server(settings, f"{scheme}://{format_address(settings.host, port)}")
        with _stop_on_signals(server):
            try:
                await server.serve(sockets=[listener])
            except asyncio.CancelledError:
                if server.started:
                    await server.shutdown(sockets=[listener])
                raise


def take_port(host: str, port: int) -> socket.socket:
    """A listening socket. Raises InputError where the address cannot be had."""
    try:
        info = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise InputError(
            f"Host '{host}' is not an address of this machine: use 127.0.0.1 or 0.0.0.0."
        ) from error
    family, kind, protocol, _, address = info[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(256)
    except OSError as error:
        listener.close()
        raise InputError(
            f"Port {port} on {host} cannot be used ({error.strerror}): "
            "stop what listens there, or choose another port with --port."
        ) from error
    listener.setblocking(False)
    return listener


class _Server(uvicorn.Server):
    """uvicorn that leaves signals to `serve`, and ends the streams of events at a stop."""

    def __init__(self, settings: ConsoleSettings, url: str) -> None:
        self._url = url
        self._app = create_app(settings)
        super().__init__(
            uvicorn.Config(
                self._app,
                log_config=None,
                access_log=False,
                server_header=False,
                ws="none",
                timeout_graceful_shutdown=math.ceil(settings.grace_s),
                ssl_certfile=settings.tls_cert_file,
                ssl_keyfile=settings.tls_key_file,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(f"console ready on {self._url}", flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Else every open page would hold the stop up until the drain runs out.
        self._app.state.console.keeper.end_streams()
        await super().shutdown(sockets)


@contextlib.contextmanager
def _stop_on_signals(server: uvicorn.Server) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        # The next signal ends the process at once.
        remove_handlers()
        server.should_exit = True

    def remove_handlers() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        remove_handlers()
