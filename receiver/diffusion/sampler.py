"""A few straight steps from a noised guess to a latent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from receiver.diffusion.backbone import noised


def noise_levels(start_sigma: float, num_steps: int) -> list[float]:
    """Equal steps from start_sigma down to 0; num_steps + 1 values. ValueError out of range."""
    if not 0 < start_sigma <= 1 or num_steps < 1:
        raise ValueError("start_sigma is in (0, 1], num_steps at least 1")
    return [start_sigma * (1 - k / num_steps) for k in range(num_steps + 1)]


def sample(
    velocity: Callable[[Tensor, Tensor], Tensor],
    degraded_latent: Tensor,
    noise: Tensor,
    start_sigma: float | Sequence[float],
    num_steps: int,
) -> Tensor:
    """Latents [B, C, h, w], by Euler's method.

    velocity: of (x [B, C, h, w], sigma [B]). It starts from the degraded latent, noised to
    start_sigma (one for all, or one each); at 1 nothing of it is left in the start, and the
    network's conditions say it all.
    """
    batch = len(degraded_latent)
    starts = [start_sigma] * batch if isinstance(start_sigma, float) else start_sigma
    of_each = torch.tensor([noise_levels(start, num_steps) for start in starts])
    levels = of_each.to(degraded_latent).unbind(1)
    x = noised(degraded_latent, noise, levels[0])
    for sigma, following in pairwise(levels):
        x = x + (following - sigma).view(-1, 1, 1, 1) * velocity(x, sigma)
    return x
