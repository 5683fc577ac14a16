"""The ways to send one object: moved, as new polygons, as an octagon, or with a splice.

Each is an `Offer` with its estimated bits and the pixels it would leave wrong; `contours_plan` buys
among them. Encoder only.
"""

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from semcast.codecs.contours_motion import number_bits, search_motion
from semcast.codecs.contours_polygon import (
    SUBPIXELS,
    painted_score,
    prefix_sums,
)
from semcast.codecs.contours_repair import splices
from semcast.codecs.contours_shape import fit_rings, traced_rings
from semcast.codecs.contours_syntax import (
    LEVEL_STEPS,
    MAX_MOTION,
    MAX_SHAPE_CHANGE,
    MOVED,
    STILL,
    TURNED,
    Blob,
    ContourObject,
    Edit,
    Geometry,
    Mode,
    Polygons,
    move,
    nearest_grid_point,
    octagon,
    predicted_motion,
    spliced,
)

HEADER_BITS = 9.0
"""Rough bits of an edit besides its rings."""
_MOTION_BITS = 6.0
"""Bits of a motion under which none is looked for."""

Box: TypeAlias = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels, half-open."""


@dataclass(frozen=True)
class EncoderChoices:
    """Numbers the encoder weighs by; the decoder knows none of them. In pixels and bits."""

    tolerance_px: float
    """Douglas-Peucker's xi on the finest level; it grows with the level's grid."""
    min_gain: float
    """Least gain per bit: wrong pixels repaired over the root of the object's area."""
    min_area_px: float
    """Components, holes and objects under this area are not sent."""
    lagrangian: float = 0.1
    """Wrong pixels a bit must save within a polygon, in squared tolerances."""


@dataclass
class Window:
    """Cut-out of the frame around one object, and its weights."""

    x: int
    y: int
    mask: NDArray[np.bool_]
    hidden: NDArray[np.bool_]
    weights: NDArray[np.int8]
    """1 in the object, -1 outside, 0 hidden."""
    sums: NDArray[np.int32]
    area_px: int
    """Pixels of the object that nothing in front hides."""
    _borders: list[NDArray[np.int32]] | None = None

    def borders(self, min_area_px: float) -> list[NDArray[np.int32]]:
        """Traced borders of the mask, grown under what hides it where that makes it simpler."""
        if self._borders is None:
            mask = self.mask
            if self.hidden.any() and mask.any():
                points = cv2.findNonZero(mask.view(np.uint8))
                hull = np.zeros(mask.shape, dtype=np.uint8)
                cv2.fillConvexPoly(hull, cv2.convexHull(points), 1)
                mask = mask | (self.hidden & (hull > 0))
            self._borders = traced_rings(mask, min_area_px)
        return self._borders

    @property
    def root(self) -> float:
        """What wrong pixels are divided by."""
        return float(np.sqrt(max(self.area_px, 1)))

    def wrong_px(self, held: ContourObject) -> int:
        points = held.points - np.array([self.x, self.y], dtype=np.int32) * SUBPIXELS
        return self.area_px - painted_score(points, held.offsets, self.weights)


@dataclass(frozen=True, eq=False)
class Offer:
    """One way to send an object."""

    id: int
    bits: float
    """Estimated; only differences within a frame matter."""
    wrong_px: float
    mode: Mode | None
    """None for a birth."""
    made: ContourObject
    """What the receiver then holds."""
    edits: tuple[Edit, ...] = ()


def cut_window(
    labels: NDArray[np.uint8],
    hidden: NDArray[np.bool_],
    box: Box,
    object_id: int,
) -> Window:
    x0, y0, x1, y1 = box
    mask = labels[y0:y1, x0:x1] == object_id
    weights = np.where(hidden, 0, 2 * mask.astype(np.int8) - 1).astype(np.int8)
    area_px = int((mask & ~hidden).sum())
    return Window(x0, y0, mask, hidden, weights, prefix_sums(weights), area_px)


