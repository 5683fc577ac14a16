"""Temporal Adapter: each place of a frame looks at its surroundings in the frames before it.

Causal attention over a window of past frames (arXiv 2602.13837, its figure 3; insides ours, after
Live2Diff's cache): keys and values are kept without position, and what tells their age is added
when they are read, so nothing kept ever changes. A few slots beside the window hold frames that
stay: key pictures. A place attends to the places within `radius` of it, since things move.

A step through the cache equals the same frames computed at once under the banded causal mask.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

_MASKED = -1e4
"""Added to logits of what must not be seen; finite in half precision too."""


@dataclass(frozen=True)
class TemporalShape:
    """window: past frames seen. sinks: slots for frames that stay. radius: of surroundings.

    key_width, value_width: of a head. Narrow: each is read from every slot at every place.
    """

    channels: int
    window: int = 6
    sinks: int = 1
    radius: int = 1
    heads: int = 4
    key_width: int = 8
    value_width: int = 12

    @property
    def slots(self) -> int:
        """Frames that one place may look at: this one, those before, those that stay."""
        return 1 + self.window + self.sinks


class TemporalAttention(nn.Module):
    """One layer of the adapter. Features [N, C, H, W] in and out; begins as the identity."""

    def __init__(self, shape: TemporalShape) -> None:
        super().__init__()
        self.shape = shape
        channels, heads = shape.channels, shape.heads
        self.norm = nn.GroupNorm(16, channels)
        self.query = nn.Conv2d(channels, heads * shape.key_width, 1, bias=False)
        self.key = nn.Conv2d(channels, heads * shape.key_width, 1, bias=False)
        self.value = nn.Conv2d(channels, heads * shape.value_width, 1, bias=False)
        self.by_age = nn.Parameter(torch.zeros(shape.slots, heads, shape.key_width))
        self.by_slot = nn.Parameter(torch.zeros(shape.slots, heads))
        self.by_place = nn.Parameter(torch.zeros(heads, (2 * shape.radius + 1) ** 2))
        self.out = nn.Conv2d(heads * shape.value_width, channels, 1)
        nn.init.zeros_(self.out.weight)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.bias)

    def project(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, and keys and values with a margin of `radius`, of features [N, C, H, W].

        Queries [N, heads, d, H, W]; keys [N, heads, d, H + 2r, W + 2r], values likewise.
        """
        shape, normed = self.shape, self.norm(h)
        margin = (shape.radius,) * 4

        def split(x: Tensor) -> Tensor:
            return x.reshape(len(x), shape.heads, -1, *x.shape[2:])

        query = split(self.query(normed)) / math.sqrt(shape.key_width)
        key = functional.pad(split(self.key(normed)), margin)
        return query, key, functional.pad(split(self.value(normed)), margin)

    def attend(
        self, h: Tensor, query: Tensor, keys: Tensor, values: Tensor, seen: Tensor
    ) -> Tensor:
        """Features [N, C, H, W] with what was found in the slots added.

        keys, values: [N, slots, heads, d, H + 2r, W + 2r]: this frame, the frame before, and so
        on, then those that stay. seen: bool [N, slots].
        """
        height, width = h.shape[-2:]
        offsets = [
            (slice(y, y + height), slice(x, x + width))
            for y in range(2 * self.shape.radius + 1)
            for x in range(2 * self.shape.radius + 1)
        ]
        slots = keys.shape[1]
        of_slot = torch.einsum("nkdyx,skd->nskyx", query, self.by_age[:slots])
        of_slot = of_slot + self.by_slot[:slots, :, None, None]
        of_slot = of_slot + torch.where(seen, 0.0, _MASKED)[:, :, None, None, None]
        asked = query[:, None]
        logits = torch.stack(
            [
                (asked * keys[..., rows, columns]).sum(3)
                + of_slot
                + self.by_place[None, None, :, place, None, None]
                for place, (rows, columns) in enumerate(offsets)
            ],
            2,
        )  # [N, slots, places, heads, H, W]
        share = logits.flatten(1, 2).softmax(1).reshape(logits.shape)
        found = torch.zeros_like(values[:, 0, ..., offsets[0][0], offsets[0][1]])
        for place, (rows, columns) in enumerate(offsets):
            found = found + (share[:, :, place, :, None] * values[..., rows, columns]).sum(1)
        added: Tensor = self.out(found.flatten(1, 2))
        return h + added

    def whole(self, h: Tensor, num_frames: int, stays_at: Tensor | None = None) -> Tensor:
        """All frames of windows at once, [B * num_frames, C, H, W], frames of a window together.

        stays_at: which of all those frames is the one that stays, as each frame sees it,
        [B * num_frames], -1 for none. There is one slot for them, whatever the shape says.
        """
        query, key, value = self.project(h)
        at, seen = band(len(h) // num_frames, num_frames, self.shape, h.device)
        keys, values = key[at], value[at]
        if stays_at is not None:
            index = stays_at.clamp_min(0)
            keys = torch.cat([keys, key[index][:, None]], 1)
            values = torch.cat([values, value[index][:, None]], 1)
            seen = torch.cat([seen, (stays_at >= 0)[:, None]], 1)
        return self.attend(h, query, keys, values, seen)


def band(
    num_windows: int, num_frames: int, shape: TemporalShape, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Which frames each frame of windows looks at, and whether it may: [N, 1 + window] each."""
    ages = torch.arange(1 + shape.window, device=device)
    times = torch.arange(num_frames, device=device)[:, None] - ages
    first = num_frames * torch.arange(num_windows, device=device)[:, None, None]
    at = first + times.clamp_min(0)
    seen = (times >= 0).expand(num_windows, -1, -1)
    return at.flatten(0, 1), seen.flatten(0, 1)


class TemporalCache:
    """Keys and values of one layer at one denoising step, in a ring; as much memory at any time."""

    def __init__(self, shape: TemporalShape) -> None:
        self._shape = shape
        self._keys: Tensor | None = None
        self._values: Tensor | None = None
        self._newest = 0
        self.num_frames = 0
        self.num_sinks = 0

    @property
    def num_bytes(self) -> int:
        """Of memory; the same from the first frame on."""
        kept = (self._keys, self._values)
        return sum(x.numel() * x.element_size() for x in kept if x is not None)

    def clear(self) -> None:
        """Forgets all frames, those that stay too."""
        self.num_frames = self.num_sinks = 0

    def keep_newest(self) -> None:
        """The newest frame stays, in place of the oldest of those that do."""
        if self._keys is None or self._values is None or not self.num_frames:
            raise RuntimeError("step() comes before keep_newest()")
        at = 1 + self._shape.window + self.num_sinks % self._shape.sinks
        self._keys[0, at], self._values[0, at] = (
            self._keys[0, self._newest],
            self._values[0, self._newest],
        )
        self.num_sinks += 1

    def step(self, layer: TemporalAttention, h: Tensor) -> Tensor:
        """The layer's output for the next frame, [1, C, H, W]; keeps its keys and values."""
        return step_streams(layer, [self], h)

    def push(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Keeps the next frame's; keys, values and which are seen, as `attend` takes them."""
        shape = self._shape
        keys, values = self._slots(key, value)
        ring = 1 + shape.window
        self._newest = (self._newest + 1) % ring
        keys[0, self._newest], values[0, self._newest] = key[0], value[0]
        self.num_frames = min(self.num_frames + 1, ring)
        ages = torch.arange(ring)
        order = torch.cat([(self._newest - ages) % ring, ring + torch.arange(shape.sinks)])
        seen = torch.cat([ages < self.num_frames, torch.arange(shape.sinks) < self.num_sinks])
        order = order.to(key.device)
        return keys[:, order], values[:, order], seen[None].to(key.device)

    def _slots(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        if self._keys is None or self._values is None or self._keys.shape[3:] != key.shape[2:]:
            slots = self._shape.slots
            self._keys = key.new_zeros(1, slots, *key.shape[1:])
            self._values = value.new_zeros(1, slots, *value.shape[1:])
            self.clear()
        return self._keys, self._values


def step_streams(layer: TemporalAttention, caches: Sequence[TemporalCache], h: Tensor) -> Tensor:
    """The next frames of several streams, [N, C, H, W], a cache each."""
    query, key, value = layer.project(h)
    kept = [cache.push(key[k : k + 1], value[k : k + 1]) for k, cache in enumerate(caches)]
    keys, values, seen = (torch.cat(of_streams) for of_streams in zip(*kept, strict=True))
    return layer.attend(h, query, keys, values, seen)
