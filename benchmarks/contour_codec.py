"""Rate and fidelity of the contour codec, and its speed.

    OMP_NUM_THREADS=1 python -m benchmarks.contour_codec --data ../shared/data [--only PART ...]

Writes benchmarks/results/contour_codec.json and contour_codec.png (each part replaces its own
entry). Parts:

* `intra`: DAVIS masks at their own size (570x320), every 25th (train) or 10th (val) frame, no
  reference, budget as large as it takes: bits over xi and Q. Settings were chosen on
  `train`; `val` is only reported.
* `gain`: the same frames with every object on the level of detail that pays (Q = 129, xi as by
  default), over the least gain a bit must bring.
* `period`: 8 frames a second at 256x256, a budget every frame, an I-frame every P frames (0: the
  first only); half of DAVIS train, val, and the bundled simulated samples (which
  no table is fitted on).
* `still`: a frame repeated until nothing changes, and what each frame then costs.
* `operating_point`: simulated scenes at 1024x512, 16 frames a second (the samples' own rate; the
  paper's point is 17), 0.0003 bit per pixel = 157 bits a frame for everything.
* `speed`: milliseconds of processor time on one core, median and p95.

Bits are what a payload of contours alone takes, tail included. Contour points are counted as OpenCV
does (8-connected, outer borders and holes). Mean IoU is over the objects of every frame.
"""

import argparse
import json
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray

from semcast.codecs.contours import (
    ContourSettings,
    ContourState,
    plan_contours,
    read_contours,
    warm_up,
    write_contours,
)
from semcast.codecs.range_payload import PayloadReader, PayloadWriter
from semcast.samples import sample_masks, sample_names

matplotlib.use("Agg")
import matplotlib.pyplot as plt

RESULTS = Path(__file__).parent / "results"
Maps = list[NDArray[np.uint8]]


def davis(data: Path, split: str, every: int) -> Iterator[tuple[str, Maps]]:
    """Masks of each sequence, every so many frames."""
    for path in sorted((data / "masks/davis" / split).glob("*_masks.npz")):
        with np.load(path) as stored:
            masks = np.unpackbits(stored["masks"], axis=-1)[..., : int(stored["shape"][2])]
        yield path.stem.removesuffix("_masks"), list(masks[::every].astype(np.uint8))


def simulated(every: int) -> Iterator[tuple[str, Maps]]:
    """Label maps of the samples: the 15 objects seen most, 384x384, 16 frames a second."""
    for name in sample_names():
        labels, _ = sample_masks(name)
        most = np.argsort(-np.bincount(labels.ravel(), minlength=256)[1:])[:15] + 1
        ids = np.zeros(256, dtype=np.uint8)
        ids[most] = np.arange(1, len(most) + 1)
        yield name, list(ids[labels[::every]])


