"""What is trained is what runs: windows at once, as training computes them, and the generator's
steps through its cache give the same latents."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import cv2
import numpy as np
import pytest
import torch
from moving_shots import Picture, quarter, whole_spec, window_of
from numpy.typing import NDArray
from torch import Tensor, nn

import receiver.diffusion.tiny
import training.condition_sampler
from receiver.diffusion.adapters import Given
from receiver.diffusion.backbone import noised
from receiver.diffusion.conditions import control_planes
from receiver.diffusion.latent_codec import LATENT_CHANNELS, LatentCodec
from receiver.diffusion.network import TinyDiffusion
from receiver.diffusion.tiny import START_SIGMA, TinyGenerator, TinyNetworks
from receiver.generator import Conditions, GeneratorContext
from semcast.session import Modality
from training.condition_sampler import ConditionSampler
from training.data import Shot
from training.received import ReceivedWindow
from training.recipes.tiny import given_of, guess_at
from training.windows import SIZE

NUM_FRAMES = 6
KEY_AT = 2
SEED = 7


class _Noting(nn.Module):
    """The latent codec, which shows nothing and notes the latents it is to show."""

    def __init__(self, codec: LatentCodec) -> None:
        super().__init__()
        self.codec = codec
        self.latents: list[Tensor] = []

    def encode(self, picture: Tensor) -> Tensor:
        return self.codec.encode(picture)

    def decode(self, latent: Tensor) -> Tensor:
        self.latents.append(latent)
        return torch.zeros(1, 3, SIZE, SIZE)


@pytest.fixture(scope="module")
def networks() -> tuple[LatentCodec, TinyDiffusion]:
    """Random, with adapters that no longer do nothing."""
    torch.manual_seed(5)
    codec, diffusion = LatentCodec(), TinyDiffusion()
    for parameter in diffusion.adapters.parameters():
        if not parameter.abs().max():
            nn.init.normal_(parameter, std=0.3)
    for network in (codec, diffusion):
        network.eval().requires_grad_(False)
    return codec, diffusion


def shot() -> Shot:
    """A slow slide: no cut."""
    rng = np.random.default_rng(2)
    wide = cv2.resize(rng.integers(90, 160, (10, 14, 3), np.uint8), (SIZE + 40, SIZE))
    return Shot("slide", np.stack([wide[:, 4 * k : 4 * k + SIZE] for k in range(NUM_FRAMES)]), 8.0)


def window(shot: Shot) -> ReceivedWindow:
    """Contours alone; then low-res frames; at KEY_AT a key picture comes as well, and stays."""
    keys: list[Picture] = []

    def had(k: int, rgb: Picture) -> Conditions:
        labels = np.zeros((SIZE, SIZE), np.uint8)
        labels[50:150, 60 + 8 * k : 170] = 1
        pictures, ages = {}, {Modality.CONTOURS: 0}
        if k:
            pictures[Modality.LOWRES], ages[Modality.LOWRES] = quarter(rgb), 0
        if k == KEY_AT:
            keys.append(rgb)
        if keys:
            pictures[Modality.KEYFRAME], ages[Modality.KEYFRAME] = keys[0], k - KEY_AT
        sketch = np.zeros((128, 128), np.uint8)
        sketch[40 + k] = 255
        return Conditions(pictures, ages, labels=labels, sketch=sketch, snr_db=7.0)

    return window_of(shot, whole_spec(shot), had)


def trained_on(
    shot: Shot, monkeypatch: pytest.MonkeyPatch, codec: LatentCodec, diffusion: TinyDiffusion
) -> tuple[Given, Tensor]:
    """Conditions of the window as training gives them to adapters; and `stays_at`."""
    everything = dict.fromkeys(training.condition_sampler._LEFT_OUT, 0.0)
    monkeypatch.setattr(training.condition_sampler, "_LEFT_OUT", everything)
    monkeypatch.setattr(training.condition_sampler, "_SNR_LEFT_OUT", 0.0)
    sampler = ConditionSampler([window(shot)], [shot], SIZE, NUM_FRAMES, 0.0)
    drawn = next(
        drawn
        for seed in range(20)
        if np.array_equal(
            (drawn := sampler.draw(np.random.default_rng(seed)))["source"], shot.frames
        )
    )
    batch = {name: torch.from_numpy(value[None]) for name, value in drawn.items()}
    clean = torch.zeros(NUM_FRAMES, LATENT_CHANNELS, SIZE // 8, SIZE // 8)
    given, _ = given_of(diffusion, codec, batch, clean)
    return given, batch["stays_at"]


def test_training_computes_what_the_generator_steps_through(
    networks: tuple[LatentCodec, TinyDiffusion], monkeypatch: pytest.MonkeyPatch
) -> None:
    codec, diffusion = networks
    source = shot()
    given, stays_at = trained_on(source, monkeypatch, codec, diffusion)
    assert given.has_degraded.tolist() == [False] + [True] * (NUM_FRAMES - 1)
    assert stays_at.tolist() == [[-1, -1, -1, KEY_AT, KEY_AT, KEY_AT]]

    shape = (1, LATENT_CHANNELS, SIZE // 8, SIZE // 8)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(SEED))
    sigma = torch.where(given.has_degraded, START_SIGMA, 1.0)

    def trained(given: Given, stays_at: Tensor) -> Tensor:
        prepared = diffusion.adapters.prepare(given)
        x = noised(prepared.degraded, noise.expand(NUM_FRAMES, -1, -1, -1), sigma)
        return guess_at(diffusion, prepared, x, sigma, stays_at)

    # Training keeps control planes in 8 bits; the rest is the same to the bit.
    def in_8_bits(conditions: Conditions, width: int, height: int) -> NDArray[np.float32]:
        planes = control_planes(conditions, width, height)
        return np.asarray(np.round(127 * planes) / 127, np.float32)

    monkeypatch.setattr(receiver.diffusion.tiny, "control_planes", in_8_bits)
    noting = _Noting(codec)
    generator = TinyGenerator(
        TinyNetworks(cast(Any, noting), diffusion.backbone, diffusion.adapters, torch.device("cpu"))
    )
    generator.reset(GeneratorContext(SIZE, SIZE, 8.0, SEED, num_steps=1))
    for conditions in window(source).conditions:
        generator.step(conditions)
    assert generator.cache_resets == 0
    stepped = torch.cat(noting.latents)

    def error(latents: Tensor) -> list[float]:
        """Largest, of each frame."""
        return (latents - stepped).abs().amax((1, 2, 3)).tolist()

    tolerance = 1e-3 * float(stepped.std())
    exact = error(trained(given, stays_at))
    assert max(exact) < tolerance

    # And each of these matters by far more.
    without_key = error(trained(given, torch.full_like(stays_at, -1)))
    assert max(without_key[: KEY_AT + 1]) < tolerance
    assert min(without_key[KEY_AT + 1 :]) > 5 * tolerance
    without_control = replace(given, control=torch.zeros_like(given.control))
    without_facts = replace(given, facts=torch.zeros_like(given.facts))
    for other in (without_control, without_facts):
        assert min(error(trained(other, stays_at))) > 5 * tolerance
