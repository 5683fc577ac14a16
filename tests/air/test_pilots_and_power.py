"""Pilots, scrambling and power normalisation."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semcast.air.pilots import pilot_symbols
from semcast.air.power import mean_power, normalise
from semcast.air.scrambling import DOMAIN_CONTROL, DOMAIN_DIGITAL, keyed_bits
from semcast.errors import InputError


def test_pilots_are_known_unit_power_qpsk() -> None:
    pilots = pilot_symbols(4096, seed=7, sequence=3)
    assert pilots.dtype == np.complex64
    assert np.allclose(np.abs(pilots), 1.0, atol=1e-6)
    assert np.array_equal(pilots, pilot_symbols(4096, 7, 3))
    assert np.array_equal(pilots[:10], pilot_symbols(10, 7, 3))
    for other in (pilot_symbols(4096, 8, 3), pilot_symbols(4096, 7, 4)):
        # Correlation of independent QPSK: standard deviation 1/64; 4 sigma.
        assert abs(np.vdot(pilots, other)) / 4096 < 4 / 64
    assert pilot_symbols(0, 1, 1).shape == (0,)


def test_keyed_bits_are_balanced_apart_and_golden() -> None:
    bits = keyed_bits(100_000, DOMAIN_DIGITAL, key=11, sequence=2)
    assert abs(bits.mean() - 0.5) < 4 * 0.5 / np.sqrt(bits.size)
    assert np.mean(bits != keyed_bits(100_000, DOMAIN_CONTROL, 11, 2)) > 0.49
    assert np.array_equal(bits[:65], keyed_bits(65, DOMAIN_DIGITAL, 11, 2))
    digest = hashlib.sha256(np.packbits(bits).tobytes()).hexdigest()
    assert digest == "1ed17f4b4fd66b746e2ad71dc5dcb18b7a1aaf1a609d5195f93fc048ce1fddca"


@given(count=st.integers(1, 200), seed=st.integers(0, 2**32), exponent=st.floats(-15, 15))
def test_normalise(count: int, seed: int, exponent: float) -> None:
    rng = np.random.default_rng(seed)
    block = (rng.normal(size=(count, 2)) @ np.array([1, 1j])) * 10**exponent
    sent, scale = normalise(block)
    assert sent.dtype == np.complex64
    assert mean_power(sent) == pytest.approx(1.0, abs=1e-5)
    assert np.allclose(sent, block * scale, rtol=1e-5)


@pytest.mark.parametrize("fill", [0.0, np.nan, np.inf])
def test_a_block_without_a_scale_is_refused(fill: float) -> None:
    with pytest.raises(InputError):
        normalise(np.full(4, fill, dtype=np.complex64))
    with pytest.raises(InputError):
        normalise(np.zeros(0, dtype=np.complex64))


def test_mean_power_of_nothing() -> None:
    assert mean_power(np.zeros(0, dtype=np.complex64)) == 0.0
