"""Captions over the air: repeats, incremental redundancy, sizes found by trying."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scenes import CAPTION, SIZE, clean, losing, noisy, run, scene, setup

from semcast.air.ladder import rung
from semcast.errors import InputError
from semcast.parts.caption import WORD_BITS, copy_symbols, sizes_that_fit
from semcast.semantics import Semantics
from semcast.session import Modality, SessionSetup

PILOTS = 16


def desc(**changes: object) -> SessionSetup:
    values: dict[str, object] = {"scheme": "desc", "symbols_per_frame": 160}
    return setup(**{**values, **changes})


def saying(caption: str) -> object:
    return lambda index: replace(scene(index), caption=caption)


def test_a_caption_takes_gvscs_symbols() -> None:
    """arXiv 2502.13838: rate 1/3 and 4-QAM, so 1.5 symbols a bit."""
    assert copy_symbols(800, rung("qpsk-1/3"), 10_000) == 1200
    sent, received = run(desc(mcs="qpsk-1/3"), 1)[0]
    word_bits = sent.payload_bits_by_modality[Modality.CAPTION] + 16
    assert word_bits in WORD_BITS
    assert sent.symbols_by_modality[Modality.CAPTION] == 1.5 * word_bits
    assert received.came.caption == CAPTION


def test_it_goes_out_once_a_segment_and_is_held_in_between() -> None:
    results = run(desc(mcs="qpsk-1/3"), 24, noisy(6.0))
    spoken = [k for k, (sent, _) in enumerate(results) if len(sent.radio.blocks) > 1]
    assert spoken == [0, 8, 16]
    assert [k for k, (_, r) in enumerate(results) if r.came.caption is not None] == spoken
    assert all(received.complete for _, received in results)


def test_it_is_repeated_until_acknowledged() -> None:
    results = run(desc(mcs="qpsk-1/3"), 8, losing({0}, Modality.CAPTION))
    spoken = [k for k, (sent, _) in enumerate(results) if len(sent.radio.blocks) > 1]
    assert spoken == [0, 1]
    assert [received.complete for _, received in results] == [False] + [True] * 7
    assert results[0][1].crc_failed == (Modality.CAPTION,)


def test_feedback_that_takes_long_costs_repeats() -> None:
    session = desc(mcs="qpsk-1/3", feedback_delay_frames=3, symbols_per_frame=400)
    results = run(session, 8)
    assert [k for k, (s, _) in enumerate(results) if len(s.radio.blocks) > 1] == [0, 1, 2]


def test_repeats_add_up_where_one_copy_cannot_do() -> None:
    """At -4 dB a copy at rate 1/3 has room for 0.48 bits a symbol and needs 0.67."""
    session = desc(mcs="qpsk-1/3", symbols_per_frame=400)
    alone = run(
        session, 16, losing(set(range(1, 8)) | set(range(9, 16)), Modality.CAPTION, noisy(-4.0))
    )
    assert all(received.came.caption is None for _, received in alone)
    together = run(session, 64, noisy(-4.0))
    came = [k for k, (_, received) in enumerate(together) if received.came.caption]
    assert len(came) >= 7
    assert all(1 <= k % 8 <= 4 for k in came)
    assert {together[k][1].came.caption for k in came} == {CAPTION}


def test_it_never_spends_more_than_its_segment() -> None:
    session = desc(mcs="qpsk-1/3")
    results = run(session, 24, losing(set(range(24)), Modality.CAPTION))
    for first in (0, 8, 16):
        spent = sum(sent.radio.num_symbols for sent, _ in results[first : first + 8])
        assert spent <= 8 * 160
    assert all(not received.complete for _, received in results)


@pytest.mark.parametrize(
    "caption",
    [
        "",
        "Go.",
        "Ein Mädchen läuft über die Straße – 東京, 2026. 🚲",
        "A cyclist in a yellow jersey rides along a canal past moored boats. " * 3,
    ],
)
def test_captions_of_any_length_are_found_by_trying(caption: str) -> None:
    sent, received = run(desc(symbols_per_frame=400), 1, noisy(8.0), saying(caption))[0]
    assert received.came.caption == caption
    assert sent.means.caption == caption


def test_a_caption_that_no_segment_can_carry_is_refused_with_advice() -> None:
    with pytest.raises(InputError, match="shorten the caption, or raise the CBR"):
        run(desc(symbols_per_frame=60), 1, clean, saying("Quartz jocks vex big sphinx. " * 10))


def test_sizes_are_those_the_segment_can_carry_at_all() -> None:
    assert sizes_that_fit(20) == ()
    fit = sizes_that_fit(200)
    assert fit == tuple(size for size in WORD_BITS if size <= 360)
    assert all(copy_symbols(size, rung("qpsk-1/12"), 200) <= 200 for size in fit)


def test_noise_alone_is_no_caption() -> None:
    everything_lost = losing(set(range(40)), Modality.CAPTION, noisy(0.0))
    results = run(desc(symbols_per_frame=300), 40, everything_lost)
    assert all(received.came.caption is None for _, received in results)


def test_beside_pictures_it_takes_its_share_only() -> None:
    session = setup(scheme="desc,lowres", symbols_per_frame=400)
    results = run(session, 16, losing(set(range(16)), Modality.CAPTION, noisy(9.0)))
    caption = sum(s.symbols_by_modality.get(Modality.CAPTION, 0) for s, _ in results)
    total = sum(s.radio.num_symbols for s, _ in results)
    assert 0 < caption <= 0.25 * 16 * (400 - PILOTS)
    assert total <= 16 * 400
    assert all(Modality.LOWRES in received.came.pictures for _, received in results)


def test_the_copy_that_arrived_tells_the_noise() -> None:
    """Pilots alone, 16 a frame, would be off by 0.7 dB at 1 sigma after two frames."""
    errors = []
    for seed in range(12):
        results = run(desc(symbols_per_frame=300), 2, noisy(3.0, seed))
        errors.append(results[-1][1].snr_db - 3.0)
    assert abs(np.mean(errors)) < 0.25
    assert np.std(errors) < 0.45


def test_the_picture_of_the_scene_plays_no_part() -> None:
    def other(index: int) -> Semantics:
        return Semantics(np.zeros((SIZE, SIZE, 3), np.uint8), caption=CAPTION)

    one, two = run(desc(), 9), run(desc(), 9, clean, other)
    for (a, _), (b, _) in zip(one, two, strict=True):
        for x, y in zip(a.radio.blocks, b.radio.blocks, strict=True):
            assert np.array_equal(x.samples, y.samples)
