"""How does one encoding reach many viewers without waiting for any?

Three parties, each with a bounded queue in front of it or none:

    push (model thread) ──frames──► worker thread ──access units──► event loop ──► each viewer

`push` copies the picture and returns. The worker encodes each frame once, as `encode_plan` says,
and hands the access unit to the event loop, which sends it to every viewer (`PublisherTrack.play`)
or, for a viewer that reads, appends it to its queue (`PublisherTrack.recv`). A reader that does not
empty its queue loses what is in it and starts again at the next IDR; the others never notice.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import av
import numpy as np
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from numpy.typing import NDArray

from semcast.errors import InputError
from semcast.media.encode_plan import (
    EncodeState,
    EncodeStep,
    EncodeTiming,
    IdrRequest,
    plan_encode,
)
from semcast.media.h264 import AccessUnit, H264Encoder, default_bitrate_bps
from semcast.media.loop_post import post
from semcast.media.rtp_clock import RtpClock

logger = logging.getLogger(__name__)

FRAME_QUEUE = 3
"""Frames waiting for the encoder; the oldest is dropped."""

VIEWER_QUEUE = 8
"""Access units waiting for one viewer's sender: a second of video at 8 fps."""

MIN_IDR_GAP_S = 0.5
"""Least distance of two IDRs that packet loss asks for."""

MIN_REPEAT_INTERVAL_S = 0.5
"""A stalled source's last picture is repeated at most this often."""


@dataclass(frozen=True)
class PublisherStats:
    """Counts since the publisher was made, but for `viewers`, which is now.

    Attributes:
        viewers: tracks that are being read.
        frames_pushed: pictures handed in.
        frames_encoded: pictures encoded; each once, however many viewers there are.
        frames_dropped: pictures thrown away because the encoder was behind.
        repeats_encoded: encodings of the last picture once more: for a new viewer, after loss,
            or while the source stalls.
        idrs: IDR pictures among all that was encoded.
        bytes_encoded: size of all access units.
        viewer_overflows: how often a viewer's queue overflowed.
    """

    viewers: int = 0
    frames_pushed: int = 0
    frames_encoded: int = 0
    frames_dropped: int = 0
    repeats_encoded: int = 0
    idrs: int = 0
    bytes_encoded: int = 0
    viewer_overflows: int = 0


@dataclass(frozen=True)
class _Picture:
    rgb: NDArray[np.uint8]
    pts_us: int


