"""The low-res frame codec: tiny colour frames at 100-1500 bits each, every frame the same budget.

A frame is predicted from one earlier reconstructed frame (the last one that the receiver has
acknowledged, or none), the rest is transformed by a DCT (blocks of 8, of 16, or the whole frame),
quantised with rate-distortion optimisation and range-coded under fixed context models. Nothing
else is remembered, so a lost frame costs itself only. Decoding is integer arithmetic throughout:
encoder and decoder hold the same state to the last bit on every machine.

Payload (range-coded with constriction; symbols in this order, tables in `lowres_tables`):

| symbol | alphabet | present |
|---|---|---|
| prediction | 0 intra, 1 reference as it is, 2 reference with motion | with a reference |
| transform | 0: 8x8, 1: 16x16, 2: whole frame | always |
| qp | 0..63 uniform; with a reference the change from its qp, -63..63 | always |
| mean colour | 64 x 32 x 32 uniform | intra |
| motion vectors | per 8x8 block dy, dx less the median predictor, quarter pels | motion |
| per plane: count | 32 frequency counts | always |
| per plane: values | frequency-major, see `lowres_coefficients` | always |

and zeros up to the budget.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from semcast.codecs import lowres_coefficients as coefficients
from semcast.codecs import lowres_motion as motion
from semcast.codecs import lowres_tables as tables
from semcast.codecs.errors import CorruptPayloadError
from semcast.codecs.lowres_picture import (
    MAX_SIDE,
    MIN_SIDE,
    LowresGeometry,
    clip_planes,
    forward_transform,
    inverse_transform,
    planes_from_rgb,
    rgb_from_planes,
    shrink,
)
from semcast.codecs.range_payload import PayloadReader, PayloadWriter, categorical
from semcast.errors import InputError

__all__ = [
    "MIN_BUDGET_BITS",
    "LowresGeometry",
    "LowresState",
    "decode",
    "encode",
    "geometry_for",
    "shrink",
]

MIN_BUDGET_BITS = 64
"""Smallest payload `encode` takes: an intra frame's header and empty planes always fit."""

INTRA, STATIC, MOTION = 0, 1, 2
_LAGRANGIAN = 0.13
"""Lagrangian in squared steps per bit; chosen on the training clips."""
_SEARCH_MARGIN_BITS = 2
_MAX_FACTOR = 1e6
_MEAN_STEPS = (112, 192, 208)
_MEAN_COUNTS = (64, 32, 32)

_PREDICTION_MODEL = categorical(tables.PREDICTION)
_TRANSFORM_MODELS = [categorical(row) for row in tables.TRANSFORM]
_QP_FREQUENCIES = coefficients.signed_frequencies(np.array(tables.QP_CHANGE))
_QP_CHANGE_MODEL = categorical(_QP_FREQUENCIES)
_QP_MODEL = categorical([1] * coefficients.NUM_QP)
_MEAN_MODELS = [categorical([1] * count) for count in _MEAN_COUNTS]
_MOTION_FREQUENCIES = np.stack(
    [coefficients.signed_frequencies(np.array(row)) for row in tables.MOTION]
)
_MOTION_MODELS = [categorical(row) for row in _MOTION_FREQUENCIES]
_MOTION_COSTS = coefficients.bit_costs(_MOTION_FREQUENCIES)


@dataclass(frozen=True, eq=False)
class LowresState:
    """A reconstructed tiny frame: all that the next frame's coding may depend on."""

    planes: NDArray[np.int32]
    """[3, h, w] opponent planes in 1/16 levels (`lowres_picture`); read-only."""
    qp: int
    """Quantiser of the frame, predicts the next one's."""

    def __post_init__(self) -> None:
        self.planes.setflags(write=False)

    @property
    def geometry(self) -> LowresGeometry:
        """Size of the frame."""
        return LowresGeometry(width=self.planes.shape[2], height=self.planes.shape[1])

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """The picture, uint8 [h, w, 3]."""
        return rgb_from_planes(self.planes)

    @cached_property
    def quarter_pel(self) -> NDArray[np.int32]:
        """The planes interpolated for motion compensation, [3, 4h, 4w]."""
        return motion.upsample(self.planes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LowresState):
            return NotImplemented
        return self.qp == other.qp and np.array_equal(self.planes, other.planes)


