"""Contours, sketch, motion and low-res frame over the air: one digital block a frame for them all.

    payload = contours | sketch | motion | low-res frame (those the scheme sends, in that order)

All layers are written into one range coder, and the low-res frame takes the bits that the others
left. So a still scene's bits go to its colours, no lengths are sent, and there is one codeword with
one CRC, whose 16 bits are a tenth and more of the smallest blocks.

The block's size is fixed at set-up, the rung follows from feedback the receiver itself sent, and
what a layer predicts from is the newest block it acknowledged: nothing varies that would need
control symbols. Every 128th frame a layer starts without a reference, so that a corrupt block that
slips through its CRC is forgotten; each layer at another frame, so that no block must bear all.
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
from semcast.codecs.range_payload import PayloadReader, PayloadWriter
from semcast.parts import ReceivedPart, References, SentPart, block_key
from semcast.parts.layers import ContourLayer, Layer, LowresLayer, MotionLayer, SketchLayer
from semcast.semantics import Received, Semantics
from semcast.session import Modality, SessionSetup

BUNDLED = (Modality.CONTOURS, Modality.SKETCH, Modality.MOTION, Modality.LOWRES)
"""Modalities that may share a block, in the order they stand in it."""

FRESH_PERIOD_FRAMES = 128
_FRESH_AT = {Modality.LOWRES: 0, Modality.SKETCH: 32, Modality.CONTOURS: 64}

_SLACK_BITS = 3
"""What the range coder may add to the least a layer counts: its tail, and rounding."""

_State = Mapping[Modality, object]


def geometry(
    setup: SessionSetup, modalities: tuple[Modality, ...], num_symbols: int
) -> lowres.LowresGeometry:
    """Size of the tiny frame, from set-up numbers alone: for one bit a symbol (about 2 dB)."""
    left = 1.0
    if Modality.CONTOURS in modalities:
        left -= 0.5 * ContourLayer.share
    if Modality.SKETCH in modalities:
        left -= SketchLayer.share
    return lowres.geometry_for(setup.width, setup.height, left * num_symbols)


def least_payload_bits(modalities: frozenset[Modality]) -> int:
    """Fewer bits in a block are of no use to a bundle of these."""
    layers = (ContourLayer, SketchLayer, MotionLayer, LowresLayer)
    return sum(layer.least_bits + _SLACK_BITS for layer in layers if layer.modality in modalities)


def air_modality(modalities: tuple[Modality, ...]) -> Modality:
    """What the block is called on the air: the last that stands in it."""
    return [modality for modality in BUNDLED if modality in modalities][-1]


class _Bundle:
    """What both ends share."""

    control_fields: tuple[ControlField, ...] = ()

    def __init__(
        self,
        setup: SessionSetup,
        modalities: tuple[Modality, ...],
        num_symbols: int,
    ) -> None:
        """num_symbols: size of the block, fixed for the session."""
        self.modality = air_modality(modalities)
        self._num_symbols = num_symbols
        self._seed = setup.seed
        self._references: References[_State] = References(setup.feedback_delay_frames)
        layers: dict[Modality, Layer] = {}
        if Modality.CONTOURS in modalities:
            layers[Modality.CONTOURS] = ContourLayer(setup)
        if Modality.SKETCH in modalities:
            layers[Modality.SKETCH] = SketchLayer(setup, num_symbols)
        if Modality.MOTION in modalities:
            layers[Modality.MOTION] = MotionLayer(setup)
        self._layers = layers
        self._filler: LowresLayer | None = None
        if Modality.LOWRES in modalities:
            self._filler = LowresLayer(geometry(setup, modalities, num_symbols))

    def _reference(self, sequence: int) -> _State:
        """States that frame `sequence` may be predicted from."""
        newest = self._references.newest(sequence) or {}
        return {
            modality: state
            for modality, state in newest.items()
            if sequence % FRESH_PERIOD_FRAMES != _FRESH_AT.get(modality)
        }

    def _key(self, sequence: int) -> int:
        return block_key(self._seed, sequence, self.modality)


class BundleSender(_Bundle):
    """Transmitter half."""

    def __init__(
        self,
        setup: SessionSetup,
        modalities: tuple[Modality, ...],
        num_symbols: int,
    ) -> None:
        super().__init__(setup, modalities, num_symbols)
        self._pending: dict[int, _State] = {}

    def encode(
        self,
        semantics: Semantics,
        sequence: int,
        rung: Rung,
        snr_db: float | None,
        sent: frozenset[Modality],
    ) -> SentPart:
        """Each layer's bits in turn, exactly as many as the block holds, protected, mapped."""
        num_bits = digital.payload_bits(self._num_symbols, rung)
        reference = self._reference(sequence)
        states = dict(reference)
        writer = PayloadWriter()
        means = Received()
        written = 0
        payload_bits: dict[Modality, int] = {}
        filler = self._filler if Modality.LOWRES in sent else None
        layers = [layer for modality, layer in self._layers.items() if modality in sent]
        kept = sum(layer.least_bits + _SLACK_BITS for layer in layers)
        kept += filler.least_bits + _SLACK_BITS if filler else 0
        for index, layer in enumerate(layers):
            # What those after it need at least is kept for them.
            kept -= layer.least_bits + _SLACK_BITS
            last = filler is None and index == len(layers) - 1
            most = num_bits - kept
            if not last:
                most = min(most, written + max(layer.least_bits, int(layer.share * num_bits)))
            modality = layer.modality
            writer, states[modality] = self._written(
                layer, writer, semantics, reference.get(modality), most, sequence
            )
            means = means.then(layer.received(states[modality]))
            payload_bits[modality] = writer.num_bits - written
            written = writer.num_bits
        if filler:
            bits, states[Modality.LOWRES] = filler.fill(
                writer, semantics, reference.get(Modality.LOWRES), num_bits
            )
            means = means.then(filler.received(states[Modality.LOWRES]))
            payload_bits[Modality.LOWRES] = num_bits - written
        else:
            bits = _padded(writer.finish(), num_bits)
            payload_bits[layers[-1].modality] += num_bits - written
        self._pending[sequence] = states
        samples = digital.encode_block(bits, self._num_symbols, rung, self._key(sequence))
        crc_bits = crc.length_bits(digital.crc_kind(num_bits))
        return SentPart(samples, payload_bits, crc_bits, {}, means)

    @staticmethod
    def _written(
        layer: Layer,
        writer: PayloadWriter,
        semantics: Semantics,
        reference: object,
        most: int,
        sequence: int,
    ) -> tuple[PayloadWriter, object]:
        """The writer with the layer in it, at most `most` bits long, and the layer's state.

        A layer counts its information; the coder's rounding comes on top. Where that is too much,
        it is told to take so much less.
        """
        budget = max(layer.least_bits, most - writer.num_bits)
        while True:
            attempt = writer.clone()
            state = layer.write(attempt, semantics, reference, budget, sequence)
            over = attempt.num_bits - most
            if over <= 0 or budget == layer.least_bits:
                return attempt, state
            budget = max(layer.least_bits, budget - over)

    def acknowledge(self, sequence: int, received: bool) -> None:
        """Makes the states of an acknowledged block available for prediction."""
        states = self._pending.pop(sequence, None)
        if received and states is not None:
            self._references.add(sequence, states)


