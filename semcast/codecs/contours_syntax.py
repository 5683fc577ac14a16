"""Layout of the contour codec's part of a payload, written and read by the one `code_frame`.

    frame    := [unchanged] (only with a reference that has objects; if set, nothing follows)
                mode(object) for every object of the reference, in order of ids
                { another-edit edit } no-other-edit
    mode     := still | moved motion | turned motion scale turn | gone
    motion   := dx dy, less the motion the object had in the reference; if it had none, less that
                of the last moved object in this frame
    edit     := new-or-old id kind level (polygons | blob | splice)
    polygons := rings(1..4) ring{rings}
    ring     := start { length direction close? } ; closed when `close` says so
    blob     := start width height ; an octagon, one instead of many edges
    splice   := ring vertex span count { length direction }{count}

A ring's vertices lie on the level's grid. A vertex is coded as the difference to the one before:
its length (larger of |dx|, |dy|, one of (Q-1)/2 in grid steps) and the position on the square of
that radius, whose frequencies follow the angle to the edge before. The start is coded outright for
an object's first polygons, else against the start of what they replace. A splice replaces `span`
edges of a ring the receiver holds by a path over `count` new vertices, in steps of its level's grid
from the vertex it starts at.
"""

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from semcast.codecs.contours_directions import angle_bin, on_square, square_index
from semcast.codecs.contours_polygon import SUBPIXELS, transform
from semcast.codecs.contours_symbols import SymbolCoder, code_number
from semcast.codecs.errors import CorruptPayloadError

MAX_OBJECTS = 15
MAX_RINGS = 4
"""Rings of one object, holes included."""
MAX_VERTICES = 256
"""Vertices of one ring."""
MAX_SPAN = 8
"""Edges that one splice replaces."""
MAX_SPLICED = 7
"""Vertices that one splice brings."""
MAX_EDITS = 63
STILL, MOVED, TURNED, GONE = range(4)
POLYGONS, BLOB, SPLICE = range(3)
LEVEL_STEPS = (2, 3, 5, 8, 14, 24)
"""Grid step of each level, in halves of the finest."""
MAX_MOTION = 1024
"""Largest component of a motion, in motion steps."""
MAX_SHAPE_CHANGE = 24
"""Largest |scale| and |turn|, in 1/64."""

_LENGTH_FIRST = (1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49)
MAX_LENGTH = 64


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


@dataclass(frozen=True, eq=False)
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


@dataclass(frozen=True, eq=False)
class Polygons:
    """New polygons for an object, on the grid of `level`; rings of int32 [n, 2] grid points."""

    id: int
    level: int
    rings: tuple[NDArray[np.int32], ...]


@dataclass(frozen=True)
class Blob:
    """An octagon for an object: corner, width and height in grid steps of `level`."""

    id: int
    level: int
    corner: tuple[int, int]
    size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Splice:
    """New vertices for part of one ring, after `span` edges from vertex `first` on."""

    id: int
    level: int
    ring: int
    first: int
    span: int
    path: NDArray[np.int32]
    """int32 [count, 2]: the new vertices in grid steps from vertex `first`."""


Edit: TypeAlias = Polygons | Blob | Splice


@dataclass(frozen=True)
class FramePlan:
    """A frame as coded: modes of the reference's objects by id, and edits in order."""

    modes: dict[int, Mode]
    edits: tuple[Edit, ...]

    @property
    def changes_nothing(self) -> bool:
        """Whether the frame shows the reference as it was."""
        return not self.edits and all(mode.kind == STILL for mode in self.modes.values())


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


def _code_path(
    coder: SymbolCoder,
    geometry: Geometry,
    vertices: list[tuple[int, int]],
    before: tuple[int, int],
    path: NDArray[np.int32] | None,
    count: int | None,
) -> None:
    """Append to `vertices` (its last one is known) `count` more, or those up to a closing flag.

    `before`: the direction that the first edge's is judged against, (0, 0) for none.
    """
    start = vertices[-1]
    last_turn, last_length = -1, 0
    for done in range(MAX_VERTICES - 1):
        if done == count:
            return
        x, y = vertices[-1]
        if count is None and done >= 2:
            distance = max(abs(x - start[0]), abs(y - start[1]))
            # 0 closes: the zeros behind a payload end a ring instead of growing one.
            goes_on = int(path is not None and done < len(path))
            if not coder.adaptive("close", close_context(distance), 2, goes_on):
                return
        dx = dy = index = 0
        if path is not None:
            dx, dy = int(path[done, 0]) - x, int(path[done, 1]) - y
            index = square_index(dx, dy)
        length = _code_length(coder, last_length, geometry.max_length, max(abs(dx), abs(dy)))
        if before == (0, 0):
            index = coder.uniform(8 * length, index)
        else:
            index = coder.turn(before, last_turn, length, index)
        dx, dy = on_square(length, index)
        if before != (0, 0):
            last_turn = angle_bin(before[0], before[1], dx, dy)
        before, last_length = (dx, dy), length
        vertices.append((x + dx, y + dy))


