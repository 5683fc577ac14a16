"""What tells the frozen backbone more than the degraded latent: adapters that begin as nothing.

    contours, sketch ─► SemanticControl ──► added at two scales            (as ControlNet)
    degraded picture ─► RestorationAdapter: its features ask, the backbone's answer
    caption ──────────► TextAdapter: cross-attention
    SNR, ages ────────► added to the embedding of the noise level
    frames before ────► TemporalAttention (`temporal`)

Each ends in a layer of zeros, so an untrained adapter leaves the backbone's output as it is. What
is missing has a learned stand-in or adds nothing, so any subset of conditions works. The three
modules are those of arXiv 2602.13837, whose insides are not public: these are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from receiver.diffusion.backbone import (
    MID_CHANNELS,
    OUTER_CHANNELS,
    TIME_CHANNELS,
)
from receiver.diffusion.latent_codec import LATENT_CHANNELS
from receiver.diffusion.temporal import TemporalAttention, TemporalShape
from semcast.networks.transforms import ResidualBlock

CONTROL_CHANNELS = 7
"""Planes of a frame's size: colour code of its object (3), edges of objects, whether there are
contours; strength of strokes, whether there is a sketch."""

NUM_FACTS = 10

TEXT_CHANNELS = 384
"""Width of a caption's token (sentence-transformers/all-MiniLM-L6-v2)."""

_CONTROL_STRIDE = 4
_CONTROL_WIDTH = 24
_RESTORATION_WIDTH = 48
_TEXT_WIDTH = 32
_FACTS_WIDTH = 48

SITES = ("mid", "outer")
"""Where the Temporal Adapter has a layer: at 1/16 and at 1/8 of the frame."""

TEMPORAL_SHAPES = {
    "mid": TemporalShape(MID_CHANNELS),
    "outer": TemporalShape(OUTER_CHANNELS),
}


@dataclass(frozen=True)
class Given:
    """A batch of frames' conditions, as tensors.

    degraded: latents [B, 16, h, w] that pictures suggest; has_degraded: bool [B]. picture: what
    they were made of, [B, 3, 2h, 2w], -1 to 1. control: [B, CONTROL_CHANNELS, 8h, 8w], 0 where
    nothing came. facts: [B, NUM_FACTS], see `facts_of`. text: tokens [B, L, TEXT_CHANNELS], zeros
    beyond a caption's end; None for no captions at all.
    """

    degraded: Tensor
    has_degraded: Tensor
    picture: Tensor
    control: Tensor
    facts: Tensor
    text: Tensor | None = None


def joined(given: Sequence[Given]) -> Given:
    """Frames of several streams as one batch; captions padded to the longest."""

    def cat(name: str) -> Tensor:
        return torch.cat([getattr(one, name) for one in given])

    lengths = [one.text.shape[1] if one.text is not None else 0 for one in given]
    text = None
    if max(lengths):
        text = cat("facts").new_zeros(
            sum(len(one.facts) for one in given), max(lengths), TEXT_CHANNELS
        )
        for row, one in enumerate(given):
            if one.text is not None:
                text[row, : one.text.shape[1]] = one.text[0]
    return Given(
        cat("degraded"), cat("has_degraded"), cat("picture"), cat("control"), cat("facts"), text
    )


def _zero(layer: nn.Conv2d | nn.Linear) -> nn.Module:
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


class SemanticControl(nn.Module):
    """Contours and sketches to what is added to the backbone's features."""

    def __init__(self) -> None:
        super().__init__()
        width = _CONTROL_WIDTH
        planes = CONTROL_CHANNELS * _CONTROL_STRIDE**2
        self.to_quarter = nn.Conv2d(planes, width, 3, padding=1)
        self.to_eighth = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.at_eighth = ResidualBlock(2 * width)
        self.to_sixteenth = nn.Conv2d(2 * width, 2 * width, 3, stride=2, padding=1)
        self.at_sixteenth = ResidualBlock(2 * width)
        self.outer = _zero(nn.Conv2d(2 * width, OUTER_CHANNELS, 1))
        self.mid = _zero(nn.Conv2d(2 * width, MID_CHANNELS, 1))

    def forward(self, control: Tensor) -> tuple[Tensor, Tensor]:
        """Of planes [B, CONTROL_CHANNELS, 8h, 8w]: added at [h, w], and at [h/2, w/2]."""
        x = functional.pixel_unshuffle(control, _CONTROL_STRIDE)
        x = functional.relu(self.to_quarter(x))
        x = self.at_eighth(self.to_eighth(x))
        y = self.at_sixteenth(self.to_sixteenth(functional.relu(x)))
        return self.outer(functional.relu(x)), self.mid(functional.relu(y))


