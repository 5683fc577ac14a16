"""One digital block: payload bits to unit-power symbols and back.

    payload [P] -> CRC [P + L] -> polar or LDPC codewords -> scrambling -> QAM -> unit power

* CRC: 16 bits up to 3824 payload bits, 24 above; inverted, so that an all-zero word (what a decoder
  makes of silence) is not a valid block.
* Code: polar for short words (`is_polar`), else LDPC: one codeword, or several of equal size
  (within one bit) where one would be too long. A polar codeword is interleaved by its own triangle;
  LDPC codewords rows to columns (TS 38.212 section 5.4.2.2), which puts the systematic bits on the
  most reliable bits of a QAM symbol.
* Scrambling: XOR with `keyed_bits(n, DOMAIN_DIGITAL, key)`; a block sent under another key fails.
* Unit power: a 16- or 64-QAM block is scaled to a mean power of exactly 1. That scale is near 1 and
  is not sent; the receiver finds it from the samples (`_block_scale`).

A block is accepted only if its CRC holds and the code itself bears it out: all parity checks of an
LDPC code; for a polar code, whose list decoder tries eight words, `EVIDENCE_BITS` of evidence in
the samples beyond the payload's own size. benchmarks/polar.py measures what still passes by chance.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semcast.air import crc, power, qam
from semcast.air.ladder import Rung
from semcast.air.ldpc import MAX_RATE, ldpc_code, max_info_bits
from semcast.air.polar import polar_code
from semcast.air.scrambling import DOMAIN_DIGITAL, keyed_bits
from semcast.errors import InputError

MAX_BITS_CRC16: Final = 3824

NUM_ITERATIONS: Final = 40
"""LDPC iterations at most; short low-rate blocks still gain beyond 20, and most stop early."""

EVIDENCE_BITS: Final = 8
"""Information density that a polar block must show beyond its payload bits (`polar.py`). With it
nothing passes by chance in deep outage, and at most 6 blocks in 100,000 at the worst SNR, some 3 dB
below the threshold; without it 12 at every SNR from there down (benchmarks/polar.py). It costs
less than 0.1 dB."""

_POLAR_CODED_BITS: Final = 512
_POLAR_INFO_BITS: Final = 160

_RATE_SLACK: Final = 1e-9


@dataclass(frozen=True)
class DecodedBlock:
    """What came out of one received block."""

    payload: NDArray[np.uint8] | None
    """[P] uint8 of 0/1, or None: a payload that fails its check is never handed on."""
    crc_ok: bool
    """Whether the block was accepted: CRC, and parity checks or evidence."""
    num_iterations: int
    """LDPC iterations, the most over the codewords; 1 for a polar code."""
    resent: NDArray[np.complex64] | None
    """The symbols that must have been sent, to be used as pilots; None unless `crc_ok`."""


def crc_kind(num_payload_bits: int) -> str:
    """CRC that a payload of that size carries."""
    return "crc16" if num_payload_bits <= MAX_BITS_CRC16 else "crc24a"


def payload_bits(num_symbols: int, rung: Rung) -> int:
    """Most payload bits (CRC not counted) that `num_symbols` symbols carry at a rung; 0 if none."""
    info_bits = int(num_symbols * rung.spectral_efficiency + _RATE_SLACK)
    above24 = info_bits - crc.length_bits("crc24a")
    if above24 > MAX_BITS_CRC16:
        return above24
    return max(0, min(info_bits - crc.length_bits("crc16"), MAX_BITS_CRC16))


def is_polar(k: int, n: int) -> bool:
    """Whether k bits (CRC included) in n coded bits are sent by a polar code rather than LDPC.

    As far as its list of 8 is long enough to need less SNR than LDPC for 1 % of loss, measured by
    benchmarks/polar.py: up to mother codes of 512 bits, and words of 160 bits at any low rate.
    """
    return n <= _POLAR_CODED_BITS or k <= _POLAR_INFO_BITS


def num_symbols(num_payload_bits: int, rung: Rung) -> int:
    """Fewest symbols that carry a payload at a rung (0 for an empty payload)."""
    if num_payload_bits <= 0:
        return 0
    info_bits = num_payload_bits + crc.length_bits(crc_kind(num_payload_bits))
    count = max(1, int(info_bits / rung.spectral_efficiency))
    while payload_bits(count, rung) < num_payload_bits:
        count += 1
    return count


def encode_block(
    payload: NDArray[np.uint8], num_symbols: int, rung: Rung, key: int
) -> NDArray[np.complex64]:
    """Payload to symbols.

    Args:
        payload: [P], uint8 of 0/1, 1 <= P <= `payload_bits(num_symbols, rung)`; a shorter payload
            is coded at a lower rate.
        num_symbols: size of the block, S.
        rung: modulation and highest code rate.
        key: scrambling key; both ends derive it from the session and the block's place in it.

    Returns:
        [S], complex64, mean power 1.

    Raises:
        InputError: the payload is empty or does not fit.
    """
    layout = _layout(payload.size, num_symbols, rung)
    word = crc.attach_inverted(payload, crc_kind(payload.size))
    coded = np.concatenate(
        [
            _encode_codeword(word[first_bit : first_bit + k], n, rung.bits_per_symbol)
            for first_bit, k, _, n in layout
        ]
    )
    coded ^= keyed_bits(coded.size, DOMAIN_DIGITAL, key)
    return power.normalise(qam.modulate(coded, rung.bits_per_symbol))[0]


def decode_block(
    samples: NDArray[np.complexfloating],
    noise_var: float,
    rung: Rung,
    num_payload_bits: int,
    key: int,
) -> DecodedBlock:
    """Received samples to payload; the inverse of `encode_block`.

    Args:
        samples: [S], complex, equalised to gain 1. NaN or infinite samples make the block fail.
        noise_var: N0 after equalisation, > 0.
        rung, num_payload_bits, key: as sent.

    Raises:
        InputError: [S] cannot hold that payload at that rung, or `noise_var` is not positive.
    """
    if samples.ndim != 1:
        raise InputError(f"A digital block is a row of samples, not an array of {samples.shape}.")
    layout = _layout(num_payload_bits, samples.size, rung)
    if not (np.isfinite(noise_var) and noise_var > 0.0):
        raise InputError(f"Noise variance {noise_var} must be a positive finite number.")
    if not np.isfinite(samples).all():
        return DecodedBlock(None, False, 0, None)
    with np.errstate(over="ignore", invalid="ignore"):
        scale = _block_scale(samples, noise_var, rung.bits_per_symbol)
        llr = qam.demodulate(
            samples / scale, noise_var / scale**2, rung.bits_per_symbol, method="exact"
        )
    llr = np.where(keyed_bits(llr.size, DOMAIN_DIGITAL, key) == 1, -llr, llr)
    payload, iterations = _decode_word(llr, layout, num_payload_bits, rung.bits_per_symbol)
    if payload is None:
        return DecodedBlock(None, False, iterations, None)
    resent = encode_block(payload, samples.size, rung, key)
    return DecodedBlock(payload, True, iterations, resent)


def _encode_codeword(
    word: NDArray[np.uint8], num_coded_bits: int, bits_per_symbol: int
) -> NDArray[np.uint8]:
    """[k] uint8 -> [n] uint8 in the order of transmission."""
    if is_polar(word.size, num_coded_bits):
        return polar_code(word.size, num_coded_bits).encode(word)
    coded = ldpc_code(word.size, num_coded_bits).encode(word)
    return coded.reshape(bits_per_symbol, -1).T.ravel()


def _decode_word(
    llr: NDArray[np.float32],
    layout: tuple[tuple[int, int, int, int], ...],
    num_payload_bits: int,
    bits_per_symbol: int,
) -> tuple[NDArray[np.uint8] | None, int]:
    """(payload, or None if it is not accepted; iterations) of a block's descrambled LLRs."""
    kind = crc_kind(num_payload_bits)
    _, k, _, n = layout[0]
    if is_polar(k, n):
        found = polar_code(k, n).decode(llr, kind)
        enough = found.density_bits >= num_payload_bits + EVIDENCE_BITS
        return found.payload if enough else None, 1
    word = np.empty(num_payload_bits + crc.length_bits(kind), dtype=np.uint8)
    most_iterations = 0
    for first_bit, k, first, n in layout:
        received = llr[first : first + n].reshape(-1, bits_per_symbol).T.ravel()
        decoded = ldpc_code(k, n).decode(received, NUM_ITERATIONS)
        most_iterations = max(most_iterations, decoded.num_iterations)
        if not decoded.parity_ok:
            return None, most_iterations
        word[first_bit : first_bit + k] = decoded.bits
    return crc.strip_inverted(word, kind), most_iterations


