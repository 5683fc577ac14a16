"""The command that containers run as their health check."""

from __future__ import annotations

import datetime
import http.server
import ipaddress
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from semcast.rpc.healthcheck import main

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture(scope="module")
def own_certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Certificate of 127.0.0.1 that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "semcast test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "cert.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


@contextmanager
def _grpc_service(status: int, tls: tuple[Path, Path] | None = None) -> Iterator[str]:
    servicer = health.HealthServicer()
    servicer.set("", status)
    server = grpc.server(ThreadPoolExecutor(1))
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    if tls is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        pair = (tls[1].read_bytes(), tls[0].read_bytes())
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@contextmanager
def _http_service(status: int, tls: tuple[Path, Path] | None = None) -> Iterator[str]:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Keeps the test's output clean."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}/readyz"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_serving_service_is_ready() -> None:
    with _grpc_service(_SERVING) as address:
        assert main([address]) == 0


def test_a_service_that_warms_up_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with _grpc_service(_NOT_SERVING) as address:
        assert main([address]) == 1
    assert capsys.readouterr().out == f"{address} is not SERVING\n"


def test_tls_is_spoken_with_the_ca_file(own_certificate: tuple[Path, Path]) -> None:
    with _grpc_service(_SERVING, own_certificate) as address:
        assert main([address, "--ca-file", str(own_certificate[0])]) == 0
        assert main([address]) == 1


def test_a_ca_file_that_is_missing_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["127.0.0.1:1", "--ca-file", "/nowhere/ca.pem"]) == 1
    assert "/nowhere/ca.pem cannot be read" in capsys.readouterr().out


@pytest.mark.parametrize(("status", "exit_status"), [(200, 0), (503, 1), (404, 1)])
def test_the_page_is_ready_when_it_answers_200(status: int, exit_status: int) -> None:
    with _http_service(status) as url:
        assert main([url]) == exit_status


def test_https_is_asked_without_knowing_its_ca(own_certificate: tuple[Path, Path]) -> None:
    with _http_service(200, own_certificate) as url:
        assert main([url]) == 0


def test_an_http_proxy_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with _http_service(200) as url:
        assert main([url]) == 0


@pytest.mark.parametrize("target", ["127.0.0.1:1", "http://127.0.0.1:1/readyz"])
def test_nobody_there_is_one_line_and_status_1(target: str) -> None:
    """As a process, the way an engine runs it."""
    check = subprocess.run(
        [sys.executable, "-m", "semcast.rpc.healthcheck", target],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (check.returncode, check.stderr) == (1, "")
    assert len(check.stdout.splitlines()) == 1


def test_the_check_is_light() -> None:
    """It runs every few seconds beside the services, so it must not load what they load."""
    heavy = ("numpy", "pydantic", "torch", "av", "numba", "uvicorn")
    program = (
        "import semcast.rpc.healthcheck, sys; "
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert output.stdout == "[]\n"
