"""The digital rival spends the symbols it is given, and is grey where its block is lost."""

import functools
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks import picture_rivals
from benchmarks.picture_conditions import Case, Picture, Quality
from benchmarks.picture_rivals import (
    CHROMA_OFFSETS,
    COARSEST_QP,
    IntraPicture,
    SentBlocks,
    encode_intra,
    measure_rung,
    split_set_up,
    threshold_snr_db,
)
from semcast.air.digital import payload_bits
from semcast.air.ladder import rung
from semcast.metrics.psnr import psnr_db

SIDE = 64
QPSK = rung("qpsk-2/3")
CASE = Case("drawn", 0.05, (QPSK.min_snr_db - 6, QPSK.min_snr_db + 6))


class PsnrJudge:
    """In place of LPIPS, whose weights a test does not have."""

    def quality(self, source: Picture, shown: Picture) -> Quality:
        return Quality(psnr_db(source, shown), 0.0, 0.0)


@functools.cache
def drawn_picture() -> Picture:
    """Coloured discs on a slope, uint8 [64, 64, 3]."""
    slope = np.add.outer(np.arange(SIDE), np.arange(SIDE))
    picture = np.stack([slope, 200 - slope, slope // 2 + 60], -1).astype(np.uint8)
    for centre, colour in (((20, 20), (220, 40, 60)), ((44, 36), (30, 60, 210))):
        cv2.circle(picture, centre, 9, colour, -1, cv2.LINE_AA)
    return picture


@pytest.fixture
def intra() -> IntraPicture:
    return IntraPicture(drawn_picture(), PsnrJudge())  # type: ignore[arg-type]


def finest_fitting(num_bits: int, chroma_offset: int) -> int:
    """The finest quantiser whose payload fits, by trying every one."""
    return next(
        qp
        for qp in range(COARSEST_QP + 1)
        if 8
        * len(split_set_up(encode_intra(drawn_picture(), qp, chroma_offset, "yuv420p")).payload)
        <= num_bits
    )


def test_the_best_that_fits_is_taken(intra: IntraPicture) -> None:
    num_bits = 2500
    best = intra.best_within(num_bits)
    assert best is not None and 8 * len(best.payload) <= num_bits
    rivals = []
    for offset in CHROMA_OFFSETS:
        qp = finest_fitting(num_bits, offset)
        rivals.append(split_set_up(encode_intra(drawn_picture(), qp, offset, "yuv420p")))
    assert intra.psnr_db(best) == max(intra.psnr_db(coded) for coded in rivals)


def test_nothing_is_sent_where_nothing_fits(intra: IntraPicture) -> None:
    assert intra.best_within(100) is None


def test_set_up_is_the_same_at_every_quality() -> None:
    fine, coarse = (
        split_set_up(encode_intra(drawn_picture(), qp, offset, "yuv420p"))
        for qp, offset in ((20, 0), (45, -6))
    )
    assert fine.set_up == coarse.set_up
    assert len(fine.payload) > len(coarse.payload)


def test_blocks_have_the_symbols_of_the_case(
    intra: IntraPicture, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def counting(symbols: Any, snr_db: float, seed: int) -> Any:
        sizes.append(len(symbols))
        return symbols

    monkeypatch.setattr(picture_rivals, "through_channel", counting)
    blocks = SentBlocks(CASE, QPSK, [intra])
    assert blocks.arrived(QPSK.min_snr_db) == blocks.coded
    assert sizes == blocks.num_symbols == [round(CASE.cbr * 3 * SIDE * SIDE)]
    (coded,) = blocks.coded
    assert coded and 8 * len(coded.payload) <= payload_bits(sizes[0], QPSK)


def test_it_is_flat_above_the_threshold_and_grey_below(intra: IntraPicture) -> None:
    row = measure_rung(CASE, QPSK, [intra], [intra])
    below, above = row["shown"]
    grey = psnr_db(drawn_picture(), np.full_like(drawn_picture(), 128))
    assert below["psnr_db"] == pytest.approx(grey, abs=1e-3)
    assert above["psnr_db"] == row["coded"]["psnr_db"] > grey + 8


def test_the_threshold_lies_where_losses_begin(intra: IntraPicture) -> None:
    lost = SentBlocks(CASE, QPSK, [intra, intra]).lost_by_snr_db()
    threshold = threshold_snr_db(lost)
    assert threshold is not None
    assert QPSK.min_snr_db - 2.5 < threshold <= QPSK.min_snr_db + 0.5
    assert lost[min(lost)] == 2


def test_a_threshold_needs_all_above_it() -> None:
    assert threshold_snr_db({1.0: 2, 1.25: 0, 1.5: 1, 1.75: 0, 2.0: 0}) == 1.75
    assert threshold_snr_db({1.0: 2, 1.25: 1}) is None
