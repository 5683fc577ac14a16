"""The networks that ship: each loads into what uses it, and does its work on pictures it never saw.

The floors are for what is broken; how good a network is, its card says.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from channel_emulator.impairments import ChannelSettings, Emulator
from receiver.diffusion.latent_codec import LatentCodec
from receiver.diffusion.network import TinyDiffusion
from receiver.diffusion.tiny import tiny_generator
from receiver.generator import Conditions, GeneratorContext
from semcast.errors import NotFoundError
from semcast.generators import GENERATORS
from semcast.link import LinkReceiver, LinkSender
from semcast.metrics.psnr import psnr_db
from semcast.networks.latent_video import LatentVideo, LatentVideoShape
from semcast.networks.ntscc import Base, build_ntscc, bundled_ntscc
from semcast.parts.learned import codec_weights
from semcast.parts.patch_blocks import Allocation, PatchBlocks, SentBlock
from semcast.samples import sample_names, sample_path
from semcast.schemes import SCHEMES, symbols_per_frame
from semcast.semantics import Semantics
from semcast.session import Modality, SessionSetup
from semcast.weights import bundled_weights, find_weights, read_weights
from training.recipes.ntscc import _across
from training.run import find_recipe
from transmitter.extractors.segmenter_network import SegmenterNetwork
from transmitter.extractors.sketch_network import SketchNetwork

BUILDERS: dict[str, Callable[[dict[str, Any]], nn.Module]] = {
    "latent_codec": lambda header: LatentCodec(**header["config"]),
    "tiny": lambda header: TinyDiffusion(**header["config"]),
    "picture_video": lambda header: LatentVideo(LatentVideoShape(**header["config"])),
    "sketcher": lambda header: SketchNetwork(**header["config"]),
    "segmenter": lambda header: SegmenterNetwork(**header["config"]),
}
"""How networks other than `Ntscc` are made of a file's header."""

SKETCH_CODES = tuple(f"djscc_sketch_{k}" for k in ("k0", "k03", "k07", "k1"))
"""What these do, tests/weights/test_bundled_sketch_codes.py tells."""

NAMES = (*BUILDERS, *SKETCH_CODES, "ntscc")


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
        network = build_ntscc(state, header)
    assert set(network.state_dict()) == set(state)
    # Trained, not as it was made: every tensor has moved from where its first value put it.
    assert header["steps"] > 100
    for key, value in state.items():
        if key.endswith((".second.weight", ".last.weight")):
            assert value.abs().max() > 0, f"{key} is as it began"


@pytest.mark.parametrize("name", NAMES)
def test_a_card_names_recipe_data_licences_and_hardware(name: str) -> None:
    need(name)
    path = find_weights(name)
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    _, header = read_weights(path)
    recipe = find_recipe(header["recipe"])
    assert recipe.weights_name == name or name in SKETCH_CODES
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
    learned = [scheme.learned for scheme in SCHEMES.values() if scheme.learned]
    assert {name for one in learned for name in one.weights} <= set(NAMES)


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


# Pictures over the air.

SIDE = 128
DRAWS = 6
SYMBOLS = 7800 // 4
"""Of a picture: as many a pixel as GVSC spends on a first frame."""


def clip(name: str, side: int, count: int, step: int) -> NDArray[np.uint8]:
    """Every `step`-th frame from the beginning of a bundled clip, uint8 [count, side, side, 3]."""
    capture = cv2.VideoCapture(str(sample_path(name)))
    frames = []
    while len(frames) < count * step:
        ok, bgr = capture.read()
        assert ok, "the clip is too short for this"
        frames.append(bgr)
    capture.release()
    short = min(frames[0].shape[:2])
    squares = [
        cv2.resize(
            np.ascontiguousarray(bgr[:short, :short, ::-1]),
            (side, side),
            interpolation=cv2.INTER_AREA,
        )
        for bgr in frames[::step]
    ]
    return np.stack(squares)


def over_the_link(
    scheme: str, frames: NDArray[np.uint8], num_symbols: int, snr_db: float
) -> list[NDArray[np.uint8]]:
    """Pictures that arrive over the channel that `semcast send` has; 16 pilots a frame on top."""
    learned = SCHEMES[scheme].learned
    session = SessionSetup(
        session_id="test",
        scheme=scheme,
        width=frames.shape[2],
        height=frames.shape[1],
        fps=4.0,
        symbols_per_frame=num_symbols + 16,
        pilots_per_frame=16,
        seed=7,
        codec_weights=codec_weights(learned),
    )
    sender, receiver, emulator = LinkSender(session), LinkReceiver(session), Emulator(1)
    pictures = []
    for index, rgb in enumerate(frames):
        sent = sender.encode(Semantics(rgb), index)
        arrived, _ = emulator.apply(sent.radio, ChannelSettings(snr_db=snr_db, seed=3))
        received = receiver.receive(arrived)
        sender.feedback(received.feedback)
        if Modality.KEYFRAME in received.came.pictures:
            pictures.append(received.came.pictures[Modality.KEYFRAME])
    return pictures


def across(
    frames: NDArray[np.uint8], counts: NDArray[np.int64], snr_db: float
) -> NDArray[np.uint8]:
    """The same by the training graph, both ends told the SNR, without a base."""
    network, known = bundled_ntscc("ntscc"), torch.full((len(frames),), snr_db)
    x = torch.cat([to_unit(rgb) for rgb in frames])
    torch.manual_seed(5)
    with torch.inference_mode():
        grey = Base(torch.zeros_like(x), torch.zeros(len(x)))
        base = grey if network.shape.base else None
        y = network.analyse(x, known, base)
        made = _across(network, y, torch.from_numpy(counts), known, known, known, base)
    return np.stack([to_pixels(one[None]) for one in made])


