"""The sketcher: a picture to the probability that a pixel lies on a boundary.

It learns from boundaries that `training.boundary_labels` finds in frames of the clips, from the
outlines of DAVIS's objects, and from those of all objects in simulated scenes. No human edge map
and no edge network is a teacher.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from semcast.networks.pixels import to_unit
from training.boundary_labels import boundaries_of
from training.data import (
    DAVIS,
    PACK_SUFFIX,
    TRAIN,
    Augment,
    Library,
    Shot,
    WindowSampler,
    held_out_frames,
    open_library,
    recoloured,
)
from training.recipe import Batch, Losses, Progress, Recipe, RecipeSettings
from training.sheets import contact_sheet
from transmitter.extractors.sketch_network import WIDTHS, SketchNetwork
from transmitter.extractors.thinning import ridges

BOUNDARIES_PATH = Path("out") / "training" / "boundaries.npz"

WINDOW = 256
"""Side of the pictures whose boundaries are found, and from which crops are cut."""

_FAINT, _CERTAIN = 0.08, 0.45
"""Strength of a ridge that is no line, and of one that is a line for sure. Seen on `video/train`:
0.35 leaves what one would draw."""

_OUTLINE = 1.0
"""How sure the outline of a labelled object is a line."""

_LINE_WEIGHT = 4.0
"""A pixel on a line counts one and this often: lines are a tenth of a picture."""


class SketchSettings(RecipeSettings):
    """Numbers of the sketcher's training."""

    size: int = Field(160, ge=32, le=WINDOW, multiple_of=16, description="Side of a crop.")
    batch_size: int = Field(12, ge=1, le=4096, description="Crops a step.")
    learning_rate: float = Field(2e-3, gt=0, le=1, description="Peak of the schedule.")
    weight_decay: float = Field(1e-4, ge=0, description="AdamW's.")
    eval_size: int = Field(256, ge=32, multiple_of=16, description="Side of held-out pictures.")
    eval_frames_per_clip: int = Field(2, ge=1, description="Held-out pictures of each clip.")
    windows: int = Field(700, ge=2, description="Pictures whose boundaries are found.")
    scenes: int = Field(16, ge=0, le=100, description="Simulated scenes to render and learn from.")
    overlap_weight: float = Field(0.5, ge=0, description="Of the Dice loss, entropy being 1.")


