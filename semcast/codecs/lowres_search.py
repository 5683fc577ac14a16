"""How the low-res encoder decides: motion, prediction, transform, quantiser, filter.

Nothing here is part of the format. All decisions are by squared error in RGB (the planes are
orthonormal) at the budget: every prediction with every transform is tried at one quantiser, and the
cheapest by error + Lagrangian * bits get a search over quantisers and Lagrangians.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from semcast.codecs import lowres_coefficients as coefficients
from semcast.codecs import lowres_filter as loop_filter
from semcast.codecs import lowres_frame as frame
from semcast.codecs import lowres_motion as motion
from semcast.codecs import lowres_tables as tables
from semcast.codecs.lowres_frame import (
    EMPTY,
    INTRA,
    MEAN_COUNTS,
    MEAN_STEPS,
    MOTION,
    MOTION_COSTS,
    STATIC,
    FramePlan,
    LowresState,
    block_shape,
    known_scales,
    known_transforms,
    layout_of,
    mean_planes,
    mode_of,
    predicted_planes,
    reconstruct,
)
from semcast.codecs.lowres_layout import to_scan
from semcast.codecs.lowres_picture import LowresGeometry, forward_transform
from semcast.codecs.lowres_quantise import quantise

_LAGRANGIAN = 0.1
"""Lagrangian in squared steps per bit; chosen on the training clips."""
_MOTION_FACTOR = 2.3
"""Bits of vectors weigh this much more: what they gain is in part gained by coefficients."""
_SECOND_CHANCE = 1.05
_MANY_BITS = 250
"""The second cheapest is searched, too, if it costs at most so many times what the cheapest does,
and where many bits do not make that slow and of little use; also while nothing beats holding."""
_COARSE = 0.75
"""Above this log2 of the Lagrangian's factor at one quantiser the next one tried is coarser."""


_BISECTIONS = 3
"""Steps of the search for the least Lagrangian that fits."""
_FILLING = (0.0, 0.7)
"""Bits are a jumpy function of the Lagrangian, so the budget is filled up by attempts that are cut
off where it ends, with Lagrangians 2^-x of the largest that does not fit."""
_FULL_BITS = 2.0
"""A budget with so little left over is full."""


def _costs(frequencies: object) -> NDArray[np.float64]:
    """Bits of every symbol."""
    table = np.array(frequencies, dtype=np.float64)
    return np.asarray(-np.log2(table / table.sum(axis=-1, keepdims=True)))


_KIND_COSTS = _costs(tables.KIND)
_TRANSFORM_COSTS = _costs(tables.TRANSFORM)
_FILTER_COSTS = _costs(tables.FILTER)
_BLUR_COSTS = _costs(tables.BLUR)
_QP_CHANGE_COSTS = _costs(frame.QP_FREQUENCIES)
_QP_FIRST_COSTS = _costs(tables.QP_FIRST)
_MEAN_COSTS = [_costs(row[:count]) for row, count in zip(tables.MEANS, MEAN_COUNTS, strict=True)]


def plan_frames(
    target: NDArray[np.int32], reference: LowresState | None, room_bits: float
) -> list[FramePlan]:
    """Frames of at most `room_bits` of information, that of least squared error first; the last one
    is the shortest there is."""
    geometry = LowresGeometry(width=target.shape[2], height=target.shape[1])
    means = quantise_means(target)
    starts: list[FramePlan] = []
    error_plain = _squared_error(target, mean_planes(means, geometry))
    best_error = error_plain
    if reference is not None:
        step = float(coefficients.STEPS[reference.qp])
        per_bit = _MOTION_FACTOR * _LAGRANGIAN * step * step
        static = _start(STATIC, means, None, target, reference, per_bit)
        best_error = static.error
        dear = False
        for factor in (1.0, 5.0):
            field = motion.search(target, reference.quarter_pel, MOTION_COSTS, factor * per_bit)
            if not field.any():
                break
            moved = _start(MOTION, means, field, target, reference, per_bit)
            bits = motion.field_cost(field, MOTION_COSTS) / 256
            if bits < 0.8 * room_bits:
                starts.append(moved)
                best_error = min(best_error, moved.error)
            dear = bits > 0.2 * room_bits
            if not dear:
                break
        # "<=": where the reference is the target to the last bit, nothing beats holding it.
        if dear or static.error <= 1.6 * best_error:
            starts.append(static)
    if reference is None or best_error > 0.25 * error_plain:
        starts.append(_start(INTRA, means, None, target, reference, 0.0))
    return _best_plans(target, reference, room_bits, starts)


