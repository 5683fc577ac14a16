"""The bundled generator: latent codec and tiny backbone, frame by frame.

    received picture ─► degraded latent ─► noised ─► denoising ─► decode ─► made to agree ─► frame

The noise is drawn once a stream and kept: the same picture gives the same frame, and what stands
still does not flicker.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from receiver.diffusion.backbone import CONDITION_DOWNSCALE, SIZE_MULTIPLE, Backbone
from receiver.diffusion.latent_codec import LATENT_CHANNELS, LatentCodec
from receiver.diffusion.sampler import sample
from receiver.generator import Conditions, GeneratorContext
from semcast.generators import GENERATORS
from semcast.networks.pixels import to_pixels, to_unit
from semcast.networks.transforms import DOWNSCALE
from semcast.session import Modality
from semcast.weights import find_weights, read_weights

LATENT_CODEC = "latent_codec"
BACKBONE = "backbone"

NUM_STEPS = 1
START_SIGMA = 0.6

_MID_GREY = 128
_LEAST_SIDE = 64


@dataclass(frozen=True)
class TinyNetworks:
    """Both networks, in eval mode, on one device."""

    codec: LatentCodec
    backbone: Backbone
    device: torch.device


@functools.cache
def bundled_networks(device: str) -> TinyNetworks:
    """The networks that ship with this version, loaded once a process."""
    codec, backbone = LatentCodec(), Backbone()
    for network, name in ((codec, LATENT_CODEC), (backbone, BACKBONE)):
        state, _ = read_weights(find_weights(name))
        network.load_state_dict(state)
        network.eval().requires_grad_(False)
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return TinyNetworks(codec, backbone, torch.device(device))


def to_condition_size(picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """A received picture at the size the degraded encoder takes; uint8 [height, width, 3]."""
    if picture.shape[:2] == (height, width):
        return picture
    shrinks = picture.shape[0] > height
    kind = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (width, height), interpolation=kind), np.uint8)


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
    """Frames from low-res pictures; grey before the first comes.

    num_steps: denoising steps a frame. start_sigma: noise level they start from, in (0, 1].
    """

    name = "tiny"
    modalities = GENERATORS["tiny"].modalities
    cached_frames = cache_resets = 0

    def __init__(
        self,
        networks: TinyNetworks,
        num_steps: int = NUM_STEPS,
        start_sigma: float = START_SIGMA,
    ) -> None:
        self._networks = networks
        on_gpu = networks.device.type == "cuda"
        self.device = torch.cuda.get_device_name(networks.device) if on_gpu else "cpu"
        self._num_steps, self._start_sigma = num_steps, start_sigma
        self._context: GeneratorContext | None = None
        self._noise = torch.empty(0)

    def reset(self, context: GeneratorContext) -> None:
        """Draws the stream's noise from its seed."""
        self._context = context
        width, height = self._working_size(context)
        drawn = torch.Generator().manual_seed(context.seed)
        shape = (1, LATENT_CHANNELS, height // DOWNSCALE, width // DOWNSCALE)
        self._noise = torch.randn(shape, generator=drawn).to(self._networks.device)

    def step(self, conditions: Conditions) -> NDArray[np.uint8]:
        """The frame that the newest low-res picture suggests."""
        if self._context is None:
            raise RuntimeError("reset() comes before step()")
        frame_size = (self._context.width, self._context.height)
        picture = conditions.pictures.get(Modality.LOWRES)
        if picture is None:
            return np.full((frame_size[1], frame_size[0], 3), _MID_GREY, np.uint8)
        width, height = self._working_size(self._context)
        small = to_condition_size(
            picture, width // CONDITION_DOWNSCALE, height // CONDITION_DOWNSCALE
        )
        with torch.inference_mode():
            given = torch.from_numpy(np.array(small)[None]).to(self._networks.device)
            frame: NDArray[np.uint8] = to_pixels(self._generate(to_unit(given)))[0].numpy()
        if (width, height) != frame_size:
            resized = cv2.resize(frame, frame_size, interpolation=cv2.INTER_AREA)
            frame = np.asarray(resized, np.uint8)
        return agreeing(frame, picture)

    def _generate(self, picture: Tensor) -> Tensor:
        codec, backbone = self._networks.codec, self._networks.backbone
        degraded = backbone.degraded(picture)
        latent = sample(
            lambda x, sigma: backbone(x, sigma, degraded),
            degraded,
            self._noise,
            self._start_sigma,
            self._num_steps,
        )
        return codec.decode(latent)

    @staticmethod
    def _working_size(context: GeneratorContext) -> tuple[int, int]:
        """Width and height that the networks work at: up to the next multiple."""
        width, height = (
            max(_LEAST_SIDE, -(-side // SIZE_MULTIPLE) * SIZE_MULTIPLE)
            for side in (context.width, context.height)
        )
        return width, height


def tiny_generator() -> TinyGenerator:
    """The generator with the bundled weights, on the GPU where there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return TinyGenerator(bundled_networks(device))
