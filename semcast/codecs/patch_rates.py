"""How many reals each patch of a picture gets: rates in steps, which add up to what there is.

A map of rate indices, one a patch or one a square of patches, is what the receiver is told; both
ends make the same counts of it. Indices of zeros are the uniform rate, for which nothing need be
told.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PATCH = 16
"""Pixels per side of a patch."""

LEVELS = np.array([0, 2, 4, 8, 12, 16, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192])
"""Reals a patch, by rate index: 4 bits, as in NTSCC. Ours: finer where few are sent."""

_BISECTIONS = 40


def choose_indices(
    bits: NDArray[np.floating], total_reals: int, max_reals: int, group: int = 1
) -> NDArray[np.uint8]:
    """Rate indices k_i = eta bits_i, to the nearest step, of at most `total_reals` together.

    bits: of each patch, [rows, columns]. group: side of the squares of patches that share an index.
    max_reals: of a patch. Returns [ceil(rows / group), ceil(columns / group)]. eta is the largest
    that fits.
    """
    rows, columns = bits.shape
    tall, wide = -(-rows // group), -(-columns // group)
    sums = np.zeros((tall * group, wide * group))
    sizes = np.zeros_like(sums)
    sums[:rows, :columns], sizes[:rows, :columns] = bits, 1
    sums = sums.reshape(tall, group, wide, group).sum((1, 3))
    sizes = sizes.reshape(tall, group, wide, group).sum((1, 3))
    wanted = np.maximum(sums / sizes, 1e-6)
    usable = LEVELS[LEVELS <= max_reals]
    midpoints = (usable[1:] + usable[:-1]) / 2
    low, high = 0.0, 2.0 * max_reals / float(wanted.min())
    for _ in range(_BISECTIONS):
        eta = (low + high) / 2
        steps = usable[np.searchsorted(midpoints, eta * wanted)]
        low, high = (eta, high) if (steps * sizes).sum() <= total_reals else (low, eta)
    return np.asarray(np.searchsorted(midpoints, low * wanted), np.uint8)


def reals_of_patches(
    indices: NDArray[np.uint8],
    rows: int,
    columns: int,
    total_reals: int,
    max_reals: int,
    group: int = 1,
) -> NDArray[np.int64]:
    """Counts [rows, columns] of indices: their steps, and what is left of the total in even shares.

    The counts add up to `total_reals`. Raises ValueError where the indices ask for more, or where
    the total is more than all patches hold.
    """
    counts = np.repeat(np.repeat(LEVELS[indices], group, 0), group, 1)[:rows, :columns].ravel()
    left = total_reals - int(counts.sum())
    if left < 0:
        raise ValueError(f"rates ask for {-left} reals more than the {total_reals} there are")
    if total_reals > max_reals * len(counts) or counts.max() > max_reals:
        raise ValueError(f"{len(counts)} patches cannot hold {total_reals} reals")
    while left:
        open_patches = np.flatnonzero(counts < max_reals)
        share, rest = divmod(left, len(open_patches))
        more = np.full(len(open_patches), share)
        more[:rest] += 1
        more = np.minimum(more, max_reals - counts[open_patches])
        counts[open_patches] += more
        left -= int(more.sum())
    return counts.reshape(rows, columns)
