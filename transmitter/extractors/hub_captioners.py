"""Captioners by name: small vision-language models of the hub, through transformers.

All of them are asked the same way: a few frames as pictures in one chat message, then the request
for a sentence. What differs between them (how a picture becomes tokens, the chat template) is in
the files of the model, which transformers reads.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from semcast.errors import UnavailableError
from semcast.hub import HubUse, NamedModel, find_hub_model, first_installed, installed_folder

_REQUEST = "These are frames of a video. Say in one short sentence what it shows."
_NUM_FRAMES = 4
"""As many as LGVSC gives its captioner."""
_LONG_SIDE_PX = 512
_MOST_TOKENS = 48
_LONGEST_CHARACTERS = 200
"""A character costs about four symbols on the air (rate 1/3, 4-QAM, 2.6 bits a character)."""


def installed_captioner(cache: Path | None = None) -> NamedModel | None:
    """The lightest captioner on this machine, or None. The net is not asked."""
    return first_installed(HubUse.CAPTIONER, cache)


def load_captioner(name: str, cache: Path | None = None) -> HubCaptioner:
    """The captioner by name, from this machine's hub cache, on the GPU where there is one.

    cache: folder of hub models; None means the user's own. Takes seconds.
    Raises NotFoundError for an unknown name, UnavailableError that says what to install or pull.
    """
    model = find_hub_model(name, HubUse.CAPTIONER)
    folder = installed_folder(model, cache)
    try:
        return HubCaptioner(folder)
    except (OSError, ValueError, ImportError) as error:
        raise UnavailableError(
            f"Captioner '{name}' cannot be loaded from {folder}: remove that folder and run "
            f"'semcast models pull {name}'."
        ) from error


class HubCaptioner:
    """A vision-language model that says in one sentence what frames show."""

    def __init__(self, folder: Path, device: str | None = None) -> None:
        """folder: a model in the hub's format. device: None takes the GPU where there is one."""
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        # bfloat16 is slower than float32 on most CPUs.
        dtype = torch.float32 if self._device == "cpu" else torch.bfloat16
        processors: Any = AutoProcessor
        self._processor = processors.from_pretrained(folder, local_files_only=True)
        _one_tile_a_picture(self._processor.image_processor)
        network: Any = AutoModelForImageTextToText.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=dtype
        )
        self._network = network.eval().to(self._device)

    def caption(self, frames: Sequence[NDArray[np.uint8]]) -> str:
        """One sentence, at most 200 characters, the same for the same frames.

        frames: uint8 [H, W, 3] each, oldest first; up to four, evenly spaced, are looked at.
        """
        import torch

        inputs = self._ask(evenly_spaced(frames, _NUM_FRAMES))
        with torch.inference_mode():
            tokens = self._network.generate(**inputs, do_sample=False, max_new_tokens=_MOST_TOKENS)
        answer = tokens[0, inputs["input_ids"].shape[1] :]
        text = self._processor.tokenizer.decode(answer, skip_special_tokens=True)
        return first_sentence(text)

    def _ask(self, frames: Sequence[NDArray[np.uint8]]) -> Any:
        pictures: list[dict[str, str]] = [{"type": "image"} for _ in frames]
        content = [*pictures, {"type": "text", "text": _REQUEST}]
        prompt = self._processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        inputs = self._processor(
            text=[prompt], images=[_reduced(frame) for frame in frames], return_tensors="pt"
        )
        return inputs.to(self._device, dtype=self._network.dtype)


def evenly_spaced(frames: Sequence[NDArray[np.uint8]], num_frames: int) -> list[NDArray[np.uint8]]:
    """At most this many of them, the first and the last among them (of one: the last)."""
    if not frames:
        raise ValueError("no frames to caption: give at least one")
    if len(frames) <= num_frames:
        return list(frames)
    places = np.linspace(0, len(frames) - 1, num_frames) if num_frames > 1 else [len(frames) - 1]
    return [frames[round(float(place))] for place in places]


def first_sentence(text: str) -> str:
    """The first sentence of an answer, on one line, cut between words where it is too long."""
    line = " ".join(text.split())
    if sentence := re.match(r".*?[.!?](?=\s|$)", line):
        line = sentence.group()
    if len(line) > _LONGEST_CHARACTERS:
        line = line[: _LONGEST_CHARACTERS + 1].rpartition(" ")[0] or line[:_LONGEST_CHARACTERS]
    return line


def _reduced(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = frame.shape[:2]
    scale = _LONG_SIDE_PX / max(height, width)
    if scale >= 1:
        return frame
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _one_tile_a_picture(image_processor: Any) -> None:
    """SmolVLM enlarges a picture and cuts it into up to 17 tiles of 64 tokens; one will do."""
    if getattr(image_processor, "do_image_splitting", False):
        image_processor.do_image_splitting = False
        image_processor.size = image_processor.max_image_size
