"""Everything that encodes and decodes, once, before the first frame has to wait for it.

    python -m semcast.warm

compiles it for all later processes (numba keeps what it compiled beside the source).
"""

from __future__ import annotations

import numpy as np

from semcast.air.warm import warm_up as warm_up_air
from semcast.link import LinkReceiver, LinkSender
from semcast.schemes import SCHEMES, find_scheme, resolve_mcs
from semcast.semantics import Semantics
from semcast.session import SessionSetup

_SIDE = 64
_FRAMES = 3


def warm_up() -> None:
    """Sends a few frames of everything digital to itself: compiles and opens what they need."""
    warm_up_air()
    pictures = np.random.default_rng(0).integers(0, 256, (_FRAMES, _SIDE, _SIDE, 3), np.uint8)
    labels = np.zeros((_SIDE, _SIDE), np.uint8)
    labels[16:48, 8:40] = 1
    every_layer = find_scheme("caption,contours,sketch,motion,lowres")
    for scheme in (*SCHEMES.values(), every_layer):
        if scheme.learned:
            continue  # its network is loaded by the first session that uses it
        setup = SessionSetup(
            session_id="warm-up",
            scheme=scheme.id,
            width=_SIDE,
            height=_SIDE,
            fps=8.0,
            symbols_per_frame=2000,
            mcs=resolve_mcs(scheme, ""),
        )
        sender, receiver = LinkSender(setup), LinkReceiver(setup)
        for index, picture in enumerate(pictures):
            moved = np.roll(labels, 3 * index, axis=1)
            semantics = Semantics(picture, moved, sketch=moved, motion=0.01, caption="Warm-up.")
            radio = sender.encode(semantics, index).radio
            sender.feedback(receiver.receive(radio).feedback)


if __name__ == "__main__":
    warm_up()
