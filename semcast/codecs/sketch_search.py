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
from semcast.codecs.sketch_model import fullness_of, pixel_bits

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

_ROUNDS = 9
_EXTRA_ROUNDS = 6

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
    """The map, or the best of it that costs at most `budget_bits` (its pixels and nothing else).

    reference: as the decoder will see it. None where not even the cheapest map fits.
    """
    whole = _coded(bitmap, reference)
    if whole.bits <= budget_bits:
        return bitmap
    best = _Pieces(bitmap, reference).within(budget_bits)
    return None if best is None else best.bitmap


def spoilt(bitmap: Bitmap, sent: Bitmap) -> int:
    """Pixels of either map from which the other has none within one pixel."""
    ones = np.ones((3, 3), np.uint8)
    missing = bitmap & ~cv2.dilate(sent, ones) & 1
    false = sent & ~cv2.dilate(bitmap, ones) & 1
    return int(missing.sum()) + int(false.sum())


def _coded(bitmap: Bitmap, reference: Bitmap | None) -> Choice:
    return Choice(bitmap, float(pixel_bits(bitmap, reference, fullness_of(bitmap)).sum()))


class _Pieces:
    """The pieces of a map, and what each choice costs and spoils."""

    def __init__(self, bitmap: Bitmap, reference: Bitmap | None) -> None:
        self._bitmap, self._reference = bitmap, reference
        kept = np.zeros_like(bitmap) if reference is None else reference
        self._sources = np.stack([np.zeros_like(bitmap), kept, bitmap])
        self._piece, weight = _cut_up(bitmap, kept)
        count = len(weight)
        fullness = fullness_of(bitmap)
        flat = self._piece.ravel()

        def summed(values: NDArray[np.generic]) -> NDArray[np.float64]:
            return np.bincount(flat, values.ravel().astype(float), count)[1:]

        self._bits = np.stack(
            [summed(pixel_bits(source, reference, fullness)) for source in self._sources]
        )
        ones = np.ones((3, 3), np.uint8)
        near_new, near_kept = cv2.dilate(bitmap, ones), cv2.dilate(kept, ones)
        missing = summed(bitmap & ~near_kept & 1) + summed(kept & ~near_new & 1)
        beside = summed(bitmap & ~kept & near_kept & 1)
        weight = weight[1:]
        self._spoilt = np.stack(
            [
                weight * summed(bitmap),
                weight * (missing + _OFF_BY_ONE * beside),
                np.zeros(count - 1),
            ]
        )
        if reference is None:
            self._spoilt[KEPT] = np.inf

    def within(self, budget_bits: float) -> Choice | None:
        """The best map that fits, or None."""
        best: Choice | None = None
        best_choices = None
        low, high = 0.0, 8.0
        price = 0.3
        for _ in range(_ROUNDS):
            choices = np.argmin(self._spoilt + price * np.maximum(self._bits, 0), axis=0)
            found = self._made(choices)
            if found.bits <= budget_bits:
                high = price
                if best is None or self._loss(choices) < self._loss(best_choices):
                    best, best_choices = found, choices
            else:
                low = price
            price = (low + high) / 2 if high < 8 else 2 * price
            price = min(price, 8.0)
        if best is None:
            for choices in (np.full(len(self._bits[0]), KEPT), np.zeros(len(self._bits[0]), int)):
                found = self._made(choices)
                if found.bits <= budget_bits and (
                    best is None or self._loss(choices) < self._loss(best_choices)
                ):
                    best, best_choices = found, choices
        if best is None:
            return None
        return self._fill(best, best_choices, budget_bits)

    def _fill(self, best: Choice, choices: NDArray[np.intp], budget_bits: float) -> Choice:
        """Spends what is left on pieces that mend most per bit."""
        index = np.arange(len(choices))
        tried = choices == NEW
        for _ in range(_EXTRA_ROUNDS):
            gain = self._spoilt[choices, index] - self._spoilt[NEW]
            cost = self._bits[NEW] - self._bits[choices, index]
            worth = np.where(
                tried | (cost > budget_bits - best.bits), 0, gain / np.maximum(cost, 0.5)
            )
            if not len(worth) or worth.max() <= 0:
                break
            k = int(worth.argmax())
            tried[k] = True
            more = choices.copy()
            more[k] = NEW
            found = self._made(more)
            if found.bits <= budget_bits:
                best, choices = found, more
        return best

    def _loss(self, choices: NDArray[np.intp] | None) -> float:
        if choices is None:
            return float("inf")
        return float(self._spoilt[choices, np.arange(len(choices))].sum())

    def _made(self, choices: NDArray[np.intp]) -> Choice:
        """The map of these choices, coded."""
        source = np.concatenate([[NOTHING if self._reference is None else KEPT], choices])
        bitmap = np.take_along_axis(self._sources, source[self._piece][None], 0)[0]
        if self._reference is None:
            bitmap = without_specks(bitmap, 3)
        return _coded(bitmap, self._reference)


def _cut_up(bitmap: Bitmap, kept: Bitmap) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Number of each pixel's piece, [h, w] with 0 far from any line, and weight of each piece."""
    both = bitmap | kept
    near = cv2.dilate(both, np.ones((2 * _NEAR + 1, 2 * _NEAR + 1), np.uint8))
    # Pixels belong to the nearest stroke of the map; what only the reference has, to itself.
    far_kept = kept & ~cv2.dilate(bitmap, np.ones((5, 5), np.uint8)) & 1
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
