"""Picture to a grid of an eighth of its size, and back: the body of every learned codec here.

Without normalisation layers, as in the tiny autoencoders of madebyollin/taesd: a residual branch
starts at nothing, so depth is safe, colours cannot drift with the statistics of a picture, and a
CPU spends its time in convolutions. The widths keep most of the work at small sizes.

`AttentionFeature` makes a transform fit one of many channel states (ADJSCC, arXiv 2012.00533): it
scales channels by a small network of their means and the SNR. Ours begins as the identity, so that
a trained transform without it can be taken as the start of one with it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

DOWNSCALE = 8
"""Pixels per side of one latent position."""

ENCODER_WIDTHS = (32, 64, 128)
DECODER_WIDTHS = (128, 80, 40)
"""Channels from the outside in, and from the inside out. Chosen so that a 256x256 encode takes
1.1 GMAC and a decode 3.3: about half of what real time on two cores allows."""

_SNR_SCALE_DB = 10.0


def _zero(layer: nn.Module) -> None:
    """A layer that begins with no effect."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))); the second convolution starts at zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        _zero(self.second)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, C, h, w]."""
        residual: Tensor = self.second(torch.relu(self.first(x)))
        return x + residual


class AttentionFeature(nn.Module):
    """Channel scales from channel means and SNR (ADJSCC's AF module), identity at first.

    The scale is twice a sigmoid, where ADJSCC has a plain one: with a last layer of zeros that is
    exactly 1. An SNR that is not known is NaN, and a learned constant stands in for it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(channels + 1, max(8, channels // 8))
        self.scale = nn.Linear(self.hidden.out_features, channels)
        self.unknown_snr = nn.Parameter(torch.zeros(()))
        _zero(self.scale)

    def forward(self, x: Tensor, snr_db: Tensor) -> Tensor:
        """x: [B, C, h, w]. snr_db: [B], Es/N0, NaN where unknown."""
        scaled = torch.where(snr_db.isnan(), self.unknown_snr, snr_db.nan_to_num() / _SNR_SCALE_DB)
        pooled = torch.cat([x.mean((2, 3)), scaled.to(x.dtype)[:, None]], 1)
        gains = 2 * torch.sigmoid(self.scale(torch.relu(self.hidden(pooled))))
        return x * gains[:, :, None, None]


class _Stages(nn.Module):
    """Stages in a row, each followed by an AF module where the transform knows the SNR."""

    def __init__(self, stages: list[nn.Module], widths: list[int], snr_aware: bool) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.attention = nn.ModuleList(AttentionFeature(width) for width in widths if snr_aware)

    def forward(self, x: Tensor, snr_db: Tensor | None) -> Tensor:
        if bool(self.attention) != (snr_db is not None):
            raise ValueError("snr_db is for SNR-aware transforms, and only for them")
        for k, stage in enumerate(self.stages):
            x = stage(x)
            if snr_db is not None:
                x = self.attention[k](x, snr_db)
        return x


class AnalysisTransform(nn.Module):
    """Picture [B, in, H, W] to grid [B, out, H/8, W/8]; H and W multiples of 8."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        snr_aware: bool = False,
        widths: tuple[int, int, int] = ENCODER_WIDTHS,
        depth: int = 2,
    ) -> None:
        """depth: residual blocks at an eighth of the size."""
        super().__init__()
        a, b, c = widths
        stages: list[nn.Module] = [
            nn.Sequential(
                nn.PixelUnshuffle(2), nn.Conv2d(4 * in_channels, a, 3, padding=1), nn.ReLU()
            ),
            nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), ResidualBlock(b), nn.ReLU()),
            nn.Sequential(
                nn.Conv2d(b, c, 3, stride=2, padding=1), *(ResidualBlock(c) for _ in range(depth))
            ),
        ]
        self.body = _Stages(stages, [a, b, c], snr_aware)
        self.head = nn.Conv2d(c, out_channels, 3, padding=1)

    def forward(self, x: Tensor, snr_db: Tensor | None = None) -> Tensor:
        """x: [B, in, H, W], -1 to 1. snr_db: [B], where the transform is SNR-aware."""
        grid: Tensor = self.head(self.body(x, snr_db))
        return grid


class SynthesisTransform(nn.Module):
    """Grid [B, in, h, w] to picture [B, out, 8h, 8w]."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        snr_aware: bool = False,
        widths: tuple[int, int, int] = DECODER_WIDTHS,
        depth: int = 3,
    ) -> None:
        """depth: residual blocks at an eighth of the size."""
        super().__init__()
        a, b, c = widths
        stages: list[nn.Module] = [
            nn.Sequential(
                nn.Conv2d(in_channels, a, 3, padding=1),
                *(ResidualBlock(a) for _ in range(depth)),
                nn.ReLU(),
            ),
            nn.Sequential(
                nn.UpsamplingNearest2d(scale_factor=2),
                nn.Conv2d(a, b, 3, padding=1),
                *(ResidualBlock(b) for _ in range(2)),
                nn.ReLU(),
            ),
            nn.Sequential(
                nn.UpsamplingNearest2d(scale_factor=2),
                nn.Conv2d(b, c, 3, padding=1),
                ResidualBlock(c),
                nn.ReLU(),
            ),
        ]
        self.body = _Stages(stages, [a, b, c], snr_aware)
        self.head = nn.Sequential(nn.Conv2d(c, 4 * out_channels, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, x: Tensor, snr_db: Tensor | None = None) -> Tensor:
        """x: [B, in, h, w]. snr_db: [B], where the transform is SNR-aware."""
        picture: Tensor = self.head(self.body(x, snr_db))
        return picture
