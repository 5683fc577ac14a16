"""Pictures of semantics that are no picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from receiver.drawing import draw_caption, draw_labels, draw_sketch, label_colour
from receiver.generator import Conditions, GeneratorContext, PassthroughGenerator
from semcast.session import Modality

WIDTH, HEIGHT = 96, 64
PENS = Path(__file__).parents[2] / "console" / "static" / "modalities.js"


def labels() -> np.ndarray:
    grid = np.zeros((HEIGHT, WIDTH), np.uint8)
    grid[10:30, 10:40] = 1
    grid[40:60, 50:90] = 2
    return grid


def test_each_object_has_its_colour_and_the_page_the_same() -> None:
    picture = draw_labels(labels(), WIDTH, HEIGHT)
    assert tuple(picture[20, 20]) == label_colour(1)
    assert tuple(picture[50, 70]) == label_colour(2)
    assert tuple(picture[0, 0]) not in {label_colour(k) for k in range(1, 16)}
    pens = PENS.read_text()
    for label in range(1, 9):
        assert "#{:02x}{:02x}{:02x}".format(*label_colour(label)) in pens


def test_labels_of_another_size_are_enlarged_without_new_colours() -> None:
    picture = draw_labels(labels(), 2 * WIDTH, 2 * HEIGHT)
    assert picture.shape == (2 * HEIGHT, 2 * WIDTH, 3)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) == 3


def test_strokes_are_bright_on_what_lies_under_them() -> None:
    strokes = np.zeros((16, 24), np.uint8)
    strokes[8] = 255
    under = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    picture = draw_sketch(strokes, under, WIDTH, HEIGHT)
    assert picture[34, 40].min() > 200
    assert np.all(picture[5] == 90)
    assert draw_sketch(strokes, None, WIDTH, HEIGHT)[5].max() < 40


def test_a_stroke_that_is_unsure_is_half_as_bright() -> None:
    brightness = []
    for strength in (0, 128, 255):
        strokes = np.full((16, 24), strength, np.uint8)
        picture = draw_sketch(strokes, np.full((HEIGHT, WIDTH, 3), 90, np.uint8), WIDTH, HEIGHT)
        brightness.append(float(picture.mean()))
    assert brightness[0] == 90
    assert brightness[1] == pytest.approx((brightness[0] + brightness[2]) / 2, abs=2)


@pytest.mark.parametrize("caption", ["Go.", "A very long sentence " * 12, "東京", ""])
def test_a_caption_fits_its_card(caption: str) -> None:
    picture = draw_caption(caption, WIDTH, HEIGHT)
    bright = np.argwhere(picture.max(axis=2) > 120)
    if not caption:
        assert not len(bright)
        return
    assert len(bright) > 4
    # Nothing is cut at the border.
    assert bright[:, 1].min() > 0 and bright[:, 1].max() < WIDTH - 1
    assert bright[:, 0].min() > 0 and bright[:, 0].max() < HEIGHT - 1


def test_passthrough_shows_the_best_there_is() -> None:
    generator = PassthroughGenerator()
    generator.reset(GeneratorContext(WIDTH, HEIGHT, 8.0, 0))
    ages: dict[Modality, int] = {}
    card = generator.step(Conditions({}, ages, caption="A dog."))
    drawn = generator.step(Conditions({}, ages, labels=labels(), caption="A dog."))
    colours = np.full((8, 12, 3), 77, np.uint8)
    pictured = generator.step(
        Conditions({Modality.LOWRES: colours}, ages, labels=labels(), caption="A dog.")
    )
    assert np.array_equal(card, draw_caption("A dog.", WIDTH, HEIGHT))
    assert np.array_equal(drawn, draw_labels(labels(), WIDTH, HEIGHT))
    assert np.all(pictured == 77)