def _code_start(
    coder: SymbolCoder,
    geometry: Geometry,
    step: int,
    near: tuple[int, int] | None,
    wanted: tuple[int, int],
) -> tuple[int, int]:
    """A grid point, outright or against one nearby."""
    if near is None:
        columns, rows = geometry.grid_size(step)
        return coder.uniform(columns, wanted[0]), coder.uniform(rows, wanted[1])
    dx = code_number(coder, "start", 0, wanted[0] - near[0])
    dy = code_number(coder, "start", 0, wanted[1] - near[1])
    return near[0] + dx, near[1] + dy


def code_edit(
    coder: SymbolCoder,
    geometry: Geometry,
    objects: dict[int, ContourObject],
    edit: Edit | None,
) -> ContourObject:
    """One edit; the object it makes."""
    object_id, is_new = _code_id(coder, objects, edit)
    held = None if is_new else objects[object_id]
    kind = coder.adaptive("kind", int(is_new), 2 if is_new else 3, _kind(edit))
    level = coder.adaptive(
        "level", 2 * kind + int(is_new), len(LEVEL_STEPS), edit.level if edit else 0
    )
    step = geometry.grid_step(level)
    if kind == SPLICE:
        assert held is not None and (edit is None or isinstance(edit, Splice))
        return _code_splice(coder, geometry, step, held, edit)
    near = nearest_grid_point(held, geometry, step) if held is not None else None
    if kind == BLOB:
        assert edit is None or isinstance(edit, Blob)
        corner = _code_start(coder, geometry, step, near, edit.corner if edit else (0, 0))
        width, height = (
            _code_length(coder, 0, geometry.max_length, size)
            for size in (edit.size if edit else (1, 1))
        )
        rings = [octagon(corner, (width, height), step)]
    else:
        assert edit is None or isinstance(edit, Polygons)
        rings = _code_rings(coder, geometry, step, near, edit)
    points = _held_in(np.concatenate(rings), geometry)
    offsets = np.cumsum([0] + [len(ring) for ring in rings]).astype(np.int32)
    return ContourObject(object_id, points, offsets, level, held.motion if held else (0, 0))


def _kind(edit: Edit | None) -> int:
    return SPLICE if isinstance(edit, Splice) else int(isinstance(edit, Blob))


def _code_id(
    coder: SymbolCoder, objects: dict[int, ContourObject], edit: Edit | None
) -> tuple[int, bool]:
    free = [k for k in range(1, MAX_OBJECTS + 1) if k not in objects]
    old = sorted(objects)
    is_new = not old
    if free and old:
        is_new = bool(coder.adaptive("new", 0, 2, int(edit is not None and edit.id not in objects)))
    if not is_new:
        return old[coder.uniform(len(old), old.index(edit.id) if edit else 0)], False
    place = free.index(edit.id) if edit else 0
    if len(free) == 1 or not coder.adaptive("new_id", 0, 2, int(place > 0)):
        return free[0], True
    return free[1 + coder.uniform(len(free) - 1, place - 1)], True


def _code_rings(
    coder: SymbolCoder,
    geometry: Geometry,
    step: int,
    near: tuple[int, int] | None,
    edit: Polygons | None,
) -> list[NDArray[np.int64]]:
    rings = []
    for index in range(
        1 + coder.adaptive("rings", 0, MAX_RINGS, len(edit.rings) - 1 if edit else 0)
    ):
        ring = edit.rings[index] if edit else None
        wanted = (int(ring[0, 0]), int(ring[0, 1])) if ring is not None else (0, 0)
        near = _code_start(coder, geometry, step, near, wanted)
        vertices = [near]
        _code_path(coder, geometry, vertices, (0, 0), ring[1:] if ring is not None else None, None)
        rings.append(np.array(vertices, dtype=np.int64) * step)
    return rings


def octagon(corner: tuple[int, int], size: tuple[int, int], step: int) -> NDArray[np.int64]:
    """A box with its corners cut off, int64 [8, 2] in subpixels."""
    x0, y0 = corner[0] * step, corner[1] * step
    x1, y1 = x0 + size[0] * step, y0 + size[1] * step
    cut_x, cut_y = (x1 - x0) * 9 // 32, (y1 - y0) * 9 // 32
    return np.array(
        [
            (x0 + cut_x, y0),
            (x1 - cut_x, y0),
            (x1, y0 + cut_y),
            (x1, y1 - cut_y),
            (x1 - cut_x, y1),
            (x0 + cut_x, y1),
            (x0, y1 - cut_y),
            (x0, y0 + cut_y),
        ],
        dtype=np.int64,
    )


