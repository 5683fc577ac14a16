"""Captions as bits: round trips, rates, the format, and garbage."""

import csv
import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from semcast.codecs.errors import CorruptPayloadError
from semcast.codecs.range_payload import PayloadReader, PayloadWriter
from semcast.codecs.text import MAX_CHARS, decode_text, encode_text, read_text, write_text
from semcast.codecs.text_model import SENTENCES, shipped_model
from semcast.codecs.text_ngrams import ONE
from semcast.codecs.text_symbols import ESCAPE, NUM_SYMBOLS, SHIFT, symbols_of
from semcast.errors import InputError

DATA = Path(__file__).parents[3] / "shared" / "data" / "video" / "captions.csv"

# Written after the corpus, and not part of it.
NEW_CAPTIONS = (
    "A woman in a green sweater waters a row of potted plants on a sunny balcony.",
    "Two brown horses graze in a wet meadow while a man in a blue jacket mends the fence.",
    "A red tram crosses a wide bridge at night, its lights reflected in the dark river below.",
    "The video shows a boy throwing a stick for a black dog near a frozen pond.",
)
UNICODE = (
    "",
    " ",
    "A",
    "a",
    "SUV",
    "mcDonald's iPhone 15; a T-shirt. lower case here! Upper there? ÉTÉ",
    "Line one.\nLine two.\tEnd. ",
    "Un café crème à la terrasse d'un théâtre.",
    "一只黑猫坐在窗台上。",
    "Собака бежит по снегу",
    "😀👩‍🚀🏳️‍🌈",
    "e\u0301 \u202e \ufeff \x00 \x7f \U0010ffff",
    "x" * MAX_CHARS,
    "😀" * MAX_CHARS,
)


def _with_padding(bits: NDArray[np.uint8], num_zeros: int) -> NDArray[np.uint8]:
    return np.concatenate([bits, np.zeros(num_zeros, dtype=np.uint8)])


@pytest.mark.parametrize("text", [*NEW_CAPTIONS, *UNICODE])
def test_round_trip_with_and_without_padding(text: str) -> None:
    bits = encode_text(text)
    assert bits.dtype == np.uint8
    for num_zeros in (0, 1, 31, 500):
        assert decode_text(_with_padding(bits, num_zeros)) == text


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=60), st.integers(0, 70))
@example(". a. A! b? C", 3)
def test_any_unicode_text_survives(text: str, num_zeros: int) -> None:
    assert decode_text(_with_padding(encode_text(text), num_zeros)) == text


def test_two_texts_in_one_payload() -> None:
    writer = PayloadWriter()
    write_text(writer, NEW_CAPTIONS[0])
    write_text(writer, "😀")
    reader = PayloadReader(writer.finish())
    assert [read_text(reader), read_text(reader)] == [NEW_CAPTIONS[0], "😀"]


def test_no_payload_ends_in_a_zero_that_padding_would_supply() -> None:
    for text in NEW_CAPTIONS:
        assert encode_text(text)[-1] == 1


def test_new_captions_take_less_than_the_target_of_2_6_bits_per_character() -> None:
    num_bits = sum(len(encode_text(text)) for text in NEW_CAPTIONS)
    assert num_bits < 2.6 * sum(map(len, NEW_CAPTIONS))


def test_payload_is_at_most_two_bits_above_the_information_content() -> None:
    for text in NEW_CAPTIONS:
        predictor = shipped_model().predictor()
        information_bits = 0.0
        for symbol in symbols_of(text)[0]:
            frequencies = predictor.frequencies()
            information_bits -= np.log2(frequencies[symbol] / frequencies.sum())
            predictor.push(symbol)
        assert len(encode_text(text)) <= information_bits + 2


def test_usual_case_costs_less_than_unusual_case() -> None:
    text = NEW_CAPTIONS[0]
    assert len(encode_text(text)) < len(encode_text(text.lower())) < len(encode_text(text.upper()))


def test_every_symbol_is_possible_everywhere() -> None:
    predictor = shipped_model().predictor()
    for symbol in symbols_of("A man in a zqx T-shirt, 27 dogs...")[0]:
        frequencies = predictor.frequencies()
        assert frequencies.shape == (NUM_SYMBOLS,)
        assert frequencies.min() >= 2.0**-18 * frequencies.sum()
        assert frequencies.sum() == pytest.approx(ONE, rel=2e-3)
        predictor.push(symbol)


