"""The page in a real browser, against the real services: does it show what the receiver made?"""

from __future__ import annotations

import asyncio
import base64
import io
import shutil
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.request import urlopen

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.async_api import Page, async_playwright

from semcast.cli.processes import LocalServices, ServiceProcess, free_port
from semcast.metrics.psnr import psnr_db
from semcast.rpc.client import open_channel
from semcast.samples import sample_path
from semcast.v1 import transmitter_pb2, transmitter_pb2_grpc
from transmitter.sources import fit_to_size, read_clip

CHROMIUM = next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (found := shutil.which(name))
    ),
    None,
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
REAL_CLIP = Path(__file__).parents[3] / "shared/data/video/val/facebookre-05-default-juggle.mp4"
GRAB = """(testid) => {
    const video = document.querySelector(`[data-testid=${testid}]`);
    if (!video.videoWidth) return null;
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    return canvas.toDataURL("image/png").split(",")[1];
}"""
START_TIMEOUT_MS = 60_000
CAMERA_FRAMES = 90


class System:
    """Services, console, and a page in a browser."""

    def __init__(self, services: LocalServices, console: ServiceProcess, page: Page) -> None:
        self.services = services
        self.console = console
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    async def grab(self, testid: str) -> NDArray[np.uint8]:
        """What the pane shows now, [H, W, 3], uint8."""
        while True:
            encoded = await self.page.evaluate(GRAB, testid)
            if encoded:
                with av.open(io.BytesIO(base64.b64decode(encoded))) as container:
                    return next(container.decode(video=0)).to_ndarray(format="rgb24")
            await asyncio.sleep(0.1)

    async def wait_for(self, script: str) -> None:
        """Until the expression holds in the page. (Its CSP forbids waiting inside the page.)"""
        async with asyncio.timeout(START_TIMEOUT_MS / 1e3):
            while not await self.page.evaluate(script):  # noqa: ASYNC110 (nothing to wait on)
                await asyncio.sleep(0.1)

    async def next_frame(self) -> None:
        """Until a frame has come that the page does not know now."""
        await self.page.evaluate("window.known = window.semcast.state.lastEvents.main")
        await self.wait_for(
            "window.semcast.state.lastEvents.main !== null"
            " && window.semcast.state.lastEvents.main !== window.known"
        )

    async def start(self) -> str:
        """Presses Start; returns the session's id once frames are coming."""
        await self.page.get_by_test_id("start").click(timeout=START_TIMEOUT_MS)
        await self.wait_for("window.semcast.state.lastEvents.main !== null")
        return str(await self.page.evaluate("window.semcast.state.session.id"))


@asynccontextmanager
async def running_system(*browser_flags: str) -> AsyncIterator[System]:
    async with LocalServices(live=True) as services:
        port = free_port()
        console = ServiceProcess(
            "console",
            port,
            [
                *("--transmitter-address", services.transmitter.address),
                *("--receiver-address", services.receiver.address),
            ],
        )
        console.start()
        url = f"http://127.0.0.1:{port}/"
        try:
            await asyncio.to_thread(_wait_for, url)
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(
                    executable_path=CHROMIUM, args=[*FLAGS, *browser_flags]
                )
                page = await browser.new_page(viewport={"width": 1280, "height": 900})
                system = System(services, console, page)
                await page.goto(url)
                yield system
                await browser.close()
        finally:
            await asyncio.to_thread(console.stop)


def _wait_for(url: str) -> None:
    import time
    import urllib.error

    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        try:
            with urlopen(url + "readyz", timeout=2) as response:
                if response.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise AssertionError("the console was not ready")


async def best_match_db(system: System, session_id: str, leg: str, testid: str) -> float:
    """Best PSNR between pictures of a pane and the receiver's own recent frames."""
    best = 0.0
    recent: deque[NDArray[np.uint8]] = deque(maxlen=48)
    async with open_channel(system.services.transmitter.address) as channel:
        stub = transmitter_pb2_grpc.TransmitterServiceStub(channel)
        request = transmitter_pb2.WatchSessionRequest(session_id=session_id, include_frames=True)
        call = stub.WatchSession(request)

        async def collect() -> None:
            async for response in call:
                event = response.event
                if event.leg == leg and event.WhichOneof("event") == "frames":
                    data = np.frombuffer(event.frames.received_rgb, np.uint8)
                    recent.append(data.reshape(256, 256, 3))

        collecting = asyncio.create_task(collect())
        try:
            async with asyncio.timeout(60):
                while best <= 30:
                    await asyncio.sleep(1.0)
                    shown = await system.grab(testid)
                    await asyncio.sleep(0.5)
                    if shown.shape == (256, 256, 3):
                        best = max([best, *(psnr_db(shown, frame) for frame in recent)])
        finally:
            call.cancel()
            collecting.cancel()
            await asyncio.gather(collecting, return_exceptions=True)
    return best


