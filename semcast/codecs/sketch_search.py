"""Which sketch does the encoder send: all of it, or, where bits are short, which strokes of it?

A map is cut into pieces: strokes, and the parts of long strokes in squares of `_SQUARE` pixels;
each comes with the pixels near it. Of every piece the encoder may send what is there now, leave
what the (moved) reference has there, which costs least where little has changed, or send nothing.
What each choice costs is measured on whole maps; what it spoils is counted in pixels of lines that
are missing or false by more than a pixel, the strokes that are long counting most. The choices
are those of least spoilt + lambda * bits; lambda is found by coding, and what is left over goes to
the pieces that mend most per bit.

Nothing here is part of the format.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from semcast.codecs.sketch_bitmap import without_specks
from semcast.codecs.sketch_model import (
    MapClass,
    class_of,
    fullness_of,
    pixel_bits,
    sums_without_class,
)

MAX_MOTION = 7

Bitmap = NDArray[np.uint8]

_SQUARE = 24
_NEAR = 2
"""Pixels to which a stroke's piece reaches."""

_FULL_LENGTH = 20
_LEAST_WEIGHT = 0.35
"""A stroke of this many pixels counts fully; a speck counts this much."""

_OFF_BY_ONE = 0.12
"""What a pixel spoils that lies beside its place."""

_STILLNESS = 2
"""Class of the maps on which pieces are priced: much is kept."""

_ROUNDS = 7
_EXTRA_ROUNDS = 4
_PARTS = 2
_LEAST_PART_BITS = 12
_MOST_PER_BIT = 8.0
_SPECK = 3

NOTHING, KEPT, NEW = 0, 1, 2


@dataclass(frozen=True)
class Choice:
    """A map that may be sent, and its cost in bits."""

    bitmap: Bitmap
    bits: float


def shifted(bitmap: Bitmap, down: int, right: int) -> Bitmap:
    """The map moved by whole pixels; what comes in is empty."""
    height, width = bitmap.shape
    moved = np.zeros_like(bitmap)
    rows, columns = (
        slice(max(0, down), height + min(0, down)),
        slice(max(0, right), width + min(0, right)),
    )
    from_rows = slice(max(0, -down), height + min(0, -down))
    from_columns = slice(max(0, -right), width + min(0, -right))
    moved[rows, columns] = bitmap[from_rows, from_columns]
    return moved


def best_motion(bitmap: Bitmap, reference: Bitmap) -> tuple[int, int]:
    """(down, right) by which the reference comes to lie on most of the map's lines."""
    rows, columns = np.nonzero(reference)
    near = cv2.dilate(bitmap, np.ones((3, 3), np.uint8))
    down, right = _best_motion(rows, columns, bitmap + near)
    return int(down), int(right)


@numba.njit(cache=True)
def _best_motion(rows, columns, score):  # type: ignore[no-untyped-def]
    height, width = score.shape
    best, best_down, best_right = -1.0, 0, 0
    for down in range(-MAX_MOTION, MAX_MOTION + 1):
        for right in range(-MAX_MOTION, MAX_MOTION + 1):
            total = -0.5 * (abs(down) + abs(right))
            for k in range(len(rows)):
                y, x = rows[k] + down, columns[k] + right
                if 0 <= y < height and 0 <= x < width:
                    total += score[y, x]
            if total > best:
                best, best_down, best_right = total, down, right
    return best_down, best_right


def fit_to_budget(bitmap: Bitmap, reference: Bitmap | None, budget_bits: float) -> Bitmap | None:
    """The best of a map that costs at most `budget_bits` (its pixels and nothing else).

    reference: as the decoder will see it. None where not even the cheapest map fits.
    """
    best = _Pieces(bitmap, reference).within(budget_bits)
    return None if best is None else best.bitmap


def spoilt(bitmap: Bitmap, sent: Bitmap) -> int:
    """Pixels of either map from which the other has none within one pixel."""
    return int((_beyond(bitmap, sent) + _beyond(sent, bitmap)).sum())


def _beyond(bitmap: Bitmap, other: Bitmap) -> Bitmap:
    """Pixels set that are more than one pixel from any of the other's."""
    near = np.asarray(cv2.dilate(other, np.ones((3, 3), np.uint8)), np.uint8)
    return bitmap & (1 - near)


