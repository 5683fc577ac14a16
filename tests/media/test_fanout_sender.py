"""Header extensions of the fan-out sender; oracle is aiortc's parser."""

from struct import unpack

from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters
from aiortc.rtp import unpack_header_extensions

from semcast.media.fanout_sender import MID_URI, PLAYOUT_DELAY_URI, header_extension


def block(*extensions: tuple[int, str], mid: str = "0") -> bytes:
    return header_extension(
        [RTCRtpHeaderExtensionParameters(id=id, uri=uri) for id, uri in extensions], mid
    )


def test_mid_and_zero_playout_delay() -> None:
    data = block((9, MID_URI), (5, PLAYOUT_DELAY_URI), mid="video0")
    profile, words = unpack("!HH", data[:4])
    assert len(data) == 4 + 4 * words
    assert unpack_header_extensions(profile, data[4:]) == [(9, b"video0"), (5, bytes(3))]


def test_nothing_agreed_is_no_extension() -> None:
    assert block() == b""
    assert block((3, "urn:something:else")) == b""


def test_what_the_one_byte_form_cannot_hold_is_left_out() -> None:
    assert block((15, MID_URI)) == b""
    assert block((1, MID_URI), mid="m" * 17) == b""
    assert block((1, MID_URI), mid="") == b""
