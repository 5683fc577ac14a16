"""Blocks of reals: exact size, unit power, and what a receiver reads back or knows it has lost."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from semcast.air import digital
from semcast.air.ladder import LADDER, Rung, rung
from semcast.parts.patch_blocks import Allocation, PatchBlocks, SentBlock, base_share

KEY = 77
NOISE_VAR = 1e-4
SAFE = rung("qpsk-1/2")

NO_BASE = np.empty(0, np.uint8)

Reals = NDArray[np.float32]


def blocks(
    rows: int = 8, columns: int = 8, max_reals: int = 96, adaptive: bool = True, share: float = 0.1
) -> PatchBlocks:
    return PatchBlocks(rows, columns, max_reals, adaptive=adaptive, most_map_share=share)


def drawn_bits(rows: int, columns: int, seed: int = 1, spread: float = 0.7) -> Reals:
    draws = np.random.default_rng(seed).normal(size=(rows, columns))
    return (100 * np.exp(spread * draws)).astype(np.float32)


def drawn_reals(
    max_reals: int, rows: int, columns: int, seed: int = 2, level: float = 3.0
) -> Reals:
    """Important ones first, and larger."""
    draws = np.random.default_rng(seed).normal(size=(max_reals, rows, columns))
    return (level * draws / np.sqrt(1 + np.arange(max_reals))[:, None, None]).astype(np.float32)


def mean_power(samples: NDArray[np.complex64]) -> float:
    return float(np.mean(np.abs(samples.astype(np.complex128)) ** 2))


def noise(num_symbols: int, noise_var: float, seed: int = 3) -> NDArray[np.complex64]:
    pairs = np.random.default_rng(seed).normal(size=(num_symbols, 2)) * math.sqrt(noise_var / 2)
    return (pairs @ [1, 1j]).astype(np.complex64)


def allocated(
    use: PatchBlocks, bits: Reals | None, num_symbols: int, safe: Rung = SAFE
) -> Allocation:
    return use.allocate(bits, num_symbols, use.head_layout(num_symbols, safe))


def drawn_base(allocation: Allocation, seed: int = 5) -> NDArray[np.uint8]:
    """Bits that stand for a base's payload."""
    return np.random.default_rng(seed).integers(0, 2, allocation.layout.base_bits, np.uint8)


def sent_block(
    use: PatchBlocks, num_symbols: int, safe: Rung = SAFE, level: float = 3.0, max_reals: int = 96
) -> tuple[Allocation, Reals, SentBlock]:
    allocation = allocated(use, drawn_bits(use.rows, use.columns), num_symbols, safe)
    reals = drawn_reals(max_reals, use.rows, use.columns, level=level)
    return allocation, reals, use.write(allocation, drawn_base(allocation), reals, KEY)


def kept(reals: Reals, counts: NDArray[np.int64]) -> Reals:
    """Each patch's first reals, zeros after them."""
    return np.where(np.arange(len(reals))[:, None, None] < counts, reals, 0)


# Sizes.


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    max_reals=st.sampled_from([16, 96, 192]),
    kind=st.sampled_from(["even", "adaptive", "with base"]),
    map_share=st.sampled_from([0.035, 0.2]),
    safe=st.sampled_from(LADDER),
    size=st.floats(0, 1),
    spread=st.sampled_from([0.0, 0.7, 3.0]),
    seed=st.integers(0, 99),
)
def test_any_block_has_its_size_unit_power_and_comes_back(
    rows: int,
    columns: int,
    max_reals: int,
    kind: str,
    map_share: float,
    safe: Rung,
    size: float,
    spread: float,
    seed: int,
) -> None:
    adaptive = kind != "even"
    use = PatchBlocks(
        rows,
        columns,
        max_reals,
        adaptive=adaptive,
        most_map_share=map_share,
        with_base=kind == "with base",
    )
    least, most = use.least_symbols(safe), use.max_symbols
    if least > most:
        return
    num_symbols = round(least + size * (most - least))
    bits = drawn_bits(rows, columns, seed, spread) if adaptive else None
    allocation = allocated(use, bits, num_symbols, safe)
    side = allocation.layout.num_symbols
    # Masked reals are twice the symbols behind the head, to the one.
    assert allocation.counts.sum() == 2 * (num_symbols - side)
    assert allocation.counts.max() <= max_reals
    reals = drawn_reals(max_reals, rows, columns, seed)
    base = drawn_base(allocation, seed)
    block = use.write(allocation, base, reals, KEY)
    assert block.samples.shape == (num_symbols,)
    assert block.samples.dtype == np.complex64
    assert mean_power(block.samples) == pytest.approx(1, abs=1e-3)
    assert mean_power(block.samples[side:]) == pytest.approx(1, abs=1e-3)

    # The slowest rungs' polar codes stand any noise that the fastest do.
    read = use.read(block.samples, NOISE_VAR, safe, KEY)
    assert read is not None
    assert np.array_equal(read.counts, allocation.counts)
    assert np.array_equal(read.base, base)
    assert np.array_equal(read.resent, block.samples[:side])
    assert read.reals == pytest.approx(kept(reals, allocation.counts), rel=0.02, abs=1e-6)


