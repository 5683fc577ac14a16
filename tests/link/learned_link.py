"""Learned schemes on the link, both ends and the channel, with the networks of `linear_codecs`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from linear_codecs import (
    made_pictures,
)
from numpy.typing import NDArray

from channel_emulator.impairments import ChannelSettings, Emulator
from semcast.air.ladder import Rung
from semcast.link import (
    LinkReceiver,
    LinkSender,
    ReceivedFrame,
    SentFrame,
)
from semcast.parts.patch_blocks import Allocation, SentBlock
from semcast.schemes import SCHEMES
from semcast.semantics import Semantics
from semcast.session import Block, Modality, RadioFrame, SessionSetup

WIDTH, HEIGHT = 256, 192
PATCHES = 16 * 12
PILOTS = 16
SEGMENT = 8
CAPTION = "A red disc and a blue bar drift over a green hillside."
SOURCE = made_pictures(3, WIDTH, HEIGHT)[0]
MOVING = made_pictures(4, WIDTH, HEIGHT, count=3 * SEGMENT)

SYMBOLS = {
    "djscc-rgb": PILOTS + 1000,
    "first-frame-desc": PILOTS + 150,
    "sketch-desc": PILOTS + 80,
    "sketches-desc": PILOTS + 224,
    "dvst": PILOTS + 300,
}
"""A frame, so that no block is limited by what its network can fill."""

Corrupt = Callable[[RadioFrame], RadioFrame]


def setup(scheme: str = "djscc-rgb", **changes: object) -> SessionSetup:
    values: dict[str, object] = {
        "session_id": "test",
        "scheme": scheme,
        "width": WIDTH,
        "height": HEIGHT,
        "fps": 8.0,
        "segment_frames": SEGMENT,
        "symbols_per_frame": SYMBOLS[scheme],
        "pilots_per_frame": PILOTS,
        "seed": 7,
    }
    return SessionSetup.model_validate({**values, **changes})


def strokes_of(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Upright lines whose places follow from the picture."""
    sketch = np.zeros(rgb.shape[:2], np.uint8)
    sketch[20:-20, 16 + int(rgb[0, 0, 0]) % 64 :: 48] = 1
    return sketch


def run(
    session: SessionSetup,
    num_frames: int,
    pictures: NDArray[np.uint8] = SOURCE[None],
    corrupt: Corrupt = lambda frame: frame,
    **channel: object,
) -> list[tuple[SentFrame, ReceivedFrame]]:
    """Pictures in turn over the channel that `semcast send` has."""
    sender, receiver, emulator = LinkSender(session), LinkReceiver(session), Emulator(1)
    settings = ChannelSettings.model_validate({"seed": 21, **channel})
    results = []
    for index in range(num_frames):
        assert sender.may_encode
        rgb = pictures[index % len(pictures)]
        semantics = Semantics(rgb, sketch=strokes_of(rgb), caption=CAPTION)
        sent = sender.encode(semantics, index * 125_000)
        noisy, _ = emulator.apply(sent.radio, settings)
        received = receiver.receive(corrupt(noisy))
        sender.feedback(received.feedback)
        results.append((sent, received))
    return results


def losing(modality: Modality, *frames: int) -> Corrupt:
    """Only noise arrives of a modality's block at these frames."""

    def corrupt(frame: RadioFrame) -> RadioFrame:
        if frame.sequence not in frames:
            return frame
        rng = np.random.default_rng(frame.sequence)
        kept = []
        for block in frame.blocks:
            noise = 0.7 * rng.standard_normal((len(block.samples), 2)) @ [1, 1j]
            wrong = block.modality == modality
            kept.append(
                Block(block.modality, noise.astype(np.complex64) if wrong else block.samples)
            )
        return RadioFrame(frame.generation, frame.sequence, frame.pts_us, tuple(kept))

    return corrupt


def shown(received: ReceivedFrame) -> NDArray[np.uint8]:
    return received.came.pictures[Modality.KEYFRAME]


def learned_modality(scheme: str) -> Modality:
    learned = SCHEMES[scheme].learned
    assert learned is not None
    return learned.modality


def block_of(sent: SentFrame, modality: Modality) -> NDArray[np.complex64]:
    """A modality's samples; empty where it sent none."""
    samples = {block.modality: block.samples for block in sent.radio.blocks}
    return samples.get(modality, np.empty(0, np.complex64))


@dataclass(frozen=True)
class Written:
    """How a block was shared out, the payload of its base, and the block."""

    allocation: Allocation
    base: NDArray[np.uint8]
    block: SentBlock

    @property
    def head_rung(self) -> Rung:
        """Of its head."""
        return self.allocation.layout.rung


def sent_of(
    blocks: list[Written], results: list[tuple[SentFrame, ReceivedFrame]], modality: Modality
) -> list[Written]:
    """One for each frame that sent any: a picture or what changed, whichever went."""
    chosen = []
    for sent, _ in results:
        samples = block_of(sent, modality)
        chosen += [b for b in blocks if np.array_equal(b.block.samples, samples)][:1]
    return chosen
