"""Segmenters by name: networks of the hub that find the objects of one frame, through transformers.

    segformer-b0      a class for each pixel (ADE20K); an object is a connected region of one class
    mask2former-tiny  one mask an object (COCO)
    sam2.1-tiny       one mask for each of a grid of points, of anything; whole things are kept

Each gives masks and scores of a frame; the tracker makes steady labels of them. They take a GPU, or
about a second a frame and more on a CPU: no live session should wait for one there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from semcast.errors import UnavailableError
from semcast.hub import HubUse, find_hub_model, installed_folder
from transmitter.extractors.masks_of_networks import (
    confident_queries,
    regions_of_classes,
    whole_things,
)
from transmitter.extractors.tracking import Tracker

Masks: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Masks [n, h, w] of probabilities, over the whole frame at a size of their own; scores [n]."""

_SIDE_MULTIPLE_PX = 32
_GRID_POINTS = 8

# Classes of ADE20K, by their names in the checkpoint, that make no object of a scene.
_SURROUNDINGS = frozenset(
    "wall building sky floor tree ceiling road grass sidewalk earth mountain plant water house sea "
    "rug field fence rock column sand skyscraper path stairs runway river bridge hill land tower "
    "stairway pier waterfall lake windowpane door curtain railing base grandstand stage".split()
) | {"dirt track", "swimming pool", "screen door"}


class MaskNetwork(Protocol):
    """Finds the objects of one frame, which knows nothing of the frames before."""

    def masks(self, rgb: NDArray[np.uint8]) -> Masks:
        """rgb: uint8 [H, W, 3]."""
        ...


