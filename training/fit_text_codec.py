"""Writes the captions that the text codec counts, and scores its settings.

    python -m training.fit_text_codec --data ../shared/data/video

The codec's model is text (`semcast/codecs/text_model.py`): captions of training clips, and the
sentences and word lists of `semcast/codecs/text_sentences.txt`, which were written by hand for this
purpose. Fitting is choosing that text and the few constants. This command

1. writes `semcast/codecs/text_captions.txt`: the long and the short caption of every clip of
   `train` and `train_extra`, and of the bundled samples. Rows of `val` are held out;
2. prints bits per character of the training clips' captions under the present settings and under
   others, each caption with a model that has seen no caption of any clip of its source (the first
   word of a clip's file name: clips of one source often show the same people and rooms).
"""

import argparse
import csv
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np

from semcast import samples
from semcast.codecs import text_model, text_ngrams
from semcast.codecs.text_model import CAPTIONS, SENTENCES, TextModel
from semcast.codecs.text_symbols import symbols_of

NUM_FOLDS = 8
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


def lines_of(rows: list[dict[str, str]]) -> list[str]:
    """What a model may count of these clips. None of them may be held out."""
    if any(row["folder"] == "val" for row in rows):
        raise ValueError("captions of val are held out; fit on train and train_extra")
    return [row[column] for row in rows for column in ("caption", "short")]


def sample_lines() -> list[str]:
    """Captions of the bundled clips."""
    folder = Path(samples.__file__).parent
    return [path.read_text(encoding="utf-8").strip() for path in sorted(folder.glob("*.txt"))]


def sentences() -> list[str]:
    """The text written by hand."""
    return SENTENCES.read_text(encoding="utf-8").splitlines()


def folds_by_source(
    rows: list[dict[str, str]],
) -> Iterator[tuple[list[dict[str, str]], list[dict[str, str]]]]:
    """(rows to score, rows of other sources), `NUM_FOLDS` times; every row is scored once."""
    sources = defaultdict(list)
    for row in rows:
        sources[row["file"].split("-")[0]].append(row)
    folds: list[list[dict[str, str]]] = [[] for _ in range(NUM_FOLDS)]
    for of_source in sorted(sources.values(), key=len, reverse=True):
        min(folds, key=len).extend(of_source)
    for fold in folds:
        yield fold, [row for row in rows if row not in fold]


def information_bits(model: TextModel, text: str) -> float:
    """-log2 of the probability of `text`; its payload is up to two bits longer."""
    predictor = model.predictor()
    bits = 0.0
    for symbol in symbols_of(text)[0]:
        frequencies = predictor.frequencies()
        bits -= float(np.log2(frequencies[symbol] / frequencies.sum()))
        predictor.push(symbol)
    return bits


def score(rows: list[dict[str, str]]) -> float:
    """Bits per character of the captions of `rows`, across the folds by source."""
    bits, num_chars = 0.0, 0
    for scored, others in folds_by_source(rows):
        model = TextModel(lines_of(others) + sentences())
        bits += sum(information_bits(model, row["caption"]) for row in scored)
        num_chars += sum(len(row["caption"]) for row in scored)
    return bits / num_chars


def main() -> None:
    """Writes the captions and prints the scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    rows = [row for row in read_rows(parser.parse_args().data) if row["folder"] != "val"]
    CAPTIONS.write_text("\n".join(lines_of(rows) + sample_lines()) + "\n", encoding="utf-8")
    print(f"present settings: {score(rows):.4f} bits per character", flush=True)
    for module, name, values in OTHER_SETTINGS:
        for value in values:
            with patch.object(module, name, value):
                print(f"{name} = {value}: {score(rows):.4f}", flush=True)


if __name__ == "__main__":
    main()
