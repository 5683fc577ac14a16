"""The mathematics of the channel: statistics with their sigma, and bits."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from channel_emulator.impairments import (
    ChannelSettings,
    Emulator,
    fading_gain,
    impair,
    is_lost,
)
from semcast.errors import InputError
from semcast.session import Block, ChannelModel, Modality, RadioFrame

NUM_SYMBOLS = 100_000
GOLDEN_SHA256 = "923c50b16b94e05021e943b1a60317de0376a5748cd25a1c97bb133cfe162ac3"


def qpsk(count: int, seed: int = 1) -> NDArray[np.complex64]:
    signs = np.random.default_rng(seed).integers(0, 2, (count, 2)) * 2 - 1
    return ((signs[:, 0] + 1j * signs[:, 1]) / math.sqrt(2)).astype(np.complex64)


def analogue(count: int, seed: int = 2) -> NDArray[np.complex64]:
    normal = np.random.default_rng(seed).standard_normal((count, 2))
    samples = normal[:, 0] + 1j * normal[:, 1]
    return (samples / np.sqrt(np.mean(np.abs(samples) ** 2))).astype(np.complex64)


def one_block(
    samples: NDArray[np.complex64],
    modality: Modality = Modality.LOWRES,
    sequence: int = 0,
    generation: int = 1,
) -> RadioFrame:
    return RadioFrame(generation, sequence, 1000 * sequence, (Block(modality, samples),))


def noise_of(count: int, settings: ChannelSettings, **where: int) -> NDArray[np.complex64]:
    """What the channel adds to silence."""
    modality = Modality(where.pop("modality", Modality.LOWRES))
    frame = one_block(np.zeros(count, np.complex64), modality, **where)
    return impair(frame, settings)[0].blocks[0].samples


@pytest.mark.parametrize("make", [qpsk, analogue])
@pytest.mark.parametrize("snr_db", [-10.0, -5.0, 0.0, 3.0, 10.0, 20.0, 30.0])
def test_snr_is_es_over_n0(make, snr_db):
    """0.1 dB is 2.3 % of noise energy; over 1e5 symbols its sigma is 0.32 %: 7 sigma."""
    sent = make(NUM_SYMBOLS)
    arrived, measurement = impair(one_block(sent), ChannelSettings(snr_db=snr_db))
    noise = arrived.blocks[0].samples.astype(np.complex128) - sent
    measured_db = 10 * np.log10(np.sum(np.abs(sent) ** 2) / np.sum(np.abs(noise) ** 2))
    assert abs(measured_db - snr_db) < 0.1
    genie_db = 10 * np.log10(measurement.signal_energy / measurement.noise_energy)
    assert genie_db == pytest.approx(measured_db, abs=1e-3)
    assert measurement.num_symbols == NUM_SYMBOLS
    assert measurement.snr_db_requested == snr_db


@pytest.mark.parametrize(
    ("snr_db", "variance"), [(-5, 1.58114), (0, 0.5), (6, 0.12559), (10, 0.05), (20, 0.005)]
)
def test_noise_variance_per_real_dimension(snr_db, variance):
    """The table of papers/07; the sigma of a variance over n samples is sqrt(2/n): 3 sigma."""
    noise = noise_of(NUM_SYMBOLS, ChannelSettings(snr_db=snr_db))
    tolerance = 3 * math.sqrt(2 / NUM_SYMBOLS)
    assert np.var(noise.real, dtype=np.float64) == pytest.approx(variance, rel=tolerance)
    assert np.var(noise.imag, dtype=np.float64) == pytest.approx(variance, rel=tolerance)


def test_noise_is_circular_white_and_gaussian():
    """Each statistic of standard normal noise within 4 sigma of its expectation."""
    noise = noise_of(NUM_SYMBOLS, ChannelSettings(snr_db=0.0)).astype(np.complex128)
    n = NUM_SYMBOLS
    assert abs(noise.mean()) < 4 / math.sqrt(n)
    # Circular symmetry: E[n^2] = 0; each part of n^2 has variance 1/2 for E|n|^2 = 1.
    pseudo_variance = np.mean(noise**2)
    assert abs(pseudo_variance.real) < 4 / math.sqrt(n)
    assert abs(pseudo_variance.imag) < 4 / math.sqrt(n)
    for lag in (1, 2, 7):
        assert abs(np.mean(noise[lag:] * noise[:-lag].conj())) < 4 / math.sqrt(n)
    kurtosis = np.mean(noise.real**4) / np.mean(noise.real**2) ** 2
    assert abs(kurtosis - 3) < 4 * math.sqrt(24 / n)
    assert np.mean(np.abs(noise) ** 2 > 1.0) == pytest.approx(math.exp(-1), abs=4 * 0.482 / n**0.5)


def test_noise_is_reproducible_to_the_bit():
    """A golden hash: it changes only where the channel changes for everyone."""
    digest = hashlib.sha256()
    for sequence in range(4):
        blocks = (Block(Modality.LOWRES, qpsk(777)), Block(Modality.PILOT, qpsk(16, seed=3)))
        frame = RadioFrame(5, sequence, 0, blocks)
        for model in ChannelModel:
            settings = ChannelSettings(snr_db=7.25, model=model, seed=123456789)
            for block in impair(frame, settings)[0].blocks:
                assert block.samples.dtype == np.complex64
                digest.update(block.samples.astype("<c8").tobytes())
    assert digest.hexdigest() == GOLDEN_SHA256


@pytest.mark.parametrize(
    "other",
    [{"modality": Modality.PILOT}, {"sequence": 1}, {"sequence": 2**40}, {"generation": 2}],
)
def test_noise_is_independent_between_streams(other):
    """Correlation of two independent unit CN noises over n symbols: 4 sigma is 4/sqrt(n)."""
    settings = ChannelSettings(snr_db=0.0)
    first = noise_of(NUM_SYMBOLS, settings).astype(np.complex128)
    second = noise_of(NUM_SYMBOLS, settings, **other)
    for shift in (0, 1, 4):
        correlation = np.mean(np.roll(first, shift) * second.conj())
        assert abs(correlation) < 4 / math.sqrt(NUM_SYMBOLS)


def test_noise_is_independent_between_seeds():
    first = noise_of(NUM_SYMBOLS, ChannelSettings(snr_db=0.0, seed=1)).astype(np.complex128)
    second = noise_of(NUM_SYMBOLS, ChannelSettings(snr_db=0.0, seed=2))
    assert abs(np.mean(first * second.conj())) < 4 / math.sqrt(NUM_SYMBOLS)


def test_noise_of_a_block_does_not_depend_on_the_others():
    settings = ChannelSettings(snr_db=3.0)
    pilots, caption = qpsk(16), qpsk(400)
    alone = impair(one_block(pilots, Modality.PILOT, sequence=9), settings)[0].blocks[0]
    blocks = (Block(Modality.CAPTION, caption), Block(Modality.PILOT, pilots))
    together = impair(RadioFrame(1, 9, 0, blocks), settings)[0].blocks[1]
    np.testing.assert_array_equal(alone.samples, together.samples)


def test_a_change_of_snr_scales_the_same_noise_from_the_next_frame_on():
    emulator = Emulator(generation=1)
    silence = np.zeros(1000, np.complex64)
    loud, _ = emulator.apply(one_block(silence, sequence=0), ChannelSettings(snr_db=0.0))
    quiet, measured = emulator.apply(one_block(silence, sequence=1), ChannelSettings(snr_db=20.0))
    assert measured.snr_db_requested == 20.0
    reference = noise_of(1000, ChannelSettings(snr_db=0.0), sequence=1)
    np.testing.assert_allclose(quiet.blocks[0].samples, reference / 10.0, rtol=1e-5)
    assert np.var(loud.blocks[0].samples) / np.var(quiet.blocks[0].samples) > 50


def test_the_sent_frame_is_left_as_it_was():
    sent = qpsk(64)
    before = sent.copy()
    sent.setflags(write=False)
    impair(one_block(sent), ChannelSettings(snr_db=0.0, model=ChannelModel.RAYLEIGH))
    np.testing.assert_array_equal(sent, before)


def test_rayleigh_gain_is_one_complex_gaussian_a_frame():
    """|h|^2 is Exp(1): mean 1 (sigma 1/sqrt(n)), P(|h|^2 > 1) = 1/e; frames are independent."""
    n = 20_000
    gains = np.array([fading_gain(1, k, seed=11) for k in range(n)])
    power = np.abs(gains) ** 2
    assert power.mean() == pytest.approx(1.0, abs=4 / math.sqrt(n))
    assert np.mean(power > 1.0) == pytest.approx(math.exp(-1), abs=4 * 0.482 / math.sqrt(n))
    assert abs(gains.mean()) < 4 / math.sqrt(n)
    assert abs(np.mean(gains**2)) < 4 * math.sqrt(2) / math.sqrt(n)
    assert abs(np.mean(gains[1:] * gains[:-1].conj())) < 4 / math.sqrt(n)


def test_rayleigh_applies_one_gain_to_all_blocks_of_a_frame():
    settings = ChannelSettings(snr_db=60.0, model=ChannelModel.RAYLEIGH)
    for sequence in range(5):
        blocks = (Block(Modality.LOWRES, qpsk(500)), Block(Modality.PILOT, qpsk(500, seed=8)))
        arrived, measurement = impair(RadioFrame(1, sequence, 0, blocks), settings)
        gain = fading_gain(1, sequence, settings.seed)
        for sent, got in zip(blocks, arrived.blocks, strict=True):
            np.testing.assert_allclose(got.samples, gain * sent.samples, atol=0.01)
        assert measurement.signal_energy == pytest.approx(1000 * abs(gain) ** 2, rel=1e-4)


def lost_frames(settings: ChannelSettings, count: int, generation: int = 1) -> NDArray[np.bool_]:
    return np.array([is_lost(generation, k, settings) for k in range(count)])


@pytest.mark.parametrize(("burst", "gap"), [(4.0, 20.0), (1.0, 5.0), (1.0, 2.0), (30.0, 60.0)])
def test_bursts_and_gaps_have_their_mean_lengths(burst, gap):
    """Run lengths are geometric, sigma of the mean sqrt(m(m-1)/runs); 4 sigma and end effects."""
    settings = ChannelSettings(
        snr_db=0, model=ChannelModel.BURST, burst_frames_mean=burst, gap_frames_mean=gap
    )
    lost = lost_frames(settings, 12_000)
    edges = np.flatnonzero(np.diff(lost))
    runs = np.diff(edges)
    first_is_burst = bool(lost[edges[0] + 1])
    bursts, gaps = (runs[::2], runs[1::2]) if first_is_burst else (runs[1::2], runs[::2])
    for lengths, mean in ((bursts, burst), (gaps, gap)):
        sigma = math.sqrt(mean * (mean - 1) / len(lengths))
        assert abs(lengths.mean() - mean) < 4 * sigma + 1e-9
        if mean > 1:
            ones = 1 / mean
            sigma_ones = math.sqrt(ones * (1 - ones) / len(lengths))
            assert abs(np.mean(lengths == 1) - ones) < 4 * sigma_ones


@pytest.mark.parametrize(("burst", "gap"), [(4.0, 20.0), (1.0, 2.0), (1.2, 2.5), (200.0, 300.0)])
def test_a_frames_loss_is_the_chain_walked_from_frame_0(burst, gap):
    """Looking back from frame k gives what stepping Gilbert's chain from frame 0 gives."""
    settings = ChannelSettings(
        snr_db=0, model=ChannelModel.BURST, burst_frames_mean=burst, gap_frames_mean=gap, seed=5
    )
    bits = np.random.Philox(key=[5, 3 | 255 << 32], counter=[0, 0, 0, 0])
    uniforms = (bits.random_raw(2000) >> np.uint64(11)) * 2.0**-53
    p, q = 1 / gap, 1 / burst
    state = bool(uniforms[0] < p / (p + q))
    walked = [state]
    for u in uniforms[1:]:
        state = bool(u < (1 - q if state else p))
        walked.append(state)
    assert lost_frames(settings, 2000, generation=3).tolist() == walked


