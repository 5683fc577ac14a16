"""The model's thread: what it does next, what it makes in one step, and what it says that took."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import numpy as np
import pytest
from receiver_link import PATIENCE_S, setup

from receiver.admission import StepTime, Work
from receiver.generator import MAKERS, Conditions, GeneratorContext
from receiver.model_thread import MAX_TOGETHER, ModelThread, Rendered
from semcast.generators import GENERATORS, GeneratorInfo
from semcast.session import Modality

WORK = Work.of(setup(generator="fake"))


class Steps:
    """The steps of all fake generators, in order; holds the first until it is opened."""

    def __init__(self) -> None:
        self.taken: list[list[str]] = []
        self.entered = threading.Event()
        self.opened = threading.Event()
        self.wall_s = self.busy_s = 0.0
        self.durations_s = [0.05]
        self.contexts: list[GeneratorContext] = []

    def take(self, names: list[str]) -> None:
        self.taken.append(names)
        self.entered.set()
        assert self.opened.wait(PATIENCE_S)
        index = min(len(self.taken), len(self.durations_s)) - 1
        self.wall_s += self.durations_s[index]
        self.busy_s += self.durations_s[index] / 2

    def clock(self) -> StepTime:
        return StepTime(self.wall_s, self.busy_s)


class FakeGenerator:
    """Paints its name's first letter."""

    modalities = frozenset(Modality)
    device = "cpu"
    cached_frames = cache_resets = 0

    def __init__(self, steps: Steps, name: str = "fake") -> None:
        self.steps, self.name = steps, name

    def reset(self, context: GeneratorContext) -> None:
        self.steps.contexts.append(context)

    def step(self, conditions: Conditions) -> Any:
        self.steps.take([self.name])
        return self.painted()

    def painted(self) -> Any:
        return np.full((2, 2, 3), ord(self.name[0]), np.uint8)


class SharingGenerator(FakeGenerator):
    """One that steps together with others."""

    @classmethod
    def step_together(
        cls, generators: Sequence[SharingGenerator], conditions: Sequence[Conditions]
    ) -> list[Any]:
        assert len(generators) == len(conditions)
        if any(generator.name == "broken" for generator in generators):
            raise RuntimeError("a broken generator")
        generators[0].steps.take([generator.name for generator in generators])
        return [generator.painted() for generator in generators]


class FakeSession:
    """As the thread sees a session."""

    def __init__(self, generator: FakeGenerator, *, has_news: bool = True) -> None:
        self.generator = generator
        self._has_news = has_news

    def needs_step(self, decoded: Any) -> bool:
        return self._has_news

    def show(self, decoded: Any, made: Any) -> Any:
        return "repeated" if made is None else chr(made[0, 0, 0])


class Decoded:
    conditions = Conditions({}, {})


class Bench:
    """A thread, kept busy with a first frame until it is opened."""

    def __init__(self) -> None:
        self.steps = Steps()
        self.told: list[tuple[Work, int, StepTime]] = []
        self.thread = ModelThread(lambda *step: self.told.append(step), self.steps.clock)

    def render(
        self,
        name: str,
        kind: type[FakeGenerator] = FakeGenerator,
        *,
        live: bool = True,
        work: Work = WORK,
        has_news: bool = True,
    ) -> asyncio.Task[Rendered]:
        session: Any = FakeSession(kind(self.steps, name), has_news=has_news)
        decoded: Any = Decoded()
        return asyncio.create_task(self.thread.render(session, decoded, work, live=live))

    async def hold(self) -> asyncio.Task[Rendered]:
        first = self.render("first")
        await asyncio.to_thread(self.steps.entered.wait, PATIENCE_S)
        return first

    async def release(self, *waiting: asyncio.Task[Any]) -> list[Any]:
        """All that waits is done; what came of it."""
        await asyncio.sleep(0)
        self.steps.opened.set()
        async with asyncio.timeout(PATIENCE_S):
            return await asyncio.gather(*waiting, return_exceptions=True)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    made.steps.opened.set()
    made.thread.close()


async def test_live_frames_go_before_all_else_that_waits(bench: Bench) -> None:
    first = await bench.hold()
    calls: list[int] = []

    def call() -> None:
        calls.append(len(bench.steps.taken))

    waiting: list[asyncio.Task[Any]] = [
        bench.render("patient", live=False),
        asyncio.create_task(bench.thread.call(call)),
        bench.render("a"),
        bench.render("b"),
    ]
    await bench.release(first, *waiting)
    assert bench.steps.taken == [["first"], ["a"], ["b"], ["patient"]]
    assert calls == [4]


async def test_frames_of_a_kind_that_wait_are_made_in_one_step(bench: Bench) -> None:
    first = await bench.hold()
    waiting = [bench.render(name, SharingGenerator) for name in ("a", "b", "c")]
    _, *made = await bench.release(first, *waiting)
    assert bench.steps.taken == [["first"], ["a", "b", "c"]]
    assert [rendered.frame for rendered in made] == ["a", "b", "c"]
    assert [round(rendered.render_ms) for rendered in made] == [50] * 3
    assert [(work, count) for work, count, _ in bench.told] == [(WORK, 1), (WORK, 3)]


