"""`auto`: the scheme follows the SNR at both ends, without a symbol spent on saying so."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scenes import clean, noisy, run, setup

from semcast.air.ladder import rung
from semcast.link import plan_grid
from semcast.schemes import SCHEMES
from semcast.session import Modality

AUTO = setup(scheme="auto", symbols_per_frame=400, segment_frames=8)


def test_it_chooses_among_its_schemes_from_thresholds_that_rise() -> None:
    grid = plan_grid(AUTO)
    assert tuple(choice.scheme_id for choice in grid.choices) == SCHEMES["auto"].choices
    thresholds = [choice.from_snr_db for choice in grid.choices]
    assert thresholds == sorted(thresholds)
    assert thresholds[0] == -np.inf
    assert len(set(thresholds)) == 3


def test_more_symbols_lower_the_thresholds() -> None:
    few, many = (
        plan_grid(setup(scheme="auto", symbols_per_frame=num)).choices for num in (200, 1200)
    )
    assert all(b.from_snr_db <= a.from_snr_db for a, b in zip(few, many, strict=True))
    assert many[2].from_snr_db < few[2].from_snr_db


def test_text_first_then_pictures_as_soon_as_the_snr_is_known() -> None:
    results = run(AUTO, 4, noisy(15.0))
    assert [received.scheme_id for _, received in results] == ["desc"] + 3 * ["contours-lowres"]
    assert [sent.scheme_id for sent, _ in results] == [r.scheme_id for _, r in results]


def test_it_falls_to_text_and_comes_back() -> None:
    def snr_db(sequence: int) -> float:
        return -9.0 if 16 <= sequence < 48 else 15.0

    results = run(AUTO, 96, noisy(snr_db))
    names = [received.scheme_id for _, received in results]
    assert [sent.scheme_id for sent, _ in results] == names
    assert set(names[8:16]) == {"contours-lowres"}
    # The estimate is a mean over two seconds, so it takes up to 16 frames to follow.
    assert set(names[40:48]) == {"desc"}
    assert set(names[80:]) == {"contours-lowres"}
    switches = sum(a != b for a, b in pairwise(names))
    assert switches <= 5


def test_each_frame_carries_what_the_scheme_in_force_sends_and_nothing_else() -> None:
    def snr_db(sequence: int) -> float:
        return -9.0 if 10 <= sequence < 40 else 12.0

    for sent, received in run(AUTO, 64, noisy(snr_db)):
        wanted = set(SCHEMES[received.scheme_id].modalities)
        assert set(sent.means.modalities) <= wanted
        carried = {block.modality for block in sent.radio.blocks} - {Modality.PILOT}
        assert carried <= (
            {Modality.CAPTION} if received.scheme_id == "desc" else {Modality.LOWRES}
        )


def test_states_survive_a_time_without_pictures() -> None:
    """After text alone, low-res frames go on from the newest that was acknowledged."""

    def snr_db(sequence: int) -> float:
        return -12.0 if 12 <= sequence < 20 else 15.0

    results = run(AUTO, 60, noisy(snr_db))
    for sent, received in results:
        if received.complete and received.came.contours is not None:
            assert sent.means.contours is not None
            assert np.array_equal(sent.means.contours.labels, received.came.contours.labels)


def test_a_rung_that_does_not_hold_a_scheme_bars_it() -> None:
    grid = plan_grid(setup(scheme="auto", symbols_per_frame=220))
    slow, fast = rung("qpsk-1/12"), rung("qam16-2/3")
    assert grid.holds("desc", slow)
    assert not grid.holds("contours-lowres", slow)
    assert grid.holds("contours-lowres", fast)


def test_the_average_rate_is_kept() -> None:
    results = run(AUTO, 64, clean)
    mean = sum(sent.radio.num_symbols for sent, _ in results) / 64
    assert 0.95 * 400 <= mean <= 1.05 * 400 + 8
