"""The Temporal Adapter's invariants: a cached step is a recompute, causal, bounded, nothing at
first."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from receiver.diffusion.temporal import TemporalAttention, TemporalCache, TemporalShape

SHAPE = TemporalShape(channels=32, window=3, sinks=1, radius=1, heads=2, key_width=4, value_width=8)
FRAMES = 9


@pytest.fixture
def layer() -> TemporalAttention:
    """Trained, as far as it matters: no layer of zeros, and ages and places that count."""
    torch.manual_seed(3)
    made = TemporalAttention(SHAPE)
    for parameter in (made.by_age, made.by_slot, made.by_place, made.out.weight):
        nn.init.normal_(parameter, std=0.5)
    return made.requires_grad_(False)


def frames(count: int = FRAMES, seed: int = 1) -> Tensor:
    return torch.randn(count, 32, 6, 5, generator=torch.Generator().manual_seed(seed))


def stepped(layer: TemporalAttention, h: Tensor, keys_at: tuple[int, ...] = ()) -> Tensor:
    """One by one, through a cache; frames that stay at `keys_at`."""
    cache = TemporalCache(SHAPE)
    made = []
    for index in range(len(h)):
        made.append(cache.step(layer, h[index : index + 1]))
        if index in keys_at:
            cache.keep_newest()
    return torch.cat(made)


def test_a_step_through_the_cache_is_all_frames_at_once(layer: TemporalAttention) -> None:
    assert torch.allclose(stepped(layer, frames()), layer.whole(frames(), FRAMES), atol=1e-4)


def test_a_frame_that_stays_is_seen_by_those_after_it(layer: TemporalAttention) -> None:
    at = torch.tensor([-1, -1, 1, 1, 1, 1, 5, 5, 5])
    whole = layer.whole(frames(), FRAMES, at)
    assert torch.allclose(stepped(layer, frames(), (1, 5)), whole, atol=1e-4)
    # Frame 1 has long left the window of three when frame 5 comes.
    assert not torch.allclose(whole[5], layer.whole(frames(), FRAMES)[5], atol=1e-3)


def test_windows_beside_each_other_do_not_see_each_other(layer: TemporalAttention) -> None:
    together = layer.whole(torch.cat([frames(4, 1), frames(4, 2)]), 4)
    alone = [layer.whole(frames(4, seed), 4) for seed in (1, 2)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)


def test_no_later_frame_changes_an_earlier_one(layer: TemporalAttention) -> None:
    changed = frames()
    changed[6:] += 1.0
    before, after = layer.whole(frames(), FRAMES), layer.whole(changed, FRAMES)
    assert torch.equal(before[:6], after[:6])
    assert not torch.allclose(before[6], after[6], atol=1e-3)


def test_what_has_left_the_window_is_forgotten(layer: TemporalAttention) -> None:
    changed = frames()
    changed[0] = frames(1, seed=9)[0]
    before, after = stepped(layer, frames()), stepped(layer, changed)
    assert not torch.allclose(before[3], after[3], atol=1e-3), "a window of three past frames"
    assert torch.allclose(before[4:], after[4:], atol=1e-6)


def test_a_place_sees_its_surroundings_and_no_further(layer: TemporalAttention) -> None:
    changed = frames(2)
    changed[0, :, 0, 0] += 5.0
    # The norm would tell every place of it.
    layer.norm = nn.Identity()  # type: ignore[assignment]
    differs = (layer.whole(frames(2), 2) - layer.whole(changed, 2))[1].abs().amax(0) > 1e-6
    assert differs[:2, :2].all()
    assert differs.sum() == 4


def test_ages_count(layer: TemporalAttention) -> None:
    """The same frames in another order are another past."""
    h = frames(4)
    other = h[[1, 0, 2, 3]]
    assert not torch.allclose(layer.whole(h, 4)[3], layer.whole(other, 4)[3], atol=1e-3)


def test_clearing_begins_anew(layer: TemporalAttention) -> None:
    cache = TemporalCache(SHAPE)
    for index in range(5):
        cache.step(layer, frames()[index : index + 1])
    cache.keep_newest()
    cache.clear()
    assert (cache.num_frames, cache.num_sinks) == (0, 0)
    assert torch.allclose(cache.step(layer, frames()[:1]), layer.whole(frames()[:1], 1), atol=1e-5)


def test_memory_does_not_grow(layer: TemporalAttention) -> None:
    cache = TemporalCache(SHAPE)
    sizes, held = set(), set()
    for index in range(40):
        cache.step(layer, frames(1, index))
        sizes.add(cache.num_bytes)
        held.add(cache.num_frames)
    assert len(sizes) == 1
    assert max(held) == SHAPE.window + 1


def test_frames_of_another_size_begin_anew(layer: TemporalAttention) -> None:
    cache = TemporalCache(SHAPE)
    cache.step(layer, frames(1))
    wider = torch.randn(1, 32, 6, 9, generator=torch.Generator().manual_seed(8))
    assert torch.allclose(cache.step(layer, wider), layer.whole(wider, 1), atol=1e-5)


def test_nothing_stays_before_there_is_a_frame() -> None:
    with pytest.raises(RuntimeError, match="step\\(\\) comes before"):
        TemporalCache(SHAPE).keep_newest()


def test_untrained_it_changes_nothing() -> None:
    fresh = TemporalAttention(SHAPE)
    assert torch.equal(fresh.whole(frames(), FRAMES), frames())
    assert torch.equal(stepped(fresh, frames(), (2,)), frames())
