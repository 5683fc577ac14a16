"""The tiny generator with random networks: sizes, determinism, and what crosses its wires.

Where a figure must come out exactly, stand-in networks whose sums can be done by hand are used.
"""

from __future__ import annotations

import gc
import itertools
import warnings
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from receiver.diffusion import tiny
from receiver.diffusion.adapters import Adapters
from receiver.diffusion.backbone import Backbone
from receiver.diffusion.conditions import to_condition_size
from receiver.diffusion.latent_codec import LATENT_CHANNELS, LatentCodec
from receiver.diffusion.tiny import TinyGenerator, TinyNetworks
from receiver.generator import Conditions, GeneratorContext
from semcast.session import Modality

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def networks() -> TinyNetworks:
    """Random ones, with a decoder that uses the range of a picture; adapters that do nothing."""
    torch.manual_seed(5)
    codec, backbone, adapters = LatentCodec(), Backbone(), Adapters()
    head = cast(nn.Conv2d, codec.decoder.head[0])
    nn.init.normal_(head.weight, std=0.3)
    for network in (codec, backbone, adapters):
        network.eval().requires_grad_(False)
    return TinyNetworks(codec, backbone, adapters, CPU)


def context(width: int = 64, height: int = 64, seed: int = 7) -> GeneratorContext:
    return GeneratorContext(width, height, 8.0, seed)


def picture(seed: int = 1, height: int = 20, width: int = 28) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def lowres(rgb: NDArray[np.uint8]) -> Conditions:
    return Conditions({Modality.LOWRES: rgb}, {Modality.LOWRES: 0})


def started(networks: TinyNetworks, told: GeneratorContext | None = None) -> TinyGenerator:
    generator = TinyGenerator(networks)
    generator.reset(told or context())
    return generator


# Sizes.


@pytest.mark.parametrize(
    ("width", "height"), [(64, 64), (64, 48), (16, 16), (250, 130), (65, 97), (80, 160)]
)
def test_frames_have_the_sessions_size_whatever_it_is(
    networks: TinyNetworks, width: int, height: int
) -> None:
    generator = started(networks, context(width, height))
    for conditions in (Conditions({}, {}), lowres(picture())):
        frame = generator.step(conditions)
        assert frame.shape == (height, width, 3)
        assert frame.dtype == np.uint8
        assert frame.flags.c_contiguous


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (16, 16), (64, 64), (97, 33), (300, 400)])
def test_a_received_picture_may_have_any_size(
    networks: TinyNetworks, size: tuple[int, int]
) -> None:
    frame = started(networks).step(lowres(picture(2, *size)))
    assert frame.shape == (64, 64, 3)
    assert frame.std() > 3


def test_before_the_first_picture_the_frame_is_grey(networks: TinyNetworks) -> None:
    generator = started(networks)
    assert np.all(generator.step(Conditions({}, {})) == 128)
    other = {Modality.VIDEO: picture()}
    assert np.all(generator.step(Conditions(other, dict.fromkeys(other, 0))) == 128)
    assert not np.all(generator.step(lowres(picture())) == 128)


# The same again.


def test_equal_seeds_give_equal_frames_and_other_seeds_others(networks: TinyNetworks) -> None:
    first = started(networks, context(seed=7)).step(lowres(picture()))
    again = started(networks, context(seed=7)).step(lowres(picture()))
    other = started(networks, context(seed=8)).step(lowres(picture()))
    assert np.array_equal(first, again)
    assert (first != other).mean() > 0.2


def test_chance_elsewhere_neither_matters_nor_is_disturbed(networks: TinyNetworks) -> None:
    torch.manual_seed(1)
    first = started(networks).step(lowres(picture()))
    torch.manual_seed(2)
    untouched = torch.get_rng_state()
    again = started(networks).step(lowres(picture()))
    assert np.array_equal(first, again)
    assert torch.equal(torch.get_rng_state(), untouched)


def test_frames_do_not_depend_on_those_before(networks: TinyNetworks) -> None:
    """There is no time yet: a picture gives its frame, whenever it comes."""
    forwards, backwards = started(networks), started(networks)
    pictures = [picture(k) for k in range(4)]
    made = [forwards.step(lowres(p)) for p in pictures]
    made_backwards = [backwards.step(lowres(p)) for p in pictures[::-1]][::-1]
    for a, b in zip(made, made_backwards, strict=True):
        assert np.array_equal(a, b)
    assert all((a != b).mean() > 0.2 for a, b in itertools.pairwise(made))
    assert np.array_equal(forwards.step(Conditions({}, {})), np.full((64, 64, 3), 128, np.uint8))


