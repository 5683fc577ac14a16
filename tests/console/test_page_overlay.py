"""What was received, over the received picture: in a real browser, in front of fake services."""

from __future__ import annotations

import re
import statistics
from typing import Any

import pytest
from console_bench import until
from fake_pictures import SIZE_PX, invented_film
from fake_semantics import TILE_PX
from fake_services import CAPTION
from page_visit import CHROMIUM, Visit, visit
from playwright.async_api import Page, expect

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

# Distance of the outlined ball from the ball in the video, in pixels of the video frame, at each of
# 24 video frames: both are taken in the same callback. The ball moves 7.9 pixels a frame.
BALL_ERRORS = """
async () => {
  const video = document.querySelector("[data-testid=video-received]");
  const overlay = document.querySelector("[data-testid=overlay]");
  const canvas = new OffscreenCanvas(256, 256);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const centre = (source, isOfBall) => {
    context.clearRect(0, 0, 256, 256);
    context.drawImage(source, 0, 0, 256, 256);
    const { data } = context.getImageData(0, 0, 256, 256);
    let [x, y, count] = [0, 0, 0];
    for (let at = 0; at < data.length; at += 4) {
      if (!isOfBall(data[at], data[at + 1], data[at + 2], data[at + 3])) continue;
      x += (at / 4) % 256;
      y += Math.floor(at / 1024);
      count += 1;
    }
    return [x / count, y / count];
  };
  const orange = (r, g, b) => r > 150 && b < 120;
  const sky = (r, g, b, a) => a > 200 && b > 200 && r < 120;
  const errors = [];
  await new Promise((resolve) => {
    const look = () => {
      const [x, y] = centre(video, orange);
      const [overX, overY] = centre(overlay, sky);
      errors.push(Math.hypot(x - overX, y - overY));
      if (errors.length < 24) video.requestVideoFrameCallback(look);
      else resolve();
    };
    video.requestVideoFrameCallback(look);
  });
  return errors;
}
"""
# [r, g, b, a] of the overlay where this pixel of the video frame is.
OVERLAY_PIXEL = """
([x, y]) => {
  const overlay = document.querySelector("[data-testid=overlay]");
  const at = (pixels, size) => Math.round(((pixels + 0.5) * size) / 256);
  const context = overlay.getContext("2d");
  return [...context.getImageData(at(x, overlay.width), at(y, overlay.height), 1, 1).data];
}
"""
OVERLAY_INK = """
() => {
  const overlay = document.querySelector("[data-testid=overlay]");
  const { data } = overlay.getContext("2d").getImageData(0, 0, overlay.width, overlay.height);
  return data.filter((value, at) => at % 4 === 3 && value > 0).length;
}
"""


async def start(here: Visit, **fields: object) -> str:
    """Starts a session and waits until it shows what was received."""
    body = {"clip": "sample:gripper", **fields}
    session = (await here.api.post("/api/v1/sessions", json=body)).json()
    shown = "Object.keys(window.semcast.received.shown).length > 1"
    await until(lambda: here.page.evaluate(shown), 20)
    return str(session["id"])


async def ink(page: Page) -> int:
    """Pixels of the overlay that are not clear."""
    return int(await page.evaluate(OVERLAY_INK))


async def test_outlines_lie_on_the_object_of_the_very_frame_that_is_shown() -> None:
    async with visit(film=invented_film()) as here:
        await start(here, scheme="contours-lowres")
        # Enough frames for the page to learn how the video's clock runs.
        pairs = "window.semcast.received.sync.frames.length"
        await until(lambda: here.page.evaluate(f"{pairs} === 15"), 20)
        # A frame early or late would be 7.9. A loaded machine brings one or another event late.
        await until(lambda: _is_in_step(here.page), 40)
        assert here.complaints == []


async def _is_in_step(page: Page) -> bool:
    return statistics.median(await page.evaluate(BALL_ERRORS)) < 4.0


