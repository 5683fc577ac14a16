"""The image latent diffusion backbone: flow matching, and the decoded guess should look right.

Half of the examples are noised latents of the source, as in any flow matching; the other half are
*degraded* latents, noised to about where the receiver's sampler starts, with the source as the goal
all the same. For both, the velocity that leads to the clean latent z from x at noise level
sigma is (x - z) / sigma. The guess at z is decoded and compared with the picture, in pixels and in
features: with so few steps, the first guess is most of what is shown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn
from torch.nn import functional

from receiver.diffusion.backbone import CONDITION_DOWNSCALE, Backbone, denoised, noised
from receiver.diffusion.latent_codec import LatentCodec
from receiver.diffusion.tiny import LATENT_CODEC, TinyGenerator, TinyNetworks
from receiver.generator import Conditions, GeneratorContext, PassthroughGenerator
from semcast.networks.pixels import to_unit
from semcast.session import Modality
from semcast.weights import find_weights, read_weights
from training.data import Library
from training.held_out import PictureJudge, gradient_free
from training.losses import Critic, PerceptualLoss, pixel_l1
from training.received import PairSampler, held_out_pairs, windows_for
from training.recipe import Batch, Losses, Progress, Recipe, RecipeSettings
from training.sheets import contact_sheet

_LEAST_SIGMA = 0.05
_START_SIGMAS = (0.5, 0.7)
"""Levels that denoising may start from, around the sampler's own."""

SAMPLERS = ((1, 0.6), (2, 0.6), (1, 0.5))
"""Steps and first noise level that held-out frames are made with."""


class BackboneSettings(RecipeSettings):
    """Numbers of the backbone's training."""

    latent_codec: str = Field("", description="Weight file of the codec; empty: the bundled one.")
    flow_weight: float = Field(0.5, ge=0, description="Of the squared error of the velocity.")
    pixel_weight: float = Field(1.0, ge=0, description="Of L1 of the decoded guess.")
    perceptual_weight: float = Field(4.0, ge=0, description="Of its feature distance.")
    critic_weight: float = Field(0.0, ge=0, description="Of the adversarial term; 0 is none.")
    critic_from: float = Field(0.5, ge=0, le=1, description="Share of the run before the critic.")
    colour: float = Field(0.2, ge=0, le=1, description="Strength of colour changes.")
    degraded_share: float = Field(0.5, ge=0, le=1, description="Examples that start degraded.")


