"""A few straight steps from a noised guess to a latent."""

from __future__ import annotations

from collections.abc import Callable
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
    start_sigma: float,
    num_steps: int,
) -> Tensor:
    """Latents [B, C, h, w], by Euler's method.

    velocity: of (x [B, C, h, w], sigma [B]). It starts from the degraded latent, noised to
    start_sigma; at 1 nothing of it is left in the start, and the network's conditions say it all.
    """
    levels = noise_levels(start_sigma, num_steps)
    batch = len(degraded_latent)
    x = noised(degraded_latent, noise, torch.full((batch,), start_sigma, device=noise.device))
    for sigma, following in pairwise(levels):
        at = torch.full((batch,), sigma, device=x.device, dtype=x.dtype)
        x = x + (following - sigma) * velocity(x, at)
    return x
