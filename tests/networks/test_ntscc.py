"""The picture code: a known linear code at first; prefixes, rates, noise, and what it is told."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import norm
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from channel_emulator.impairments import ChannelSettings, Emulator
from semcast.errors import NotFoundError
from semcast.networks.ntscc import (
    PATCH,
    Base,
    Hyperprior,
    Ntscc,
    NtsccShape,
    RateEmbedding,
    build_ntscc,
    bundled_ntscc,
    noisy,
    power_scale,
    sent_mask,
)
from semcast.networks.post_filter import PostFilter
from semcast.session import Block, Modality, RadioFrame
from semcast.weights import read_weights, write_weights
from training.components import principal_components
from training.recipes.ntscc import NtsccRecipe

SHAPE = NtsccShape(
    latent_channels=24,
    max_reals=24,
    block_width=6,
    encoder_widths=(4, 6, 8),
    decoder_widths=(8, 6, 4),
)
GREY = NtsccShape(**{**SHAPE.config(), "in_channels": 1, "hyperprior": False})
BASED = NtsccShape(**{**SHAPE.config(), "base": True})
UNKNOWN = math.nan


def same_snr(count: int, snr_db: float) -> Tensor:
    return torch.full((count,), snr_db)


def textures(count: int, height: int, width: int, channels: int = 3, seed: int = 4) -> Tensor:
    """Smooth pictures in -1..1, whose patches are correlated as those of photographs are."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.randn(count, channels, height // 8 + 1, width // 8 + 1, generator=generator)
    fine = 0.05 * torch.randn(count, channels, height, width, generator=generator)
    large = nn.functional.interpolate(small, (height, width), mode="bicubic", align_corners=False)
    return (0.35 * large + fine).clamp(-1, 1)


def as_patches(x: Tensor) -> NDArray[np.float64]:
    """[patches, in * 256], channel after channel, row after row."""
    patches = x.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH).permute(0, 2, 3, 1, 4, 5)
    return patches.reshape(-1, x.shape[1] * PATCH**2).double().numpy()


def fresh(shape: NtsccShape = SHAPE, seed: int = 1) -> Ntscc:
    torch.manual_seed(seed)
    return Ntscc(shape).eval()


