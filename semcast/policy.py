"""Which scheme `auto` uses: a pure function of the SNR that feedback tells, and of what is in use.

GVSC's rule: visual semantics only above a threshold SNR, text alone below it (arXiv 2502.13838,
which gives no value). The thresholds follow from the session's symbols: a choice is good from the
SNR at which a frame holds the bits it needs. Both ends apply the rule to the same feedback, so a
switch costs no symbols.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

HYSTERESIS_DB = 1.0
"""A richer scheme is taken only so far above its threshold; ours, as the ladder's."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A scheme that may be picked. from_snr_db: good from there on; -inf for one that always is."""

    scheme_id: str
    from_snr_db: float


def pick_scheme(
    snr_db: float,
    current: str | None,
    choices: Sequence[Choice],
    hysteresis_db: float = HYSTERESIS_DB,
) -> str:
    """The richest scheme that is good at an estimated SNR, without flapping between two.

    Args:
        snr_db: estimated Es/N0; NaN (nothing heard yet) counts as the lowest.
        current: id of the scheme in use; None at the start.
        choices: the most robust first, thresholds not descending; the first is always good.
        hysteresis_db: >= 0; what a richer scheme than the current one must have to spare.

    Returns:
        The id of one of the choices.
    """
    ids = [choice.scheme_id for choice in choices]
    at = ids.index(current) if current in ids else -1
    snr_db = -math.inf if math.isnan(snr_db) else snr_db
    picked = 0
    for index, choice in enumerate(choices):
        spare_db = hysteresis_db if current is not None and index > at else 0.0
        if snr_db >= choice.from_snr_db + spare_db:
            picked = index
    return ids[picked]
