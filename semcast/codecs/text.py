"""Captions as bits: what the model expects costs little, and any Unicode survives.

Payload: range-coded symbols (`text_symbols`) under the frequencies of `text_model`, up to and with
`END`; the bytes of a character after `ESCAPE` are coded with equal frequencies. Zeros may follow.

    bits = encode_text("A brown horse grazes in a wet meadow.")  # under two bits a character
    text = decode_text(bits)
"""

import numpy as np
from numpy.typing import NDArray

from semcast.codecs.errors import CorruptPayloadError
from semcast.codecs.range_payload import PayloadReader, PayloadWriter, categorical
from semcast.codecs.text_model import shipped_model
from semcast.codecs.text_symbols import END, ESCAPE, SHIFT, character_of, symbols_of
from semcast.errors import InputError

MAX_CHARS = 512

_BYTE = categorical([1] * 256)


def encode_text(text: str) -> NDArray[np.uint8]:
    """`text` (at most `MAX_CHARS` Unicode characters) as uint8 [n] of 0 and 1.

    Raises `InputError` for a longer text and for one that is not valid Unicode.
    """
    writer = PayloadWriter()
    write_text(writer, text)
    return writer.finish()


def decode_text(bits: NDArray[np.uint8]) -> str:
    """The text of a payload (uint8 [n] of 0 and 1) of `encode_text`, zeros after it or not.

    Raises `CorruptPayloadError` where the payload is none; other damage gives another text.
    """
    return read_text(PayloadReader(bits))


def warm_up() -> None:
    """Counts the corpus and compiles (seconds in a fresh checkout), so that no caption waits."""
    decode_text(encode_text("A first caption."))


def write_text(writer: PayloadWriter, text: str) -> None:
    """`encode_text` within a payload of several parts."""
    if len(text) > MAX_CHARS:
        raise InputError(
            f"the caption has {len(text)} characters and {MAX_CHARS} can be sent; shorten it"
        )
    symbols, escaped = symbols_of(text)
    predictor = shipped_model().predictor()
    remaining = iter(escaped)
    for symbol in symbols:
        writer.write(symbol, categorical(predictor.frequencies()))
        predictor.push(symbol)
        if symbol == ESCAPE:
            for byte in next(remaining):
                writer.write(byte, _BYTE)


def read_text(reader: PayloadReader) -> str:
    """`decode_text` within a payload of several parts."""
    predictor = shipped_model().predictor()
    text = ""
    shifted = False
    while True:
        symbol = reader.read(categorical(predictor.frequencies()))
        if shifted and symbol in (END, SHIFT, ESCAPE):
            raise CorruptPayloadError("a shift before what is no letter")
        if symbol == END:
            return text
        if len(text) == MAX_CHARS:
            raise CorruptPayloadError(f"the text has no end after {MAX_CHARS} characters")
        predictor.push(symbol)
        if symbol == ESCAPE:
            text += _read_character(reader)
        elif symbol != SHIFT:
            text += character_of(symbol, shifted, text[-2:])
        shifted = symbol == SHIFT


def _read_character(reader: PayloadReader) -> str:
    """One character from its UTF-8 bytes."""
    read = bytes([reader.read(_BYTE)])
    lead = read[0]
    num_following = 0 if lead < 0x80 else 1 if lead < 0xE0 else 2 if lead < 0xF0 else 3
    read += bytes(reader.read(_BYTE) for _ in range(num_following))
    try:
        return read.decode()
    except UnicodeDecodeError as error:
        raise CorruptPayloadError("the bytes of a character are no UTF-8") from error
