"""The Receive call, without gRPC: order of answers, what is refused, what people are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry
from receiver_link import PATIENCE_S, NumberedGenerator, radio_frames, setup

from receiver.admission import Admission, Demand
from receiver.convert import tap_to_proto, telemetry_to_proto
from receiver.generator import MAKERS, Conditions
from receiver.server import ReceiverService
from receiver.session import ReceiverSession
from receiver.settings import ReceiverSettings
from receiver.streams import FrameOutcome
from semcast.air.ladder import LADDER
from semcast.errors import CapacityError, InputError, NotFoundError
from semcast.rpc.messages import frame_to_proto, setup_to_proto
from semcast.session import Modality, RadioFrame, SessionSetup
from semcast.v1 import link_pb2, receiver_pb2


class Answers:
    """The response half of a call: what was written, in order."""

    def __init__(self) -> None:
        self.written: list[receiver_pb2.ReceiveResponse] = []
        self.accepted = asyncio.Event()

    async def send_initial_metadata(self, initial_metadata: Any) -> None:
        assert not self.written
        self.accepted.set()

    async def write(self, message: receiver_pb2.ReceiveResponse) -> None:
        assert self.accepted.is_set()
        self.written.append(message)

    def kinds(self, sequence: int) -> list[str]:
        """Kinds of the answers on one frame."""
        found = []
        for message in self.written:
            kind = message.WhichOneof("message")
            assert kind is not None
            if getattr(message, kind).sequence == sequence:
                found.append(kind)
        return found


class Bench:
    """A receiver service and its metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.service = ReceiverService(ReceiverSettings(max_sessions=2))
        server: Any = SimpleNamespace(
            add=lambda *_: None, metrics=SimpleNamespace(registry=self.registry)
        )
        self.service.register(server)

    async def receive(self, *messages: receiver_pb2.ReceiveRequest) -> Answers:
        """A whole call."""
        answers = Answers()

        async def requests() -> AsyncIterator[receiver_pb2.ReceiveRequest]:
            for message in messages:
                yield message

        async with asyncio.timeout(PATIENCE_S):
            await self.service.Receive(requests(), answers)
        return answers

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.service.close()


def opening(session: SessionSetup) -> receiver_pb2.ReceiveRequest:
    return receiver_pb2.ReceiveRequest(setup=setup_to_proto(session))


def sent(frames: Iterable[RadioFrame], session_id: str = "test") -> list[Any]:
    return [receiver_pb2.ReceiveRequest(frame=frame_to_proto(f, session_id)) for f in frames]


async def test_each_frame_is_answered_by_feedback_then_telemetry(bench: Bench) -> None:
    answers = await bench.receive(opening(setup()), *sent(radio_frames(setup(), 3)))
    for sequence in range(3):
        assert answers.kinds(sequence) == ["feedback", "telemetry"]


async def test_with_the_tap_the_picture_comes_before_its_telemetry(bench: Bench) -> None:
    session = setup(measurement_tap=True)
    answers = await bench.receive(opening(session), *sent(radio_frames(session, 3)))
    for sequence in range(3):
        assert answers.kinds(sequence) == ["feedback", "tap_frame", "telemetry"]
    taps = [m.tap_frame for m in answers.written if m.HasField("tap_frame")]
    assert all(len(tap.rgb) == 64 * 64 * 3 for tap in taps)
    assert [tap.pts_us for tap in taps] == [0, 125_000, 250_000]


async def test_the_setup_is_accepted_before_any_frame_comes(bench: Bench) -> None:
    """A sender that waits for that must not wait for ever."""
    answers = Answers()
    silent = asyncio.Event()

    async def requests() -> AsyncIterator[receiver_pb2.ReceiveRequest]:
        yield opening(setup())
        await silent.wait()

    call = asyncio.create_task(bench.service.Receive(requests(), answers))
    async with asyncio.timeout(PATIENCE_S):
        await answers.accepted.wait()
        silent.set()
        await call


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"generator": "dreams"}, NotFoundError),
        ({"scheme": "telepathy"}, NotFoundError),
        ({"symbols_per_frame": 20}, InputError),
    ],
)
async def test_a_setup_that_is_refused_is_not_accepted_first(
    bench: Bench, changes: dict[str, Any], kind: type[Exception]
) -> None:
    answers = Answers()

    async def requests() -> AsyncIterator[receiver_pb2.ReceiveRequest]:
        yield opening(setup(**changes))

    with pytest.raises(kind):
        await bench.service.Receive(requests(), answers)
    assert not answers.accepted.is_set()


