"""May another session come in? Measured times of steps, and a decision. Knows no clock, no thread.

The model's thread makes the frames of all sessions, so it can promise so much: each live session
needs `fps` steps a second, each as long as steps of its kind were measured to take, and the shares
of real time that they need add up to the load. A session joins while the load stays below
`max_load`, with exceptions that keep the noise of a shared machine out of it:

- One that needs next to nothing (`SMALL_LOAD`: a classical baseline) always joins.
- One that is alone is judged by what it would need on a machine with nothing else to do, and joins
  up to `MAX_LOAD_ALONE`: that shows two frames of three, and there is nobody that it could starve.
- One that is not live waits for its frames, so it may be as slow as it likes. It needs no share:
  live frames go first. But a step, once begun, is not broken off, so it may not last longer than
  a live session's frames can wait.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from semcast.session import SessionSetup

SMALL_LOAD = 0.05
MAX_LOAD_ALONE = 1.5
"""Shares of real time; ours. The tiny generator at 256x256 and 8 frames a second needs 0.45 of an
idle machine with 2 cores."""

ALONE_LOAD = 0.1
"""Who finds others that need no more than this counts as alone: the baseline beside a session."""

RENDER_QUEUE_FRAMES = 2
"""Frames of a live session that can wait for the model; a step that lasts longer loses some."""

_WINDOW_STEPS = 32
_MAX_KINDS = 64


@dataclass(frozen=True, slots=True)
class Work:
    """What the time of a step depends on. num_steps: denoising steps; 0: the generator's choice."""

    generator: str
    width: int
    height: int
    num_steps: int
    guided: bool

    @classmethod
    def of(cls, setup: SessionSetup) -> Work:
        """Of one frame of a session."""
        return cls(
            generator=setup.generator,
            width=setup.width,
            height=setup.height,
            num_steps=setup.generator_steps,
            guided=setup.guidance > 0,
        )


@dataclass(frozen=True, slots=True)
class StepTime:
    """How long a step took. busy_s: without what other programs took from the machine meanwhile."""

    wall_s: float
    busy_s: float


class StepTimes:
    """The newest times of each kind of work, by how many sessions' frames were made in one step."""

    def __init__(self) -> None:
        self._newest: dict[tuple[Work, int], deque[StepTime]] = {}

    def add(self, work: Work, num_together: int, time: StepTime) -> None:
        """A step that was timed."""
        key = (work, num_together)
        self._newest.setdefault(key, deque(maxlen=_WINDOW_STEPS)).append(time)

    def replace(self, work: Work, num_together: int, time: StepTime) -> None:
        """A step that was timed with care, in place of all that was known."""
        self._newest.pop((work, num_together), None)
        self.add(work, num_together, time)

    def find(self, work: Work, num_together: int = 1) -> StepTime | None:
        """What a step takes: the median of the newest, and the least that one kept us busy."""
        times = self._newest.get((work, num_together))
        if times is None:
            return None
        return StepTime(
            wall_s=statistics.median(time.wall_s for time in times),
            busy_s=min(time.busy_s for time in times),
        )

    def forget_others(self, used: Iterable[Work]) -> None:
        """Where many kinds are known, forgets the oldest not in use: callers choose how many."""
        kept = set(used)
        unused = [key for key in self._newest if key[0] not in kept]
        for key in unused[: max(0, len(self._newest) - _MAX_KINDS)]:
            del self._newest[key]


@dataclass(frozen=True, slots=True)
class Demand:
    """What a session asks of the model. together: others like it can share its steps."""

    work: Work
    fps: float
    live: bool
    together: bool