def test_what_stands_still_does_not_flicker(networks: TinyNetworks) -> None:
    generator = started(networks)
    first = generator.step(lowres(picture()))
    assert np.array_equal(generator.step(lowres(picture())), first)


def test_reset_begins_a_new_stream_of_another_shape_and_seed(networks: TinyNetworks) -> None:
    generator = started(networks, context(64, 64, seed=1))
    generator.step(lowres(picture()))
    generator.reset(context(96, 80, seed=2))
    fresh = started(networks, context(96, 80, seed=2)).step(lowres(picture()))
    assert np.array_equal(generator.step(lowres(picture())), fresh)


def test_two_streams_share_networks_and_nothing_else(networks: TinyNetworks) -> None:
    a, b = started(networks, context(seed=1)), started(networks, context(seed=2))
    alone = a.step(lowres(picture()))
    b.step(lowres(picture(3)))
    assert np.array_equal(a.step(lowres(picture())), alone)


def test_step_before_reset_is_a_fault_of_the_caller(networks: TinyNetworks) -> None:
    with pytest.raises(RuntimeError, match="reset"):
        TinyGenerator(networks).step(lowres(picture()))


def test_nothing_grows_with_the_stream(networks: TinyNetworks) -> None:
    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(held), Tensor) for held in gc.get_objects())

    generator = started(networks)
    generator.step(lowres(picture()))
    before, held = tensors(), {name: id(value) for name, value in vars(generator).items()}
    for k in range(6):
        generator.step(lowres(np.roll(picture(), k, 0)))
    assert tensors() == before
    assert {name: id(value) for name, value in vars(generator).items()} == held


# What a picture may be, as an array.


def test_how_a_picture_lies_in_memory_does_not_matter(networks: TinyNetworks) -> None:
    """Also at the size the network takes, where nothing is scaled."""
    generator = started(networks)
    for height, width in ((20, 28), (16, 16)):
        plain = picture(4, height, width)
        expected = generator.step(lowres(plain))
        transposed = np.ascontiguousarray(plain.transpose(2, 1, 0)).transpose(2, 1, 0)
        reversed_twice = np.ascontiguousarray(plain[::-1, ::-1])[::-1, ::-1]
        read_only = plain.copy()
        read_only.flags.writeable = False
        for rgb in (transposed, reversed_twice, read_only):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                assert np.array_equal(generator.step(lowres(rgb)), expected)


def test_the_received_picture_is_left_as_it_was(networks: TinyNetworks) -> None:
    """The receiver keeps it and hands it out again; also the frame must be a copy of its own."""
    generator = started(networks)
    rgb = picture(4, 16, 16)
    kept = rgb.copy()
    first = generator.step(lowres(rgb))
    first_kept = first.copy()
    generator.step(lowres(picture(5, 16, 16)))
    assert np.array_equal(rgb, kept)
    assert np.array_equal(first, first_kept)


def test_pictures_are_averaged_when_they_shrink_and_left_alone_at_their_size() -> None:
    checks = np.indices((64, 64)).sum(0) % 2 * 200
    fine = np.repeat(checks[..., None], 3, 2).astype(np.uint8)
    assert np.all(to_condition_size(fine, 16, 16) == 100)
    small = picture(1, 16, 24)
    assert np.array_equal(to_condition_size(small, 24, 16), small)
    assert to_condition_size(small, 40, 30).shape == (30, 40, 3)


# Stand-ins: exact figures.


