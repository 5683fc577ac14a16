"""What to say of a frame's contours within a budget of bits (the encoder's choice).

Every object of the reference is moved to where it fits best (or left, or said to be gone). Then new
polygons are bought where they repair most per bit: births, and refreshes of objects that have
changed shape or are still coarse, on any level of detail. Wrong pixels count relative to the root
of the object's area, so small objects matter. What repairs less than `min_gain` per bit is left
alone, which is the hysteresis that keeps a still scene silent.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from semcast.codecs.contours_motion import search_motion
from semcast.codecs.contours_polygon import SUBPIXELS, paint, prefix_sums, shape_score
from semcast.codecs.contours_shape import fit_rings
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
    ContourObject,
    Edit,
    FramePlan,
    Geometry,
    Mode,
    code_frame,
    move,
    nearest_grid_point,
)

_HEADER_BITS = 9.0
"""Rough bits of an edit besides its rings."""
_MAX_FITTED = 6
"""Objects per frame whose polygons are fitted anew; the worst come first."""


@dataclass(frozen=True)
class EncoderChoices:
    """Numbers the encoder weighs by; the decoder knows none of them. In pixels and bits."""

    tolerance_px: float
    """Douglas-Peucker's xi on the finest level; it grows with the level's grid."""
    min_gain: float
    """Least gain per bit: wrong pixels repaired over the root of the object's area."""
    min_area_px: float
    """Components, holes and objects under this area are not sent."""
    lagrangian: float = 0.5
    """Wrong pixels a bit must save within a polygon, in squared tolerances."""


@dataclass
class _Window:
    """Cut-out of the frame around one object, and its weights."""

    x: int
    y: int
    mask: NDArray[np.bool_]
    hidden: NDArray[np.bool_]
    sums: NDArray[np.int32]
    area_px: int
    """Pixels of the object that nothing in front hides."""

    def wrong_px(self, held: ContourObject) -> int:
        points = held.points - np.array([self.x, self.y], dtype=np.int32) * SUBPIXELS
        return self.area_px - shape_score(points, held.offsets, self.sums)


@dataclass
class _Offer:
    id: int
    bits: float
    wrong_px: float
    edit: Edit | None


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
    front: NDArray[np.uint8],
    box: tuple[int, int, int, int],
    object_id: int,
) -> _Window:
    x0, y0, x1, y1 = box
    mask = labels[y0:y1, x0:x1] == object_id
    hidden = front[y0:y1, x0:x1] != 0
    weights = np.where(hidden, 0, 2 * mask.astype(np.int8) - 1).astype(np.int8)
    return _Window(x0, y0, mask, hidden, prefix_sums(weights), int((mask & ~hidden).sum()))


def _boxes(labels: NDArray[np.uint8]) -> dict[int, tuple[int, int, int, int]]:
    """Bounding box (x0, y0, x1, y1) of every label but 0."""
    boxes = {}
    counts = np.bincount(labels.ravel(), minlength=MAX_OBJECTS + 1)
    for object_id in range(1, MAX_OBJECTS + 1):
        if counts[object_id]:
            x, y, w, h = cv2.boundingRect((labels == object_id).view(np.uint8))
            boxes[object_id] = (x, y, x + w, y + h)
    return boxes


def _around(
    box: tuple[int, int, int, int], held: ContourObject | None, geometry: Geometry
) -> tuple[int, int, int, int]:
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


