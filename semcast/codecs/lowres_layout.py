"""In which order the coefficients of a tiny frame are coded, and which of them are neighbours.

Plane by plane; within a plane frequency by frequency (low to high), within a frequency block by
block in raster order. So when a coefficient is coded every lower frequency of the whole plane is
known, and with it the blocks to the right and below.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

COUNT_SIZES = (
    0, 1, 2, 3, 4, 6, 8, 12, 16, 23, 32, 46, 64, 91, 128, 182, 256, 363, 512, 725, 1024, 1449,
    2048, 2897, 4096, 5793, 8192, 11586, 16384,
)  # fmt: skip
"""How many frequencies of a plane may be coded: half-octave steps up to those of 128 x 128."""
NUM_COUNTS = len(COUNT_SIZES)

# Squared radial frequency (half cycles a picture or block side) where a new class begins.
_CLASS_BORDERS = (1, 2, 3, 5, 6, 10, 14, 19, 26, 36, 50, 70, 100, 145, 210, 300, 450, 700)
NUM_CLASSES = len(_CLASS_BORDERS) + 1


@dataclass(frozen=True)
class BlockLayout:
    """How a plane of a given size is cut into blocks and frequencies (all int32 arrays)."""

    block: tuple[int, int]
    """(height, width) of a block."""
    num_blocks: int
    scan: NDArray[np.intp]
    """[frequencies]: index into the flattened block, low frequency first."""
    frequencies: NDArray[np.int32]
    """[frequencies, 6]: scan positions of the coefficients left, above, diagonal, two left, two
    above (`frequencies` itself = none), then the radial class."""
    blocks: NDArray[np.int32]
    """[blocks, 6]: the blocks W, N, NW, NE, E, S (`num_blocks` = none)."""
    counts: NDArray[np.int32]
    """[NUM_COUNTS]: how many frequencies each count symbol stands for."""
    area_log: int
    """16 * log2 of the plane's pixels, less that of 16 x 16."""


@lru_cache(maxsize=64)
def block_layout(height: int, width: int, block_height: int, block_width: int) -> BlockLayout:
    """Layout of a plane height x width in blocks that divide it."""
    num = block_height * block_width
    v, u = np.divmod(np.arange(num), block_width)
    ranks = np.lexsort((u, u * block_height + v * block_width))
    position = np.empty((block_height + 2, block_width + 2), dtype=np.int32)
    position.fill(num)
    inner = np.empty(num, dtype=np.int32)
    inner[ranks] = np.arange(num)
    position[2:, 2:] = inner.reshape(block_height, block_width)
    # u, v as if the block were a square of its area, so that shapes share their classes.
    radius = ((u * block_height) ** 2 + (v * block_width) ** 2) // num
    radial = np.searchsorted(np.array(_CLASS_BORDERS), radius, side="right")
    frequency_rows = []
    for index in ranks:
        y, x = int(v[index]) + 2, int(u[index]) + 2
        near = ((y, x - 1), (y - 1, x), (y - 1, x - 1), (y, x - 2), (y - 2, x))
        frequency_rows.append([*(int(position[at]) for at in near), int(radial[index])])
    rows, columns = height // block_height, width // block_width
    count = rows * columns
    grid = np.full((rows + 2, columns + 2), count, dtype=np.int32)
    grid[1:-1, 1:-1] = np.arange(count).reshape(rows, columns)
    block_rows = [
        [
            int(grid[y + dy, x + dx])
            for dy, dx in ((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, 1), (1, 0))
        ]
        for y in range(1, rows + 1)
        for x in range(1, columns + 1)
    ]
    return BlockLayout(
        block=(block_height, block_width),
        num_blocks=count,
        scan=ranks.astype(np.intp),
        frequencies=np.array(frequency_rows, dtype=np.int32),
        blocks=np.array(block_rows, dtype=np.int32),
        counts=np.minimum(np.array(COUNT_SIZES, dtype=np.int32), num),
        area_log=round(16 * float(np.log2(height * width / 256))),
    )


def to_scan(layout: BlockLayout, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    """[3, blocks, bh, bw] to scan order [3, blocks, frequencies]."""
    return np.ascontiguousarray(coefficients.reshape(3, layout.num_blocks, -1)[:, :, layout.scan])
