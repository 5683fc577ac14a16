"""The files of `sd-turbo` and its parts, of the real architectures, random and tiny."""

from __future__ import annotations

import functools
import json
import re
import tempfile
from pathlib import Path

import torch
from diffusers import (
    AutoencoderTiny,
    ControlNetModel,
    EulerDiscreteScheduler,
    UNet2DConditionModel,
)
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from receiver.diffusion.checkpoints import FullSizeNetworks, load_networks
from semcast.hub import HUB_MODELS

TEXT_WIDTH = 32
_CAPTION_TOKENS = 16


def save_sd_turbo(hub_cache: Path) -> dict[str, Tensor]:
    """Puts sd-turbo and its parts where `semcast models pull` would. Gives the ControlNet's weights
    by the names that diffusers has for them."""
    torch.manual_seed(3)
    base, codec, control = (
        _snapshot(hub_cache, name) for name in ("sd-turbo", "taesd", "sd21-soft-edges")
    )
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        norm_num_groups=16,
    )
    unet.save_pretrained(base / "unet", variant="fp16")
    tiny_codec = AutoencoderTiny(
        encoder_block_out_channels=(16, 16, 16, 16),
        decoder_block_out_channels=(16, 16, 16, 16),
        num_encoder_blocks=(1, 1, 1, 1),
        num_decoder_blocks=(1, 1, 1, 1),
    )
    head = tiny_codec.decoder.layers[-1]
    # So that frames use the range of a picture.
    torch.nn.init.normal_(head.weight, std=0.3)
    torch.nn.init.constant_(head.bias, 0.5)
    tiny_codec.save_pretrained(codec)
    EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        timestep_spacing="trailing",
    ).save_pretrained(base / "scheduler")
    _save_text(base)
    controlnet = ControlNetModel.from_unet(unet)
    for parameter in controlnet.parameters():
        # Zero convolutions would say nothing at all.
        torch.nn.init.normal_(parameter, std=0.08)
    state = {_authors_name(name): value for name, value in controlnet.state_dict().items()}
    save_file(state, control / HUB_MODELS["sd21-soft-edges"].files[0])
    return dict(controlnet.state_dict())


@functools.cache
def tiny_sd_turbo() -> FullSizeNetworks:
    """Networks read once, by all tests that change nothing in them."""
    with tempfile.TemporaryDirectory() as folder:
        save_sd_turbo(Path(folder))
        return load_sd_turbo(Path(folder))


def load_sd_turbo(hub_cache: Path) -> FullSizeNetworks:
    """What the real code reads from those files, on the CPU."""
    base, codec, control = (
        _snapshot(hub_cache, name) for name in ("sd-turbo", "taesd", "sd21-soft-edges")
    )
    file = control / HUB_MODELS["sd21-soft-edges"].files[0]
    return load_networks(base, codec, file, torch.device("cpu"))


def _snapshot(hub_cache: Path, name: str) -> Path:
    model = HUB_MODELS[name]
    repository = "models--" + model.repository.replace("/", "--")
    folder = hub_cache / repository / "snapshots" / model.revision
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _save_text(base: Path) -> None:
    """CLIP and its tokenizer as in the repository: older names of weights, no tokenizer.json."""
    words = ["!", "<|startoftext|>", "<|endoftext|>", *"abcdefghijklmnopqrstuvwxyz"]
    words += [f"{letter}</w>" for letter in "abcdefghijklmnopqrstuvwxyz"]
    config = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=TEXT_WIDTH,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=_CAPTION_TOKENS,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    folder = base / "text_encoder"
    CLIPTextModel(config).save_pretrained(folder, variant="fp16")
    file = folder / "model.fp16.safetensors"
    state = {
        f"text_model.{name.removeprefix('text_model.')}": v for name, v in load_file(file).items()
    }
    save_file(state, file, metadata={"format": "pt"})
    tokenizer = base / "tokenizer"
    tokenizer.mkdir(exist_ok=True)
    (tokenizer / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (tokenizer / "merges.txt").write_text("#version: 0.2\n")
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": _CAPTION_TOKENS}
    marks = {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "!",
    }
    (tokenizer / "tokenizer_config.json").write_text(json.dumps(settings | marks))


_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}


def _authors_name(name: str) -> str:
    """A weight's name in the layout of Stable Diffusion's authors; two resnets a level."""
    if found := re.fullmatch(r"down_blocks\.(\d)\.(resnets|attentions)\.(\d)\.(.*)", name):
        block = 1 + 3 * int(found[1]) + int(found[3])
        return f"input_blocks.{block}.{_inside(found[2], found[4])}"
    if found := re.fullmatch(r"down_blocks\.(\d)\.downsamplers\.0\.conv\.(.*)", name):
        return f"input_blocks.{3 * int(found[1]) + 3}.0.op.{found[2]}"
    if found := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", name):
        place = 1 if found[1] == "attentions" else 2 * int(found[2])
        return f"middle_block.{place}.{_inside(found[1], found[3]).split('.', 1)[1]}"
    if found := re.fullmatch(r"controlnet_cond_embedding\.blocks\.(\d)\.(.*)", name):
        return f"input_hint_block.{2 * int(found[1]) + 2}.{found[2]}"
    for ours, theirs in (
        ("controlnet_cond_embedding.conv_in", "input_hint_block.0"),
        ("controlnet_cond_embedding.conv_out", "input_hint_block.14"),
        ("controlnet_mid_block", "middle_block_out.0"),
        ("time_embedding.linear_1", "time_embed.0"),
        ("time_embedding.linear_2", "time_embed.2"),
        ("conv_in", "input_blocks.0.0"),
    ):
        if name.startswith(ours):
            return name.replace(ours, theirs)
    return re.sub(r"controlnet_down_blocks\.(\d)\.", r"zero_convs.\1.0.", name)


def _inside(kind: str, name: str) -> str:
    if kind == "attentions":
        return f"1.{name}"
    part, _, what = name.partition(".")
    return f"0.{_RESNET[part]}.{what}"
