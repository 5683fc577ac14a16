"""Changes in latents: a known linear code at first; what is not sent stays, what is sent moves."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from semcast.errors import NotFoundError
from semcast.networks.latent_video import LatentVideo, LatentVideoShape, bundled_latent_video
from semcast.weights import write_weights

SHAPE = LatentVideoShape(16, 12, 6)
GRID = 3, 5
VARIANCES = 9.0 / (1 + torch.arange(16.0)) ** 1.5
UNKNOWN = math.nan


def same_snr(count: int, snr_db: float) -> Tensor:
    return torch.full((count,), snr_db)


def latents(count: int, seed: int) -> Tensor:
    """Of the variances that the linear code is made for."""
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randn(count, 16, *GRID, generator=generator)
    return draws * VARIANCES.sqrt().view(1, -1, 1, 1)


def linear() -> LatentVideo:
    torch.manual_seed(1)
    network = LatentVideo(SHAPE).eval()
    network.begin_linear(VARIANCES)
    return network


def stirred(network: LatentVideo, size: float = 0.05) -> LatentVideo:
    """With noise on every parameter, so that nothing is at rest any more."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += size * torch.randn(parameter.shape, generator=generator)
    return network


def uniform(count: int, reals: int) -> Tensor:
    return torch.full((count, *GRID), reals)


def step(
    network: LatentVideo, context: Tensor, y: Tensor, counts: Tensor, snr_db: float = 10.0
) -> Tensor:
    """What is held after a change without noise."""
    known = same_snr(len(y), snr_db)
    with torch.inference_mode():
        predicted = network.predict(context, known)
        reals = network.to_reals(y - predicted, counts, known)
        return network.from_reals(reals, counts, predicted, known)


def test_it_begins_by_predicting_that_nothing_changes() -> None:
    context = latents(2, 1)
    for snr_db in (-5.0, 20.0, UNKNOWN):
        with torch.inference_mode():
            assert torch.equal(linear().predict(context, same_snr(2, snr_db)), context)


def test_where_nothing_is_sent_the_prediction_stays() -> None:
    context, y = latents(2, 1), latents(2, 2)
    assert torch.equal(step(linear(), context, y, uniform(2, 0)), context)
    counts = uniform(2, 0)
    counts[0, 1, 2] = 12
    held = step(linear(), context, y, counts)
    moved = (held != context).any(1)
    assert moved.sum() == 1 and moved[0, 1, 2]
    torch.testing.assert_close(held[0, :12, 1, 2], y[0, :12, 1, 2], rtol=1e-4, atol=1e-4)


def test_where_nothing_is_sent_a_trained_decoder_adds_nothing_either() -> None:
    """Its biases and its knowledge of neighbours change no patch that had no symbols."""
    network = stirred(linear())
    for parameter in network.fuse_block.last.parameters():
        nn.init.zeros_(parameter)
    for layer in network.fuse_block.attention.scale.parameters():
        nn.init.zeros_(layer)
    context, y = latents(2, 1), latents(2, 2)
    counts = uniform(2, 0)
    counts[:, 1] = 7
    known = same_snr(2, 9.0)
    held = step(network, context, y, counts, 9.0)
    with torch.inference_mode():
        predicted = network.predict(context, known)
    assert torch.equal(held[:, :, [0, 2]], predicted[:, :, [0, 2]])
    assert not torch.equal(held[:, :, 1], predicted[:, :, 1])


def test_what_is_sent_comes_to_be_held_and_more_reals_are_closer() -> None:
    context, y = latents(2, 1), latents(2, 2)
    network = linear()
    errors = []
    for reals in range(13):
        held = step(network, context, y, uniform(2, reals))
        torch.testing.assert_close(held[:, :reals], y[:, :reals], rtol=1e-4, atol=1e-4)
        # What is beyond what a patch may send, or is not sent, stays as it was.
        assert torch.equal(held[:, reals:], context[:, reals:])
        errors.append(float((held - y).square().mean()))
    assert all(more < less for less, more in pairwise(errors))