def test_the_size_alone_says_how_fine_the_map_is() -> None:
    """Both ends find the layout from size and rung; finer maps as there is room."""
    use = blocks(16, 16, 192, share=0.035)
    sizes = 300, 2000, 4000, 20_000
    layouts = [use.head_layout(num, SAFE) for num in sizes]
    assert [layout.group for layout in layouts] == [0, 4, 2, 1]
    for num, layout in zip(sizes, layouts, strict=True):
        if layout.group:
            assert layout.num_symbols <= 0.035 * num
        assert layout.num_bits <= digital.payload_bits(layout.num_symbols, SAFE)
        assert allocated(use, drawn_bits(16, 16), num, SAFE).layout == layout


def test_a_slower_rung_takes_more_for_the_side_information_or_a_coarser_map() -> None:
    use = blocks(16, 16, 192)
    slow, fast = (use.head_layout(4000, r) for r in (LADDER[0], LADDER[-1]))
    assert (slow.group or 99) > fast.group > 0


def test_a_base_takes_its_share_of_the_block() -> None:
    """Beside the power scalar and the map, whose sizes do not change."""
    plain = blocks(16, 16, 192, share=0.035)
    use = PatchBlocks(16, 16, 192, adaptive=True, most_map_share=0.035, with_base=True)
    for safe in (LADDER[0], LADDER[1], SAFE):
        for num in (3000, 7800, 15_000):
            layout, without = use.head_layout(num, safe), plain.head_layout(num, safe)
            assert layout.base is not None
            assert (layout.base.width, layout.base.height) == (256, 256)
            assert layout.group == without.group
            more = layout.num_symbols - without.num_symbols
            assert more == pytest.approx(base_share(safe) * num, abs=1)
            assert layout.num_bits == digital.payload_bits(layout.num_symbols, safe)
            assert layout.base_bits > 0.5 * more * safe.spectral_efficiency
    # Where a block is too small for one, there is none.
    assert use.head_layout(use.least_symbols(LADDER[0]), LADDER[0]).base is None


def test_a_small_head_never_goes_at_16_or_64_qam() -> None:
    """Six symbols do not tell their own scale: at 20 dB one head in a few dozen was lost."""
    for safe in LADDER:
        layout = blocks(adaptive=False).head_layout(1000, safe)
        assert layout.rung.bits_per_symbol == 2
        assert layout.rung.index <= safe.index


def test_the_better_the_channel_the_less_goes_as_bits() -> None:
    shares = [base_share(safe) for safe in LADDER[1:]]
    assert shares == sorted(shares, reverse=True)
    assert 0 < shares[-1] < shares[0] < 0.5


def test_uniform_rates_are_told_by_the_power_scalar_alone() -> None:
    use = blocks(adaptive=False)
    for num_symbols in (60, 500, use.max_symbols):
        layout = use.head_layout(num_symbols, SAFE)
        assert (layout.group, layout.num_bits) == (0, 8)
        counts = allocated(use, None, num_symbols, SAFE).counts
        assert counts.max() - counts.min() <= 1


def test_without_bits_an_adaptive_block_is_shared_out_evenly() -> None:
    allocation = allocated(blocks(), None, 2000, SAFE)
    assert allocation.counts.max() - allocation.counts.min() <= 1


def test_surprising_patches_get_more() -> None:
    use = blocks(share=0.2)
    y, x = np.mgrid[0:8, 0:8]
    bits = 400 * np.exp2(-np.hypot(y - 3.5, x - 3.5) / 1.5).astype(np.float32)
    counts = allocated(use, bits, 1000, SAFE).counts
    assert counts[3:5, 3:5].mean() > 2 * counts[[0, 0, 7, 7], [0, 7, 0, 7]].mean()
    in_order = counts.ravel()[np.argsort(bits.ravel())]
    assert in_order[:32].mean() < in_order[32:].mean() - 5


