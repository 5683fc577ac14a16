"""Pictures and sketches over the air by learned joint source-channel coding: analogue blocks.

A picture each frame, or one at the start of each segment; between those nothing, smaller pictures,
or what changed. Sizes are fixed at set-up. Noise on the symbols is noise in the picture: only the
few digital symbols in front (`patch_blocks`) have a CRC, and they go at a rung that is safe well
below the SNR. Each end uses the SNR it knows: the transmitter the one that feedback told, the
receiver its own estimate; before the first feedback, none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from semcast.air.control import ControlField
from semcast.air.ladder import LADDER, Rung
from semcast.errors import InputError
from semcast.networks.strokes import picture_size, to_picture, to_strength
from semcast.parts import ReceivedPart, SentPart, block_key
from semcast.parts.change_code import ChangeCode
from semcast.parts.picture_code import Ground, PictureCode, snr_db_of
from semcast.schemes import Learned
from semcast.semantics import Received, Semantics
from semcast.session import Modality, SessionSetup
from semcast.weights import digest

if TYPE_CHECKING:
    from torch import Tensor

_NOTHING = SentPart(np.empty(0, np.complex64), {}, 0, {})


def _size(setup: SessionSetup, modality: Modality) -> tuple[int, int]:
    """Width and height of what the network is given."""
    if modality == Modality.KEYFRAME:
        return setup.width, setup.height
    return picture_size(setup.width, setup.height)


@dataclass(frozen=True, slots=True)
class _Context:
    """What a receiver holds. ground: of the newest picture, which frame `sequence` brought."""

    latent: Tensor
    ground: Ground
    sequence: int


class _LearnedPart:
    """What both ends share."""

    control_fields: tuple[ControlField, ...] = ()

    def __init__(self, setup: SessionSetup, learned: Learned, segment_symbols: int) -> None:
        """segment_symbols: that pictures may spend in a segment."""
        self.modality = learned.modality
        self._setup = setup
        self._learned = learned
        self._segment_symbols = segment_symbols
        self._picture_size = _size(setup, learned.modality)
        self._code = PictureCode(learned.network, *self._picture_size, adaptive=learned.adaptive)
        self._changes = ChangeCode(learned.changes, *self._code.grid) if learned.changes else None
        self._between = self._changes or (self._code if learned.smaller else None)
        frames = setup.segment_frames
        asked = segment_symbols // frames if learned.every_frame else segment_symbols
        self._asked_between = self._symbols_between = 0
        if self._between and frames > 1:
            asked = round(learned.key_share * segment_symbols)
            self._asked_between = (segment_symbols - asked) // (frames - 1)
            self._symbols_between = min(self._asked_between, self._between.max_symbols)
        self._asked_picture = asked
        self._picture_symbols = min(asked, self._code.max_symbols)

    def check_rate(self, overhead: int) -> None:
        """Raises InputError where a block is too small to say anything, or a picture too small to
        need one.

        overhead: symbols of each frame that are not of this part.
        """
        setup, learned, frames = self._setup, self._learned, self._setup.segment_frames
        picture_share = 1 / frames if learned.every_frame else 1.0
        blocks: list[tuple[PictureCode | ChangeCode, int, float]]
        blocks = [(self._code, self._asked_picture, picture_share)]
        if self._between and frames > 1:
            share_between = (1 - learned.key_share) / (frames - 1)
            blocks = [
                (self._code, self._asked_picture, learned.key_share),
                (self._between, self._asked_between, share_between),
                # A picture may go instead of what changed.
                (self._code, self._asked_between, share_between),
            ]
        needed = 0.0
        for code, asked, share in blocks:
            least = code.least_symbols(LADDER[0])
            if code.max_symbols < least:
                raise InputError(
                    f"{setup.width}x{setup.height} is too small for '{setup.scheme}': a block of "
                    f"{code.max_symbols} symbols says all there is, and what tells how to read it "
                    f"takes up to {least - 1}; give a larger size."
                )
            if asked < least:
                needed = max(needed, least / share)
        if needed:
            available = frames * max(0, setup.symbols_per_frame - overhead)
            ours = self._segment_symbols / available if self._segment_symbols else 1.0
            cbr = 1.1 * (overhead + needed / (ours * frames)) / (3 * setup.width * setup.height)
            raise InputError(
                f"{setup.symbols_per_frame} symbols a frame are too few for '{setup.scheme}': "
                f"{overhead} are pilots, and what is left is no picture; give a CBR of at least "
                f"{cbr:.2g} at this size."
            )

    def _begins(self, sequence: int) -> bool:
        return self._learned.every_frame or sequence % self._setup.segment_frames == 0

    def _symbols(self, sequence: int) -> int:
        return self._picture_symbols if self._begins(sequence) else self._symbols_between

    def _key(self, sequence: int, held: _Context | None = None) -> int:
        """held: what a change is to be added to. Who holds another picture cannot read it."""
        age = sequence - held.sequence if held else 0
        return block_key(self._setup.seed, sequence, self.modality, age)


def codec_weights(learned: Learned | None) -> str:
    """What `SessionSetup.codec_weights` says of a scheme; "" where nothing is learned.

    Raises NotFoundError for weights that this version lacks.
    """
    return ",".join(f"{name}:{digest(name)}" for name in learned.weights) if learned else ""


def check_weights(setup: SessionSetup, learned: Learned | None) -> None:
    """Raises InputError where the transmitter's networks are others than ours.

    Their symbols would be noise to us.
    """
    ours = codec_weights(learned)
    if setup.codec_weights != ours:
        raise InputError(
            f"'{setup.scheme}' is sent with weights {setup.codec_weights or 'not named'}, and this "
            f"receiver has {ours or 'none'}: install the same version of semcast at both ends."
        )


def check_rate(setup: SessionSetup, learned: Learned, segment_symbols: int, overhead: int) -> None:
    """Raises InputError where a block is too small to say anything.

    segment_symbols: for pictures. overhead: symbols of each frame that are none of theirs.
    """
    _LearnedPart(setup, learned, segment_symbols).check_rate(overhead)


class LearnedSender(_LearnedPart):
    """Transmitter half."""

    _expected: _Context | None = None
    """What a receiver without noise would hold."""

    def encode(
        self,
        semantics: Semantics,
        sequence: int,
        rung: Rung,
        snr_db: float | None,
        sent: frozenset[Modality],
    ) -> SentPart:
        """A picture's symbols, those of what changed, or none.

        Between beginnings of segments, whichever of the two comes closer in as many symbols. What
        it is the receiver finds by reading it as either.
        """
        num_symbols = self._symbols(sequence)
        if not num_symbols:
            return _NOTHING
        picture = self._picture(semantics)
        made = self._code.encode(picture, num_symbols, rung, snr_db, self._key(sequence))
        block, context = made.block, _Context(made.latent, made.ground, sequence)
        held = None if self._begins(sequence) else self._expected
        if self._changes and held:
            y = self._code.latent(picture, held.ground, snr_db)
            key = self._key(sequence, held)
            change = self._changes.encode(y, held.latent, num_symbols, rung, snr_db, key)
            if change.error < made.error:
                block, context = change.block, replace(held, latent=change.latent)
        self._expected = context
        return SentPart(block.samples, {self.modality: block.head_bits}, block.crc_bits, {})

    def _picture(self, semantics: Semantics) -> NDArray[np.uint8]:
        """What the network takes, [H, W, channels]."""
        if self.modality == Modality.KEYFRAME:
            return semantics.rgb
        strokes = semantics.sketch
        if strokes is None:
            strokes = np.zeros(semantics.rgb.shape[:2], np.uint8)
        return to_picture(strokes, *self._picture_size)[..., None]

    def acknowledge(self, sequence: int, received: bool) -> None:
        """Changes are not added to what was lost: a picture comes next, in a frame's symbols."""
        if not received and self._expected and sequence >= self._expected.sequence:
            self._expected = None


