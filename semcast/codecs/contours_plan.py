"""What to say of a frame's contours within a budget of bits (the encoder's choice).

Every object of the reference is moved to where it fits best (or left, or said to be gone). Then new
polygons are bought where they repair most per bit: births, and refreshes of objects that have
changed shape or are still coarse, on any level of detail. Wrong pixels count relative to the root
of the object's area, so small objects matter. What repairs less than `min_gain` per bit is left
alone, which is the hysteresis that keeps a still scene silent.
"""

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from semcast.codecs.contours_motion import number_bits, search_motion
from semcast.codecs.contours_polygon import (
    SUBPIXELS,
    label_boxes,
    paint,
    painted_score,
    prefix_sums,
)
from semcast.codecs.contours_repair import splices
from semcast.codecs.contours_shape import fit_rings, traced_rings
from semcast.codecs.contours_symbols import SymbolCounter
from semcast.codecs.contours_syntax import (
    GONE,
    LEVEL_STEPS,
    MAX_MOTION,
    MAX_OBJECTS,
    MAX_SHAPE_CHANGE,
    MOVED,
    STILL,
    TURNED,
    Blob,
    ContourObject,
    Edit,
    FramePlan,
    Geometry,
    Mode,
    Polygons,
    code_frame,
    move,
    nearest_grid_point,
    octagon,
    predicted_motion,
    spliced,
)

_HEADER_BITS = 9.0
"""Rough bits of an edit besides its rings."""
_MOTION_BITS = 6.0
"""Bits of a motion under which none is looked for."""
_MAX_TRIES = 4
"""Plans with exact prices before the last is taken."""
_SPLICE_ROUNDS = 2
_LEAST_SPLICE_BITS = 18.0
_MAX_REPAIRED = 2
"""Objects a round that splices are looked for."""
_MAX_FITTED = 4
"""Objects per frame whose polygons are fitted anew; the worst come first."""


_Box: TypeAlias = tuple[int, int, int, int]
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
class _Window:
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
class _Offer:
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


def paint_objects(objects: tuple[ContourObject, ...], width: int, height: int) -> NDArray[np.uint8]:
    """The label map uint8 [height, width]: larger objects are painted first, smaller in front."""
    labels = np.zeros((height, width), dtype=np.uint8)
    for held in painting_order(objects):
        paint(labels, held.points, held.offsets, held.id)
    return labels


def painting_order(objects: tuple[ContourObject, ...]) -> list[ContourObject]:
    """Back to front: from the largest area to the smallest, then by id."""
    return sorted(objects, key=lambda held: (-_twice_area(held), held.id))


def _twice_area(held: ContourObject) -> int:
    x, y = held.points[:, 0].astype(np.int64), held.points[:, 1].astype(np.int64)
    following = np.arange(1, len(x) + 1)
    following[held.offsets[1:] - 1] = held.offsets[:-1]
    return int((x * y[following] - x[following] * y).sum())


def _window(
    labels: NDArray[np.uint8],
    hidden: NDArray[np.bool_],
    box: _Box,
    object_id: int,
) -> _Window:
    x0, y0, x1, y1 = box
    mask = labels[y0:y1, x0:x1] == object_id
    weights = np.where(hidden, 0, 2 * mask.astype(np.int8) - 1).astype(np.int8)
    area_px = int((mask & ~hidden).sum())
    return _Window(x0, y0, mask, hidden, weights, prefix_sums(weights), area_px)


def _around(box: _Box, held: ContourObject | None, geometry: Geometry) -> _Box:
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


def _motions(
    held: ContourObject,
    window: _Window,
    flow: tuple[int, int] | None,
    geometry: Geometry,
    min_gain: float,
) -> list[_Offer]:
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
    offers = [_Offer(held.id, 0.0, window.wrong_px(held), Mode(STILL), held)]
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
        offers.append(_Offer(held.id, bits, window.wrong_px(moved), mode, moved))
        starts = found[None, :2].copy()
    return offers


def _polygons(
    object_id: int,
    held: ContourObject | None,
    window: _Window,
    geometry: Geometry,
    choices: EncoderChoices,
    budget_bits: float,
) -> list[_Offer]:
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
        bits += _HEADER_BITS + (6.0 if held is None else 0.0)
        if bits > 1.5 * budget_bits + 20:
            break
        points = (np.concatenate(rings) * step).astype(np.int32)
        offsets = np.cumsum([0] + [len(ring) for ring in rings]).astype(np.int32)
        made = ContourObject(object_id, points, offsets, level, held.motion if held else (0, 0))
        edit = Polygons(object_id, level, rings)
        offers.append(_Offer(object_id, bits, window.wrong_px(made), mode, made, (edit,)))
    return offers