class _Pieces:
    """The pieces of a map, and what each choice costs and spoils."""

    def __init__(self, bitmap: Bitmap, reference: Bitmap | None) -> None:
        self._bitmap, self._reference = bitmap, reference
        height, width = bitmap.shape
        self._known = sums_without_class((height, width), reference)
        kept = np.zeros_like(bitmap) if reference is None else reference
        self._sources = np.stack([np.zeros_like(bitmap), kept, bitmap])
        self._piece, weight = _cut_up(bitmap, kept)
        count = len(weight)
        kind = MapClass(fullness_of(bitmap), 0 if reference is None else _STILLNESS)
        flat = self._piece.ravel()

        def summed(values: NDArray[np.generic]) -> NDArray[np.float64]:
            return np.bincount(flat, values.ravel().astype(np.float64), count)[1:].astype(
                np.float64
            )

        self._bits = np.stack(
            [summed(pixel_bits(source, reference, kind, self._known)) for source in self._sources]
        )
        missing = summed(_beyond(bitmap, kept))
        beside = summed(bitmap & (1 - kept)) - missing
        false = summed(_beyond(kept, bitmap))
        weight = weight[1:]
        self._spoilt = np.stack(
            [
                weight * summed(bitmap),
                weight * (missing + false + _OFF_BY_ONE * beside),
                np.zeros(count - 1),
            ]
        )
        if reference is None:
            self._spoilt[KEPT] = np.inf

    def within(self, budget_bits: float) -> Choice | None:
        """The best map that fits, or None."""
        kept = np.full(self._bits.shape[1], NOTHING if self._reference is None else KEPT)
        best: tuple[Choice, NDArray[np.intp]] | None = None
        for choices in (kept, np.full_like(kept, NOTHING)):
            best = self._better(best, choices, budget_bits)
        low, high = 0.0, _MOST_PER_BIT
        for _ in range(_ROUNDS):
            price = (low * high) ** 0.5 if low else high / 8
            choices = np.argmin(self._spoilt + price * np.maximum(self._bits, 0), axis=0)
            found = self._better(best, choices, budget_bits)
            if self._fits:
                high = price
            else:
                low = price
            best = found
        if best is None:
            return None
        return self._part_of_one_more(*self._more(*best, budget_bits), budget_bits)

    def _better(
        self,
        best: tuple[Choice, NDArray[np.intp]] | None,
        choices: NDArray[np.intp],
        budget_bits: float,
    ) -> tuple[Choice, NDArray[np.intp]] | None:
        """The better of two, where the new one fits."""
        found = self._coded(self._map_of(choices))
        self._fits = found.bits <= budget_bits
        if self._fits and (best is None or self._loss(choices) < self._loss(best[1])):
            return found, choices
        return best

    def _more(
        self, best: Choice, choices: NDArray[np.intp], budget_bits: float
    ) -> tuple[Choice, NDArray[np.intp]]:
        """Spends what is left on whole pieces that mend most per bit."""
        tried = choices == NEW
        for _ in range(_EXTRA_ROUNDS):
            worth, cost = self._worth(choices)
            worth[tried | (cost > budget_bits - best.bits)] = 0
            if not worth.any():
                break
            k = int(worth.argmax())
            tried[k] = True
            more = choices.copy()
            more[k] = NEW
            found = self._coded(self._map_of(more))
            if found.bits <= budget_bits:
                best, choices = found, more
        return best, choices

    def _part_of_one_more(
        self, best: Choice, choices: NDArray[np.intp], budget_bits: float
    ) -> Choice:
        """And on the upper part of one that is too long."""
        worth, cost = self._worth(choices)
        worth[cost <= 0] = 0
        base = best.bitmap
        for k in np.argsort(-worth)[:_PARTS]:
            if worth[k] <= 0 or budget_bits - best.bits < _LEAST_PART_BITS:
                break
            rows, _ = np.nonzero((self._piece == k + 1) & (self._bitmap > 0))
            share = min(0.9, (budget_bits - best.bits) / cost[k])
            for take in (share, 0.6 * share):
                last = rows[int(take * (len(rows) - 1))] if len(rows) else 0
                upper = (self._piece == k + 1) & (np.arange(len(base)) <= last)[:, None]
                found = self._coded(np.where(upper, self._bitmap, base))
                if found.bits <= budget_bits:
                    best, base = found, found.bitmap
                    break
        return best

    def _worth(self, choices: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What each piece, if it were new, would mend per bit, and its bits."""
        index = np.arange(len(choices))
        mended = self._spoilt[choices, index] - self._spoilt[NEW]
        cost = self._bits[NEW] - self._bits[choices, index]
        return np.where(choices == NEW, 0, mended / np.maximum(cost, 0.5)), cost

    def _coded(self, bitmap: Bitmap) -> Choice:
        kind = class_of(bitmap, self._reference)
        bits = pixel_bits(bitmap, self._reference, kind, self._known)
        return Choice(bitmap, float(bits.sum()))

    def _loss(self, choices: NDArray[np.intp]) -> float:
        return float(self._spoilt[choices, np.arange(len(choices))].sum())

    def _map_of(self, choices: NDArray[np.intp]) -> Bitmap:
        """What these choices look like together."""
        far_from_lines = NOTHING if self._reference is None else KEPT
        source = np.concatenate([[far_from_lines], choices])
        bitmap = np.take_along_axis(self._sources, source[self._piece][None], 0)[0]
        return without_specks(bitmap, _SPECK) if self._reference is None else bitmap


def _cut_up(bitmap: Bitmap, kept: Bitmap) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Number of each pixel's piece, [h, w] with 0 far from any line, and weight of each piece."""
    both = bitmap | kept
    near = cv2.dilate(both, np.ones((2 * _NEAR + 1, 2 * _NEAR + 1), np.uint8))
    # Pixels belong to the nearest stroke of the map; what only the reference has, to itself.
    far_kept = kept & (1 - np.asarray(cv2.dilate(bitmap, np.ones((5, 5), np.uint8)), np.uint8))
    seeds = bitmap | far_kept
    if not seeds.any():
        seeds = both
    _, stroke, stats, _ = cv2.connectedComponentsWithStats(seeds, connectivity=8)
    _, nearest = cv2.distanceTransformWithLabels(
        1 - seeds, cv2.DIST_L1, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    stroke_of_label = np.zeros(int(nearest.max()) + 1, dtype=np.intp)
    rows, columns = np.nonzero(seeds)
    stroke_of_label[nearest[rows, columns]] = stroke[rows, columns]
    owner = np.where(near > 0, stroke_of_label[nearest], 0)
    height, width = bitmap.shape
    square = (np.arange(height) // _SQUARE)[:, None] * 32 + (np.arange(width) // _SQUARE)[None]
    key = np.where(owner > 0, owner * 1024 + square, 0)
    numbers, piece = np.unique(key, return_inverse=True)
    if numbers[0] != 0:  # every pixel is near a line
        numbers, piece = np.concatenate([[0], numbers]), piece + 1
    length = stats[numbers // 1024, cv2.CC_STAT_AREA]
    weight = np.clip(length / _FULL_LENGTH, _LEAST_WEIGHT, 1.0)
    return piece.reshape(bitmap.shape), weight
