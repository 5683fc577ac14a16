"""The bundled generator: image backbone, adapters, and its memory of frames before.

Windows of frames go through as the receiver makes them, but all at once, under the causal mask of
the Temporal Adapter. Most start from the degraded latent, noised to about where the sampler starts,
the others from noised latents of the source, as in any flow matching; a window has one noise, as a
stream has. From x at noise level sigma the velocity that leads to the clean latent z is
(x - z) / sigma. The guess at z is decoded and compared with the source, in pixels and in features:
with so few steps, the first guess is most of what is shown.

`--set part=...` says what is trained: "image" (all but the memory, on single frames), "temporal"
(the memory alone, everything else frozen), or "all".
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from receiver.diffusion.adapters import Given, Prepared
from receiver.diffusion.backbone import denoised, noised
from receiver.diffusion.latent_codec import LatentCodec
from receiver.diffusion.network import TinyDiffusion
from receiver.diffusion.text import caption_encoder
from receiver.diffusion.tiny import LATENT_CODEC, TinyGenerator, TinyNetworks
from receiver.generator import Generator, GeneratorContext, PassthroughGenerator
from semcast.networks.pixels import to_unit
from semcast.session import Modality
from semcast.weights import find_weights, read_weights
from training.condition_sampler import KEYFRAME, LOWRES, NOTHING, ConditionSampler, tokens_of
from training.data import Library, Shot
from training.held_out import PictureJudge, gradient_free
from training.losses import Critic, PerceptualLoss, pixel_l1
from training.received import ReceivedWindow, windows_for
from training.recipe import Batch, Losses, Progress, Recipe, RecipeSettings
from training.sheets import contact_sheet
from training.windows import SIZE, number_shots, source_frame

_LEAST_SIGMA = 0.05
_START_SIGMAS = (0.5, 0.7)
"""Levels that denoising may start from, around the sampler's own."""

_HELD_OUT_FRAMES = 12
_JUDGED_FRAMES = 4
"""Of a held-out window's beginning, those that are made; and of these the last are judged."""

Picture = NDArray[np.uint8]


class TinySettings(RecipeSettings):
    """Numbers of the generator's training."""

    latent_codec: str = Field("", description="Weight file of the codec; empty: the bundled one.")
    part: Literal["image", "temporal", "all"] = Field("all", description="What is trained.")
    batch_size: int = Field(4, ge=1, le=4096, description="Windows a step.")
    num_frames: int = Field(6, ge=1, le=24, description="Frames of a window.")
    judged_frames: int = Field(3, ge=1, le=24, description="Of a window's last, those decoded.")
    flow_weight: float = Field(0.5, ge=0, description="Of the squared error of the velocity.")
    pixel_weight: float = Field(1.0, ge=0, description="Of L1 of the decoded guess.")
    perceptual_weight: float = Field(4.0, ge=0, description="Of its feature distance.")
    critic_weight: float = Field(0.0, ge=0, description="Of the adversarial term; 0 is none.")
    critic_from: float = Field(0.5, ge=0, le=1, description="Share of the run before the critic.")
    colour: float = Field(0.2, ge=0, le=1, description="Strength of colour changes.")
    degraded_share: float = Field(0.8, ge=0, le=1, description="Windows that start degraded.")


