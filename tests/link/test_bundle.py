"""Contours, sketch, motion and low-res frames in one block."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scenes import CAPTION, SIZE, clean, losing, noisy, run, scene, setup

from semcast.air.digital import payload_bits
from semcast.air.ladder import rung
from semcast.errors import InputError
from semcast.link import plan_grid
from semcast.parts.bundle import FRESH_PERIOD_FRAMES
from semcast.semantics import Semantics
from semcast.session import Modality

EVERYTHING = "contours,sketch,motion,lowres"


def test_a_frame_is_one_block_of_fixed_size_whatever_it_says() -> None:
    results = run(setup(), 10, noisy(12.0))
    for sent, received in results:
        assert [block.modality for block in sent.radio.blocks] == [Modality.PILOT, Modality.LOWRES]
        assert sent.radio.num_symbols == 400
        assert received.complete
    assert len({sent.symbols_by_modality[Modality.CONTOURS] for sent, _ in results}) > 1


def test_symbols_and_bits_are_split_among_the_modalities_and_add_up() -> None:
    session = setup(scheme=EVERYTHING, mcs="qpsk-2/3", symbols_per_frame=700)
    bits = payload_bits(700 - session.pilots_per_frame, rung("qpsk-2/3"))
    for sent, _ in run(session, 6):
        assert sum(sent.symbols_by_modality.values()) == 700
        shared = {m: n for m, n in sent.payload_bits_by_modality.items() if m != Modality.CONTROL}
        assert sum(shared.values()) == bits
        assert sent.information_bits == bits + 16
        for modality, num_bits in shared.items():
            share = sent.symbols_by_modality[modality] / (700 - session.pilots_per_frame)
            assert share == pytest.approx(num_bits / bits, abs=0.003)


def test_what_is_received_equals_what_the_sender_says_it_sent() -> None:
    for sent, received in run(setup(scheme=EVERYTHING, symbols_per_frame=700), 12, noisy(11.0)):
        assert not received.crc_failed
        assert received.came.modalities == sent.means.modalities
        assert received.came.contours is not None and sent.means.contours is not None
        assert np.array_equal(received.came.contours.labels, sent.means.contours.labels)
        assert np.array_equal(received.came.sketch, sent.means.sketch)
        assert received.came.motion == sent.means.motion
        assert np.array_equal(
            received.came.pictures[Modality.LOWRES], sent.means.pictures[Modality.LOWRES]
        )


def test_label_maps_arrive_and_fit() -> None:
    results = run(setup(), 10, noisy(12.0))
    for index, (_, received) in enumerate(results[4:], start=4):
        labels = scene(index).labels
        assert labels is not None and received.came.contours is not None
        got = received.came.contours.labels
        assert got.shape == (SIZE, SIZE)
        for label in (1, 2):
            both = np.sum((got == label) & (labels == label))
            assert both / np.sum((got == label) | (labels == label)) > 0.85


def test_a_still_scene_leaves_its_bits_to_the_colours() -> None:
    results = run(setup(), 14, noisy(12.0), lambda index: scene(0))
    contour_bits = [sent.payload_bits_by_modality[Modality.CONTOURS] for sent, _ in results]
    # A bit an object and a byte, and what the range coder's tail may shift from one to the other.
    assert all(bits <= 2 + 8 + 2 for bits in contour_bits[-4:])
    assert contour_bits[1] > 30


def test_a_lost_block_costs_itself_only() -> None:
    session = setup(mcs="qpsk-2/3")
    lossy = run(session, 9, losing({5}, Modality.LOWRES))
    assert [received.complete for _, received in lossy] == [k != 5 for k in range(9)]
    assert lossy[5][1].crc_failed == (Modality.CONTOURS, Modality.LOWRES)
    assert lossy[5][1].came.modalities == frozenset()
    for sent, received in lossy[6:]:
        assert sent.means.contours is not None and received.came.contours is not None
        assert np.array_equal(received.came.contours.labels, sent.means.contours.labels)


@pytest.mark.parametrize("delay", [1, 2, 4])
def test_both_ends_agree_at_any_feedback_delay_and_under_loss(delay: int) -> None:
    session = setup(feedback_delay_frames=delay, scheme=EVERYTHING, symbols_per_frame=600)
    for sent, received in run(session, 20, losing({3, 4, 9, 15}, Modality.LOWRES, noisy(9.0))):
        if received.complete:
            assert sent.means.contours is not None and received.came.contours is not None
            assert np.array_equal(sent.means.contours.labels, received.came.contours.labels)
            assert np.array_equal(sent.means.sketch, received.came.sketch)


def test_layers_start_afresh_now_and_then_each_at_its_own_frame() -> None:
    """A corrupt state that slipped through a CRC is forgotten after the period."""
    still = scene(0)
    results = run(setup(mcs="qpsk-2/3"), FRESH_PERIOD_FRAMES + 2, clean, lambda index: still)
    bits = [sent.payload_bits_by_modality[Modality.CONTOURS] for sent, _ in results]
    settled = bits[40:60]
    assert bits[64] > 2 * max(settled)
    assert max(bits[70 : FRESH_PERIOD_FRAMES + 2]) <= max(settled) + 4


def test_motion_is_sent_once_a_segment_until_it_is_acknowledged() -> None:
    session = setup(scheme="motion,lowres", segment_frames=4, mcs="qpsk-2/3")
    results = run(session, 12, losing({4, 5}, Modality.LOWRES))
    bits = [sent.payload_bits_by_modality[Modality.MOTION] for sent, _ in results]
    # Frame 4 was lost, so frames 5 and, as 5 was lost as well, 6 say it again.
    assert [k for k in range(12) if bits[k]] == [0, 4, 5, 6, 8]
    assert results[6][1].came.motion == pytest.approx(2.0 / SIZE, rel=0.2)


def test_what_no_extractor_found_is_sent_as_nothing() -> None:
    def bare(index: int) -> Semantics:
        return replace(scene(index), labels=None, sketch=None, motion=None)

    for _, received in run(setup(scheme=EVERYTHING, symbols_per_frame=600), 4, clean, bare):
        assert received.complete
        assert received.came.contours is not None and not received.came.contours.labels.any()
        assert received.came.sketch is not None and not received.came.sketch.any()
        assert received.came.motion == 0.0


@pytest.mark.parametrize("scheme", ["contours", "sketch", "motion", "contours,sketch"])
def test_any_subset_runs_without_low_res_frames(scheme: str) -> None:
    session = setup(scheme=scheme)
    results = run(session, 5, noisy(8.0))
    wanted = {Modality[name.upper()] for name in scheme.split(",")}
    for sent, received in results:
        assert sent.radio.num_symbols == 400
        assert received.complete
        assert received.came.modalities == wanted


def test_no_object_at_all_is_a_map_too() -> None:
    def empty(index: int) -> Semantics:
        return replace(scene(index), labels=np.zeros((SIZE, SIZE), np.uint8))

    sent, received = run(setup(), 3, clean, empty)[-1]
    assert received.came.contours is not None and not received.came.contours.labels.any()
    assert sent.payload_bits_by_modality[Modality.CONTOURS] <= 8


@pytest.mark.parametrize("scheme", [EVERYTHING, "contours,lowres", "sketch,lowres", "sketch"])
def test_every_layer_keeps_within_a_block_that_hardly_holds_them(scheme: str) -> None:
    """A scene as busy as can be, from the fewest bits that the grid accepts upwards."""
    rng = np.random.default_rng(3)

    def busy(index: int) -> Semantics:
        labels = np.kron(rng.integers(0, 12, (8, 8)), np.ones((16, 16))).astype(np.uint8)
        strokes = (rng.random((SIZE, SIZE)) < 0.08).astype(np.uint8)
        rgb = rng.integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
        return Semantics(rgb, labels, strokes, motion=0.02, caption=CAPTION)

    tried = 0
    for symbols in range(60, 190, 3):
        session = setup(scheme=scheme, symbols_per_frame=symbols, mcs="qpsk-1/2")
        try:
            plan_grid(session)
        except InputError:
            continue
        tried += 1
        for sent, received in run(session, 3, clean, busy):
            assert sent.radio.num_symbols == symbols
            assert received.complete
    assert tried > 10


def test_a_rate_too_small_names_the_least_that_works_and_that_works() -> None:
    with pytest.raises(InputError, match="give a CBR of at least") as refused:
        plan_grid(setup(symbols_per_frame=40))
    cbr = float(str(refused.value).rsplit("at least ", 1)[1].split()[0])
    symbols = int(np.ceil(cbr * 3 * SIZE * SIZE))
    results = run(setup(symbols_per_frame=symbols), 4, noisy(15.0))
    assert all(received.complete for _, received in results)
