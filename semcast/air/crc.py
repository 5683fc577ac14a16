"""Cyclic redundancy checks: was this block received without error?

The polynomials of 3GPP TS 38.212 section 5.1, and CRC-8 of TS 36.212 section 5.1.1. Parity bits are
the remainder of `bits(D) * D^L` by the generator, most significant bit first, shift register
initially zero, appended after the bits.
"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semcast.errors import InputError

POLYNOMIALS: Final[Mapping[str, tuple[int, ...]]] = MappingProxyType(
    {
        "crc24a": (24, 23, 18, 17, 14, 11, 10, 7, 6, 5, 4, 3, 1, 0),
        "crc24b": (24, 23, 6, 5, 1, 0),
        "crc24c": (24, 23, 21, 20, 17, 15, 13, 12, 8, 4, 2, 1, 0),
        "crc16": (16, 12, 5, 0),
        "crc11": (11, 10, 9, 5, 0),
        "crc8": (8, 7, 4, 3, 1, 0),
        "crc6": (6, 5, 0),
    }
)
"""Exponents of the generator polynomial of each kind; the first is the number of parity bits."""


def length_bits(kind: str) -> int:
    """Number of parity bits of a CRC kind.

    Raises:
        InputError: `kind` is not one of `POLYNOMIALS`.
    """
    if kind not in POLYNOMIALS:
        raise InputError(f"Unknown CRC {kind!r}: use one of {', '.join(POLYNOMIALS)}.")
    return POLYNOMIALS[kind][0]


def generator(kind: str) -> int:
    """The generator polynomial without its leading term D^L, as an integer."""
    return sum(1 << exponent for exponent in POLYNOMIALS[kind]) ^ (1 << length_bits(kind))


@lru_cache(maxsize=128)
def _remainders(kind: str, num_bits: int) -> NDArray[np.uint32]:
    """`D^(L+i) mod g(D)` for i = num_bits-1 .. 0, each packed into an integer (a CRC is linear)."""
    length = length_bits(kind)
    polynomial = (1 << length) | generator(kind)
    table = np.empty(num_bits, dtype=np.uint32)
    remainder = generator(kind)
    for i in range(num_bits):
        table[num_bits - 1 - i] = remainder
        remainder <<= 1
        if remainder >> length:
            remainder ^= polynomial
    table.setflags(write=False)
    return table


def parity(bits: NDArray[np.uint8], kind: str) -> NDArray[np.uint8]:
    """Parity bits of `bits`.

    Args:
        bits: [n], uint8 of 0/1, any n including 0.
        kind: a key of `POLYNOMIALS`.

    Returns:
        [L], uint8, L = `length_bits(kind)`.
    """
    length = length_bits(kind)
    table = _remainders(kind, bits.size)
    value = int(np.bitwise_xor.reduce(table[bits != 0], initial=np.uint32(0)))
    return np.array([(value >> (length - 1 - i)) & 1 for i in range(length)], dtype=np.uint8)


def attach(bits: NDArray[np.uint8], kind: str) -> NDArray[np.uint8]:
    """`bits` followed by their parity bits: [n] -> [n + L], uint8."""
    return np.concatenate([bits.astype(np.uint8, copy=False), parity(bits, kind)])


def check(bits_with_crc: NDArray[np.uint8], kind: str) -> bool:
    """Whether the last L bits are the parity of those before; False if there are fewer than L."""
    length = length_bits(kind)
    num_bits = bits_with_crc.size - length
    if num_bits < 0:
        return False
    return bool(np.array_equal(parity(bits_with_crc[:num_bits], kind), bits_with_crc[num_bits:]))


def attach_inverted(payload: NDArray[np.uint8], kind: str) -> NDArray[np.uint8]:
    """`payload` followed by its parity bits, inverted: [n] -> [n + L], uint8.

    Codes are linear: the all-zero word, which a decoder makes of silence, is a codeword and has a
    CRC of zeros. Inverted, that word is not a block.
    """
    word = attach(payload, kind)
    word[payload.size :] ^= 1
    return word


def strip_inverted(word: NDArray[np.uint8], kind: str) -> NDArray[np.uint8] | None:
    """The payload of a word made by `attach_inverted`, or None if its CRC fails."""
    num_payload_bits = word.size - length_bits(kind)
    if num_payload_bits < 0:
        return None
    plain = word.copy()
    plain[num_payload_bits:] ^= 1
    return plain[:num_payload_bits] if check(plain, kind) else None
