"""The console as a process: what it refuses to start with, TLS, shutdown, and what it imports."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from console_bench import fakes, free_port, until
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from console.server import serve, take_port
from console.settings import ConsoleSettings
from semcast.errors import InputError
from semcast.rpc.settings import load_settings

SERVE = [
    sys.executable,
    "-c",
    "from semcast.cli.serve import run; import sys; run('console', sys.argv[1:])",
]


async def test_a_port_in_use_is_one_sentence_before_anything_starts() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=f"Port {port} .* another port with --port"):
            await serve(ConsoleSettings(port=port))


def test_a_host_that_is_not_of_this_machine_is_one_sentence() -> None:
    with pytest.raises(InputError, match=r"192\.0\.2\.1"):
        take_port("192.0.2.1", 0)
    with pytest.raises(InputError, match="no such host"):
        take_port("no such host", 0)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--host", "0.0.0.0"], "SEMCAST_TOKEN"),
        (["--port", "99999"], "--port"),
        (["--transmitter-address", "nowhere"], "--transmitter-address"),
        (["--grpc-cert-file", __file__], "--grpc-key-file"),
        (["--tls-cert-file", "missing.pem"], "--tls-cert-file"),
        (["--max-upload-mb", "0"], "--max-upload-mb"),
        (["--ice-servers", "[1]"], "--ice-servers"),
        (["--unknown", "1"], "unknown"),
    ],
)
def test_bad_settings_are_one_sentence(flags: list[str], said: str) -> None:
    with pytest.raises(InputError) as caught:
        load_settings(ConsoleSettings, flags)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_empty_variables_are_none_and_broken_ones_are_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SEMCAST_TOKEN", "")
    monkeypatch.setenv("SEMCAST_ICE_SERVERS", "")
    settings = load_settings(ConsoleSettings, [])
    assert settings.token is None and settings.ice_servers == ()
    monkeypatch.setenv("SEMCAST_ICE_SERVERS", "stun:a.example")
    with pytest.raises(InputError, match="ice_servers"):
        load_settings(ConsoleSettings, [])


def test_settings_are_frozen_and_closed() -> None:
    settings = ConsoleSettings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]
    with pytest.raises(ValidationError):
        ConsoleSettings(colour="blue")  # type: ignore[call-arg]
    assert all(field.description for field in ConsoleSettings.model_fields.values())


@asynccontextmanager
async def process(*flags: str) -> AsyncIterator[subprocess.Popen[str]]:
    child = await asyncio.to_thread(
        subprocess.Popen, [*SERVE, *flags], stdout=subprocess.PIPE, text=True
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_it_in_good_order_with_a_page_open(number: signal.Signals) -> None:
    async with fakes() as (_, _, addresses):
        flags = [
            item
            for name, value in addresses.items()
            for item in (f"--{name.replace('_', '-')}", value)
        ]
        async with process("--port", "0", *flags) as child:
            assert child.stdout is not None
            line = await asyncio.to_thread(child.stdout.readline)
            assert line.startswith("console ready on http://127.0.0.1:")
            url = line.split()[-1]
            async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
                await until(lambda: _is_ready(client))
                body = {"clip": "sample:gripper"}
                session = (await client.post("/api/v1/sessions", json=body)).json()
                path = f"/api/v1/sessions/{session['id']}/events"
                async with client.stream("GET", path) as response:
                    lines = response.aiter_lines()
                    await anext(lines)
                    os.kill(child.pid, number)
                    assert await asyncio.to_thread(child.wait, 10) == 0


async def _is_ready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/readyz")).status_code == 200


async def test_it_serves_https(tmp_path: Path) -> None:
    cert_file, key_file = self_signed(tmp_path)
    dead = f"127.0.0.1:{free_port()}"
    settings = ConsoleSettings(
        port=free_port(),
        tls_cert_file=cert_file,
        tls_key_file=key_file,
        transmitter_address=dead,
        receiver_address=dead,
    )
    task = asyncio.create_task(serve(settings))
    context = ssl.create_default_context(cafile=str(cert_file))
    async with httpx.AsyncClient(verify=context, trust_env=False) as client:
        url = f"https://localhost:{settings.port}/healthz"

        async def answers() -> bool:
            if task.done():
                task.result()
            try:
                return (await client.get(url)).status_code == 200
            except httpx.TransportError:
                return False

        await until(answers)
    task.cancel()
    await asyncio.wait([task])


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate of localhost and its key, as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_file, key_file


def test_it_touches_no_pixels_and_no_torch() -> None:
    """DESIGN.md, Rooms: by the modules a console process has loaded."""
    code = (
        "import sys, console.server, console.options\n"
        "banned = {'torch', 'av', 'cv2', 'aiortc', 'numba', 'transmitter', 'receiver',"
        " 'channel_emulator', 'diffusers'}\n"
        "print(*sorted(banned & {name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == ""