@pytest.mark.parametrize("safe", [LADDER[0], SAFE, LADDER[-1]])
def test_the_least_block_says_something_and_the_most_says_all(safe: Rung) -> None:
    use = blocks(2, 3, 16)
    bits = drawn_bits(2, 3)
    least = use.least_symbols(safe)
    assert allocated(use, bits, least, safe).counts.sum() >= 1
    with pytest.raises(ValueError, match="reals"):
        allocated(use, bits, use.max_symbols + least + 200, safe)
    assert blocks(4, 4, 96).max_symbols == 4 * 4 * 96 // 2


def test_bits_without_end_still_make_a_block_in_a_few_tries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A map that no smoothing makes fit at these rates once took thousands of tries."""
    from semcast.parts import patch_blocks

    calls: list[int] = []
    choose = patch_blocks.choose_indices

    def counted(bits: Reals, total: int, most: int, group: int) -> NDArray[np.uint8]:
        calls.append(total)
        return choose(bits, total, most, group)

    monkeypatch.setattr(patch_blocks, "choose_indices", counted)
    rng = np.random.default_rng(0)
    for _ in range(40):
        rows, columns = (int(n) for n in rng.integers(1, 10, 2))
        use = blocks(rows, columns, 192)
        num_symbols = int(rng.integers(100, use.max_symbols + 101))
        num_symbols = min(num_symbols, use.max_symbols)
        safe = LADDER[int(rng.integers(4, 12))]
        if num_symbols < use.least_symbols(safe):
            continue
        calls.clear()
        allocated(use, drawn_bits(rows, columns, int(rng.integers(99)), 6.0), num_symbols, safe)
        assert len(calls) <= 128


@pytest.mark.parametrize("seed", [3, 13, 14, 17])
def test_no_patch_is_promised_more_than_it_holds(seed: int) -> None:
    """Smoothing once put 40 reals where a sketch's patch holds 16."""
    use = blocks(4, 9, 16, share=0.2)
    allocation = allocated(use, drawn_bits(4, 9, seed, 3.0), 142, rung("qam16-5/6"))
    assert allocation.counts.max() <= 16
    assert allocation.counts.sum() == 2 * (142 - allocation.layout.num_symbols)


def test_every_power_scalar_fits_beside_a_map_that_fills_its_room() -> None:
    """The map's length does not depend on what is written before it."""
    use = blocks(5, 4, 192, share=0.2)
    for seed in range(4):
        allocation = allocated(use, drawn_bits(5, 4, seed), 1284, rung("qam16-2/3"))
        for level_db in range(-22, 46):
            reals = np.full((192, 5, 4), 10 ** (level_db / 20), np.float32)
            block = use.write(allocation, NO_BASE, reals, KEY)
            assert len(block.samples) == 1284


# Reals.


def test_reals_go_out_channel_after_channel_two_a_symbol() -> None:
    use = blocks(2, 2, 16, adaptive=False)
    num_symbols = use.head_layout(100, SAFE).num_symbols + 6
    allocation = allocated(use, None, num_symbols, SAFE)
    reals = drawn_reals(16, 2, 2)
    samples = use.write(allocation, NO_BASE, reals, KEY).samples[-6:]
    flat = reals[:3].ravel()
    scale = math.sqrt(2 * float(np.mean(flat**2)))
    assert samples.real == pytest.approx(flat[0::2] / scale, abs=1e-5)
    assert samples.imag == pytest.approx(flat[1::2] / scale, abs=1e-5)


@pytest.mark.parametrize("level", [0.11, 0.5, 3.0, 21.7, 140.0])
def test_the_power_scalar_is_known_within_two_per_cent(level: float) -> None:
    """A quarter of a decibel a step: at most 1.45 % off."""
    use = blocks()
    for factor in np.linspace(1, 1.03, 7):
        allocation = allocated(use, drawn_bits(8, 8), 1500, SAFE)
        reals = np.full((96, 8, 8), level * factor, np.float32)
        block = use.write(allocation, NO_BASE, reals, KEY)
        read = use.read(block.samples, NOISE_VAR, SAFE, KEY)
        assert read is not None
        sent = read.reals[0, 0, 0] / (level * factor)
        assert sent == pytest.approx(1, abs=0.015)


