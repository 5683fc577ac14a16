"""H.264 and H.265 by x264 and x265 (PyAV): one frame in, one access unit out, or none.

No look-ahead, no B-frames, one thread, so equal input gives equal bytes and an access unit depends
on earlier frames only. Parameter sets cross with every IDR picture and are counted; the encoder's
banner (SEI) is not sent. Format of an access unit: `access_unit`.

Rate. x264 and x265 run in their average-bit-rate mode. Theirs is a soft target, and neither lets
it be changed in mid-stream, so a `RateController` on top skips a frame when debt gets deep (b"" is
returned; the receiver holds its picture), says how much to pad where content is too easy, and
takes a scheduled IDR picture only when it is affordable. At an IDR the encoder is opened anew with
that picture's quantiser fixed; a few trials bring the picture near `IDR_FRAMES` frames' worth.

Pixels. 4:2:0 in ITU-R BT.601 limited range, fixed (not signalled). Odd sides are padded by one
repeated row or column, and cropped by the decoder, which knows the true size.
"""

import math
from fractions import Fraction
from typing import Literal, cast

import av
import av.error
import numpy as np
from av.codec.context import Flags
from av.video.reformatter import Colorspace
from numpy.typing import NDArray

from semcast.codecs.access_unit import pack, unpack
from semcast.codecs.errors import CorruptPayloadError
from semcast.codecs.rate import RateController, RateLimits
from semcast.errors import InputError

Codec = Literal["h264", "h265"]

IDR_INTERVAL_S = 10.0
"""A new start for decoders is scheduled this often, and sent once the rate can bear it."""

IDR_FRAMES = 5.0
"""What an IDR picture should cost, in average frames; chosen on training clips."""

MIN_SIDE = {"h264": 16, "h265": 32}
"""Smallest sides the encoders take well, pixels."""

# The encoders count whole kbit/s and let the rate wander for about a second. At this nominal frame
# rate both are fine enough for a few hundred bits a frame.
_NOMINAL_FPS = 50
# x265 can fix no picture's quantiser (it ignores zones here), but keeps well to a buffer of this
# many frames, nearly full at the start; x264 does better without.
_H265_BUFFER_FRAMES = 5
# Both come out a little below what they are asked for; what is not spent is padding.
_AIM = {"h264": 1.03, "h265": 1.06}
_MAX_QP = 51
_QP_PER_OCTAVE = 8.0  # how many qp steps halve an IDR picture, roughly
_IDR_TRIALS = 3
_IDR_TOLERANCE = 1.25

_X264 = (
    "rc-lookahead=0:sync-lookahead=0:mbtree=0:bframes=0:scenecut=0:keyint=infinite:force-cfr=1:threads=1:"
    "sliced-threads=0:slices=1:annexb=1:aud=0:nal-hrd=none:ratetol=0.05:"
    "qpmax=51:log=-1"
)
_X265 = (
    "rc-lookahead=0:lookahead-slices=0:bframes=0:scenecut=0:keyint=-1:frame-threads=1:pools=none:"
    "wpp=0:cutree=0:info=0:repeat-headers=1:annexb=1:aud=0:hrd=0:slices=1:log-level=none"
)


def _padded(side: int) -> int:
    return side + side % 2


def _check_size(codec: Codec, width: int, height: int) -> None:
    if codec not in MIN_SIDE:
        raise InputError(f"unknown classical codec {codec!r}; there are h264 and h265")
    if min(width, height) < MIN_SIDE[codec]:
        raise InputError(
            f"{codec} needs at least {MIN_SIDE[codec]}x{MIN_SIDE[codec]} pixels, "
            f"not {width}x{height}; choose a larger --size"
        )