async def test_what_is_not_of_a_kind_takes_steps_of_its_own(bench: Bench) -> None:
    wider = Work.of(setup(generator="fake", width=80))
    first = await bench.hold()
    waiting = [
        bench.render("a", SharingGenerator),
        bench.render("wider", SharingGenerator, work=wider),
        bench.render("patient", SharingGenerator, live=False),
        bench.render("loner"),
        bench.render("b", SharingGenerator),
    ]
    await bench.release(first, *waiting)
    assert bench.steps.taken == [["first"], ["a", "b"], ["wider"], ["loner"], ["patient"]]


async def test_so_many_frames_and_no_more_share_a_step(bench: Bench) -> None:
    first = await bench.hold()
    waiting = [bench.render(f"{k}", SharingGenerator) for k in range(MAX_TOGETHER + 2)]
    await bench.release(first, *waiting)
    assert [len(names) for names in bench.steps.taken] == [1, MAX_TOGETHER, 2]


async def test_a_frame_without_news_takes_no_step_and_tells_no_time(bench: Bench) -> None:
    first = await bench.hold()
    waiting = [
        bench.render("a", SharingGenerator, has_news=False),
        bench.render("b", SharingGenerator),
        bench.render("c", has_news=False),
    ]
    _, *made = await bench.release(first, *waiting)
    assert bench.steps.taken == [["first"], ["b"]]
    assert [rendered.frame for rendered in made] == ["repeated", "b", "repeated"]
    assert [rendered.render_ms for rendered in made] == [0, pytest.approx(50), 0]
    assert [count for _, count, _ in bench.told] == [1, 1]


async def test_a_frame_of_a_session_that_has_gone_is_not_made(bench: Bench) -> None:
    first = await bench.hold()
    gone, stays = bench.render("gone"), bench.render("stays")
    await asyncio.sleep(0)
    gone.cancel()
    await bench.release(first, gone, stays)
    assert bench.steps.taken == [["first"], ["stays"]]


async def test_the_thread_goes_on_where_the_session_of_its_step_has_gone(bench: Bench) -> None:
    first = await bench.hold()
    first.cancel()
    _, made = await bench.release(first, bench.render("a"))
    assert made.frame == "a"


async def test_a_step_that_fails_tells_those_who_wait_for_it_and_no_others(bench: Bench) -> None:
    first = await bench.hold()
    waiting = [bench.render(name, SharingGenerator) for name in ("broken", "a")]
    _, *failed, after = await bench.release(first, *waiting, bench.render("b"))
    assert [str(error) for error in failed] == ["a broken generator"] * 2
    assert after.frame == "b"


# Trial steps.


@pytest.fixture
def fake(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Callable[[type[FakeGenerator]], Bench]:
    """Makes `fake` a generator that sessions may ask for."""

    def register(kind: type[FakeGenerator]) -> Bench:
        info = GeneratorInfo("fake", "for tests", frozenset(Modality))
        monkeypatch.setitem(GENERATORS, "fake", info)
        monkeypatch.setitem(MAKERS, "fake", lambda: kind(bench.steps))
        bench.steps.opened.set()
        return bench

    return register


async def test_a_measured_step_is_the_quickest_after_one_that_warms_up(
    fake: Callable[[type[FakeGenerator]], Bench],
) -> None:
    bench = fake(FakeGenerator)
    bench.steps.durations_s = [0.01, 0.08, 0.06, 0.07]
    measured = await bench.thread.measure(WORK, [Modality.LOWRES], 1)
    assert len(bench.steps.taken) == 4
    assert (measured.wall_s, measured.busy_s) == (pytest.approx(0.06), pytest.approx(0.03))
    assert bench.told == []


async def test_a_slow_step_is_measured_once(
    fake: Callable[[type[FakeGenerator]], Bench],
) -> None:
    bench = fake(FakeGenerator)
    bench.steps.durations_s = [12.0]
    measured = await bench.thread.measure(WORK, [Modality.LOWRES], 1)
    assert len(bench.steps.taken) == 1
    assert measured.wall_s == pytest.approx(12.0)


async def test_a_shared_step_is_measured_at_the_sessions_size(
    fake: Callable[[type[FakeGenerator]], Bench],
) -> None:
    bench = fake(SharingGenerator)
    asked = Work.of(setup(generator="fake", width=96, generator_steps=3, guidance=2.0))
    await bench.thread.measure(asked, [Modality.LOWRES], 3)
    assert [len(names) for names in bench.steps.taken] == [3] * 4
    assert len(bench.steps.contexts) == 3
    context = bench.steps.contexts[0]
    assert (context.width, context.height, context.num_steps) == (96, 64, 3)
    assert context.guidance > 0


async def test_on_a_gpu_the_whole_time_counts(
    fake: Callable[[type[FakeGenerator]], Bench],
) -> None:
    class OnGpu(FakeGenerator):
        device = "some GPU"

    bench = fake(OnGpu)
    measured = await bench.thread.measure(WORK, [Modality.LOWRES], 1)
    assert measured.busy_s == measured.wall_s == pytest.approx(0.05)
