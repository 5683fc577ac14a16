"""The small network that finds objects: picture and motion in, four kinds of probability out.

    6 planes [H, W] (see `segmenter_input`) -> features at 1/2, 1/4, 1/8, 1/16 of a side
    -> down the same way again, each size adding what it saw -> logits [7, H, W]

Plane 0 is the main object (what a viewer would say the video is of: it stands out, or moves
against its surroundings), 1 the outline of any object, 2.. the kind of thing at each pixel
(`KINDS`, softmax). Blocks are inverted residuals with depthwise convolutions (MobileNetV2, arXiv
1801.04381); at 1/16 a block adds the mean over the whole picture, so that each place knows the
scene. 0.41 GMAC at 160x160.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from semcast.weights import find_weights, read_weights

IN_PLANES = 6
MAIN, OUTLINE, FIRST_KIND = 0, 1, 2
KINDS = ("background", "person", "animal", "vehicle", "thing")
OUT_PLANES = FIRST_KIND + len(KINDS)

SIDE_MULTIPLE = 16
WEIGHTS = "segmenter"
DEFAULT_WIDTHS = (32, 48, 96, 160)


def _conv(a: int, b: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution and batch normalisation, which `fold` makes one."""
    return nn.Sequential(
        nn.Conv2d(a, b, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(b)
    )


class _Inverted(nn.Module):
    """1x1 up, 3x3 depthwise, 1x1 down; added to what came in where the size allows."""

    def __init__(
        self, a: int, b: int, stride: int = 1, expansion: int = 3, kernel: int = 3
    ) -> None:
        super().__init__()
        wide = expansion * a
        self.up = _conv(a, wide, 1)
        self.across = _conv(wide, wide, kernel, stride, groups=wide)
        self.down = _conv(wide, b, 1)
        self.adds = a == b and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.down(torch.relu(self.across(torch.relu(self.up(x)))))
        return x + y if self.adds else y


class _Scene(nn.Module):
    """Adds a function of the mean over the picture to every place."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        shift: Tensor = self.linear(x.mean((2, 3)))
        return x + shift[:, :, None, None]


class SegmenterNetwork(nn.Module):
    """Planes [B, 6, H, W], sides multiples of 16, to logits [B, 7, H, W]."""

    def __init__(self, widths: tuple[int, int, int, int] = DEFAULT_WIDTHS) -> None:
        super().__init__()
        a, b, c, d = widths
        self.widths = widths
        self.at_half = nn.Sequential(nn.PixelUnshuffle(2), _conv(4 * IN_PLANES, a), nn.ReLU())
        self.at_quarter = nn.Sequential(_Inverted(a, b, 2), _Inverted(b, b))
        self.at_eighth = nn.Sequential(_Inverted(b, c, 2), _Inverted(c, c), _Inverted(c, c))
        self.at_sixteenth = nn.Sequential(
            _Inverted(c, d, 2, kernel=5),
            *(_Inverted(d, d, kernel=5) for _ in range(4)),
            _Scene(d),
            nn.ReLU(),
        )
        self.from_sixteenth = _conv(d, c, 1)
        self.join_eighth = _Inverted(c, c)
        self.from_eighth = _conv(c, b, 1)
        self.join_quarter = _Inverted(b, b)
        self.from_quarter = _conv(b, a, 1)
        self.join_half = nn.Sequential(nn.ReLU(), _conv(a, a), nn.ReLU())
        self.head = nn.Sequential(nn.Conv2d(a, 4 * OUT_PLANES, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, planes: Tensor) -> Tensor:
        """planes: [B, 6, H, W]; logits [B, 7, H, W]."""
        half = self.at_half(planes)
        quarter = self.at_quarter(half)
        eighth = self.at_eighth(quarter)
        x = self.join_eighth(eighth + _twice(self.from_sixteenth(self.at_sixteenth(eighth))))
        x = self.join_quarter(quarter + _twice(self.from_eighth(x)))
        x = self.join_half(half + _twice(self.from_quarter(x)))
        logits: Tensor = self.head(x)
        return logits


def _twice(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def fold(network: SegmenterNetwork) -> None:
    """Makes each convolution and the normalisation after it one convolution, for eval only."""
    for module in network.modules():
        if (
            isinstance(module, nn.Sequential)
            and len(module) == 2
            and isinstance(module[0], nn.Conv2d)
            and isinstance(module[1], nn.BatchNorm2d)
        ):
            module[0] = torch.nn.utils.fusion.fuse_conv_bn_eval(module[0], module[1])
            module[1] = nn.Identity()


@functools.cache
def bundled_network() -> SegmenterNetwork:
    """The network that ships with this version, ready to run; once a process."""
    return build_network(*read_weights(find_weights(WEIGHTS)))


def build_network(state: dict[str, Tensor], header: dict[str, Any]) -> SegmenterNetwork:
    """A network from what a weight file holds; folded, eval mode, channels last."""
    network = SegmenterNetwork(tuple(header["config"]["widths"]))
    network.load_state_dict(state)
    network.eval().requires_grad_(False)
    fold(network)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
