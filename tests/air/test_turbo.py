"""The turbo code: bit for bit against sionna, rate matching against the standard's own words, and
the decoder by what it corrects."""

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semcast.air import crc, turbo
from semcast.errors import InputError

CRC = "crc16"
SOME_SIZES = [40, 48, 104, 512, 528, 800, 1024, 1056, 2048, 2112, 6144]


def random_bits(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, count).astype(np.uint8)


def received_llr(coded: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """LLRs of 4-QAM in AWGN at Es/N0: bit amplitude 1/sqrt(2), noise N0/2 per dimension."""
    noise_var = 10 ** (-snr_db / 10)
    samples = (2.0 * coded - 1.0) * math.sqrt(0.5)
    samples = samples + rng.normal(size=coded.shape) * math.sqrt(noise_var / 2)
    return 4 * math.sqrt(0.5) / noise_var * samples


def empty_buffer(num_info_bits: int) -> np.ndarray:
    return np.zeros(turbo.buffer_size(num_info_bits), dtype=np.float32)


def test_every_interleaver_same_as_sionna() -> None:
    """All 188 sizes: those the standard names, each permuting as sionna's interleaver does."""
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("sionna.phy.fec.interleaving").Turbo3GPPInterleaver()
    assert len(turbo.turbo_sizes()) == 188
    assert turbo.turbo_sizes() == tuple(sorted(theirs.coeffs_dict))
    for size in turbo.turbo_sizes():
        expected = theirs(torch.arange(size).reshape(1, -1).float())[0].numpy().astype(int)
        assert np.array_equal(turbo._tables(size).interleaver, expected)


@pytest.mark.parametrize("size", SOME_SIZES)
def test_streams_same_as_sionna(size: int) -> None:
    """Its codeword goes through our three streams side by side, tail bits included."""
    torch = pytest.importorskip("torch")
    encoder = pytest.importorskip("sionna.phy.fec.turbo").TurboEncoder(
        rate=1 / 3, constraint_length=4, terminate=True
    )
    words = random_bits(3 * size, seed=size).reshape(3, size)
    expected = encoder(torch.from_numpy(words).float()).numpy().astype(np.uint8)
    for word, coded in zip(words, expected, strict=True):
        assert np.array_equal(turbo.turbo_streams(word).T.ravel(), coded)


@pytest.mark.parametrize("size", [40, 800, 1056])
def test_termination_brings_both_encoders_to_rest(size: int) -> None:
    """The tail of either encoder, fed to its register, cancels the feedback: it ends in zeros."""
    word = random_bits(size, seed=size)
    streams = turbo.turbo_streams(word)
    tail = streams[:, size:].T.reshape(2, 3, 2)
    for encoder, block in enumerate((word, word[turbo._tables(size).interleaver])):
        register = [0, 0, 0]
        for bit, parity in [
            *zip(block, streams[1 + encoder, :size], strict=True),
            *tail[encoder],
        ]:
            fed_back = int(bit) ^ register[1] ^ register[2]
            assert fed_back ^ register[0] ^ register[2] == parity
            register = [fed_back, *register[:2]]
        assert register == [0, 0, 0]


def circular_buffer_with_nulls(streams: np.ndarray, num_filler: int) -> tuple[list[int], int]:
    """TS 36.212 section 5.1.4.1.1 and 5.1.4.1.2 word for word, -1 for <NULL>; also R."""
    order = [
        0, 16, 8, 24, 4, 20, 12, 28, 2, 18, 10, 26, 6, 22, 14, 30,
        1, 17, 9, 25, 5, 21, 13, 29, 3, 19, 11, 27, 7, 23, 15, 31,
    ]  # fmt: skip
    num_bits = streams.shape[1]
    rows = math.ceil(num_bits / 32)
    total = rows * 32
    read = []
    for i in range(3):
        y = [-1] * (total - num_bits) + [int(bit) for bit in streams[i]]
        if i < 2:
            y = [-1 if j - (total - num_bits) in range(num_filler) else y[j] for j in range(total)]
            matrix = [y[32 * row : 32 * (row + 1)] for row in range(rows)]
            read.append([matrix[row][column] for column in order for row in range(rows)])
        else:
            read.append([y[(order[k // rows] + 32 * (k % rows) + 1) % total] for k in range(total)])
    buffer = list(read[0])
    for first, second in zip(read[1], read[2], strict=True):
        buffer += [first, second]
    return buffer, rows


@pytest.mark.parametrize("num_info_bits", [1, 40, 45, 97, 104, 800, 803, 2049, 6144])
@pytest.mark.parametrize("version", range(turbo.NUM_VERSIONS))
def test_rate_matching_as_the_standard_says(num_info_bits: int, version: int) -> None:
    word = random_bits(num_info_bits, seed=num_info_bits)
    streams = turbo.turbo_streams(word)
    num_filler = streams.shape[1] - 4 - num_info_bits
    circular, rows = circular_buffer_with_nulls(streams, num_filler)
    place = rows * (2 * math.ceil(len(circular) / (8 * rows)) * version + 2)
    expected = []
    while len(expected) < 4 * num_info_bits + 20:
        if circular[place % len(circular)] != -1:
            expected.append(circular[place % len(circular)])
        place += 1
    start = turbo.redundancy_start(num_info_bits, version)
    ours = turbo.rate_match(turbo.turbo_encode(word), len(expected), start)
    assert ours.tolist() == expected


@settings(max_examples=40, deadline=None)
@given(num_info_bits=st.integers(1, 2000), data=st.data())
def test_rate_matching_is_undone(num_info_bits: int, data: st.DataObject) -> None:
    """Every LLR comes back to the place of its bit, repetitions added up, the rest left zero."""
    size = turbo.buffer_size(num_info_bits)
    first = data.draw(st.integers(0, size - 1))
    count = data.draw(st.integers(1, 3 * size))
    marks = np.arange(1, size + 1, dtype=np.float32)
    before = random_bits(size, 1).astype(np.float32)
    sent = turbo.rate_match(marks, count, first)
    combined = turbo.de_rate_match(before, sent, first)
    times = np.bincount((first + np.arange(count)) % size, minlength=size)
    assert np.array_equal(combined, before + marks * times)


GOLDEN = "9296c20c"


def test_golden_buffer() -> None:
    """The bits on the air do not change from version to version; 256 bits, then 300 with filler."""
    seed = np.unpackbits(np.frombuffer(hashlib.sha256(b"semcast").digest(), np.uint8))
    coded = [turbo.turbo_encode(word) for word in (seed, np.resize(seed, 300))]
    digest = hashlib.sha256(np.packbits(np.concatenate(coded)).tobytes()).hexdigest()
    assert digest[:8] == GOLDEN


@pytest.mark.parametrize("num_info_bits", [17, 40, 41, 100, 513, 765, 800, 2050, 6144])
def test_a_clean_word_decodes_at_once(num_info_bits: int) -> None:
    word = crc.attach_inverted(random_bits(num_info_bits - 16, seed=1), CRC)
    buffer = turbo.turbo_encode(word)
    llr = 8.0 * turbo.rate_match(buffer, 3 * num_info_bits, 0) - 4.0
    combined = turbo.de_rate_match(empty_buffer(num_info_bits), llr, 0)
    decoded = turbo.turbo_decode(combined, num_info_bits, CRC)
    assert decoded.num_iterations == 1
    assert decoded.payload is not None and np.array_equal(decoded.payload, word[:-16])


def lost_words(
    num_info_bits: int, versions: list[int], num_coded_bits: int, snr_db: float, count: int
) -> int:
    rng = np.random.default_rng(num_info_bits)
    lost = 0
    for i in range(count):
        word = crc.attach_inverted(random_bits(num_info_bits - 16, seed=i), CRC)
        buffer = turbo.turbo_encode(word)
        combined = empty_buffer(num_info_bits)
        for version in versions:
            start = turbo.redundancy_start(num_info_bits, version)
            llr = received_llr(turbo.rate_match(buffer, num_coded_bits, start), snr_db, rng)
            combined = turbo.de_rate_match(combined, llr, start)
        decoded = turbo.turbo_decode(combined, num_info_bits, CRC)
        lost += decoded.payload is None or not np.array_equal(decoded.payload, word[:-16])
    return lost


def test_noise_is_corrected() -> None:
    """Rate 1/3 at 0 dB, 2.3 dB above the Shannon limit: one coded bit in six is received wrong.
    Some 1 in 1000 is lost there at 104 bits and fewer at 800, so 4 of 300 are beyond 5 sigma."""
    assert lost_words(104, [0], 312, 0.5, 300) <= 4
    assert lost_words(800, [0], 2400, 0.0, 300) <= 4


def test_other_versions_help_more_than_the_same_again() -> None:
    """Two transmissions at rate 2/3, below the SNR at which either of them decodes by itself:
    different versions are a rate 1/3 code, the same twice is 3 dB."""
    alone = lost_words(400, [0], 600, 0.2, 60)
    same = lost_words(400, [0, 0], 600, 0.2, 60)
    different = lost_words(400, [0, 2], 600, 0.2, 60)
    assert alone == 60
    assert different <= 2
    assert same >= 10


@pytest.mark.parametrize("version", range(turbo.NUM_VERSIONS))
def test_the_filler_is_known_and_not_sent(version: int) -> None:
    """A word far shorter than the smallest size: every version decodes alone at rate 1/3."""
    assert lost_words(24, [version], 72, 4.0, 50) <= 1


def test_silence_and_noise_are_no_words() -> None:
    rng = np.random.default_rng(2)
    size = turbo.buffer_size(60)
    assert turbo.turbo_decode(np.zeros(size, np.float32), 60, CRC).payload is None
    for scale in (1e-20, 1.0, 1e4, 1e30):
        for _ in range(50):
            llr = (scale * rng.normal(size=size)).astype(np.float32)
            assert turbo.turbo_decode(llr, 60, CRC).payload is None
    assert turbo.turbo_decode(np.full(size, np.nan, np.float32), 60, CRC).payload is None
    for fill in (np.inf, -np.inf, 3e38):
        turbo.turbo_decode(np.full(size, fill, np.float32), 60, CRC)


def test_a_weak_crc_is_not_all_that_stands_against_noise() -> None:
    """A CRC of 6 bits holds for one word in 64, and each of 8 iterations makes another: 80 to 100
    of 800 would pass. The constituent decoders agree on none of them."""
    rng = np.random.default_rng(3)
    size = turbo.buffer_size(176)
    passed = 0
    for scale in (0.3, 1.0, 3.0, 10.0):
        for _ in range(200):
            llr = (scale * rng.normal(size=size)).astype(np.float32)
            passed += turbo.turbo_decode(llr, 176, "crc6").payload is not None
    assert passed <= 2


def test_a_word_whose_crc_is_not_inverted_is_refused() -> None:
    word = crc.attach(random_bits(84, 1), CRC)
    combined = (8.0 * turbo.turbo_encode(word) - 4.0).astype(np.float32)
    decoded = turbo.turbo_decode(combined, 100, CRC, max_iterations=3)
    assert decoded.payload is None and decoded.num_iterations == 3


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="6144"):
        turbo.turbo_encode(random_bits(6145, 0))
    with pytest.raises(InputError, match="6144"):
        turbo.turbo_encode(random_bits(0, 0))
    with pytest.raises(InputError, match="versions"):
        turbo.redundancy_start(100, 4)
    with pytest.raises(InputError, match="circular"):
        turbo.rate_match(turbo.turbo_encode(random_bits(40, 0)), 0, 0)
    with pytest.raises(InputError, match="circular"):
        turbo.de_rate_match(empty_buffer(40), np.ones(5), 132)
    with pytest.raises(InputError, match="holds 132"):
        turbo.turbo_decode(np.zeros(131, np.float32), 40, CRC)
    with pytest.raises(InputError, match="no payload"):
        turbo.turbo_decode(empty_buffer(16), 16, CRC)
