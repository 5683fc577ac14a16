"""The body of the learned codecs: shapes, cost, what is at rest at first, and SNR."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from semcast.networks.transforms import (
    AnalysisTransform,
    AttentionFeature,
    ResidualBlock,
    SynthesisTransform,
)

LATENT_CHANNELS = 16


def _macs(network: nn.Module, *inputs: torch.Tensor) -> float:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(*inputs)
    return counter.get_total_flops() / 2


def _stirred(network: nn.Module) -> nn.Module:
    """With noise on every parameter, so that nothing is at rest any more."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return network


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (64, 96), (256, 256)])
@pytest.mark.parametrize("channels", [1, 3])
def test_stride_is_eight_both_ways(height: int, width: int, channels: int) -> None:
    picture = torch.randn(2, channels, height, width)
    with torch.inference_mode():
        grid = AnalysisTransform(channels, 5)(picture)
        again = SynthesisTransform(5, channels)(grid)
    assert grid.shape == (2, 5, height // 8, width // 8)
    assert again.shape == picture.shape


def test_widths_can_be_chosen() -> None:
    small = AnalysisTransform(1, 2, widths=(4, 6, 8))
    large = AnalysisTransform(1, 2)
    assert small(torch.zeros(1, 1, 16, 16)).shape == (1, 2, 2, 2)
    assert sum(p.numel() for p in small.parameters()) * 20 < sum(
        p.numel() for p in large.parameters()
    )
    assert SynthesisTransform(2, 1, widths=(8, 6, 4))(torch.zeros(1, 2, 2, 2)).shape[1] == 1


@pytest.mark.parametrize("snr_aware", [False, True])
def test_cost_at_256_is_within_budget(snr_aware: bool) -> None:
    """The issue's 4 GMAC a decoded frame; 1.2 to encode one."""
    snr_db = (torch.zeros(1),) if snr_aware else ()
    encoder = AnalysisTransform(3, LATENT_CHANNELS, snr_aware=snr_aware)
    decoder = SynthesisTransform(LATENT_CHANNELS, 3, snr_aware=snr_aware)
    encode = _macs(encoder, torch.zeros(1, 3, 256, 256), *snr_db)
    decode = _macs(decoder, torch.zeros(1, LATENT_CHANNELS, 32, 32), *snr_db)
    assert 0.5e9 < encode <= 1.2e9
    assert 2e9 < decode <= 4e9


def test_flops_are_counted_as_the_books_do() -> None:
    """A 3x3 convolution of 4 to 8 channels on 16x16: 3 * 3 * 4 * 8 * 256 products."""
    macs = _macs(nn.Conv2d(4, 8, 3, padding=1), torch.zeros(1, 4, 16, 16))
    assert macs == 3 * 3 * 4 * 8 * 256


def test_a_residual_block_begins_with_no_effect_and_learns() -> None:
    block = ResidualBlock(6)
    x = torch.randn(2, 6, 9, 7)
    assert torch.equal(block(x), x)
    (block(x) - 1).square().mean().backward()
    assert block.second.weight.grad.abs().sum() > 0
    assert not torch.allclose(_stirred(block)(x), x)


def test_pictures_of_a_batch_do_not_see_each_other() -> None:
    """No normalisation over the batch: a frame is coded alike, alone or among others."""
    network = nn.Sequential(AnalysisTransform(3, 4), SynthesisTransform(4, 3))
    x = torch.randn(3, 3, 32, 32)
    with torch.inference_mode():
        together, alone = network(x), network(x[1:2])
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("snr", [-20.0, 0.0, 13.7, 60.0, float("nan")])
def test_attention_begins_as_the_identity(snr: float) -> None:
    x = torch.randn(2, 24, 5, 4)
    assert torch.equal(AttentionFeature(24)(x, torch.full((2,), snr)), x)


def test_a_transform_that_learns_the_snr_starts_from_one_without() -> None:
    plain, aware = AnalysisTransform(3, 4), AnalysisTransform(3, 4, snr_aware=True)
    left = aware.load_state_dict(plain.state_dict(), strict=False)
    assert not left.unexpected_keys
    assert all(".attention." in name for name in left.missing_keys)
    x = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(aware(x, torch.tensor([3.0, float("nan")])), plain(x))


def test_trained_attention_depends_on_snr_and_on_the_picture() -> None:
    attention = _stirred(AttentionFeature(16))
    x = torch.randn(1, 16, 4, 4)
    snr = torch.tensor([0.0])
    gains = attention(x, snr) / x
    assert not torch.allclose(gains, attention(x, snr + 10) / x)
    assert not torch.allclose(gains, attention(2 * x, snr) / (2 * x))
    assert (gains > 0).all() and (gains < 2).all(), "twice a sigmoid"
    assert torch.allclose(gains[0, 3], gains[0, 3, 0, 0].expand(4, 4)), "one gain a channel"


def test_an_unknown_snr_is_a_learned_constant() -> None:
    attention = _stirred(AttentionFeature(16))
    with torch.no_grad():
        attention.unknown_snr.fill_(0.7)
    x = torch.randn(1, 16, 4, 4)
    unknown = attention(x, torch.tensor([float("nan")]))
    assert unknown.isfinite().all()
    torch.testing.assert_close(unknown, attention(x, torch.tensor([7.0])))


def test_an_unknown_snr_harms_neither_its_batch_nor_any_gradient() -> None:
    transform = _stirred(AnalysisTransform(3, 4, snr_aware=True))
    x = torch.randn(3, 3, 16, 16)
    nan = float("nan")
    mixed = transform(x, torch.tensor([4.0, nan, -3.0]))
    known = transform(x, torch.tensor([4.0, 9.0, -3.0]))
    assert mixed.isfinite().all()
    torch.testing.assert_close(mixed[[0, 2]], known[[0, 2]])
    mixed.square().mean().backward()
    for name, parameter in transform.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    assert transform.body.attention[0].unknown_snr.grad != 0


@pytest.mark.parametrize(
    "transform", [AnalysisTransform, SynthesisTransform], ids=["analysis", "synthesis"]
)
def test_snr_is_for_those_that_know_it_and_only_for_them(transform: type[nn.Module]) -> None:
    x = torch.zeros(1, 3, 8, 8)
    with pytest.raises(ValueError, match="only for them"):
        transform(3, 3)(x, torch.zeros(1))
    with pytest.raises(ValueError, match="snr_db is for SNR-aware"):
        transform(3, 3, snr_aware=True)(x)
