"""A page of a console in a real browser, in front of fake services that send real video."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx
from console_bench import console_on_socket, fakes, free_port
from fake_pictures import MaskedFilm, MovingPictures
from fake_services import FakeReceiver, FakeTransmitter
from playwright.async_api import Page, async_playwright

from console.settings import ConsoleSettings

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


@dataclass
class Visit:
    """A page of a console, and what is behind it."""

    page: Page
    url: str
    api: httpx.AsyncClient
    transmitter: FakeTransmitter
    receiver: FakeReceiver
    received: MovingPictures
    sent: MovingPictures
    settings: ConsoleSettings
    complaints: list[str]


@asynccontextmanager
async def visit(
    width: int = 1280,
    height: int = 800,
    *,
    script: str = "",
    film: MaskedFilm | None = None,
    pixel_ratio: float = 1.0,
) -> AsyncIterator[Visit]:
    """The start page. script: run in it before its own; film: what sessions send and receive."""
    sent, received = film.pictures if film else (MovingPictures(), MovingPictures())
    async with AsyncExitStack() as stack:
        transmitter, receiver, addresses = await stack.enter_async_context(fakes(sent, received))
        transmitter.film = film
        settings = ConsoleSettings(port=free_port(), max_upload_mb=1, **addresses)
        api = await stack.enter_async_context(console_on_socket(settings))
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        stack.push_async_callback(browser.close)
        context = await browser.new_context(
            viewport={"width": width, "height": height}, device_scale_factor=pixel_ratio
        )
        page = await context.new_page()
        complaints: list[str] = []
        page.on(
            "console",
            lambda message: complaints.append(message.text) if message.type == "error" else None,
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if script:
            await page.add_init_script(script)
        url = f"http://localhost:{settings.port}/"
        await page.goto(url)
        yield Visit(
            page, url, api, transmitter, receiver, received, sent, settings, complaints
        )  # fmt: skip
