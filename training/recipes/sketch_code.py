"""Sketches straight to symbols: what the sketcher draws, at any SNR, in GVSC's 1,024 symbols.

Each example crosses the channel at its own SNR, uniform over -5..20 dB, most with the reals of
GVSC's symbols or a few less (side information takes some), others with fewer or more.

The loss is GVSC's (1), k MSE + (1 - k) LPIPS, with two things of ours. Lines are few, so MSE is
counted in units of what an all-black picture would cost: both terms are then of one size. And it is
the logarithm of the loss that is averaged, picture by picture, so that 20 dB, where all is nearly
right, counts as much as -5 dB, where little is.

The file's name tells k: `djscc_sketch_k03` for 0.3, GVSC's best.
"""

from __future__ import annotations

from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from semcast.metrics.perceptual import LpipsScorer
from semcast.metrics.psnr import psnr_db
from semcast.metrics.weights import MetricWeights
from semcast.networks.ntscc import PATCH, Ntscc, NtsccShape, noisy, power_scale
from semcast.networks.pixels import to_pixels, to_unit
from semcast.networks.strokes import to_picture, to_strokes
from training.channel import believed_snr_db, draw_snr_db
from training.components import principal_components
from training.data import Library
from training.held_out import gradient_free
from training.losses import PerceptualLoss
from training.recipe import Batch, Losses, Progress, Recipe, RecipeSettings
from training.sheets import contact_sheet
from training.sketches import SIDE, SketchSampler, sketches_of

REALS = 8
"""Of a patch of 16x16: 1,024 symbols at 256x256, GVSC's 32x32x2 reals."""

_MEASURED_AT_DB = (-5.0, 0.0, 5.0, 10.0, 20.0)
_SCHEME_REALS = (6.5, 8.0)
_OTHER_REALS = (2.0, 16.0)

_BLACK_ERROR = 0.042
"""Mean square of a sketch's picture, in 0..1: of the training sketches, which differ little."""

_COMPONENTS_SEED = 7777
_COMPONENTS_BATCH = 32

_LEAST_LOSS = 0.01
"""Where more is not worth learning."""

_REACH = 2
"""Pixels that a line may be off and still count as found."""


class SketchCodeSettings(RecipeSettings):
    """Numbers of this training."""

    size: int = Field(128, ge=32, le=SIDE, multiple_of=16, description="Side of a training crop.")
    batch_size: int = Field(16, ge=1, le=4096, description="Crops a step.")
    learning_rate: float = Field(3e-3, gt=0, le=1, description="Peak of the schedule.")
    pixel_share: float = Field(
        0.3, ge=0, le=1, description="k of GVSC's loss (1): k MSE + (1 - k) LPIPS."
    )
    other_share: float = Field(
        0.25, ge=0, le=1, description="Examples with fewer or more symbols than GVSC's."
    )
    eval_size: int = Field(SIDE, ge=32, le=SIDE, multiple_of=16, description="Held-out sketches.")


