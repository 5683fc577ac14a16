"""How is a picture turned into H.264 that every browser decodes?

Constrained baseline (no B-frames, no CABAC), one slice where the picture is small, parameter sets
repeated at each IDR, x264's zerolatency: one access unit out for each picture in. x264 itself picks
the lowest level that holds the size, the frame rate and the buffer. Rate: constant quality
(`CRF`) under a ceiling of `bitrate_bps` with a one-second buffer, so an easy picture costs little
and a hard one stays bounded. `tune=psnr` switches the perceptual distortions off: the stream is
meant to look like the picture handed in, which is what the measurements on the page are about.

Colour is BT.601 limited range and says so in the VUI: decoders that ignore the VUI take small
pictures for BT.601 anyway. 4:2:0 cannot hold one-pixel colour detail, which bounds PSNR in RGB
(36-45 dB on real clips at 256×256) whatever the bitrate.
"""

import fractions
import functools
from dataclasses import dataclass

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from semcast.errors import InputError
from semcast.media.rtp_clock import RTP_CLOCK_HZ, rtp_ticks
from semcast.media.rtp_h264 import payloads

TIME_BASE = fractions.Fraction(1, RTP_CLOCK_HZ)

CRF = 16
"""Chosen on 256×256 crops of `../shared/data/video/val` at 8 fps: the largest value that leaves the
mean PSNR of each clip at 38 dB or more, but for two clips that 4:2:0 and the ceiling keep at 35 and
37 dB."""

MAX_SIDE_PX = 4096
"""Largest side of level 5.1, the highest that browsers decode."""

SINGLE_SLICE_PIXELS = 640 * 480
"""Up to this size one thread is fast enough, and one slice costs the fewest bits and packets."""

BITS_PER_PIXEL = 2.9
"""Default ceiling: 1.5 Mbit/s at 256×256 and 8 fps; scales with size and frame rate."""

_CHROMA_EXACT = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.FULL_CHR_H_INT
)


def default_bitrate_bps(width: int, height: int, fps: float) -> int:
    """Ceiling of the bitrate for a picture size and rate, between 0.3 and 20 Mbit/s."""
    return int(min(max(BITS_PER_PIXEL * width * height * fps, 300_000), 20_000_000))


@dataclass(frozen=True)
class AccessUnit:
    """One encoded picture.

    Attributes:
        packet: Annex B bytes; `pts` in 90 kHz ticks.
        payloads: the same as RTP payloads (RFC 6184, packetization mode 1).
        ticks: output time in 90 kHz ticks, not wrapped.
        is_idr: a decoder can start here.
    """

    packet: "av.Packet[av.VideoStream]"
    payloads: tuple[bytes, ...]
    ticks: int
    is_idr: bool

    @functools.cached_property
    def payload_bytes(self) -> int:
        return sum(map(len, self.payloads))


class H264Encoder:
    """Encodes RGB pictures of one size, one access unit for each.

    Args:
        width, height: picture size in pixels, 16 to 4096. An odd side is made even by repeating
            its last column or row, since 4:2:0 has no half chroma sample.
        fps: nominal frame rate, for rate control only.
        bitrate_bps: ceiling of the bitrate.

    Raises:
        InputError: the size, rate or bitrate is out of range.
    """

    def __init__(self, *, width: int, height: int, fps: float, bitrate_bps: int) -> None:
        if not (16 <= width <= MAX_SIDE_PX and 16 <= height <= MAX_SIDE_PX):
            raise InputError(
                f"A {width}×{height} picture cannot be shown live; "
                f"choose sides between 16 and {MAX_SIDE_PX} pixels."
            )
        if not 0 < fps <= 120:
            raise InputError(f"{fps} frames per second cannot be shown live; choose 1 to 120.")
        if bitrate_bps < 50_000:
            raise InputError(f"{bitrate_bps} bit/s is too little for video; give 50000 or more.")
        self._shape = (height, width, 3)
        self._pad = ((0, height % 2), (0, width % 2), (0, 0))
        self._reformatter = VideoReformatter()
        self._codec = _open_x264(width + width % 2, height + height % 2, fps, bitrate_bps)

    def encode(self, rgb: NDArray[np.uint8], *, time_us: int, idr: bool) -> AccessUnit:
        """Encodes one picture.

        Args:
            rgb: [height, width, 3], uint8.
            time_us: output time in microseconds, larger than that of the picture before.
            idr: make it an IDR picture.

        Raises:
            InputError: the picture has another shape or dtype.
        """
        if rgb.shape != self._shape or rgb.dtype != np.uint8:
            raise InputError(
                f"The live picture must be uint8 of shape {self._shape}, "
                f"not {rgb.dtype} of shape {rgb.shape}."
            )
        if self._pad != ((0, 0), (0, 0), (0, 0)):
            rgb = np.pad(rgb, self._pad, mode="edge")
        frame = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(rgb, format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU601,
            dst_color_range=ColorRange.MPEG,
            interpolation=_CHROMA_EXACT,
            threads=1,
        )
        frame.pts = rtp_ticks(time_us)
        frame.time_base = TIME_BASE
        frame.pict_type = PictureType.I if idr else PictureType.NONE
        (packet,) = self._codec.encode(frame)
        return AccessUnit(
            packet, payloads(bytes(packet)), rtp_ticks(time_us), is_idr=packet.is_keyframe
        )


def _open_x264(width: int, height: int, fps: float, bitrate_bps: int) -> VideoCodecContext:
    codec = av.CodecContext.create("libx264", "w")
    codec.width = width
    codec.height = height
    codec.pix_fmt = "yuv420p"
    codec.framerate = fractions.Fraction(fps).limit_denominator(1001)
    codec.time_base = TIME_BASE
    codec.gop_size = 1 << 20  # IDRs come when the publisher asks for them
    codec.thread_count = 1 if width * height <= SINGLE_SLICE_PIXELS else 2
    codec.colorspace = 6  # AVCOL_SPC_SMPTE170M: BT.601
    codec.color_range = ColorRange.MPEG
    codec.profile = "Baseline"
    codec.options = {
        "preset": "veryfast",
        "tune": "psnr,zerolatency",
        "forced-idr": "1",
        "crf": str(CRF),
        "maxrate": str(bitrate_bps),
        "bufsize": str(bitrate_bps),
    }
    return codec
