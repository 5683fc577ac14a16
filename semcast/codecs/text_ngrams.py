"""Interpolated Kneser-Ney n-grams in integers: encoder and decoder agree on any machine.

With c(h, s) how often symbol s followed history h (its last `order` symbols), c(h) their sum, n(h)
the number of different symbols seen there, and h' the history less its oldest symbol:

    p(s | h) = max(c(h, s) - D, 0) / c(h) + D n(h) / c(h) · p(s | h')

where shorter histories count in how many longer ones s was seen (R. Kneser, H. Ney, "Improved
backing-off for m-gram language modeling", ICASSP 1995). A history never seen leaves p(s | h').
"""

from collections.abc import Sequence
from typing import TypeAlias

import numba
import numpy as np
from numpy.typing import NDArray

# Probabilities are integers over ONE. 2^30 * the largest count (2^20) stays within int64.
ONE = 1 << 30
# D; chosen by training/fit_text_codec.py.
DISCOUNT_64THS = 56

IntArray: TypeAlias = NDArray[np.int64]


class NGrams:
    """Counts of what follows up to `order` symbols, each an integer in [0, num_symbols)."""

    def __init__(
        self,
        sequences: Sequence[Sequence[int]],
        order: int,
        num_symbols: int,
        num_predicted: int | None = None,
    ) -> None:
        """Counts the sequences, before each of which stand zeros.

        Symbols from `num_predicted` on are history only: they are not predicted.
        """
        self.order = order
        self.num_predicted = num_symbols if num_predicted is None else num_predicted
        self._symbol_bits = (num_symbols - 1).bit_length()
        if self._symbol_bits * (order + 1) > 62:
            raise ValueError("an n-gram does not fit into 62 bits; use a lower order")
        mask = (1 << self._symbol_bits * (order + 1)) - 1
        occurrences = []
        for sequence in sequences:
            key = 0
            for symbol in sequence:
                key = (key << self._symbol_bits | symbol) & mask
                if symbol < self.num_predicted:
                    occurrences.append(key)
        # One sorted array of keys (history, then symbol) for each order, longest first.
        keys, counts = np.unique(np.array(occurrences, dtype=np.int64), return_counts=True)
        orders = [(keys, counts)]
        for shorter in range(order - 1, -1, -1):
            keys = keys & ((1 << self._symbol_bits * (shorter + 1)) - 1)
            keys, counts = np.unique(keys, return_counts=True)
            orders.append((keys, counts))
        orders.reverse()
        self._keys = np.concatenate([keys for keys, _ in orders])
        self._counts = np.concatenate([counts for _, counts in orders]).astype(np.int64)
        self._offsets = np.cumsum([0, *(len(keys) for keys, _ in orders)])

    def probabilities(self, history: Sequence[int]) -> IntArray:
        """int64 [num_predicted], over `ONE`, after the symbols `history` (the oldest first)."""
        packed = 0
        for symbol in history[len(history) - min(self.order, len(history)) :]:
            packed = packed << self._symbol_bits | symbol
        return np.asarray(
            _interpolate(
                packed,
                self._symbol_bits,
                self.num_predicted,
                DISCOUNT_64THS,
                self._keys,
                self._counts,
                self._offsets,
            )
        )


@numba.njit(cache=True)
def _interpolate(
    history: int,
    symbol_bits: int,
    num_predicted: int,
    discount_64ths: int,
    keys: IntArray,
    counts: IntArray,
    offsets: IntArray,
) -> IntArray:
    probabilities = np.full(num_predicted, ONE // num_predicted)
    for order in range(len(offsets) - 1):
        context = history & ((1 << symbol_bits * order) - 1)
        of_order = keys[offsets[order] : offsets[order + 1]]
        first = np.searchsorted(of_order, context << symbol_bits)
        last = np.searchsorted(of_order, (context + 1) << symbol_bits)
        if first == last:
            break
        of_context = counts[offsets[order] + first : offsets[order] + last]
        total = 64 * np.sum(of_context)
        kept = discount_64ths * len(of_context)
        for symbol in range(num_predicted):
            probabilities[symbol] = probabilities[symbol] * kept // total
        for index in range(len(of_context)):
            symbol = of_order[first + index] & ((1 << symbol_bits) - 1)
            share = 64 * of_context[index] - discount_64ths
            probabilities[symbol] += share * ONE // total
    return probabilities
