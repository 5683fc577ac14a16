"""One link against an emulator in memory: credit, order, loss of the stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
import pytest
from fake_relay import (
    PATIENCE_S,
    FakeCall,
    FakeRelay,
    InlineExecutor,
    answers,
    captured,
    feedback,
    passed_on,
    picture,
    rpc_error,
    settle,
    shown,
    spec,
    tapped,
)

from semcast.errors import CapacityError, InputError, NotFoundError, UnavailableError
from semcast.v1 import link_pb2
from transmitter.ledger import FinishedFrame
from transmitter.leg import Leg
from transmitter.plan import plan_legs


class Bench:
    """A leg, its fake emulator, and what it has reported."""

    def __init__(self, *, paced: bool = False, relay: FakeRelay | None = None, **changes: Any):
        self.relay = relay or FakeRelay()
        self.finished: list[FinishedFrame] = []
        self.states: list[str] = []
        self.may_deliver = asyncio.Event()
        self.may_deliver.set()
        self.wants_pictures = False
        self._tasks: list[asyncio.Task[None]] = []
        wanted = spec(paced=paced, **changes)
        self.leg = Leg(
            plan_legs(wanted)[0],
            wanted.channel,
            self.relay,  # type: ignore[arg-type]
            InlineExecutor(),
            InlineExecutor(),
            self._on_finished,
            self._on_state,
            lambda: self.wants_pictures,
            paced=paced,
        )

    async def _on_finished(self, name: str, frame: FinishedFrame) -> None:
        await self.may_deliver.wait()
        self.finished.append(frame)

    async def _on_state(self, name: str, trouble: str) -> None:
        self.states.append(trouble)

    def start(self) -> asyncio.Task[None]:
        return self._spawn(self.leg.run())

    def feed(self, first: int, last: int, *, end: bool = False) -> asyncio.Task[None]:
        async def offer_all() -> None:
            for index in range(first, last):
                await self.leg.offer(captured(index))
            if end:
                await self.leg.end()

        return self._spawn(offer_all())

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task

    async def opened(self, index: int = 0) -> FakeCall:
        """The index-th call, its set-up taken."""
        call = await self.relay.call(index)
        request = await call.next()
        assert request.WhichOneof("message") == "setup"
        self.relay.setups.append(request.setup)
        return call

    @property
    def sequences(self) -> list[int]:
        return [frame.report.sequence for frame in self.finished]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.relay.stop()


@pytest.fixture
async def benches() -> AsyncIterator[list[Bench]]:
    made: list[Bench] = []
    yield made
    for bench in made:
        await bench.close()


def bench_of(benches: list[Bench], **options: Any) -> Bench:
    bench = Bench(**options)
    benches.append(bench)
    return bench


async def done(task: asyncio.Task[None]) -> None:
    """Returns when a task has ended, and raises what it raised."""
    await asyncio.wait({task}, timeout=PATIENCE_S)
    assert task.done(), "it never ended"
    task.result()


# Credit.


@pytest.mark.parametrize("delay", [1, 2, 4])
async def test_frame_k_is_not_sent_before_feedback_on_frame_k_minus_delay(
    benches: list[Bench], delay: int
) -> None:
    bench = bench_of(benches, feedback_delay_frames=delay)
    bench.start()
    bench.feed(0, 8)
    call = await bench.opened()
    for sequence in range(delay):
        assert (await call.next_frame()).sequence == sequence
    for sequence in range(delay, 7):
        # All else has come back, but not the feedback that the next frame depends on.
        due = sequence - delay
        call.answer(passed_on(due), shown(due))
        await settle()
        assert call.waiting() == []
        call.answer(feedback(due))
        assert (await call.next_frame()).sequence == sequence


async def test_feedback_on_another_frame_or_generation_is_no_credit(benches: list[Bench]) -> None:
    bench = bench_of(benches)
    bench.start()
    bench.feed(0, 4)
    call = await bench.opened()
    await call.next_frame()
    call.answer(feedback(0, generation=2), feedback(5), feedback(1))
    await settle()
    assert call.waiting() == []
    call.answer(feedback(0))
    assert (await call.next_frame()).sequence == 1


async def test_reports_taken_slowly_hold_up_encoding_but_not_reading(
    benches: list[Bench],
) -> None:
    bench = bench_of(benches)
    bench.may_deliver.clear()
    bench.start()
    feeding = bench.feed(0, 40, end=True)
    call = await bench.opened()
    sent = 0
    while call.requests.empty() is False or sent == 0:
        frame = await call.next_frame()
        sent += 1
        call.answer(*answers(frame))
        await settle()
    # It stopped although every frame was answered and more frames are offered.
    assert not feeding.done()
    assert sent < 30
    # All answers were read, though nobody takes reports: nothing is left on the way back.
    assert call._responses.empty()
    assert bench.sequences == []
    bench.may_deliver.set()
    while sent < 40:
        frame = await call.next_frame()
        sent += 1
        call.answer(*answers(frame))
    async with asyncio.timeout(PATIENCE_S):
        await call.half_closed.wait()
    call.end()
    await settle()
    assert bench.sequences == list(range(40))


async def test_reports_leave_in_order_with_pictures_where_wanted(benches: list[Bench]) -> None:
    bench = bench_of(benches, measurement_tap=True, feedback_delay_frames=2)
    bench.wants_pictures = True
    run = bench.start()
    bench.feed(0, 2, end=True)
    call = await bench.opened()
    for _ in range(2):
        await call.next_frame()
    call.answer(*(feedback(k) for k in range(2)), *(passed_on(k) for k in range(2)))
    call.answer(tapped(1, picture(41)), shown(1))
    await settle()
    assert bench.sequences == []
    call.answer(tapped(0, picture(50)), shown(0))
    call.end()
    await done(run)
    assert bench.sequences == [0, 1]
    first, second = bench.finished
    assert first.report.psnr_db == pytest.approx(20 * np.log10(255 / 10), abs=1e-3)
    assert second.report.psnr_db == 100.0
    assert second.pair is not None
    assert second.pair.source_rgb == second.pair.received_rgb


# What is written.


async def test_the_setup_comes_first_then_frames_in_order_then_half_close(
    benches: list[Bench],
) -> None:
    relay = FakeRelay(answer_all=True)
    bench = bench_of(benches, relay=relay, scheme="lowres", seed=12)
    run = bench.start()
    bench.feed(0, 5, end=True)
    await done(run)
    (setup,) = relay.setups
    assert (setup.session.session_id, setup.session.generation) == ("test", 1)
    assert setup.session.seed == 12
    assert setup.channel.snr_db == 10.0
    assert bench.sequences == list(range(5))
    assert [frame.report.pts_us for frame in bench.finished] == [125_000 * k for k in range(5)]
    assert bench.states == [""]


def snr(snr_db: float) -> link_pb2.ChannelSettings:
    return link_pb2.ChannelSettings(snr_db=snr_db, model=link_pb2.CHANNEL_MODEL_AWGN, seed=7)


async def test_a_channel_change_is_written_before_the_next_frame(benches: list[Bench]) -> None:
    bench = bench_of(benches)
    bench.start()
    bench.feed(0, 4)
    call = await bench.opened()
    await call.next_frame()
    bench.leg.set_channel(snr(5.0))
    bench.leg.set_channel(snr(3.0))
    call.answer(feedback(0))
    request = await call.next()
    assert request.WhichOneof("message") == "channel"
    assert request.channel.snr_db == 3.0
    assert (await call.next_frame()).sequence == 1
    # Written once.
    call.answer(feedback(1))
    assert (await call.next_frame()).sequence == 2


async def test_a_channel_change_while_connecting_is_not_lost(benches: list[Bench]) -> None:
    """The set-up's write waits for the connection; the slider moves meanwhile."""
    bench = bench_of(benches, relay=FakeRelay(hold_writes=True))
    bench.start()
    bench.feed(0, 2)
    call = await bench.relay.call(0)
    await settle()
    assert call.waiting() == []
    bench.leg.set_channel(snr(-2.0))
    call.may_write.set()
    in_force = 0.0
    while True:
        request = await call.next()
        match request.WhichOneof("message"):
            case "setup":
                in_force = request.setup.channel.snr_db
            case "channel":
                in_force = request.channel.snr_db
            case "frame":
                break
    assert in_force == -2.0