async def test_page_shows_the_receivers_moving_picture_and_survives_slider_reload_and_death() -> (
    None
):
    async with running_system() as system:
        page = system.page
        session_id = await system.start()
        for leg, testid in (("main", "video-received"), ("baseline", "video-baseline")):
            assert await best_match_db(system, session_id, leg, testid) > 30

        first = await system.grab("video-received")
        await asyncio.sleep(2.0)
        moved = await system.grab("video-received")
        assert psnr_db(first, moved) < 45

        # Below the baseline's threshold: outage there, and back without a restart.
        await page.get_by_test_id("snr-slider").fill("0")
        await page.get_by_test_id("outage-baseline").wait_for(timeout=START_TIMEOUT_MS)
        await system.wait_for("window.semcast.state.lastEvents.main.channel.snr_db_requested === 0")
        await page.get_by_test_id("snr-slider").fill("14")
        await page.get_by_test_id("outage-baseline").wait_for(
            state="hidden", timeout=START_TIMEOUT_MS
        )

        await page.reload()
        await system.wait_for("window.semcast.state.lastEvents.main !== null")
        assert await page.evaluate("window.semcast.state.session.id") == session_id
        assert await best_match_db(system, session_id, "main", "video-received") > 30

        # The transmitter dies: the console starts the session again where the slider stands.
        await asyncio.to_thread(system.services.transmitter.kill)
        system.services.transmitter.start()
        await system.services.transmitter.wait_ready()
        await system.next_frame()
        await system.wait_for(
            "window.semcast.state.lastEvents.main.channel.snr_db_requested === 14"
        )
        assert await best_match_db(system, session_id, "main", "video-received") > 30

        # The console dies: the page finds the session again.
        await asyncio.to_thread(system.console.kill)
        system.console.start()
        await system.next_frame()
        assert await page.evaluate("window.semcast.state.session.id") == session_id

        await page.get_by_test_id("stop").click()
        await page.get_by_test_id("start").wait_for(timeout=START_TIMEOUT_MS)
        assert system.errors == []


async def test_webcam_by_whip_is_sent_and_received(tmp_path: Path) -> None:
    clip = REAL_CLIP if REAL_CLIP.exists() else sample_path("gripper")
    camera = tmp_path / "camera.y4m"
    _write_y4m(camera, str(clip))
    async with running_system(
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={camera}",
    ) as system:
        await system.page.get_by_test_id("webcam").click(timeout=START_TIMEOUT_MS)
        await system.wait_for(
            "window.semcast.state.session?.clip?.startsWith('webcam:')"
            " && window.semcast.state.lastEvents.main !== null"
        )
        session_id = str(await system.page.evaluate("window.semcast.state.session.id"))
        assert await best_match_db(system, session_id, "main", "video-received") > 30
        # What the camera films is what is sent: close to some frame of the clip, as shown.
        source = await system.grab("video-source")
        filmed = read_clip(str(clip), fps=15, width=320, height=240, max_frames=CAMERA_FRAMES)
        shown = (fit_to_size(frame.rgb, 256, 256) for frame in filmed)
        assert max(psnr_db(source, rgb) for rgb in shown) > 20
        assert system.errors == []


def _write_y4m(path: Path, clip: str) -> None:
    """Raw video as Chromium's fake camera takes it."""
    with av.open(str(path), "w", format="yuv4mpegpipe") as container:
        stream = container.add_stream("wrapped_avframe", rate=15)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for source in read_clip(clip, fps=15, width=320, height=240, max_frames=CAMERA_FRAMES):
            frame = av.VideoFrame.from_ndarray(source.rgb, format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode(None))
