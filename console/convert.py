"""Protobuf to and from what the console speaks over HTTP.

Names are those of the protobuf fields. Enums become their short lower-case names ("lowres",
"streaming"), counts per modality a mapping, stages a mapping `stage_ms`, numbers that are not
finite null, the constellation a list of [re, im] pairs, what was received as in `received.py`, and
what was held a mapping `held_age_frames`, from modality to age.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from google.protobuf.message import Message

from console.received import semantics_json
from console.request import SessionRequest
from semcast.v1 import link_pb2, transmitter_pb2

JsonDict = dict[str, Any]

_ENUM_PREFIXES = {"Modality": "MODALITY", "ChannelModel": "CHANNEL_MODEL"}


def session_spec(session_id: str, request: SessionRequest) -> transmitter_pb2.SessionSpec:
    """The spec of a live session: paced, with the measurement tap."""
    spec = transmitter_pb2.SessionSpec(
        session_id=session_id,
        paced=True,
        measurement_tap=True,
        channel=link_pb2.ChannelSettings(),
    )
    set_fields(spec, request.model_dump())
    return spec


def set_fields(spec: transmitter_pb2.SessionSpec, fields: Mapping[str, Any]) -> None:
    """Sets fields of a SessionRequest, by their names there, in a spec."""
    for name, value in fields.items():
        match name:
            case "fps":
                spec.frames_per_second = value
            case "width":
                spec.width_px = value
            case "height":
                spec.height_px = value
            case "segment":
                spec.segment_frames = value
            case "cbr":
                spec.cbr = value or 0.0
            case "snr_db" | "burst_frames_mean" | "gap_frames_mean":
                setattr(spec.channel, name, value)
            case "channel":
                spec.channel.model = channel_model(value)
            case "seed":
                spec.seed = value
                spec.channel.seed = value
            case _:
                setattr(spec, name, value)


def channel_model(name: str) -> link_pb2.ChannelModel:
    """The protobuf value of a channel's name."""
    value: link_pb2.ChannelModel = link_pb2.ChannelModel.Value(f"CHANNEL_MODEL_{name.upper()}")  # type: ignore[assignment]
    return value


def spec_json(spec: transmitter_pb2.SessionSpec) -> JsonDict:
    """A spec under the names of SessionRequest."""
    return {
        "clip": spec.clip,
        "scheme": spec.scheme,
        "baseline_scheme": spec.baseline_scheme,
        "snr_db": round(spec.channel.snr_db, 4),
        "channel": _short(link_pb2.ChannelModel.Name(spec.channel.model), "CHANNEL_MODEL_"),
        "cbr": spec.cbr or None,
        "fps": spec.frames_per_second,
        "width": spec.width_px,
        "height": spec.height_px,
        "mcs": spec.mcs,
        "segment": spec.segment_frames,
        "seed": spec.seed,
        "generator": spec.generator,
        "generator_steps": spec.generator_steps,
        "guidance": spec.guidance,
        "caption": spec.caption,
        "segmenter": spec.segmenter,
        "sketcher": spec.sketcher,
        "captioner": spec.captioner,
        "burst_frames_mean": round(spec.channel.burst_frames_mean, 4),
        "gap_frames_mean": round(spec.channel.gap_frames_mean, 4),
        "loop": spec.loop,
    }


def state_name(state: transmitter_pb2.SessionState) -> str:
    """ "connecting", "streaming", "ended" or "failed"."""
    return _short(transmitter_pb2.SessionState.Name(state), "SESSION_STATE_")


def clip_json(clip: transmitter_pb2.Clip) -> JsonDict:
    """A clip; duration_s is null where it is not known."""
    return {
        "id": clip.id,
        "title": clip.title or clip.id,
        "width": clip.width_px,
        "height": clip.height_px,
        "fps": round(clip.frames_per_second, 3),
        "duration_s": round(clip.duration_s, 3) or None,
        "caption": clip.caption,
    }


def event_json(event: transmitter_pb2.SessionEvent) -> JsonDict | None:
    """{leg, type: "frame" or "status", ...}; None for kinds that pages have no use for."""
    kind = event.WhichOneof("event")
    if kind == "frame":
        return {"leg": event.leg, "type": "frame", **_frame_json(event.frame)}
    if kind == "status":
        status = event.status
        return {
            "leg": event.leg,
            "type": "status",
            "state": state_name(status.state),
            "detail": status.detail,
        }
    return None


def _frame_json(frame: transmitter_pb2.FrameReport) -> JsonDict:
    record = _message_json(frame)
    if frame.HasField("receiver"):
        points = constellation_points(frame.receiver.constellation_iq)
        record["receiver"]["constellation"] = points
    return record


def constellation_points(iq: bytes) -> list[list[float]]:
    """[[re, im], ...] to three decimals, of complex64 little-endian bytes.

    A length that is no whole number of samples, or values that are not finite, give an empty list:
    the constellation is for looking at, nothing depends on it.
    """
    if len(iq) % 8:
        return []
    parts = np.frombuffer(iq, dtype="<f4").reshape(-1, 2)
    if not np.isfinite(parts).all():
        return []
    points: list[list[float]] = np.round(parts.astype(np.float64), 3).tolist()
    return points


def _message_json(message: Message) -> JsonDict:
    """Every field of a message but its bytes; messages that are not set are left out."""
    record: JsonDict = {}
    for field in message.DESCRIPTOR.fields:
        if field.type == field.TYPE_BYTES:
            continue
        if field.has_presence and not message.HasField(field.name):
            continue
        value = getattr(message, field.name)
        if field.message_type is None:
            convert = _scalar_converter(field)
            converted = [convert(item) for item in value] if field.is_repeated else convert(value)
            record[field.name] = converted
        elif field.message_type is transmitter_pb2.ModalityCount.DESCRIPTOR:
            record[field.name] = _count_json(value)
        elif field.message_type is link_pb2.StageDuration.DESCRIPTOR:
            record["stage_ms"] = {item.stage: round(item.duration_ms, 3) for item in value}
        elif field.message_type is link_pb2.HeldModality.DESCRIPTOR:
            record["held_age_frames"] = {_modality(item): item.age_frames for item in value}
        elif field.message_type is link_pb2.ReceivedSemantics.DESCRIPTOR:
            record[field.name] = semantics_json(value)
        else:
            record[field.name] = _message_json(value)
    return record


def _scalar_converter(field: Any) -> Callable[[Any], Any]:
    if field.enum_type is not None:
        values = field.enum_type.values_by_number
        prefix = f"{_ENUM_PREFIXES[field.enum_type.name]}_"
        return lambda number: _short(values[number].name, prefix) if number in values else number
    if field.type == field.TYPE_FLOAT:
        # Single precision has no more than seven figures to tell.
        return lambda value: float(f"{value:.7g}") if math.isfinite(value) else None
    if field.type == field.TYPE_DOUBLE:
        return lambda value: value if math.isfinite(value) else None
    return lambda value: value


def _count_json(counts: Iterable[transmitter_pb2.ModalityCount]) -> dict[str, int]:
    return {_modality(item): item.count for item in counts}


def _modality(item: transmitter_pb2.ModalityCount | link_pb2.HeldModality) -> str:
    return _short(link_pb2.Modality.Name(item.modality), "MODALITY_")


def _short(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower()
