"""Payloads are as short as the information in them, and decode with zeros behind."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semcast.codecs.errors import CorruptPayloadError
from semcast.codecs.range_payload import (
    BINARY_TOTAL,
    PayloadReader,
    PayloadWriter,
    categorical,
)


@given(seed=st.integers(0, 2**32 - 1), num_symbols=st.integers(0, 400), skew=st.floats(0.0, 12.0))
@settings(max_examples=150, deadline=None)
def test_round_trip_within_two_bits_of_the_information(
    seed: int, num_symbols: int, skew: float
) -> None:
    rng = np.random.default_rng(seed)
    tables = [np.rint(1 + 1e6 * rng.random(n) ** skew).astype(np.int64) for n in (2, 5, 31)]
    models = [categorical(table) for table in tables]
    chosen = rng.integers(0, 3, num_symbols)
    symbols = [int(rng.choice(len(tables[c]), p=tables[c] / tables[c].sum())) for c in chosen]
    writer = PayloadWriter()
    information_bits = 0.0
    for symbol, c in zip(symbols, chosen, strict=True):
        writer.write(symbol, models[c])
        information_bits -= np.log2(tables[c][symbol] / tables[c].sum())
    bits = writer.finish()
    assert bits.dtype == np.uint8
    assert len(bits) <= information_bits * 1.001 + 2
    for padding in (0, 1, 77):
        padded = np.concatenate([bits, np.zeros(padding, dtype=np.uint8)])
        reader = PayloadReader(padded)
        assert [reader.read(models[c]) for c in chosen] == symbols


def test_bits_that_fit_no_symbol_are_refused() -> None:
    model = categorical([1, 5, 3])
    reader = PayloadReader(np.ones(640, dtype=np.uint8))
    with pytest.raises(CorruptPayloadError):
        for _ in range(2000):
            reader.read(model)


def test_a_clone_goes_on_by_itself() -> None:
    model = categorical([3, 1, 9])
    writer = PayloadWriter()
    assert writer.num_bits == 0
    for symbol in (1, 2, 0, 1):
        writer.write(symbol, model)
    before = writer.finish()
    copy = writer.clone()
    for symbol in (0, 1, 1):
        copy.write(symbol, model)
    assert np.array_equal(writer.finish(), before)
    assert writer.num_bits == len(before) < copy.num_bits
    reader = PayloadReader(copy.finish())
    assert [reader.read(model) for _ in range(7)] == [1, 2, 0, 1, 0, 1, 1]


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 300))
@settings(max_examples=50, deadline=None)
def test_binary_symbols_are_passed_over_between_others(seed: int, count: int) -> None:
    """`position` tells where they begin; other symbols than were written are noticed."""
    rng = np.random.default_rng(seed)
    ones = rng.choice([0, 1, 900, BINARY_TOTAL // 2, BINARY_TOTAL], count).astype(np.int64)
    symbols = (rng.random(count) * BINARY_TOTAL < ones).astype(np.uint8)
    model = categorical([1, 5, 3])
    writer = PayloadWriter()
    writer.write(1, model)
    at = writer._encoder.pos()
    writer.write_binary(symbols, ones)
    writer.write(2, model)
    reader = PayloadReader(writer.finish())
    assert reader.read(model) == 1
    position = reader.position()
    assert (position.next_word, (position.lower, position.interval)) == at
    reader.skip_binary(symbols, ones)
    assert reader.read(model) == 2
    if count:
        wrong = symbols.copy()
        wrong[0] ^= 1
        reader = PayloadReader(writer.finish())
        reader.read(model)
        with pytest.raises(CorruptPayloadError):
            reader.skip_binary(wrong, ones)
