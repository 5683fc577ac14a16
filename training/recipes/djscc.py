"""Pictures and sketches straight to symbols: one network for all SNRs and many symbol counts.

Each example crosses the channel at its own SNR, uniform over -5..20 dB. What the two ends believe
of the SNR is a little wrong, each in its own way, and now and then nothing at all. Half of the
steps send as many symbols as the scheme does, the others a prefix, so that the first symbols learn
to say most.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from semcast.metrics.psnr import psnr_db
from semcast.networks.djscc import Djscc, awgn
from semcast.networks.pixels import to_pixels, to_unit
from semcast.networks.transforms import DECODER_WIDTHS, ENCODER_WIDTHS
from semcast.weights import read_weights
from training.channel import MEASURED_AT_DB, SNR_RANGE_DB, believed_snr_db
from training.data import Augment, Library, WindowSampler, held_out_frames
from training.held_out import gradient_free
from training.losses import PerceptualLoss
from training.recipe import Batch, Losses, Progress, Recipe, RecipeSettings
from training.sheets import contact_sheet

_LEAST_PREFIX = 1 / 16


class DjsccSettings(RecipeSettings):
    """Numbers of a joint source-channel code's training."""

    pixel_share: float = Field(
        0.99, ge=0, le=1, description="k of GVSC's loss (1): k MSE + (1 - k) LPIPS."
    )
    prefix_share: float = Field(0.5, ge=0, le=1, description="Steps that send fewer symbols.")
    latent_codec: str = Field("", description="Weight file of a codec to begin from, if any.")


