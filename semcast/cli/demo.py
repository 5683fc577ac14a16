"""`semcast demo`: everything on this machine, and a page to look at."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
import webbrowser
from collections.abc import Coroutine
from importlib.util import find_spec

import httpx
from rich.console import Console

from semcast.cli.processes import LocalServices, ServiceProcess
from semcast.errors import InputError, UnavailableError
from semcast.generators import check_generator
from semcast.schemes import find_scheme
from transmitter.plan import SNR_MAX_DB, SNR_MIN_DB
from transmitter.sources import probe_clip

_CORES_FOR_OBJECTS = 4
_DEFAULT_CLIP = "sample:gripper"
_WATCH_S = 0.5
_QUICK_DEATH_S = 5.0


def run_demo(
    *,
    clip: str,
    scheme: str,
    snr_db: float,
    generator: str,
    steps: int,
    guidance: float,
    port: int,
    browser: bool,
    seconds: float | None,
) -> None:
    """Runs until Ctrl-C, SIGTERM, or for so many seconds.

    Raises InputError before anything is started for what cannot be: a taken port, a bad clip.
    """
    from console.server import take_port

    # Objects are found by a network, beside a generator, two encoders and the browser.
    roomy = find_spec("torch") is not None and (os.cpu_count() or 1) >= _CORES_FOR_OBJECTS
    scheme = scheme or ("contours-lowres" if roomy else "lowres")
    check_generator(generator, find_scheme(scheme))
    if not SNR_MIN_DB <= snr_db <= SNR_MAX_DB:
        raise InputError(f"SNR {snr_db:g} dB is out of range: {SNR_MIN_DB:g} to {SNR_MAX_DB:g} dB.")
    clip = clip or _DEFAULT_CLIP
    probe_clip(clip)
    # Taken and let go, so that a port in use is told before the services start.
    with take_port("127.0.0.1", port) as listener:
        port = listener.getsockname()[1]
    asyncio.run(
        _run(
            clip=clip,
            scheme=scheme,
            snr_db=snr_db,
            generator=generator,
            steps=steps,
            guidance=guidance,
            port=port,
            browser=browser,
            seconds=seconds,
        )
    )


async def _run(
    *,
    clip: str,
    scheme: str,
    snr_db: float,
    generator: str,
    steps: int,
    guidance: float,
    port: int,
    browser: bool,
    seconds: float | None,
) -> None:
    console = Console()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    own_clips = [] if clip.startswith("sample:") else [clip]
    with console.status("Starting receiver, channel emulator and transmitter..."):
        local = LocalServices(clips=own_clips, live=True, preload=generator)
        services = await _unless_stopped(_start(local), stop)
    if services is None:
        return
    page = ServiceProcess(
        "console",
        port,
        [
            *("--transmitter-address", services.transmitter.address),
            *("--receiver-address", services.receiver.address),
        ],
    )
    try:
        page.start()
        url = f"http://127.0.0.1:{port}/"
        async with httpx.AsyncClient(base_url=url, timeout=10.0, trust_env=False) as client:
            await _wait_for_page(client, page)
            await _start_session(
                client,
                clip,
                scheme=scheme,
                snr_db=snr_db,
                generator=generator,
                generator_steps=steps,
                guidance=guidance,
            )
        console.print(f"\nsemcast is running: [bold]{url}[/bold]   (Ctrl-C stops it)\n")
        sys.stdout.flush()
        if browser:
            webbrowser.open(url)
        await _supervise((*services.all, page), stop, seconds, console)
    finally:
        page.stop()
        await asyncio.to_thread(services.stop)


async def _start(services: LocalServices) -> LocalServices:
    return await services.__aenter__()


async def _unless_stopped(
    start: Coroutine[None, None, LocalServices], stop: asyncio.Event
) -> LocalServices | None:
    starting = asyncio.create_task(start)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if starting.done():
        return starting.result()
    starting.cancel()
    await asyncio.wait((starting,))
    return None


async def _wait_for_page(client: httpx.AsyncClient, page: ServiceProcess) -> None:
    deadline_s = time.monotonic() + 30.0
    while time.monotonic() < deadline_s:
        if page.exit_status is not None:
            last = page.log().strip().splitlines()[-1:] or ["it printed nothing"]
            raise UnavailableError(f"The console did not start: {last[0]}")
        try:
            if (await client.get("readyz")).status_code == 200:
                return
        except httpx.TransportError:
            pass
        await asyncio.sleep(0.1)
    raise UnavailableError("The console was not ready within 30 s.")


async def _start_session(client: httpx.AsyncClient, clip: str, **fields: str | float) -> None:
    """Starts the first session as the page would. fields: of SessionRequest, besides the clip."""
    listed = await client.get("api/v1/clips")
    if listed.status_code >= 400:
        raise UnavailableError(listed.json()["error"])
    clip_id = clip if clip.startswith("sample:") else listed.json()["clips"][0]["id"]
    response = await client.post("api/v1/sessions", json={"clip": clip_id, **fields})
    if response.status_code >= 400:
        raise InputError(response.json()["error"])


async def _supervise(
    processes: tuple[ServiceProcess, ...],
    stop: asyncio.Event,
    seconds: float | None,
    console: Console,
) -> None:
    """Starts a service again that has died, as docker-compose would, until told to stop."""
    end_s = None if seconds is None else time.monotonic() + seconds
    started_s = {process.service: time.monotonic() for process in processes}
    while not stop.is_set() and (end_s is None or time.monotonic() < end_s):
        for process in processes:
            if process.exit_status is None:
                continue
            if time.monotonic() - started_s[process.service] < _QUICK_DEATH_S:
                last = process.log().strip().splitlines()[-1:] or ["it printed nothing"]
                raise UnavailableError(f"The {process.service} keeps dying: {last[0]}")
            console.print(f"The {process.service} has died; starting it again.")
            started_s[process.service] = time.monotonic()
            process.start()
        left_s = _WATCH_S if end_s is None else min(_WATCH_S, max(0.0, end_s - time.monotonic()))
        try:
            await asyncio.wait_for(stop.wait(), left_s)
        except TimeoutError:
            continue
