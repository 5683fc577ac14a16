"""Full-size public weights: what they are, and how they are read from this machine.

| name | part | repository on the hub | licence |
|---|---|---|---|
| sd-turbo | U-Net, text encoder, schedule | stabilityai/sd-turbo | Stability AI Community |
| taesd | latent codec | madebyollin/taesd | MIT |
| sd21-soft-edges | ControlNet | thibaud/controlnet-sd21 | "other" on its card |

Revisions are pinned in `semcast.hub`, which says how far each is verified. `semcast models pull
sd-turbo` fetches all three. The ControlNet was made for SD 2.1, which SD-Turbo is distilled from;
soft edges (HED) rather than a segmentation's ADE20K classes, because outlines of objects and
sketches both are soft edges, and ours are objects without a class.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderTiny,
    ControlNetModel,
    EulerDiscreteScheduler,
    UNet2DConditionModel,
)
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from receiver.diffusion.attention_cache import give_memory
from semcast.errors import UnavailableError
from semcast.hub import HubUse, find_hub_model, installed_folder, installed_parts

_CODEC = "taesd"
_SOFT_EDGES = "sd21-soft-edges"
_CAPTIONS_KEPT = 16


@dataclass(frozen=True)
class FullSizeNetworks:
    """Networks in eval mode, on one device, in one floating-point format; shared by all streams.

    unet: UNet2DConditionModel that predicts noise, with `CachedAttention` in it. controlnet: fed
    with soft edges [B, 3, H, W], 0 to 1. codec: AutoencoderTiny. embed: caption to [1, 77, D].
    signal_shares: alpha-bar of each training time step, [1000], float64, on the CPU.
    """

    unet: Any
    controlnet: Any
    codec: Any
    embed: Callable[[str], Tensor]
    signal_shares: Tensor
    device: torch.device
    dtype: torch.dtype


class CaptionEncoder:
    """A checkpoint's own CLIP; the newest captions' embeddings are kept."""

    def __init__(self, tokenizer: Any, network: Any, device: torch.device) -> None:
        self._tokenizer, self._network, self._device = tokenizer, network, device
        self.embed = functools.lru_cache(maxsize=_CAPTIONS_KEPT)(self._embed)

    def _embed(self, caption: str) -> Tensor:
        """[1, 77, D], the last layer after its norm; a long caption is cut, "" is a caption too."""
        length = self._network.config.max_position_embeddings
        tokens = self._tokenizer(
            caption, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        )
        with torch.inference_mode():
            embedded: Tensor = self._network(tokens.input_ids.to(self._device))[0]
        return embedded


@functools.cache
def installed_networks(name: str, device: str, hub_cache: Path | None = None) -> FullSizeNetworks:
    """The networks of a generator of the hub, loaded once a process; takes seconds.

    device: "cpu" (float32) or "cuda" (float16). hub_cache: folder of hub models; None means the
    user's own. Raises NotFoundError for an unknown name, UnavailableError that says what to
    install or pull.
    """
    model = find_hub_model(name, HubUse.GENERATOR)
    folder = installed_folder(model, hub_cache)
    parts = installed_parts(model, hub_cache)
    try:
        return load_networks(
            folder,
            parts[_CODEC],
            parts[_SOFT_EDGES] / find_hub_model(_SOFT_EDGES).files[0],
            torch.device(device),
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise UnavailableError(
            f"Generator '{name}' cannot be loaded from {folder} and its parts "
            f"({type(error).__name__}): remove those folders and run 'semcast models pull {name}'."
        ) from error


def load_networks(
    base: Path, codec: Path, control_file: Path, device: torch.device
) -> FullSizeNetworks:
    """Networks from files of the hub.

    base: folders unet, text_encoder, tokenizer and scheduler. codec: AutoencoderTiny's folder.
    control_file: a ControlNet for this U-Net as safetensors, in the layout of Stable Diffusion's
    authors or of diffusers. Raises OSError, ValueError, KeyError, RuntimeError or SafetensorError
    for files that are missing or do not fit.
    """
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    here: dict[str, Any] = {"local_files_only": True, "use_safetensors": True}
    half = {**here, "variant": "fp16"}
    # Without this, diffusers warns on machines without accelerate, and then does just this.
    plain = {"low_cpu_mem_usage": False}
    unets: Any = UNet2DConditionModel
    unet = unets.from_pretrained(base / "unet", **half, **plain)
    controlnet = _read_controlnet(unet, control_file)
    codecs: Any = AutoencoderTiny
    tiny_codec = codecs.from_pretrained(codec, **here, **plain)
    text: Any = CLIPTextModel.from_pretrained(base / "text_encoder", **half)
    tokenizers: Any = CLIPTokenizer
    tokenizer = tokenizers.from_pretrained(base / "tokenizer", local_files_only=True)
    schedulers: Any = EulerDiscreteScheduler
    schedule = schedulers.from_pretrained(base / "scheduler", local_files_only=True)
    if schedule.config.prediction_type != "epsilon":
        raise ValueError("the sampler is made for networks that predict noise")
    give_memory(unet)
    for network in (unet, controlnet, tiny_codec, text):
        network.eval().requires_grad_(False)
        # diffusers' own `to` warns of layers to be kept in float32; these networks have none.
        torch.nn.Module.to(network, device=device, dtype=dtype)
    for network in (unet, controlnet, tiny_codec):
        network.to(memory_format=torch.channels_last)
    return FullSizeNetworks(
        unet,
        controlnet,
        tiny_codec,
        CaptionEncoder(tokenizer, text, device).embed,
        schedule.alphas_cumprod.double(),
        device,
        dtype,
    )


def _read_controlnet(unet: Any, file: Path) -> Any:
    """A ControlNet shaped like the U-Net; every weight of it must be in the file."""
    controlnet: Any = ControlNetModel.from_unet(unet, load_weights_from_unet=False)
    # A file in diffusers' layout passes through unchanged.
    state = convert_controlnet_checkpoint(load_file(file), controlnet.config)  # type: ignore[no-untyped-call]
    controlnet.load_state_dict(state)
    return controlnet
