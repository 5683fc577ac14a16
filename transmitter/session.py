"""A running session: one source, one or two legs, a preview, and everybody who watches."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from semcast.errors import SemcastError
from semcast.media.publisher import VideoPublisher
from semcast.v1 import channel_pb2_grpc, link_pb2, transmitter_pb2
from transmitter.events import EventHub
from transmitter.ledger import FinishedFrame
from transmitter.leg import CapturedFrame, Leg
from transmitter.pacing import Pacer
from transmitter.plan import MAIN_LEG, LegPlan
from transmitter.sources import SourceFrame

logger = logging.getLogger(__name__)

Error = TypeVar("Error", bound=Exception)


@dataclass(frozen=True, slots=True)
class FrameSource:
    """Where a session's frames come from.

    open: makes the iterator; None in it means that there is no picture yet.
    live: a camera, whose frames are taken at the tick; a file's are read ahead by one.
    close: releases what the session held.
    """

    open: Callable[[], Iterator[SourceFrame | None]]
    live: bool
    close: Callable[[], None]


class RunningSession:
    """Feeds the legs from the source until it ends or is stopped."""

    def __init__(
        self,
        spec: transmitter_pb2.SessionSpec,
        plans: list[LegPlan],
        source: FrameSource,
        stub: channel_pb2_grpc.ChannelServiceStub,
        worker: Executor,
        eyes: Executor,
        observe: Callable[[str, transmitter_pb2.FrameReport], None],
    ) -> None:
        """worker: thread of the codecs. eyes: thread of the extractors.

        observe: told of every finished frame and its leg.
        """
        self.spec = spec
        self.hub = EventHub()
        self.status = transmitter_pb2.SessionStatus(state=transmitter_pb2.SESSION_STATE_CONNECTING)
        self.failure: Exception | None = None
        self.preview: VideoPublisher | None = None
        if spec.paced:
            self.preview = VideoPublisher(
                width=spec.width_px, height=spec.height_px, fps=spec.frames_per_second
            )
        self._closed = False
        self._source = source
        self._observe = observe
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="source")
        self._legs = [
            Leg(
                plan,
                spec.channel,
                stub,
                worker,
                eyes,
                self._on_finished,
                self._on_state,
                lambda: self.hub.wants_pictures,
                paced=spec.paced,
            )
            for plan in plans
        ]

    def set_channel(self, channel: link_pb2.ChannelSettings) -> None:
        """New channel settings for all legs, in force from the next frame."""
        self.spec.channel.CopyFrom(channel)
        for leg in self._legs:
            leg.set_channel(channel)

    async def run(self) -> None:
        """Runs to the end of the source. How it ended is in `status`."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._feed())
                for leg in self._legs:
                    group.create_task(self._run_leg(leg))
        except* SemcastError as errors:
            self.failure = _first_leaf(errors)
            logger.warning("session %s failed: %s", self.spec.session_id, self.failure)
            await self._publish_failure(str(self.failure))
        except* Exception as errors:
            self.failure = _first_leaf(errors)
            logger.exception("session %s failed", self.spec.session_id)
            fault = type(self.failure).__name__
            await self._publish_failure(
                f"The transmitter itself is at fault ({fault}): see its log."
            )
        else:
            await self._publish_status(MAIN_LEG, transmitter_pb2.SESSION_STATE_ENDED, "")
        finally:
            await self.close()

    async def close(self) -> None:
        """Lets go of source, preview and watchers, once `run` has ended or was never begun."""
        if self._closed:
            return
        self._closed = True
        self._source.close()
        self._reader.shutdown(wait=False, cancel_futures=True)
        if self.preview:
            await self.preview.close()
        self.hub.close()

    async def _run_leg(self, leg: Leg) -> None:
        try:
            await leg.run()
        except SemcastError as error:
            if leg.name == MAIN_LEG:
                raise
            await self._publish_status(leg.name, transmitter_pb2.SESSION_STATE_FAILED, str(error))

    async def _feed(self) -> None:
        spec, loop = self.spec, asyncio.get_running_loop()
        frames = await loop.run_in_executor(self._reader, self._source.open)
        pacer = Pacer(spec.frames_per_second)
        tick = 0
        while True:
            if self._source.live:
                await self._wait_for(tick, pacer)
            start_s = time.monotonic()
            more, frame = await loop.run_in_executor(self._reader, _take, frames)
            source_ms = 1e3 * (time.monotonic() - start_s)
            if not more:
                break
            if spec.paced and not self._source.live:
                await self._wait_for(tick, pacer)
            tick += 1
            if frame is None:
                continue
            captured = CapturedFrame(frame.rgb, frame.pts_us, time.monotonic(), source_ms)
            if self.preview:
                self.preview.push(frame.rgb, frame.pts_us)
            for leg in self._legs:
                await leg.offer(captured)
        for leg in self._legs:
            await leg.end()

    async def _wait_for(self, tick: int, pacer: Pacer) -> None:
        await asyncio.sleep(pacer.wait_s(tick, time.monotonic()))

    async def _on_finished(self, leg_name: str, frame: FinishedFrame) -> None:
        leg = next(leg for leg in self._legs if leg.name == leg_name)
        frame.report.frames_skipped_total = leg.frames_dropped
        self._observe(leg_name, frame.report)
        await self.hub.publish(transmitter_pb2.SessionEvent(leg=leg_name, frame=frame.report))
        if frame.pair is not None:
            await self.hub.publish(transmitter_pb2.SessionEvent(leg=leg_name, frames=frame.pair))

    async def _on_state(self, leg_name: str, trouble: str) -> None:
        state = (
            transmitter_pb2.SESSION_STATE_CONNECTING
            if trouble
            else transmitter_pb2.SESSION_STATE_STREAMING
        )
        await self._publish_status(leg_name, state, trouble)

    async def _publish_failure(self, sentence: str) -> None:
        await self._publish_status(MAIN_LEG, transmitter_pb2.SESSION_STATE_FAILED, sentence)

    async def _publish_status(
        self, leg_name: str, state: transmitter_pb2.SessionState, detail: str
    ) -> None:
        status = transmitter_pb2.SessionStatus(state=state, detail=detail)
        if leg_name == MAIN_LEG:
            self.status = status
        await self.hub.publish(transmitter_pb2.SessionEvent(leg=leg_name, status=status))


def _first_leaf(errors: BaseExceptionGroup[Error]) -> Error:
    first = errors.exceptions[0]
    return _first_leaf(first) if isinstance(first, BaseExceptionGroup) else first


def _take(frames: Iterator[SourceFrame | None]) -> tuple[bool, SourceFrame | None]:
    """Whether there was an item, and the item. (StopIteration cannot cross an executor.)"""
    for frame in frames:
        return True, frame
    return False, None
