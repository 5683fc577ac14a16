"""Both ends of a link, joined by a channel the test controls."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from semcast.air.ladder import LADDER
from semcast.errors import InputError, NotFoundError
from semcast.link import LinkReceiver, LinkSender, ReceivedFrame, SentFrame, plan_grid
from semcast.metrics.psnr import psnr_db
from semcast.parts.video import size_for, units_of
from semcast.schemes import find_scheme, resolve_mcs, symbols_per_frame
from semcast.semantics import Semantics
from semcast.session import Block, Modality, RadioFrame, SessionSetup

SIZE = 128


def setup(**changes: object) -> SessionSetup:
    values: dict[str, object] = {
        "session_id": "test",
        "scheme": "lowres",
        "width": SIZE,
        "height": SIZE,
        "fps": 8.0,
        "symbols_per_frame": 800,
        "seed": 7,
    }
    return SessionSetup(**{**values, **changes})


def moving_picture(index: int) -> NDArray[np.uint8]:
    """A soft blob that moves over a gradient. [SIZE, SIZE, 3], uint8."""
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    blob = 110 * np.exp(-((x - 30 - 4 * index) ** 2 + (y - 60) ** 2) / 600)
    return np.clip(np.stack([x + blob, 255 - y + 0 * x, 80 + blob], axis=-1), 0, 255).astype(
        np.uint8
    )


Corrupt = Callable[[RadioFrame], RadioFrame]


def noisy(snr_db: float, seed: int = 1) -> Corrupt:
    rng = np.random.default_rng(seed)

    def corrupt(frame: RadioFrame) -> RadioFrame:
        def add(samples: NDArray[np.complex64]) -> NDArray[np.complex64]:
            pair = rng.standard_normal((2, len(samples))) * np.sqrt(0.5 / 10 ** (snr_db / 10))
            return (samples + pair[0] + 1j * pair[1]).astype(np.complex64)

        blocks = tuple(Block(block.modality, add(block.samples)) for block in frame.blocks)
        return RadioFrame(frame.generation, frame.sequence, frame.pts_us, blocks)

    return corrupt


def without_signal(frame: RadioFrame, modality: Modality) -> RadioFrame:
    rng = np.random.default_rng(frame.sequence)
    blocks = tuple(
        Block(b.modality, (0.1 * rng.standard_normal(len(b.samples))).astype(np.complex64))
        if b.modality == modality
        else b
        for b in frame.blocks
    )
    return RadioFrame(frame.generation, frame.sequence, frame.pts_us, blocks)


def run(
    session: SessionSetup, num_frames: int, corrupt: Corrupt
) -> list[tuple[SentFrame, ReceivedFrame]]:
    sender, receiver = LinkSender(session), LinkReceiver(session)
    results = []
    for index in range(num_frames):
        assert sender.may_encode
        sent = sender.encode(Semantics(moving_picture(index)), index * 125_000)
        received = receiver.receive(corrupt(sent.radio))
        sender.feedback(received.feedback)
        results.append((sent, received))
    return results


def test_lowres_fills_the_symbols_it_has_and_every_frame_arrives() -> None:
    results = run(setup(), 12, noisy(12.0))
    assert {sent.radio.num_symbols for sent, _ in results} == {800}
    assert all(received.complete for _, received in results)
    assert all(not received.crc_failed for _, received in results)
    assert all(Modality.LOWRES in received.came.pictures for _, received in results)


def test_rung_follows_feedback_after_the_delay() -> None:
    for delay in (1, 3):
        results = run(setup(feedback_delay_frames=delay), 10, noisy(12.0))
        rungs = [received.rung for _, received in results]
        assert rungs[:delay] == [LADDER[0]] * delay
        asked = [received.feedback.rung_index for _, received in results]
        assert [rung.index for rung in rungs[delay:]] == asked[:-delay]
        assert rungs[-1].spectral_efficiency > LADDER[0].spectral_efficiency


def test_a_lost_frame_costs_itself_only() -> None:
    def lose_frame_5(frame: RadioFrame) -> RadioFrame:
        return without_signal(frame, Modality.LOWRES) if frame.sequence == 5 else frame

    def passes(frame: RadioFrame) -> RadioFrame:
        return frame

    lossless = run(setup(mcs="qpsk-1/2"), 9, passes)
    lossy = run(setup(mcs="qpsk-1/2"), 9, lose_frame_5)
    assert [received.complete for _, received in lossy] == [k != 5 for k in range(9)]
    assert lossy[5][1].crc_failed == (Modality.LOWRES,)
    for k in (6, 7, 8):
        # Predicted from an older frame, so not equal, but as good as to 3 dB.
        now = lossy[k][1].came.pictures[Modality.LOWRES]
        reference = lossless[k][1].came.pictures[Modality.LOWRES]
        assert psnr_db(now, reference) > 25.0


def test_sender_waits_for_the_feedback_a_frame_depends_on() -> None:
    session = setup(feedback_delay_frames=2)
    sender, receiver = LinkSender(session), LinkReceiver(session)
    first = receiver.receive(sender.encode(Semantics(moving_picture(0)), 0).radio)
    receiver.receive(sender.encode(Semantics(moving_picture(1)), 1).radio)
    assert not sender.may_encode
    sender.feedback(first.feedback)
    assert sender.may_encode


def test_feedback_of_another_generation_is_dropped() -> None:
    sender, receiver = LinkSender(setup()), LinkReceiver(setup())
    received = receiver.receive(sender.encode(Semantics(moving_picture(0)), 0).radio)
    stranger = LinkSender(setup(generation=2))
    stranger.encode(Semantics(moving_picture(0)), 0)
    stranger.feedback(received.feedback)
    assert not stranger.may_encode


def test_estimate_comes_within_half_a_db_in_two_seconds() -> None:
    for snr_db in (-4.0, 3.0, 12.0):
        results = run(setup(), 16, noisy(snr_db, seed=3))
        assert results[-1][1].snr_db == pytest.approx(snr_db, abs=0.5)


def test_receiver_uses_samples_only_not_the_time_stamp() -> None:
    sender = LinkSender(setup())
    radio = sender.encode(Semantics(moving_picture(0)), 0).radio
    moved = RadioFrame(radio.generation, radio.sequence, 987_654, radio.blocks)
    a = LinkReceiver(setup()).receive(radio)
    b = LinkReceiver(setup()).receive(moved)
    assert np.array_equal(a.came.pictures[Modality.LOWRES], b.came.pictures[Modality.LOWRES])
    assert a.feedback == b.feedback


def test_receiver_refuses_what_cannot_be_of_this_session() -> None:
    sender = LinkSender(setup())
    radio = sender.encode(Semantics(moving_picture(0)), 0).radio
    with pytest.raises(InputError, match="in order"):
        LinkReceiver(setup(generation=2)).receive(radio)
    with pytest.raises(InputError, match="pilot block of 5 symbols"):
        cut = tuple(
            Block(b.modality, b.samples[:5] if b.modality == Modality.PILOT else b.samples)
            for b in radio.blocks
        )
        LinkReceiver(setup()).receive(RadioFrame(1, 0, 0, cut))
    with pytest.raises(InputError, match="not finite"):
        poisoned = tuple(Block(b.modality, b.samples * np.nan) for b in radio.blocks)
        LinkReceiver(setup()).receive(RadioFrame(1, 0, 0, poisoned))


def cut_short(radio: RadioFrame, modality: Modality, num_samples: int) -> RadioFrame:
    blocks = tuple(
        Block(b.modality, b.samples[:num_samples] if b.modality == modality else b.samples)
        for b in radio.blocks
    )
    return RadioFrame(radio.generation, radio.sequence, radio.pts_us, blocks)


def test_a_fixed_block_of_the_wrong_size_is_refused() -> None:
    radio = LinkSender(setup()).encode(Semantics(moving_picture(0)), 0).radio
    with pytest.raises(InputError, match="lowres block of 700 symbols"):
        LinkReceiver(setup()).receive(cut_short(radio, Modality.LOWRES, 700))


def test_the_length_of_a_controlled_block_tells_the_receiver_nothing() -> None:
    session = setup(scheme="h264-ldpc", mcs="qpsk-1/2", symbols_per_frame=1600)
    radio = LinkSender(session).encode(Semantics(moving_picture(0)), 0).radio
    video = next(b.samples for b in radio.blocks if b.modality == Modality.VIDEO)
    longer = RadioFrame(
        radio.generation,
        radio.sequence,
        radio.pts_us,
        tuple(
            Block(b.modality, np.concatenate([b.samples, b.samples[:50]]))
            if b.modality == Modality.VIDEO
            else b
            for b in radio.blocks
        ),
    )
    # What follows the samples that control names is not looked at.
    assert LinkReceiver(session).receive(longer).complete
    # What is missing reads as silence: a CRC that fails, counted as such.
    received = LinkReceiver(session).receive(cut_short(radio, Modality.VIDEO, len(video) // 2))
    assert received.crc_failed == (Modality.VIDEO,)
    assert not received.came.pictures


def test_a_session_of_a_fixed_rung_keeps_nothing_of_old_frames() -> None:
    session = setup(scheme="h264-ldpc", mcs="qpsk-1/2", symbols_per_frame=1600)
    sender, receiver = LinkSender(session), LinkReceiver(session)
    for index in range(12):
        sender.feedback(
            receiver.receive(sender.encode(Semantics(moving_picture(index)), 0).radio).feedback
        )
    assert not sender._agreement._asked
    assert not receiver._agreement._asked


@pytest.mark.parametrize("scheme", ["h264-ldpc", "h265-ldpc"])
def test_classical_video_has_a_cliff(scheme: str) -> None:
    session = setup(scheme=scheme, mcs="qpsk-3/4", symbols_per_frame=1600)
    above = run(session, 16, noisy(8.0))
    below = run(session, 16, noisy(1.0))
    assert all(received.complete for _, received in above)
    assert not any(received.came.pictures for _, received in below)
    spent = sum(sent.radio.num_symbols for sent, _ in run(session, 64, noisy(8.0)))
    assert spent == pytest.approx(64 * 1600, rel=0.05)


def test_classical_video_recovers_by_an_idr_after_loss() -> None:
    session = setup(scheme="h264-ldpc", mcs="qpsk-1/2", symbols_per_frame=1600)

    losses: list[int] = []

    def lose_one_picture(frame: RadioFrame) -> RadioFrame:
        has_picture = any(block.modality == Modality.VIDEO for block in frame.blocks)
        if frame.sequence >= 4 and has_picture and not losses:
            losses.append(frame.sequence)
            return without_signal(frame, Modality.VIDEO)
        return frame

    results = run(session, 32, lose_one_picture)
    lost = losses[0]
    assert not results[lost][1].complete
    assert Modality.VIDEO in results[lost][1].crc_failed
    after = [
        k for k, (_, r) in enumerate(results) if k > lost and Modality.VIDEO in r.came.pictures
    ]
    # The first picture after a loss is an IDR, which waits until the rate can bear it.
    assert after and after[0] - lost <= 12
    assert len(after) >= 8


def test_a_rate_too_small_is_refused_with_the_least_that_works() -> None:
    with pytest.raises(InputError, match="give a CBR of at least"):
        plan_grid(setup(symbols_per_frame=40))


def test_schemes_are_found_by_id_or_list_and_unknown_ones_named() -> None:
    assert find_scheme("lowres").modalities == (Modality.LOWRES,)
    assert find_scheme("lowres, lowres").id == "lowres"
    with pytest.raises(NotFoundError, match="choose one of lowres"):
        find_scheme("telepathy")
    assert resolve_mcs(find_scheme("h264-ldpc"), "default") == "qpsk-2/3"
    with pytest.raises(InputError, match="qpsk"):
        resolve_mcs(find_scheme("lowres"), "psk-1/7")
    assert symbols_per_frame(0.004, 256, 256) == 786


def test_a_small_budget_never_meets_a_rung_that_cannot_carry_a_frame() -> None:
    small = setup(symbols_per_frame=197)
    slowest = plan_grid(small).slowest_rung
    assert slowest != LADDER[0]
    results = run(small, 8, noisy(-15.0))
    assert {received.rung for _, received in results} == {slowest}
    results = run(small, 8, noisy(10.0))
    assert all(received.complete for _, received in results)


@pytest.mark.parametrize(
    ("scheme", "mcs"),
    [
        ("lowres", "auto"),
        ("lowres", "qpsk-1/12"),
        ("lowres", "qam64-5/6"),
        ("h264-ldpc", "qpsk-1/12"),
        ("h264-ldpc", "qam64-5/6"),
        ("h265-ldpc", "qpsk-2/3"),
    ],
)
def test_the_least_rate_named_in_the_refusal_works(scheme: str, mcs: str) -> None:
    with pytest.raises(InputError) as refusal:
        plan_grid(setup(scheme=scheme, mcs=mcs, symbols_per_frame=20))
    least_cbr = float(str(refusal.value).split("at least ")[1].split(" ")[0])
    enough = setup(scheme=scheme, mcs=mcs, symbols_per_frame=round(least_cbr * 3 * SIZE * SIZE))
    results = run(enough, 3, noisy(30.0))
    assert results[0][1].complete


def test_classical_schemes_have_their_rung_fixed() -> None:
    with pytest.raises(InputError, match="fixed for the session"):
        resolve_mcs(find_scheme("h264-ldpc"), "auto")


def test_size_of_an_access_unit_is_said_exactly_or_rounded_up() -> None:
    for units in range(0, 1151):
        size = size_for(units)
        assert 0 <= size <= 255
        assert units <= units_of(size) < units + (8 if units > 127 else 1)
    assert size_for(1152) == 256