class SketchCode(Recipe):
    """The sketch of the `sketch-desc` and `sketches-desc` schemes."""

    name: ClassVar[str] = "djscc-sketch"
    title: ClassVar[str] = "DeepJSCC with SNR attention: sketches, 1,024 symbols at 256x256"
    weights_name: ClassVar[str] = "djscc_sketch_k03"
    settings_class: ClassVar[type[RecipeSettings]] = SketchCodeSettings
    settings: SketchCodeSettings
    shape: ClassVar[NtsccShape] = NtsccShape(
        in_channels=1,
        latent_channels=48,
        max_reals=16,
        block_width=20,
        encoder_widths=(6, 12, 24),
        decoder_widths=(32, 20, 10),
        hyperprior=False,
    )

    def __init__(
        self, settings: SketchCodeSettings, library: Library, device: torch.device
    ) -> None:
        super().__init__(settings, library, device)
        self._sampler = SketchSampler(sketches_of(library.train, zoomed=True), settings.size)
        self._held_out = self._held_out_sketches()
        self._features = gradient_free(PerceptualLoss()).to(
            device, memory_format=torch.channels_last
        )
        self._lpips = LpipsScorer.squeezenet_caffe(MetricWeights.from_environment())

    @classmethod
    def weights_name_for(cls, settings: RecipeSettings) -> str:
        """djscc_sketch_k0, _k03, _k07, _k1 for the shares that GVSC compares."""
        assert isinstance(settings, SketchCodeSettings)
        return f"djscc_sketch_k{settings.pixel_share:g}".replace(".", "")

    def _held_out_sketches(self) -> NDArray[np.uint8]:
        """Evenly spaced strokes of each clip, uint8 [n, size, size]."""
        size, count = self.settings.eval_size, self.settings.eval_frames_per_clip
        by_clip: dict[str, list[NDArray[np.uint8]]] = {}
        for shot in sketches_of(self.library.val, zoomed=False):
            by_clip.setdefault(shot.clip, []).extend(
                shot.strokes(k)[:size, :size] for k in range(len(shot.packed))
            )
        chosen = []
        for strokes in by_clip.values():
            at = np.unique(np.linspace(0, len(strokes) - 1, count).round().astype(int))
            chosen += [strokes[k] for k in at]
        return np.stack(chosen)

    def build(self) -> nn.Module:
        """The linear code that the training sketches' statistics give, and nothing beside it yet.

        Its transform stays as it is: what the network beside it adds is learned.
        """
        network = Ntscc(self.shape)

        def draw_pictures(rng: np.random.Generator) -> Tensor:
            strokes = self._sampler.batch(_COMPONENTS_BATCH, 1, rng)[:, 0]
            return to_unit(torch.from_numpy(pictures_of(strokes)))

        rng = np.random.default_rng(_COMPONENTS_SEED)
        channels = self.shape.latent_channels
        network.begin_linear(*principal_components(draw_pictures, PATCH, channels, rng))
        for transform in (network.patch_analysis, network.patch_synthesis):
            transform.requires_grad_(False)
        return network

    def draw(self, rng: np.random.Generator) -> Batch:
        """pictures: uint8 [B, H, W, 1]. reals: of a patch on average, [B]."""
        count = self.settings.batch_size
        reals = rng.uniform(*_SCHEME_REALS, count)
        other = rng.random(count) < self.settings.other_share
        low, high = np.log(_OTHER_REALS)
        reals[other] = np.exp(rng.uniform(low, high, int(other.sum())))
        strokes = self._sampler.batch(count, 1, rng)[:, 0]
        return {
            "pictures": torch.from_numpy(pictures_of(strokes)),
            "reals": torch.from_numpy(reals),
        }

    def losses(
        self, network: nn.Module, critic: nn.Module | None, batch: Batch, progress: Progress
    ) -> Losses:
        """Mean ln of k MSE + (1 - k) LPIPS; MSE beside that of black."""
        assert isinstance(network, Ntscc)
        real = to_unit(batch["pictures"])
        snr_db = draw_snr_db(len(real), real.device)
        sender_db, receiver_db = believed_snr_db(snr_db), believed_snr_db(snr_db)
        made = _across(network, real, batch["reals"], snr_db, sender_db, receiver_db)
        error = (made - real).square().mean((1, 2, 3)) / 4 / _BLACK_ERROR
        share = self.settings.pixel_share
        total, terms = share * error, {"mse": error.mean()}
        if share < 1:
            features = self._features.distances(_grey_rgb(made), _grey_rgb(real))
            total = total + (1 - share) * features
            terms["features"] = features.mean()
        return Losses(torch.log(total + _LEAST_LOSS).mean(), terms)

    def measure(self, network: nn.Module) -> dict[str, float]:
        """PSNR and LPIPS of the pictures, F-measure of the strokes, over SNR, in 1,024 symbols."""
        wanted = pictures_of(self._held_out)
        psnrs, distances, overlaps = {}, {}, {}
        for snr_db in _MEASURED_AT_DB:
            torch.manual_seed(7777)
            made = self._send(network, wanted, snr_db)
            at = f"at_{snr_db:g}_db"
            psnrs[f"psnr_db_{at}"] = float(
                np.mean([psnr_db(a, b) for a, b in zip(wanted, made, strict=True)])
            )
            distances[f"lpips_{at}"] = float(
                np.mean(self._lpips.score(list(_rgb(wanted)), list(_rgb(made))))
            )
            overlaps[f"f_measure_{at}"] = f_measure(self._held_out, made[..., 0])
        return psnrs | distances | overlaps

    def sheet(self, network: nn.Module) -> NDArray[np.uint8]:
        """Sketch and what arrives at four SNRs."""
        chosen = self._held_out[:: self.settings.eval_frames_per_clip][:7]
        wanted = pictures_of(chosen)
        torch.manual_seed(7777)
        columns = [("sketch", _rgb(wanted))]
        for snr_db in (-5.0, 0.0, 10.0, 20.0):
            columns.append((f"{snr_db:g} dB", _rgb(self._send(network, wanted, snr_db))))
        return contact_sheet(columns, side=self.settings.eval_size)

    def config(self) -> dict[str, Any]:
        """Arguments of NtsccShape."""
        return self.shape.config()

    def _send(
        self, network: nn.Module, pictures: NDArray[np.uint8], snr_db: float
    ) -> NDArray[np.uint8]:
        """Grey pictures [n, H, W, 1] as they arrive in 1,024 symbols."""
        assert isinstance(network, Ntscc)
        arrived = []
        for batch in torch.from_numpy(pictures).split(8):
            x = to_unit(batch.to(self.device))
            known = torch.full((len(x),), snr_db, device=self.device)
            reals = torch.full((len(x),), float(REALS), device=self.device)
            arrived.append(to_pixels(_across(network, x, reals, known, known, known)).numpy())
        return np.concatenate(arrived)


