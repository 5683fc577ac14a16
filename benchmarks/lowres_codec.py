"""Low-res frame codec against x265 and SVT-AV1 on the same tiny frames.

    python -m benchmarks.lowres_codec --data ../shared/data/video [--part compare|speed|sizes]
    python -m benchmarks.lowres_codec --data ../shared/data/video --part train  # for choosing

Every codec gets the same 8 fps tiny frames (centre-cropped square, area-averaged by `shrink`) of
the validation clips. Ours sends every frame with the same budget. The others run at fixed
quantisers, one IDR then P frames only, no look-ahead (their best case: no rate control to get
wrong), at the full, half and a quarter of the frame rate (pictures held in between), with start
codes, SEI and temporal delimiters left out and parameter sets counted once. Their PSNR at a budget
is interpolated on each of the three curves over the logarithm of the mean bits per frame of the
full rate, and the best of the three counts; where no curve reaches down to the budget there is no
figure (`needs`: their fewest mean bits). PSNR is over RGB, from the squared error averaged over all
frames of a clip. At 4:2:0 they cannot keep the colour of single pixels; `420` says how far the
subsampling alone limits them.

The others spend freely on the IDR (`idr`: its bits over the mean's, which a channel of constant
rate would deliver late), ours starts coarse and refines. So two figures: over `all` frames, and
over the frames `after_1s` (from the ninth), with the others' mean bits over all frames in both.

Also: processor time of one encode and one decode (median and p95 after warm-up), and the PSNR of
the tiny frame blown up (bicubic) against the full frame, per geometry and budget, on training
clips: the grounds for `geometry_for`. Writes benchmarks/results/lowres_codec.json (a part by itself
replaces its own keys there).
"""

import argparse
import json
import platform
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from semcast.codecs import lowres
from semcast.codecs.access_unit import split_annexb

FPS = 8
BUDGETS = (30, 60, 100, 200, 400)
SIDES = (16, 24, 32)
RATE_DIVISORS = (1, 2, 4)
QUANTISERS = {"x265": range(11, 52, 4), "svt-av1": range(7, 64, 8)}
GEOMETRIES = (16, 24, 32, 48, 64)
SIZE_BUDGETS = (60, 100, 200, 400, 800)
TRAIN = (
    "amazon-sci-cat-in-the-sun", "facebookre-03-blocks", "facebookre-08-driving",
    "facebookre-06-pingpong", "google-video-desks", "gsilva2016-classroom", "intel-iot-learn",
    "mathlee-blackswan", "mathlee-camel", "mathlee-dance-twirl", "tensorflow-pose-squats",
)  # fmt: skip
VAL = (
    "amazon-sci-eiffel-flyover", "facebookre-02-hummingbird", "facebookre-12-hideandseek",
    "facebookre-19-cyclist", "gsilva2016-store-aisle-detection", "mathlee-goat",
    "mathlee-drift-chicane", "mdn-stream-of-water",
)  # fmt: skip

Frames = list[NDArray[np.uint8]]


def read_clip(path: Path, num_frames: int) -> Frames:
    """The first frames at 8 fps, centre-cropped to a square."""
    frames: Frames = []
    due = 0.0
    with av.open(str(path), metadata_errors="ignore") as container:
        for frame in container.decode(video=0):
            if frame.time is not None and frame.time + 1e-6 < due:
                continue
            due += 1 / FPS
            rgb = frame.to_ndarray(format="rgb24")
            side = min(rgb.shape[:2])
            top, left = (rgb.shape[0] - side) // 2, (rgb.shape[1] - side) // 2
            frames.append(np.ascontiguousarray(rgb[top : top + side, left : left + side]))
            if len(frames) == num_frames:
                break
    return frames


