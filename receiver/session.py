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

    cached_frames, cache_resets: of the generator, once it had made it. repeated: nothing had come
    since the last frame, which is shown again.
    """

    rgb: NDArray[np.uint8]
    repeated: bool
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
        self.generator = generator
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
        made = self.generator.step(decoded.conditions) if self.needs_step(decoded) else None
        return self.show(decoded, made)

    def needs_step(self, decoded: DecodedFrame) -> bool:
        """Whether something came since the last frame that was shown."""
        return decoded.newest > self._shown_newest

    def show(self, decoded: DecodedFrame, made: NDArray[np.uint8] | None) -> RenderedFrame:
        """The other half of `render`, for callers that step generators themselves.

        made: what the generator made of the frame's conditions; None shows the last one again.
        """
        if made is not None:
            self._shown = made
            self._shown_newest = decoded.newest
        state, generator = decoded.concealment, self.generator
        return RenderedFrame(
            rgb=self._shown,
            repeated=made is None,
            concealed=state.concealed,
            outage=state.outage,
            generator=generator.name,
            device=generator.device,
            cached_frames=generator.cached_frames,
            cache_resets=generator.cache_resets,
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
