"""One stream of events to many pages, none of which can hold it up."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

QUEUE_EVENTS = 64
"""Events a page may lag behind: two seconds of two legs at 16 fps. Older ones are dropped."""


def encode_event(record: Mapping[str, Any]) -> bytes:
    """One Server-Sent Event with a JSON body."""
    return b"data: " + json.dumps(record, separators=(",", ":")).encode() + b"\n\n"


class Subscriber:
    """The bounded queue of one page; the oldest event makes room for the newest."""

    def __init__(self) -> None:
        self._queue: deque[bytes] = deque(maxlen=QUEUE_EVENTS)
        self._wake = asyncio.Event()
        self._closed = False
        self.dropped_total = 0

    def put(self, event: bytes) -> None:
        """Adds an event; never waits."""
        if len(self._queue) == QUEUE_EVENTS:
            self.dropped_total += 1
        self._queue.append(event)
        self._wake.set()

    def close(self) -> None:
        """Lets `get` return None once the queue is empty."""
        self._closed = True
        self._wake.set()

    async def get(self, timeout_s: float) -> bytes | None:
        """The next event, b"" after `timeout_s` without one, None at the end."""
        if not self._queue and not self._closed:
            try:
                await asyncio.wait_for(self._wake.wait(), timeout_s)
            except TimeoutError:
                return b""
        if not self._queue:
            return None
        event = self._queue.popleft()
        if not self._queue and not self._closed:
            self._wake.clear()
        return event


class Fanout:
    """The pages that follow one session.

    on_drop: called with the number of events dropped for slow pages.
    """

    def __init__(self, on_drop: Callable[[int], None]) -> None:
        self._subscribers: set[Subscriber] = set()
        self._on_drop = on_drop
        self._closed = False

    def publish(self, record: Mapping[str, Any]) -> None:
        """Hands an event to every page; encoded once."""
        if not self._subscribers:
            return
        event = encode_event(record)
        for subscriber in self._subscribers:
            dropped_before = subscriber.dropped_total
            subscriber.put(event)
            if subscriber.dropped_total != dropped_before:
                self._on_drop(1)

    def subscribe(self) -> Subscriber:
        """A queue that gets every event from now on."""
        subscriber = Subscriber()
        if self._closed:
            subscriber.close()
        self._subscribers.add(subscriber)
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Forgets a queue."""
        self._subscribers.discard(subscriber)

    def close(self) -> None:
        """Ends every queue, now and to come."""
        self._closed = True
        for subscriber in self._subscribers:
            subscriber.close()