class LearnedReceiver(_LearnedPart):
    """Receiver half."""

    fixed_size = True
    _held: _Context | None = None

    def num_symbols(self, control: Mapping[str, int], sequence: int) -> int:
        """By the frame's place in its segment."""
        return self._symbols(sequence)

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
        if not len(samples):
            came_before = self._held is not None
            return ReceivedPart(Received(), expected=False, ok=came_before, resent=None)
        context, resent = None, None
        held = None if self._begins(sequence) else self._held
        if self._changes and held:
            key = self._key(sequence, held)
            if change := self._changes.decode(samples, noise_var, held.latent, rung, key):
                context, resent = replace(held, latent=change[0]), change[1]
        if context is None:
            key = self._key(sequence)
            if picture := self._code.decode(samples, noise_var, rung, key):
                context, resent = _Context(*picture[:2], sequence), picture[2]
        if context is None:
            self.lost(sequence)
            return ReceivedPart(Received(), expected=True, ok=False, resent=None)
        self._held = held = context
        pixels = self._code.picture(held.latent, held.ground, snr_db_of(noise_var))
        return ReceivedPart(self._came(pixels), expected=True, ok=True, resent=resent)

    def _came(self, pixels: NDArray[np.uint8]) -> Received:
        if self.modality == Modality.KEYFRAME:
            return Received({Modality.KEYFRAME: pixels})
        return Received(sketch=to_strength(pixels[..., 0], self._setup.width, self._setup.height))

    def lost(self, sequence: int) -> None:
        """A segment without its first picture shows nothing of the last one."""
        if self._begins(sequence):
            self._held = None