async def test_kinds_can_be_chosen_and_the_choice_is_kept() -> None:
    async with visit(film=invented_film()) as here:
        page = here.page
        await start(here, scheme="contours-lowres")
        shown = {"contours": True, "caption": True, "lowres": False, "motion": False}
        for kind, is_shown in shown.items():
            await expect(page.get_by_test_id(f"layer-{kind}")).to_be_visible()
            await expect(page.get_by_test_id(f"layer-{kind}")).to_be_checked(checked=is_shown)
        # The scheme sends no sketch.
        await expect(page.get_by_test_id("layer-sketch")).to_be_hidden()
        await expect(page.get_by_test_id("subtitle")).to_have_text(CAPTION)
        await expect(page.get_by_test_id("tile")).to_be_hidden()
        await expect(page.get_by_test_id("motion")).to_be_hidden()
        assert await ink(page) > 0

        # By keyboard.
        await page.get_by_test_id("layer-contours").focus()
        await page.keyboard.press("Space")
        await until(lambda: _is_clear(page))
        await page.get_by_test_id("layer-caption").uncheck()
        await expect(page.get_by_test_id("subtitle")).to_be_hidden()
        await page.get_by_test_id("layer-motion").check()
        await expect(page.get_by_test_id("motion")).to_have_text("motion 1.3 %/frame")
        await page.get_by_test_id("layer-lowres").check()
        tile = page.get_by_test_id("tile")
        await expect(tile).to_be_visible()
        await expect(tile).to_have_css("image-rendering", "pixelated")
        assert await tile.evaluate("(tile) => [tile.width, tile.height]") == [TILE_PX, TILE_PX]

        await page.reload()
        await expect(page.get_by_test_id("layer-contours")).to_be_visible(timeout=20_000)
        await expect(page.get_by_test_id("layer-contours")).not_to_be_checked()
        await expect(page.get_by_test_id("layer-lowres")).to_be_checked()


async def _is_clear(page: Page) -> bool:
    return await ink(page) == 0


async def test_holes_are_empty_lines_are_bright_on_dark_and_fine_screens_get_fine_lines() -> None:
    async with visit(film=invented_film(), pixel_ratio=2.0) as here:
        page = here.page
        await start(here, scheme="contours,sketch")
        overlay = page.get_by_test_id("overlay")
        fine = "(overlay) => Math.abs(overlay.width - 2 * overlay.clientWidth) <= 1"
        assert await overlay.evaluate(fine)
        await page.get_by_test_id("layer-contours").check()
        # The box from 115 to 141 across has a dashed outline, and inside a light fill.
        inside = await page.evaluate(OVERLAY_PIXEL, [128, 128])
        assert 20 < inside[3] < 60
        # The ring: x of its middle on the frame that is drawn now, from its own outline.
        ring = (
            "(window.semcast.received.shown.contours ?? [])"
            ".filter(({ label, hole }) => label === 1 && hole)"
            ".map(({ xy_px }) => [0, 1].map((axis) => "
            "Math.round(xy_px.filter((_, at) => at % 2 === axis)"
            ".reduce((sum, value) => sum + value, 0) / (xy_px.length / 2))))[0]"
        )
        picture = f"(() => {{ const middle = {ring}; return ({OVERLAY_PIXEL})(middle); }})()"
        assert (await page.evaluate(picture))[3] == 0
        clear_of_sketch = await ink(page)
        await page.get_by_test_id("layer-sketch").check()
        await until(lambda: _is_more(page, clear_of_sketch))
        assert here.complaints == []


async def _is_more(page: Page, ink_before: int) -> bool:
    return await ink(page) > 1.2 * ink_before


