"""H.264 or H.265 over the air: one access unit a frame in one digital block.

The size of an access unit varies, so it is control: `video_size` (8 bits) stands for a number of
units of a size fixed at set-up, 1/16 of the average frame:

    0 .. 127:   that many units; 0 means that the encoder skipped the frame
    128 .. 255: 127 + 8 (size - 127) units, up to 72 average frames, which an IDR may need

The access unit is padded with zero bytes, in which no NAL unit ends.

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
from semcast.errors import InputError
from semcast.parts import ReceivedPart, SentPart, block_key
from semcast.semantics import Received, Semantics
from semcast.session import Modality, SessionSetup

_SIZE_BITS = 8
_FINE_SIZES = 127
_COARSE_UNITS = 8
_UNITS_PER_AVERAGE_FRAME = 16
LEAST_VIDEO_BITS = 96
"""Ours: with less on average, x264 and x265 skip nearly every frame, whatever the size."""

VIDEO_CONTROL: tuple[ControlField, ...] = (ControlField("video_size", _SIZE_BITS),)


def unit_symbols(num_symbols: int) -> int:
    """Symbols in a unit; num_symbols: the average a frame may use."""
    return max(1, num_symbols // _UNITS_PER_AVERAGE_FRAME)


def units_of(size: int) -> int:
    """Units that a value of `video_size` stands for."""
    return size + max(0, size - _FINE_SIZES) * (_COARSE_UNITS - 1)


def size_for(units: int) -> int:
    """Least value of `video_size` that stands for so many units or more; past 255 where none is."""
    if units <= _FINE_SIZES:
        return units
    return _FINE_SIZES - (_FINE_SIZES - units) // _COARSE_UNITS


class VideoSender:
    """Transmitter half.

    num_symbols: average symbols a frame may use for video. rung: of the whole session, since the
    encoder's rate cannot follow a changing one.
    """

    modality = Modality.VIDEO
    control_fields = VIDEO_CONTROL

    def __init__(
        self,
        setup: SessionSetup,
        num_symbols: int,
        codec: Literal["h264", "h265"],
        rung: Rung,
    ) -> None:
        self._seed = setup.seed
        self._codec = codec
        self._unit_symbols = unit_symbols(num_symbols)
        self._encoder = ClassicalEncoder(
            codec,
            setup.width,
            setup.height,
            setup.fps,
            digital.payload_bits(num_symbols, rung),
        )
        self._idr_bits = 0.0
        self._newest_idr = -1
        self._idr_wanted = True

    def encode(
        self,
        semantics: Semantics,
        sequence: int,
        rung: Rung,
        snr_db: float | None,
        sent: frozenset[Modality],
    ) -> SentPart:
        """One access unit, or nothing where the rate is spent."""
        access_unit = self._access_unit(semantics.rgb, sequence)
        rate = self._encoder.rate
        # Credit is saved up for an IDR that is due, and padded away otherwise.
        padding_bits = 0 if self._idr_wanted else int(rate.padding())
        data = np.unpackbits(np.frombuffer(access_unit, np.uint8))
        symbols = digital.num_symbols(len(data) + padding_bits, rung)
        size = size_for(-(-symbols // self._unit_symbols))
        if size >= 2**_SIZE_BITS:
            raise InputError(
                f"A {self._codec} picture took {len(data)} bits, "
                f"{len(data) / rate.target_per_frame:.0f} times what a frame may use on average: "
                "raise the CBR or lower the size."
            )
        if not size:
            return SentPart(np.empty(0, np.complex64), {}, 0, {"video_size": 0})
        num_symbols = units_of(size) * self._unit_symbols
        num_bits = digital.payload_bits(num_symbols, rung)
        rate.spend(num_bits - len(data))
        payload = np.zeros(num_bits, np.uint8)
        payload[: len(data)] = data
        samples = digital.encode_block(
            payload, num_symbols, rung, block_key(self._seed, sequence, self.modality)
        )
        crc_bits = crc.length_bits(digital.crc_kind(num_bits))
        return SentPart(samples, {self.modality: num_bits}, crc_bits, {"video_size": size})

    def _access_unit(self, rgb: NDArray[np.uint8], sequence: int) -> bytes:
        """A wanted IDR waits until the rate can bear it; until then nothing else is of any use."""
        if not self._idr_wanted:
            return self._encoder.encode(rgb)
        rate = self._encoder.rate
        if not rate.may_burst(self._idr_bits):
            rate.begin_frame()
            return b""
        access_unit = self._encoder.encode(rgb, force_idr=True)
        self._idr_bits = 8.0 * len(access_unit)
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
    control_fields = VIDEO_CONTROL
    fixed_size = False

    def __init__(
        self, setup: SessionSetup, num_symbols: int, codec: Literal["h264", "h265"]
    ) -> None:
        self._seed = setup.seed
        self._unit_symbols = unit_symbols(num_symbols)
        self._decoder = ClassicalDecoder(codec, setup.width, setup.height)

    def num_symbols(self, control: Mapping[str, int], sequence: int) -> int:
        """As control says."""
        return units_of(control["video_size"]) * self._unit_symbols

    def decode(
        self,
        samples: NDArray[np.complex64],
        noise_var: float,
        sequence: int,
        rung: Rung,
        control: Mapping[str, int],
        sent: frozenset[Modality],
    ) -> ReceivedPart:
        """The picture; None until an IDR has come after a loss, and for a skipped frame."""
        if not len(samples):
            # A skipped frame is whole only where the picture that is held is.
            held = not self._decoder.waiting_for_idr
            return ReceivedPart(Received(), expected=False, ok=held, resent=None)
        block = digital.decode_block(
            samples,
            noise_var,
            rung,
            digital.payload_bits(len(samples), rung),
            block_key(self._seed, sequence, self.modality),
        )
        if block.payload is None:
            self.lost(sequence)
            return ReceivedPart(Received(), expected=True, ok=False, resent=None)
        whole_bytes = len(block.payload) // 8
        data = np.packbits(block.payload[: 8 * whole_bytes]).tobytes()
        # No NAL unit ends in a zero byte, so what is left is the access unit, or nothing.
        picture = self._decoder.decode(data.rstrip(b"\0"))
        came = Received() if picture is None else Received({self.modality: picture})
        return ReceivedPart(came, expected=True, ok=picture is not None, resent=block.resent)

    def lost(self, sequence: int) -> None:
        """Shows nothing new before the next IDR."""
        self._decoder.lost()
