"""The answering end: a gRPC server with semcast's limits, health, reflection, TLS and shutdown.

A service is an object with the four members of `RpcService`; `run_service` gives it a process:

    register() -> bound, NOT_SERVING, calls refused -> warm_up() -> SERVING
    -> "NAME ready on HOST:PORT" -> SIGTERM or SIGINT -> NOT_SERVING, `stopping` set, calls drain
    -> the rest cancelled -> close()
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol, TypeVar

import grpc
import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from semcast.errors import InputError
from semcast.rpc.client import read_pem
from semcast.rpc.interceptor import Admission, ServiceInterceptor
from semcast.rpc.limits import SERVER_OPTIONS
from semcast.rpc.metrics import MetricsServer, ServiceMetrics
from semcast.rpc.settings import ServiceSettings

_log = logging.getLogger(__name__)
ServicerT = TypeVar("ServicerT")


class RpcServer:
    """One gRPC server. Make it inside the running event loop.

    stopping: set when the server begins to shut down; handlers of long streams wait for it, deliver
    what they have taken, and end.
    """

    def __init__(self, name: str, settings: ServiceSettings, metrics: ServiceMetrics) -> None:
        self.metrics = metrics
        self.stopping = asyncio.Event()
        self._settings = settings
        self._admission = Admission(f"The {name} is still starting: try again in a moment.")
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]
        self._names = ["", health.SERVICE_NAME, reflection.SERVICE_NAME]
        self._server = grpc.aio.server(
            options=SERVER_OPTIONS, interceptors=[ServiceInterceptor(metrics, self._admission)]
        )

    def add(
        self,
        add_to_server: Callable[[ServicerT, grpc.aio.Server], None],
        servicer: ServicerT,
        descriptor: ServiceDescriptor,
    ) -> None:
        """Registers a servicer; call before `start`.

        add_to_server: the generated `add_..._to_server`. descriptor: of the service, from the
        generated module's `DESCRIPTOR.services_by_name`.
        """
        add_to_server(servicer, self._server)
        self._names.append(descriptor.full_name)

    async def start(self) -> int:
        """Binds and listens, NOT_SERVING. Returns the port.

        Raises InputError where the port is taken or a TLS file cannot be read.
        """
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(self._names[1:], self._server)
        address = format_address(self._settings.host, self._settings.port)
        credentials = _server_credentials(self._settings)
        try:
            if credentials is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise InputError(_why_not_bound(self._settings.host, self._settings.port)) from error
        await self._server.start()
        return port

    async def set_serving(self) -> None:
        """Admits calls, and says over grpc.health.v1 that the service is warm."""
        self._admission.refusal = ""
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)

    async def stop(self) -> None:
        """NOT_SERVING, no new calls, `grace_s` seconds for the running ones, then cancels them."""
        self.stopping.set()
        await self._health.enter_graceful_shutdown()
        await self._server.stop(self._settings.grace_s)

    async def _set_health(self, status: Any) -> None:
        for name in self._names:
            await self._health.set(name, status)


class RpcService(Protocol):
    """What a service is made of; `run_service` does the rest."""

    name: str
    """As people say it: "channel emulator"."""

    def register(self, server: RpcServer) -> None:
        """Adds its servicers to the server, and its own metrics to `server.metrics.registry`."""

    async def warm_up(self) -> None:
        """Loads and compiles what the first call would otherwise wait for."""

    async def close(self) -> None:
        """Releases everything; called once, after the last call has ended."""


@contextlib.asynccontextmanager
async def running_service(service: RpcService, settings: ServiceSettings) -> AsyncIterator[int]:
    """The service, warm and SERVING, on the port that is yielded; leaving shuts it down."""
    metrics = ServiceMetrics()
    server = RpcServer(service.name, settings, metrics)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(service.close)
        service.register(server)
        if settings.metrics_port:
            metrics_server = MetricsServer(metrics, settings.host, settings.metrics_port)
            stack.push_async_callback(asyncio.to_thread, metrics_server.close)
        port = await server.start()
        stack.push_async_callback(server.stop)
        lag_watcher = asyncio.create_task(metrics.watch_event_loop())
        stack.callback(lag_watcher.cancel)
        await service.warm_up()
        await server.set_serving()
        yield port


def run_service(make_service: Callable[[], RpcService], settings: ServiceSettings) -> None:
    """Runs a service as this process until SIGTERM or SIGINT.

    make_service: called inside the event loop. A second signal ends the process at once.
    Raises what `warm_up` raises, and InputError where the port is taken.
    """
    logging.basicConfig(
        level=settings.log_level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    asyncio.run(_run_until_signalled(make_service, settings))


async def _run_until_signalled(
    make_service: Callable[[], RpcService], settings: ServiceSettings
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    service = make_service()
    async with running_service(service, settings) as port:
        print(f"{service.name} ready on {format_address(settings.host, port)}", flush=True)
        await stop.wait()
        _log.info("%s is shutting down", service.name)


def format_address(host: str, port: int) -> str:
    """HOST:PORT; an IPv6 host gets its square brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _server_credentials(settings: ServiceSettings) -> grpc.ServerCredentials | None:
    if settings.tls_cert_file is None or settings.tls_key_file is None:
        return None
    client_ca = settings.tls_client_ca_file
    return grpc.ssl_server_credentials(
        [(read_pem(settings.tls_key_file), read_pem(settings.tls_cert_file))],
        root_certificates=read_pem(client_ca) if client_ca else None,
        require_client_auth=client_ca is not None,
    )


def _why_not_bound(host: str, port: int) -> str:
    """gRPC does not say why it cannot bind; asking the system again does."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except socket.gaierror:
        return f"--host {host} is not an address of this machine: use 127.0.0.1 or 0.0.0.0."
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return (
                f"Port {port} on {host} is in use: stop the program that has it, or choose another "
                "--port."
            )
        if error.errno == errno.EADDRNOTAVAIL:
            return f"--host {host} is not an address of this machine: use 127.0.0.1 or 0.0.0.0."
        return f"Port {port} on {host} cannot be used ({error.strerror}): choose another --port."
    return f"Port {port} on {host} cannot be used with these TLS files: check certificate and key."