def _code_splice(
    coder: SymbolCoder, geometry: Geometry, step: int, held: ContourObject, edit: Splice | None
) -> ContourObject:
    num_rings = len(held.offsets) - 1
    ring = coder.uniform(num_rings, edit.ring if edit else 0)
    begin, end = int(held.offsets[ring]), int(held.offsets[ring + 1])
    first = coder.uniform(end - begin, edit.first if edit else 0)
    most = min(MAX_SPAN, end - begin)
    span = 1 + coder.adaptive("span", 0, most, edit.span - 1 if edit else 0)
    count = coder.adaptive("count", 0, MAX_SPLICED + 1, len(edit.path) if edit else 0)
    vertices = held.points[begin:end]
    chord = vertices[(first + span) % len(vertices)] - vertices[first]
    path = [(0, 0)]
    _code_path(
        coder, geometry, path, (int(chord[0]), int(chord[1])), edit.path if edit else None, count
    )
    return spliced(held, geometry, ring, first, span, np.array(path[1:], dtype=np.int64) * step)


def spliced(
    held: ContourObject,
    geometry: Geometry,
    ring: int,
    first: int,
    span: int,
    path: NDArray[np.int64],
) -> ContourObject:
    """The object with `span` edges of a ring replaced; `path` in subpixels from vertex `first`.

    A ring that would have under 3 or over `MAX_VERTICES` vertices stays as it is.
    """
    begin, end = int(held.offsets[ring]), int(held.offsets[ring + 1])
    vertices = np.roll(held.points[begin:end], -first, axis=0).astype(np.int64)
    new = np.concatenate([vertices[:1], vertices[0] + path.reshape(-1, 2), vertices[span:]])
    if not 3 <= len(new) <= MAX_VERTICES:
        return held
    points = np.concatenate([held.points[:begin], new, held.points[end:]])
    offsets = held.offsets.copy()
    offsets[ring + 1 :] += len(new) - (end - begin)
    return replace(held, points=_held_in(points, geometry), offsets=offsets)


def _held_in(points: NDArray[np.int64], geometry: Geometry) -> NDArray[np.int32]:
    """Coordinates held within one frame size around the frame."""
    limit = np.array([geometry.width, geometry.height]) * SUBPIXELS
    return np.clip(points, -limit, 2 * limit).astype(np.int32)


def nearest_grid_point(held: ContourObject, geometry: Geometry, step: int) -> tuple[int, int]:
    """The object's first vertex, brought into the frame and rounded to a grid."""
    x = min(max(int(held.points[0, 0]), 0), geometry.width * SUBPIXELS)
    y = min(max(int(held.points[0, 1]), 0), geometry.height * SUBPIXELS)
    return (int(x) + step // 2) // step, (int(y) + step // 2) // step


def predicted_motion(
    held: ContourObject, flow: tuple[int, int] | None
) -> tuple[int, tuple[int, int]]:
    """Context and prediction of a motion: the object's last, else the last coded in the frame."""
    if held.motion != (0, 0):
        return 1, held.motion
    return (0, (0, 0)) if flow is None else (2, flow)


def _code_mode(
    coder: SymbolCoder,
    held: ContourObject,
    last_kind: int,
    flow: tuple[int, int] | None,
    mode: Mode | None,
) -> Mode:
    kind = coder.adaptive("mode", last_kind, 4, mode.kind if mode else 0)
    if kind in (STILL, GONE):
        return Mode(kind)
    context, predicted = predicted_motion(held, flow)
    motion = []
    for axis in range(2):
        wanted = mode.motion[axis] if mode else 0
        coded = code_number(coder, "motion", context, wanted - predicted[axis])
        motion.append(min(max(predicted[axis] + coded, -MAX_MOTION), MAX_MOTION))
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
        same = plan is not None and plan.changes_nothing
        if coder.adaptive("unchanged", 0, 2, int(same)):
            return tuple(replace(held, motion=(0, 0)) for held in reference)
    last_kind = STILL
    flow: tuple[int, int] | None = None
    for held in reference:
        mode = _code_mode(coder, held, last_kind, flow, plan.modes[held.id] if plan else None)
        last_kind = mode.kind
        if mode.kind in (MOVED, TURNED):
            flow = mode.motion
        if mode.kind == STILL:
            objects[held.id] = replace(held, motion=(0, 0))
        elif mode.kind != GONE:
            objects[held.id] = move(held, mode, geometry)
    for done in range(MAX_EDITS):
        more = plan is not None and done < len(plan.edits)
        if not coder.adaptive("edit", 0 if reference else 1, 2, int(more)):
            break
        made = code_edit(coder, geometry, objects, plan.edits[done] if plan else None)
        objects[made.id] = made
    return tuple(objects[k] for k in sorted(objects))
