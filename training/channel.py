"""The channel that joint source-channel codes are trained for, and what the two ends know of it."""

from __future__ import annotations

import torch
from torch import Tensor

SNR_RANGE_DB = (-5.0, 20.0)
MEASURED_AT_DB = (-5.0, 0.0, 5.0, 10.0, 15.0, 20.0)

_BELIEF_STD_DB = 0.5
_UNKNOWN_SHARE = 0.1


def draw_snr_db(count: int, device: torch.device) -> Tensor:
    """Es/N0 of each example, uniform over SNR_RANGE_DB, [count]."""
    low, high = SNR_RANGE_DB
    return low + (high - low) * torch.rand(count, device=device)


def believed_snr_db(snr_db: Tensor) -> Tensor:
    """What one end thinks the SNR is, [B]: a little wrong; NaN, one time in ten, if unknown."""
    guess = snr_db + _BELIEF_STD_DB * torch.randn_like(snr_db)
    unknown = torch.rand_like(snr_db) < _UNKNOWN_SHARE
    return torch.where(unknown, torch.nan, guess)