async def test_what_breaks_the_order_of_a_call_is_refused(bench: Bench) -> None:
    (frame,) = sent(radio_frames(setup(), 1))
    for messages in (
        [],
        [frame],
        [receiver_pb2.ReceiveRequest()],
        [opening(setup()), opening(setup())],
        [opening(setup()), receiver_pb2.ReceiveRequest()],
        [opening(setup()), *sent(radio_frames(setup(), 1), "another")],
    ):
        with pytest.raises(InputError):
            await bench.receive(*messages)


async def test_frames_are_counted_by_what_became_of_them(bench: Bench) -> None:
    await bench.receive(opening(setup()), *sent(radio_frames(setup(), 6, lost=(2, 4))))
    assert bench.count("semcast_receiver_frames_total", outcome="shown") == 4
    assert bench.count("semcast_receiver_frames_total", outcome="concealed") == 2
    assert bench.count("semcast_receiver_crc_failures_total", modality="lowres") == 2
    assert bench.count("semcast_receiver_snr_db") == pytest.approx(12.0, abs=3.0)
    assert bench.count("semcast_receiver_sessions") == 0


async def test_what_generators_do_is_measured_by_generator(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MAKERS, "passthrough", ForgetfulGenerator)
    frames = radio_frames(setup(), 4, lost=(2,))
    await bench.receive(opening(setup()), *sent(frames))
    labels = {"generator": "numbered"}
    # Frame 2 was lost: nothing was made for it.
    assert bench.count("semcast_receiver_step_seconds_count", **labels) == 3
    assert bench.count("semcast_receiver_stage_seconds_count", stage="generate") == 4
    assert bench.count("semcast_receiver_cached_frames", **labels) == 6
    assert bench.count("semcast_receiver_cache_resets_total", **labels) == 2
    again = setup(session_id="again")
    await bench.receive(opening(again), *sent(radio_frames(again, 3), "again"))
    assert bench.count("semcast_receiver_cache_resets_total", **labels) == 4


class ForgetfulGenerator(NumberedGenerator):
    """Remembers two frames more at each step but the first; forgets at each but the first two."""

    def step(self, conditions: Conditions) -> NDArray[np.uint8]:
        made = super().step(conditions)
        self.cached_frames = 2 * (len(self.seen) - 1)
        self.cache_resets = max(0, len(self.seen) - 2)
        return made


async def test_a_session_that_is_refused_is_told_why_and_counted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(admission: Admission, session_id: str, demand: Demand) -> str:
        return "It is full: stop one."

    monkeypatch.setattr(Admission, "refusal", refuse)
    answers = Answers()

    async def requests() -> AsyncIterator[receiver_pb2.ReceiveRequest]:
        yield opening(setup())

    with pytest.raises(CapacityError, match=r"^It is full: stop one\.$"):
        await bench.service.Receive(requests(), answers)
    assert not answers.accepted.is_set()
    assert bench.count("semcast_receiver_refused_sessions_total") == 1
    assert bench.count("semcast_receiver_model_load") == 0


async def test_a_session_that_is_not_received_has_no_viewers(bench: Bench) -> None:
    request = receiver_pb2.ReceiverServiceOpenViewerRequest(session_id="nobody", offer_sdp="v=0")
    with pytest.raises(NotFoundError):
        await bench.service.OpenViewer(request, None)


# What people are told.


def outcomes(session: SessionSetup, count: int, lost: Iterable[int] = ()) -> list[FrameOutcome]:
    from receiver.generator import PassthroughGenerator

    receiving = ReceiverSession(session, PassthroughGenerator())
    made = []
    for frame in radio_frames(session, count, lost=tuple(lost)):
        decoded = receiving.decode(frame)
        made.append(FrameOutcome(decoded, receiving.render(decoded), 2.5, 4.5, 1, 3))
    return made