class TinyRecipe(Recipe):
    """Whatever was received in, latents of the source out."""

    name: ClassVar[str] = "tiny"
    title: ClassVar[str] = "Tiny causal video diffusion, on what receivers had"
    weights_name: ClassVar[str] = "tiny"
    settings_class: ClassVar[type[RecipeSettings]] = TinySettings
    folders: ClassVar[tuple[str, ...]] = ("train", "davis")
    pack_kind: ClassVar[Literal["clips", "received"]] = "received"
    settings: TinySettings

    def __init__(self, settings: TinySettings, library: Library, device: torch.device) -> None:
        super().__init__(settings, library, device)
        train, val = windows_for(library)
        self._captions = caption_encoder(device)
        self._sampler = ConditionSampler(
            train,
            library.train,
            settings.size,
            settings.num_frames,
            settings.colour,
            tokens_of(train, self._captions) if self._captions else None,
        )
        shots = number_shots(library.val)
        self._held_out = [(shots[w.spec.clip, w.spec.shot], w) for w in val]
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
        """A backbone at random and adapters that do nothing."""
        network = TinyDiffusion()
        temporal = self.settings.part == "temporal"
        network.requires_grad_(not temporal)
        network.adapters.temporal.requires_grad_(self.settings.part != "image")
        return network

    def build_critic(self) -> nn.Module | None:
        """A patch critic, where its weight is not 0."""
        return Critic() if self.settings.critic_weight else None

    def draw(self, rng: np.random.Generator) -> Batch:
        """As `ConditionSampler.draw`, a leading dimension more."""
        drawn = [self._sampler.draw(rng) for _ in range(self.settings.batch_size)]
        return {name: torch.from_numpy(np.stack([one[name] for one in drawn])) for name in drawn[0]}

    def losses(
        self, network: nn.Module, critic: nn.Module | None, batch: Batch, progress: Progress
    ) -> Losses:
        """Velocity, degraded latent, and the decoded guess of each window's last frames."""
        assert isinstance(network, TinyDiffusion)
        settings = self.settings
        num_windows, num_frames = batch["source"].shape[:2]
        source = to_unit(batch["source"].flatten(0, 1))
        with torch.no_grad():
            clean = self._codec.encode(source).float()
        given, towards = given_of(network, self._codec, batch, clean)
        prepared = network.adapters.prepare(given)
        degraded = prepared.degraded.float()

        drawn, chance = torch.rand(2, num_windows, device=clean.device)
        low, high = _START_SIGMAS
        starts = chance < settings.degraded_share
        sigma = torch.where(
            starts, low + (high - low) * drawn, _LEAST_SIGMA + (1 - _LEAST_SIGMA) * drawn
        ).repeat_interleave(num_frames)
        starts = starts.repeat_interleave(num_frames)
        sigma = torch.where(starts & ~given.has_degraded, 1.0, sigma)
        base = torch.where(starts.view(-1, 1, 1, 1), degraded.detach(), clean)
        noise = torch.randn_like(clean[::num_frames]).repeat_interleave(num_frames, 0)
        x = noised(base, noise, sigma)

        guess = guess_at(network, prepared, x, sigma, batch["stays_at"])

        judged = min(settings.judged_frames, num_frames)
        last = guess.unflatten(0, (-1, num_frames))[:, -judged:].flatten(0, 1)
        shown = source.unflatten(0, (-1, num_frames))[:, -judged:].flatten(0, 1)
        made = self._codec.decode(last).float()
        # The velocity's error is that of the guess over sigma: weighting by sigma keeps the last,
        # small steps from ruling the sum.
        flow = (guess - clean).square().mean()
        pixels = pixel_l1(made, shown)
        features = self._features(made, shown)
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
            losses.made, losses.real = made, shown
        return losses

    def measure(self, network: nn.Module) -> dict[str, float]:
        """Quality of held-out clips by `contours-lowres` at 10 dB, at each of HELD_OUT_CBRS, after
        a second; and the passthrough's, which it must beat."""
        assert isinstance(network, TinyDiffusion)
        figures = self._figures(self._generator(network))
        if self._passthrough is None:
            passed = self._figures(PassthroughGenerator())
            self._passthrough = {f"passthrough_{key}": value for key, value in passed.items()}
        return figures | self._passthrough

    def sheet(self, network: nn.Module) -> NDArray[np.uint8]:
        """Source, passthrough, made."""
        assert isinstance(network, TinyDiffusion)
        chosen = self._held_out[1::4]
        source = [_source(shot, window)[-1] for shot, window in chosen]
        columns = [("source", np.stack(source))]
        for name, generator in (
            ("passthrough", PassthroughGenerator()),
            ("made", self._generator(network)),
        ):
            made = [_made(window, generator)[-1] for _, window in chosen]
            columns.append((name, np.stack(made)))
        return contact_sheet(columns, side=224)

    def config(self) -> dict[str, Any]:
        """Nothing to choose yet."""
        return {}

    def _generator(self, network: TinyDiffusion) -> TinyGenerator:
        return TinyGenerator(
            TinyNetworks(
                self._codec, network.backbone, network.adapters, self.device, self._captions
            )
        )

    def _figures(self, generator: Generator) -> dict[str, float]:
        pairs: dict[float, list[tuple[Picture, Picture]]] = {}
        for shot, window in self._held_out:
            pair = _source(shot, window), _made(window, generator)
            pairs.setdefault(window.spec.cbr, []).append(pair)
        return {
            f"{key}_{cbr:g}": value
            for cbr in sorted(pairs)
            for key, value in self._judge.figures(pairs[cbr]).items()
        }


