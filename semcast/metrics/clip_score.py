"""CLIP score: do the source and the received picture mean the same?

The cosine of the angle between the CLIP image embeddings of the two pictures, -1 to 1. GVSC and
LGVSC plot a CLIP similarity of this kind; LGVSC's code gives (cosine + 1) / 2, ours is the plain
cosine. CLIP sees the picture's middle square at 224 x 224.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from semcast.metrics.hub import load_from_hub
from semcast.metrics.weights import HubModel, MetricUnavailableError, MetricWeights

CLIP_MODEL = HubModel("openai/clip-vit-base-patch32", "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268")


class ClipScorer:
    """CLIP score of batches of pictures. Build with `load`."""

    def __init__(self, network: Any, processor: Any, device: str) -> None:
        self._network = network.eval().to(device)
        self._processor = processor
        self._device = device

    @classmethod
    def load(
        cls, weights: MetricWeights, device: str = "cpu", model: HubModel = CLIP_MODEL
    ) -> ClipScorer:
        """Load CLIP. MetricUnavailableError if it is not at hand."""
        try:
            from transformers import CLIPImageProcessor, CLIPModel
        except ImportError as error:
            raise MetricUnavailableError(
                f'needs the "models" extra of semcast ({error.name} is not installed)'
            ) from error
        processor = load_from_hub(CLIPImageProcessor, model, weights)
        return cls(load_from_hub(CLIPModel, model, weights), processor, device)

    def score(
        self, sources: list[NDArray[np.uint8]], received: list[NDArray[np.uint8]]
    ) -> list[float]:
        """Cosine of each pair of pictures [H, W, 3], uint8."""
        embeddings = self._embed([*sources, *received])
        return row_cosines(embeddings[: len(sources)], embeddings[len(sources) :])

    def _embed(self, pictures: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """[n, d] float32, not normalised."""
        import torch

        pixels = self._processor(images=pictures, return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            features = self._network.get_image_features(pixel_values=pixels.to(self._device))
        return np.asarray(features.pooler_output.float().cpu(), dtype=np.float32)


def row_cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> list[float]:
    """Cosine between row i of a and row i of b, both [n, d]; 0 where a row is all zeros."""
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = np.sum(a * b, axis=1) / np.where(norms > 0, norms, 1)
    return [float(c) for c in np.clip(cosines, -1, 1)]
