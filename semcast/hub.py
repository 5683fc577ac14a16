"""Models by name on the Hugging Face hub: what they are, their licence, whether they are here.

Each is pinned to a commit of its repository, so that a name means the same weights for ever.
`semcast models pull NAME` fetches one; nothing else does: a session finds a model on this machine
or says that it is not there.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from semcast.errors import NotFoundError, UnavailableError


class HubUse(StrEnum):
    """What a model is for."""

    CAPTIONER = "captioner"
    SEGMENTER = "segmenter"
    GENERATOR = "generator"
    GENERATOR_PART = "part of a generator"
    TEXT_ENCODER = "text encoder"


@dataclass(frozen=True, slots=True)
class NamedModel:
    """name: what it is called here. repository, revision: on the hub; revision is a commit.

    licence: of the weights. megabytes: to download. packages: what it imports beyond the "models"
    extra. files: just these of its repository; () for its settings and all of its safetensors.
    parts: models that it cannot do without, pulled along with it.
    """

    name: str
    use: HubUse
    repository: str
    revision: str
    licence: str
    megabytes: int
    packages: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()


_NVIDIA = "non-commercial (NVIDIA Source Code License)"
_QWEN = "non-commercial (Qwen Research)"

# Lightest first within a use. There was no hub access when these were written: each commit was
# taken from several independent public projects that pin it for this repository and name its
# safetensors file, and is not yet confirmed by a download of ours.
HUB_MODELS: dict[str, NamedModel] = {
    model.name: model
    for model in (
        NamedModel(
            name="smolvlm-256m",
            use=HubUse.CAPTIONER,
            repository="HuggingFaceTB/SmolVLM-256M-Instruct",
            revision="7e3e67edbbed1bf9888184d9df282b700a323964",
            licence="Apache-2.0",
            megabytes=520,
        ),
        NamedModel(
            name="smolvlm2-256m",
            use=HubUse.CAPTIONER,
            repository="HuggingFaceTB/SmolVLM2-256M-Video-Instruct",
            revision="067788b187b95ebe7b2e040b3e4299e342e5b8fd",
            licence="Apache-2.0",
            megabytes=1030,
            packages=("num2words",),
        ),
        NamedModel(
            name="smolvlm2-500m",
            use=HubUse.CAPTIONER,
            repository="HuggingFaceTB/SmolVLM2-500M-Video-Instruct",
            revision="7b375e1b73b11138ff12fe22c8f2822d8fe03467",
            licence="Apache-2.0",
            megabytes=2040,
            packages=("num2words",),
        ),
        NamedModel(
            name="qwen2-vl-2b",
            use=HubUse.CAPTIONER,
            repository="Qwen/Qwen2-VL-2B-Instruct",
            revision="895c3a49bc3fa70a340399125c650a463535e71c",
            licence="Apache-2.0",
            megabytes=4430,
        ),
        NamedModel(
            name="qwen2.5-vl-3b",
            use=HubUse.CAPTIONER,
            repository="Qwen/Qwen2.5-VL-3B-Instruct",
            revision="66285546d2b821cf421d4f5eb2576359d3770cd3",
            licence=_QWEN,
            megabytes=7520,
        ),
        NamedModel(
            name="all-minilm-l6-v2",
            use=HubUse.TEXT_ENCODER,
            repository="sentence-transformers/all-MiniLM-L6-v2",
            revision="c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
            licence="Apache-2.0",
            megabytes=92,
            files=(
                "config.json",
                "model.safetensors",
                "special_tokens_map.json",
                "tokenizer.json",
                "tokenizer_config.json",
                "vocab.txt",
            ),
        ),
        NamedModel(
            name="segformer-b0",
            use=HubUse.SEGMENTER,
            repository="nvidia/segformer-b0-finetuned-ade-512-512",
            revision="489d5cd81a0b59fab9b7ea758d3548ebe99677da",
            licence=_NVIDIA,
            megabytes=15,
        ),
        NamedModel(
            name="sam2.1-tiny",
            use=HubUse.SEGMENTER,
            repository="facebook/sam2.1-hiera-tiny",
            revision="de431c4043854a71d8101e17995dfe596bf101a5",
            licence="Apache-2.0",
            megabytes=156,
        ),
        NamedModel(
            name="mask2former-tiny",
            use=HubUse.SEGMENTER,
            repository="facebook/mask2former-swin-tiny-coco-instance",
            revision="22c4a2f15dc88149b8b8d9f4d42c54431fbd66f6",
            licence='"other" on its card (code: MIT)',
            megabytes=190,
        ),
        # The commit that many projects pin. Its half-precision files: a third of the repository.
        NamedModel(
            name="sd-turbo",
            use=HubUse.GENERATOR,
            repository="stabilityai/sd-turbo",
            revision="b261bac6fd2cf515557d5d0707481eafa0485ec2",
            licence="Stability AI Community (commercial use has conditions)",
            megabytes=2420,
            packages=("diffusers",),
            files=(
                "scheduler/scheduler_config.json",
                "tokenizer/*",
                "text_encoder/config.json",
                "text_encoder/model.fp16.safetensors",
                "unet/config.json",
                "unet/diffusion_pytorch_model.fp16.safetensors",
                "LICENSE*",
            ),
            parts=("taesd", "sd21-soft-edges"),
        ),
        NamedModel(
            name="taesd",
            use=HubUse.GENERATOR_PART,
            repository="madebyollin/taesd",
            revision="614f76814bbe30edbe2e627ace1c2234c81a2c0e",
            licence="MIT",
            megabytes=10,
            files=("config.json", "diffusion_pytorch_model.safetensors"),
        ),
        # A commit at which the hub's own page shows this file. The repositories that hold it in
        # diffusers' layout (controlnet-sd21-hed-diffusers) hold it as a pickle.
        NamedModel(
            name="sd21-soft-edges",
            use=HubUse.GENERATOR_PART,
            repository="thibaud/controlnet-sd21",
            revision="65171400a58fd12b46eae1a18c61022f2aad4074",
            licence='"other" on its card',
            megabytes=728,
            files=("hed-sd21-safe.safetensors",),
        ),
    )
}

# Weights in safetensors only: a pickle can run code.
_FILES = ["*.json", "*.safetensors", "*.txt", "*.jinja", "*.model", "LICENSE*"]
_NOT_FILES = ["onnx/*", "*.onnx_data"]
_TIMEOUT_S = 10
_EXTRA = 'the "models" extra of semcast'


def find_hub_model(name: str, use: HubUse | None = None) -> NamedModel:
    """The model by name. Raises NotFoundError naming what there is (of that use)."""
    names = [model.name for model in HUB_MODELS.values() if use in (None, model.use)]
    if name not in names:
        what = use.value if use else "model on the hub"
        raise NotFoundError(
            f"No {what} '{name[:80]}': choose one of {', '.join(names)} ('semcast models')."
        )
    return HUB_MODELS[name]


def missing_packages(model: NamedModel) -> tuple[str, ...]:
    """What must be installed before the model can be loaded; () where nothing is."""
    wanted = ("torch", "transformers", "huggingface_hub", *model.packages)
    return tuple(name for name in wanted if importlib.util.find_spec(name) is None)


def is_installed(model: NamedModel, cache: Path | None = None) -> bool:
    """Can it be loaded on this machine, without the net, with all of its parts?"""
    try:
        installed_folder(model, cache)
        installed_parts(model, cache)
    except UnavailableError:
        return False
    return True


def first_installed(use: HubUse, cache: Path | None = None) -> NamedModel | None:
    """The lightest model of a use that is on this machine."""
    models: Sequence[NamedModel] = [model for model in HUB_MODELS.values() if model.use == use]
    return next((model for model in models if is_installed(model, cache)), None)


def installed_folder(model: NamedModel, cache: Path | None = None) -> Path:
    """The folder its files lie in; the net is not asked.

    cache: folder of hub models; None means the user's own (HF_HOME, HF_HUB_CACHE).
    Raises UnavailableError that says what to install or to pull.
    """
    what = f"{model.use.value.capitalize()} '{model.name}'"
    if missing := missing_packages(model):
        only_its_own = set(missing) <= set(model.packages)
        how = f"pip install {' '.join(missing)}" if only_its_own else f"install {_EXTRA}"
        raise UnavailableError(f"{what} needs {', '.join(missing)}: {how}.")
    folder = _local_snapshot(model, cache)
    if folder is None:
        raise UnavailableError(
            f"{what} is not on this machine: run 'semcast models pull {model.name}' "
            f"({model.megabytes} MB)."
        )
    return folder


def installed_parts(model: NamedModel, cache: Path | None = None) -> dict[str, Path]:
    """The folders of a model's parts, by name; the net is not asked.

    Raises UnavailableError that says to pull the model, with which its parts come.
    """
    folders = {}
    for name in model.parts:
        folder = _local_snapshot(HUB_MODELS[name], cache)
        if folder is None:
            raise UnavailableError(
                f"{model.use.value.capitalize()} '{model.name}' lacks its part '{name}' on this "
                f"machine: run 'semcast models pull {model.name}'."
            )
        folders[name] = folder
    return folders


def pull(model: NamedModel, cache: Path | None = None) -> Path:
    """Fetch a model's files and give their folder; what is here in full is not fetched again.

    Not its parts: they are models of their own.

    Raises UnavailableError in one sentence where the hub cannot be reached or refuses.
    """
    try:
        import httpx2
        from huggingface_hub import get_hf_file_metadata, hf_hub_url, snapshot_download
    except ImportError as error:
        raise UnavailableError(f"Pulling a model needs {error.name}: install {_EXTRA}.") from error
    if folder := _local_snapshot(model, cache):
        return folder
    try:
        # One file is asked for first: without a network that fails at once and without a word,
        # where a snapshot is tried five times and each time says so.
        first_file = model.files[0] if model.files else "config.json"
        url = hf_hub_url(model.repository, first_file, revision=model.revision)
        get_hf_file_metadata(url, timeout=_TIMEOUT_S)
        return Path(snapshot_download(**_what_to_fetch(model, cache)))
    except (httpx2.HTTPError, OSError) as error:
        raise UnavailableError(
            f"'{model.name}' could not be fetched from {model.repository} on the hub "
            f"({type(error).__name__}): check the network, or copy the hub cache of a machine "
            "that has it."
        ) from error


def _local_snapshot(model: NamedModel, cache: Path | None) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(**_what_to_fetch(model, cache), local_files_only=True))
    except LocalEntryNotFoundError:  # none of it, or not all of it
        return None


def _what_to_fetch(model: NamedModel, cache: Path | None) -> dict[str, Any]:
    return {
        "repo_id": model.repository,
        "revision": model.revision,
        "cache_dir": cache,
        "allow_patterns": list(model.files) or _FILES,
        "ignore_patterns": _NOT_FILES,
    }
