"""Pictures to as many symbols as each patch deserves: nonlinear transform source-channel coding.

After NTSCC (arXiv 2112.10961), with ADJSCC's attention to the SNR (arXiv 2012.00533). Ours: one
network for all SNRs and all bandwidths, sized for a CPU, and a uniform rate as a special case, so
that the same weights are DeepJSCC (arXiv 1809.01733) without side information.

    picture -> analysis g_a -> latent y [192, H/16, W/16]
            -> f_e, which knows the SNR and all rates -> the first k_i of 192 reals of patch i
            -> noise
            -> f_d, with the same knowledge -> y -> synthesis g_s -> picture

All four begin as what is linear and known to be good, and learn the rest: g_a and g_s as the
Karhunen-Loeve transform of 16x16 patches (its first components), f_e as SoftCast's allocation of
power (gains of variance^-1/4; Jakubczak and Katabi, 2011) and f_d as its inverse. What is not
linear starts at nothing: a network of the whole picture beside g_a, bottlenecks in f_e and f_d, and
a filter after g_s.

Patch i is 16x16 pixels. Its rate follows from how surprising its latent is (NTSCC eq. for k):
k_i = eta sum_c(-log2 p(y_ic)), with p a Gaussian whose mean and scale a hyperprior gives; eta sets
the sum. The hyperprior lives at the transmitter alone: the receiver is told the rates. Within a
patch reals come in order of importance, as every k is a prefix.
"""

from __future__ import annotations

import functools
import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from semcast.codecs.patch_rates import PATCH
from semcast.networks.post_filter import PostFilter
from semcast.networks.transforms import (
    DECODER_WIDTHS,
    AnalysisTransform,
    AttentionFeature,
)
from semcast.weights import find_weights, read_weights

_RATE_FEATURES = 24
_HYPER_WIDTH = 48
_HYPER_CHANNELS = 32
_LEAST_SCALE = 0.11
"""Of a Gaussian over unit steps; below it everything is one bin."""
_LEAST_POWER = 1e-12
_LEAST_VARIANCE = 1e-4
_LATENT_SCALE = 4.0
"""Of the transform: unit steps of latents are then errors of about 30 dB."""


@dataclass(frozen=True)
class NtsccShape:
    """Sizes of a network. The default is the picture codec's.

    max_reals: of a patch; 192 are 96 symbols, a CBR of 0.125 for RGB. latent_channels: no fewer.
    block_width: inside a `PatchBlock`. hyperprior: without it all patches have one rate. base:
    pictures are coded as what a digital base (`codecs.base_layer`) lacks.
    """

    in_channels: int = 3
    latent_channels: int = 192
    max_reals: int = 192
    block_width: int = 96
    encoder_widths: tuple[int, int, int] = (24, 48, 96)
    decoder_widths: tuple[int, int, int] = DECODER_WIDTHS
    hyperprior: bool = True
    base: bool = False

    def config(self) -> dict[str, Any]:
        """As a weight file's header holds it."""
        return asdict(self)

    @classmethod
    def of_config(cls, config: dict[str, Any]) -> NtsccShape:
        """What `config` gave, from JSON."""
        fields: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in config.items()
        }
        return cls(**fields)


@dataclass(frozen=True)
class Base:
    """A digital base at both ends. picture: [B, in, H, W] in -1..1, 0 where there is none.

    patch_bits: its bits, of a patch, [B].
    """

    picture: Tensor
    patch_bits: Tensor


class RateEmbedding(nn.Module):
    """A patch's rate as features; what networks read of k."""

    def __init__(self, max_reals: int, *, base: bool = False) -> None:
        super().__init__()
        self._max_reals = max_reals
        self.hidden = nn.Conv2d(4 if base else 3, _RATE_FEATURES, 1)

    def forward(self, counts: Tensor, base_bits: Tensor | None = None) -> Tensor:
        """counts: reals per patch, [B, h, w]. base_bits: of a patch, [B]. Features [B, F, h, w]."""
        share = counts.float() / self._max_reals
        log = torch.log2(1 + counts.float()) / math.log2(1 + self._max_reals)
        read = [share, share.sqrt(), log]
        if base_bits is not None:
            read.append(torch.log2(1 + base_bits.float()).view(-1, 1, 1).expand_as(share) / 4)
        features: Tensor = torch.relu(self.hidden(torch.stack(read, 1)))
        return features


class PatchBlock(nn.Module):
    """A residual bottleneck at a sixteenth of the size; told rate and SNR where they matter."""

    def __init__(self, channels: int, width: int, *, conditional: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, 1)
        self.middle = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, channels, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]
        self.by_rate = nn.Conv2d(_RATE_FEATURES, 2 * width, 1) if conditional else None
        self.attention = AttentionFeature(channels) if conditional else None

    def forward(
        self, x: Tensor, rate: Tensor | None = None, snr_db: Tensor | None = None
    ) -> Tensor:
        """x: [B, C, h, w]; rate: features [B, F, h, w]; snr_db: [B]."""
        h = self.first(x)
        if self.by_rate is not None:
            gain, shift = self.by_rate(rate).chunk(2, 1)
            h = h * (1 + gain) + shift
        x = x + self.last(torch.relu(self.middle(torch.relu(h))))
        if self.attention is not None and snr_db is not None:
            x = self.attention(x, snr_db)
        return x


