"""Which held-out pictures, at which rates and SNRs, and how they are judged: for `picture_rivals`
and `pictures`, which must agree on all three.

`kodak`: the 24 Kodak pictures as they are (768x512 and 512x768). `val`: of each of the 13 held-out
clips four frames spread over the clip, as `semcast send --size 256` shows them. Scores are per
picture, then averaged: a mean of PSNRs, as the papers have it, not the PSNR of the mean error.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from semcast.errors import NotFoundError
from semcast.metrics.perceptual import LpipsScorer
from semcast.metrics.psnr import psnr_db
from semcast.metrics.ssim import ssim
from semcast.metrics.weights import MetricWeights
from semcast.schemes import symbols_per_frame
from transmitter.sources import read_clip

SNRS_DB = tuple(np.arange(-5.0, 20.1, 2.5).tolist())
SWEEP_SNRS_DB = (0.0, 10.0)
"""SNRs at which Kodak is measured at every CBR."""

KODAK_CBR = 0.0416
"""Where DeepJSCC's and NTSCC's published curves have a point."""
KODAK_CBRS = (0.005, 0.01, 0.02, 0.03, KODAK_CBR, 0.0625, 0.083)
VAL_SYMBOLS = 7800
"""What GVSC spends on a first frame of 256x256."""

SIDE = 256
CLIP_FPS = 4.0
FRAMES_PER_CLIP = 4

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Case:
    """One picture set at one rate.

    cbr: symbols per source sample (of three a pixel).
    """

    pictures: str
    cbr: float
    snrs_db: tuple[float, ...]

    def num_symbols(self, picture: Picture) -> int:
        """Complex symbols for one picture [H, W, 3], pilots and side information included."""
        return symbols_per_frame(self.cbr, picture.shape[1], picture.shape[0])


CASES = (
    Case("val", VAL_SYMBOLS / (3 * SIDE * SIDE), SNRS_DB),
    *(Case("kodak", cbr, SNRS_DB if cbr == KODAK_CBR else SWEEP_SNRS_DB) for cbr in KODAK_CBRS),
)


def read_pictures(data: Path, count: int | None) -> dict[str, list[Picture]]:
    """`kodak` and `val` from a data folder laid out as `shared/data`; uint8 [H, W, 3] each.

    count: how many of each, spread over the set; None: all.
    Raises NotFoundError where there are none.
    """
    files = sorted((data / "images" / "kodak").glob("*.png"))
    if not files:
        raise NotFoundError(
            f"No PNG in {data / 'images' / 'kodak'}: give --data a folder that has."
        )
    kodak = [cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB) for file in files]
    val = []
    folder = data / "video" / "val"
    for clip in sorted(folder.glob("*.mp4")):
        frames = [
            frame.rgb for frame in read_clip(str(clip), fps=CLIP_FPS, width=SIDE, height=SIDE)
        ]
        val += _spread(frames, FRAMES_PER_CLIP)
    if not val:
        raise NotFoundError(f"No MP4 in {folder}: give --data a folder that has.")
    return {"kodak": _spread(kodak, count), "val": _spread(val, count)}


def _spread(pictures: list[Picture], count: int | None) -> list[Picture]:
    if count is None or count >= len(pictures):
        return pictures
    return [pictures[k] for k in np.linspace(0, len(pictures) - 1, count).round().astype(int)]


@dataclass(frozen=True)
class Quality:
    """Of one picture, or the mean over several. LPIPS is `lpips_squeeze_caffe`: less is better."""

    psnr_db: float
    ssim: float
    lpips: float

    def row(self) -> dict[str, float]:
        """As a row of the results has it."""
        return {
            "psnr_db": round(self.psnr_db, 3),
            "ssim": round(self.ssim, 4),
            "lpips_squeeze_caffe": round(self.lpips, 4),
        }


def mean_quality(of_pictures: Iterable[Quality]) -> Quality:
    """Each score's mean."""
    table = np.array([(q.psnr_db, q.ssim, q.lpips) for q in of_pictures])
    return Quality(*table.mean(0).tolist())


class Judge:
    """Scores a received picture against its source."""

    def __init__(self) -> None:
        self._lpips = LpipsScorer.squeezenet_caffe(MetricWeights.from_environment())

    def quality(self, source: Picture, shown: Picture) -> Quality:
        """Both uint8 [H, W, 3]."""
        return Quality(
            psnr_db(source, shown), ssim(source, shown), self._lpips.score([source], [shown])[0]
        )
