"""H.264 or H.265 over the air: one access unit a frame in one digital block.

The size of an access unit varies, so it is control: `video_units` (8 bits) counts units of a size
fixed at set-up (1/16 of the average frame), and 0 means that the encoder skipped the frame. The
access unit is padded with zero bytes, which Annex B allows after a NAL unit.

A lost frame breaks the prediction of those after it. The receiver holds the last good picture, and
the transmitter, told by feedback, sends an IDR.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from semcast.air import crc, digital
from semcast.air.control import ControlField
from semcast.air.ladder import Rung
from semcast.codecs.classical import ClassicalDecoder, ClassicalEncoder
from semcast.codecs.rate import RateController
from semcast.parts import ReceivedPart, SentPart, block_key
from semcast.session import Modality, SessionSetup

_UNITS_BITS = 8
_MAX_UNITS = 2**_UNITS_BITS - 1
_UNITS_PER_AVERAGE_FRAME = 16
_CONTROL_FIELDS = (ControlField("video_units", _UNITS_BITS),)


def unit_symbols(num_symbols: int) -> int:
    """Symbols in a unit; num_symbols: the average a frame may use."""
    return max(1, num_symbols // _UNITS_PER_AVERAGE_FRAME)


class VideoSender:
    """Transmitter half. num_symbols: average symbols a frame may use for video."""

    modality = Modality.VIDEO
    control_fields = _CONTROL_FIELDS

    def __init__(
        self,
        setup: SessionSetup,
        num_symbols: int,
        codec: Literal["h264", "h265"],
        nominal_rung: Rung,
    ) -> None:
        self._seed = setup.seed
        self._unit_symbols = unit_symbols(num_symbols)
        self._encoder = ClassicalEncoder(
            codec,
            setup.width,
            setup.height,
            setup.fps,
            digital.payload_bits(num_symbols, nominal_rung),
        )
        self._rate = RateController(num_symbols)
        self._newest_idr = -1
        self._idr_wanted = True

    def encode(self, rgb: NDArray[np.uint8], sequence: int, rung: Rung) -> SentPart:
        """One access unit, or nothing where the rate is spent."""
        self._rate.begin_frame()
        access_unit = b"" if self._rate.should_skip() else self._access_unit(rgb, sequence)
        data = np.unpackbits(np.frombuffer(access_unit, np.uint8))
        needed = digital.num_symbols(len(data), rung) if len(data) else 0
        units = -(-needed // self._unit_symbols)
        self._rate.spend(units * self._unit_symbols)
        padding_units = int(self._rate.padding()) // self._unit_symbols
        self._rate.spend(padding_units * self._unit_symbols)
        units += padding_units
        num_symbols = units * self._unit_symbols
        if not units:
            return SentPart(np.empty(0, np.complex64), 0, 0, {"video_units": 0})
        num_bits = digital.payload_bits(num_symbols, rung)
        payload = np.zeros(num_bits, np.uint8)
        payload[: len(data)] = data
        samples = digital.encode_block(
            payload, num_symbols, rung, block_key(self._seed, sequence, self.modality)
        )
        return SentPart(samples, num_bits, crc.length_bits(digital.crc_kind(num_bits)), {"video_units": units})

    def _access_unit(self, rgb: NDArray[np.uint8], sequence: int) -> bytes:
        access_unit = self._encoder.encode(rgb, force_idr=self._idr_wanted)
        if self._idr_wanted and access_unit:
            self._newest_idr = sequence
            self._idr_wanted = False
        return access_unit

    def acknowledge(self, sequence: int, received: bool) -> None:
        """A loss since the newest IDR calls for another."""
        if not received and sequence >= self._newest_idr:
            self._idr_wanted = True


class VideoReceiver:
    """Receiver half."""

    modality = Modality.VIDEO
    control_fields = _CONTROL_FIELDS

    def __init__(
        self, setup: SessionSetup, num_symbols: int, codec: Literal["h264", "h265"]
    ) -> None:
        self._setup = setup
        self._codec: Literal["h264", "h265"] = codec
        self._unit_symbols = unit_symbols(num_symbols)
        self._decoder = self._new_decoder()

    def _new_decoder(self) -> ClassicalDecoder:
        return ClassicalDecoder(self._codec, self._setup.width, self._setup.height)

    def num_symbols(self, control: Mapping[str, int]) -> int:
        """Whole units, as control says."""
        return control["video_units"] * self._unit_symbols

    def decode(
        self,
        samples: NDArray[np.complex64],
        noise_var: float,
        sequence: int,
        rung: Rung,
        control: Mapping[str, int],
    ) -> ReceivedPart:
        """The picture; None until an IDR has come after a loss, and for a skipped frame."""
        if not len(samples):
            return ReceivedPart(None, expected=False, ok=True, resent=None)
        block = digital.decode_block(
            samples,
            noise_var,
            rung,
            digital.payload_bits(len(samples), rung),
            block_key(self._setup.seed, sequence, self.modality),
        )
        if block.payload is None:
            self.lost(sequence)
            return ReceivedPart(None, expected=True, ok=False, resent=None)
        num_bytes = len(block.payload) // 8
        picture = self._decoder.decode(np.packbits(block.payload[: 8 * num_bytes]).tobytes())
        return ReceivedPart(picture, expected=True, ok=True, resent=block.resent)

    def lost(self, sequence: int) -> None:
        """Starts over: a fresh decoder shows nothing before the next IDR."""
        self._decoder = self._new_decoder()
