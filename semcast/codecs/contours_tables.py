"""Entropy tables of the contour codec: frequencies that every frame starts from."""

import numpy as np
from numpy.typing import NDArray

STEP = 32
_SIZES = {
    # name: (contexts, symbols)
    "unchanged": (1, 2),
    "mode": (4, 4),
    "motion": (2, 14),
    "shape": (2, 14),
    "edit": (3, 2),
    "new": (1, 2),
    "new_id": (1, 2),
    "kind": (2, 3),
    "level": (5, 6),
    "start": (1, 14),
    "rings": (1, 4),
    "span": (1, 8),
    "count": (1, 8),
    "close": (5, 2),
    "length": (5, 12),
    "turn": (10, 32),
}
PRIORS: dict[str, NDArray[np.int64]] = {
    name: np.full(shape, 64, dtype=np.int64) for name, shape in _SIZES.items()
}
