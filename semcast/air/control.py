"""In-band control: the few numbers that change from frame to frame, sent below every rung.

    fields, in layout order, most significant bit first -> inverted CRC-11 -> tail-biting
    convolutional code, repeated -> scrambling -> 4-QAM

The layout is fixed at session set-up, so both ends know the number of symbols. Words of 12 to 75
bits are too short for an LDPC code; the maximum-likelihood decoding of a convolutional one gains
1-2 dB here (LTE's control channels do the same).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semcast.air import crc, qam
from semcast.air.convolutional import decode_tail_biting, encode_tail_biting
from semcast.air.scrambling import DOMAIN_CONTROL, keyed_bits
from semcast.errors import InputError

CRC_KIND: Final = "crc11"
MAX_LAYOUT_BITS: Final = 64

DESIGN_SNR_DB: Final = -6.0
"""SNR at which a control block is to fail less than 1 % of the time."""

# At the default design SNR; others scale it so that the energy per bit stays the same.
_MIN_SYMBOLS_PER_BIT: Final = 6.25
# The mother code has rate 1/4 and a symbol carries two coded bits.
_FEWEST_SYMBOLS_PER_BIT: Final = 2.0
_NEGLIGIBLE_LLR: Final = 1e-6


@dataclass(frozen=True)
class ControlField:
    """A number of `bits` bits, 0 .. 2^bits - 1."""

    name: str
    bits: int


@dataclass(frozen=True)
class ControlLayout:
    """The fields of a session's control blocks, in order.

    design_snr_db: where a block is to fail less than 1 % of the time. A session whose rung is fixed
        needs control no more robust than some dB below that rung.

    Raises:
        InputError: no field, a name twice, a field of less than 1 bit, or more than 64 bits in all.
    """

    fields: tuple[ControlField, ...]
    design_snr_db: float = DESIGN_SNR_DB

    def __post_init__(self) -> None:
        names = [field.name for field in self.fields]
        if not names or len(set(names)) != len(names):
            raise InputError("A control layout needs at least one field, each name once.")
        if any(field.bits < 1 for field in self.fields) or self.num_bits > MAX_LAYOUT_BITS:
            raise InputError(
                f"Control fields take 1 bit or more each and {MAX_LAYOUT_BITS} bits together."
            )

    @cached_property
    def num_bits(self) -> int:
        """Information bits, CRC not counted."""
        return sum(field.bits for field in self.fields)

    @cached_property
    def num_symbols(self) -> int:
        """Complex symbols of one control block."""
        return _num_symbols(self.num_bits + crc.length_bits(CRC_KIND), self.design_snr_db)


def _num_symbols(info_bits: int, design_snr_db: float) -> int:
    """Symbols for `info_bits` bits (CRC included) at the design SNR.

    The normal approximation of the complex AWGN channel (Polyanskiy, Poor and Verdu, 2010, eq. 223)
    at an error rate of 1e-3, S = Es/N0:

        info_bits = n log2(1 + S) - sqrt(n V) Q^-1(1e-3) + log2(n) / 2,
        V = S (S + 2) / (S + 1)^2 log2(e)^2

    The gap between 1e-3 by the formula and the 1e-2 wanted covers code and decoder up to about 40
    bits; beyond, the code's free distance rules and `_MIN_SYMBOLS_PER_BIT` takes over.
    """
    snr = 10.0 ** (design_snr_db / 10.0)
    capacity = float(np.log2(1.0 + snr))
    dispersion = snr * (snr + 2.0) / (snr + 1.0) ** 2 * float(np.log2(np.e)) ** 2
    inverse_q = 3.0902
    n = info_bits
    while n * capacity - inverse_q * np.sqrt(n * dispersion) + 0.5 * np.log2(n) < info_bits:
        n += 1
    relative_energy = 10.0 ** ((DESIGN_SNR_DB - design_snr_db) / 10.0)
    per_bit = max(_FEWEST_SYMBOLS_PER_BIT, _MIN_SYMBOLS_PER_BIT * relative_energy)
    return max(n, int(np.ceil(per_bit * info_bits)))


def encode_control(
    values: Mapping[str, int], layout: ControlLayout, key: int
) -> NDArray[np.complex64]:
    """Values to symbols.

    Args:
        values: one value for each field, in its range.
        layout: as agreed at set-up.
        key: scrambling key; both ends derive it from the session and the frame number.

    Returns:
        [layout.num_symbols], complex64, constant modulus 1.

    Raises:
        InputError: a field is missing, unknown, or out of range.
    """
    names = {field.name for field in layout.fields}
    if set(values) != names:
        raise InputError(
            f"Control values {sorted(values)} do not match the layout's fields {sorted(names)}."
        )
    bits: list[int] = []
    for field in layout.fields:
        value = values[field.name]
        if not 0 <= value < 1 << field.bits:
            raise InputError(
                f"Control value {field.name}={value} does not fit its {field.bits} bits."
            )
        bits.extend((value >> i) & 1 for i in range(field.bits - 1, -1, -1))
    word = crc.attach(np.array(bits, dtype=np.uint8), CRC_KIND)
    word[layout.num_bits :] ^= 1
    coded = encode_tail_biting(word, 2 * layout.num_symbols)
    coded ^= keyed_bits(coded.size, DOMAIN_CONTROL, key)
    return qam.modulate(coded, 2)


def decode_control(
    samples: NDArray[np.complexfloating], noise_var: float, layout: ControlLayout, key: int
) -> dict[str, int] | None:
    """Received samples to values; None if the CRC fails, the samples are not finite, or silent.

    Args:
        samples: [layout.num_symbols], complex, equalised to gain 1.
        noise_var: N0 after equalisation, > 0. (The decision does not depend on its value.)

    Raises:
        InputError: wrong number of samples, or `noise_var` is not positive.
    """
    if samples.shape != (layout.num_symbols,):
        raise InputError(
            f"This control layout takes {layout.num_symbols} samples, not {samples.shape}."
        )
    # A range the scaling by the noise cannot push out of float32.
    if not np.isfinite(samples).all() or np.abs(samples).max() > 1e15:
        return None
    llr = qam.demodulate(samples, noise_var, 2).astype(np.float64)
    if not np.isfinite(llr).all() or np.abs(llr).max() < _NEGLIGIBLE_LLR:
        return None
    llr *= 1.0 - 2.0 * keyed_bits(llr.size, DOMAIN_CONTROL, key)
    num_word_bits = layout.num_bits + crc.length_bits(CRC_KIND)
    word = decode_tail_biting(llr, num_word_bits)
    word[layout.num_bits :] ^= 1
    if not crc.check(word, CRC_KIND):
        return None
    values: dict[str, int] = {}
    first = 0
    for field in layout.fields:
        value = 0
        for bit in word[first : first + field.bits]:
            value = value << 1 | int(bit)
        values[field.name] = value
        first += field.bits
    return values
