"""Streams as they run: which one holds a session, what is skipped, who keeps the viewers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiortc.mediastreams import MediaStreamError
from receiver_link import PATIENCE_S, NumberedGenerator, bytes_of, radio_frames, setup

import receiver.streams
from receiver.admission import StepTime
from receiver.generator import MAKERS, PassthroughGenerator
from receiver.model_thread import Clock, thread_clock
from receiver.record import Recorder, find_record, read_record, replay
from receiver.session import DecodedFrame, ReceiverSession
from receiver.streams import FrameOutcome, Streams
from semcast.errors import CapacityError, InputError, NotFoundError
from semcast.generators import GENERATORS, GeneratorInfo
from semcast.session import Modality, RadioFrame, SessionSetup


async def until(condition: Callable[[], bool]) -> None:
    """Returns when something comes true that no event tells of."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - the state is another thread's
            await asyncio.sleep(0.002)


async def settle() -> None:
    for _ in range(200):
        await asyncio.sleep(0)


class Stream:
    """One stream of a session, steered by the test."""

    def __init__(self, streams: Streams, session: SessionSetup) -> None:
        self.session = session
        self.decoded: list[int] = []
        self.outcomes: list[FrameOutcome] = []
        self.on_decoded: Callable[[DecodedFrame], Awaitable[None]] | None = None
        self._frames: asyncio.Queue[RadioFrame | None] = asyncio.Queue()
        self._streams = streams
        self.task: asyncio.Task[None] | None = None

    def start(self) -> asyncio.Task[None]:
        self.task = asyncio.create_task(
            self._streams.run(self.session, self._receive(), self._decoded, self._outcome)
        )
        return self.task

    def feed(self, *frames: RadioFrame | None) -> None:
        for frame in frames:
            self._frames.put_nowait(frame)

    async def _receive(self) -> AsyncIterator[RadioFrame]:
        while (frame := await self._frames.get()) is not None:
            yield frame

    async def _decoded(self, decoded: DecodedFrame) -> None:
        self.decoded.append(decoded.received.sequence)
        if self.on_decoded:
            await self.on_decoded(decoded)

    async def _outcome(self, outcome: FrameOutcome) -> None:
        self.outcomes.append(outcome)

    async def done(self) -> None:
        """Returns when the stream has ended, and raises what it raised."""
        assert self.task is not None
        await asyncio.wait({self.task}, timeout=PATIENCE_S)
        assert self.task.done(), "it never ended"
        self.task.result()

    @property
    def shown(self) -> dict[int, bytes]:
        return {
            outcome.decoded.received.sequence: outcome.rendered.rgb.tobytes()
            for outcome in self.outcomes
            if outcome.rendered is not None
        }

    @property
    def skipped(self) -> list[int]:
        return [o.decoded.received.sequence for o in self.outcomes if o.rendered is None]


class Bench:
    """A receiver's streams, all closed at the end of the test."""

    def __init__(self) -> None:
        self._opened: list[tuple[Streams, list[Stream]]] = []

    def streams(
        self,
        max_sessions: int = 4,
        record_folder: Path | None = None,
        max_load: float = 0,
        clock: Clock = thread_clock,
    ) -> Streams:
        made = Streams(max_sessions, record_folder, max_load, clock)
        self._opened.append((made, []))
        return made

    def stream(self, streams: Streams, **changes: Any) -> Stream:
        made = Stream(streams, setup(**changes))
        next(opened for known, opened in self._opened if known is streams).append(made)
        return made

    async def close(self) -> None:
        for streams, opened in self._opened:
            await streams.close()
            tasks = [stream.task for stream in opened if stream.task]
            await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.close()


FRAMES = radio_frames(setup(), 8)


