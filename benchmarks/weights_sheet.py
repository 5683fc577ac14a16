"""A picture of what every bundled network does, on the bundled samples.

    .venv/bin/python benchmarks/weights_sheet.py

Writes `docs/generators.jpg` (low-res frames sent at 10 dB: received, passthrough, tiny) and
`docs/codecs.jpg` (latent codec; first frames and
sketches over SNR). The samples are rendered
and ours; no network was trained on them.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from generators import receive
from numpy.typing import NDArray

from channel_emulator.impairments import ChannelSettings, Emulator
from receiver.diffusion.tiny import bundled_networks
from receiver.drawing import draw_sketch
from receiver.generator import GeneratorContext, make_generator
from semcast.link import LinkReceiver, LinkSender
from semcast.schemes import SCHEMES, resolve_mcs, symbols_per_frame
from semcast.semantics import Semantics
from semcast.session import Modality, SessionSetup
from training.held_out import in_batches
from training.sheets import contact_sheet
from transmitter.extractors.sketcher import open_sketcher

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


def over_the_link(scheme: str, pictures: Pictures, snr_db: float) -> Pictures:
    """Pictures [n, H, W, 3], each the first of a session, as received; sketches as shown."""
    sketcher = open_sketcher("bundled")
    made = []
    for picture in pictures:
        setup = SessionSetup(
            session_id="sheet",
            scheme=scheme,
            width=SIZE,
            height=SIZE,
            fps=8.0,
            symbols_per_frame=symbols_per_frame(SCHEMES[scheme].default_cbr, SIZE, SIZE),
            mcs=resolve_mcs(SCHEMES[scheme], ""),
        )
        sketcher.reset()
        sent = LinkSender(setup).encode(Semantics(picture, sketch=sketcher.sketch(picture)), 0)
        radio, _ = Emulator(1).apply(sent.radio, ChannelSettings(snr_db=snr_db))
        came = LinkReceiver(setup).receive(radio).came
        shown = came.pictures.get(Modality.KEYFRAME)
        if came.sketch is not None:
            shown = draw_sketch(came.sketch, None, SIZE, SIZE)
        made.append(np.full_like(picture, 128) if shown is None else shown)
    return np.stack(made)


def codecs(source: Pictures) -> None:
    """Writes the second sheet."""
    device = torch.device("cpu")
    columns = [
        ("source", source),
        ("latent codec", in_batches(bundled_networks("cpu").codec, source, device)),
    ]
    for snr_db in SNRS_DB:
        made = over_the_link("first-frame-desc", source, snr_db)
        columns.append((f"picture {snr_db:g} dB", made))
    for snr_db in SNRS_DB[:3]:
        made = over_the_link("sketch-desc", source, snr_db)
        columns.append((f"sketch {snr_db:g} dB", made))
    save(DOCS / "codecs.jpg", contact_sheet(columns, side=160))


def main() -> None:
    with torch.inference_mode():
        codecs(generators())


if __name__ == "__main__":
    main()
