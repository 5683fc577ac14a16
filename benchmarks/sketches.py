"""Sketches measured: how well the extractor finds edges, and what its sketches cost to send.

    python -m benchmarks.sketches --data ../shared/data [--images 100] [--frames 20]

Edges: the test pictures of BSDS500, whose human maps neither the extractor nor its settings have
seen. A drawn pixel is right if a human's lies within 0.0075 of the picture's diagonal, a human's
is found if a drawn one does; human pixels count by the share of people who drew them. Maps of all
methods are thinned alike (`thinning.ridges`; Canny thins itself). F at the best threshold for all
pictures (ODS) and for each (OIS), of 33. The official benchmark matches pixels one to one, by an
assignment of least cost; here several may match one, so values are a little high: compare them with
each other. PiDiNet's published figure is 0.807.

Codec: sketches of the validation clips at 8 fps, 256x256, shrunk, each predicted from the last.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.pidinet_judge import PidinetJudge
from semcast.codecs import sketch
from semcast.codecs.range_payload import PayloadReader, PayloadWriter
from semcast.codecs.sketch_model import BEFORE
from semcast.networks.pixels import to_unit
from training.data import centre_square
from transmitter.extractors.sketcher import Sketcher
from transmitter.extractors.thinning import ridges

Bitmap = NDArray[np.uint8]
Floats = NDArray[np.float32]

TOLERANCE = 0.0075
THRESHOLDS = np.linspace(0.02, 0.98, 33)
SIDES = (64, 96, 128)
BUDGETS = (100, 200, 400)


def sobel(rgb: Bitmap) -> Floats:
    """Gradient of the blurred picture, the strongest of three channels; 0 to 1."""
    blurred = cv2.GaussianBlur(rgb.astype(np.float32), (0, 0), 2.0)
    strength = np.hypot(cv2.Sobel(blurred, cv2.CV_32F, 1, 0), cv2.Sobel(blurred, cv2.CV_32F, 0, 1))
    return np.asarray(np.minimum(1, strength.max(2) / 200), np.float32)


def canny(rgb: Bitmap, sigma: float) -> Floats:
    """The highest threshold at which OpenCV's Canny still draws a pixel; 0 to 1."""
    grey = cv2.GaussianBlur(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), (0, 0), sigma)
    found = np.zeros(grey.shape, np.float32)
    for level in THRESHOLDS:
        high = 600 * level**1.5
        found[cv2.Canny(grey, 0.4 * high, high, L2gradient=True) > 0] = level
    return found


def edge_scores(folder: Path, count: int, methods: dict[str, Callable[[Bitmap], Floats]]) -> dict:
    """ODS and OIS of each method on `count` pictures, evenly chosen."""
    pictures = sorted(folder.glob("*.jpg"))
    chosen = [pictures[k] for k in np.linspace(0, len(pictures) - 1, count).round().astype(int)]
    scores = {}
    for name, method in methods.items():
        sums = []
        seconds = []
        for path in chosen:
            rgb = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
            human = cv2.imread(str(path.with_name(f"{path.stem}_edges.png")), cv2.IMREAD_GRAYSCALE)
            start = time.thread_time()
            strength = method(rgb)
            seconds.append(time.thread_time() - start)
            thin = strength if name.startswith("Canny") else ridges(strength)
            sums.append(_counts(thin, human.astype(float) / 255))
        every = np.array(sums)  # [pictures, thresholds, 4]
        best = _f(every.sum(0)).argmax()
        total = every.sum(0)[best]
        each = every[np.arange(len(every)), _f(every).argmax(1)].sum(0)
        scores[name] = {
            "ods": round(float(_f(total)), 4),
            "ois": round(float(_f(each)), 4),
            "precision": round(float(total[0] / max(total[1], 1)), 4),
            "recall": round(float(total[2] / max(total[3], 1e-9)), 4),
            "threshold": round(float(THRESHOLDS[best]), 3),
            "ms_a_picture": round(1e3 * float(np.median(seconds)), 1),
        }
        print(name, scores[name], flush=True)
    return scores


def _counts(thin: Floats, human: NDArray[np.float64]) -> NDArray[np.float64]:
    """Right and drawn pixels, found and human ones, at each threshold, [33, 4]."""
    reach = TOLERANCE * np.hypot(*human.shape)
    to_human = cv2.distanceTransform((human == 0).astype(np.uint8), cv2.DIST_L2, 5)
    rows = []
    for threshold in THRESHOLDS:
        drawn = thin >= threshold
        found = 0.0
        if drawn.any():
            to_drawn = cv2.distanceTransform((~drawn).astype(np.uint8), cv2.DIST_L2, 5)
            found = human[to_drawn <= reach].sum()
        rows.append((np.sum(drawn & (to_human <= reach)), drawn.sum(), found, human.sum()))
    return np.array(rows, float)


