"""What a picture lacks after its patches were put together: a small U-shaped network of residuals.

Patches that were cut short show edges, ringing and noise. The filter looks at the picture at a
half, a quarter and an eighth of its size, knows the SNR and the rate of each patch, and adds a
correction. It begins as no correction at all.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from semcast.networks.transforms import AttentionFeature, ResidualBlock


class PostFilter(nn.Module):
    """Pictures [B, in, H, W] of patches of 16x16, with features of each patch's rate."""

    def __init__(
        self,
        in_channels: int,
        rate_features: int,
        widths: tuple[int, int, int],
        *,
        base: bool = False,
    ) -> None:
        """widths: channels at an eighth, a quarter and a half of the size. base: is told it."""
        super().__init__()
        a, b, c = widths
        self.down = nn.Conv2d(16 * in_channels * (2 if base else 1), a, 3, stride=2, padding=1)
        self.by_rate = nn.Conv2d(rate_features, a, 1)
        self.at_eighth = nn.Sequential(ResidualBlock(a), nn.ReLU())
        self.to_quarter = nn.Conv2d(a, b, 3, padding=1)
        self.quarter_skip = nn.Conv2d(16 * in_channels, b, 1)
        self.at_quarter = nn.Sequential(ResidualBlock(b), ResidualBlock(b), nn.ReLU())
        self.to_half = nn.Conv2d(b, c, 3, padding=1)
        self.half_skip = nn.Conv2d(4 * in_channels, c, 3, padding=1)
        self.at_half = nn.Sequential(ResidualBlock(c), nn.ReLU())
        self.attention = nn.ModuleList(AttentionFeature(width) for width in widths)
        self.head = nn.Conv2d(c, 4 * in_channels, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(
        self, picture: Tensor, rate: Tensor, snr_db: Tensor, base: Tensor | None = None
    ) -> Tensor:
        """The picture, corrected. rate: features [B, F, H/16, W/16]; snr_db: [B]."""
        by_four = functional.pixel_unshuffle(picture, 4)
        seen = by_four
        if base is not None:
            seen = torch.cat([by_four, functional.pixel_unshuffle(base, 4)], 1)
        by_rate = functional.interpolate(self.by_rate(rate), scale_factor=2, mode="nearest")
        x = self.attention[0](self.at_eighth(torch.relu(self.down(seen) + by_rate)), snr_db)
        x = functional.interpolate(x, scale_factor=2, mode="nearest")
        x = self.at_quarter(torch.relu(self.to_quarter(x) + self.quarter_skip(by_four)))
        x = self.attention[1](x, snr_db)
        x = functional.interpolate(x, scale_factor=2, mode="nearest")
        by_two = functional.pixel_unshuffle(picture, 2)
        x = self.at_half(torch.relu(self.to_half(x) + self.half_skip(by_two)))
        x = self.attention[2](x, snr_db)
        return picture + functional.pixel_shuffle(self.head(x), 2)