def psnr_of(made: Any, sources: NDArray[np.uint8]) -> float:
    errors = (np.asarray(made, float) - sources) ** 2
    return float(10 * np.log10(255**2 / errors.mean()))


@pytest.mark.parametrize("snr_db", [0.0, 10.0])
def test_pictures_over_the_link_are_what_training_measured(
    snr_db: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within 0.1 dB. Both ends know the SNR within half a decibel, and the power scalar's steps
    make the noise of a frame up to an eighth of a decibel more or less; so over several pictures.
    """
    need("ntscc")
    noted: list[NDArray[np.int64]] = []
    write = PatchBlocks.write

    def noting(self: PatchBlocks, allocation: Allocation, *others: Any) -> SentBlock:
        noted.append(allocation.counts)
        return write(self, allocation, *others)

    monkeypatch.setattr(PatchBlocks, "write", noting)
    sources = np.stack([sample(name, SIDE) for name in sample_names()])
    frames = np.concatenate([sources] * (1 + DRAWS))
    first = len(sources)
    made = over_the_link("djscc-rgb", frames, SYMBOLS, snr_db)[first:]
    foreseen = across(frames[first:], np.stack(noted[first:]), snr_db)
    # Means over pictures of dB, as a report says: no picture outweighs the others.
    link, graph = (
        np.mean([psnr_of(a, b) for a, b in zip(pictures, frames[first:], strict=True)])
        for pictures in (made, foreseen)
    )
    assert link == pytest.approx(graph, abs=0.1)


def uniform(frames: int, reals: int, side: int = SIDE) -> NDArray[np.int64]:
    return np.full((frames, side // 16, side // 16), reals)


def test_pictures_get_better_with_snr_and_have_no_cliff() -> None:
    """papers/05: at most 3 dB of quality for 2 dB of SNR."""
    need("ntscc")
    source = sample("tumble", SIDE)
    frames = np.stack([source] * 4)
    quality = [
        psnr_of(across(frames, uniform(4, 60), float(snr_db)), frames)
        for snr_db in range(-4, 21, 4)
    ]
    gains = np.diff(quality)
    assert np.all(gains > 0)
    assert np.all(gains < 6)
    assert quality[0] > psnr_db(np.full_like(source, 128), source) + 2
    assert quality[-1] > quality[0] + 4


def test_a_picture_says_most_with_its_first_symbols() -> None:
    need("ntscc")
    source = sample("gripper", SIDE)
    frames = np.stack([source] * 2)
    quality = [psnr_of(across(frames, uniform(2, k), 10.0), frames) for k in (4, 15, 60, 192)]
    assert all(more > less + 0.5 for less, more in pairwise(quality))
    # A fifteenth of a first frame's symbols still shows the scene; grey is near 12 dB.
    assert quality[0] > 15


@pytest.mark.parametrize(("segment", "mean_db", "least_db"), [(0, 23.5, 21.5), (1, 24.3, 22.5)])
def test_first_frames_are_worth_their_symbols(
    segment: int, mean_db: float, least_db: float
) -> None:
    """In GVSC's 7,818 symbols at 10 dB, head and all: of a session, before any feedback, and of the
    second segment. The samples are rendered, and brighter than anything in training."""
    need("ntscc")
    num_symbols = symbols_per_frame(SCHEMES["first-frame-desc"].default_cbr, 256, 256) - 16
    quality = []
    for name in sample_names():
        source = sample(name, 256)
        frames = np.stack([source] * (8 * segment + 1))
        made = over_the_link("first-frame-desc", frames, num_symbols, 10.0)
        quality.append(psnr_db(source, made[segment]))
    assert np.mean(quality) > mean_db
    assert min(quality) > least_db


def test_a_base_and_shares_by_surprise_beat_equal_rates() -> None:
    """Once both ends know the SNR, in the mean over pictures, at a rate where it matters."""
    need("ntscc")
    gains = []
    for name in sample_names():
        source = sample(name, 256)
        adaptive = over_the_link("first-frame-desc", np.stack([source] * 9), 600, 10.0)[1]
        # All of a segment's symbols but the caption's are the picture's.
        even = over_the_link("djscc-rgb", np.stack([source] * 2), 7 * 600, 10.0)[1]
        gains.append(psnr_db(source, adaptive) - psnr_db(source, even))
    assert np.mean(gains) > 0.2


# Video.


def test_changes_follow_what_moves() -> None:
    """Each frame of a segment shows its own moment better than the first picture, held, does."""
    need("ntscc", "picture_video")
    frames = clip("tumble", 128, 8, 3)
    num_symbols = symbols_per_frame(SCHEMES["dvst"].default_cbr, 256, 256)
    made = over_the_link("dvst", frames, num_symbols, 10.0)
    for index in range(2, 8):
        held = psnr_db(frames[index], made[0])
        assert psnr_db(frames[index], made[index]) > held + 0.5
    assert psnr_of(made, frames) > 15


def test_what_stands_still_stays_as_good() -> None:
    need("ntscc", "picture_video")
    frames = np.stack([sample("gripper", 128)] * 8)
    made = over_the_link("dvst", frames, 600, 10.0)
    quality = [psnr_db(frames[0], picture) for picture in made]
    assert min(quality) > quality[0] - 1.5