def _f(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    precision = counts[..., 0] / np.maximum(counts[..., 1], 1)
    recall = counts[..., 2] / np.maximum(counts[..., 3], 1e-9)
    return 2 * precision * recall / np.maximum(precision + recall, 1e-9)


def network_of(sketcher: Sketcher) -> Callable[[Bitmap], Floats]:
    """The network at the picture's own size (`Sketcher` takes large frames at 256x256 pixels)."""
    network = sketcher._network

    def probability(rgb: Bitmap) -> Floats:
        padded = cv2.copyMakeBorder(
            rgb, 0, -rgb.shape[0] % 16, 0, -rgb.shape[1] % 16, cv2.BORDER_REPLICATE
        )
        with torch.inference_mode():
            picture = to_unit(torch.from_numpy(padded)[None]).to(next(network.parameters()).dtype)
            found = network(picture)[0, 0].float().sigmoid().numpy()
        return np.asarray(found[: rgb.shape[0], : rgb.shape[1]], np.float32)

    return probability


def sketches_of(path: Path, count: int, sketcher: Sketcher) -> tuple[list[Bitmap], list[float]]:
    """Sketches of a clip's first frames at 8 fps, and milliseconds of each."""
    capture = cv2.VideoCapture(str(path))
    step = max(1, round(capture.get(cv2.CAP_PROP_FPS) / 8))
    sketcher.reset()
    found: list[Bitmap] = []
    times = []
    index = 0
    while len(found) < count and capture.grab():
        if index % step == 0:
            ok, bgr = capture.retrieve()
            if not ok:
                break
            frame = centre_square(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), 256)
            start = time.thread_time()
            found.append(sketcher.sketch(frame))
            times.append(1e3 * (time.thread_time() - start))
        index += 1
    return found, times


def new_share(sketches: list[Bitmap]) -> float:
    """Of a sketch's pixels: those with none of the last sketch's within two."""
    shares = [
        1 - now[cv2.dilate(last, np.ones((5, 5), np.uint8)) > 0].sum() / max(1, now.sum())
        for last, now in itertools.pairwise(sketches)
    ]
    return float(np.mean(shares))


def f_score(bitmap: Bitmap, sent: Bitmap) -> float:
    """Of what arrives against what was to be sent, pixels within one of each other."""
    if not bitmap.any() and not sent.any():
        return 1.0
    ones = np.ones((3, 3), np.uint8)
    precision = (sent & cv2.dilate(bitmap, ones)).sum() / max(1, int(sent.sum()))
    recall = (bitmap & cv2.dilate(sent, ones)).sum() / max(1, int(bitmap.sum()))
    return float(2 * precision * recall / max(1e-9, precision + recall))


def zlib_bits(bitmap: Bitmap) -> int:
    """Packed rows, level 9, without zlib's 6 bytes of frame."""
    return 8 * (len(zlib.compress(np.packbits(bitmap, axis=1).tobytes(), 9)) - 6)


def png_bits(bitmap: Bitmap) -> int:
    """One bit a pixel, without signature and the 57 bytes of chunks that all have."""
    options = [cv2.IMWRITE_PNG_BILEVEL, 1, cv2.IMWRITE_PNG_COMPRESSION, 9]
    return 8 * (len(cv2.imencode(".png", 255 * bitmap, options)[1]) - 57)


def order_0_bits(bitmap: Bitmap) -> float:
    """Entropy of pixels by themselves."""
    share = float(np.clip(bitmap.mean(), 1e-6, 1 - 1e-6))
    return -bitmap.size * (share * np.log2(share) + (1 - share) * np.log2(1 - share))


def adaptive_context_bits(bitmap: Bitmap) -> float:
    """As JBIG2's generic regions: 16 pixels of context, counts from nothing in each map."""
    padded = np.pad(bitmap, 5)
    places = BEFORE[np.argsort(np.hypot(*BEFORE.T), kind="stable")[:16]]
    height, width = bitmap.shape
    context = sum(
        padded[5 + dy : 5 + dy + height, 5 + dx : 5 + dx + width].astype(np.int64) << k
        for k, (dy, dx) in enumerate(places)
    )
    counts: dict[int, list[float]] = {}
    bits = 0.0
    for key, pixel in zip(np.ravel(context), bitmap.ravel(), strict=True):
        seen = counts.setdefault(int(key), [0.4, 0.4])
        bits -= np.log2(seen[pixel] / sum(seen))
        seen[pixel] += 1
    return bits


