"""One session at the receiver: symbols in, frames and feedback out. Knows no gRPC and no clock.

`decode` is quick and gives the feedback; `render` runs the generator and may be slow or skipped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from receiver.concealment import Concealment, conceal
from receiver.generator import Conditions, Generator, GeneratorContext
from semcast.generators import check_takes
from semcast.link import LinkReceiver, ReceivedFrame
from semcast.parts.learned import check_weights
from semcast.schemes import find_scheme
from semcast.semantics import Received
from semcast.session import Modality, RadioFrame, SessionSetup


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """One radio frame read: all that rendering needs, so that it may come late or not at all.

    newest: sequence number of the newest of the conditions; -1 before the first.
    """

    received: ReceivedFrame
    conditions: Conditions
    newest: int
    concealment: Concealment


@dataclass(frozen=True, slots=True)
class RenderedFrame:
    """A frame to show. rgb: [H, W, 3], uint8. generator, device: what made it, on what.

    cached_frames, cache_resets: of the generator, once it had made it.
    """

    rgb: NDArray[np.uint8]
    concealed: bool
    outage: bool
    generator: str
    device: str
    cached_frames: int
    cache_resets: int


class ReceiverSession:
    """Decodes and renders the frames of one generation of a session.

    `decode` and `render` share nothing but what `decode` returns, so each may have a thread.
    """

    def __init__(self, setup: SessionSetup, generator: Generator) -> None:
        self._setup = setup
        scheme = find_scheme(setup.scheme)
        check_takes(generator.name, generator.modalities, scheme)
        check_weights(setup, scheme.learned)
        self._link = LinkReceiver(setup)
        self._held = Received()
        self._came: dict[Modality, int] = {}
        self._held_frames = 0
        self._generator = generator
        generator.reset(
            GeneratorContext(
                width=setup.width,
                height=setup.height,
                fps=setup.fps,
                seed=setup.seed,
                num_steps=setup.generator_steps,
                guidance=setup.guidance,
            )
        )
        self._shown = generator.step(Conditions({}, {}))
        self._shown_newest = -1

    def decode(self, frame: RadioFrame) -> DecodedFrame:
        """Reads the next radio frame. Raises InputError for one that is not of this session."""
        received = self._link.receive(frame)
        self._held = self._held.then(received.came)
        self._came.update(dict.fromkeys(received.came.modalities, received.sequence))
        ages = {m: received.sequence - came for m, came in self._came.items()}
        concealment = conceal(self._held_frames, complete=received.complete, fps=self._setup.fps)
        self._held_frames = concealment.held_frames
        return DecodedFrame(
            received=received,
            conditions=_conditions(self._held, ages, received.snr_db),
            newest=max(self._came.values(), default=-1),
            concealment=concealment,
        )

    def render(self, decoded: DecodedFrame) -> RenderedFrame:
        """The frame to show after `decoded`; the last one again where nothing came since."""
        if decoded.newest > self._shown_newest:
            self._shown = self._generator.step(decoded.conditions)
            self._shown_newest = decoded.newest
        state = decoded.concealment
        return RenderedFrame(
            self._shown,
            state.concealed,
            state.outage,
            self._generator.name,
            self._generator.device,
            self._generator.cached_frames,
            self._generator.cache_resets,
        )


def _conditions(held: Received, age_frames: dict[Modality, int], snr_db: float) -> Conditions:
    return Conditions(
        pictures=dict(held.pictures),
        age_frames=age_frames,
        labels=held.contours.labels if held.contours else None,
        sketch=held.sketch,
        motion=held.motion,
        caption=held.caption or "",
        snr_db=snr_db,
    )
