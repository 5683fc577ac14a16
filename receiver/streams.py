"""Sessions as they run: one stream of radio frames each, and two threads for all their maths.

    read ──► decode (its thread) ──► feedback at once
                └──► at most 2 decoded frames ──► render (the model's thread) ──► viewers, tap

A live session skips rendering of a frame when a newer one waits; it never skips decoding, because
later frames are predicted from it. A session that is not live waits instead. Who may come in is
`admission`'s to say, whose frame is next `model_thread`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from receiver.admission import RENDER_QUEUE_FRAMES, Admission, Demand, Work
from receiver.generator import (
    WARM_CONTEXT,
    StepsTogether,
    make_generator,
    settle_generator,
    warm_generator,
)
from receiver.model_thread import Clock, ModelThread, thread_clock
from receiver.record import Recorder
from receiver.session import DecodedFrame, ReceiverSession, RenderedFrame
from semcast.errors import CapacityError, NotFoundError
from semcast.media.publisher import VideoPublisher
from semcast.schemes import find_scheme
from semcast.session import Modality, RadioFrame, SessionSetup
from semcast.timing import timed


@dataclass(frozen=True, slots=True)
class FrameOutcome:
    """A frame that has been through the receiver. rendered: None where it was skipped."""

    decoded: DecodedFrame
    rendered: RenderedFrame | None
    decode_ms: float
    render_ms: float
    queue_depth: int
    dropped_total: int


@dataclass(frozen=True, slots=True)
class _Waiting:
    decoded: DecodedFrame
    decode_ms: float


class Streams:
    """All sessions of one receiver.

    record_folder: where every message that enters is recorded; None for nowhere. max_load: as
    `Admission` takes it. clock: of the model's thread.
    """

    def __init__(
        self,
        max_sessions: int,
        record_folder: Path | None,
        max_load: float,
        clock: Clock = thread_clock,
    ) -> None:
        self._max_sessions = max_sessions
        self._record_folder = record_folder
        self._decoder = ThreadPoolExecutor(1, thread_name_prefix="decode")
        self._admission = Admission(max_load)
        self._model = ModelThread(self._admission.times.add, clock)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._publishers: dict[str, tuple[tuple[int, int, float], VideoPublisher]] = {}

    @property
    def num_running(self) -> int:
        """Sessions whose stream is open."""
        return len(self._running)

    @property
    def model_load(self) -> float:
        """Share of real time that live sessions need of the model, if each frame brings news."""
        return self._admission.load

    async def warm_up(self, generator: str = "") -> None:
        """Compiles and loads what the first frame would otherwise wait for.

        generator: to be loaded, run once and timed; NotFoundError for an unknown one.
        """
        from semcast.warm import warm_up

        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._decoder, warm_up)
        if generator:
            name = await self._model.call(lambda: warm_generator(generator))
            work = Work(name, WARM_CONTEXT.width, WARM_CONTEXT.height, num_steps=0, guided=False)
            await self._measure(work, tuple(Modality), 1)

    def publisher(self, session_id: str) -> VideoPublisher:
        """The video of a session, which outlives its stream so that viewers stay over restarts.

        Raises NotFoundError for one that was not received, or long ago.
        """
        if session_id not in self._publishers:
            raise NotFoundError(f"No session '{session_id}' is being received.")
        return self._publishers[session_id][1]

    async def run(
        self,
        setup: SessionSetup,
        frames: AsyncIterator[RadioFrame],
        on_decoded: Callable[[DecodedFrame], Awaitable[None]],
        on_outcome: Callable[[FrameOutcome], Awaitable[None]],
    ) -> None:
        """Receives one stream to its end. A newer stream of the same session ends an older one.

        Raises InputError for a set-up or frame that cannot be, CapacityError where the receiver
        has as many sessions as it may, or cannot make this one's frames in time.
        """
        task = asyncio.current_task()
        assert task is not None
        older = self._running.get(setup.session_id)
        if older is None and len(self._running) >= self._max_sessions:
            raise CapacityError(
                f"This receiver serves {self._max_sessions} sessions already; stop one first."
            )
        self._running[setup.session_id] = task
        try:
            if older is not None:
                older.cancel()
                await asyncio.wait([older])
            await self._run(setup, frames, on_decoded, on_outcome)
        finally:
            if self._running.get(setup.session_id) is task:
                del self._running[setup.session_id]
                self._admission.leave(setup.session_id)

    async def _run(
        self,
        setup: SessionSetup,
        frames: AsyncIterator[RadioFrame],
        on_decoded: Callable[[DecodedFrame], Awaitable[None]],
        on_outcome: Callable[[FrameOutcome], Awaitable[None]],
    ) -> None:
        loop = asyncio.get_running_loop()
        setup = settle_generator(setup)
        session = await self._model.call(
            lambda: ReceiverSession(setup, make_generator(setup.generator))
        )
        work = Work.of(setup)
        together = isinstance(session.generator, StepsTogether)
        await self._admit(setup, Demand(work, setup.fps, setup.live, together))
        publisher = await self._publisher_for(setup)
        recorder = Recorder(self._record_folder, setup) if self._record_folder else None
        waiting: asyncio.Queue[_Waiting | None] = asyncio.Queue(RENDER_QUEUE_FRAMES)
        dropped_total = 0

        async def decode_all() -> None:
            nonlocal dropped_total
            async for frame in frames:
                if recorder:
                    recorder.add(frame)
                decoded, decode_ms = await loop.run_in_executor(
                    self._decoder, timed, partial(session.decode, frame)
                )
                await on_decoded(decoded)
                if setup.live and waiting.full():
                    late = waiting.get_nowait()
                    assert late is not None
                    dropped_total += 1
                    await on_outcome(
                        FrameOutcome(late.decoded, None, late.decode_ms, 0.0, 0, dropped_total)
                    )
                await waiting.put(_Waiting(decoded, decode_ms))
            await waiting.put(None)

        async def render_all() -> None:
            while (item := await waiting.get()) is not None:
                made = await self._model.render(session, item.decoded, work, live=setup.live)
                publisher.push(made.frame.rgb, item.decoded.received.pts_us)
                await on_outcome(
                    FrameOutcome(
                        item.decoded,
                        made.frame,
                        item.decode_ms,
                        made.render_ms,
                        waiting.qsize(),
                        dropped_total,
                    )
                )

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(decode_all())
                group.create_task(render_all())
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            if recorder:
                recorder.close()

    async def _admit(self, setup: SessionSetup, demand: Demand) -> None:
        """Lets a session in, or raises CapacityError with what to do."""
        admission, modalities = self._admission, find_scheme(setup.scheme).modalities
        for num_together in admission.unmeasured(setup.session_id, demand):
            await self._measure(demand.work, modalities, num_together)
        refusal = admission.refusal(setup.session_id, demand)
        if refusal and not admission.is_in_use(demand.work):
            # What a busy moment told would stay for ever: whoever is refused makes no frames.
            await self._measure(demand.work, modalities, 1)
            refusal = admission.refusal(setup.session_id, demand)
        if refusal:
            raise CapacityError(refusal)
        admission.enter(setup.session_id, demand)

    async def _measure(
        self, work: Work, modalities: tuple[Modality, ...], num_together: int
    ) -> None:
        time = await self._model.measure(work, modalities, num_together)
        self._admission.times.replace(work, num_together, time)

    async def _publisher_for(self, setup: SessionSetup) -> VideoPublisher:
        """Viewers stay through restarts of a stream, unless its picture changes shape."""
        shape = (setup.width, setup.height, setup.fps)
        kept = self._publishers.get(setup.session_id)
        if kept and kept[0] == shape:
            return kept[1]
        if kept:
            # Taken out first: whoever comes while it closes must not be given it.
            del self._publishers[setup.session_id]
            await kept[1].close()
        await self._close_unwatched()
        publisher = VideoPublisher(width=setup.width, height=setup.height, fps=setup.fps)
        self._publishers[setup.session_id] = (shape, publisher)
        return publisher

    async def _close_unwatched(self) -> None:
        unwatched = [
            session_id
            for session_id, (_, publisher) in self._publishers.items()
            if session_id not in self._running and publisher.stats.viewers == 0
        ]
        # All taken out before the first is waited for: another stream may come here meanwhile.
        for _, publisher in [self._publishers.pop(session_id) for session_id in unwatched]:
            await publisher.close()

    async def close(self) -> None:
        """Ends all streams and viewers' tracks."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        for _, publisher in self._publishers.values():
            await publisher.close()
        self._publishers.clear()
        self._model.close()
        self._decoder.shutdown(wait=True, cancel_futures=True)
