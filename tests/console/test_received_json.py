"""Received semantics as the page gets them."""

from __future__ import annotations

import base64
import json
import random
import zlib

import pytest
from fake_services import invented_report

from console.convert import event_json, session_spec
from console.fanout import encode_event
from console.received import semantics_json
from console.request import SessionRequest
from semcast.v1 import link_pb2, transmitter_pb2


def test_what_did_not_come_is_not_there() -> None:
    assert semantics_json(link_pb2.ReceivedSemantics()) == {}
    assert semantics_json(link_pb2.ReceivedSemantics(motion_percent=0.0)) == {"motion_percent": 0.0}


def test_a_label_map_without_objects_is_an_empty_list() -> None:
    assert semantics_json(link_pb2.ReceivedSemantics(has_contours=True)) == {"contours": []}


def test_contours_keep_label_vertices_and_whether_they_are_holes() -> None:
    semantics = link_pb2.ReceivedSemantics(has_contours=True)
    semantics.contours.add(label=3, xy_px=[-1, 0, 200, 5, 7, 9])
    semantics.contours.add(label=3, xy_px=[1, 1, 2, 1, 2, 2], hole=True)
    assert semantics_json(semantics)["contours"] == [
        {"label": 3, "hole": False, "xy_px": [-1, 0, 200, 5, 7, 9]},
        {"label": 3, "hole": True, "xy_px": [1, 1, 2, 1, 2, 2]},
    ]


@pytest.mark.parametrize("xy_px", [[], [1, 2, 3, 4], [1, 2, 3, 4, 5, 6, 7]])
def test_what_is_no_outline_is_left_out(xy_px: list[int]) -> None:
    semantics = link_pb2.ReceivedSemantics(has_contours=True)
    semantics.contours.add(label=1, xy_px=xy_px)
    assert semantics_json(semantics) == {"contours": []}


def test_a_low_res_frame_is_base64_of_its_rgb_bytes() -> None:
    data = bytes(range(2 * 3 * 3))
    semantics = link_pb2.ReceivedSemantics(
        lowres=link_pb2.Bitmap(width_px=3, height_px=2, data=data)
    )
    lowres = semantics_json(semantics)["lowres"]
    assert (lowres["width_px"], lowres["height_px"]) == (3, 2)
    assert base64.b64decode(lowres["rgb"]) == data


def test_the_bits_of_a_sketch_are_deflated() -> None:
    # 10 pixels a row take two bytes.
    data = bytes([0b10000001, 0b01000000] * 64)
    semantics = link_pb2.ReceivedSemantics(
        sketch=link_pb2.Bitmap(width_px=10, height_px=64, data=data)
    )
    sketch = semantics_json(semantics)["sketch"]
    assert zlib.decompress(base64.b64decode(sketch["bits_deflated"])) == data
    assert len(sketch["bits_deflated"]) < len(data)


@pytest.mark.parametrize("field", ["lowres", "sketch"])
@pytest.mark.parametrize("size", [(0, 0), (5, 4), (2**31, 2**31)])
def test_a_picture_that_does_not_fit_its_size_is_left_out(
    field: str, size: tuple[int, int]
) -> None:
    bitmap = link_pb2.Bitmap(width_px=size[0], height_px=size[1], data=b"123")
    assert semantics_json(link_pb2.ReceivedSemantics(**{field: bitmap})) == {}


def test_a_frame_of_a_session_carries_them() -> None:
    frame = transmitter_pb2.FrameReport(coarseness=1, coarseness_detail="objects at half size")
    frame.receiver.scheme_id = "lowres"
    frame.receiver.caption_received = "a cat"
    frame.receiver.semantics.has_contours = True
    frame.receiver.semantics.contours.add(label=1, xy_px=[0, 0, 9, 0, 9, 9])
    record = event_json(transmitter_pb2.SessionEvent(leg="main", frame=frame))
    assert record is not None
    assert record["coarseness"] == 1 and record["coarseness_detail"] == "objects at half size"
    receiver = record["receiver"]
    assert (receiver["scheme_id"], receiver["caption_received"]) == ("lowres", "a cat")
    assert len(receiver["semantics"]["contours"]) == 1
    json.dumps(record, allow_nan=False)


def test_a_frame_that_brought_nothing_says_so_by_an_empty_record() -> None:
    frame = transmitter_pb2.FrameReport()
    frame.receiver.semantics.SetInParent()
    record = event_json(transmitter_pb2.SessionEvent(leg="main", frame=frame))
    assert record is not None and record["receiver"]["semantics"] == {}


def test_a_page_gets_no_more_than_150_kilobytes_a_second() -> None:
    """Of two legs at 8 fps, with more received than any scheme sends: 15 objects, noise as tile
    and as sketch."""
    noise = random.Random(1)
    spec = session_spec("s", SessionRequest(clip="c", cbr=0.004, fps=8))
    num_bytes = 0
    for leg in ("main", "baseline"):
        frame = invented_report(spec, leg, 10**6, noise)
        if leg == "main":
            semantics = frame.receiver.semantics
            semantics.has_contours = True
            for label in range(1, 16):
                xy_px = [noise.randrange(1024) for _ in range(2 * 32)]
                semantics.contours.add(label=label, xy_px=xy_px)
            tile = link_pb2.Bitmap(width_px=32, height_px=32, data=noise.randbytes(3 * 32 * 32))
            semantics.lowres.CopyFrom(tile)
            bits = noise.randbytes(128 * 128 // 8)
            semantics.sketch.CopyFrom(link_pb2.Bitmap(width_px=128, height_px=128, data=bits))
        record = event_json(transmitter_pb2.SessionEvent(leg=leg, frame=frame))
        assert record is not None
        num_bytes += 8 * len(encode_event(record))
    assert 80_000 < num_bytes < 150_000
