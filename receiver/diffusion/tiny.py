"""The bundled generator: latent codec, tiny backbone and adapters, a frame at a time.

    received picture ─► degraded latent ─► noised ─► denoising ─► decode ─► made to agree ─► frame
    contours, sketch, caption, SNR, ages ─► adapters ──┘ └── keys and values of frames before

The noise is drawn once a stream and kept: the same picture gives the same frame, and what stands
still does not flicker.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from receiver.cuts import CutFinder
from receiver.diffusion.adapters import SITES, TEMPORAL_SHAPES, Adapters, Given, joined
from receiver.diffusion.backbone import SIZE_MULTIPLE, Backbone
from receiver.diffusion.conditions import (
    CONDITION_DOWNSCALE,
    control_planes,
    degraded_modality,
    facts_of,
    to_condition_size,
)
from receiver.diffusion.latent_codec import LATENT_CHANNELS, LatentCodec
from receiver.diffusion.network import TinyDiffusion
from receiver.diffusion.sampler import sample
from receiver.diffusion.temporal import TemporalCache, step_streams
from receiver.diffusion.text import CaptionEncoder, caption_encoder
from receiver.generator import Conditions, GeneratorContext
from semcast.generators import GENERATORS
from semcast.networks.pixels import to_pixels, to_unit
from semcast.networks.transforms import DOWNSCALE
from semcast.session import Modality
from semcast.weights import find_weights, read_weights

LATENT_CODEC = "latent_codec"
DIFFUSION = "tiny"
"""Weight files."""

NUM_STEPS = 1
START_SIGMA = 0.6
"""Where denoising starts from a degraded latent; without one it starts from noise."""

_MID_GREY = 128
_LEAST_SIDE = 64


@dataclass(frozen=True)
class TinyNetworks:
    """All networks, in eval mode, on one device. captions: None where they are not looked at."""

    codec: LatentCodec
    backbone: Backbone
    adapters: Adapters
    device: torch.device
    captions: CaptionEncoder | None = None


@functools.cache
def bundled_networks(device: str) -> TinyNetworks:
    """The networks that ship with this version, loaded once a process."""
    codec, diffusion = LatentCodec(), TinyDiffusion()
    for network, name in ((codec, LATENT_CODEC), (diffusion, DIFFUSION)):
        state, _ = read_weights(find_weights(name))
        network.load_state_dict(state)
        network.eval().requires_grad_(False)
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    on = torch.device(device)
    return TinyNetworks(codec, diffusion.backbone, diffusion.adapters, on, caption_encoder(on))


def agreeing(frame: NDArray[np.uint8], picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame changed so that, shrunk, it is the received picture: no drift of colour or light.

    The difference at the picture's size is enlarged and added (back-projection). On training clips
    sent at 5 dB and more this gained 0.8 dB and 1 % LPIPS over frames as the decoder gives them.
    """
    height, width = frame.shape[:2]
    shrunk = cv2.resize(frame, picture.shape[1::-1], interpolation=cv2.INTER_AREA)
    missing = picture.astype(np.float32) - shrunk
    change = cv2.resize(missing, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(np.rint(frame + change), 0, 255), np.uint8)


