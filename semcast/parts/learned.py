"""Pictures and sketches over the air by learned joint source-channel coding: analogue blocks.

One block a frame or one a segment, its size fixed at set-up. Noise on the symbols is noise in the
picture: only the few digital symbols in front (`picture_code`) have a CRC, and they go at a rung
that is safe well below the SNR. Each end uses the SNR it knows: the transmitter the one that
feedback told, the receiver its own estimate; before the first feedback, none.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from semcast.air.control import ControlField
from semcast.air.ladder import LADDER, Rung
from semcast.errors import InputError
from semcast.parts import ReceivedPart, SentPart, block_key
from semcast.parts.picture_code import PictureCode, load_ntscc
from semcast.schemes import Learned
from semcast.semantics import Received, Semantics
from semcast.session import Modality, SessionSetup


def _size(setup: SessionSetup, modality: Modality) -> tuple[int, int]:
    """Width and height of what the network is given."""
    if modality == Modality.KEYFRAME:
        return setup.width, setup.height
    from semcast.networks.strokes import picture_size

    return picture_size(setup.width, setup.height)


def _code(setup: SessionSetup, learned: Learned) -> PictureCode:
    # Asked for first, as it says what is missing where nothing learned can run.
    load_ntscc(learned.network)
    width, height = _size(setup, learned.modality)
    return PictureCode(learned.network, width, height, adaptive=learned.adaptive)


def _asked_symbols(setup: SessionSetup, learned: Learned, segment_symbols: int) -> int:
    """Of a picture, by the rate alone."""
    return segment_symbols // setup.segment_frames if learned.every_frame else segment_symbols


def picture_symbols(setup: SessionSetup, learned: Learned, segment_symbols: int) -> int:
    """Symbols of one picture: what the rate gives, at most what a network can fill."""
    most = _code(setup, learned).max_symbols
    return min(most, _asked_symbols(setup, learned, segment_symbols))


def check_rate(setup: SessionSetup, learned: Learned, segment_symbols: int, overhead: int) -> None:
    """Raises InputError where a block is too small to say anything.

    segment_symbols: for pictures. overhead: symbols of each frame that are none of theirs.
    """
    asked = _asked_symbols(setup, learned, segment_symbols)
    least = _code(setup, learned).least_symbols(LADDER[0])
    if asked < least:
        frames = 1 if learned.every_frame else setup.segment_frames
        cbr = 1.1 * (overhead + least / frames) / (3 * setup.width * setup.height)
        raise InputError(
            f"{setup.symbols_per_frame} symbols a frame are too few for '{setup.scheme}': pilots "
            f"take {overhead}, and a picture needs {least}; give a CBR of at least {cbr:.2g} at "
            "this size."
        )


class _LearnedPart:
    """What both ends share."""

    control_fields: tuple[ControlField, ...] = ()

    def __init__(self, setup: SessionSetup, learned: Learned, segment_symbols: int) -> None:
        """segment_symbols: that pictures may spend in a segment."""
        self.modality = learned.modality
        self._setup = setup
        self._learned = learned
        self._code = _code(setup, learned)
        self._picture_symbols = picture_symbols(setup, learned, segment_symbols)

    def _sends(self, sequence: int) -> bool:
        return self._learned.every_frame or sequence % self._setup.segment_frames == 0

    def _key(self, sequence: int) -> int:
        return block_key(self._setup.seed, sequence, self.modality)


class LearnedSender(_LearnedPart):
    """Transmitter half."""

    def encode(
        self,
        semantics: Semantics,
        sequence: int,
        rung: Rung,
        snr_db: float | None,
        sent: frozenset[Modality],
    ) -> SentPart:
        """The picture's symbols, or nothing between the first frames of segments."""
        if not self._sends(sequence):
            return SentPart(np.empty(0, np.complex64), {}, 0, {})
        samples, num_bits, crc_bits = self._code.encode(
            self._picture(semantics), self._picture_symbols, rung, snr_db, self._key(sequence)
        )
        return SentPart(samples, {self.modality: num_bits}, crc_bits, {})

    def _picture(self, semantics: Semantics) -> NDArray[np.uint8]:
        """What the network takes, [H, W, channels]."""
        if self.modality == Modality.KEYFRAME:
            return semantics.rgb
        strokes = semantics.sketch
        if strokes is None:
            strokes = np.zeros(semantics.rgb.shape[:2], np.uint8)
        from semcast.networks.strokes import to_picture

        return to_picture(strokes, *_size(self._setup, self.modality))[..., None]

    def acknowledge(self, sequence: int, received: bool) -> None:
        """Each picture stands for itself."""


class LearnedReceiver(_LearnedPart):
    """Receiver half."""

    fixed_size = True

    def num_symbols(self, control: Mapping[str, int], sequence: int) -> int:
        """By the frame's place in its segment."""
        return self._picture_symbols if self._sends(sequence) else 0

    def decode(
        self,
        samples: NDArray[np.complex64],
        noise_var: float,
        sequence: int,
        rung: Rung,
        control: Mapping[str, int],
        sent: frozenset[Modality],
    ) -> ReceivedPart:
        """The picture, however noisy."""
        if not self._sends(sequence):
            return ReceivedPart(Received(), expected=False, ok=True, resent=None)
        decoded = self._code.decode(samples, noise_var, rung, self._key(sequence))
        if decoded is None:
            return ReceivedPart(Received(), expected=True, ok=False, resent=None)
        picture, resent = decoded
        if self.modality == Modality.KEYFRAME:
            came = Received({Modality.KEYFRAME: picture})
        else:
            from semcast.networks.strokes import to_strength

            size = self._setup.width, self._setup.height
            came = Received(sketch=to_strength(picture[..., 0], *size))
        return ReceivedPart(came, expected=True, ok=True, resent=resent)

    def lost(self, sequence: int) -> None:
        """Each picture stands for itself."""
