"""The modulation and coding ladder: which rate is safe at which SNR, for how long a block.

Ids name modulation and nominal code rate; which code it is (polar or LDPC) follows from the block's
length (`digital.is_polar`). The six rungs from `qpsk-1/3` to `qam16-2/3` are LGVSC's (arXiv
2606.12899, its public code; its own switching points are 0, 2, 4, 6, 8, 10 dB for blocks of 3072 to
6144 bits). The rungs below and above are ours.

The table is measured by `benchmarks/ladder.py` with the digital blocks of `semcast.air.digital` in
AWGN: the Es/N0 at which the block error rate is 1 %, rounded up to 0.1 dB. Short blocks need more:
a few dozen bits 2-3 dB more than endless ones, and more still where 16- or 64-QAM leaves so few
symbols that their scale is hard to find.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from semcast.errors import InputError

TABLE_INFO_BITS: Final = (28, 40, 64, 100, 150, 200, 300, 500, 800)
"""Information bits (payload and CRC) of the blocks that were measured."""

_NO_LENGTH_BITS: Final = 100
"""Without a length, a rung must be safe for blocks of this many bits and more."""


@dataclass(frozen=True)
class Rung:
    """One modulation and coding scheme."""

    id: str
    """Stable name, e.g. `qpsk-1/3`; what `--mcs` takes."""
    index: int
    """Position in `LADDER`, 0 the most robust; what control fields carry."""
    bits_per_symbol: int
    """2 (4-QAM), 4 (16-QAM) or 6 (64-QAM)."""
    code_rate: float
    """Nominal information bits (CRC included) per coded bit."""
    table_snr_db: tuple[float, ...]
    """Es/N0 in dB from which blocks of `TABLE_INFO_BITS` bits fail at most 1 % of the time."""

    @property
    def spectral_efficiency(self) -> float:
        """eta: information bits (CRC included) per complex symbol."""
        return self.bits_per_symbol * self.code_rate

    @property
    def min_snr_db(self) -> float:
        """Es/N0 in dB from which blocks of 100 to 800 bits fail at most 1 % of the time."""
        return max(
            snr_db
            for bits, snr_db in zip(TABLE_INFO_BITS, self.table_snr_db, strict=True)
            if bits >= _NO_LENGTH_BITS
        )

    def min_snr_db_for(self, num_info_bits: int) -> float:
        """Es/N0 in dB from which blocks of so many bits fail at most 1 % of the time.

        Args:
            num_info_bits: payload and CRC. Between the sizes measured the SNR is interpolated over
                the logarithm of the size; outside of them it is that of the nearest.
        """
        known = list(zip(TABLE_INFO_BITS, self.table_snr_db, strict=True))
        for (low, low_db), (high, high_db) in pairwise(known):
            if num_info_bits < high:
                share = math.log(max(num_info_bits, low) / low) / math.log(high / low)
                return low_db + share * (high_db - low_db)
        return known[-1][1]


LADDER: Final[tuple[Rung, ...]] = (
    Rung("qpsk-1/12", 0, 2, 1 / 12, (-6.6, -6.8, -6.8, -6.9, -6.9, -6.7, -7.1, -7.3, -7.4)),
    Rung("qpsk-1/8", 1, 2, 1 / 8, (-4.7, -5.0, -5.0, -4.9, -5.1, -5.0, -5.2, -5.6, -5.7)),
    Rung("qpsk-1/5", 2, 2, 1 / 5, (-2.5, -2.7, -2.7, -2.9, -2.9, -3.0, -3.3, -3.4, -3.7)),
    Rung("qpsk-1/3", 3, 2, 1 / 3, (0.1, -0.2, -0.2, 0.0, -0.4, -0.3, -0.6, -0.9, -1.0)),
    Rung("qpsk-1/2", 4, 2, 1 / 2, (2.2, 2.3, 2.0, 2.4, 2.3, 2.1, 1.9, 1.6, 1.4)),
    Rung("qpsk-2/3", 5, 2, 2 / 3, (4.0, 4.0, 4.2, 4.0, 3.9, 3.9, 3.7, 3.6, 3.5)),
    Rung("qpsk-3/4", 6, 2, 3 / 4, (4.7, 4.7, 4.9, 4.9, 4.9, 4.9, 4.8, 4.8, 4.6)),
    Rung("qam16-1/2", 7, 4, 1 / 2, (7.5, 7.4, 7.3, 7.5, 7.6, 7.6, 7.1, 6.8, 6.7)),
    Rung("qam16-2/3", 8, 4, 2 / 3, (9.8, 10.1, 10.2, 10.0, 9.7, 9.9, 9.6, 9.6, 9.3)),
    Rung("qam16-5/6", 9, 4, 5 / 6, (11.7, 12.6, 11.9, 12.2, 12.4, 12.2, 12.2, 12.4, 12.2)),
    Rung("qam64-2/3", 10, 6, 2 / 3, (22.3, 17.5, 15.9, 15.4, 14.9, 15.4, 15.0, 14.7, 14.4)),
    Rung("qam64-5/6", 11, 6, 5 / 6, (23.0, 21.2, 19.3, 18.6, 18.3, 18.1, 17.9, 18.0, 17.7)),
)
"""Every rung, the most robust first; `LADDER[i].index == i`."""


def rung(rung_id: str) -> Rung:
    """The rung of that id.

    Raises:
        InputError: no such rung; the message lists the valid ids.
    """
    for candidate in LADDER:
        if candidate.id == rung_id:
            return candidate
    valid = ", ".join(candidate.id for candidate in LADDER)
    raise InputError(f"Unknown modulation and coding scheme {rung_id!r}: use one of {valid}.")


def pick_rung(
    snr_db: float,
    current: Rung | None,
    *,
    num_symbols: int | None = None,
    margin_db: float = 0.5,
    hysteresis_db: float = 1.0,
) -> Rung:
    """The fastest rung that is safe at an estimated SNR, without flapping between two.

    A rung is safe from the SNR it needs plus `margin_db` (which covers the error of the estimate).
    A faster rung than `current` is taken only `hysteresis_db` above that; a slower one as soon as
    `current` itself, without margin, is no longer met.

    Args:
        snr_db: estimated Es/N0; NaN or -inf (nothing heard yet) gives the lowest rung.
        current: the rung in use, None at the start.
        num_symbols: size of the block, at each rung full of as many bits as it carries
            (`min_snr_db_for`). None: a block of 100 bits or more (`min_snr_db`).
        margin_db: >= 0.
        hysteresis_db: >= 0.

    Returns:
        A member of `LADDER`; the lowest one when none is safe.
    """

    def needed_db(candidate: Rung) -> float:
        if num_symbols is None:
            return candidate.min_snr_db
        return candidate.min_snr_db_for(int(num_symbols * candidate.spectral_efficiency))

    fastest = LADDER[0]
    for candidate in LADDER:
        raise_db = hysteresis_db if current is not None and candidate.index > current.index else 0.0
        if snr_db >= needed_db(candidate) + margin_db + raise_db:
            fastest = candidate
    if current is not None and fastest.index < current.index and snr_db >= needed_db(current):
        return current
    return fastest