class Sketch(Recipe):
    """Boundaries of things, drawn."""

    name: ClassVar[str] = "sketch"
    title: ClassVar[str] = "Sketcher: a picture to edge probabilities"
    weights_name: ClassVar[str] = "sketcher"
    settings_class: ClassVar[type[RecipeSettings]] = SketchSettings
    folders: ClassVar[tuple[str, ...]] = (TRAIN, DAVIS)
    settings: SketchSettings

    def __init__(self, settings: SketchSettings, library: Library, device: torch.device) -> None:
        super().__init__(settings, _with_scenes(library, settings.scenes), device)
        pictures, outlines = self._windows()
        strengths = boundaries_of(pictures, BOUNDARIES_PATH)
        self._pictures = pictures
        self._targets = [
            _with_outline(target_lines(strength), outline)
            for strength, outline in zip(strengths, outlines, strict=True)
        ]
        held_out = held_out_frames(
            library.val, settings.eval_size, settings.eval_frames_per_clip
        ).values()
        self._held_out = np.concatenate(list(held_out))
        found = boundaries_of(list(self._held_out), BOUNDARIES_PATH)
        self._held_out_targets = np.stack([target_lines(strength) for strength in found])

    def _windows(self) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
        """Pictures uint8 [256, 256, 3] and the outlines of what is labelled in them."""
        augment = Augment(scale=(0.6, 1.0), colour=0.0, flip=False)
        shots = self.library.train
        with_labels = [shot for shot in shots if shot.labels is not None]
        without = [shot for shot in shots if shot.labels is None]
        count = self.settings.windows
        clips = len({shot.clip for shot in shots})
        labelled = round(count * len({shot.clip for shot in with_labels}) / clips)
        pictures, outlines = [], []
        for kind, number in ((with_labels, labelled), (without, count - labelled)):
            if not number:
                continue
            sampler = WindowSampler(kind, WINDOW, augment=augment)
            for k in range(number):
                rng = np.random.default_rng([k, kind is with_labels])
                if kind is with_labels:
                    frames, labels = sampler.draw_labelled(rng)
                    outlines.append(outline_lines(labels[0]))
                else:
                    frames = sampler.draw(rng)
                    outlines.append(np.zeros((WINDOW, WINDOW), np.uint8))
                pictures.append(frames[0])
        return pictures, outlines

    def build(self) -> nn.Module:
        """At random."""
        return SketchNetwork()

    def draw(self, rng: np.random.Generator) -> Batch:
        """pictures: uint8 [B, H, W, 3]. lines: uint8 [B, H, W], 255 on a line."""
        chosen = rng.integers(len(self._pictures), size=self.settings.batch_size)
        pairs = [self._crop(int(k), rng) for k in chosen]
        return {
            "pictures": torch.from_numpy(np.stack([picture for picture, _ in pairs])),
            "lines": torch.from_numpy(np.stack([lines for _, lines in pairs])),
        }

    def _crop(
        self, index: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        size = self.settings.size
        top, left = rng.integers(WINDOW - size + 1, size=2)
        picture = self._pictures[index][top : top + size, left : left + size]
        lines = self._targets[index][top : top + size, left : left + size]
        if rng.random() < 0.5:
            picture, lines = picture[:, ::-1], lines[:, ::-1]
        picture = recoloured([picture], 0.25, rng)[0]
        return _as_a_camera_might(picture, rng), np.ascontiguousarray(lines)

    def losses(
        self, network: nn.Module, critic: nn.Module | None, batch: Batch, progress: Progress
    ) -> Losses:
        """Cross entropy, lines weighing more, and Dice, which keeps lines thin."""
        logits = network(to_unit(batch["pictures"])).float()[:, 0]
        wanted = batch["lines"].float() / 255
        entropy = functional.binary_cross_entropy_with_logits(
            logits, wanted, weight=1 + _LINE_WEIGHT * wanted
        )
        apart = 1 - _overlap(logits.sigmoid(), wanted)
        total = entropy + self.settings.overlap_weight * apart
        return Losses(total, {"entropy": entropy, "apart": apart})

    def measure(self, network: nn.Module) -> dict[str, float]:
        """How well lines found in held-out frames are drawn: cross entropy, and Dice overlap."""
        drawn = self._draw(network)
        wanted = torch.from_numpy(self._held_out_targets).float() / 255
        clipped = drawn.clamp(1e-4, 1 - 1e-4)
        return {
            "cross_entropy": float(functional.binary_cross_entropy(clipped, wanted)),
            "overlap": float(_overlap(drawn, wanted)),
        }

    def sheet(self, network: nn.Module) -> NDArray[np.uint8]:
        """Frame, lines found in it, and what the network draws."""
        every = self._held_out[:: self.settings.eval_frames_per_clip][:7]
        wanted = self._held_out_targets[:: self.settings.eval_frames_per_clip][:7]
        drawn = self._draw(network)[:: self.settings.eval_frames_per_clip][:7].numpy()
        return contact_sheet(
            [
                ("frame", every),
                ("found", _on_paper(wanted / 255)),
                ("drawn", _on_paper(drawn)),
            ],
            side=256,
        )

    def config(self) -> dict[str, Any]:
        """Arguments of SketchNetwork."""
        return {"widths": list(WIDTHS)}

    def _draw(self, network: nn.Module) -> Tensor:
        """Probabilities of held-out frames, [n, H, W], on the CPU."""
        frames = torch.from_numpy(self._held_out).to(self.device)
        drawn = [network(to_unit(batch)).float().sigmoid()[:, 0].cpu() for batch in frames.split(4)]
        return torch.cat(drawn)


def target_lines(strength: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lines two to three pixels wide along the ridges of a boundary map; uint8 [H, W]."""
    thin = ridges(strength.astype(np.float32) / 255)
    return _drawn_wider(np.clip((thin - _FAINT) / (_CERTAIN - _FAINT), 0, 1))


def outline_lines(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lines between differing labels, uint8 [H, W]."""
    edge = np.zeros(labels.shape, np.float32)
    edge[:, 1:] = np.maximum(edge[:, 1:], labels[:, 1:] != labels[:, :-1])
    edge[1:] = np.maximum(edge[1:], labels[1:] != labels[:-1])
    return _drawn_wider(_OUTLINE * edge)


def _with_outline(lines: NDArray[np.uint8], outline: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Both, less what was found beside an outline: it is the same edge, a pixel off."""
    beside = cv2.dilate(outline, np.ones((5, 5), np.uint8)) > 0
    return np.asarray(np.where(beside, outline, lines), np.uint8)


def _drawn_wider(thin: NDArray[np.float32]) -> NDArray[np.uint8]:
    blurred = cv2.GaussianBlur(thin.astype(np.float32), (0, 0), 0.8)
    return np.asarray(np.clip(2.2 * 255 * blurred, 0, 255), np.uint8)


def _as_a_camera_might(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Blur, noise or strong compression, now and then."""
    chance = rng.random()
    if chance < 0.2:
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.3)), np.uint8)
    if chance < 0.4:
        noisy = picture + rng.normal(0, rng.uniform(1, 9), picture.shape)
        return np.clip(noisy, 0, 255).astype(np.uint8)
    if chance < 0.5:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 75))]
        coded = cv2.imencode(".jpg", picture, quality)[1]
        return np.asarray(cv2.imdecode(coded, cv2.IMREAD_UNCHANGED), np.uint8)
    return picture


def _overlap(drawn: Tensor, wanted: Tensor) -> Tensor:
    """Dice with squares in the denominator (Milletari et al., 2016), the mean over pictures."""
    both = (drawn * wanted).sum((1, 2))
    return ((2 * both + 1) / (drawn.square().sum((1, 2)) + wanted.square().sum((1, 2)) + 1)).mean()


def _with_scenes(library: Library, count: int) -> Library:
    """A library with simulated scenes; a pack brings its own."""
    if not count or library.path.suffix == PACK_SUFFIX:
        return library
    from training.pack import SCENES_DIR, render_scenes

    rendered = {path.stem for path in render_scenes(count, SCENES_DIR)}
    opened = open_library(SCENES_DIR)
    scenes: list[Shot] = [shot for shot in (*opened.train, *opened.val) if shot.clip in rendered]
    line = f"simulated scenes: {len(rendered)}, rendered by training/simulate"
    return replace(library, train=(*library.train, *scenes), sources=(*library.sources, line))


def _on_paper(strength: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Black on white, uint8 [n, H, W, 3]."""
    levels = np.clip(255 - 255 * strength.astype(np.float32), 0, 255).astype(np.uint8)
    return np.repeat(levels[..., None], 3, -1)
