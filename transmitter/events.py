"""Events of a session, fanned out to those who watch it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from semcast.v1 import transmitter_pb2

_LOSSY_QUEUE = 64
_LOSSLESS_QUEUE = 8


class Subscription:
    """One watcher. lossless: the session waits for it; otherwise it loses the oldest events."""

    def __init__(self, *, lossless: bool, pictures: bool) -> None:
        self.lossless = lossless
        self.pictures = pictures
        self._queue: asyncio.Queue[transmitter_pb2.SessionEvent | None] = asyncio.Queue(
            _LOSSLESS_QUEUE if lossless else _LOSSY_QUEUE
        )
        self._ended = False

    async def put(self, event: transmitter_pb2.SessionEvent) -> None:
        """One more event; waits for room where lossless."""
        if self._ended:
            return
        if self.lossless:
            await self._queue.put(event)
            return
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(event)

    def end(self) -> None:
        """No more events; those that are queued can still be read. Waits for nobody."""
        self._ended = True
        if not self._queue.full():
            self._queue.put_nowait(None)

    def leave(self) -> None:
        """The watcher has gone: whoever waits for it to read goes on."""
        while not self._queue.empty():
            self._queue.get_nowait()
        self.end()

    async def __aiter__(self) -> AsyncIterator[transmitter_pb2.SessionEvent]:
        while not (self._ended and self._queue.empty()):
            event = await self._queue.get()
            if event is None:
                return
            yield event


class EventHub:
    """Who watches one session."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()

    @property
    def wants_pictures(self) -> bool:
        """Whether anybody asks for frame pairs."""
        return any(subscription.pictures for subscription in self._subscriptions)

    def subscribe(self, *, lossless: bool, pictures: bool) -> Subscription:
        """Adds a watcher; `unsubscribe` it when it has left."""
        subscription = Subscription(lossless=lossless, pictures=pictures)
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Removes a watcher; the session waits for it no longer."""
        self._subscriptions.discard(subscription)
        subscription.leave()

    async def publish(self, event: transmitter_pb2.SessionEvent) -> None:
        """Gives an event to everybody it is for."""
        for subscription in list(self._subscriptions):
            if event.WhichOneof("event") != "frames" or subscription.pictures:
                await subscription.put(event)

    def close(self) -> None:
        """Ends all subscriptions, after what they were sent. Waits for nobody."""
        for subscription in self._subscriptions:
            subscription.end()
