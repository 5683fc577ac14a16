"""A picture's digital base: both ends have the same, in just the bits it was given."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from semcast.codecs.base_layer import GREY, base_layout, encode_base, no_base, read_base
from semcast.codecs.errors import CorruptPayloadError
from semcast.codecs.lowres import MIN_BUDGET_BITS
from semcast.codecs.range_payload import PayloadReader
from semcast.metrics.psnr import psnr_db

Picture = NDArray[np.uint8]


def scene(width: int, height: int) -> Picture:
    """A sky, a ground and a red ball."""
    y, x = np.mgrid[0:height, 0:width]
    picture = np.stack([60 + 0 * x, 150 - 60 * y // height, 90 + 90 * x // width], -1)
    ball = (x - 0.4 * width) ** 2 + (y - 0.5 * height) ** 2 < (0.2 * min(width, height)) ** 2
    picture[ball] = 200, 50, 40
    return picture.astype(np.uint8)


SIZES = [(16, 16), (256, 256), (336, 192), (640, 368), (16, 720)]


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("bits_a_tile", [MIN_BUDGET_BITS + 2, 90, 700, 4000])
def test_both_ends_have_the_same_base_in_just_its_bits(
    width: int, height: int, bits_a_tile: int
) -> None:
    picture = scene(width, height)
    tiles = -(-width // 256) * -(-height // 256)
    num_bits = tiles * bits_a_tile
    layout = base_layout(width, height, num_bits)
    assert layout is not None and layout.count == tiles
    bits, base = encode_base(picture, layout, num_bits)
    assert bits.shape == (num_bits,) and bits.max() <= 1
    assert base.shape == picture.shape and base.dtype == np.uint8
    again = read_base(PayloadReader(bits), layout)
    assert np.array_equal(again, base)
    # A block that is longer holds zeros behind it.
    longer = np.append(bits, np.zeros(9, np.uint8))
    assert np.array_equal(read_base(PayloadReader(longer), layout), base)


def test_more_bits_are_a_better_base_and_any_is_better_than_grey() -> None:
    picture = scene(256, 256)
    quality = [psnr_db(picture, no_base(256, 256))]
    for num_bits in (60, 250, 1000, 4000):
        layout = base_layout(256, 256, num_bits)
        assert layout is not None
        quality.append(psnr_db(picture, encode_base(picture, layout, num_bits)[1]))
    assert np.all(np.diff(quality) > 0.5)


def test_each_part_of_a_large_picture_has_its_share() -> None:
    """One corner is busy; the others are not left without."""
    rng = np.random.default_rng(1)
    picture = scene(512, 512)
    picture[:256, :256] = rng.integers(0, 256, (256, 256, 3))
    layout = base_layout(512, 512, 4 * 500)
    assert layout is not None and (layout.rows, layout.columns) == (2, 2)
    _, base = encode_base(picture, layout, 4 * 500)
    for rows, columns in ((0, 256), (256, 0), (256, 256)):
        part = np.s_[rows : rows + 256, columns : columns + 256]
        assert psnr_db(picture[part], base[part]) > 22


def test_too_few_bits_are_no_base() -> None:
    for width, height, tiles in ((256, 256, 1), (512, 256, 2), (1280, 720, 15)):
        least = tiles * (MIN_BUDGET_BITS + 2)
        assert base_layout(width, height, least - 1) is None
        assert base_layout(width, height, -20) is None
        assert base_layout(width, height, least) is not None


def test_where_there_is_no_base_there_is_grey() -> None:
    grey = no_base(48, 32)
    assert grey.shape == (32, 48, 3) and grey.dtype == np.uint8
    assert (grey == GREY).all()


@settings(max_examples=60, deadline=None)
@given(packed=st.binary(max_size=90), size=st.sampled_from(SIZES[1:4]))
def test_any_bits_are_a_base_or_refused(packed: bytes, size: tuple[int, int]) -> None:
    width, height = size
    layout = base_layout(width, height, 6 * 120)
    assert layout is not None
    bits = np.unpackbits(np.frombuffer(packed, np.uint8))
    try:
        base = read_base(PayloadReader(bits), layout)
    except CorruptPayloadError:
        return
    assert base.shape == (height, width, 3) and base.dtype == np.uint8
