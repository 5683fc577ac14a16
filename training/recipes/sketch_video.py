"""What changed since the last sketch, to symbols: `sketches-desc` after the first of a segment."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from semcast.networks.latent_video import LatentVideoShape
from semcast.schemes import SKETCH_NETWORK
from training.data import Library
from training.recipes.latent_video import (
    MEASURED_FRAMES,
    LatentVideoRecipe,
    LatentVideoSettings,
)
from training.recipes.sketch_code import pictures_of
from training.sketches import SketchSampler, sketches_of


class SketchVideo(LatentVideoRecipe):
    """`sketches-desc`: sketches after the first of a segment."""

    name: ClassVar[str] = "sketch-video"
    title: ClassVar[str] = "Video JSCC: what changed, in the latents of `djscc_sketch_k03`"
    weights_name: ClassVar[str] = "sketch_video"
    shape = LatentVideoShape(48, 16, 16)
    codec_name = SKETCH_NETWORK
    picture_reals = (6.0, 16.0)
    change_reals = (1.0, 8.0)
    measured_reals = (8.0, 3.4)

    def __init__(
        self, settings: LatentVideoSettings, library: Library, device: torch.device
    ) -> None:
        super().__init__(settings, library, device)
        self._sampler = SketchSampler(sketches_of(library.train, zoomed=True), settings.size)

    def windows(self, count: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Of grey pictures of strokes."""
        strokes = self._sampler.batch(count, self.settings.num_frames, rng)
        pictures = pictures_of(strokes.reshape(-1, *strokes.shape[2:]))
        return pictures.reshape(*strokes.shape, 1)

    def held_out_windows(self) -> list[NDArray[np.uint8]]:
        """The beginning of each clip, every second sketch."""
        size = self.settings.eval_size
        windows: dict[str, NDArray[np.uint8]] = {}
        for shot in sketches_of(self.library.val, zoomed=False):
            at = range(0, len(shot.packed), 2)[:MEASURED_FRAMES]
            if shot.clip not in windows and len(at) == MEASURED_FRAMES:
                windows[shot.clip] = pictures_of(
                    np.stack([shot.strokes(k)[:size, :size] for k in at])
                )
        return list(windows.values())
