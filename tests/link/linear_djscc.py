"""A joint source-channel code whose every sum can be done by hand, in the network's own layers.

The grid holds the mean colour of each square of 8x8 pixels in -1..1, red, green and blue in its
first three channels and nothing in the fourth; the receiver paints each square with what it got
times `gain`. Nothing in it bends: biases keep every ReLU where it does nothing.

For a picture of flat squares whose values have a mean square of gain^2, of which the three colours
alone are sent, what arrives is the picture plus noise of variance N0 gain^2 a colour value (-1..1).
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from semcast.networks.djscc import Djscc

_LIFT = 40.0
"""Keeps noise of many standard deviations on the positive side."""


def _set(layer: nn.Module, bias: float = 0.0) -> torch.Tensor:
    """Weights of a convolution, all zero; bias in every channel."""
    convolution = cast(nn.Conv2d, layer)
    nn.init.zeros_(convolution.weight)
    assert convolution.bias is not None
    nn.init.constant_(convolution.bias, bias)
    return convolution.weight.data


def linear_djscc(gain: float) -> Djscc:
    """Three colours a square; grid_channels 4, of which the last is always 0."""
    network = Djscc(3, 4, (3, 3, 3), (3, 3, 3))
    first, second, third = (cast(nn.Sequential, s) for s in network.encoder.body.stages)
    means = _set(first[1], bias=_LIFT)
    for colour in range(3):
        means[colour, 4 * colour : 4 * colour + 4, 1, 1] = 0.25
    for stage in (second, third):
        halved = _set(stage[0])
        for colour in range(3):
            halved[colour, colour, 1:, 1:] = 0.25
    head = _set(network.encoder.head)
    assert network.encoder.head.bias is not None
    for colour in range(3):
        head[colour, colour, 1, 1] = 1
        network.encoder.head.bias.data[colour] = -_LIFT

    first, second, third = (cast(nn.Sequential, s) for s in network.decoder.body.stages)
    for layer, bias in ((first[0], _LIFT), (second[1], 0.0), (third[1], 0.0)):
        same = _set(layer, bias)
        for colour in range(3):
            same[colour, colour, 1, 1] = 1
    head = _set(network.decoder.head[0], bias=-gain * _LIFT)
    for colour in range(3):
        head[4 * colour : 4 * colour + 4, colour, 1, 1] = gain
    return network.eval().requires_grad_(False)


def squares(seed: int, width: int, height: int) -> NDArray[np.uint8]:
    """A picture of flat 8x8 squares, uint8 [height, width, 3], far from black and white."""
    rng = np.random.default_rng(seed)
    small = rng.integers(64, 192, (height // 8, width // 8, 3)).astype(np.uint8)
    return np.ascontiguousarray(small.repeat(8, 0).repeat(8, 1))


def unit_values(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """0..255 to -1..1, as networks see it."""
    return rgb.astype(np.float32) / np.float32(127.5) - 1
