"""`python -m semcast.rpc.healthcheck TARGET`: is a service ready? Exit status 0 yes, 1 no.

What containers run as their health check. TARGET is HOST:PORT of a gRPC service, which must say
SERVING over grpc.health.v1, or an http(s) URL, which must answer 200 (the console's `/readyz`).
Where the answer is no, one line on standard output says why; container engines keep it.

A check starts a process every few seconds on a machine that has better things to do, so this module
imports grpc or urllib only, and reads no settings.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from semcast.errors import SemcastError
from semcast.rpc.client import ClientTls, is_serving, open_channel

TIMEOUT_S = 3.0
"""Ready services answer in milliseconds; a probe must end before its engine kills it (5 s)."""


async def grpc_problem(address: str, tls: ClientTls | None, timeout_s: float = TIMEOUT_S) -> str:
    """Why the gRPC service at HOST:PORT is not ready; empty where it is.

    Raises InputError where a TLS file cannot be read.
    """
    channel = open_channel(address, tls)
    try:
        serving = await is_serving(channel, timeout_s)
    finally:
        await channel.close(grace=None)
    return "" if serving else f"{address} is not SERVING"


def http_problem(url: str, timeout_s: float = TIMEOUT_S) -> str:
    """Why GET of the URL does not give 200; empty where it does.

    No proxy is asked, and an https certificate is not checked: a container asks itself, under an
    address that its certificate does not name.
    """
    unchecked = ssl.create_default_context()
    unchecked.check_hostname = False
    unchecked.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=unchecked)
    )
    try:
        with opener.open(url, timeout=timeout_s) as answer:
            status = int(answer.status)
    except urllib.error.HTTPError as error:
        status = error.code
    except OSError as error:
        return f"{url} does not answer ({error})"
    return "" if status == 200 else f"{url} answers {status}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Checks once. arguments: without the program's name; None takes the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m semcast.rpc.healthcheck",
        description="Exit status 0 where a semcast service is ready, 1 where it is not.",
    )
    parser.add_argument("target", help="HOST:PORT of a gRPC service, or an http(s) URL")
    parser.add_argument("--ca-file", type=Path, help="CA (PEM) of a gRPC service with TLS")
    parser.add_argument("--cert-file", type=Path, help="client certificate, for mutual TLS")
    parser.add_argument("--key-file", type=Path, help="private key of --cert-file")
    options = parser.parse_args(arguments)
    if options.target.startswith(("http://", "https://")):
        problem = http_problem(options.target)
    else:
        tls = None
        if options.ca_file is not None:
            tls = ClientTls(options.ca_file, options.cert_file, options.key_file)
        try:
            problem = asyncio.run(grpc_problem(options.target, tls))
        except SemcastError as error:
            problem = str(error)
    if problem:
        print(problem)
    return 1 if problem else 0


if __name__ == "__main__":
    raise SystemExit(main())