class Admission:
    """The sessions that are in, and whether another may join them.

    max_load: share of real time that live sessions may need; 0 admits all, however slow.
    """

    def __init__(self, max_load: float) -> None:
        self.times = StepTimes()
        self._max_load = max_load
        self._inside: dict[str, Demand] = {}

    @property
    def load(self) -> float:
        """Share of real time that the live sessions need, if each of their frames brings news."""
        return self._load(self._inside.values())

    def unmeasured(self, session_id: str, demand: Demand) -> list[int]:
        """Numbers of frames made together that are to be timed before a session is judged."""
        if not self._max_load:
            return []
        wanted = {1, self._num_together(session_id, demand)}
        return sorted(num for num in wanted if self.times.find(demand.work, num) is None)

    def is_in_use(self, work: Work) -> bool:
        """Whether frames of this kind are being made, so that its times are new."""
        return any(demand.work == work for demand in self._inside.values())

    def refusal(self, session_id: str, demand: Demand) -> str:
        """Why a session may not come in, as a sentence with what to do; "" where it may.

        One that is in already is judged as if it were not.
        """
        if not self._max_load:
            return ""
        others = [inside for other, inside in self._inside.items() if other != session_id]
        stall = self._stall(demand, others)
        if stall or not demand.live:
            return stall
        step = self._step(demand.work)
        least_load = demand.fps * step.busy_s
        load_of_others = self._load(others)
        if least_load <= SMALL_LOAD:
            return ""
        if load_of_others <= ALONE_LOAD:
            return _too_slow(demand, step.busy_s) if least_load > MAX_LOAD_ALONE else ""
        more_load = self._load([*others, demand]) - load_of_others
        if load_of_others + more_load <= self._max_load:
            return ""
        free = self._max_load - load_of_others
        fps = int(demand.fps * free / more_load) if free > 0 else 0
        if self._load([*others, replace(demand, fps=fps)]) > self._max_load:
            # A shared step comes as often as the quickest of those who share it needs.
            fps = 0
        return _too_many(demand, load_of_others, more_load, self._max_load, fps)

    def enter(self, session_id: str, demand: Demand) -> None:
        """A session comes in, or goes on with another demand."""
        self._inside[session_id] = demand

    def leave(self, session_id: str) -> None:
        """A session has ended, if it ever came in."""
        self._inside.pop(session_id, None)
        self.times.forget_others(demand.work for demand in self._inside.values())

    def _num_together(self, session_id: str, demand: Demand) -> int:
        """Frames like this that may be made in one step, once this session is in."""
        if not (demand.live and demand.together):
            return 1
        others = (inside for other, inside in self._inside.items() if other != session_id)
        return 1 + sum(other.live and other.work == demand.work for other in others)

    def _load(self, demands: Iterable[Demand]) -> float:
        in_turn, together = 0.0, dict[Work, list[float]]()
        for demand in demands:
            if not demand.live:
                continue
            if demand.together:
                together.setdefault(demand.work, []).append(demand.fps)
            else:
                in_turn += demand.fps * self._step(demand.work).wall_s
        return in_turn + sum(
            max(rates) * self._step(work, len(rates)).wall_s for work, rates in together.items()
        )

    def _step(self, work: Work, num_together: int = 1) -> StepTime:
        """What was measured; where several were not, as long as they take in turn."""
        found = self.times.find(work, num_together)
        if found:
            return found
        alone = self.times.find(work)
        if alone is None:
            return StepTime(0.0, 0.0)
        return StepTime(num_together * alone.wall_s, num_together * alone.busy_s)

    def _stall(self, demand: Demand, others: list[Demand]) -> str:
        """Why a step for a session that is not live holds up one that is; "" if it does not."""
        patient = [each for each in others if not each.live] if demand.live else [demand]
        live = [demand] if demand.live else [each for each in others if each.live]
        if not patient or not live:
            return ""
        patience_s = min(RENDER_QUEUE_FRAMES / each.fps for each in live)
        step_s, work = max(
            ((self._step(each.work).busy_s, each.work) for each in patient),
            key=lambda timed: timed[0],
        )
        if step_s <= patience_s:
            return ""
        what = f"{_what(work)} takes {_duration(step_s)} a frame"
        if demand.live:
            return (
                f"{what} for a session that is not live, in which this one would stand still: wait "
                "until that has ended, or use another receiver."
            )
        return (
            f"{what}, in which the live sessions of this receiver would stand still: wait until "
            "they have ended, ask for a smaller picture, fewer denoising steps or another "
            "generator, or use another receiver."
        )


def _what(work: Work) -> str:
    return f"Generator '{work.generator}' at {work.width}x{work.height}"


def _duration(seconds: float) -> str:
    return f"{1e3 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _too_slow(demand: Demand, step_s: float) -> str:
    return (
        f"{_what(demand.work)} takes {_duration(step_s)} a frame on this receiver, and "
        f"{demand.fps:g} frames a second leave {_duration(1 / demand.fps)}: "
        f"{_advice(int(1 / step_s))}."
    )


def _too_many(demand: Demand, load: float, more_load: float, max_load: float, fps: int) -> str:
    return (
        f"{_what(demand.work)} and {demand.fps:g} frames a second needs {more_load:.0%} of this "
        f"receiver's time, and its sessions need {load:.0%} already, of at most {max_load:.0%}: "
        f"stop one, {_advice(fps)}."
    )


def _advice(fps: int) -> str:
    ways = ["a smaller picture", "fewer denoising steps", "another generator"]
    if fps >= 1:
        ways.insert(0, f"at most {fps} frames a second")
    return f"ask for {', '.join(ways[:-1])} or {ways[-1]}, or use another receiver"