def test_a_late_frames_loss_needs_no_history():
    settings = ChannelSettings(
        snr_db=0, model=ChannelModel.BURST, burst_frames_mean=10_000, gap_frames_mean=10_000
    )
    assert is_lost(1, 2**63, settings) in (True, False)


def test_a_lost_frame_is_noise_only_and_keeps_its_sizes():
    settings = ChannelSettings(snr_db=10.0, model=ChannelModel.BURST, gap_frames_mean=3)
    awgn = ChannelSettings(snr_db=10.0)
    seen = set()
    for sequence in range(40):
        blocks = (Block(Modality.LOWRES, qpsk(300)), Block(Modality.PILOT, qpsk(16)))
        arrived, measurement = impair(RadioFrame(1, sequence, 7, blocks), settings)
        seen.add(measurement.block_lost)
        assert [len(block.samples) for block in arrived.blocks] == [300, 16]
        assert measurement.block_lost == is_lost(1, sequence, settings)
        if measurement.block_lost:
            assert measurement.signal_energy == 0.0
            expected = noise_of(300, awgn, sequence=sequence)
            np.testing.assert_array_equal(arrived.blocks[0].samples, expected)
        else:
            assert measurement.signal_energy == pytest.approx(316, rel=1e-5)
    assert seen == {True, False}