class HubSegmenter:
    """A network of the hub and a tracker: labels that stay with their objects."""

    def __init__(self, network: MaskNetwork, tracker: Tracker | None = None) -> None:
        self._network = network
        self._tracker = tracker or Tracker()

    def reset(self) -> None:
        """Forgets all objects: another video begins."""
        self._tracker.reset()

    def segment(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Labels uint8 [H, W] of the next frame (uint8 [H, W, 3]): 0 nothing, 1 to 15 objects."""
        masks, scores = self._network.masks(rgb)
        return self._tracker.update(masks, scores, rgb)


class SegformerMasks:
    """SegFormer: regions of classes that are things."""

    def __init__(self, folder: Path, device: str | None = None, long_side_px: int = 512) -> None:
        """folder: a model in the hub's format. device: None takes the GPU where there is one."""
        from transformers import SegformerForSemanticSegmentation

        self._network = _Network(SegformerForSemanticSegmentation, folder, device)
        self._long_side_px = long_side_px
        names = self._network.config.id2label
        self._is_thing = np.array(
            [names[i].strip().lower() not in _SURROUNDINGS for i in range(len(names))]
        )

    def masks(self, rgb: NDArray[np.uint8]) -> Masks:
        size = _network_size(rgb, self._long_side_px)
        output = self._network(self._network.pixels(rgb, size))
        return regions_of_classes(_array(output.logits.softmax(1)[0]), self._is_thing)


class Mask2FormerMasks:
    """Mask2Former for instances: the queries that are sure of an object."""

    def __init__(self, folder: Path, device: str | None = None, long_side_px: int = 512) -> None:
        """folder: a model in the hub's format. device: None takes the GPU where there is one."""
        from transformers import Mask2FormerForUniversalSegmentation

        self._network = _Network(Mask2FormerForUniversalSegmentation, folder, device)
        self._long_side_px = long_side_px

    def masks(self, rgb: NDArray[np.uint8]) -> Masks:
        size = _network_size(rgb, self._long_side_px)
        output = self._network(self._network.pixels(rgb, size))
        classes = _array(output.class_queries_logits.softmax(-1)[0])
        return confident_queries(classes, _array(output.masks_queries_logits.sigmoid()[0]))


class Sam2Masks:
    """SAM 2 asked at a grid of points: whole things, whatever they are."""

    def __init__(self, folder: Path, device: str | None = None, grid: int = _GRID_POINTS) -> None:
        """folder: a model in the hub's format. device: None takes the GPU where there is one.

        grid: points a side; each costs a pass of the small mask decoder.
        """
        from transformers import Sam2Model

        self._network = _Network(Sam2Model, folder, device)
        self._side_px = int(self._network.config.prompt_encoder_config.image_size)
        places = (np.arange(grid) + 0.5) * self._side_px / grid
        points = np.stack(np.meshgrid(places, places), axis=-1).reshape(1, -1, 1, 2)
        self._points = points.astype(np.float32)

    def masks(self, rgb: NDArray[np.uint8]) -> Masks:
        # SAM is trained on pictures stretched to a square.
        pixels = self._network.pixels(rgb, (self._side_px, self._side_px))
        output = self._network(pixels, input_points=self._network.tensor(self._points))
        masks = _array(output.pred_masks.sigmoid()[0])  # [points, 3, h, w]
        return whole_things(masks.reshape(-1, *masks.shape[2:]), _array(output.iou_scores).ravel())


HUB_SEGMENTERS: dict[str, type[SegformerMasks] | type[Mask2FormerMasks] | type[Sam2Masks]] = {
    "segformer-b0": SegformerMasks,
    "mask2former-tiny": Mask2FormerMasks,
    "sam2.1-tiny": Sam2Masks,
}
"""By the names of `semcast.hub`."""


def load_hub_segmenter(name: str, cache: Path | None = None) -> HubSegmenter:
    """The segmenter by name, from this machine's hub cache, on the GPU where there is one.

    cache: folder of hub models; None means the user's own. Takes seconds.
    Raises NotFoundError for an unknown name, UnavailableError that says what to install or pull.
    """
    model = find_hub_model(name, HubUse.SEGMENTER)
    folder = installed_folder(model, cache)
    try:
        return HubSegmenter(HUB_SEGMENTERS[name](folder))
    except (OSError, ValueError, ImportError) as error:
        raise UnavailableError(
            f"Segmenter '{name}' cannot be loaded from {folder}: remove that folder and run "
            f"'semcast models pull {name}'."
        ) from error


class _Network:
    """A network of transformers and the normalisation of its pictures."""

    def __init__(self, part: Any, folder: Path, device: str | None) -> None:
        import torch
        from transformers import AutoImageProcessor

        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        network = part.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        self._network = network.eval().to(self._device)
        self.config = network.config
        processors: Any = AutoImageProcessor
        processor = processors.from_pretrained(folder, local_files_only=True)
        self._mean = np.asarray(processor.image_mean, np.float32)
        self._deviation = np.asarray(processor.image_std, np.float32)

    def __call__(self, pixels: Any, **prompts: Any) -> Any:
        import torch

        with torch.inference_mode():
            return self._network(pixel_values=pixels, **prompts)

    def pixels(self, rgb: NDArray[np.uint8], size: tuple[int, int]) -> Any:
        """The frame at a size (width, height), normalised, float32 [1, 3, height, width]."""
        small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        normal = (small.astype(np.float32) / 255 - self._mean) / self._deviation
        return self.tensor(np.ascontiguousarray(normal.transpose(2, 0, 1)[None]))

    def tensor(self, array: NDArray[np.float32]) -> Any:
        import torch

        return torch.from_numpy(array).to(self._device)


def _array(tensor: Any) -> NDArray[np.float32]:
    return np.asarray(tensor.float().cpu(), dtype=np.float32)


def _network_size(rgb: NDArray[np.uint8], long_side_px: int) -> tuple[int, int]:
    """(width, height) with the frame's shape, in multiples that no network has to pad."""
    height, width = rgb.shape[:2]
    scale = long_side_px / max(height, width) / _SIDE_MULTIPLE_PX
    sides = [max(round(side * scale), 1) * _SIDE_MULTIPLE_PX for side in (width, height)]
    return sides[0], sides[1]
