"""Learned pictures over the air: over SNR and CBR, beside H.265 intra + LDPC, and what must hold.

    OMP_NUM_THREADS=1 python -m benchmarks.pictures --data ../shared/data [--pictures 4]
    python -m benchmarks.pictures --draw    # figures and bars of the results that are there

From `LinkSender` through the channel emulator to `LinkReceiver`, the backends of `semcast send
--in-process`; pilots and side information are part of the symbols. `djscc-rgb`: the scheme, the
same rate for every patch. `keyframe`: rates by patch, as `first-frame-desc` sends its first frame,
here without a caption. Each picture has a session of its own and is sent twice: as the first frame
(`feedback` false: the transmitter knows no SNR, side information at the slowest rung), and after
the feedback on that. A picture whose side information is lost is grey (128).

Wants `results/pictures-rivals.json` (`benchmarks.picture_rivals`), on the same pictures. Writes
`results/pictures.json` (rows, bars, and how far ahead of the rung that is best at each SNR),
`pictures-snr.png` and `pictures-cbr.png` beside it.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from benchmarks import picture_rivals
from benchmarks.picture_bars import (
    Row,
    ahead_of_envelope_db,
    all_bars,
    sets_and_codecs,
    swept_curve,
)
from benchmarks.picture_conditions import (
    CASES,
    Case,
    Judge,
    Picture,
    mean_quality,
    read_pictures,
)
from benchmarks.picture_figures import draw_over_cbr, draw_over_snr
from channel_emulator.impairments import ChannelSettings, Emulator
from semcast.link import LinkReceiver, LinkSender
from semcast.schemes import SCHEMES
from semcast.semantics import Semantics
from semcast.session import Modality, SessionSetup

RESULT = Path(__file__).parent / "results" / "pictures.json"
FPS = 4.0
CODECS = ("djscc-rgb", "keyframe")


def add_keyframe_scheme() -> None:
    """A scheme of its own for what `first-frame-desc` sends beside its caption, at every frame."""
    every_frame = SCHEMES["djscc-rgb"]
    assert every_frame.learned
    SCHEMES["keyframe"] = replace(
        every_frame, id="keyframe", learned=replace(every_frame.learned, adaptive=True)
    )


def send_twice(
    scheme: str, picture: Picture, num_symbols: int, snr_db: float, seed: int
) -> list[Picture]:
    """The picture [H, W, 3] as received without and with feedback, `num_symbols` at most each."""
    setup = SessionSetup(
        session_id="benchmark",
        scheme=scheme,
        width=picture.shape[1],
        height=picture.shape[0],
        fps=FPS,
        seed=seed,
        symbols_per_frame=num_symbols,
    )
    sender, emulator, receiver = LinkSender(setup), Emulator(1), LinkReceiver(setup)
    channel = ChannelSettings(snr_db=snr_db, seed=seed)
    shown = []
    for sequence in range(2):
        sent = sender.encode(Semantics(picture), round(1e6 * sequence / FPS))
        assert sent.radio.num_symbols <= num_symbols, "no more symbols than the rival has"
        arrived, _ = emulator.apply(sent.radio, channel)
        received = receiver.receive(arrived)
        sender.feedback(received.feedback)
        grey = np.full_like(picture, picture_rivals.GREY)
        shown.append(received.came.pictures.get(Modality.KEYFRAME, grey))
    return shown


def measure(
    case: Case, codec: str, pictures: list[Picture], judge: Judge, done: Callable[[], object]
) -> list[Row]:
    """Rows of one case and codec; `done` is called after each picture and SNR."""
    rows = []
    for snr_db in case.snrs_db:
        qualities = []
        for seed, picture in enumerate(pictures):
            shown = send_twice(codec, picture, case.num_symbols(picture), snr_db, seed)
            qualities.append([judge.quality(picture, each) for each in shown])
            done()
        for feedback in (False, True):
            rows.append(
                {
                    "pictures": case.pictures,
                    "codec": codec,
                    "cbr": round(case.cbr, 5),
                    "num_symbols": case.num_symbols(pictures[0]),
                    "num_pictures": len(pictures),
                    "snr_db": snr_db,
                    "feedback": feedback,
                    **mean_quality(both[feedback] for both in qualities).row(),
                }
            )
    return rows


def measure_all(data: Path, count: int | None, codecs: list[str]) -> list[Row]:
    """Rows of every case and codec; count: pictures of each set, None for all."""
    sets = read_pictures(data, count)
    judge = Judge()
    rows = []
    num_sessions = sum(len(case.snrs_db) * len(sets[case.pictures]) for case in CASES)
    with tqdm(total=num_sessions * len(codecs), unit="session") as progress:
        for case in CASES:
            for codec in codecs:
                rows += measure(case, codec, sets[case.pictures], judge, progress.update)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="as shared/data; needed unless --draw")
    parser.add_argument("--pictures", type=int, help="of each set; default: all")
    parser.add_argument("--codecs", nargs="+", choices=CODECS, default=list(CODECS))
    parser.add_argument("--rivals", type=Path, default=picture_rivals.RESULT)
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--draw", action="store_true", help="of what --out holds; measure nothing")
    options = parser.parse_args()
    if options.data is None and not options.draw:
        parser.error("give --data, or --draw for results that are there")
    cv2.setNumThreads(1)
    add_keyframe_scheme()
    if not options.draw:
        rows = measure_all(options.data, options.pictures, options.codecs)
        options.out.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    rows = json.loads(options.out.read_text())["rows"]
    rivals = json.loads(options.rivals.read_text())
    bars = all_bars(rivals, rows)
    ahead = {
        f"{pictures}, {codec}": ahead_of_envelope_db(
            swept_curve(rivals, rows, pictures, codec), rivals, pictures
        )
        for pictures, codec in sets_and_codecs(rows)
    }
    result = {
        "command": "python -m benchmarks.pictures --data ../shared/data",
        "machine": f"{platform.machine()}, one thread",
        "bars": [bar.row() for bar in bars],
        "ahead_of_best_rung_db": ahead,
        "rows": rows,
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    draw_over_snr(rivals, rows, options.out.with_name(f"{options.out.stem}-snr.png"))
    draw_over_cbr(rivals, rows, options.out.with_name(f"{options.out.stem}-cbr.png"))
    for bar in bars:
        met = "met    " if bar.met else "NOT met"
        print(f"{met} | {bar.pictures:5} | {bar.codec:9} | {bar.bar}: {bar.measured}")
    for name, by_snr in ahead.items():
        print(f"beside the best safe rung, dB of PSNR by SNR | {name}: {by_snr}")


if __name__ == "__main__":
    main()
