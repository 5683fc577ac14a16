"""HDR and wide-gamut pictures as ordinary ones: BT.2020 PQ or HLG to BT.709 SDR.

Steps: signal to light in cd/m2 (PQ: SMPTE ST 2084 EOTF; HLG: ITU-R BT.2100 inverse OETF and OOTF at
1000 cd/m2); the roll-off of ITU-R BT.2390 (EETF, a Hermite knee in the PQ domain) applied to
max(R, G, B), so hues stay; BT.2020 to BT.709 primaries (ITU-R BT.2087), out-of-gamut light
clipped; display gamma 2.4 (ITU-R BT.1886).

HDR reference white, 203 cd/m2 (ITU-R BT.2408), is full white of the SDR picture before the
roll-off. The mastering peak is taken as 1000 cd/m2 for every picture: a peak measured from each
picture would make the brightness of a frame depend on other frames, or flicker.
"""

from __future__ import annotations

import enum

import numpy as np
from numpy.typing import NDArray

REFERENCE_WHITE_NITS = 203.0
MASTERING_PEAK_NITS = 1000.0
SDR_GAMMA = 2.4

_PQ_M1 = 2610 / 16384
_PQ_M2 = 2523 / 4096 * 128
_PQ_C1 = 3424 / 4096
_PQ_C2 = 2413 / 4096 * 32
_PQ_C3 = 2392 / 4096 * 32
_PQ_PEAK_NITS = 10_000.0

_HLG_A = 0.17883277
_HLG_B = 1 - 4 * _HLG_A
_HLG_C = 0.55991073
_HLG_OOTF_GAMMA = 1.2
_BT2020_LUMA = np.array([0.2627, 0.6780, 0.0593], dtype=np.float32)

BT2020_TO_BT709 = np.array(
    [
        [1.6605, -0.5876, -0.0728],
        [-0.1246, 1.1329, -0.0083],
        [-0.0182, -0.1006, 1.1187],
    ],
    dtype=np.float32,
)
"""Linear light, rows are R, G, B of BT.709 (ITU-R BT.2087)."""


class Transfer(enum.Enum):
    """How a signal of 0..1 means light."""

    PQ = "pq"
    HLG = "hlg"
    SDR = "sdr"


def pq_to_nits(signal: NDArray[np.float32]) -> NDArray[np.float32]:
    """ST 2084 EOTF: signal 0..1 to light 0..10000 cd/m2."""
    power = np.power(np.clip(signal, 0, 1), 1 / _PQ_M2)
    linear = np.maximum(power - _PQ_C1, 0) / (_PQ_C2 - _PQ_C3 * power)
    return np.asarray(_PQ_PEAK_NITS * np.power(linear, 1 / _PQ_M1), np.float32)


def nits_to_pq(nits: NDArray[np.float32]) -> NDArray[np.float32]:
    """ST 2084 inverse EOTF: light 0..10000 cd/m2 to signal 0..1."""
    power = np.power(np.clip(nits, 0, _PQ_PEAK_NITS) / _PQ_PEAK_NITS, _PQ_M1)
    ratio = (_PQ_C1 + _PQ_C2 * power) / (1 + _PQ_C3 * power)
    return np.asarray(np.power(ratio, _PQ_M2), np.float32)


def hlg_to_nits(signal: NDArray[np.float32]) -> NDArray[np.float32]:
    """BT.2100 HLG on a display of 1000 cd/m2: [..., 3] signal 0..1 to light 0..1000 cd/m2."""
    signal = np.clip(signal, 0, 1)
    scene = np.where(
        signal <= 0.5,
        signal**2 / 3,
        (np.exp((np.maximum(signal, 0.5) - _HLG_C) / _HLG_A) + _HLG_B) / 12,
    )
    luma = np.maximum(scene @ _BT2020_LUMA, 1e-6)[..., None]
    return np.asarray(MASTERING_PEAK_NITS * luma ** (_HLG_OOTF_GAMMA - 1) * scene, np.float32)


def roll_off_nits(nits: NDArray[np.float32]) -> NDArray[np.float32]:
    """BT.2390 EETF from the mastering peak to reference white, on light in cd/m2.

    The identity below the knee; monotone; the peak lands on reference white exactly.
    """
    peak, white = (
        float(nits_to_pq(np.float32(value).reshape(1))[0])
        for value in (MASTERING_PEAK_NITS, REFERENCE_WHITE_NITS)
    )
    top = white / peak
    knee = 1.5 * top - 0.5
    level = np.minimum(nits_to_pq(nits) / peak, 1.0)
    t = np.maximum(level - knee, 0) / (1 - knee)
    hermite = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (-2 * t**3 + 3 * t**2) * top
    )
    return np.where(level < knee, nits, pq_to_nits((hermite * peak).astype(np.float32)))


def to_sdr(rgb: NDArray[np.uint16], transfer: Transfer, *, wide_gamut: bool) -> NDArray[np.uint8]:
    """Turn a picture into BT.709 SDR.

    rgb: [h, w, 3], full-range signal, 0..65535.
    transfer: what the signal means.
    wide_gamut: its primaries are those of BT.2020.
    Returns [h, w, 3] uint8, C-contiguous.
    """
    signal = rgb.astype(np.float32) / np.float32(65535)
    if transfer is Transfer.SDR:
        linear = signal**SDR_GAMMA
    else:
        nits = pq_to_nits(signal) if transfer is Transfer.PQ else hlg_to_nits(signal)
        brightest = np.maximum(nits.max(axis=-1, keepdims=True), np.float32(1e-4))
        linear = nits * (roll_off_nits(brightest) / (brightest * REFERENCE_WHITE_NITS))
    if wide_gamut:
        linear = linear @ BT2020_TO_BT709.T
    encoded = np.clip(linear, 0, 1) ** (1 / SDR_GAMMA)
    return np.ascontiguousarray(np.rint(encoded * 255).astype(np.uint8))
