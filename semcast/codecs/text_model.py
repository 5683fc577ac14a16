"""The probability of a caption's next symbol, counted from the text that ships with the code.

Both ends read `text_sentences.txt` (sentences and word lists written for this purpose) and count;
nothing else is shipped and nothing is learned in use. Changing that file changes the bitstream.

Two predictions are averaged. One is of the next symbol after the last `SYMBOL_ORDER` symbols. The
other is of the word being spelled, after the `WORD_ORDER` words or marks before it: of the words
that begin with the letters so far, which letter comes next, or does the word end here? All in
integers.
"""

from functools import lru_cache
from pathlib import Path

import numba
import numpy as np
from numpy.typing import NDArray

from semcast.codecs.text_ngrams import ONE, IntArray, NGrams
from semcast.codecs.text_symbols import END, IS_LETTER, NUM_SYMBOLS, SPACE, symbols_of

SENTENCES = Path(__file__).parent / "text_sentences.txt"

# Chosen by training/fit_text_codec.py.
SYMBOL_ORDER = 6
WORD_ORDER = 3
WORD_SHARE_16THS = 12
# No symbol is less likely than this (over ONE): a surprise costs at most 17 bits.
_FLOOR = ONE >> 17

_Word = tuple[int, ...]


class TextModel:
    """What is counted from a corpus. `predictor()` uses it for one caption."""

    def __init__(self, lines: list[str]) -> None:
        """`lines`: one caption, sentence or list of words each."""
        captions = [symbols_of(line)[0] for line in lines]
        tokens = [_tokens(symbols) for symbols in captions]
        vocabulary = sorted({token for line in tokens for token in line if IS_LETTER[token[0]]})
        # Token numbers: words first, in the order of `spelling`; then the single marks, then any
        # word not in the corpus. Only words are predicted.
        self.num_words = len(vocabulary)
        self._number = {word: number for number, word in enumerate(vocabulary)}
        num_tokens = self.num_words + NUM_SYMBOLS + 1
        self._unknown = num_tokens - 1
        # Row by row the letters of each word, filled up with END.
        self.spelling: NDArray[np.uint8] = np.zeros(
            (self.num_words, max(map(len, vocabulary)) + 1), dtype=np.uint8
        )
        for number, word in enumerate(vocabulary):
            self.spelling[number, : len(word)] = word
        start = self.token_number((END,))
        sequences = [
            [start] * WORD_ORDER + [self.token_number(token) for token in line] for line in tokens
        ]
        self.symbols = NGrams(captions, SYMBOL_ORDER, NUM_SYMBOLS)
        self.words = NGrams(sequences, WORD_ORDER, num_tokens, self.num_words)

    def token_number(self, token: _Word) -> int:
        """The number of a word, or of a mark (a token of one symbol that is no letter)."""
        if IS_LETTER[token[0]]:
            return self._number.get(token, self._unknown)
        return self.num_words + token[0]

    def predictor(self) -> "Predictor":
        """A predictor at the start of a caption."""
        return Predictor(self)


class Predictor:
    """Follows one caption symbol by symbol."""

    def __init__(self, model: TextModel) -> None:
        self._model = model
        self._symbols: list[int] = []
        self._tokens = [model.token_number((END,))] * WORD_ORDER
        # The word being spelled. Those that begin like it are from `_first` on, before `_last`.
        self._word: _Word = ()
        self._first, self._last = 0, model.num_words
        self._word_probabilities = model.words.probabilities(self._tokens)

    def frequencies(self) -> IntArray:
        """Positive frequencies (int64 [NUM_SYMBOLS]) of the next symbol."""
        by_symbols = self._model.symbols.probabilities(self._symbols)
        if self._first == self._last:  # no word of the corpus begins like this
            return by_symbols + _FLOOR
        return np.asarray(
            _mix(
                by_symbols,
                self._word_probabilities[self._first : self._last],
                self._model.spelling[self._first : self._last, len(self._word)],
                len(self._word) == 0,
                IS_LETTER,
                WORD_SHARE_16THS,
            )
        )

    def push(self, symbol: int) -> None:
        """The next symbol is known now."""
        self._symbols.append(symbol)
        if IS_LETTER[symbol]:
            if self._first < self._last:
                # Sorted words with equal beginnings are sorted by the letter after it.
                letters = self._model.spelling[self._first : self._last, len(self._word)]
                first = self._first
                self._first = first + int(np.searchsorted(letters, symbol, "left"))
                self._last = first + int(np.searchsorted(letters, symbol, "right"))
            self._word = (*self._word, symbol)
            return
        if self._word:
            self._tokens.append(self._model.token_number(self._word))
        if symbol != SPACE:
            self._tokens.append(self._model.token_number((symbol,)))
        self._word = ()
        self._first, self._last = 0, self._model.num_words
        self._word_probabilities = self._model.words.probabilities(self._tokens)


@lru_cache(maxsize=1)
def shipped_model() -> TextModel:
    """The model that crosses no channel because both ends have it."""
    return TextModel(SENTENCES.read_text(encoding="utf-8").splitlines())


def _tokens(symbols: list[int]) -> list[_Word]:
    """Words (runs of letters), and single marks other than spaces and `END`."""
    tokens: list[_Word] = []
    word: _Word = ()
    for symbol in symbols:
        if IS_LETTER[symbol]:
            word = (*word, symbol)
            continue
        if word:
            tokens.append(word)
            word = ()
        if symbol not in (SPACE, END):
            tokens.append((symbol,))
    return tokens


@numba.njit(cache=True)
def _mix(
    by_symbols: IntArray,
    word_probabilities: IntArray,
    next_letters: NDArray[np.uint8],
    at_word_start: bool,
    is_letter: NDArray[np.bool_],
    word_share_16ths: int,
) -> IntArray:
    """The average of both predictions.

    `word_probabilities` and `next_letters` are those of the words that fit; a next letter of END
    says that the word is complete. Whether a word starts at all, and which mark ends it, is left
    to the prediction by symbols.
    """
    by_words = np.zeros(NUM_SYMBOLS, dtype=np.int64)
    for index in range(len(next_letters)):
        by_words[next_letters[index]] += word_probabilities[index]
    total = np.sum(by_words) + 1
    letters = np.sum(by_symbols[is_letter]) + 1
    marks = np.sum(by_symbols[~is_letter]) + 1
    ended = by_words[END] * ONE // total
    for symbol in range(NUM_SYMBOLS):
        if is_letter[symbol]:
            share = by_words[symbol] * ONE // total
            by_words[symbol] = share * letters // ONE if at_word_start else share
        else:
            share = by_symbols[symbol]
            by_words[symbol] = share if at_word_start else share * ended // marks
    mixed = (16 - word_share_16ths) * by_symbols + word_share_16ths * by_words
    return mixed // 16 + _FLOOR
