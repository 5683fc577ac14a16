"""The network that draws: a picture to the probability of an edge at every pixel.

An encoder down to a sixteenth of the size sees whole objects; its features come back up, added at
each size, to half the size, where four numbers a position give the four pixels. Without
normalisation layers, like all networks here. At 256x256: 0.42 GMAC.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semcast.networks.transforms import ResidualBlock

STRIDE = 16
"""Sides must be multiples of it."""

WIDTHS = (16, 32, 40, 56)
"""Channels at a half, a quarter, an eighth and a sixteenth of the size."""


class SketchNetwork(nn.Module):
    """Picture [B, 3, H, W] in -1..1 to edge logits [B, 1, H, W]; H, W multiples of STRIDE."""

    def __init__(self, widths: tuple[int, int, int, int] = WIDTHS) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth = widths
        self.stem = nn.Sequential(
            nn.PixelUnshuffle(2), nn.Conv2d(12, half, 3, padding=1), nn.ReLU()
        )
        self.down = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(a, b, 3, stride=2, padding=1),
                *(ResidualBlock(b) for _ in range(blocks)),
                nn.ReLU(),
            )
            for a, b, blocks in (
                (half, quarter, 1),
                (quarter, eighth, 2),
                (eighth, sixteenth, 2),
            )
        )
        self.up = nn.ModuleList(
            nn.Conv2d(a, b, 1) for a, b in ((sixteenth, eighth), (eighth, quarter), (quarter, half))
        )
        self.mix = nn.ModuleList(ResidualBlock(b) for b in (eighth, quarter, half))
        self.head = nn.Sequential(nn.Conv2d(half, 4, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        """Logits; their sigmoid is the probability of an edge."""
        features = [self.stem(x)]
        for stage in self.down:
            features.append(stage(features[-1]))
        coarse = features.pop()
        for up, mix in zip(self.up, self.mix, strict=True):
            fine = features.pop()
            raised = nn.functional.interpolate(
                up(coarse), size=fine.shape[2:], mode="bilinear", align_corners=False
            )
            coarse = mix(torch.relu(fine + raised))
        logits: Tensor = self.head(coarse)
        return logits
