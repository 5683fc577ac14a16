"""Who gets which event, who is waited for, and how watching ends."""

from __future__ import annotations

import asyncio

import pytest
from fake_relay import PATIENCE_S, settle

from semcast.v1 import transmitter_pb2
from transmitter.events import EventHub, Subscription


def report(sequence: int) -> transmitter_pb2.SessionEvent:
    return transmitter_pb2.SessionEvent(
        leg="main", frame=transmitter_pb2.FrameReport(sequence=sequence)
    )


def pair(sequence: int) -> transmitter_pb2.SessionEvent:
    return transmitter_pb2.SessionEvent(
        leg="main", frames=transmitter_pb2.FramePair(sequence=sequence)
    )


async def all_of(subscription: Subscription) -> list[int]:
    async with asyncio.timeout(PATIENCE_S):
        return [event.frame.sequence async for event in subscription]


async def publish_all(hub: EventHub, count: int) -> None:
    for sequence in range(count):
        await hub.publish(report(sequence))


async def test_a_session_waits_for_a_lossless_watcher_and_loses_it_nothing() -> None:
    hub = EventHub()
    subscription = hub.subscribe(lossless=True, pictures=False)
    publishing = asyncio.create_task(publish_all(hub, 500))
    await settle()
    assert not publishing.done()
    reading = asyncio.create_task(all_of(subscription))
    await publishing
    hub.close()
    assert await reading == list(range(500))


async def test_a_lossy_watcher_holds_up_nobody_and_loses_the_oldest() -> None:
    hub = EventHub()
    slow = hub.subscribe(lossless=False, pictures=False)
    await asyncio.wait_for(publish_all(hub, 500), PATIENCE_S)
    hub.close()
    seen = await all_of(slow)
    assert 0 < len(seen) < 500
    assert seen == list(range(500 - len(seen), 500))


async def test_a_lossy_watcher_that_keeps_up_loses_nothing() -> None:
    hub = EventHub()
    reading = asyncio.create_task(all_of(hub.subscribe(lossless=False, pictures=False)))
    for sequence in range(300):
        await hub.publish(report(sequence))
        await settle()
    hub.close()
    assert await reading == list(range(300))


async def test_a_lossless_watcher_does_not_make_a_slow_one_lossless() -> None:
    hub = EventHub()
    slow = hub.subscribe(lossless=False, pictures=False)
    fast = asyncio.create_task(all_of(hub.subscribe(lossless=True, pictures=False)))
    await publish_all(hub, 500)
    hub.close()
    assert await fast == list(range(500))
    assert len(await all_of(slow)) < 500


async def test_pictures_go_only_to_those_who_asked() -> None:
    hub = EventHub()
    with_pictures = hub.subscribe(lossless=True, pictures=True)
    without = hub.subscribe(lossless=True, pictures=False)
    await hub.publish(report(0))
    await hub.publish(pair(0))
    await hub.publish(
        transmitter_pb2.SessionEvent(leg="main", status=transmitter_pb2.SessionStatus(detail="x"))
    )
    hub.close()
    assert [e.WhichOneof("event") async for e in with_pictures] == ["frame", "frames", "status"]
    assert [e.WhichOneof("event") async for e in without] == ["frame", "status"]


def test_pictures_are_wanted_while_somebody_asks_for_them() -> None:
    hub = EventHub()
    assert not hub.wants_pictures
    plain = hub.subscribe(lossless=False, pictures=False)
    assert not hub.wants_pictures
    asking = hub.subscribe(lossless=False, pictures=True)
    assert hub.wants_pictures
    hub.unsubscribe(asking)
    assert not hub.wants_pictures
    hub.unsubscribe(plain)


@pytest.mark.parametrize("lossless", [True, False])
async def test_close_ends_every_watcher_after_what_it_was_sent(lossless: bool) -> None:
    hub = EventHub()
    readers = [
        asyncio.create_task(all_of(hub.subscribe(lossless=lossless, pictures=False)))
        for _ in range(3)
    ]
    await hub.publish(report(0))
    hub.close()
    assert await asyncio.gather(*readers) == [[0], [0], [0]]


@pytest.mark.parametrize("lossless", [True, False])
async def test_close_waits_for_no_watcher_and_takes_from_none(lossless: bool) -> None:
    hub = EventHub()
    sleeper = hub.subscribe(lossless=lossless, pictures=False)
    publishing = asyncio.create_task(publish_all(hub, 500))
    await settle()
    publishing.cancel()
    await asyncio.wait({publishing})
    hub.close()
    seen = await all_of(sleeper)
    assert seen == list(range(500)[-len(seen) :] if not lossless else range(len(seen)))
    assert len(seen) >= 2


@pytest.mark.parametrize("lossless", [True, False])
async def test_one_who_has_left_gets_nothing_more(lossless: bool) -> None:
    hub = EventHub()
    subscription = hub.subscribe(lossless=lossless, pictures=False)
    await hub.publish(report(0))
    hub.unsubscribe(subscription)
    await asyncio.wait_for(publish_all(hub, 50), PATIENCE_S)
    assert await all_of(subscription) == []


async def test_a_lossless_watcher_that_leaves_lets_the_session_go_on() -> None:
    """Its caller has gone while the session waited for it."""
    hub = EventHub()
    leaving = hub.subscribe(lossless=True, pictures=False)
    publishing = asyncio.create_task(publish_all(hub, 500))
    await settle()
    assert not publishing.done()
    hub.unsubscribe(leaving)
    await asyncio.wait_for(publishing, PATIENCE_S)
    hub.close()
