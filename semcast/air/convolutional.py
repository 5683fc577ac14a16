"""A tail-biting convolutional code for words of a few dozen bits, where LDPC codes are weak.

Rate 1/4, constraint length 9, generators 463 535 733 745 (octal), free distance 24 (Larsen, "Short
convolutional codes with maximal free distance for rates 1/2, 1/3, and 1/4", IEEE Trans. Inf. Theory
19(3), 1973). Tail biting (the encoder starts in the state it will end in) spends no bits on a tail.
Lower rates repeat the coded bits.

Coded bits are ordered generator by generator: all k bits of 463, then of 535, and so on; then the
whole again, as often as asked for.
"""

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semcast.errors import InputError

GENERATORS: Final = (0o463, 0o535, 0o733, 0o745)
MEMORY: Final = 8
MIN_BITS: Final = MEMORY
MAX_WRAPS: Final = 4
"""Times the decoder goes around the word before it settles for the best path found."""

_NUM_STATES: Final = 1 << MEMORY


def encode_tail_biting(bits: NDArray[np.uint8], num_coded_bits: int) -> NDArray[np.uint8]:
    """[k] uint8 of 0/1 -> [num_coded_bits] uint8 of 0/1.

    Raises:
        InputError: fewer than `MIN_BITS` bits, or no room for each coded bit once.
    """
    _require_size(bits.size, num_coded_bits)
    # Bit j of the shift register, the most significant being the newest, is the input j steps ago.
    delayed = np.stack([np.roll(bits, j) for j in range(MEMORY + 1)])
    taps = np.array(
        [[(g >> (MEMORY - j)) & 1 for j in range(MEMORY + 1)] for g in GENERATORS], dtype=np.uint8
    )
    coded = (taps.astype(np.int64) @ delayed % 2).astype(np.uint8)
    return np.resize(coded.ravel(), num_coded_bits)


def decode_tail_biting(llr: NDArray[np.floating], num_bits: int) -> NDArray[np.uint8]:
    """The most likely word: wrap-around Viterbi decoding (Shao, Lin and Fossorier, 2003).

    Args:
        llr: [num_coded_bits], `log P(b=1) / P(b=0)`, finite. Only their ratios matter.
        num_bits: k.

    Returns:
        [k], uint8. There is always an answer; whether it is right is for a CRC to say.

    Raises:
        InputError: as `encode_tail_biting`.
    """
    _require_size(num_bits, llr.size)
    num_mother = num_bits * len(GENERATORS)
    padded = np.zeros(-(-llr.size // num_mother) * num_mother)
    padded[: llr.size] = llr
    combined = padded.reshape(-1, len(GENERATORS), num_bits).sum(axis=0)
    previous, polarity = _trellis()
    branches = np.einsum("gt,gcs->tcs", combined, polarity)

    states = np.arange(_NUM_STATES)
    start = np.zeros(_NUM_STATES)
    best_metric = -np.inf
    best_closed = False
    best_bits = np.zeros(num_bits, dtype=np.uint8)
    for _ in range(MAX_WRAPS):
        metric = start
        origin = states
        choices = np.empty((num_bits, _NUM_STATES), dtype=bool)
        for t in range(num_bits):
            candidates = metric[previous] + branches[t]
            choice = candidates[1] > candidates[0]
            choices[t] = choice
            metric = np.where(choice, candidates[1], candidates[0])
            origin = np.where(choice, origin[previous[1]], origin[previous[0]])
        gained = metric - start[origin]
        closed = origin == states
        winner = int(metric.argmax())
        candidate = int(np.where(closed, gained, -np.inf).argmax()) if closed.any() else winner
        is_closed = bool(closed.any())
        if (is_closed, gained[candidate]) > (best_closed, best_metric):
            best_closed, best_metric = is_closed, float(gained[candidate])
            best_bits = _trace_back(choices, previous, candidate)
        if closed[winner]:
            break
        start = metric - metric.max()
    return best_bits


def _require_size(num_bits: int, num_coded_bits: int) -> None:
    if num_bits < MIN_BITS or num_coded_bits < num_bits * len(GENERATORS):
        raise InputError(
            f"The tail-biting code takes {MIN_BITS} bits or more in at least {len(GENERATORS)} "
            f"coded bits each, not {num_bits} in {num_coded_bits}."
        )


@lru_cache(maxsize=1)
def _trellis() -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The two ways into each state.

    A state holds the last 8 inputs, the newest most significant; the input of a step is thus the
    top bit of the state it leads to.

    Returns:
        (previous states [2, 256]; coded bits as +-1 (1 for a 1) [4 generators, 2, 256]).
    """
    states = np.arange(_NUM_STATES)
    oldest = np.arange(2)[:, None]
    register = (states[None, :] << 1) | oldest
    previous = register & (_NUM_STATES - 1)
    outputs = np.stack(
        [np.bitwise_count((register & g).astype(np.uint32)) % 2 for g in GENERATORS]
    ).astype(np.float64)
    return previous, 2.0 * outputs - 1.0


def _trace_back(
    choices: NDArray[np.bool_], previous: NDArray[np.intp], state: int
) -> NDArray[np.uint8]:
    """Inputs along the surviving path that ends in `state`."""
    bits = np.empty(choices.shape[0], dtype=np.uint8)
    for t in range(choices.shape[0] - 1, -1, -1):
        bits[t] = state >> (MEMORY - 1)
        state = int(previous[int(choices[t, state]), state])
    return bits
