"""Digital schemes end to end: rate, label maps and picture at the receiver, and the time of stages.

    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.meaning rates CLIP [CLIP ...]
    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.meaning snrs CLIP [CLIP ...]
    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.meaning masks FOLDER
    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.meaning stages CLIP
    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.meaning low [SAMPLE ...]

All run the services' own code in one process (`semcast send --in-process`), passthrough generator.

rates: `contours-lowres` at CBRs from 0.0007 to 0.006, 10 dB, 256x256, 8 fps: how far each run is
off its CBR, everything counted.
snrs: every digital scheme at 10, 3, 0 and -3 dB at its default CBR.
masks: DAVIS sequences (NAME.mp4 with NAME_masks.npz): IoU of the main object (label 1) with the
true mask, as the segmenter found it, as it was sent, and as it was received; rate and PSNR.
low: Eteke et al.'s operating point, below 0.0003 bits a pixel of payload at 1024x512 and 17 fps, on
simulated scenes (bundled samples), 10 dB: rate, PSNR, and mIoU over all objects of the labels
received with those the segmenter found, and of the main object with the true label maps.
stages: milliseconds a frame of extraction, encoding and decoding, median and p95, after 8 frames.

Each writes `benchmarks/results/meaning-NAME.json`.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from semcast.cli.in_process import label_maps, pictures, run_in_process
from semcast.metrics.quality import QualityMeter
from semcast.metrics.weights import MetricWeights
from semcast.report import Report, ReportBuilder
from semcast.schemes import SCHEMES
from semcast.v1 import link_pb2, transmitter_pb2
from transmitter.extractors.segmenter import open_segmenter

RESULTS = Path(__file__).parent / "results"
RATES = (0.0007, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.006)
SNRS_DB = (10.0, 3.0, 0.0, -3.0)
DIGITAL = (
    *(name for name, scheme in SCHEMES.items() if not scheme.learned),
    "contours,sketch,lowres",
    "desc,lowres",
)
KEPT = (
    *("scheme", "snr_db", "frames_sent", "frames_concealed", "cbr", "cbr_payload", "cbr_target"),
    *("bpp", "bpp_payload", "psnr_db", "ssim", "symbols_by_modality", "payload_bits_by_modality"),
    *("crc_failures_by_modality", "blocks_by_modality", "caption_received"),
)
SKIPPED_FRAMES = 8
LOW_SIZE = (1024, 512)
LOW_FPS = 17
SCENES = Path("out") / "scenes-1024x512"
SAMPLES = ("gripper", "tumble", "kitchen-pan")

Labels = list[NDArray[np.uint8]]


def run(
    clip: Path,
    scheme: str,
    *,
    snr_db: float = 10.0,
    cbr: float = 0.0,
    frames: int = 64,
    fps: float = 8.0,
    size: tuple[int, int] = (256, 256),
    caption: str = "",
    mcs: str = "default",
) -> tuple[Report, Labels, Labels, dict[str, list[float]], Labels]:
    """Report, labels sent, labels received, stage times, source frames."""
    spec = transmitter_pb2.SessionSpec(
        session_id="meaning",
        clip=str(clip),
        scheme=scheme,
        width_px=size[0],
        height_px=size[1],
        frames_per_second=fps,
        segment_frames=8,
        cbr=cbr,
        mcs=mcs,
        seed=7777,
        generator="passthrough",
        caption=caption,
        max_frames=frames,
        measurement_tap=True,
        channel=link_pb2.ChannelSettings(
            snr_db=snr_db, model=link_pb2.CHANNEL_MODEL_AWGN, seed=7777
        ),
    )
    builder = ReportBuilder(spec, QualityMeter(weights=MetricWeights()))
    sent: Labels = []
    received: Labels = []
    sources: Labels = []
    times: dict[str, list[float]] = {}
    for finished in run_in_process(spec, None):
        builder.add_frame(finished.report)
        for stage in (*finished.report.stages, *finished.report.receiver.stages):
            times.setdefault(stage.stage, []).append(stage.duration_ms)
        if finished.pair is not None:
            source, shown = pictures(finished.pair, *size)
            builder.add_pictures(source, shown)
            sources.append(source)
            if maps := label_maps(finished.pair, *size):
                sent.append(maps[0])
                received.append(maps[1])
    return builder.build({}), sent, received, times, sources


def row(clip: Path, report: Report) -> dict[str, Any]:
    """What is kept of a run."""
    full = report.model_dump()
    return {"clip": clip.name, **{key: full[key] for key in KEPT}}


def rates(clips: list[Path], frames: int) -> list[dict[str, Any]]:
    rows = []
    for clip in clips:
        for cbr in RATES:
            report, *_ = run(clip, "contours-lowres", cbr=cbr, frames=frames)
            rows.append({**row(clip, report), "off_percent": 100 * (report.cbr / cbr - 1)})
            show(rows[-1], f"{rows[-1]['off_percent']:+.2f} %")
    worst = max(abs(r["off_percent"]) for r in rows)
    print(f"worst {worst:.2f} % off, {len(rows)} runs")
    return rows


def snrs(clips: list[Path], frames: int) -> list[dict[str, Any]]:
    rows = []
    for clip in clips:
        for scheme in DIGITAL:
            for snr_db in SNRS_DB:
                report, *_ = run(clip, scheme, snr_db=snr_db, frames=frames)
                rows.append(row(clip, report))
                show(rows[-1], "")
    return rows


def true_masks(path: Path, num_frames: int, fps: float, size: tuple[int, int]) -> Labels:
    """Masks of a DAVIS sequence (24 fps) at the session's frames, 0 or 1."""
    archive = np.load(path)
    _, height, width = archive["shape"]
    masks = np.unpackbits(archive["masks"], axis=-1)[..., :width]
    chosen = []
    for k in range(num_frames):
        mask = masks[min(round(24.0 * k / fps), len(masks) - 1)]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = np.ascontiguousarray(mask[top : top + side, left : left + side])
        chosen.append(np.asarray(cv2.resize(square, size, interpolation=cv2.INTER_NEAREST)))
    return chosen


