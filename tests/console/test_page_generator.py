"""What the page asks of a generator, and what it shows of it: in a real browser, before fakes."""

from __future__ import annotations

from typing import Any

import pytest
from console_bench import until
from fake_pictures import invented_film
from page_visit import CHROMIUM, Visit, visit
from playwright.async_api import Page, expect

from semcast.v1 import transmitter_pb2

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

# Of a modality's row, for the newest frame that is as asked for: the colours of its cell at the top
# and at the bottom, [r, g, b, a] each. Null where there is none.
CELL = """
([name, asked]) => {
  // Not before what has come is drawn: columns would be those of frames that are not yet there.
  if (window.semcast.held.due) return null;
  const { frames } = window.semcast.held.history;
  const isAsked = {
    came: ({ ages }) => ages[name] === 0,
    held: ({ ages, lost }) => ages[name] > 0 && !lost.has(name),
    lost: ({ lost }) => lost.has(name),
  }[asked];
  const frame = frames.findLast(isAsked);
  if (!frame) return null;
  const canvas = document.querySelector(`#held [data-modality="${name}"] canvas`);
  const column = 99 - (frames.at(-1).sequence - frame.sequence);
  const x = Math.round((column * canvas.width) / 100) + 1;
  const at = (y) => [...canvas.getContext("2d").getImageData(x, y, 1, 1).data];
  return [at(1), at(canvas.height - 2)];
}
"""
CLEAR = [0, 0, 0, 0]


async def start(here: Visit, **fields: object) -> str:
    body = {"clip": "sample:gripper", "fps": 30, **fields}
    session = (await here.api.post("/api/v1/sessions", json=body)).json()
    await expect(here.page.get_by_test_id("held")).to_be_visible(timeout=20_000)
    return str(session["id"])


def spec(here: Visit, session_id: str) -> transmitter_pb2.SessionSpec:
    return here.transmitter.sessions[session_id].spec


async def cell(page: Page, name: str, asked: str) -> Any:
    return await until(lambda: page.evaluate(CELL, [name, asked]), 20)


async def test_steps_and_guidance_reach_the_running_session_and_go_back() -> None:
    async with visit() as here:
        page = here.page
        session_id = await start(here, generator="tiny")
        await page.get_by_text("More", exact=True).click()
        steps, guidance = page.get_by_test_id("generator_steps"), page.get_by_test_id("guidance")
        await expect(steps).to_have_value("")
        await expect(page.get_by_test_id("generator_steps-reset")).to_be_disabled()
        await steps.fill("3")
        await steps.press("Enter")
        await until(lambda: spec(here, session_id).generator_steps == 3)
        await guidance.fill("1.5")
        await guidance.press("Enter")
        await until(lambda: spec(here, session_id).guidance == 1.5)
        assert spec(here, session_id).generator_steps == 3
        # Refused by the page itself.
        await steps.fill("9")
        await steps.press("Enter")
        assert not await steps.evaluate("(input) => input.checkValidity()")
        await page.get_by_test_id("generator_steps-reset").click()
        await until(lambda: spec(here, session_id).generator_steps == 0)
        assert spec(here, session_id).guidance == 1.5
        # What somebody else asks for is shown.
        await here.api.patch(f"/api/v1/sessions/{session_id}", json={"generator_steps": 2})
        await expect(steps).to_have_value("2")
        assert here.complaints == []


async def test_the_generator_is_picked_by_its_title() -> None:
    async with visit() as here:
        page = here.page
        session_id = await start(here)
        await page.get_by_text("More", exact=True).click()
        picker = page.get_by_test_id("generator")
        await expect(picker).to_have_value("auto")
        options = (await here.api.get("/api/v1/options")).json()
        titles = {item["name"]: item["title"] for item in options["generators"]}
        await expect(picker.locator("option")).to_have_text(list(titles.values()))
        await picker.select_option(label=titles["passthrough"])
        await until(lambda: spec(here, session_id).generator == "passthrough")
        # It takes no steps.
        await expect(page.get_by_test_id("generator_steps")).to_be_hidden()
        await expect(page.get_by_test_id("guidance")).to_be_hidden()
        await expect(page.get_by_test_id("memory")).to_have_text("remembers no frames")


