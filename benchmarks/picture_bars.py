"""What the learned pictures must hold against H.265 intra + LDPC and the published codecs.

Pure: takes the rows of `pictures-rivals.json` and `pictures.json`, gives a line per bar. Curves are
interpolated between the SNRs measured. Ours are those with feedback, i.e. with a known SNR.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from benchmarks.picture_conditions import KODAK_CBR, SNRS_DB
from semcast.errors import InputError

Row = dict[str, Any]

NAMED_RUNGS = ("qpsk-1/3", "qpsk-2/3", "qam16-1/2", "qam16-2/3", "qam64-2/3")
"""Those whose curves are compared and drawn; all of the ladder's are in the envelope."""

MOST_DROP_DB = 3.0
"""Of PSNR from one SNR to the next 2.5 dB lower, where there is no cliff; ours, stricter than the
3 dB in 2 dB that papers/05 has."""
MOST_BEHIND_DB = 1.0
LEAST_KODAK_PSNR_DB = 28.5
KODAK_SNR_DB = 10.0
PUBLISHED_DEEPJSCC_DB = 29.95


@dataclass(frozen=True)
class Bar:
    """One line of the table. pictures: the set. codec: which of ours."""

    bar: str
    pictures: str
    codec: str
    measured: str
    met: bool

    def row(self) -> Row:
        """As in the results."""
        return asdict(self)


def known_snr(rows: Sequence[Row], pictures: str, codec: str, cbr: float) -> list[Row]:
    """Our rows with feedback of one set and codec at one CBR, by ascending SNR."""
    mine = [
        row
        for row in rows
        if (row["pictures"], row["codec"]) == (pictures, codec)
        and row["feedback"]
        and abs(row["cbr"] - cbr) < 1e-4
    ]
    return sorted(mine, key=lambda row: float(row["snr_db"]))


def psnr_db_at(curve: Sequence[Row], snr_db: float) -> float:
    """PSNR of a curve, between the points measured; flat beyond its ends."""
    return float(
        np.interp(snr_db, [row["snr_db"] for row in curve], [row["psnr_db"] for row in curve])
    )


def swept_cbr(rivals: Sequence[Row], pictures: str) -> float:
    """The CBR at which all SNRs were measured."""
    return next(
        float(row["cbr"])
        for row in rivals
        if row["pictures"] == pictures and "threshold_snr_db" in row
    )


def swept_curve(rivals: Sequence[Row], ours: Sequence[Row], pictures: str, codec: str) -> list[Row]:
    """Our rows over all SNRs."""
    return known_snr(ours, pictures, codec, swept_cbr(rivals, pictures))


def sets_and_codecs(ours: Sequence[Row]) -> list[tuple[str, str]]:
    """Each set and codec of ours that was measured."""
    return list(dict.fromkeys((row["pictures"], row["codec"]) for row in ours))


def usable_rungs(rivals: Sequence[Row], pictures: str) -> list[Row]:
    """Rows of the SNR sweep in which all pictures fit and some SNR is safe, slowest rung first."""
    return [
        row
        for row in rivals
        if row["pictures"] == pictures
        and row.get("threshold_snr_db") is not None
        and row["num_fitting"] == row["num_pictures"]
    ]


def envelope(rivals: Sequence[Row], pictures: str, score: str = "psnr_db") -> list[float | None]:
    """Of each of `SNRS_DB`, the score of the safe rung of highest PSNR; None where none is safe.

    What a sender attains that knows the SNR exactly and changes the rung for each picture.
    """
    best: list[float | None] = []
    for snr_db in SNRS_DB:
        safe = [
            row["coded"]
            for row in usable_rungs(rivals, pictures)
            if row["threshold_snr_db"] <= snr_db
        ]
        chosen = max(safe, key=lambda coded: float(coded["psnr_db"]), default=None)
        best.append(chosen and float(chosen[score]))
    return best


def ahead_of_envelope_db(
    curve: Sequence[Row], rivals: Sequence[Row], pictures: str
) -> dict[str, float]:
    """PSNR beside the envelope's, by SNR in dB, where some rung is safe. No bar: for the record."""
    return {
        f"{snr_db:g}": round(psnr_db_at(curve, snr_db) - best, 2)
        for snr_db, best in zip(SNRS_DB, envelope(rivals, pictures), strict=True)
        if best is not None
    }


