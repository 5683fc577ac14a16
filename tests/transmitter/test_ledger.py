"""What became of each frame, from hand-made reports in every order."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from fake_relay import feedback, passed_on, picture, shown, tapped

from semcast.link import SentFrame
from semcast.semantics import Received
from semcast.session import Modality, RadioFrame
from semcast.v1 import link_pb2
from transmitter.ledger import FinishedFrame, Ledger

CAPTURED_S = 50.0


def sent(ledger: Ledger, sequence: int, level: int = 100) -> None:
    frame = SentFrame(
        radio=RadioFrame(ledger.generation, sequence, sequence * 125_000, ()),
        scheme_id="lowres",
        means=Received(),
        symbols_by_modality={Modality.PILOT: 16, Modality.LOWRES: 200 + sequence},
        payload_bits_by_modality={Modality.LOWRES: 90 + sequence},
        information_bits=106 + sequence,
    )
    ledger.sent(frame, picture(level), CAPTURED_S, {"source": 2.0, "encode": 5.0})


def ledger_of(*, tap: bool = False, generation: int = 1) -> Ledger:
    return Ledger(generation, measurement_tap=tap, cbr_target=0.004)


def channel(ledger: Ledger, sequence: int, generation: int = 1) -> None:
    ledger.channel(passed_on(sequence, generation=generation).channel)


def receiver(
    ledger: Ledger, sequence: int, *, skipped: bool = False, now_s: float = CAPTURED_S
) -> None:
    ledger.receiver(shown(sequence, skipped=skipped).receiver, now_s)


def tap(ledger: Ledger, sequence: int, level: int = 100) -> None:
    ledger.tap(tapped(sequence, picture(level)).tap_frame)


def sequences(finished: list[FinishedFrame]) -> list[int]:
    return [frame.report.sequence for frame in finished]


def test_reports_leave_in_order_whatever_order_they_come_in() -> None:
    for order in itertools.permutations(range(3)):
        ledger = ledger_of()
        for sequence in range(3):
            sent(ledger, sequence)
        left: list[int] = []
        for sequence in order:
            receiver(ledger, sequence)
            channel(ledger, sequence)
            left += sequences(ledger.finished(pictures=False))
        assert left == [0, 1, 2]


def test_a_frame_waits_for_both_channel_and_receiver() -> None:
    ledger = ledger_of()
    sent(ledger, 0)
    assert ledger.finished(pictures=False) == []
    channel(ledger, 0)
    assert ledger.finished(pictures=False) == []
    receiver(ledger, 0)
    assert sequences(ledger.finished(pictures=False)) == [0]
    assert ledger.finished(pictures=False) == []


def test_with_the_tap_a_frame_waits_for_its_picture_too() -> None:
    ledger = ledger_of(tap=True)
    sent(ledger, 0)
    channel(ledger, 0)
    receiver(ledger, 0)
    assert ledger.finished(pictures=True) == []
    tap(ledger, 0)
    assert sequences(ledger.finished(pictures=True)) == [0]


def test_a_skipped_frame_waits_for_no_picture() -> None:
    ledger = ledger_of(tap=True)
    sent(ledger, 0)
    channel(ledger, 0)
    receiver(ledger, 0, skipped=True)
    (frame,) = ledger.finished(pictures=True)
    assert frame.pair is None
    assert not frame.report.HasField("psnr_db")
    assert frame.report.receiver.skipped


def test_a_skipped_frame_does_not_let_later_ones_overtake() -> None:
    ledger = ledger_of(tap=True)
    for sequence in range(3):
        sent(ledger, sequence)
        channel(ledger, sequence)
    receiver(ledger, 1, skipped=True)
    receiver(ledger, 2)
    tap(ledger, 2)
    assert ledger.finished(pictures=False) == []
    tap(ledger, 0)
    receiver(ledger, 0)
    assert sequences(ledger.finished(pictures=False)) == [0, 1, 2]


def test_other_generations_are_ignored() -> None:
    ledger = ledger_of(generation=2, tap=True)
    sent(ledger, 0)
    for other in (1, 3):
        ledger.feedback(feedback(0, generation=other).feedback)
        ledger.channel(passed_on(0, generation=other).channel)
        ledger.receiver(shown(0, generation=other).receiver, CAPTURED_S)
        ledger.tap(tapped(0, picture(0), generation=other).tap_frame)
    assert ledger.finished(pictures=True) == []
    ledger.channel(passed_on(0, generation=2).channel)
    ledger.receiver(shown(0, generation=2).receiver, CAPTURED_S)
    ledger.tap(tapped(0, picture(100), generation=2).tap_frame)
    (frame,) = ledger.finished(pictures=True)
    assert frame.report.generation == 2
    assert frame.report.feedback_bits == 0


def test_what_was_never_sent_or_has_left_is_ignored() -> None:
    ledger = ledger_of()
    channel(ledger, 7)
    receiver(ledger, 7)
    assert ledger.finished(pictures=False) == []
    sent(ledger, 0)
    channel(ledger, 0)
    receiver(ledger, 0)
    assert sequences(ledger.finished(pictures=False)) == [0]
    receiver(ledger, 0)
    channel(ledger, 0)
    assert ledger.finished(pictures=False) == []


def test_psnr_is_that_of_each_frame_against_its_own_source() -> None:
    ledger = ledger_of(tap=True)
    expected = []
    for sequence, error in enumerate((0, 1, 10)):
        sent(ledger, sequence, level=100 + sequence)
        channel(ledger, sequence)
        tap(ledger, sequence, level=100 + sequence + error)
        receiver(ledger, sequence)
        expected.append(10 * math.log10(255**2 / error**2) if error else 100.0)
    psnrs = [frame.report.psnr_db for frame in ledger.finished(pictures=False)]
    assert psnrs == pytest.approx(expected, rel=1e-6)


def test_without_the_tap_there_is_no_psnr_and_no_picture() -> None:
    ledger = ledger_of()
    sent(ledger, 0)
    channel(ledger, 0)
    receiver(ledger, 0)
    (frame,) = ledger.finished(pictures=True)
    assert not frame.report.HasField("psnr_db")
    assert frame.pair is None


def test_pictures_are_given_only_where_asked_for() -> None:
    ledger = ledger_of(tap=True)
    for sequence in range(2):
        sent(ledger, sequence, level=50)
        channel(ledger, sequence)
        tap(ledger, sequence, level=60)
        receiver(ledger, sequence)
        (frame,) = ledger.finished(pictures=sequence == 1)
    assert frame.pair is not None
    assert frame.pair.sequence == 1
    assert np.array_equal(np.frombuffer(frame.pair.source_rgb, np.uint8), picture(50).ravel())
    assert np.array_equal(np.frombuffer(frame.pair.received_rgb, np.uint8), picture(60).ravel())


def test_the_report_carries_what_was_counted() -> None:
    ledger = ledger_of()
    sent(ledger, 0)
    ledger.feedback(feedback(0).feedback)
    channel(ledger, 0)
    receiver(ledger, 0, now_s=CAPTURED_S + 0.25)
    (frame,) = ledger.finished(pictures=False)
    report = frame.report
    assert {m.modality: m.count for m in report.symbols_by_modality} == {
        link_pb2.MODALITY_PILOT: 16,
        link_pb2.MODALITY_LOWRES: 200,
    }
    assert {m.modality: m.count for m in report.payload_bits_by_modality} == {
        link_pb2.MODALITY_LOWRES: 90
    }
    assert report.information_bits == 106
    assert report.feedback_bits == 13
    assert report.latency_ms == pytest.approx(250.0)
    assert report.cbr_target == 0.004
    assert {stage.stage: stage.duration_ms for stage in report.stages} == {
        "source": 2.0,
        "encode": 5.0,
    }
    assert report.channel.noise_energy == 10.0
    assert report.receiver.generator == "passthrough"