class TinyGenerator:
    """Frames from any subset of what it takes; grey before anything has come.

    num_steps: denoising steps a frame, where a session does not ask. start_sigma: noise level they
    start from, in (0, 1], where there is a picture.
    """

    name = "tiny"
    modalities = GENERATORS["tiny"].modalities

    def __init__(
        self,
        networks: TinyNetworks,
        num_steps: int = NUM_STEPS,
        start_sigma: float = START_SIGMA,
    ) -> None:
        self._networks = networks
        on_gpu = networks.device.type == "cuda"
        self.device = torch.cuda.get_device_name(networks.device) if on_gpu else "cpu"
        self._default_steps, self._start_sigma = num_steps, start_sigma
        self._context: GeneratorContext | None = None
        self._noise = torch.empty(0)
        self._caches: list[dict[str, TemporalCache]] = []
        self._key = _KeyPicture()
        self._cuts = CutFinder()
        self.cache_resets = 0

    @property
    def cached_frames(self) -> int:
        """Past frames that the next one is made with."""
        if not self._caches:
            return 0
        return min(self._caches[0][SITES[0]].num_frames, TEMPORAL_SHAPES[SITES[0]].window)

    def reset(self, context: GeneratorContext) -> None:
        """Draws the stream's noise from its seed; forgets all frames."""
        self._context = context
        width, height = self._working_size(context)
        drawn = torch.Generator().manual_seed(context.seed)
        shape = (1, LATENT_CHANNELS, height // DOWNSCALE, width // DOWNSCALE)
        self._noise = torch.randn(shape, generator=drawn).to(self._networks.device)
        self._caches = [
            {site: TemporalCache(TEMPORAL_SHAPES[site]) for site in SITES}
            for _ in range(context.num_steps or self._default_steps)
        ]
        self._key = _KeyPicture()
        self._cuts = CutFinder()
        self.cache_resets = 0

    def step(self, conditions: Conditions) -> NDArray[np.uint8]:
        """The frame that follows, by what the receiver has."""
        return _step_streams([self], [conditions])[0]

    @classmethod
    def step_together(
        cls, generators: Sequence[TinyGenerator], conditions: Sequence[Conditions]
    ) -> list[NDArray[np.uint8]]:
        """The next frames of several streams; see `StepsTogether`.

        On a GPU as one batch. A CPU gains nothing by that, and alone each frame is the same to the
        last bit whoever else is served.
        """
        if generators[0]._networks.device.type == "cpu":
            return [made.step(given) for made, given in zip(generators, conditions, strict=True)]
        return _step_streams(generators, conditions)

    def _meet(self, conditions: Conditions) -> None:
        """Forgets at a cut; gets to know a new key picture."""
        modality = degraded_modality(conditions)
        if modality and self._cuts.is_cut(conditions.pictures[modality]):
            for caches in self._caches:
                for cache in caches.values():
                    cache.clear()
            self.cache_resets += 1
        picture = conditions.pictures.get(Modality.KEYFRAME)
        if picture is None or not self._key.is_new(picture):
            return
        self._key = _KeyPicture(picture, self._encoded(picture))
        if conditions.age_frames.get(Modality.KEYFRAME) != 0:
            # Its own frame was never made: it is made now, to be remembered.
            alone = Conditions({Modality.KEYFRAME: picture}, {Modality.KEYFRAME: 0})
            _denoise([self], [alone])
            self._keep_newest()

    def _keep_newest(self) -> None:
        for caches in self._caches:
            for cache in caches.values():
                cache.keep_newest()

    def _encoded(self, picture: NDArray[np.uint8]) -> Tensor:
        given = torch.from_numpy(_batch_of_one(to_condition_size(picture, *self._size)))
        return self._networks.codec.encode(to_unit(given.to(self._networks.device)))

    def _given(self, conditions: Conditions) -> Given:
        device = self._networks.device
        modality = degraded_modality(conditions)
        width, height = self._size
        small = (width // CONDITION_DOWNSCALE, height // CONDITION_DOWNSCALE)
        picture = np.full((small[1], small[0], 3), _MID_GREY, np.uint8)
        if modality:
            picture = to_condition_size(conditions.pictures[modality], *small)
        given = to_unit(torch.from_numpy(_batch_of_one(picture)).to(device))
        if modality == Modality.KEYFRAME:
            assert self._key.latent is not None
            degraded = self._key.latent
        else:
            degraded = self._networks.backbone.degraded(given)
        planes = control_planes(conditions, width, height)
        captions = self._networks.captions
        return Given(
            degraded=degraded,
            has_degraded=torch.tensor([modality is not None], device=device),
            picture=given,
            control=torch.from_numpy(planes[None]).to(device),
            facts=torch.from_numpy(facts_of(conditions)[None]).to(device),
            text=captions.tokens(conditions.caption) if captions and conditions.caption else None,
        )

    def _shown(self, frame: NDArray[np.uint8], conditions: Conditions) -> NDArray[np.uint8]:
        """A decoded frame at the session's size, made to agree with a low-res picture."""
        assert self._context is not None
        frame_size = (self._context.width, self._context.height)
        if self._size != frame_size:
            resized = cv2.resize(frame, frame_size, interpolation=cv2.INTER_AREA)
            frame = np.asarray(resized, np.uint8)
        if degraded_modality(conditions) == Modality.LOWRES:
            return agreeing(frame, conditions.pictures[Modality.LOWRES])
        return frame

    @property
    def _size(self) -> tuple[int, int]:
        """Width and height that the networks work at."""
        if self._context is None:
            raise RuntimeError("reset() comes before step()")
        return self._working_size(self._context)

    @staticmethod
    def _working_size(context: GeneratorContext) -> tuple[int, int]:
        """Width and height that the networks work at: up to the next multiple."""
        width, height = (
            max(_LEAST_SIDE, -(-side // SIZE_MULTIPLE) * SIZE_MULTIPLE)
            for side in (context.width, context.height)
        )
        return width, height


def _step_streams(
    generators: Sequence[TinyGenerator], conditions: Sequence[Conditions]
) -> list[NDArray[np.uint8]]:
    """The next frames of streams of equal size and steps, in one batch."""
    frames = [np.full((*made._size[::-1], 3), _MID_GREY, np.uint8) for made in generators]
    # Before anything has come there is nothing to make a frame of.
    at = [
        k for k, given in enumerate(conditions) if set(given.age_frames) & TinyGenerator.modalities
    ]
    if at:
        streams, given = [generators[k] for k in at], [conditions[k] for k in at]
        with torch.inference_mode():
            for stream, of_stream in zip(streams, given, strict=True):
                stream._meet(of_stream)
            latents = _denoise(streams, given)
            for stream, of_stream in zip(streams, given, strict=True):
                if of_stream.age_frames.get(Modality.KEYFRAME) == 0:
                    stream._keep_newest()
            pixels = to_pixels(streams[0]._networks.codec.decode(latents)).numpy()
        for k, decoded in zip(at, pixels, strict=True):
            frames[k] = decoded
    return [
        made._shown(frame, of_frame)
        for made, frame, of_frame in zip(generators, frames, conditions, strict=True)
    ]


def _denoise(streams: Sequence[TinyGenerator], conditions: Sequence[Conditions]) -> Tensor:
    """Latents of the next frames, [N, 16, h, w]; each stream remembers its own."""
    networks, num_steps = streams[0]._networks, len(streams[0]._caches)
    adapters = networks.adapters
    given = joined(
        [made._given(of_frame) for made, of_frame in zip(streams, conditions, strict=True)]
    )
    prepared = adapters.prepare(given)
    steps = iter(range(num_steps))

    def velocity(x: Tensor, sigma: Tensor) -> Tensor:
        step = next(steps)

        def remember(site: str, h: Tensor) -> Tensor:
            if site not in SITES:
                return h
            return step_streams(adapters.layer(site), [s._caches[step][site] for s in streams], h)

        hook = adapters.hook(prepared, remember)
        made: Tensor = networks.backbone(x, sigma, prepared.degraded, hook, prepared.embedding)
        return made

    starts = [
        s._start_sigma if degraded_modality(c) else 1.0
        for s, c in zip(streams, conditions, strict=True)
    ]
    noise = torch.cat([stream._noise for stream in streams])
    return sample(velocity, prepared.degraded, noise, starts, num_steps)


def _batch_of_one(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A copy, rows first whatever the original's layout: convolutions round by it."""
    return np.array(picture[None], order="C")


@dataclass(frozen=True)
class _KeyPicture:
    """The newest key picture and its latent."""

    picture: NDArray[np.uint8] | None = None
    latent: Tensor | None = None

    def is_new(self, picture: NDArray[np.uint8]) -> bool:
        """Whether another has come. One that is held stays the same array."""
        return self.picture is not picture


def tiny_generator() -> TinyGenerator:
    """The generator with the bundled weights, on the GPU where there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return TinyGenerator(bundled_networks(device))
