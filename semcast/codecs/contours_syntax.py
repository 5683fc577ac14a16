"""Layout of the contour codec's part of a payload, written and read by the one `code_frame`.

    frame    := [unchanged] (only with a reference that has objects; if set, nothing follows)
                mode(object) for every object of the reference, in order of ids
                { another-edit edit } no-other-edit
    mode     := still | moved motion | turned motion scale turn | gone
    motion   := dx dy, less the motion the object had in the reference
    edit     := new-or-old id level rings(1..4) ring{rings}
    ring     := start { length direction close? } ; closed when `close` says so

A ring's vertices lie on the level's grid. A vertex is coded as the difference to the one before:
its length (larger of |dx|, |dy|, one of (Q-1)/2 in grid steps) and the position on the square of
that radius, whose frequencies follow the angle to the edge before. The start is coded outright for
an object's first polygons, else against the start of what they replace.
"""

from dataclasses import dataclass, replace

import numba
import numpy as np
from numpy.typing import NDArray

from semcast.codecs.contours_polygon import SUBPIXELS, transform
from semcast.codecs.contours_symbols import SymbolCoder, code_number
from semcast.codecs.contours_tables import PRIORS
from semcast.codecs.errors import CorruptPayloadError

MAX_OBJECTS = 15
MAX_RINGS = 4
"""Rings of one object, holes included."""
MAX_VERTICES = 96
"""Vertices of one ring."""
STILL, MOVED, TURNED, GONE = range(4)
LEVEL_STEPS = (2, 3, 4, 6, 8, 12)
"""Grid step of each level, in halves of the finest."""
MAX_MOTION = 1024
"""Largest component of a motion, in motion steps."""
MAX_SHAPE_CHANGE = 24
"""Largest |scale| and |turn|, in 1/64."""

_LENGTH_FIRST = (1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49)
MAX_LENGTH = 64
_NUM_ANGLES = 32
# tan of the bin borders at 5.625 + 11.25 k degrees, times 4096.
_TANGENTS = np.array([403, 1242, 2189, 3362, 4990, 7663, 13503, 41587], dtype=np.int64)