def _blob(
    object_id: int, held: ContourObject | None, window: _Window, geometry: Geometry
) -> _Offer | None:
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

    def trial(box: list[int]) -> _Offer | None:
        corner, size = (box[0], box[1]), (box[2] - box[0], box[3] - box[1])
        if min(size) < 1 or max(size) > geometry.max_length or min(corner) < 0:
            return None
        if corner[0] >= limits[0] or corner[1] >= limits[1]:
            return None
        points = octagon(corner, size, step).astype(np.int32)
        made = ContourObject(object_id, points, np.array([0, 8], dtype=np.int32), level, motion)
        bits = 12.0 + start_bits
        edits = (Blob(object_id, level, corner, size),)
        return _Offer(object_id, bits, window.wrong_px(made), mode, made, edits)

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


def _repairs(
    base: _Offer, window: _Window, geometry: Geometry, choices: EncoderChoices
) -> list[_Offer]:
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
                offers.append(_Offer(base.id, base.bits + bits, wrong_px, base.mode, made, edits))
    return offers


def _cost_bits(geometry: Geometry, reference: tuple[ContourObject, ...], plan: FramePlan) -> float:
    counter = SymbolCounter()
    code_frame(counter, geometry, reference, plan)
    return counter.num_bits


def plan_frame(
    labels: NDArray[np.uint8],
    reference: tuple[ContourObject, ...],
    budget_bits: float,
    geometry: Geometry,
    choices: EncoderChoices,
) -> tuple[FramePlan, float]:
    """Plan of a frame and its exact information in bits, at most `budget_bits`."""
    found = label_boxes(labels, MAX_OBJECTS + 1)
    area_px = found[:, 4]
    boxes: dict[int, _Box] = {}
    for k in range(1, MAX_OBJECTS + 1):
        if area_px[k]:
            x0, y0, x1, y1, _ = map(int, found[k])
            boxes[k] = (x0, y0, x1, y1)
    windows: dict[int, _Window] = {}
    offers: list[_Offer] = []
    now: dict[int, _Offer] = {}
    front = np.zeros_like(labels)
    gone: list[tuple[float, int]] = []
    flow: tuple[int, int] | None = None
    for held in reversed(painting_order(reference)):
        if held.id not in boxes:
            gone.append((float(abs(_twice_area(held))), held.id))
            continue
        x0, y0, x1, y1 = box = _around(boxes[held.id], held, geometry)
        window = _window(labels, front[y0:y1, x0:x1] != 0, box, held.id)
        windows[held.id] = window
        ways = _motions(held, window, flow, geometry, choices.min_gain)
        now[held.id] = ways[0]
        offers += ways[1:]
        likely = min(ways, key=lambda way: way.wrong_px)
        if likely.mode is not None and likely.mode.kind != STILL:
            flow = likely.mode.motion
        paint(front, likely.made.points, likely.made.offsets, held.id)
    for object_id in boxes:
        if object_id not in now:
            # Smaller objects will be painted in front, be they held or new.
            smaller = area_px < area_px[object_id]
            smaller[0] = False
            x0, y0, x1, y1 = box = _around(boxes[object_id], None, geometry)
            hidden = smaller[labels[y0:y1, x0:x1]]
            windows[object_id] = _window(labels, hidden, box, object_id)
    offers += _fitted(windows, now, offers, budget_bits, geometry, choices)
    held_bits = 1.5 * len(reference)
    bought = _buy(offers, windows, now, budget_bits - held_bits, choices)
    for _ in range(_SPLICE_ROUNDS):
        current = now | {offer.id: offer for offer in bought}
        left_bits = budget_bits - held_bits - sum(offer.bits for offer in current.values())
        if left_bits < _LEAST_SPLICE_BITS:
            break
        worst = sorted(current, key=lambda k: -current[k].wrong_px / windows[k].root)
        more: list[_Offer] = []
        for object_id in worst[:_MAX_REPAIRED]:
            offer = current[object_id]
            if offer.wrong_px / windows[object_id].root < choices.min_gain * 2 * _HEADER_BITS:
                break
            more += _repairs(offer, windows[object_id], geometry, choices)
        added = _buy(more, windows, current, left_bits, choices)
        offers += more
        if not added:
            break
        bought += added
    deaths = [object_id for _, object_id in sorted(gone, reverse=True)]
    return _settled(reference, offers, bought, deaths, windows, now, budget_bits, geometry, choices)


