"""WHEP server side: each viewer is one peer connection that plays a publisher's track.

The HTTP half of WHEP (POST an offer, 201 with the answer and a Location, DELETE to leave) is the
console's; here an offer comes in as text and an answer goes out as text.
"""

from aiortc import RTCIceServer, RTCRtpSender, RTCRtpTransceiver
from aiortc.codecs import is_rtx

from semcast.errors import CapacityError
from semcast.media.fanout_sender import EXTENSION_URIS, FanoutSender
from semcast.media.offer import VideoOffer, read_offer
from semcast.media.peer import Peer
from semcast.media.publisher import VideoPublisher

MAX_VIEWERS = 64
"""Viewers of one process; more are served by publishing once to an SFU."""

H264_PROFILES = ("42e01f", "42001f")
"""Constrained baseline as the encoder makes it, or baseline, of which it is a subset."""


class ViewerPeers:
    """All viewers of one process.

    Args:
        ice_servers: STUN and TURN servers (`parse_ice_servers`).
        max_viewers: further viewers are turned away.
    """

    def __init__(
        self, ice_servers: list[RTCIceServer] | None = None, max_viewers: int = MAX_VIEWERS
    ) -> None:
        self._ice_servers = list(ice_servers or [])
        self._max_viewers = max_viewers
        self._peers: dict[str, Peer] = {}

    def __len__(self) -> int:
        return len(self._peers)

    async def answer(self, offer_sdp: str, publisher: VideoPublisher) -> tuple[str, str]:
        """Answers a WHEP offer: H.264, send only, all ICE candidates in the answer.

        Returns:
            viewer id (for `close`) and SDP answer.

        Raises:
            InputError: the offer is not SDP, or asks for what is not served.
            CapacityError: `max_viewers` are watching.
        """
        offer = read_offer(offer_sdp, peer="viewer")
        if len(self._peers) >= self._max_viewers:
            raise CapacityError(
                f"{self._max_viewers} viewers are watching already; try again when one has left."
            )
        track = publisher.track()
        peer = Peer(self._ice_servers, on_closed=self._forget)
        self._peers[peer.id] = peer
        transceiver = peer.connection.addTransceiver(track, direction="sendonly")
        FanoutSender.take_over(transceiver, track)
        _accept_h264_only(transceiver)
        track.on("ended", peer.close_soon)
        return peer.id, await peer.answer(offer, prepare=lambda: _trim(transceiver, offer))

    async def close(self, viewer_id: str) -> None:
        """Ends one viewer; one that is gone already is no error."""
        if peer := self._peers.get(viewer_id):
            await peer.close()

    async def close_all(self) -> None:
        """Ends all viewers."""
        for peer in list(self._peers.values()):
            await peer.close()

    def _forget(self, peer: Peer) -> None:
        self._peers.pop(peer.id, None)


def _accept_h264_only(transceiver: RTCRtpTransceiver) -> None:
    codecs = RTCRtpSender.getCapabilities("video").codecs
    h264 = [
        codec
        for profile in H264_PROFILES
        for codec in codecs
        if codec.mimeType == "video/H264" and codec.parameters.get("profile-level-id") == profile
    ]
    transceiver.setCodecPreferences(h264 + [codec for codec in codecs if is_rtx(codec)])


def _trim(transceiver: RTCRtpTransceiver, offer: VideoOffer) -> None:
    """Agrees to what the sender does: its header extensions, and no bandwidth estimation."""
    transceiver._headerExtensions = [
        extension
        for extension in offer.extensions_by_mid[transceiver.mid or ""]
        if extension.uri in EXTENSION_URIS
    ]
    for codec in transceiver._codecs:
        codec.rtcpFeedback = [fb for fb in codec.rtcpFeedback if fb.type != "goog-remb"]