async def test_switches_of_auto_and_shortage_of_time_are_told() -> None:
    async with visit(film=invented_film()) as here:
        page = here.page
        session_id = await start(here, scheme="auto", snr_db=10)
        await expect(page.get_by_test_id("scheme-in-force")).to_have_text("auto: contours-lowres")
        await expect(page.get_by_test_id("log")).to_be_hidden()
        assert await ink(page) > 0
        # A caption comes at the start of a segment only, and the page may have joined after it.
        await expect(page.get_by_test_id("subtitle")).to_have_text(CAPTION, timeout=20_000)
        await here.api.patch(f"/api/v1/sessions/{session_id}", json={"snr_db": 1})
        await expect(page.get_by_test_id("scheme-in-force")).to_have_text("auto: lowres")
        told = re.compile(r"\d\d:\d\d:\d\dauto: contours-lowres → lowres at −?\d\.\d dB")
        await expect(page.get_by_test_id("log")).to_have_text(told)
        # Outlines of a scheme that is no longer in force would be outlines of nothing.
        await until(lambda: _is_clear(page))
        await expect(page.get_by_test_id("subtitle")).to_have_text(CAPTION)
        for plot in ("symbols", "snr"):
            mark = page.get_by_test_id(f"plot-{plot}").locator(".annotation-text")
            await expect(mark).to_have_text("lowres", timeout=15_000)
        # A restart is no switch.
        await here.api.patch(f"/api/v1/sessions/{session_id}", json={"scheme": "contours-lowres"})
        await until(lambda: here.transmitter.sessions[session_id].generation == 2)
        await until(lambda: _is_drawn(page), 20)
        await expect(page.get_by_test_id("scheme-in-force")).to_be_hidden()
        assert await page.get_by_test_id("log").locator("li").count() == 1

        shortage = page.get_by_test_id("shortage")
        await expect(shortage).to_be_hidden()
        detail = "This computer is short of time: objects in every 2nd frame only."
        here.transmitter.coarseness = (1, detail)
        await expect(shortage).to_have_text(detail)
        here.transmitter.coarseness = (0, "")
        await expect(shortage).to_be_hidden()


async def _is_drawn(page: Page) -> bool:
    return await ink(page) > 0


async def test_a_new_scheme_shows_nothing_of_the_old_one() -> None:
    async with visit(film=invented_film()) as here:
        page = here.page
        session_id = await start(here, scheme="contours-lowres")
        assert await ink(page) > 0
        await here.api.patch(f"/api/v1/sessions/{session_id}", json={"scheme": "lowres"})
        await until(lambda: _is_clear(page))
        await expect(page.get_by_test_id("subtitle")).to_be_hidden()
        await expect(page.get_by_test_id("layer-lowres")).to_be_visible()
        await expect(page.get_by_test_id("layer-contours")).to_be_hidden()
        await page.get_by_test_id("stop").click()
        await expect(page.locator("#layers")).to_be_hidden()


async def test_symbols_of_each_modality_are_stacked_to_the_total() -> None:
    async with visit(1280, 1200, film=invented_film()) as here:
        page = here.page
        await start(here, scheme="contours-lowres")
        plot = page.get_by_test_id("plot-symbols")
        rows = plot.locator(".legend li")
        await expect(rows).to_have_count(6, timeout=15_000)
        names = [await row.get_attribute("data-modality") for row in await rows.all()]
        assert names == ["lowres", "contours", "caption", "motion", "control", "pilot"]
        traces: list[dict[str, Any]] = await plot.locator(".chart").evaluate(
            "(chart) => chart.data.map(({ name, y, customdata, fillcolor, stackgroup }) =>"
            " ({ name, y: [...y], shares: customdata, fillcolor, stackgroup }))"
        )
        assert {trace["stackgroup"] for trace in traces} == {"symbols"}
        totals = [sum(counts) for counts in zip(*(trace["y"] for trace in traces), strict=True)]
        assert len(totals) > 3 and set(totals) == {round(0.004 * 3 * SIZE_PX**2)}
        pilots = next(trace for trace in traces if trace["name"] == "pilots")
        assert set(pilots["y"]) == {16} and set(pilots["shares"]) == {"2.0 %"}
        # One colour a modality, in the toggles, the legend and the plot.
        for name, kind in (("contours", "contours"), ("low-res", "lowres")):
            trace = next(trace for trace in traces if trace["name"] == name)
            color = await rows.and_(page.locator(f"[data-modality={kind}]")).evaluate(
                "(row) => row.style.getPropertyValue('--series')"
            )
            toggle = page.get_by_test_id(f"layer-{kind}").locator("..")
            assert (
                await toggle.evaluate("(label) => label.style.getPropertyValue('--series')")
                == (trace["fillcolor"])
            )
            assert color == trace["fillcolor"]


