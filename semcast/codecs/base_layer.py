"""A picture's digital base: tiny frames by the low-res codec, which analogue symbols then refine.

Analogue symbols share power among what they carry: a few strong components (the colours of large
areas) would take most of it, where a few hundred bits tell them nearly as well. So those go as
bits, and what is left is small and even. A picture larger than a low-res frame can serve is coded
as a mosaic of them, one after the other in one range coder.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from semcast.codecs import lowres
from semcast.codecs.lowres_frame import LowresState
from semcast.codecs.range_payload import PayloadReader, PayloadWriter

GREY = 128
"""Of every pixel where there is no base."""

_TILE_SIDE = 256
"""Pixels of the picture, at most, that a low-res frame stands for."""

Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class BaseLayout:
    """rows x columns low-res frames of one geometry make the base of a picture."""

    width: int
    height: int
    rows: int
    columns: int
    geometry: lowres.LowresGeometry

    @property
    def count(self) -> int:
        """Of low-res frames."""
        return self.rows * self.columns


def base_layout(width: int, height: int, num_bits: int) -> BaseLayout | None:
    """Layout of the base of a picture in so many bits; None where they are too few for one."""
    rows, columns = -(-height // _TILE_SIDE), -(-width // _TILE_SIDE)
    each = num_bits // (rows * columns)
    if each < lowres.MIN_BUDGET_BITS + 2:
        return None
    geometry = lowres.geometry_for(-(-width // columns), -(-height // rows), each)
    return BaseLayout(width, height, rows, columns, geometry)


def encode_base(
    picture: Picture, layout: BaseLayout, num_bits: int
) -> tuple[NDArray[np.uint8], Picture]:
    """The payload, num_bits long, and the base that both ends then have, [H, W, 3]."""
    states: list[LowresState] = []
    writer = PayloadWriter()
    for index, tile in enumerate(_shrunk(picture, layout)):
        # Each has an even share of what those before it left.
        written = writer.num_bits
        budget = written + (num_bits - written) // (layout.count - index)
        writer, state = lowres.write(tile, None, budget, writer)
        states.append(state)
    payload = np.zeros(num_bits, np.uint8)
    bits = writer.finish()
    payload[: len(bits)] = bits
    return payload, _assembled(states, layout)


def read_base(reader: PayloadReader, layout: BaseLayout) -> Picture:
    """The base, [H, W, 3]. Raises CorruptPayloadError for bits that nothing writes."""
    states = [lowres.read(reader, None, layout.geometry) for _ in range(layout.count)]
    return _assembled(states, layout)


def no_base(width: int, height: int) -> Picture:
    """What stands for a base where none was sent."""
    return np.full((height, width, 3), GREY, np.uint8)


def _shrunk(picture: Picture, layout: BaseLayout) -> list[Picture]:
    geometry = layout.geometry
    size = layout.columns * geometry.width, layout.rows * geometry.height
    small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    return [
        np.ascontiguousarray(tile)
        for row in np.split(small, layout.rows, 0)
        for tile in np.split(row, layout.columns, 1)
    ]


def _assembled(states: list[LowresState], layout: BaseLayout) -> Picture:
    tiles = [state.rgb for state in states]
    columns = layout.columns
    rows = [np.concatenate(tiles[k : k + columns], 1) for k in range(0, len(tiles), columns)]
    size = layout.width, layout.height
    mosaic = np.concatenate(rows, 0)
    return np.asarray(cv2.resize(mosaic, size, interpolation=cv2.INTER_CUBIC), np.uint8)