async def test_a_channel_change_during_a_change_is_in_force_for_the_same_frame(
    benches: list[Bench],
) -> None:
    bench = bench_of(benches)
    bench.start()
    call = await bench.opened()
    bench.leg.set_channel(snr(5.0))
    await settle()
    call.may_write.clear()
    bench.feed(0, 1)
    await settle()
    bench.leg.set_channel(snr(3.0))
    call.may_write.set()
    changes = []
    while (request := await call.next()).WhichOneof("message") == "channel":
        changes.append(request.channel.snr_db)
    assert changes[-1] == 3.0


# Frames that come too fast.


async def test_a_paced_leg_drops_the_oldest_and_counts(benches: list[Bench]) -> None:
    bench = bench_of(benches, paced=True)
    await done(bench.feed(0, 10))
    assert bench.leg.frames_dropped == 8
    bench.start()
    call = await bench.opened()
    assert (await call.next_frame()).pts_us == 8 * 125_000
    call.answer(feedback(0))
    assert (await call.next_frame()).pts_us == 9 * 125_000


async def test_an_unpaced_leg_blocks_and_loses_nothing(benches: list[Bench]) -> None:
    bench = bench_of(benches, relay=FakeRelay(answer_all=True))
    feeding = bench.feed(0, 10, end=True)
    await settle()
    assert not feeding.done()
    await done(bench.start())
    await done(feeding)
    assert [frame.report.pts_us for frame in bench.finished] == [125_000 * k for k in range(10)]
    assert bench.leg.frames_dropped == 0


