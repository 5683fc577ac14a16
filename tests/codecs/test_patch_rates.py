"""Reals of patches: what is shared out adds up, and who says more gets no less."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from semcast.codecs.patch_rates import LEVELS, choose_indices, reals_of_patches

MAX_REALS = st.sampled_from([16, 96, 192])


def drawn_bits(rows: int, columns: int, seed: int, spread: float) -> NDArray[np.float64]:
    """Bits of patches; spread 0 makes all alike, 3 some a thousand times the others."""
    return 100 * np.exp(spread * np.random.default_rng(seed).normal(size=(rows, columns)))


def steps_of(
    indices: NDArray[np.uint8], rows: int, columns: int, group: int
) -> NDArray[np.integer]:
    """Reals that indices ask for, patch by patch."""
    return LEVELS[indices].repeat(group, 0).repeat(group, 1)[:rows, :columns]


grids = st.fixed_dictionaries(
    {
        "rows": st.integers(1, 9),
        "columns": st.integers(1, 9),
        "group": st.sampled_from([1, 2, 4]),
        "max_reals": MAX_REALS,
        "share": st.floats(0, 1),
        "spread": st.sampled_from([0.0, 0.5, 3.0]),
        "seed": st.integers(0, 99),
    }
)


@settings(max_examples=150, deadline=None)
@given(grid=grids)
def test_both_ends_counts_add_up_and_ask_for_no_more_than_there_is(grid: dict[str, int]) -> None:
    rows, columns, group, most = (grid[k] for k in ("rows", "columns", "group", "max_reals"))
    total = round(grid["share"] * rows * columns * most)
    bits = drawn_bits(rows, columns, grid["seed"], grid["spread"])
    indices = choose_indices(bits, total, most, group)
    assert indices.shape == (-(-rows // group), -(-columns // group))
    assert indices.dtype == np.uint8
    asked = steps_of(indices, rows, columns, group)
    assert asked.sum() <= total
    counts = reals_of_patches(indices, rows, columns, total, most, group)
    assert counts.shape == (rows, columns)
    assert counts.sum() == total
    assert counts.min() >= 0 and counts.max() <= most
    assert (counts >= asked).all(), "no patch gets less than its index says"


@settings(max_examples=100, deadline=None)
@given(grid=grids)
def test_more_bits_never_mean_a_lower_rate(grid: dict[str, int]) -> None:
    rows, columns, most = grid["rows"], grid["columns"], grid["max_reals"]
    bits = drawn_bits(rows, columns, grid["seed"], grid["spread"])
    indices = choose_indices(bits, round(grid["share"] * rows * columns * most), most)
    in_order = indices.ravel()[np.argsort(bits.ravel(), kind="stable")]
    assert (np.diff(in_order.astype(int)) >= 0).all()


@settings(max_examples=60, deadline=None)
@given(grid=grids, scale=st.sampled_from([1e-2, 7.0, 1e3]))
def test_only_the_ratio_of_bits_matters(grid: dict[str, int], scale: float) -> None:
    """eta takes up any factor, to where bisection ends."""
    rows, columns, most = grid["rows"], grid["columns"], grid["max_reals"]
    total = round(grid["share"] * rows * columns * most)
    bits = drawn_bits(rows, columns, grid["seed"], min(grid["spread"], 0.5))
    one, other = (choose_indices(b, total, most) for b in (bits, scale * bits))
    assert abs(one.astype(int) - other).max() <= 1
    assert (one != other).mean() <= max(0.02, 1 / one.size)


def test_the_largest_rates_that_fit_are_taken() -> None:
    """Nothing like an eighth of the total is left over for even shares on a grid of 256."""
    bits = drawn_bits(16, 16, 5, 0.7)
    for total in (1000, 4000, 15_360, 30_000):
        left = total - steps_of(choose_indices(bits, total, 192), 16, 16, 1).sum()
        assert 0 <= left <= 0.01 * total + LEVELS.max()


def test_rates_follow_the_bits_to_the_nearest_step() -> None:
    """k_i = eta bits_i: twice the bits, twice the reals."""
    bits = np.array([[100.0, 200.0, 400.0, 800.0]])
    assert LEVELS[choose_indices(bits, 120, 192)].tolist() == [[8, 16, 32, 64]]
    # 0.9 * 100 bits are still nearest to 8, 1.5 * 100 are nearest to 12.
    bits = np.array([[90.0, 200.0, 400.0, 800.0]])
    assert LEVELS[choose_indices(bits, 120, 192)].tolist() == [[8, 16, 32, 64]]
    bits = np.array([[150.0, 200.0, 400.0, 800.0]])
    assert LEVELS[choose_indices(bits, 124, 192)].tolist() == [[12, 16, 32, 64]]


def test_equal_bits_give_equal_indices() -> None:
    indices = choose_indices(np.full((5, 7), 123.0), 5 * 7 * 30, 192)
    assert len(np.unique(indices)) == 1
    assert LEVELS[indices[0, 0]] == 24


def test_patches_that_share_an_index_are_judged_by_their_mean() -> None:
    bits = np.full((4, 6), 10.0)
    bits[:2, :2] = [[10, 70], [70, 10]]
    bits[2:, 4:] = 40
    indices = choose_indices(bits, 24 * 20, 192, 2)
    assert indices.shape == (2, 3)
    assert indices[0, 0] == indices[1, 2] > indices[0, 1] == indices[1, 1]


def test_the_edge_of_a_grid_that_squares_do_not_fill_counts_for_what_it_is() -> None:
    """A last row of one patch a square costs half of what a whole square costs."""
    bits = np.full((3, 2), 100.0)
    indices = choose_indices(bits, 6 * 32, 192, 2)
    assert LEVELS[indices].ravel().tolist() == [32, 32]


def test_zeros_are_the_uniform_rate() -> None:
    for group, shape in ((1, (3, 5)), (2, (2, 3)), (4, (1, 2)), (5, (1, 1))):
        counts = reals_of_patches(np.zeros(shape, np.uint8), 3, 5, 152, 192, group)
        assert counts.sum() == 152
        assert counts.max() - counts.min() == 1
        # What does not divide goes to the first patches.
        assert counts.ravel().tolist() == [11] * 2 + [10] * 13


def test_what_is_left_goes_to_those_with_room() -> None:
    counts = reals_of_patches(np.array([[5, 0, 4]], np.uint8), 1, 3, 41, 16)
    assert counts.tolist() == [[16, 9, 16]]


def test_nothing_to_share_is_nothing_for_all() -> None:
    assert not choose_indices(np.full((3, 3), 50.0), 0, 192).any()
    assert not reals_of_patches(np.zeros((3, 3), np.uint8), 3, 3, 0, 192).any()


def test_all_there_is_fills_every_patch() -> None:
    for most in (16, 96, 192):
        full = reals_of_patches(
            choose_indices(drawn_bits(3, 4, 1, 3.0), 12 * most, most), 3, 4, 12 * most, most
        )
        assert (full == most).all()


def test_silent_patches_get_nothing_while_others_are_hungry() -> None:
    """Bits of zero, as where nothing changed."""
    bits = np.zeros((4, 4))
    bits[1, 2] = bits[3, 3] = 250
    indices = choose_indices(bits, 150, 96)
    assert indices[1, 2] == indices[3, 3] > 0
    assert np.count_nonzero(indices) == 2


def test_indices_that_ask_for_more_than_there_is_are_refused() -> None:
    indices = np.full((2, 2), 4, np.uint8)
    with pytest.raises(ValueError, match="8 reals more than the 40"):
        reals_of_patches(indices, 2, 2, 40, 192)
    assert reals_of_patches(indices, 2, 2, 48, 192).sum() == 48


def test_more_than_all_patches_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="4 patches cannot hold 65 reals"):
        reals_of_patches(np.zeros((2, 2), np.uint8), 2, 2, 65, 16)


def test_an_index_beyond_what_a_patch_holds_is_refused() -> None:
    indices = np.zeros((2, 2), np.uint8)
    indices[1, 1] = 15
    with pytest.raises(ValueError, match="cannot hold"):
        reals_of_patches(indices, 2, 2, 300, 96)


def test_steps_are_sixteen_and_rise_from_nothing() -> None:
    assert len(LEVELS) == 16
    assert LEVELS[0] == 0
    assert (np.diff(LEVELS) > 0).all()
