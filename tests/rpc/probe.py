"""Services of all four kinds of RPC whose methods do what a test says, and certificates."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from semcast.rpc.server import RpcServer
from semcast.v1 import (
    receiver_pb2,
    receiver_pb2_grpc,
    transmitter_pb2,
    transmitter_pb2_grpc,
)


async def _nothing() -> None:
    """What a probe's method does unless told otherwise."""


class Probe(transmitter_pb2_grpc.TransmitterServiceServicer):
    """TransmitterService, of which StopSession (unary), UploadClip (stream in) and WatchSession
    (stream out) run `act` and then answer."""

    name = "probe"

    def __init__(self) -> None:
        self.act: Callable[[], Any] = _nothing
        self.warm = asyncio.Event()
        self.warm.set()
        self.closed = False
        self.server: RpcServer | None = None
        self.receive = ProbeReceive(self)

    def register(self, server: RpcServer) -> None:
        self.server = server
        server.add(
            transmitter_pb2_grpc.add_TransmitterServiceServicer_to_server,
            self,
            transmitter_pb2.DESCRIPTOR.services_by_name["TransmitterService"],
        )
        server.add(
            receiver_pb2_grpc.add_ReceiverServiceServicer_to_server,
            self.receive,
            receiver_pb2.DESCRIPTOR.services_by_name["ReceiverService"],
        )

    async def warm_up(self) -> None:
        await self.warm.wait()

    async def close(self) -> None:
        self.closed = True

    async def StopSession(self, request: Any, context: Any) -> Any:
        await self.act()
        return transmitter_pb2.StopSessionResponse()

    async def UploadClip(self, requests: AsyncIterator[Any], context: Any) -> Any:
        num_bytes = 0
        async for request in requests:
            num_bytes += len(request.data)
        await self.act()
        clip = transmitter_pb2.Clip(title=str(num_bytes))
        return transmitter_pb2.UploadClipResponse(clip=clip)

    async def WatchSession(self, request: Any, context: Any) -> AsyncIterator[Any]:
        for _ in range(3):
            yield transmitter_pb2.WatchSessionResponse()
        await self.act()


class ProbeReceive(receiver_pb2_grpc.ReceiverServiceServicer):
    """ReceiverService whose Receive is written with `context.read` and `context.write`."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    async def Receive(self, requests: AsyncIterator[Any], context: Any) -> None:
        async for _ in requests:
            await context.write(receiver_pb2.ReceiveResponse())
        await self._probe.act()


@dataclass(frozen=True)
class Certificates:
    """PEM files: a CA, a certificate it gave 127.0.0.1, and a CA nobody trusts with its own."""

    ca: Path
    cert: Path
    key: Path
    stranger_ca: Path
    stranger_cert: Path
    stranger_key: Path


def make_certificates(folder: Path) -> Certificates:
    """Makes two certificate authorities and a certificate by each, valid for an hour."""
    paths = []
    for name in ("ours", "stranger"):
        ca_key = ec.generate_private_key(ec.SECP256R1())
        ca = _certificate(f"{name} ca", ca_key, f"{name} ca", ca_key, is_ca=True)
        key = ec.generate_private_key(ec.SECP256R1())
        cert = _certificate(f"{name} leaf", key, f"{name} ca", ca_key, is_ca=False)
        for label, content in (
            ("ca", ca.public_bytes(serialization.Encoding.PEM)),
            ("cert", cert.public_bytes(serialization.Encoding.PEM)),
            (
                "key",
                key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                ),
            ),
        ):
            path = folder / f"{name}-{label}.pem"
            path.write_bytes(content)
            paths.append(path)
    return Certificates(*paths)


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    is_ca: bool,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
