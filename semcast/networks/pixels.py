"""Pixels to what networks take, and back."""

from __future__ import annotations

import torch
from torch import Tensor


def to_unit(pictures: Tensor) -> Tensor:
    """uint8 [B, H, W, C] to float32 [B, C, H, W] in -1..1, channels last in memory."""
    x = pictures.permute(0, 3, 1, 2).float() / 127.5 - 1
    return x.contiguous(memory_format=torch.channels_last)


def to_pixels(x: Tensor) -> Tensor:
    """float [B, C, H, W] in -1..1, clipped to it, to uint8 [B, H, W, C] on the CPU."""
    levels = ((x.detach().float().clamp(-1, 1) + 1) * 127.5).round()
    return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu()