def test_symbols_of_shifts_and_escapes() -> None:
    symbols, escaped = symbols_of("A T-é")
    assert symbols.count(SHIFT) == 1  # the capital at the start is the usual case
    assert symbols.count(ESCAPE) == 1
    assert escaped == ["é".encode()]


def test_longest_text_is_bounded() -> None:
    with pytest.raises(InputError, match="513 characters and 512 can be sent; shorten"):
        encode_text("y" * (MAX_CHARS + 1))


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(InputError, match=r"character 2 .* valid Unicode"):
        encode_text("ab\ud800")


def test_empty_payload_and_zeros_are_the_empty_text() -> None:
    assert len(encode_text("")) == 0
    assert decode_text(np.zeros(400, dtype=np.uint8)) == ""


def test_golden_payloads() -> None:
    """A change here changes the format: the corpus, a constant of the model, or the alphabet."""
    payloads = [np.packbits(encode_text(text)).tobytes().hex() for text in ("A cat.", *UNICODE)]
    assert payloads[0] == "257e"
    digest = hashlib.sha256(" ".join(payloads).encode()).hexdigest()
    assert digest == "76cb42818d06c23ef3a54dd5e46f1b2c1aa5c4162c5e31f35c123328c877e28a"


def _decode_garbage(bits: NDArray[np.uint8]) -> None:
    try:
        text = decode_text(bits)
    except CorruptPayloadError:
        return
    assert len(text) <= MAX_CHARS
    assert decode_text(encode_text(text)) == text


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=150))
@example(b"\xff" * 2000)
@example(b"\x00\xff" * 1000)
def test_random_payloads_decode_or_are_refused(payload: bytes) -> None:
    _decode_garbage(np.unpackbits(np.frombuffer(payload, dtype=np.uint8)))


@pytest.mark.parametrize("text", [NEW_CAPTIONS[0], "一只黑猫坐在窗台上。"])
def test_every_single_bit_error_decodes_or_is_refused(text: str) -> None:
    bits = encode_text(text)
    decoded = set()
    for position in range(len(bits)):
        damaged = bits.copy()
        damaged[position] ^= 1
        _decode_garbage(damaged)
        try:
            decoded.add(decode_text(damaged))
        except CorruptPayloadError:
            decoded.add("")
    assert text not in decoded


def test_a_text_that_never_ends_is_refused() -> None:
    ones = np.ones(40_000, dtype=np.uint8)
    with pytest.raises(CorruptPayloadError):
        decode_text(ones)


def test_arithmetic_of_gvsc() -> None:
    """papers/03 section 2: 95.63 units of 8 bits, turbo code of rate 1/3, 4-QAM."""
    num_bits = 8 * 95.63
    assert num_bits == pytest.approx(765.04)
    code_rate, bits_per_symbol = 1 / 3, 2
    num_symbols = num_bits / (code_rate * bits_per_symbol)
    assert num_symbols == pytest.approx(1147.56)
    num_samples = 3 * 256 * 256 * 8
    assert num_samples == 1_572_864
    assert num_symbols / num_samples == pytest.approx(7.296e-4, rel=1e-4)


def test_a_caption_takes_less_than_half_of_gvscs_bits() -> None:
    text = NEW_CAPTIONS[1] + " Snow falls"
    assert len(text) == 95  # GVSC's mean caption, at one unit a character
    assert len(encode_text(text)) < 765.04 / 2


def _words(text: str) -> str:
    """The words in lower case, with a space on each side of each."""
    return " " + " ".join(re.findall(r"[a-z0-9]+", text.lower())) + " "


@pytest.mark.skipif(not DATA.exists(), reason="needs the captions of shared/data/video")
def test_no_caption_of_the_collection_is_in_the_corpus() -> None:
    """Neither a whole line nor seven words in a row, marks and capitals apart; any split."""
    lines = [_words(line) for line in SENTENCES.read_text(encoding="utf-8").splitlines()]
    corpus = "|".join(lines)
    with DATA.open(encoding="utf-8", newline="") as file:
        captions = [row[column] for row in csv.DictReader(file) for column in ("caption", "short")]
    assert captions
    for caption in captions:
        assert _words(caption) not in lines
        words = _words(caption).split()
        for start in range(len(words) - 6):
            assert f" {' '.join(words[start : start + 7])} " not in corpus