def stirred(network: nn.Module, size: float = 0.05, seed: int = 2) -> nn.Module:
    """With noise on every parameter, so that nothing is at rest any more."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += size * torch.randn(parameter.shape, generator=generator)
    return network


class Klt:
    """A Karhunen-Loeve transform by numpy alone, of patches whose mean is flat."""

    def __init__(self, pictures: Tensor, count: int) -> None:
        values = as_patches(pictures)
        channels = pictures.shape[1]
        flat = values.reshape(len(values), channels, -1).mean((0, 2))
        self.mean = np.repeat(flat, PATCH**2)
        centred = values - self.mean
        _, singular, right = np.linalg.svd(centred, full_matrices=False)
        self.components = right[:count].T
        self.variances = singular[:count] ** 2 / len(values)

    def coefficients(self, pictures: Tensor) -> NDArray[np.float64]:
        """[patches, count]."""
        return (as_patches(pictures) - self.mean) @ self.components

    def error(self, pictures: Tensor, count: int) -> float:
        """Mean square of what the first `count` components leave."""
        values = as_patches(pictures)
        basis = self.components[:, :count]
        made = self.mean + (values - self.mean) @ basis @ basis.T
        return float(np.mean((made - values) ** 2))

    def begin(self, network: Ntscc) -> Ntscc:
        tensors = (
            torch.from_numpy(value).float()
            for value in (self.mean, self.components, self.variances)
        )
        network.begin_linear(*tensors)
        return network


PICTURES = textures(3, 64, 96)
KLT = Klt(PICTURES, 24)
GRID = 4, 6


def linear() -> Ntscc:
    return KLT.begin(fresh())


def uniform(count: int, reals: int) -> Tensor:
    return torch.full((count, *GRID), reals)


def code(network: Ntscc, counts: Tensor, x: Tensor = PICTURES, snr_db: float = 10.0) -> Tensor:
    """There and back without noise."""
    known = same_snr(len(x), snr_db)
    with torch.inference_mode():
        reals = network.to_reals(network.analyse(x, known), counts, known)
        return network.synthesise(network.from_reals(reals, counts, known), counts, known)


# The linear code it begins as.


def test_it_begins_as_the_transform_it_was_given() -> None:
    network = linear()
    with torch.inference_mode():
        y = network.analyse(PICTURES, same_snr(3, 10.0))
    assert y.shape == (3, 24, *GRID)
    rows = y.permute(0, 2, 3, 1).reshape(-1, 24).numpy()
    wanted = KLT.coefficients(PICTURES)
    # In units of its own: all coefficients by one factor.
    factor = float((rows * wanted).sum() / (wanted**2).sum())
    assert factor > 1
    assert rows == pytest.approx(factor * wanted, abs=1e-3)


def test_power_is_allocated_as_softcast_does() -> None:
    """Gains of variance^-1/4, so that powers go as standard deviations (Jakubczak and Katabi)."""
    network = linear()
    known = same_snr(3, 10.0)
    with torch.inference_mode():
        y = network.analyse(PICTURES, known)
        reals = network.to_reals(y, uniform(3, 24), known)
        back = network.from_reals(reals, uniform(3, 24), known)
    torch.testing.assert_close(back, y, rtol=1e-4, atol=1e-4)
    powers = reals.square().mean((0, 2, 3)).numpy()
    ratio = powers / np.sqrt(KLT.variances)
    assert ratio == pytest.approx(np.full(24, ratio.mean()), rel=0.02)


@pytest.mark.parametrize("reals", [1, 3, 8, 17, 24])
def test_what_is_sent_comes_back_as_the_klt_says(reals: int) -> None:
    error = float((code(linear(), uniform(3, reals)) - PICTURES).square().mean())
    assert error == pytest.approx(KLT.error(PICTURES, reals), rel=0.01)


def test_more_reals_are_never_worse_and_nothing_is_the_mean() -> None:
    network = linear()
    errors = [
        float((code(network, uniform(3, reals)) - PICTURES).square().mean())
        for reals in range(0, 25, 2)
    ]
    assert all(more < less for less, more in pairwise(errors))
    assert errors[0] == pytest.approx(KLT.error(PICTURES, 0), rel=0.01)
    nothing = code(network, uniform(3, 0))
    assert nothing.std((2, 3)).max() < 1e-5


def test_the_recipes_components_are_those_of_its_pictures() -> None:
    """`training.components` against numpy's own decomposition."""
    pictures = textures(2, 64, 64, 1)
    mean, basis, spread = principal_components(
        lambda rng: pictures, PATCH, 6, np.random.default_rng(1)
    )
    values = as_patches(pictures)
    assert mean.numpy() == pytest.approx(values.mean(0), abs=1e-4)
    covariance = np.cov(values.T, bias=True)
    largest = np.sort(np.linalg.eigvalsh(covariance))[::-1][:6]
    assert spread.numpy() == pytest.approx(largest, rel=1e-3)
    assert (basis.T @ basis).numpy() == pytest.approx(np.eye(6), abs=1e-5)
    assert np.diag(basis.double().numpy().T @ covariance @ basis.double().numpy()) == (
        pytest.approx(largest, rel=1e-3)
    )


@pytest.mark.parametrize("shape", [SHAPE, GREY], ids=["colour", "grey"])
def test_what_is_not_linear_begins_with_no_effect(shape: NtsccShape) -> None:
    """Twice the picture, less the mean, is twice the latent; no filter, no SNR."""
    network = fresh(shape)
    x = textures(1, 32, 48, shape.in_channels)
    counts = torch.full((1, 2, 3), 9)
    with torch.inference_mode():
        made = []
        for scale in (0.0, 1.0, 2.0):
            y = network.analyse(scale * x, same_snr(1, 3.0))
            reals = network.to_reals(y, counts, same_snr(1, 3.0))
            back = network.from_reals(reals, counts, same_snr(1, 3.0))
            made.append(network.synthesise(back, counts, same_snr(1, 3.0)))
    torch.testing.assert_close(made[2] - made[0], 2 * (made[1] - made[0]), rtol=1e-4, atol=1e-5)


# The digital base under it.


def based(x: Tensor, patch_bits: float = 4.0) -> Base:
    """Means of 8x8 pixels, as a base might tell them."""
    small = nn.functional.avg_pool2d(x, 8)
    return Base(nn.functional.interpolate(small, scale_factor=8), torch.full((len(x),), patch_bits))


