"""PiDiNet (Su et al., ICCV 2021) from its published weights, to measure against and nothing else.

Its licence allows research use only, so it neither ships nor teaches. Written from the paper and
the shapes of the weights: three kinds of pixel difference convolutions, each folded into a plain
one (central: the kernel's sum off its centre; angular: the kernel less itself turned by one step;
radial: the outer ring of 5x5 against the inner), four stages of separable residual blocks, and from
each a side output by dilated convolutions, spatial attention and a 1x1 convolution.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_KINDS = ("central", "angular", "radial", "plain")
_TURNED = (3, 0, 1, 6, 4, 2, 7, 8, 5)
_OUTER = (0, 2, 4, 10, 14, 20, 22, 24)
_INNER = (6, 7, 8, 11, 13, 16, 17, 18)
_BLOCKS = (3, 4, 4, 4)


def _plain(weight: Tensor, kind: str) -> Tensor:
    """The ordinary kernel that does what a pixel difference kernel does."""
    flat = weight.flatten(2)
    if kind == "central":
        folded = flat.clone()
        folded[..., 4] -= flat.sum(-1)
        return folded.view_as(weight)
    if kind == "angular":
        return (flat - flat[..., list(_TURNED)]).view_as(weight)
    if kind == "radial":
        folded = torch.zeros(*flat.shape[:2], 25)
        folded[..., list(_OUTER)] = flat[..., 1:]
        folded[..., list(_INNER)] = -flat[..., 1:]
        return folded.view(*flat.shape[:2], 5, 5)
    return weight


class PidinetJudge:
    """Edge probabilities of the full-size network."""

    def __init__(self, path: Path) -> None:
        stored: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        self._weights = {k.removeprefix("module."): v for k, v in stored["state_dict"].items()}
        kinds = (_KINDS[k % 4] for k in range(16))
        names = ["init_block", *(f"block{s + 1}_{b}" for s in range(4) for b in self._numbers(s))]
        for name, kind in zip(names, kinds, strict=True):
            key = "init_block.weight" if name == "init_block" else f"{name}.conv1.weight"
            self._weights[key] = _plain(self._weights[key], kind)
        self._mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
        self._std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)

    @staticmethod
    def _numbers(stage: int) -> range:
        return range(1, _BLOCKS[stage] + 1)

    def _conv(self, x: Tensor, name: str, dilation: int = 1, groups: int = 1) -> Tensor:
        weight = self._weights[f"{name}.weight"]
        padding = dilation * (weight.shape[-1] // 2)
        return functional.conv2d(
            x, weight, self._weights.get(f"{name}.bias"), 1, padding, dilation, groups
        )

    def _block(self, x: Tensor, name: str, shrink: bool) -> Tensor:
        short = x
        if shrink:
            x = functional.max_pool2d(x, 2, 2)
            short = self._conv(x, f"{name}.shortcut")
        hidden = torch.relu(self._conv(x, f"{name}.conv1", groups=x.shape[1]))
        return self._conv(hidden, f"{name}.conv2") + short

    def _side(self, x: Tensor, stage: int, size: tuple[int, int]) -> Tensor:
        name = f"dilations.{stage}"
        x = self._conv(torch.relu(x), f"{name}.conv1")
        x = sum(  # type: ignore[assignment]
            self._conv(x, f"{name}.conv2_{k}", dilation=d) for k, d in enumerate((5, 7, 9, 11), 1)
        )
        name = f"attentions.{stage}"
        seen = self._conv(self._conv(torch.relu(x), f"{name}.conv1"), f"{name}.conv2")
        x = self._conv(x * seen.sigmoid(), f"conv_reduces.{stage}.conv")
        return functional.interpolate(x, size, mode="bilinear", align_corners=False)

    @torch.inference_mode()
    def probability(self, rgb: Any) -> Any:
        """float32 [H, W] of a picture, uint8 [H, W, 3]."""
        x = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
        size = (rgb.shape[0], rgb.shape[1])
        x = self._conv((x - self._mean) / self._std, "init_block")
        sides = []
        for stage in range(4):
            for number in self._numbers(stage):
                x = self._block(x, f"block{stage + 1}_{number}", stage > 0 and number == 1)
            sides.append(self._side(x, stage, size))
        return self._conv(torch.cat(sides, 1), "classifier").sigmoid()[0, 0].numpy()
