"""RTP payloads of H.264: oracle is aiortc's depayloader."""

import numpy as np
from aiortc.codecs.h264 import h264_depayload
from hypothesis import given
from hypothesis import strategies as st

from semcast.media.rtp_h264 import FU_A, STAP_A, payloads, split_nal_units

START = b"\x00\x00\x00\x01"


def nal(kind: int, size: int, seed: int = 0) -> bytes:
    """A NAL unit of `size` bytes without start codes in it."""
    body = np.random.default_rng(seed).integers(1, 256, size - 1, dtype=np.uint8).tobytes()
    return bytes([0x60 | kind]) + body


@given(
    st.lists(st.tuples(st.sampled_from([1, 5, 6, 7, 8]), st.integers(2, 900)), min_size=1),
    st.integers(50, 400),
)
def test_payloads_carry_the_nal_units(units: list[tuple[int, int]], max_bytes: int) -> None:
    nals = [nal(kind, size, seed) for seed, (kind, size) in enumerate(units)]
    cut = payloads(b"".join(START + n for n in nals), max_bytes)
    assert max(map(len, cut)) <= max_bytes
    assert split_nal_units(b"".join(map(h264_depayload, cut))) == nals


def test_three_byte_start_codes_and_trailing_zeros() -> None:
    assert split_nal_units(b"\x00\x00\x01\x67ab\x00\x00\x00\x01\x68cd\x00\x00") == [
        b"\x67ab",
        b"\x68cd",
    ]


def test_parameter_sets_share_a_packet_and_slices_are_cut_evenly() -> None:
    idr = START + nal(7, 20) + START + nal(8, 6) + START + nal(5, 5000)
    cut = payloads(idr, 1160)
    assert [p[0] & 0x1F for p in cut] == [STAP_A] + [FU_A] * 5
    assert {len(p) for p in cut[1:-1]} == {1160}
    assert [p[1] >> 6 for p in cut[1:]] == [0b10, 0, 0, 0, 0b01]  # S on the first, E on the last


def test_stap_importance_is_the_largest_inside() -> None:
    (packet,) = payloads(START + b"\x06sei" + START + b"\x67sps", 100)
    assert packet[0] == 0x60 | STAP_A