class Gate:
    """Holds a generator at each step until it is opened; the step before the stream passes."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def on_step(self, index: int) -> None:
        if index > 0:
            self.entered.set()
            assert self.opened.wait(PATIENCE_S)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    made = Gate()
    info = GeneratorInfo("gated", "for tests", frozenset(Modality))
    monkeypatch.setitem(GENERATORS, "gated", info)
    monkeypatch.setitem(MAKERS, "gated", lambda: NumberedGenerator(made.on_step))
    return made


# A stream's way.


async def test_every_frame_is_decoded_rendered_and_told_in_order(bench: Bench) -> None:
    stream = bench.stream(bench.streams())
    stream.feed(*FRAMES, None)
    stream.start()
    await stream.done()
    alone = ReceiverSession(setup(), PassthroughGenerator())
    expected = [alone.render(alone.decode(frame)) for frame in FRAMES]
    assert stream.decoded == list(range(8))
    assert list(stream.shown) == list(range(8))
    assert list(stream.shown.values()) == bytes_of(iter(expected))
    assert [outcome.dropped_total for outcome in stream.outcomes] == [0] * 8
    assert all(outcome.decode_ms > 0 for outcome in stream.outcomes)


async def test_a_live_stream_skips_rendering_and_never_decoding(bench: Bench, gate: Gate) -> None:
    stream = bench.stream(bench.streams(), live=True, generator="gated")
    stream.start()
    stream.feed(FRAMES[0])
    await until(gate.entered.is_set)
    # The model is busy with frame 0: feedback on all others goes out all the same.
    stream.feed(*FRAMES[1:])
    await until(lambda: stream.decoded == list(range(8)))
    await until(lambda: len(stream.skipped) == 5)
    gate.opened.set()
    stream.feed(None)
    await stream.done()
    # The oldest are skipped, the two newest are shown.
    assert stream.skipped == [1, 2, 3, 4, 5]
    assert list(stream.shown) == [0, 6, 7]
    skipped = [outcome.dropped_total for outcome in stream.outcomes if outcome.rendered is None]
    assert skipped == [1, 2, 3, 4, 5]
    assert stream.outcomes[-1].dropped_total == 5
    assert stream.outcomes[-1].decoded.conditions.age_frames


async def test_a_stream_that_is_not_live_waits_and_skips_nothing(bench: Bench, gate: Gate) -> None:
    stream = bench.stream(bench.streams(), generator="gated")
    stream.start()
    stream.feed(*FRAMES, None)
    await until(gate.entered.is_set)
    # Frame 0 is with the model, two wait, one more is decoded and waits for room.
    await until(lambda: len(stream.decoded) == 4)
    await settle()
    assert stream.decoded == [0, 1, 2, 3]
    assert stream.outcomes == []
    gate.opened.set()
    await stream.done()
    assert stream.decoded == list(range(8))
    assert list(stream.shown) == list(range(8))
    assert stream.skipped == []


async def test_what_is_shown_reaches_the_publisher(bench: Bench) -> None:
    streams = bench.streams()
    stream = bench.stream(streams)
    stream.feed(*FRAMES, None)
    stream.start()
    await stream.done()
    assert streams.publisher("test").stats.frames_pushed == 8


# Failures.


async def test_a_frame_that_cannot_be_fails_the_stream_with_its_sentence(bench: Bench) -> None:
    streams = bench.streams()
    stream = bench.stream(streams)
    stream.start()
    stream.feed(FRAMES[0], FRAMES[5])
    with pytest.raises(InputError, match="in order"):
        await stream.done()
    assert streams.num_running == 0
    assert stream.decoded == [0]


async def test_a_setup_that_cannot_be_fails_the_stream_and_takes_no_place(bench: Bench) -> None:
    streams = bench.streams(max_sessions=1)
    refused: list[tuple[dict[str, Any], type[Exception]]] = [
        ({"generator": "dreams"}, NotFoundError),
        ({"scheme": "telepathy"}, NotFoundError),
        ({"symbols_per_frame": 20}, InputError),
    ]
    for changes, kind in refused:
        stream = bench.stream(streams, **changes)
        stream.start()
        with pytest.raises(kind):
            await stream.done()
        assert streams.num_running == 0


async def test_a_sender_that_has_gone_ends_the_stream(bench: Bench) -> None:
    class GoneError(Exception):
        pass

    async def gone(decoded: DecodedFrame) -> None:
        raise GoneError

    streams = bench.streams()
    stream = bench.stream(streams)
    stream.on_decoded = gone
    stream.feed(*FRAMES)
    stream.start()
    with pytest.raises(GoneError):
        await stream.done()
    assert streams.num_running == 0


# Which stream holds a session.


async def test_the_newest_stream_of_a_session_replaces_the_older(bench: Bench) -> None:
    streams = bench.streams()
    older, newer = bench.stream(streams), bench.stream(streams, generation=2)
    older.start()
    older.feed(FRAMES[0])
    await until(lambda: len(older.outcomes) == 1)
    newer.start()
    with pytest.raises(asyncio.CancelledError):
        await older.done()
    assert streams.num_running == 1
    newer.feed(*radio_frames(newer.session, 3), None)
    await newer.done()
    assert newer.decoded == [0, 1, 2]
    assert streams.num_running == 0


async def test_of_many_streams_at_once_the_last_one_stays(bench: Bench) -> None:
    streams = bench.streams(max_sessions=1)
    crowd = [bench.stream(streams, generation=k) for k in range(1, 6)]
    tasks = [stream.start() for stream in crowd]
    await asyncio.wait(set(tasks[:-1]), timeout=PATIENCE_S)
    assert all(task.cancelled() for task in tasks[:-1])
    assert streams.num_running == 1
    last = crowd[-1]
    last.feed(*radio_frames(last.session, 2), None)
    await last.done()
    assert last.decoded == [0, 1]
    assert streams.num_running == 0


async def test_sessions_do_not_disturb_each_other(bench: Bench) -> None:
    streams = bench.streams()
    pair = [bench.stream(streams, session_id=name) for name in ("a", "b")]
    for stream in pair:
        stream.start()
    for frame in FRAMES:
        for stream in pair:
            stream.feed(frame)
    for stream in pair:
        stream.feed(None)
        await stream.done()
    assert pair[0].shown == pair[1].shown
    assert len(pair[0].shown) == 8


async def test_more_sessions_than_there_may_be_are_refused(bench: Bench) -> None:
    streams = bench.streams(max_sessions=2)
    running = [bench.stream(streams, session_id=name) for name in ("a", "b")]
    for stream in running:
        stream.start()
        stream.feed(FRAMES[0])
        await until(lambda stream=stream: len(stream.outcomes) == 1)  # type: ignore[misc]
    third = bench.stream(streams, session_id="c")
    third.start()
    with pytest.raises(CapacityError, match="2 sessions already"):
        await third.done()
    # A restart of one that runs is no further session.
    again = bench.stream(streams, session_id="b", generation=2)
    again.start()
    again.feed(*radio_frames(again.session, 1), None)
    await again.done()
    # And one that has ended makes room.
    late = bench.stream(streams, session_id="c")
    late.start()
    late.feed(FRAMES[0], None)
    await late.done()
    assert streams.num_running == 1


async def test_a_stream_that_leaves_while_it_waits_for_the_older_one_takes_no_place(
    bench: Bench,
) -> None:
    may_end = asyncio.Event()

    async def lingers(decoded: DecodedFrame) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await may_end.wait()

    streams = bench.streams(max_sessions=1)
    older, newer = bench.stream(streams), bench.stream(streams, generation=2)
    older.on_decoded = lingers
    older.start()
    older.feed(FRAMES[0])
    await until(lambda: older.decoded == [0])
    leaving = newer.start()
    await settle()
    leaving.cancel()
    await settle()
    may_end.set()
    await asyncio.wait({leaving}, timeout=PATIENCE_S)
    with pytest.raises(asyncio.CancelledError):
        await older.done()
    assert streams.num_running == 0


async def test_closing_ends_every_stream(bench: Bench) -> None:
    streams = bench.streams()
    running = [bench.stream(streams, session_id=name) for name in ("a", "b")]
    tasks = [stream.start() for stream in running]
    await settle()
    async with asyncio.timeout(PATIENCE_S):
        await streams.close()
    assert all(task.done() for task in tasks)
    assert streams.num_running == 0
    with pytest.raises(NotFoundError):
        streams.publisher("a")


class Pace:
    """Time passes at the steps of generator "timed" only, and each is counted."""

    def __init__(self) -> None:
        self.step_s: Callable[[int], float] = lambda index: 0.05
        self.steps = 0
        self._now_s = 0.0

    def on_step(self, index: int) -> None:
        self._now_s += self.step_s(self.steps)
        self.steps += 1

    def clock(self) -> StepTime:
        return StepTime(self._now_s, self._now_s)


@pytest.fixture
def pace(monkeypatch: pytest.MonkeyPatch) -> Pace:
    made = Pace()
    info = GeneratorInfo("timed", "for tests", frozenset(Modality))
    monkeypatch.setitem(GENERATORS, "timed", info)
    monkeypatch.setitem(MAKERS, "timed", lambda: NumberedGenerator(made.on_step))
    return made


def timed_stream(bench: Bench, streams: Streams, session_id: str, **changes: Any) -> Stream:
    values = {"live": True, "generator": "timed", **changes}
    return bench.stream(streams, session_id=session_id, **values)


async def test_a_live_session_that_is_too_slow_is_refused_and_takes_no_place(
    bench: Bench, pace: Pace
) -> None:
    pace.step_s = lambda index: 0.2
    streams = bench.streams(max_sessions=1, max_load=0.9, clock=pace.clock)
    stream = timed_stream(bench, streams, "slow")
    stream.feed(FRAMES[0])
    stream.start()
    with pytest.raises(CapacityError, match="at most 5 frames a second, a smaller picture"):
        await stream.done()
    assert (streams.num_running, streams.model_load, stream.decoded) == (0, 0.0, [])
    with pytest.raises(NotFoundError):
        streams.publisher("slow")
    # As slow as that, it comes in where it waits for its frames.
    patient = timed_stream(bench, streams, "slow", live=False)
    patient.feed(*radio_frames(patient.session, 2), None)
    patient.start()
    await patient.done()
    assert len(patient.shown) == 2


async def test_what_a_busy_moment_told_is_measured_again_before_it_refuses(
    bench: Bench, pace: Pace
) -> None:
    # The session's first picture, four trial steps; then the machine is itself again.
    pace.step_s = lambda index: 0.2 if index < 5 else 0.05
    streams = bench.streams(max_load=0.9, clock=pace.clock)
    stream = timed_stream(bench, streams, "a")
    stream.feed(*radio_frames(stream.session, 2), None)
    stream.start()
    await stream.done()
    assert list(stream.shown) == [0, 1]


async def test_sessions_come_in_while_there_is_room(bench: Bench, pace: Pace) -> None:
    streams = bench.streams(max_load=0.9, clock=pace.clock)
    for name in ("a", "b"):
        stream = timed_stream(bench, streams, name)
        stream.start()
        stream.feed(FRAMES[0])
        await until(lambda stream=stream: len(stream.outcomes) == 1)  # type: ignore[misc]
    assert streams.model_load == pytest.approx(0.8)
    third = timed_stream(bench, streams, "c")
    third.start()
    with pytest.raises(CapacityError, match="80% already, of at most 90%"):
        await third.done()
    # One that starts again needs its own room, not twice as much.
    again = timed_stream(bench, streams, "b", generation=2)
    again.start()
    again.feed(*radio_frames(again.session, 1), None)
    await again.done()
    assert streams.model_load == pytest.approx(0.4)
    late = timed_stream(bench, streams, "c")
    late.start()
    late.feed(FRAMES[0], None)
    await late.done()


async def test_times_are_kept_up_with_while_frames_are_made(bench: Bench, pace: Pace) -> None:
    streams = bench.streams(max_load=0.9, clock=pace.clock)
    stream = timed_stream(bench, streams, "a")
    stream.start()
    stream.feed(FRAMES[0])
    await until(lambda: len(stream.outcomes) == 1)
    pace.step_s = lambda index: 0.1
    for count, frame in enumerate(FRAMES[1:], start=2):
        stream.feed(frame)
        await until(lambda count=count: len(stream.outcomes) == count)  # type: ignore[misc]
    assert streams.model_load == pytest.approx(0.8)


async def test_a_generator_that_was_warmed_up_is_measured(
    bench: Bench, pace: Pace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("semcast.warm.warm_up", lambda: None)
    streams = bench.streams(max_load=0.9, clock=pace.clock)
    await streams.warm_up("timed")
    steps_before = pace.steps
    stream = timed_stream(bench, streams, "a", width=256, height=256, symbols_per_frame=800)
    stream.start()
    stream.feed(None)
    await stream.done()
    # The picture that a session begins with, and no trial steps.
    assert pace.steps == steps_before + 1


# Viewers.


async def run_once(bench: Bench, streams: Streams, **changes: Any) -> None:
    stream = bench.stream(streams, **changes)
    stream.start()
    stream.feed(*radio_frames(stream.session, 1), None)
    await stream.done()


async def test_the_publisher_is_kept_over_generations_of_equal_shape(bench: Bench) -> None:
    streams = bench.streams()
    await run_once(bench, streams)
    first = streams.publisher("test")
    await run_once(bench, streams, generation=2, seed=9, scheme="lowres", symbols_per_frame=900)
    assert streams.publisher("test") is first
    assert first.stats.frames_pushed == 2


@pytest.mark.parametrize("changes", [{"width": 80}, {"height": 80}, {"fps": 10.0}])
async def test_another_shape_gets_another_publisher_and_the_old_one_ends(
    bench: Bench, changes: dict[str, Any]
) -> None:
    streams = bench.streams()
    await run_once(bench, streams)
    first = streams.publisher("test")
    await run_once(bench, streams, generation=2, **changes)
    second = streams.publisher("test")
    assert second is not first
    assert second.stats.frames_pushed == 1
    with pytest.raises(MediaStreamError):
        await first.track().recv()


async def test_a_session_that_was_never_received_has_no_publisher(bench: Bench) -> None:
    with pytest.raises(NotFoundError, match="nobody"):
        bench.streams().publisher("nobody")


class FakePublisher:
    """Counts what is open; closing waits for the test."""

    alive = 0
    may_close: asyncio.Event

    def __init__(self, **shape: Any) -> None:
        self.shape = shape
        self.closed = False
        self.pushed = 0
        self.stats = type("Stats", (), {"viewers": 0})()
        FakePublisher.alive += 1

    def push(self, rgb: Any, pts_us: int) -> None:
        assert not self.closed
        self.pushed += 1

    async def close(self) -> None:
        FakePublisher.alive -= not self.closed
        self.closed = True
        await FakePublisher.may_close.wait()


@pytest.fixture
def fake_publishers(monkeypatch: pytest.MonkeyPatch) -> type[FakePublisher]:
    FakePublisher.alive = 0
    FakePublisher.may_close = asyncio.Event()
    FakePublisher.may_close.set()
    monkeypatch.setattr(receiver.streams, "VideoPublisher", FakePublisher)
    return FakePublisher


async def test_publishers_of_ended_sessions_do_not_add_up(
    bench: Bench, fake_publishers: type[FakePublisher]
) -> None:
    streams = bench.streams()
    for number in range(10):
        await run_once(bench, streams, session_id=f"s{number}")
    assert fake_publishers.alive <= 2


async def test_a_publisher_that_is_watched_outlives_its_session(
    bench: Bench, fake_publishers: type[FakePublisher]
) -> None:
    streams = bench.streams()
    await run_once(bench, streams)
    watched: Any = streams.publisher("test")
    watched.stats.viewers = 1
    for number in range(3):
        await run_once(bench, streams, session_id=f"s{number}")
    assert not watched.closed
    await run_once(bench, streams, generation=2)
    assert streams.publisher("test") is watched
    assert watched.pushed == 2


async def test_a_publisher_that_is_closing_is_given_to_nobody(
    bench: Bench, fake_publishers: type[FakePublisher]
) -> None:
    """A stream of another shape comes, is replaced while it closes the old publisher."""
    streams = bench.streams()
    await run_once(bench, streams)
    fake_publishers.may_close.clear()
    wider = bench.stream(streams, generation=2, width=80)
    wider.start()
    old: Any = streams.publisher("test")
    await until(lambda: old.closed)
    final = bench.stream(streams, generation=3)
    final.start()
    final.feed(*radio_frames(final.session, 2), None)
    await settle()
    fake_publishers.may_close.set()
    await final.done()
    publisher: Any = streams.publisher("test")
    assert not publisher.closed
    assert publisher.pushed == 2


# Records.


async def test_what_enters_is_recorded_and_replays_as_it_was_shown(
    bench: Bench, tmp_path: Path
) -> None:
    stream = bench.stream(bench.streams(record_folder=tmp_path))
    stream.feed(*FRAMES, None)
    stream.start()
    await stream.done()
    _, frames = replay(find_record(tmp_path))
    assert bytes_of(frames) == list(stream.shown.values())


async def test_a_live_record_replays_the_frames_that_were_shown(
    bench: Bench, gate: Gate, tmp_path: Path
) -> None:
    """Skipping changes which frames are shown, not what they look like."""
    lossy = radio_frames(setup(), 8, lost=(6,))
    MAKERS["gated"] = lambda: _Slow(PassthroughGenerator(), gate)
    stream = bench.stream(bench.streams(record_folder=tmp_path), live=True, generator="gated")
    stream.start()
    stream.feed(lossy[0])
    await until(gate.entered.is_set)
    stream.feed(*lossy[1:], None)
    await until(lambda: len(stream.skipped) == 5)
    gate.opened.set()
    await stream.done()
    _, frames = replay(find_record(tmp_path))
    replayed = bytes_of(frames)
    assert list(stream.shown) == [0, 6, 7]
    assert stream.shown == {k: replayed[k] for k in (0, 6, 7)}


class _Slow:
    """A generator behind a gate."""

    name = "gated"
    modalities = PassthroughGenerator.modalities
    device = "cpu"
    cached_frames = cache_resets = 0

    def __init__(self, inner: PassthroughGenerator, gate: Gate) -> None:
        self._inner, self._gate, self._steps = inner, gate, 0

    def reset(self, context: Any) -> None:
        self._inner.reset(context)

    def step(self, conditions: Any) -> Any:
        self._gate.on_step(self._steps)
        self._steps += 1
        return self._inner.step(conditions)


@pytest.fixture
def closed_records(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Sessions whose record was closed, not merely forgotten."""
    closed: list[str] = []

    class NotingRecorder(Recorder):
        def close(self) -> None:
            closed.append(self._session_id)
            super().close()

    monkeypatch.setattr(receiver.streams, "Recorder", NotingRecorder)
    return closed


async def test_a_record_is_closed_where_the_stream_fails(
    bench: Bench, tmp_path: Path, closed_records: list[str]
) -> None:
    stream = bench.stream(bench.streams(record_folder=tmp_path))
    stream.start()
    stream.feed(*FRAMES[:3], FRAMES[7])
    with pytest.raises(InputError):
        await stream.done()
    assert closed_records == ["test"]
    session, frames = read_record(find_record(tmp_path))
    assert session == stream.session
    assert [frame.sequence for frame in frames][:3] == [0, 1, 2]


async def test_a_record_is_closed_where_the_stream_is_broken_off(
    bench: Bench, tmp_path: Path, closed_records: list[str]
) -> None:
    stream = bench.stream(bench.streams(record_folder=tmp_path))
    task = stream.start()
    stream.feed(*FRAMES[:3])
    await until(lambda: len(stream.outcomes) == 3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stream.done()
    assert closed_records == ["test"]
    _, frames = read_record(find_record(tmp_path))
    assert [frame.sequence for frame in frames] == [0, 1, 2]