def psnr_db(a: Frames, b: Frames) -> float:
    """From the squared error averaged over all frames."""
    error = np.mean([(x.astype(float) - y.astype(float)) ** 2 for x, y in zip(a, b, strict=True)])
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def ours(frames: Frames, budget_bits: int, age: int = 1) -> tuple[Frames, list[float], list[float]]:
    """Decoded frames and the times of every encode and decode, seconds."""
    states: list[lowres.LowresState | None] = [None] * age
    received: Frames = []
    encode_s, decode_s = [], []
    for number, frame in enumerate(frames):
        reference = states[number]
        started = time.process_time()
        payload, state = lowres.encode(frame, reference, budget_bits)
        middle = time.process_time()
        decoded = lowres.decode(payload, reference, state.geometry)
        decode_s.append(time.process_time() - middle)
        encode_s.append(middle - started)
        if decoded != state:
            raise AssertionError("encoder and decoder disagree")
        states.append(state)
        received.append(decoded.rgb)
    return received, encode_s, decode_s


_X265 = (
    "bframes=0:rc-lookahead=0:scenecut=0:keyint=-1:frame-threads=1:pools=none:cutree=0:info=0:"
    "annexb=1:repeat-headers=1:log-level=none"
)
_SVT = "pred-struct=1:lookahead=0:keyint=-1:scd=0:rc=0:aq-mode=0:lp=1:tune=1"


def _open(codec: str, qp: int, side: tuple[int, int]) -> av.VideoCodecContext:
    name = {"x265": "libx265", "svt-av1": "libsvtav1"}[codec]
    context = av.VideoCodecContext.create(name, "w")
    context.width, context.height, context.pix_fmt = side[0], side[1], "yuv420p"
    context.framerate, context.time_base = Fraction(FPS), Fraction(1, FPS)
    context.thread_count, context.max_b_frames, context.gop_size = 1, 0, 100000
    if codec == "x265":
        context.options = {
            "preset": "veryslow", "tune": "psnr",
            "x265-params": f"{_X265}:qp={qp}:cbqpoffs=-4:crqpoffs=-4",
        }  # fmt: skip
    else:
        context.options = {"preset": "4", "qp": str(qp), "svtav1-params": _SVT}
    return context