def codec_scores(clips: dict[str, list[Bitmap]]) -> dict:
    """Bits by size, against others; and what arrives in a budget."""
    result: dict[str, dict] = {}
    for side in SIDES:
        geometry = sketch.SketchGeometry(side, side)
        sketch.warm_up(geometry)
        small = {k: [sketch.shrink_sketch(s, geometry) for s in v] for k, v in clips.items()}
        maps = [bitmap for each in small.values() for bitmap in each]
        row: dict[str, object] = {
            "line_pixels": round(float(np.mean([m.sum() for m in maps])), 1),
            "zlib_bits": round(float(np.mean([zlib_bits(m) for m in maps]))),
            "png_bits": round(float(np.mean([png_bits(m) for m in maps]))),
            "order_0_bits": round(float(np.mean([order_0_bits(m) for m in maps]))),
            "adaptive_16_pixel_context_bits": round(
                float(np.mean([adaptive_context_bits(m) for m in maps[::4]]))
            ),
        }
        alone = [sketch.plan_sketch(m, None, 10**6).bits for m in maps]
        row["ours_alone_bits"] = round(float(np.mean(alone)))
        for age in (1, 4):
            row[f"ours_after_{age}_bits"] = round(
                float(
                    np.mean(
                        [
                            sketch.plan_sketch(now, sketch.SketchState(last), 10**6).bits
                            for each in small.values()
                            for last, now in zip(each[:-age], each[age:], strict=True)
                        ]
                    )
                )
            )
        row["ours_after_1_bits_by_clip"] = {
            name: round(
                float(
                    np.mean(
                        [
                            sketch.plan_sketch(now, sketch.SketchState(last), 10**6).bits
                            for last, now in itertools.pairwise(each)
                        ]
                    )
                )
            )
            for name, each in small.items()
        }
        for budget in BUDGETS:
            row[f"at_{budget}_bits"] = _at_budget(small, budget)
        result[f"{side}x{side}"] = row
        print(side, row, flush=True)
    return result


def _at_budget(clips: dict[str, list[Bitmap]], budget: int) -> dict[str, float]:
    scores, first, bits, plan_ms, read_ms = [], [], [], [], []
    for maps in clips.values():
        reference = None
        geometry = sketch.SketchGeometry(maps[0].shape[1], maps[0].shape[0])
        for k, bitmap in enumerate(maps):
            start = time.thread_time()
            plan = sketch.plan_sketch(bitmap, reference, budget)
            writer = PayloadWriter()
            sketch.write_sketch(writer, plan, reference)
            plan_ms.append(1e3 * (time.thread_time() - start))
            payload = writer.finish()
            start = time.thread_time()
            reference = sketch.read_sketch(PayloadReader(payload), reference, geometry)
            read_ms.append(1e3 * (time.thread_time() - start))
            bits.append(len(payload))
            (first if k == 0 else scores).append(f_score(bitmap, reference.bitmap))
    return {
        "f_score": round(float(np.mean(scores)), 3),
        "f_score_of_first_frames": round(float(np.mean(first)), 3),
        "bits": round(float(np.mean(bits)), 1),
        "plan_and_write_ms_p50": round(float(np.median(plan_ms)), 2),
        "plan_and_write_ms_p95": round(float(np.percentile(plan_ms, 95)), 2),
        "read_ms_p50": round(float(np.median(read_ms)), 2),
        "read_ms_p95": round(float(np.percentile(read_ms, 95)), 2),
    }


def main() -> None:
    """Runs everything and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--frames", type=int, default=20, help="of each clip")
    parser.add_argument("--part", choices=("all", "edges", "codec"), default="all")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    out = Path(__file__).parent / "results" / "sketches.json"
    result = json.loads(out.read_text()) if out.is_file() else {}
    sketcher = Sketcher()
    result["command"] = "python -m benchmarks.sketches --data ../shared/data"
    result["machine"] = (
        f"{platform.machine()}, {platform.system()}; milliseconds of one core's time"
    )
    if arguments.part != "codec":
        judge = PidinetJudge(arguments.data / "weights" / "pidinet" / "table5_pidinet.pth")
        methods: dict[str, Callable[[Bitmap], Floats]] = {
            "semcast": network_of(sketcher),
            **{f"Canny {sigma}": lambda rgb, s=sigma: canny(rgb, s) for sigma in (1.0, 2.0, 3.0)},
            "Sobel": sobel,
            "PiDiNet": judge.probability,
        }
        result["bsds500"] = {
            "images": arguments.images,
            **edge_scores(
                arguments.data / "images" / "bsds500" / "test", arguments.images, methods
            ),
        }
    if arguments.part != "edges":
        clips, steadiness, times = {}, {}, []
        for path in sorted((arguments.data / "video" / "val").glob("*.mp4")):
            clips[path.stem], taken = sketches_of(path, arguments.frames, sketcher)
            times += taken[2:]
            steadiness[path.stem] = round(new_share(clips[path.stem]), 3)
        result["extractor"] = {
            "ms_p50": round(float(np.median(times)), 1),
            "ms_p95": round(float(np.percentile(times, 95)), 1),
            "density": round(float(np.mean([s.mean() for v in clips.values() for s in v])), 4),
            "new_share_by_clip": steadiness,
        }
        print(result["extractor"], flush=True)
        result["frames_per_clip"] = arguments.frames
        result["codec"] = codec_scores(clips)
    out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