def given_of(
    network: TinyDiffusion, codec: LatentCodec, batch: Batch, clean: Tensor
) -> tuple[Given, Tensor]:
    """Conditions of all frames of a batch of windows, as `TinyGenerator` gives them to adapters;
    and how far the degraded latents of low-res frames are off the clean ones, mean square."""
    kind = batch["kind"].flatten()
    picture = to_unit(batch["picture"].flatten(0, 1))
    degraded = network.backbone.degraded(picture).float()
    of_lowres = (kind == LOWRES).float()
    error = (degraded - clean).square().mean((1, 2, 3))
    towards = (error * of_lowres).sum() / of_lowres.sum().clamp_min(1)
    is_key = kind == KEYFRAME
    if is_key.any():
        with torch.no_grad():
            keys = codec.encode(to_unit(batch["key"].flatten(0, 1)[is_key])).float()
        degraded = degraded.clone()
        degraded[is_key] = keys
    control = batch["control"].flatten(0, 1).float() / 127
    facts = batch["facts"].flatten(0, 1)
    text = batch["text"].flatten(0, 1)
    return Given(degraded, kind != NOTHING, picture, control, facts, text), towards


def guess_at(
    network: TinyDiffusion, prepared: Prepared, x: Tensor, sigma: Tensor, stays_at: Tensor
) -> Tensor:
    """The clean latents of all frames of windows, guessed from x [B * T, 16, h, w] in one step.

    The memory of frames before is computed for all frames at once. sigma: noise levels of x,
    [B * T]. stays_at: which frame of its window is the newest key picture's, [B, T], -1 for none.
    """
    num_windows, num_frames = stays_at.shape
    first = num_frames * torch.arange(num_windows, device=x.device)[:, None]
    stays = torch.where(stays_at >= 0, stays_at + first, -1).flatten()

    def remember(site: str, h: Tensor) -> Tensor:
        if site not in network.adapters.temporal or num_frames == 1:
            return h
        return network.adapters.layer(site).whole(h, num_frames, stays)

    hook = network.adapters.hook(prepared, remember)
    velocity = network.backbone(x, sigma, prepared.degraded, hook, prepared.embedding).float()
    return denoised(x, velocity, sigma)


def _judged_at(window: ReceivedWindow) -> range:
    last = min(window.spec.num_frames, _HELD_OUT_FRAMES)
    return range(max(0, last - _JUDGED_FRAMES), last)


def _source(shot: Shot, window: ReceivedWindow) -> Picture:
    """The frames of a window that are judged, [n, SIZE, SIZE, 3]."""
    return np.stack([source_frame(shot, window.spec, k) for k in _judged_at(window)])


def _made(window: ReceivedWindow, generator: Generator) -> Picture:
    """What a generator makes of them, without key pictures."""
    generator.reset(GeneratorContext(SIZE, SIZE, 8.0, 7777))
    at = _judged_at(window)
    made = []
    for conditions in window.conditions[: at.stop]:
        given = replace(
            conditions,
            pictures={m: p for m, p in conditions.pictures.items() if m != Modality.KEYFRAME},
            age_frames={m: a for m, a in conditions.age_frames.items() if m != Modality.KEYFRAME},
        )
        made.append(generator.step(given))
    return np.stack(made[at.start :])