def classical(codec: str, qp: int, frames: Frames, divisor: int) -> tuple[list[int], Frames]:
    """Bits of every coded frame and all pictures at a fixed quantiser, 1/divisor of the rate."""
    side = (frames[0].shape[1], frames[0].shape[0])
    encoder = _open(codec, qp, side)
    stream = []
    for number, frame in enumerate(frames[::divisor]):
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="yuv420p")
        picture.pts = number
        stream += [bytes(packet) for packet in encoder.encode(picture)]
    stream += [bytes(packet) for packet in encoder.encode(None)]
    decoder = av.VideoCodecContext.create({"x265": "hevc", "svt-av1": "libdav1d"}[codec], "r")
    pictures = []
    for data in stream:
        pictures += decoder.decode(av.Packet(data))
    pictures += decoder.decode(None)
    decoded = [picture.to_ndarray(format="rgb24") for picture in pictures]
    held = [decoded[number // divisor] for number in range(len(frames))]
    return [8 * _counted_bytes(codec, data) for data in stream], held


def _counted_bytes(codec: str, data: bytes) -> int:
    """Without start codes and SEI, or without the temporal delimiter."""
    if codec == "svt-av1":
        return len(data) - 2
    return sum(len(nal) for nal in split_annexb(data) if nal[0] >> 1 != 39)


def psnr_pair(a: Frames, b: Frames) -> dict[str, float]:
    """PSNR over all frames, and over those after the first second."""
    return {"all": psnr_db(a, b), "after_1s": psnr_db(a[FPS:], b[FPS:])}


@dataclass
class Point:
    """One quantiser's outcome."""

    bits: float
    idr: float
    psnr: dict[str, float]


def curve(codec: str, frames: Frames, divisor: int) -> list[Point]:
    """Over quantisers, by mean bits per frame of the full rate."""
    points = []
    for qp in QUANTISERS[codec]:
        bits, pictures = classical(codec, qp, frames, divisor)
        mean = sum(bits) / len(frames)
        points.append(Point(mean, bits[0] / mean, psnr_pair(frames, pictures)))
    return sorted(points, key=lambda point: point.bits)


def at_budget(curves: dict[int, list[Point]], bits: int) -> dict[str, float] | None:
    """The best of the curves (by `all`) at a budget; None where none reaches it."""
    best: dict[str, float] | None = None
    for divisor, points in curves.items():
        rates = [point.bits for point in points]
        if not rates[0] <= bits <= rates[-1]:
            continue
        found = {
            key: round(_at(bits, rates, [point.psnr[key] for point in points]), 2)
            for key in ("all", "after_1s")
        }
        found["rate"] = 1 / divisor
        found["idr"] = round(_at(bits, rates, [point.idr for point in points]), 1)
        if best is None or found["all"] > best["all"]:
            best = found
    return best


def _at(bits: float, rates: list[float], values: list[float]) -> float:
    return float(np.interp(np.log(bits), np.log(rates), values))


def limit_420(frames: Frames) -> float:
    """PSNR that 4:2:0 and 8-bit YCbCr alone leave."""
    back = [
        av.VideoFrame.from_ndarray(frame, format="rgb24")
        .reformat(format="yuv420p")
        .to_ndarray(format="rgb24")
        for frame in frames
    ]
    return psnr_db(frames, back)


def tiny_clips(data: Path, folder: str, num_frames: int, side: int) -> dict[str, Frames]:
    """The clips of a list, by name, at side x side."""
    geometry = lowres.LowresGeometry(side, side)
    return {
        name: [
            lowres.shrink(frame, geometry)
            for frame in read_clip(min((data / folder).glob(f"{name}*.mp4")), num_frames)
        ]
        for name in (TRAIN if folder == "train" else VAL)
    }


def compare(data: Path, num_frames: int) -> dict[str, object]:
    """Every validation clip in every size at every budget."""
    rows: dict[str, dict[str, object]] = {}
    for side in SIDES:
        for name, frames in tiny_clips(data, "val", num_frames, side).items():
            row: dict[str, object] = {
                "frames": len(frames),
                "420": round(limit_420(frames), 2),
            }
            row["ours"] = {
                b: {k: round(v, 2) for k, v in psnr_pair(frames, ours(frames, b)[0]).items()}
                for b in BUDGETS
            }
            for codec in QUANTISERS:
                curves = {d: curve(codec, frames, d) for d in RATE_DIVISORS}
                found: dict[object, object] = {b: at_budget(curves, b) for b in BUDGETS}
                found["needs"] = {f"1/{d}": round(p[0].bits) for d, p in curves.items()}
                row[codec] = found
            rows[f"{side}x{side} {name}"] = row
            print(side, name, json.dumps(row), flush=True)
    return {"gain_db": summary(rows), "psnr_db": rows}


def summary(rows: dict[str, Any]) -> dict[str, object]:
    """Mean of ours, and its gain over each codec on the clips where that reaches the budget."""
    result: dict[str, object] = {}
    for side in SIDES:
        chosen = [row for name, row in rows.items() if name.startswith(f"{side}x")]
        for budget in BUDGETS:
            own = [row["ours"][budget] for row in chosen]
            entry: dict[str, object] = {
                "ours": {key: _mean([row[key] for row in own]) for key in ("all", "after_1s")}
            }
            for codec in QUANTISERS:
                pairs = [
                    (row["ours"][budget], row[codec][budget])
                    for row in chosen
                    if row[codec][budget] is not None
                ]
                entry[codec] = {"clips_in_its_range": len(pairs)}
                if pairs:
                    entry[codec] = {
                        "gain_all": _mean([a["all"] - b["all"] for a, b in pairs]),
                        "gain_after_1s": _mean([a["after_1s"] - b["after_1s"] for a, b in pairs]),
                        "clips_in_its_range": len(pairs),
                    }
            result[f"{side}x{side}, {budget} bits"] = entry
    return result


def _mean(values: list[float]) -> float:
    return round(float(np.mean(values)), 2)


def train(data: Path, num_frames: int) -> None:
    """Ours on the training clips, printed: what settings are chosen on."""
    for side, budgets in ((16, (30, 60)), (24, (60, 100)), (32, (60, 200, 400))):
        clips = tiny_clips(data, "train", num_frames, side)
        for budget in budgets:
            pairs = [psnr_pair(frames, ours(frames, budget)[0]) for frames in clips.values()]
            print(side, budget, {k: _mean([pair[k] for pair in pairs]) for k in pairs[0]})


def speed(data: Path) -> dict[str, object]:
    """Median and p95 of encode and decode, 24 frames of two clips, after a warm-up pass."""
    result = {}
    for side, budget in (
        (16, 60),
        (24, 100),
        (32, 100),
        (32, 400),
        (48, 400),
        (48, 1500),
    ):
        geometry = lowres.LowresGeometry(side, side)
        encode_s: list[float] = []
        decode_s: list[float] = []
        for name in ("mathlee-blackswan", "facebookre-08-driving"):
            clip = read_clip(data / "train" / f"{name}.mp4", 24)
            frames = [lowres.shrink(f, geometry) for f in clip]
            ours(frames[:6], budget)
            _, encoded, decoded = ours(frames, budget)
            encode_s += encoded
            decode_s += decoded
        result[f"{side}x{side} at {budget} bits"] = {
            f"{what}_ms_{label}": round(1e3 * float(np.percentile(times, level)), 2)
            for what, times in (("encode", encode_s), ("decode", decode_s))
            for label, level in (("p50", 50), ("p95", 95))
        }
    return {"processor_time": result}


def sizes(data: Path) -> dict[str, object]:
    """Mean PSNR at full size (256x256) by geometry and budget, on training clips."""
    result: dict[str, dict[str, float]] = {}
    clips = []
    for name in TRAIN[::2]:
        frames = read_clip(data / "train" / f"{name}.mp4", 16)
        clips.append([cv2.resize(f, (256, 256), interpolation=cv2.INTER_AREA) for f in frames])
    for budget in SIZE_BUDGETS:
        row = {}
        for side in GEOMETRIES:
            geometry = lowres.LowresGeometry(side, side)
            values = []
            for frames in clips:
                small = [lowres.shrink(f, geometry) for f in frames]
                received = ours(small, budget)[0]
                large = [cv2.resize(f, (256, 256), interpolation=cv2.INTER_CUBIC) for f in received]
                values.append(psnr_db(frames, large))
            row[f"{side}x{side}"] = _mean(values)
        result[str(budget)] = row
        print(budget, row, flush=True)
    return {"full_size_psnr_db_by_geometry": result}


def main() -> None:
    """Runs everything and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=48, help="per clip")
    parser.add_argument("--part", choices=("compare", "speed", "sizes", "train"))
    arguments = parser.parse_args()
    if arguments.part == "train":
        train(arguments.data, arguments.frames)
        return
    result: dict[str, object] = {
        "command": "python -m benchmarks.lowres_codec --data ../shared/data/video",
        "machine": f"{platform.machine()}, {platform.system()}, one core",
        "frames_per_clip": arguments.frames,
    }
    if arguments.part in (None, "speed"):
        result |= speed(arguments.data)
    if arguments.part in (None, "sizes"):
        result |= sizes(arguments.data)
    if arguments.part in (None, "compare"):
        result |= compare(arguments.data, arguments.frames)
    out = Path(__file__).parent / "results" / "lowres_codec.json"
    if arguments.part is not None:
        result = json.loads(out.read_text()) | result
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result.get("gain_db"), indent=1))


if __name__ == "__main__":
    main()
