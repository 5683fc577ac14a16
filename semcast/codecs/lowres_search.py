"""How the low-res encoder decides: motion, prediction, transform, quantiser, filter.

Nothing here is part of the format. All decisions are by squared error in RGB (the planes are
orthonormal) at the budget: every prediction with every transform is tried at one quantiser, the
cheapest by error + Lagrangian * bits (and the second, where it is close) gets a full search, and
left-over bits are used up by finer quantisers whose last frequencies are cut off where the budget
ends.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from semcast.codecs import lowres_coefficients as coefficients
from semcast.codecs import lowres_filter as loop_filter
from semcast.codecs import lowres_motion as motion
from semcast.codecs import lowres_tables as tables
from semcast.codecs.lowres_frame import (
    INTRA,
    MEAN_COUNTS,
    MEAN_STEPS,
    MOTION,
    MOTION_COSTS,
    QP_FREQUENCIES,
    STATIC,
    FramePlan,
    LowresState,
    block_shape,
    layout_of,
    mean_planes,
    mode_of,
    predicted_planes,
    reconstruct,
)
from semcast.codecs.lowres_picture import LowresGeometry, forward_transform

_LAGRANGIAN = 0.13
"""Lagrangian in squared steps per bit; chosen on the training clips."""
_MOTION_FACTOR = 2.3
"""Bits of vectors weigh this much more: what they gain is in part gained by coefficients."""
_SECOND_CHANCE = 1.03
"""The second best is searched in full if it costs at most this many times what the best does."""
_SEARCH_MARGIN_BITS = 2
_FINAL_TRIALS = (
    (0, 1.0), (0, 0.8), (0, 0.6), (-1, 1.0), (-1, 1.2), (-1, 1.5), (-2, 1.5), (1, 0.6),
)  # fmt: skip
"""Change of the finest qp that fits, and factor of the Lagrangian, tried to use up the budget."""


def plan_frame(
    target: NDArray[np.int32], reference: LowresState | None, budget_bits: int
) -> FramePlan:
    """The best frame within the budget: least squared error over predictions and transforms."""
    geometry = LowresGeometry(width=target.shape[2], height=target.shape[1])
    candidates: list[tuple[int, NDArray[np.int32] | None]] = []
    means = quantise_means(target)
    if reference is not None:
        step = float(coefficients.STEPS[reference.qp])
        per_bit = _MOTION_FACTOR * _LAGRANGIAN * step * step
        error_static = best_error = _squared_error(target, reference.planes)
        dear = False
        for factor in (1.0, 5.0):
            field = motion.search(target, reference.quarter_pel, MOTION_COSTS, factor * per_bit)
            moved = _squared_error(target, motion.predict(reference.quarter_pel, field))
            if moved < error_static:
                candidates.append((MOTION, field))
                best_error = min(best_error, moved)
            dear = motion.field_cost(field, MOTION_COSTS) / 256 > 0.2 * budget_bits
            if not dear:
                break
        # "<=": where the reference is the target to the last bit, nothing beats holding it.
        if dear or error_static <= 1.6 * best_error:
            candidates.append((STATIC, None))
        error_plain = _squared_error(target, mean_planes(means, geometry))
        if best_error > 0.25 * error_plain:
            candidates.append((INTRA, None))
    else:
        candidates.append((INTRA, None))
    return _best_plan(target, reference, budget_bits, means, candidates)


def _best_plan(
    target: NDArray[np.int32],
    reference: LowresState | None,
    budget_bits: int,
    means: tuple[int, int, int],
    predictions: list[tuple[int, NDArray[np.int32] | None]],
) -> FramePlan:
    """Every prediction with every transform at one quantiser; a full search for the best, and for
    the second best where it is close."""
    geometry = LowresGeometry(width=target.shape[2], height=target.shape[1])
    transforms = [0, 2] if block_shape(1, geometry) is None else [0, 1, 2]
    if block_shape(1, geometry) == block_shape(2, geometry):
        transforms = [0, 2]
    searches = [
        LowresSearch(target, reference, prediction, transform, means, field)
        for prediction, field in predictions
        for transform in transforms
    ]
    qp = searches[0].finest_fit(budget_bits, reference.qp if reference is not None else 44)
    step = float(coefficients.STEPS[qp])

    costs = []
    for search in searches:
        bits, tried = search.attempt(qp, 1.0)
        costs.append(tried.error + _LAGRANGIAN * step * step * bits)
    ranking = np.argsort(costs, kind="stable")[:2]
    best: FramePlan | None = None
    for rank in ranking:
        if costs[rank] > _SECOND_CHANCE * costs[ranking[0]]:
            continue
        found = searches[rank].run(budget_bits, qp)
        if found is None:
            continue
        plan = _choose_filter(found, target, reference, geometry)
        if best is None or plan.error < best.error:
            best = plan
    if best is None:  # not even the headers fit: an empty frame at the same quantiser
        return _empty_plan(means, reference, geometry)
    return best


def quantise_means(target: NDArray[np.int32]) -> tuple[int, int, int]:
    result = []
    for p in range(3):
        offset = 0 if p == 0 else MEAN_COUNTS[p] // 2
        index = round(float(target[p].mean()) / MEAN_STEPS[p]) + offset
        result.append(min(max(index, 0), MEAN_COUNTS[p] - 1))
    return result[0], result[1], result[2]


def _choose_filter(
    plan: FramePlan,
    target: NDArray[np.int32],
    reference: LowresState | None,
    geometry: LowresGeometry,
) -> FramePlan:
    """`plan` with the filter strength that leaves the least squared error, and that error."""
    best = plan
    best_error = float("inf")
    unfiltered = reconstruct(plan, reference, geometry).planes
    step = int(coefficients.STEPS[plan.qp])
    for symbol, strength in enumerate(loop_filter.STRENGTHS):
        error = _squared_error(target, loop_filter.smooth(unfiltered, step, strength))
        if error < best_error:
            best, best_error = replace(plan, filter=symbol, error=error), error
    return best


def _empty_plan(
    means: tuple[int, int, int], reference: LowresState | None, geometry: LowresGeometry
) -> FramePlan:
    """The shortest frame there is: the mean colour, or the reference once more."""
    layout = layout_of(2, geometry)
    values = np.zeros((3, layout.num_blocks, len(layout.scan)), dtype=np.int32)
    prediction = INTRA if reference is None else STATIC
    qp = coefficients.NUM_QP // 2 if reference is None else reference.qp
    return FramePlan(prediction, 2, qp, means, None, values, np.zeros(3, dtype=np.int32), 0.0)


def _squared_error(a: NDArray[np.int32], b: NDArray[np.int32]) -> float:
    difference = (a - b).astype(np.float64)
    return float(np.sum(difference * difference))


def _header_cost(
    prediction: int, transform: int, field: NDArray[np.int32] | None, reference: LowresState | None
) -> float:
    """Bits before the coefficients, without the qp; the filter symbol as its dearest."""
    row = np.array(tables.TRANSFORM[prediction])
    cost = float(-np.log2(row[transform] / row.sum()))
    cost += float(-np.log2(min(tables.FILTER) / sum(tables.FILTER)))
    if reference is not None:
        kinds = np.array(tables.PREDICTION)
        cost += float(-np.log2(kinds[prediction] / kinds.sum()))
    if prediction == INTRA:
        cost += float(np.log2(np.prod(MEAN_COUNTS)))
    if field is not None:
        cost += motion.field_cost(field, MOTION_COSTS) / 256
    return cost


class LowresSearch:
    """Quantiser search for one prediction and transform of one frame."""

    def __init__(
        self,
        target: NDArray[np.int32],
        reference: LowresState | None,
        prediction: int,
        transform: int,
        means: tuple[int, int, int],
        field: NDArray[np.int32] | None,
    ) -> None:
        geometry = LowresGeometry(width=target.shape[2], height=target.shape[1])
        layout = layout_of(transform, geometry)
        predicted = predicted_planes(prediction, means, field, reference, geometry)
        residual = forward_transform(target - predicted, layout.block)
        self._layout = layout
        self._reference = reference
        self._residual = coefficients.to_scan(layout, residual)
        self._known: NDArray[np.float64] | None = None
        if prediction != INTRA:
            self._known = coefficients.to_scan(layout, forward_transform(predicted, layout.block))
        self._features: dict[int, NDArray[np.int32]] = {}
        self._header_bits = _header_cost(prediction, transform, field, reference)
        counts = np.zeros(3, dtype=np.int32)
        values = np.zeros(self._residual.shape, dtype=np.int32)
        self._blank = FramePlan(prediction, transform, 0, means, field, values, counts, 0.0)

    def attempt(
        self, qp: int, factor: float, budget_bits: int | None = None
    ) -> tuple[float, FramePlan]:
        """Bits (estimated) and plan at one quantiser; `factor` scales the Lagrangian.

        With a budget, frequencies that do not fit are left out (as are planes, last first).
        """
        layout, shape = self._layout, self._residual.shape
        if qp not in self._features:
            self._features[qp] = (
                np.zeros(shape, dtype=np.int32)
                if self._known is None
                else coefficients.prediction_logs(layout, self._known, qp)
            )
        feature = self._features[qp]
        values = np.empty(shape, dtype=np.int32)
        counts = np.zeros(3, dtype=np.int32)
        step = float(coefficients.STEPS[qp])
        overhead = self._header_bits + _SEARCH_MARGIN_BITS + _qp_cost(qp, self._reference)
        room = float("inf") if budget_bits is None else budget_bits - overhead
        cost, error = coefficients.quantise(
            self._residual, feature, layout, mode_of(self._blank.prediction, self._blank.transform),
            qp, _LAGRANGIAN * factor * step * step, int(256 * min(room, 1e9)), values, counts,
        )  # fmt: skip
        return overhead + cost / 256, replace(
            self._blank, qp=qp, values=values, counts=counts, error=error
        )

    def finest_fit(self, budget_bits: int, guess: int) -> int:
        """The finest quantiser that fits (tried near `guess` first), else the coarsest."""
        low, high = -1, coefficients.NUM_QP - 1  # low does not fit; high is as coarse as it gets
        reach = 2
        middle = guess
        while high - low > 1:
            if not low < middle < high:
                middle = (low + high) // 2
            if self.attempt(middle, 1.0)[0] <= budget_bits:
                high = middle
                middle -= reach
            else:
                low = middle
                middle += reach
            reach *= 2
            if high - low <= reach:
                middle = (low + high) // 2
        return high

    def run(self, budget_bits: int, guess: int) -> FramePlan | None:
        """The plan with the least error that fits; None where none does."""
        qp = self.finest_fit(budget_bits, guess)
        best: FramePlan | None = None
        for offset, factor in _FINAL_TRIALS:
            bits, plan = self.attempt(
                min(max(qp + offset, 0), coefficients.NUM_QP - 1), factor, budget_bits
            )
            if bits <= budget_bits and (best is None or plan.error < best.error):
                best = plan
        return best


def _qp_cost(qp: int, reference: LowresState | None) -> float:
    if reference is None:
        return float(np.log2(coefficients.NUM_QP))
    index = qp - reference.qp + coefficients.NUM_QP - 1
    return float(-np.log2(QP_FREQUENCIES[index] / QP_FREQUENCIES.sum()))
