"""The probability of a caption's next symbol, counted from the captions that ship with the code.

Both ends read `text_corpus.txt` and count n-grams; nothing else is shipped. All arithmetic is on
integers, so encoder and decoder agree to the last bit on any machine.
"""

from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import numba
import numpy as np
from numpy.typing import NDArray

from semcast.codecs.text_symbols import END, NUM_SYMBOLS, symbols_of

CORPUS = Path(__file__).parent / "text_corpus.txt"
ORDER = 6

_SYMBOL_BITS = 7
_ONE = 1 << 30
_DISCOUNT_64THS = 51
_IntArray: TypeAlias = NDArray[np.int64]


class TextModel:
    """Interpolated Kneser-Ney over the last `ORDER` symbols."""

    def __init__(self, lines: list[str]) -> None:
        """Counts the n-grams of `lines`, one caption each."""
        keys, counts = _highest_order(lines)
        orders = [(keys, counts)]
        for order in range(ORDER, 0, -1):
            # Kneser-Ney: a lower order counts in how many contexts of the next a symbol follows.
            keys = keys & ((1 << _SYMBOL_BITS * order) - 1)
            keys, counts = np.unique(keys, return_counts=True)
            orders.insert(0, (keys, counts))
        self._keys = np.concatenate([keys for keys, _ in orders])
        self._counts = np.concatenate([counts for _, counts in orders]).astype(np.int64)
        self._offsets = np.cumsum([0, *(len(keys) for keys, _ in orders)])

    def frequencies(self, history: list[int]) -> _IntArray:
        """Positive frequencies (int64 [NUM_SYMBOLS]) of what follows the symbols `history`."""
        packed = 0
        for symbol in history[-ORDER:]:
            packed = packed << _SYMBOL_BITS | symbol
        return np.asarray(_predict(packed, self._keys, self._counts, self._offsets))


@lru_cache(maxsize=1)
def shipped_model() -> TextModel:
    """The model that crosses no channel because both ends have it."""
    return TextModel(CORPUS.read_text(encoding="utf-8").splitlines())


def _highest_order(lines: list[str]) -> tuple[_IntArray, _IntArray]:
    """The n-grams of `ORDER` + 1 symbols as sorted int64 keys, and how often each occurs."""
    mask = (1 << _SYMBOL_BITS * (ORDER + 1)) - 1
    keys = []
    for line in lines:
        packed = END
        for symbol in symbols_of(line)[0]:
            packed = (packed << _SYMBOL_BITS | symbol) & mask
            keys.append(packed)
    return np.unique(np.array(keys, dtype=np.int64), return_counts=True)


@numba.njit(cache=True)
def _predict(history: int, keys: _IntArray, counts: _IntArray, offsets: _IntArray) -> _IntArray:
    frequencies = np.full(NUM_SYMBOLS, _ONE // NUM_SYMBOLS)
    for order in range(len(offsets) - 1):
        context = history & ((1 << _SYMBOL_BITS * order) - 1)
        of_order = keys[offsets[order] : offsets[order + 1]]
        first = np.searchsorted(of_order, context << _SYMBOL_BITS)
        last = np.searchsorted(of_order, (context + 1) << _SYMBOL_BITS)
        if first == last:
            break
        of_context = counts[offsets[order] + first : offsets[order] + last]
        total = 64 * np.sum(of_context)
        frequencies = frequencies * (_DISCOUNT_64THS * len(of_context)) // total
        for index in range(len(of_context)):
            symbol = of_order[first + index] & ((1 << _SYMBOL_BITS) - 1)
            share = 64 * of_context[index] - _DISCOUNT_64THS
            frequencies[symbol] += share * _ONE // total
    return frequencies + 1