def test_a_picture_is_what_its_base_lacks_and_its_base() -> None:
    base, known, counts = based(PICTURES), same_snr(3, 10.0), uniform(3, 24)
    klt = Klt(PICTURES - base.picture, 24)
    network = klt.begin(fresh(BASED))
    with torch.inference_mode():
        y = network.analyse(PICTURES, known, base)
        reals = network.to_reals(y, counts, known, base)
        back = network.from_reals(reals, counts, known, base)
        made = network.synthesise(back, counts, known, base)
        # Of a picture that is its base nothing is left to say.
        nothing = network.analyse(base.picture, known, base)
        bare = network.synthesise(nothing, uniform(3, 0), known, base)
    lacked = PICTURES - base.picture
    assert float((made - PICTURES).square().mean()) == pytest.approx(
        klt.error(lacked, 24), rel=0.01
    )
    assert float((bare - base.picture).abs().max()) < 0.05


def test_a_network_that_learned_reads_its_base_and_how_good_it_is() -> None:
    network = stirred(fresh(BASED))
    base, known, counts = based(PICTURES), same_snr(3, 10.0), uniform(3, 12)
    other = Base(0.5 * base.picture, base.patch_bits)
    richer = Base(base.picture, 4 * base.patch_bits)
    with torch.inference_mode():
        y = network.analyse(PICTURES, known, base)
        assert not torch.equal(y, network.analyse(PICTURES, known, other))
        reals = [network.to_reals(y, counts, known, b) for b in (base, richer)]
        assert not torch.equal(*reals)
        back = [network.from_reals(reals[0], counts, known, b) for b in (base, richer)]
        assert not torch.equal(*back)
        made = [network.synthesise(y, counts, known, b) for b in (base, richer, other)]
        assert not torch.equal(made[0], made[1])
        assert not torch.equal(made[0], made[2])
        assert all(one.isfinite().all() for one in made)


# Rates.


def test_each_patch_sends_its_first_reals_and_nothing_behind_them() -> None:
    network = stirred(fresh())
    counts = torch.randint(0, 25, (3, *GRID), generator=torch.Generator().manual_seed(1))
    known = same_snr(3, 8.0)
    with torch.inference_mode():
        reals = network.to_reals(network.analyse(PICTURES, known), counts, known)
    assert reals.shape == (3, 24, *GRID)
    for index in np.ndindex(3, *GRID):
        batch, row, column = index
        patch, count = reals[batch, :, row, column], int(counts[index])
        assert (patch[count:] == 0).all()
        assert (patch[:count] != 0).all()


def test_the_masked_reals_are_twice_the_symbols() -> None:
    counts = torch.tensor([[[3, 0], [24, 7]], [[1, 1], [1, 1]]])
    mask = sent_mask(counts, 24)
    assert mask.shape == (2, 24, 2, 2)
    assert mask.sum((1, 2, 3)).tolist() == [34, 4]
    assert torch.equal(mask.sum(1).long(), counts)
    assert set(mask.unique().tolist()) == {0, 1}


def test_a_network_that_learned_knows_each_patchs_rate() -> None:
    """Where a neighbour sends more, what a patch says may change: f_e knows all rates."""
    network = stirred(linear())
    some = uniform(1, 8)
    more = some.clone()
    more[0, 0, 1] = 20
    known = same_snr(1, 8.0)
    with torch.inference_mode():
        y = network.analyse(PICTURES[:1], known)
        one, other = (network.to_reals(y, counts, known) for counts in (some, more))
        assert not torch.equal(one[0, :8, 0, 0], other[0, :8, 0, 0])
        back = [network.synthesise(y, counts, known) for counts in (some, more)]
        assert not torch.equal(*back)


def test_features_of_a_rate_rise_with_it() -> None:
    """What networks read of k is not saturated at either end."""
    embedding = stirred(RateEmbedding(192), 0.5)
    counts = torch.tensor([[[0, 1, 2, 8, 60, 190, 192]]])
    with torch.inference_mode():
        features = embedding(counts)[0, :, 0]
    assert features.isfinite().all()
    assert all((features[:, k] != features[:, k + 1]).any() for k in range(6))


