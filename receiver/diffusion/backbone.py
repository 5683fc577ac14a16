"""The tiny denoiser: a latent-space U-Net of diffusers' blocks, told what was received.

It predicts the velocity of a straight path from noise to latents (flow matching): at noise level
sigma a latent is x = (1 - sigma) z + sigma eps, and the network says dx/dsigma = (x - z) / sigma.

Received pictures enter as the *degraded latent*: what a small encoder, trained to guess the clean
latent from a tiny picture, makes of it. It is both the point where denoising starts and, on
further channels, what the network looks at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from receiver.diffusion.conditions import CONDITION_DOWNSCALE
from receiver.diffusion.latent_codec import LATENT_CHANNELS
from semcast.networks.transforms import ResidualBlock

SIZE_MULTIPLE = 16
"""Frame sides the backbone works at are multiples of this: stride 8, and one more halving."""

_CONFIG: dict[str, Any] = {
    "sample_size": 32,
    "in_channels": 2 * LATENT_CHANNELS,
    "out_channels": LATENT_CHANNELS,
    # 1.3 GMAC at 32x32, 2.9 M parameters: leaves room for four steps, and for adapters, which do
    # all attending.
    "block_out_channels": (96, 112),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "DownBlock2D"),
    "mid_block_type": "UNetMidBlock2D",
    "up_block_types": ("UpBlock2D", "UpBlock2D"),
    "norm_num_groups": 16,
}

OUTER_CHANNELS, MID_CHANNELS = _CONFIG["block_out_channels"]
"""Of features at 1/8 and at 1/16 of the frame, where adapters add to them."""

TIME_CHANNELS = 4 * OUTER_CHANNELS
"""Of the embedding of the noise level."""

_TIMESTEPS = 1000.0


class DegradedEncoder(nn.Module):
    """Latent that a received picture suggests; trained towards the latent of the source."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        stride = 8 // CONDITION_DOWNSCALE
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(stride),
            nn.Conv2d(3 * stride * stride, width, 3, padding=1),
            *(ResidualBlock(width) for _ in range(3)),
            nn.ReLU(),
            nn.Conv2d(width, LATENT_CHANNELS, 3, padding=1),
        )

    def forward(self, picture: Tensor) -> Tensor:
        """picture: [B, 3, H/4, W/4], -1 to 1, for frames of H x W. Latent [B, 16, H/8, W/8]."""
        latent: Tensor = self.layers(picture)
        return latent


class Backbone(nn.Module):
    """Degraded encoder and denoiser; one weight file."""

    def __init__(self) -> None:
        super().__init__()
        self.degraded = DegradedEncoder()
        self.unet: Any = UNet2DConditionModel(**_CONFIG)  # type: ignore[no-untyped-call]

    def forward(
        self,
        x: Tensor,
        sigma: Tensor,
        degraded_latent: Tensor,
        hook: Callable[[str, Tensor], Tensor] | None = None,
        embedding: Tensor | None = None,
    ) -> Tensor:
        """Velocity at x. x, degraded_latent: [B, 16, h, w]. sigma: [B], 0 to 1.

        hook: what becomes of the features at "start" (after the first layer) and "outer" (before
        the last), both [B, OUTER_CHANNELS, h, w], and "mid", [B, MID_CHANNELS, h/2, w/2].
        embedding: added to that of the noise level, [B, TIME_CHANNELS].
        """
        unet = self.unet
        at = hook or _unchanged
        time = unet.time_embedding(unet.time_proj(sigma * _TIMESTEPS).to(x.dtype))
        if embedding is not None:
            time = time + embedding
        h = at("start", unet.conv_in(torch.cat([x, degraded_latent], 1)))
        skips = [h]
        for block in unet.down_blocks:
            h, passed = block(h, time)
            skips += passed
        h = at("mid", unet.mid_block(h, time))
        for block in unet.up_blocks:
            count = len(block.resnets)
            h = block(h, tuple(skips[-count:]), time)
            skips = skips[:-count]
        h = unet.conv_act(unet.conv_norm_out(at("outer", h)))
        velocity: Tensor = unet.conv_out(h)
        return velocity


def _unchanged(site: str, h: Tensor) -> Tensor:
    return h


def noised(latent: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """(1 - sigma) latent + sigma noise; sigma: [B]."""
    share = sigma.view(-1, 1, 1, 1)
    return (1 - share) * latent + share * noise


def denoised(x: Tensor, velocity: Tensor, sigma: Tensor) -> Tensor:
    """The latent at the end of the straight path that leaves x with this velocity; sigma: [B]."""
    return x - sigma.view(-1, 1, 1, 1) * velocity
