"""Pilots: symbols the receiver knows beforehand, from which it learns the noise and the gain."""

import numpy as np
from numpy.typing import NDArray

from semcast.air import qam
from semcast.air.scrambling import DOMAIN_PILOT, keyed_bits


def pilot_symbols(count: int, seed: int, sequence: int) -> NDArray[np.complex64]:
    """QPSK pilots of exactly unit modulus.

    Args:
        count: number of symbols, 0 or more.
        seed: fixed at session set-up.
        sequence: number of the radio frame that carries them.

    Returns:
        [count], complex64; a pure function of the arguments.
    """
    return qam.modulate(keyed_bits(2 * count, DOMAIN_PILOT, seed, sequence), 2)
