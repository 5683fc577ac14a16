"""What one payload of the low-res codec says, bit by bit, and the picture it stands for.

Payload (range-coded with constriction; symbols in this order, tables in `lowres_tables`):

| symbol | alphabet | present |
|---|---|---|
| prediction | 0 intra, 1 reference as it is, 2 reference with motion | with a reference |
| transform | 0: 8x8, 1: 16x16, 2: whole frame | always |
| filter | 4 strengths of the loop filter | always |
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
from semcast.codecs import lowres_filter as loop_filter
from semcast.codecs import lowres_motion as motion
from semcast.codecs import lowres_tables as tables
from semcast.codecs.errors import CorruptPayloadError
from semcast.codecs.lowres_picture import (
    LowresGeometry,
    clip_planes,
    forward_transform,
    inverse_transform,
    rgb_from_planes,
)
from semcast.codecs.range_payload import PayloadReader, PayloadWriter, categorical

INTRA, STATIC, MOTION = 0, 1, 2
MEAN_STEPS = (112, 192, 208)
"""Steps of the mean colour per plane, 1/16 levels."""
MEAN_COUNTS = (64, 32, 32)

_PREDICTION_MODEL = categorical(tables.PREDICTION)
_TRANSFORM_MODELS = [categorical(row) for row in tables.TRANSFORM]
_FILTER_MODEL = categorical(tables.FILTER)
QP_FREQUENCIES = coefficients.signed_frequencies(np.array(tables.QP_CHANGE))
_QP_CHANGE_MODEL = categorical(QP_FREQUENCIES)
_QP_MODEL = categorical([1] * coefficients.NUM_QP)
_MEAN_MODELS = [categorical([1] * count) for count in MEAN_COUNTS]
_MOTION_FREQUENCIES = np.stack(
    [coefficients.signed_frequencies(np.array(row)) for row in tables.MOTION]
)
_MOTION_MODELS = [categorical(row) for row in _MOTION_FREQUENCIES]
MOTION_COSTS = coefficients.bit_costs(_MOTION_FREQUENCIES)


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


@dataclass(frozen=True)
class FramePlan:
    """Everything that one frame's payload says."""

    prediction: int
    transform: int
    qp: int
    means: tuple[int, int, int]
    field: NDArray[np.int32] | None
    values: NDArray[np.int32]
    counts: NDArray[np.int32]
    error: float
    filter: int = 0


def block_shape(transform: int, geometry: LowresGeometry) -> tuple[int, int] | None:
    """(height, width) of the transform's blocks; None where the frame has no such blocks."""
    if transform == 2:
        return geometry.height, geometry.width
    side = 8 << transform
    if geometry.height % side or geometry.width % side:
        return None
    return side, side


def layout_of(transform: int, geometry: LowresGeometry) -> coefficients.BlockLayout:
    block = block_shape(transform, geometry)
    if block is None:
        raise CorruptPayloadError(f"a frame of {geometry} has no blocks of {8 << transform}")
    return coefficients.block_layout(geometry.height, geometry.width, *block)


def mode_of(prediction: int, transform: int) -> int:
    return transform + (3 if prediction != INTRA else 0)


def mean_planes(means: tuple[int, int, int], geometry: LowresGeometry) -> NDArray[np.int32]:
    """A plain picture of the coded mean colour."""
    colour = [
        means[0] * MEAN_STEPS[0],
        (means[1] - MEAN_COUNTS[1] // 2) * MEAN_STEPS[1],
        (means[2] - MEAN_COUNTS[2] // 2) * MEAN_STEPS[2],
    ]
    planes = np.empty((3, geometry.height, geometry.width), dtype=np.int32)
    planes[:] = np.array(colour, dtype=np.int32)[:, None, None]
    return planes


def predicted_planes(
    prediction: int,
    means: tuple[int, int, int],
    field: NDArray[np.int32] | None,
    reference: LowresState | None,
    geometry: LowresGeometry,
) -> NDArray[np.int32]:
    """The prediction, int32 planes [3, h, w]."""
    if prediction == INTRA or reference is None:
        return mean_planes(means, geometry)
    if field is None:
        return reference.planes
    return motion.predict(reference.quarter_pel, field)


def prediction_feature(
    prediction: int, predicted: NDArray[np.int32], layout: coefficients.BlockLayout, qp: int
) -> NDArray[np.int32]:
    """What the context model knows of the prediction; nothing of a plain colour."""
    if prediction == INTRA:
        return np.zeros((3, layout.num_blocks, len(layout.scan)), dtype=np.int32)
    scanned = coefficients.to_scan(layout, forward_transform(predicted, layout.block))
    return coefficients.prediction_logs(layout, scanned, qp)


def reconstruct(
    plan: FramePlan, reference: LowresState | None, geometry: LowresGeometry
) -> LowresState:
    layout = layout_of(plan.transform, geometry)
    predicted = predicted_planes(plan.prediction, plan.means, plan.field, reference, geometry)
    scanned = coefficients.dequantise_all(plan.values, int(coefficients.STEPS[plan.qp]))
    blocks = np.empty_like(scanned)
    blocks[:, :, layout.scan] = scanned
    residual = inverse_transform(
        blocks.reshape(3, layout.num_blocks, *layout.block), (geometry.height, geometry.width)
    )
    planes = loop_filter.smooth(
        clip_planes(predicted + residual),
        int(coefficients.STEPS[plan.qp]),
        loop_filter.STRENGTHS[plan.filter],
    )
    return LowresState(planes=clip_planes(planes), qp=plan.qp)


def write_frame(
    writer: PayloadWriter,
    plan: FramePlan,
    reference: LowresState | None,
    geometry: LowresGeometry,
) -> None:
    if reference is not None:
        writer.write(plan.prediction, _PREDICTION_MODEL)
    writer.write(plan.transform, _TRANSFORM_MODELS[plan.prediction])
    writer.write(plan.filter, _FILTER_MODEL)
    if reference is None:
        writer.write(plan.qp, _QP_MODEL)
    else:
        writer.write(plan.qp - reference.qp + coefficients.NUM_QP - 1, _QP_CHANGE_MODEL)
    if plan.prediction == INTRA:
        for mean, model in zip(plan.means, _MEAN_MODELS, strict=True):
            writer.write(mean, model)
    if plan.field is not None:
        _write_field(writer, plan.field)
    layout = layout_of(plan.transform, geometry)
    predicted = predicted_planes(plan.prediction, plan.means, plan.field, reference, geometry)
    coefficients.write_coefficients(
        writer,
        layout,
        prediction_feature(plan.prediction, predicted, layout, plan.qp),
        mode_of(plan.prediction, plan.transform),
        plan.qp,
        plan.values,
        plan.counts,
    )


def read_frame(
    reader: PayloadReader, reference: LowresState | None, geometry: LowresGeometry
) -> FramePlan:
    prediction = INTRA if reference is None else reader.read(_PREDICTION_MODEL)
    transform = reader.read(_TRANSFORM_MODELS[prediction])
    filter_symbol = reader.read(_FILTER_MODEL)
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
    layout = layout_of(transform, geometry)
    predicted = predicted_planes(prediction, means, field, reference, geometry)
    values = coefficients.read_coefficients(
        reader,
        layout,
        prediction_feature(prediction, predicted, layout, qp),
        mode_of(prediction, transform),
        qp,
    )
    counts = np.zeros(3, dtype=np.int32)
    return FramePlan(prediction, transform, qp, means, field, values, counts, 0.0, filter_symbol)


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