def _layout(
    num_payload_bits: int, num_symbols: int, rung: Rung
) -> tuple[tuple[int, int, int, int], ...]:
    """The codewords of a block: (first word bit, k, first coded bit, n) each.

    Raises:
        InputError: the payload is empty or does not fit.
    """
    capacity = payload_bits(num_symbols, rung)
    if not 1 <= num_payload_bits <= capacity:
        raise InputError(
            f"{num_payload_bits} payload bits do not fit {num_symbols} symbols at {rung.id}, which "
            f"carry 1 to {capacity}: change the number of symbols or the rung."
        )
    info_bits = num_payload_bits + crc.length_bits(crc_kind(num_payload_bits))
    count = -(-info_bits // max_info_bits(info_bits / (num_symbols * rung.bits_per_symbol)))
    while True:
        codewords = []
        for i in range(count):
            first_bit, last_bit = info_bits * i // count, info_bits * (i + 1) // count
            first, last = num_symbols * i // count, num_symbols * (i + 1) // count
            codewords.append(
                (
                    first_bit,
                    last_bit - first_bit,
                    first * rung.bits_per_symbol,
                    (last - first) * rung.bits_per_symbol,
                )
            )
        # Splitting may round one codeword past the size or rate limit: one more codeword mends it.
        if all(k <= max_info_bits(k / n) and k <= MAX_RATE * n for _, k, _, n in codewords):
            return tuple(codewords)
        count += 1


def _block_scale(
    samples: NDArray[np.complexfloating], noise_var: float, bits_per_symbol: int
) -> float:
    """Amplitude by which the sender scaled a block to unit power, estimated blindly.

    4-QAM has constant modulus: the scale is 1. For 16- and 64-QAM it is 1 within a few per cent:
    the mean power of S random points varies by sqrt((E|x|^4 - 1) / S), the scale by half of that.
    With that spread as prior, the most probable of nine scales is taken and refined by expectation
    maximisation. Below about a dozen symbols the scale is ambiguous and costs several dB.
    """
    if bits_per_symbol == 2:
        return 1.0
    constellation = qam.points(bits_per_symbol).astype(np.complex128)
    levels = np.unique(constellation.real)
    received = np.concatenate([samples.real, samples.imag]).astype(np.float64)
    prior_var = (float(np.mean(np.abs(constellation) ** 4)) - 1.0) / (4.0 * samples.size)

    def soft_decisions(scale: float) -> tuple[NDArray[np.float64], float]:
        """(probability of each level [2S, levels], log-likelihood of the scale with its prior)."""
        exponent = -((received[:, None] - scale * levels) ** 2) / noise_var
        largest = exponent.max(axis=1, keepdims=True)
        weight = np.exp(exponent - largest)
        total = weight.sum(axis=1, keepdims=True)
        log_likelihood = float(np.sum(largest) + np.sum(np.log(total)))
        return weight / total, log_likelihood - (scale - 1.0) ** 2 / (2.0 * prior_var)

    spread = float(np.sqrt(prior_var))
    scales = [max(1.0 + step * spread, 0.5) for step in np.linspace(-2.5, 2.5, 9)]
    scale: float = max(scales, key=lambda candidate: soft_decisions(candidate)[1])
    prior_weight = noise_var / (2.0 * prior_var)
    for _ in range(4):
        probability, _ = soft_decisions(scale)
        correlation = float(np.sum(received * (probability @ levels)))
        energy = float(np.sum(probability @ levels**2))
        scale = (correlation + prior_weight) / (energy + prior_weight)
        scale = min(max(scale, 0.5), 2.0)
    return scale
