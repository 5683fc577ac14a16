"""What one payload of the low-res codec says, bit by bit, and the picture it stands for.

Payload (range-coded with constriction; symbols in this order, tables in `lowres_tables`):

| symbol | alphabet | present |
|---|---|---|
| kind | prediction: 0 intra, 1 reference held, 2 reference moved; 3-5: the same, empty | always |
| mean colour | 32 x 23 x 27 | intra |
| motion vectors | per 8x8 block dy, dx less the median predictor, quarter pels | motion |
| blur | 3 strengths, of the prediction | motion; reference held, if not empty |
| transform | 0: 8x8, 1: 16x16 (12x12), 2: whole frame | unless empty |
| filter | 4 strengths of the loop filter | unless empty |
| qp | 0..45; if not intra the change from the reference's, -45..45 | unless empty |
| per plane: count | number of frequencies | unless empty |
| per plane: values | frequency-major, see `lowres_coefficients` | unless empty |

and zeros up to the budget. Empty: no coefficients. Without a reference the kind is 0 or 3.
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
from semcast.codecs.lowres_layout import BlockLayout, block_layout, to_scan
from semcast.codecs.lowres_picture import (
    LowresGeometry,
    clip_planes,
    forward_transform,
    inverse_transform,
    rgb_from_planes,
)
from semcast.codecs.range_payload import PayloadReader, PayloadWriter, categorical

INTRA, STATIC, MOTION = 0, 1, 2
EMPTY = 3
"""Added to the prediction: the kind of a frame without coefficients."""
MEAN_STEPS = (224, 256, 256)
"""Steps of the mean colour per plane, 1/16 levels."""
MEAN_COUNTS = (32, 23, 27)
FIRST_QP = 36
"""The qp that the frame after a plain colour starts from."""

KIND_FREQUENCIES = np.array(tables.KIND)  # [2: without and with a reference, 6]
_KIND_MODELS = [categorical(row) for row in KIND_FREQUENCIES]
_TRANSFORM_MODELS = [categorical(row) for row in tables.TRANSFORM]
_FILTER_MODELS = [categorical(row) for row in tables.FILTER]
_BLUR_MODELS = [categorical(row) for row in tables.BLUR]
QP_FREQUENCIES = np.stack(
    [coefficients.signed_frequencies(np.array(row)) for row in tables.QP_CHANGE]
)
_QP_CHANGE_MODELS = [categorical(row) for row in QP_FREQUENCIES]
_QP_MODEL = categorical(tables.QP_FIRST)
_MEAN_MODELS = [
    categorical(row[:count]) for row, count in zip(tables.MEANS, MEAN_COUNTS, strict=True)
]
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
    change: NDArray[np.int32]
    """[3, h, w] planes less their prediction: where the next frame is likely to change, too."""

    def __post_init__(self) -> None:
        self.planes.setflags(write=False)
        self.change.setflags(write=False)

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
        return (
            self.qp == other.qp
            and np.array_equal(self.planes, other.planes)
            and np.array_equal(self.change, other.change)
        )


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
    blur: int = 0
    empty: bool = False


def block_shape(transform: int, geometry: LowresGeometry) -> tuple[int, int] | None:
    """(height, width) of the transform's blocks; None where the frame has no such blocks."""
    if transform == 2:
        return geometry.height, geometry.width
    for side in (8,) if transform == 0 else (16, 12):
        if geometry.height % side == 0 and geometry.width % side == 0:
            return side, side
    return None


def layout_of(transform: int, geometry: LowresGeometry) -> BlockLayout:
    block = block_shape(transform, geometry)
    if block is None:
        raise CorruptPayloadError(f"a frame of {geometry} has no blocks of 16 or 12")
    return block_layout(geometry.height, geometry.width, *block)


def mode_of(prediction: int, transform: int) -> int:
    return transform + 3 * prediction


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
    blur: int,
    reference: LowresState | None,
    geometry: LowresGeometry,
) -> NDArray[np.int32]:
    """The prediction, int32 planes [3, h, w]."""
    if prediction == INTRA or reference is None:
        return mean_planes(means, geometry)
    planes = reference.planes if field is None else motion.predict(reference.quarter_pel, field)
    return loop_filter.blur(planes, blur)


def known_transforms(
    prediction: int,
    predicted: NDArray[np.int32],
    reference: LowresState | None,
    layout: BlockLayout,
) -> NDArray[np.float64] | None:
    """Coefficients that the context model knows beforehand, [2, 3, blocks, frequencies]: those of
    the prediction and of the reference's change; None (nothing) of a plain colour."""
    if prediction == INTRA or reference is None:
        return None
    return np.stack(
        [
            to_scan(layout, forward_transform(planes, layout.block))
            for planes in (predicted, reference.change)
        ]
    )


