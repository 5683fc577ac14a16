"""The latent codec of the receiver: pixels, features, and a light critic towards the end."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from receiver.diffusion.latent_codec import LATENT_CHANNELS, LatentCodec
from semcast.networks.pixels import to_unit
from training.data import Augment, Library, WindowSampler, held_out_frames
from training.held_out import PictureJudge, gradient_free, in_batches
from training.losses import Critic, PerceptualLoss, pixel_l1
from training.recipe import Batch, Losses, Progress, Recipe, RecipeSettings
from training.sheets import contact_sheet


class AutoencoderSettings(RecipeSettings):
    """Numbers of the latent codec's training."""

    perceptual_weight: float = Field(0.1, ge=0, description="Of the feature loss, L1 being 1.")
    critic_weight: float = Field(0.01, ge=0, description="Of the adversarial term; 0 is none.")
    critic_from: float = Field(0.6, ge=0, le=1, description="Share of the run before the critic.")
    train_encoder: bool = Field(
        True, description="No: the latents stay as they are, and with them a trained backbone."
    )
    latent_noise_std: float = Field(0.05, ge=0, description="Added to unit-variance latents.")


class Autoencoder(Recipe):
    """Picture in, picture out, through a grid of an eighth of the size."""

    name: ClassVar[str] = "autoencoder"
    title: ClassVar[str] = "Latent codec: stride 8, 16 channels"
    weights_name: ClassVar[str] = "latent_codec"
    settings_class: ClassVar[type[RecipeSettings]] = AutoencoderSettings
    settings: AutoencoderSettings

    def __init__(
        self, settings: AutoencoderSettings, library: Library, device: torch.device
    ) -> None:
        super().__init__(settings, library, device)
        self._sampler = WindowSampler(library.train, settings.size, augment=Augment())
        self._held_out = held_out_frames(
            library.val, settings.eval_size, settings.eval_frames_per_clip
        )
        self._judge = PictureJudge()
        self._features = gradient_free(PerceptualLoss()).to(
            device, memory_format=torch.channels_last
        )

    def build(self) -> nn.Module:
        """A latent codec at random."""
        codec = LatentCodec()
        codec.encoder.requires_grad_(self.settings.train_encoder)
        return codec

    def build_critic(self) -> nn.Module | None:
        """A patch critic, where its weight is not 0."""
        return Critic() if self.settings.critic_weight else None

    def draw(self, rng: np.random.Generator) -> Batch:
        """pictures: uint8 [B, H, W, 3]."""
        windows = self._sampler.batch(self.settings.batch_size, rng)
        return {"pictures": torch.from_numpy(windows[:, 0])}

    def losses(
        self, network: nn.Module, critic: nn.Module | None, batch: Batch, progress: Progress
    ) -> Losses:
        """L1 + features + critic."""
        assert isinstance(network, LatentCodec)
        settings = self.settings
        network.normalise.train(settings.train_encoder)
        real = to_unit(batch["pictures"])
        made = network(real, settings.latent_noise_std).float()
        pixels = pixel_l1(made, real)
        features = self._features(made, real)
        total = pixels + settings.perceptual_weight * features
        losses = Losses(total, {"l1": pixels, "features": features})
        if critic is not None and progress.done >= settings.critic_from:
            fooled = -critic(made).mean()
            losses.total = total + settings.critic_weight * fooled
            losses.terms["fooled"] = fooled
            losses.made, losses.real = made, real
        return losses

    def measure(self, network: nn.Module) -> dict[str, float]:
        """Quality of held-out pictures after encode and decode."""
        return self._judge.figures(
            [
                (source, in_batches(network, source, self.device))
                for source in self._held_out.values()
            ]
        )

    def sheet(self, network: nn.Module) -> NDArray[np.uint8]:
        """Source and reconstruction of the first picture of each clip."""
        source = np.stack([pictures[0] for pictures in list(self._held_out.values())[:6]])
        made = in_batches(network, source, self.device)
        return contact_sheet([("source", source), ("latent codec", made)], side=256)

    def config(self) -> dict[str, Any]:
        """Arguments of LatentCodec."""
        return {"latent_channels": LATENT_CHANNELS}