def around(box: Box, held: ContourObject | None, geometry: Geometry) -> Box:
    x0, y0, x1, y1 = box
    if held is not None and len(held.points):
        low = held.points.min(axis=0) // SUBPIXELS
        high = held.points.max(axis=0) // SUBPIXELS + 1
        x0, y0 = min(x0, int(low[0])), min(y0, int(low[1]))
        x1, y1 = max(x1, int(high[0])), max(y1, int(high[1]))
    margin = 8 + max(x1 - x0, y1 - y0) // 8
    width, height = geometry.width, geometry.height
    return (
        min(max(x0 - margin, 0), width),
        min(max(y0 - margin, 0), height),
        max(min(x1 + margin, width), 0),
        max(min(y1 + margin, height), 0),
    )


def motion_offers(
    held: ContourObject,
    window: Window,
    flow: tuple[int, int] | None,
    geometry: Geometry,
    min_gain: float,
) -> list[Offer]:
    """The object held still, moved, and moved and turned, each where it fits best."""
    lagrangian = min_gain * window.root
    origin = (window.x * SUBPIXELS, window.y * SUBPIXELS)
    limits = (geometry.width * SUBPIXELS, geometry.height * SUBPIXELS)
    rows, columns = np.nonzero(window.mask)
    middle_px = (held.points.min(axis=0) + held.points.max(axis=0)) / 2 / SUBPIXELS
    mask_middle_px = (
        (columns.min() + columns.max() + 1) / 2 + window.x,
        (rows.min() + rows.max() + 1) / 2 + window.y,
    )
    there = np.rint((np.array(mask_middle_px) - middle_px) * SUBPIXELS / geometry.motion_step)
    _, predicted = predicted_motion(held, flow)
    starts = np.array([(0, 0), predicted, flow or (0, 0), there], dtype=np.int64)
    starts = np.clip(starts, -MAX_MOTION // 2, MAX_MOTION // 2)
    offers = [Offer(held.id, 0.0, window.wrong_px(held), Mode(STILL), held)]
    if offers[0].wrong_px <= lagrangian * _MOTION_BITS:
        return offers
    for kind, change in ((MOVED, 0), (TURNED, MAX_SHAPE_CHANGE)):
        found = search_motion(
            held.points,
            held.offsets,
            window.sums,
            origin,
            limits,
            geometry.motion_step,
            starts,
            predicted,
            lagrangian,
            MAX_MOTION // 2,
            change,
        )
        mode = Mode(kind, (int(found[0]), int(found[1])), int(found[2]), int(found[3]))
        numbers = [mode.motion[0] - predicted[0], mode.motion[1] - predicted[1]]
        if kind == TURNED:
            numbers += [mode.scale, mode.turn]
        bits = 1.0 + sum(number_bits(value) for value in numbers)
        moved = move(held, mode, geometry)
        offers.append(Offer(held.id, bits, window.wrong_px(moved), mode, moved))
        starts = found[None, :2].copy()
    return offers


def polygon_offers(
    object_id: int,
    held: ContourObject | None,
    window: Window,
    geometry: Geometry,
    choices: EncoderChoices,
    budget_bits: float,
) -> list[Offer]:
    """New polygons for one object, from the coarsest level to what the budget may pay."""
    offers = []
    borders = window.borders(choices.min_area_px)
    mode = None if held is None else Mode(STILL)
    for level in reversed(range(len(LEVEL_STEPS))):
        step = geometry.grid_step(level)
        tolerance = choices.tolerance_px * LEVEL_STEPS[level] / LEVEL_STEPS[0]
        if level > 0 and tolerance > window.root / 4:
            continue
        start = nearest_grid_point(held, geometry, step) if held is not None else None
        rings, bits = fit_rings(
            borders,
            (window.x, window.y),
            window.hidden,
            step,
            tolerance,
            choices.lagrangian * tolerance**2,
            geometry.max_length,
            geometry.grid_size(step),
            start,
        )
        if not rings:
            continue
        bits += HEADER_BITS + (6.0 if held is None else 0.0)
        if bits > 1.5 * budget_bits + 20:
            break
        points = (np.concatenate(rings) * step).astype(np.int32)
        offsets = np.cumsum([0] + [len(ring) for ring in rings]).astype(np.int32)
        made = ContourObject(object_id, points, offsets, level, held.motion if held else (0, 0))
        edit = Polygons(object_id, level, rings)
        offers.append(Offer(object_id, bits, window.wrong_px(made), mode, made, (edit,)))
    return offers


def octagon_offer(
    object_id: int, held: ContourObject | None, window: Window, geometry: Geometry
) -> Offer | None:
    """The octagon that fits an object best, on a grid in keeping with its size."""
    rows, columns = np.nonzero(window.mask & ~window.hidden)
    if len(rows) == 0:
        return None
    # The middle nine tenths: arms and tails stay outside.
    x0, x1 = (np.quantile(columns, (0.05, 0.95)) + window.x + (0, 1)).astype(int).tolist()
    y0, y1 = (np.quantile(rows, (0.05, 0.95)) + window.y + (0, 1)).astype(int).tolist()
    extent = max(x1 - x0, y1 - y0) * SUBPIXELS
    levels = [k for k in range(len(LEVEL_STEPS)) if geometry.grid_step(k) * 12 >= extent]
    level = levels[0] if levels else len(LEVEL_STEPS) - 1
    step = geometry.grid_step(level)
    limits = geometry.grid_size(step)
    start_bits = float(np.log2(limits[0] * limits[1])) if held is None else 6.0
    mode = None if held is None else Mode(STILL)
    motion = (0, 0) if held is None else held.motion
    box = [(edge * SUBPIXELS + step // 2) // step for edge in (x0, y0, x1, y1)]

    def trial(box: list[int]) -> Offer | None:
        corner, size = (box[0], box[1]), (box[2] - box[0], box[3] - box[1])
        if min(size) < 1 or max(size) > geometry.max_length or min(corner) < 0:
            return None
        if corner[0] >= limits[0] or corner[1] >= limits[1]:
            return None
        points = octagon(corner, size, step).astype(np.int32)
        made = ContourObject(object_id, points, np.array([0, 8], dtype=np.int32), level, motion)
        bits = 12.0 + start_bits
        edits = (Blob(object_id, level, corner, size),)
        return Offer(object_id, bits, window.wrong_px(made), mode, made, edits)

    best = trial(box)
    for _ in range(4):
        before = best
        for side in range(4):
            for change in (-1, 1):
                changed = list(box)
                changed[side] += change
                offer = trial(changed)
                if offer is not None and (best is None or offer.wrong_px < best.wrong_px):
                    best, box = offer, changed
        if best is before:
            break
    return best


def splice_offers(
    base: Offer, window: Window, geometry: Geometry, choices: EncoderChoices
) -> list[Offer]:
    """`base` and one splice more."""
    borders = window.borders(choices.min_area_px)
    if not borders or not len(base.made.points):
        return []
    offers = []
    ratio = [step / LEVEL_STEPS[0] for step in LEVEL_STEPS]
    for level in range(len(LEVEL_STEPS)):
        tolerance = choices.tolerance_px * ratio[level]
        if level + 1 < len(LEVEL_STEPS) and tolerance * 20 < window.root:
            continue
        for splice, bits in splices(
            base.made,
            borders[0],
            (window.x, window.y),
            window.hidden,
            window.sums,
            geometry,
            level,
            tolerance,
            choices.lagrangian * tolerance**2,
        ):
            made = spliced(
                base.made,
                geometry,
                splice.ring,
                splice.first,
                splice.span,
                splice.path.astype(np.int64) * geometry.grid_step(level),
            )
            wrong_px = window.wrong_px(made)
            if wrong_px < base.wrong_px:
                edits = (*base.edits, splice)
                offers.append(Offer(base.id, base.bits + bits, wrong_px, base.mode, made, edits))
    return offers