class _Degraded(nn.Module):
    """Tells what it saw; the latent is the mean colour of each 2x2 square, in three channels."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, rgb: Tensor) -> Tensor:
        self.seen.append(rgb.clone())
        return functional.pad(functional.avg_pool2d(rgb, 2), (0, 0, 0, 0, 0, LATENT_CHANNELS - 3))


class _ByHand(nn.Module):
    """Backbone whose paths end in the degraded latent, and codec that enlarges three channels."""

    def __init__(self) -> None:
        super().__init__()
        self.degraded = _Degraded()
        self.levels: list[float] = []
        self.starts: list[Tensor] = []

    def forward(self, x: Tensor, sigma: Tensor, degraded_latent: Tensor, *_: object) -> Tensor:
        self.levels.append(float(sigma[0]))
        self.starts.append(x.clone())
        return (x - degraded_latent) / sigma.view(-1, 1, 1, 1)

    def decode(self, latents: Tensor) -> Tensor:
        return functional.interpolate(latents[:, :3], scale_factor=8)


def by_hand(num_steps: int, start_sigma: float) -> tuple[_ByHand, TinyGenerator]:
    stand_in = _ByHand()
    adapters = Adapters().requires_grad_(False)
    networks = TinyNetworks(cast(Any, stand_in), cast(Any, stand_in), adapters, CPU)
    return stand_in, TinyGenerator(networks, num_steps, start_sigma)


def blocks(seed: int, rows: int, columns: int) -> NDArray[np.uint8]:
    """A picture of blocks of 2x2 equal pixels."""
    return picture(seed, rows, columns).repeat(2, 0).repeat(2, 1)


def test_pixels_go_in_and_come_out_as_they_are() -> None:
    """RGB stays RGB, rows stay rows, and 0..255 is -1..1 and back, to the level."""
    stand_in, generator = by_hand(2, 0.6)
    generator.reset(context(96, 64))
    received = blocks(1, 8, 12)
    received[0:2, 0:2], received[0:2, 2:4] = 0, 255
    frame = generator.step(lowres(received))
    (seen,) = stand_in.degraded.seen
    assert seen.shape == (1, 3, 16, 24)
    assert (float(seen.min()), float(seen.max())) == (-1.0, 1.0)
    assert np.array_equal(frame, received.repeat(4, 0).repeat(4, 1))


def test_what_overshoots_is_clipped_not_wrapped() -> None:
    """Before it is made to agree, which would hide it, and by that."""
    stand_in, generator = by_hand(1, 0.6)
    decode = stand_in.decode
    stand_in.decode = lambda latents: 3 * decode(latents)  # type: ignore[method-assign]
    generator.reset(context())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "agreeing", lambda frame, picture: frame)
        for level, expected in ((0, 0), (250, 255), (128, 129)):
            frame = generator.step(lowres(np.full((16, 16, 3), level, np.uint8)))
            assert np.all(frame == expected)
    edge = np.zeros((64, 64, 3), np.uint8)
    edge[:, 32:] = 255
    brighter = tiny.agreeing(edge, np.full((8, 8, 3), 255, np.uint8))
    assert brighter.min() > 100  # cubic rings at such an edge; nothing wraps
    darker = tiny.agreeing(edge, np.zeros((8, 8, 3), np.uint8))
    assert darker.max() < 155


def test_a_frame_agrees_with_the_picture_it_was_made_from() -> None:
    """Shrunk to the picture's size, it is the picture, though the decoder drifts in colour."""
    stand_in, generator = by_hand(1, 0.6)
    decode = stand_in.decode
    stand_in.decode = lambda latents: 0.8 * decode(latents) + 0.1  # type: ignore[method-assign]
    generator.reset(context())
    smooth = np.linspace(60, 180, 16)[None, :, None] * np.ones((16, 1, 3))
    received = smooth.astype(np.uint8)
    frame = generator.step(lowres(received))
    shrunk = frame.reshape(16, 4, 16, 4, 3).mean((1, 3))
    assert np.abs(shrunk - received).max() < 2
    detail = np.indices((64, 64)).sum(0)[..., None] % 2 * np.full(3, 20) + 100
    kept = tiny.agreeing(detail.astype(np.uint8), np.full((16, 16, 3), 110, np.uint8))
    assert np.array_equal(kept, detail)


