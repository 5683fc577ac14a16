"""Offers: what is answered, and one sentence for what is not."""

import asyncio
import re

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semcast.errors import InputError
from semcast.media.offer import read_offer
from semcast.media.publisher import VideoPublisher
from semcast.media.viewers import ViewerPeers

BROWSER = """v=0
o=- 3816810301101149496 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
m=video 9 UDP/TLS/RTP/SAVPF 96 97 108 109
c=IN IP4 0.0.0.0
a=candidate:1050653174 1 udp 2113937151 ff84136a-d98f-47c2-94ab-7e47303e48bc.local 36723 typ host
a=candidate:1050653175 1 udp 2113937150 192.0.2.7 36724 typ host
a=end-of-candidates
a=ice-ufrag:XUvJ
a=ice-pwd:7Pz+5Q4qgWFqyUpTUlyLJU3f
a=fingerprint:sha-256 01:13:21:F8:EF:1A:97:EC:CD:83:2F:EB:57:3B:DC:8A:DB:F8:8F:FC:86:42:86:63:1C:65:8A:90:36:94:16:6E
a=setup:actpass
a=mid:0
a=extmap:5 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay
a=recvonly
a=rtcp-mux
a=rtpmap:96 VP8/90000
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=rtpmap:108 H264/90000
a=rtcp-fb:108 nack pli
a=fmtp:108 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
a=rtpmap:109 rtx/90000
a=fmtp:109 apt=108
"""  # noqa: E501


def test_browser_offer_without_its_mdns_candidates() -> None:
    offer = read_offer(BROWSER, peer="viewer")
    assert ".local" not in offer.description.sdp
    assert "end-of-candidates" not in offer.description.sdp
    assert "192.0.2.7 36724" in offer.description.sdp
    (hidden,) = offer.mdns_candidates
    assert hidden.ip == "ff84136a-d98f-47c2-94ab-7e47303e48bc.local"
    assert (hidden.port, hidden.sdpMLineIndex) == (36723, 0)
    assert [e.id for e in offer.extensions_by_mid["0"]] == [5]


def test_webcam_may_send_vp8_only() -> None:
    sdp = re.sub("(?m)^.*10[89].*\n", "", BROWSER.replace("96 97 108 109", "96 97"))
    assert read_offer(sdp.replace("recvonly", "sendonly"), peer="webcam").description.sdp
    with pytest.raises(InputError, match="has no H"):
        read_offer(sdp, peer="viewer")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("m=video", "m=audio"), "no video section|not an SDP offer"),
        (("recvonly", "sendonly"), "must be recvonly, not sendonly"),
        (("packetization-mode=1", "packetization-mode=0"), "no H.264"),
        (("42e01f", "640c1f"), "no H.264"),
        (("a=ice-pwd:7Pz+5Q4qgWFqyUpTUlyLJU3f\n", ""), "lacks ICE or DTLS"),
        (("a=setup:actpass\n", ""), "lacks ICE or DTLS"),
        (("a=rtcp-mux", "a=x" * 50_000), "more than 100000 are not read"),
        (("m=video 9 ", "m=video x "), "not an SDP offer"),
    ],
)
def test_what_cannot_be_answered(change: tuple[str, str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_offer(BROWSER.replace(*change), peer="viewer")


@pytest.mark.parametrize(
    "sdp", ["", "hello", "v=0\r\n", "m=video", "\x00" * 50, "v=x\r\nm=a b c d"]
)
def test_garbage(sdp: str) -> None:
    with pytest.raises(InputError):
        read_offer(sdp, peer="webcam")


async def test_data_channel_is_refused() -> None:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connection.addTransceiver("video", direction="recvonly")
    connection.createDataChannel("x")
    offer = await connection.createOffer()
    with pytest.raises(InputError, match="neither audio nor video"):
        read_offer(offer.sdp, peer="viewer")
    await connection.close()


LINES = BROWSER.splitlines()
EDITS = st.lists(
    st.tuples(
        st.integers(0, len(LINES) - 1),
        st.sampled_from(["drop", "double", "cut", "swap", "noise"]),
        st.text(max_size=12),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(EDITS)
def test_damaged_offer_is_answered_or_an_input_error(edits: list[tuple[int, str, str]]) -> None:
    lines = list(LINES)
    for at, kind, text in edits:
        at %= len(lines)
        if kind == "drop":
            del lines[at]
        elif kind == "double":
            lines.insert(at, lines[at])
        elif kind == "cut":
            lines[at] = lines[at][: len(lines[at]) // 2]
        elif kind == "swap":
            lines[at], lines[0] = lines[0], lines[at]
        else:
            lines[at] = lines[at][:6] + text + lines[at][6:]

    async def answer() -> None:
        publisher = VideoPublisher(width=64, height=64, fps=8)
        viewers = ViewerPeers()
        try:
            await viewers.answer("\r\n".join(lines), publisher)
        except InputError:
            assert len(viewers) == 0
        await viewers.close_all()
        await publisher.close()

    asyncio.run(answer())
