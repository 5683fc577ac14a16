"""What turns received semantics into frames: the interface, and the one that needs no network."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

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
    """

    name: str
    modalities: frozenset[Modality]
    device: str

    @property
    def cached_frames(self) -> int:
        """Past frames that the next one is made with; 0 for a generator without memory."""

    @property
    def cache_resets(self) -> int:
        """How often it forgot them of its own accord since `reset`, as at a cut."""

    def reset(self, context: GeneratorContext) -> None:
        """Forgets everything; the next step is the first of a stream."""

    def step(self, conditions: Conditions) -> NDArray[np.uint8]:
        """Frame [height, width, 3], uint8, RGB. Any subset of modalities may be present."""


@runtime_checkable
class StepsTogether(Protocol):
    """What a generator's class may have besides: the next frames of several streams in one go."""

    @classmethod
    def step_together(
        cls, generators: Sequence[Any], conditions: Sequence[Conditions]
    ) -> list[NDArray[np.uint8]]:
        """One step of each generator, as `step` makes it. A frame each, in their order.

        generators: of this class, no two the same, reset to equal sizes and numbers of steps, all
        or none with guidance.
        """


def step_all(
    generators: Sequence[Generator], conditions: Sequence[Conditions]
) -> list[NDArray[np.uint8]]:
    """One step of each generator: together where there are several and they can, else in turn."""
    first = generators[0]
    if len(generators) > 1 and isinstance(first, StepsTogether):
        return first.step_together(generators, conditions)
    return [made.step(given) for made, given in zip(generators, conditions, strict=True)]


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


def typical_conditions(modalities: Iterable[Modality], width: int, height: int) -> Conditions:
    """Something new of each modality, as a frame may bring it: to warm up and to measure with.

    Low-res pictures are an eighth of the frame's size, others are of its own.
    """
    sizes = {
        Modality.LOWRES: (max(1, height // 8), max(1, width // 8)),
        Modality.KEYFRAME: (height, width),
        Modality.VIDEO: (height, width),
    }
    sent = set(modalities)
    return Conditions(
        pictures={
            kind: np.full((*size, 3), _MID_GREY, np.uint8)
            for kind, size in sizes.items()
            if kind in sent
        },
        age_frames=dict.fromkeys(sent, 0),
        labels=np.zeros((height, width), np.uint8) if Modality.CONTOURS in sent else None,
        sketch=np.zeros((height, width), np.uint8) if Modality.SKETCH in sent else None,
    )


WARM_CONTEXT = GeneratorContext(256, 256, 8.0, 0)
"""What is made before anybody asks: the demo's frames."""


def warm_generator(name: str) -> str:
    """Loads a generator ("auto": the best that can run) and makes one frame with it.

    Returns its name. Raises as `make_generator` does.
    """
    if name == AUTO:
        name = pick_generator(Modality, _can_run)
    generator = make_generator(name)
    generator.reset(WARM_CONTEXT)
    generator.step(typical_conditions(Modality, WARM_CONTEXT.width, WARM_CONTEXT.height))
    return name
