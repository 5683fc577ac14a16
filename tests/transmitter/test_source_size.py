"""Sizes as users write them, and scaling to cover with the middle kept."""

import numpy as np
import pytest

from semcast.errors import InputError
from transmitter.sources import fit_to_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("256", (256, 256)),
        (" 16 ", (16, 16)),
        ("4096", (4096, 4096)),
        ("320x240", (320, 240)),
        ("320X240", (320, 240)),
        ("320 × 240", (320, 240)),
    ],
)
def test_sizes_that_can_be_had(text: str, size: tuple[int, int]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    "|banana|255|256x255|14|4098|0|-256|256x|x256|2.5e2|1x1|256x256x3|٢٥٦|9999999999|256\n256".split(
        "|"
    ),
)
def test_sizes_that_cannot(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_size(text)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("size ")


def test_an_odd_size_comes_with_the_nearest_even_one() -> None:
    with pytest.raises(InputError, match="write 256x242"):
        parse_size("255x241")


def gradient(height: int, width: int) -> np.ndarray:
    """Red tells the column, green the row, both 0..1 scaled to 20..220."""
    rgb = np.zeros((height, width, 3))
    rgb[..., 0] = 20 + 200 * (np.arange(width) + 0.5) / width
    rgb[..., 1] = (20 + 200 * (np.arange(height) + 0.5) / height)[:, None]
    return np.rint(rgb).astype(np.uint8)


def test_a_picture_that_fits_is_kept_bit_for_bit_but_copied() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    fitted = fit_to_size(rgb, 64, 48)
    np.testing.assert_array_equal(fitted, rgb)
    fitted[:] = 0
    assert rgb.any()


def test_only_cropping_keeps_the_middle_bit_for_bit() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(fit_to_size(rgb, 48, 48), rgb[:, 8:56])
    np.testing.assert_array_equal(fit_to_size(rgb, 64, 16), rgb[16:32])


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ((1080, 1920), (256, 256)),
        ((1920, 1080), (256, 256)),
        ((240, 320), (320, 180)),
        ((60, 80), (256, 256)),
        ((481, 641), (320, 240)),
        ((90, 1000), (64, 128)),
        ((20, 5000), (64, 16)),
    ],
)
def test_cover_and_crop_geometry(source: tuple[int, int], wanted: tuple[int, int]) -> None:
    """The colours at the corners tell which part of the source is shown."""
    height, width = source
    fitted = fit_to_size(gradient(height, width), *wanted)
    assert fitted.shape == (wanted[1], wanted[0], 3)
    assert fitted.flags.c_contiguous
    scale = max(wanted[0] / width, wanted[1] / height)
    for axis, channel, length, shown in ((1, 0, width, wanted[0]), (0, 1, height, wanted[1])):
        part = shown / (scale * length)
        line = fitted[..., channel].mean(axis=1 - axis)
        centres = 0.5 + part * ((np.arange(shown) + 0.5) / shown - 0.5)
        # Half a source pixel of cropping, one level of rounding, and the clamped border.
        tolerance = 1.5 + 200 * 1.0 / length
        assert np.abs(line - (20 + 200 * centres))[1:-1].max() < tolerance


def test_nothing_aliases_when_shrinking() -> None:
    """A checkerboard of single pixels is grey from afar; dropping pixels would leave patterns."""
    board = np.indices((500, 700)).sum(0) % 2 * 255
    rgb = np.repeat(board[..., None], 3, -1).astype(np.uint8)
    for size in ((100, 100), (64, 48), (122, 90)):
        fitted = fit_to_size(rgb, *size).astype(float)
        assert abs(fitted.mean() - 127.5) < 1
        assert fitted.std() < 26  # whole pixels of black and white would give 127


def test_one_axis_may_grow_while_the_other_shrinks() -> None:
    rgb = gradient(600, 40)
    fitted = fit_to_size(rgb, 80, 300, pixel_aspect=8.0)  # 40 pixels, as wide as 320
    assert fitted.shape == (300, 80, 3)
    column = fitted[..., 1].mean(axis=1)
    assert np.all(np.diff(column) >= -0.01)


def test_pixel_shape_counts() -> None:
    """720x576 with pixels 16:15 wide is 4:3: shown at 4:3 nothing is lost."""
    rgb = gradient(576, 720)
    fitted = fit_to_size(rgb, 320, 240, pixel_aspect=16 / 15)
    assert fitted[120, 0, 0] <= 22
    assert fitted[120, -1, 0] >= 218
    assert fitted[0, 160, 1] <= 22
    assert fitted[-1, 160, 1] >= 218
    square = fit_to_size(rgb, 320, 240)  # taken as 5:4 the same picture loses top and bottom
    assert square[0, 160, 1] > 24
