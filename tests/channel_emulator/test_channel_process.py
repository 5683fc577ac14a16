"""The channel emulator as a process: what it imports, says, measures, and how it ends."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from relay_bench import RecordingReceiver, frame_request, radio_frame, setup_request

from semcast.rpc.client import ClientTls, open_channel, wait_serving
from semcast.rpc.server import running_service
from semcast.rpc.settings import ServiceSettings
from semcast.v1 import channel_pb2_grpc, link_pb2

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
from channel_emulator.server import serve
from channel_emulator.settings import EmulatorSettings
from semcast.errors import InputError
from semcast.rpc.settings import load_settings
try:
    serve(load_settings(EmulatorSettings, sys.argv[1:]))
except InputError as error:
    sys.exit(str(error))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_it_imports_no_torch_and_no_video():
    check = (
        "import sys, channel_emulator.server\n"
        "heavy = {'torch', 'av', 'aiortc', 'cv2', 'numba', 'scipy', 'fastapi'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=True, timeout=60)


@asynccontextmanager
async def emulator_process(*argv: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """The process, once it has said where it is ready, and that address."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, *argv),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout
        async with asyncio.timeout(30):
            line = (await process.stdout.readline()).decode()
        assert line.startswith("channel emulator ready on 127.0.0.1:"), line
        yield process, line.split()[-1]
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[RecordingReceiver, str]]:
    made = RecordingReceiver()
    async with running_service(made, ServiceSettings(grace_s=0.2)) as port:
        yield made, f"127.0.0.1:{port}"


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Any]]:
    """Opens a stub of an emulator."""
    async with AsyncExitStack() as stack:

        def to(address: str, tls: ClientTls | None = None) -> Any:
            channel = open_channel(address, tls)
            stack.push_async_callback(channel.close, None)
            return channel_pb2_grpc.ChannelServiceStub(channel)

        yield to


async def read(call: Any, count: int) -> list[Any]:
    async with asyncio.timeout(10):
        return [await call.read() for _ in range(count)]


async def test_sigterm_delivers_what_was_taken_and_exits_0(receiver, connect):
    recording, address = receiver
    async with emulator_process(
        "--port", "0", "--receiver-address", address, "--grace-s", "20"
    ) as (process, emulator):
        call = connect(emulator).Relay()
        await call.write(setup_request())
        await call.write(frame_request(radio_frame(0)))
        await read(call, 4)
        # Frame 1 is taken, its answers are held back until after the signal.
        recording.may_answer.clear()
        await call.write(frame_request(radio_frame(1)))
        (telemetry,) = await read(call, 1)
        assert telemetry.channel.sequence == 1
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.2)
        assert process.returncode is None
        recording.may_answer.set()
        answers = await read(call, 3)
        kinds = [answer.WhichOneof("message") for answer in answers]
        assert kinds == ["feedback", "receiver", "tap_frame"]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read(call, 1)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "The channel emulator is shutting down" in caught.value.details()
        async with asyncio.timeout(10):
            assert await process.wait() == 0
    assert recording.endings == ["half-closed"]
    assert [frame.sequence for frame in recording.frames] == [0, 1]


async def test_sigint_ends_an_idle_process_with_status_0(receiver):
    async with emulator_process("--port", "0", "--receiver-address", receiver[1]) as (process, _):
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(10):
            assert await process.wait() == 0


async def test_killed_and_started_again_it_serves_the_same_client(receiver, connect):
    recording, address = receiver
    port = str(free_port())
    argv = ("--port", port, "--receiver-address", address)
    stub = connect(f"127.0.0.1:{port}")
    async with emulator_process(*argv) as (process, _):
        call = stub.Relay()
        await call.write(setup_request())
        await call.write(frame_request(radio_frame(0)))
        await read(call, 4)
        process.kill()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read(call, 1)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    async with asyncio.timeout(10):
        await recording.ended.wait()
    assert recording.endings == ["cancelled"]
    async with emulator_process(*argv):
        await wait_serving(f"127.0.0.1:{port}", 10)
        # The channel is in its back-off for up to a second; calls fail at once until then.
        async with asyncio.timeout(10):
            while True:
                again = stub.Relay()
                try:
                    await again.write(setup_request())
                    await again.write(frame_request(radio_frame(1)))
                    break
                except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                    await asyncio.sleep(0.05)
        assert (await read(again, 4))[0].channel.sequence == 1
        again.cancel()


async def test_a_restarted_receiver_is_found(connect):
    port = free_port()
    argv = ("--port", "0", "--receiver-address", f"127.0.0.1:{port}")
    async with emulator_process(*argv) as (_, emulator):
        stub = connect(emulator)
        for _ in range(2):
            recording = RecordingReceiver()
            async with running_service(recording, ServiceSettings(port=port, grace_s=0)):
                async with asyncio.timeout(10):
                    while not recording.frames:
                        call = stub.Relay()
                        try:
                            await call.write(setup_request())
                            await call.write(frame_request(radio_frame(0)))
                            await read(call, 4)
                        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                            await asyncio.sleep(0.05)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await read(call, 1)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert f"The receiver at 127.0.0.1:{port}" in caught.value.details()