@pytest.mark.parametrize("model", list(ChannelModel))
def test_too_much_power_is_refused(model):
    settings = ChannelSettings(snr_db=10.0, model=model)
    strong = (qpsk(500) * math.sqrt(1.02)).astype(np.complex64)
    frame = RadioFrame(1, 4, 0, (Block(Modality.PILOT, qpsk(16)), Block(Modality.LOWRES, strong)))
    with pytest.raises(InputError, match=r"lowres block of frame 4 .* 1\.020.*unit mean power"):
        impair(frame, settings)
    impair(one_block((qpsk(500) * math.sqrt(1.009)).astype(np.complex64)), settings)


@pytest.mark.parametrize("bad", [math.nan, math.inf, complex(0, -math.inf), complex(1, math.nan)])
def test_nan_and_infinity_are_refused(bad):
    samples = qpsk(100)
    samples[57] = bad
    with pytest.raises(InputError, match="caption block of frame 0 holds NaN or infinite"):
        impair(one_block(samples, Modality.CAPTION), ChannelSettings(snr_db=10.0))


def test_the_largest_finite_samples_are_refused_for_their_power():
    samples = np.full(10, np.finfo(np.float32).max, np.complex64)
    with pytest.raises(InputError, match="unit mean power"):
        impair(one_block(samples), ChannelSettings(snr_db=10.0))


