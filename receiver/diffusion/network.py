"""Backbone and adapters as one: what is trained, and one weight file."""

from __future__ import annotations

from torch import nn

from receiver.diffusion.adapters import Adapters
from receiver.diffusion.backbone import Backbone


class TinyDiffusion(nn.Module):
    """The image backbone, and what tells it of all but the degraded latent."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.adapters = Adapters()
