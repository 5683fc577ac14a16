"""The networks that ship: each loads into what uses it, and does its work on pictures it never saw.

The floors are for what is broken; how good a network is, its card says.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from channel_emulator.impairments import ChannelSettings, Emulator
from receiver.diffusion.backbone import Backbone
from receiver.diffusion.latent_codec import LatentCodec
from receiver.diffusion.tiny import tiny_generator
from receiver.generator import Conditions, GeneratorContext
from semcast.errors import NotFoundError
from semcast.generators import GENERATORS
from semcast.link import LinkReceiver, LinkSender
from semcast.metrics.psnr import psnr_db
from semcast.networks.djscc import Djscc, awgn, build_djscc, bundled_djscc
from semcast.parts.djscc import WEIGHTS as DJSCC_RGB
from semcast.samples import sample_names, sample_path
from semcast.semantics import Semantics
from semcast.session import Modality, SessionSetup
from semcast.weights import bundled_weights, find_weights, read_weights
from training.edges import soft_edges
from training.run import find_recipe
from transmitter.extractors.segmenter_network import SegmenterNetwork
from transmitter.extractors.sketch_network import SketchNetwork

BUILDERS: dict[str, Callable[[dict[str, Any]], nn.Module]] = {
    "latent_codec": lambda header: LatentCodec(**header["config"]),
    "backbone": lambda header: Backbone(**header["config"]),
    "sketcher": lambda header: SketchNetwork(**header["config"]),
    "segmenter": lambda header: SegmenterNetwork(**header["config"]),
}
"""How networks other than DJSCC are made of a file's header."""

NAMES = ("latent_codec", "backbone", "djscc_rgb", "djscc_sketch", "sketcher", "segmenter")


def need(*names: str) -> None:
    """Skips where this version does not bundle them yet."""
    for name in names:
        try:
            find_weights(name)
        except NotFoundError as missing:
            pytest.skip(str(missing))


def sample(name: str, side: int) -> NDArray[np.uint8]:
    """A frame from the middle of a bundled clip, its centre square, uint8 [side, side, 3]."""
    capture = cv2.VideoCapture(str(sample_path(name)))
    capture.set(cv2.CAP_PROP_POS_FRAMES, 20)
    ok, bgr = capture.read()
    capture.release()
    assert ok
    height, width = bgr.shape[:2]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    square = np.ascontiguousarray(bgr[top : top + short, left : left + short, ::-1])
    return cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA)