class VideoPublisher:
    """Encodes one live stream and shares its packets among all viewers.

    Args:
        width, height: picture size in pixels.
        fps: nominal frame rate.
        bitrate_bps: ceiling of the bitrate; by default 1.5 Mbit/s at 256×256 and 8 fps, scaled
            with size and rate.
        idr_interval_s: longest time between two IDR pictures while frames come.

    Raises:
        InputError: a size or rate that H.264 or browsers do not support.
    """

    def __init__(
        self,
        *,
        width: int,
        height: int,
        fps: float,
        bitrate_bps: int | None = None,
        idr_interval_s: float = 1.5,
    ) -> None:
        self._encoder = H264Encoder(
            width=width,
            height=height,
            fps=fps,
            bitrate_bps=bitrate_bps or default_bitrate_bps(width, height, fps),
        )
        self._shape = (height, width, 3)
        self._timing = EncodeTiming(
            idr_interval_s=idr_interval_s,
            min_idr_gap_s=MIN_IDR_GAP_S,
            repeat_interval_s=max(MIN_REPEAT_INTERVAL_S, 2 / fps),
        )
        self._clock = RtpClock(max_lead_us=int(2e6 / fps), max_lag_us=int(max(0.5e6, 4e6 / fps)))
        self._changed = threading.Condition()
        # All below is guarded by `_changed`, except `_tracks`, which only the event loop touches.
        self._frames: deque[_Picture] = deque()
        self._picture: _Picture | None = None
        self._viewers = 0
        self._idr_request = IdrRequest.NONE
        self._last_idr_s: float | None = None
        self._last_packet_s: float | None = None
        self._closed = False
        self._frames_pushed = 0
        self._frames_dropped = 0
        self._frames_encoded = 0
        self._repeats_encoded = 0
        self._idrs = 0
        self._bytes_encoded = 0
        self._viewer_overflows = 0
        self._tracks: set[PublisherTrack] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._worker = threading.Thread(target=self._run, name="video-publisher", daemon=True)
        self._worker.start()

    @property
    def stats(self) -> PublisherStats:
        with self._changed:
            return PublisherStats(
                viewers=self._viewers,
                frames_pushed=self._frames_pushed,
                frames_encoded=self._frames_encoded,
                frames_dropped=self._frames_dropped,
                repeats_encoded=self._repeats_encoded,
                idrs=self._idrs,
                bytes_encoded=self._bytes_encoded,
                viewer_overflows=self._viewer_overflows,
            )

    def push(self, rgb: NDArray[np.uint8], pts_us: int) -> None:
        """Takes the next picture; from any thread, without waiting.

        Args:
            rgb: [height, width, 3], uint8; copied.
            pts_us: stream time in microseconds. It may jump: RTP time stays monotonic.

        Raises:
            InputError: the picture has another shape or dtype than the stream.
        """
        if rgb.shape != self._shape or rgb.dtype != np.uint8:
            raise InputError(
                f"The live picture must be uint8 of shape {self._shape}, "
                f"not {rgb.dtype} of shape {rgb.shape}."
            )
        picture = _Picture(rgb=np.array(rgb, order="C"), pts_us=pts_us)
        with self._changed:
            if self._closed:
                return
            self._frames_pushed += 1
            self._picture = picture
            if self._viewers:
                if len(self._frames) == FRAME_QUEUE:
                    self._frames.popleft()
                    self._frames_dropped += 1
                self._frames.append(picture)
                self._changed.notify()

    def track(self) -> "PublisherTrack":
        """A track for one viewer; on the event loop. It counts as viewer from it is first read."""
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        if self._loop is not loop:
            raise RuntimeError("all tracks of a publisher must live on one event loop")
        return PublisherTrack(self)

    def request_idr(self) -> None:
        """A viewer reports loss (PLI or FIR): an IDR soon, rate-limited."""
        self._want_idr(IdrRequest.LOSS)

    async def close(self) -> None:
        """Ends the worker and all tracks; what is queued is thrown away."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        await asyncio.to_thread(self._worker.join)
        self._end_tracks()

    # On the event loop, called by the tracks.

    def _join(self, track: "PublisherTrack") -> None:
        with self._changed:
            if self._closed:
                raise MediaStreamError
            self._tracks.add(track)
            self._viewers = len(self._tracks)
        self._want_idr(IdrRequest.JOIN)

    def _leave(self, track: "PublisherTrack") -> None:
        with self._changed:
            self._tracks.discard(track)
            self._viewers = len(self._tracks)
            if not self._viewers:
                self._frames.clear()
            self._changed.notify()

    def _overflowed(self) -> None:
        with self._changed:
            self._viewer_overflows += 1
        self._want_idr(IdrRequest.LOSS)

    def _want_idr(self, request: IdrRequest) -> None:
        with self._changed:
            self._idr_request = max(self._idr_request, request)
            self._changed.notify()

    def _end_tracks(self) -> None:
        for track in list(self._tracks):
            track.stop()

    def _deliver(self, unit: AccessUnit) -> None:
        for track in list(self._tracks):  # a track may leave while it is served
            track.offer(unit)

    # On the worker thread.

    def _run(self) -> None:
        while (work := self._next_work()) is not None:
            picture, time_us, idr = work
            try:
                unit = self._encoder.encode(picture.rgb, time_us=time_us, idr=idr)
            except av.FFmpegError:
                logger.exception("the H.264 encoder failed; its viewers are disconnected")
                self._fail()
                return
            with self._changed:
                self._bytes_encoded += unit.packet.size
                self._idrs += unit.is_idr
            assert self._loop is not None  # set by the first track, which made the first viewer
            if not post(self._loop, self._deliver, unit):
                logger.info("event loop is closed; the video publisher stops")
                return

    def _fail(self) -> None:
        with self._changed:
            self._closed = True
        assert self._loop is not None  # as in `_run`
        post(self._loop, self._end_tracks)

    def _next_work(self) -> tuple[_Picture, int, bool] | None:
        """Waits for the next picture to encode, its output time, and whether it is an IDR."""
        with self._changed:
            while True:
                if self._closed:
                    return None
                now_s = time.monotonic()
                step = self._plan(now_s)
                if step.encode:
                    return self._take(step, now_s)
                self._changed.wait(step.wait_s)

    def _plan(self, now_s: float) -> EncodeStep:
        state = EncodeState(
            viewers=self._viewers,
            frame_waiting=bool(self._frames),
            picture_known=self._picture is not None,
            idr_request=self._idr_request,
            last_idr_s=self._last_idr_s,
            last_packet_s=self._last_packet_s,
        )
        return plan_encode(state, self._timing, now_s)

    def _take(self, step: EncodeStep, now_s: float) -> tuple[_Picture, int, bool]:
        now_us = int(now_s * 1e6)
        if self._frames:
            picture = self._frames.popleft()
            time_us = self._clock.stamp(picture.pts_us, now_us)
            self._frames_encoded += 1
        else:
            assert self._picture is not None  # plan_encode asks for no repeat without a picture
            picture = self._picture
            time_us = self._clock.stamp_repeat(now_us)
            self._repeats_encoded += 1
        self._last_packet_s = now_s
        if step.idr:
            self._last_idr_s = now_s
            self._idr_request = IdrRequest.NONE
        return picture, time_us, step.idr


class PublisherTrack(MediaStreamTrack):
    """One viewer's end of a publisher, from an IDR on: read it (`recv`) or have it played (`play`).

    A track that is read queues up to `VIEWER_QUEUE` access units; one that is played queues none.
    """

    kind = "video"

    def __init__(self, publisher: VideoPublisher) -> None:
        super().__init__()
        self._publisher = publisher
        self._queue: deque[AccessUnit] = deque()
        self._ready = asyncio.Event()
        self._play: Callable[[AccessUnit], None] | None = None
        self._joined = False
        self._waits_for_idr = True

    async def recv(self) -> "av.Packet[av.VideoStream]":
        """The next packet, for a stock aiortc sender; shared, so do not write to it.

        Raises:
            MediaStreamError: the track was stopped or the publisher closed.
        """
        self._join()
        while not self._queue and self.readyState == "live":
            self._ready.clear()
            await self._ready.wait()
        if self.readyState != "live":
            raise MediaStreamError
        return self._queue.popleft().packet

    def play(self, send: Callable[[AccessUnit], None]) -> None:
        """Calls `send` with each access unit as it comes, on the event loop.

        Raises:
            MediaStreamError: the track was stopped or the publisher closed.
        """
        self._play = send
        self._join()

    def request_idr(self) -> None:
        """This viewer reports loss."""
        self._publisher.request_idr()

    def offer(self, unit: AccessUnit) -> None:
        """Plays or appends an access unit, or drops it; never waits."""
        if self._waits_for_idr and not unit.is_idr:
            return
        self._waits_for_idr = False
        if self._play is not None:
            self._play(unit)
            return
        if len(self._queue) == VIEWER_QUEUE:
            self._queue.clear()
            self._waits_for_idr = not unit.is_idr
            self._publisher._overflowed()
            if self._waits_for_idr:
                return
        self._queue.append(unit)
        self._ready.set()

    def stop(self) -> None:
        """Leaves the publisher and wakes a waiting `recv`."""
        super().stop()
        self._publisher._leave(self)
        self._queue.clear()
        self._play = None
        self._ready.set()

    def _join(self) -> None:
        if self.readyState != "live":
            raise MediaStreamError
        if not self._joined:
            self._publisher._join(self)
            self._joined = True