def _settled(
    reference: tuple[ContourObject, ...],
    offers: list[_Offer],
    bought: list[_Offer],
    deaths: list[int],
    windows: dict[int, _Window],
    now: dict[int, _Offer],
    budget_bits: float,
    geometry: Geometry,
    choices: EncoderChoices,
) -> tuple[FramePlan, float]:
    """A plan that fits at exact prices.

    What was bought at estimated ones is given back from the end, for good, until it fits; what is
    then left is spent once more, a few times over.
    """
    fitting: tuple[FramePlan, float] | None = None
    tries = 0
    while True:
        plan = _frame_plan(reference, deaths, bought)
        bits = _cost_bits(geometry, reference, plan)
        if bits <= budget_bits:
            fitting = plan, bits
            tries += 1
            added = _buy(
                offers,
                windows,
                now | {offer.id: offer for offer in bought},
                budget_bits - bits,
                choices,
            )
            if not added or tries == _MAX_TRIES:
                return fitting
            bought += added
        elif fitting is not None and tries == _MAX_TRIES - 1:
            return fitting
        elif bought:
            offers.remove(bought.pop())
        else:
            deaths.pop()


def _frame_plan(
    reference: tuple[ContourObject, ...], deaths: list[int], bought: list[_Offer]
) -> FramePlan:
    modes = {held.id: Mode(STILL) for held in reference}
    modes.update({object_id: Mode(GONE) for object_id in deaths})
    final = {offer.id: offer for offer in bought}
    modes.update({k: offer.mode for k, offer in final.items() if offer.mode is not None})
    return FramePlan(modes, tuple(edit for offer in final.values() for edit in offer.edits))


def _fitted(
    windows: dict[int, _Window],
    now: dict[int, _Offer],
    motions: list[_Offer],
    budget_bits: float,
    geometry: Geometry,
    choices: EncoderChoices,
) -> list[_Offer]:
    """New polygons for the objects that fit worst, motion considered."""
    wrong = {k: float(now[k].wrong_px if k in now else w.area_px) for k, w in windows.items()}
    for way in motions:
        wrong[way.id] = min(wrong[way.id], way.wrong_px)
    offers: list[_Offer] = []
    worst = sorted(windows, key=lambda k: -wrong[k] / windows[k].root)
    for rank, object_id in enumerate(worst[:_MAX_FITTED]):
        window = windows[object_id]
        if wrong[object_id] / window.root < choices.min_gain * 2 * _HEADER_BITS:
            break
        if object_id not in now:
            if window.area_px >= choices.min_area_px:
                offers += _polygons(object_id, None, window, geometry, choices, budget_bits)
                blob = _blob(object_id, None, window, geometry)
                offers += [] if blob is None else [blob]
        elif rank < _MAX_REPAIRED:
            held = now[object_id]
            offers += _polygons(object_id, held.made, window, geometry, choices, budget_bits)
            ways = [held, *(way for way in motions if way.id == object_id)]
            base = min(ways, key=lambda way: way.wrong_px)
            offers += _repairs(base, window, geometry, choices)
            if base.wrong_px * 4 > window.area_px:
                blob = _blob(object_id, held.made, window, geometry)
                offers += [] if blob is None else [blob]
    return offers


def _buy(
    offers: list[_Offer],
    windows: dict[int, _Window],
    now: dict[int, _Offer],
    budget_bits: float,
    choices: EncoderChoices,
) -> list[_Offer]:
    """Offers in the order bought, the best repair per bit first; a later one replaces an
    earlier one of the same object."""
    held = dict(now)
    bought: list[_Offer] = []
    spent = 0.0
    while True:
        best, best_rate, best_extra = None, choices.min_gain, 0.0
        for offer in offers:
            before = held.get(offer.id)
            extra = offer.bits - (before.bits if before else 0.0)
            if extra <= 0 or spent + extra > budget_bits + 2:
                continue
            wrong_px = before.wrong_px if before else windows[offer.id].area_px
            rate = (wrong_px - offer.wrong_px) / windows[offer.id].root / extra
            if rate > best_rate:
                best, best_rate, best_extra = offer, rate, extra
        if best is None:
            return bought
        spent += best_extra
        held[best.id] = best
        bought.append(best)
