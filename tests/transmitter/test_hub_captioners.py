"""Captioners of the hub: the whole path from frames to a sentence, with tiny networks."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_captioners import END, save_qwen2_vl, save_smolvlm

from semcast.errors import NotFoundError, UnavailableError
from semcast.hub import HUB_MODELS
from transmitter.extractors.captioner import CaptionWorker
from transmitter.extractors.hub_captioners import (
    HubCaptioner,
    evenly_spaced,
    first_sentence,
    installed_captioner,
    load_captioner,
)

Frames = list[NDArray[np.uint8]]
RED = np.broadcast_to(np.array([255, 0, 0], np.uint8), (60, 80, 3)).copy()
BLUE = RED[..., ::-1].copy()


@pytest.fixture(scope="module")
def smolvlm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_smolvlm(tmp_path_factory.mktemp("smolvlm"))


def teach(captioner: HubCaptioner, lessons: list[tuple[Frames, str]]) -> None:
    """Train the network on its own prompts until it knows these frames by heart."""
    network, tokenizer = captioner._network.train(), captioner._processor.tokenizer
    batches = []
    for frames, text in lessons:
        asked = captioner._ask(frames)
        answer = tokenizer(text + END, return_tensors="pt", add_special_tokens=False).input_ids
        tokens = torch.cat([asked["input_ids"], answer], dim=1)
        labels = tokens.clone()
        labels[:, : -answer.shape[1]] = -100
        batches.append(
            {
                "input_ids": tokens,
                "attention_mask": torch.ones_like(tokens),
                "pixel_values": asked["pixel_values"],
                "labels": labels,
            }
        )
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(70):
        loss = sum(network(**batch).loss for batch in batches)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()


def test_a_captioner_that_was_taught_two_pictures_tells_them_apart(smolvlm: Path) -> None:
    """So the frames, the prompt and the answer all pass through the real network."""
    captioner = HubCaptioner(smolvlm, device="cpu")
    red, blue = "a red picture .", "a blue picture ."
    teach(captioner, [([RED], red), ([RED] * 4, red), ([BLUE], blue), ([BLUE] * 4, blue)])
    assert captioner.caption([RED]) == red
    assert captioner.caption([BLUE] * 9) == blue
    assert captioner.caption([RED.repeat(20, 0).repeat(20, 1)]) == red
    worker = CaptionWorker(lambda: captioner)
    worker.submit([BLUE, BLUE], pts_us=0)
    assert worker.drain(60)
    assert worker.newest() == blue
    worker.close()


def test_a_picture_is_one_tile(smolvlm: Path) -> None:
    """Left to itself, SmolVLM would make 17 pictures of this one."""
    asked = HubCaptioner(smolvlm, device="cpu")._ask([RED, BLUE])
    assert asked["pixel_values"].shape == (1, 2, 3, 32, 32)


@pytest.mark.parametrize("architecture", ["qwen2-vl", "smolvlm2"])
def test_other_architectures_are_asked_the_same_way(tmp_path: Path, architecture: str) -> None:
    if architecture == "smolvlm2":
        pytest.importorskip("num2words", reason="SmolVLM2's processor needs num2words")
        save_smolvlm(tmp_path, version=2)
    else:
        save_qwen2_vl(tmp_path)
    captioner = HubCaptioner(tmp_path, device="cpu")
    random_frames = list(np.random.default_rng(2).integers(0, 256, (6, 60, 80, 3), np.uint8))
    for frames in ([RED], [BLUE] * 3, random_frames):
        first, again = captioner.caption(frames), captioner.caption(frames)
        assert first == again
        assert len(first) <= 200
    network = captioner._network
    with torch.inference_mode():
        red, blue = (network(**captioner._ask([frame])).logits for frame in (RED, BLUE))
    assert (red - blue).abs().max() > 1e-4, "the picture does not reach the words"


def test_frames_are_taken_evenly() -> None:
    frames = [np.full((1, 1, 3), i, np.uint8) for i in range(9)]
    levels = [[int(f[0, 0, 0]) for f in evenly_spaced(frames[:n], 4)] for n in (1, 4, 7, 9)]
    assert levels == [[0], [0, 1, 2, 3], [0, 2, 4, 6], [0, 3, 5, 8]]
    assert int(evenly_spaced(frames, 1)[0][0, 0, 0]) == 8
    with pytest.raises(ValueError, match="at least one"):
        evenly_spaced([], 4)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("  A man\nruns.  He falls. ", "A man runs."),
        ("Is it 3.5 m long? Yes.", "Is it 3.5 m long?"),
        ("A man runs", "A man runs"),
        ("", ""),
        ("word " * 60, ("word " * 40).strip()),
        ("x" * 300, "x" * 200),
    ],
)
def test_the_first_sentence_of_an_answer(answer: str, sentence: str) -> None:
    assert first_sentence(answer) == sentence


def hub_folder(cache: Path, name: str) -> Path:
    model = HUB_MODELS[name]
    repository = "models--" + model.repository.replace("/", "--")
    return cache / repository / "snapshots" / model.revision


def test_a_pulled_captioner_is_found_by_name(smolvlm: Path, tmp_path: Path) -> None:
    assert installed_captioner(tmp_path) is None
    shutil.copytree(smolvlm, hub_folder(tmp_path, "smolvlm-256m"))
    found = installed_captioner(tmp_path)
    assert found == HUB_MODELS["smolvlm-256m"]
    assert isinstance(load_captioner("smolvlm-256m", tmp_path).caption([RED]), str)


def test_a_captioner_that_is_not_here_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="semcast models pull qwen2-vl-2b"):
        load_captioner("qwen2-vl-2b", tmp_path)
    with pytest.raises(NotFoundError, match=r"No captioner 'segformer-b0'.*smolvlm2-256m"):
        load_captioner("segformer-b0", tmp_path)


def test_broken_files_are_a_sentence(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path, "smolvlm-256m")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    with pytest.raises(UnavailableError, match=r"cannot be loaded.*semcast models pull"):
        load_captioner("smolvlm-256m", tmp_path)