async def test_a_taken_port_and_a_wrong_flag_end_it_with_one_line(receiver):
    taken = receiver[1].split(":")[1]
    for argv, sentence in (
        (("--port", taken), f"Port {taken} on 127.0.0.1 is in use"),
        (("--snr", "3"), "unrecognized arguments: --snr 3"),
    ):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PROGRAM, *argv), cwd=ROOT, stderr=asyncio.subprocess.PIPE
        )
        _, stderr = await process.communicate()
        assert process.returncode == 1
        lines = [line for line in stderr.decode().splitlines() if sentence in line]
        assert len(lines) == 1
        assert "Traceback" not in stderr.decode()


async def test_prometheus_sees_frames_symbols_and_snr(receiver, connect):
    metrics_port = free_port()
    async with emulator_process(
        *("--port", "0", "--receiver-address", receiver[1], "--metrics-port", str(metrics_port))
    ) as (_, emulator):
        call = connect(emulator).Relay()
        burst = {"model": link_pb2.CHANNEL_MODEL_BURST, "gap_frames_mean": 2.0}
        await call.write(setup_request(snr_db=15.0, **burst))
        lost = 0
        for sequence in range(10):
            await call.write(frame_request(radio_frame(sequence, count=5000)))
            lost += (await read(call, 4))[0].channel.block_lost
        await call.done_writing()
        assert await read(call, 1) == [grpc.aio.EOF]

        def scrape() -> dict[str, float]:
            url = f"http://127.0.0.1:{metrics_port}/metrics"
            with urllib.request.urlopen(url, timeout=10) as response:
                lines = response.read().decode().splitlines()
            pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
            return {name: float(value) for name, value in pairs}

        values = await asyncio.to_thread(scrape)
    assert values["semcast_channel_frames_total"] == 10
    assert values['semcast_channel_symbols_total{modality="lowres"}'] == 50_000
    assert values['semcast_channel_symbols_total{modality="pilot"}'] == 160
    assert 0 < lost < 10
    assert values['semcast_channel_blocks_lost_total{modality="lowres"}'] == lost
    assert values["semcast_channel_snr_db_requested"] == 15.0
    # 5000 symbols: sigma of the estimate 0.06 dB; 4 sigma.
    assert values["semcast_channel_snr_db_measured"] == pytest.approx(15.0, abs=0.25)
    assert values["process_resident_memory_bytes"] > 0
    relay = 'method="/semcast.v1.ChannelService/Relay"'
    assert values[f'semcast_grpc_stream_messages_total{{direction="in",{relay}}}'] == 11
    assert values[f'semcast_grpc_stream_messages_total{{direction="out",{relay}}}'] == 40


async def test_mutual_tls_on_both_hops(tmp_path, connect):
    ca, cert, key = make_certificate(tmp_path)
    recording = RecordingReceiver()
    tls: dict[str, Any] = {
        "tls_cert_file": cert,
        "tls_key_file": key,
        "tls_client_ca_file": ca,
        "grace_s": 0.2,
    }
    async with running_service(recording, ServiceSettings(**tls)) as receiver_port:
        async with emulator_process(
            *("--port", "0", "--receiver-address", f"127.0.0.1:{receiver_port}"),
            *("--tls-cert-file", str(cert), "--tls-key-file", str(key)),
            *("--tls-client-ca-file", str(ca), "--tls-ca-file", str(ca)),
        ) as (_, emulator):
            call = connect(emulator, ClientTls(ca, cert, key)).Relay()
            await call.write(setup_request())
            await call.write(frame_request(radio_frame(0)))
            await read(call, 4)
            call.cancel()
            stranger = connect(emulator, ClientTls(ca)).Relay()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stranger.write(setup_request())
                await stranger.read()
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert len(recording.setups) == 1


def make_certificate(folder: Path) -> tuple[Path, Path, Path]:
    """A self-signed certificate for 127.0.0.1 that is its own CA: CA, certificate, key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "semcast test")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
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
    return cert_file, cert_file, key_file


@pytest.mark.slow
async def test_thousands_of_reconnects_leave_memory_and_descriptors_flat(receiver):
    """2000 connections, each with a session that is dropped without a word."""
    recording, address = receiver
    async with emulator_process(
        "--port", "0", "--receiver-address", address, "--log-level", "error"
    ) as (process, emulator):
        watched = psutil.Process(process.pid)

        async def reconnect(times: int) -> None:
            for _ in range(times):
                channel = open_channel(emulator)
                call = channel_pb2_grpc.ChannelServiceStub(channel).Relay()
                await call.write(setup_request())
                await call.write(frame_request(radio_frame(0)))
                await read(call, 4)
                await channel.close(None)
                recording.frames.clear()
                recording.setups.clear()

        await reconnect(500)
        await asyncio.sleep(1)
        before_mb, before_fds = watched.memory_info().rss / 1e6, watched.num_fds()
        await reconnect(1500)
        await asyncio.sleep(1)
        assert watched.num_fds() <= before_fds + 2
        # A leaked call keeps some 20 kB; 1500 of them would be 30 MB.
        assert watched.memory_info().rss / 1e6 < before_mb + 8
        print(f"rss {before_mb:.1f} -> {watched.memory_info().rss / 1e6:.1f} MB, {before_fds} fds")