def _find_motion(held: ContourObject, window: _Window, geometry: Geometry, min_gain: float) -> Mode:
    root = float(np.sqrt(max(window.area_px, 1)))
    lagrangian = min_gain * root
    origin = (window.x * SUBPIXELS, window.y * SUBPIXELS)
    limits = (geometry.width * SUBPIXELS, geometry.height * SUBPIXELS)
    rows, columns = np.nonzero(window.mask)
    centre = np.array([columns.mean() + window.x + 0.5, rows.mean() + window.y + 0.5])
    middle = (held.points.min(axis=0) + held.points.max(axis=0)) / 2 / SUBPIXELS
    box_middle = np.array(
        [
            (columns.min() + columns.max() + 1) / 2 + window.x,
            (rows.min() + rows.max() + 1) / 2 + window.y,
        ]
    )
    mean = held.points.mean(axis=0) / SUBPIXELS
    unit_px = geometry.motion_step / SUBPIXELS
    starts = np.array(
        [
            [0, 0],
            held.motion,
            np.rint((box_middle - middle) / unit_px),
            np.rint((centre - mean) / unit_px),
        ],
        dtype=np.int64,
    )
    starts = np.clip(starts, -MAX_MOTION // 2, MAX_MOTION // 2)
    best, best_value = Mode(STILL), -window.wrong_px(held) + lagrangian * 2.0
    for kind, change in ((MOVED, 0), (TURNED, MAX_SHAPE_CHANGE)):
        found = search_motion(
            held.points,
            held.offsets,
            window.sums,
            origin,
            limits,
            geometry.motion_step,
            starts,
            held.motion,
            lagrangian,
            MAX_MOTION // 2,
            change,
        )
        mode = Mode(kind, (int(found[0]), int(found[1])), int(found[2]), int(found[3]))
        bits = sum(
            1 + 2 * np.log2(1 + abs(v))
            for v in (
                mode.motion[0] - held.motion[0],
                mode.motion[1] - held.motion[1],
                *((mode.scale, mode.turn) if kind == TURNED else ()),
            )
        )
        value = -window.wrong_px(move(held, mode, geometry)) - lagrangian * bits
        if value > best_value:
            best, best_value = mode, value
        starts = found[None, :2].copy()
    return best


def _mask_to_code(window: _Window) -> NDArray[np.bool_]:
    """The object's mask, grown under what hides it where that makes it simpler."""
    if not window.hidden.any() or not window.mask.any():
        return window.mask
    points = cv2.findNonZero(window.mask.view(np.uint8))
    hull = np.zeros(window.mask.shape, dtype=np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(points), 1)
    return window.mask | (window.hidden & (hull > 0))


def _offers(
    object_id: int,
    held: ContourObject | None,
    window: _Window,
    geometry: Geometry,
    choices: EncoderChoices,
    budget_bits: float,
) -> list[_Offer]:
    """New polygons for one object, on every level that the budget may pay."""
    offers = []
    mask = _mask_to_code(window)
    for level in reversed(range(len(LEVEL_STEPS))):
        if held is not None and level > held.level + 1:
            continue
        step = geometry.grid_step(level)
        ratio = LEVEL_STEPS[level] / LEVEL_STEPS[0]
        tolerance = choices.tolerance_px * ratio
        start = nearest_grid_point(held, geometry, step) if held is not None else None
        rings, bits = fit_rings(
            mask,
            (window.x, window.y),
            window.hidden,
            step,
            tolerance,
            choices.lagrangian * tolerance**2,
            geometry.max_length,
            geometry.grid_size(step),
            choices.min_area_px,
            start,
        )
        if not rings:
            continue
        bits += _HEADER_BITS + (10.0 if held is None else 0.0)
        if bits > 1.5 * budget_bits + 20:
            break
        edit = Edit(object_id, level, rings)
        points = np.concatenate(rings) * step
        offsets = np.cumsum([0] + [len(ring) for ring in rings]).astype(np.int32)
        trial = ContourObject(object_id, points.astype(np.int32), offsets, level, (0, 0))
        offers.append(_Offer(object_id, bits, window.wrong_px(trial), edit))
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
    boxes = _boxes(labels)
    held_by_id = {held.id: held for held in reference}
    modes: dict[int, Mode] = {}
    windows: dict[int, _Window] = {}
    moved: dict[int, ContourObject] = {}
    worth: dict[int, float] = {}
    front = np.zeros_like(labels)
    unseen = [k for k in boxes if k not in held_by_id]
    for held in reversed(painting_order(reference)):
        if held.id not in boxes:
            modes[held.id] = Mode(GONE)
            worth[held.id] = float(abs(_twice_area(held)) / 2 / SUBPIXELS**2)
            continue
        window = _window(labels, front, _around(boxes[held.id], held, geometry), held.id)
        windows[held.id] = window
        modes[held.id] = _find_motion(held, window, geometry, choices.min_gain)
        moved[held.id] = (
            held if modes[held.id].kind == STILL else move(held, modes[held.id], geometry)
        )
        worth[held.id] = float(window.wrong_px(held) - window.wrong_px(moved[held.id]))
        paint(front, moved[held.id].points, moved[held.id].offsets, held.id)
    for object_id in unseen:
        windows[object_id] = _window(
            labels, np.zeros_like(labels), _around(boxes[object_id], None, geometry), object_id
        )
    # Too dear: forget the motions that repair least.
    plan = FramePlan(modes, ())
    bits = _cost_bits(geometry, reference, plan)
    for object_id in sorted(worth, key=lambda k: worth[k]):
        if bits <= budget_bits:
            break
        modes[object_id] = Mode(STILL)
        if object_id in moved:
            moved[object_id] = held_by_id[object_id]
        plan = FramePlan(modes, ())
        bits = _cost_bits(geometry, reference, plan)
    bought = _buy(labels, windows, moved, budget_bits - bits, geometry, choices)
    while True:
        plan = FramePlan(modes, tuple(offer.edit for offer in bought if offer.edit is not None))
        bits = _cost_bits(geometry, reference, plan)
        if bits <= budget_bits or not bought:
            return plan, bits
        bought.pop()


def _buy(
    labels: NDArray[np.uint8],
    windows: dict[int, _Window],
    moved: dict[int, ContourObject],
    budget_bits: float,
    geometry: Geometry,
    choices: EncoderChoices,
) -> list[_Offer]:
    """The edits that repair most per bit, dearest last."""
    wrong = {
        k: float(window.wrong_px(moved[k]) if k in moved else window.area_px)
        for k, window in windows.items()
    }
    root = {k: float(np.sqrt(max(window.area_px, 1))) for k, window in windows.items()}
    worst = sorted(wrong, key=lambda k: -wrong[k] / root[k])
    offers: list[_Offer] = []
    for object_id in worst[:_MAX_FITTED]:
        if wrong[object_id] / root[object_id] < choices.min_gain * 2 * _HEADER_BITS:
            break
        if object_id not in moved and windows[object_id].area_px < choices.min_area_px:
            continue
        offers += _offers(
            object_id, moved.get(object_id), windows[object_id], geometry, choices, budget_bits
        )
    chosen: dict[int, _Offer] = {}
    spent = 0.0
    while True:
        best, best_rate = None, choices.min_gain
        for offer in offers:
            now = chosen.get(offer.id)
            extra = offer.bits - (now.bits if now else 0.0)
            if extra <= 0 or spent + extra > budget_bits + 2:
                continue
            gain = (now.wrong_px if now else wrong[offer.id]) - offer.wrong_px
            rate = gain / root[offer.id] / extra
            if rate > best_rate:
                best, best_rate = offer, rate
        if best is None:
            break
        spent += best.bits - (chosen[best.id].bits if best.id in chosen else 0.0)
        chosen[best.id] = best
    return sorted(chosen.values(), key=lambda offer: offer.bits)