def test_telemetry_says_what_was_received() -> None:
    session = setup(generation=4)
    good, lost = (telemetry_to_proto(session, outcome) for outcome in outcomes(session, 2, (1,)))
    assert (good.generation, good.sequence, good.pts_us) == (4, 0, 0)
    assert (lost.sequence, lost.pts_us) == (1, 125_000)
    assert list(good.crc_checked_modalities) == [link_pb2.MODALITY_LOWRES]
    assert list(good.crc_failed_modalities) == []
    assert list(lost.crc_failed_modalities) == [link_pb2.MODALITY_LOWRES]
    assert (good.concealed, lost.concealed) == (False, True)
    assert not (good.skipped or lost.skipped or good.outage or lost.outage)
    assert good.generator == "passthrough"
    assert {stage.stage: stage.duration_ms for stage in good.stages} == {
        "decode": 2.5,
        "generate": 4.5,
    }
    assert (good.frames_dropped_total, good.queue_depth_frames) == (3, 1)
    assert good.rung_id in {rung.id for rung in LADDER}


def test_telemetry_says_what_was_held_and_for_how_long() -> None:
    session = setup()
    told = [telemetry_to_proto(session, outcome) for outcome in outcomes(session, 4, (0, 2))]
    held = [[(item.modality, item.age_frames) for item in frame.held] for frame in told]
    lowres = link_pb2.MODALITY_LOWRES
    assert held == [[], [(lowres, 0)], [(lowres, 1)], [(lowres, 0)]]


def test_telemetry_says_what_the_generator_remembers() -> None:
    session = setup()
    outcome = outcomes(session, 1)[0]
    assert outcome.rendered is not None
    rendered = replace(outcome.rendered, cached_frames=8, cache_resets=2)
    told = telemetry_to_proto(session, replace(outcome, rendered=rendered))
    assert (told.cached_frames, told.cache_resets) == (8, 2)
    assert telemetry_to_proto(session, outcome).cached_frames == 0


def test_the_constellation_shows_received_payload_symbols() -> None:
    session = setup(mcs="qpsk-1/2")
    telemetry = telemetry_to_proto(session, outcomes(session, 3)[-1])
    points = np.frombuffer(telemetry.constellation_iq, "<c8")
    assert 32 <= len(points) <= 512
    assert telemetry.constellation_kind == "qpsk"
    # At 12 dB they lie about the four points of unit power: within 5 sigma of the noise.
    ideal = (np.sign(points.real) + 1j * np.sign(points.imag)) / np.sqrt(2)
    assert np.abs(points - ideal).max() < 5 * np.sqrt(10**-1.2)


@pytest.mark.parametrize(("rung_id", "kind"), [("qam16-1/2", "qam16"), ("qam64-2/3", "qam64")])
def test_the_constellation_says_what_it_is(rung_id: str, kind: str) -> None:
    session = setup(mcs=rung_id)
    telemetry = telemetry_to_proto(session, outcomes(session, 1)[0])
    assert (telemetry.constellation_kind, telemetry.rung_id) == (kind, rung_id)


def test_every_rung_of_the_ladder_can_be_told() -> None:
    for rung in LADDER:
        telemetry_to_proto(setup(mcs=rung.id), outcomes(setup(mcs=rung.id), 1)[0])


def test_a_frame_that_was_skipped_is_told_as_such() -> None:
    session = setup()
    outcome = outcomes(session, 1)[0]
    skipped = FrameOutcome(outcome.decoded, None, 2.5, 0.0, 0, 1)
    telemetry = telemetry_to_proto(session, skipped)
    assert telemetry.skipped
    assert not telemetry.outage
    assert telemetry.frames_dropped_total == 1


def test_an_outage_is_told() -> None:
    session = setup()
    told = [telemetry_to_proto(session, o).outage for o in outcomes(session, 9, range(1, 9))]
    assert told == [False] * 6 + [True] * 3


def test_the_tap_carries_the_picture_as_it_is_shown() -> None:
    session = setup(width=96, height=48)
    outcome = outcomes(session, 1)[0]
    tap = tap_to_proto(session, outcome)
    assert outcome.rendered is not None
    assert (tap.width_px, tap.height_px) == (96, 48)
    picture = np.frombuffer(tap.rgb, np.uint8).reshape(48, 96, 3)
    assert np.array_equal(picture, outcome.rendered.rgb)
    assert Modality.LOWRES in outcome.decoded.conditions.pictures
