"""The calling end: channels with semcast's limits, and status codes turned back into errors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from semcast.errors import (
    CapacityError,
    InputError,
    NotFoundError,
    SemcastError,
    UnavailableError,
)
from semcast.rpc.limits import CLIENT_OPTIONS, UNARY_DEADLINE_S

SENTENCE_KEY = "semcast-sentence"
"""Trailing metadata that tells a sentence of ours from a text of gRPC's own."""

_POLL_INTERVAL_S = 0.05

_ERRORS: dict[grpc.StatusCode, type[SemcastError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InputError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: CapacityError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
}


@dataclass(frozen=True, slots=True)
class ClientTls:
    """How a client knows its server, and with mutual TLS is known by it. All files are PEM."""

    ca_file: Path
    cert_file: Path | None = None
    key_file: Path | None = None


def read_pem(path: Path) -> bytes:
    """The bytes of a PEM file; InputError where it cannot be read or is none."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"The TLS file {path} cannot be read: {error.strerror}.") from error
    if b"-----BEGIN" not in content:
        raise InputError(f"The TLS file {path} is not a PEM file.")
    return content


def open_channel(address: str, tls: ClientTls | None = None) -> grpc.aio.Channel:
    """A channel to a semcast service; it connects when first used, and again after each failure.

    address: HOST:PORT. tls: None talks in the clear. The caller closes the channel.
    Raises InputError where a TLS file cannot be read.
    """
    if tls is None:
        return grpc.aio.insecure_channel(address, options=CLIENT_OPTIONS)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=read_pem(tls.ca_file),
        private_key=read_pem(tls.key_file) if tls.key_file else None,
        certificate_chain=read_pem(tls.cert_file) if tls.cert_file else None,
    )
    return grpc.aio.secure_channel(address, credentials, options=CLIENT_OPTIONS)


def error_from_rpc(error: grpc.aio.AioRpcError, peer: str) -> SemcastError:
    """The semcast error a failed call stands for.

    A sentence that the service itself raised comes back as it was; a failure of the connection or
    of the service becomes a sentence about `peer`.

    peer: who was called, as a person would say it: "the receiver at 127.0.0.1:50053".
    """
    code, details = error.code(), " ".join((error.details() or "").split())
    trailing: Any = error.trailing_metadata() or ()
    ours = any(key == SENTENCE_KEY for key, _ in trailing)
    kind = _ERRORS.get(code, UnavailableError)
    if ours:
        return kind(details)
    subject = peer[:1].upper() + peer[1:]
    if code is grpc.StatusCode.UNAVAILABLE:
        return kind(f"{subject} cannot be reached ({details}): start it, or check its address.")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return kind(f"{subject} did not answer in time: check its load, then try again.")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return kind(f"{subject} does not offer this call: check address and version.")
    if code is grpc.StatusCode.INTERNAL:
        return kind(f"{subject} failed: {details}.")
    return kind(f"{subject} failed ({code.name}: {details}).")


@contextmanager
def rpc_errors(peer: str) -> Iterator[None]:
    """Turns an AioRpcError raised inside into the semcast error it stands for."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise error_from_rpc(error, peer) from error


async def is_serving(channel: grpc.aio.Channel, timeout_s: float = UNARY_DEADLINE_S) -> bool:
    """Whether the service behind `channel` says that it is warm (grpc.health.v1)."""
    try:
        response = await health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=timeout_s
        )
    except grpc.aio.AioRpcError:
        return False
    return bool(response.status == health_pb2.HealthCheckResponse.SERVING)


async def wait_serving(address: str, timeout_s: float, tls: ClientTls | None = None) -> None:
    """Returns once the service at `address` is warm.

    Raises UnavailableError after `timeout_s` seconds.
    """
    channel = open_channel(address, tls)
    try:
        async with asyncio.timeout(timeout_s):
            while not await is_serving(channel):  # noqa: ASYNC110 - the state is another process's
                await asyncio.sleep(_POLL_INTERVAL_S)
    except TimeoutError:
        raise UnavailableError(
            f"The service at {address} was not ready within {timeout_s:g} s: see its log."
        ) from None
    finally:
        await channel.close(grace=None)
