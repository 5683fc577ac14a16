"""Digital blocks: round trips, golden symbols, rejection of everything that is not a block."""

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semcast.air import digital
from semcast.air.digital import (
    crc_kind,
    decode_block,
    encode_block,
    is_polar,
    num_symbols,
    payload_bits,
)
from semcast.air.ladder import LADDER, Rung, rung
from semcast.air.power import mean_power
from semcast.errors import InputError

rungs = st.sampled_from(LADDER)


def random_bits(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, count).astype(np.uint8)


def awgn(count: int, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    scale = math.sqrt(10 ** (-snr_db / 10) / 2)
    return scale * (rng.normal(size=count) + 1j * rng.normal(size=count))


@settings(max_examples=60, deadline=None)
@given(num_payload_bits=st.integers(1, 3000), chosen=rungs, key=st.integers(0, 2**70))
def test_round_trip(num_payload_bits: int, chosen: Rung, key: int) -> None:
    if chosen.bits_per_symbol > 2:
        # Below a dozen symbols the blind scale of a QAM block is ambiguous (docs/AIR_LINK.md).
        num_payload_bits += 60
    payload = random_bits(num_payload_bits, seed=num_payload_bits)
    size = num_symbols(num_payload_bits, chosen)
    sent = encode_block(payload, size, chosen, key)
    assert sent.dtype == np.complex64 and sent.shape == (size,)
    assert mean_power(sent) == pytest.approx(1.0, abs=1e-5)
    received = sent + awgn(size, chosen.min_snr_db + 8, np.random.default_rng(1))
    decoded = decode_block(
        received, 10 ** (-(chosen.min_snr_db + 8) / 10), chosen, num_payload_bits, key
    )
    assert decoded.crc_ok
    assert decoded.payload is not None and np.array_equal(decoded.payload, payload)
    assert decoded.resent is not None and np.array_equal(decoded.resent, sent)


@pytest.mark.parametrize("size", [20_000, 33_333])
@pytest.mark.parametrize("rung_id", ["qpsk-1/8", "qpsk-3/4", "qam64-5/6"])
def test_blocks_beyond_one_codeword(rung_id: str, size: int) -> None:
    chosen = rung(rung_id)
    fits = payload_bits(size, chosen)
    payload = random_bits(fits, seed=size)
    received = encode_block(payload, size, chosen, key=9) + awgn(
        size, chosen.min_snr_db + 2, np.random.default_rng(2)
    )
    noise_var = 10 ** (-(chosen.min_snr_db + 2) / 10)
    decoded = decode_block(received, noise_var, chosen, fits, key=9)
    assert decoded.payload is not None and np.array_equal(decoded.payload, payload)


@settings(max_examples=200, deadline=None)
@given(size=st.integers(0, 5000), chosen=rungs)
def test_payload_bits_fill_the_symbols_and_no_more(size: int, chosen: Rung) -> None:
    fits = payload_bits(size, chosen)
    assert fits >= 0
    if fits:
        assert num_symbols(fits, chosen) <= size
        assert num_symbols(fits + 1, chosen) > size
    assert payload_bits(size + 1, chosen) >= fits
    assert fits <= size * chosen.spectral_efficiency


def test_crc_kind_by_size() -> None:
    assert [crc_kind(bits) for bits in (1, 100, 3824, 3825)] == [
        "crc16", "crc16", "crc16", "crc24a",
    ]  # fmt: skip


def test_polar_for_short_words_ldpc_for_long_ones() -> None:
    """At any number of coded bits, and at any rate, LDPC takes over from one length on."""
    for n in (60, 300, 513, 600, 2000, 30_000):
        chosen = [is_polar(k, n) for k in range(17, min(n, 2000))]
        assert chosen == sorted(chosen, reverse=True)
    for rate in (1 / 12, 1 / 3, 1 / 2, 3 / 4, 5 / 6):
        chosen = [is_polar(k, round(k / rate)) for k in range(17, 2000)]
        assert chosen == sorted(chosen, reverse=True)
    assert is_polar(160, 5000) and not is_polar(161, 5000)
    assert is_polar(384, 512) and not is_polar(385, 514)


@pytest.mark.parametrize("rung_id", ["qpsk-1/3", "qpsk-1/2", "qpsk-3/4", "qam64-5/6"])
def test_round_trip_on_both_sides_of_the_crossover(rung_id: str) -> None:
    chosen = rung(rung_id)
    codes = set()
    for bits in range(130, 700, 10):
        size = num_symbols(bits, chosen)
        codes.add(is_polar(bits + 16, size * chosen.bits_per_symbol))
        sent = encode_block(random_bits(bits, bits), size, chosen, bits)
        decoded = decode_block(sent, 0.001, chosen, bits, bits)
        assert decoded.payload is not None
        assert np.array_equal(decoded.payload, random_bits(bits, bits))
    assert codes == {True, False}


def test_the_smallest_blocks() -> None:
    """One payload bit is a block of 17; where those do not fit, nothing does."""
    for chosen in LADDER:
        size = num_symbols(1, chosen)
        assert payload_bits(size, chosen) >= 1 and payload_bits(size - 1, chosen) == 0
        if chosen.bits_per_symbol > 2:
            size += 40
        for bit in (0, 1):
            payload = np.array([bit], dtype=np.uint8)
            sent = encode_block(payload, size, chosen, key=3)
            decoded = decode_block(sent, 0.001, chosen, 1, key=3)
            assert decoded.payload is not None and decoded.payload[0] == bit


def test_a_shorter_payload_is_better_protected() -> None:
    """40 bits in the room of 200: sound 4 dB below the threshold of the rung."""
    chosen = rung("qpsk-1/2")
    size = num_symbols(200, chosen)
    rng = np.random.default_rng(3)
    lost = 0
    for i in range(100):
        payload = random_bits(40, seed=i)
        received = encode_block(payload, size, chosen, i) + awgn(size, chosen.min_snr_db - 4, rng)
        noise_var = 10 ** (-(chosen.min_snr_db - 4) / 10)
        lost += decode_block(received, noise_var, chosen, 40, i).payload is None
    assert lost <= 10


GOLDEN = {
    "qpsk-1/3": "e7adab0a413cf163584f2018a69c54b9f5c0a91546cba826abfc91949b8efb9e",
    "qam16-2/3": "1f4099bc5e72b9b81b34ed908808364c463eb00421d0ddb92e34c4162ffc3503",
    "qam64-5/6": "f8190c5ec6bf7c9b5c3ed47ae40a32c3dd2bedbcc9486cf4e02106e3e71c3dbf",
}


@pytest.mark.parametrize("rung_id", list(GOLDEN))
def test_golden_block(rung_id: str) -> None:
    """The symbols on the air do not change from version to version (rounded to 1e-4)."""
    chosen = rung(rung_id)
    payload = np.unpackbits(np.frombuffer(hashlib.sha256(b"semcast").digest(), np.uint8))
    block = encode_block(payload, num_symbols(payload.size, chosen), chosen, key=1234)
    rounded = np.round(block.view(np.float32) * 1e4).astype("<i4")
    assert hashlib.sha256(rounded.tobytes()).hexdigest() == GOLDEN[rung_id]


def test_another_key_fails() -> None:
    chosen = rung("qpsk-1/3")
    size = num_symbols(120, chosen)
    sent = encode_block(random_bits(120, 1), size, chosen, key=5)
    decoded = decode_block(sent, 0.01, chosen, 120, key=6)
    assert not decoded.crc_ok and decoded.payload is None and decoded.resent is None


@pytest.mark.parametrize("rung_id", ["qpsk-1/12", "qam16-1/2", "qam64-5/6"])
@pytest.mark.parametrize(
    "fill",
    [0.0, 1.0, np.nan, np.inf, 1e30, 1e-30, complex(np.nan, 1), complex(0, -np.inf), 3e38],
)
def test_garbage_fails_without_a_crash(rung_id: str, fill: complex) -> None:
    chosen = rung(rung_id)
    size = num_symbols(150, chosen)
    samples = np.full(size, fill, dtype=np.complex64)
    for noise_var in (1e-9, 1.0, 1e9):
        assert decode_block(samples, noise_var, chosen, 150, key=1).payload is None
    sent = encode_block(random_bits(150, 2), size, chosen, key=1)
    sent[size // 2] = fill
    decode_block(sent, 0.1, chosen, 150, key=1)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), chosen=rungs, exponent=st.floats(-20, 20))
