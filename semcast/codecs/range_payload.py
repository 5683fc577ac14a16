"""Range-coded symbols in a payload of a given number of bits.

`constriction`'s range coder works in 32-bit words and seals a message with one or two of them; at
a few hundred bits a frame those tails matter. Here the coder's own interval is read out at the end
and the shortest bit string inside it is sent: at most two bits above the information content. The
rest of the payload is zeros, and a decoder that reads past the end reads zeros.

Bit order: the first bit of the payload is the most significant bit of the first 32-bit word.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import constriction
import numpy as np
from numpy.typing import NDArray

from semcast.codecs.errors import CorruptPayloadError

Categorical: TypeAlias = constriction.stream.model.Categorical
_ANY_CATEGORICAL = Categorical(perfect=False)
_RangeDecoder = constriction.stream.queue.RangeDecoder
_RangeEncoder = constriction.stream.queue.RangeEncoder

_WORD = 32
_STATE = 64

BINARY_TOTAL = 2**24 - 2
"""Frequencies of 0 and 1 in `write_binary` add up to this. The coder's own total is 2**24, of which
it gives one to each symbol itself: so these are exact."""


def categorical(frequencies: Sequence[int] | NDArray[np.int64]) -> Categorical:
    """Entropy model over {0, ..., n-1} from positive integer frequencies (exact in float64)."""
    return Categorical(np.asarray(frequencies, dtype=np.float64), perfect=False)


class PayloadWriter:
    """Encodes symbols first in, first out."""

    def __init__(self) -> None:
        self._encoder = _RangeEncoder()

    def write(self, symbol: int, model: Categorical) -> None:
        """Append one symbol (0 <= symbol < size of the model's alphabet)."""
        self._encoder.encode(symbol, model)

    def write_binary(self, symbols: NDArray[np.uint8], ones: NDArray[np.int64]) -> None:
        """Append symbols 0 or 1, each with its own frequency of 1 (0 to BINARY_TOTAL)."""
        self._encoder.encode(symbols.astype(np.int32), _ANY_CATEGORICAL, _binary_models(ones))

    def clone(self) -> "PayloadWriter":
        """A writer that goes on from here by itself: symbols written to it leave this one be."""
        copy = PayloadWriter()
        copy._encoder = self._encoder.clone()
        return copy

    @property
    def num_bits(self) -> int:
        """Length of what `finish` would return now (0 before the first symbol)."""
        return len(self.finish())

    def finish(self) -> NDArray[np.uint8]:
        """The shortest bit string (uint8 [n] of 0 and 1) that decodes, followed by zeros."""
        position, (lower, interval) = self._encoder.pos()
        sealed = [int(word) for word in self._encoder.get_compressed()]
        num_words = position + _STATE // _WORD
        point = 0
        for index in range(num_words):
            point = point << _WORD | (sealed[index] if index < len(sealed) else 0)
        # `point` lies in the final interval; its low 64 bits say how far above the lower end.
        start = point - (point - lower) % (1 << _STATE)
        total_bits = num_words * _WORD
        # The number with the most trailing zeros in [start, last]: where the two first differ.
        last = start + interval - 1
        trailing_zeros = total_bits if start == 0 else (start ^ last).bit_length() - 1
        value = last >> trailing_zeros << trailing_zeros
        num_bits = total_bits - trailing_zeros
        text = format(value >> trailing_zeros, "b").zfill(num_bits) if num_bits else ""
        return np.frombuffer(text.encode(), dtype=np.uint8) - ord("0")


def _binary_models(ones: NDArray[np.int64]) -> NDArray[np.float64]:
    """Frequencies [n, 2] of 0 and 1."""
    return np.stack([BINARY_TOTAL - ones, ones], axis=1).astype(np.float64)


@dataclass(frozen=True)
class CoderPosition:
    """Where in a payload a range decoder stands, for a codec that decodes by itself from there.

    words: uint32 [n], the payload; zeros follow. next_word: of the two that are under the coder's
    eyes, the first. lower, interval: the coder's 64-bit state.
    """

    words: NDArray[np.uint32]
    next_word: int
    lower: int
    interval: int


class PayloadReader:
    """Decodes what `PayloadWriter` wrote, from a payload of any length."""

    def __init__(self, bits: NDArray[np.uint8]) -> None:
        """`bits`: uint8 [n] of 0 and 1."""
        packed = np.packbits(bits)
        packed = np.pad(packed, (0, -len(packed) % (_WORD // 8)))
        self._words = packed.view(">u4").astype(np.uint32)
        self._decoder = _RangeDecoder(self._words)
        # What an encoder would have done so far tells where the decoder stands; brought up to
        # date only when somebody asks.
        self._shadow = _RangeEncoder()
        self._not_in_shadow: list[tuple[int, Categorical]] = []

    def read(self, model: Categorical) -> int:
        """The next symbol. Raises `CorruptPayloadError` where the bits fit no symbol."""
        try:
            symbol = int(self._decoder.decode(model))
        except AssertionError as error:  # constriction's word for "invalid compressed data"
            raise CorruptPayloadError("the payload is no output of this range coder") from error
        self._not_in_shadow.append((symbol, model))
        return symbol

    def position(self) -> CoderPosition:
        """Where the next symbol begins."""
        for symbol, model in self._not_in_shadow:
            self._shadow.encode(symbol, model)
        self._not_in_shadow.clear()
        next_word, (lower, interval) = self._shadow.pos()
        return CoderPosition(self._words, next_word, lower, interval)

    def skip_binary(self, symbols: NDArray[np.uint8], ones: NDArray[np.int64]) -> None:
        """Go on behind symbols of `write_binary` that were decoded from `position`.

        Raises `CorruptPayloadError` where the payload holds others.
        """
        models = _binary_models(ones)
        try:
            found = self._decoder.decode(_ANY_CATEGORICAL, models)
        except AssertionError as error:
            raise CorruptPayloadError("the payload is no output of this range coder") from error
        if not np.array_equal(found, symbols):
            raise CorruptPayloadError("the payload holds other symbols than were decoded")
        self.position()
        self._shadow.encode(symbols.astype(np.int32), _ANY_CATEGORICAL, models)