class ClassicalEncoder:
    """Encodes frames of one size to an average number of bits."""

    def __init__(
        self, codec: Codec, width: int, height: int, fps: float, bits_per_frame: float
    ) -> None:
        """`bits_per_frame`: what an average video frame may cost, skipped ones included."""
        _check_size(codec, width, height)
        if not fps > 0:
            raise InputError(f"fps must be positive, not {fps}")
        self.rate = RateController(bits_per_frame, RateLimits())
        self._codec = codec
        self._width = width
        self._height = height
        self._idr_interval_frames = max(1, round(IDR_INTERVAL_S * fps))
        self._since_idr = 0
        self._last_idr_bits = 0.0
        self._idr_qp = 40
        self._context: av.VideoCodecContext | None = None
        self._pictures = 0  # since the encoder was opened

    def _open(self, idr_qp: int) -> av.VideoCodecContext:
        fps = _NOMINAL_FPS
        name = "libx264" if self._codec == "h264" else "libx265"
        context = cast(av.VideoCodecContext, av.VideoCodecContext.create(name, "w"))
        context.width, context.height = _padded(self._width), _padded(self._height)
        context.pix_fmt = "yuv420p"
        context.framerate = Fraction(fps)
        context.time_base = Fraction(1, fps)
        wanted = _AIM[self._codec] * self.rate.target_per_frame * fps
        context.bit_rate = max(1000, round(wanted))
        context.max_b_frames = 0
        context.thread_count = 1
        if self._codec == "h264":
            # With headers in the stream comes a banner of 600 bytes, and it is charged to the rate.
            context.flags |= Flags.global_header
        rate_kbps = context.bit_rate // 1000
        if self._codec == "h264":
            parameters = f"{_X264}:zones=0,0,q={idr_qp}"
            context.options = {"preset": "slow", "tune": "psnr", "x264-params": parameters}
        else:
            buffer_kbit = max(1, rate_kbps * _H265_BUFFER_FRAMES // fps)
            parameters = f"{_X265}:vbv-maxrate={rate_kbps}:vbv-bufsize={buffer_kbit}:vbv-init=0.9"
            context.options = {"preset": "medium", "tune": "psnr", "x265-params": parameters}
        return context

    def encode(self, rgb: NDArray[np.uint8], *, force_idr: bool = False) -> bytes:
        """The access unit of the next frame, uint8 [height, width, 3]; b"" = frame skipped.

        `force_idr`: start afresh (a decoder asked for it); such a frame is never skipped.
        """
        if rgb.shape != (self._height, self._width, 3) or rgb.dtype != np.uint8:
            raise InputError(
                f"the encoder takes uint8 [{self._height}, {self._width}, 3], "
                f"not {rgb.dtype} {list(rgb.shape)}"
            )
        self.rate.begin_frame()
        self._since_idr += 1
        due = self._since_idr >= self._idr_interval_frames
        idr = (
            force_idr or self._context is None or (due and self.rate.may_burst(self._last_idr_bits))
        )
        if not idr and self.rate.should_skip():
            return b""
        access_unit = self._encode_idr(rgb) if idr else self._encode_picture(rgb)
        bits = 8 * len(access_unit)
        self.rate.spend(bits, burst=idr)
        if idr:
            self._since_idr = 0
            self._last_idr_bits = bits
        else:
            self.rate.expect(bits)
        return access_unit

    def charge(self, extra_bits: float) -> None:
        """Count bits that the last access unit cost on top of its own (rounding up to blocks)."""
        self.rate.spend(extra_bits)

    def _encode_idr(self, rgb: NDArray[np.uint8]) -> bytes:
        """Opens the encoder anew, with the quantiser that makes the IDR picture affordable."""
        wanted_bits = IDR_FRAMES * self.rate.target_per_frame
        qp = self._idr_qp
        for _ in range(_IDR_TRIALS if self._codec == "h264" else 1):
            self._idr_qp = qp
            self._context = self._open(qp)
            self._pictures = 0
            access_unit = self._encode_picture(rgb)
            ratio = 8 * len(access_unit) / wanted_bits
            qp = min(max(qp + round(_QP_PER_OCTAVE * math.log2(ratio)), 1), _MAX_QP)
            if 1 / _IDR_TOLERANCE < ratio < _IDR_TOLERANCE or qp == self._idr_qp:
                break
        return access_unit

    def _encode_picture(self, rgb: NDArray[np.uint8]) -> bytes:
        assert self._context is not None
        frame = av.VideoFrame.from_ndarray(self._pad(rgb), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU601)
        frame.pts = self._pictures
        frame.time_base = Fraction(1, _NOMINAL_FPS)
        packets = self._context.encode(frame)
        if len(packets) != 1:
            raise RuntimeError(f"{self._codec} gave {len(packets)} packets for one frame")
        # x264 keeps its parameter sets (and its banner) out of the stream: see `_open`.
        external = self._codec == "h264" and self._pictures == 0
        headers = bytes(self._context.extradata or b"") if external else b""
        self._pictures += 1
        return pack(self._codec, headers + bytes(packets[0]))

    def _pad(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self._width % 2 == 0 and self._height % 2 == 0:
            return np.ascontiguousarray(rgb)
        return np.pad(rgb, ((0, self._height % 2), (0, self._width % 2), (0, 0)), mode="edge")


class ClassicalDecoder:
    """Decodes access units of one size, in order; starts, and starts again, at IDR pictures."""

    def __init__(self, codec: Codec, width: int, height: int) -> None:
        _check_size(codec, width, height)
        self._codec = codec
        self._width = width
        self._height = height
        self._context = self._open()
        self._waiting_for_idr = True

    def _open(self) -> av.VideoCodecContext:
        name = "h264" if self._codec == "h264" else "hevc"
        context = cast(av.VideoCodecContext, av.VideoCodecContext.create(name, "r"))
        context.thread_count = 1
        # A corrupt parameter set must not make it allocate more than the session's pictures.
        pixels = (_padded(self._width) + 64) * (_padded(self._height) + 64)
        context.options = {"flags": "low_delay", "max_pixels": str(pixels)}
        return context

    @property
    def waiting_for_idr(self) -> bool:
        """Whether only an IDR picture can be decoded next."""
        return self._waiting_for_idr

    def lost(self) -> None:
        """An access unit did not arrive: what follows cannot be decoded before the next IDR."""
        self._waiting_for_idr = True

    def decode(self, access_unit: bytes) -> NDArray[np.uint8] | None:
        """The picture, uint8 [height, width, 3]; None where there is none to be had.

        None for an empty access unit (frame skipped by the encoder: hold the last picture), for a
        damaged one, and for every one but an IDR after a loss.
        """
        if not access_unit:
            return None
        try:
            stream, idr = unpack(self._codec, access_unit)
        except CorruptPayloadError:
            self.lost()
            return None
        if self._waiting_for_idr:
            if not idr:
                return None
            self._context = self._open()
        picture = self._decode_stream(stream)
        self._waiting_for_idr = picture is None
        return picture

    def _decode_stream(self, stream: bytes) -> NDArray[np.uint8] | None:
        try:
            frames = self._context.decode(av.Packet(stream))
        except av.error.FFmpegError:  # invalid data, or more pixels than the session has
            return None
        if len(frames) != 1 or frames[0].is_corrupt:
            return None
        frame = frames[0]
        if (frame.width, frame.height) != (_padded(self._width), _padded(self._height)):
            return None
        picture = frame.reformat(format="rgb24", src_colorspace=Colorspace.ITU601).to_ndarray()
        return np.ascontiguousarray(picture[: self._height, : self._width])
