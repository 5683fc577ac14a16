"""BERT score: would a person describe the source and the received picture alike?

A captioner describes both pictures; BERTScore F1 (Zhang et al., ICLR 2020) compares the two
captions: each token is matched with the most similar token of the other caption by the cosine of
their contextual embeddings (RoBERTa-large, layer 17, no idf weights, no rescaling; the start and
end tokens may be matched but are not averaged over, as in the authors' package).

GVSC captions whole videos by Video-LLaVA, three samples each. Ours is deterministic and causal: a
frame captioner (BLIP base, greedy) on every `FRAMES_PER_CAPTION`-th frame. The two are not on the
same scale.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from semcast.metrics.hub import load_from_hub
from semcast.metrics.weights import HubModel, MetricUnavailableError, MetricWeights

CAPTIONER = HubModel(
    "Salesforce/blip-image-captioning-base", "82a37760796d32b1411fe092ab5d4e227313294b"
)
TEXT_ENCODER = HubModel("FacebookAI/roberta-large", "722cf37b1afa9454edce342e7895e588b6ff1d59")
TEXT_LAYER = 17
"""The layer that the authors found best for RoBERTa-large (their package's default)."""

FRAMES_PER_CAPTION = 8
"""One caption a segment of the default length; the captioner costs far more than all else here."""

_MAX_CAPTION_TOKENS = 30


class BertScorer:
    """BERTScore F1 between machine captions of batches of pictures. Build with `load`."""

    def __init__(
        self, captioner: Any, processor: Any, encoder: Any, tokenizer: Any, device: str
    ) -> None:
        self._captioner = captioner.eval().to(device)
        self._processor = processor
        self._encoder = encoder.eval().to(device)
        self._tokenizer = tokenizer
        self._device = device

    @classmethod
    def load(
        cls,
        weights: MetricWeights,
        device: str = "cpu",
        captioner: HubModel = CAPTIONER,
        encoder: HubModel = TEXT_ENCODER,
        layer: int = TEXT_LAYER,
    ) -> BertScorer:
        """Load captioner and text encoder. MetricUnavailableError if either is not at hand."""
        try:
            from transformers import (
                AutoModel,
                AutoTokenizer,
                BlipForConditionalGeneration,
                BlipProcessor,
            )
        except ImportError as error:
            raise MetricUnavailableError(
                f'needs the "models" extra of semcast ({error.name} is not installed)'
            ) from error
        return cls(
            load_from_hub(BlipForConditionalGeneration, captioner, weights),
            load_from_hub(BlipProcessor, captioner, weights),
            load_from_hub(
                AutoModel, encoder, weights, num_hidden_layers=layer, add_pooling_layer=False
            ),
            load_from_hub(AutoTokenizer, encoder, weights),
            device,
        )

    def score(
        self, sources: list[NDArray[np.uint8]], received: list[NDArray[np.uint8]]
    ) -> list[float]:
        """F1 of the captions of each pair of pictures [H, W, 3], uint8."""
        captions = self.caption([*sources, *received])
        wanted, got = captions[: len(sources)], captions[len(sources) :]
        return [self.compare(a, b) for a, b in zip(wanted, got, strict=True)]

    def caption(self, pictures: list[NDArray[np.uint8]]) -> list[str]:
        """A sentence for each picture [H, W, 3], uint8."""
        import torch

        pixels = self._processor(images=pictures, return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            tokens = self._captioner.generate(
                pixel_values=pixels.to(self._device),
                max_new_tokens=_MAX_CAPTION_TOKENS,
                do_sample=False,
                num_beams=1,
            )
        texts = self._processor.batch_decode(tokens, skip_special_tokens=True)
        return [str(text).strip() for text in texts]

    def compare(self, reference: str, candidate: str) -> float:
        """BERTScore F1 of two sentences; 0 if either is empty."""
        wanted, wanted_counts = self._embed(reference)
        got, got_counts = self._embed(candidate)
        return greedy_match_f1(wanted, got, wanted_counts, got_counts)

    def _embed(self, text: str) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Token embeddings [tokens, d], and which tokens are words rather than start or end."""
        import torch

        encoded = self._tokenizer(text, truncation=True, max_length=256, return_tensors="pt")
        with torch.inference_mode():
            hidden = self._encoder(**encoded.to(self._device)).last_hidden_state[0]
        marks = (self._tokenizer.cls_token_id, self._tokenizer.sep_token_id)
        is_word = ~np.isin(np.asarray(encoded["input_ids"][0].cpu()), marks)
        return np.asarray(hidden.float().cpu(), dtype=np.float32), is_word


def greedy_match_f1(
    reference: NDArray[np.float32],
    candidate: NDArray[np.float32],
    reference_is_word: NDArray[np.bool_],
    candidate_is_word: NDArray[np.bool_],
) -> float:
    """BERTScore F1 from token embeddings [tokens, d] of two sentences.

    Every token may be matched; the means run over words only. 0 if either sentence has no word, or
    if precision and recall cancel.
    """
    if not (reference_is_word.any() and candidate_is_word.any()):
        return 0.0
    similarity = _unit_rows(reference) @ _unit_rows(candidate).T
    recall = float(similarity.max(axis=1)[reference_is_word].mean())
    precision = float(similarity.max(axis=0)[candidate_is_word].mean())
    if precision + recall <= 0:
        return 0.0
    return 2 * precision * recall / (precision + recall)


def _unit_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms > 0, norms, 1), dtype=np.float32)
