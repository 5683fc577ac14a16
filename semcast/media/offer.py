"""Is this SDP offer one that can be answered?

A browser hides its addresses behind mDNS names (`….local`). They need not be resolved for the
connection to come up, since the browser reaches us at our own addresses, and looking one up takes
a second where nobody answers. So they are taken out of the offer and resolved while the answer is
already on its way.

The end-of-candidates mark is taken out too. With it aioice gives up as soon as no known candidate
is left to try, which may be before the browser's first check reaches us from an address that was
not in the offer. RFC 8863 asks for patience; `peer` sets its end.
"""

import re
from dataclasses import dataclass
from typing import Literal

from aiortc import RTCIceCandidate, RTCSessionDescription
from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpHeaderExtensionParameters
from aiortc.sdp import H264Profile, SessionDescription, parse_h264_profile_level_id

from semcast.errors import InputError

MAX_OFFER_CHARS = 100_000
"""A browser's offer for one video track has about 6000."""

_MDNS_CANDIDATE = re.compile(r"^a=candidate:\S+ \d+ \S+ \d+ [0-9A-Za-z-]+\.local ", re.IGNORECASE)

# What aiortc's SDP parser raises on text that is not SDP.
_PARSE_ERRORS = (AssertionError, AttributeError, KeyError, StopIteration, TypeError, ValueError)


@dataclass(frozen=True)
class VideoOffer:
    """An offer with a video section.

    Attributes:
        description: the offer without its mDNS candidates and its end-of-candidates mark.
        mdns_candidates: those, each with its `sdpMLineIndex`.
        extensions_by_mid: RTP header extensions that each section offers.
    """

    description: RTCSessionDescription
    extensions_by_mid: dict[str, list[RTCRtpHeaderExtensionParameters]]
    mdns_candidates: tuple[RTCIceCandidate, ...]


def read_offer(sdp: str, *, peer: Literal["viewer", "webcam"]) -> VideoOffer:
    """Reads the offer of a viewer, who wants H.264, or of a webcam, which sends VP8 or H.264.

    Raises:
        InputError: not SDP, no video section, video in the wrong direction or in no usable codec.
    """
    if len(sdp) > MAX_OFFER_CHARS:
        raise InputError(
            f"The SDP offer has {len(sdp)} characters; more than {MAX_OFFER_CHARS} are not read."
        )
    whole = _parse(sdp)
    videos = [media for media in whole.media if media.kind == "video" and media.port]
    if not videos:
        raise InputError("The SDP offer has no video section; offer one video track.")
    if any(media.kind not in ("audio", "video") for media in whole.media):
        raise InputError("The SDP offer has a section that is neither audio nor video; drop it.")
    for media in whole.media:
        has_ice = media.ice is not None and media.ice.usernameFragment and media.ice.password
        if not has_ice or media.dtls is None or not media.dtls.fingerprints:
            raise InputError(
                "The SDP offer lacks ICE or DTLS parameters; send the browser's offer unchanged."
            )
    directions = ("sendonly", "sendrecv") if peer == "webcam" else ("recvonly", "sendrecv")
    if not any((media.direction or "sendrecv") in directions for media in videos):
        raise InputError(
            f"The video section of the SDP offer must be {directions[0]}, "
            f"not {videos[0].direction}."
        )
    codecs = [codec for media in videos for codec in media.rtp.codecs]
    if not any(_is_h264(c) or (peer == "webcam" and c.name.upper() == "VP8") for c in codecs):
        wanted = "VP8 or H.264" if peer == "webcam" else "H.264"
        raise InputError(
            f"The SDP offer has no {wanted} (constrained) baseline with packetization-mode 1; "
            "use a browser that supports it."
        )
    return _patient(sdp, whole)


def _parse(sdp: str) -> SessionDescription:
    try:
        return SessionDescription.parse(sdp)
    except _PARSE_ERRORS as error:
        raise InputError("The body is not an SDP offer; send the browser's offer as text.") from (
            error
        )


def _is_h264(codec: RTCRtpCodecParameters) -> bool:
    if codec.name.upper() != "H264" or str(codec.parameters.get("packetization-mode")) != "1":
        return False
    try:
        profile, _ = parse_h264_profile_level_id(
            str(codec.parameters.get("profile-level-id", "42E01F"))
        )
    except ValueError:
        return False
    return profile in (
        H264Profile.PROFILE_CONSTRAINED_BASELINE,
        H264Profile.PROFILE_BASELINE,
    )


def _patient(sdp: str, whole: SessionDescription) -> VideoOffer:
    kept = [
        line
        for line in sdp.splitlines()
        if not _MDNS_CANDIDATE.match(line) and line != "a=end-of-candidates"
    ]
    candidates = []
    for index, media in enumerate(whole.media):
        for candidate in media.ice_candidates:
            if candidate.ip.lower().endswith(".local"):
                candidate.sdpMLineIndex = index
                candidates.append(candidate)
    return VideoOffer(
        description=RTCSessionDescription(sdp="\r\n".join(kept) + "\r\n", type="offer"),
        extensions_by_mid={m.rtp.muxId: m.rtp.headerExtensions for m in whole.media},
        mdns_candidates=tuple(candidates),
    )