def test_power_is_allocated_as_softcast_does() -> None:
    network = linear()
    known = same_snr(400, 10.0)
    with torch.inference_mode():
        reals = network.to_reals(latents(400, 5), uniform(400, 12), known)
    ratio = reals.square().mean((0, 2, 3)) / VARIANCES[:12].sqrt()
    assert ratio.numpy() == pytest.approx(1, rel=0.1)


def test_each_patch_sends_its_first_reals_and_nothing_behind_them() -> None:
    network = stirred(linear())
    counts = torch.randint(0, 13, (2, *GRID), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        reals = network.to_reals(latents(2, 3), counts, same_snr(2, 8.0))
    assert reals.shape == (2, 12, *GRID)
    order = torch.arange(12).view(1, -1, 1, 1)
    assert torch.equal(reals != 0, order < counts[:, None])


def test_at_first_the_snr_changes_nothing_and_later_it_does() -> None:
    context, y, counts = latents(2, 1), latents(2, 2), uniform(2, 9)
    for network, same in ((linear(), True), (stirred(linear(), 0.1), False)):
        low, high, unknown = (step(network, context, y, counts, s) for s in (-5.0, 20.0, UNKNOWN))
        assert torch.equal(low, high) == same
        assert torch.equal(low, unknown) == same
        assert unknown.isfinite().all()


def test_larger_innovations_have_more_bits() -> None:
    network = linear()
    innovation = torch.zeros(1, 16, *GRID)
    innovation[0, :, 1, 1] = 4
    innovation[0, :, 2, 4] = 30
    with torch.inference_mode():
        for parameter in network.hyperprior.synthesis[-1].parameters():
            parameter.zero_()
        bits = network.patch_bits(innovation)
    assert bits.shape == (1, *GRID)
    assert bits[0, 2, 4] > bits[0, 1, 1] > bits[0, 0, 0] >= 0
    assert bits.isfinite().all()


def test_noise_stays_until_something_is_sent_in_its_place() -> None:
    """The receiver's latents are off; a patch that is sent whole is as far off afterwards, since
    the transmitter does not know, and nothing else moves."""
    network = linear()
    sender, y = latents(1, 1), latents(1, 2)
    receiver = sender + 0.5 * latents(1, 3)
    known = same_snr(1, 10.0)
    with torch.inference_mode():
        reals = network.to_reals(y - network.predict(sender, known), uniform(1, 12), known)
        held = network.from_reals(reals, uniform(1, 12), network.predict(receiver, known), known)
    torch.testing.assert_close(held - receiver, torch.cat([(y - sender)[:, :12], 0 * y[:, 12:]], 1))


def test_an_unknown_snr_harms_neither_its_batch_nor_any_gradient() -> None:
    network = stirred(linear()).train()
    context, y, counts = latents(3, 1), latents(3, 2), uniform(3, 9)
    made = []
    for middle in (UNKNOWN, 12.0):
        known = torch.tensor([3.0, middle, 15.0])
        predicted = network.predict(context, known)
        reals = network.to_reals(y - predicted, counts, known)
        made.append(network.from_reals(reals, counts, predicted, known))
    torch.testing.assert_close(made[0][[0, 2]], made[1][[0, 2]])
    bits, hyper_bits = network.hyperprior(y, torch.zeros(3, 32, 2, 3))
    (made[0].square().mean() + bits.mean() + hyper_bits.mean()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_a_network_comes_back_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("semcast.weights.FOLDER", tmp_path)
    network = stirred(linear(), 0.02)
    config = json.loads(json.dumps(SHAPE.config()))
    path = tmp_path / "tiny_video_code.safetensors"
    write_weights(path, network.state_dict(), {"config": config})
    again = bundled_latent_video("tiny_video_code")
    assert again.shape == SHAPE
    assert not again.training
    assert not any(parameter.requires_grad for parameter in again.parameters())
    assert again is bundled_latent_video("tiny_video_code"), "read once a process"
    arguments = latents(2, 1), latents(2, 2), uniform(2, 9)
    made = step(again, *arguments)
    torch.testing.assert_close(made, step(network, *arguments), rtol=0, atol=0.02)
    with pytest.raises(NotFoundError, match="'other' in this version, which has tiny_video_code"):
        bundled_latent_video("other")
