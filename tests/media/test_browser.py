"""A real browser (headless Chromium) as viewer and as webcam, with its ordinary settings."""

import asyncio
import base64
import http.server
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import numpy as np
import pytest

from semcast.media.publisher import VideoPublisher
from semcast.media.viewers import ViewerPeers
from semcast.media.webcam import WebcamIngest

playwright_api = pytest.importorskip("playwright.async_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

SIDE_PX, FPS = 256, 8
CHROMIUM_ARGS = [
    "--headless",
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

PAGE = """<!doctype html><video id=v muted autoplay playsinline></video><script>
async function connect(pc) {
  await pc.setLocalDescription(await pc.createOffer());
  await new Promise(done => {
    if (pc.iceGatheringState === 'complete') return done();
    pc.onicegatheringstatechange = () => pc.iceGatheringState === 'complete' && done();
  });
  const answer = await fetch('/offer', {method: 'POST', body: pc.localDescription.sdp});
  if (!answer.ok) throw new Error(await answer.text());
  await pc.setRemoteDescription({type: 'answer', sdp: await answer.text()});
}
async function watch() {
  const pc = window.pc = new RTCPeerConnection();
  pc.addTransceiver('video', {direction: 'recvonly'});
  const v = document.getElementById('v');
  pc.ontrack = e => { v.srcObject = new MediaStream([e.track]); };
  await connect(pc);
  await new Promise(shown => v.requestVideoFrameCallback(shown));
}
async function film() {
  const pc = window.pc = new RTCPeerConnection();
  const media = await navigator.mediaDevices.getUserMedia({video: {width: 320, height: 240}});
  pc.addTransceiver(media.getVideoTracks()[0], {direction: 'sendonly'});
  await connect(pc);
}
async function grab() {
  const v = document.getElementById('v'), c = document.createElement('canvas');
  c.width = v.videoWidth; c.height = v.videoHeight;
  const ctx = c.getContext('2d');
  ctx.drawImage(v, 0, 0);
  const bytes = ctx.getImageData(0, 0, c.width, c.height).data;
  let text = '';
  for (let i = 0; i < bytes.length; i += 4)
    text += String.fromCharCode(bytes[i], bytes[i + 1], bytes[i + 2]);
  return {width: c.width, height: c.height, rgb: btoa(text)};
}
async function inbound() {
  const stats = [...(await window.pc.getStats()).values()];
  const rtp = stats.find(s => s.type === 'inbound-rtp');
  return {rtp, codec: stats.find(s => s.id === rtp.codecId)};
}
</script>"""


def picture(k: int) -> np.ndarray:
    """A smooth coloured pattern that moves with k."""
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    red = 128 + 90 * np.sin((x + 9 * k) / 31)
    green = 128 + 90 * np.cos((y - 6 * k) / 27)
    blue = 128 + 60 * np.sin((x + y + 5 * k) / 43)
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def psnr_db(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2)))


class Site:
    """Serves the page, and hands each POSTed offer to `answer` on the test's event loop."""

    def __init__(self, answer: Callable) -> None:
        loop = asyncio.get_running_loop()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._reply(200, "text/html", PAGE)

            def do_POST(self) -> None:
                offer = self.rfile.read(int(self.headers["content-length"])).decode()
                _, sdp = asyncio.run_coroutine_threadsafe(answer(offer), loop).result(20)
                self._reply(201, "application/sdp", sdp)

            def _reply(self, status: int, kind: str, body: str) -> None:
                self.send_response(status)
                self.send_header("content-type", kind)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *args: object) -> None:
                return

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
async def page() -> AsyncIterator:
    async with playwright_api.async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        yield await browser.new_page()
        await browser.close()


@pytest.fixture
async def publisher() -> AsyncIterator[VideoPublisher]:
    publisher = VideoPublisher(width=SIDE_PX, height=SIDE_PX, fps=FPS)
    yield publisher
    await publisher.close()


@pytest.fixture
async def site(publisher: VideoPublisher) -> AsyncIterator[Site]:
    viewers = ViewerPeers()
    site = Site(lambda offer: viewers.answer(offer, publisher))
    yield site
    await viewers.close_all()
    site.close()


@pytest.fixture
def source(publisher: VideoPublisher) -> Iterator[None]:
    stop = threading.Event()

    def run() -> None:
        k = 0
        while not stop.wait(1 / FPS):
            publisher.push(picture(k), k * 1_000_000 // FPS)
            k += 1

    thread = threading.Thread(target=run)
    thread.start()
    yield
    stop.set()
    thread.join()


async def grab(page) -> np.ndarray:
    """What the video shows. Chromium draws black until it has presented the first frame."""
    async with asyncio.timeout(20):
        while True:
            shot = await page.evaluate("grab()")
            rgb = np.frombuffer(base64.b64decode(shot["rgb"]), np.uint8)
            if rgb.any():
                return rgb.reshape(shot["height"], shot["width"], 3)
            await asyncio.sleep(0.05)


async def test_browser_shows_the_moving_picture(page, site, publisher, source) -> None:
    await page.goto(site.url)
    await page.evaluate("watch()")
    first = await grab(page)
    await page.evaluate(
        "new Promise(r => v.requestVideoFrameCallback(() => "
        "v.requestVideoFrameCallback(() => v.requestVideoFrameCallback(r))))"
    )
    second = await grab(page)
    pushed = publisher.stats.frames_pushed
    for shot in (first, second):
        assert shot.shape == (SIDE_PX, SIDE_PX, 3)
        assert max(psnr_db(shot, picture(k)) for k in range(pushed)) > 30
    assert psnr_db(first, second) < 30
    stats = await page.evaluate("inbound()")
    assert stats["codec"]["mimeType"] == "video/H264"
    assert stats["rtp"]["framesDropped"] == 0
    assert "playout-delay" in await page.evaluate("pc.remoteDescription.sdp")


async def test_browser_shows_the_last_picture_of_a_paused_stream(page, site, publisher) -> None:
    publisher.push(picture(5), 0)
    await page.goto(site.url)
    await page.evaluate("watch()")
    assert psnr_db(await grab(page), picture(5)) > 30


async def test_browser_sends_its_webcam(page) -> None:
    frames: list[tuple[np.ndarray, int]] = []
    enough = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_frame(rgb: np.ndarray, time_us: int) -> None:
        frames.append((rgb, time_us))
        if len(frames) == 10:
            loop.call_soon_threadsafe(enough.set)

    ingest = WebcamIngest()
    site = Site(lambda offer: ingest.answer(offer, on_frame))
    try:
        await page.goto(site.url)
        await page.evaluate("film()")
        await asyncio.wait_for(enough.wait(), 20)
    finally:
        await ingest.close_all()
        await asyncio.to_thread(site.close)
    times_us = [time_us for _, time_us in frames]
    assert times_us == sorted(set(times_us))
    assert frames[-1][0].shape[2] == 3
    assert frames[-1][0].std() > 20  # Chromium's fake camera: green with a moving pie and a clock