def geometry_for(video_width: int, video_height: int, bits_per_frame: float) -> LowresGeometry:
    """Size of the tiny frames of a session, from numbers known at set-up.

    The area grows with the bits (measured on the training clips: see docs/CODECS.md), the aspect
    ratio follows the video's as far as multiples of 8 allow, and no side exceeds the video's by
    more than rounding to 16.
    """
    if video_width < 1 or video_height < 1:
        raise InputError(f"a video of {video_width}x{video_height} has no pixels to shrink")
    if not bits_per_frame > 0:
        raise InputError(f"bits per frame must be positive, not {bits_per_frame}")
    area = 1.9 * float(np.clip(bits_per_frame, 100.0, 6000.0))
    best = LowresGeometry(MIN_SIDE, MIN_SIDE)
    best_penalty = float("inf")
    limits = [max(MIN_SIDE, min(MAX_SIDE, side // 8 * 8)) for side in (video_width, video_height)]
    for width in range(MIN_SIDE, limits[0] + 1, 8):
        for height in range(MIN_SIDE, limits[1] + 1, 8):
            aspect = np.log(width / height * video_height / video_width)
            penalty = abs(np.log(width * height / area)) + 1.5 * abs(aspect)
            if penalty < best_penalty - 1e-9:
                best, best_penalty = LowresGeometry(width, height), penalty
    return best


@dataclass(frozen=True)
class _Plan:
    """Everything that one frame's payload says."""

    prediction: int
    transform: int
    qp: int
    means: tuple[int, int, int]
    field: NDArray[np.int32] | None
    values: NDArray[np.int32]
    counts: NDArray[np.int32]
    error: float


def encode(
    frame_rgb: NDArray[np.uint8], reference: LowresState | None, budget_bits: int
) -> tuple[NDArray[np.uint8], LowresState]:
    """Code a tiny frame into exactly `budget_bits`.

    `frame_rgb`: uint8 [h, w, 3], sides as in `LowresGeometry`. `reference`: a state the receiver
    holds, or None. Returns the payload, uint8 [budget_bits] of 0 and 1, and the state that
    `decode` will make of it with the same reference. Raises `InputError` for a budget under
    `MIN_BUDGET_BITS`, a picture of another kind, or a reference of another size.
    """
    if budget_bits < MIN_BUDGET_BITS:
        raise InputError(
            f"a low-res frame needs at least {MIN_BUDGET_BITS} bits, not {budget_bits}; "
            "raise the CBR or lower the frame rate"
        )
    if frame_rgb.ndim != 3 or frame_rgb.shape[2] != 3 or frame_rgb.dtype != np.uint8:
        raise InputError("a low-res frame must be uint8 [h, w, 3]")
    geometry = LowresGeometry(width=frame_rgb.shape[1], height=frame_rgb.shape[0])
    if reference is not None and reference.geometry != geometry:
        raise InputError(
            f"the reference is {reference.geometry}, the frame {geometry}; start without one"
        )
    target = planes_from_rgb(frame_rgb)
    room = budget_bits
    while True:
        plan = _plan_frame(target, reference, room)
        bits = _write(plan, reference, geometry)
        if len(bits) <= budget_bits:
            break
        room -= len(bits) - budget_bits
    payload = np.zeros(budget_bits, dtype=np.uint8)
    payload[: len(bits)] = bits
    return payload, _reconstruct(plan, reference, geometry)


def decode(
    bits: NDArray[np.uint8], reference: LowresState | None, geometry: LowresGeometry
) -> LowresState:
    """The frame that `encode` coded with the same reference.

    `bits`: uint8 [n] of 0 and 1. Any other bits give a wrong picture or `CorruptPayloadError`,
    in bounded time and memory.
    """
    if reference is not None and reference.geometry != geometry:
        raise InputError(f"the reference is {reference.geometry}, the session {geometry}")
    plan = _read(PayloadReader(bits), reference, geometry)
    return _reconstruct(plan, reference, geometry)


def _block_shape(transform: int, geometry: LowresGeometry) -> tuple[int, int] | None:
    """(height, width) of the transform's blocks; None where the frame has no such blocks."""
    if transform == 2:
        return geometry.height, geometry.width
    side = 8 << transform
    if geometry.height % side or geometry.width % side:
        return None
    return side, side


def _layout(transform: int, geometry: LowresGeometry) -> coefficients.BlockLayout:
    block = _block_shape(transform, geometry)
    if block is None:
        raise CorruptPayloadError(f"a frame of {geometry} has no blocks of {8 << transform}")
    return coefficients.block_layout(geometry.height, geometry.width, *block)


def _mode(prediction: int, transform: int) -> int:
    return transform + (3 if prediction != INTRA else 0)


def _mean_planes(means: tuple[int, int, int], geometry: LowresGeometry) -> NDArray[np.int32]:
    """A plain picture of the coded mean colour."""
    colour = [
        means[0] * _MEAN_STEPS[0],
        (means[1] - _MEAN_COUNTS[1] // 2) * _MEAN_STEPS[1],
        (means[2] - _MEAN_COUNTS[2] // 2) * _MEAN_STEPS[2],
    ]
    planes = np.empty((3, geometry.height, geometry.width), dtype=np.int32)
    planes[:] = np.array(colour, dtype=np.int32)[:, None, None]
    return planes


def _quantise_means(target: NDArray[np.int32]) -> tuple[int, int, int]:
    result = []
    for p in range(3):
        offset = 0 if p == 0 else _MEAN_COUNTS[p] // 2
        index = round(float(target[p].mean()) / _MEAN_STEPS[p]) + offset
        result.append(min(max(index, 0), _MEAN_COUNTS[p] - 1))
    return result[0], result[1], result[2]


def _predicted(
    prediction: int,
    means: tuple[int, int, int],
    field: NDArray[np.int32] | None,
    reference: LowresState | None,
    geometry: LowresGeometry,
) -> NDArray[np.int32]:
    """The prediction, int32 planes [3, h, w]."""
    if prediction == INTRA or reference is None:
        return _mean_planes(means, geometry)
    if field is None:
        return reference.planes
    return motion.predict(reference.quarter_pel, field)


def _prediction_feature(
    prediction: int, predicted: NDArray[np.int32], layout: coefficients.BlockLayout, qp: int
) -> NDArray[np.int32]:
    """What the context model knows of the prediction; nothing of a plain colour."""
    if prediction == INTRA:
        return np.zeros((3, layout.num_blocks, len(layout.scan)), dtype=np.int32)
    scanned = coefficients.to_scan(layout, forward_transform(predicted, layout.block))
    return coefficients.prediction_logs(layout, scanned, qp)


def _reconstruct(
    plan: _Plan, reference: LowresState | None, geometry: LowresGeometry
) -> LowresState:
    layout = _layout(plan.transform, geometry)
    predicted = _predicted(plan.prediction, plan.means, plan.field, reference, geometry)
    scanned = coefficients.dequantise_all(plan.values, int(coefficients.STEPS[plan.qp]))
    blocks = np.empty_like(scanned)
    blocks[:, :, layout.scan] = scanned
    residual = inverse_transform(
        blocks.reshape(3, layout.num_blocks, *layout.block), (geometry.height, geometry.width)
    )
    return LowresState(planes=clip_planes(predicted + residual), qp=plan.qp)


def _write(
    plan: _Plan, reference: LowresState | None, geometry: LowresGeometry
) -> NDArray[np.uint8]:
    writer = PayloadWriter()
    if reference is not None:
        writer.write(plan.prediction, _PREDICTION_MODEL)
    writer.write(plan.transform, _TRANSFORM_MODELS[plan.prediction])
    if reference is None:
        writer.write(plan.qp, _QP_MODEL)
    else:
        writer.write(plan.qp - reference.qp + coefficients.NUM_QP - 1, _QP_CHANGE_MODEL)
    if plan.prediction == INTRA:
        for mean, model in zip(plan.means, _MEAN_MODELS, strict=True):
            writer.write(mean, model)
    if plan.field is not None:
        _write_field(writer, plan.field)
    layout = _layout(plan.transform, geometry)
    predicted = _predicted(plan.prediction, plan.means, plan.field, reference, geometry)
    coefficients.write_coefficients(
        writer,
        layout,
        _prediction_feature(plan.prediction, predicted, layout, plan.qp),
        _mode(plan.prediction, plan.transform),
        plan.qp,
        plan.values,
        plan.counts,
    )
    return writer.finish()


def _read(reader: PayloadReader, reference: LowresState | None, geometry: LowresGeometry) -> _Plan:
    prediction = INTRA if reference is None else reader.read(_PREDICTION_MODEL)
    transform = reader.read(_TRANSFORM_MODELS[prediction])
    if reference is None:
        qp = reader.read(_QP_MODEL)
    else:
        qp = reference.qp + reader.read(_QP_CHANGE_MODEL) - (coefficients.NUM_QP - 1)
        if not 0 <= qp < coefficients.NUM_QP:
            raise CorruptPayloadError(f"qp {qp} is outside 0..{coefficients.NUM_QP - 1}")
    means = (0, 0, 0)
    if prediction == INTRA:
        means = (
            reader.read(_MEAN_MODELS[0]),
            reader.read(_MEAN_MODELS[1]),
            reader.read(_MEAN_MODELS[2]),
        )
    field = _read_field(reader, geometry) if prediction == MOTION else None
    layout = _layout(transform, geometry)
    predicted = _predicted(prediction, means, field, reference, geometry)
    values = coefficients.read_coefficients(
        reader,
        layout,
        _prediction_feature(prediction, predicted, layout, qp),
        _mode(prediction, transform),
        qp,
    )
    counts = np.zeros(3, dtype=np.int32)
    return _Plan(prediction, transform, qp, means, field, values, counts, 0.0)


def _write_field(writer: PayloadWriter, field: NDArray[np.int32]) -> None:
    for by in range(field.shape[0]):
        for bx in range(field.shape[1]):
            dy, dx, spread = motion.median_predictor(field, by, bx)
            model = _MOTION_MODELS[motion.motion_context(spread)]
            writer.write(int(field[by, bx, 0]) - dy + 2 * motion.MAX_MOTION, model)
            writer.write(int(field[by, bx, 1]) - dx + 2 * motion.MAX_MOTION, model)


def _read_field(reader: PayloadReader, geometry: LowresGeometry) -> NDArray[np.int32]:
    field = np.zeros(
        (geometry.height // motion.BLOCK, geometry.width // motion.BLOCK, 2), dtype=np.int32
    )
    for by in range(field.shape[0]):
        for bx in range(field.shape[1]):
            dy, dx, spread = motion.median_predictor(field, by, bx)
            model = _MOTION_MODELS[motion.motion_context(spread)]
            vector = (
                dy + reader.read(model) - 2 * motion.MAX_MOTION,
                dx + reader.read(model) - 2 * motion.MAX_MOTION,
            )
            if max(abs(vector[0]), abs(vector[1])) > motion.MAX_MOTION:
                raise CorruptPayloadError(f"motion vector {vector} is out of range")
            field[by, bx] = vector
    return field


def _plan_frame(
    target: NDArray[np.int32], reference: LowresState | None, budget_bits: int
) -> _Plan:
    """The best frame within the budget: least squared error over predictions and transforms."""
    geometry = LowresGeometry(width=target.shape[2], height=target.shape[1])
    candidates: list[tuple[int, NDArray[np.int32] | None]] = []
    means = _quantise_means(target)
    if reference is not None:
        step = float(coefficients.STEPS[reference.qp])
        field = motion.search(
            target, reference.quarter_pel, _MOTION_COSTS, _LAGRANGIAN * step * step
        )
        moved = motion.predict(reference.quarter_pel, field)
        error_static = _squared_error(target, reference.planes)
        error_moved = _squared_error(target, moved)
        if error_moved < error_static:
            candidates.append((MOTION, field))
        if error_static < 1.6 * error_moved or not candidates:
            candidates.append((STATIC, None))
        error_plain = _squared_error(target, _mean_planes(means, geometry))
        if min(error_static, error_moved) > 0.25 * error_plain:
            candidates.append((INTRA, None))
    else:
        candidates.append((INTRA, None))
    best: _Plan | None = None
    for prediction, field_or_none in candidates:
        for transform in range(3):
            if _block_shape(transform, geometry) is None:
                continue
            if transform == 2 and _block_shape(1, geometry) == _block_shape(2, geometry):
                continue
            plan = _plan_candidate(
                target, reference, budget_bits, prediction, transform, means, field_or_none
            )
            if plan is not None and (best is None or plan.error < best.error):
                best = plan
    if best is None:  # not even the headers fit: an empty frame at the same quantiser
        return _empty_plan(means, reference, geometry)
    return best


def _empty_plan(
    means: tuple[int, int, int], reference: LowresState | None, geometry: LowresGeometry
) -> _Plan:
    """The shortest frame there is: the mean colour, or the reference once more."""
    layout = _layout(2, geometry)
    values = np.zeros((3, layout.num_blocks, len(layout.scan)), dtype=np.int32)
    prediction = INTRA if reference is None else STATIC
    qp = coefficients.NUM_QP // 2 if reference is None else reference.qp
    return _Plan(prediction, 2, qp, means, None, values, np.zeros(3, dtype=np.int32), 0.0)


def _squared_error(a: NDArray[np.int32], b: NDArray[np.int32]) -> float:
    difference = (a - b).astype(np.float64)
    return float(np.sum(difference * difference))


def _header_cost(
    prediction: int, transform: int, field: NDArray[np.int32] | None, reference: LowresState | None
) -> float:
    """Bits before the coefficients, without the qp."""
    row = np.array(tables.TRANSFORM[prediction])
    cost = float(-np.log2(row[transform] / row.sum()))
    if reference is not None:
        kinds = np.array(tables.PREDICTION)
        cost += float(-np.log2(kinds[prediction] / kinds.sum()))
    if prediction == INTRA:
        cost += float(np.log2(np.prod(_MEAN_COUNTS)))
    if field is not None:
        cost += motion.field_cost(field, _MOTION_COSTS) / 256
    return cost


def _plan_candidate(
    target: NDArray[np.int32],
    reference: LowresState | None,
    budget_bits: int,
    prediction: int,
    transform: int,
    means: tuple[int, int, int],
    field: NDArray[np.int32] | None,
) -> _Plan | None:
    """Quantiser search for one prediction and transform; None where nothing fits."""
    geometry = LowresGeometry(width=target.shape[2], height=target.shape[1])
    layout = _layout(transform, geometry)
    mode = _mode(prediction, transform)
    predicted = _predicted(prediction, means, field, reference, geometry)
    residual = coefficients.to_scan(layout, forward_transform(target - predicted, layout.block))
    known = (
        None
        if prediction == INTRA
        else coefficients.to_scan(layout, forward_transform(predicted, layout.block))
    )
    header = _header_cost(prediction, transform, field, reference) + _SEARCH_MARGIN_BITS
    shape = residual.shape

    def attempt(qp: int, factor: float) -> tuple[float, _Plan]:
        feature = (
            np.zeros(shape, dtype=np.int32)
            if known is None
            else coefficients.prediction_logs(layout, known, qp)
        )
        values = np.empty(shape, dtype=np.int32)
        counts = np.zeros(3, dtype=np.int32)
        step = float(coefficients.STEPS[qp])
        cost, error = coefficients.quantise(
            residual, feature, layout.frequencies, layout.blocks, layout.counts,
            mode, qp, _LAGRANGIAN * factor * step * step, values, counts,
        )  # fmt: skip
        bits = header + cost / 256 + _qp_cost(qp, reference)
        return bits, _Plan(prediction, transform, qp, means, field, values, counts, error)

    best: _Plan | None = None
    low, high = -1, coefficients.NUM_QP - 1  # low does not fit; high is the coarsest
    factor = 1.0
    bits, plan = attempt(high, factor)
    while bits > budget_bits:  # hardly any bits at all: drop what is worth least
        factor *= 1.5
        if factor > _MAX_FACTOR:
            return None
        bits, plan = attempt(high, factor)
    best = plan
    guess = reference.qp if reference is not None else 40
    while high - low > 1:
        middle = guess if low < guess < high else (low + high) // 2
        guess = middle - 3 if guess == middle and guess >= 0 else -1
        bits, plan = attempt(middle, 1.0)
        if bits <= budget_bits:
            high = middle
            if plan.error < best.error:
                best = plan
        else:
            low = middle
            guess = middle + 3 if guess != -1 else -1
    # Left-over bits: the finer quantiser with a larger Lagrangian, the same one with a smaller.
    for qp, factors in ((high - 1, (1.25, 1.6)), (high, (0.85, 0.7, 0.5))):
        if qp < 0:
            continue
        for factor in factors:
            bits, plan = attempt(qp, factor)
            if bits <= budget_bits and plan.error < best.error:
                best = plan
    return best


def _qp_cost(qp: int, reference: LowresState | None) -> float:
    if reference is None:
        return float(np.log2(coefficients.NUM_QP))
    index = qp - reference.qp + coefficients.NUM_QP - 1
    return float(-np.log2(_QP_FREQUENCIES[index] / _QP_FREQUENCIES.sum()))
