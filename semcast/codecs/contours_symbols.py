"""Symbols of the contour codec: adaptive tables, and the three that fill them.

`code_frame` (contours_syntax) names every symbol of a frame in order, once, for all: a
`SymbolWriter` writes the value it is given, a `SymbolReader` returns the one it reads, a
`SymbolCounter` adds up what it would cost. All start a frame from the same fitted frequencies and
raise each coded symbol's frequency by `STEP`, so the tables adapt within a frame and nowhere else.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from semcast.codecs.contours_directions import direction_frequencies
from semcast.codecs.contours_tables import PRIORS, STEP
from semcast.codecs.range_payload import PayloadReader, PayloadWriter, categorical

Frequencies = NDArray[np.int64]


class SymbolCoder(Protocol):
    """What `code_frame` needs: each call takes the value (ignored by a reader), returns it."""

    def adaptive(self, table: str, context: int, size: int, value: int) -> int:
        """A symbol below `size` under a table of `contours_tables`."""
        ...

    def turn(self, before: tuple[int, int], last_turn: int, radius: int, value: int) -> int:
        """A position on the square of `radius`, after the edge `before`."""
        ...

    def uniform(self, size: int, value: int) -> int:
        """A symbol below `size`, all alike."""
        ...


class _Tables:
    def __init__(self) -> None:
        self._tables = {name: prior.copy() for name, prior in PRIORS.items()}

    def row(self, table: str, context: int, size: int) -> Frequencies:
        return self._tables[table][context, :size]

    def adapt(self, table: str, context: int, value: int) -> None:
        self._tables[table][context, value] += STEP


class SymbolWriter:
    """Writes into a payload."""

    def __init__(self, writer: PayloadWriter) -> None:
        self._writer = writer
        self._tables = _Tables()

    def adaptive(self, table: str, context: int, size: int, value: int) -> int:
        if size > 1:
            self._writer.write(value, categorical(self._tables.row(table, context, size)))
            self._tables.adapt(table, context, value)
        return value

    def turn(self, before: tuple[int, int], last_turn: int, radius: int, value: int) -> int:
        frequencies = direction_frequencies(PRIORS["turn"], *before, last_turn, radius)
        self._writer.write(value, categorical(frequencies))
        return value

    def uniform(self, size: int, value: int) -> int:
        if size > 1:
            self._writer.write(value, categorical(np.ones(size, dtype=np.int64)))
        return value


class SymbolReader:
    """Reads from a payload."""

    def __init__(self, reader: PayloadReader) -> None:
        self._reader = reader
        self._tables = _Tables()

    def adaptive(self, table: str, context: int, size: int, value: int) -> int:
        if size < 2:
            return 0
        value = self._reader.read(categorical(self._tables.row(table, context, size)))
        self._tables.adapt(table, context, value)
        return value

    def turn(self, before: tuple[int, int], last_turn: int, radius: int, value: int) -> int:
        frequencies = direction_frequencies(PRIORS["turn"], *before, last_turn, radius)
        return self._reader.read(categorical(frequencies))

    def uniform(self, size: int, value: int) -> int:
        return self._reader.read(categorical(np.ones(size, dtype=np.int64))) if size > 1 else 0


class SymbolCounter:
    """Counts the information, in bits."""

    def __init__(self) -> None:
        self.num_bits = 0.0
        self._tables = _Tables()

    def adaptive(self, table: str, context: int, size: int, value: int) -> int:
        if size > 1:
            row = self._tables.row(table, context, size)
            self.num_bits += float(np.log2(row.sum() / row[value]))
            self._tables.adapt(table, context, value)
        return value

    def turn(self, before: tuple[int, int], last_turn: int, radius: int, value: int) -> int:
        frequencies = direction_frequencies(PRIORS["turn"], *before, last_turn, radius)
        self.num_bits += float(np.log2(frequencies.sum() / frequencies[value]))
        return value

    def uniform(self, size: int, value: int) -> int:
        self.num_bits += float(np.log2(size))
        return value


# Numbers of unbounded size: a class, then a position in it. Class c covers [first, last].
_CLASS_FIRST = (0, 1, 2, 3, 5, 9, 17, 33, 65, 129, 257, 513, 1025, 2049)
MAX_NUMBER = 4096
NUM_NUMBER_CLASSES = len(_CLASS_FIRST)


def code_number(coder: SymbolCoder, table: str, context: int, value: int) -> int:
    """A signed number, |value| <= `MAX_NUMBER`."""
    magnitude = abs(value)
    found = sum(first <= magnitude for first in _CLASS_FIRST) - 1
    found = coder.adaptive(table, context, NUM_NUMBER_CLASSES, found)
    first = _CLASS_FIRST[found]
    last = _CLASS_FIRST[found + 1] - 1 if found + 1 < NUM_NUMBER_CLASSES else MAX_NUMBER
    magnitude = first + coder.uniform(last - first + 1, magnitude - first)
    if magnitude == 0:
        return 0
    return -magnitude if coder.uniform(2, int(value < 0)) else magnitude