@pytest.mark.parametrize(("num_steps", "start_sigma"), [(1, 0.6), (2, 0.6), (3, 0.9), (2, 1.0)])
def test_denoising_starts_and_steps_as_asked(num_steps: int, start_sigma: float) -> None:
    stand_in, generator = by_hand(num_steps, start_sigma)
    generator.reset(context())
    generator.step(lowres(np.full((16, 16, 3), 255, np.uint8)))
    expected = [start_sigma * (1 - k / num_steps) for k in range(num_steps)]
    assert stand_in.levels == pytest.approx(expected)
    # All ones are received: the start is (1 - sigma) + sigma noise, of unit variance.
    colours = stand_in.starts[0][:, :3]
    noise = (colours - (1 - start_sigma)) / start_sigma
    assert stand_in.starts[0].shape == (1, LATENT_CHANNELS, 8, 8)
    assert float(noise.mean()) == pytest.approx(0, abs=4 / np.sqrt(noise.numel()))
    assert float(noise.std()) == pytest.approx(1, abs=4 / np.sqrt(2 * noise.numel()))


def test_a_frame_of_an_odd_size_shows_the_whole_picture() -> None:
    """Scaled from the next larger grid (80x80), not cropped: what is at the borders stays there."""
    _, generator = by_hand(1, 0.6)
    generator.reset(context(66, 66))
    ramp = np.linspace(0, 255, 20).astype(np.uint8)[:, None]
    received = np.stack([ramp + 0 * ramp.T, ramp.T + 0 * ramp, 0 * ramp + 0 * ramp.T], -1)
    frame = generator.step(lowres(received)).astype(int)
    assert frame.shape == (66, 66, 3)
    for levels in (frame[:, 33, 0], frame[33, :, 1]):
        # Squares of two received pixels: half a pixel from the borders.
        assert levels[0] < 14
        assert levels[-1] > 241
        assert levels[33] == pytest.approx(128, abs=14)


def test_the_smallest_frames_are_made_at_64_pixels_a_side() -> None:
    """Below that a denoiser that halves its grid once more has little to look at."""
    stand_in, generator = by_hand(1, 0.6)
    generator.reset(context(20, 96))
    generator.step(lowres(picture()))
    assert stand_in.degraded.seen[0].shape == (1, 3, 24, 16)
    assert stand_in.starts[0].shape == (1, LATENT_CHANNELS, 12, 8)


# The networks' own promises.


def test_networks_take_any_grid_that_the_generator_makes(networks: TinyNetworks) -> None:
    with torch.inference_mode():
        for rows, columns in ((8, 8), (8, 10), (18, 32)):
            rgb = torch.zeros(1, 3, 2 * rows, 2 * columns)
            latent = networks.backbone.degraded(rgb)
            assert latent.shape == (1, LATENT_CHANNELS, rows, columns)
            velocity = networks.backbone(latent, torch.tensor([0.5]), latent)
            assert velocity.shape == latent.shape
            assert networks.codec.decode(latent).shape == (1, 3, 8 * rows, 8 * columns)
            whole = torch.zeros(1, 3, 8 * rows, 8 * columns)
            assert networks.codec.encode(whole).shape == latent.shape


def test_the_velocity_depends_on_latent_level_and_condition(networks: TinyNetworks) -> None:
    generator = torch.Generator().manual_seed(3)
    x, degraded = torch.randn(2, 1, LATENT_CHANNELS, 8, 8, generator=generator)
    backbone = networks.backbone
    low, high = torch.tensor([0.3]), torch.tensor([0.9])
    with torch.inference_mode():
        base = backbone(x, low, degraded)
        assert not torch.allclose(backbone(x + 1, low, degraded), base, atol=1e-3)
        assert not torch.allclose(backbone(x, high, degraded), base, atol=1e-4)
        assert not torch.allclose(backbone(x, low, degraded + 1), base, atol=1e-3)


def test_work_a_frame_is_within_what_was_planned() -> None:
    """At 256x256, multiply-adds: 3 G a denoising step, 4 G a decode (DESIGN, Receiver)."""

    def gmac(run: Any) -> float:
        with FlopCounterMode(display=False) as counter:
            run()
        return counter.get_total_flops() / 2 / 1e9

    with torch.device("meta"):
        codec, backbone = LatentCodec(), Backbone()
        latent, sigma = torch.empty(1, LATENT_CHANNELS, 32, 32), torch.empty(1)
        small = torch.empty(1, 3, 64, 64)
    step = gmac(lambda: backbone(latent, sigma, latent))
    assert 0.1 < step <= 3.0
    assert 0.1 < gmac(lambda: codec.decode(latent)) <= 4.0
    # What looks at the received picture is a small part of a step.
    assert gmac(lambda: backbone.degraded(small)) <= 0.3 * step