class Hyperprior(nn.Module):
    """How surprising each patch's latent is; only the transmitter asks."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.analysis = nn.Sequential(
            nn.Conv2d(channels, _HYPER_WIDTH, 1),
            nn.ReLU(),
            nn.Conv2d(_HYPER_WIDTH, _HYPER_CHANNELS, 3, stride=2, padding=1),
        )
        self.synthesis = nn.Sequential(
            nn.UpsamplingNearest2d(scale_factor=2),
            nn.Conv2d(_HYPER_CHANNELS, _HYPER_WIDTH, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_HYPER_WIDTH, 2 * channels, 1),
        )
        self.log_scale = nn.Parameter(torch.zeros(_HYPER_CHANNELS))

    def forward(self, y: Tensor, z_noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Bits of each patch's latent [B, h, w], and of the hyperlatent [B].

        y: [B, C, h, w], rounded or with uniform noise. z_noise: uniform noise in training; rounded
        where None.
        """
        rows, columns = y.shape[2:]
        padded = functional.pad(y, (0, columns % 2, 0, rows % 2), mode="replicate")
        z = self.analysis(padded)
        z = torch.round(z) if z_noise is None else z + z_noise
        mean, raw_scale = self.synthesis(z)[:, :, :rows, :columns].float().chunk(2, 1)
        bits = _gaussian_bits(y.float() - mean, functional.softplus(raw_scale)).sum(1)
        z_scale = self.log_scale.exp().view(1, -1, 1, 1)
        return bits, _gaussian_bits(z.float(), z_scale).sum((1, 2, 3))


def _gaussian_bits(distance: Tensor, scale: Tensor) -> Tensor:
    """-log2 of a Gaussian's probability in the unit step around `distance` from its mean."""
    scale = scale.clamp_min(_LEAST_SCALE)
    # In the lower tail, where differences of the distribution function keep their digits.
    far = -distance.abs()
    normal = torch.special.ndtr
    probability = normal((far + 0.5) / scale) - normal((far - 0.5) / scale)
    return -torch.log2(probability.clamp_min(1e-9))


class Ntscc(nn.Module):
    """Pictures [B, in, H, W] in -1..1, H and W multiples of 16; hyperprior and all."""

    def __init__(self, shape: NtsccShape | None = None) -> None:
        super().__init__()
        self.shape = shape = shape or NtsccShape()
        channels, width = shape.latent_channels, shape.block_width

        def blocks(count: int) -> nn.ModuleList:
            return nn.ModuleList(
                PatchBlock(channels, width, conditional=True) for _ in range(count)
            )

        self.patch_analysis = nn.Conv2d(shape.in_channels, channels, PATCH, stride=PATCH)
        self.patch_synthesis = nn.ConvTranspose2d(channels, shape.in_channels, PATCH, stride=PATCH)
        self.encoder = AnalysisTransform(
            shape.in_channels * (2 if shape.base else 1),
            channels // 4,
            snr_aware=True,
            widths=shape.encoder_widths,
            depth=1,
        )
        nn.init.zeros_(self.encoder.head.weight)
        nn.init.zeros_(self.encoder.head.bias)  # type: ignore[arg-type]
        self.rate = RateEmbedding(shape.max_reals, base=shape.base)
        self.to_channel = blocks(2)
        self.channel_head = nn.Conv2d(channels, shape.max_reals, 1)
        self.from_channel_head = nn.Conv2d(shape.max_reals, channels, 1)
        self.from_channel = blocks(3)
        self.filter = PostFilter(
            shape.in_channels, _RATE_FEATURES, shape.decoder_widths, base=shape.base
        )
        self.hyperprior = Hyperprior(channels) if shape.hyperprior else None

    @torch.no_grad()
    def begin_linear(self, mean: Tensor, components: Tensor, variances: Tensor) -> None:
        """Sets the linear parts to the transform and power allocation of known statistics.

        mean: of patches, [in * 256], in -1..1, channel after channel, row after row. components:
        [in * 256, C], orthonormal, the most important first. variances: [C].
        """
        kernel = components.t().reshape_as(self.patch_analysis.weight)
        self.patch_analysis.weight.copy_(_LATENT_SCALE * kernel)
        self.patch_analysis.bias.copy_(-_LATENT_SCALE * (mean @ components))  # type: ignore[union-attr]
        self.patch_synthesis.weight.copy_(kernel / _LATENT_SCALE)
        by_channel = mean.view(self.shape.in_channels, -1).mean(1)
        self.patch_synthesis.bias.copy_(by_channel)  # type: ignore[union-attr]
        # The mean patch is flat enough that its mean stands for it.
        variances = _LATENT_SCALE**2 * variances
        begin_power_allocation(self.channel_head, self.from_channel_head, variances)

    def analyse(self, picture: Tensor, snr_db: Tensor, base: Base | None = None) -> Tensor:
        """Latent y [B, C, H/16, W/16]; snr_db: [B], NaN where unknown."""
        seen = lacks = picture
        if base is not None:
            lacks = picture - base.picture
            seen = torch.cat([lacks, base.picture], 1)
        correction = functional.pixel_unshuffle(self.encoder(seen, snr_db), 2)
        y: Tensor = self.patch_analysis(lacks) + correction
        return y

    def synthesise(
        self, y: Tensor, counts: Tensor, snr_db: Tensor, base: Base | None = None
    ) -> Tensor:
        """Picture of a latent that came at these rates."""
        picture = self.patch_synthesis(y)
        below = None if base is None else base.picture
        if below is not None:
            picture = picture + below
        filtered: Tensor = self.filter(picture, self._rate(counts, base), snr_db, below)
        return filtered

    def _rate(self, counts: Tensor, base: Base | None) -> Tensor:
        features: Tensor = self.rate(counts, None if base is None else base.patch_bits)
        return features

    def patch_bits(self, y: Tensor) -> Tensor:
        """sum_c -log2 p(y_ic) of each patch, [B, h, w], as float32.

        Raises ValueError for a network without a hyperprior.
        """
        if self.hyperprior is None:
            raise ValueError("a network without a hyperprior has uniform rates only")
        bits: Tensor = self.hyperprior(torch.round(y.float()))[0]
        return bits

    def to_reals(
        self, y: Tensor, counts: Tensor, snr_db: Tensor, base: Base | None = None
    ) -> Tensor:
        """Reals [B, max_reals, h, w] as float32, zero beyond each patch's count; not yet scaled.

        counts: int [B, h, w]; snr_db: what the transmitter knows, [B].
        """
        rate = self._rate(counts, base)
        for block in self.to_channel:
            y = block(y, rate, snr_db)
        reals: Tensor = self.channel_head(y).float() * sent_mask(counts, self.shape.max_reals)
        return reals

    def from_reals(
        self, reals: Tensor, counts: Tensor, snr_db: Tensor, base: Base | None = None
    ) -> Tensor:
        """Latent of received reals [B, max_reals, h, w], zero where nothing was sent."""
        rate = self._rate(counts, base)
        y = self.from_channel_head(reals)
        for block in self.from_channel:
            y = block(y, rate, snr_db)
        return y  # type: ignore[no-any-return]


