"""The n-gram counts against the equation in fractions."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from semcast.codecs.text_ngrams import DISCOUNT_64THS, ONE, NGrams

SEQUENCES = [[1, 2, 3, 1, 2, 2], [2, 1, 2, 3], [1, 2, 4], [3, 3, 3]]
NUM_SYMBOLS = 6
ORDER = 2
D = Fraction(DISCOUNT_64THS, 64)


def _counts() -> list[Counter[tuple[int, ...]]]:
    """N-gram counts by order: occurrences of the longest, different longer n-grams of the rest."""
    longest = Counter(
        tuple(([0] * ORDER + sequence)[index : index + ORDER + 1])
        for sequence in SEQUENCES
        for index in range(len(sequence))
    )
    by_order = [longest]
    for _ in range(ORDER):
        by_order.insert(0, Counter(ngram[1:] for ngram in by_order[0]))
    return by_order


def _expected(symbol: int, history: tuple[int, ...]) -> Fraction:
    order = len(history)
    shorter = _expected(symbol, history[1:]) if history else Fraction(1, NUM_SYMBOLS)
    following = {n: c for n, c in _counts()[order].items() if n[:-1] == history}
    if not following:
        return shorter
    total = sum(following.values())
    own = max(following.get((*history, symbol), 0) - D, Fraction(0))
    return own / total + D * len(following) / total * shorter


@pytest.mark.parametrize("history", [(0, 0), (0, 1), (1, 2), (2, 3), (3, 3), (4, 5), (5, 2)])
def test_probabilities_are_those_of_the_equation(history: tuple[int, ...]) -> None:
    found = NGrams(SEQUENCES, ORDER, NUM_SYMBOLS).probabilities(history)
    expected = [float(_expected(symbol, history)) for symbol in range(NUM_SYMBOLS)]
    np.testing.assert_allclose(found / ONE, expected, atol=1e-8)


def test_only_the_last_symbols_of_a_history_count() -> None:
    ngrams = NGrams(SEQUENCES, ORDER, NUM_SYMBOLS)
    np.testing.assert_array_equal(ngrams.probabilities([4, 4, 1, 2]), ngrams.probabilities([1, 2]))
    np.testing.assert_array_equal(ngrams.probabilities([]), ngrams.probabilities([0, 0]))


def test_symbols_that_are_history_only_are_not_predicted() -> None:
    ngrams = NGrams(SEQUENCES, ORDER, NUM_SYMBOLS, num_predicted=3)
    after = ngrams.probabilities([2, 3])
    assert len(after) == 3
    assert after.sum() == pytest.approx(ONE, rel=1e-6)
    assert after[1] > after[2]  # 1 is the only symbol below 3 that follows 2, 3


def test_refuses_ngrams_that_do_not_fit_an_integer() -> None:
    with pytest.raises(ValueError, match="lower order"):
        NGrams(SEQUENCES, order=8, num_symbols=200)
