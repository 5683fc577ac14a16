"""Learned schemes end to end: GVSC's table of rates, time of each step, link and training graph.

    .venv/bin/python -m benchmarks.learned rates ../shared/data/video/val/*.mp4 \
        --captions ../shared/data/video/captions.csv
    .venv/bin/python -m benchmarks.learned video ../shared/data/video/val/*.mp4
    .venv/bin/python -m benchmarks.learned agree ../shared/data/video/val/*.mp4
    GOMP_SPINCOUNT=0 .venv/bin/python -m benchmarks.learned speed ../shared/data/video/val/*.mp4

All run the services' own code in one process (`semcast send --in-process`), passthrough generator,
256x256 at 4 fps, segments of 8 frames.

rates: each of GVSC's schemes over one segment of each clip at 10 dB, default CBR: symbols counted,
payload CBR beside the paper's, PSNR of the segment's first frame.
video: `dvst` over SNR, two segments of each clip, beside the same symbols for `djscc-rgb` (every
frame by itself) and for `h265-ldpc`.
agree: `djscc-rgb` through the link and through the graph it was trained in, at equal SNR, mean of
clips.
speed: milliseconds to encode, send and decode a first frame of 7,818 symbols and a sketch of 1,024,
medians and p95; torch has two threads.

Each writes `benchmarks/results/learned-NAME.json`.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.meaning import run
from channel_emulator.impairments import ChannelSettings, Emulator
from semcast.link import LinkReceiver, LinkSender
from semcast.metrics.psnr import psnr_db
from semcast.networks.ntscc import Base, bundled_ntscc, noisy, power_scale
from semcast.networks.pixels import to_pixels, to_unit
from semcast.report import Report
from semcast.schemes import PICTURE_NETWORK, SCHEMES, symbols_per_frame
from semcast.semantics import Semantics
from semcast.session import Modality, SessionSetup
from transmitter.extractors.sketcher import open_sketcher
from transmitter.sources import read_clip

RESULTS = Path(__file__).parent / "results"
SIZE = 256
FPS = 4.0
SEGMENT = 8
GVSC_CBRS = {
    "desc": 0.0007,
    "sketch-desc": 0.00138,
    "sketches-desc": 0.0033,
    "first-frame-desc": 0.0057,
    "dvst": 0.004,
}
"""Payload CBRs of arXiv 2502.13838, recomputed from its numbers of symbols."""
RIVALS = ("dvst", "djscc-rgb", "h265-ldpc")
SNRS_DB = (-5.0, 0.0, 5.0, 10.0, 15.0, 20.0)
ROUNDS = 30

Rows = list[dict[str, Any]]
Pictures = NDArray[np.uint8]


def send(clip: Path, scheme: str, **options: Any) -> Report:
    """Report of a clip's beginning."""
    return run(clip, scheme, fps=FPS, **options)[0]


def rates(clips: list[Path], captions: dict[str, str]) -> Rows:
    """GVSC's table."""
    rows: Rows = []
    for clip in tqdm(clips):
        for scheme, paper in GVSC_CBRS.items():
            caption = captions.get(clip.name, "") if scheme.endswith("desc") else ""
            report = send(clip, scheme, frames=SEGMENT, caption=caption)
            first = send(clip, scheme, frames=1, caption=caption)
            rows.append(
                {
                    "scheme": scheme,
                    "clip": clip.name,
                    "gvsc_cbr": paper,
                    "cbr": report.cbr,
                    "cbr_payload": report.cbr_payload,
                    "symbols_by_modality": report.symbols_by_modality,
                    "first_frame_psnr_db": first.psnr_db,
                    "psnr_db": report.psnr_db,
                    "frames_concealed": report.frames_concealed,
                }
            )
    for scheme, paper in GVSC_CBRS.items():
        mine = [row for row in rows if row["scheme"] == scheme]
        payload = np.mean([row["cbr_payload"] for row in mine])
        first = np.mean([row["first_frame_psnr_db"] for row in mine])
        print(f"{scheme:18} payload CBR {payload:.5f} (GVSC {paper})  first frame {first:.2f} dB")
    return rows


def video(clips: list[Path]) -> Rows:
    """Video JSCC beside pictures and bits at the same CBR."""
    cbr = SCHEMES["dvst"].default_cbr
    rows: Rows = []
    for clip in tqdm(clips):
        for scheme in RIVALS:
            for snr_db in SNRS_DB:
                report = send(clip, scheme, snr_db=snr_db, cbr=cbr, frames=2 * SEGMENT)
                rows.append(
                    {
                        "scheme": scheme,
                        "clip": clip.name,
                        "snr_db": snr_db,
                        "cbr": report.cbr,
                        "psnr_db": report.psnr_db,
                        "frames_concealed": report.frames_concealed,
                    }
                )
    for scheme in RIVALS:
        means = [
            np.mean([r["psnr_db"] for r in rows if (r["scheme"], r["snr_db"]) == (scheme, snr_db)])
            for snr_db in SNRS_DB
        ]
        print(f"{scheme:10}", "  ".join(f"{value:6.2f}" for value in means))
    return rows


def frames_of(clip: Path, count: int) -> Pictures:
    """Of the clip's beginning, [count, 256, 256, 3]."""
    frames = read_clip(str(clip), fps=FPS, width=SIZE, height=SIZE, max_frames=count)
    return np.stack([frame.rgb for frame in frames])