def test_noise_on_symbols_is_noise_on_reals_of_the_same_ratio() -> None:
    """The 3 dB trap: N0 a complex symbol is N0/2 on each of its reals, which have half the power.

    Over 2 x 90,000 reals a ratio has a standard deviation of 0.015 dB."""
    slow = rung("qpsk-1/12")
    use = blocks(30, 30, 192, adaptive=False)
    allocation, reals, block = sent_block(use, 86_000, slow, max_reals=192)
    sent = kept(reals, allocation.counts)
    for snr_db in (-3.0, 0.0, 10.0):
        noise_var = 10 ** (-snr_db / 10)
        read = use.read(block.samples + noise(86_000, noise_var), noise_var, slow, KEY)
        assert read is not None
        error = read.reals - sent
        ratio_db = 10 * math.log10(float((sent**2).sum() / (error**2).sum()))
        # Half a step of the scalar scales the noise by an eighth of a decibel.
        assert ratio_db == pytest.approx(snr_db, abs=0.2)


def test_nothing_to_say_is_finite() -> None:
    """Reals of zeros, as where a still picture does not change at all."""
    use = blocks()
    allocation = allocated(use, drawn_bits(8, 8), 1000, SAFE)
    block = use.write(allocation, NO_BASE, np.zeros((96, 8, 8), np.float32), KEY)
    assert np.isfinite(block.samples).all()
    assert mean_power(block.samples) <= 1.001
    read = use.read(block.samples, NOISE_VAR, SAFE, KEY)
    assert read is not None and not read.reals.any()


def test_bits_are_counted() -> None:
    for adaptive in (False, True):
        use = blocks(adaptive=adaptive)
        allocation, _, block = sent_block(use, 1500)
        assert block.head_bits == allocation.layout.num_bits
        assert block.crc_bits == 16
        assert (block.head_bits > 8) == adaptive


# What is lost.


def test_a_block_whose_side_information_is_lost_is_lost() -> None:
    use = blocks()
    allocation, _, block = sent_block(use, 1500)
    side = allocation.layout.num_symbols
    silent, noisy, other = (block.samples.copy() for _ in range(3))
    silent[:side] = 0
    noisy[:side] = noise(side, 1.0)
    other[:side] *= -1
    for samples in (silent, noisy, other, noise(1500, 1.0)):
        assert use.read(samples, 0.5, SAFE, KEY) is None


def test_what_was_sent_under_another_key_or_rung_is_lost() -> None:
    use = blocks()
    _, _, block = sent_block(use, 1500)
    assert use.read(block.samples, NOISE_VAR, SAFE, KEY) is not None
    assert use.read(block.samples, NOISE_VAR, SAFE, KEY + 1) is None
    assert use.read(block.samples, NOISE_VAR, rung("qpsk-2/3"), KEY) is None


def test_reals_that_are_lost_are_noise_in_their_place_and_nowhere_else() -> None:
    use = blocks()
    allocation, reals, block = sent_block(use, 1500)
    samples = block.samples.copy()
    samples[-100:] = 0
    read = use.read(samples, NOISE_VAR, SAFE, KEY)
    assert read is not None
    wrong = abs(read.reals - kept(reals, allocation.counts)) > 0.02 * abs(reals)
    assert 0 < wrong.sum() <= 200
    # The end of a block is the least important of every patch.
    assert np.nonzero(wrong)[0].min() > 10


def test_side_information_that_asks_for_more_than_there_is_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As after a word that passed its CRC by chance: no exception, no picture."""
    use = blocks()
    allocation, reals, _ = sent_block(use, 1500)
    greedy = np.full_like(allocation.indices, 12)
    broken = Allocation(allocation.layout, greedy, allocation.counts)
    block = use.write(broken, NO_BASE, reals, KEY)
    assert use.read(block.samples, NOISE_VAR, SAFE, KEY) is None


@settings(max_examples=40, deadline=None)
@given(packed=st.binary(min_size=1, max_size=40), seed=st.integers(0, 9))
def test_any_side_bits_are_read_or_lost(packed: bytes, seed: int) -> None:
    use = blocks(share=0.2)
    layout = use.head_layout(1500, SAFE)
    bits = np.resize(np.unpackbits(np.frombuffer(packed, np.uint8)), layout.num_bits)
    side = digital.encode_block(bits, layout.num_symbols, SAFE, KEY)
    samples = np.concatenate([side, noise(1500 - layout.num_symbols, 1.0, seed)])
    read = use.read(samples, NOISE_VAR, SAFE, KEY)
    if read is not None:
        assert read.counts.sum() == 2 * (1500 - layout.num_symbols)
        assert np.isfinite(read.reals).all()
