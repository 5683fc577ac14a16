"""Power of a block of symbols. SNR is Es/N0 at unit mean power, so every block is sent at 1."""

import numpy as np
from numpy.typing import NDArray

from semcast.errors import InputError


def mean_power(samples: NDArray[np.complexfloating]) -> float:
    """Mean of |x|^2 over all samples of any shape, in float64; 0.0 for an empty array."""
    if samples.size == 0:
        return 0.0
    real = samples.real.astype(np.float64)
    imag = samples.imag.astype(np.float64)
    return float(np.mean(real * real + imag * imag))


def normalise(samples: NDArray[np.complexfloating]) -> tuple[NDArray[np.complex64], float]:
    """Scales a block to unit mean power.

    Args:
        samples: complex, any shape, not all zero, finite.

    Returns:
        (`samples * scale` as complex64, `scale`). A receiver that must undo an analogue block's
        scale has to be sent it: the scale is payload.

    Raises:
        InputError: the block is empty, all zero or not finite, so that no scale exists.
    """
    power = mean_power(samples)
    if not np.isfinite(power) or power <= 0.0:
        raise InputError(
            "A block with no power or with NaN or infinite samples cannot be scaled to unit power; "
            "send at least one non-zero, finite sample."
        )
    scale = 1.0 / float(np.sqrt(power))
    return (samples * scale).astype(np.complex64), scale
