"""A picture of what every bundled network does, on the bundled samples.

    .venv/bin/python benchmarks/weights_sheet.py

Writes `docs/generators.jpg` (low-res frames sent at 10 dB: received, passthrough, tiny) and
`docs/codecs.jpg` (latent codec; DJSCC of pictures and sketches over SNR). The samples are rendered
and ours; no network was trained on them.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from generators import receive
from numpy.typing import NDArray

from receiver.diffusion.tiny import bundled_networks
from receiver.generator import GeneratorContext, make_generator
from semcast.networks.djscc import Djscc, awgn, bundled_djscc
from semcast.networks.pixels import to_pixels, to_unit
from semcast.schemes import SCHEMES
from semcast.session import Modality
from training.edges import soft_edges
from training.held_out import in_batches
from training.sheets import contact_sheet

DOCS = Path(__file__).resolve().parents[1] / "docs"
SAMPLES = ("gripper", "kitchen-pan", "tumble")
SIZE = 256
FRAMES = 40
SHOWN = (15, 39)
SNRS_DB = (-5.0, 0.0, 10.0, 20.0)

Pictures = NDArray[np.uint8]


def save(path: Path, sheet: Pictures) -> None:
    """As JPEG."""
    bgr = cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(path), bgr, [cv2.IMWRITE_JPEG_QUALITY, 85])


def generators() -> Pictures:
    """Writes the first sheet; the source frames it shows, uint8 [n, H, W, 3]."""
    columns: dict[str, list[Pictures]] = {"source": [], "received": []}
    for sample in SAMPLES:
        clip = Path(f"sample:{sample}")
        sources, conditions = receive(
            clip, "lowres", 10.0, SCHEMES["lowres"].default_cbr, SIZE, FRAMES
        )
        for k in SHOWN:
            columns["source"].append(sources[k])
            small = conditions[k].pictures[Modality.LOWRES]
            shape = (SIZE, SIZE)
            columns["received"].append(cv2.resize(small, shape, interpolation=cv2.INTER_NEAREST))
            for name in ("passthrough", "tiny"):
                generator = make_generator(name)
                generator.reset(GeneratorContext(SIZE, SIZE, 8.0, 7777))
                columns.setdefault(name, []).append(generator.step(conditions[k]))
    sheet = contact_sheet([(title, np.stack(cells)) for title, cells in columns.items()], SIZE)
    save(DOCS / "generators.jpg", sheet)
    return np.stack(columns["source"])


def through(network: Djscc, pictures: Pictures, snr_db: float) -> Pictures:
    """Pictures [n, H, W, channels] over the channel."""
    made = []
    for picture in pictures:
        known = torch.tensor([snr_db])
        x = to_unit(torch.from_numpy(np.ascontiguousarray(picture[None])))
        symbols = network.encode(x, known, min(7800, network.max_symbols(SIZE, SIZE)))
        made.append(to_pixels(network.decode(awgn(symbols, known), known, SIZE, SIZE))[0].numpy())
    return np.stack(made)


def codecs(source: Pictures) -> None:
    """Writes the second sheet."""
    torch.manual_seed(7777)
    device = torch.device("cpu")
    columns = [
        ("source", source),
        ("latent codec", in_batches(bundled_networks("cpu").codec, source, device)),
    ]
    rgb, sketch = bundled_djscc("djscc_rgb"), bundled_djscc("djscc_sketch")
    for snr_db in SNRS_DB:
        columns.append((f"DJSCC {snr_db:g} dB", through(rgb, source, snr_db)))
    sketches = np.stack([soft_edges(frame) for frame in source])[..., None]
    columns.append(("sketch", sketches.repeat(3, -1)))
    for snr_db in (0.0, 10.0):
        columns.append((f"sketch {snr_db:g} dB", through(sketch, sketches, snr_db).repeat(3, -1)))
    save(DOCS / "codecs.jpg", contact_sheet(columns, side=160))


def main() -> None:
    with torch.inference_mode():
        codecs(generators())


if __name__ == "__main__":
    main()