async def test_the_end_of_a_paced_source_waits_for_nobody(benches: list[Bench]) -> None:
    bench = bench_of(benches, paced=True, relay=FakeRelay(answer_all=True))
    await done(bench.feed(0, 5, end=True))
    await done(bench.start())
    # The end takes the place of a frame where there is no room for both.
    assert len(bench.finished) + bench.leg.frames_dropped == 5
    assert bench.finished


# Streams that break.

GONE = rpc_error(grpc.StatusCode.UNAVAILABLE, "connection reset", ours=False)


async def test_a_paced_leg_starts_a_new_generation_where_the_stream_broke(
    benches: list[Bench],
) -> None:
    bench = bench_of(benches, paced=True)
    bench.start()
    await bench.leg.offer(captured(0))
    first = await bench.opened(0)
    assert (await first.next_frame()).generation == 1
    first.fail(GONE)
    second = await bench.opened(1)
    await bench.leg.offer(captured(1))
    frame = await second.next_frame()
    assert (frame.generation, frame.sequence, frame.pts_us) == (2, 0, 125_000)
    assert bench.relay.setups[-1].session.generation == 2
    assert first.cancelled
    assert bench.states[0] == ""
    assert "channel emulator cannot be reached" in bench.states[1]
    assert bench.states[2] == ""


async def test_it_tries_until_the_services_are_back(benches: list[Bench]) -> None:
    bench = bench_of(benches, paced=True, relay=FakeRelay(answer_all=True, errors=[GONE, GONE]))
    run = bench.start()
    bench.feed(0, 2)
    await bench.relay.call(2)
    await settle()
    await bench.leg.end()
    await done(run)
    assert [setup.session.generation for setup in bench.relay.setups] == [3]
    assert {frame.report.generation for frame in bench.finished} == {3}


async def test_a_new_generation_begins_with_the_channel_as_it_is_now(
    benches: list[Bench],
) -> None:
    bench = bench_of(benches, paced=True)
    bench.start()
    first = await bench.opened(0)
    bench.leg.set_channel(snr(-3.0))
    first.fail(GONE)
    await bench.opened(1)
    assert bench.relay.setups[-1].channel.snr_db == -3.0


async def test_answers_of_an_older_generation_do_not_count(benches: list[Bench]) -> None:
    bench = bench_of(benches, paced=True)
    bench.start()
    await bench.leg.offer(captured(0))
    first = await bench.opened(0)
    await first.next_frame()
    first.fail(GONE)
    second = await bench.opened(1)
    await bench.leg.offer(captured(1))
    await second.next_frame()
    second.answer(feedback(0, generation=1), passed_on(0, generation=1), shown(0, generation=1))
    await bench.leg.offer(captured(2))
    await settle()
    assert second.waiting() == []
    assert bench.finished == []


async def test_an_unpaced_leg_fails_where_the_stream_breaks(benches: list[Bench]) -> None:
    bench = bench_of(benches)
    run = bench.start()
    bench.feed(0, 3)
    call = await bench.opened()
    await call.next_frame()
    call.fail(GONE)
    with pytest.raises(UnavailableError, match="channel emulator cannot be reached"):
        await done(run)
    assert len(bench.relay.calls) == 1


