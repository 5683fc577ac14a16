"""A caption as symbols of a small alphabet, and back.

| symbol | meaning |
|---|---|
| `END` (0) | the caption ends here |
| `SHIFT` (1) | the next letter has the case that is unusual at its place |
| `ESCAPE` (2) | one character follows as UTF-8 bytes, outside this alphabet |
| 3.. | printable ASCII but A-Z |

Letters are lower-case symbols. The usual case is a capital at the start of the caption and after
". ", "! " or "? ", and lower case everywhere else: "A T-shirt" is `a SHIFT t-shirt`.
"""

import numpy as np
from numpy.typing import NDArray

from semcast.codecs.errors import CorruptPayloadError
from semcast.errors import InputError

END, SHIFT, ESCAPE = 0, 1, 2
_FIRST_PRINTABLE = 3
PRINTABLE = "".join(chr(c) for c in range(32, 127) if not "A" <= chr(c) <= "Z")
NUM_SYMBOLS = _FIRST_PRINTABLE + len(PRINTABLE)

SPACE = _FIRST_PRINTABLE + PRINTABLE.index(" ")
# SHIFT belongs to the word it stands in.
IS_LETTER: NDArray[np.bool_] = np.array(
    [False, True, False] + ["a" <= character <= "z" for character in PRINTABLE]
)

_SYMBOL_OF = {character: _FIRST_PRINTABLE + i for i, character in enumerate(PRINTABLE)}
_SENTENCE_ENDS = (". ", "! ", "? ")


def _is_ascii_letter(character: str) -> bool:
    return "a" <= character <= "z" or "A" <= character <= "Z"


def starts_sentence(before: str) -> bool:
    """Whether a letter that follows the characters `before` is usually a capital."""
    return before == "" or before.endswith(_SENTENCE_ENDS)


def symbols_of(text: str) -> tuple[list[int], list[bytes]]:
    """The symbols of `text` with `END` last, and the UTF-8 bytes of each `ESCAPE` in turn.

    Raises `InputError` for a lone surrogate: it has no UTF-8 form.
    """
    symbols: list[int] = []
    escaped: list[bytes] = []
    for position, character in enumerate(text):
        if _is_ascii_letter(character):
            if character.isupper() != starts_sentence(text[max(position - 2, 0) : position]):
                symbols.append(SHIFT)
            symbols.append(_SYMBOL_OF[character.lower()])
        elif character in _SYMBOL_OF:
            symbols.append(_SYMBOL_OF[character])
        else:
            symbols.append(ESCAPE)
            try:
                escaped.append(character.encode())
            except UnicodeEncodeError as error:
                raise InputError(
                    f"character {position} of the caption is half of a surrogate pair; "
                    "give the caption as valid Unicode text"
                ) from error
    return [*symbols, END], escaped


def character_of(symbol: int, shifted: bool, before: str) -> str:
    """The character of a printable symbol after the last characters `before` of the text.

    Raises `CorruptPayloadError` where `SHIFT` came before what is no letter.
    """
    character = PRINTABLE[symbol - _FIRST_PRINTABLE]
    if _is_ascii_letter(character):
        return character.upper() if starts_sentence(before) != shifted else character
    if shifted:
        raise CorruptPayloadError("a shift before what is no letter")
    return character
