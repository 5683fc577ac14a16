"""Generators on the same received pictures: quality against the source, speed, a contact sheet.

    .venv/bin/python benchmarks/generators.py ../shared/data/video/val/*.mp4

Each clip goes through link and channel emulator in this process (the backends of `semcast send
--in-process`), and every generator makes its frames from what the receiver decoded. Writes
`benchmarks/results/generators.json` and `docs/generators.jpg`-like sheets where asked. All but the
times are determined by clip, scheme, SNR and seed.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from judges import DetectorJudge, spectral_distance_db
from numpy.typing import NDArray
from tqdm import tqdm

from channel_emulator.impairments import ChannelSettings, Emulator
from receiver.generator import Conditions, GeneratorContext, make_generator
from semcast.link import LinkReceiver, LinkSender
from semcast.metrics.quality import QualityMeter
from semcast.schemes import SCHEMES, symbols_per_frame
from semcast.semantics import Semantics
from semcast.session import Modality, SessionSetup
from training.sheets import contact_sheet
from transmitter.sources import read_clip

RESULTS = Path(__file__).parent / "results" / "generators.json"
JUDGED_EVERY = 8
FPS = 8.0


def receive(
    clip: Path, scheme: str, snr_db: float, cbr: float, size: int, frames: int
) -> tuple[list[NDArray[np.uint8]], list[Conditions]]:
    """Source frames, and what the receiver had at each."""
    setup = SessionSetup(
        session_id="benchmark",
        scheme=scheme,
        width=size,
        height=size,
        fps=FPS,
        symbols_per_frame=symbols_per_frame(cbr, size, size),
    )
    sender, emulator, receiver = LinkSender(setup), Emulator(1), LinkReceiver(setup)
    channel = ChannelSettings(snr_db=snr_db)
    sources, conditions = [], []
    held: dict[Modality, NDArray[np.uint8]] = {}
    came: dict[Modality, int] = {}
    for frame in read_clip(str(clip), fps=FPS, width=size, height=size, max_frames=frames):
        sent = sender.encode(Semantics(frame.rgb), frame.pts_us)
        noisy, _ = emulator.apply(sent.radio, channel)
        received = receiver.receive(noisy)
        sender.feedback(received.feedback)
        for modality, picture in received.came.pictures.items():
            held[modality], came[modality] = picture, received.sequence
        sources.append(frame.rgb)
        conditions.append(
            Conditions(dict(held), {m: received.sequence - k for m, k in came.items()})
        )
    return sources, conditions


def judge(
    name: str,
    sources: list[NDArray[np.uint8]],
    conditions: list[Conditions],
    detector: DetectorJudge | None,
) -> tuple[dict[str, Any], list[NDArray[np.uint8]]]:
    """Figures of one generator on one clip, and its frames."""
    generator = make_generator(name)
    height, width = sources[0].shape[:2]
    generator.reset(GeneratorContext(width, height, FPS, 7777))
    meter = QualityMeter()
    made, times_ms, distances = [], [], []
    counts = np.zeros(3, int)
    for k, (source, condition) in enumerate(zip(sources, conditions, strict=True)):
        started = time.perf_counter()
        frame = generator.step(condition)
        times_ms.append(1e3 * (time.perf_counter() - started))
        made.append(frame)
        meter.add(source, frame)
        if k % JUDGED_EVERY == JUDGED_EVERY - 1:
            distances.append(spectral_distance_db(source, frame))
            if detector:
                counts += detector.counts(source, frame)
    values, _ = meter.result()
    row = {
        "psnr_db": values["psnr_db"],
        "ssim": values["ssim"],
        "lpips_squeeze_caffe": values["lpips_squeeze_caffe"],
        "spectral_distance_db": float(np.mean(distances)) if distances else None,
        "detections": [int(count) for count in counts] if detector else None,
        "step_ms_p50": float(np.median(times_ms)),
        "step_ms_p95": float(np.percentile(times_ms, 95)),
    }
    return row, made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--generators", default="passthrough,tiny")
    parser.add_argument("--scheme", default="lowres")
    parser.add_argument("--snr-db", default="10")
    parser.add_argument("--cbr", type=float, help="default: the scheme's")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--detector", type=Path, help="FastestDet.onnx, to judge by as well")
    parser.add_argument("--sheet", type=Path, help="contact sheet to write")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    names = options.generators.split(",")
    cbr = options.cbr or SCHEMES[options.scheme].default_cbr
    detector = DetectorJudge(options.detector) if options.detector else None
    rows: list[dict[str, Any]] = []
    columns: dict[str, list[NDArray[np.uint8]]] = {"source": [], **{name: [] for name in names}}
    for snr_db in map(float, options.snr_db.split(",")):
        for clip in tqdm(options.clips, desc=f"{snr_db:g} dB", unit="clip"):
            sources, conditions = receive(
                clip, options.scheme, snr_db, cbr, options.size, options.frames
            )
            columns["source"].append(sources[-1])
            for name in names:
                row, made = judge(name, sources, conditions, detector)
                columns[name].append(made[-1])
                rows.append({"clip": clip.name, "snr_db": snr_db, "generator": name, **row})
        print(_summary(rows, names, snr_db), flush=True)
    if options.sheet:
        sheet = contact_sheet([(title, np.stack(cells)) for title, cells in columns.items()], 256)
        cv2.imwrite(str(options.sheet), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    what = {"scheme": options.scheme, "cbr": cbr, "size": options.size, "fps": FPS}
    options.output.write_text(json.dumps({**what, "rows": rows}, indent=1) + "\n")


def _summary(rows: list[dict[str, Any]], names: list[str], snr_db: float) -> str:
    """Means over clips, and against the first generator."""
    lines = []
    first = None
    for name in names:
        mine = [row for row in rows if row["generator"] == name and row["snr_db"] == snr_db]
        mean = {
            key: float(np.mean([row[key] for row in mine if row[key] is not None] or [np.nan]))
            for key in ("psnr_db", "ssim", "lpips_squeeze_caffe", "spectral_distance_db")
        }
        first = first or mean
        counts = np.sum([row["detections"] or [0, 0, 0] for row in mine], axis=0)
        f1 = 2 * counts[0] / max(1, counts[1] + counts[2])
        change = 100 * (mean["lpips_squeeze_caffe"] / first["lpips_squeeze_caffe"] - 1)
        lines.append(
            f"{name:12} PSNR {mean['psnr_db']:.2f}  SSIM {mean['ssim']:.3f}  "
            f"LPIPS-s {mean['lpips_squeeze_caffe']:.4f} ({change:+.1f} %)  "
            f"spectrum {mean['spectral_distance_db']:.2f} dB  detections F1 {f1:.3f}  "
            f"step p50 {np.median([row['step_ms_p50'] for row in mine]):.1f} ms, "
            f"p95 {np.max([row['step_ms_p95'] for row in mine]):.1f} ms"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
