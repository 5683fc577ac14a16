"""CLIP score and BERT score: the formulas, and the whole path with tiny random networks."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from semcast.metrics.bert_score import BertScorer, greedy_match_f1
from semcast.metrics.clip_score import CLIP_MODEL, ClipScorer, row_cosines
from semcast.metrics.weights import HubModel, MetricUnavailableError, MetricWeights

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "cat", "runs", "sleeps"]


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (40, 56, 3), dtype=np.uint8)


def test_cosines_of_rows() -> None:
    a = np.array([[3, 4], [1, 0], [2, 0], [0, 0]], np.float32)
    b = np.array([[6, 8], [0, 5], [-1, 0], [1, 1]], np.float32)
    assert row_cosines(a, b) == pytest.approx([1, 0, -1, 0], abs=1e-6)


def test_greedy_matching_by_hand() -> None:
    """Reference words e1, e2; candidate word e1 only: recall 1/2, precision 1, F1 2/3."""
    e = np.eye(4, dtype=np.float32)
    reference, candidate = e[[0, 1]] * 5, e[[0]] * 2
    words = np.array([True, True])
    assert greedy_match_f1(reference, candidate, words, words[:1]) == pytest.approx(2 / 3)
    assert greedy_match_f1(candidate, reference, words[:1], words) == pytest.approx(2 / 3)


def test_marks_may_be_matched_but_are_not_averaged_over() -> None:
    e = np.eye(4, dtype=np.float32)
    reference = e[[3, 0, 1, 3]]  # mark, word, word, mark
    candidate = e[[3, 0, 3, 3]]  # its second word looks like a mark
    words = np.array([False, True, True, False])
    # recall: word e0 -> 1, word e1 -> 0. precision: e0 -> 1, e3 -> 1 by a mark.
    assert greedy_match_f1(reference, candidate, words, words) == pytest.approx(2 / 3)


def test_a_sentence_without_words_scores_zero() -> None:
    e = np.eye(2, dtype=np.float32)
    marks = np.array([False, False])
    assert greedy_match_f1(e, e, marks, ~marks) == 0.0
    assert greedy_match_f1(e, -e, ~marks, ~marks) == 0.0


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> HubModel:
    folder = tmp_path_factory.mktemp("clip")
    part = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    config = transformers.CLIPConfig(
        text_config={**part, "vocab_size": 64, "bos_token_id": 1, "eos_token_id": 2},
        vision_config={**part, "image_size": 32, "patch_size": 8},
        projection_dim=8,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.CLIPModel(config).save_pretrained(folder)
    transformers.CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    ).save_pretrained(folder)
    return HubModel(str(folder), "main")


def test_clip_scores_pairs(tiny_clip: HubModel) -> None:
    scorer = ClipScorer.load(MetricWeights(), model=tiny_clip)
    same, other = scorer.score([picture(0), picture(0)], [picture(0), picture(1)])
    assert same == pytest.approx(1, abs=1e-5)
    assert -1 <= other < same - 1e-6


@pytest.fixture(scope="module")
def tiny_describers(tmp_path_factory: pytest.TempPathFactory) -> tuple[HubModel, HubModel]:
    """A captioner and a text encoder with a vocabulary of ten words."""
    captioner, encoder = (tmp_path_factory.mktemp(name) for name in ("blip", "roberta"))
    (captioner / "vocab.txt").write_text("\n".join(WORDS))
    tokenizer = transformers.BertTokenizer(str(captioner / "vocab.txt"))
    tokenizer.save_pretrained(encoder)
    transformers.BlipProcessor(
        transformers.BlipImageProcessor(size={"height": 32, "width": 32}), tokenizer
    ).save_pretrained(captioner)
    part = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    text = {**part, "vocab_size": 10, "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    config = transformers.BlipConfig(
        text_config={**text, "sep_token_id": 3, "encoder_hidden_size": 16},
        vision_config={**part, "image_size": 32, "patch_size": 8},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.BlipForConditionalGeneration(config).save_pretrained(captioner)
        transformers.BertModel(
            transformers.BertConfig(**{**text, "num_hidden_layers": 3})
        ).save_pretrained(encoder)
    return HubModel(str(captioner), "main"), HubModel(str(encoder), "main")


def test_bert_scores_captions_of_pairs(tiny_describers: tuple[HubModel, HubModel]) -> None:
    captioner, encoder = tiny_describers
    scorer = BertScorer.load(MetricWeights(), captioner=captioner, encoder=encoder, layer=2)
    captions = scorer.caption([picture(0), picture(1)])
    assert len(captions) == 2
    assert scorer.caption([picture(0)]) == captions[:1]
    assert scorer.compare("a dog runs", "a dog runs") == pytest.approx(1, abs=1e-5)
    assert scorer.compare("a dog runs", "a cat sleeps") < 1 - 1e-4
    assert scorer.compare("a dog runs", "") == 0.0
    expected = scorer.compare(captions[0], captions[1])
    assert scorer.score([picture(0)], [picture(1)]) == pytest.approx([expected])


def test_only_the_wanted_layers_of_the_encoder_are_run(
    tiny_describers: tuple[HubModel, HubModel],
) -> None:
    captioner, encoder = tiny_describers
    scorer = BertScorer.load(MetricWeights(), captioner=captioner, encoder=encoder, layer=2)
    full = transformers.BertModel.from_pretrained(encoder.name).eval()
    tokens = scorer._tokenizer("a cat runs", return_tensors="pt")
    with torch.inference_mode():
        third = full(**tokens, output_hidden_states=True).hidden_states[2][0].numpy()
    embedded, is_word = scorer._embed("a cat runs")
    np.testing.assert_allclose(embedded, third, atol=1e-5)
    assert is_word.tolist() == [False, True, True, True, False]


def test_a_model_that_is_not_cached_is_a_reason(tmp_path: Path) -> None:
    weights = MetricWeights(hub_cache=tmp_path)
    with pytest.raises(MetricUnavailableError, match=CLIP_MODEL.name):
        ClipScorer.load(weights)
    with pytest.raises(MetricUnavailableError, match="blip"):
        BertScorer.load(weights)
