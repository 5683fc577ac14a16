"""What changed since the last frame, to symbols.

The picture codec stays as it is: a window's frames become its latents, the first crosses as a
picture, the others as changes, each end with its own context. Errors are those of latents, which
are nearly those of pixels, since the codec's transform is nearly orthonormal: so no picture is ever
put together, and a step is quick.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from semcast.errors import InputError
from semcast.metrics.psnr import psnr_db
from semcast.networks.latent_video import LatentVideo, LatentVideoShape
from semcast.networks.ntscc import PATCH, Base, build_ntscc, noisy, power_scale
from semcast.networks.pixels import to_pixels, to_unit
from semcast.schemes import PICTURE_NETWORK
from semcast.weights import find_weights, read_weights
from training.channel import SNR_RANGE_DB, believed_snr_db
from training.data import Augment, Library, WindowSampler, centre_square
from training.recipe import Batch, Losses, Progress, Recipe, RecipeSettings
from training.recipes.ntscc import based, hyperlatent_like, share_out
from training.sheets import contact_sheet

_MEASURED_AT_DB = (0.0, 5.0, 10.0, 20.0)
_MEASURED_FPS = 4.0
MEASURED_FRAMES = 8
_SEED = 7777

_LEAST_ERROR = 1e-4
"""Of squared differences in 0..1: 40 dB, where more is not worth learning."""

_LOST_SHARE = 0.03
"""Changes that do not arrive."""


class LatentVideoSettings(RecipeSettings):
    """Numbers of this training."""

    size: int = Field(128, ge=32, le=1024, multiple_of=16, description="Side of a training crop.")
    batch_size: int = Field(12, ge=1, le=4096, description="Windows a step.")
    num_frames: int = Field(6, ge=2, le=32, description="Frames of a window.")
    codec: str = Field("", description="Weight file of the picture codec; default the bundled.")
    bits_weight: float = Field(0.1, gt=0, description="Of the hyperprior's bits a pixel.")


class LatentVideoRecipe(Recipe):
    """What both have in common.

    picture_reals, change_reals: of a patch; ranges from which a window draws its averages.
    """

    settings_class: ClassVar[type[RecipeSettings]] = LatentVideoSettings
    settings: LatentVideoSettings
    shape: ClassVar[LatentVideoShape]
    codec_name: ClassVar[str]
    picture_reals: ClassVar[tuple[float, float]]
    change_reals: ClassVar[tuple[float, float]]
    measured_reals: ClassVar[tuple[float, float]]
    """Of the picture and of a change, where figures are taken."""

    def __init__(
        self, settings: LatentVideoSettings, library: Library, device: torch.device
    ) -> None:
        super().__init__(settings, library, device)
        path = Path(settings.codec) if settings.codec else find_weights(self.codec_name)
        self._codec = build_ntscc(*read_weights(path)).to(device)

    @abstractmethod
    def windows(self, count: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Training windows, uint8 [count, num_frames, size, size, channels]."""

    @abstractmethod
    def held_out_windows(self) -> list[NDArray[np.uint8]]:
        """One of each held-out clip, uint8 [frames, eval_size, eval_size, channels]."""

    def build(self) -> nn.Module:
        """Begins with the power allocation that differences of frames call for."""
        network = LatentVideo(self.shape)
        rng = np.random.default_rng(_SEED)
        batch = self.draw(rng)
        y = self._latents(batch["frames"].to(self.device), self._base(batch))
        network.begin_linear((y[:, 1:] - y[:, :-1]).square().mean((0, 1, 3, 4)).cpu())
        return network

    def draw(self, rng: np.random.Generator) -> Batch:
        """frames: uint8 [B, T, H, W, C]. bases: of first frames, uint8 [B, H, W, C].

        base_bits, picture_reals, change_reals (of a patch), group, snr_db: [B].
        """
        count = self.settings.batch_size
        frames = self.windows(count, rng)
        snrs_db = torch.from_numpy(rng.uniform(*SNR_RANGE_DB, count)).float()

        def between(bounds: tuple[float, float]) -> Tensor:
            low, high = bounds
            return torch.from_numpy(np.exp(rng.uniform(math.log(low), math.log(high), count)))

        reals = between(self.picture_reals)
        return {
            "frames": torch.from_numpy(frames),
            "snr_db": snrs_db,
            **self._based(frames, reals, snrs_db),
            "change_reals": between(self.change_reals),
            "group": torch.from_numpy(rng.choice([0, 1, 2, 4], count, p=[0.2, 0.3, 0.3, 0.2])),
        }

    def losses(
        self, network: nn.Module, critic: nn.Module | None, batch: Batch, progress: Progress
    ) -> Losses:
        """Mean ln of the error of all frames but the first."""
        assert isinstance(network, LatentVideo)
        y = self._latents(batch["frames"], self._base(batch))
        held = self._run(network, y, batch, lossy=True)
        errors, bits = [], []
        for t in range(1, y.shape[1]):
            errors.append(torch.log(self._pixel_error(held[t].latent - y[:, t]) + _LEAST_ERROR))
            still = held[t].innovation.detach()
            noise = torch.rand_like(hyperlatent_like(network.hyperprior, still)) - 0.5
            of_patches, of_hyper = network.hyperprior(still + torch.rand_like(still) - 0.5, noise)
            bits.append((of_patches.sum((1, 2)) + of_hyper).mean())
        error = torch.stack(errors).mean()
        bits_per_pixel = torch.stack(bits).mean() / (self.settings.size**2)
        total = error + self.settings.bits_weight * bits_per_pixel
        return Losses(total, {"ln_error": error, "bits_per_pixel": bits_per_pixel})

    def measure(self, network: nn.Module) -> dict[str, float]:
        """PSNR of all frames of held-out windows, and of the last."""
        windows = self.held_out_windows()
        if not windows:
            raise InputError(
                f"No held-out clip has {MEASURED_FRAMES} frames at {_MEASURED_FPS:g} frames a "
                "second: give longer clips."
            )
        figures = {}
        for snr_db in _MEASURED_AT_DB:
            torch.manual_seed(_SEED)
            made = [(w, self._send(network, w, snr_db)) for w in windows]
            figures[f"psnr_db_at_{snr_db:g}_db"] = float(np.mean([psnr_db(a, b) for a, b in made]))
            last = [psnr_db(a[-1:], b[-1:]) for a, b in made]
            figures[f"last_at_{snr_db:g}_db"] = float(np.mean(last))
        return figures

    def sheet(self, network: nn.Module) -> NDArray[np.uint8]:
        """Frames sent and received at 10 dB."""
        columns = []
        for window in self.held_out_windows()[-4:]:
            made = self._send(network, window, 10.0)
            columns += [("sent", _rgb(window[::2])), ("10 dB", _rgb(made[::2]))]
        return contact_sheet(columns, side=160)

    def config(self) -> dict[str, Any]:
        """Arguments of LatentVideo."""
        return self.shape.config()

    def _based(self, frames: NDArray[np.uint8], reals: Tensor, snrs_db: Tensor) -> Batch:
        """Bases of first frames, and how many reals a patch are left beside them."""
        if not self._codec.shape.base:
            return {"picture_reals": reals}
        made = [
            based(window[0], float(mean), float(snr_db))
            for window, mean, snr_db in zip(frames, reals, snrs_db, strict=True)
        ]
        return {
            "bases": torch.from_numpy(np.stack([base for base, _, _ in made])),
            "base_bits": torch.tensor([bits for _, bits, _ in made]),
            "picture_reals": torch.tensor([left for _, _, left in made]),
        }

    def _base(self, batch: Batch) -> Base | None:
        if "bases" not in batch:
            return None
        return Base(to_unit(batch["bases"].to(self.device)), batch["base_bits"].to(self.device))

    def _latents(self, frames: Tensor, base: Base | None) -> Tensor:
        """[B, T, C, h, w] of uint8 [B, T, H, W, channels], all against the first frame's base."""
        times = frames.shape[1]
        if base is not None:
            base = Base(
                base.picture.repeat_interleave(times, 0), base.patch_bits.repeat_interleave(times)
            )
        with torch.no_grad():
            x = to_unit(frames.flatten(0, 1))
            unknown = torch.full((len(x),), math.nan, device=x.device)
            y = self._codec.analyse(x, unknown, base).float()
        return y.unflatten(0, frames.shape[:2])

    def _run(self, network: LatentVideo, y: Tensor, batch: Batch, *, lossy: bool) -> list[_Held]:
        """What the receiver holds after each frame. lossy: beliefs are wrong, blocks get lost."""
        snr_db, base = batch["snr_db"], self._base(batch)
        believed = believed_snr_db if lossy else torch.clone
        sender_db, receiver_db = believed(snr_db), believed(snr_db)
        codec = self._codec
        with torch.no_grad():
            counts = self._picture_counts(y[:, 0], batch["picture_reals"])
            reals = codec.to_reals(y[:, 0], counts, sender_db, base)
            expected = codec.from_reals(reals, counts, sender_db, base).float()
            received = _over_the_air(reals, counts, snr_db)
            latent = codec.from_reals(received, counts, receiver_db, base).float()
        held = [_Held(latent, latent, counts)]
        for t in range(1, y.shape[1]):
            predicted = network.predict(expected, sender_db)
            innovation = y[:, t] - predicted
            with torch.no_grad():
                bits = network.patch_bits(innovation)
            changed = share_out(bits, batch["change_reals"], batch["group"], self.shape.max_reals)
            reals = network.to_reals(innovation, changed, sender_db)
            expected = network.from_reals(reals, changed, predicted, sender_db).float()
            received = _over_the_air(reals, changed, snr_db)
            arrived = changed
            if lossy:
                kept = (torch.rand(len(y), device=y.device) >= _LOST_SHARE).long()
                arrived = changed * kept.view(-1, 1, 1)
                received = received * kept.view(-1, 1, 1, 1)
            foreseen = network.predict(latent, receiver_db)
            latent = network.from_reals(received, arrived, foreseen, receiver_db).float()
            held.append(_Held(latent, innovation, counts))
        return held

    def _picture_counts(self, y: Tensor, reals: Tensor) -> Tensor:
        """Rates of the first picture."""
        if self._codec.hyperprior is None:
            nothing = torch.zeros(len(y), *y.shape[2:], device=y.device)
            uniform = torch.zeros(len(y), dtype=torch.long)
            return share_out(nothing, reals, uniform, self._codec.shape.max_reals)
        group = torch.full((len(y),), 2)
        return share_out(self._codec.patch_bits(y), reals, group, self._codec.shape.max_reals)

    def _pixel_error(self, difference: Tensor) -> Tensor:
        """Mean squared difference of pixels in 0..1, [B], of latents' [B, C, h, w]."""
        scale = float(self._codec.patch_analysis.weight[0].square().sum())
        samples = PATCH**2 * self._codec.shape.in_channels
        return difference.square().sum(1).mean((1, 2)) / (4 * scale * samples)

    def _send(
        self, network: nn.Module, window: NDArray[np.uint8], snr_db: float
    ) -> NDArray[np.uint8]:
        assert isinstance(network, LatentVideo)
        picture, change = self.measured_reals
        known = torch.full((1,), snr_db)
        batch = {
            "snr_db": known.to(self.device),
            **self._based(window[None], torch.tensor([picture]), known),
            "change_reals": torch.tensor([change]),
            "group": torch.tensor([2]),
        }
        base = self._base(batch)
        y = self._latents(torch.from_numpy(window)[None].to(self.device), base)
        held = self._run(network, y, batch, lossy=False)
        known = known.to(self.device)
        made = [self._codec.synthesise(h.latent, h.counts, known, base) for h in held]
        return to_pixels(torch.cat(made)).numpy()


