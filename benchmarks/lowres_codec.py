"""Low-res frame codec against x264, x265 and SVT-AV1 on the same tiny frames.

    python -m benchmarks.lowres_codec --data ../shared/data/video [--quick]

Every codec gets the same 8 fps tiny frames (centre-cropped square, area-averaged by `shrink`). Ours
sends every frame with the same budget. The others run at fixed quantisers, one IDR then P frames
only, no look-ahead (their best case: no rate control to get wrong), with start codes and SEI left
out and parameter sets counted once; their PSNR at a budget is interpolated on that curve over the
logarithm of the mean bits per frame. PSNR is over RGB, from the squared error averaged over all
frames of a clip. At 4:2:0 they cannot keep the colour of single pixels; `420` says how far the
subsampling alone limits them.

The others spend freely on the IDR (often ten frames' worth, which a channel of constant rate would
deliver late), ours starts coarse and refines. So two figures: over `all` frames, and over the
frames `after_1s` (from the ninth), with the others' mean bits over all frames in both.

Also: what one encode and one decode take (median and p95 after warm-up), and the PSNR of the tiny
frame blown up (bicubic) against the full frame, per geometry and budget, the grounds for
`geometry_for`. Writes benchmarks/results/lowres_codec.json.
"""

import argparse
import json
import platform
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from semcast.codecs import lowres
from semcast.codecs.access_unit import split_annexb

FPS = 8
BUDGETS = (100, 200, 400, 800)
GEOMETRY = lowres.LowresGeometry(32, 32)
GEOMETRIES = ((16, 16), (24, 24), (32, 32), (40, 40), (48, 48), (64, 64))
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
        started = time.perf_counter()
        payload, state = lowres.encode(frame, reference, budget_bits)
        middle = time.perf_counter()
        decoded = lowres.decode(payload, reference, state.geometry)
        decode_s.append(time.perf_counter() - middle)
        encode_s.append(middle - started)
        if decoded != state:
            raise AssertionError("encoder and decoder disagree")
        states.append(state)
        received.append(decoded.rgb)
    return received, encode_s, decode_s


_X264 = "bframes=0:rc-lookahead=0:mbtree=0:scenecut=0:keyint=infinite:annexb=1:force-cfr=1:log=-1"
_X265 = (
    "bframes=0:rc-lookahead=0:scenecut=0:keyint=-1:frame-threads=1:pools=none:cutree=0:info=0:"
    "annexb=1:repeat-headers=1:log-level=none"
)
_SVT = "pred-struct=1:lookahead=0:keyint=-1:scd=0:rc=0:aq-mode=0:lp=1:tune=1"


def _open(codec: str, qp: int, side: tuple[int, int]) -> av.VideoCodecContext:
    name = {"x264": "libx264", "x265": "libx265", "svt-av1": "libsvtav1"}[codec]
    context = av.VideoCodecContext.create(name, "w")
    context.width, context.height, context.pix_fmt = side[0], side[1], "yuv420p"
    context.framerate, context.time_base = Fraction(FPS), Fraction(1, FPS)
    context.thread_count, context.max_b_frames, context.gop_size = 1, 0, 100000
    if codec == "x264":
        context.flags |= av.codec.context.Flags.global_header
        context.options = {
            "preset": "veryslow", "tune": "psnr",
            "x264-params": f"{_X264}:qp={qp}:chroma-qp-offset=-4",
        }  # fmt: skip
    elif codec == "x265":
        context.options = {
            "preset": "veryslow", "tune": "psnr",
            "x265-params": f"{_X265}:qp={qp}:cbqpoffs=-4:crqpoffs=-4",
        }  # fmt: skip
    else:
        context.options = {"preset": "4", "qp": str(qp), "svtav1-params": _SVT}
    return context


def classical(codec: str, qp: int, frames: Frames) -> tuple[float, Frames]:
    """Mean bits per frame and decoded frames at a fixed quantiser."""
    side = (frames[0].shape[1], frames[0].shape[0])
    encoder = _open(codec, qp, side)
    packets = []
    for number, frame in enumerate(frames):
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="yuv420p")
        picture.pts = number
        packets += encoder.encode(picture)
    packets += encoder.encode(None)
    headers = bytes(encoder.extradata or b"") if codec == "x264" else b""
    stream = [headers + bytes(packets[0]), *(bytes(packet) for packet in packets[1:])]
    decoder_name = {"x264": "h264", "x265": "hevc", "svt-av1": "libdav1d"}[codec]
    decoder = av.VideoCodecContext.create(decoder_name, "r")
    pictures = []
    for data in stream:
        pictures += decoder.decode(av.Packet(data))
    pictures += decoder.decode(None)
    decoded = [picture.to_ndarray(format="rgb24") for picture in pictures]
    if codec == "svt-av1":
        num_bytes = sum(len(data) - 2 for data in stream)  # less the temporal delimiter
    else:
        kept = (
            nal
            for data in stream
            for nal in split_annexb(data)
            if not (
                (codec == "x264" and nal[0] & 31 == 6) or (codec == "x265" and nal[0] >> 1 == 39)
            )
        )
        num_bytes = sum(len(nal) for nal in kept)
    return 8 * num_bytes / len(frames), decoded


def psnr_pair(a: Frames, b: Frames) -> dict[str, float]:
    """PSNR over all frames, and over those after the first second."""
    return {"all": psnr_db(a, b), "after_1s": psnr_db(a[FPS:], b[FPS:])}