async def test_a_list_of_modalities_and_a_caption_can_be_typed() -> None:
    async with visit(film=invented_film()) as here:
        page = here.page
        session_id = await start(here, scheme="lowres")
        await page.get_by_test_id("scheme").select_option("A list of modalities…")
        listed = page.get_by_test_id("modalities")
        await expect(listed).to_be_focused()
        await listed.fill("contours,smell")
        await listed.press("Enter")
        # What the transmitter says of it; what was typed stays, to be mended.
        await expect(page.locator("#notice")).to_contain_text("Unknown scheme 'contours,smell'")
        await expect(listed).to_have_value("contours,smell")
        await listed.fill("contours,sketch")
        await listed.press("Enter")
        await expect(page.locator("#notice")).to_be_hidden()
        spec = lambda: here.transmitter.sessions[session_id].spec  # noqa: E731
        await until(lambda: spec().scheme == "contours,sketch")
        await expect(page.get_by_test_id("layer-sketch")).to_be_visible()

        await expect(page.get_by_test_id("caption")).to_have_attribute("placeholder", CAPTION)
        await page.get_by_test_id("caption").fill("Ein roter Becher: ☕")
        await page.get_by_test_id("caption").press("Enter")
        await until(lambda: spec().caption == "Ein roter Becher: ☕")
        await expect(page.get_by_test_id("subtitle")).to_have_text("Ein roter Becher: ☕")
        # It goes with its clip.
        await page.get_by_test_id("clip").select_option("sample:falling-blocks")
        await until(lambda: spec().clip == "sample:falling-blocks")
        assert spec().caption == ""
        await page.reload()
        await expect(page.get_by_test_id("modalities")).to_have_value("contours,sketch")


async def test_the_arithmetic_of_place_and_time() -> None:
    async with visit() as here:
        # A picture in a box of another shape, as object-fit: contain.
        modules = "const { containedBox } = await import('/static/overlay.js');"
        wide, tall = await here.page.evaluate(
            f"(async () => {{ {modules}"
            " return [containedBox(800, 400, 256, 256), containedBox(300, 600, 640, 360)]; })()"
        )
        assert (wide["left"], wide["top"], wide["width"], wide["height"]) == (200, 0, 400, 400)
        assert tall["left"] == 0 and tall["scale"] == pytest.approx(300 / 640)
        assert tall["top"] == pytest.approx((600 - 360 * 300 / 640) / 2)

        # Events every 125 ms; the video frames arrive 5 ms after them, a third of them much later.
        found = await here.page.evaluate(
            """(async () => {
              const { medianOffset } = await import('/static/framesync.js');
              const numbers = [...Array(15).keys()];
              const events = numbers.map((n) => ({ ptsMs: 125 * n, at: 1000 + 125 * n }));
              const late = (n) => (n % 3 === 0 ? 140 : 5);
              const frames = numbers.map((n) => ({ rtpMs: 125 * n + 777, at: 1000 + 125 * n + late(n) }));
              return [medianOffset(frames, events), medianOffset(frames, []), medianOffset([], events)];
            })()"""  # noqa: E501
        )
        assert found == [777, None, None]