def test_an_empty_block_and_an_empty_frame_pass():
    settings = ChannelSettings(snr_db=0.0)
    arrived, measurement = impair(one_block(np.zeros(0, np.complex64)), settings)
    assert len(arrived.blocks[0].samples) == 0
    assert measurement.num_symbols == 0
    assert impair(RadioFrame(1, 0, 0, ()), settings)[1].noise_energy == 0.0


def test_a_stream_is_of_one_generation_and_in_order():
    emulator = Emulator(generation=2)
    settings = ChannelSettings(snr_db=0.0)
    emulator.apply(one_block(qpsk(4), sequence=5, generation=2), settings)
    with pytest.raises(InputError, match="Frame 5 came after frame 5"):
        emulator.apply(one_block(qpsk(4), sequence=5, generation=2), settings)
    with pytest.raises(InputError, match="generation 1 came on a stream of generation 2"):
        emulator.apply(one_block(qpsk(4), sequence=6, generation=1), settings)


@given(
    seed=st.integers(0, 2**63 - 1),
    generation=st.integers(1, 2**32 - 1),
    sequence=st.integers(0, 2**64 - 1),
    model=st.sampled_from(ChannelModel),
)
def test_every_frame_passes_and_repeats(seed, generation, sequence, model):
    settings = ChannelSettings(snr_db=5.0, seed=seed, model=model)
    frame = one_block(qpsk(8), sequence=sequence, generation=generation)
    first, again = impair(frame, settings), impair(frame, settings)
    np.testing.assert_array_equal(first[0].blocks[0].samples, again[0].blocks[0].samples)
    assert first[1] == again[1]


@pytest.mark.parametrize(
    "field",
    [
        {"snr_db": math.nan},
        {"snr_db": math.inf},
        {"snr_db": 61},
        {"snr_db": -31},
        {"seed": -1},
        {"burst_frames_mean": 0.5},
        {"gap_frames_mean": 1.0},
        {"gap_frames_mean": math.nan},
        {"power": 2},
    ],
)
def test_settings_have_bounds(field):
    with pytest.raises(ValueError, match=next(iter(field))):
        ChannelSettings(**({"snr_db": 10.0} | field))
