"""Fits the contour codec's entropy tables: `python -m training.fit_contour_codec --data DIR`.

Runs the encoder over DAVIS masks (`DIR/masks/davis/train`) and simulated training scenes (`--scenes
FILE.npz`, label maps uint8 [F, H, W] under any names) as a session does, at several sizes, budgets
and acknowledgement delays; counts every symbol; and rewrites `semcast/codecs/contours_tables.py`.
The encoder's choices depend on the tables, hence the rounds. The validation masks are not touched.
"""

import argparse
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from semcast.codecs import contours_tables
from semcast.codecs.contours import ContourSettings, ContourState, plan_contours
from semcast.codecs.contours_directions import angle_bin, on_square, turn_context
from semcast.codecs.contours_symbols import SymbolCounter
from semcast.codecs.contours_syntax import GONE, code_frame

TABLES = Path(contours_tables.__file__)
BUDGETS = (25, 50, 100, 200, 500)
SIZES = ((256, 256), (512, 256))
DELAYS = (1, 3)
STEP = contours_tables.STEP
_FLOOR = 0.01
"""Share of each symbol's frequency that is given away unseen: other videos differ."""
_DEATHS = 20
"""One object in so many may go at any frame: a death must fit the smallest budget."""
_UNCHANGED = (112, 16)
"""Chosen, not fitted: no training scene stands still, others do."""


class Recorder(SymbolCounter):
    """Counts what a frame codes: per adaptive row the values in order, and the turns."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
        self.turns: list[tuple[int, int, int, int, int]] = []

    def adaptive(self, table: str, context: int, size: int, value: int) -> int:
        if size > 1:
            self.rows[table, context].append((size, value))
        return super().adaptive(table, context, size, value)

    def turn(self, before: tuple[int, int], last_turn: int, radius: int, index: int) -> int:
        self.turns.append((*before, last_turn, radius, index))
        return super().turn(before, last_turn, radius, index)


def label_maps(data: Path, scenes: Path | None) -> Iterator[NDArray[np.uint8]]:
    """Label maps uint8 [F, H, W] at about 8 fps."""
    for path in sorted((data / "masks/davis/train").glob("*_masks.npz")):
        stored = np.load(path)
        masks = np.unpackbits(stored["masks"], axis=-1)[..., : int(stored["shape"][2])]
        yield masks[::3].astype(np.uint8)
    if scenes is not None:
        stored = np.load(scenes)
        for name in stored.files:
            labels = stored[name]
            common = np.argsort(-np.bincount(labels.ravel(), minlength=256)[1:])[:15] + 1
            lookup = np.zeros(256, dtype=np.uint8)
            lookup[common] = np.arange(1, len(common) + 1)
            yield lookup[labels]


def covering(labels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """One map scaled to cover a size and cropped to its middle, as video is."""
    ratio = max(width / labels.shape[1], height / labels.shape[0])
    size = (max(width, round(labels.shape[1] * ratio)), max(height, round(labels.shape[0] * ratio)))
    scaled = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
    top, left = (size[1] - height) // 2, (size[0] - width) // 2
    return np.ascontiguousarray(scaled[top : top + height, left : left + width])


def record(data: Path, scenes: Path | None, share: int) -> list[Recorder]:
    """Every frame's symbols, over one in `share` of the combinations of sizes, budgets, delays."""
    recorders: list[Recorder] = []
    combination = 0
    for maps in label_maps(data, scenes):
        for width, height in SIZES:
            session = ContourSettings(width=width, height=height)
            fitted = [covering(labels, width, height) for labels in maps[:16]]
            for budget_bits in BUDGETS:
                for delay in DELAYS:
                    combination += 1
                    if combination % share:
                        continue
                    states: list[ContourState] = []
                    for index, labels in enumerate(fitted):
                        reference = states[index - delay] if index >= delay else None
                        plan = plan_contours(labels, reference, budget_bits, session)
                        recorder = Recorder()
                        held = reference.objects if reference else ()
                        code_frame(recorder, session.geometry, held, plan.frame)
                        recorders.append(recorder)
                        states.append(plan.state)
    return recorders


