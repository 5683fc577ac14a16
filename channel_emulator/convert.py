"""Protobuf twins of the channel's own types."""

from __future__ import annotations

from pydantic import ValidationError

from channel_emulator.impairments import ChannelSettings, Measurement
from semcast.errors import InputError
from semcast.rpc.messages import channel_model_from_proto
from semcast.rpc.validation import describe_first_error
from semcast.v1 import link_pb2


def settings_from_proto(message: link_pb2.ChannelSettings) -> ChannelSettings:
    """Settings of the channel; a burst or gap length of 0 (not set) takes its default.

    Raises InputError naming the first field that is out of bounds.
    """
    means = {
        name: value
        for name in ("burst_frames_mean", "gap_frames_mean")
        if (value := getattr(message, name)) != 0
    }
    try:
        return ChannelSettings(
            snr_db=message.snr_db,
            model=channel_model_from_proto(message.model),
            seed=message.seed,
            **means,
        )
    except ValidationError as error:
        raise InputError(f"Channel settings are refused: {describe_first_error(error)}.") from error


def telemetry_to_proto(measurement: Measurement, process_ms: float) -> link_pb2.ChannelTelemetry:
    """What people may know about one frame's way through the channel."""
    return link_pb2.ChannelTelemetry(
        generation=measurement.generation,
        sequence=measurement.sequence,
        snr_db_requested=measurement.snr_db_requested,
        signal_energy=measurement.signal_energy,
        noise_energy=measurement.noise_energy,
        num_symbols=measurement.num_symbols,
        block_lost=measurement.block_lost,
        process_ms=process_ms,
    )
