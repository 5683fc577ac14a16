"""The one thread that runs generators: what it does next, and how long that takes.

    live frames ──► one after the other, those of a kind together ──► model's thread
    all else ──► when no live frame waits ────────────────────────────────┘

All else: frames of sessions that are not live, loading, trial steps. A step that has begun is not
broken off, so a live frame waits for at most one of those.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from receiver.admission import StepTime, Work
from receiver.generator import (
    WARM_CONTEXT,
    Conditions,
    Generator,
    StepsTogether,
    make_generator,
    step_all,
    typical_conditions,
)
from receiver.session import DecodedFrame, ReceiverSession, RenderedFrame
from semcast.session import Modality

MAX_TOGETHER = 16
"""Frames made in one step: what a step may take in memory, and last, has a bound."""

_TRIAL_STEPS = 3
_MAX_TRIALS_S = 1.0

Result = TypeVar("Result")
Clock = Callable[[], StepTime]


def thread_clock() -> StepTime:
    """Time now, and how long this thread has been at work; differences of two count."""
    return StepTime(time.perf_counter(), time.thread_time())


@dataclass(frozen=True, slots=True)
class Rendered:
    """A frame, and the service time of the step that made it, maybe with others, milliseconds."""

    frame: RenderedFrame
    render_ms: float


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """A frame that waits to be rendered."""

    session: ReceiverSession
    decoded: DecodedFrame
    work: Work
    done: asyncio.Future[Rendered]

    def goes_with(self, other: _Job) -> bool:
        """Whether both can be made in one step."""
        mine = self.session.generator
        return (
            isinstance(other, _Frame)
            and other.work == self.work
            and isinstance(mine, StepsTogether)
            and type(other.session.generator) is type(mine)
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """Anything else that waits for the thread."""

    function: Callable[[], Any]
    done: asyncio.Future[Any]


_Job = _Frame | _Call


@dataclass(frozen=True, slots=True)
class _Step:
    """A step that was taken for sessions."""

    work: Work
    num_together: int
    time: StepTime


class ModelThread:
    """Runs generators. Its methods are called on one event loop; generators run on its thread.

    on_step: told on the event loop of each step: kind of work, frames made in it, its time.
    clock: read on the thread before and after a step.
    """

    def __init__(
        self, on_step: Callable[[Work, int, StepTime], None], clock: Clock = thread_clock
    ) -> None:
        self._on_step = on_step
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._live: deque[_Job] = deque()
        self._patient: deque[_Job] = deque()
        self._is_busy = False

    async def render(
        self, session: ReceiverSession, decoded: DecodedFrame, work: Work, *, live: bool
    ) -> Rendered:
        """The frame to show after `decoded`, as `session.render` makes it."""
        done: asyncio.Future[Rendered] = asyncio.get_running_loop().create_future()
        (self._live if live else self._patient).append(_Frame(session, decoded, work, done))
        self._begin_next()
        return await done

    async def call(self, function: Callable[[], Result]) -> Result:
        """Runs something else on the thread, once no live frame waits."""
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._patient.append(_Call(function, done))
        self._begin_next()
        return await done

    async def measure(
        self, work: Work, modalities: Iterable[Modality], num_together: int
    ) -> StepTime:
        """What a step takes, by trial steps of new generators between those of sessions.

        The quickest of three after one that warms up: a machine that others use too may be slower
        than it is, never faster. Where one takes a second or more, that one.
        """
        generators = await self.call(lambda: [_reset(work) for _ in range(num_together)])
        given = [typical_conditions(modalities, work.width, work.height)] * num_together
        step = partial(self._timed_step, generators, given)
        _, first = await self.call(step)
        trials = [first]
        spent_s = first.wall_s
        while len(trials) <= _TRIAL_STEPS and spent_s < _MAX_TRIALS_S:
            _, trial = await self.call(step)
            trials.append(trial)
            spent_s += trial.wall_s
        warm = trials[1:] or trials
        return StepTime(min(t.wall_s for t in warm), min(t.busy_s for t in warm))

    def close(self) -> None:
        """Ends the thread, once it has done what it is at."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _begin_next(self) -> None:
        if self._is_busy:
            return
        jobs = _take(self._live) or _take(self._patient)
        if not jobs:
            return
        self._is_busy = True
        first = jobs[0]
        run: Callable[[], tuple[list[Any], _Step | None]]
        if isinstance(first, _Call):
            run = partial(_call, first.function)
        else:
            run = partial(self._render, [job for job in jobs if isinstance(job, _Frame)])
        running = asyncio.get_running_loop().run_in_executor(self._thread, run)
        running.add_done_callback(partial(self._end, jobs))

    def _end(
        self, jobs: list[_Job], running: asyncio.Future[tuple[list[Any], _Step | None]]
    ) -> None:
        self._is_busy = False
        # Those of sessions that have ended meanwhile are cancelled.
        open_jobs = [(index, job) for index, job in enumerate(jobs) if not job.done.done()]
        error = running.exception()
        if error is not None:
            for _, job in open_jobs:
                job.done.set_exception(error)
        else:
            results, step = running.result()
            for index, job in open_jobs:
                job.done.set_result(results[index])
            if step:
                self._on_step(step.work, step.num_together, step.time)
        self._begin_next()

    def _render(self, frames: list[_Frame]) -> tuple[list[Rendered], _Step | None]:
        """On the thread. One step, for those of the frames that need one."""
        stepping = [frame for frame in frames if frame.session.needs_step(frame.decoded)]
        if not stepping:
            return [Rendered(f.session.show(f.decoded, None), 0.0) for f in frames], None
        pictures, taken = self._timed_step(
            [frame.session.generator for frame in stepping],
            [frame.decoded.conditions for frame in stepping],
        )
        made = dict(zip(stepping, pictures, strict=True))
        rendered = [
            Rendered(f.session.show(f.decoded, made.get(f)), 1e3 * taken.wall_s if f in made else 0)
            for f in frames
        ]
        return rendered, _Step(stepping[0].work, len(stepping), taken)

    def _timed_step(
        self, generators: list[Generator], conditions: list[Conditions]
    ) -> tuple[list[Any], StepTime]:
        """On the thread. A GPU's work is not this thread's: there it counts as it took."""
        before = self._clock()
        pictures = step_all(generators, conditions)
        after = self._clock()
        wall_s = after.wall_s - before.wall_s
        on_cpu = generators[0].device == "cpu"
        return pictures, StepTime(wall_s, after.busy_s - before.busy_s if on_cpu else wall_s)


def _reset(work: Work) -> Generator:
    generator = make_generator(work.generator)
    generator.reset(
        replace(
            WARM_CONTEXT,
            width=work.width,
            height=work.height,
            num_steps=work.num_steps,
            guidance=float(work.guided),
        )
    )
    return generator


def _call(function: Callable[[], Any]) -> tuple[list[Any], None]:
    return [function()], None


def _take(waiting: deque[_Job]) -> list[_Job]:
    """The job that has waited longest, with those that can be done in one with it; [] for none."""
    while waiting and waiting[0].done.done():
        waiting.popleft()
    if not waiting:
        return []
    first = waiting[0]
    jobs: list[_Job] = [first]
    if isinstance(first, _Frame):
        jobs += [
            job
            for job in waiting
            if job is not first and not job.done.done() and first.goes_with(job)
        ][: MAX_TOGETHER - 1]
    for job in jobs:
        waiting.remove(job)
    return jobs
