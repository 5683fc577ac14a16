"""The latent codec: 256x256 pictures as 32x32 grids of 16 numbers, and back.

A deterministic autoencoder of stride 8. Latents have zero mean and unit variance in every channel
(a batch norm without scale or shift), so that diffusion can count on their range. In training a
little noise is added to them: the decoder learns to forgive what a few diffusion steps leave.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semcast.networks.transforms import AnalysisTransform, SynthesisTransform

LATENT_CHANNELS = 16
"""As in the autoencoders of the newest image diffusion models; 4 cannot reach 31 dB at stride 8."""


class LatentCodec(nn.Module):
    """Pictures [B, 3, H, W] in -1..1, H and W multiples of 8; latents [B, 16, H/8, W/8]."""

    def __init__(self, latent_channels: int = LATENT_CHANNELS) -> None:
        super().__init__()
        self.encoder = AnalysisTransform(3, latent_channels)
        self.decoder = SynthesisTransform(latent_channels, 3)
        self.normalise = nn.BatchNorm2d(latent_channels, affine=False, momentum=0.01)

    def encode(self, rgb: Tensor) -> Tensor:
        """Latents of pictures, zero mean and unit variance over the training pictures."""
        latents: Tensor = self.normalise(self.encoder(rgb))
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures of latents; may overshoot -1..1 a little."""
        rgb: Tensor = self.decoder(latents)
        return rgb

    def forward(self, rgb: Tensor, latent_noise_std: float = 0.0) -> Tensor:
        """What is left of a picture; latent_noise_std: standard deviation added in training."""
        latents = self.encode(rgb)
        if latent_noise_std:
            latents = latents + latent_noise_std * torch.randn_like(latents)
        return self.decode(latents)