def to_unit(rgb: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 127.5 - 1


def to_pixels(x: Tensor) -> NDArray[np.uint8]:
    levels = ((x[0].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return levels.permute(1, 2, 0).contiguous().numpy()


# The files.


@pytest.mark.parametrize("name", NAMES)
def test_a_file_fills_its_network_to_the_last_number(name: str) -> None:
    need(name)
    state, header = read_weights(find_weights(name))
    if name in BUILDERS:
        network = BUILDERS[name](header).eval()
        network.load_state_dict(state)
    else:
        network = build_djscc(state, header)
    assert set(network.state_dict()) == set(state)
    # Trained, not as it was made: every tensor has moved from where its first value put it.
    assert header["steps"] > 100
    for key, value in state.items():
        if key.endswith(".second.weight"):
            assert value.abs().max() > 0, f"{key} is as it began"


@pytest.mark.parametrize("name", NAMES)
def test_a_card_names_recipe_data_licences_and_hardware(name: str) -> None:
    need(name)
    path = find_weights(name)
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    _, header = read_weights(path)
    assert find_recipe(header["recipe"]).weights_name == name
    assert f"semcast train {header['recipe']}" in card
    assert re.search(r"\| hardware \| \S+", card)
    assert re.search(rf"\| steps \| {header['steps']}\b", card)
    trained_on = card.partition("## Trained on")[2].partition("##")[0]
    sources = [line for line in trained_on.splitlines() if line.startswith("- ")]
    assert sources
    assert not any("not stated" in line for line in sources)


def test_what_ships_is_used_and_small() -> None:
    files = bundled_weights()
    if not files:
        pytest.skip("No weights are bundled.")
    assert {file.name for file in files} <= set(NAMES)
    assert sum(file.num_bytes for file in files) < 20e6
    assert all(file.num_bytes < 8e6 for file in files)
    assert {name for info in GENERATORS.values() for name in info.weights} <= set(NAMES)
    assert DJSCC_RGB in NAMES


# The tiny generator.


@pytest.mark.parametrize("name", sample_names())
def test_the_tiny_generator_makes_the_scene_of_its_small_picture(name: str) -> None:
    need(*GENERATORS["tiny"].weights)
    source = sample(name, 256)
    small = cv2.resize(source, (32, 32), interpolation=cv2.INTER_AREA)
    generator = tiny_generator()
    frames = []
    for seed in (1, 2):
        generator.reset(GeneratorContext(256, 256, 8.0, seed))
        frames.append(generator.step(Conditions({Modality.LOWRES: small}, {Modality.LOWRES: 0})))
    grey = psnr_db(np.full_like(source, 128), source)
    for frame in frames:
        assert frame.shape == (256, 256, 3)
        assert psnr_db(frame, source) > grey + 3
        shrunk = cv2.resize(frame, (32, 32), interpolation=cv2.INTER_AREA)
        assert psnr_db(shrunk, small) > 20
    assert not np.array_equal(*frames)


# DJSCC.

SIDE = 128
DRAWS = 16


def over_the_link(source: NDArray[np.uint8], num_symbols: int, snr_db: float) -> list[float]:
    """Squared errors of `DRAWS` frames, after two that have no full estimate yet."""
    session = SessionSetup(
        session_id="test",
        scheme="djscc-rgb",
        width=SIDE,
        height=SIDE,
        fps=8.0,
        symbols_per_frame=num_symbols + 16,
        pilots_per_frame=16,
        seed=7,
    )
    sender, receiver, emulator = LinkSender(session), LinkReceiver(session), Emulator(1)
    errors = []
    for index in range(DRAWS + 2):
        sent = sender.encode(Semantics(source), index)
        arrived, _ = emulator.apply(sent.radio, ChannelSettings(snr_db=snr_db, seed=3))
        received = receiver.receive(arrived)
        sender.feedback(received.feedback)
        made = received.came.pictures[Modality.KEYFRAME].astype(float)
        errors.append(float(np.mean((made - source) ** 2)))
    return errors[2:]


def in_training_graph(source: NDArray[np.uint8], num_symbols: int, snr_db: float) -> list[float]:
    """Squared errors of as many draws, by `awgn`, both ends told the SNR."""
    network, known = bundled_djscc(DJSCC_RGB), torch.tensor([snr_db])
    errors = []
    torch.manual_seed(5)
    with torch.inference_mode():
        symbols = network.encode(to_unit(source), known, num_symbols)
        for _ in range(DRAWS):
            made = network.decode(awgn(symbols, known), known, SIDE, SIDE)
            errors.append(float(np.mean((to_pixels(made).astype(float) - source) ** 2)))
    return errors


def psnr_of(errors: list[float]) -> float:
    return float(10 * np.log10(255**2 / np.mean(errors)))


def relative_error(errors: list[float]) -> float:
    """Of their mean, one standard deviation."""
    return float(np.std(errors) / np.mean(errors) / np.sqrt(len(errors)))


def test_bundled_djscc_gives_over_the_link_what_training_measured() -> None:
    """Within 0.1 dB, and four standard deviations of what so few draws can tell."""
    need(DJSCC_RGB)
    source = sample("kitchen-pan", SIDE)
    for snr_db in (0.0, 10.0):
        link, graph = (
            measure(source, 7800 // 4, snr_db) for measure in (over_the_link, in_training_graph)
        )
        error = np.hypot(relative_error(link), relative_error(graph))
        assert psnr_of(link) == pytest.approx(psnr_of(graph), abs=0.1 + 4 * 4.34 * float(error))


def test_bundled_djscc_gets_better_with_snr_and_has_no_cliff() -> None:
    """papers/05: at most 3 dB of quality for 2 dB of SNR."""
    need(DJSCC_RGB)
    source = sample("tumble", SIDE)
    quality = [
        psnr_of(in_training_graph(source, 7800 // 4, float(snr_db))) for snr_db in range(-4, 21, 4)
    ]
    gains = np.diff(quality)
    assert np.all(gains > 0)
    assert np.all(gains < 6)
    assert quality[0] > psnr_db(np.full_like(source, 128), source) + 2
    assert quality[-1] > quality[0] + 2


def sent_at_10_db(network: Djscc, x: Tensor, num_symbols: int) -> float:
    """PSNR of what arrives, and that the symbols have unit power."""
    known = torch.tensor([10.0])
    torch.manual_seed(1)
    with torch.inference_mode():
        symbols = network.encode(x, known, num_symbols)
        assert float(symbols.square().sum(2).mean()) == pytest.approx(1, abs=1e-3)
        made = network.decode(awgn(symbols, known), known, SIDE, SIDE).clamp(-1, 1)
    return -10 * float(torch.log10((made - x).square().mean() / 4))


def test_bundled_djscc_of_pictures_says_most_with_its_first_symbols() -> None:
    need("djscc_rgb")
    network = bundled_djscc("djscc_rgb")
    most = network.max_symbols(SIDE, SIDE)
    assert most * 4 == 8192
    x = to_unit(sample("gripper", SIDE))
    quality = [sent_at_10_db(network, x, share) for share in (most // 8, most // 2, most)]
    assert quality[0] < quality[1] < quality[2]
    # An eighth of the symbols still shows the scene; chance or black is near 10 dB.
    assert quality[0] > 11


def test_bundled_djscc_of_sketches_says_most_with_its_first_symbols() -> None:
    """Trained for LPIPS above all, it gains no PSNR with the second half; it must not lose."""
    need("djscc_sketch")
    network = bundled_djscc("djscc_sketch")
    most = network.max_symbols(SIDE, SIDE)
    assert most * 4 == 1024
    sketch = soft_edges(sample("gripper", SIDE))
    x = to_unit(sketch[..., None])
    quality = [sent_at_10_db(network, x, share) for share in (most // 8, most // 2, most)]
    assert quality[0] + 0.3 < quality[1] < quality[2] + 0.1
    black = -10 * float(torch.log10((-1 - x).square().mean() / 4))
    assert quality[0] > black + 1
