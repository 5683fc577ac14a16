"""Learned codecs whose every sum can be done by hand, in the networks' own layers.

`Ntscc` and `LatentVideo` begin as linear codes. Here the transform is the first DCT components of
each colour of a patch, and the pictures are made of just those: so nothing is lost but what the
channel takes, and a picture's error follows from N0 alone (`expected_error`).
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from semcast.networks.latent_video import LatentVideo, LatentVideoShape
from semcast.networks.ntscc import PATCH, Ntscc, NtsccShape

PER_COLOUR = 4
"""Components of each colour: the mean, the slopes and their product."""

LATENT_SCALE = 4.0

SHARES = (60.0, 14.0, 12.0, 3.0)
"""Variances of a colour's components, in -1..1 times 16 (orthonormal components of 256 values)."""


def components(in_channels: int) -> NDArray[np.float64]:
    """[in * 256, in * 4], orthonormal: those of all colours before the next ones."""
    waves = [np.ones(PATCH), np.cos(np.pi * (np.arange(PATCH) + 0.5) / PATCH)]
    waves = [wave / np.linalg.norm(wave) for wave in waves]
    planes = [np.outer(waves[i], waves[j]).ravel() for i, j in ((0, 0), (0, 1), (1, 0), (1, 1))]
    columns = [np.kron(colour, plane) for plane in planes for colour in np.eye(in_channels)]
    return np.stack(columns, 1)


def variances(in_channels: int) -> NDArray[np.float64]:
    """Of the components, [in * 4], largest first."""
    return np.repeat(SHARES, in_channels)


def shape(in_channels: int, base: bool) -> NtsccShape:
    """The smallest; 12 or 4 reals a patch say all."""
    channels = in_channels * PER_COLOUR
    return NtsccShape(
        in_channels=in_channels,
        latent_channels=channels,
        max_reals=channels,
        block_width=4,
        encoder_widths=(4, 4, 4),
        decoder_widths=(4, 4, 4),
        base=base,
    )


def linear_ntscc(in_channels: int = 3, seed: int = 1, *, base: bool = False) -> Ntscc:
    """A linear code of components that a picture of `made_pictures` has.

    How surprising a patch is follows from how far it is from grey, or from its base.
    """
    torch.manual_seed(seed)
    network = Ntscc(shape(in_channels, base))
    basis = torch.from_numpy(components(in_channels)).float()
    spread = torch.from_numpy(variances(in_channels)).float()
    network.begin_linear(torch.zeros(len(basis)), basis, spread)
    assert network.hyperprior is not None
    _expects_nothing(network.hyperprior.synthesis[-1])
    return network.eval().requires_grad_(False)


def linear_video(in_channels: int = 3, seed: int = 1) -> LatentVideo:
    """A linear code of what changed in the latents of `linear_ntscc`."""
    torch.manual_seed(seed)
    channels = in_channels * PER_COLOUR
    network = LatentVideo(LatentVideoShape(channels, channels, 4))
    spread = LATENT_SCALE**2 * torch.from_numpy(variances(in_channels)).float()
    network.begin_linear(0.1 * spread)
    _expects_nothing(network.hyperprior.synthesis[-1])
    return network.eval().requires_grad_(False)


def _expects_nothing(head: torch.nn.Module) -> None:
    """Sets a hyperprior to a mean of zero and one scale for all."""
    for parameter in head.parameters():
        torch.nn.init.zeros_(parameter)


def put(monkeypatch: pytest.MonkeyPatch, **by_name: Ntscc | LatentVideo) -> None:
    """Puts networks where bundled ones are found; others are not found."""
    for where, kind in (
        ("semcast.networks.ntscc.bundled_ntscc", Ntscc),
        ("semcast.networks.latent_video.bundled_latent_video", LatentVideo),
    ):
        there = {name: network for name, network in by_name.items() if isinstance(network, kind)}
        monkeypatch.setattr(where, there.__getitem__)


def made_pictures(
    seed: int,
    width: int,
    height: int,
    in_channels: int = 3,
    count: int = 1,
    *,
    unused: int = 0,
    contrast: float = 1.0,
) -> NDArray[np.uint8]:
    """Pictures of the components alone, uint8 [count, height, width, in], far from black and white.

    Sides are multiples of 16. unused: of each colour's components, those that are not there.
    """
    rng = np.random.default_rng(seed)
    rows, columns = height // PATCH, width // PATCH
    spread = contrast * np.sqrt(variances(in_channels)) / 2.5
    draws = rng.uniform(-1.7, 1.7, (count, rows, columns, len(spread))) * spread
    draws[..., len(spread) - unused * in_channels :] = 0
    patches = (draws @ components(in_channels).T).reshape(
        count, rows, columns, in_channels, PATCH, PATCH
    )
    pictures = patches.transpose(0, 1, 4, 2, 5, 3).reshape(count, height, width, in_channels)
    return np.round((pictures.clip(-0.98, 0.98) + 1) * 127.5).astype(np.uint8)


def expected_error(
    picture: NDArray[np.uint8], noise_var: float, counts: NDArray[np.int64]
) -> float:
    """Mean squared error in 0..255 of a picture, N0 given. counts: reals of each patch.

    Real c of a patch is y_c g_c, g_c = var_c^-1/4, all that are sent scaled to a mean square of 1
    by s; so y_c comes with noise of N0 s^2 / g_c^2, and the others not at all. y is four times the
    orthonormal coefficients, of which the squares add up to those of pixels. Rounding to levels
    adds 1/12.
    """
    height, width, in_channels = picture.shape
    x = picture.astype(float) / 127.5 - 1
    patches = x.reshape(height // PATCH, PATCH, width // PATCH, PATCH, in_channels)
    patches = patches.transpose(0, 2, 4, 1, 3).reshape(-1, in_channels * PATCH**2)
    y = LATENT_SCALE * patches @ components(in_channels)
    gains = (LATENT_SCALE**2 * variances(in_channels)) ** -0.25
    sent = np.arange(len(gains)) < counts.reshape(-1, 1)
    mean_square = float(np.mean((y * gains)[sent] ** 2))
    noise = noise_var * mean_square * np.sum(sent * gains**-2.0) + np.sum(y[~sent] ** 2)
    return float(noise) / (LATENT_SCALE**2 * picture.size) * 127.5**2 + 1 / 12


def squared_error(made: NDArray[np.uint8], source: NDArray[np.uint8]) -> float:
    """Mean, in 0..255."""
    return float(np.mean((made.astype(float) - source) ** 2))


def psnr_of(errors: list[float]) -> float:
    """Of the mean of squared errors, dB."""
    return 10 * math.log10(255**2 / float(np.mean(errors)))