class RestorationAdapter(nn.Module):
    """Attention whose queries are features of the degraded picture; keys and values the backbone's.

    What it finds, and the features themselves, are added: the backbone knows the degraded latent
    only, which a picture that came sharp says more than.
    """

    def __init__(self) -> None:
        super().__init__()
        width = _RESTORATION_WIDTH
        self.of_degraded = nn.Conv2d(LATENT_CHANNELS + 3 * 4, width, 3, padding=1)
        self.at_eighth = ResidualBlock(width)
        self.to_sixteenth = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(16, MID_CHANNELS)
        self.query = nn.Conv2d(width, width, 1)
        self.key = nn.Conv2d(MID_CHANNELS, width, 1)
        self.value = nn.Conv2d(MID_CHANNELS, width, 1)
        self.mid = _zero(nn.Conv2d(2 * width, MID_CHANNELS, 1))
        self.outer = _zero(nn.Conv2d(width, OUTER_CHANNELS, 1))

    def features(self, degraded: Tensor, picture: Tensor) -> Tensor:
        """[B, width, h, w] of degraded latents and the pictures they are of."""
        x = torch.cat([degraded, functional.pixel_unshuffle(picture, 2)], 1)
        features: Tensor = self.at_eighth(self.of_degraded(x))
        return features

    def at_mid(self, features: Tensor, h: Tensor) -> Tensor:
        """The backbone's features [B, C, h/2, w/2] with what was found in them added."""
        small = self.to_sixteenth(functional.relu(features))
        normed = self.norm(h)

        def tokens(x: Tensor) -> Tensor:
            return x.flatten(2).transpose(1, 2)

        found = functional.scaled_dot_product_attention(
            tokens(self.query(small)), tokens(self.key(normed)), tokens(self.value(normed))
        )
        found = found.transpose(1, 2).reshape(len(h), -1, *h.shape[-2:])
        added: Tensor = self.mid(torch.cat([found, small], 1))
        return h + added

    def at_outer(self, features: Tensor) -> Tensor:
        """What is added at [h, w]."""
        added: Tensor = self.outer(functional.relu(features))
        return added


class TextAdapter(nn.Module):
    """Cross-attention from the backbone's features to a caption's tokens."""

    def __init__(self) -> None:
        super().__init__()
        width = _TEXT_WIDTH
        self.norm = nn.GroupNorm(16, MID_CHANNELS)
        self.query = nn.Conv2d(MID_CHANNELS, width, 1)
        self.key = nn.Linear(TEXT_CHANNELS, width)
        self.value = nn.Linear(TEXT_CHANNELS, width)
        self.no_caption = nn.Parameter(torch.zeros(1, 1, TEXT_CHANNELS))
        self.out = _zero(nn.Conv2d(width, MID_CHANNELS, 1))

    def forward(self, h: Tensor, text: Tensor | None) -> Tensor:
        """Features [B, C, h, w]; text: tokens [B, L, TEXT_CHANNELS], or None for no caption."""
        tokens = self.no_caption.to(h.dtype).expand(len(h), -1, -1)
        seen = None
        if text is not None:
            # The stand-in is always there, and a caption's padding is not.
            tokens = torch.cat([tokens, text.to(h.dtype)], 1)
            seen = functional.pad(text.abs().amax(-1) > 0, (1, 0), value=True)[:, None]
        asked = self.query(self.norm(h)).flatten(2).transpose(1, 2)
        found = functional.scaled_dot_product_attention(
            asked, self.key(tokens), self.value(tokens), attn_mask=seen
        )
        added: Tensor = self.out(found.transpose(1, 2).reshape(len(h), -1, *h.shape[-2:]))
        return h + added


class Adapters(nn.Module):
    """All of them; one weight file."""

    def __init__(self) -> None:
        super().__init__()
        self.control = SemanticControl()
        self.restoration = RestorationAdapter()
        self.text = TextAdapter()
        self.by_facts = nn.Sequential(
            nn.Linear(NUM_FACTS, _FACTS_WIDTH),
            nn.SiLU(),
            _zero(nn.Linear(_FACTS_WIDTH, TIME_CHANNELS)),
        )
        self.no_degraded = nn.Parameter(torch.zeros(1, LATENT_CHANNELS, 1, 1))
        self.temporal = nn.ModuleDict(
            {site: TemporalAttention(TEMPORAL_SHAPES[site]) for site in SITES}
        )

    def degraded(self, given: Given) -> Tensor:
        """Degraded latents, the stand-in where there is none."""
        has = given.has_degraded.view(-1, 1, 1, 1)
        return torch.where(has, given.degraded, self.no_degraded.to(given.degraded.dtype))

    def prepare(self, given: Given) -> Prepared:
        """What does not depend on the denoising step, worked out once a frame."""
        degraded = self.degraded(given)
        features = self.restoration.features(degraded, given.picture)
        outer, mid = self.control(given.control)
        return Prepared(
            degraded=degraded,
            embedding=self.by_facts(given.facts),
            features=features,
            at_start=outer + self.restoration.at_outer(features),
            at_mid=mid,
            text=given.text,
        )

    def hook(
        self, prepared: Prepared, temporal: Callable[[str, Tensor], Tensor] | None
    ) -> Callable[[str, Tensor], Tensor]:
        """What `Backbone.forward` calls at each site. temporal: of a site and its features."""

        def at(site: str, h: Tensor) -> Tensor:
            if site == "start":
                return h + prepared.at_start
            if site == "mid":
                h = self.restoration.at_mid(prepared.features, h + prepared.at_mid)
                h = self.text(h, prepared.text)
            return temporal(site, h) if temporal else h

        return at

    def layer(self, site: str) -> TemporalAttention:
        """The Temporal Adapter's at a site."""
        found = self.temporal[site]
        assert isinstance(found, TemporalAttention)
        return found


@dataclass(frozen=True)
class Prepared:
    """A frame's conditions as the backbone's sites take them."""

    degraded: Tensor
    embedding: Tensor
    features: Tensor
    at_start: Tensor
    at_mid: Tensor
    text: Tensor | None
