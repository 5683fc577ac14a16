"""The live page in a real browser, in front of fake services that send real video."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from console_bench import console_on_socket, free_port, until
from fake_pictures import MovingPictures
from fake_services import FakeReceiver, FakeTransmitter, serving
from page_visit import CHROMIUM, FLAGS, Visit, visit
from playwright.async_api import Page, async_playwright, expect

from console.settings import ConsoleSettings

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
# How much the pane's picture differs from what it was 600 ms ago: mean over all channels, 0..255.
MOTION = """
async (video) => {
  const canvas = new OffscreenCanvas(64, 64);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const look = () => {
    context.drawImage(video, 0, 0, 64, 64);
    return context.getImageData(0, 0, 64, 64).data;
  };
  const before = look();
  await new Promise((resolve) => setTimeout(resolve, 600));
  const after = look();
  return after.reduce((sum, value, at) => sum + Math.abs(value - before[at]), 0) / after.length;
}
"""


async def moves(page: Page, test_id: str) -> bool:
    """Whether the picture in a pane changes; the ball alone changes it by about 6."""
    return float(await page.get_by_test_id(test_id).evaluate(MOTION)) > 1.0


async def sessions(visit: Visit) -> list[dict[str, object]]:
    response = await visit.api.get("/api/v1/sessions")
    return list(response.json()["sessions"])


async def test_start_watch_turn_the_noise_up_and_down_stop() -> None:
    async with visit() as here:
        page = here.page
        await page.get_by_test_id("start").click()
        for test_id in ("video-source", "video-received", "video-baseline"):
            await until(lambda test_id=test_id: moves(page, test_id), 20)
        await expect(page.get_by_test_id("start")).to_be_hidden()
        await expect(page.get_by_text("CBR 0.0040").first).to_be_visible()

        # The slider is a native one: arrow keys are steps of 0.5 dB.
        slider = page.get_by_test_id("snr-slider")
        await slider.focus()
        await page.keyboard.press("ArrowLeft")
        [session] = await sessions(here)
        await until(lambda: here.transmitter.updates[-1:] == [(session["id"], 9.5)])
        await expect(page.get_by_test_id("outage-baseline")).to_be_hidden()
        await slider.fill("2")
        await expect(page.get_by_test_id("outage-baseline")).to_be_visible()
        await expect(page.get_by_test_id("outage-received")).to_be_hidden()
        await expect(page.locator("#pane-baseline").get_by_text("held")).to_be_visible()
        await slider.fill("12")
        await expect(page.get_by_test_id("outage-baseline")).to_be_hidden()
        assert [session["id"] for session in await sessions(here)] == [session["id"]]

        # Plots hold what was measured.
        chart = page.get_by_test_id("plot-snr").locator(".scatterlayer path.js-line").first
        await expect(chart).to_be_attached(timeout=15_000)
        figure = page.get_by_test_id("plot-snr").locator(".figures span").first
        await expect(figure).to_have_text("12.0")

        await page.get_by_test_id("stop").click()
        await expect(page.get_by_test_id("start")).to_be_visible()
        assert await sessions(here) == []
        assert here.complaints == []


async def test_dragging_sends_about_ten_values_a_second_and_the_last_one_last() -> None:
    async with visit() as here:
        page = here.page
        await page.get_by_test_id("start").click()
        await expect(page.locator("#state")).to_have_attribute("data-state", "streaming")
        await until(lambda: moves(page, "video-received"), 20)
        slider = page.get_by_test_id("snr-slider")
        # Hovering waits until the page stands still: what a session brings moves the slider down.
        await slider.hover()
        box = await slider.bounding_box()
        assert box is not None
        await page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 20)
        await page.mouse.down()
        for step in range(60):
            await page.mouse.move(box["x"] + box["width"] * (0.6 - step / 120), box["y"] + 20)
            await asyncio.sleep(0.01)
        await page.mouse.up()
        last = float(await page.get_by_test_id("snr-slider").input_value())
        await until(lambda: here.transmitter.updates and here.transmitter.updates[-1][1] == last)
        # 60 positions in something over 0.6 s; at 10 a second that is far fewer calls.
        assert 2 <= len(here.transmitter.updates) < 30


async def test_what_is_moved_while_a_session_starts_reaches_it() -> None:
    async with visit() as here:
        page = here.page
        here.transmitter.may_start.clear()
        await page.get_by_test_id("start").click()
        slider = page.get_by_test_id("snr-slider")
        await slider.fill("4.5")
        await page.get_by_test_id("channel-rayleigh").check()
        # Longer than the slider goes on standing still for its own sake.
        await asyncio.sleep(1.0)
        here.transmitter.may_start.set()
        await until(lambda: [snr_db for _, snr_db in here.transmitter.updates][-1:] == [4.5])
        await expect(page.locator("#state")).to_have_attribute("data-state", "streaming")
        await expect(slider).to_have_value("4.5")
        await expect(page.get_by_test_id("channel-rayleigh")).to_be_checked()

        async def told() -> bool:
            [session] = await sessions(here)
            return (session["snr_db"], session["channel"]) == (4.5, "rayleigh")

        await until(told)


async def test_reload_and_another_page_join_the_running_session() -> None:
    async with visit() as here:
        page = here.page
        await page.get_by_test_id("start").click()
        await until(lambda: moves(page, "video-received"), 20)
        [session] = await sessions(here)
        await page.get_by_test_id("snr-slider").fill("3.5")
        await until(lambda: here.transmitter.updates[-1:] == [(session["id"], 3.5)])
        await page.reload()
        await until(lambda: moves(page, "video-received"), 20)
        await expect(page.get_by_test_id("snr-slider")).to_have_value("3.5")
        other = await page.context.new_page()
        await other.goto(here.url)
        await until(lambda: moves(other, "video-received"), 20)
        assert other.url.endswith(f"#session={session['id']}")
        # What one page does, the other shows.
        await other.get_by_test_id("channel-rayleigh").check()
        await expect(page.get_by_test_id("channel-rayleigh")).to_be_checked()
        assert len(await sessions(here)) == 1


async def test_an_open_page_joins_a_session_that_somebody_else_starts() -> None:
    async with visit() as here:
        await expect(here.page.get_by_test_id("start")).to_be_enabled()
        body = {"clip": "sample:falling-blocks", "snr_db": 4}
        await here.api.post("/api/v1/sessions", json=body)
        await until(lambda: moves(here.page, "video-received"), 20)
        await expect(here.page.get_by_test_id("clip")).to_have_value("sample:falling-blocks")


async def test_the_picture_comes_back_after_the_receiver_was_restarted() -> None:
    sent, received = MovingPictures(), MovingPictures()
    receiver_port, transmitter = free_port(), FakeTransmitter(sent)
    async with AsyncExitStack() as stack:
        transmitter_port = await stack.enter_async_context(serving(transmitter))
        first = AsyncExitStack()
        await first.enter_async_context(serving(FakeReceiver(received), receiver_port))
        settings = ConsoleSettings(
            port=free_port(),
            transmitter_address=f"127.0.0.1:{transmitter_port}",
            receiver_address=f"127.0.0.1:{receiver_port}",
        )
        await stack.enter_async_context(console_on_socket(settings))
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        stack.push_async_callback(browser.close)
        page = await browser.new_page()
        await page.goto(f"http://localhost:{settings.port}/")
        await page.get_by_test_id("start").click()
        await until(lambda: moves(page, "video-received"), 20)
        await first.aclose()
        await expect(page.locator("#service-receiver")).to_have_attribute(
            "data-health", "unreachable"
        )
        await stack.enter_async_context(serving(FakeReceiver(MovingPictures()), receiver_port))
        await until(lambda: moves(page, "video-received"), 20)
        await until(lambda: moves(page, "video-baseline"), 20)
        assert await page.evaluate("window.semcast.players.source.connects") == 1


async def test_a_settings_change_restarts_under_the_same_id_and_plays_on() -> None:
    async with visit() as here:
        page = here.page
        await page.get_by_test_id("start").click()
        await until(lambda: moves(page, "video-received"), 20)
        [session] = await sessions(here)
        await page.get_by_test_id("scheme").select_option("h265-ldpc")
        await until(lambda: here.transmitter.sessions[session["id"]].generation == 2)
        await expect(page.locator("#pane-main [data-part=title]")).to_have_text("H.265 + LDPC")
        await until(lambda: moves(page, "video-received"), 20)
        # "More" is drawn from the JSON schema.
        await page.get_by_text("More", exact=True).click()
        await page.get_by_test_id("segment").fill("4")
        await page.get_by_test_id("segment").press("Enter")
        await until(lambda: here.transmitter.sessions[session["id"]].spec.segment_frames == 4)
        # What the transmitter refuses is said, and the control goes back.
        await page.evaluate("document.getElementById('clip').add(new Option('gone', 'upload:9'))")
        await page.get_by_test_id("clip").select_option("upload:9")
        await expect(page.locator("#notice")).to_contain_text("Clip 'upload:9' is not there")
        await expect(page.get_by_test_id("clip")).to_have_value("sample:gripper")


@pytest.mark.parametrize("width", [400, 768, 1280])
async def test_nothing_sticks_out(width: int) -> None:
    async with visit(width, 900) as here:
        page = here.page
        await expect(page.get_by_test_id("start")).to_be_enabled()
        wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert await page.evaluate(wider) == 0
        await page.get_by_test_id("start").click()
        await until(lambda: moves(page, "video-received"), 20)
        await page.get_by_text("More", exact=True).click()
        await page.get_by_test_id("channel-burst").check()
        await page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
        plot = page.get_by_test_id("plot-fps").locator("svg").first
        await expect(plot).to_be_visible(timeout=15_000)
        assert await page.evaluate(wider) == 0
        # A finger needs a target.
        stop = await page.get_by_test_id("stop").bounding_box()
        assert stop is not None and stop["height"] >= 30


async def test_uploads_are_checked_sent_and_chosen(tmp_path: Path) -> None:
    video, big, text = tmp_path / "a b.mp4", tmp_path / "big.mp4", tmp_path / "notes.txt"
    video.write_bytes(b"x" * 200_000)
    big.write_bytes(b"x" * 1_500_000)
    text.write_text("hello")
    async with visit() as here:
        page = here.page
        await expect(page.get_by_test_id("start")).to_be_enabled()
        await page.get_by_test_id("upload-file").set_input_files(big)
        await expect(page.locator("#notice")).to_contain_text("larger than the 1 MB")
        await page.get_by_test_id("upload-file").set_input_files(text)
        await expect(page.locator("#notice")).to_contain_text("not a video file")
        assert here.transmitter.uploads == {}
        await page.get_by_test_id("upload-file").set_input_files(video)
        await expect(page.get_by_test_id("clip")).to_have_value("upload:1")
        assert here.transmitter.uploads == {"upload:1": ("a b.mp4", 200_000)}
        await expect(page.locator("#notice")).to_be_hidden()


async def test_the_webcam_becomes_the_clip() -> None:
    async with visit() as here:
        page = here.page
        await page.get_by_test_id("webcam").click()
        await until(lambda: here.sent.webcam_frames > 5, 20)
        [session] = await until(lambda: sessions(here))
        assert str(session["clip"]).startswith("webcam:")
        await page.get_by_test_id("webcam").click()
        await until(lambda: not here.transmitter.webcams)
        await expect(page.get_by_test_id("webcam")).to_have_text("Use webcam")


async def test_where_no_camera_can_be_had_the_page_says_why() -> None:
    script = "Object.defineProperty(window, 'isSecureContext', { value: false })"
    async with visit(script=script) as here:
        await expect(here.page.get_by_test_id("webcam")).to_be_disabled()
        await expect(here.page.locator("#webcam-hint")).to_contain_text("HTTPS")


async def test_the_api_page_lists_every_route() -> None:
    async with visit() as here:
        await here.page.goto(f"{here.url}docs")
        await here.page.get_by_text("/whep/{session_id}/baseline").first.wait_for()
        routes = (await here.api.get("/openapi.json")).json()["paths"]
        operations = sum(len(methods) for methods in routes.values())
        assert await here.page.locator(".operation").count() == operations
        assert here.complaints == []
