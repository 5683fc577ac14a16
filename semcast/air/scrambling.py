"""Pseudo-random bits both ends agree on: scrambling sequences and pilots.

The generator is Philox-4x64 (Salmon et al., SC'11), counter based: any (key, sequence) is reached
without drawing those before it, and its raw output is stable across numpy versions.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_WORD: Final = (1 << 64) - 1

DOMAIN_DIGITAL: Final = 1
"""Scrambling of digital blocks."""
DOMAIN_CONTROL: Final = 2
"""Scrambling of control blocks."""
DOMAIN_PILOT: Final = 3
"""Pilot symbols."""


def keyed_bits(count: int, domain: int, key: int, sequence: int = 0) -> NDArray[np.uint8]:
    """[count] uint8 of 0/1, a pure function of the arguments.

    `domain` keeps the uses apart; `key` and `sequence` are taken modulo 2^64.
    """
    generator = np.random.Philox(
        key=np.array([key & _WORD, domain & _WORD], dtype=np.uint64),
        counter=np.array([0, sequence & _WORD, 0, 0], dtype=np.uint64),
    )
    words = generator.random_raw(-(-count // 64)).astype("<u8")
    return np.unpackbits(words.view(np.uint8), count=count, bitorder="little")
