"""How far a picture is from another, for training: pixels, SqueezeNet features, a critic."""

from __future__ import annotations

import itertools

from torch import Tensor, nn
from torch.nn import functional

from semcast.metrics.perceptual import LpipsScorer
from semcast.metrics.weights import MetricWeights


class PerceptualLoss(nn.Module):
    """LPIPS on SqueezeNet features: the differentiable side of `lpips_squeeze_caffe`.

    Frozen. Raises MetricUnavailableError where the SqueezeNet file or the lpips package is missing.
    """

    def __init__(self, weights: MetricWeights | None = None) -> None:
        super().__init__()
        scorer = LpipsScorer.squeezenet_caffe(weights or MetricWeights.from_environment())
        self._network = scorer.network

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Mean distance of pictures [B, 3, H, W] in -1..1, sides at least 32."""
        return self.distances(x, y).mean()

    def distances(self, x: Tensor, y: Tensor) -> Tensor:
        """Distance of each of such pictures, [B]."""
        distance: Tensor = self._network(x, y)
        return distance.flatten()


class Critic(nn.Module):
    """Tells real patches from made ones: a few strided convolutions with spectral norm.

    Light: it corrects texture after L1 and features have set the picture, and never rules.
    """

    def __init__(self, in_channels: int = 3, width: int = 48) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.spectral_norm
        widths = [in_channels, width, 2 * width, 4 * width]
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(widths):
            layers += [norm(nn.Conv2d(a, b, 4, stride=2, padding=1)), nn.LeakyReLU(0.2)]
        layers += [norm(nn.Conv2d(widths[-1], 1, 3, padding=1))]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, in, H, W]. Scores of patches, [B, 1, H/8, W/8]; high means real."""
        scores: Tensor = self.layers(x)
        return scores


def critic_hinge(real: Tensor, made: Tensor) -> Tensor:
    """Hinge loss of the critic (Lim & Ye, 2017)."""
    return (functional.relu(1 - real) + functional.relu(1 + made)).mean()


def pixel_l1(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference; smooth within a grey level, where L1 would only shake."""
    return functional.smooth_l1_loss(x, y, beta=1 / 127.5)
