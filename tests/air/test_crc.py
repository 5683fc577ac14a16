"""CRC against plain polynomial division, sionna, and what a CRC is for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semcast.air import crc
from semcast.errors import InputError


def remainder_by_division(bits: list[int], exponents: tuple[int, ...]) -> list[int]:
    """Schoolbook division of bits(D) D^L by the generator over GF(2)."""
    length = exponents[0]
    dividend = bits + [0] * length
    for i in range(len(bits)):
        if dividend[i]:
            for exponent in exponents:
                dividend[i + length - exponent] ^= 1
    return dividend[len(bits) :]


@settings(max_examples=60, deadline=None)
@given(bits=st.lists(st.integers(0, 1), max_size=300), kind=st.sampled_from(list(crc.POLYNOMIALS)))
def test_parity_is_the_remainder_of_polynomial_division(bits: list[int], kind: str) -> None:
    parity = crc.parity(np.array(bits, dtype=np.uint8), kind)
    assert parity.tolist() == remainder_by_division(bits, crc.POLYNOMIALS[kind])


@pytest.mark.parametrize("kind", ["crc24a", "crc24b", "crc24c", "crc16", "crc11", "crc6"])
def test_same_as_sionna(kind: str) -> None:
    torch = pytest.importorskip("torch")
    encoder = pytest.importorskip("sionna.phy.fec.crc").CRCEncoder(kind.upper())
    bits = np.random.default_rng(1).integers(0, 2, (5, 333)).astype(np.uint8)
    expected = encoder(torch.from_numpy(bits).float()).numpy().astype(np.uint8)
    for word, with_crc in zip(bits, expected, strict=True):
        assert np.array_equal(crc.attach(word, kind), with_crc)


def test_crc8_known_answer() -> None:
    """CRC-8/LTE of "123456789" is 0xEA (the catalogue's check value)."""
    bits = np.unpackbits(np.frombuffer(b"123456789", dtype=np.uint8))
    assert np.packbits(crc.parity(bits, "crc8"))[0] == 0xEA


@settings(max_examples=60, deadline=None)
@given(
    bits=st.lists(st.integers(0, 1), min_size=1, max_size=200),
    kind=st.sampled_from(list(crc.POLYNOMIALS)),
    data=st.data(),
)
def test_a_burst_no_longer_than_the_crc_is_always_found(
    bits: list[int], kind: str, data: st.DataObject
) -> None:
    word = crc.attach(np.array(bits, dtype=np.uint8), kind)
    assert crc.check(word, kind)
    length = data.draw(st.integers(1, min(crc.length_bits(kind), word.size)))
    first = data.draw(st.integers(0, word.size - length))
    word[[first, first + length - 1]] ^= 1 if length > 1 else 0
    if length == 1:
        word[first] ^= 1
    assert not crc.check(word, kind)


def test_too_short_a_word_fails() -> None:
    assert not crc.check(np.zeros(10, dtype=np.uint8), "crc16")


def test_unknown_kind_lists_the_kinds() -> None:
    with pytest.raises(InputError, match="crc24a"):
        crc.length_bits("crc7")