def test_power_is_that_of_what_is_sent() -> None:
    counts = torch.tensor([[[2, 1]], [[0, 1]]])
    reals = torch.zeros(2, 4, 1, 2)
    reals[0, :2, 0, 0] = torch.tensor([3.0, 5.0])
    reals[0, 0, 0, 1] = -2.0
    reals[1, 0, 0, 1] = 7.0
    scale = power_scale(reals, counts)
    assert scale.shape == (2, 1, 1, 1)
    assert scale.flatten().tolist() == pytest.approx([math.sqrt((9 + 25 + 4) / 3), 7.0])
    assert power_scale(torch.zeros(1, 4, 1, 2), counts[:1]).item() == pytest.approx(0, abs=1e-5)


# How surprising patches are.


def test_bits_are_those_of_the_gaussian_that_the_hyperprior_gives() -> None:
    """-log2 of the probability of the unit step around the value, against scipy."""
    hyperprior = Hyperprior(4)
    head = hyperprior.synthesis[-1]
    mean, raw = torch.tensor([0.0, 1.5, -3.0, 0.2]), torch.tensor([0.0, 1.0, 2.0, -9.0])
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.cat([mean, raw]))
    y = torch.randint(-5, 6, (2, 4, 3, 5), generator=torch.Generator().manual_seed(3)).float()
    with torch.inference_mode():
        bits, hyper_bits = hyperprior(y)
    # A scale below 0.11 is taken for 0.11: everything within a step is one bin.
    spread = np.maximum(np.log1p(np.exp(raw.numpy())), 0.11)[:, None, None]
    distance = -abs(y.numpy() - mean.numpy()[:, None, None])
    share = norm.cdf((distance + 0.5) / spread) - norm.cdf((distance - 0.5) / spread)
    wanted = -np.log2(np.maximum(share, 1e-9)).sum(1)
    assert bits.shape == (2, 3, 5)
    # Single precision, far out in the tail.
    assert bits.numpy() == pytest.approx(wanted, rel=5e-3)
    assert hyper_bits.shape == (2,) and (hyper_bits > 0).all()