@dataclass(frozen=True)
class Geometry:
    """What the syntax needs to know of a session. Everything in subpixels (1/8 pixel)."""

    width: int
    height: int
    finest_step: int
    motion_step: int
    max_length: int
    """Longest difference of a vertex component, in grid steps: (Q-1)/2."""

    def grid_step(self, level: int) -> int:
        return max(1, self.finest_step * LEVEL_STEPS[level] // LEVEL_STEPS[0])

    def grid_size(self, step: int) -> tuple[int, int]:
        """Columns and rows of a grid that covers the frame, its far edges included."""
        return -(-self.width * SUBPIXELS // step) + 1, -(-self.height * SUBPIXELS // step) + 1


@dataclass(frozen=True)
class ContourObject:
    """One object as both ends hold it. Arrays are never written to."""

    id: int
    points: NDArray[np.int32]
    offsets: NDArray[np.int32]
    level: int
    motion: tuple[int, int]
    """Motion coded last, in motion steps: the prediction of the next."""


@dataclass(frozen=True)
class Mode:
    """What happens to an object of the reference."""

    kind: int = STILL
    motion: tuple[int, int] = (0, 0)
    """In motion steps."""
    scale: int = 0
    turn: int = 0


@dataclass(frozen=True)
class Edit:
    """New polygons for an object, on the grid of `level`; rings of int32 [n, 2] grid points."""

    id: int
    level: int
    rings: tuple[NDArray[np.int32], ...]


@dataclass(frozen=True)
class FramePlan:
    """A frame as coded: modes of the reference's objects by id, and edits."""

    modes: dict[int, Mode]
    edits: tuple[Edit, ...]


@numba.njit(cache=True)
def angle_bin(before_x: int, before_y: int, x: int, y: int) -> int:
    """Turn from one edge to the next in 32 bins, 0 straight ahead, 8 to the right, 24 left."""
    dot = before_x * x + before_y * y
    cross = before_x * y - before_y * x
    quadrant = 0
    for k in range(8):
        if abs(cross) * 4096 > abs(dot) * _TANGENTS[k]:
            quadrant += 1
    half = 16 - quadrant if dot < 0 else quadrant
    return half if cross >= 0 else (_NUM_ANGLES - half) % _NUM_ANGLES


@numba.njit(cache=True)
def on_square(radius: int, index: int) -> tuple[int, int]:
    """Point `index` (0..8 radius - 1) on the square of a radius around the origin."""
    side, along = index // (2 * radius), index % (2 * radius)
    if side == 0:
        return along - radius, -radius
    if side == 1:
        return radius, along - radius
    if side == 2:
        return radius - along, radius
    return -radius, radius - along


@numba.njit(cache=True)
def square_index(x: int, y: int) -> int:
    """Inverse of `on_square`."""
    radius = max(abs(x), abs(y))
    if y == -radius and x < radius:
        return x + radius
    if x == radius and y < radius:
        return 2 * radius + y + radius
    if y == radius and x > -radius:
        return 4 * radius + radius - x
    return 6 * radius + radius - y


@numba.njit(cache=True)
def turn_context(last_turn: int, radius: int) -> int:
    """Row of the turn table, from the turn before (-1: none) and the new edge's length."""
    if last_turn < 0:
        kind = 0
    elif last_turn <= 4:
        kind = 1
    elif last_turn < 16:
        kind = 2
    elif last_turn < 28:
        kind = 3
    else:
        kind = 4
    return kind * 2 + (1 if radius > 2 else 0)


@numba.njit(cache=True)
def direction_frequencies(
    table: NDArray[np.int64], before_x: int, before_y: int, last_turn: int, radius: int
) -> NDArray[np.int64]:
    """Frequencies int64 [8 radius] of the positions on the square, after the edge (before)."""
    context = turn_context(last_turn, radius)
    result = np.empty(8 * radius, dtype=np.int64)
    for index in range(8 * radius):
        x, y = on_square(radius, index)
        result[index] = table[context, angle_bin(before_x, before_y, x, y)]
    return result


def length_context(last_length: int) -> int:
    return 0 if last_length == 0 else 1 + min(last_length.bit_length() - 1, 3)


def _code_length(coder: SymbolCoder, last: int, limit: int, value: int) -> int:
    size = sum(first <= limit for first in _LENGTH_FIRST)
    found = sum(first <= value for first in _LENGTH_FIRST) - 1
    found = coder.adaptive("length", length_context(last), size, found)
    first = _LENGTH_FIRST[found]
    end = _LENGTH_FIRST[found + 1] - 1 if found + 1 < len(_LENGTH_FIRST) else MAX_LENGTH
    return first + coder.uniform(min(end, limit) - first + 1, value - first)


def close_context(distance: int) -> int:
    """Row of the `close` table, from the distance to the ring's start in grid steps."""
    return min(distance.bit_length(), 4)


def code_ring(
    coder: SymbolCoder, geometry: Geometry, start: tuple[int, int], ring: NDArray[np.int32] | None
) -> NDArray[np.int32]:
    """The vertices of a ring after its start, which is known already."""
    vertices = [start]
    count = len(ring) if ring is not None else 0
    before, last_turn, last_length = (0, 0), -1, 0
    while len(vertices) < MAX_VERTICES:
        x, y = vertices[-1]
        if len(vertices) >= 3:
            distance = max(abs(x - start[0]), abs(y - start[1]))
            closed = coder.adaptive(
                "close", close_context(distance), 2, int(len(vertices) == count)
            )
            if closed:
                break
        dx = dy = 0
        if ring is not None:
            dx, dy = int(ring[len(vertices), 0]) - x, int(ring[len(vertices), 1]) - y
        length = _code_length(coder, last_length, geometry.max_length, max(abs(dx), abs(dy)))
        index = square_index(dx, dy) if ring is not None else 0
        if len(vertices) == 1:
            index = coder.uniform(8 * length, index)
        else:
            index = coder.weighted(
                direction_frequencies(PRIORS["turn"], before[0], before[1], last_turn, length),
                index,
            )
        dx, dy = on_square(length, index)
        if len(vertices) > 1:
            last_turn = angle_bin(before[0], before[1], dx, dy)
        before, last_length = (dx, dy), length
        vertices.append((x + dx, y + dy))
    return np.array(vertices, dtype=np.int32)


def _code_start(
    coder: SymbolCoder,
    geometry: Geometry,
    step: int,
    near: tuple[int, int] | None,
    ring: NDArray[np.int32] | None,
) -> tuple[int, int]:
    x, y = (int(ring[0, 0]), int(ring[0, 1])) if ring is not None else (0, 0)
    if near is None:
        columns, rows = geometry.grid_size(step)
        return coder.uniform(columns, x), coder.uniform(rows, y)
    dx = code_number(coder, "start", 0, x - near[0])
    dy = code_number(coder, "start", 0, y - near[1])
    return near[0] + dx, near[1] + dy


def code_edit(
    coder: SymbolCoder,
    geometry: Geometry,
    objects: dict[int, ContourObject],
    edit: Edit | None,
) -> ContourObject:
    """One edit; the object it makes."""
    free = [k for k in range(1, MAX_OBJECTS + 1) if k not in objects]
    old = sorted(objects)
    is_new = 0
    if free and old:
        is_new = coder.adaptive("edit", 1, 2, int(edit is not None and edit.id not in objects))
    elif free:
        is_new = 1
    if is_new:
        place = free.index(edit.id) if edit else 0
        if coder.adaptive("new_id", 0, 2, int(place > 0)) and len(free) > 1:
            place = 1 + coder.uniform(len(free) - 1, place - 1)
        else:
            place = 0
        object_id = free[place]
    else:
        object_id = old[coder.uniform(len(old), old.index(edit.id) if edit else 0)]
    level = coder.adaptive("level", 1 - is_new, len(LEVEL_STEPS), edit.level if edit else 0)
    step = geometry.grid_step(level)
    num_rings = 1 + coder.adaptive("rings", 0, MAX_RINGS, len(edit.rings) - 1 if edit else 0)
    near = None
    if not is_new:
        near = nearest_grid_point(objects[object_id], geometry, step)
    rings = []
    for index in range(num_rings):
        ring = edit.rings[index] if edit else None
        start = _code_start(coder, geometry, step, near, ring)
        rings.append(code_ring(coder, geometry, start, ring))
        near = start
    points = np.concatenate(rings).astype(np.int64) * step
    limit = np.array([geometry.width, geometry.height]) * SUBPIXELS
    points = np.clip(points, -limit, 2 * limit).astype(np.int32)
    offsets = np.cumsum([0] + [len(ring) for ring in rings]).astype(np.int32)
    motion = objects[object_id].motion if not is_new else (0, 0)
    return ContourObject(object_id, points, offsets, level, motion)


def nearest_grid_point(held: ContourObject, geometry: Geometry, step: int) -> tuple[int, int]:
    """The object's first vertex, brought into the frame and rounded to a grid."""
    x = min(max(int(held.points[0, 0]), 0), geometry.width * SUBPIXELS)
    y = min(max(int(held.points[0, 1]), 0), geometry.height * SUBPIXELS)
    return (int(x) + step // 2) // step, (int(y) + step // 2) // step


def _code_mode(coder: SymbolCoder, held: ContourObject, last_kind: int, mode: Mode | None) -> Mode:
    kind = coder.adaptive("mode", last_kind, 4, mode.kind if mode else 0)
    if kind in (STILL, GONE):
        return Mode(kind)
    context = 0 if held.motion == (0, 0) else 1
    motion = []
    for axis in range(2):
        wanted = mode.motion[axis] if mode else 0
        coded = code_number(coder, "motion", context, wanted - held.motion[axis])
        motion.append(min(max(held.motion[axis] + coded, -MAX_MOTION), MAX_MOTION))
    scale = turn = 0
    if kind == TURNED:
        scale = code_number(coder, "shape", 0, mode.scale if mode else 0)
        turn = code_number(coder, "shape", 1, mode.turn if mode else 0)
        if max(abs(scale), abs(turn)) > MAX_SHAPE_CHANGE:
            raise CorruptPayloadError("an object's change of shape is out of range")
    return Mode(kind, (motion[0], motion[1]), scale, turn)


def move(held: ContourObject, mode: Mode, geometry: Geometry) -> ContourObject:
    """The object after its motion."""
    points = transform(
        held.points,
        mode.motion[0] * geometry.motion_step,
        mode.motion[1] * geometry.motion_step,
        mode.scale,
        mode.turn,
        geometry.width * SUBPIXELS,
        geometry.height * SUBPIXELS,
    )
    return replace(held, points=points, motion=mode.motion)


def code_frame(
    coder: SymbolCoder,
    geometry: Geometry,
    reference: tuple[ContourObject, ...],
    plan: FramePlan | None,
) -> tuple[ContourObject, ...]:
    """Code a whole frame; `plan` is None when reading. Returns its objects, in order of ids."""
    objects: dict[int, ContourObject] = {}
    if reference:
        same = plan is not None and not plan.edits
        same = same and all(plan.modes[held.id].kind == STILL for held in reference)
        if coder.adaptive("unchanged", 0, 2, int(same)):
            return tuple(replace(held, motion=(0, 0)) for held in reference)
    last_kind = STILL
    for held in reference:
        mode = _code_mode(coder, held, last_kind, plan.modes[held.id] if plan else None)
        last_kind = mode.kind
        if mode.kind == STILL:
            objects[held.id] = replace(held, motion=(0, 0))
        elif mode.kind != GONE:
            objects[held.id] = move(held, mode, geometry)
    for done in range(2 * MAX_OBJECTS):
        more = plan is not None and done < len(plan.edits)
        if not coder.adaptive("edit", 0 if reference else 2, 2, int(more)):
            break
        made = code_edit(coder, geometry, objects, plan.edits[done] if plan else None)
        objects[made.id] = made
    return tuple(objects[k] for k in sorted(objects))
