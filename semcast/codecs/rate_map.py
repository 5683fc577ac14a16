"""A map of rate indices in a payload: each index given those to its left and above, range-coded.

Where the bits are too few, indices near their prediction are replaced by it: the map becomes
smoother until it fits.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from semcast.codecs.errors import CorruptPayloadError
from semcast.codecs.patch_rates import LEVELS
from semcast.codecs.range_payload import Categorical, PayloadReader, PayloadWriter, categorical

NUM_INDICES = len(LEVELS)
START_INDEX = 8
"""Prediction of the first index; ours."""

_DECAYS = (0.28, 0.40, 0.50, 0.72)
"""How much less likely each step away from the prediction is, by how much its neighbours differ.
Measured on twelve training clips, at 8 to 60 reals a patch and all three sizes of squares."""
_PRECISION = 1 << 16


@functools.cache
def _model(prediction: int, context: int) -> Categorical:
    distance = np.abs(np.arange(NUM_INDICES) - prediction)
    likely = _DECAYS[context] ** distance
    return categorical(1 + np.floor(_PRECISION * likely / likely.sum()).astype(np.int64))


def _neighbours(indices: NDArray[np.uint8], row: int, column: int) -> tuple[int, int]:
    """Prediction and context of an index, from those coded before it."""
    left = int(indices[row, column - 1]) if column else None
    above = int(indices[row - 1, column]) if row else None
    if left is None or above is None:
        known = left if left is not None else above
        return (START_INDEX, 3) if known is None else (known, 2)
    return (left + above) // 2, min(3, (abs(left - above) + 1) // 2)


def smoothed(indices: NDArray[np.uint8], tolerance: int) -> NDArray[np.uint8]:
    """The map with indices replaced by their prediction where that is at most `tolerance` off."""
    result = indices.copy()
    for row in range(indices.shape[0]):
        for column in range(indices.shape[1]):
            prediction, _ = _neighbours(result, row, column)
            if abs(int(indices[row, column]) - prediction) <= tolerance:
                result[row, column] = prediction
    return result


def write_rate_map(writer: PayloadWriter, indices: NDArray[np.uint8]) -> None:
    """Appends a map, [rows, columns] of 0..15."""
    for row in range(indices.shape[0]):
        for column in range(indices.shape[1]):
            writer.write(int(indices[row, column]), _model(*_neighbours(indices, row, column)))


def read_rate_map(reader: PayloadReader, rows: int, columns: int) -> NDArray[np.uint8]:
    """The map that was written. Raises CorruptPayloadError for bits that no map gives."""
    indices = np.zeros((rows, columns), np.uint8)
    for row in range(rows):
        for column in range(columns):
            index = reader.read(_model(*_neighbours(indices, row, column)))
            if index >= NUM_INDICES:
                raise CorruptPayloadError(f"rate index {index} of {NUM_INDICES}")
            indices[row, column] = index
    return indices
