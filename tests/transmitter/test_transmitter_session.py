"""A running session: how it begins, feeds its legs, and ends, in every way it can."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Executor
from typing import Any

import grpc
import pytest
from fake_relay import (
    PATIENCE_S,
    FakeRelay,
    InlineExecutor,
    answers,
    picture,
    rpc_error,
    settle,
    spec,
    until,
)

from semcast.errors import InputError
from semcast.v1 import link_pb2, transmitter_pb2
from transmitter.plan import plan_legs
from transmitter.session import FrameSource, RunningSession
from transmitter.sources import SourceFrame

FAST_FPS = 100.0
STREAMING = transmitter_pb2.SESSION_STATE_STREAMING
ENDED = transmitter_pb2.SESSION_STATE_ENDED
FAILED = transmitter_pb2.SESSION_STATE_FAILED


def frame(index: int) -> SourceFrame:
    return SourceFrame(index, index * 10_000, picture(40 + index))


class Source:
    """Frames, and whether they were given back."""

    def __init__(self, items: Iterable[Any], *, live: bool = False) -> None:
        self._items = items
        self.closed = 0
        self.frame_source = FrameSource(open=self._open, live=live, close=self._close)

    def _open(self) -> Iterator[SourceFrame | None]:
        for item in self._items:
            if isinstance(item, Exception):
                raise item
            yield item

    def _close(self) -> None:
        self.closed += 1


class Bench:
    """A session over a fake emulator, and what a lossless watcher has seen of it."""

    def __init__(self, source: Source, relay: FakeRelay, **changes: Any) -> None:
        self.source = source
        self.relay = relay
        wanted = spec(**{"frames_per_second": FAST_FPS, **changes})
        worker: Executor = InlineExecutor()
        self.observed: list[tuple[str, int]] = []
        self.session = RunningSession(
            wanted,
            plan_legs(wanted),
            source.frame_source,
            relay,  # type: ignore[arg-type]
            worker,
            worker,
            lambda leg, report: self.observed.append((leg, report.sequence)),
        )
        self.events: list[transmitter_pb2.SessionEvent] = []
        self._subscription = self.session.hub.subscribe(lossless=True, pictures=True)
        self._watching = asyncio.create_task(self._watch())
        self.running: asyncio.Task[None] | None = None

    async def _watch(self) -> None:
        async for event in self._subscription:
            self.events.append(event)

    def start(self) -> asyncio.Task[None]:
        self.running = asyncio.create_task(self.session.run())
        return self.running

    async def run(self) -> None:
        """Runs to the end, and until the watcher has been told so."""
        async with asyncio.timeout(PATIENCE_S):
            await self.start()
            await self._watching

    def statuses(self, leg: str = "main") -> list[tuple[int, str]]:
        return [
            (event.status.state, event.status.detail)
            for event in self.events
            if event.leg == leg and event.WhichOneof("event") == "status"
        ]

    def reports(self, leg: str = "main") -> list[transmitter_pb2.FrameReport]:
        return [
            event.frame
            for event in self.events
            if event.leg == leg and event.WhichOneof("event") == "frame"
        ]

    async def close(self) -> None:
        for task in (self.running, self._watching):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self.relay.stop()


MakeBench = Callable[..., Bench]


@pytest.fixture
async def bench_of() -> AsyncIterator[MakeBench]:
    made: list[Bench] = []

    def make(
        items: Iterable[Any], relay: FakeRelay | None = None, *, live: bool = False, **changes: Any
    ) -> Bench:
        made.append(Bench(Source(items, live=live), relay or FakeRelay(answer_all=True), **changes))
        return made[-1]

    yield make
    for bench in made:
        await bench.close()


BAD = rpc_error(grpc.StatusCode.INVALID_ARGUMENT, "That cannot be received.")


@pytest.mark.parametrize("paced", [False, True])
async def test_the_end_of_the_source_ends_the_session(bench_of: MakeBench, paced: bool) -> None:
    bench = bench_of([frame(k) for k in range(6)], paced=paced)
    assert bench.session.status.state == transmitter_pb2.SESSION_STATE_CONNECTING
    await bench.run()
    assert bench.session.status.state == ENDED
    assert bench.session.failure is None
    assert bench.statuses() == [(STREAMING, ""), (ENDED, "")]
    assert bench.events[-1].status.state == ENDED
    assert bench.source.closed == 1
    if not paced:
        assert [report.pts_us for report in bench.reports()] == [10_000 * k for k in range(6)]


async def test_ticks_without_a_picture_send_nothing(bench_of: MakeBench) -> None:
    bench = bench_of([None, None, frame(0), None, frame(1)], live=True)
    await bench.run()
    assert [report.sequence for report in bench.reports()] == [0, 1]
    assert bench.session.status.state == ENDED


async def test_a_source_without_frames_ends_at_once(bench_of: MakeBench) -> None:
    bench = bench_of([])
    await bench.run()
    assert bench.session.status.state == ENDED
    assert bench.reports() == []


async def test_failure_of_the_main_leg_fails_the_session_with_its_sentence(
    bench_of: MakeBench,
) -> None:
    relay = FakeRelay(answer_all=True, refused={"test": BAD})
    bench = bench_of((frame(k) for k in range(10_000)), relay, baseline_scheme="h264-ldpc")
    await bench.run()
    assert isinstance(bench.session.failure, InputError)
    assert bench.statuses()[-1] == (FAILED, "That cannot be received.")
    assert bench.session.status.detail == "That cannot be received."
    assert bench.source.closed == 1
    assert all(call.cancelled for call in relay.calls)


@pytest.mark.parametrize("paced", [False, True])
async def test_failure_of_the_baseline_does_not_fail_the_session(
    bench_of: MakeBench, paced: bool
) -> None:
    relay = FakeRelay(answer_all=True, refused={"test.baseline": BAD})
    frames = [frame(k) for k in range(12)]
    bench = bench_of(frames, relay, baseline_scheme="h264-ldpc", paced=paced)
    await bench.run()
    assert bench.session.status.state == ENDED
    assert bench.session.failure is None
    assert bench.statuses("baseline")[-1] == (FAILED, "That cannot be received.")
    assert (FAILED, "That cannot be received.") not in bench.statuses("main")
    assert bench.reports()
    if not paced:
        assert len(bench.reports()) == 12


async def test_both_legs_get_every_frame(bench_of: MakeBench) -> None:
    bench = bench_of([frame(k) for k in range(5)], baseline_scheme="h264-ldpc")
    await bench.run()
    for leg in ("main", "baseline"):
        assert [report.pts_us for report in bench.reports(leg)] == [10_000 * k for k in range(5)]


async def test_every_finished_frame_of_every_leg_is_observed(bench_of: MakeBench) -> None:
    bench = bench_of([frame(k) for k in range(3)], baseline_scheme="h264-ldpc")
    await bench.run()
    expected = [(leg, k) for leg in ("baseline", "main") for k in range(3)]
    assert sorted(bench.observed) == expected


async def test_the_preview_gets_the_frames(bench_of: MakeBench) -> None:
    bench = bench_of([frame(k) for k in range(5)], paced=True)
    preview = bench.session.preview
    assert preview is not None
    await bench.run()
    assert preview.stats.frames_pushed == 5


async def test_the_preview_goes_on_where_no_leg_can_send(bench_of: MakeBench) -> None:
    """The page shows the source also while the services behind are away."""
    gone = rpc_error(grpc.StatusCode.UNAVAILABLE, "connection refused", ours=False)
    bench = bench_of(
        (frame(k % 100) for k in range(10_000)), FakeRelay(errors=[gone] * 100), paced=True
    )
    bench.start()
    preview = bench.session.preview
    assert preview is not None
    await until(lambda: preview.stats.frames_pushed >= 20)
    assert bench.session.status.state == transmitter_pb2.SESSION_STATE_CONNECTING
    assert "channel emulator" in bench.session.status.detail


async def test_a_session_that_is_not_paced_has_no_preview(bench_of: MakeBench) -> None:
    assert bench_of([]).session.preview is None


async def test_late_frames_are_dropped_counted_and_reported(bench_of: MakeBench) -> None:
    relay = FakeRelay()
    bench = bench_of([frame(k) for k in range(20)], relay, paced=True)
    running = bench.start()
    call = await relay.call(0)
    assert (await call.next()).WhichOneof("message") == "setup"
    first = await call.next_frame()
    preview = bench.session.preview
    assert preview is not None
    await until(lambda: preview.stats.frames_pushed >= 20)
    await settle()
    call.answer(*answers(first))
    relay.serve(call)
    await asyncio.wait_for(asyncio.shield(running), PATIENCE_S)
    await settle()
    # Most are lost, not those that waited last; and every one is accounted for.
    assert bench.reports()[-1].pts_us == 190_000
    assert len(bench.reports()) < 8
    assert bench.reports()[-1].frames_skipped_total == 20 - len(bench.reports())


async def test_a_new_channel_reaches_all_legs_and_the_spec(bench_of: MakeBench) -> None:
    relay = FakeRelay()
    bench = bench_of([frame(0)], relay, baseline_scheme="h264-ldpc")
    changed = link_pb2.ChannelSettings(snr_db=-4.0, model=link_pb2.CHANNEL_MODEL_AWGN, seed=7)
    bench.session.set_channel(changed)
    assert bench.session.spec.channel.snr_db == -4.0
    bench.start()
    for index in range(2):
        call = await relay.call(index)
        in_force = None
        while (request := await call.next()).WhichOneof("message") != "frame":
            asked = request.setup.channel if request.HasField("setup") else request.channel
            in_force = asked.snr_db
        assert in_force == -4.0


async def test_a_source_that_turns_out_unusable_fails_the_session_with_its_sentence(
    bench_of: MakeBench,
) -> None:
    bench = bench_of([frame(0), InputError("The clip breaks off: give another.")])
    await bench.run()
    assert bench.session.status.state == FAILED
    assert bench.session.status.detail == "The clip breaks off: give another."
    assert isinstance(bench.session.failure, InputError)


async def test_a_fault_of_ours_fails_the_session_instead_of_leaving_it_streaming(
    bench_of: MakeBench,
) -> None:
    bench = bench_of([frame(0), RuntimeError("the decoder lost its mind")])
    await bench.run()
    assert bench.session.status.state == FAILED
    assert "\n" not in bench.session.status.detail
    assert bench.session.status.detail
    assert bench.session.failure is not None
    assert bench.events[-1].status.state == FAILED
    assert bench.source.closed == 1


async def test_a_session_that_is_stopped_lets_go_of_everything(bench_of: MakeBench) -> None:
    relay = FakeRelay()
    bench = bench_of((frame(k % 100) for k in range(10_000)), relay, paced=True)
    lossy = bench.session.hub.subscribe(lossless=False, pictures=False)
    running = bench.start()
    call = await relay.call(0)
    await call.next()
    running.cancel()
    await asyncio.wait({running}, timeout=PATIENCE_S)
    assert running.cancelled()
    assert call.cancelled
    assert bench.source.closed == 1
    async with asyncio.timeout(PATIENCE_S):
        assert [event async for event in lossy]


async def test_a_session_is_stopped_though_a_lossless_watcher_reads_nothing(
    bench_of: MakeBench,
) -> None:
    bench = bench_of(frame(k % 100) for k in range(10_000))
    stuck = bench.session.hub.subscribe(lossless=True, pictures=False)
    running = bench.start()
    await until(lambda: bool(bench.reports()))
    await settle()
    running.cancel()
    await asyncio.wait({running}, timeout=PATIENCE_S)
    assert running.done(), "it waits for a watcher that does not read"
    async with asyncio.timeout(PATIENCE_S):
        assert [event async for event in stuck]


async def test_pictures_travel_only_while_somebody_asks_for_them(bench_of: MakeBench) -> None:
    bench = bench_of([frame(k) for k in range(3)])
    await bench.run()
    assert not [e for e in bench.events if e.WhichOneof("event") == "frames"]
