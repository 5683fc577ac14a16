"""The bars say met exactly where the curves meet them."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.picture_bars import Bar, ahead_of_envelope_db, all_bars, envelope, swept_curve
from benchmarks.picture_conditions import KODAK_CBR, SNRS_DB
from benchmarks.picture_figures import draw_over_cbr, draw_over_snr
from semcast.errors import InputError

GREY_DB = 13.0
RUNGS = {"qpsk-2/3": (3.0, 27.0), "qam16-2/3": (8.75, 30.0)}
"""Threshold and PSNR above it."""


def scores(psnr_db: float) -> dict[str, float]:
    return {"psnr_db": psnr_db, "ssim": 0.5, "lpips_squeeze_caffe": 0.5}


def rivals(num_pictures: int = 24, num_fitting: int = 24) -> list[dict[str, Any]]:
    return [
        {
            "pictures": "kodak",
            "cbr": KODAK_CBR,
            "rung": rung,
            "num_pictures": num_pictures,
            "num_fitting": num_fitting,
            "coded": scores(psnr_db),
            "grey": scores(GREY_DB),
            "threshold_snr_db": threshold,
            "lost_blocks": {f"{threshold - 0.25}": num_fitting, f"{threshold}": 0},
            "shown": [
                {"snr_db": snr_db, **scores(psnr_db if snr_db >= threshold else GREY_DB)}
                for snr_db in SNRS_DB
            ],
        }
        for rung, (threshold, psnr_db) in RUNGS.items()
    ]


def ours(psnr_db_at_10: float, slope: float = 0.3, **changes: float) -> list[dict[str, Any]]:
    """A straight line, worse by 5 dB without feedback; changes: "at_0" sets the PSNR at 0 dB."""
    rows = []
    for snr_db in SNRS_DB:
        psnr_db = changes.get(f"at_{snr_db:g}", psnr_db_at_10 + slope * (snr_db - 10))
        for feedback in (False, True):
            rows.append(
                {
                    "pictures": "kodak",
                    "codec": "keyframe",
                    "cbr": KODAK_CBR,
                    "num_pictures": 24,
                    "snr_db": snr_db,
                    "feedback": feedback,
                    **scores(psnr_db - (0 if feedback else 5)),
                }
            )
    return rows


def bars(mine: list[dict[str, Any]], **changes: int) -> dict[str, Bar]:
    """By their first word."""
    return {bar.bar.split()[0]: bar for bar in all_bars(rivals(**changes), mine)}


def test_all_are_met_by_a_good_code() -> None:
    found = bars(ours(29.6))
    assert set(found) == {"no", "within", "above", "at"}
    assert all(bar.met for bar in found.values())


def test_a_cliff_is_seen_where_it_is() -> None:
    found = bars(ours(29.6, at_0=20.0))["no"]
    assert not found.met
    assert "from 2.5 to 0 dB" in found.measured


def test_one_decibel_behind_at_a_threshold_is_allowed() -> None:
    # The line passes 8.75 dB with 0.375 dB less than it has at 10 dB.
    assert bars(ours(29.4))["within"].met
    found = bars(ours(29.252))["within"]
    assert not found.met
    assert "qam16-2/3 -1.12 dB" in found.measured and "qpsk-2/3 +0.15 dB" in found.measured


def test_it_must_be_above_wherever_the_rival_is_grey() -> None:
    found = bars(ours(29.6, **{"at_-5": GREY_DB - 1}))["above"]
    assert not found.met
    assert "qpsk-2/3 -1.00 dB" in found.measured


def test_the_mark_on_kodak() -> None:
    assert bars(ours(28.5))["at"].met
    assert not bars(ours(28.49))["at"].met


def test_the_envelope_takes_the_best_of_the_safe_rungs() -> None:
    best = dict(zip(SNRS_DB, envelope(rivals(), "kodak"), strict=True))
    assert best[2.5] is None
    assert best[5.0] == 27.0
    assert best[10.0] == 30.0


def test_ahead_is_told_where_some_rung_is_safe() -> None:
    curve = swept_curve(rivals(), ours(29.6), "kodak", "keyframe")
    ahead = ahead_of_envelope_db(curve, rivals(), "kodak")
    assert min(map(float, ahead)) == 5.0
    assert ahead["5"] == pytest.approx(29.6 - 1.5 - 27.0)
    assert ahead["10"] == pytest.approx(-0.4)


def test_a_rung_that_not_all_pictures_fit_is_named_and_not_compared() -> None:
    found = bars(ours(29.6), num_fitting=23)["within"]
    assert "not compared: qpsk-2/3 (1 of 24 pictures do not fit)" in found.measured


def test_figures_of_different_pictures_are_not_compared() -> None:
    with pytest.raises(InputError, match="24 pictures of 'kodak'"):
        bars(ours(29.6), num_pictures=4, num_fitting=4)


def test_figures_are_drawn(tmp_path: Path) -> None:
    draw_over_snr(rivals(), ours(29.6), tmp_path / "snr.png")
    draw_over_cbr(rivals(), ours(29.6), tmp_path / "cbr.png")
    for name in ("snr.png", "cbr.png"):
        assert (tmp_path / name).stat().st_size > 10_000