def cliff_bar(curve: Sequence[Row], pictures: str, codec: str) -> Bar:
    """The largest loss of PSNR from one SNR to the next lower one."""
    values = [row["psnr_db"] for row in curve]
    drops = np.diff(values)
    worst = int(np.argmax(drops))
    return Bar(
        bar=f"no cliff: at most {MOST_DROP_DB:g} dB of PSNR lost from one SNR to the next",
        pictures=pictures,
        codec=codec,
        measured=f"{drops[worst]:.2f} dB from {curve[worst + 1]['snr_db']:g} "
        f"to {curve[worst]['snr_db']:g} dB",
        met=bool(drops[worst] <= MOST_DROP_DB),
    )


def threshold_bar(curve: Sequence[Row], rivals: Sequence[Row], pictures: str, codec: str) -> Bar:
    """How far ahead of each rung at the threshold of that rung, where it has the most to show."""
    ahead_db = {
        rival["rung"]: psnr_db_at(curve, rival["threshold_snr_db"]) - rival["coded"]["psnr_db"]
        for rival in rivals
    }
    return Bar(
        bar=f"within {MOST_BEHIND_DB:g} dB of H.265 intra + LDPC at its threshold SNR",
        pictures=pictures,
        codec=codec,
        measured=_listed(ahead_db),
        met=all(value >= -MOST_BEHIND_DB for value in ahead_db.values()),
    )


def below_bar(curve: Sequence[Row], rivals: Sequence[Row], pictures: str, codec: str) -> Bar:
    """By how much at least ahead of each rung at the SNRs below its threshold."""
    ahead_db = {}
    for rival in rivals:
        margins = [
            psnr_db_at(curve, shown["snr_db"]) - shown["psnr_db"]
            for shown in rival["shown"]
            if shown["snr_db"] < rival["threshold_snr_db"]
        ]
        if margins:
            ahead_db[rival["rung"]] = min(margins)
    return Bar(
        bar="above H.265 intra + LDPC everywhere below its threshold SNR",
        pictures=pictures,
        codec=codec,
        measured=_listed(ahead_db),
        met=all(value > 0 for value in ahead_db.values()),
    )


def _listed(ahead_db: dict[str, float]) -> str:
    return ", ".join(f"{rung} {value:+.2f} dB" for rung, value in ahead_db.items())


def kodak_bar(curve: Sequence[Row], codec: str) -> Bar:
    """The figure asked for on Kodak; curve: at `KODAK_CBR`."""
    measured = psnr_db_at(curve, KODAK_SNR_DB)
    return Bar(
        bar=f"at least {LEAST_KODAK_PSNR_DB} dB at CBR {KODAK_CBR} and {KODAK_SNR_DB:g} dB",
        pictures="kodak",
        codec=codec,
        measured=f"{measured:.2f} dB ({measured - PUBLISHED_DEEPJSCC_DB:+.2f} dB to Deep JSCC's "
        "published point)",
        met=measured >= LEAST_KODAK_PSNR_DB,
    )


def not_compared(rivals: Sequence[Row], pictures: str) -> str:
    """Which of the named rungs have no curve to compare with, and why; "" where all have."""
    usable = {row["rung"] for row in usable_rungs(rivals, pictures)}
    missing = [
        f"{row['rung']} ({row['num_pictures'] - row['num_fitting']} of {row['num_pictures']} "
        "pictures do not fit)"
        for row in rivals
        if row["pictures"] == pictures
        and row["cbr"] == swept_cbr(rivals, pictures)
        and row["rung"] in set(NAMED_RUNGS) - usable
    ]
    return f"; not compared: {', '.join(missing)}" if missing else ""


def check_same_pictures(rivals: Sequence[Row], ours: Sequence[Row]) -> None:
    """Raises InputError where the two were measured on different numbers of pictures."""
    for row in ours:
        theirs = {r["num_pictures"] for r in rivals if r["pictures"] == row["pictures"]}
        if theirs != {row["num_pictures"]}:
            raise InputError(
                f"ours was measured on {row['num_pictures']} pictures of '{row['pictures']}', the "
                f"rival on {sorted(theirs)}: run benchmarks.picture_rivals with the same "
                "--pictures."
            )


def all_bars(rivals: Sequence[Row], ours: Sequence[Row]) -> list[Bar]:
    """Every bar for every set and codec of ours. Raises InputError as `check_same_pictures`."""
    check_same_pictures(rivals, ours)
    bars = []
    for pictures, codec in sets_and_codecs(ours):
        curve = swept_curve(rivals, ours, pictures, codec)
        bars.append(cliff_bar(curve, pictures, codec))
        named = [row for row in usable_rungs(rivals, pictures) if row["rung"] in NAMED_RUNGS]
        left_out = not_compared(rivals, pictures)
        for bar in (threshold_bar, below_bar):
            made = bar(curve, named, pictures, codec)
            bars.append(replace(made, measured=made.measured + left_out))
        if pictures == "kodak":
            bars.append(kodak_bar(curve, codec))
    return bars
