"""Generators on the same received semantics: quality against the source, flicker, speed, sheets.

    python -m benchmarks.generators quality ../shared/data/video/val/*.mp4 \
        --scheme contours-lowres --cbr 0.001,0.002,0.004 --snr-db 10 [--detector FastestDet.onnx]
    python -m benchmarks.generators subsets ../shared/data/video/val/*.mp4
    python -m benchmarks.generators drift ../shared/data/video/val/*.mp4 [--frames 4800]
    python -m benchmarks.generators sheet sample:gripper ... --output docs/generators.jpg

Each clip goes through extractors, link, channel emulator and receiver in this process (the backends
of `semcast send --in-process`), and every generator makes its frames from what the receiver had.
All but the times are determined by clip, scheme, SNR and seed.

quality: PSNR, SSIM, LPIPS; and by judges that nothing was trained on: spectral distance, what a
detector finds, and flicker: the mean error of a frame against the one before, moved by the source's
optical flow, in multiples of the source's own. subsets: the same with every subset of what several
schemes bring of one clip. drift: a long stream of a clip forwards and backwards in turn; figures of
its second and of its last minute. Writes `benchmarks/results/generators-MODE.json`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.judges import DetectorJudge, flicker_ratio, spectral_distance_db
from channel_emulator.impairments import ChannelSettings, Emulator
from receiver.generator import Conditions, GeneratorContext, PassthroughGenerator, make_generator
from receiver.session import ReceiverSession
from semcast.link import LinkSender
from semcast.metrics.quality import QualityMeter
from semcast.parts.learned import codec_weights
from semcast.schemes import find_scheme, symbols_per_frame
from semcast.session import Modality, SessionSetup
from training.received import joined
from training.sheets import contact_sheet
from transmitter.extraction import Extraction, ExtractorNames
from transmitter.sources import read_clip

RESULTS = Path(__file__).parent / "results"
JUDGED_EVERY = 8
SIZE = 256
FPS = 8.0
SEED = 7777
KINDS = {
    Modality.LOWRES: "lowres",
    Modality.CONTOURS: "contours",
    Modality.SKETCH: "sketch",
    Modality.KEYFRAME: "keyframe",
}

Frames = list[NDArray[np.uint8]]


def frames_of(clip: str, count: int) -> Frames:
    """A clip's beginning, [SIZE, SIZE, 3] each; there and back again where it is short."""
    frames = [f.rgb for f in read_clip(clip, fps=FPS, width=SIZE, height=SIZE, max_frames=count)]
    there_and_back = [*range(len(frames)), *range(len(frames) - 2, 0, -1)]
    return [frames[k] for k in itertools.islice(itertools.cycle(there_and_back), count)]


def receive(sources: Frames, scheme: str, snr_db: float, cbr: float | None) -> list[Conditions]:
    """What the receiver had at each frame. cbr: None for the scheme's own."""
    found = find_scheme(scheme)
    setup = SessionSetup(
        session_id="benchmark",
        scheme=scheme,
        width=SIZE,
        height=SIZE,
        fps=FPS,
        symbols_per_frame=symbols_per_frame(cbr or found.default_cbr, SIZE, SIZE),
        codec_weights=codec_weights(found.learned),
    )
    sender, emulator = LinkSender(setup), Emulator(1)
    receiver = ReceiverSession(setup, PassthroughGenerator())
    extraction = Extraction(found, setup, "", ExtractorNames())
    channel = ChannelSettings(snr_db=snr_db)
    had = []
    for index, rgb in enumerate(sources):
        sent = sender.encode(extraction.extract(rgb), round(1e6 * index / FPS))
        noisy, _ = emulator.apply(sent.radio, channel)
        decoded = receiver.decode(noisy)
        sender.feedback(decoded.received.feedback)
        had.append(decoded.conditions)
    return had


