"""Principal components of patches: what a linear transform code of the training clips would be."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

_ENOUGH_PATCHES = 16_000


def principal_components(
    draw: Callable[[np.random.Generator], Tensor],
    patch: int,
    count: int,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean [D], components [D, count] and their variances [count] of patches, D = in * patch^2.

    draw(rng): pictures [B, in, H, W], sides multiples of `patch`. D counts channel after channel,
    row after row.
    """
    rows: list[Tensor] = []
    total = 0
    while total < _ENOUGH_PATCHES:
        x = draw(rng)
        patches = x.unfold(2, patch, patch).unfold(3, patch, patch)
        rows.append(patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, x.shape[1] * patch * patch))
        total += len(rows[-1])
    values = torch.cat(rows).double()
    mean = values.mean(0)
    variances, vectors = torch.linalg.eigh(torch.cov(values.t()))
    order = torch.arange(len(variances) - 1, len(variances) - 1 - count, -1)
    return mean.float(), vectors[:, order].float(), variances[order].float()
