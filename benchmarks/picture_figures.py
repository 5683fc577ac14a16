"""Figures of `pictures` and `picture_rivals`: quality over SNR, and over CBR at one SNR.

Colours are Okabe and Ito's, which colour-blind readers can tell apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from benchmarks.picture_bars import (
    KODAK_SNR_DB,
    NAMED_RUNGS,
    Row,
    envelope,
    known_snr,
    swept_cbr,
)
from benchmarks.picture_conditions import KODAK_CBRS, SNRS_DB, SWEEP_SNRS_DB

OURS = {
    "djscc-rgb": ("ours, equal rates (djscc-rgb)", "#D55E00", "o"),
    "keyframe": ("ours, rates by patch (keyframe)", "#0072B2", "s"),
}
RUNG_COLOURS = dict(
    zip(NAMED_RUNGS, ("#999999", "#E69F00", "#56B4E9", "#009E73", "#CC79A7"), strict=True)
)
TITLES = {
    "kodak": "Kodak",
    "val": "Held-out clips, 256x256",
}

# Read off the published plots by eye (shared/papers/04, section 2): Kodak, AWGN at 10 dB.
PUBLISHED: dict[str, tuple[str, tuple[tuple[float, float], ...]]] = {
    "NTSCC (2112.10961)": (
        "^",
        ((0.0137, 28.0), (0.029, 30.9), (0.047, 33.0), (0.065, 34.35), (0.086, 35.6)),
    ),
    "Deep JSCC": ("v", ((0.0208, 27.4), (0.0416, 29.95), (0.0833, 33.05))),
    "BPG + LDPC": (
        "D",
        (
            (0.0205, 28.85),
            (0.028, 29.9),
            (0.038, 31.1),
            (0.051, 32.3),
            (0.066, 33.6),
            (0.0855, 34.95),
        ),
    ),
    "BPG + capacity": (
        "*",
        ((0.022, 29.95), (0.03, 31.1), (0.039, 32.3), (0.051, 33.6), (0.066, 34.9)),
    ),
}

SCORES = {"psnr_db": "PSNR (dB)", "lpips_squeeze_caffe": "LPIPS (SqueezeNet), less is better"}


def draw_over_snr(rivals: Sequence[Row], ours: Sequence[Row], path: Path) -> None:
    """PSNR above, LPIPS below; a column for each picture set."""
    sets = [name for name in TITLES if any(row["pictures"] == name for row in ours)]
    figure, grid = plt.subplots(
        2, len(sets), figsize=(6.2 * len(sets), 8.6), squeeze=False, sharex=True, sharey="row"
    )
    for column, pictures in enumerate(sets):
        cbr = swept_cbr(rivals, pictures)
        for axes, score in zip(grid[:, column], SCORES, strict=True):
            for row in rivals:
                if row["pictures"] == pictures and row["rung"] in NAMED_RUNGS and row["cbr"] == cbr:
                    _draw_rung(axes, row, score)
            best = [
                np.nan if value is None else value for value in envelope(rivals, pictures, score)
            ]
            axes.plot(SNRS_DB, best, "k:", lw=1.8, label="H.265 intra + the best rung at each SNR")
            _draw_ours(axes, ours, pictures, cbr, score)
            axes.grid(alpha=0.25)
            axes.set(ylabel=SCORES[score], xlim=(SNRS_DB[0] - 0.5, SNRS_DB[-1] + 0.5))
        grid[0, column].set_title(f"{TITLES[pictures]}, CBR {cbr:.3g}")
        grid[1, column].set_xlabel("Es/N0 (dB)")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    order = np.argsort(["ours" not in label for label in labels], kind="stable")
    figure.legend(
        [handles[k] for k in order],
        [labels[k] for k in order],
        loc="lower center",
        ncols=3,
        fontsize=9,
        frameon=False,
    )
    figure.tight_layout(rect=(0, 0.075, 1, 1))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_rung(axes: Any, row: Row, score: str) -> None:
    """One rung's curve, with its fall drawn where it was measured."""
    if row["threshold_snr_db"] is None:
        return
    points = {shown["snr_db"]: shown[score] for shown in row["shown"]}
    points[row["threshold_snr_db"]] = row["coded"][score]
    all_lost = max(
        float(snr_db) for snr_db, lost in row["lost_blocks"].items() if lost == row["num_fitting"]
    )
    points[all_lost] = row["grey"][score]
    axes.plot(
        sorted(points),
        [points[snr_db] for snr_db in sorted(points)],
        color=RUNG_COLOURS[row["rung"]],
        lw=1.4,
        label=f"H.265 intra + LDPC, {row['rung']}",
    )


def _draw_ours(axes: Any, ours: Sequence[Row], pictures: str, cbr: float, score: str) -> None:
    for codec, (label, colour, marker) in OURS.items():
        curve = known_snr(ours, pictures, codec, cbr)
        if curve:
            axes.plot(
                [row["snr_db"] for row in curve],
                [row[score] for row in curve],
                color=colour,
                marker=marker,
                ms=5,
                lw=2.2,
                label=label,
            )


def draw_over_cbr(rivals: Sequence[Row], ours: Sequence[Row], path: Path) -> None:
    """PSNR on Kodak over CBR: at 10 dB beside the published codecs, and at 0 dB."""
    figure, grid = plt.subplots(1, 2, figsize=(12.4, 5.4), sharey=True)
    for axes, snr_db in zip(grid, reversed(SWEEP_SNRS_DB), strict=True):
        for codec, (label, colour, marker) in OURS.items():
            curve = [at for cbr in KODAK_CBRS if (at := _at(ours, codec, cbr, snr_db))]
            axes.plot(
                [row["cbr"] for row in curve],
                [row["psnr_db"] for row in curve],
                color=colour,
                marker=marker,
                ms=5,
                lw=2.2,
                label=label,
            )
        best = [(cbr, _best_rival_db(rivals, cbr, snr_db)) for cbr in KODAK_CBRS]
        axes.plot(*zip(*best, strict=True), "k:", lw=1.8, label="H.265 intra + LDPC, best rung")
        if snr_db == KODAK_SNR_DB:
            for name, (marker, points) in PUBLISHED.items():
                axes.plot(
                    *zip(*points, strict=True),
                    marker,
                    color="#555555",
                    mfc="white",
                    ms=7,
                    label=f"{name}, published (read off a plot)",
                )
        axes.set(title=f"Kodak, {snr_db:g} dB", xlabel="CBR (symbols per source sample)")
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8.5, loc="lower right" if snr_db == KODAK_SNR_DB else "upper left")
    grid[0].set_ylabel(SCORES["psnr_db"])
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _at(ours: Sequence[Row], codec: str, cbr: float, snr_db: float) -> Row | None:
    return next(
        (row for row in known_snr(ours, "kodak", codec, cbr) if row["snr_db"] == snr_db), None
    )


def _best_rival_db(rivals: Sequence[Row], cbr: float, snr_db: float) -> float:
    """PSNR of the rung that shows most on Kodak at this SNR; NaN where pictures do not fit."""
    return max(
        (
            float(shown["psnr_db"])
            for row in rivals
            if row["pictures"] == "kodak"
            and abs(row["cbr"] - cbr) < 1e-4
            and row["num_fitting"] == row["num_pictures"]
            for shown in row["shown"]
            if shown["snr_db"] == snr_db and shown["psnr_db"] > row["grey"]["psnr_db"]
        ),
        default=float("nan"),
    )