def only(conditions: Conditions, kinds: Sequence[Modality]) -> Conditions:
    """With all other kinds left out."""
    return replace(
        conditions,
        pictures={m: p for m, p in conditions.pictures.items() if m in kinds},
        age_frames={m: a for m, a in conditions.age_frames.items() if m in kinds},
        labels=conditions.labels if Modality.CONTOURS in kinds else None,
        sketch=conditions.sketch if Modality.SKETCH in kinds else None,
    )


def make(name: str, conditions: Sequence[Conditions], steps: int = 0) -> tuple[Frames, list[float]]:
    """Frames of a generator, and how long each took, ms."""
    generator = make_generator(name)
    generator.reset(GeneratorContext(SIZE, SIZE, FPS, SEED, steps))
    made, times_ms = [], []
    for of_frame in conditions:
        started = time.perf_counter()
        made.append(generator.step(of_frame))
        times_ms.append(1e3 * (time.perf_counter() - started))
    return made, times_ms


def judge(sources: Frames, made: Frames, detector: DetectorJudge | None = None) -> dict[str, Any]:
    """Figures of frames."""
    meter = QualityMeter()
    distances, counts = [], np.zeros(3, int)
    for k, (source, frame) in enumerate(zip(sources, made, strict=True)):
        meter.add(source, frame)
        if k % JUDGED_EVERY == JUDGED_EVERY - 1:
            distances.append(spectral_distance_db(source, frame))
            if detector:
                counts += detector.counts(source, frame)
    values, _ = meter.result()
    return {
        "psnr_db": values["psnr_db"],
        "ssim": values["ssim"],
        "lpips_squeeze_caffe": values["lpips_squeeze_caffe"],
        "spectral_distance_db": float(np.mean(distances)) if distances else None,
        "flicker": flicker_ratio(sources, made),
        "detections": [int(count) for count in counts] if detector else None,
    }


