"""Gray-labelled 4-, 16- and 64-QAM with unit mean energy, and their soft demodulators.

3GPP TS 38.211 section 5.1 (QPSK 5.1.3, 16QAM 5.1.4, 64QAM 5.1.5). Of a symbol's bits b0 b1 b2 ...
the even ones label the real part and the odd ones the imaginary part, so that each dimension is a
Gray-labelled PAM and is demodulated by itself:

    QPSK   (1-2b0) / sqrt(2)
    16QAM  (1-2b0) (2 - (1-2b2)) / sqrt(10)
    64QAM  (1-2b0) (4 - (1-2b2) (2 - (1-2b4))) / sqrt(42)
"""

from functools import lru_cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from semcast.errors import InputError

BITS_PER_SYMBOL: Final = (2, 4, 6)

Method = Literal["maxlog", "exact"]


@lru_cache(maxsize=3)
def _pam(bits_per_symbol: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Levels of one real dimension and their labels.

    Returns:
        (levels [m], float32, indexed by the label read as an integer, first bit most significant;
        labels [m, bits_per_symbol / 2], uint8), m = 2^(bits_per_symbol / 2).
    """
    if bits_per_symbol not in BITS_PER_SYMBOL:
        raise InputError(f"{bits_per_symbol} bits per symbol is no QAM of ours: use 2, 4 or 6.")
    num_bits = bits_per_symbol // 2
    index = np.arange(1 << num_bits)
    labels = ((index[:, None] >> np.arange(num_bits - 1, -1, -1)) & 1).astype(np.uint8)
    signs = 1.0 - 2.0 * labels.astype(np.float64)
    amplitude = np.ones(index.size)
    for i in range(num_bits - 1, 0, -1):
        amplitude = 2.0 ** (num_bits - i) - signs[:, i] * amplitude
    levels = signs[:, 0] * amplitude
    levels /= np.sqrt(2.0 * np.mean(levels**2))
    levels32 = levels.astype(np.float32)
    levels32.setflags(write=False)
    labels.setflags(write=False)
    return levels32, labels


def points(bits_per_symbol: int) -> NDArray[np.complex64]:
    """Every constellation point, [2^bits_per_symbol] complex64; index = label, b0 first."""
    index = np.arange(1 << bits_per_symbol)
    bits = (index[:, None] >> np.arange(bits_per_symbol - 1, -1, -1)) & 1
    return modulate(bits.astype(np.uint8).ravel(), bits_per_symbol)


def modulate(bits: NDArray[np.uint8], bits_per_symbol: int) -> NDArray[np.complex64]:
    """Bits to symbols.

    Args:
        bits: [S * bits_per_symbol], uint8 of 0/1.
        bits_per_symbol: 2, 4 or 6.

    Returns:
        [S], complex64, unit energy averaged over the constellation.

    Raises:
        InputError: the number of bits is no multiple of `bits_per_symbol`.
    """
    levels, labels = _pam(bits_per_symbol)
    if bits.size % bits_per_symbol:
        raise InputError(f"{bits.size} bits do not fill symbols of {bits_per_symbol} bits.")
    weights = 1 << np.arange(labels.shape[1] - 1, -1, -1)
    grouped = bits.reshape(-1, labels.shape[1], 2)
    index = np.einsum("sbd,b->sd", grouped, weights)
    dimensions = np.ascontiguousarray(levels[index])
    return dimensions.view(np.complex64).ravel()


def demodulate(
    samples: NDArray[np.complexfloating],
    noise_var: float,
    bits_per_symbol: int,
    method: Method = "maxlog",
) -> NDArray[np.float32]:
    """Samples to log-likelihood ratios `log P(b=1) / P(b=0)` for equiprobable bits.

    With d_l the distance to level l of one dimension, whose noise variance is N0/2:

        exact   log sum_{l: b=1} exp(-d_l^2 / N0)  -  log sum_{l: b=0} exp(-d_l^2 / N0)
        maxlog  (min_{l: b=0} d_l^2 - min_{l: b=1} d_l^2) / N0

    For 4-QAM the two are equal.

    Args:
        samples: [S], complex.
        noise_var: N0, total complex noise variance, > 0.
        bits_per_symbol: 2, 4 or 6.
        method: "maxlog" or "exact".

    Returns:
        [S * bits_per_symbol], float32, in `modulate`'s order of bits. NaN samples give NaN.

    Raises:
        InputError: `noise_var` is not a positive finite number, or unknown `method`.
    """
    levels, labels = _pam(bits_per_symbol)
    if not (np.isfinite(noise_var) and noise_var > 0.0):
        raise InputError(f"Noise variance {noise_var} must be a positive finite number.")
    if method not in ("maxlog", "exact"):
        raise InputError(f"Unknown demodulation method {method!r}: use maxlog or exact.")
    dimensions = np.ascontiguousarray(samples, dtype=np.complex128).view(np.float64).reshape(-1, 2)
    if bits_per_symbol == 2:
        llr = (-4.0 * float(levels[0]) / noise_var) * dimensions
        return llr.astype(np.float32).ravel()
    metric = -((dimensions[:, :, None] - levels.astype(np.float64)) ** 2) / noise_var
    llrs = np.empty((dimensions.shape[0], labels.shape[1], 2), dtype=np.float32)
    for i in range(labels.shape[1]):
        one = metric[:, :, labels[:, i] == 1]
        zero = metric[:, :, labels[:, i] == 0]
        if method == "maxlog":
            llrs[:, i, :] = one.max(axis=2) - zero.max(axis=2)
        else:
            llrs[:, i, :] = np.logaddexp.reduce(one, axis=2) - np.logaddexp.reduce(zero, axis=2)
    return llrs.ravel()


def decide(samples: NDArray[np.complexfloating], bits_per_symbol: int) -> NDArray[np.uint8]:
    """Hard decision: the bits of the nearest constellation point, [S * bits_per_symbol] uint8."""
    return (demodulate(samples, 1.0, bits_per_symbol) > 0).astype(np.uint8)
