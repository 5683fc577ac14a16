"""DJSCC over SNR: through the link and channel emulator, and through the training graph.

    .venv/bin/python benchmarks/djscc.py ../shared/data/video/val/*.mp4

`link`: `djscc-rgb` from LinkSender through the emulator to LinkReceiver, the backends of `semcast
send --in-process`; sketches, which no scheme sends yet, as one block through the emulator. `graph`:
the same pictures through `semcast.networks.djscc.awgn`, as in training. Writes
`benchmarks/results/djscc.json` and `djscc.png` beside it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from channel_emulator.impairments import ChannelSettings, Emulator
from semcast.link import LinkReceiver, LinkSender
from semcast.metrics.perceptual import LpipsScorer
from semcast.metrics.psnr import psnr_db
from semcast.metrics.weights import MetricWeights
from semcast.networks.djscc import Djscc, awgn, bundled_djscc
from semcast.networks.pixels import to_pixels, to_unit
from semcast.schemes import SCHEMES, symbols_per_frame
from semcast.semantics import Semantics
from semcast.session import Block, Modality, RadioFrame, SessionSetup
from training.edges import soft_edges
from transmitter.sources import read_clip

RESULTS = Path(__file__).parent / "results"
SNRS_DB = [-5.0, -2.5, 0.0, 2.5, 5.0, 7.5, 10.0, 12.5, 15.0, 17.5, 20.0]
SIZE = 256
FPS = 4.0

Pictures = NDArray[np.uint8]


def through_link(frames: Pictures, snr_db: float, seed: int) -> Pictures:
    """`djscc-rgb` at its default rate; frames: [n, H, W, 3]."""
    setup = SessionSetup(
        session_id="benchmark",
        scheme="djscc-rgb",
        width=SIZE,
        height=SIZE,
        fps=FPS,
        seed=seed,
        symbols_per_frame=symbols_per_frame(SCHEMES["djscc-rgb"].default_cbr, SIZE, SIZE),
    )
    sender, emulator, receiver = LinkSender(setup), Emulator(1), LinkReceiver(setup)
    channel = ChannelSettings(snr_db=snr_db, seed=seed)
    made = []
    for k, frame in enumerate(frames):
        sent = sender.encode(Semantics(frame), round(1e6 * k / FPS))
        noisy, _ = emulator.apply(sent.radio, channel)
        received = receiver.receive(noisy)
        sender.feedback(received.feedback)
        made.append(received.came.pictures[Modality.KEYFRAME])
    return np.stack(made)


def through_emulator(network: Djscc, sketches: Pictures, snr_db: float, seed: int) -> Pictures:
    """Sketches [n, H, W, 1], each a block of its own; both ends know the SNR."""
    emulator = Emulator(1)
    channel = ChannelSettings(snr_db=snr_db, seed=seed)
    known = torch.tensor([snr_db])
    made = []
    for k, sketch in enumerate(sketches):
        x = to_unit(torch.from_numpy(sketch[None]))
        symbols = network.encode(x, known, network.max_symbols(SIZE, SIZE))[0].numpy()
        samples = np.ascontiguousarray(symbols).view(np.complex64)[:, 0]
        radio = RadioFrame(1, k, 0, (Block(Modality.SKETCH, samples),))
        noisy, _ = emulator.apply(radio, channel)
        reals = noisy.blocks[0].samples.view(np.float32).reshape(1, -1, 2)
        made.append(to_pixels(network.decode(torch.from_numpy(reals), known, SIZE, SIZE))[0])
    return np.stack(made)


def through_graph(network: Djscc, pictures: Pictures, snr_db: float, num_symbols: int) -> Pictures:
    """As in training; pictures: [n, H, W, channels]."""
    made = []
    for picture in pictures:
        known = torch.tensor([snr_db])
        symbols = network.encode(to_unit(torch.from_numpy(picture[None])), known, num_symbols)
        made.append(to_pixels(network.decode(awgn(symbols, known), known, SIZE, SIZE))[0].numpy())
    return np.stack(made)


def draw(rows: list[dict[str, object]], path: Path) -> None:
    """PSNR over SNR, both ways, for both networks."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6))
    for axis, what in zip(axes, ("rgb", "sketch"), strict=True):
        mine = [row for row in rows if row["what"] == what]
        for way, style in (("link", "o-"), ("graph", "x--")):
            axis.plot(
                [row["snr_db"] for row in mine],
                [row[f"psnr_db_{way}"] for row in mine],
                style,
                label=way,
                ms=4,
            )
        axis.set(title=what, xlabel="Es/N0 (dB)", ylabel="PSNR (dB)")
        axis.grid(alpha=0.3)
        axis.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=4, help="of each clip")
    options = parser.parse_args()
    rgb, sketch = bundled_djscc("djscc_rgb"), bundled_djscc("djscc_sketch")
    scorer = LpipsScorer.squeezenet_caffe(MetricWeights.from_environment())
    clips = []
    for clip in options.clips:
        read = read_clip(str(clip), fps=FPS, width=SIZE, height=SIZE, max_frames=options.frames)
        clips.append(np.stack([frame.rgb for frame in read]))
    num_symbols = symbols_per_frame(SCHEMES["djscc-rgb"].default_cbr, SIZE, SIZE) - 16
    rows: list[dict[str, object]] = []
    torch.manual_seed(7777)
    with torch.inference_mode():
        for snr_db in tqdm(SNRS_DB, unit="SNR"):
            values: dict[str, list[float]] = {}
            for seed, frames in enumerate(clips):
                sketches = np.stack([soft_edges(frame) for frame in frames])[..., None]
                made = {
                    ("rgb", "link"): through_link(frames, snr_db, seed),
                    ("rgb", "graph"): through_graph(rgb, frames, snr_db, num_symbols),
                    ("sketch", "link"): through_emulator(sketch, sketches, snr_db, seed),
                    ("sketch", "graph"): through_graph(sketch, sketches, snr_db, 1024),
                }
                for (what, way), pictures in made.items():
                    source = frames if what == "rgb" else sketches
                    values.setdefault(f"{what} {way}", []).append(psnr_db(source, pictures))
                lpips = scorer.score(list(frames), list(made["rgb", "link"]))
                values.setdefault("rgb lpips", []).append(float(np.mean(lpips)))
            for what in ("rgb", "sketch"):
                row: dict[str, object] = {"what": what, "snr_db": snr_db}
                for way in ("link", "graph"):
                    row[f"psnr_db_{way}"] = round(float(np.mean(values[f"{what} {way}"])), 3)
                if what == "rgb":
                    row["lpips_squeeze_caffe"] = round(float(np.mean(values["rgb lpips"])), 4)
                rows.append(row)
                print(row, flush=True)
    (RESULTS / "djscc.json").write_text(json.dumps(rows, indent=1) + "\n")
    draw(rows, RESULTS / "djscc.png")


if __name__ == "__main__":
    main()