def _start(
    prediction: int,
    means: tuple[int, int, int],
    field: NDArray[np.int32] | None,
    target: NDArray[np.int32],
    reference: LowresState | None,
    per_bit: float,
) -> FramePlan:
    """A prediction with the blur that suits it best, as a plan without coefficients."""
    geometry = LowresGeometry(width=target.shape[2], height=target.shape[1])
    planes = predicted_planes(prediction, means, field, 0, reference, geometry)
    best = (_squared_error(target, planes), 0)
    if prediction != INTRA:
        best = min(
            (
                _squared_error(target, planes if times == 0 else loop_filter.blur(planes, times))
                + per_bit * _BLUR_COSTS[prediction, times],
                times,
            )
            for times in range(3)
        )
    nothing = np.zeros(3, dtype=np.int32)
    return FramePlan(prediction, 2, 0, means, field, nothing, nothing, best[0], 0, best[1], True)


def _best_plans(
    target: NDArray[np.int32],
    reference: LowresState | None,
    room_bits: float,
    starts: list[FramePlan],
) -> list[FramePlan]:
    """Every prediction with every transform at one quantiser, then a search for the cheapest."""
    geometry = LowresGeometry(width=target.shape[2], height=target.shape[1])
    found: list[FramePlan] = []
    shortest = _shortest(quantise_means(target), target, reference)
    for start in (*starts, shortest):
        if empty_cost(start, reference) <= room_bits:
            planes = reconstruct(start, reference, geometry).planes
            found.append(replace(start, error=_squared_error(target, planes)))
    searches = [
        LowresSearch(target, reference, start, transform)
        for start in starts
        for transform in _transforms(geometry)
    ]
    searches = [search for search in searches if search.header_bits < room_bits]
    if searches:
        guess = reference.qp if reference is not None else frame.FIRST_QP
        qp = searches[0].finest_fit(room_bits, guess)
        step = float(coefficients.STEPS[qp])
        costs = []
        for search in searches:
            bits, tried = search.attempt(qp, 1.0)
            costs.append(tried.error + _LAGRANGIAN * step * step * bits)
        order = np.argsort(costs, kind="stable")[:3]
        for place, index in enumerate(order):
            close = costs[index] <= _SECOND_CHANCE * costs[order[0]] and room_bits < _MANY_BITS
            stuck = min(found, key=lambda plan: plan.error).empty if found else True
            if place == 0 or (place == 1 and close) or stuck:
                found += searches[index].run(room_bits, qp)
    return [*sorted(found, key=lambda plan: plan.error), shortest]


def _transforms(geometry: LowresGeometry) -> list[int]:
    middle = block_shape(1, geometry)
    return [0, 2] if middle in (None, block_shape(2, geometry)) else [0, 1, 2]


def quantise_means(target: NDArray[np.int32]) -> tuple[int, int, int]:
    result = []
    for p in range(3):
        offset = 0 if p == 0 else MEAN_COUNTS[p] // 2
        index = round(float(target[p].mean()) / MEAN_STEPS[p]) + offset
        result.append(min(max(index, 0), MEAN_COUNTS[p] - 1))
    return result[0], result[1], result[2]


def _shortest(
    means: tuple[int, int, int], target: NDArray[np.int32], reference: LowresState | None
) -> FramePlan:
    """The shortest frame there is: the mean colour, or the reference once more."""
    nothing = np.zeros(3, dtype=np.int32)
    prediction = INTRA if reference is None else STATIC
    return FramePlan(prediction, 2, 0, means, None, nothing, nothing, 0.0, empty=True)


def _squared_error(a: NDArray[np.int32], b: NDArray[np.int32]) -> float:
    difference = (a - b).astype(np.float64)
    return float(np.sum(difference * difference))


def empty_cost(plan: FramePlan, reference: LowresState | None) -> float:
    """Bits of a frame without coefficients."""
    kind = plan.prediction + EMPTY
    return float(_KIND_COSTS[int(reference is not None), kind]) + _prediction_cost(plan, kind)


def _prediction_cost(plan: FramePlan, kind: int) -> float:
    cost = 0.0
    if plan.prediction == INTRA:
        cost += sum(float(row[mean]) for row, mean in zip(_MEAN_COSTS, plan.means, strict=True))
    if plan.field is not None:
        cost += motion.field_cost(plan.field, MOTION_COSTS) / 256
    if kind == STATIC or plan.prediction == MOTION:
        cost += float(_BLUR_COSTS[plan.prediction, plan.blur])
    return cost