@pytest.mark.parametrize("grid", [(1, 1), (3, 5), (4, 7), (8, 6)])
def test_patches_of_any_grid_have_bits(grid: tuple[int, int]) -> None:
    network = stirred(fresh())
    y = 5 * torch.randn(2, 24, *grid, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        bits = network.patch_bits(y)
    assert bits.shape == (2, *grid)
    assert bits.dtype == torch.float32
    assert bits.isfinite().all() and (bits >= 0).all()


def test_latents_far_from_what_is_expected_cost_more_and_stay_finite() -> None:
    network = fresh()
    y = torch.zeros(1, 24, 2, 2)
    y[0, :, 0, 1], y[0, :, 1, 0], y[0, :, 1, 1] = 3, 40, 1e6
    with torch.inference_mode():
        # Of all-zero weights: a mean of zero and one scale everywhere.
        for parameter in network.hyperprior.synthesis[-1].parameters():
            parameter.zero_()
        bits = network.patch_bits(y).flatten()
    assert bits[0] < bits[1] < bits[2]
    assert bits.isfinite().all()


def test_a_network_without_a_hyperprior_has_uniform_rates_only() -> None:
    network = fresh(GREY)
    assert network.hyperprior is None
    with pytest.raises(ValueError, match="uniform rates only"):
        network.patch_bits(torch.zeros(1, 24, 2, 2))


# What is known of the SNR.


def test_at_first_the_snr_changes_nothing_and_later_it_does() -> None:
    counts = uniform(3, 12)
    for network, same in ((linear(), True), (stirred(linear(), 0.1), False)):
        low, high, unknown = (code(network, counts, snr_db=s) for s in (-5.0, 20.0, UNKNOWN))
        assert torch.equal(low, high) == same
        assert torch.equal(low, unknown) == same
        assert unknown.isfinite().all()


def test_an_unknown_snr_harms_neither_its_batch_nor_any_gradient() -> None:
    network = stirred(fresh()).train()
    x = textures(3, 32, 32)
    counts = torch.full((3, 2, 2), 10)
    made = []
    for middle in (UNKNOWN, 12.0):
        known = torch.tensor([3.0, middle, 15.0])
        y = network.analyse(x, known)
        reals = network.to_reals(y, counts, known)
        scale = power_scale(reals, counts)
        torch.manual_seed(1)
        arrived = noisy(reals / scale, counts, same_snr(3, 10.0)) * scale
        back = network.from_reals(arrived, counts, known)
        made.append(network.synthesise(back, counts, known))
    assert made[0].isfinite().all()
    torch.testing.assert_close(made[0][[0, 2]], made[1][[0, 2]])
    bits, hyper_bits = network.hyperprior(y, torch.zeros(3, 32, 1, 1))
    (made[0].square().mean() + bits.mean() + hyper_bits.mean()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_pictures_of_a_batch_do_not_see_each_other() -> None:
    network = stirred(linear())
    counts = uniform(3, 11)
    together = code(network, counts)
    alone = code(network, counts[1:2], PICTURES[1:2])
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)


# Noise of the training graph.

NUM_SYMBOLS = 100_000
"""The power of that many noise samples is known to 0.3 %, 0.014 dB (one sigma)."""


def decibel(ratio: float) -> float:
    return 10 * math.log10(ratio)


def unit_reals(count: int) -> tuple[Tensor, Tensor]:
    """Reals of unit mean square for so many symbols, [count, 4, h, w] with half of them sent."""
    counts = torch.full((count, NUM_SYMBOLS // 400, 400), 2)
    reals = torch.randn(count, 4, NUM_SYMBOLS // 400, 400) * sent_mask(counts, 4)
    return reals / power_scale(reals, counts), counts


def as_symbols(reals: Tensor) -> NDArray[np.complex64]:
    """As `PatchBlocks` sends them: two reals a symbol, each of half the symbol's power."""
    sent = reals[:, :2].flatten(1).numpy() / math.sqrt(2)
    return np.ascontiguousarray(sent[0], np.float32).view(np.complex64)


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 10.0, 20.0])
def test_noise_is_half_of_n0_in_each_real_of_a_symbol(snr_db: float) -> None:
    """The slip of public code (papers/05): N0 / 2 a complex symbol, which is 3 dB too good."""
    torch.manual_seed(11)
    x, counts = unit_reals(2)
    y = noisy(x, counts, torch.tensor([snr_db, snr_db + 7]))
    for k, requested in enumerate((snr_db, snr_db + 7)):
        sent, arrived = as_symbols(x[k : k + 1]), as_symbols(y[k : k + 1])
        assert float(np.mean(np.abs(sent) ** 2)) == pytest.approx(1, abs=1e-3)
        noise = arrived - sent
        ratio = float(np.mean(np.abs(sent) ** 2) / np.mean(np.abs(noise) ** 2))
        assert decibel(ratio) == pytest.approx(requested, abs=0.1)
        for dimension in (noise.real, noise.imag):
            assert decibel(0.5 / float(np.mean(dimension**2))) == pytest.approx(requested, abs=0.1)
        assert abs(np.corrcoef(noise.real, noise.imag)[0, 1]) < 4 / math.sqrt(NUM_SYMBOLS)


def test_where_nothing_was_sent_nothing_arrives() -> None:
    x, counts = unit_reals(1)
    y = noisy(x, counts, torch.tensor([0.0]))
    assert (y[:, 2:] == 0).all()
    assert (y[:, :2] != x[:, :2]).float().mean() > 0.99


@pytest.mark.parametrize("snr_db", [-5.0, 3.0, 15.0])
def test_the_training_channel_is_as_noisy_as_the_emulator(snr_db: float) -> None:
    torch.manual_seed(12)
    x, counts = unit_reals(1)
    sent = as_symbols(x)
    in_training = as_symbols(noisy(x, counts, torch.tensor([snr_db]))) - sent
    frame = RadioFrame(1, 0, 0, (Block(Modality.KEYFRAME, sent),))
    arrived, _ = Emulator(1).apply(frame, ChannelSettings(snr_db=snr_db, seed=5))
    on_air = arrived.blocks[0].samples - sent
    for part in (np.real, np.imag):
        assert decibel(float(part(in_training).var() / part(on_air).var())) == (
            pytest.approx(0, abs=0.1)
        )


# The filter.


def test_the_filter_begins_as_no_correction_and_learns_rate_and_snr() -> None:
    torch.manual_seed(1)
    plain = PostFilter(3, 5, (8, 6, 4))
    x, rate = textures(2, 32, 48), torch.rand(2, 5, 2, 3)
    known = torch.tensor([3.0, UNKNOWN])
    with torch.inference_mode():
        assert torch.equal(plain(x, rate, known), x)
    awake = stirred(plain)
    with torch.inference_mode():
        made = awake(x, rate, known)
        assert made.shape == x.shape and made.isfinite().all()
        assert not torch.equal(made, x)
        assert not torch.equal(made, awake(x, rate + 1, known))
        assert not torch.equal(made[0], awake(x, rate, known + 9)[0])


def test_the_filter_sees_past_the_edges_of_patches() -> None:
    filter_ = stirred(PostFilter(1, 5, (8, 6, 4)))
    x, rate, known = textures(1, 48, 48, 1), torch.rand(1, 5, 3, 3), same_snr(1, 5.0)
    changed = x.clone()
    changed[0, 0, 16:32, 16:32] += 0.5
    with torch.inference_mode():
        correction = filter_(x, rate, known) - x
        other = filter_(changed, rate, known) - changed
    moved = (correction - other)[0, 0].abs()
    assert moved[14, 20] > 0 and moved[20, 33] > 0


# Sizes and files.


@pytest.mark.parametrize(("height", "width"), [(16, 16), (48, 16), (64, 112)])
@pytest.mark.parametrize("shape", [SHAPE, GREY], ids=["colour", "grey"])
def test_pictures_come_back_in_their_shape(height: int, width: int, shape: NtsccShape) -> None:
    network = stirred(fresh(shape))
    x = textures(2, height, width, shape.in_channels)
    known = same_snr(2, 9.0)
    counts = torch.full((2, height // PATCH, width // PATCH), 13)
    with torch.inference_mode():
        y = network.analyse(x, known)
        assert y.shape == (2, 24, height // PATCH, width // PATCH)
        back = network.from_reals(network.to_reals(y, counts, known), counts, known)
        assert back.shape == y.shape
        assert network.synthesise(back, counts, known).shape == x.shape


def test_the_picture_codec_is_one_that_a_cpu_can_run() -> None:
    """120 ms at 256x256 on two cores: a first frame's coding is 5 GMAC together."""
    network = Ntscc(NtsccRecipe.shape).eval()
    x, known = torch.zeros(1, 3, 256, 256), same_snr(1, 10.0)
    base = Base(x, torch.zeros(1))
    counts = torch.full((1, 16, 16), 60)

    def macs(call: object, *inputs: Tensor | Base) -> float:
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            call(*inputs)  # type: ignore[operator]
        return counter.get_total_flops() / 2

    y = torch.zeros(1, 192, 16, 16)
    encode = macs(network.analyse, x, known, base)
    encode += macs(network.to_reals, y, counts, known, base)
    decode = macs(network.from_reals, y, counts, known, base)
    decode += macs(network.synthesise, y, counts, known, base)
    assert encode < 1.2e9
    assert decode < 4e9
    assert sum(p.numel() for p in network.parameters()) * 2 < 5e6, "bytes of its file"


def test_a_shape_comes_back_from_json() -> None:
    for shape in (NtsccShape(), SHAPE, GREY, BASED):
        assert NtsccShape.of_config(json.loads(json.dumps(shape.config()))) == shape


def test_a_network_comes_back_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("semcast.weights.FOLDER", tmp_path)
    network = stirred(linear(), 0.02)
    path = tmp_path / "tiny_picture_code.safetensors"
    write_weights(path, network.state_dict(), {"config": SHAPE.config()})
    again = build_ntscc(*read_weights(path))
    assert again.shape == SHAPE
    assert not again.training
    assert not any(parameter.requires_grad for parameter in again.parameters())
    # Numbers of 16 bits: three digits.
    made = code(again, uniform(3, 20))
    torch.testing.assert_close(made, code(network, uniform(3, 20)), rtol=0, atol=0.02)
    bundled = bundled_ntscc("tiny_picture_code")
    assert bundled is bundled_ntscc("tiny_picture_code"), "read once a process"
    assert torch.equal(code(bundled, uniform(3, 20)), made)
    with pytest.raises(NotFoundError, match="'other' in this version, which has tiny_picture"):
        bundled_ntscc("other")