@torch.no_grad()
def begin_power_allocation(
    channel_head: nn.Conv2d, from_channel_head: nn.Conv2d, variances: Tensor
) -> None:
    """Sets two 1x1 convolutions to SoftCast's gains, variance^-1/4, and back; variances: [C]."""
    gains = variances.clamp_min(_LEAST_VARIANCE) ** -0.25
    for head, diagonal in ((channel_head, gains), (from_channel_head, 1 / gains)):
        weight = torch.diag(diagonal)[: head.out_channels, : head.in_channels]
        head.weight.copy_(weight[:, :, None, None])
        nn.init.zeros_(head.bias)  # type: ignore[arg-type]


def sent_mask(counts: Tensor, max_reals: int) -> Tensor:
    """Which of [B, max_reals, h, w] are sent, 0 or 1: the first counts[b, i, j] of each patch."""
    order = torch.arange(max_reals, device=counts.device).view(1, -1, 1, 1)
    return (order < counts[:, None]).float()


def power_scale(reals: Tensor, counts: Tensor) -> Tensor:
    """Root of the mean square of the reals that are sent, [B, 1, 1, 1]."""
    total = reals.square().sum((1, 2, 3), keepdim=True)
    return (total / counts.sum((1, 2), dtype=torch.float32).view(-1, 1, 1, 1) + _LEAST_POWER).sqrt()


def noisy(reals: Tensor, counts: Tensor, snr_db: Tensor) -> Tensor:
    """Reals of unit mean square after the channel, in the training graph; snr_db: [B].

    A complex symbol carries two, scaled by 1/sqrt(2), and noise of N0/2 each: the same ratio.
    """
    std = 10 ** (-snr_db / 20)
    # Of the shape alone: the same seed is the same noise, however the reals lie in memory.
    noise = torch.randn(reals.shape, device=reals.device)
    return reals + std.view(-1, 1, 1, 1) * noise * sent_mask(counts, reals.shape[1])


@functools.cache
def bundled_ntscc(name: str) -> Ntscc:
    """A network that ships with this version, by the name of its weight file; once a process."""
    state, header = read_weights(find_weights(name))
    return build_ntscc(state, header)


def build_ntscc(state: dict[str, Tensor], header: dict[str, Any]) -> Ntscc:
    """A network from what a weight file holds; eval mode, channels last."""
    network = Ntscc(NtsccShape.of_config(header["config"]))
    network.load_state_dict(state)
    network.eval().requires_grad_(False)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
