"""What turns received semantics into frames: the interface, and the one that needs no network."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from receiver.drawing import draw_caption, draw_labels, draw_sketch
from semcast.errors import UnavailableError
from semcast.generators import AUTO, GENERATORS, GeneratorInfo, find_generator, pick_generator
from semcast.hub import HUB_MODELS, is_installed
from semcast.schemes import find_scheme
from semcast.session import Modality, SessionSetup
from semcast.weights import has_weights

logger = logging.getLogger(__name__)

_MID_GREY = 128


@dataclass(frozen=True, slots=True)
class GeneratorContext:
    """What a generator is told once: the size of its frames, their rate, its seed.

    num_steps: denoising steps a frame; 0 for as many as it likes. guidance: weight of its
    guidance, 0 for none. Generators that know neither take no notice.
    """

    width: int
    height: int
    fps: float
    seed: int
    num_steps: int = 0
    guidance: float = 0.0


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the receiver has at one frame. Any of it may be missing.

    pictures: the newest picture of each modality, [h, w, 3], uint8, RGB, of any size.
    age_frames: how many frames ago each modality came; 0 means with this frame.
    labels: [H, W], uint8, of the frame's size; 0 is background. sketch: [h, w], uint8, 255 on a
    stroke, less where it is unsure. motion: mean, frame widths a frame. caption: "" for none.
    snr_db: the receiver's estimate; None before the first.
    """

    pictures: Mapping[Modality, NDArray[np.uint8]]
    age_frames: Mapping[Modality, int]
    labels: NDArray[np.uint8] | None = None
    sketch: NDArray[np.uint8] | None = None
    motion: float | None = None
    caption: str = ""
    snr_db: float | None = None


class Generator(Protocol):
    """Makes one frame from one set of conditions. Nothing else may be asked of it.

    modalities: what it can make frames from. device: "cpu", or the name of a GPU.
    cached_frames: past frames that the next one is made with; 0 for a generator without memory.
    cache_resets: how often it has forgotten them of its own accord since `reset`, as at a cut.
    """

    name: str
    modalities: frozenset[Modality]
    device: str
    cached_frames: int
    cache_resets: int

    def reset(self, context: GeneratorContext) -> None:
        """Forgets everything; the next step is the first of a stream."""

    def step(self, conditions: Conditions) -> NDArray[np.uint8]:
        """Frame [height, width, 3], uint8, RGB. Any subset of modalities may be present."""


class PassthroughGenerator:
    """Bicubic upscale of the best picture at hand; without one, a drawing of what else there is.

    The stand-in for user interface and load tests, and the floor a trained model must beat.
    """

    name = "passthrough"

    modalities = GENERATORS["passthrough"].modalities
    device = "cpu"
    cached_frames = cache_resets = 0
    _best_first = (Modality.VIDEO, Modality.KEYFRAME, Modality.LOWRES)

    def __init__(self) -> None:
        self._context: GeneratorContext | None = None

    def reset(self, context: GeneratorContext) -> None:
        """Keeps the frame size; there is no other state."""
        self._context = context

    def step(self, conditions: Conditions) -> NDArray[np.uint8]:
        """The best picture, scaled to the frame size."""
        if self._context is None:
            raise RuntimeError("reset() comes before step()")
        width, height = self._context.width, self._context.height
        for modality in self._best_first:
            picture = conditions.pictures.get(modality)
            if picture is None:
                continue
            if picture.shape[:2] == (height, width):
                return picture
            scaled = cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC)
            return np.asarray(scaled, np.uint8)
        drawn = None
        if conditions.labels is not None:
            drawn = draw_labels(conditions.labels, width, height)
        if conditions.sketch is not None:
            drawn = draw_sketch(conditions.sketch, drawn, width, height)
        if drawn is None and conditions.caption:
            drawn = draw_caption(conditions.caption, width, height)
        return np.full((height, width, 3), _MID_GREY, np.uint8) if drawn is None else drawn


def _tiny() -> Generator:
    try:
        from receiver.diffusion.tiny import tiny_generator
    except ImportError as error:
        raise UnavailableError(
            f"Generator 'tiny' needs the \"models\" extra of semcast ({error.name} is missing)."
        ) from error
    return tiny_generator()


def _sd_turbo() -> Generator:
    try:
        from receiver.diffusion.full_size import sd_turbo_generator
    except ImportError as error:
        raise UnavailableError(
            f"Generator 'sd-turbo' needs the \"models\" extra of semcast ({error.name} is missing)."
        ) from error
    return sd_turbo_generator()


MAKERS: dict[str, Callable[[], Generator]] = {
    "passthrough": PassthroughGenerator,
    "tiny": _tiny,
    "sd-turbo": _sd_turbo,
}
"""How each generator of `semcast.generators` is made; networks are imported when asked for."""


def settle_generator(setup: SessionSetup) -> SessionSetup:
    """The set-up with "auto" replaced by the best generator that this receiver can run."""
    if setup.generator != AUTO:
        return setup
    name = pick_generator(find_scheme(setup.scheme).modalities, _can_run)
    logger.info("session %s: generator auto is %s here", setup.session_id, name)
    return setup.model_copy(update={"generator": name})


def _can_run(info: GeneratorInfo) -> bool:
    missing = [name for name in info.packages if importlib.util.find_spec(name) is None]
    missing += [name for name in info.weights if not has_weights(name)]
    if not missing and info.hub_model and not is_installed(HUB_MODELS[info.hub_model]):
        missing.append(f"{info.hub_model} on this machine")
    if not missing and info.auto_needs_gpu and not _has_gpu():
        missing.append("GPU")
    if missing:
        logger.info("generator %s cannot run here: no %s", info.name, ", ".join(missing))
    return not missing


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def make_generator(name: str) -> Generator:
    """A new generator by name.

    Raises NotFoundError naming what there is, UnavailableError where this receiver lacks what the
    generator runs on.
    """
    find_generator(name)
    return MAKERS[name]()


def warm_generator(name: str) -> None:
    """Loads a generator ("auto": the best that can run) and makes one frame with it.

    Raises as `make_generator` does.
    """
    generator = make_generator(pick_generator(Modality, _can_run) if name == AUTO else name)
    generator.reset(GeneratorContext(256, 256, 8.0, 0))
    picture = np.full((32, 32, 3), _MID_GREY, np.uint8)
    generator.step(Conditions(dict.fromkeys(Modality, picture), dict.fromkeys(Modality, 0)))
