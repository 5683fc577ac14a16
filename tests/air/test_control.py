"""Control blocks and the tail-biting code they use."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semcast.air.control import (
    DESIGN_SNR_DB,
    ControlField,
    ControlLayout,
    decode_control,
    encode_control,
)
from semcast.air.convolutional import (
    GENERATORS,
    decode_tail_biting,
    encode_tail_biting,
)
from semcast.errors import InputError

LAYOUT = ControlLayout(
    (ControlField("present", 3), ControlField("rung", 4), ControlField("payload_bits", 11))
)


def awgn(count: int, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    scale = math.sqrt(10 ** (-snr_db / 10) / 2)
    return scale * (rng.normal(size=count) + 1j * rng.normal(size=count))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), key=st.integers(0, 2**64))
def test_round_trip(data: st.DataObject, key: int) -> None:
    widths = data.draw(st.lists(st.integers(1, 16), min_size=1, max_size=4))
    layout = ControlLayout(tuple(ControlField(f"f{i}", w) for i, w in enumerate(widths)))
    values = {f"f{i}": data.draw(st.integers(0, 2**w - 1)) for i, w in enumerate(widths)}
    sent = encode_control(values, layout, key)
    assert sent.shape == (layout.num_symbols,)
    assert np.allclose(np.abs(sent), 1.0, atol=1e-6)
    assert decode_control(sent, 0.1, layout, key) == values


@pytest.mark.parametrize("bits", [8, 16, 24])
def test_at_most_1_percent_lost_at_minus_6_db(bits: int) -> None:
    """400 blocks; fails only 3 sigma above 1 %."""
    layout = ControlLayout((ControlField("value", bits),))
    rng = np.random.default_rng(bits)
    lost = 0
    for key in range(400):
        value = int(rng.integers(0, 2**bits))
        received = encode_control({"value": value}, layout, key) + awgn(
            layout.num_symbols, DESIGN_SNR_DB, rng
        )
        decoded = decode_control(received, 10 ** (-DESIGN_SNR_DB / 10), layout, key)
        lost += decoded != {"value": value}
    assert lost / 400 < 0.01 + 3 * math.sqrt(0.01 * 0.99 / 400)


def test_free_distance_of_the_code() -> None:
    """No word of 11 bits has a codeword lighter than 24, the published free distance; a
    single 1 weighs as many as the generators have taps."""
    one = np.zeros(40, np.uint8)
    one[5] = 1
    taps = sum(bin(g).count("1") for g in GENERATORS)
    assert encode_tail_biting(one, 160).sum() == taps
    lightest = 160
    for word in range(1, 1 << 11):
        bits = np.zeros(40, np.uint8)
        bits[:11] = [(word >> i) & 1 for i in range(11)]
        lightest = min(lightest, int(encode_tail_biting(bits, 160).sum()))
    assert lightest == 24


def test_maximum_likelihood_on_a_word_short_enough_to_try_all() -> None:
    """9 bits, 4 times repeated, at -4 dB: the decoder finds the best of all 512 words."""
    rng = np.random.default_rng(1)
    words = ((np.arange(512)[:, None] >> np.arange(9)) & 1).astype(np.uint8)
    codewords = np.stack([encode_tail_biting(word, 72) for word in words]) * 2.0 - 1.0
    agreed = 0
    for _ in range(200):
        llr = codewords[rng.integers(512)] + rng.normal(size=72) * 1.5
        best = words[int((codewords @ llr).argmax())]
        agreed += bool(np.array_equal(decode_tail_biting(llr, 9), best))
    assert agreed >= 196


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), exponent=st.floats(-38, 38))
def test_garbage_never_crashes(seed: int, exponent: float) -> None:
    samples = awgn(LAYOUT.num_symbols, 0.0, np.random.default_rng(seed)) * 10**exponent
    decoded = decode_control(samples, 1.0, LAYOUT, seed)
    assert decoded is None or all(
        0 <= decoded[field.name] < 1 << field.bits for field in LAYOUT.fields
    )


@pytest.mark.parametrize("fill", [0.0, np.nan, np.inf, complex(1, np.nan), 1e30, 1.0])
def test_no_signal_is_no_control(fill: complex) -> None:
    samples = np.full(LAYOUT.num_symbols, fill, dtype=np.complex64)
    for key in range(20):
        assert decode_control(samples, 0.5, LAYOUT, key) is None


def test_noise_passes_no_more_often_than_an_11_bit_crc_lets_it() -> None:
    """600 blocks of noise, expected 0.29 false alarms; 4 or more has probability 2e-4."""
    rng = np.random.default_rng(2)
    passed = sum(
        decode_control(awgn(LAYOUT.num_symbols, 0.0, rng), 1.0, LAYOUT, key) is not None
        for key in range(600)
    )
    assert passed < 4


def test_another_frame_s_key_fails() -> None:
    sent = encode_control({"present": 5, "rung": 3, "payload_bits": 700}, LAYOUT, key=1)
    assert decode_control(sent, 0.1, LAYOUT, key=2) is None


def test_bad_values_and_layouts() -> None:
    with pytest.raises(InputError, match="payload_bits=2048"):
        encode_control({"present": 5, "rung": 3, "payload_bits": 2048}, LAYOUT, 0)
    with pytest.raises(InputError, match="do not match"):
        encode_control({"present": 5}, LAYOUT, 0)
    with pytest.raises(InputError, match="samples"):
        decode_control(np.zeros(3, np.complex64), 0.1, LAYOUT, 0)
    with pytest.raises(InputError):
        ControlLayout(())
    with pytest.raises(InputError):
        ControlLayout((ControlField("a", 40), ControlField("b", 40)))
    with pytest.raises(InputError):
        ControlLayout((ControlField("a", 4), ControlField("a", 4)))


def test_layout_for_a_higher_snr_is_shorter_and_still_holds_there() -> None:
    fields = (ControlField("video_units", 8),)
    robust, lean = ControlLayout(fields), ControlLayout(fields, design_snr_db=0.6)
    assert lean.num_symbols < robust.num_symbols / 3
    rng = np.random.default_rng(17)
    trials, failures = 600, 0
    for key in range(trials):
        value = int(rng.integers(256))
        sent = encode_control({"video_units": value}, lean, key)
        noise = rng.standard_normal((2, lean.num_symbols)) * np.sqrt(0.5 * 10**-0.06)
        received = (sent + noise[0] + 1j * noise[1]).astype(np.complex64)
        failures += decode_control(received, 10**-0.06, lean, key) != {"video_units": value}
    # 1 % of 600, and three sigma of a binomial above it.
    assert failures <= 6 + 3 * np.sqrt(6)
