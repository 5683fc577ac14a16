"""What the page draws over the received picture, against the real services: is it what came?"""

from __future__ import annotations

import asyncio
import base64
import statistics
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.async_api import Page, expect
from test_live_page import CHROMIUM, START_TIMEOUT_MS, System, running_system

from semcast.metrics.psnr import psnr_db
from semcast.rpc.client import open_channel
from semcast.v1 import transmitter_pb2, transmitter_pb2_grpc
from semcast.weights import has_weights

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
CAPTION = "A robot gripper picks up a pink rubber duck."
FRAMES = 12
_FIRST_FRAME_S = 180.0
TILE = """() => {
    const tile = document.querySelector("[data-testid=tile]");
    const { width, height } = tile;
    const { data } = tile.getContext("2d").getImageData(0, 0, width, height);
    return [width, height, btoa(String.fromCharCode(...data))];
}"""
# Notes what the page is told of each frame; its own handlers go on.
NOTE_FRAMES = """() => {
    window.noted = {};
    setInterval(() => {
        const frame = window.semcast.state.lastEvents.main;
        const contours = frame?.receiver?.semantics?.contours;
        if (contours) window.noted[frame.sequence] = contours;
    }, 20);
}"""


async def test_the_caption_and_the_low_res_frame_are_those_received() -> None:
    async with running_system() as system:
        page = system.page
        await page.get_by_test_id("scheme").select_option("A list of modalities…")
        await page.get_by_test_id("modalities").fill("caption,motion,lowres")
        await page.get_by_test_id("caption").fill(CAPTION)
        await _start(system)
        await expect(page.get_by_test_id("subtitle")).to_have_text(
            CAPTION, timeout=START_TIMEOUT_MS
        )
        await page.get_by_test_id("layer-lowres").check()
        await page.get_by_test_id("layer-motion").check()
        await expect(page.get_by_test_id("motion")).to_contain_text("%/frame")
        # The picture made of it is the tile enlarged; video and tile may be a frame apart.
        best = 0.0
        async with asyncio.timeout(START_TIMEOUT_MS / 1e3):
            while best < 26:
                tile = await _tile(system)
                shown = await system.grab("video-received")
                small = cv2.resize(shown, tile.shape[1::-1], interpolation=cv2.INTER_AREA)
                best = max(best, psnr_db(tile, np.asarray(small, np.uint8)))
        assert system.errors == []


async def _start(system: System) -> str:
    """Starts what is chosen; returns the session's id once frames are coming."""
    page = system.page
    # No network has to be loaded for it. Extractors have theirs, which may take a minute.
    await page.get_by_text("More", exact=True).click()
    await page.get_by_test_id("generator").select_option("passthrough")
    await page.get_by_test_id("start").click(timeout=START_TIMEOUT_MS)
    async with asyncio.timeout(_FIRST_FRAME_S):
        await _until_frame(page)
    return str(await page.evaluate("window.semcast.state.session.id"))


async def _until_frame(page: Page) -> None:
    """Until the page has been told of a frame."""
    while not await page.evaluate("window.semcast.state.lastEvents.main !== null"):  # noqa: ASYNC110
        await asyncio.sleep(0.2)


async def _tile(system: System) -> NDArray[np.uint8]:
    """The tile as the page shows it, [height, width, 3]."""
    width, height, encoded = await system.page.evaluate(TILE)
    rgba = np.frombuffer(base64.b64decode(encoded), np.uint8).reshape(height, width, 4)
    return np.ascontiguousarray(rgba[:, :, :3])


@pytest.mark.skipif(not has_weights("segmenter"), reason="no segmenter is bundled in this version")
async def test_outlines_are_those_of_the_labels_received() -> None:
    async with running_system() as system:
        page = system.page
        await page.get_by_test_id("scheme").select_option("contours-lowres")
        session_id = await _start(system)
        await page.evaluate(NOTE_FRAMES)
        labels = await _labels_received(system, session_id)
        noted: dict[str, list[dict[str, Any]]] = await page.evaluate("window.noted")
        both = labels.keys() & {int(sequence) for sequence in noted}
        assert len(both) >= FRAMES // 3
        agree = [_agreement(labels[sequence], noted[str(sequence)]) for sequence in both]
        # Vertices are told in whole pixels, which tells most on small objects.
        assert statistics.median(agree) > 0.85
        for sequence in both:
            told = {contour["label"] for contour in noted[str(sequence)]}
            assert told >= set(np.unique(labels[sequence]).tolist()) - {0}
        await expect(page.get_by_test_id("layer-contours")).to_be_checked()
        assert system.errors == []


async def _labels_received(system: System, session_id: str) -> dict[int, NDArray[np.uint8]]:
    """Label maps with an object that the receiver held, by sequence number of the frame."""
    labels: dict[int, NDArray[np.uint8]] = {}
    async with open_channel(system.services.transmitter.address) as channel:
        stub = transmitter_pb2_grpc.TransmitterServiceStub(channel)
        request = transmitter_pb2.WatchSessionRequest(session_id=session_id, include_frames=True)
        async with asyncio.timeout(START_TIMEOUT_MS / 1e3):
            async for response in stub.WatchSession(request):
                pair = response.event.frames
                if response.event.leg == "main" and pair.labels_received:
                    flat = np.frombuffer(pair.labels_received, np.uint8)
                    # The segmenter's first look may take seconds, and no frame waits for it.
                    if flat.any():
                        labels[pair.sequence] = flat.reshape(256, 256)
                if len(labels) == FRAMES:
                    return labels
    raise AssertionError("the session has ended")


def _agreement(labels: NDArray[np.uint8], contours: list[dict[str, Any]]) -> float:
    """Of the pixels of objects, here or there: the part that has the same label in both."""
    painted = np.zeros_like(labels)
    for label in sorted({contour["label"] for contour in contours}):
        rings = [
            # OpenCV's vertices are pixels' middles, ours their corners.
            np.array(contour["xy_px"], np.float32).reshape(-1, 2) - 0.5
            for contour in contours
            if contour["label"] == label
        ]
        fixed = [np.rint(ring * 16).astype(np.int32) for ring in rings]
        cv2.fillPoly(painted, fixed, int(label), shift=4)
    either = (painted > 0) | (labels > 0)
    return float((painted == labels)[either].mean()) if either.any() else 1.0
