"""How is an access unit cut into RTP payloads (RFC 6184, packetization mode 1)?

Three forms of payload; `F|NRI|T` is the NAL unit header, T its type:

    single NAL unit   the NAL unit as it is
    STAP-A (T = 24)   F|NRI|24, then for each small NAL unit its 16-bit size and itself
    FU-A   (T = 28)   F|NRI|28, S|E|0|T, then a piece of a large NAL unit less its header;
                      S marks the first piece, E the last

aiortc has the same, but evens out the sizes of the pieces of a large NAL unit. Here all pieces but
the last have the same, largest size: such a run of packets can leave in one system call
(`udp_batch`).
"""

from collections.abc import Iterator

MAX_PAYLOAD_BYTES = 1160
"""With the RTP header and its extension (at most 24 bytes) and the SRTP tag (at most 16) 1200
bytes, what WebRTC stacks allow themselves, so that tunnels and VPNs do not fragment it."""

STAP_A = 24
FU_A = 28


def split_nal_units(annex_b: bytes) -> list[bytes]:
    """The NAL units of an Annex B byte stream, without start codes and trailing zeros."""
    starts = []
    at = annex_b.find(b"\x00\x00\x01")
    while at >= 0:
        starts.append(at)
        at = annex_b.find(b"\x00\x00\x01", at + 3)
    ends = [*starts[1:], len(annex_b)]
    return [
        annex_b[start + 3 : end].rstrip(b"\x00") for start, end in zip(starts, ends, strict=True)
    ]


def payloads(annex_b: bytes, max_bytes: int = MAX_PAYLOAD_BYTES) -> tuple[bytes, ...]:
    """RTP payloads of one access unit, at most `max_bytes` each, in order."""
    out: list[bytes] = []
    small: list[bytes] = []
    for nal in split_nal_units(annex_b):
        if small and 1 + sum(2 + len(n) for n in small) + 2 + len(nal) > max_bytes:
            out.append(_aggregate(small))
            small = []
        if len(nal) > max_bytes:
            out += _fragment(nal, max_bytes)
        else:
            small.append(nal)
    if small:
        out.append(_aggregate(small))
    return tuple(out)


def _aggregate(nals: list[bytes]) -> bytes:
    if len(nals) == 1:
        return nals[0]
    # RFC 6184 section 5.7: F is the OR of all F bits, NRI the largest.
    forbidden = max(nal[0] & 0x80 for nal in nals)
    importance = max(nal[0] & 0x60 for nal in nals)
    units = b"".join(len(nal).to_bytes(2, "big") + nal for nal in nals)
    return bytes([forbidden | importance | STAP_A]) + units


def _fragment(nal: bytes, max_bytes: int) -> Iterator[bytes]:
    indicator, nal_type = nal[0] & 0xE0 | FU_A, nal[0] & 0x1F
    step = max_bytes - 2
    for start in range(1, len(nal), step):
        first = 0x80 if start == 1 else 0
        last = 0x40 if start + step >= len(nal) else 0
        yield bytes([indicator, first | last | nal_type]) + nal[start : start + step]
