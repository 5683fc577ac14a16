"""What changed since the last frame, to symbols: video coding in the latents of a picture codec.

The place DVST has (arXiv 2205.13129), whose insides are not public; these are ours. Latents are
those of `Ntscc`, nearly a linear transform of patches, so differences of latents are differences of
pictures:

    e = y_t - predict(c_t-1)        c: what a receiver without noise would hold
    e -> f_e -> the first k_i reals of patch i -> noise -> f_d -> d
    c_t = fuse(predict(c_t-1) + d)  at the receiver, from what it really holds

The transmitter cannot know the noise in the receiver's latents, only what they would be without it.
So noise stays until something new is sent in its place, and drift is for the prediction to damp:
the network learns on whole sequences, each end with its own context. Rates follow from how
surprising the innovation is, as in `Ntscc`.
"""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from semcast.networks.ntscc import (
    Hyperprior,
    PatchBlock,
    RateEmbedding,
    begin_power_allocation,
    sent_mask,
)
from semcast.networks.transforms import AttentionFeature
from semcast.weights import find_weights, read_weights


@dataclass(frozen=True)
class LatentVideoShape:
    """Sizes. channels: of the picture codec's latents. max_reals: of a patch."""

    channels: int = 192
    max_reals: int = 96
    block_width: int = 32

    def config(self) -> dict[str, Any]:
        """As a weight file's header holds it."""
        return asdict(self)


class LatentVideo(nn.Module):
    """Latents [B, C, h, w] of one frame, given what is held of the last."""

    def __init__(self, shape: LatentVideoShape | None = None) -> None:
        super().__init__()
        self.shape = shape = shape or LatentVideoShape()
        channels, width = shape.channels, shape.block_width
        self.predict_gain = AttentionFeature(channels)
        self.predict_block = PatchBlock(channels, width, conditional=False)
        self.rate = RateEmbedding(shape.max_reals)
        self.to_channel = PatchBlock(channels, width, conditional=True)
        self.channel_head = nn.Conv2d(channels, shape.max_reals, 1)
        self.from_channel_head = nn.Conv2d(shape.max_reals, channels, 1)
        self.from_channel = PatchBlock(channels, width, conditional=True)
        self.fuse_block = PatchBlock(channels, width, conditional=True)
        self.hyperprior = Hyperprior(channels)

    def begin_linear(self, variances: Tensor) -> None:
        """Sets the heads to SoftCast's power allocation for innovations of these variances, [C]."""
        begin_power_allocation(self.channel_head, self.from_channel_head, variances)

    def predict(self, context: Tensor, snr_db: Tensor) -> Tensor:
        """This frame's latent, as far as the last one tells; snr_db: [B], NaN where unknown."""
        predicted: Tensor = self.predict_block(self.predict_gain(context, snr_db))
        return predicted

    def patch_bits(self, innovation: Tensor) -> Tensor:
        """sum_c -log2 p(e_ic) of each patch, [B, h, w], as float32."""
        bits: Tensor = self.hyperprior(torch.round(innovation.float()))[0]
        return bits

    def to_reals(self, innovation: Tensor, counts: Tensor, snr_db: Tensor) -> Tensor:
        """Reals [B, max_reals, h, w] as float32, zero beyond each patch's count; not yet scaled."""
        x = self.to_channel(innovation, self.rate(counts), snr_db)
        reals: Tensor = self.channel_head(x).float() * sent_mask(counts, self.shape.max_reals)
        return reals

    def from_reals(
        self, reals: Tensor, counts: Tensor, predicted: Tensor, snr_db: Tensor
    ) -> Tensor:
        """The latent, of received reals (zero where nothing was sent) and a prediction."""
        rate = self.rate(counts)
        change = self.from_channel(self.from_channel_head(reals), rate, snr_db)
        # Where nothing was sent, nothing changes.
        change = change * (counts > 0)[:, None]
        latent: Tensor = self.fuse_block(predicted + change, rate, snr_db)
        return latent


@functools.cache
def bundled_latent_video(name: str) -> LatentVideo:
    """A network that ships with this version, by the name of its weight file; once a process."""
    state, header = read_weights(find_weights(name))
    network = LatentVideo(LatentVideoShape(**header["config"]))
    network.load_state_dict(state)
    network.eval().requires_grad_(False)
    return network
