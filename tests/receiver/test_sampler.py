"""From a noised guess to a latent: levels, exact paths, and what a step of Euler's method is."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from receiver.diffusion.backbone import denoised, noised
from receiver.diffusion.sampler import noise_levels, sample

SHAPE = (2, 16, 4, 6)


def latents(seed: int) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def per_example(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def towards(target: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """The velocity field of data that is one latent: every path ends there."""
    return lambda x, sigma: (x - target) / per_example(sigma)


def test_levels_fall_in_equal_steps_to_nothing() -> None:
    assert noise_levels(0.6, 2) == pytest.approx([0.6, 0.3, 0.0])
    assert noise_levels(1.0, 4) == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.0])
    for start, steps in itertools.product((0.05, 0.6, 1.0), (1, 3, 7, 50)):
        levels = noise_levels(start, steps)
        assert len(levels) == steps + 1
        assert levels[0] == start
        assert levels[-1] == 0.0
        gaps = [a - b for a, b in itertools.pairwise(levels)]
        assert gaps == pytest.approx([start / steps] * steps)


@pytest.mark.parametrize(
    ("start_sigma", "num_steps"),
    [(0.0, 1), (-0.1, 1), (1.01, 1), (math.nan, 1), (math.inf, 1), (0.5, 0), (0.5, -2)],
)
def test_a_start_or_a_count_out_of_range_is_refused(start_sigma: float, num_steps: int) -> None:
    def never(x: Tensor, sigma: Tensor) -> Tensor:
        raise AssertionError("nothing is to be computed")

    with pytest.raises(ValueError, match="start_sigma"):
        noise_levels(start_sigma, num_steps)
    with pytest.raises(ValueError, match="start_sigma"):
        sample(never, latents(1), latents(2), start_sigma, num_steps)


@pytest.mark.parametrize("start_sigma", [0.05, 0.6, 1.0])
@pytest.mark.parametrize("num_steps", [1, 2, 3, 10])
def test_towards_a_single_target_any_number_of_steps_lands_on_it(
    start_sigma: float, num_steps: int
) -> None:
    target = latents(3)
    made = sample(towards(target), latents(1), latents(2), start_sigma, num_steps)
    torch.testing.assert_close(made, target, rtol=0, atol=1e-6)


@pytest.mark.parametrize("num_steps", [1, 2, 5])
def test_a_linear_field_is_solved_as_euler_solves_it(num_steps: int) -> None:
    """dx/dsigma = a x + b: the deviation from the fixed point -b/a shrinks by 1 - a h a step."""
    a, b, start = 0.7, 0.3, 0.8
    degraded, noise = latents(1), latents(2)
    begin = (1 - start) * degraded + start * noise
    shrunk = (1 - a * start / num_steps) ** num_steps
    expected = (begin + b / a) * shrunk - b / a
    made = sample(lambda x, _: a * x + b, degraded, noise, start, num_steps)
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-6)


def test_more_steps_come_nearer_to_the_true_path_in_proportion() -> None:
    a, start = 1.5, 1.0
    truth = latents(2) * math.exp(-a * start)
    errors = []
    for num_steps in (20, 40, 80):
        made = sample(lambda x, _: a * x, latents(1), latents(2), start, num_steps)
        errors.append(float((made - truth).abs().max()))
    assert errors[0] / errors[1] == pytest.approx(2.0, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(2.0, rel=0.1)


def test_a_field_that_depends_on_the_level_is_read_where_each_step_begins() -> None:
    """dx/dsigma = sigma in n steps: the sum of the levels but the last, times the step."""
    start, num_steps = 0.9, 3
    seen: list[Tensor] = []

    def field(x: Tensor, sigma: Tensor) -> Tensor:
        seen.append(sigma.clone())
        return per_example(sigma).expand_as(x)

    made = sample(field, latents(1), latents(2), start, num_steps)
    assert [sigma.shape for sigma in seen] == [torch.Size([SHAPE[0]])] * num_steps
    assert [float(sigma[0]) for sigma in seen] == pytest.approx([0.9, 0.6, 0.3])
    begin = (1 - start) * latents(1) + start * latents(2)
    torch.testing.assert_close(made, begin - 0.3 * (0.9 + 0.6 + 0.3), rtol=0, atol=1e-6)


def test_at_level_one_nothing_of_the_degraded_latent_is_left_in_the_start() -> None:
    def still(x: Tensor, sigma: Tensor) -> Tensor:
        return torch.zeros_like(x)

    torch.testing.assert_close(sample(still, latents(1), latents(2), 1.0, 2), latents(2))
    begun = sample(still, latents(1), latents(2), 0.25, 2)
    torch.testing.assert_close(begun, 0.75 * latents(1) + 0.25 * latents(2))


def test_examples_of_a_batch_do_not_touch() -> None:
    target = latents(3)
    together = sample(towards(target), latents(1), latents(2), 0.6, 2)
    for k in range(SHAPE[0]):
        one = slice(k, k + 1)
        alone = sample(towards(target[one]), latents(1)[one], latents(2)[one], 0.6, 2)
        torch.testing.assert_close(together[one], alone)


def test_the_path_from_noise_to_latent_is_straight_and_its_velocity_leads_back() -> None:
    clean, noise = latents(1), latents(2)
    sigma = torch.tensor([0.3, 0.9], dtype=torch.float64)
    x = noised(clean, noise, sigma)
    torch.testing.assert_close(x[0], 0.7 * clean[0] + 0.3 * noise[0])
    torch.testing.assert_close(x[1], 0.1 * clean[1] + 0.9 * noise[1])
    torch.testing.assert_close(denoised(x, noise - clean, sigma), clean)
    torch.testing.assert_close((x - clean) / per_example(sigma), noise - clean)
