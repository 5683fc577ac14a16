"""Pictures to symbols, patch by patch: one network for all SNRs, bandwidths and ways to share them.

Each example crosses the channel at its own SNR, uniform over -5..20 dB, with its own number of
symbols, shared out evenly or by the hyperprior. What the two ends believe of the SNR is a little
wrong, each in its own way, and now and then nothing at all. The loss is of the logarithm of the
error, so that a picture at 20 dB counts as much as one at -5 dB.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from semcast.air.ladder import pick_rung
from semcast.codecs.patch_rates import choose_indices, reals_of_patches
from semcast.metrics.psnr import psnr_db
from semcast.networks.ntscc import (
    PATCH,
    Base,
    Hyperprior,
    Ntscc,
    NtsccShape,
    noisy,
    power_scale,
)
from semcast.networks.pixels import to_pixels, to_unit
from training.channel import MEASURED_AT_DB, SNR_RANGE_DB, believed_snr_db
from training.components import principal_components
from training.data import Augment, Library, WindowSampler, held_out_frames
from training.held_out import gradient_free
from training.losses import PerceptualLoss
from training.recipe import Batch, Losses, Progress, Recipe, RecipeSettings
from training.sheets import contact_sheet

_FIRST_FRAME_REALS = 60
"""Reals a patch: 7,680 symbols at 256x256, GVSC's first frame less what tells the rates."""
_REALS_RANGE = (3.0, 144.0)
_LEAST_ERROR = 2e-5
"""Of squared differences in 0..1: 47 dB, where more is not worth learning."""
_COMPONENTS_SEED = 7777

_WINDOW = 256
"""Side of the pictures that bases are made of; examples are crops of them."""
_CROPS_OF_A_WINDOW = 2
_BASE_SHARES = (0.04, 0.4)
_UNTOLD_SHARE = 0.15
_OTHER_BITS = 24
"""CRC and power scalar."""


class NtsccSettings(RecipeSettings):
    """Numbers of this training."""

    batch_size: int = Field(12, ge=1, le=4096, description="Crops a step.")
    size: int = Field(128, ge=32, le=1024, multiple_of=16, description="Side of a training crop.")
    first_frame_share: float = Field(
        0.4, ge=0, le=1, description="Examples with as many symbols as a first frame."
    )
    uniform_share: float = Field(0.35, ge=0, le=1, description="Examples with equal rates.")
    grouped_share: float = Field(0.2, ge=0, le=1, description="Examples with 2x2 patches a rate.")
    no_base_share: float = Field(0.12, ge=0, le=1, description="Pictures without a base.")
    bits_weight: float = Field(0.1, gt=0, description="Of the hyperprior's bits a pixel.")
    feature_weight: float = Field(0.0, ge=0, description="LPIPS beside ln of the error.")


