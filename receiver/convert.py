"""Receiver outcomes to their protobuf twins."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from receiver.streams import FrameOutcome
from semcast.networks.strokes import DRAWN
from semcast.rpc.messages import modality_to_proto, samples_to_bytes
from semcast.schemes import find_scheme
from semcast.semantics import Received
from semcast.session import Modality, SessionSetup
from semcast.v1 import link_pb2

_CONSTELLATIONS = {2: "qpsk", 4: "qam16", 6: "qam64"}


def telemetry_to_proto(setup: SessionSetup, outcome: FrameOutcome) -> link_pb2.ReceiverTelemetry:
    """What people are told about one frame."""
    received, rendered = outcome.decoded.received, outcome.rendered
    return link_pb2.ReceiverTelemetry(
        generation=setup.generation,
        sequence=received.sequence,
        pts_us=received.pts_us,
        snr_db_estimated=received.snr_db,
        crc_checked_modalities=[modality_to_proto(modality) for modality in received.checked],
        crc_failed_modalities=[modality_to_proto(modality) for modality in received.crc_failed],
        concealed=not received.complete,
        outage=rendered is not None and rendered.outage,
        skipped=rendered is None,
        generator=rendered.generator if rendered else "",
        stages=[
            link_pb2.StageDuration(stage="decode", duration_ms=outcome.decode_ms),
            link_pb2.StageDuration(stage="generate", duration_ms=outcome.render_ms),
        ],
        constellation_iq=samples_to_bytes(received.constellation),
        constellation_kind=(
            "analogue"
            if find_scheme(setup.scheme).learned
            else _CONSTELLATIONS[received.rung.bits_per_symbol]
        ),
        rung_id=received.rung.id,
        frames_dropped_total=outcome.dropped_total,
        queue_depth_frames=outcome.queue_depth,
        device=rendered.device if rendered else "",
        caption_received=outcome.decoded.conditions.caption,
        semantics=_semantics_to_proto(received.came),
        scheme_id=received.scheme_id,
        held=[
            link_pb2.HeldModality(modality=modality_to_proto(modality), age_frames=age_frames)
            for modality, age_frames in sorted(outcome.decoded.conditions.age_frames.items())
        ],
        cached_frames=rendered.cached_frames if rendered else 0,
        cache_resets=rendered.cache_resets if rendered else 0,
    )


def _semantics_to_proto(came: Received) -> link_pb2.ReceivedSemantics:
    """What came anew, for people to look at."""
    message = link_pb2.ReceivedSemantics(has_contours=came.contours is not None)
    if came.contours is not None:
        for label, rings in came.contours.polygons.items():
            for ring in rings:
                message.contours.add(
                    label=label,
                    xy_px=np.rint(ring).astype(int).ravel().tolist(),
                    hole=_twice_area(ring) < 0,
                )
    if (tile := came.pictures.get(Modality.LOWRES)) is not None:
        height, width, _ = tile.shape
        message.lowres.CopyFrom(
            link_pb2.Bitmap(width_px=width, height_px=height, data=tile.tobytes())
        )
    if came.sketch is not None:
        height, width = came.sketch.shape
        packed = np.packbits(came.sketch >= DRAWN, axis=1).tobytes()
        message.sketch.CopyFrom(link_pb2.Bitmap(width_px=width, height_px=height, data=packed))
    if came.motion is not None:
        message.motion_percent = 100 * came.motion
    return message


def _twice_area(ring: NDArray[np.float32]) -> float:
    """Of [n, 2]; positive for rings clockwise on the screen, which hold an object."""
    x, y = ring.T.astype(np.float64)
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1))


def tap_to_proto(setup: SessionSetup, outcome: FrameOutcome) -> link_pb2.TapFrame:
    """The shown frame, for the meter. Only for outcomes that were rendered."""
    assert outcome.rendered is not None
    labels = outcome.decoded.conditions.labels
    return link_pb2.TapFrame(
        generation=setup.generation,
        sequence=outcome.decoded.received.sequence,
        pts_us=outcome.decoded.received.pts_us,
        width_px=setup.width,
        height_px=setup.height,
        rgb=outcome.rendered.rgb.tobytes(),
        labels=b"" if labels is None else labels.tobytes(),
    )