def main_iou(labels: Labels, masks: Labels) -> float:
    """Mean over frames of the IoU of label 1; a frame without either counts 1."""
    scores = []
    for found, mask in zip(labels, masks, strict=True):
        union = np.sum((found == 1) | (mask == 1))
        scores.append(np.sum((found == 1) & (mask == 1)) / union if union else 1.0)
    return float(np.mean(scores))


def mean_iou(a: Labels, b: Labels) -> float:
    """Mean over the objects of either map, then over frames."""
    scores = []
    for one, two in zip(a, b, strict=True):
        ids = set(np.unique(one)) | set(np.unique(two)) - {0}
        each = [np.sum((one == i) & (two == i)) / np.sum((one == i) | (two == i)) for i in ids if i]
        scores.append(np.mean(each) if each else 1.0)
    return float(np.mean(scores))


def masks(folder: Path, frames: int) -> list[dict[str, Any]]:
    rows = []
    for clip in sorted(folder.glob("*.mp4")):
        for cbr in (0.0007, 0.002, 0.004):
            report, sent, received, _, sources = run(
                clip, "contours-lowres", cbr=cbr, frames=frames
            )
            truth = true_masks(clip.with_name(f"{clip.stem}_masks.npz"), len(sent), 8.0, (256, 256))
            segmenter = open_segmenter("bundled")
            found = [segmenter.segment(source) for source in sources]
            rows.append(
                {
                    **row(clip, report),
                    "main_iou_found": main_iou(found, truth),
                    "main_iou_sent": main_iou(sent, truth),
                    "main_iou_received": main_iou(received, truth),
                    "mean_iou_sent_of_found": mean_iou(sent, found),
                    "received_equals_sent": all(map(np.array_equal, sent, received)),
                }
            )
            last = rows[-1]
            show(
                last,
                f"main IoU found {last['main_iou_found']:.3f} sent {last['main_iou_sent']:.3f} "
                f"received {last['main_iou_received']:.3f}; sent of found "
                f"{last['mean_iou_sent_of_found']:.3f}; equal {last['received_equals_sent']}",
            )
    return rows


def rendered(name: str) -> tuple[Path, Labels]:
    """A bundled sample's scene drawn again at the operating point's size and rate."""
    from training.simulate.samples import RECIPES, write_video
    from training.simulate.scene import simulate_scene

    path = SCENES / f"{name}.mp4"
    archive = path.with_suffix(".npz")
    if not archive.exists():
        recipe = next(recipe for recipe in RECIPES if recipe.name == name)
        frames = list(
            simulate_scene(
                recipe.seed, *LOW_SIZE, LOW_FPS, 4.0, shadow_size=2048,
                action=recipe.action, setting=recipe.setting, move=recipe.move,
            )
        )  # fmt: skip
        SCENES.mkdir(parents=True, exist_ok=True)
        write_video(path, frames, LOW_FPS)
        np.savez_compressed(archive, labels=np.stack([frame.labels for frame in frames]))
    return path, list(np.load(archive)["labels"])


