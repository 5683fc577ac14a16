"""The low-res frame over the air: one digital block of fixed size a frame.

The block's size is fixed at set-up, the rung follows from feedback the receiver itself sent, and
the reference is the newest frame it acknowledged: nothing varies that would need control symbols.
Every 128th frame is coded without a reference, so that a corrupt frame that slips through the
16-bit CRC is forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from semcast.air import crc, digital
from semcast.air.control import ControlField
from semcast.air.ladder import Rung
from semcast.codecs import lowres
from semcast.codecs.errors import CorruptPayloadError
from semcast.parts import ReceivedPart, References, SentPart, block_key
from semcast.session import Modality, SessionSetup

INTRA_PERIOD_FRAMES = 128


_SLOWEST_RUNG_FACTOR = 2.85
"""How many times the slowest rung's bits the frame is sized for at most. On the training clips a
frame of 9 pixels per bit still builds up a picture at that rung, and one of 14 does not (`swans`,
112 bits: 32x32 reaches 21 dB, 40x40 stays at 15 dB)."""


def geometry(setup: SessionSetup, num_symbols: int, slowest: Rung) -> lowres.LowresGeometry:
    """Size of the tiny frame, from set-up numbers alone.

    For one bit a symbol (the rung of about 2 dB), less where the slowest rung could not fill it.
    """
    slowest_bits = digital.payload_bits(num_symbols, slowest)
    bits = min(num_symbols, _SLOWEST_RUNG_FACTOR * slowest_bits)
    return lowres.geometry_for(setup.width, setup.height, bits)


def _reference(
    references: References[lowres.LowresState], sequence: int
) -> lowres.LowresState | None:
    newest = references.newest(sequence)
    return None if sequence % INTRA_PERIOD_FRAMES == 0 else newest


class LowresSender:
    """Transmitter half. num_symbols: size of the block; slowest: rung; fixed for the session."""

    modality = Modality.LOWRES
    control_fields: tuple[ControlField, ...] = ()

    def __init__(self, setup: SessionSetup, num_symbols: int, slowest: Rung) -> None:
        self._num_symbols = num_symbols
        self._geometry = geometry(setup, num_symbols, slowest)
        self._seed = setup.seed
        self._pending: dict[int, lowres.LowresState] = {}
        self._references: References[lowres.LowresState] = References(setup.feedback_delay_frames)

    def encode(
        self, rgb: NDArray[np.uint8], sequence: int, rung: Rung, snr_db: float | None
    ) -> SentPart:
        """The frame shrunk, coded into exactly the bits the block holds, protected, mapped."""
        num_bits = digital.payload_bits(self._num_symbols, rung)
        small = lowres.shrink(rgb, self._geometry)
        bits, state = lowres.encode(small, _reference(self._references, sequence), num_bits)
        self._pending[sequence] = state
        samples = digital.encode_block(
            bits, self._num_symbols, rung, block_key(self._seed, sequence, self.modality)
        )
        return SentPart(samples, num_bits, crc.length_bits(digital.crc_kind(num_bits)), {})

    def acknowledge(self, sequence: int, received: bool) -> None:
        """Makes the state of an acknowledged frame available for prediction."""
        state = self._pending.pop(sequence, None)
        if received and state is not None:
            self._references.add(sequence, state)


class LowresReceiver:
    """Receiver half."""

    modality = Modality.LOWRES
    control_fields: tuple[ControlField, ...] = ()
    least_payload_bits = lowres.MIN_BUDGET_BITS

    def __init__(self, setup: SessionSetup, num_symbols: int, slowest: Rung) -> None:
        self._num_symbols = num_symbols
        self._geometry = geometry(setup, num_symbols, slowest)
        self._seed = setup.seed
        self._references: References[lowres.LowresState] = References(setup.feedback_delay_frames)

    def num_symbols(self, control: Mapping[str, int]) -> int:
        """Fixed at set-up."""
        return self._num_symbols

    def decode(
        self,
        samples: NDArray[np.complex64],
        noise_var: float,
        sequence: int,
        rung: Rung,
        control: Mapping[str, int],
    ) -> ReceivedPart:
        """The tiny frame, if its CRC holds and it can be parsed."""
        reference = _reference(self._references, sequence)
        block = digital.decode_block(
            samples,
            noise_var,
            rung,
            digital.payload_bits(self._num_symbols, rung),
            block_key(self._seed, sequence, self.modality),
        )
        if block.payload is None:
            return ReceivedPart(None, expected=True, ok=False, resent=None)
        try:
            state = lowres.decode(block.payload, reference, self._geometry)
        except CorruptPayloadError:
            return ReceivedPart(None, expected=True, ok=False, resent=None)
        self._references.add(sequence, state)
        return ReceivedPart(state.rgb, expected=True, ok=True, resent=block.resent)

    def lost(self, sequence: int) -> None:
        """A fixed block needs no control; there is nothing to lose but the block itself."""
