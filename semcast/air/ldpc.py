"""5G NR LDPC codes: encoding, rate matching, and a compiled layered decoder.

3GPP TS 38.212 sections 5.3.2 (code) and 5.4.2 (rate matching, redundancy version 0). The k
information bits are padded with zero filler bits to the systematic part of the lifted base graph
and encoded; the first 2 Z_c bits are punctured, the filler bits left out, and n bits read from the
remaining circular buffer, from its start and around as often as needed (repetition at low rates).

    codeword of the lifted graph    [ 2Zc | info .......... | filler | parity ................ ]
    circular buffer                       [ info .......... ]        [ parity ................ ]
    sent                                  [ first n bits, starting over at the end ............

The decoder is layered min-sum with a correction term: one base-graph row at a time, all Z_c checks
of a row side by side (they share no variable), so the inner loops run over contiguous memory. Plain
min-sum needs a normalisation that suits one length and rate only; the A-min* rule (Jones, Valles,
Smith and Villasenor, "Approximate-MIN* constraint node updating for LDPC code decoding", MILCOM
2003) comes within 0.05 dB of exact belief propagation everywhere: the least reliable input of a
check gets the combination of all others, every other input the combination of all. Only `min`,
`max`, `+`, `*` and comparisons are used, without reassociation or contraction, so the result is the
same bits on every machine.

Log-likelihood ratios are `log P(bit = 1) / P(bit = 0)`.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numba
import numpy as np
from numpy.typing import NDArray

from semcast.air.ldpc_base_graphs import BASE_GRAPH_1, BASE_GRAPH_2, LIFTING_SIZES, BaseGraph
from semcast.errors import InputError

MIN_INFO_BITS: Final = 12
MAX_INFO_BITS_BG1: Final = 8448
MAX_INFO_BITS_BG2: Final = 3840
MAX_RATE: Final = 0.95
NUM_CORE_ROWS: Final = 4

LLR_LIMIT: Final = 1e4
"""Channel log-likelihood ratios are clipped here, so that sums of repetitions stay finite."""

_NEVER: Final = np.float32(1e30)
_CORRECTION_0: Final = np.float32(0.91244)
_CORRECTION_1: Final = np.float32(0.1646)


@dataclass(frozen=True)
class DecodedLdpc:
    """Outcome of decoding one codeword."""

    bits: NDArray[np.uint8]
    """[k] information bits, hard decisions, right or wrong."""
    parity_ok: bool
    """Whether every parity check that touches a received bit holds."""
    num_iterations: int
    """Passes over the graph that were made."""


def max_info_bits(code_rate: float) -> int:
    """Largest k of one codeword at a code rate k/n (TS 38.212 sections 5.2.2 and 7.2.2)."""
    return MAX_INFO_BITS_BG2 if code_rate <= 0.25 else MAX_INFO_BITS_BG1


def select_base_graph(k: int, n: int) -> BaseGraph:
    """Base graph for k information bits in n coded bits (TS 38.212 section 7.2.2).

    One departure: above 3840 bits at a rate of 1/4 or less, where the standard would segment, base
    graph 1 is used (with repetition).
    """
    rate = k / n
    if k <= 292 or (k <= 3824 and rate <= 0.67) or (k <= MAX_INFO_BITS_BG2 and rate <= 0.25):
        return BASE_GRAPH_2
    return BASE_GRAPH_1


def select_lifting(k: int, graph: BaseGraph) -> tuple[int, int]:
    """(lifting size Z_c, set index i_LS): the smallest Z_c with K_b Z_c >= k (section 5.2.2)."""
    if graph is BASE_GRAPH_1:
        num_columns = 22
    elif k > 640:
        num_columns = 10
    elif k > 560:
        num_columns = 9
    elif k > 192:
        num_columns = 8
    else:
        num_columns = 6
    return min(
        (lifting, set_index)
        for set_index, sizes in enumerate(LIFTING_SIZES)
        for lifting in sizes
        if num_columns * lifting >= k
    )


class LdpcCode:
    """The (n, k) code. Make it with `ldpc_code(k, n)`, which keeps the tables of recent codes.

    Attributes:
        k, n: information and coded bits.
        graph: base graph.
        lifting: Z_c.
        num_rows: base-graph rows the decoder works on; rows whose own parity bits are not sent
            carry no information and are left out.
    """

    def __init__(self, k: int, n: int) -> None:
        if not MIN_INFO_BITS <= k <= MAX_INFO_BITS_BG1:
            raise InputError(
                f"An LDPC code takes {MIN_INFO_BITS} to {MAX_INFO_BITS_BG1} bits, not {k}: "
                "pad or split the payload."
            )
        if k > MAX_RATE * n:
            raise InputError(
                f"{k} bits in {n} coded bits is a rate above {MAX_RATE}: send more symbols."
            )
        self.k = k
        self.n = n
        self.graph = select_base_graph(k, n)
        self.lifting, set_index = select_lifting(k, self.graph)
        z = self.lifting
        num_info = self.graph.num_info_columns * z
        self._num_filler = num_info - k
        self._buffer_size = self.graph.num_columns * z - 2 * z - self._num_filler
        last_bit = min(n, self._buffer_size) - 1 + 2 * z
        if last_bit >= k:
            last_bit += self._num_filler
        last_column = last_bit // z
        self.num_rows = max(NUM_CORE_ROWS, last_column - self.graph.num_info_columns + 1)

        encode_edges = [
            (edge.row, edge.column, edge.shifts[set_index] % z) for edge in self.graph.edges
        ]
        self._encode_graph = np.array(encode_edges, dtype=np.int32)
        # The first parity column enters an odd number of core rows by one circulant only: the other
        # two cancel, and its shift is what the sum of the core rows must be unrotated by.
        core_shifts = [
            shift
            for row, column, shift in encode_edges
            if row < NUM_CORE_ROWS and column == self.graph.num_info_columns
        ]
        self._core_shift = next(s for s in core_shifts if core_shifts.count(s) % 2 == 1)
        first_filler_column = -(-k // z)
        kept = [
            edge
            for edge in encode_edges
            if edge[0] < self.num_rows
            and not first_filler_column <= edge[1] < self.graph.num_info_columns
        ]
        rows = np.array([edge[0] for edge in kept])
        self._row_start = np.searchsorted(rows, np.arange(self.num_rows + 1)).astype(np.int32)
        self._edge_column = np.array([edge[1] for edge in kept], dtype=np.int32)
        self._edge_shift = np.array([edge[2] for edge in kept], dtype=np.int32)
        self._num_decoder_columns = self.graph.num_info_columns + self.num_rows

    def encode(self, bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """[k] uint8 of 0/1 -> [n] uint8 of 0/1.

        Raises:
            InputError: wrong number of bits.
        """
        if bits.shape != (self.k,):
            raise InputError(f"This LDPC code takes {self.k} bits, not an array of {bits.shape}.")
        z = self.lifting
        codeword = np.zeros((self.graph.num_columns, z), dtype=np.uint8)
        codeword.reshape(-1)[: self.k] = bits
        _encode_lifted(codeword, self._encode_graph, self.graph.num_info_columns, self._core_shift)
        flat = codeword.reshape(-1)
        buffer = np.concatenate([flat[2 * z : self.k], flat[self.k + self._num_filler :]])
        return np.resize(buffer, self.n)

    def decode(
        self, llr: NDArray[np.float32], num_iterations: int = 20, early_stop: bool = True
    ) -> DecodedLdpc:
        """Layered corrected min-sum decoding.

        Args:
            llr: [n], float32, `log P(b=1) / P(b=0)`; NaN counts as 0 (unknown), infinities are
                clipped.
            num_iterations: passes over the graph at most.
            early_stop: stop as soon as all parity checks hold.

        Raises:
            InputError: wrong number of values.
        """
        if llr.shape != (self.n,):
            raise InputError(f"This LDPC code takes {self.n} LLRs, not an array of {llr.shape}.")
        z = self.lifting
        clean = np.nan_to_num(llr.astype(np.float32), nan=0.0, posinf=LLR_LIMIT, neginf=-LLR_LIMIT)
        np.clip(clean, -LLR_LIMIT, LLR_LIMIT, out=clean)
        combined = _combine_repetitions(clean, self._buffer_size)

        posterior = np.zeros((self._num_decoder_columns, z), dtype=np.float32)
        flat = posterior.reshape(-1)
        num_systematic = min(combined.size, self.k - 2 * z)
        # The decoder's internal sign is that of log P(0)/P(1), for which a check is a sign product.
        flat[2 * z : 2 * z + num_systematic] = -combined[:num_systematic]
        first_parity = self.k + self._num_filler
        flat[self.k : first_parity] = 2.0 * LLR_LIMIT
        num_parity = combined.size - num_systematic
        flat[first_parity : first_parity + num_parity] = -combined[num_systematic:]
        parity_ok, iterations = _decode_layered(
            posterior,
            self._row_start,
            self._edge_column,
            self._edge_shift,
            num_iterations,
            early_stop,
        )
        return DecodedLdpc((flat[: self.k] < 0).astype(np.uint8), bool(parity_ok), int(iterations))


@lru_cache(maxsize=512)
def ldpc_code(k: int, n: int) -> LdpcCode:
    """The (n, k) code, with its tables kept for the next block of the same size."""
    return LdpcCode(k, n)


def _combine_repetitions(llr: NDArray[np.float32], buffer_size: int) -> NDArray[np.float32]:
    """Adds up the LLRs of coded bits sent more than once: [n] -> [min(n, buffer_size)]."""
    if llr.size <= buffer_size:
        return llr
    padded = np.zeros(-(-llr.size // buffer_size) * buffer_size, dtype=np.float32)
    padded[: llr.size] = llr
    combined: NDArray[np.float32] = padded.reshape(-1, buffer_size).sum(axis=0, dtype=np.float32)
    return combined


@numba.njit(cache=True)
def _encode_lifted(codeword, edges, num_info_columns, core_shift):  # type: ignore[no-untyped-def]
    """Fills the parity columns of `codeword` [columns, Z] uint8, whose systematic part is set.

    The sum of the four core rows leaves the first parity column alone; each further row then holds
    exactly one parity column not yet known, with shift 0 (section 5.3.2).
    """
    z = codeword.shape[1]
    p0 = num_info_columns
    total = np.zeros(z, dtype=np.uint8)
    for e in range(edges.shape[0]):
        row, column, shift = edges[e, 0], edges[e, 1], edges[e, 2]
        if row < NUM_CORE_ROWS and column < p0:
            for i in range(z - shift):
                total[i] ^= codeword[column, i + shift]
            for i in range(z - shift, z):
                total[i] ^= codeword[column, i + shift - z]
    for i in range(z):
        codeword[p0, (i + core_shift) % z] = total[i]
    for e in range(edges.shape[0]):
        row, column, shift = edges[e, 0], edges[e, 1], edges[e, 2]
        if row == NUM_CORE_ROWS - 1:
            continue
        target = p0 + row + 1 if row < NUM_CORE_ROWS - 1 else p0 + row
        if column == target:
            continue
        for i in range(z - shift):
            codeword[target, i] ^= codeword[column, i + shift]
        for i in range(z - shift, z):
            codeword[target, i] ^= codeword[column, i + shift - z]


@numba.njit(cache=True)
def _parity_holds(posterior, row_start, edge_column, edge_shift, syndrome):  # type: ignore[no-untyped-def]
    """Whether the hard decisions of `posterior` satisfy every check row. `syndrome` is scratch."""
    z = posterior.shape[1]
    for row in range(row_start.size - 1):
        for i in range(z):
            syndrome[i] = 0
        for e in range(row_start[row], row_start[row + 1]):
            values = posterior[edge_column[e]]
            shift = edge_shift[e]
            head = values[shift:]
            tail = values[:shift]
            for i in range(z - shift):
                syndrome[i] ^= head[i] < 0
            rest = syndrome[z - shift :]
            for i in range(shift):
                rest[i] ^= tail[i] < 0
        any_odd = np.uint8(0)
        for i in range(z):
            any_odd |= syndrome[i]
        if any_odd:
            return False
    return True


@numba.njit(cache=True, fastmath={"nnan"}, inline="always")
def _boxplus(a, b):  # type: ignore[no-untyped-def]
    """2 atanh(tanh(a/2) tanh(b/2)) for a, b >= 0, as min(a, b) + f(a + b) - f(|a - b|).

    f(x) = log(1 + exp(-x)) is replaced by max(0, 0.91244 - 0.1646 x)^4, which has its value and
    slope at 0 and is within 0.012 of it everywhere.
    """
    zero = np.float32(0.0)
    high = max(zero, _CORRECTION_0 - _CORRECTION_1 * (a + b))
    low = max(zero, _CORRECTION_0 - _CORRECTION_1 * abs(a - b))
    high *= high
    low *= low
    return max(zero, min(a, b) + (high * high - low * low))


@numba.njit(cache=True, fastmath={"nnan"})
def _decode_layered(  # type: ignore[no-untyped-def]
    posterior, row_start, edge_column, edge_shift, num_iterations, early_stop
):
    """Layered corrected min-sum on `posterior` [columns, Z] float32, updated in place.

    Returns (whether all checks hold, iterations made).
    """
    z = posterior.shape[1]
    num_rows = row_start.size - 1
    max_degree = 0
    for row in range(num_rows):
        max_degree = max(max_degree, row_start[row + 1] - row_start[row])
    to_variable = np.zeros((edge_column.size, z), dtype=np.float32)
    extrinsic = np.empty((max_degree, z), dtype=np.float32)
    smallest = np.empty(z, dtype=np.float32)
    others = np.empty(z, dtype=np.float32)
    everyone = np.empty(z, dtype=np.float32)
    sign = np.empty(z, dtype=np.float32)
    syndrome = np.empty(z, dtype=np.uint8)
    one = np.float32(1.0)
    for iteration in range(num_iterations):
        for row in range(num_rows):
            first = row_start[row]
            degree = row_start[row + 1] - first
            for i in range(z):
                smallest[i] = _NEVER
                others[i] = _NEVER
                sign[i] = one
            for d in range(degree):
                values = posterior[edge_column[first + d]]
                shift = edge_shift[first + d]
                old = to_variable[first + d]
                out = extrinsic[d]
                head = values[shift:]
                for i in range(z - shift):
                    out[i] = head[i] - old[i]
                out_rest = out[z - shift :]
                old_rest = old[z - shift :]
                for i in range(shift):
                    out_rest[i] = values[i] - old_rest[i]
                for i in range(z):
                    magnitude = abs(out[i])
                    others[i] = _boxplus(others[i], max(smallest[i], magnitude))
                    smallest[i] = min(smallest[i], magnitude)
                    sign[i] = -sign[i] if out[i] < 0 else sign[i]
            for i in range(z):
                everyone[i] = _boxplus(others[i], smallest[i])
            for d in range(degree):
                values = posterior[edge_column[first + d]]
                shift = edge_shift[first + d]
                new = to_variable[first + d]
                out = extrinsic[d]
                for i in range(z):
                    magnitude = others[i] if abs(out[i]) == smallest[i] else everyone[i]
                    own = -one if out[i] < 0 else one
                    new[i] = own * sign[i] * magnitude
                head = values[shift:]
                for i in range(z - shift):
                    head[i] = out[i] + new[i]
                out_rest = out[z - shift :]
                new_rest = new[z - shift :]
                for i in range(shift):
                    values[i] = out_rest[i] + new_rest[i]
        if early_stop and _parity_holds(posterior, row_start, edge_column, edge_shift, syndrome):
            return True, iteration + 1
    holds = _parity_holds(posterior, row_start, edge_column, edge_shift, syndrome)
    return holds, num_iterations
