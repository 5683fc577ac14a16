"""HDR to SDR against values the standards state."""

import numpy as np
import pytest

from transmitter.sources.tone_map import (
    REFERENCE_WHITE_NITS,
    Transfer,
    hlg_to_nits,
    nits_to_pq,
    pq_to_nits,
    roll_off_nits,
    to_sdr,
)


def grey(signal: float) -> np.ndarray:
    """A picture of one pixel with this signal in all channels."""
    return np.full((1, 1, 3), round(signal * 65535), np.uint16)


@pytest.mark.parametrize(
    ("nits", "signal"), [(0, 0.0), (100, 0.5081), (203, 0.5807), (1000, 0.7518), (10000, 1.0)]
)
def test_pq_of_known_luminances(nits: float, signal: float) -> None:
    """Signal levels of reference luminances, to four digits (BT.2408 rounds them to per cent)."""
    assert nits_to_pq(np.float32([nits]))[0] == pytest.approx(signal, abs=1e-4)
    assert pq_to_nits(np.float32([signal]))[0] == pytest.approx(nits, rel=2e-3, abs=1e-3)


def test_pq_round_trip() -> None:
    signal = np.linspace(0, 1, 200, dtype=np.float32)
    np.testing.assert_allclose(nits_to_pq(pq_to_nits(signal)), signal, atol=2e-5)


def test_reference_white_in_both_systems() -> None:
    """BT.2408: HDR reference white, 203 cd/m2, is 58 % PQ and 75 % HLG."""
    assert nits_to_pq(np.float32([REFERENCE_WHITE_NITS]))[0] == pytest.approx(0.58, abs=0.002)
    assert hlg_to_nits(np.full((1, 3), 0.75, np.float32))[0] == pytest.approx(203, rel=0.01)
    assert hlg_to_nits(np.ones((1, 3), np.float32))[0] == pytest.approx(1000, rel=0.002)


def test_roll_off_is_the_identity_below_the_knee_monotone_and_ends_at_white() -> None:
    nits = np.geomspace(0.01, 10_000, 500).astype(np.float32)
    rolled = roll_off_nits(nits)
    assert np.all(np.diff(rolled) >= -1e-3)
    np.testing.assert_allclose(rolled[nits < 60], nits[nits < 60], rtol=1e-6)
    np.testing.assert_allclose(rolled[nits >= 1000], REFERENCE_WHITE_NITS, rtol=1e-3)


@pytest.mark.parametrize("transfer", [Transfer.PQ, Transfer.HLG])
def test_greys_stay_grey_and_in_order(transfer: Transfer) -> None:
    levels = [to_sdr(grey(s), transfer, wide_gamut=True)[0, 0] for s in np.linspace(0, 0.9, 30)]
    assert max(int(np.ptp(level)) for level in levels) <= 1
    assert np.all(np.diff([int(level[1]) for level in levels]) >= 0)
    assert levels[0].max() == 0
    assert levels[-1].min() >= 250


def test_mid_grey_looks_like_mid_grey() -> None:
    """18 % of reference white: in SDR with gamma 2.4 that is 0.18^(1/2.4) = 0.489, level 125."""
    signal = float(nits_to_pq(np.float32([0.18 * REFERENCE_WHITE_NITS]))[0])
    assert abs(int(to_sdr(grey(signal), Transfer.PQ, wide_gamut=True)[0, 0, 0]) - 125) <= 1


def test_wide_gamut_colours_become_more_saturated_numbers() -> None:
    """A BT.709 red inside BT.2020 (BT.2087: 0.6274, 0.0691, 0.0164) comes back as pure red."""
    linear = 0.4 * np.array([0.6274, 0.0691, 0.0164])
    signal = np.rint(linear ** (1 / 2.4) * 65535).astype(np.uint16).reshape(1, 1, 3)
    red = to_sdr(signal, Transfer.SDR, wide_gamut=True)[0, 0]
    assert red[0] == pytest.approx(255 * 0.4 ** (1 / 2.4), abs=2)
    assert max(red[1:]) < 25
    kept = to_sdr(signal, Transfer.SDR, wide_gamut=False)[0, 0]
    np.testing.assert_allclose(kept, np.rint(signal[0, 0] / 257), atol=1)


def test_hue_of_a_bright_highlight_is_kept() -> None:
    """The roll-off scales the channels together: orange does not turn yellow."""
    nits = np.float32([[[900, 300, 60]]])
    bright = np.rint(nits_to_pq(nits) * 65535).astype(np.uint16)
    rgb = to_sdr(bright, Transfer.PQ, wide_gamut=False)[0, 0].astype(float)
    ratio = (rgb[1] / rgb[0]) ** 2.4
    assert ratio == pytest.approx(300 / 900, rel=0.03)
