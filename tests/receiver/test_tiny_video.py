"""The tiny generator over time and over what it is given: any subset, its memory, key pictures."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from receiver.diffusion import tiny
from receiver.diffusion.adapters import SITES, TEMPORAL_SHAPES, Adapters
from receiver.diffusion.backbone import Backbone
from receiver.diffusion.latent_codec import LatentCodec
from receiver.diffusion.network import TinyDiffusion
from receiver.diffusion.tiny import TinyGenerator, TinyNetworks
from receiver.generator import Conditions, GeneratorContext
from semcast.session import Modality

SIDE = 64
WINDOW = TEMPORAL_SHAPES[SITES[0]].window
KINDS = ("lowres", "keyframe", "contours", "sketch")
Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def networks() -> TinyNetworks:
    """Random, with adapters that no longer do nothing."""
    torch.manual_seed(5)
    codec, diffusion = LatentCodec(), TinyDiffusion()
    head = codec.decoder.head[0]
    assert isinstance(head, nn.Conv2d)
    nn.init.normal_(head.weight, std=0.3)
    for parameter in diffusion.adapters.parameters():
        if not parameter.abs().max():
            nn.init.normal_(parameter, std=0.1)
    for network in (codec, diffusion):
        network.eval().requires_grad_(False)
    return TinyNetworks(codec, diffusion.backbone, diffusion.adapters, torch.device("cpu"))


def started(networks: TinyNetworks, **changes: float) -> TinyGenerator:
    generator = TinyGenerator(networks)
    told = {"width": SIDE, "height": SIDE, "fps": 8.0, "seed": 7, **changes}
    generator.reset(GeneratorContext(**told))  # type: ignore[arg-type]
    return generator


def picture(seed: int, side: int = 24) -> Picture:
    """Smooth, and of much the same colours whatever the seed: no cut between two of them."""
    y, x = np.mgrid[0:side, 0:side] / side
    waves = np.sin(6 * x + 0.15 * seed) * np.cos(5 * y - 0.1 * seed)
    return np.stack([128 + 60 * waves, 100 + 40 * waves, 140 - 50 * waves], -1).astype(np.uint8)


def labels(seed: int) -> NDArray[np.uint8]:
    made = np.zeros((SIDE, SIDE), np.uint8)
    made[10 + seed : 30 + seed, 20:44] = 1
    return made


def sketch(seed: int) -> NDArray[np.uint8]:
    made = np.zeros((SIDE, SIDE), np.uint8)
    made[:, 8 + seed] = 255
    return made


def having(kinds: Iterable[str], seed: int = 0, key_age: int = 0) -> Conditions:
    kinds = set(kinds)
    pictures, ages = {}, {}
    if "lowres" in kinds:
        pictures[Modality.LOWRES], ages[Modality.LOWRES] = picture(seed), 0
    if "keyframe" in kinds:
        pictures[Modality.KEYFRAME], ages[Modality.KEYFRAME] = KEY, key_age
    if "contours" in kinds:
        ages[Modality.CONTOURS] = 0
    if "sketch" in kinds:
        ages[Modality.SKETCH] = 0
    return Conditions(
        pictures,
        ages,
        labels=labels(seed) if "contours" in kinds else None,
        sketch=sketch(seed) if "sketch" in kinds else None,
        snr_db=10.0,
    )


KEY = picture(2, SIDE)


def lowres(seed: int) -> Conditions:
    return having({"lowres"}, seed)


def run(generator: TinyGenerator, conditions: Iterable[Conditions]) -> NDArray[np.uint8]:
    return np.stack([generator.step(of_frame) for of_frame in conditions])


# Any subset.


@pytest.mark.parametrize("count", range(1, 5))
def test_any_subset_makes_frames_and_every_kind_counts(networks: TinyNetworks, count: int) -> None:
    for kinds in itertools.combinations(KINDS, count):
        frame = started(networks).step(having(kinds))
        assert frame.shape == (SIDE, SIDE, 3) and frame.dtype == np.uint8
        for kind in kinds:
            without = started(networks).step(having(set(kinds) - {kind}))
            assert not np.array_equal(frame, without), f"{kind} of {kinds} changed nothing"


def test_snr_and_ages_are_looked_at(networks: TinyNetworks) -> None:
    given = having({"lowres"})
    plain = started(networks).step(given)
    for changed in (
        Conditions(given.pictures, given.age_frames, snr_db=-4.0),
        Conditions(given.pictures, given.age_frames),
        Conditions(given.pictures, {Modality.LOWRES: 9}, snr_db=10.0),
    ):
        assert not np.array_equal(started(networks).step(changed), plain)


def test_conditions_may_come_and_go(networks: TinyNetworks) -> None:
    """A frame that has nothing but what it always had does not fail after one that had more."""
    subsets = [kinds for count in range(5) for kinds in itertools.combinations(KINDS, count)]
    order = np.random.default_rng(3).permutation(len(subsets))
    frames = run(started(networks), [having(subsets[k], seed) for seed, k in enumerate(order)])
    assert frames.shape == (16, SIDE, SIDE, 3)


def test_untrained_adapters_leave_the_backbone_alone() -> None:
    """Given everything, at every site, and after frames to remember."""
    torch.manual_seed(6)
    backbone, adapters = Backbone().eval(), Adapters().eval()
    x, degraded = torch.randn(2, 1, 16, 8, 8)
    level = torch.tensor([0.6])
    with torch.inference_mode():
        expected = backbone(x, level, degraded)
        generator = started(TinyNetworks(LatentCodec().eval(), backbone, adapters, x.device))
        for seed in range(3):
            generator.step(having(KINDS, seed))
        given = generator._given(having(KINDS))
        prepared = adapters.prepare(given)
        layers = {site: generator._caches[0][site] for site in SITES}

        def remember(site: str, h: torch.Tensor) -> torch.Tensor:
            return layers[site].step(adapters.layer(site), h) if site in layers else h

        hook = adapters.hook(prepared, remember)
        made = backbone(x, level, degraded, hook, prepared.embedding)
    assert torch.equal(made, expected)


# Memory.


def test_frames_depend_on_those_before(networks: TinyNetworks) -> None:
    one = run(started(networks), [lowres(1), lowres(5)])
    other = run(started(networks), [lowres(2), lowres(5)])
    assert not np.array_equal(one[1], other[1])


def test_no_later_frame_changes_an_earlier_one(networks: TinyNetworks) -> None:
    one = run(started(networks), [lowres(k) for k in (1, 2, 3, 4)])
    other = run(started(networks), [lowres(k) for k in (1, 2, 9, 8)])
    assert np.array_equal(one[:2], other[:2])
    assert not np.array_equal(one[2], other[2])


def test_what_has_left_the_window_is_forgotten(networks: TinyNetworks) -> None:
    """Through both layers of the adapter a frame reaches twice the window."""
    later = [lowres(3 + k % 4) for k in range(2 * WINDOW + 3)]
    one = run(started(networks), [lowres(1), *later])
    other = run(started(networks), [lowres(2), *later])
    assert not np.array_equal(one[WINDOW], other[WINDOW])
    assert np.array_equal(one[2 * WINDOW + 1 :], other[2 * WINDOW + 1 :])


def test_it_tells_how_much_it_remembers(networks: TinyNetworks) -> None:
    generator = started(networks)
    told = []
    for seed in range(WINDOW + 3):
        told.append(generator.cached_frames)
        generator.step(lowres(seed % 3))
    assert told == [min(k, WINDOW) for k in range(WINDOW + 3)]
    assert generator.cache_resets == 0


def test_the_same_stream_again_is_the_same_to_the_last_bit(networks: TinyNetworks) -> None:
    stream = [having(KINDS[: 1 + k % 4], k, key_age=k) for k in range(6)]
    assert np.array_equal(run(started(networks), stream), run(started(networks), stream))


def test_reset_forgets(networks: TinyNetworks) -> None:
    generator = started(networks)
    run(generator, [having(KINDS, k) for k in range(3)])
    generator.reset(GeneratorContext(SIDE, SIDE, 8.0, 7))
    assert generator.cached_frames == 0
    assert np.array_equal(generator.step(lowres(5)), started(networks).step(lowres(5)))


def test_a_cut_forgets_and_is_counted(networks: TinyNetworks) -> None:
    dark = np.full((24, 24, 3), 20, np.uint8)
    cut = Conditions({Modality.LOWRES: dark}, {Modality.LOWRES: 0}, snr_db=10.0)
    generator = started(networks)
    frames = run(generator, [lowres(1), lowres(2), cut])
    assert generator.cache_resets == 1 and generator.cached_frames == 1
    assert np.array_equal(frames[2], started(networks).step(cut))


def test_two_streams_share_networks_and_nothing_else(networks: TinyNetworks) -> None:
    a, b = started(networks), started(networks)
    alone = run(started(networks), [lowres(k) for k in range(4)])
    mixed = []
    for k in range(4):
        mixed.append(a.step(lowres(k)))
        b.step(lowres(9 - k))
    assert np.array_equal(np.stack(mixed), alone)


# Streams together.


def test_streams_made_in_one_batch_are_as_if_made_alone(
    networks: TinyNetworks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To rounding; with different conditions, seeds, memories, and one that has nothing yet."""
    subsets = [kinds for count in range(1, 5) for kinds in itertools.combinations(KINDS, count)]

    def stream(k: int) -> list[Conditions]:
        order = np.random.default_rng(k).permutation(len(subsets))[:5]
        had = [having(subsets[at], seed + k) for seed, at in enumerate(order)]
        return [Conditions({}, {}), *had[1:]] if k == 2 else had

    streams = [stream(k) for k in range(4)]
    alone = [run(started(networks, seed=k), frames) for k, frames in enumerate(streams)]
    generators = [started(networks, seed=k) for k in range(4)]
    batch = [tiny._step_streams(generators, of_frame) for of_frame in zip(*streams, strict=True)]
    for k in range(4):
        together = np.stack([frames[k] for frames in batch])
        assert abs(together.astype(int) - alone[k]).max() <= 1
        assert generators[k].cached_frames == (4 if k == 2 else 5)