class _Held:
    """latent: the receiver's. innovation: what there was to tell. counts: the picture's."""

    def __init__(self, latent: Tensor, innovation: Tensor, counts: Tensor) -> None:
        self.latent, self.innovation, self.counts = latent, innovation, counts


class PictureVideo(LatentVideoRecipe):
    """`dvst`: colour video."""

    name: ClassVar[str] = "picture-video"
    title: ClassVar[str] = "Video JSCC: what changed, in the latents of `ntscc`"
    weights_name: ClassVar[str] = "picture_video"
    shape = LatentVideoShape()
    codec_name = PICTURE_NETWORK
    picture_reals = (8.0, 64.0)
    change_reals = (1.0, 24.0)
    measured_reals = (20.0, 4.0)

    def __init__(
        self, settings: LatentVideoSettings, library: Library, device: torch.device
    ) -> None:
        super().__init__(settings, library, device)
        speeds = (1, -1, 2, -2, 3, 4)
        self._sampler = WindowSampler(
            library.train, settings.size, settings.num_frames, Augment(speeds=speeds)
        )

    def windows(self, count: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Of colour frames."""
        return self._sampler.batch(count, rng)

    def held_out_windows(self) -> list[NDArray[np.uint8]]:
        """The beginning of each clip, at a few frames a second."""
        windows: dict[str, NDArray[np.uint8]] = {}
        for shot in self.library.val:
            step = max(1, round(shot.fps / _MEASURED_FPS))
            frames = shot.frames[::step][:MEASURED_FRAMES]
            if shot.clip not in windows and len(frames) == MEASURED_FRAMES:
                squares = [centre_square(frame, self.settings.eval_size) for frame in frames]
                windows[shot.clip] = np.stack(squares)
        return list(windows.values())


def _over_the_air(reals: Tensor, counts: Tensor, snr_db: Tensor) -> Tensor:
    scale = power_scale(reals, counts)
    return noisy(reals / scale, counts, snr_db) * scale


def _rgb(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pictures if pictures.shape[-1] == 3 else np.repeat(pictures, 3, -1)