def quality(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Generators x rates x SNRs."""
    detector = DetectorJudge(options.detector) if options.detector else None
    names = options.generators.split(",")
    rows: list[dict[str, Any]] = []
    cases = list(itertools.product(_numbers(options.snr_db), _numbers(options.cbr)))
    for snr_db, cbr in cases:
        for clip in tqdm(options.clips, desc=f"{snr_db:g} dB, CBR {cbr:g}", unit="clip"):
            sources = frames_of(clip, options.frames)
            had = receive(sources, options.scheme, snr_db, cbr)
            for name in names:
                made, times_ms = make(name, had, options.steps)
                rows.append(
                    {
                        **{"clip": Path(clip).name, "snr_db": snr_db, "cbr": cbr},
                        **{"generator": name, **judge(sources, made, detector)},
                        "step_ms_p50": float(np.median(times_ms)),
                        "step_ms_p95": float(np.percentile(times_ms, 95)),
                    }
                )
        here = [row for row in rows if (row["snr_db"], row["cbr"]) == (snr_db, cbr)]
        print(_summary(here, "generator", names), flush=True)
    return rows


def subsets(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every subset of what low-res frames, contours, sketches and key pictures bring."""
    rows = []
    kinds = [
        subset
        for count in range(1, len(KINDS) + 1)
        for subset in itertools.combinations(KINDS, count)
    ]
    (snr_db,) = _numbers(options.snr_db)
    for clip in tqdm(options.clips, unit="clip"):
        sources = frames_of(clip, options.frames)
        schemes = ("contours-lowres", "sketches-desc", "first-frame-desc")
        runs = [receive(sources, scheme, snr_db, None) for scheme in schemes]
        had = [joined(of_frame) for of_frame in zip(*runs, strict=True)]
        for subset in kinds:
            made, _ = make("tiny", [only(c, subset) for c in had], options.steps)
            named = "+".join(KINDS[kind] for kind in subset)
            rows.append({"clip": Path(clip).name, "subset": named, **judge(sources, made)})
    print(_summary(rows, "subset", list(dict.fromkeys(row["subset"] for row in rows))))
    return rows


def drift(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A long stream: its second minute and its last."""
    rows = []
    minute = round(60 * FPS)
    for clip in options.clips:
        sources = frames_of(clip, options.frames)
        had = receive(
            sources, options.scheme, _numbers(options.snr_db)[0], _numbers(options.cbr)[0]
        )
        made, _ = make("tiny", tqdm(had, desc=Path(clip).name, unit="frame"), options.steps)
        for name, at in (("second", slice(minute, 2 * minute)), ("last", slice(-minute, None))):
            rows.append({"clip": Path(clip).name, "minute": name, **judge(sources[at], made[at])})
    print(_summary(rows, "minute", ["second", "last"]))
    return rows


def sheet(options: argparse.Namespace) -> None:
    """Source, what came, passthrough, tiny: the last frame of each clip at each SNR."""
    names = options.generators.split(",")
    cells: dict[str, Frames] = {}
    for clip in options.clips:
        sources = frames_of(clip, options.frames)
        cells.setdefault("source", []).append(sources[-1])
        for snr_db in _numbers(options.snr_db):
            had = receive(sources, options.scheme, snr_db, _numbers(options.cbr)[0])
            for name in names:
                made, _ = make(name, had, options.steps)
                cells.setdefault(f"{name}, {snr_db:g} dB", []).append(made[-1])
    picture = contact_sheet([(title, np.stack(column)) for title, column in cells.items()], 224)
    cv2.imwrite(str(options.output), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split(",")]


def _summary(rows: list[dict[str, Any]], key: str, names: list[str]) -> str:
    """Means over clips, and against the first."""
    lines = []
    first = None
    for name in names:
        mine = [row for row in rows if row[key] == name]
        mean = {
            figure: float(
                np.mean([row[figure] for row in mine if row[figure] is not None] or [np.nan])
            )
            for figure in (
                "psnr_db",
                "ssim",
                "lpips_squeeze_caffe",
                "spectral_distance_db",
                "flicker",
            )
        }
        first = first or mean
        counts = np.sum([row["detections"] or [0, 0, 0] for row in mine], axis=0)
        change = 100 * (mean["lpips_squeeze_caffe"] / first["lpips_squeeze_caffe"] - 1)
        line = (
            f"{name:34} PSNR {mean['psnr_db']:.2f}  SSIM {mean['ssim']:.3f}  "
            f"LPIPS-s {mean['lpips_squeeze_caffe']:.4f} ({change:+.1f} %)  "
            f"spectrum {mean['spectral_distance_db']:.2f} dB  flicker {mean['flicker']:.2f}"
        )
        if counts[1]:
            line += f"  detections F1 {2 * counts[0] / (counts[1] + counts[2]):.3f}"
        if "step_ms_p50" in mine[0]:
            line += f"  step p50 {np.median([row['step_ms_p50'] for row in mine]):.1f} ms"
            line += f", p95 {np.max([row['step_ms_p95'] for row in mine]):.1f} ms"
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mode", choices=("quality", "subsets", "drift", "sheet"))
    parser.add_argument("clips", nargs="+", help="files, or sample:NAME")
    parser.add_argument("--generators", default="passthrough,tiny")
    parser.add_argument("--scheme", default="contours-lowres")
    parser.add_argument("--snr-db", default="10", help="comma between")
    parser.add_argument("--cbr", default="0.004", help="comma between")
    parser.add_argument("--steps", type=int, default=0, help="0: as many as the generator likes")
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--detector", type=Path, help="FastestDet.onnx, to judge by as well")
    parser.add_argument("--output", type=Path, help="default: by the mode")
    options = parser.parse_args()
    if options.mode == "sheet":
        sheet(options)
        return
    rows = {"quality": quality, "subsets": subsets, "drift": drift}[options.mode](options)
    output = options.output or RESULTS / f"generators-{options.mode}.json"
    kept = ("scheme", "snr_db", "cbr", "steps", "frames")
    what = {name: getattr(options, name) for name in kept}
    output.write_text(json.dumps({**what, "size": SIZE, "fps": FPS, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
