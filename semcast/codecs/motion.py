"""The motion of a segment as four bits.

LGVSC appends the mean magnitude of the optical flow, one scalar a segment, to the caption as a
motion score with one decimal (its section on the pipeline). Here it is a level of 0 to 15:

    level 0       still: below 0.0008 of the frame's width a frame
    level 1..15   0.001 * 2**((level - 1) / 2): 0.001 to 0.128 of the width a frame, half an octave
                  apart, so that a value in that range is off by at most 19 %

Chosen on video/train at 8 fps, whose 278 segments of 8 frames lie at 0.0001 to 0.12, median 0.010:
they spread so evenly over these levels (3.9 bits of entropy) that a fitted table would gain nothing
over four plain bits.
"""

import math

from semcast.codecs.errors import CorruptPayloadError
from semcast.codecs.range_payload import PayloadReader, PayloadWriter, categorical

NUM_LEVELS = 16
NUM_BITS = 4

_SLOWEST = 0.001
_LEVELS_AN_OCTAVE = 2
_UNIFORM = categorical([1] * NUM_LEVELS)


def quantise_motion(motion: float) -> int:
    """The level nearest (in logarithm) to a mean flow of `motion` frame widths a frame.

    Raises ValueError for a motion that is negative or not finite.
    """
    if not (math.isfinite(motion) and motion >= 0):
        raise ValueError(f"motion {motion} is no magnitude: give frame widths a frame, 0 or more")
    if motion == 0:
        return 0
    level = 1 + round(_LEVELS_AN_OCTAVE * math.log2(motion / _SLOWEST))
    return min(max(level, 0), NUM_LEVELS - 1)


def motion_of_level(level: int) -> float:
    """The mean flow a level stands for, in frame widths a frame; 0 for level 0."""
    _check(level)
    return _SLOWEST * 2.0 ** ((level - 1) / _LEVELS_AN_OCTAVE) if level else 0.0


def write_motion(writer: PayloadWriter, level: int) -> None:
    """Append a level, 0 to 15, in four bits."""
    _check(level)
    writer.write(level, _UNIFORM)


def read_motion(reader: PayloadReader) -> int:
    """The level that `write_motion` wrote, 0 to 15. Raises CorruptPayloadError."""
    level = reader.read(_UNIFORM)
    if level >= NUM_LEVELS:
        raise CorruptPayloadError(f"motion level {level} of {NUM_LEVELS}")
    return level


def _check(level: int) -> None:
    if not 0 <= level < NUM_LEVELS:
        raise ValueError(f"motion level {level} is out of range: 0 to {NUM_LEVELS - 1}")
