"""The low-res frame codec: tiny colour frames at 24-1500 bits each, every frame the same budget.

A frame is predicted from one earlier reconstructed frame (the last one that the receiver has
acknowledged, or none), the rest is transformed by a DCT (blocks of 8, of 16 or 12, or the whole
frame), quantised with rate-distortion optimisation and range-coded under fixed context models.
Nothing else is remembered, so a lost frame costs itself only. Decoding is integer arithmetic
throughout: encoder and decoder hold the same state to the last bit on every machine.

The payload's layout is in `lowres_frame`, the coefficients' in `lowres_coefficients`, the encoder's
decisions in `lowres_search`.
"""

import numpy as np
from numpy.typing import NDArray

from semcast.codecs.lowres_frame import LowresState, read_frame, reconstruct, write_frame
from semcast.codecs.lowres_picture import (
    MAX_SIDE,
    MIN_SIDE,
    LowresGeometry,
    planes_from_rgb,
    shrink,
)
from semcast.codecs.lowres_search import plan_frames
from semcast.codecs.range_payload import PayloadReader, PayloadWriter
from semcast.errors import InputError

__all__ = [
    "MIN_BUDGET_BITS",
    "LowresGeometry",
    "LowresState",
    "decode",
    "encode",
    "geometry_for",
    "read",
    "shrink",
    "warm_up",
    "write",
]

MIN_BUDGET_BITS = 24
"""Smallest payload `encode` takes: a plain colour always fits."""


_PIXELS_PER_BIT = 9.0
"""On training clips a larger frame loses at most 0.3 dB down to 38 pixels a bit, and gains up to
1.8 dB where the channel turns out better than planned for (docs/CODECS.md)."""
_MAX_PIXELS = 2304


def geometry_for(video_width: int, video_height: int, bits_per_frame: float) -> LowresGeometry:
    """Size of the tiny frames of a session, from numbers known at set-up.

    The area grows with the bits (measured on training clips: see docs/CODECS.md) up to what one
    core codes in time, the aspect ratio follows the video's as far as multiples of 8 allow, and no
    side exceeds the video's by more than rounding to 16.
    """
    if video_width < 1 or video_height < 1:
        raise InputError(f"a video of {video_width}x{video_height} has no pixels to shrink")
    if not bits_per_frame > 0:
        raise InputError(f"bits per frame must be positive, not {bits_per_frame}")
    area = min(_PIXELS_PER_BIT * bits_per_frame, _MAX_PIXELS)
    best = LowresGeometry(MIN_SIDE, MIN_SIDE)
    best_penalty = float("inf")
    limits = [max(MIN_SIDE, min(MAX_SIDE, side // 8 * 8)) for side in (video_width, video_height)]
    for width in range(MIN_SIDE, limits[0] + 1, 8):
        for height in range(MIN_SIDE, limits[1] + 1, 8):
            if width * height > _MAX_PIXELS:
                break
            aspect = np.log(width / height * video_height / video_width)
            penalty = abs(np.log(width * height / area)) + 1.5 * abs(aspect)
            if penalty < best_penalty - 1e-9:
                best, best_penalty = LowresGeometry(width, height), penalty
    return best


def encode(
    frame_rgb: NDArray[np.uint8],
    reference: LowresState | None,
    budget_bits: int,
    prefix: PayloadWriter | None = None,
) -> tuple[NDArray[np.uint8], LowresState]:
    """Code a tiny frame into a payload of exactly `budget_bits`.

    `frame_rgb`: uint8 [h, w, 3], sides as in `LowresGeometry`. `reference`: a state the receiver
    holds, or None. `prefix`: symbols of other codecs that the payload begins with (left as it is);
    the frame takes the rest. Returns the whole payload, uint8 [budget_bits] of 0 and 1, and the
    state that `read` (or, without a prefix, `decode`) will make of it with the same reference.
    Raises `InputError` where less than `MIN_BUDGET_BITS` are left for the frame, for a picture of
    another kind, or a reference of another size.
    """
    writer, state = write(
        frame_rgb, reference, budget_bits, PayloadWriter() if prefix is None else prefix
    )
    bits = writer.finish()
    payload = np.zeros(budget_bits, dtype=np.uint8)
    payload[: len(bits)] = bits
    return payload, state


def write(
    frame_rgb: NDArray[np.uint8],
    reference: LowresState | None,
    budget_bits: int,
    prefix: PayloadWriter,
) -> tuple[PayloadWriter, LowresState]:
    """`encode` in a payload that goes on: a writer at most `budget_bits` long, and the state.

    Raises as `encode` does.
    """
    room = budget_bits - prefix.num_bits
    if room < MIN_BUDGET_BITS:
        raise InputError(
            f"a low-res frame needs at least {MIN_BUDGET_BITS} bits, not {room}; "
            "raise the CBR or lower the frame rate"
        )
    if frame_rgb.ndim != 3 or frame_rgb.shape[2] != 3 or frame_rgb.dtype != np.uint8:
        raise InputError("a low-res frame must be uint8 [h, w, 3]")
    geometry = LowresGeometry(width=frame_rgb.shape[1], height=frame_rgb.shape[0])
    if reference is not None and reference.geometry != geometry:
        raise InputError(
            f"the reference is {reference.geometry}, the frame {geometry}; start without one"
        )
    target = planes_from_rgb(frame_rgb)
    for plan in plan_frames(target, reference, room):
        whole = prefix.clone()
        write_frame(whole, plan, reference, geometry)
        if whole.num_bits <= budget_bits:
            return whole, reconstruct(plan, reference, geometry)
    raise AssertionError("the shortest frame exceeds MIN_BUDGET_BITS: a fault in the tables")


def decode(
    bits: NDArray[np.uint8], reference: LowresState | None, geometry: LowresGeometry
) -> LowresState:
    """The frame that `encode` coded with the same reference.

    `bits`: uint8 [n] of 0 and 1. Any other bits give a wrong picture or `CorruptPayloadError`,
    in bounded time and memory.
    """
    return read(PayloadReader(bits), reference, geometry)


def read(
    reader: PayloadReader, reference: LowresState | None, geometry: LowresGeometry
) -> LowresState:
    """`decode` for a payload whose earlier symbols (`encode`'s prefix) have been read already."""
    if reference is not None and reference.geometry != geometry:
        raise InputError(f"the reference is {reference.geometry}, the session {geometry}")
    plan = read_frame(reader, reference, geometry)
    return reconstruct(plan, reference, geometry)


def warm_up(geometry: LowresGeometry) -> None:
    """Compiles, or loads from numba's cache, all that coding takes (a service does it at start)."""
    frame = np.zeros((geometry.height, geometry.width, 3), dtype=np.uint8)
    frame[: geometry.height // 2, : geometry.width // 2] = 200
    payload, state = encode(frame, None, 400)
    decode(payload, None, geometry)
    payload, _ = encode(np.roll(frame, 2, axis=1), state, 400)
    decode(payload, state, geometry)
