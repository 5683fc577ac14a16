"""A decoded frame of any kind as upright 8-bit SDR RGB at the session's size.

Colour matrix and range come from the frame's tags; an untagged frame takes the matrix that players
assume for its size (BT.709 from 720 lines, BT.601 below). Alpha lies on black. Of an interlaced
frame the top field alone is shown: no comb, and no need of a later frame.
"""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from av.video.reformatter import Colorspace, Interpolation
from numpy.typing import NDArray

from semcast.errors import InputError
from transmitter.sources.orientation import frame_orientation
from transmitter.sources.size import Pixel, fit_to_size
from transmitter.sources.tone_map import Transfer, to_sdr

MIN_SOURCE_SIDE = 16
MAX_SOURCE_PIXELS = 8192 * 8192
"""Larger pictures are refused: one alone would need several hundred megabytes."""

_HD_HEIGHT = 720
_AVCOL_SPC_UNSPECIFIED = 2
_AVCOL_PRI_BT2020 = 9
_AVCOL_PRI_UNSPECIFIED = 2
_TRANSFER_BY_TAG = {16: Transfer.PQ, 18: Transfer.HLG}
_CONVERSION = (
    Interpolation.AREA
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.BITEXACT
)


def render_frame(
    frame: av.VideoFrame, width: int, height: int, *, pixel_aspect: float = 1.0
) -> NDArray[np.uint8]:
    """Show a decoded frame at the session's size.

    pixel_aspect: width of a coded pixel over its height, before rotation.
    Returns [height, width, 3] uint8, C-contiguous.
    Raises InputError for a picture too small or too large to use.
    """
    check_picture_size(frame.width, frame.height)
    orientation = frame_orientation(frame)
    wanted_sides = (height, width) if orientation.transpose else (width, height)
    reduction = _reduction(frame, *wanted_sides)
    # Rounding to whole pixels changes the shape of a reduced pixel a little.
    reduced_width, reduced_height = round(frame.width / reduction), round(frame.height / reduction)
    pixel_aspect *= (frame.width / reduced_width) / (frame.height / reduced_height)
    if frame.interlaced_frame:
        pixel_aspect /= 2
    if orientation.transpose:
        pixel_aspect = 1 / pixel_aspect
    transfer = _TRANSFER_BY_TAG.get(int(frame.color_trc), Transfer.SDR)
    wide_gamut = _has_wide_gamut(frame, transfer)
    if transfer is Transfer.SDR and not wide_gamut:
        if _has_alpha(frame):
            rgb = _over_black(_convert(frame, "rgba"))
        else:
            rgb = _convert(frame, "rgb24", reduced_width, reduced_height)
        upright = orientation.apply(_progressive(frame, rgb))
        return fit_to_size(upright, width, height, pixel_aspect=pixel_aspect)
    # At the session's size first: the tone map costs far more a pixel than the scaling.
    deep = _convert(frame, "rgb48le", reduced_width, reduced_height)
    upright_deep = orientation.apply(_progressive(frame, deep))
    fitted = fit_to_size(upright_deep, width, height, pixel_aspect=pixel_aspect)
    return to_sdr(fitted, transfer, wide_gamut=wide_gamut)


def check_picture_size(width: int, height: int) -> None:
    """Raise InputError if a picture of this many pixels cannot be a source."""
    if min(width, height) < MIN_SOURCE_SIDE:
        raise InputError(
            f"the picture is {width}x{height} pixels, which is too small: "
            f"each side must have at least {MIN_SOURCE_SIDE}"
        )
    if width * height > MAX_SOURCE_PIXELS:
        raise InputError(
            f"the picture is {width}x{height} pixels, which is too large: "
            f"scale it down to at most {MAX_SOURCE_PIXELS // 1_000_000} million pixels first"
        )


def _has_wide_gamut(frame: av.VideoFrame, transfer: Transfer) -> bool:
    """Are the primaries those of BT.2020? An HDR frame without a tag is taken to have them."""
    primaries = int(frame.color_primaries)
    if primaries == _AVCOL_PRI_UNSPECIFIED:
        return transfer is not Transfer.SDR
    return primaries == _AVCOL_PRI_BT2020


def _has_alpha(frame: av.VideoFrame) -> bool:
    return frame.format.has_palette or any(part.is_alpha for part in frame.format.components)


def _progressive(frame: av.VideoFrame, rgb: NDArray[Pixel]) -> NDArray[Pixel]:
    """The top field of an interlaced frame; any other frame as it is."""
    return rgb[::2] if frame.interlaced_frame else rgb


def _reduction(frame: av.VideoFrame, width: int, height: int) -> int:
    """The whole number by which FFmpeg may shrink both sides, leaving at least the wanted ones.

    It averages areas in the coded format, several times faster than converting every pixel to RGB.
    Not where lines or alpha have to be dealt with pixel by pixel first.
    """
    if frame.interlaced_frame or _has_alpha(frame):
        return 1
    return max(1, min(frame.width // width, frame.height // height))


def _convert(
    frame: av.VideoFrame, pixel_format: str, width: int | None = None, height: int | None = None
) -> NDArray[Any]:
    """The frame as packed full-range RGB(A), [height, width, channels]; by default in its size."""
    untagged = int(frame.colorspace) == _AVCOL_SPC_UNSPECIFIED and not frame.format.is_rgb
    matrix = None
    if untagged:
        matrix = Colorspace.ITU709 if frame.height >= _HD_HEIGHT else Colorspace.ITU601
    converted = frame.reformat(
        width=width,
        height=height,
        format=pixel_format,
        src_colorspace=matrix,
        interpolation=_CONVERSION,
        threads=1,
    )
    return converted.to_ndarray()


def _over_black(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[h, w, 4] with straight alpha to [h, w, 3]."""
    alpha = rgba[..., 3:].astype(np.uint16)
    return ((rgba[..., :3] * alpha + 127) // 255).astype(np.uint8)
