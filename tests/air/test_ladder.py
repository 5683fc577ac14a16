"""The ladder: order, ids, and a choice that does not flap."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semcast.air.ladder import LADDER, TABLE_INFO_BITS, pick_rung, rung
from semcast.errors import InputError

snrs = st.floats(-30, 40)


def test_faster_rungs_need_more_snr() -> None:
    for i, (slow, fast) in enumerate(itertools.pairwise(LADDER)):
        assert slow.index == i
        assert slow.spectral_efficiency < fast.spectral_efficiency
        assert slow.min_snr_db < fast.min_snr_db
    assert LADDER[-1].index == len(LADDER) - 1


def test_thresholds_are_the_measured_ones() -> None:
    """The ladder says what benchmarks/ladder.py measured last."""
    result = Path(__file__).parents[2] / "benchmarks" / "results" / "ladder.json"
    measured = {
        row["id"]: row["min_snr_db_by_info_bits"] for row in json.loads(result.read_text())["rungs"]
    }
    assert measured == {
        each.id: dict(zip(map(str, TABLE_INFO_BITS), each.table_snr_db, strict=True))
        for each in LADDER
    }


def test_no_rung_beats_shannon() -> None:
    """log2(1 + SNR) at the threshold exceeds eta from 64 bits on. (A shorter block may be lucky: it
    is asked to arrive 99 % of the time only.)"""
    for each in LADDER:
        for bits, snr_db in zip(TABLE_INFO_BITS, each.table_snr_db, strict=True):
            assert bits < 64 or math.log2(1 + 10 ** (snr_db / 10)) > each.spectral_efficiency


def test_a_length_between_two_measured_ones() -> None:
    """Measured sizes are met exactly, those between lie between, those outside are the nearest."""
    for each in LADDER:
        for bits, snr_db in zip(TABLE_INFO_BITS, each.table_snr_db, strict=True):
            assert each.min_snr_db_for(bits) == pytest.approx(snr_db)
        for low, high in itertools.pairwise(TABLE_INFO_BITS):
            ends = each.min_snr_db_for(low), each.min_snr_db_for(high)
            middle = each.min_snr_db_for(round(math.sqrt(low * high)))
            assert min(ends) <= middle <= max(ends)
            assert ends[0] == ends[1] or middle not in ends
        assert each.min_snr_db_for(1) == each.table_snr_db[0]
        assert each.min_snr_db_for(100_000) == each.table_snr_db[-1]
        assert each.min_snr_db == max(each.table_snr_db[TABLE_INFO_BITS.index(100) :])


@given(snr_db=snrs, index=st.integers(0, len(LADDER) - 1), size=st.integers(20, 2000))
def test_the_rung_for_a_block_size_is_safe_at_that_size(
    snr_db: float, index: int, size: int
) -> None:
    picked = pick_rung(snr_db, LADDER[index], num_symbols=size)
    needed_db = picked.min_snr_db_for(int(size * picked.spectral_efficiency))
    assert picked.index == 0 or snr_db >= needed_db
    assert pick_rung(snr_db, picked, num_symbols=size) is picked
    for faster in LADDER[picked.index + 1 :]:
        bits = int(size * faster.spectral_efficiency)
        assert snr_db < faster.min_snr_db_for(bits) + 1.5


def test_short_blocks_get_a_slower_rung_than_long_ones() -> None:
    """Somewhere on the ladder the length decides."""
    picked = [
        (pick_rung(snr, None, num_symbols=30).index, pick_rung(snr, None, num_symbols=800).index)
        for snr in np.arange(-8.0, 24.0, 0.25)
    ]
    assert all(short <= long for short, long in picked)
    assert sum(short < long for short, long in picked) >= 10


def test_lgvsc_rungs_and_the_ends() -> None:
    lgvsc = {"qpsk-1/3": 2 / 3, "qpsk-1/2": 1, "qpsk-2/3": 4 / 3, "qpsk-3/4": 1.5}
    lgvsc |= {"qam16-1/2": 2, "qam16-2/3": 8 / 3}
    for rung_id, efficiency in lgvsc.items():
        assert rung(rung_id).spectral_efficiency == pytest.approx(efficiency)
    assert LADDER[0].min_snr_db <= -5.0
    assert any(each.bits_per_symbol == 6 for each in LADDER)


def test_unknown_id_lists_the_ids() -> None:
    with pytest.raises(InputError) as caught:
        rung("qpsk-7/8")
    for each in LADDER:
        assert each.id in str(caught.value)
        assert rung(each.id) is each


@given(low=snrs, high=snrs)
def test_more_snr_never_gives_a_slower_rung(low: float, high: float) -> None:
    low, high = min(low, high), max(low, high)
    assert pick_rung(low, None).index <= pick_rung(high, None).index


@given(snr_db=snrs, index=st.integers(0, len(LADDER) - 1))
def test_what_is_picked_is_safe_and_stays(snr_db: float, index: int) -> None:
    picked = pick_rung(snr_db, LADDER[index])
    assert picked.index == 0 or snr_db >= picked.min_snr_db
    assert pick_rung(snr_db, picked) is picked


@given(snr_db=snrs, wobble=st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=20))
def test_a_wobbling_estimate_moves_the_rung_at_most_once(
    snr_db: float, wobble: list[float]
) -> None:
    current = pick_rung(snr_db, None)
    moves = 0
    for offset in wobble:
        picked = pick_rung(snr_db + offset, current)
        moves += picked is not current
        current = picked
    assert moves <= 1


def test_margin_and_hysteresis() -> None:
    low, high = rung("qpsk-1/3"), rung("qpsk-1/2")
    edge = high.min_snr_db
    assert pick_rung(edge, None) is low
    assert pick_rung(edge + 0.5, None) is high
    assert pick_rung(edge + 0.6, low) is low
    assert pick_rung(edge + 1.5, low) is high
    assert pick_rung(edge + 0.1, high) is high
    assert pick_rung(edge - 0.1, high) is low
    assert pick_rung(edge, None, margin_db=0.0, hysteresis_db=0.0) is high


@pytest.mark.parametrize("snr_db", [math.nan, -math.inf, -40.0])
def test_nothing_heard_gives_the_lowest_rung(snr_db: float) -> None:
    assert pick_rung(snr_db, None) is LADDER[0]
    assert pick_rung(snr_db, LADDER[5]) is LADDER[0]
    assert np.isfinite(pick_rung(math.inf, None).min_snr_db)