def covering(labels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """A map scaled to cover a size and cropped to its middle, as `send` does with video."""
    ratio = max(width / labels.shape[1], height / labels.shape[0])
    size = (max(width, round(labels.shape[1] * ratio)), max(height, round(labels.shape[0] * ratio)))
    scaled = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
    top, left = (size[1] - height) // 2, (size[0] - width) // 2
    return np.ascontiguousarray(scaled[top : top + height, left : left + width])


def contour_points(labels: NDArray[np.uint8]) -> int:
    """Points of all borders of all objects."""
    total = 0
    for object_id in np.unique(labels[labels > 0]):
        mask = (labels == object_id).astype(np.uint8)
        borders, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        total += sum(len(border) for border in borders)
    return total


def ious(sent: NDArray[np.uint8], received: NDArray[np.uint8]) -> list[float]:
    """Intersection over union of every object in sight."""
    found = []
    for object_id in np.unique(sent[sent > 0]):
        ours, theirs = sent == object_id, received == object_id
        found.append(float((ours & theirs).sum() / (ours | theirs).sum()))
    return found


def code(
    labels: NDArray[np.uint8],
    reference: ContourState | None,
    budget_bits: float,
    session: ContourSettings,
) -> tuple[int, ContourState]:
    """Bits and received state; the decoder's map is checked against the encoder's."""
    plan = plan_contours(labels, reference, budget_bits, session)
    writer = PayloadWriter()
    write_contours(writer, plan, reference, session)
    bits = writer.finish()
    received = read_contours(PayloadReader(bits), reference, session)
    if not np.array_equal(received.labels, plan.state.labels):
        raise AssertionError("encoder and decoder disagree")
    return len(bits), received


def summary(
    bits: list[int], points: list[int], fidelity: list[float], session: ContourSettings
) -> dict[str, float]:
    """The four figures of an operating point."""
    mean_bits = float(np.mean(bits))
    return {
        "bits_per_frame": round(mean_bits, 1),
        "bits_per_contour_point": round(sum(bits) / max(sum(points), 1), 4),
        "bpp": round(mean_bits / (session.width * session.height), 6),
        "mean_iou": round(float(np.mean(fidelity)), 4),
    }


def intra_frames(data: Path, split: str) -> list[tuple[str, NDArray[np.uint8]]]:
    """Sequence and label map of the frames coded without a reference."""
    every = 25 if split == "train" else 10
    return [
        (name, labels)
        for name, maps in davis(data, split, every)
        for labels in maps
        if labels.any()
    ]


def intra_row(
    frames: list[tuple[str, NDArray[np.uint8]]], session: ContourSettings
) -> dict[str, Any]:
    """Every frame by itself, with all the bits it takes."""
    bits, points, fidelity = [], [], []
    by_name: dict[str, list[float]] = {}
    for name, labels in frames:
        num_bits, state = code(labels, None, 1e6, session)
        bits.append(num_bits)
        points.append(contour_points(labels))
        by_name.setdefault(name, []).extend(ious(labels, state.labels))
        fidelity += ious(labels, state.labels)
    sequences = {name: round(float(np.mean(values)), 3) for name, values in by_name.items()}
    return {**summary(bits, points, fidelity, session), "iou_by_sequence": sequences}


def measure_intra(data: Path) -> list[dict[str, Any]]:
    """Bits and IoU over xi and Q without a reference."""
    rows: list[dict[str, Any]] = []
    for split in ("train", "val"):
        frames = intra_frames(data, split)
        for num_symbols in (33, 65, 129):
            for tolerance in (0.7, 1.4, 2.8, 5.6):
                session = ContourSettings(
                    width=570, height=320, num_symbols=num_symbols, tolerance=tolerance, min_gain=0
                )
                xi_px = round(session.choices.tolerance_px, 2)
                point = {"split": split, "q": num_symbols, "xi_px": xi_px}
                rows.append({**point, **intra_row(frames, session)})
                print(rows[-1], flush=True)
    return rows


def measure_gain(data: Path) -> list[dict[str, Any]]:
    """Bits and IoU where each object has the detail that pays."""
    rows: list[dict[str, Any]] = []
    for split in ("train", "val"):
        frames = intra_frames(data, split)
        for min_gain in (0.002, 0.004, 0.008, 0.015, 0.03):
            session = ContourSettings(width=570, height=320, num_symbols=129, min_gain=min_gain)
            rows.append({"split": split, "min_gain": min_gain, **intra_row(frames, session)})
            print(rows[-1], flush=True)
    return rows


def stream(
    maps: Maps, budget_bits: float, period: int, session: ContourSettings
) -> tuple[list[int], list[int], list[float]]:
    """A sequence with an I-frame every `period` frames (0: the first only), none lost."""
    bits, points, fidelity = [], [], []
    state: ContourState | None = None
    for index, labels in enumerate(maps):
        fitted = covering(labels, session.width, session.height)
        intra = index == 0 or (period > 0 and index % period == 0)
        num_bits, state = code(fitted, None if intra else state, budget_bits, session)
        bits.append(num_bits)
        points.append(contour_points(fitted))
        fidelity += ious(fitted, state.labels)
    return bits, points, fidelity


def measure_period(data: Path) -> list[dict[str, Any]]:
    """Bits and IoU over budget and P."""
    session = ContourSettings(width=256, height=256)
    sets = {
        "davis train": [maps[:16] for _, maps in davis(data, "train", 3)][::2],
        "davis val": [maps[:24] for _, maps in davis(data, "val", 3)],
        "simulated": [maps[:24] for _, maps in simulated(2)],
    }
    rows: list[dict[str, Any]] = []
    for name, sequences in sets.items():
        for period in (1, 8, 0):
            for budget_bits in (25, 50, 100, 200):
                parts = [stream(maps, budget_bits, period, session) for maps in sequences]
                joined = [[x for part in parts for x in part[k]] for k in range(3)]
                rows.append(
                    {
                        "set": name,
                        "period": period,
                        "budget_bits": budget_bits,
                        **summary(joined[0], joined[1], joined[2], session),
                    }
                )
                print(rows[-1], flush=True)
    return rows


def measure_still() -> list[dict[str, Any]]:
    """What a frame costs once a still scene is said."""
    rows = []
    session = ContourSettings(width=256, height=256)
    for name, maps in simulated(2):
        labels = covering(maps[20], 256, 256)
        state, bits = None, 99
        num_frames = 0
        while num_frames < 120:
            num_frames += 1
            bits, new = code(labels, state, 150, session)
            silent = state is not None and np.array_equal(new.labels, state.labels)
            state = new
            if silent:
                break
        assert state is not None
        rows.append(
            {
                "scene": name,
                "objects": len(state.objects),
                "frames_until_silent": num_frames,
                "bits_per_frame_then": bits,
                "mean_iou": round(float(np.mean(ious(labels, state.labels))), 4),
            }
        )
        print(rows[-1], flush=True)
    return rows


def measure_operating_point() -> list[dict[str, Any]]:
    """Simulated scenes at the paper's rate and size; the low-res frame takes what is left."""
    session = ContourSettings(width=1024, height=512)
    rows = []
    for budget_bits in (40, 80, 157):
        for name, maps in simulated(1):
            bits, points, fidelity = stream(maps[:48], budget_bits, 0, session)
            late = stream_tail(fidelity, 3)
            rows.append(
                {
                    "scene": name,
                    "budget_bits": budget_bits,
                    **summary(bits, points, fidelity, session),
                    "mean_iou_last_third": late,
                }
            )
            print(rows[-1], flush=True)
    return rows


def stream_tail(fidelity: list[float], parts: int) -> float:
    """Mean of the last of so many parts."""
    return round(float(np.mean(fidelity[-(len(fidelity) // parts) :])), 4)


def measure_speed(data: Path) -> list[dict[str, Any]]:
    """Processor milliseconds of planning and writing, and of reading and painting."""
    rows = []
    cases = {
        "davis val 256x256": (256, 256, [m[:24] for _, m in davis(data, "val", 3)]),
        "simulated 256x256": (256, 256, [m[:24] for _, m in simulated(2)]),
        "simulated 1024x512": (1024, 512, [m[:12] for _, m in simulated(1)]),
    }
    for name, (width, height, sequences) in cases.items():
        session = ContourSettings(width=width, height=height)
        warm_up(session)
        write_ms, read_ms = [], []
        for maps in sequences:
            state: ContourState | None = None
            for labels in maps:
                fitted = covering(labels, width, height)
                start = time.process_time()
                plan = plan_contours(fitted, state, 100, session)
                writer = PayloadWriter()
                write_contours(writer, plan, state, session)
                bits = writer.finish()
                write_ms.append((time.process_time() - start) * 1e3)
                start = time.process_time()
                state = read_contours(PayloadReader(bits), state, session)
                assert state.labels.shape == fitted.shape
                read_ms.append((time.process_time() - start) * 1e3)
        rows.append(
            {
                "case": name,
                "budget_bits": 100,
                "plan_and_write_ms_p50": round(float(np.median(write_ms)), 1),
                "plan_and_write_ms_p95": round(float(np.quantile(write_ms, 0.95)), 1),
                "read_and_paint_ms_p50": round(float(np.median(read_ms)), 1),
                "read_and_paint_ms_p95": round(float(np.quantile(read_ms, 0.95)), 1),
            }
        )
        print(rows[-1], flush=True)
    return rows


def draw(results: dict[str, Any], path: Path) -> None:
    """Curves of what was measured."""
    figure, axes = plt.subplots(1, 3, figsize=(15, 4.5))
    for q in (33, 65, 129):
        for split, style in (("train", "--"), ("val", "-")):
            rows = [r for r in results.get("intra", []) if (r["q"], r["split"]) == (q, split)]
            axes[0].plot(
                [r["bits_per_contour_point"] for r in rows],
                [r["mean_iou"] for r in rows],
                style + "o",
                label=f"Q={q}, {split}",
            )
    for split, style in (("train", "k--"), ("val", "k-")):
        rows = [r for r in results.get("gain", []) if r["split"] == split]
        axes[0].plot(
            [r["bits_per_contour_point"] for r in rows],
            [r["mean_iou"] for r in rows],
            style + "s",
            label=f"detail that pays, {split}",
        )
    axes[0].set(title="I-frames, DAVIS 570x320", xlabel="bit per contour point", ylabel="mean IoU")
    for axis, wanted in ((axes[1], "simulated"), (axes[2], "davis val")):
        for period in (1, 8, 0):
            rows = [
                r for r in results.get("period", []) if (r["set"], r["period"]) == (wanted, period)
            ]
            axis.plot(
                [r["bits_per_frame"] for r in rows],
                [r["mean_iou"] for r in rows],
                "-o",
                label=f"P={period or 'first only'}",
            )
        axis.set(title=f"{wanted}, 256x256, 8 fps", xlabel="bits per frame", ylabel="mean IoU")
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure the parts asked for; keep the others' results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parts = ("intra", "gain", "period", "still", "operating_point", "speed")
    parser.add_argument("--only", nargs="*", choices=parts, default=parts)
    arguments = parser.parse_args()
    path = RESULTS / "contour_codec.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    results["command"] = (
        "OMP_NUM_THREADS=1 python -m benchmarks.contour_codec --data ../shared/data"
    )
    results["machine"] = f"{platform.machine()}, {platform.system()}, one core, shared with others"
    measures = {
        "intra": lambda: measure_intra(arguments.data),
        "gain": lambda: measure_gain(arguments.data),
        "period": lambda: measure_period(arguments.data),
        "still": measure_still,
        "operating_point": measure_operating_point,
        "speed": lambda: measure_speed(arguments.data),
    }
    for part in arguments.only:
        results[part] = measures[part]()
        path.write_text(json.dumps(results, indent=1) + "\n")
    draw(results, path.with_suffix(".png"))


if __name__ == "__main__":
    main()
