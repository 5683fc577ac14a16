"""WHIP server side (RFC 9725): a webcam or OBS sends video, we keep the newest picture.

aiortc receives and decodes (VP8 or H.264) on a thread of its own. Decoded pictures reach the event
loop, which puts each into a one-place mailbox; a converter thread takes the newest, turns it into
RGB and calls `on_frame`. A picture that is overtaken before it is taken is dropped and counted, so
a slow consumer sees fewer pictures, never old ones.

Times are the sender's: RTP timestamps as microseconds since its first picture.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import av
import numpy as np
from aiortc import RTCIceServer
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from semcast.errors import CapacityError
from semcast.media.loop_post import post
from semcast.media.offer import read_offer
from semcast.media.peer import Peer

logger = logging.getLogger(__name__)

MAX_WEBCAMS = 4
"""Each costs a decoder."""

OnFrame = Callable[[NDArray[np.uint8], int], None]


@dataclass(frozen=True)
class IngestStats:
    """Counts over all webcams since the ingest was made, but for `webcams`, which is now."""

    webcams: int
    frames_received: int
    frames_dropped: int


class WebcamIngest:
    """All incoming webcams of one process.

    Args:
        ice_servers: STUN and TURN servers (`parse_ice_servers`).
        max_webcams: further webcams are turned away.
    """

    def __init__(
        self, ice_servers: list[RTCIceServer] | None = None, max_webcams: int = MAX_WEBCAMS
    ) -> None:
        self._ice_servers = list(ice_servers or [])
        self._max_webcams = max_webcams
        self._peers: dict[str, Peer] = {}
        self._mailboxes: dict[str, _NewestFrame] = {}
        self._past_received = 0
        self._past_dropped = 0

    def __len__(self) -> int:
        return len(self._peers)

    @property
    def stats(self) -> IngestStats:
        mailboxes = self._mailboxes.values()
        return IngestStats(
            webcams=len(self._peers),
            frames_received=self._past_received + sum(box.received for box in mailboxes),
            frames_dropped=self._past_dropped + sum(box.dropped for box in mailboxes),
        )

    async def answer(
        self,
        offer_sdp: str,
        on_frame: OnFrame,
        on_closed: Callable[[], None] | None = None,
    ) -> tuple[str, str]:
        """Answers a WHIP offer.

        Args:
            offer_sdp: an offer with one video section (an audio section is answered inactive).
            on_frame: called with RGB [height, width, 3] uint8 and the time in microseconds since
                the first picture, on a thread of the ingest, one call at a time. The size may
                change from one call to the next: browsers adapt it.
            on_closed: called on the event loop when a webcam that was answered has gone, whoever
                ended it.

        Returns:
            webcam id (for `close`) and SDP answer.

        Raises:
            InputError: the offer is not SDP, or sends nothing that can be decoded.
            CapacityError: `max_webcams` are connected.
        """
        offer = read_offer(offer_sdp, peer="webcam")
        if len(self._peers) >= self._max_webcams:
            raise CapacityError(
                f"{self._max_webcams} webcams are connected already; disconnect one first."
            )

        answered = False

        def forget(peer: Peer) -> None:
            self._forget(peer)
            if on_closed is not None and answered:
                on_closed()

        peer = Peer(self._ice_servers, on_closed=forget)
        loop = asyncio.get_running_loop()
        mailbox = _NewestFrame(on_frame, lambda: post(loop, peer.close_soon))
        self._peers[peer.id] = peer
        self._mailboxes[peer.id] = mailbox

        def receive(track: MediaStreamTrack) -> None:
            if track.kind == "video":
                peer.spawn(_drain(track, mailbox, peer))

        def leave_audio_out() -> None:
            for transceiver in peer.connection.getTransceivers():
                if transceiver.kind == "audio":
                    transceiver.direction = "inactive"

        peer.connection.on("track", receive)
        answer_sdp = await peer.answer(offer, prepare=leave_audio_out)
        answered = True
        return peer.id, answer_sdp

    async def close(self, webcam_id: str) -> None:
        """Ends one webcam; one that is gone already is no error."""
        if peer := self._peers.get(webcam_id):
            await peer.close()

    async def close_all(self) -> None:
        """Ends all webcams."""
        for peer in list(self._peers.values()):
            await peer.close()

    def _forget(self, peer: Peer) -> None:
        self._peers.pop(peer.id, None)
        if mailbox := self._mailboxes.pop(peer.id, None):
            mailbox.close()
            self._past_received += mailbox.received
            self._past_dropped += mailbox.dropped


async def _drain(track: MediaStreamTrack, mailbox: "_NewestFrame", peer: Peer) -> None:
    """Takes every decoded picture as soon as it is there, so that none queues up in aiortc."""
    try:
        while True:
            frame = await track.recv()
            assert isinstance(frame, av.VideoFrame)
            mailbox.put(frame)
    except MediaStreamError:
        peer.close_soon()


class _NewestFrame:
    """A mailbox for one picture, emptied by a thread that converts it and calls `on_frame`."""

    def __init__(self, on_frame: OnFrame, on_failure: Callable[[], object]) -> None:
        self.received = 0
        self.dropped = 0
        self._on_frame = on_frame
        self._on_failure = on_failure
        self._changed = threading.Condition()
        self._frame: av.VideoFrame | None = None
        self._closed = False
        self._thread: threading.Thread | None = None

    def put(self, frame: av.VideoFrame) -> None:
        with self._changed:
            self.received += 1
            self.dropped += self._frame is not None
            self._frame = frame
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="webcam", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Ends the thread after the call it is in; does not wait for it."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        reformatter = VideoReformatter()
        while (frame := self._take()) is not None:
            assert frame.pts is not None and frame.time_base is not None  # aiortc sets both
            time_us = int(frame.pts * frame.time_base * 1_000_000)
            rgb = reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
            try:
                self._on_frame(cast(NDArray[np.uint8], rgb), time_us)
            except Exception:
                logger.exception("a webcam's on_frame failed; the webcam is disconnected")
                self._on_failure()
                return

    def _take(self) -> av.VideoFrame | None:
        with self._changed:
            while self._frame is None and not self._closed:
                self._changed.wait()
            frame, self._frame = self._frame, None
            return None if self._closed else frame