def _across(
    network: Ntscc,
    x: Tensor,
    mean_reals: Tensor,
    snr_db: Tensor,
    sender_db: Tensor,
    receiver_db: Tensor,
) -> Tensor:
    """Pictures [B, 1, H, W] after the channel, float32.

    mean_reals: of a patch, snr_db, and what the two ends believe of it: [B].
    """
    y = network.analyse(x, sender_db)
    counts = even_counts(mean_reals, *y.shape[2:])
    reals = network.to_reals(y, counts, sender_db)
    scale = power_scale(reals, counts)
    received = noisy(reals / scale, counts, snr_db) * scale
    made = network.from_reals(received, counts, receiver_db)
    return network.synthesise(made, counts, receiver_db).float()


def even_counts(mean_reals: Tensor, rows: int, columns: int) -> Tensor:
    """Counts [B, rows, columns] of even shares of mean_reals [B] times the patches there are.

    What does not divide goes to the first patches, as in `codecs.patch_rates.reals_of_patches`.
    """
    patches = rows * columns
    total = (mean_reals * patches).round().long()
    order = torch.arange(patches, device=mean_reals.device)
    counts = (total // patches)[:, None] + (order < (total % patches)[:, None])
    return counts.view(-1, rows, columns)


def pictures_of(strokes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Strokes [n, H, W] as the network's grey pictures, uint8 [n, H, W, 1]."""
    height, width = strokes.shape[1:]
    return np.stack([to_picture(one, width, height) for one in strokes])[..., None]


def f_measure(strokes: NDArray[np.uint8], pictures: NDArray[np.uint8]) -> float:
    """Harmonic mean of how much of what arrived was sent, and of what was sent arrived; 0 to 1.

    strokes: as sent, pictures: as received, uint8 [n, H, W]. A line two pixels off counts as found.
    """
    around = np.ones((2 * _REACH + 1, 2 * _REACH + 1), np.uint8)
    right = drawn = found = there = 0
    for sent, picture in zip(strokes, pictures, strict=True):
        made = to_strokes(picture)
        right += int((made & cv2.dilate(sent, around)).sum())
        drawn += int(made.sum())
        found += int((sent & cv2.dilate(made, around)).sum())
        there += int(sent.sum())
    if not right or not found:
        return 0.0
    precision, recall = right / drawn, found / there
    return 2 * precision * recall / (precision + recall)


def _grey_rgb(x: Tensor) -> Tensor:
    return x.expand(-1, 3, -1, -1)


def _rgb(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(pictures, 3, -1)
