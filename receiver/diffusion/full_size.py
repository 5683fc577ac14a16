"""The full-size generator: SD-Turbo with a ControlNet, a tiny codec, and memory for past frames.

    freshest picture ─► enlarged ─► TAESD ─► noised ─► 1-4 denoising steps ─► TAESD ─► frame
    contours, sketch ─► soft edges ─► ControlNet ─────────┤
    caption ─► the checkpoint's own CLIP ─────────────────┤
    past frames ─► keys and values of self-attention ─────┘

Nothing here is trained by us: what the weights do not know (time, our conditions) enters through
what they do know. The noise is drawn once a stream, so what stands still does not flicker.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from receiver.cuts import CutFinder
from receiver.diffusion.attention_cache import AttentionCache
from receiver.diffusion.checkpoints import FullSizeNetworks, installed_networks
from receiver.diffusion.conditions import edges_of, to_condition_size
from receiver.generator import Conditions, GeneratorContext
from semcast.generators import GENERATORS
from semcast.networks.pixels import to_pixels, to_unit
from semcast.session import Modality

SHORT_SIDE_PX = 512
"""SD-Turbo was made for 512x512 and falls apart at 256x256: smaller frames are enlarged to it."""

SIZE_MULTIPLE = 64
"""Stride 8 of the codec, three halvings in the U-Net."""

NUM_STEPS = 2
START_SIGMA = 0.5
"""Share of the noise schedule that a picture is noised to. With two steps these are the time steps
499 and 249, two of the four that SD-Turbo was distilled at; not yet tuned on real weights."""

WINDOW_FRAMES = 2
"""Each past frame adds as many keys as the present one has; with the sink, four times as many."""

_STRIDE = 8
_TIME_STEPS = 1000
_STARTS_FROM = (Modality.VIDEO, Modality.KEYFRAME, Modality.LOWRES)


def time_steps(start_sigma: float, num_steps: int) -> list[int]:
    """Equal steps from a share of the noise schedule down; at 1, SD-Turbo's "trailing" spacing.

    start_sigma: in (0, 1]. Raises ValueError out of range.
    """
    if not 0 < start_sigma <= 1 or num_steps < 1:
        raise ValueError("start_sigma is in (0, 1], num_steps at least 1")
    first = start_sigma * _TIME_STEPS
    return [max(0, round(first * (1 - k / num_steps)) - 1) for k in range(num_steps)]


def working_size(width: int, height: int, short_side_px: int = SHORT_SIDE_PX) -> tuple[int, int]:
    """Width and height that the networks see: multiples of 64, of about the frame's shape.

    The short side is short_side_px, or less where the long one would be more than twice that.
    """
    scale = min(short_side_px / min(width, height), 2 * short_side_px / max(width, height))
    working_width, working_height = (
        max(SIZE_MULTIPLE, round(side * scale / SIZE_MULTIPLE) * SIZE_MULTIPLE)
        for side in (width, height)
    )
    return working_width, working_height


def freshest_picture(conditions: Conditions) -> Modality | None:
    """Of which modality the newest picture is; of those that came together, the truest."""
    here = [modality for modality in _STARTS_FROM if modality in conditions.pictures]
    return min(here, key=lambda kind: conditions.age_frames.get(kind, 0), default=None)


def soft_edges(conditions: Conditions, width: int, height: int) -> NDArray[np.float32] | None:
    """Outlines of labels and strokes of the sketch, [height, width], 0 to 1; None for neither.

    White on black and a little blurred, as the soft edges (HED) that the ControlNet learnt from.
    """
    edges = None
    if conditions.labels is not None:
        outlines = edges_of(conditions.labels).astype(np.uint8)
        edges = cv2.GaussianBlur(to_condition_size(outlines * 255, width, height), (3, 3), 0)
    if conditions.sketch is not None:
        strokes = to_condition_size(conditions.sketch, width, height)
        edges = strokes if edges is None else np.maximum(edges, strokes)
    return None if edges is None else np.asarray(edges / np.float32(255), np.float32)


def denoise(
    networks: FullSizeNetworks,
    cache: AttentionCache,
    latent: Tensor | None,
    noise: Tensor,
    embedded: Tensor,
    edges: Tensor | None,
    steps: list[int],
    text_weight: float = 0.0,
) -> Tensor:
    """A clean latent [1, 4, h, w], float32, by deterministic steps (DDIM, arXiv 2010.02502).

    latent: of the picture at hand; None starts from noise. embedded: captions [R, 77, D]. With one
    (R = 1), U-Net and ControlNet hear it. With two, the first goes with the edges and the second
    without: eps = eps(edges) + text_weight (eps(text) - eps(edges)), eq. (2) of GVSC (arXiv
    2502.13838). edges: [1, 3, H, W], 0 to 1. steps: time steps, falling.
    """
    rows = len(embedded)
    signals = [float(networks.signal_shares[step]) for step in steps] + [1.0]
    x: Tensor = (1 - signals[0]) ** 0.5 * noise
    if latent is not None:
        x = x + signals[0] ** 0.5 * latent
    for index, (step, (signal, following)) in enumerate(zip(steps, pairwise(signals), strict=True)):
        given = x.to(networks.dtype)
        at = torch.tensor([step], device=networks.device)
        residuals: tuple[list[Tensor] | None, Tensor | None] = (None, None)
        if edges is not None:
            down, middle = networks.controlnet(
                given, at, embedded[:1], controlnet_cond=edges, return_dict=False
            )
            residuals = [_first_of(rows, part) for part in down], _first_of(rows, middle)
        said = networks.unet(
            given.expand(rows, -1, -1, -1),
            at.expand(rows),
            embedded,
            down_block_additional_residuals=residuals[0],
            mid_block_additional_residual=residuals[1],
            cross_attention_kwargs={"cache": cache, "step": index},
            return_dict=False,
        )[0].float()
        eps: Tensor = said[:1] if rows == 1 else said[:1] + text_weight * (said[1:] - said[:1])
        clean = (x - (1 - signal) ** 0.5 * eps) / signal**0.5
        x = following**0.5 * clean + (1 - following) ** 0.5 * eps
    return x


class FullSizeGenerator:
    """Frames from whatever there is: pictures, contours, a sketch, a caption; any may be missing.

    window_frames: past frames that the next one sees, besides that of the newest key picture.
    short_side_px: of the pictures that the networks see.
    """

    name = "sd-turbo"
    modalities = GENERATORS["sd-turbo"].modalities

    def __init__(
        self,
        networks: FullSizeNetworks,
        window_frames: int = WINDOW_FRAMES,
        short_side_px: int = SHORT_SIDE_PX,
    ) -> None:
        self._networks, self._short_side_px = networks, short_side_px
        on_gpu = networks.device.type == "cuda"
        self.device = torch.cuda.get_device_name(networks.device) if on_gpu else "cpu"
        self._cache = AttentionCache(window_frames)
        self.cached_frames = self.cache_resets = 0
        self._context: GeneratorContext | None = None
        self._noise = torch.empty(0)
        self._cuts = CutFinder()
        self._had_picture = False

    @property
    def cache_bytes(self) -> int:
        """Memory that the past takes, the same however long the stream."""
        return self._cache.num_bytes

    def reset(self, context: GeneratorContext) -> None:
        """Forgets everything and draws the stream's noise from its seed."""
        self._context = context
        self._cache.reset()
        self.cached_frames = self.cache_resets = 0
        self._cuts = CutFinder()
        self._had_picture = False
        width, height = working_size(context.width, context.height, self._short_side_px)
        channels = self._networks.unet.config.in_channels
        drawn = torch.Generator().manual_seed(context.seed)
        shape = (1, channels, height // _STRIDE, width // _STRIDE)
        self._noise = torch.randn(shape, generator=drawn).to(self._networks.device)

    def step(self, conditions: Conditions) -> NDArray[np.uint8]:
        """The frame that all that is at hand, and the frames before, suggest."""
        if self._context is None:
            raise RuntimeError("reset() comes before step()")
        context = self._context
        source = freshest_picture(conditions)
        picture = None if source is None else conditions.pictures[source]
        came = [kind for kind in conditions.pictures if conditions.age_frames.get(kind, 0) == 0]
        self._forget_at_a_cut(picture, is_new=source in came)
        self._cache.begin_frame(is_sink=Modality.KEYFRAME in came)
        with torch.inference_mode():
            frame = self._make(conditions, picture)
        self.cached_frames = self._cache.cached_frames
        return to_condition_size(frame, context.width, context.height)

    def _make(self, conditions: Conditions, picture: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        networks, context = self._networks, self._context
        assert context is not None
        width, height = working_size(context.width, context.height, self._short_side_px)
        latent = None
        if picture is not None:
            enlarged = np.array(to_condition_size(picture, width, height))[None]
            pixels = to_unit(torch.from_numpy(enlarged).to(networks.device))
            latent = networks.codec.encode(pixels.to(networks.dtype), return_dict=False)[0].float()
        drawn = soft_edges(conditions, width, height)
        edges = None
        if drawn is not None:
            edges = torch.from_numpy(drawn).to(networks.device, networks.dtype)
            edges = edges.expand(1, 3, -1, -1)
        embedded = networks.embed(conditions.caption)
        if context.guidance:
            embedded = torch.cat([networks.embed(""), embedded])
        clean = denoise(
            networks,
            self._cache,
            latent,
            self._noise,
            embedded,
            edges,
            time_steps(1 if latent is None else START_SIGMA, context.num_steps or NUM_STEPS),
            _text_weight(context.guidance, conditions.caption, edges is not None),
        )
        decoded = networks.codec.decode(clean.to(networks.dtype), return_dict=False)[0]
        made: NDArray[np.uint8] = to_pixels(decoded)[0].numpy()
        return made

    def _forget_at_a_cut(self, picture: NDArray[np.uint8] | None, is_new: bool) -> None:
        """Past frames of another scene would be copied from; so would those made of noise alone."""
        is_cut = (picture is not None) != self._had_picture
        self._had_picture = picture is not None
        if picture is not None and is_new:
            is_cut = self._cuts.is_cut(picture) or is_cut
        if is_cut and self._cache.cached_frames:
            self._cache.reset()
            self.cache_resets += 1


def _text_weight(guidance: float, caption: str, has_edges: bool) -> float:
    """omega of eq. (2); where there is only one of text and edges, that one alone counts."""
    if not caption:
        return 0.0
    return guidance if has_edges else 1.0


def _first_of(rows: int, residual: Tensor) -> Tensor:
    """What the ControlNet says, for the first row only: [rows, C, h, w]."""
    if rows == 1:
        return residual
    return torch.cat([residual, residual.new_zeros(rows - 1, *residual.shape[1:])])


def sd_turbo_generator() -> FullSizeGenerator:
    """The generator with this machine's weights, on the GPU where there is one.

    Raises UnavailableError that says what to install or pull.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return FullSizeGenerator(installed_networks("sd-turbo", device))
