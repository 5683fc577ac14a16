"""What a receiver gets: radio frames of a moving picture, with noise, and with losses."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from receiver.generator import Conditions, GeneratorContext
from semcast.link import LinkReceiver, LinkSender
from semcast.semantics import Semantics
from semcast.session import Block, Modality, RadioFrame, SessionSetup

SIDE = 64
PATIENCE_S = 20.0
"""How long a test waits for something that must come; never how long something may take."""


def setup(**changes: Any) -> SessionSetup:
    """A small `lowres` session."""
    values: dict[str, Any] = {
        "session_id": "test",
        "scheme": "lowres",
        "width": SIDE,
        "height": SIDE,
        "fps": 8.0,
        "symbols_per_frame": 600,
        "seed": 7,
    }
    return SessionSetup(**{**values, **changes})


def moving_picture(index: int, session: SessionSetup) -> NDArray[np.uint8]:
    """A soft blob that moves over a gradient. [H, W, 3], uint8."""
    y, x = np.mgrid[0 : session.height, 0 : session.width]
    blob = 110 * np.exp(-((x - 15 - 3 * index) ** 2 + (y - 30) ** 2) / 200)
    planes = [2 * x + blob, 255 - 2 * y + 0 * x, 80 + blob]
    return np.clip(np.stack(planes, axis=-1), 0, 255).astype(np.uint8)


def radio_frames(
    session: SessionSetup, count: int, *, lost: Collection[int] = (), snr_db: float = 12.0
) -> list[RadioFrame]:
    """`count` radio frames as they arrive, those named in `lost` as noise alone, as in a burst."""
    sender, receiver = LinkSender(session), LinkReceiver(session)
    rng = np.random.default_rng(3)
    noise_std = np.sqrt(0.5 / 10 ** (snr_db / 10))
    arrived = []
    for index in range(count):
        sent = sender.encode(Semantics(moving_picture(index, session)), index * 125_000).radio
        blocks = []
        for block in sent.blocks:
            real, imaginary = noise_std * rng.standard_normal((2, len(block.samples)))
            signal = 0 if index in lost else block.samples
            noisy = (signal + real + 1j * imaginary).astype(np.complex64)
            blocks.append(Block(block.modality, noisy))
        frame = RadioFrame(sent.generation, sent.sequence, sent.pts_us, tuple(blocks))
        sender.feedback(receiver.receive(frame).feedback)
        arrived.append(frame)
    return arrived


class NumberedGenerator:
    """Paints each frame with the number of pictures it has been asked for, and remembers why."""

    name = "numbered"
    modalities = frozenset(Modality)
    device = "cpu"
    cached_frames = cache_resets = 0

    def __init__(self, on_step: Callable[[int], None] = lambda _: None) -> None:
        self.contexts: list[GeneratorContext] = []
        self.seen: list[Conditions] = []
        self._on_step = on_step

    def reset(self, context: GeneratorContext) -> None:
        self.contexts.append(context)

    def step(self, conditions: Conditions) -> NDArray[np.uint8]:
        self._on_step(len(self.seen))
        self.seen.append(conditions)
        context = self.contexts[-1]
        return np.full((context.height, context.width, 3), len(self.seen), np.uint8)


def bytes_of(frames: Iterator[Any]) -> list[bytes]:
    """Rendered frames in a form that compares."""
    return [frame.rgb.tobytes() for frame in frames]
