"""Generators by name: what a session may ask its receiver to make frames with.

Names and what they can take are known to both ends, so that a session that cannot be is refused
before it starts; the generators themselves are the receiver's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from semcast.errors import InputError, NotFoundError
from semcast.schemes import Scheme
from semcast.session import Modality


@dataclass(frozen=True, slots=True)
class GeneratorInfo:
    """modalities: what it can make frames from. weights: bundled files it needs.

    packages: what it imports beyond the core. hub_model: of `semcast.hub`, that it runs on.
    auto_needs_gpu: AUTO stands for it only where there is a GPU.
    """

    name: str
    title: str
    modalities: frozenset[Modality]
    weights: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    hub_model: str = ""
    auto_needs_gpu: bool = False


# The best last.
GENERATORS: dict[str, GeneratorInfo] = {
    info.name: info
    for info in (
        GeneratorInfo(
            name="passthrough",
            title="Passthrough: the best picture at hand, enlarged; else a drawing",
            modalities=frozenset(Modality) - {Modality.CONTROL, Modality.PILOT},
        ),
        GeneratorInfo(
            name="tiny",
            title="Tiny diffusion model, with memory",
            modalities=frozenset(
                {Modality.LOWRES, Modality.KEYFRAME, Modality.CONTOURS, Modality.SKETCH}
            ),
            weights=("latent_codec", "tiny"),
            packages=("torch", "diffusers", "safetensors"),
        ),
        GeneratorInfo(
            name="sd-turbo",
            title="SD-Turbo: full-size public weights, for a GPU",
            modalities=frozenset(
                {
                    Modality.VIDEO,
                    Modality.KEYFRAME,
                    Modality.LOWRES,
                    Modality.CONTOURS,
                    Modality.SKETCH,
                    Modality.CAPTION,
                }
            ),
            packages=("torch", "diffusers", "transformers", "safetensors"),
            hub_model="sd-turbo",
            auto_needs_gpu=True,
        ),
    )
}


def find_generator(name: str) -> GeneratorInfo:
    """The generator by name. Raises NotFoundError naming what there is."""
    if name not in GENERATORS:
        raise NotFoundError(
            f"Unknown generator '{name}': choose one of {AUTO}, {', '.join(GENERATORS)}."
        )
    return GENERATORS[name]


AUTO = "auto"
"""Stands for the best generator that takes what the scheme sends and that the receiver can run."""


def check_generator(name: str, scheme: Scheme) -> None:
    """Raises NotFoundError for an unknown name, InputError where it cannot take the scheme."""
    if name != AUTO:
        info = find_generator(name)
        check_takes(info.name, info.modalities, scheme)


_SHOWN_AS_THEY_ARE = ({Modality.VIDEO}, {Modality.KEYFRAME})
"""A scheme that sends whole pictures and nothing else is compared by those, not by what a network
makes of them."""

_PICTURES = {Modality.VIDEO, Modality.KEYFRAME, Modality.LOWRES}
"""Of words and lines alone a network makes a curiosity: they are shown as they are."""


def pick_generator(modalities: Iterable[Modality], can_run: Callable[[GeneratorInfo], bool]) -> str:
    """What AUTO stands for where these are sent and those can be run."""
    sent = set(modalities)
    if sent in _SHOWN_AS_THEY_ARE or not sent & _PICTURES:
        return "passthrough"
    able = [info for info in GENERATORS.values() if info.modalities & sent and can_run(info)]
    return able[-1].name


def check_takes(name: str, modalities: frozenset[Modality], scheme: Scheme) -> None:
    """Raises InputError where a generator that takes these can make nothing of the scheme."""
    if not modalities & set(scheme.modalities):
        takes = ", ".join(sorted(modality.label for modality in modalities))
        raise InputError(
            f"Generator '{name}' makes frames from {takes}, which '{scheme.id}' does not send: "
            "choose another scheme, or the passthrough generator."
        )