def fit_row(frames: list[list[tuple[int, int]]], size: int) -> NDArray[np.int64]:
    """Frequencies that code the frames' sequences of one row best, the adaptation included."""
    counts = np.full(size, 0.3)
    for frame in frames:
        for _, value in frame:
            counts[value] += 1
    counts += _FLOOR * counts.sum()
    shares = counts / counts.sum()
    best, best_bits = None, np.inf
    for mass in (1, 2, 4, 8, 16, 32, 64):
        row = np.maximum(1, np.rint(shares * mass * STEP * 4)).astype(np.int64)
        bits = 0.0
        for frame in frames[:3000]:
            adapted = row.copy()
            for limit, value in frame:
                bits -= np.log2(adapted[value] / adapted[:limit].sum())
                adapted[value] += STEP
        if bits < best_bits:
            best, best_bits = row, bits
    assert best is not None
    return best


def fit_turns(turns: list[tuple[int, int, int, int, int]]) -> NDArray[np.int64]:
    """Angle frequencies [10, 32] by maximum likelihood (each position has its bin's weight)."""
    places: dict[int, list[tuple[NDArray[np.int64], int]]] = defaultdict(list)
    for before_x, before_y, last_turn, radius, index in turns:
        context = turn_context(last_turn, radius)
        if len(places[context]) >= 20000:
            continue
        bins = np.array(
            [angle_bin(before_x, before_y, *on_square(radius, k)) for k in range(8 * radius)]
        )
        places[context].append((np.bincount(bins, minlength=32), int(bins[index])))
    table = np.full((10, 32), 64, dtype=np.int64)
    for context, events in places.items():
        available = np.array([event[0] for event in events], dtype=np.float64)
        taken = np.bincount([event[1] for event in events], minlength=32) + 0.5
        weights = np.ones(32)
        for _ in range(60):
            totals = available @ weights
            exposure = (available / totals[:, None]).sum(axis=0)
            weights = taken / np.maximum(exposure, 1e-9)
            weights /= weights.sum()
        table[context] = np.maximum(1, np.rint(weights * 4096)).astype(np.int64)
    return table


def fit(recorders: list[Recorder]) -> dict[str, NDArray[np.int64]]:
    """New tables from recorded frames."""
    tables = {name: prior.copy() for name, prior in contours_tables.PRIORS.items()}
    frames: dict[tuple[str, int], list[list[tuple[int, int]]]] = defaultdict(list)
    for recorder in recorders:
        for row, values in recorder.rows.items():
            frames[row].append(values)
    for (name, context), sequences in frames.items():
        order = np.random.default_rng(0).permutation(len(sequences))
        tables[name][context] = fit_row([sequences[i] for i in order], tables[name].shape[1])
    for row in tables["mode"]:
        row[GONE] = max(row[GONE], row.sum() // _DEATHS + 1)
    tables["unchanged"][0] = _UNCHANGED
    tables["turn"] = fit_turns([turn for recorder in recorders for turn in recorder.turns])
    return tables


def write_tables(tables: dict[str, NDArray[np.int64]]) -> None:
    """Rewrite the module that ships."""
    lines = [
        '"""Entropy tables of the contour codec, written by training/fit_contour_codec.py.',
        "",
        "Frequencies that every frame starts from, [contexts][symbols], fitted on DAVIS training",
        "masks and simulated training scenes. Changing any of them changes the bitstream.",
        '"""',
        "",
        "import numpy as np",
        "from numpy.typing import NDArray",
        "",
        f"STEP = {STEP}",
        '"""Added to the frequency of each symbol coded in a frame."""',
        "",
        "PRIORS: dict[str, NDArray[np.int64]] = {",
        "    name: np.array(rows, dtype=np.int64)",
        "    for name, rows in {",
    ]
    for name, table in tables.items():
        lines.append(f'        "{name}": [')
        lines += [f"            {row.tolist()}," for row in table]
        lines.append("        ],")
    lines += ["    }.items()", "}", ""]
    TABLES.write_text("\n".join(lines), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "ruff", "format", "-q", str(TABLES)], check=True)


def main() -> None:
    """One round: record, report, fit, write. Run it again until the bits settle."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--scenes", type=Path)
    parser.add_argument("--share", type=int, default=3, help="use one combination in this many")
    arguments = parser.parse_args()
    recorders = record(arguments.data, arguments.scenes, arguments.share)
    print(f"{len(recorders)} frames, {sum(r.num_bits for r in recorders):.0f} bits")
    write_tables(fit(recorders))


if __name__ == "__main__":
    main()