def low(names: list[Path], frames: int) -> list[dict[str, Any]]:
    rows = []
    # 157 bits a frame, a CRC, 16-QAM at rate 1/2 and the pilots.
    bits = int(0.0003 * LOW_SIZE[0] * LOW_SIZE[1])
    cbr = (16 + (bits + 16) / 2.0) / (3 * LOW_SIZE[0] * LOW_SIZE[1])
    for name in names:
        clip, truth = rendered(str(name))
        report, sent, received, _, sources = run(
            clip, "contours-lowres", cbr=cbr, frames=frames, fps=LOW_FPS, size=LOW_SIZE,
            mcs="qam16-1/2",
        )  # fmt: skip
        segmenter = open_segmenter("bundled")
        found = [segmenter.segment(source) for source in sources]
        whole = [(labels > 0).astype(np.uint8) for labels in truth[: len(found)]]
        rows.append(
            {
                **row(clip, report),
                "bits_per_frame": sum(report.payload_bits_by_modality.values()) / len(found),
                "mean_iou_received_of_found": mean_iou(received, found),
                "objects_found": float(np.mean([len(np.unique(f)) - 1 for f in found])),
                "any_object_iou_found": main_iou([(f > 0).astype(np.uint8) for f in found], whole),
                "received_equals_sent": all(map(np.array_equal, sent, received)),
            }
        )
        last = rows[-1]
        show(last, f"received of found {last['mean_iou_received_of_found']:.3f}")
    return rows


def stages(clips: list[Path], frames: int) -> list[dict[str, Any]]:
    rows = []
    for clip in clips:
        for cbr in (0.0007, 0.004):
            *_, times, _ = run(clip, "contours-lowres", cbr=cbr, frames=frames)
            kept = {stage: values[SKIPPED_FRAMES:] for stage, values in times.items()}
            front = np.sum([kept["extract"], kept["encode"]], axis=0)
            figures = {
                stage: {"p50": float(np.median(v)), "p95": float(np.percentile(v, 95))}
                for stage, v in {**kept, "extract+encode": list(front)}.items()
            }
            fps = 1e3 / float(np.mean(front))
            rows.append({"clip": clip.name, "cbr": cbr, "fps": fps, "stage_ms": figures})
            both = figures["extract+encode"]
            print(
                f"{clip.name} CBR {cbr}: extract {figures['extract']['p50']:.1f} ms, encode "
                f"{figures['encode']['p50']:.1f} ms, both {both['p50']:.1f} "
                f"(p95 {both['p95']:.1f}): {fps:.1f} fps"
            )
    return rows


def show(found: dict[str, Any], more: str) -> None:
    psnr = found["psnr_db"]
    print(
        f"{found['clip'][:28]:28} {found['scheme']:16} {found['snr_db']:5.1f} dB "
        f"CBR {found['cbr']:.5f} bpp {found['bpp_payload']:.5f} "
        f"PSNR {float('nan') if psnr is None else psnr:.2f} "
        f"concealed {found['frames_concealed']}/{found['frames_sent']} {more}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("rates", "snrs", "masks", "stages", "low"))
    parser.add_argument("paths", nargs="*", type=Path)
    parser.add_argument("--frames", type=int, default=64)
    options = parser.parse_args()
    if options.what == "masks":
        rows = masks(options.paths[0], options.frames)
    elif options.what == "low":
        rows = low(options.paths or list(map(Path, SAMPLES)), options.frames)
    else:
        rows = {"rates": rates, "snrs": snrs, "stages": stages}[options.what](
            options.paths, options.frames
        )
    result = {
        "command": " ".join(["benchmarks.meaning", options.what, "--frames", str(options.frames)]),
        "machine": f"{platform.machine()}, one core of a shared machine",
        "python": sys.version.split()[0],
        "rows": rows,
    }
    path = RESULTS / f"meaning-{options.what}.json"
    # A run a line, which is short and shows in a diff.
    head = json.dumps({key: value for key, value in result.items() if key != "rows"}, indent=1)
    lines = ",\n".join("  " + json.dumps(found) for found in rows)
    path.write_text(f'{head[:-2]},\n "rows": [\n{lines}\n ]\n}}\n')


if __name__ == "__main__":
    main()