def curve(codec: str, frames: Frames) -> list[tuple[float, dict[str, float]]]:
    """(mean bits per frame, PSNRs) over quantisers."""
    quantisers = range(14, 64, 5) if codec == "svt-av1" else range(18, 52, 3)
    points = []
    for qp in quantisers:
        bits, decoded = classical(codec, qp, frames)
        points.append((bits, psnr_pair(frames, decoded)))
    return points


def at_budget(points: list[tuple[float, dict[str, float]]], bits: int) -> dict[str, float] | None:
    """PSNRs interpolated at a budget; None where the curve does not reach it."""
    ordered = sorted(points, key=lambda point: point[0])
    rates = [point[0] for point in ordered]
    if not rates[0] <= bits <= rates[-1]:
        return None
    return {
        key: round(
            float(np.interp(np.log(bits), np.log(rates), [point[1][key] for point in ordered])), 2
        )
        for key in ordered[0][1]
    }


def limit_420(frames: Frames) -> float:
    """PSNR that 4:2:0 and 8-bit YCbCr alone leave."""
    back = [
        av.VideoFrame.from_ndarray(frame, format="rgb24")
        .reformat(format="yuv420p")
        .to_ndarray(format="rgb24")
        for frame in frames
    ]
    return psnr_db(frames, back)


def compare(data: Path, num_frames: int, codecs: list[str]) -> dict[str, object]:
    """Every clip of both lists at every budget."""
    rows = {}
    for folder, names in (("train", TRAIN), ("val", VAL)):
        for name in names:
            found = sorted((data / folder).glob(f"{name}*.mp4"))
            frames = [lowres.shrink(f, GEOMETRY) for f in read_clip(found[0], num_frames)]
            row: dict[str, object] = {"frames": len(frames), "420": round(limit_420(frames), 2)}
            row["ours"] = {
                b: {k: round(v, 2) for k, v in psnr_pair(frames, ours(frames, b)[0]).items()}
                for b in BUDGETS
            }
            for codec in codecs:
                points = curve(codec, frames)
                row[codec] = {b: at_budget(points, b) for b in BUDGETS}
            rows[f"{folder}/{name}"] = row
            print(folder, name, row, flush=True)
    return rows


def summary(rows: dict[str, object], codecs: list[str]) -> dict[str, object]:
    """Mean gain of ours over each codec, on the clips where that codec reaches the budget."""
    result: dict[str, object] = {}
    for folder in ("train", "val"):
        for codec in codecs:
            for budget in BUDGETS:
                pairs = [
                    (row["ours"][budget], row[codec][budget])  # type: ignore[index]
                    for name, row in rows.items()
                    if name.startswith(folder) and row[codec][budget] is not None  # type: ignore[index]
                ]
                result[f"{folder}: ours - {codec} at {budget} bits"] = {
                    **{
                        f"mean_db_{key}": round(
                            float(np.mean([a[key] - b[key] for a, b in pairs])), 2
                        )
                        for key in ("all", "after_1s")
                        if pairs
                    },
                    "clips_in_its_range": len(pairs),
                }
    return result


def speed(data: Path) -> dict[str, object]:
    """Median and p95 of encode and decode, 24 frames of two clips, after a warm-up pass."""
    result = {}
    for side, budget in ((32, 200), (32, 400), (32, 800), (48, 1500)):
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
    return result


def geometries(data: Path) -> dict[str, object]:
    """Mean PSNR at full size (256x256) by geometry and budget, on training clips."""
    result: dict[str, dict[str, float]] = {}
    clips = []
    for name in TRAIN[::2]:
        frames = read_clip(data / "train" / f"{name}.mp4", 16)
        clips.append([cv2.resize(f, (256, 256), interpolation=cv2.INTER_AREA) for f in frames])
    for budget in (100, 200, 400, 800, 1600):
        row = {}
        for side in GEOMETRIES:
            geometry = lowres.LowresGeometry(*side)
            values = []
            for frames in clips:
                small = [lowres.shrink(f, geometry) for f in frames]
                received = ours(small, budget)[0]
                large = [cv2.resize(f, (256, 256), interpolation=cv2.INTER_CUBIC) for f in received]
                values.append(psnr_db(frames, large))
            row[f"{side[0]}x{side[1]}"] = round(float(np.mean(values)), 2)
        result[str(budget)] = row
        print(budget, row, flush=True)
    return result


def main() -> None:
    """Runs everything and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=48, help="per clip")
    parser.add_argument("--quick", action="store_true", help="ours only, no file written")
    arguments = parser.parse_args()
    codecs = [] if arguments.quick else ["x264", "x265", "svt-av1"]
    rows = compare(arguments.data, arguments.frames, codecs)
    if arguments.quick:
        for folder in ("train", "val"):
            chosen = [row["ours"] for name, row in rows.items() if name.startswith(folder)]  # type: ignore[index]
            print(
                folder, {b: round(float(np.mean([row[b] for row in chosen])), 2) for b in BUDGETS}
            )
        return
    result = {
        "command": "python -m benchmarks.lowres_codec --data ../shared/data/video",
        "machine": f"{platform.machine()}, {platform.system()}, one core",
        "frames_per_clip": arguments.frames,
        "gain_db": summary(rows, codecs),
        "psnr_db": rows,
        "speed": speed(arguments.data),
        "full_size_psnr_db_by_geometry": geometries(arguments.data),
    }
    out = Path(__file__).parent / "results" / "lowres_codec.json"
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["gain_db"], indent=1))


if __name__ == "__main__":
    main()
