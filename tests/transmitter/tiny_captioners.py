"""Captioners of the real architectures, random and tiny, in the hub's format."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

WORDS = ["a", "red", "blue", "picture", ".", "user", "assistant", ":"]
END = "<end>"
_CHAT = (
    "{% for message in messages %}<start>{{message['role']}} : "
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE{% else %}{{part['text']}}{% endif %}"
    "{% endfor %}<end>{% endfor %}{% if add_generation_prompt %}assistant :{% endif %}"
)


def _tokenizer(extra: list[str]) -> transformers.PreTrainedTokenizerFast:
    """A vocabulary of eight words and the marks of an architecture; <unk> for all else."""
    marks = ["<unk>", "<start>", END, *extra]
    words = Tokenizer(
        models.WordLevel({w: i for i, w in enumerate([*marks, *WORDS])}, unk_token="<unk>")
    )
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=words,
        unk_token="<unk>",
        pad_token="<unk>",
        bos_token="<start>",
        eos_token=END,
        additional_special_tokens=extra,
    )


def _save(folder: Path, processor: object, network: type, config: object) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def save_smolvlm(folder: Path, version: int = 1) -> Path:
    """SmolVLM (which is Idefics 3) or SmolVLM 2: 32 x 32 pixels and 4 tokens a picture."""
    prefix = "SmolVLM" if version == 2 else "Idefics3"
    marks = ["<image>", "<fake_token_around_image>", "<global-img>", "<video>"]
    tokenizer = _tokenizer(marks)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = getattr(transformers, f"{prefix}Config")(
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        vision_config={**sizes, "intermediate_size": 32, "image_size": 32, "patch_size": 8},
        text_config={
            **sizes,
            "model_type": "llama",
            "intermediate_size": 64,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "vocab_size": len(tokenizer),
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
    )
    pictures = getattr(transformers, f"{prefix}ImageProcessor")(
        size={"longest_edge": 128}, max_image_size={"longest_edge": 32}
    )
    video = [transformers.SmolVLMVideoProcessor()] if version == 2 else []
    processor = getattr(transformers, f"{prefix}Processor")(
        pictures,
        tokenizer,
        *video,
        image_seq_len=4,
        chat_template=_CHAT.replace("IMAGE", "<image>"),
    )
    network = getattr(transformers, f"{prefix}ForConditionalGeneration")
    return _save(folder, processor, network, config)


def save_qwen2_vl(folder: Path) -> Path:
    """Qwen2-VL: one token for each 28 x 28 pixels."""
    marks = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    tokenizer = _tokenizer(marks)
    ids = tokenizer.convert_tokens_to_ids(marks)
    config = transformers.Qwen2VLConfig(
        vision_start_token_id=ids[0],
        vision_end_token_id=ids[1],
        image_token_id=ids[2],
        video_token_id=ids[3],
        vision_config={
            "depth": 1,
            "embed_dim": 32,
            "hidden_size": 32,
            "num_heads": 2,
            "mlp_ratio": 2,
        },
        text_config={
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "vocab_size": len(tokenizer),
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "mrope_section": [2, 3, 3],
            },
        },
    )
    chat = _CHAT.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    processor = transformers.Qwen2VLProcessor(
        transformers.Qwen2VLImageProcessor(min_pixels=28 * 28, max_pixels=56 * 56),
        tokenizer,
        transformers.Qwen2VLVideoProcessor(),
        chat_template=chat,
    )
    return _save(folder, processor, transformers.Qwen2VLForConditionalGeneration, config)