def known_scales(
    known: NDArray[np.float64] | None, layout: BlockLayout, qp: int
) -> NDArray[np.int32]:
    """Features 6 to 8 of the context model at a quantiser, from `known_transforms`."""
    if known is None:
        return np.zeros((3, 3, layout.num_blocks, len(layout.scan)), dtype=np.int32)
    return coefficients.known_logs(known, qp)


def reconstruct(
    plan: FramePlan, reference: LowresState | None, geometry: LowresGeometry
) -> LowresState:
    predicted = predicted_planes(
        plan.prediction, plan.means, plan.field, plan.blur, reference, geometry
    )
    if plan.empty:
        qp = FIRST_QP if reference is None else reference.qp
        return LowresState(clip_planes(predicted), qp, np.zeros_like(predicted))
    layout = layout_of(plan.transform, geometry)
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
    planes = clip_planes(planes)
    return LowresState(planes, plan.qp, planes - predicted)


def write_frame(
    writer: PayloadWriter,
    plan: FramePlan,
    reference: LowresState | None,
    geometry: LowresGeometry,
) -> None:
    kind = plan.prediction + EMPTY * plan.empty
    writer.write(kind, _KIND_MODELS[reference is not None])
    if plan.prediction == INTRA:
        for mean, model in zip(plan.means, _MEAN_MODELS, strict=True):
            writer.write(mean, model)
    if plan.field is not None:
        _write_field(writer, plan.field)
    if _has_blur(kind):
        writer.write(plan.blur, _BLUR_MODELS[plan.prediction])
    if plan.empty:
        return
    writer.write(plan.transform, _TRANSFORM_MODELS[plan.prediction])
    writer.write(plan.filter, _FILTER_MODELS[plan.prediction])
    if plan.prediction == INTRA or reference is None:
        writer.write(plan.qp, _QP_MODEL)
    else:
        change = plan.qp - reference.qp + coefficients.NUM_QP - 1
        writer.write(change, _QP_CHANGE_MODELS[plan.prediction - 1])
    layout = layout_of(plan.transform, geometry)
    predicted = predicted_planes(
        plan.prediction, plan.means, plan.field, plan.blur, reference, geometry
    )
    known = known_transforms(plan.prediction, predicted, reference, layout)
    coefficients.write_coefficients(
        writer,
        layout,
        known_scales(known, layout, plan.qp),
        mode_of(plan.prediction, plan.transform),
        plan.qp,
        plan.values,
        plan.counts,
    )


def read_frame(
    reader: PayloadReader, reference: LowresState | None, geometry: LowresGeometry
) -> FramePlan:
    kind = reader.read(_KIND_MODELS[reference is not None])
    prediction, empty = kind % EMPTY, kind >= EMPTY
    if reference is None and prediction != INTRA:
        raise CorruptPayloadError("a frame without a reference must be intra")
    means = (0, 0, 0)
    if prediction == INTRA:
        means = (
            reader.read(_MEAN_MODELS[0]),
            reader.read(_MEAN_MODELS[1]),
            reader.read(_MEAN_MODELS[2]),
        )
    field = _read_field(reader, geometry) if prediction == MOTION else None
    blur = reader.read(_BLUR_MODELS[prediction]) if _has_blur(kind) else 0
    nothing = np.zeros(3, dtype=np.int32)
    if empty:
        return FramePlan(prediction, 2, 0, means, field, nothing, nothing, 0.0, 0, blur, True)
    transform = reader.read(_TRANSFORM_MODELS[prediction])
    filter_symbol = reader.read(_FILTER_MODELS[prediction])
    if prediction == INTRA or reference is None:
        qp = reader.read(_QP_MODEL)
    else:
        change = reader.read(_QP_CHANGE_MODELS[prediction - 1])
        qp = reference.qp + change - (coefficients.NUM_QP - 1)
        if not 0 <= qp < coefficients.NUM_QP:
            raise CorruptPayloadError(f"qp {qp} is outside 0..{coefficients.NUM_QP - 1}")
    layout = layout_of(transform, geometry)
    predicted = predicted_planes(prediction, means, field, blur, reference, geometry)
    known = known_transforms(prediction, predicted, reference, layout)
    values = coefficients.read_coefficients(
        reader,
        layout,
        known_scales(known, layout, qp),
        mode_of(prediction, transform),
        qp,
    )
    return FramePlan(
        prediction, transform, qp, means, field, values, nothing, 0.0, filter_symbol, blur
    )


def _has_blur(kind: int) -> bool:
    return kind % EMPTY == MOTION or kind == STATIC


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