def setup_of(scheme: str, seed: int) -> SessionSetup:
    """A session at the scheme's default rate."""
    return SessionSetup(
        session_id="benchmark",
        scheme=scheme,
        width=SIZE,
        height=SIZE,
        fps=FPS,
        seed=seed,
        segment_frames=SEGMENT,
        symbols_per_frame=symbols_per_frame(SCHEMES[scheme].default_cbr, SIZE, SIZE),
    )


def through_link(frames: Pictures, snr_db: float, seed: int) -> tuple[Pictures, int]:
    """`djscc-rgb`, all but the first frame (which knows no SNR), and reals of a frame."""
    setup = setup_of("djscc-rgb", seed)
    sender, emulator, receiver = LinkSender(setup), Emulator(1), LinkReceiver(setup)
    made = []
    for k, frame in enumerate(frames):
        sent = sender.encode(Semantics(frame), round(1e6 * k / FPS))
        radio, _ = emulator.apply(sent.radio, ChannelSettings(snr_db=snr_db, seed=seed))
        received = receiver.receive(radio)
        sender.feedback(received.feedback)
        made.append(received.came.pictures[Modality.KEYFRAME])
    [block] = [b for b in sent.radio.blocks if b.modality == Modality.KEYFRAME]
    return np.stack(made[1:]), 2 * len(block.samples)


def through_graph(frames: Pictures, snr_db: float, num_reals: int) -> Pictures:
    """The same frames as in training; uniform rates, no base."""
    network = bundled_ntscc(PICTURE_NETWORK)
    x = to_unit(torch.from_numpy(frames))
    known = torch.full((len(x),), snr_db)
    patches = (SIZE // 16) ** 2
    counts = torch.full((patches,), num_reals // patches)
    counts[: num_reals % patches] += 1
    counts = counts.view(1, SIZE // 16, SIZE // 16).expand(len(x), -1, -1)
    base = Base(torch.zeros_like(x), torch.zeros(len(x)))
    with torch.inference_mode():
        reals = network.to_reals(network.analyse(x, known, base), counts, known, base)
        scale = power_scale(reals, counts)
        received = noisy(reals / scale, counts, known) * scale
        y = network.from_reals(received, counts, known, base)
        return to_pixels(network.synthesise(y, counts, known, base)).numpy()


def agree(clips: list[Path]) -> Rows:
    """Link and training graph at equal SNR."""
    torch.manual_seed(7777)
    rows: Rows = []
    for snr_db in tqdm(SNRS_DB):
        pairs = []
        for seed, clip in enumerate(clips):
            frames = frames_of(clip, 5)
            by_link, num_reals = through_link(frames, snr_db, seed)
            by_graph = through_graph(frames[1:], snr_db, num_reals)
            pairs.append((psnr_db(frames[1:], by_link), psnr_db(frames[1:], by_graph)))
        link, graph = np.mean(pairs, 0)
        rows.append({"snr_db": snr_db, "link_psnr_db": link, "graph_psnr_db": graph})
        tqdm.write(f"{snr_db:5.1f} dB: link {link:.2f}, graph {graph:.2f}, {link - graph:+.3f} dB")
    return rows


def speed(clips: list[Path]) -> Rows:
    """Encode, channel and decode, of segments' first frames."""
    torch.set_num_threads(2)
    rows: Rows = []
    frames = np.concatenate([frames_of(clip, 1) for clip in clips])
    sketcher = open_sketcher("bundled")
    for scheme in ("first-frame-desc", "sketch-desc"):
        times: dict[str, list[float]] = {"encode": [], "channel": [], "decode": [], "all": []}
        for k in range(ROUNDS):
            frame = frames[k % len(frames)]
            sketcher.reset()
            semantics = Semantics(frame, sketch=sketcher.sketch(frame))
            setup = setup_of(scheme, k)
            sender, emulator, receiver = LinkSender(setup), Emulator(1), LinkReceiver(setup)
            marks = [time.perf_counter()]
            sent = sender.encode(semantics, 0)
            marks.append(time.perf_counter())
            radio, _ = emulator.apply(sent.radio, ChannelSettings(snr_db=10, seed=k))
            marks.append(time.perf_counter())
            receiver.receive(radio)
            marks.append(time.perf_counter())
            if k < 3:
                continue  # what is compiled and loaded once
            for name, taken in zip(times, [*np.diff(marks), marks[-1] - marks[0]], strict=True):
                times[name].append(1e3 * taken)
        for name, values in times.items():
            p50, p95 = np.percentile(values, [50, 95])
            rows.append({"scheme": scheme, "step": name, "p50_ms": p50, "p95_ms": p95})
            print(f"{scheme:18} {name:8} {p50:6.1f} ms (p95 {p95:.1f})")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("rates", "video", "agree", "speed"))
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--captions", type=Path, help="CSV with columns file and caption")
    arguments = parser.parse_args()
    clips = arguments.clips
    if arguments.what == "rates":
        captions = {}
        if arguments.captions:
            with arguments.captions.open() as file:
                captions = {row["file"]: row["caption"] for row in csv.DictReader(file)}
        rows = rates(clips, captions)
    else:
        rows = {"video": video, "agree": agree, "speed": speed}[arguments.what](clips)
    result = {"machine": platform.machine(), "threads": torch.get_num_threads(), "rows": rows}
    path = RESULTS / f"learned-{arguments.what}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
