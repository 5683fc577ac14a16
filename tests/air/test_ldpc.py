"""LDPC codes: tables and encoder bit for bit against sionna, decoder by what it corrects."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semcast.air.ldpc import LLR_LIMIT, LdpcCode, ldpc_code, max_info_bits
from semcast.air.ldpc_base_graphs import BASE_GRAPH_1, BASE_GRAPH_2
from semcast.errors import InputError

SIZES = [
    (12, 16), (12, 24), (12, 60), (13, 40), (20, 30), (24, 120), (33, 66), (64, 192), (100, 300),
    (111, 333), (192, 400), (193, 500), (216, 1080), (292, 600), (292, 310), (293, 350),
    (293, 900), (560, 1000), (561, 2000), (640, 800), (640, 3200), (641, 1000), (1024, 3072),
    (1500, 1600), (2000, 10000), (3000, 9000), (3824, 6000), (3825, 9000), (3840, 15360),
    (3840, 4200), (4096, 8192), (5000, 14999), (6144, 9216), (8448, 8900), (8448, 25000),
]  # fmt: skip


def random_bits(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, count).astype(np.uint8)


def received_llr(coded: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """LLRs of 4-QAM in AWGN at Es/N0: bit amplitude 1/sqrt(2), noise N0/2 per dimension."""
    noise_var = 10 ** (-snr_db / 10)
    samples = (2.0 * coded - 1.0) * math.sqrt(0.5) + rng.normal(size=coded.shape) * math.sqrt(
        noise_var / 2
    )
    return (4 * math.sqrt(0.5) / noise_var * samples).astype(np.float32)


def test_base_graphs_same_as_sionna() -> None:
    encoding = pytest.importorskip("sionna.phy.fec.ldpc.encoding").LDPC5GEncoder
    encoder = encoding(100, 300)
    for graph in (BASE_GRAPH_1, BASE_GRAPH_2):
        for set_index in range(8):
            expected = encoder._load_basegraph(set_index, graph.name)
            ours = np.full((graph.num_rows, graph.num_columns), -1.0)
            for edge in graph.edges:
                ours[edge.row, edge.column] = edge.shifts[set_index]
            assert np.array_equal(ours, expected)


@pytest.mark.filterwarnings("ignore:Effective coderate")
@pytest.mark.parametrize(("k", "n"), SIZES)
def test_encoder_bit_for_bit_same_as_sionna(k: int, n: int) -> None:
    torch = pytest.importorskip("torch")
    encoder = pytest.importorskip("sionna.phy.fec.ldpc").LDPC5GEncoder(k, n)
    words = random_bits(3 * k, seed=k + n).reshape(3, k)
    expected = encoder(torch.from_numpy(words).float()).numpy().astype(np.uint8)
    code = ldpc_code(k, n)
    assert code.lifting == encoder.z
    for word, coded in zip(words, expected, strict=True):
        assert np.array_equal(code.encode(word), coded)


@pytest.mark.parametrize(
    ("k", "n"), [*SIZES, (12, 1000), (35, 20_000), (100, 1201), (8448, 90_000)]
)
def test_clean_codeword_decodes_at_once(k: int, n: int) -> None:
    code = ldpc_code(k, n)
    word = random_bits(k, seed=k)
    decoded = code.decode((8.0 * code.encode(word) - 4.0).astype(np.float32))
    assert decoded.parity_ok
    # The punctured bits are worked out from the others, which takes a few passes at high rates.
    assert decoded.num_iterations <= 8
    assert np.array_equal(decoded.bits, word)


@settings(max_examples=30, deadline=None)
@given(data=st.data(), k=st.integers(12, 600))
def test_round_trip_with_a_few_wrong_bits(data: st.DataObject, k: int) -> None:
    n = data.draw(st.integers(3 * k, 12 * k))
    code = LdpcCode(k, n)
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    word = rng.integers(0, 2, k).astype(np.uint8)
    llr = 8.0 * code.encode(word) - 4.0
    flipped = rng.choice(n, size=n // 50, replace=False)
    llr[flipped] *= -0.25
    decoded = code.decode(llr.astype(np.float32), num_iterations=40)
    assert decoded.parity_ok
    assert np.array_equal(decoded.bits, word)


def test_repetition_gains_what_energy_says() -> None:
    """Sent twice at half the SNR, the same code fails about as often: within 4 sigma."""
    rng = np.random.default_rng(3)
    # 100 bits: Z_c = 18, circular buffer of 50 * 18 bits less the 80 filler bits.
    once, twice = ldpc_code(100, 820), ldpc_code(100, 1640)
    assert np.array_equal(twice.encode(random_bits(100, 1))[820:], once.encode(random_bits(100, 1)))
    num_words = 600
    lost = []
    for tested, snr_db in ((once, -5.8), (twice, -5.8 - 10 * math.log10(2))):
        failures = 0
        for _ in range(num_words):
            word = rng.integers(0, 2, 100).astype(np.uint8)
            llr = received_llr(tested.encode(word), snr_db, rng)
            failures += not np.array_equal(tested.decode(llr).bits, word)
        lost.append(failures / num_words)
    mean = sum(lost) / 2
    assert 0.02 < mean < 0.9
    assert abs(lost[0] - lost[1]) < 4 * math.sqrt(2 * mean * (1 - mean) / num_words)


def test_early_stop_gives_the_same_word_sooner() -> None:
    rng = np.random.default_rng(4)
    code = ldpc_code(256, 768)
    for _ in range(20):
        word = rng.integers(0, 2, 256).astype(np.uint8)
        llr = received_llr(code.encode(word), 2.0, rng)
        early, full = code.decode(llr), code.decode(llr, early_stop=False)
        assert np.array_equal(early.bits, full.bits)
        assert early.num_iterations < full.num_iterations == 20


def test_garbage_neither_crashes_nor_passes() -> None:
    rng = np.random.default_rng(5)
    code = ldpc_code(200, 600)
    for llr in (
        rng.normal(size=600) * 1e30,
        np.full(600, np.nan),
        np.where(rng.random(600) < 0.5, np.inf, -np.inf),
        rng.normal(size=600),
    ):
        decoded = code.decode(llr.astype(np.float32))
        assert decoded.bits.shape == (200,)
        assert set(np.unique(decoded.bits)) <= {0, 1}
    assert not code.decode(rng.normal(size=600).astype(np.float32)).parity_ok


def test_infinite_llrs_are_certain_bits() -> None:
    code = ldpc_code(60, 400)
    word = random_bits(60, 6)
    llr = np.where(code.encode(word) == 1, np.inf, -np.inf).astype(np.float32)
    assert np.array_equal(code.decode(llr).bits, word)
    assert np.isfinite(LLR_LIMIT)


@pytest.mark.parametrize(("k", "n"), [(11, 100), (8449, 20_000), (100, 104)])
def test_sizes_no_code_has(k: int, n: int) -> None:
    with pytest.raises(InputError):
        LdpcCode(k, n)


def test_wrong_lengths() -> None:
    code = ldpc_code(100, 300)
    with pytest.raises(InputError, match="100"):
        code.encode(np.zeros(99, np.uint8))
    with pytest.raises(InputError, match="300"):
        code.decode(np.zeros(301, np.float32))
    assert max_info_bits(0.2) == 3840
    assert max_info_bits(0.5) == 8448


@pytest.mark.slow
def test_block_error_rate_not_above_sionna() -> None:
    """k 1024, n 3072, the same 150 noisy words to both: ours lose no more than sionna's boxplus-phi
    does, within 3 sigma. (benchmarks/ldpc.py measures the distance in dB.)"""
    torch = pytest.importorskip("torch")
    fec = pytest.importorskip("sionna.phy.fec.ldpc")
    encoder = fec.LDPC5GEncoder(1024, 3072)
    reference = fec.LDPC5GDecoder(encoder, num_iter=20, cn_update="boxplus-phi")
    code = ldpc_code(1024, 3072)
    rng = np.random.default_rng(7)
    words = rng.integers(0, 2, (150, 1024)).astype(np.uint8)
    llr = received_llr(np.stack([code.encode(word) for word in words]), -1.35, rng)
    theirs = reference(torch.from_numpy(llr)).numpy().astype(np.uint8)
    rate_theirs = float((theirs != words).any(axis=1).mean())
    ours = [(code.decode(v).bits != w).any() for v, w in zip(llr, words, strict=True)]
    assert 0.05 < rate_theirs < 0.95
    assert np.mean(ours) < rate_theirs + 3 * math.sqrt(rate_theirs * (1 - rate_theirs) / 150)
