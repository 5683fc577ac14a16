"""Scores the settings of the text codec on captions that its model has not counted.

    python -m training.fit_text_codec --data ../shared/data/video

The codec's model is text written by hand (`semcast/codecs/text_sentences.txt`), counted under the
few constants of `text_model` and `text_ngrams`. This prints bits per character of the captions of
`train` and `train_extra` under the present constants and under others. It writes nothing. Rows of
`val` are held out.
"""

import argparse
import csv
from pathlib import Path
from unittest.mock import patch

import numpy as np

from semcast.codecs import text_model, text_ngrams
from semcast.codecs.text_model import TextModel, shipped_model
from semcast.codecs.text_symbols import symbols_of

OTHER_SETTINGS = (
    (text_model, "SYMBOL_ORDER", (5, 7)),
    (text_model, "WORD_ORDER", (1, 2)),
    (text_model, "WORD_SHARE_16THS", (8, 10, 11, 13)),
    (text_ngrams, "DISCOUNT_64THS", (52, 54, 58, 60)),
)


def read_rows(data: Path) -> list[dict[str, str]]:
    """The rows of captions.csv: folder, file, caption, short, objects."""
    with (data / "captions.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def information_bits(model: TextModel, text: str) -> float:
    """-log2 of the probability of `text`; its payload is up to two bits longer."""
    predictor = model.predictor()
    bits = 0.0
    for symbol in symbols_of(text)[0]:
        frequencies = predictor.frequencies()
        bits -= float(np.log2(frequencies[symbol] / frequencies.sum()))
        predictor.push(symbol)
    return bits


def score(captions: list[str]) -> float:
    """Bits per character, under the constants as they are now."""
    shipped_model.cache_clear()
    model = shipped_model()
    return sum(information_bits(model, caption) for caption in captions) / sum(map(len, captions))


def main() -> None:
    """Prints the scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    rows = read_rows(parser.parse_args().data)
    captions = [row["caption"] for row in rows if row["folder"] != "val"]
    print(f"present settings: {score(captions):.4f} bits per character", flush=True)
    for module, name, values in OTHER_SETTINGS:
        for value in values:
            with patch.object(module, name, value):
                print(f"{name} = {value}: {score(captions):.4f}", flush=True)


if __name__ == "__main__":
    main()
