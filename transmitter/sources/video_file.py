"""One file that FFmpeg reads: opening it safely, what it is, and its frames in time.

Frames are decoded as they are asked for; beside the decoder's own reference pictures nothing is
held, whatever the length. Damage in the middle is skipped, a tail that is missing ends the clip;
both are logged once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import av.error
from av.stream import Disposition

from semcast.errors import InputError
from transmitter.sources.frames import ClipInfo
from transmitter.sources.grid import PresentationClock, Timed
from transmitter.sources.locate import quoted
from transmitter.sources.orientation import frame_orientation
from transmitter.sources.rendering import check_picture_size

logger = logging.getLogger(__name__)

REFUSED_FORMATS = frozenset({"concat", "dash", "hls", "rtsp", "sdp", "webm_dash_manifest"})
"""Playlists: they name other files or hosts, which a clip sent by somebody else must not reach."""

TEXT_FORMATS = frozenset({"adf", "bin", "idf", "tty", "xbin"})
"""FFmpeg draws a text file as terminal art, by its suffix."""

_DECODER_THREADS = 2
_NOMINAL_FPS = 25.0
_MISSING_TAIL_S = 0.5


class OpenedVideo:
    """An open file with at least one stream of moving pictures. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._container = _open(path)
        try:
            self._stream = _video_stream(self._container, path)
        except InputError:
            self._container.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; frames already handed out stay valid."""
        self._container.close()

    @property
    def pixel_aspect(self) -> float:
        """Width of a coded pixel over its height; 1 where the file is silent or absurd."""
        ratio = self._stream.sample_aspect_ratio
        return float(ratio) if ratio and 1 / 8 <= ratio <= 8 else 1.0

    @property
    def time_base_s(self) -> float:
        """The grain of the file's time stamps, seconds."""
        return float(self._stream.time_base or 0)

    @property
    def fps(self) -> float | None:
        """Average frames per second as the file states it."""
        rate = self._stream.average_rate or self._stream.guessed_rate
        return float(rate) if rate else None

    @property
    def duration_s(self) -> float | None:
        """Length of the video as the file states it, seconds."""
        if self._stream.duration is not None and self._stream.time_base is not None:
            return float(self._stream.duration * self._stream.time_base)
        if self._container.duration is not None:
            return float(self._container.duration / av.time_base)
        return None

    def frames(self) -> Iterator[Timed[av.VideoFrame]]:
        """Decode once through. May be called once.

        Raises InputError if not one frame can be decoded.
        """
        clock = PresentationClock(1 / (self.fps or _NOMINAL_FPS))
        last: Timed[av.VideoFrame] | None = None
        damage = _Damage()
        for frame in self._decode(damage):
            stamp_s = None if frame.time is None else float(frame.time)
            duration_s = float(frame.duration * (frame.time_base or 0)) or None
            time_s, duration_s = clock.place(stamp_s, duration_s)
            last = Timed(time_s, duration_s, frame)
            yield last
        if last is None:
            raise InputError(
                f"clip {quoted(self.path)} holds no picture that can be decoded: "
                "the file is damaged, or cut off before its first frame"
            )
        self._log_damage(damage, last.time_s + last.duration_s, clock.num_broken_stamps)

    def info(self, name: str) -> ClipInfo:
        """Describe the file by its first frame; uses up `frames`."""
        frame = next(iter(self.frames())).picture
        check_picture_size(frame.width, frame.height)
        orientation = frame_orientation(frame)
        width, height = round(frame.width * self.pixel_aspect), frame.height
        if orientation.transpose:
            width, height = height, width
        return ClipInfo(
            name=name,
            width=width,
            height=height,
            fps=self.fps,
            duration_s=self.duration_s,
            num_frames=self._stream.frames or None,
            codec=self._stream.codec_context.name,
            pixel_format=frame.format.name,
            rotation_deg=orientation.rotation_deg,
        )

    def _decode(self, damage: _Damage) -> Iterator[av.VideoFrame]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.error.FFmpegError, OSError) as error:
                damage.stopped_by = error.strerror or str(error)
                return
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                damage.num_packets += 1
                continue
            yield from frames

    def _log_damage(self, damage: _Damage, played_s: float, num_broken_stamps: int) -> None:
        if damage.stopped_by is not None:
            logger.warning("%s: reading stopped early: %s", self.path, damage.stopped_by)
        elif self.duration_s is not None and self.duration_s - played_s > _MISSING_TAIL_S:
            logger.warning(
                "%s: cut off: %.2f s of %.2f s could be read", self.path, played_s, self.duration_s
            )
        if damage.num_packets:
            logger.warning("%s: %d damaged packets skipped", self.path, damage.num_packets)
        if num_broken_stamps:
            logger.warning("%s: %d broken time stamps bridged", self.path, num_broken_stamps)


class _Damage:
    """What went wrong while decoding one file."""

    def __init__(self) -> None:
        self.num_packets = 0
        self.stopped_by: str | None = None


def _open(path: Path) -> Any:
    try:
        # "file:" and the whitelist: a name or a playlist must not reach another protocol.
        container = av.open(
            f"file:{path.absolute()}",
            container_options={"protocol_whitelist": "file"},
            metadata_errors="replace",
        )
    except av.error.FFmpegError as error:
        raise InputError(
            f"clip {quoted(path)} cannot be read as video: "
            "it is damaged, cut off, or not a video file"
        ) from error
    formats = set(container.format.name.split(","))
    if formats & (REFUSED_FORMATS | TEXT_FORMATS):
        container.close()
        kind = "a playlist" if formats & REFUSED_FORMATS else "a text file"
        raise InputError(f"clip {quoted(path)} is {kind}: give the video file itself")
    return container


def _video_stream(container: Any, path: Path) -> Any:
    """The main stream of moving pictures, ready to decode; cover art does not count."""
    moving = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not moving:
        held = "only sound" if container.streams.audio else "no video"
        raise InputError(f"clip {quoted(path)} holds {held}: give a file with a video stream")
    best = container.streams.best("video")
    stream = best if best in moving else moving[0]
    if stream.codec_context is None:
        raise InputError(
            f"clip {quoted(path)} is coded in a way this FFmpeg cannot decode: "
            "convert it to H.264 first"
        )
    stream.thread_type = "AUTO"
    stream.codec_context.thread_count = _DECODER_THREADS
    return stream
