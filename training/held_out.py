"""Figures on held-out pictures, the same ones that `semcast send` reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from semcast.metrics.perceptual import LpipsScorer
from semcast.metrics.psnr import psnr_db
from semcast.metrics.ssim import ssim
from semcast.metrics.weights import MetricWeights
from semcast.networks.pixels import to_pixels, to_unit

Picture = NDArray[np.uint8]


def in_batches(
    make: Callable[[Tensor], Tensor], pictures: Picture, device: torch.device, size: int = 4
) -> Picture:
    """Runs pictures, uint8 [n, H, W, 3], through `make` ([B, 3, H, W] in -1..1 both ways)."""
    made = []
    for k in range(0, len(pictures), size):
        x = to_unit(torch.from_numpy(np.ascontiguousarray(pictures[k : k + size])).to(device))
        made.append(to_pixels(make(x)).numpy())
    return np.concatenate(made)


class PictureJudge:
    """PSNR, SSIM and LPIPS (SqueezeNet), each the mean over clips."""

    def __init__(self) -> None:
        self._lpips = LpipsScorer.squeezenet_caffe(MetricWeights.from_environment())

    def figures(self, pairs: Sequence[tuple[Picture, Picture]]) -> dict[str, float]:
        """pairs: (source, made) of each clip, uint8 [n, H, W, 3]."""
        psnrs, ssims, distances = [], [], []
        for source, made in pairs:
            psnrs.append(psnr_db(source, made))
            ssims.append(np.mean([ssim(a, b) for a, b in zip(source, made, strict=True)]))
            distances.append(np.mean(self._lpips.score(list(source), list(made))))
        return {
            "psnr_db": float(np.mean(psnrs)),
            "ssim": float(np.mean(ssims)),
            "lpips_squeeze_caffe": float(np.mean(distances)),
        }


def gradient_free(network: nn.Module) -> nn.Module:
    """A helper network that only judges or transforms: eval mode, no gradients of its own."""
    return network.eval().requires_grad_(False)