class BackboneRecipe(Recipe):
    """Received low-res pictures in, latents of the source out."""

    name: ClassVar[str] = "backbone"
    title: ClassVar[str] = "Latent diffusion backbone: flow matching on received low-res pictures"
    weights_name: ClassVar[str] = "backbone"
    settings_class: ClassVar[type[RecipeSettings]] = BackboneSettings
    pack_kind: ClassVar[Literal["clips", "received"]] = "received"
    settings: BackboneSettings

    def __init__(self, settings: BackboneSettings, library: Library, device: torch.device) -> None:
        super().__init__(settings, library, device)
        windows = windows_for(library)
        self._pairs = PairSampler(
            windows, library.train, settings.size, CONDITION_DOWNSCALE, settings.colour
        )
        self._held_out = held_out_pairs(windows, library.val, settings.eval_frames_per_clip)
        self._codec = LatentCodec()
        path = Path(settings.latent_codec) if settings.latent_codec else find_weights(LATENT_CODEC)
        self._codec.load_state_dict(read_weights(path)[0])
        gradient_free(self._codec).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._features = gradient_free(PerceptualLoss()).to(
            device, memory_format=torch.channels_last
        )
        self._judge = PictureJudge()
        self._passthrough: dict[str, float] | None = None

    def build(self) -> nn.Module:
        """A backbone at random."""
        return Backbone()

    def build_critic(self) -> nn.Module | None:
        """A patch critic, where its weight is not 0."""
        return Critic() if self.settings.critic_weight else None

    def draw(self, rng: np.random.Generator) -> Batch:
        """source: uint8 [B, H, W, 3]; received: uint8 [B, H/4, W/4, 3]."""
        pairs = [self._pairs.draw(rng) for _ in range(self.settings.batch_size)]
        source, received = (np.stack(side) for side in zip(*pairs, strict=True))
        return {"source": torch.from_numpy(source), "received": torch.from_numpy(received)}

    def losses(
        self, network: nn.Module, critic: nn.Module | None, batch: Batch, progress: Progress
    ) -> Losses:
        """Velocity, degraded latent, and the decoded guess."""
        assert isinstance(network, Backbone)
        settings = self.settings
        source = to_unit(batch["source"])
        with torch.no_grad():
            clean = self._codec.encode(source).float()
        degraded = network.degraded(to_unit(batch["received"])).float()
        drawn, chance = torch.rand(2, len(clean), device=clean.device)
        starts_degraded = chance < settings.degraded_share
        low, high = _START_SIGMAS
        sigma = torch.where(
            starts_degraded,
            low + (high - low) * drawn,
            _LEAST_SIGMA + (1 - _LEAST_SIGMA) * drawn,
        )
        base = torch.where(starts_degraded.view(-1, 1, 1, 1), degraded.detach(), clean)
        x = noised(base, torch.randn_like(clean), sigma)
        velocity = network(x, sigma, degraded).float()
        guess = denoised(x, velocity, sigma)
        made = self._codec.decode(guess).float()

        # The velocity's error is that of the guess over sigma: weighting by sigma keeps the last,
        # small steps from ruling the sum.
        share = sigma.view(-1, 1, 1, 1)
        flow = (share * (velocity - (x - clean) / share)).square().mean()
        towards = functional.mse_loss(degraded, clean)
        pixels = pixel_l1(made, source)
        features = self._features(made, source)
        total = (
            settings.flow_weight * flow
            + towards
            + settings.pixel_weight * pixels
            + settings.perceptual_weight * features
        )
        terms = {"flow": flow, "degraded": towards, "l1": pixels, "features": features}
        losses = Losses(total, terms)
        if critic is not None and progress.done >= settings.critic_from:
            fooled = -critic(made).mean()
            losses.total = total + settings.critic_weight * fooled
            losses.terms["fooled"] = fooled
            losses.made, losses.real = made, source
        return losses

    def measure(self, network: nn.Module) -> dict[str, float]:
        """Quality of held-out clips as sent by `lowres` at 10 dB, for each sampler; and the
        passthrough's, which it must beat."""
        figures = {}
        for steps, start in SAMPLERS:
            pairs = [(s, self._make(network, small, steps, start)) for s, small in self._held_out]
            for key, value in self._judge.figures(pairs).items():
                figures[f"{key}_{steps}_from_{start}"] = value
        if self._passthrough is None:
            pairs = [(source, _passthrough(small, source)) for source, small in self._held_out]
            self._passthrough = self._judge.figures(pairs)
        for key, value in self._passthrough.items():
            figures[f"passthrough_{key}"] = value
        return figures

    def sheet(self, network: nn.Module) -> NDArray[np.uint8]:
        """Source, passthrough, one and two steps."""
        chosen = self._held_out[:6]
        source = np.stack([pictures[-1] for pictures, _ in chosen])
        small = [received[-1:] for _, received in chosen]
        columns = [("source", source)]
        columns.append(("passthrough", np.concatenate([_passthrough(s, source) for s in small])))
        for steps, start in SAMPLERS:
            made = np.concatenate([self._make(network, s, steps, start) for s in small])
            columns.append((f"{steps} from {start}", made))
        return contact_sheet(columns, side=224)

    def config(self) -> dict[str, Any]:
        """Nothing to choose yet."""
        return {}

    def _make(
        self, network: nn.Module, received: NDArray[np.uint8], steps: int, start: float
    ) -> NDArray[np.uint8]:
        """Frames [n, H, W, 3] from received pictures [n, h, w, 3], as the receiver makes them."""
        assert isinstance(network, Backbone)
        generator = TinyGenerator(TinyNetworks(self._codec, network, self.device), steps, start)
        size = self.settings.eval_size
        generator.reset(GeneratorContext(size, size, 8.0, 7777))
        return np.stack(
            [
                generator.step(Conditions({Modality.LOWRES: p}, {Modality.LOWRES: 0}))
                for p in received
            ]
        )


def _passthrough(received: NDArray[np.uint8], source: NDArray[np.uint8]) -> NDArray[np.uint8]:
    generator = PassthroughGenerator()
    height, width = source.shape[1:3]
    generator.reset(GeneratorContext(width, height, 8.0, 7777))
    return np.stack(
        [generator.step(Conditions({Modality.LOWRES: p}, {Modality.LOWRES: 0})) for p in received]
    )
