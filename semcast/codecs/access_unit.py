"""An H.264 or H.265 access unit as it crosses the channel: NAL units without start codes.

Layout: NAL units one after another, parameter sets first. A unit that is no slice is its header
byte, the length of the rest as a base-128 number (low groups first, top bit = more follows), the
rest. A slice is the last unit and runs to the end, so a P picture has no framing at all (there is
one slice a picture). SEI, delimiters and filler carry no picture and are dropped.
"""

from semcast.codecs.errors import CorruptPayloadError

_H264_KEEP = frozenset({7, 8})
_H264_SLICES = frozenset({1, 5})
_H264_IDR = 5
_H265_KEEP = frozenset({32, 33, 34})
_H265_IDR = frozenset({19, 20})
_MAX_LENGTH_GROUPS = 4


def _nal_type(codec: str, header: int) -> int:
    return header & 31 if codec == "h264" else header >> 1 & 63


def _is_slice(codec: str, kind: int) -> bool:
    return kind in _H264_SLICES if codec == "h264" else kind < 32


def _is_parameter_set(codec: str, kind: int) -> bool:
    return kind in (_H264_KEEP if codec == "h264" else _H265_KEEP)


def split_annexb(stream: bytes) -> list[bytes]:
    """The NAL units of an Annex B byte stream, without start codes."""
    pieces = stream.split(b"\x00\x00\x01")
    return [piece.rstrip(b"\x00") for piece in pieces[1:] if piece.rstrip(b"\x00")]


def pack(codec: str, annexb: bytes) -> bytes:
    """An encoder's Annex B packet in the layout above."""
    packed = bytearray()
    slices = []
    for nal in split_annexb(annexb):
        kind = _nal_type(codec, nal[0])
        if _is_slice(codec, kind):
            slices.append(nal)
        elif _is_parameter_set(codec, kind):
            packed.append(nal[0])
            length = len(nal) - 1
            while length >= 128:
                packed.append(length & 127 | 128)
                length >>= 7
            packed.append(length)
            packed += nal[1:]
    if len(slices) != 1:
        raise ValueError(f"a picture must be one slice, this packet has {len(slices)}")
    return bytes(packed) + slices[0]


def unpack(codec: str, access_unit: bytes) -> tuple[bytes, bool]:
    """The Annex B stream of a packed access unit, and whether it is an IDR picture with the
    parameter sets that a decoder needs to start there.

    Raises `CorruptPayloadError` where the bytes do not have the layout.
    """
    units = []
    at = 0
    while True:
        if at >= len(access_unit):
            raise CorruptPayloadError("the access unit has no slice")
        kind = _nal_type(codec, access_unit[at])
        if _is_slice(codec, kind):
            units.append(access_unit[at:])
            break
        if not _is_parameter_set(codec, kind):
            raise CorruptPayloadError(f"an access unit holds no NAL units of type {kind}")
        length, position = 0, at + 1
        for group in range(_MAX_LENGTH_GROUPS + 1):
            if group == _MAX_LENGTH_GROUPS or position >= len(access_unit):
                raise CorruptPayloadError("the length of a parameter set is cut or too large")
            byte = access_unit[position]
            length |= (byte & 127) << (7 * group)
            position += 1
            if not byte & 128:
                break
        if position + length > len(access_unit):
            raise CorruptPayloadError("a parameter set is cut")
        units.append(access_unit[at : at + 1] + access_unit[position : position + length])
        at = position + length
    idr = kind == _H264_IDR if codec == "h264" else kind in _H265_IDR
    return b"".join(b"\x00\x00\x00\x01" + unit for unit in units), idr and len(units) > 1
