"""Frames with known meaning, and a channel the test controls, for tests of the link."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from semcast.link import LinkReceiver, LinkSender, ReceivedFrame, SentFrame
from semcast.semantics import Semantics
from semcast.session import Block, Modality, RadioFrame, SessionSetup

SIZE = 128
CAPTION = "A red disc and a blue bar drift over a green hillside."

Corrupt = Callable[[RadioFrame], RadioFrame]


def setup(**changes: object) -> SessionSetup:
    values: dict[str, object] = {
        "session_id": "test",
        "scheme": "contours-lowres",
        "width": SIZE,
        "height": SIZE,
        "fps": 8.0,
        "symbols_per_frame": 400,
        "seed": 7,
    }
    return SessionSetup(**{**values, **changes})


def scene(index: int, speed: float = 2.0) -> Semantics:
    """A disc and a bar that move, their labels, outline, motion and caption."""
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    shift = speed * index
    disc = (x - 40 - shift) ** 2 + (y - 50) ** 2 < 22**2
    bar = (abs(x - 90) < 12) & (abs(y - 84 + shift / 2) < 26) & ~disc
    labels = np.where(disc, 1, np.where(bar, 2, 0)).astype(np.uint8)
    rgb = np.stack([60 + 0 * x, 150 - y // 2, 70 + x // 4], axis=-1).astype(np.uint8)
    rgb[disc] = 210, 50, 40
    rgb[bar] = 40, 60, 200
    edges = np.zeros((SIZE, SIZE), np.uint8)
    edges[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    return Semantics(rgb, labels, sketch=edges, motion=speed / SIZE, caption=CAPTION)


def clean(frame: RadioFrame) -> RadioFrame:
    return frame


def noisy(snr_db: float | Callable[[int], float], seed: int = 1) -> Corrupt:
    """AWGN; snr_db may depend on the frame's sequence number."""
    rng = np.random.default_rng(seed)

    def corrupt(frame: RadioFrame) -> RadioFrame:
        now_db = snr_db(frame.sequence) if callable(snr_db) else snr_db

        def add(samples: NDArray[np.complex64]) -> NDArray[np.complex64]:
            pair = rng.standard_normal((2, len(samples))) * np.sqrt(0.5 / 10 ** (now_db / 10))
            return (samples + pair[0] + 1j * pair[1]).astype(np.complex64)

        blocks = tuple(Block(block.modality, add(block.samples)) for block in frame.blocks)
        return RadioFrame(frame.generation, frame.sequence, frame.pts_us, blocks)

    return corrupt


def losing(frames: set[int], modality: Modality, under: Corrupt = clean) -> Corrupt:
    """Only noise arrives of a modality's block at these frames."""

    def corrupt(frame: RadioFrame) -> RadioFrame:
        frame = under(frame)
        if frame.sequence not in frames:
            return frame
        rng = np.random.default_rng(frame.sequence)
        blocks = tuple(
            Block(b.modality, (0.7 * rng.standard_normal((len(b.samples), 2))) @ np.array([1, 1j]))
            if b.modality == modality
            else b
            for b in frame.blocks
        )
        blocks = tuple(Block(b.modality, b.samples.astype(np.complex64)) for b in blocks)
        return RadioFrame(frame.generation, frame.sequence, frame.pts_us, blocks)

    return corrupt


def run(
    session: SessionSetup,
    num_frames: int,
    corrupt: Corrupt = clean,
    frame: Callable[[int], Semantics] = scene,
) -> list[tuple[SentFrame, ReceivedFrame]]:
    """Both ends, frame by frame, with feedback."""
    sender, receiver = LinkSender(session), LinkReceiver(session)
    results = []
    for index in range(num_frames):
        assert sender.may_encode
        sent = sender.encode(frame(index), index * 125_000)
        received = receiver.receive(corrupt(sent.radio))
        sender.feedback(received.feedback)
        results.append((sent, received))
    return results