def test_on_a_cpu_streams_are_made_one_by_one_the_same_to_the_last_bit(
    networks: TinyNetworks,
) -> None:
    generators = [started(networks, seed=k) for k in range(3)]
    given = [having(KINDS, k) for k in range(3)]
    together = TinyGenerator.step_together(generators, given)
    for k, frame in enumerate(together):
        assert np.array_equal(frame, started(networks, seed=k).step(given[k]))


# Key pictures.


def test_a_key_picture_is_remembered_beyond_the_window(networks: TinyNetworks) -> None:
    later = [lowres(3 + k % 4) for k in range(2 * WINDOW + 3)]
    with_key = run(started(networks), [having({"lowres", "keyframe"}), *later])
    without = run(started(networks), [lowres(0), *later])
    assert not np.array_equal(with_key[-1], without[-1])


def test_a_key_picture_that_came_with_a_frame_never_shown_is_remembered_too(
    networks: TinyNetworks,
) -> None:
    """Its own frame was skipped, being late; the next one has it at age 1."""
    kinds = {"lowres", "keyframe"}
    late = [lowres(1), having(kinds, 3, key_age=1)]
    never = [lowres(1), having(kinds, 3, key_age=1)]
    generator = started(networks)
    frames = run(generator, late)
    forgetful = started(networks)
    forgetful._keep_newest = lambda: None  # type: ignore[method-assign]
    assert not np.array_equal(frames[1], run(forgetful, never)[1])


