"""What recipes of joint source-channel codes share: the channel, what its ends believe, rates."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from semcast.air import digital
from semcast.air.ladder import pick_rung
from semcast.link import HEAD_MARGIN_DB
from semcast.networks.ntscc import Base, Ntscc, NtsccShape, sent_mask
from semcast.parts.patch_blocks import PatchBlocks
from training.channel import SNR_RANGE_DB, believed_snr_db, draw_snr_db
from training.recipes.ntscc import _across, based, hyperlatent_like, share_out

CPU = torch.device("cpu")
MANY = 40_000


def drawn_bits(count: int, rows: int = 6, columns: int = 8) -> Tensor:
    return 100 * torch.rand(count, rows, columns, generator=torch.Generator().manual_seed(1)) + 5


def test_every_snr_of_the_range_is_trained_for() -> None:
    torch.manual_seed(1)
    snr_db = draw_snr_db(MANY, CPU)
    low, high = SNR_RANGE_DB
    assert (low, high) == (-5, 20)
    assert snr_db.shape == (MANY,)
    assert snr_db.min() >= low and snr_db.max() <= high
    shares = np.histogram(snr_db.numpy(), 5, (low, high))[0] / MANY
    # Of 40,000 draws a fifth has a standard deviation of 0.2 %.
    assert shares == pytest.approx(np.full(5, 0.2), abs=0.01)


def test_an_end_is_a_little_wrong_and_knows_nothing_one_time_in_ten() -> None:
    torch.manual_seed(2)
    true = draw_snr_db(MANY, CPU)
    guess = believed_snr_db(true)
    unknown = guess.isnan()
    assert float(unknown.float().mean()) == pytest.approx(0.1, abs=0.007)
    error = (guess - true)[~unknown]
    assert float(error.mean()) == pytest.approx(0, abs=0.02)
    assert float(error.std()) == pytest.approx(0.5, abs=0.02)
    other = believed_snr_db(true)
    both = ~unknown & ~other.isnan()
    errors = np.corrcoef((guess - true)[both].numpy(), (other - true)[both].numpy())
    assert abs(errors[0, 1]) < 0.03, "each end is wrong in its own way"


def test_counts_of_a_batch_are_each_examples_own() -> None:
    bits = drawn_bits(4)
    reals, group = torch.tensor([3.0, 60.0, 20.5, 500.0]), torch.tensor([1, 0, 2, 4])
    counts = share_out(bits, reals, group, 192)
    assert counts.shape == (4, 6, 8)
    assert counts.sum((1, 2)).tolist() == [144, 2880, 984, 192 * 48], "no more than patches hold"
    assert counts.max() <= 192
    assert counts[1].unique().tolist() == [60], "0 is uniform"
    # Steps are shared by 2x2 patches; what is left over goes round by ones.
    squares = counts[2].unfold(0, 2, 2).unfold(1, 2, 2).flatten(2)
    assert (squares.max(2).values - squares.min(2).values).max() <= 1
    fine = share_out(bits[:1], torch.tensor([20.0]), torch.tensor([1]), 192)[0]
    order = bits[0].flatten().argsort()
    assert fine.flatten()[order][-12:].float().mean() > fine.flatten()[order][:12].float().mean()


@pytest.mark.parametrize("grid", [(1, 1), (4, 6), (5, 7)])
def test_noise_for_the_hyperlatent_has_its_form(grid: tuple[int, int]) -> None:
    network = Ntscc(_SHAPE)
    assert network.hyperprior is not None
    y = torch.zeros(2, 12, *grid)
    like = hyperlatent_like(network.hyperprior, y)
    bits, hyper_bits = network.hyperprior(y, torch.zeros_like(like))
    assert bits.shape == (2, *grid) and hyper_bits.shape == (2,)


_SHAPE = NtsccShape(
    latent_channels=12,
    max_reals=12,
    block_width=4,
    encoder_widths=(4, 4, 4),
    decoder_widths=(4, 4, 4),
)


class _Seen(Ntscc):
    """Notes the reals that arrive."""

    arrived: Tensor

    def from_reals(
        self, reals: Tensor, counts: Tensor, snr_db: Tensor, base: Base | None = None
    ) -> Tensor:
        self.arrived = reals
        return super().from_reals(reals, counts, snr_db, base)


@pytest.mark.parametrize("snr_db", [-5.0, 10.0])
def test_the_way_across_has_noise_at_the_asked_snr_whatever_the_scale(snr_db: float) -> None:
    """Over 2 x 27,000 reals a ratio has a standard deviation of 0.03 dB."""
    torch.manual_seed(4)
    network = _Seen(_SHAPE).eval()
    y = torch.randn(2, 12, 60, 60) * torch.tensor([0.1, 30.0]).view(2, 1, 1, 1)
    counts = torch.randint(0, 13, (2, 60, 60))
    snr, known = torch.full((2,), snr_db), torch.full((2,), math.nan)
    with torch.inference_mode():
        made = _across(network, y, counts, snr, known, known, None)
        sent = network.to_reals(y, counts, known)
    assert made.shape == (2, 3, 960, 960) and made.isfinite().all()
    noise = network.arrived - sent
    assert (noise * (1 - sent_mask(counts, 12)) == 0).all()
    for k in range(2):
        ratio = float(sent[k].square().sum() / noise[k].square().sum())
        assert 10 * math.log10(ratio) == pytest.approx(snr_db, abs=0.15)


@pytest.mark.parametrize("told_db", [math.nan, 0.0, 6.0, 10.0, 20.0])
@pytest.mark.parametrize("reals", [20.0, 60.0])
def test_bases_to_train_with_are_those_of_the_link(told_db: float, reals: float) -> None:
    """As many bits, and as many reals beside them, as `PatchBlocks` gives a first frame."""
    picture = np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8)
    picture = picture.repeat(32, 0).repeat(32, 1)
    base, patch_bits, left = based(picture, reals, told_db)
    num_symbols = round(256 * reals / 2)
    head_rung = pick_rung(told_db - HEAD_MARGIN_DB, None)
    layout = PatchBlocks(16, 16, 192, adaptive=False, with_base=True).head_layout(
        num_symbols, head_rung
    )
    assert layout.base is not None
    assert base.shape == picture.shape and base.std() > 10
    assert 256 * patch_bits == pytest.approx(layout.base_bits, rel=0.05, abs=26)
    # What is not the base's is the patches', less the power scalar and its CRC.
    others = digital.num_symbols(8, head_rung)
    assert 256 * left / 2 == pytest.approx(num_symbols - layout.num_symbols + others, abs=2)


def test_where_bits_are_too_few_there_is_no_base_and_it_costs_nothing() -> None:
    picture = np.full((256, 256, 3), 200, np.uint8)
    base, patch_bits, left = based(picture, 3.0, math.nan)
    assert (base == 128).all()
    assert (patch_bits, left) == (0, 3.0)
    assert based(picture, 60.0, 10.0, 0.0)[1:] == (0, 60.0)