def test_noise_is_never_a_block(seed: int, chosen: Rung, exponent: float) -> None:
    rng = np.random.default_rng(seed)
    samples = (awgn(300, 0.0, rng) * 10**exponent).astype(np.complex64)
    decoded = decode_block(samples, 1.0, chosen, payload_bits(300, chosen), key=seed)
    assert decoded.payload is None


@pytest.mark.parametrize("num_bits", [60, 200])
def test_a_block_in_outage_does_not_pass_by_chance(num_bits: int) -> None:
    """1000 blocks 12 dB below their threshold, polar and LDPC: none passes."""
    chosen = rung("qpsk-1/3")
    size = num_symbols(num_bits, chosen)
    assert is_polar(num_bits + 16, 2 * size) == (num_bits == 60)
    rng = np.random.default_rng(4)
    payload = random_bits(num_bits, 5)
    noise_var = 10 ** (-(chosen.min_snr_db - 12) / 10)
    for i in range(1000):
        received = encode_block(payload, size, chosen, i) + awgn(size, chosen.min_snr_db - 12, rng)
        decoded = decode_block(received, noise_var, chosen, num_bits, i)
        assert decoded.payload is None


def test_evidence_stops_what_a_weak_crc_lets_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a CRC of 6 bits one block in 8 passes in outage by chance, as the list has 8 paths: the
    samples bear out none of them, and all blocks that are received well."""
    monkeypatch.setattr(digital, "crc_kind", lambda num_payload_bits: "crc6")
    chosen = rung("qpsk-1/2")
    size = num_symbols(64, chosen)
    payload = random_bits(64, 5)

    def accepted(snr_db: float) -> int:
        rng = np.random.default_rng(8)
        count = 0
        for i in range(400):
            received = encode_block(payload, size, chosen, i) + awgn(size, snr_db, rng)
            decoded = decode_block(received, 10 ** (-snr_db / 10), chosen, 64, i)
            count += decoded.payload is not None
        return count

    with_evidence = accepted(chosen.min_snr_db - 8)
    monkeypatch.setattr(digital, "EVIDENCE_BITS", -math.inf)
    # Expected 47 (400 times 1 - (1 - 1/64)^8), standard deviation 6.
    assert with_evidence == 0 and 15 < accepted(chosen.min_snr_db - 8) < 80
    monkeypatch.undo()
    assert accepted(chosen.min_snr_db + 2) == 400


def test_the_scale_of_a_qam_block_is_found_blindly() -> None:
    """A payload whose 64-QAM symbols are mostly outer points is still decoded at 20 dB: blocks of
    very uneven power occur by chance, here found by search among keys."""
    chosen = rung("qam64-2/3")
    size = num_symbols(40, chosen)
    payload = random_bits(40, 6)
    rng = np.random.default_rng(7)
    peaks = [np.abs(encode_block(payload, size, chosen, key)).min() for key in range(400)]
    for key in np.argsort(peaks)[[0, 1, 2, -3, -2, -1]]:
        received = encode_block(payload, size, chosen, int(key)) + awgn(size, 22.0, rng)
        decoded = decode_block(received, 10**-2.2, chosen, 40, int(key))
        assert decoded.payload is not None and np.array_equal(decoded.payload, payload)


def test_what_does_not_fit_is_refused() -> None:
    chosen = rung("qpsk-1/2")
    with pytest.raises(InputError, match="do not fit"):
        encode_block(random_bits(100, 0), 50, chosen, 0)
    with pytest.raises(InputError, match="do not fit"):
        encode_block(random_bits(0, 0), 50, chosen, 0)
    with pytest.raises(InputError, match="do not fit"):
        decode_block(np.zeros(50, np.complex64), 0.1, chosen, 100, 0)
    with pytest.raises(InputError, match="row"):
        decode_block(np.zeros((2, 50), np.complex64), 0.1, chosen, 10, 0)
    for noise_var in (0.0, -1.0, math.nan):
        with pytest.raises(InputError, match="positive"):
            decode_block(np.zeros(100, np.complex64), noise_var, chosen, 50, 0)
