"""Time for an image model that was never taught it: self-attention that also sees past frames.

Training-free. Each self-attention of a diffusers U-Net appends to its own keys and values those
that the same layer had, at the same denoising step, for the last W frames and for the *sink*: the
frame of the newest key picture. Frames then copy look and colours from each other (the idea of
cross-frame attention, arXiv 2303.13439; window and sink as in Live2Diff, arXiv 2407.08701).
Attention does not mind the order of its keys, and a spatial layer's keys carry no time: nothing
kept ever has to be changed.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional


class AttentionCache:
    """Keys and values of past frames of one stream: a ring buffer per (denoising step, layer).

    Each buffer has a slot for the sink, then one for each frame of the window and the present one;
    what may be seen is one slice of it. A sink that is still in the window is not seen twice.
    Memory: steps x (window_frames + 2) x keys and values of all layers, from the first frame on.
    """

    def __init__(self, window_frames: int) -> None:
        """window_frames: W, past frames seen besides the sink; 0 or more, else ValueError."""
        if window_frames < 0:
            raise ValueError("window_frames is 0 or more")
        self.window_frames = window_frames
        self.reset()

    def reset(self) -> None:
        """Forgets all frames and gives their memory back."""
        self._buffers: dict[tuple[int, str], tuple[Tensor, Tensor]] = {}
        self._frame = -1
        self._sink_frame: int | None = None

    def begin_frame(self, is_sink: bool) -> None:
        """What is attended to from now on belongs to the next frame, which may be a new sink."""
        self._frame += 1
        if is_sink:
            self._sink_frame = self._frame

    @property
    def cached_frames(self) -> int:
        """Past frames that the next one will see."""
        following = self._frame + 1
        return min(following, self.window_frames) + self._sees_sink(following)

    @property
    def num_bytes(self) -> int:
        """Bytes held."""
        return sum(held.nbytes for buffers in self._buffers.values() for held in buffers)

    def with_past(self, step: int, layer: str, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Keeps the present frame's keys and values; gives them together with the past's.

        step: denoising step, from 0. key, value: [B, heads, N, width], of one shape for a stream.
        Gives views [B, heads, N * frames seen, width], good until the next frame.
        """
        if self._frame < 0:
            raise RuntimeError("begin_frame() comes before with_past()")
        num_places = key.shape[2]
        ring_slots = self.window_frames + 1
        where = (step, layer)
        if where not in self._buffers:
            shape = (*key.shape[:2], (1 + ring_slots) * num_places, key.shape[3])
            self._buffers[where] = (key.new_empty(shape), value.new_empty(shape))
        slot = 1 + self._frame % ring_slots
        slots_filled = 1 + min(self._frame + 1, ring_slots)
        first_slot = 0 if self._sees_sink(self._frame) else 1
        seen = []
        for held, new in zip(self._buffers[where], (key, value), strict=True):
            held[:, :, slot * num_places : (slot + 1) * num_places] = new
            if self._frame == self._sink_frame:
                held[:, :, :num_places] = new
            seen.append(held[:, :, first_slot * num_places : slots_filled * num_places])
        return seen[0], seen[1]

    def _sees_sink(self, frame: int) -> bool:
        """Is there a sink, and has it left the window of this frame?"""
        return self._sink_frame is not None and self._sink_frame < frame - self.window_frames


class CachedAttention:
    """Attention processor of one layer; with no cache given, diffusers' own attention.

    A caller of the U-Net gives `cross_attention_kwargs={"cache": cache, "step": step}`. Layers
    that attend to a caption take no notice of it.
    """

    def __init__(self, layer: str) -> None:
        self._layer = layer

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        cache: AttentionCache | None = None,
        step: int = 0,
    ) -> Tensor:
        """hidden_states: [B, N, C]; encoder_hidden_states: [B, tokens, D]. Gives [B, N, C]."""
        assert attention_mask is None, "a picture's places and a padded caption have no mask"
        batch = len(hidden_states)
        attended = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            projected.view(batch, projected.shape[1], attn.heads, -1).transpose(1, 2)
            for projected in (
                attn.to_q(hidden_states),
                attn.to_k(attended),
                attn.to_v(attended),
            )
        )
        if cache is not None and encoder_hidden_states is None:
            key, value = cache.with_past(step, self._layer, key, value)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        mixed = mixed.transpose(1, 2).reshape(batch, query.shape[2], -1)
        result: Tensor = attn.to_out[1](attn.to_out[0](mixed))
        return result


def give_memory(unet: Any) -> None:
    """Puts a CachedAttention into every attention of a UNet2DConditionModel.

    Raises ValueError for a U-Net whose attention does more than that of Stable Diffusion.
    """
    for name, module in unet.named_modules():
        if hasattr(module, "set_processor"):
            extras = (module.group_norm, module.spatial_norm, module.norm_q, module.norm_k)
            plain = all(extra is None for extra in extras) and not module.norm_cross
            if not plain or module.residual_connection or module.rescale_output_factor != 1:
                raise ValueError(f"attention '{name}' is not a plain one: use an SD 1 or 2 U-Net")
            module.set_processor(CachedAttention(name))
