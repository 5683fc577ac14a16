"""Server-Sent Events, the fan-out behind them, and the conversion of reports."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest
from console_bench import Bench, until
from fake_services import invented_report

from console import api
from console.convert import constellation_points, event_json, session_spec, spec_json
from console.fanout import QUEUE_EVENTS, Fanout
from console.request import SessionRequest
from semcast.v1 import link_pb2, transmitter_pb2


@contextlib.asynccontextmanager
async def follow(
    client: httpx.AsyncClient, session_id: str
) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """The JSON events of a session, as a browser would get them."""
    path = f"/api/v1/sessions/{session_id}/events"
    async with client.stream("GET", path) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")

        async def records() -> AsyncIterator[dict[str, Any]]:
            async for line in response.aiter_lines():
                if line.startswith("data: "):
                    yield json.loads(line[6:])

        yield records()


async def started(bench: Bench, **fields: object) -> str:
    body = {"clip": "sample:gripper", "fps": 30, **fields}
    response = await bench.client.post("/api/v1/sessions", json=body)
    return str(response.json()["id"])


async def test_a_page_first_learns_how_things_are_then_gets_frames_of_both_legs(
    socket_bench: Bench,
) -> None:
    session_id = await started(socket_bench)
    async with follow(socket_bench.client, session_id) as records:
        services = await anext(records)
        assert services == {"type": "services", "transmitter": "serving", "receiver": "serving"}
        session = await anext(records)
        assert (session["type"], session["id"]) == ("session", session_id)
        legs = set()
        async for record in records:
            if record["type"] == "frame":
                legs.add(record["leg"])
                assert isinstance(record["sequence"], int)
                assert len(record["receiver"]["constellation"]) == 64
            if legs == {"main", "baseline"}:
                break


async def test_pages_share_one_stream_from_the_transmitter(socket_bench: Bench) -> None:
    session_id = await started(socket_bench)
    async with contextlib.AsyncExitStack() as stack:
        pages = [
            await stack.enter_async_context(follow(socket_bench.client, session_id))
            for _ in range(3)
        ]
        for records in pages:
            await anext(record async for record in records if record["type"] == "frame")
        text = (await socket_bench.client.get("/metrics")).text
        assert "semcast_console_sse_clients 3.0" in text
        assert socket_bench.transmitter.watch_calls == 1
    await until(lambda: _metric(socket_bench.client, "semcast_console_sse_clients 0.0"))


async def _metric(client: httpx.AsyncClient, line: str) -> bool:
    return line in (await client.get("/metrics")).text


async def test_a_change_by_one_page_reaches_the_others(socket_bench: Bench) -> None:
    session_id = await started(socket_bench)
    async with follow(socket_bench.client, session_id) as records:
        await anext(record async for record in records if record["type"] == "frame")
        await socket_bench.client.patch(f"/api/v1/sessions/{session_id}", json={"snr_db": 1.5})
        # Ends by the client's timeout if no such event comes.
        await anext(record async for record in records if record.get("snr_db") == 1.5)


async def test_stopping_a_session_ends_the_stream(socket_bench: Bench) -> None:
    session_id = await started(socket_bench)
    async with follow(socket_bench.client, session_id) as records:
        await anext(records)
        await socket_bench.client.delete(f"/api/v1/sessions/{session_id}")
        states = [record["state"] async for record in records if record["type"] == "session"]
    assert states[-1] == "stopped"


async def test_a_quiet_stream_is_kept_open_by_comments(
    socket_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "HEARTBEAT_S", 0.05)
    session_id = await started(socket_bench, fps=1)
    path = f"/api/v1/sessions/{session_id}/events"
    async with socket_bench.client.stream("GET", path) as response:
        await anext(line async for line in response.aiter_lines() if line == ": keep-alive")


async def test_a_slow_page_loses_the_oldest_events_and_nobody_else_any() -> None:
    dropped: list[int] = []
    fanout = Fanout(on_drop=dropped.append)
    slow, fast = fanout.subscribe(), fanout.subscribe()
    got_fast = []
    for number in range(QUEUE_EVENTS + 10):
        fanout.publish({"n": number})
        got_fast.append(await fast.get(1.0))
    assert len(got_fast) == QUEUE_EVENTS + 10
    assert (slow.dropped_total, fast.dropped_total, sum(dropped)) == (10, 0, 10)
    assert await slow.get(1.0) == b'data: {"n":10}\n\n'


async def test_a_closed_fanout_drains_then_ends() -> None:
    fanout = Fanout(on_drop=lambda count: None)
    subscriber = fanout.subscribe()
    fanout.publish({"n": 1})
    fanout.close()
    assert await subscriber.get(1.0) == b'data: {"n":1}\n\n'
    assert await subscriber.get(1.0) is None
    assert await fanout.subscribe().get(1.0) is None


async def test_waiting_for_an_event_takes_no_longer_than_asked() -> None:
    subscriber = Fanout(on_drop=lambda count: None).subscribe()
    assert await subscriber.get(0.01) == b""


async def test_a_stop_of_the_console_does_not_wait_for_open_pages(socket_bench: Bench) -> None:
    session_id = await started(socket_bench)
    async with follow(socket_bench.client, session_id) as records:
        await anext(records)
        began = time.monotonic()
        # Leaving the fixture stops the console; the page still hangs on to its stream here.
        [serving] = [task for task in asyncio.all_tasks() if "serve" in repr(task.get_coro())]
        serving.cancel()
        await asyncio.wait([serving])
        assert time.monotonic() - began < socket_bench.settings.grace_s


def report(psnr_db: float) -> transmitter_pb2.FrameReport:
    spec = session_spec("s", SessionRequest(clip="c", cbr=0.004))
    frame = invented_report(spec, "main", 2**40, random.Random(1))
    frame.psnr_db = psnr_db
    frame.receiver.held.add(modality=link_pb2.MODALITY_CAPTION, age_frames=30)
    frame.receiver.held.add(modality=link_pb2.MODALITY_LOWRES)
    frame.receiver.cached_frames = 8
    return frame


def test_numbers_are_numbers_and_names_are_short() -> None:
    record = event_json(transmitter_pb2.SessionEvent(leg="main", frame=report(25.0)))
    assert record is not None
    assert record["sequence"] == 2**40
    assert set(record["symbols_by_modality"]) == {"lowres", "control", "pilot"}
    assert record["receiver"]["crc_checked_modalities"] == ["lowres"]
    assert record["stage_ms"] == {"encode": 6.5}
    assert record["receiver"]["held_age_frames"] == {"caption": 30, "lowres": 0}
    assert (record["receiver"]["cached_frames"], record["receiver"]["cache_resets"]) == (8, 0)
    json.dumps(record, allow_nan=False)


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_what_json_cannot_say_is_null(value: float) -> None:
    record = event_json(transmitter_pb2.SessionEvent(leg="main", frame=report(value)))
    assert record is not None and record["psnr_db"] is None
    json.dumps(record, allow_nan=False)


def test_pictures_are_not_passed_on() -> None:
    pair = transmitter_pb2.FramePair(source_rgb=b"123")
    assert event_json(transmitter_pb2.SessionEvent(leg="main", frames=pair)) is None


def test_the_constellation_is_pairs_to_three_decimals() -> None:
    iq = np.array([0.12345 - 1j, 1.0 + 0.5j], dtype="<c8").tobytes()
    assert constellation_points(iq) == [[0.123, -1.0], [1.0, 0.5]]
    assert constellation_points(iq[:-1]) == []
    assert constellation_points(np.array([np.nan], dtype="<c8").tobytes()) == []


def test_a_spec_goes_there_and_back() -> None:
    request = SessionRequest(
        clip="upload:1",
        channel="burst",
        snr_db=-4.5,
        caption="Ä",
        fps=12,
        generator_steps=3,
        guidance=1.7,
    )
    assert SessionRequest(**spec_json(session_spec("s", request))) == request
