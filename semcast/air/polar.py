"""5G NR polar codes: encoding, rate matching, and a compiled CRC-aided list decoder.

3GPP TS 38.212 sections 5.3.1 (code) and 5.4.1 (rate matching), as for uplink control: mother codes
of 32 to 1024 bits, no input interleaving, channel interleaving. For words of tens to hundreds of
bits this is the best code there is that decodes in well under a millisecond.

    word [k]         payload and inverted CRC (`crc.attach_inverted`)
    u [N]            the word on the k most reliable inputs, zeros ("frozen") on the others
    d [N]            u G, G the n-fold Kronecker power of [[1, 0], [1, 1]], N = 2^n
    y [N]            32 sub-blocks of d in another order
    e [n coded]      the end of y (puncturing, low rates), its start (shortening, high rates), or
                     y again and again (repetition)
    sent             e written row by row into a triangle and read column by column

Two departures: k is payload and any CRC, not CRC-6 or CRC-11 by length, and there are no
parity-check bits (which the standard adds for 12 to 19 bits); and repetition may go on for ever.

The decoder is successive-cancellation list decoding (Tal and Vardy, "List decoding of polar codes",
IEEE Trans. Inf. Theory 61(5), 2015) on log-likelihood ratios (Balatsoukas-Stimming, Bastani Parizi
and Burg, IEEE Trans. Signal Process. 63(19), 2015): subtrees without information bits, or with one,
are decided at once (Hashemi, Condo and Gross, IEEE Trans. Circuits Syst. I 63(12), 2016), the rest
bit by bit; the most likely of the paths left whose CRC holds is the answer. Only additions,
comparisons and sign changes are used: the same bits on every machine.

With a list, noise has several chances to pass the CRC. `DecodedPolar.density_bits` is the evidence
the samples give for the decoded word: the information density in bits, sum over the mother code's
bits of log2 P(received | bit) / P(received). No matter what was received, the chance that a code of
2^k words which are not what was sent holds one of k + t bits or more is at most 2^-t (the bound of
Feinstein's lemma). So a threshold on it makes false acceptance as rare as one likes.

Log-likelihood ratios are `log P(bit = 1) / P(bit = 0)`.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numba
import numpy as np
from numpy.typing import NDArray

from semcast.air import crc
from semcast.air.polar_sequence import RELIABILITY_ORDER
from semcast.errors import InputError

MIN_INFO_BITS: Final = 12
MAX_INFO_BITS: Final = 1013 + 11
"""The most the standard puts in one codeword, CRC included."""
MIN_CODED_BITS: Final = 18
LIST_SIZE: Final = 8

LLR_LIMIT: Final = 1e4
"""Channel log-likelihood ratios are clipped here, so that sums of repetitions stay finite."""

_MIN_LOG2_N: Final = 5
_MAX_LOG2_N: Final = 10
# Table 5.4.1.1-1.
_SUB_BLOCK_ORDER: Final = (
    0, 1, 2, 4, 3, 5, 6, 7, 8, 16, 9, 17, 10, 18, 11, 19,
    12, 20, 13, 21, 14, 22, 15, 23, 24, 25, 26, 28, 27, 29, 30, 31,
)  # fmt: skip

# Steps of the decoder; each is [kind, layer, whether the node is a right child].
_LEFT: Final = 0
"""LLRs of the left child of a node of 2^layer bits."""
_RIGHT: Final = 1
"""LLRs of its right child, the left one being decided."""
_JOIN: Final = 2
"""Its decided bits from those of its children."""
_FROZEN: Final = 3
"""A node without information bits."""
_ONE_BIT: Final = 4
"""A node whose last bit alone is information: its bits are all alike."""


@dataclass(frozen=True)
class DecodedPolar:
    """Outcome of decoding one word."""

    payload: NDArray[np.uint8] | None
    """[k - L] bits before the CRC; None if no path of the list has a CRC that holds."""
    density_bits: float
    """Information density of the codeword accepted, in bits; -inf if there is none."""


class PolarCode:
    """The (n, k) code. Make it with `polar_code(k, n)`, which keeps the tables of recent codes.

    Attributes:
        k: information bits, CRC included.
        n: coded bits.
        mother_bits: N.
    """

    def __init__(self, k: int, n: int) -> None:
        if not MIN_INFO_BITS <= k <= MAX_INFO_BITS:
            raise InputError(
                f"A polar code takes {MIN_INFO_BITS} to {MAX_INFO_BITS} bits, not {k}: pad or "
                "split the payload."
            )
        if n < MIN_CODED_BITS or k > n:
            raise InputError(
                f"{k} bits do not fit {n} coded bits (of which there are {MIN_CODED_BITS} at "
                "least): send more symbols."
            )
        self.k = k
        self.n = n
        self.mother_bits = 1 << _log2_mother_bits(k, n)
        if k > self.mother_bits:
            raise InputError(f"A polar code of {self.mother_bits} bits cannot carry {k}.")
        sub_blocks = _sub_block_interleaver(self.mother_bits)
        self._info_places = _info_places(k, n, sub_blocks)
        # Where each sent bit is in d. Bits never sent are unknown, or known to be 0 if shortened.
        punctured = n < self.mother_bits and 16 * k <= 7 * n
        first = self.mother_bits - n if punctured else 0
        selected = sub_blocks[(first + np.arange(n)) % self.mother_bits]
        self._sent_places = selected[_triangular_interleaver(n)]
        self._is_sent = np.zeros(self.mother_bits, dtype=bool)
        self._is_sent[self._sent_places] = True
        self._unsent_llr = 0.0 if punctured else -LLR_LIMIT
        is_info = np.zeros(self.mother_bits, dtype=bool)
        is_info[self._info_places] = True
        self._schedule = np.array(_schedule(is_info), dtype=np.int32)

    def encode(self, word: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """[k] uint8 of 0/1 -> [n] uint8 of 0/1.

        Raises:
            InputError: wrong number of bits.
        """
        if word.shape != (self.k,):
            raise InputError(f"This polar code takes {self.k} bits, not an array of {word.shape}.")
        bits = np.zeros(self.mother_bits, dtype=np.uint8)
        bits[self._info_places] = word
        _transform(bits)
        return bits[self._sent_places]

    def decode(
        self, llr: NDArray[np.floating], crc_kind: str, list_size: int = LIST_SIZE
    ) -> DecodedPolar:
        """CRC-aided list decoding.

        Args:
            llr: [n], `log P(b=1) / P(b=0)`; NaN counts as 0 (unknown), infinities are clipped.
            crc_kind: of the inverted CRC at the end of the word (`crc.attach_inverted`).
            list_size: paths kept, 1 or more.

        Raises:
            InputError: wrong number of values, or an unknown CRC.
        """
        crc_bits = crc.length_bits(crc_kind)
        mother, words, codewords = self._search(llr, list_size)
        for word, codeword in zip(words, codewords, strict=True):
            payload = crc.strip_inverted(word, crc_kind)
            if payload is not None and word.size > crc_bits:
                return DecodedPolar(payload, _density_bits(mother, codeword))
        return DecodedPolar(None, -math.inf)

    def decode_list(
        self, llr: NDArray[np.floating], list_size: int = LIST_SIZE
    ) -> list[tuple[NDArray[np.uint8], float]]:
        """Every path that is left, the likeliest first: (word [k], its information density)."""
        mother, words, codewords = self._search(llr, list_size)
        densities = [_density_bits(mother, codeword) for codeword in codewords]
        return list(zip(words, densities, strict=True))

    def _search(
        self, llr: NDArray[np.floating], list_size: int
    ) -> tuple[NDArray[np.float64], NDArray[np.uint8], NDArray[np.uint8]]:
        """LLRs of the mother code [N] and the list: words [P, k], codewords [P, N]."""
        if llr.shape != (self.n,):
            raise InputError(f"This polar code takes {self.n} LLRs, not an array of {llr.shape}.")
        clean = np.nan_to_num(llr.astype(np.float64), nan=0.0, posinf=LLR_LIMIT, neginf=-LLR_LIMIT)
        np.clip(clean, -LLR_LIMIT, LLR_LIMIT, out=clean)
        mother = np.zeros(self.mother_bits)
        np.add.at(mother, self._sent_places, clean)
        channel = np.where(self._is_sent, mother, self._unsent_llr).astype(np.float32)
        words, codewords = _decode_list(channel, self._schedule, self._info_places, list_size)
        return mother, words, codewords


@lru_cache(maxsize=512)
def polar_code(k: int, n: int) -> PolarCode:
    """The (n, k) code, with its tables kept for the next block of the same size."""
    return PolarCode(k, n)


def _log2_mother_bits(k: int, n: int) -> int:
    """n of section 5.3.1: no longer than needed, not of a rate far below 1/8."""
    above = (n - 1).bit_length()
    if 8 * n <= 9 * 2 ** (above - 1) and 16 * k < 9 * n:
        above -= 1
    return max(min(above, (8 * k - 1).bit_length(), _MAX_LOG2_N), _MIN_LOG2_N)


def _sub_block_interleaver(mother_bits: int) -> NDArray[np.int64]:
    """[N] J of section 5.4.1.1: y(i) = d(J(i))."""
    block_bits = mother_bits // len(_SUB_BLOCK_ORDER)
    starts = np.array(_SUB_BLOCK_ORDER) * block_bits
    return (starts[:, None] + np.arange(block_bits)).ravel()


def _triangular_interleaver(n: int) -> NDArray[np.int64]:
    """[n] channel interleaver of section 5.4.1.3: sent(i) = e(order(i))."""
    side = math.isqrt(8 * n)
    side = (side - 1) // 2
    while side * (side + 1) // 2 < n:
        side += 1
    row = np.repeat(np.arange(side), np.arange(side, 0, -1))[:n]
    row_start = row * side - row * (row - 1) // 2
    column = np.arange(n) - row_start
    return np.lexsort((row, column))


def _info_places(k: int, n: int, sub_blocks: NDArray[np.int64]) -> NDArray[np.int64]:
    """[k] ascending inputs of the transform that carry the word (section 5.4.1.1)."""
    mother_bits = sub_blocks.size
    frozen = np.zeros(mother_bits, dtype=bool)
    if n < mother_bits and 16 * k <= 7 * n:
        frozen[sub_blocks[: mother_bits - n]] = True
        # The standard freezes more at the start, whose capacity puncturing takes.
        if 4 * n >= 3 * mother_bits:
            frozen[: -(-(3 * mother_bits - 2 * n) // 4)] = True
        else:
            frozen[: -(-(9 * mother_bits - 4 * n) // 16)] = True
    elif n < mother_bits:
        frozen[sub_blocks[n:]] = True
    order = np.array(RELIABILITY_ORDER)
    order = order[order < mother_bits]
    return np.sort(order[~frozen[order]][-k:])


def _schedule(is_info: NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """Steps of the decoder for the whole tree, in order."""
    steps: list[tuple[int, int, int]] = []

    def visit(first: int, layer: int, right: int) -> None:
        count = int(np.count_nonzero(is_info[first : first + (1 << layer)]))
        if count == 0:
            steps.append((_FROZEN, layer, right))
        elif count == 1 and is_info[first + (1 << layer) - 1]:
            steps.append((_ONE_BIT, layer, right))
        else:
            steps.append((_LEFT, layer, right))
            visit(first, layer - 1, 0)
            steps.append((_RIGHT, layer, right))
            visit(first + (1 << (layer - 1)), layer - 1, 1)
            steps.append((_JOIN, layer, right))

    visit(0, is_info.size.bit_length() - 1, 1)
    return steps


def _density_bits(llr: NDArray[np.float64], codeword: NDArray[np.uint8]) -> float:
    """sum of log2 2 P(bit | llr) over the mother code; bits that were not sent add nothing."""
    towards = np.where(codeword == 1, llr, -llr)
    return float(np.sum(1.0 - np.logaddexp(0.0, -towards) / math.log(2.0)))


@numba.njit(cache=True)
def _transform(bits):  # type: ignore[no-untyped-def]
    """The polar transform u G of [N] uint8, in place; its own inverse."""
    half = 1
    while half < bits.size:
        for first in range(0, bits.size, 2 * half):
            for i in range(first, first + half):
                bits[i] ^= bits[i + half]
        half *= 2


@numba.njit(cache=True, fastmath={"nnan"})
def _decode_list(channel, schedule, info_places, list_size):  # type: ignore[no-untyped-def]
    """The surviving paths, most likely first: (words [P, k] uint8, codewords [P, N] uint8).

    `channel` [N] float32 is turned to the sign of log P(0) / P(1). Row p of `llr`, `left` and
    `right` belongs to path p; a node of 2^layer bits keeps its values at [2^layer, 2^(layer+1)).
    When paths fork, their rows stay where they are: `llr_row` and `left_row` [layer, path] say in
    which row the values of a path's layer lie. All paths write a layer at the same step, each to
    its own row, so that no row is written that another path still needs.
    """
    size = channel.size
    num_layers = 1
    while (1 << num_layers) <= size:
        num_layers += 1
    llr = np.empty((list_size, 2 * size), dtype=np.float32)
    left = np.empty((list_size, 2 * size), dtype=np.uint8)
    right = np.empty((list_size, 2 * size), dtype=np.uint8)
    llr_row = np.zeros((num_layers, list_size), dtype=np.int64)
    left_row = np.zeros((num_layers, list_size), dtype=np.int64)
    scratch_row = np.empty(list_size, dtype=np.int64)
    penalty = np.zeros(list_size, dtype=np.float32)
    candidate = np.empty(2 * list_size, dtype=np.float32)
    order = np.empty(2 * list_size, dtype=np.int64)
    zero = np.float32(0.0)
    for i in range(size):
        llr[0, size + i] = -channel[i]
    num_paths = 1
    for step in range(schedule.shape[0]):
        kind = schedule[step, 0]
        layer = schedule[step, 1]
        width = 1 << layer
        half = width >> 1
        is_right = schedule[step, 2] == 1
        decided = right if is_right else left
        if kind == _LEFT:
            for p in range(num_paths):
                source = llr[llr_row[layer, p]]
                first = source[width : width + half]
                second = source[width + half : 2 * width]
                target = llr[p, half:width]
                for i in range(half):
                    smaller = min(abs(first[i]), abs(second[i]))
                    target[i] = smaller if (first[i] < zero) == (second[i] < zero) else -smaller
                llr_row[layer - 1, p] = p
        elif kind == _RIGHT:
            for p in range(num_paths):
                source = llr[llr_row[layer, p]]
                first = source[width : width + half]
                second = source[width + half : 2 * width]
                known = left[left_row[layer - 1, p], half:width]
                target = llr[p, half:width]
                for i in range(half):
                    target[i] = second[i] - first[i] if known[i] else second[i] + first[i]
                llr_row[layer - 1, p] = p
        elif kind == _JOIN:
            for p in range(num_paths):
                known = left[left_row[layer - 1, p], half:width]
                newest = right[p, half:width]
                first_bits = decided[p, width : width + half]
                second_bits = decided[p, width + half : 2 * width]
                for i in range(half):
                    first_bits[i] = known[i] ^ newest[i]
                    second_bits[i] = newest[i]
                if not is_right:
                    left_row[layer, p] = p
        elif kind == _FROZEN:
            for p in range(num_paths):
                source = llr[llr_row[layer, p], width : 2 * width]
                total = zero
                for i in range(width):
                    total += max(zero, -source[i])
                penalty[p] += total
                decided[p, width : 2 * width] = 0
                if not is_right:
                    left_row[layer, p] = p
        else:
            for p in range(num_paths):
                source = llr[llr_row[layer, p], width : 2 * width]
                if_zero = zero
                if_one = zero
                for i in range(width):
                    if_zero += max(zero, -source[i])
                    if_one += max(zero, source[i])
                candidate[2 * p] = penalty[p] + if_zero
                candidate[2 * p + 1] = penalty[p] + if_one
            num_candidates = 2 * num_paths
            for c in range(num_candidates):
                place = c
                while place > 0 and candidate[order[place - 1]] > candidate[c]:
                    order[place] = order[place - 1]
                    place -= 1
                order[place] = c
            num_paths = min(num_candidates, list_size)
            for row in range(layer, num_layers):
                for rows in (llr_row, left_row):
                    for p in range(num_paths):
                        scratch_row[p] = rows[row, order[p] >> 1]
                    for p in range(num_paths):
                        rows[row, p] = scratch_row[p]
            for p in range(num_paths):
                penalty[p] = candidate[order[p]]
                decided[p, width : 2 * width] = order[p] & 1
                if not is_right:
                    left_row[layer, p] = p
    words = np.empty((num_paths, info_places.size), dtype=np.uint8)
    codewords = np.empty((num_paths, size), dtype=np.uint8)
    likeliest = np.argsort(penalty[:num_paths], kind="mergesort")
    for p in range(num_paths):
        codewords[p] = right[likeliest[p], size : 2 * size]
        inputs = codewords[p].copy()
        _transform(inputs)
        for i in range(info_places.size):
            words[p, i] = inputs[info_places[i]]
    return words, codewords
