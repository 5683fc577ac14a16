"""Maps of rate indices: they come back, smooth ones are short, any bits are a map or refused."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from semcast.codecs.errors import CorruptPayloadError
from semcast.codecs.range_payload import PayloadReader, PayloadWriter, categorical
from semcast.codecs.rate_map import (
    NUM_INDICES,
    START_INDEX,
    read_rate_map,
    smoothed,
    write_rate_map,
)

Map = NDArray[np.uint8]

maps = st.builds(
    lambda rows, columns, seed, top: np.random.default_rng(seed).integers(
        0, top, (rows, columns), np.uint8
    ),
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    seed=st.integers(0, 999),
    top=st.sampled_from([1, 3, NUM_INDICES]),
)


def bits_of(indices: Map) -> NDArray[np.uint8]:
    writer = PayloadWriter()
    write_rate_map(writer, indices)
    return writer.finish()


def hill(rows: int, columns: int) -> Map:
    """A map as pictures have them: much in the middle, little around."""
    y, x = np.mgrid[0:rows, 0:columns]
    far = np.hypot(y / rows - 0.5, x / columns - 0.5)
    return np.clip(13 - 18 * far, 2, 15).astype(np.uint8)


@settings(max_examples=150, deadline=None)
@given(indices=maps, zeros=st.integers(0, 40))
def test_a_map_comes_back_from_a_payload_of_any_length(indices: Map, zeros: int) -> None:
    bits = np.append(bits_of(indices), np.zeros(zeros, np.uint8))
    again = read_rate_map(PayloadReader(bits), *indices.shape)
    assert again.dtype == np.uint8
    assert np.array_equal(again, indices)


def test_a_map_stands_in_its_payload_after_what_came_before() -> None:
    writer, model = PayloadWriter(), categorical([1] * 256)
    writer.write(201, model)
    write_rate_map(writer, hill(4, 4))
    write_rate_map(writer, hill(3, 5))
    reader = PayloadReader(writer.finish())
    assert reader.read(model) == 201
    assert np.array_equal(read_rate_map(reader, 4, 4), hill(4, 4))
    assert np.array_equal(read_rate_map(reader, 3, 5), hill(3, 5))


@settings(max_examples=100, deadline=None)
@given(
    packed=st.binary(max_size=64),
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
)
def test_any_bits_are_a_map_or_refused(packed: bytes, rows: int, columns: int) -> None:
    bits = np.unpackbits(np.frombuffer(packed, np.uint8))
    try:
        indices = read_rate_map(PayloadReader(bits), rows, columns)
    except CorruptPayloadError:
        return
    assert indices.shape == (rows, columns)
    assert indices.dtype == np.uint8
    assert indices.max() < NUM_INDICES


@settings(max_examples=60, deadline=None)
@given(indices=maps, places=st.lists(st.integers(0, 400), min_size=1, max_size=4))
def test_a_map_with_bits_wrong_is_a_map_or_refused(indices: Map, places: list[int]) -> None:
    bits = bits_of(indices)
    if not len(bits):
        return
    bits[np.array(places) % len(bits)] ^= 1
    try:
        again = read_rate_map(PayloadReader(bits), *indices.shape)
    except CorruptPayloadError:
        return
    assert again.shape == indices.shape and again.max() < NUM_INDICES


@settings(max_examples=100, deadline=None)
@given(indices=maps, tolerance=st.integers(0, NUM_INDICES - 1))
def test_smoothing_moves_no_index_by_more_than_its_tolerance(indices: Map, tolerance: int) -> None:
    before = indices.copy()
    after = smoothed(indices, tolerance)
    assert np.array_equal(indices, before), "the caller's map is left as it was"
    assert abs(after.astype(int) - indices).max() <= tolerance
    if tolerance == 0:
        assert np.array_equal(after, indices)


def test_the_more_is_smoothed_the_shorter_the_map_is() -> None:
    rng = np.random.default_rng(2)
    rough = np.clip(hill(16, 16).astype(int) + rng.integers(-2, 3, (16, 16)), 0, 15)
    lengths = [len(bits_of(smoothed(rough.astype(np.uint8), k))) for k in range(4)]
    assert all(b <= a for a, b in pairwise(lengths))
    assert lengths[-1] < 0.75 * lengths[0]


def test_smoothed_to_the_end_is_the_prediction_everywhere() -> None:
    indices = np.random.default_rng(4).integers(0, NUM_INDICES, (9, 7), np.uint8)
    assert (smoothed(indices, NUM_INDICES - 1) == START_INDEX).all()


def test_maps_of_pictures_take_far_less_than_four_bits_an_index() -> None:
    assert len(bits_of(hill(16, 16))) < 2.5 * 256
    assert len(bits_of(np.full((16, 16), 5, np.uint8))) < 1.5 * 256
    rough = np.random.default_rng(1).integers(0, NUM_INDICES, (16, 16), np.uint8)
    assert len(bits_of(rough)) > 4 * 256


@pytest.mark.parametrize("index", range(NUM_INDICES))
def test_every_index_can_stand_anywhere(index: int) -> None:
    for shape in ((1, 1), (1, 6), (6, 1), (3, 3)):
        indices = np.full(shape, index, np.uint8)
        assert np.array_equal(read_rate_map(PayloadReader(bits_of(indices)), *shape), indices)
        indices[-1, -1] = NUM_INDICES - 1 - index
        assert np.array_equal(read_rate_map(PayloadReader(bits_of(indices)), *shape), indices)
