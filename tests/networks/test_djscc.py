"""Joint source-channel coding as a network: power, layout, noise, and what it knows of the SNR."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from channel_emulator.impairments import ChannelSettings, Emulator
from receiver.diffusion.latent_codec import LatentCodec
from semcast.networks.djscc import Djscc, awgn, build_djscc
from semcast.networks.transforms import (
    AnalysisTransform,
    AttentionFeature,
    ResidualBlock,
    SynthesisTransform,
)
from semcast.session import Block, Modality, RadioFrame
from semcast.weights import read_weights, write_weights
from training.recipes.djscc import DjsccRgb, DjsccSketch, _from_codec

WIDTHS = (6, 8, 10)


def network(in_channels: int = 3, grid_channels: int = 4, seed: int = 1) -> Djscc:
    """A small one at random, whose attention and residual branches are awake."""
    torch.manual_seed(seed)
    made = Djscc(in_channels, grid_channels, WIDTHS, WIDTHS[::-1])
    for module in made.modules():
        if isinstance(module, AttentionFeature):
            nn.init.normal_(module.scale.weight, std=0.5)
            nn.init.constant_(module.unknown_snr, 0.3)
        if isinstance(module, ResidualBlock):
            nn.init.normal_(module.second.weight, std=0.05)
    return made.eval()


def pictures(count: int, height: int = 32, width: int = 48, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.rand(count, channels, height, width, generator=generator) * 2 - 1


def same_snr(count: int, snr_db: float) -> Tensor:
    return torch.full((count,), snr_db)


def mean_power(symbols: Tensor) -> Tensor:
    """Of each example, [B]."""
    return symbols.square().sum(2).mean(1)


# Symbols.


def test_schemes_have_the_symbols_of_the_papers() -> None:
    """GVSC: 7,800 of 8,192 for a first frame, 32x32x2 reals for a sketch (papers/03)."""
    rgb, sketch = (
        Djscc(recipe.in_channels, recipe.grid_channels, WIDTHS, WIDTHS)
        for recipe in (DjsccRgb, DjsccSketch)
    )
    assert rgb.max_symbols(256, 256) == 8192
    assert int(DjsccRgb.symbol_share * 8192) == 7800
    assert sketch.max_symbols(256, 256) == 1024
    assert DjsccSketch.symbol_share == 1
    assert rgb.max_symbols(64, 48) == 8 * 6 * 8


@settings(max_examples=40, deadline=None)
@given(
    num_symbols=st.integers(1, 4 * 6 * 2),
    snr_db=st.one_of(st.just(math.nan), st.floats(-10, 30)),
    level=st.sampled_from([0.0, 1e-3, 1.0, 50.0]),
)
def test_any_prefix_has_unit_mean_power(num_symbols: int, snr_db: float, level: float) -> None:
    """Also of black pictures and of ones out of range, each example for itself."""
    net = network()
    x = torch.cat([level * pictures(2), pictures(1)])
    with torch.inference_mode():
        symbols = net.encode(x, same_snr(3, snr_db), num_symbols)
    assert symbols.shape == (3, num_symbols, 2)
    assert symbols.dtype == torch.float32
    assert mean_power(symbols) == pytest.approx(np.ones(3), abs=1e-3)


def test_fewer_symbols_are_the_beginning_of_more_but_for_their_scale() -> None:
    net = network()
    known = same_snr(2, 5.0)
    with torch.inference_mode():
        whole = net.encode(pictures(2), known, net.max_symbols(48, 32))
        for count in (1, 7, 24, 47):
            part = net.encode(pictures(2), known, count)
            scale = mean_power(whole[:, :count]).rsqrt().view(-1, 1, 1)
            torch.testing.assert_close(part, whole[:, :count] * scale, rtol=1e-4, atol=1e-5)
            # The values themselves differ: each prefix has unit power of its own.
            assert count > 24 or (scale - 1).abs().max() > 1e-3


def test_symbols_run_through_the_grid_channel_after_channel() -> None:
    net = network()
    known = same_snr(1, 5.0)
    with torch.inference_mode():
        grid = net.encoder(pictures(1), known)
        assert grid.shape == (1, 4, 4, 6)
        symbols = net.encode(pictures(1), known, net.max_symbols(48, 32))
    reals = symbols.flatten()
    scale = reals[0] / grid.flatten()[0]
    torch.testing.assert_close(reals, grid.flatten() * scale)
    # Symbol 12 is the first of channel 1: 24 reals are channel 0.
    torch.testing.assert_close(symbols[0, 12], grid[0, 1, 0, :2] * scale)


class _Seen(nn.Module):
    """A decoder that shows its grid, enlarged."""

    def __init__(self) -> None:
        super().__init__()
        self.grid = torch.empty(0)
        self.snr_db = torch.empty(0)

    def forward(self, grid: Tensor, snr_db: Tensor) -> Tensor:
        self.grid, self.snr_db = grid, snr_db
        return grid[:, :3].repeat_interleave(8, 2).repeat_interleave(8, 3)


def test_the_decoder_gets_the_grid_back_at_unit_variance_with_zeros_where_nothing_was_sent() -> (
    None
):
    net = network()
    known = same_snr(2, 5.0)
    with torch.inference_mode():
        grid = net.encoder(pictures(2), known)
        seen = _Seen()
        net.decoder = seen  # type: ignore[assignment]
        num_symbols = 30
        symbols = net.encode(pictures(2), known, num_symbols)
        made = net.decode(symbols, known, 48, 32)
    assert made.shape == (2, 3, 32, 48)
    assert seen.grid.shape == grid.shape
    got, sent = seen.grid.flatten(1), grid.flatten(1)[:, :60]
    assert torch.all(got[:, 60:] == 0)
    assert got[:, :60].square().mean(1) == pytest.approx(np.ones(2), abs=1e-3)
    for k in range(2):
        scale = got[k, 0] / sent[k, 0]
        torch.testing.assert_close(got[k, :60], sent[k] * scale, rtol=1e-4, atol=1e-5)
    assert torch.equal(seen.snr_db, known)


def test_a_cut_off_end_and_an_end_of_zeros_are_the_same_to_the_receiver() -> None:
    net = network()
    known = same_snr(1, 0.0)
    with torch.inference_mode():
        part = net.encode(pictures(1), known, 20)
        padded = torch.cat([part, torch.zeros(1, 28, 2)], 1)
        assert torch.equal(net.decode(part, known, 48, 32), net.decode(padded, known, 48, 32))


@pytest.mark.parametrize(("width", "height"), [(8, 8), (16, 8), (8, 40), (64, 48)])
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_come_back_in_their_shape(width: int, height: int, channels: int) -> None:
    net = network(channels, 2)
    known = same_snr(2, 10.0)
    x = pictures(2, height, width, channels)
    with torch.inference_mode():
        for count in (1, net.max_symbols(width, height)):
            symbols = net.encode(x, known, count)
            assert symbols.shape == (2, count, 2)
            assert net.decode(symbols, known, width, height).shape == x.shape


def test_a_grid_of_nothing_gives_no_infinities() -> None:
    net = network()
    nn.init.zeros_(net.encoder.head.weight)
    assert net.encoder.head.bias is not None
    nn.init.zeros_(net.encoder.head.bias)
    with torch.inference_mode():
        assert torch.all(net.encode(pictures(1), same_snr(1, 0.0), 10) == 0)


# Learning.


def test_the_way_through_the_channel_can_be_learned() -> None:
    """Gradients reach every number of both halves, with the SNR known and not."""
    net = network().train()
    known = torch.tensor([3.0, math.nan, 12.0, math.nan])
    x = pictures(4, 16, 16).requires_grad_(True)
    torch.manual_seed(1)
    noisy = awgn(net.encode(x, known, 6), known.nan_to_num(nan=5.0))
    made = net.decode(noisy, known, 16, 16)
    (made - x.detach()).square().mean().backward()
    assert x.grad is not None
    assert torch.all(x.grad.isfinite())
    assert x.grad.abs().max() > 0
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert torch.all(parameter.grad.isfinite()), name
        assert parameter.grad.abs().max() > 0, name


def test_a_few_steps_of_learning_lower_the_error() -> None:
    net = Djscc(3, 4, WIDTHS, WIDTHS[::-1])
    torch.manual_seed(3)
    x = pictures(4, 16, 16).mean((2, 3), keepdim=True).expand(-1, -1, 16, 16) * 5
    optimiser = torch.optim.Adam(net.parameters(), 5e-3)
    errors = []
    for _ in range(60):
        known = same_snr(4, 10.0)
        made = net.decode(awgn(net.encode(x, known, 8), known), known, 16, 16)
        error = (made - x).square().mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        errors.append(float(error.detach()))
    assert np.mean(errors[-5:]) < 0.5 * errors[0]


# What is known of the SNR.


def test_at_first_the_snr_changes_nothing_and_later_it_does() -> None:
    fresh = Djscc(3, 4, WIDTHS, WIDTHS[::-1]).eval()
    learned = network()
    for net, same in ((fresh, True), (learned, False)):
        with torch.inference_mode():
            low, high, unknown = (
                net.encode(pictures(1), same_snr(1, snr_db), 48)
                for snr_db in (-5.0, 20.0, math.nan)
            )
            low_made, high_made = (
                net.decode(low, same_snr(1, snr_db), 48, 32) for snr_db in (-5.0, 20.0)
            )
        assert torch.allclose(low, high, atol=1e-5) == same
        assert torch.allclose(low, unknown, atol=1e-5) == same
        assert torch.allclose(low_made, high_made, atol=1e-5) == same


def test_an_unknown_snr_is_a_learned_constant_and_example_by_example() -> None:
    net = network()
    with torch.inference_mode():
        x = pictures(1).expand(3, -1, -1, -1)
        mixed = net.encode(x, torch.tensor([10.0, math.nan, 3.0]), 48)
        assert torch.all(mixed.isfinite())
        # `network` sets the constant to 0.3, in units of 10 dB.
        torch.testing.assert_close(mixed[1], mixed[2])
        assert not torch.allclose(mixed[0], mixed[1], atol=1e-4)
        made = net.decode(mixed, torch.tensor([10.0, math.nan, 3.0]), 48, 32)
        torch.testing.assert_close(made[1], made[2])


def test_attention_scales_channels_and_begins_as_the_identity() -> None:
    torch.manual_seed(1)
    attention = AttentionFeature(5)
    x = torch.randn(2, 5, 3, 4)
    known = torch.tensor([4.0, math.nan])
    assert torch.equal(attention(x, known), x)
    nn.init.normal_(attention.scale.weight)
    nn.init.normal_(attention.scale.bias)
    gains = attention(x, known) / x
    torch.testing.assert_close(gains, gains[:, :, :1, :1].expand_as(gains))
    assert torch.all((gains > 0) & (gains < 2))
    assert gains[0].std() > 0.01


def test_a_transform_is_told_the_snr_just_if_it_can_use_it() -> None:
    x, grid, known = torch.zeros(1, 3, 16, 16), torch.zeros(1, 4, 2, 2), same_snr(1, 3.0)
    for made, given_x in ((AnalysisTransform, x), (SynthesisTransform, grid)):
        inputs = (3, 4) if made is AnalysisTransform else (4, 3)
        plain = made(*inputs, widths=WIDTHS)
        aware = made(*inputs, widths=WIDTHS, snr_aware=True)
        assert plain(given_x).shape == aware(given_x, known).shape
        with pytest.raises(ValueError, match="SNR-aware"):
            plain(given_x, known)
        with pytest.raises(ValueError, match="SNR-aware"):
            aware(given_x)


# Noise.


def decibel(ratio: float) -> float:
    return 10 * math.log10(ratio)


NUM_SYMBOLS = 100_000
"""The power of that many noise samples is known to 0.3 %, 0.014 dB (one sigma)."""


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 10.0, 20.0])
def test_noise_is_half_of_n0_in_each_real_dimension(snr_db: float) -> None:
    """The slip of public code (papers/05): N0 / 2 a complex symbol, which is 3 dB too good."""
    torch.manual_seed(11)
    sent = torch.randn(2, NUM_SYMBOLS, 2)
    sent *= mean_power(sent).rsqrt().view(-1, 1, 1)
    noise = awgn(sent, torch.tensor([snr_db, snr_db + 7])) - sent
    for k, requested in enumerate((snr_db, snr_db + 7)):
        assert decibel(1 / float(mean_power(noise)[k])) == pytest.approx(requested, abs=0.1)
        for dimension in range(2):
            variance = float(noise[k, :, dimension].square().mean())
            assert decibel(0.5 / variance) == pytest.approx(requested, abs=0.1)
    correlation = np.corrcoef(noise[0].numpy().T)[0, 1]
    assert abs(correlation) < 4 / math.sqrt(NUM_SYMBOLS)


@pytest.mark.parametrize("snr_db", [-5.0, 3.0, 15.0])
def test_the_training_channel_is_as_noisy_as_the_emulator(snr_db: float) -> None:
    torch.manual_seed(12)
    sent = torch.randn(1, NUM_SYMBOLS, 2)
    sent *= mean_power(sent).rsqrt()
    in_training = awgn(sent, torch.tensor([snr_db])) - sent
    samples = torch.view_as_complex(sent[0].contiguous()).numpy()
    frame = RadioFrame(1, 0, 0, (Block(Modality.KEYFRAME, samples),))
    arrived, _ = Emulator(1).apply(frame, ChannelSettings(snr_db=snr_db, seed=5))
    on_air = arrived.blocks[0].samples - samples
    ratio = float(mean_power(in_training)) / float(np.mean(np.abs(on_air) ** 2))
    assert decibel(ratio) == pytest.approx(0, abs=0.1)
    for dimension, values in enumerate((on_air.real, on_air.imag)):
        ratio = float(in_training[0, :, dimension].var()) / float(values.var())
        assert decibel(ratio) == pytest.approx(0, abs=0.1)


# Weight files.


def test_a_network_comes_back_from_its_file(tmp_path: Path) -> None:
    net = network(1, 2)
    config = {
        "in_channels": 1,
        "grid_channels": 2,
        "encoder_widths": list(WIDTHS),
        "decoder_widths": list(WIDTHS[::-1]),
    }
    write_weights(tmp_path / "some.safetensors", net.state_dict(), {"config": config})
    again = build_djscc(*read_weights(tmp_path / "some.safetensors"))
    assert not again.training
    assert not any(parameter.requires_grad for parameter in again.parameters())
    x, known = pictures(2, channels=1), torch.tensor([4.0, math.nan])
    with torch.inference_mode():
        # Numbers of 16 bits: three digits.
        symbols = again.encode(x, known, 24)
        torch.testing.assert_close(symbols, net.encode(x, known, 24), rtol=0, atol=0.01)
        made = again.decode(symbols, known, 48, 32)
        torch.testing.assert_close(made, net.decode(symbols, known, 48, 32), rtol=0, atol=0.01)


def test_training_may_begin_from_a_latent_codec(tmp_path: Path) -> None:
    """Its transforms come over, and its normalisation: the grid is the codec's latents."""
    torch.manual_seed(6)
    codec = LatentCodec()
    codec.encoder.head.weight.data *= 30
    for _ in range(20):
        codec(pictures(4))
    codec.eval().requires_grad_(False)
    write_weights(tmp_path / "codec.safetensors", codec.state_dict(), {"config": {}})
    net = Djscc(DjsccRgb.in_channels, DjsccRgb.grid_channels).eval()
    missing, unexpected = net.load_state_dict(
        _from_codec(tmp_path / "codec.safetensors"), strict=False
    )
    assert not unexpected
    assert missing
    assert all(".attention." in name for name in missing)
    with torch.inference_mode():
        latents = codec.encode(pictures(1))
        grid = net.encoder(pictures(1), same_snr(1, 5.0))
        torch.testing.assert_close(grid, latents, rtol=0, atol=0.02 * float(latents.std()))
        made = net.decoder(latents, same_snr(1, 5.0))
        torch.testing.assert_close(made, codec.decode(latents), rtol=0, atol=1e-2)
