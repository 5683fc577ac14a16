"""LPIPS: distance of two pictures in the features of a classifier (Zhang et al., CVPR 2018).

`lpips` is the calibrated metric: AlexNet with the heads of the `lpips` package, version 0.1.
`lpips_squeeze_caffe` puts that package's SqueezeNet heads on SqueezeNet 1.1 weights that were
trained elsewhere (DeepScale's, converted from Caffe). The heads were not fitted to those features,
so it orders distortions sensibly but is not on the scale of any published LPIPS: compare its values
with each other only.

0 for identical pictures, larger is worse.
"""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from semcast.metrics.weights import MetricUnavailableError, MetricWeights

if TYPE_CHECKING:
    import torch

MIN_SIDE = 32
"""Shorter sides leave nothing of the deepest features."""


class LpipsScorer:
    """LPIPS of batches of pictures. Build with `alexnet` or `squeezenet_caffe`."""

    def __init__(self, network: torch.nn.Module, device: str) -> None:
        self.network = network.to(device)
        self._device = device

    @classmethod
    def alexnet(cls, weights: MetricWeights, device: str = "cpu") -> LpipsScorer:
        """The calibrated LPIPS. MetricUnavailableError if torchvision's AlexNet is not at hand."""
        try:
            import torch
            from torchvision.models import AlexNet_Weights
        except ImportError as error:
            raise MetricUnavailableError(_missing_extra(error)) from error
        file_name = AlexNet_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[-1]
        cached = Path(torch.hub.get_dir()) / "checkpoints" / file_name
        path = weights.find(file_name) or (cached if cached.is_file() else None)
        if path is not None:
            try:
                state = torch.load(path, map_location="cpu", weights_only=True)
            except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
                raise MetricUnavailableError(f"{path.name} cannot be read: {error}") from error
        elif weights.allow_downloads:
            try:
                state = AlexNet_Weights.IMAGENET1K_V1.get_state_dict(progress=False)
            except (OSError, RuntimeError) as error:
                raise MetricUnavailableError(f"AlexNet cannot be downloaded: {error}") from error
        else:
            raise MetricUnavailableError(
                f"torchvision's AlexNet weights ({file_name}) are not on this machine: put the "
                "file into SEMCAST_WEIGHTS_DIR, or set SEMCAST_ALLOW_DOWNLOADS=1"
            )
        return cls(_with_backbone("alex", state), device)

    @classmethod
    def squeezenet_caffe(cls, weights: MetricWeights, device: str = "cpu") -> LpipsScorer:
        """LPIPS on DeepScale's SqueezeNet. MetricUnavailableError if its file is not at hand."""
        path = weights.squeezenet()
        try:
            from safetensors import SafetensorError
            from safetensors.torch import load_file
        except ImportError as error:
            raise MetricUnavailableError(_missing_extra(error)) from error
        try:
            state = load_file(path)
        except (OSError, SafetensorError) as error:
            raise MetricUnavailableError(f"{path.name} cannot be read: {error}") from error
        return cls(_with_backbone("squeeze", state), device)

    def score(
        self, sources: list[NDArray[np.uint8]], received: list[NDArray[np.uint8]]
    ) -> list[float]:
        """LPIPS of each pair of pictures [H, W, 3], uint8, all of one shape, sides >= 32."""
        import torch

        if min(sources[0].shape[:2]) < MIN_SIDE:
            raise MetricUnavailableError(f"pictures with a side under {MIN_SIDE} are too small")
        with torch.inference_mode():
            distances = self.network(self._batch(sources), self._batch(received))
        return [float(distance) for distance in distances.flatten().cpu()]

    def _batch(self, pictures: list[NDArray[np.uint8]]) -> torch.Tensor:
        """[n, 3, H, W] float32, -1 to 1."""
        import torch

        stacked = torch.from_numpy(np.stack(pictures)).to(self._device)
        return stacked.permute(0, 3, 1, 2).float() / 127.5 - 1


def _with_backbone(network: str, state: dict[str, Any]) -> torch.nn.Module:
    """The `lpips` package's network with its own heads and a backbone from torchvision's keys."""
    try:
        import torch

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import lpips
    except ImportError as error:
        raise MetricUnavailableError(_missing_extra(error)) from error
    # The backbone is created at random before it is overwritten; that must not shift anybody
    # else's random numbers.
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        model = lpips.LPIPS(net=network, pnet_rand=True, verbose=False)
    # Their keys are slice<j>.<layer>.<name>, torchvision's features.<layer>.<name>.
    try:
        backbone = {
            key: state["features." + key.split(".", 1)[1]] for key in model.net.state_dict()
        }
        model.net.load_state_dict(backbone)
    except (KeyError, RuntimeError) as error:
        raise MetricUnavailableError(
            f"the {network} weights do not have torchvision's layout: {error}"
        ) from error
    model.eval().requires_grad_(False)
    return model  # type: ignore[no-any-return]


def _missing_extra(error: ImportError) -> str:
    return f'needs the "models" extra of semcast ({error.name} is not installed)'