def _padded(bits: NDArray[np.uint8], num_bits: int) -> NDArray[np.uint8]:
    payload = np.zeros(num_bits, np.uint8)
    payload[: len(bits)] = bits
    return payload


class BundleReceiver(_Bundle):
    """Receiver half."""

    fixed_size = True

    def num_symbols(self, control: Mapping[str, int], sequence: int) -> int:
        """Fixed at set-up."""
        return self._num_symbols

    def decode(
        self,
        samples: NDArray[np.complex64],
        noise_var: float,
        sequence: int,
        rung: Rung,
        control: Mapping[str, int],
        sent: frozenset[Modality],
    ) -> ReceivedPart:
        """All layers, if the CRC holds and they can be parsed; nothing else."""
        reference = self._reference(sequence)
        num_bits = digital.payload_bits(self._num_symbols, rung)
        block = digital.decode_block(samples, noise_var, rung, num_bits, self._key(sequence))
        if block.payload is None:
            return ReceivedPart(Received(), expected=True, ok=False, resent=None)
        states = dict(reference)
        came = Received()
        reader = PayloadReader(block.payload)
        try:
            for modality, layer in self._layers.items():
                if modality in sent:
                    states[modality] = layer.read(reader, reference.get(modality), sequence)
                    came = came.then(layer.received(states[modality]))
            if self._filler and Modality.LOWRES in sent:
                state = self._filler.read(reader, reference.get(Modality.LOWRES), sequence)
                states[Modality.LOWRES] = state
                came = came.then(self._filler.received(state))
        except CorruptPayloadError:
            return ReceivedPart(Received(), expected=True, ok=False, resent=None)
        self._references.add(sequence, states)
        return ReceivedPart(came, expected=True, ok=True, resent=block.resent)

    def lost(self, sequence: int) -> None:
        """A fixed block needs no control; there is nothing to lose but the block itself."""