async def test_the_strip_shows_what_came_what_was_held_and_what_was_lost() -> None:
    async with visit(film=invented_film()) as here:
        page = here.page
        await start(here, scheme="contours-lowres", channel="burst", generator="passthrough")
        green, red = [0, 158, 115, 255], [255, 74, 85, 255]
        assert await cell(page, "lowres", "came") == [green, green]
        top, bottom = await cell(page, "lowres", "lost")
        assert top == red
        assert bottom[:3] != CLEAR[:3] and 40 < bottom[3] < 200
        # A caption comes with the first frame of a segment and is held for the others.
        top, bottom = await cell(page, "caption", "held")
        assert top == CLEAR and 40 < bottom[3] < 200
        rows = page.get_by_test_id("held").locator("tbody tr")
        await expect(rows.locator("th")).to_have_text(["motion", "caption", "contours", "low-res"])
        # The same in words.
        await expect(rows.last).to_contain_text("lost")
        await expect(rows.first).to_contain_text("frames old")
        assert here.complaints == []


async def test_the_strip_says_what_the_generator_remembers_and_when_it_forgot() -> None:
    async with visit(film=invented_film()) as here:
        page = here.page
        await start(here, scheme="lowres", generator="tiny")
        memory = page.get_by_test_id("memory")
        await expect(memory).to_have_text("remembers 8 frames")
        await expect(memory).to_contain_text("forgot the rest at a cut", timeout=20_000)
        await expect(page.locator("#held [data-modality=memory]")).to_contain_text("1 cut")
        await page.get_by_test_id("stop").click()
        await expect(page.get_by_test_id("held")).to_be_hidden()


async def test_a_picture_made_of_words_alone_is_called_a_curiosity() -> None:
    async with visit(film=invented_film()) as here:
        session_id = await start(here, scheme="desc", generator="tiny")
        remark = here.page.get_by_test_id("remark")
        curiosity = "Made from the caption alone: a curiosity."
        await expect(remark).to_have_text(curiosity)
        for fields, said in (
            ({"generator": "passthrough"}, ""),
            ({"generator": "tiny"}, curiosity),
            ({"scheme": "contours-lowres"}, ""),
        ):
            await here.api.patch(f"/api/v1/sessions/{session_id}", json=fields)
            await expect(remark).to_have_text(said)


async def test_lost_is_what_was_sent_and_did_not_come() -> None:
    lost_of = (
        "([sent, failed]) => import('/static/held.js').then((it) => [...it.lostOf(sent, failed)])"
    )
    async with visit() as here:
        for sent, failed, lost in (
            ({"contours": 90, "lowres": 600, "control": 12}, [], []),
            ({"contours": 90, "lowres": 600, "control": 12}, ["lowres"], ["lowres"]),
            # Motion shares the bundle's CRC, and was not in this frame.
            ({"contours": 90, "lowres": 600, "motion": 0}, ["contours", "motion"], ["contours"]),
            # Nothing can be read without the control block.
            ({"lowres": 600, "control": 12}, ["control"], ["lowres", "control"]),
        ):
            assert await here.page.evaluate(lost_of, [sent, failed]) == lost


async def test_what_is_held_is_dimmer_the_older_and_never_unseen() -> None:
    alphas_of = "(ages) => import('/static/held.js').then((it) => ages.map(it.alphaOf))"
    async with visit() as here:
        alphas = await here.page.evaluate(alphas_of, [0, 1, 2, 5, 20, 1000])
        assert alphas == sorted(alphas, reverse=True)
        assert alphas[0] == 1 and alphas[0] - alphas[1] > 0.2 and alphas[-1] >= 0.2