class NtsccRecipe(Recipe):
    """First frames, keyframes, and the `djscc-rgb` baseline."""

    name: ClassVar[str] = "ntscc"
    title: ClassVar[str] = "NTSCC with SNR attention: pictures, all SNRs and symbol counts"
    weights_name: ClassVar[str] = "ntscc"
    settings_class: ClassVar[type[RecipeSettings]] = NtsccSettings
    settings: NtsccSettings
    shape: ClassVar[NtsccShape] = NtsccShape(base=True)

    def __init__(self, settings: NtsccSettings, library: Library, device: torch.device) -> None:
        super().__init__(settings, library, device)
        self._sampler = WindowSampler(library.train, _WINDOW, augment=Augment())
        self._held_out = held_out_frames(
            library.val, settings.eval_size, settings.eval_frames_per_clip
        )
        self._features: nn.Module | None = None
        if settings.feature_weight > 0:
            self._features = gradient_free(PerceptualLoss()).to(
                device, memory_format=torch.channels_last
            )

    def build(self) -> nn.Module:
        """The linear code that the training clips' statistics give, and nothing beside it yet.

        Its transform stays as it is: what the network beside it adds is learned.
        """
        network = Ntscc(self.shape)

        def draw_lacking(rng: np.random.Generator) -> Tensor:
            batch = self.draw(rng)
            based = batch["base_bits"] > 0
            return to_unit(batch["pictures"][based]) - to_unit(batch["bases"][based])

        rng = np.random.default_rng(_COMPONENTS_SEED)
        channels = self.shape.latent_channels
        network.begin_linear(*principal_components(draw_lacking, PATCH, channels, rng))
        for transform in (network.patch_analysis, network.patch_synthesis):
            transform.requires_grad_(False)
        return network

    def draw(self, rng: np.random.Generator) -> Batch:
        """Crops of pictures and their bases, uint8 [B, H, W, 3], and how they cross, [B] each.

        base_bits: of a patch, 0 for no base. reals: of a patch on average. group: 0 is uniform.
        """
        count = self.settings.batch_size
        num_windows = -(-count // _CROPS_OF_A_WINDOW)
        windows = self._sampler.batch(num_windows, rng)[:, 0]
        pictures, bases, rows = [], [], []
        for window in windows:
            snr_db = rng.uniform(*SNR_RANGE_DB)
            low, high = _REALS_RANGE
            reals = math.exp(rng.uniform(math.log(low), math.log(high)))
            if rng.random() < self.settings.first_frame_share:
                reals = _FIRST_FRAME_REALS
            share = rng.uniform(*_BASE_SHARES)
            if rng.random() < self.settings.no_base_share:
                share = 0.0
            told_db = math.nan if rng.random() < _UNTOLD_SHARE else snr_db
            base, patch_bits, kept = based(window, reals, told_db, share)
            uniform, grouped = self.settings.uniform_share, self.settings.grouped_share
            group = rng.choice(3, p=[uniform, 1 - uniform - grouped, grouped])
            for _ in range(_CROPS_OF_A_WINDOW):
                size = self.settings.size
                top, left = rng.integers(0, window.shape[0] - size + 1, 2)
                pictures.append(window[top : top + size, left : left + size])
                bases.append(base[top : top + size, left : left + size])
                rows.append((snr_db, kept, group, patch_bits))
        snrs_db, reals_of, groups, bits = (
            torch.tensor(column) for column in zip(*rows[:count], strict=True)
        )
        return {
            "pictures": torch.from_numpy(np.stack(pictures[:count])),
            "bases": torch.from_numpy(np.stack(bases[:count])),
            "base_bits": bits.float(),
            "snr_db": snrs_db.float(),
            "reals": reals_of,
            "group": groups.long(),
        }

    def losses(
        self, network: nn.Module, critic: nn.Module | None, batch: Batch, progress: Progress
    ) -> Losses:
        """ln of the error after the channel; beside it, the hyperprior learns to tell the bits."""
        assert isinstance(network, Ntscc)
        real = to_unit(batch["pictures"])
        base = Base(to_unit(batch["bases"]), batch["base_bits"])
        snr_db = batch["snr_db"]
        sender_db, receiver_db = believed_snr_db(snr_db), believed_snr_db(snr_db)
        y = network.analyse(real, sender_db, base).float()
        assert network.hyperprior is not None
        still = y.detach()
        bits, hyper_bits = network.hyperprior(
            still + torch.rand_like(still) - 0.5,
            torch.rand_like(hyperlatent_like(network.hyperprior, still)) - 0.5,
        )
        counts = share_out(bits.detach(), batch["reals"], batch["group"], self.shape.max_reals)
        made = _across(network, y, counts, snr_db, sender_db, receiver_db, base)
        error = _log_error(made, real).mean()

        bits_per_pixel = (bits.sum((1, 2)) + hyper_bits).mean() / (real.shape[2] * real.shape[3])
        total = error + self.settings.bits_weight * bits_per_pixel
        terms = {"ln_error": error, "bits_per_pixel": bits_per_pixel}
        if self._features is not None:
            features = self._features(made.float(), real)
            total = total + self.settings.feature_weight * features
            terms["features"] = features
        return Losses(total, terms)

    def measure(self, network: nn.Module) -> dict[str, float]:
        """PSNR over SNR on held-out pictures at the first frame's symbols, shared out both ways."""
        figures = {}
        for snr_db in MEASURED_AT_DB:
            figures[f"psnr_db_at_{snr_db:g}_db"] = self._mean_psnr_db(network, snr_db, 1)
        for snr_db in (0.0, 10.0):
            figures[f"uniform_at_{snr_db:g}_db"] = self._mean_psnr_db(network, snr_db, 0)
        figures["eighth_at_10_db"] = self._mean_psnr_db(network, 10.0, 1, _FIRST_FRAME_REALS / 8)
        return figures

    def sheet(self, network: nn.Module) -> NDArray[np.uint8]:
        """Source and what arrives at four SNRs."""
        source = np.stack([pictures[0] for pictures in list(self._held_out.values())[:5]])
        columns = [("source", source)]
        for snr_db in (-5.0, 0.0, 10.0, 20.0):
            columns.append((f"{snr_db:g} dB", self._send(network, source, snr_db, 1)))
        return contact_sheet(columns, side=224)

    def config(self) -> dict[str, Any]:
        """Arguments of Ntscc."""
        return self.shape.config()

    def _mean_psnr_db(
        self, network: nn.Module, snr_db: float, group: int, reals: float = _FIRST_FRAME_REALS
    ) -> float:
        torch.manual_seed(7777)
        return float(
            np.mean(
                [
                    psnr_db(pictures, self._send(network, pictures, snr_db, group, reals))
                    for pictures in self._held_out.values()
                ]
            )
        )

    def _send(
        self,
        network: nn.Module,
        pictures: NDArray[np.uint8],
        snr_db: float,
        group: int,
        reals: float = _FIRST_FRAME_REALS,
    ) -> NDArray[np.uint8]:
        assert isinstance(network, Ntscc)
        x = to_unit(torch.from_numpy(np.ascontiguousarray(pictures)).to(self.device))
        known = torch.full((len(x),), snr_db, device=self.device)
        share = None if group else 0.0
        made = [based(picture, reals, snr_db, share) for picture in pictures]
        bases = torch.from_numpy(np.stack([base for base, _, _ in made])).to(self.device)
        patch_bits = torch.tensor([bits for _, bits, _ in made], device=self.device)
        base = Base(to_unit(bases), patch_bits)
        y = network.analyse(x, known, base)
        kept = torch.tensor([left for _, _, left in made])
        groups = torch.full((len(x),), group)
        counts = share_out(network.patch_bits(y), kept, groups, self.shape.max_reals)
        return to_pixels(_across(network, y, counts, known, known, known, base)).numpy()


def based(
    picture: NDArray[np.uint8], reals: float, told_db: float, share: float | None = None
) -> tuple[NDArray[np.uint8], float, float]:
    """The base of a picture that is sent in so many reals a patch, its bits, and reals beside it.

    Bits and reals are a patch's. told_db: what the transmitter knows of the SNR. share: of the
    symbols, for the base; None for what the link takes. No base costs nothing.
    """
    # What compiles and range-codes is imported where it is used: a lent machine lacks it.
    from semcast.codecs.base_layer import base_layout, encode_base, no_base
    from semcast.link import HEAD_MARGIN_DB
    from semcast.parts.patch_blocks import base_share

    height, width = picture.shape[:2]
    patches = height * width / PATCH**2
    rung = pick_rung(told_db - HEAD_MARGIN_DB, None)
    share = base_share(rung) if share is None else share
    num_bits = int(share * reals / 2 * patches * rung.spectral_efficiency) - _OTHER_BITS
    layout = base_layout(width, height, num_bits)
    if layout is None:
        return no_base(width, height), 0.0, reals
    base = encode_base(picture, layout, num_bits)[1]
    return base, num_bits / patches, reals * (1 - share)


def share_out(bits: Tensor, reals: Tensor, group: Tensor, max_reals: int) -> Tensor:
    """Counts [B, h, w] on the device of `bits`; reals: a patch on average, group: 0 is uniform."""
    counts = []
    rows, columns = bits.shape[1:]
    for patch_bits, mean, side in zip(bits.cpu().numpy(), reals, group, strict=True):
        total = min(round(float(mean) * rows * columns), max_reals * rows * columns)
        if side:
            indices = choose_indices(patch_bits, total, max_reals, int(side))
        else:
            indices = np.zeros((rows, columns), np.uint8)
        counts.append(reals_of_patches(indices, rows, columns, total, max_reals, max(1, int(side))))
    return torch.from_numpy(np.stack(counts)).to(bits.device)


def _across(
    network: Ntscc,
    y: Tensor,
    counts: Tensor,
    snr_db: Tensor,
    sender_db: Tensor,
    receiver_db: Tensor,
    base: Base,
) -> Tensor:
    """Pictures of latents that crossed the channel, float."""
    reals = network.to_reals(y, counts, sender_db, base)
    scale = power_scale(reals, counts)
    received = noisy(reals / scale, counts, snr_db) * scale
    made = network.from_reals(received, counts, receiver_db, base)
    return network.synthesise(made, counts, receiver_db, base).float()


def hyperlatent_like(hyperprior: Hyperprior, y: Tensor) -> Tensor:
    """Of the hyperlatent's form; its values are not used."""
    rows, columns = (-(-side // 2) for side in y.shape[2:])
    channels = hyperprior.log_scale.shape[0]
    return torch.empty(len(y), channels, rows, columns, device=y.device)


def _log_error(made: Tensor, real: Tensor) -> Tensor:
    """ln of the mean squared difference in 0..1, of each picture."""
    error = (made.float() - real).square().mean((1, 2, 3)) / 4
    return torch.log(error + _LEAST_ERROR)