class LowresSearch:
    """Quantiser search for one prediction and transform of one frame."""

    def __init__(
        self,
        target: NDArray[np.int32],
        reference: LowresState | None,
        start: FramePlan,
        transform: int,
    ) -> None:
        self._target = target
        self._geometry = LowresGeometry(width=target.shape[2], height=target.shape[1])
        layout = layout_of(transform, self._geometry)
        self._predicted = predicted_planes(
            start.prediction, start.means, start.field, start.blur, reference, self._geometry
        )
        residual = forward_transform(target - self._predicted, layout.block)
        self._layout = layout
        self._reference = reference
        self._residual = to_scan(layout, residual)
        self._transforms = known_transforms(start.prediction, self._predicted, reference, layout)
        self._known: dict[int, NDArray[np.int32]] = {}
        self._mode = mode_of(start.prediction, transform)
        self._filter_bits = float(_FILTER_COSTS[start.prediction].min())
        self.header_bits = (
            float(_KIND_COSTS[int(reference is not None), start.prediction])
            + _prediction_cost(start, start.prediction)
            + float(_TRANSFORM_COSTS[start.prediction, transform])
        )
        """Bits before the coefficients, without the filter and the qp."""
        counts = np.zeros(3, dtype=np.int32)
        values = np.zeros(self._residual.shape, dtype=np.int32)
        self._blank = replace(start, transform=transform, values=values, counts=counts, empty=False)

    def _known_at(self, qp: int) -> NDArray[np.int32]:
        if qp not in self._known:
            self._known[qp] = known_scales(self._transforms, self._layout, qp)
        return self._known[qp]

    def _qp_cost(self, qp: int) -> float:
        if self._reference is None or self._blank.prediction == INTRA:
            return float(_QP_FIRST_COSTS[qp])
        change = qp - self._reference.qp + coefficients.NUM_QP - 1
        return float(_QP_CHANGE_COSTS[self._blank.prediction - 1, change])

    def attempt(
        self, qp: int, factor: float, room_bits: float | None = None
    ) -> tuple[float, FramePlan]:
        """Bits and plan at one quantiser; `factor` scales the Lagrangian.

        With a budget, values that do not fit are zero (the last planes are empty first).
        """
        values = np.empty(self._residual.shape, dtype=np.int32)
        counts = np.zeros(3, dtype=np.int32)
        step = float(coefficients.STEPS[qp])
        overhead = self.header_bits + self._filter_bits + self._qp_cost(qp)
        room = 1e9 if room_bits is None else max(room_bits - overhead, 0.0)
        cost, error = quantise(
            self._residual, self._known_at(qp), self._layout, self._mode,
            qp, _LAGRANGIAN * factor * step * step, int(256 * room), values, counts,
        )  # fmt: skip
        return overhead + cost / 256, replace(
            self._blank, qp=qp, values=values, counts=counts, error=error
        )

    def finest_fit(self, room_bits: float, guess: int) -> int:
        """The finest quantiser that fits (tried near `guess` first), else the coarsest."""
        low, high = -1, coefficients.NUM_QP - 1  # low does not fit; high is as coarse as it gets
        reach = 1
        middle = guess
        while high - low > 1:
            if not low < middle < high:
                middle = (low + high) // 2
            if self.attempt(middle, 1.0)[0] <= room_bits:
                high = middle
                middle -= reach
            else:
                low = middle
                middle += reach
            reach *= 2
            if high - low <= reach:
                middle = (low + high) // 2
        return high

    def run(self, room_bits: float, guess: int) -> list[FramePlan]:
        """Plans that fit, each with the loop filter that suits it best, in no order."""
        qp = guess
        bits, plan = self.attempt(qp, 1.0)
        if not 0.6 * room_bits < bits < 1.5 * room_bits:
            qp = self.finest_fit(room_bits, qp)
            bits, plan = self.attempt(qp, 1.0)
        self._filter_bits = self._best_filter(plan, float("inf"))[1]
        tried: list[tuple[float, FramePlan]] = []
        for _ in range(2):
            low, high = -2.0, 2.0  # log2 of the Lagrangian's factor: low does not fit, high does
            for _ in range(_BISECTIONS):
                middle = (low + high) / 2
                bits, plan = self.attempt(qp, 2.0**middle)
                if bits <= room_bits:
                    high = middle
                    tried.append((bits, plan))
                else:
                    low = middle
            for finer_by in _FILLING:
                bits, plan = self.attempt(qp, 2.0 ** (low - finer_by), room_bits)
                if bits <= room_bits:
                    tried.append((bits, plan))
                    if bits > room_bits - _FULL_BITS:
                        break
            finer = high < _COARSE or qp == coefficients.NUM_QP - 1
            qp = max(qp - 1, 0) if finer else qp + 1
        tried.sort(key=lambda pair: pair[1].error)
        return [
            self._best_filter(plan, room_bits - bits + self._filter_bits)[0]
            for bits, plan in tried[:3]
        ]

    def _best_filter(self, plan: FramePlan, room_bits: float) -> tuple[FramePlan, float]:
        """`plan` with the filter of at most `room_bits` that leaves the least squared error (and
        that error), and the filter's bits."""
        unfiltered = reconstruct(plan, self._reference, self._geometry).planes
        step = int(coefficients.STEPS[plan.qp])
        best, best_error, best_bits = plan, float("inf"), 0.0
        for symbol, strength in enumerate(loop_filter.STRENGTHS):
            bits = float(_FILTER_COSTS[plan.prediction, symbol])
            if bits > room_bits + 1e-6:
                continue
            error = _squared_error(self._target, loop_filter.smooth(unfiltered, step, strength))
            if error < best_error:
                best, best_error, best_bits = (
                    replace(plan, filter=symbol, error=error), error, bits,
                )  # fmt: skip
        return best, best_bits