class _DjsccRecipe(Recipe):
    """What both have in common. symbols: at the measured size of 256x256."""

    settings_class: ClassVar[type[RecipeSettings]] = DjsccSettings
    settings: DjsccSettings
    in_channels: ClassVar[int]
    grid_channels: ClassVar[int]
    encoder_widths: ClassVar[tuple[int, int, int]]
    decoder_widths: ClassVar[tuple[int, int, int]]
    symbol_share: ClassVar[float]
    """Of all symbols of the grid: what the scheme sends."""

    def __init__(self, settings: DjsccSettings, library: Library, device: torch.device) -> None:
        super().__init__(settings, library, device)
        self._sampler = WindowSampler(library.train, settings.size, augment=Augment())
        self._held_out = {
            clip: self.picture(frames)
            for clip, frames in held_out_frames(
                library.val, settings.eval_size, settings.eval_frames_per_clip
            ).items()
        }
        self._features = gradient_free(PerceptualLoss()).to(
            device, memory_format=torch.channels_last
        )

    def picture(
        self, frames: NDArray[np.uint8], rng: np.random.Generator | None = None
    ) -> NDArray[np.uint8]:
        """What is sent of frames [n, H, W, 3]: uint8 [n, H, W, in]."""
        return frames

    def build(self) -> nn.Module:
        """At random, or from a latent codec's transforms."""
        network = Djscc(
            self.in_channels, self.grid_channels, self.encoder_widths, self.decoder_widths
        )
        if self.settings.latent_codec:
            network.load_state_dict(_from_codec(Path(self.settings.latent_codec)), strict=False)
        return network

    def draw(self, rng: np.random.Generator) -> Batch:
        """pictures: uint8 [B, H, W, in]. symbols: share of the grid to send, [1]."""
        windows = self._sampler.batch(self.settings.batch_size, rng)[:, 0]
        share = self.symbol_share
        if rng.random() < self.settings.prefix_share:
            share = math.exp(rng.uniform(math.log(_LEAST_PREFIX), 0.0))
        return {
            "pictures": torch.from_numpy(self.picture(windows, rng)),
            "share": torch.tensor([share]),
        }

    def losses(
        self, network: nn.Module, critic: nn.Module | None, batch: Batch, progress: Progress
    ) -> Losses:
        """k MSE + (1 - k) LPIPS, GVSC's loss (1); MSE of values in 0..1."""
        assert isinstance(network, Djscc)
        real = to_unit(batch["pictures"])
        count, _, height, width = real.shape
        num_symbols = max(1, int(float(batch["share"]) * network.max_symbols(width, height)))
        low, high = SNR_RANGE_DB
        snr_db = low + (high - low) * torch.rand(count, device=real.device)
        symbols = network.encode(real, believed_snr_db(snr_db), num_symbols)
        noisy = awgn(symbols, snr_db)
        made = network.decode(noisy, believed_snr_db(snr_db), width, height).float()
        error = functional.mse_loss(made, real) / 4
        features = self._features(_colour(made), _colour(real))
        share = self.settings.pixel_share
        total = share * error + (1 - share) * features
        return Losses(total, {"mse": error, "features": features})

    def measure(self, network: nn.Module) -> dict[str, float]:
        """PSNR over SNR on held-out pictures, at the scheme's number of symbols."""
        figures = {}
        for snr_db in MEASURED_AT_DB:
            torch.manual_seed(7777)
            values = [psnr_db(p, self._send(network, p, snr_db)) for p in self._held_out.values()]
            figures[f"psnr_db_at_{snr_db:g}_db"] = float(np.mean(values))
        return figures

    def sheet(self, network: nn.Module) -> NDArray[np.uint8]:
        """Source and what arrives at four SNRs."""
        source = np.stack([pictures[0] for pictures in list(self._held_out.values())[:5]])
        columns = [("source", _rgb(source))]
        for snr_db in (-5.0, 0.0, 10.0, 20.0):
            columns.append((f"{snr_db:g} dB", _rgb(self._send(network, source, snr_db))))
        return contact_sheet(columns, side=224)

    def config(self) -> dict[str, Any]:
        """Arguments of Djscc, and how many symbols the scheme sends of a grid."""
        return {
            "in_channels": self.in_channels,
            "grid_channels": self.grid_channels,
            "encoder_widths": list(self.encoder_widths),
            "decoder_widths": list(self.decoder_widths),
        }

    def _send(
        self, network: nn.Module, pictures: NDArray[np.uint8], snr_db: float
    ) -> NDArray[np.uint8]:
        assert isinstance(network, Djscc)
        x = to_unit(torch.from_numpy(np.ascontiguousarray(pictures)).to(self.device))
        known = torch.full((len(x),), snr_db, device=self.device)
        height, width = x.shape[2:]
        num_symbols = int(self.symbol_share * network.max_symbols(width, height))
        noisy = awgn(network.encode(x, known, num_symbols), known)
        return to_pixels(network.decode(noisy, known, width, height)).numpy()


class DjsccRgb(_DjsccRecipe):
    """First frames, keyframes, and the `djscc-rgb` baseline: 7,800 symbols at 256x256."""

    name: ClassVar[str] = "djscc-rgb"
    title: ClassVar[str] = "DJSCC with SNR attention: RGB, up to 8,192 symbols at 256x256"
    weights_name: ClassVar[str] = "djscc_rgb"
    in_channels = 3
    grid_channels = 16
    encoder_widths = ENCODER_WIDTHS
    decoder_widths = DECODER_WIDTHS
    symbol_share = 7800 / 8192


def _colour(x: Tensor) -> Tensor:
    return x if x.shape[1] == 3 else x.expand(-1, 3, -1, -1)


def _rgb(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if pictures.shape[-1] == 3:
        return pictures
    return np.stack([cv2.cvtColor(p, cv2.COLOR_GRAY2RGB) for p in pictures])


def _from_codec(path: Path) -> dict[str, Tensor]:
    """A latent codec's transforms, its normalisation folded into the encoder's last layer."""
    state, _ = read_weights(path)
    std = (state["normalise.running_var"] + 1e-5).sqrt()
    weight, bias = state["encoder.head.weight"], state["encoder.head.bias"]
    state["encoder.head.weight"] = weight / std.view(-1, 1, 1, 1)
    state["encoder.head.bias"] = (bias - state["normalise.running_mean"]) / std
    return {k: v for k, v in state.items() if k.startswith(("encoder.", "decoder."))}
