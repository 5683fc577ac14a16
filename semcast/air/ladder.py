"""The modulation and coding ladder: which rate is safe at which SNR.

Ids name modulation and nominal code rate. The six rungs from `qpsk-1/3` to `qam16-2/3` are LGVSC's
(arXiv 2606.12899, its public code; its own switching points are 0, 2, 4, 6, 8, 10 dB for blocks of
3072 to 6144 bits). The rungs below and above are ours.

`min_snr_db` is measured by `benchmarks/ladder.py` with the digital blocks of `semcast.air.digital`
in AWGN: the Es/N0 at which the block error rate is 1 % for the worst of the payload sizes 100, 200,
400 and 800 bits (the short blocks semcast sends lose 1-2 dB against LGVSC's long ones), rounded up
to 0.1 dB.
"""

from dataclasses import dataclass
from typing import Final

from semcast.errors import InputError


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
    min_snr_db: float
    """Es/N0 in dB from which short blocks (100-800 bits) fail at most 1 % of the time."""

    @property
    def spectral_efficiency(self) -> float:
        """eta: information bits (CRC included) per complex symbol."""
        return self.bits_per_symbol * self.code_rate


LADDER: Final[tuple[Rung, ...]] = (
    Rung("qpsk-1/12", 0, 2, 1 / 12, -6.5),
    Rung("qpsk-1/8", 1, 2, 1 / 8, -4.7),
    Rung("qpsk-1/5", 2, 2, 1 / 5, -2.5),
    Rung("qpsk-1/3", 3, 2, 1 / 3, 0.0),
    Rung("qpsk-1/2", 4, 2, 1 / 2, 2.6),
    Rung("qpsk-2/3", 5, 2, 2 / 3, 4.6),
    Rung("qpsk-3/4", 6, 2, 3 / 4, 5.9),
    Rung("qam16-1/2", 7, 4, 1 / 2, 7.9),
    Rung("qam16-2/3", 8, 4, 2 / 3, 10.7),
    Rung("qam16-5/6", 9, 4, 5 / 6, 13.5),
    Rung("qam64-2/3", 10, 6, 2 / 3, 16.1),
    Rung("qam64-5/6", 11, 6, 5 / 6, 19.3),
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
    margin_db: float = 0.5,
    hysteresis_db: float = 1.0,
) -> Rung:
    """The fastest rung that is safe at an estimated SNR, without flapping between two.

    A rung is safe from `min_snr_db + margin_db` (the margin covers the error of the estimate). A
    faster rung than `current` is taken only `hysteresis_db` above that; a slower one as soon as
    `current` itself, without margin, is no longer met.

    Args:
        snr_db: estimated Es/N0; NaN or -inf (nothing heard yet) gives the lowest rung.
        current: the rung in use, None at the start.
        margin_db: >= 0.
        hysteresis_db: >= 0.

    Returns:
        A member of `LADDER`; the lowest one when none is safe.
    """
    fastest = LADDER[0]
    for candidate in LADDER:
        raise_db = hysteresis_db if current is not None and candidate.index > current.index else 0.0
        if snr_db >= candidate.min_snr_db + margin_db + raise_db:
            fastest = candidate
    if current is not None and fastest.index < current.index and snr_db >= current.min_snr_db:
        return current
    return fastest
