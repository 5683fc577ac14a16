"""Captions in bits: the text codec on captions it has not counted, against zlib, UTF-8 and GVSC.

    python -m benchmarks.text_codec --data ../shared/data/video

Bits are those of real payloads (`encode_text`), every one decoded and compared. The model has
counted `text_sentences.txt` and no caption of any clip. Sets:

- `val`: the captions of the held-out clips. The figure to quote.
- `all`: every caption of captions.csv.
- `unread`: of those, the ones that the author of text_sentences.txt had not read when he wrote it.
  A control: he had read the rest, those of `val` too, and copied nothing.
- `short`: the short captions of the held-out clips.

Beside it, for the same captions: UTF-8 (8 bits a character here); zlib level 9, one stream a
caption, as `zlib.compress` makes it, without its 6 bytes of header and checksum, and so with the
codec's own text (its last 32 kB, all that deflate can use) as preset dictionary; and GVSC's 8 bits
a token. GVSC (papers/03 section 2) counts 95.63 tokens of 8 bits a caption and does not say what a
token is. `gvsc_characters` takes a character for a token, the only reading under which 8 bits carry
one (that is UTF-8); `gvsc_words` takes each word and each mark for one (regular expression
`\\w+|[^\\w\\s]`), which 8 bits could carry only from a vocabulary of 256.

Also: the air time of a caption at GVSC's turbo rate 1/3 and 4-QAM (1.5 symbols a bit, CRC and
control left out on both sides), and what the codec takes in time and in size.
Writes benchmarks/results/text_codec.json.
"""

import argparse
import json
import platform
import re
import time
import zlib
from pathlib import Path

import numpy as np

from semcast.codecs import text
from semcast.codecs.text_model import SENTENCES, shipped_model
from training.fit_text_codec import read_rows

# Rows of captions.csv that the author of the sentences had not read.
UNREAD = slice(62, 107)
GVSC_TOKENS = 95.63
GVSC_SAMPLES = 3 * 256 * 256 * 8
SYMBOLS_PER_BIT = 1.5


def payload_bits(captions: list[str]) -> list[int]:
    """Length of each caption's payload; checks that it decodes."""
    payloads = [text.encode_text(caption) for caption in captions]
    if [text.decode_text(payload) for payload in payloads] != captions:
        raise AssertionError("a caption does not survive")
    return [len(payload) for payload in payloads]


def deflate_bits(caption: str, window_bits: int, dictionary: bytes | None = None) -> int:
    """Bits of zlib level 9; negative `window_bits` leave header and checksum out."""
    arguments = (9, zlib.DEFLATED, window_bits, 9)
    coder = (
        zlib.compressobj(*arguments, zdict=dictionary)
        if dictionary
        else zlib.compressobj(*arguments)
    )
    return 8 * len(coder.compress(caption.encode()) + coder.flush())


def figures(captions: list[str]) -> dict[str, float | int]:
    """Means of one set."""
    bits = payload_bits(captions)
    num_chars = sum(map(len, captions))
    return {
        "captions": len(captions),
        "characters": num_chars,
        "bits_per_character": round(sum(bits) / num_chars, 3),
        "worst_caption_bits_per_character": round(
            max(b / len(c) for b, c in zip(bits, captions, strict=True)), 3
        ),
        "bits_per_caption": round(sum(bits) / len(bits), 1),
        "symbols_per_caption": round(SYMBOLS_PER_BIT * sum(bits) / len(bits), 1),
    }


def others(captions: list[str]) -> dict[str, dict[str, float]]:
    """Bits per character and per caption of what the codec is compared with."""
    dictionary = SENTENCES.read_bytes()[-32768:]
    bits = {
        "utf8": [8 * len(c.encode()) for c in captions],
        "zlib_9": [deflate_bits(c, zlib.MAX_WBITS) for c in captions],
        "zlib_9_raw": [deflate_bits(c, -zlib.MAX_WBITS) for c in captions],
        "zlib_9_raw_with_our_text": [
            deflate_bits(c, -zlib.MAX_WBITS, dictionary) for c in captions
        ],
        "gvsc_characters": [8 * len(c) for c in captions],
        "gvsc_words": [8 * len(re.findall(r"\w+|[^\w\s]", c)) for c in captions],
    }
    num_chars = sum(map(len, captions))
    return {
        name: {
            "bits_per_character": round(sum(values) / num_chars, 3),
            "bits_per_caption": round(sum(values) / len(values), 1),
        }
        for name, values in bits.items()
    }


def gvsc(bits_per_character: float) -> dict[str, float]:
    """A caption of GVSC's mean length, at its 8 bits and at ours."""
    theirs, ours = 8 * GVSC_TOKENS, bits_per_character * GVSC_TOKENS
    return {
        "gvsc_bits": round(theirs, 2),
        "gvsc_symbols": round(SYMBOLS_PER_BIT * theirs, 2),
        "gvsc_cbr": round(SYMBOLS_PER_BIT * theirs / GVSC_SAMPLES, 7),
        "our_bits": round(ours, 1),
        "our_symbols": round(SYMBOLS_PER_BIT * ours, 1),
        "our_cbr": round(SYMBOLS_PER_BIT * ours / GVSC_SAMPLES, 7),
    }


def speed(captions: list[str]) -> dict[str, float]:
    """CPU milliseconds (median, p95) of 300 characters, after warm-up, and of loading the model."""
    joined = [" ".join(captions[i : i + 3])[:300] for i in range(len(captions) - 2)]
    payloads = [text.encode_text(caption) for caption in joined]
    encode_ms, decode_ms = [], []
    for caption, payload in zip(joined, payloads, strict=True):
        started = time.process_time()
        text.encode_text(caption)
        middle = time.process_time()
        text.decode_text(payload)
        decode_ms.append(1e3 * (time.process_time() - middle))
        encode_ms.append(1e3 * (middle - started))
    shipped_model.cache_clear()
    started = time.process_time()
    shipped_model()
    return {
        "encode_300_characters_ms_p50": round(float(np.median(encode_ms)), 2),
        "encode_300_characters_ms_p95": round(float(np.percentile(encode_ms, 95)), 2),
        "decode_300_characters_ms_p50": round(float(np.median(decode_ms)), 2),
        "decode_300_characters_ms_p95": round(float(np.percentile(decode_ms, 95)), 2),
        "count_the_corpus_ms": round(1e3 * (time.process_time() - started), 1),
    }


def main() -> None:
    """Runs everything and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    rows = read_rows(parser.parse_args().data)
    sets = {
        "val": [row["caption"] for row in rows if row["folder"] == "val"],
        "all": [row["caption"] for row in rows],
        "unread": [row["caption"] for row in rows[UNREAD]],
        "short": [row["short"] for row in rows if row["folder"] == "val"],
    }
    ours = {name: figures(captions) for name, captions in sets.items()}
    result = {
        "command": "python -m benchmarks.text_codec --data ../shared/data/video",
        "machine": f"{platform.machine()}, {platform.system()}, one core",
        "target_bits_per_character": 2.6,
        "ours": ours,
        "others": {name: others(captions) for name, captions in sets.items()},
        "caption_of_gvsc": gvsc(ours["val"]["bits_per_character"]),
        "speed": speed(sets["val"]),
        "model_bytes": SENTENCES.stat().st_size,
    }
    out = Path(__file__).parent / "results" / "text_codec.json"
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
