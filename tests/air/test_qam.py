"""QAM: energy, labels, soft bits and the error rates theory gives."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semcast.air import qam
from semcast.errors import InputError

THEORY_BER = {
    # papers/07: Es/N0 in dB -> (4-QAM, 16-QAM)
    0: (1.587e-1, 2.873e-1),
    2: (1.040e-1, 2.372e-1),
    4: (5.650e-2, 1.877e-1),
    6: (2.301e-2, 1.414e-1),
    8: (6.004e-3, 9.817e-2),
    10: (7.827e-4, 5.899e-2),
}


def awgn(count: int, noise_var: float, rng: np.random.Generator) -> np.ndarray:
    return math.sqrt(noise_var / 2) * (rng.normal(size=count) + 1j * rng.normal(size=count))


def q_function(x: float) -> float:
    return 0.5 * math.erfc(x / math.sqrt(2))


@pytest.mark.parametrize("bits_per_symbol", [2, 4, 6])
def test_unit_mean_energy_and_distinct_points(bits_per_symbol: int) -> None:
    points = qam.points(bits_per_symbol)
    assert np.unique(points).size == 1 << bits_per_symbol
    assert np.mean(np.abs(points.astype(np.complex128)) ** 2) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("bits_per_symbol", [2, 4, 6])
def test_gray_labels(bits_per_symbol: int) -> None:
    """Nearest neighbours differ in one bit."""
    points = qam.points(bits_per_symbol).astype(np.complex128)
    distance = np.abs(points[:, None] - points[None, :])
    nearest = np.min(distance[distance > 1e-6])
    for i, j in zip(*np.where(np.isclose(distance, nearest, rtol=1e-3)), strict=True):
        assert bin(int(i) ^ int(j)).count("1") == 1


def test_labels_of_the_standard() -> None:
    """TS 38.211 section 5.1, written out for a few labels."""
    assert qam.modulate(np.array([0, 1], np.uint8), 2)[0] == pytest.approx((1 - 1j) / math.sqrt(2))
    assert qam.modulate(np.array([1, 0, 1, 0], np.uint8), 4)[0] == pytest.approx(
        (-3 + 1j) / math.sqrt(10)
    )
    assert qam.modulate(np.array([0, 1, 1, 1, 1, 0], np.uint8), 6)[0] == pytest.approx(
        (7 - 5j) / math.sqrt(42)
    )


@pytest.mark.parametrize("bits_per_symbol", [2, 4, 6])
@pytest.mark.parametrize("method", ["exact", "maxlog"])
def test_points_and_soft_bits_same_as_sionna(bits_per_symbol: int, method: str) -> None:
    torch = pytest.importorskip("torch")
    mapping = pytest.importorskip("sionna.phy.mapping")
    rng = np.random.default_rng(2)
    bits = rng.integers(0, 2, 600 * bits_per_symbol).astype(np.uint8)
    sent = qam.modulate(bits, bits_per_symbol)
    mapper = mapping.Mapper("qam", bits_per_symbol)
    assert np.allclose(mapper(torch.from_numpy(bits).float()).numpy(), sent, atol=1e-6)
    received = (sent + awgn(sent.size, 0.2, rng)).astype(np.complex64)
    name = {"exact": "app", "maxlog": "maxlog"}[method]
    demapper = mapping.Demapper(name, "qam", bits_per_symbol)
    expected = demapper(torch.from_numpy(received), torch.tensor(0.2)).numpy()
    assert np.allclose(
        qam.demodulate(received, 0.2, bits_per_symbol, method), expected, rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("snr_db", list(THEORY_BER))
def test_uncoded_error_rate_within_3_sigma_of_theory(snr_db: int) -> None:
    """1e6 symbols each; 3 sigma. The two bits of a 16-QAM dimension have different error rates, so
    sigma is taken from their sum over independent symbols."""
    rng = np.random.default_rng(100 + snr_db)
    snr = 10 ** (snr_db / 10)
    a = math.sqrt(snr / 5)
    exact = {
        2: q_function(math.sqrt(snr)),
        4: 0.75 * q_function(a) + 0.5 * q_function(3 * a) - 0.25 * q_function(5 * a),
    }
    for column, bits_per_symbol in enumerate((2, 4)):
        assert exact[bits_per_symbol] == pytest.approx(THEORY_BER[snr_db][column], rel=1e-3)
        bits = rng.integers(0, 2, 1_000_000 * bits_per_symbol).astype(np.uint8)
        sent = qam.modulate(bits, bits_per_symbol)
        received = sent + awgn(sent.size, 1 / snr, rng)
        wrong = (qam.decide(received, bits_per_symbol) != bits).reshape(-1, bits_per_symbol)
        per_symbol = wrong.mean(axis=1)
        sigma = per_symbol.std() / math.sqrt(per_symbol.size)
        assert abs(per_symbol.mean() - exact[bits_per_symbol]) < 3 * sigma


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), bits_per_symbol=st.sampled_from([2, 4, 6]))
def test_round_trip(seed: int, bits_per_symbol: int) -> None:
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, bits_per_symbol * int(rng.integers(0, 50))).astype(np.uint8)
    assert np.array_equal(qam.decide(qam.modulate(bits, bits_per_symbol), bits_per_symbol), bits)


def test_soft_bits_are_calibrated() -> None:
    """P(b=1 | llr) = 1 / (1 + e^-llr): exact LLRs, binned, within 4 sigma."""
    rng = np.random.default_rng(5)
    bits = rng.integers(0, 2, 4 * 200_000).astype(np.uint8)
    llr = qam.demodulate(qam.modulate(bits, 4) + awgn(200_000, 0.3, rng), 0.3, 4, "exact")
    for low in np.arange(-4.0, 4.0, 1.0):
        inside = (llr >= low) & (llr < low + 1.0)
        expected = np.mean(1 / (1 + np.exp(-llr[inside].astype(np.float64))))
        sigma = math.sqrt(expected * (1 - expected) / inside.sum())
        assert abs(bits[inside].mean() - expected) < 4 * sigma


@pytest.mark.parametrize("noise_var", [0.0, -1.0, math.nan, math.inf])
def test_noise_variance_must_be_positive(noise_var: float) -> None:
    with pytest.raises(InputError, match="positive"):
        qam.demodulate(np.zeros(3, np.complex64), noise_var, 2)


def test_wrong_sizes() -> None:
    with pytest.raises(InputError):
        qam.modulate(np.zeros(3, np.uint8), 2)
    with pytest.raises(InputError):
        qam.modulate(np.zeros(8, np.uint8), 8)