def test_one_that_is_held_is_encoded_once(
    networks: TinyNetworks, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = []
    encode = LatentCodec.encode

    def counting(self: LatentCodec, rgb: torch.Tensor) -> torch.Tensor:
        encoded.append(1)
        return encode(self, rgb)

    monkeypatch.setattr(LatentCodec, "encode", counting)
    run(started(networks), [having({"keyframe"}, 0, key_age=k) for k in range(5)])
    assert len(encoded) == 1


# Steps.


@pytest.mark.parametrize("num_steps", [1, 2, 4])
def test_a_session_has_the_steps_it_asks_for(
    networks: TinyNetworks, num_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels: list[float] = []
    forward = Backbone.forward

    def noting(self: Backbone, x: torch.Tensor, sigma: torch.Tensor, *rest: object) -> torch.Tensor:
        levels.append(float(sigma[0]))
        return forward(self, x, sigma, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Backbone, "forward", noting)
    run(started(networks, num_steps=num_steps), [lowres(1), lowres(2)])
    assert len(levels) == 2 * num_steps
    assert levels[:num_steps] == sorted(levels[:num_steps], reverse=True)


def test_without_any_picture_it_starts_from_noise(
    networks: TinyNetworks, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels: list[float] = []
    forward = Backbone.forward

    def noting(self: Backbone, x: torch.Tensor, sigma: torch.Tensor, *rest: object) -> torch.Tensor:
        levels.append(float(sigma[0]))
        return forward(self, x, sigma, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Backbone, "forward", noting)
    started(networks).step(having({"contours"}))
    started(networks).step(having({"lowres"}))
    assert levels == pytest.approx([1.0, 0.6])