async def test_a_sentence_of_a_service_arrives_as_it_is(benches: list[Bench]) -> None:
    sentence = "The receiver at 127.0.0.1:1 cannot be reached: start it."
    error = rpc_error(grpc.StatusCode.UNAVAILABLE, sentence)
    bench = bench_of(benches, relay=FakeRelay(errors=[error]))
    with pytest.raises(UnavailableError) as failure:
        await done(bench.start())
    assert str(failure.value) == sentence


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, InputError),
        (grpc.StatusCode.NOT_FOUND, NotFoundError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, CapacityError),
    ],
)
@pytest.mark.parametrize("paced", [True, False])
async def test_what_cannot_succeed_is_not_tried_again(
    benches: list[Bench], code: grpc.StatusCode, kind: type[Exception], paced: bool
) -> None:
    relay = FakeRelay(errors=[rpc_error(code, "It cannot be.")])
    bench = bench_of(benches, paced=paced, relay=relay)
    with pytest.raises(kind, match=r"^It cannot be\.$"):
        await done(bench.start())
    assert len(relay.calls) == 1
    assert bench.states.count("") <= 1


async def test_a_refusal_in_the_middle_is_not_tried_again(benches: list[Bench]) -> None:
    bench = bench_of(benches, paced=True)
    run = bench.start()
    await bench.leg.offer(captured(0))
    call = await bench.opened()
    await call.next_frame()
    call.fail(rpc_error(grpc.StatusCode.INVALID_ARGUMENT, "Too much power."))
    with pytest.raises(InputError, match="Too much power"):
        await done(run)


async def test_an_early_end_of_the_stream_is_a_loss(benches: list[Bench]) -> None:
    bench = bench_of(benches)
    run = bench.start()
    bench.feed(0, 3)
    call = await bench.opened()
    await call.next_frame()
    call.end()
    with pytest.raises(UnavailableError, match="early"):
        await done(run)


async def test_an_early_end_starts_a_new_generation_where_paced(benches: list[Bench]) -> None:
    bench = bench_of(benches, paced=True)
    bench.start()
    first = await bench.opened(0)
    first.end()
    await bench.opened(1)
    assert bench.relay.setups[-1].session.generation == 2


async def test_an_end_before_the_last_reports_is_early(benches: list[Bench]) -> None:
    """All was sent, but not all has come back: a `send` must not pass for complete."""
    bench = bench_of(benches)
    run = bench.start()
    bench.feed(0, 2, end=True)
    call = await bench.opened()
    call.answer(*answers(await call.next_frame()))
    await call.next_frame()
    async with asyncio.timeout(PATIENCE_S):
        await call.half_closed.wait()
    call.end()
    with pytest.raises(UnavailableError, match="early"):
        await done(run)
    assert bench.sequences == [0]


async def test_a_break_after_the_last_frame_ends_a_paced_leg(benches: list[Bench]) -> None:
    """There is nothing left to send in another generation."""
    bench = bench_of(benches, paced=True)
    run = bench.start()
    bench.feed(0, 1, end=True)
    call = await bench.opened()
    await call.next_frame()
    async with asyncio.timeout(PATIENCE_S):
        await call.half_closed.wait()
    call.fail(GONE)
    await done(run)


async def test_a_break_while_the_last_frame_waits_for_credit_ends_a_paced_leg(
    benches: list[Bench],
) -> None:
    bench = bench_of(benches, paced=True, relay=FakeRelay())
    run = bench.start()
    await bench.leg.offer(captured(0))
    call = await bench.opened()
    await call.next_frame()
    await bench.leg.offer(captured(1))
    await settle()
    await bench.leg.end()
    call.fail(GONE)
    second = await bench.opened(1)
    async with asyncio.timeout(PATIENCE_S):
        await second.half_closed.wait()
    second.end()
    await done(run)


async def test_a_leg_that_is_cancelled_leaves_no_call_open(benches: list[Bench]) -> None:
    bench = bench_of(benches, paced=True)
    run = bench.start()
    call = await bench.opened()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert call.cancelled


async def test_a_leg_that_has_failed_holds_up_nobody(benches: list[Bench]) -> None:
    """A source feeds several legs in turn: one that has failed must not block the others."""
    relay = FakeRelay(errors=[rpc_error(grpc.StatusCode.INVALID_ARGUMENT, "It cannot be.")])
    bench = bench_of(benches, relay=relay)
    feeding = bench.feed(0, 10, end=True)
    with pytest.raises(InputError):
        await done(bench.start())
    await done(feeding)
