"""Which masks are objects: by hand, for each kind of output."""

import numpy as np
import pytest
from numpy.typing import NDArray

from transmitter.extractors.masks_of_networks import (
    MOST_OBJECTS,
    confident_queries,
    regions_of_classes,
    whole_things,
)

SHAPE = (40, 60)


def box(top: int, left: int, height: int, width: int, level: float = 0.9) -> NDArray[np.float32]:
    mask = np.full(SHAPE, 0.05, np.float32)
    mask[top : top + height, left : left + width] = level
    return mask


def places(masks: NDArray[np.float32]) -> list[tuple[int, int, int, int]]:
    """Where each mask is on: top, left, height, width."""
    out = []
    for mask in masks:
        rows, columns = np.nonzero(mask > 0.5)
        top, left = rows.min(), columns.min()
        out.append((top, left, rows.max() + 1 - top, columns.max() + 1 - left))
    return out


def test_two_cars_are_two_regions_and_the_wall_is_none() -> None:
    car = np.maximum(box(5, 5, 10, 12, 0.8), box(20, 40, 12, 12, 0.6))
    probabilities = np.stack([1 - car, car])
    masks, scores = regions_of_classes(probabilities, np.array([False, True]))
    assert places(masks) == [(5, 5, 10, 12), (20, 40, 12, 12)]
    np.testing.assert_allclose(scores, [0.8, 0.6], atol=1e-6)
    assert masks.max() <= 1
    nothing, no_scores = regions_of_classes(probabilities, np.array([False, False]))
    assert nothing.shape == (0, *SHAPE)
    assert no_scores.shape == (0,)


def test_a_region_whose_class_barely_wins_is_still_a_mask() -> None:
    """Of many classes the best may have less than half: the tracker looks for more than that."""
    car = box(5, 5, 10, 12, 0.4)
    probabilities = np.stack([car, *[(1 - car) / 3] * 3])
    masks, scores = regions_of_classes(probabilities, np.array([True, False, False, False]))
    assert places(masks) == [(5, 5, 10, 12)]
    assert scores[0] == pytest.approx(0.4)


def test_specks_are_left_out_and_the_largest_number_is_kept() -> None:
    car = np.zeros(SHAPE, np.float32)
    for k in range(20):
        row, column = divmod(k, 5)
        car[row * 10 : row * 10 + 4, column * 12 : column * 12 + 4] = 0.6 + 0.01 * k
    car[38, 58] = 0.99
    masks, scores = regions_of_classes(np.stack([1 - car, car]), np.array([False, True]))
    assert len(masks) == MOST_OBJECTS
    assert (np.diff(scores) <= 0).all()
    assert scores[0] == pytest.approx(0.79)
    assert scores[-1] == pytest.approx(0.65)


def test_queries_that_are_sure_of_a_class_and_each_object_once() -> None:
    masks = np.stack(
        [
            box(5, 5, 10, 12),
            box(5, 5, 10, 13, 0.8),
            box(20, 30, 10, 10),
            box(0, 50, 9, 9),
            box(0, 0, 1, 2),
        ]
    )
    sure = [0.95, 0.9, 0.4, 0.8, 0.9]
    classes = np.array([[s, 0, 1 - s] for s in sure], np.float32)
    found, scores = confident_queries(classes, masks)
    assert places(found) == [(5, 5, 10, 12), (0, 50, 9, 9)]
    np.testing.assert_allclose(scores, [0.95 * 0.9, 0.8 * 0.9], atol=1e-6)


def test_a_query_sure_of_nothing_is_nothing() -> None:
    found, scores = confident_queries(np.array([[0.1, 0.9]], np.float32), box(5, 5, 9, 9)[None])
    assert found.shape == (0, *SHAPE)
    assert len(scores) == 0


def test_whole_things_neither_their_parts_nor_the_scene() -> None:
    masks = np.stack(
        [
            box(10, 10, 20, 20),  # a thing
            box(10, 10, 20, 19, 0.8),  # again, less sure
            box(12, 12, 6, 6),  # a part of it
            box(0, 0, 40, 60),  # the scene
            box(0, 0, 24, 60),  # its upper half, at three sides
            box(5, 40, 10, 10),  # another thing
            box(25, 40, 10, 10),  # something the network is not sure of
        ]
    )
    ious = np.array([0.95, 0.9, 0.99, 0.99, 0.99, 1.04, 0.5], np.float32)
    found, scores = whole_things(masks, ious)
    assert places(found) == [(5, 40, 10, 10), (10, 10, 20, 20)]
    np.testing.assert_allclose(scores, [1.0, 0.95])
