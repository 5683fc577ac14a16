"""Protobuf twins of the types in `semcast.session`, and the checks a message passes on its way in.

Samples travel as little-endian complex64 with interleaved real and imaginary parts. Decoding does
not copy: the arrays of a decoded frame are read-only views of the message's bytes.
"""

from __future__ import annotations

import math
import re
from typing import cast

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from semcast.errors import InputError
from semcast.rpc.limits import MAX_SYMBOLS_PER_FRAME
from semcast.rpc.validation import describe_first_error
from semcast.session import Block, ChannelModel, Feedback, Modality, RadioFrame, SessionSetup
from semcast.v1 import link_pb2

BYTES_PER_SYMBOL = 8
_WIRE_DTYPE = np.dtype("<c8")
_ID_PATTERN = re.compile(r"[A-Za-z0-9_.,:/-]{1,80}")
_WIRE_NAMES = {"width": "width_px", "height": "height_px", "fps": "frames_per_second"}


def samples_to_bytes(samples: NDArray[np.complex64]) -> bytes:
    """IQ samples as they travel.

    samples: [n], complex64.
    """
    return np.ascontiguousarray(samples, dtype=_WIRE_DTYPE).tobytes()


def samples_from_bytes(iq: bytes) -> NDArray[np.complex64]:
    """The inverse of `samples_to_bytes`: [n], complex64, a read-only view of `iq`.

    Raises InputError where the length is no multiple of 8 bytes.
    """
    if len(iq) % BYTES_PER_SYMBOL:
        raise InputError(
            f"{len(iq)} bytes of IQ are no whole number of symbols: send {BYTES_PER_SYMBOL} bytes "
            "a symbol."
        )
    return np.frombuffer(iq, dtype=_WIRE_DTYPE)


def channel_model_from_proto(value: int) -> ChannelModel:
    """The kind of channel; InputError where it is not set or not known."""
    try:
        return ChannelModel(value)
    except ValueError:
        known = ", ".join(model.name for model in ChannelModel)
        raise InputError(f"Channel model {value} is not known: use one of {known}.") from None


def modality_from_proto(value: int) -> Modality:
    """The modality; InputError where it is not set or not known."""
    try:
        return Modality(value)
    except ValueError:
        known = ", ".join(modality.name for modality in Modality)
        raise InputError(f"Modality {value} is not known: use one of {known}.") from None


def channel_model_to_proto(model: ChannelModel) -> link_pb2.ChannelModel:
    """The protobuf enum value, which is an int to Python."""
    return cast("link_pb2.ChannelModel", int(model))


def modality_to_proto(modality: Modality) -> link_pb2.Modality:
    """The protobuf enum value, which is an int to Python."""
    return cast("link_pb2.Modality", int(modality))


def setup_to_proto(setup: SessionSetup) -> link_pb2.SessionSetup:
    """The set-up as the first message of a stream carries it."""
    return link_pb2.SessionSetup(
        session_id=setup.session_id,
        generation=setup.generation,
        scheme=setup.scheme,
        width_px=setup.width,
        height_px=setup.height,
        frames_per_second=setup.fps,
        segment_frames=setup.segment_frames,
        symbols_per_frame=setup.symbols_per_frame,
        mcs=setup.mcs,
        seed=setup.seed,
        generator=setup.generator,
        feedback_delay_frames=setup.feedback_delay_frames,
        pilots_per_frame=setup.pilots_per_frame,
        channel_model=channel_model_to_proto(setup.channel_model),
        live=setup.live,
        measurement_tap=setup.measurement_tap,
        codec_weights=setup.codec_weights,
        generator_steps=setup.generator_steps,
        guidance=setup.guidance,
    )


def setup_from_proto(message: link_pb2.SessionSetup) -> SessionSetup:
    """The inverse of `setup_to_proto`; InputError names the first field that is out of bounds."""
    named = ["scheme", "mcs", "generator"]
    if message.codec_weights:
        named.append("codec_weights")
    for name in named:
        # Set-up is free of charge only because nothing but ids and numbers fits in it.
        if not _ID_PATTERN.fullmatch(value := getattr(message, name)):
            raise InputError(f"Set-up is refused: {name} is {value[:60]!r}, which is not an id.")
    try:
        return SessionSetup(
            session_id=message.session_id,
            generation=message.generation,
            scheme=message.scheme,
            width=message.width_px,
            height=message.height_px,
            fps=message.frames_per_second,
            segment_frames=message.segment_frames,
            symbols_per_frame=message.symbols_per_frame,
            mcs=message.mcs,
            seed=message.seed,
            generator=message.generator,
            feedback_delay_frames=message.feedback_delay_frames,
            pilots_per_frame=message.pilots_per_frame,
            channel_model=channel_model_from_proto(message.channel_model),
            live=message.live,
            measurement_tap=message.measurement_tap,
            codec_weights=message.codec_weights,
            generator_steps=message.generator_steps,
            guidance=message.guidance,
        )
    except ValidationError as error:
        reason = describe_first_error(error, lambda field: _WIRE_NAMES.get(field, field))
        raise InputError(f"Set-up is refused: {reason}.") from error


def frame_to_proto(frame: RadioFrame, session_id: str) -> link_pb2.RadioFrame:
    """One radio frame as it travels."""
    return link_pb2.RadioFrame(
        session_id=session_id,
        generation=frame.generation,
        sequence=frame.sequence,
        pts_us=frame.pts_us,
        blocks=[
            link_pb2.Block(
                modality=modality_to_proto(block.modality),
                num_symbols=len(block.samples),
                iq=samples_to_bytes(block.samples),
            )
            for block in frame.blocks
        ],
    )


def frame_from_proto(message: link_pb2.RadioFrame, setup: SessionSetup) -> RadioFrame:
    """The inverse of `frame_to_proto`.

    setup: of the stream that carried the frame; session id and generation must agree with it.
    Raises InputError for unknown or repeated modalities, IQ of the wrong length, and frames of
    more than `MAX_SYMBOLS_PER_FRAME` symbols. Sample values are not looked at.
    """
    if message.session_id != setup.session_id or message.generation != setup.generation:
        raise InputError(
            f"A frame of session {message.session_id[:64]!r}, generation {message.generation}, "
            f"came on the stream of session {setup.session_id!r}, generation {setup.generation}: "
            "open a stream for each."
        )
    if len(message.blocks) > len(Modality):
        raise InputError(
            f"Frame {message.sequence} has {len(message.blocks)} blocks: send one a modality, "
            f"{len(Modality)} at most."
        )
    blocks: list[Block] = []
    seen: set[Modality] = set()
    for block in message.blocks:
        modality = modality_from_proto(block.modality)
        if modality in seen:
            raise InputError(
                f"Frame {message.sequence} has two blocks of {modality.label}: send one a modality."
            )
        seen.add(modality)
        if len(block.iq) != BYTES_PER_SYMBOL * block.num_symbols:
            raise InputError(
                f"The {modality.label} block of frame {message.sequence} says {block.num_symbols} "
                f"symbols but carries {len(block.iq)} bytes of IQ: send {BYTES_PER_SYMBOL} bytes a "
                "symbol."
            )
        blocks.append(Block(modality, samples_from_bytes(block.iq)))
    frame = RadioFrame(message.generation, message.sequence, message.pts_us, tuple(blocks))
    if frame.num_symbols > MAX_SYMBOLS_PER_FRAME:
        raise InputError(
            f"Frame {frame.sequence} has {frame.num_symbols} symbols: send at most "
            f"{MAX_SYMBOLS_PER_FRAME} a frame."
        )
    return frame


def feedback_to_proto(feedback: Feedback) -> link_pb2.Feedback:
    """Feedback as it travels; the modalities in ascending order."""
    return link_pb2.Feedback(
        generation=feedback.generation,
        sequence=feedback.sequence,
        received_modalities=[modality_to_proto(item) for item in sorted(feedback.received)],
        rung_index=feedback.rung_index,
        snr_db_estimated=feedback.snr_db,
        feedback_bits=feedback.num_bits,
    )


def feedback_from_proto(message: link_pb2.Feedback) -> Feedback:
    """The inverse of `feedback_to_proto`; InputError for unknown modalities and a NaN SNR."""
    if not math.isfinite(message.snr_db_estimated):
        raise InputError(
            f"Feedback on frame {message.sequence} has an SNR of {message.snr_db_estimated}: "
            "send a finite number of dB."
        )
    return Feedback(
        generation=message.generation,
        sequence=message.sequence,
        received=frozenset(modality_from_proto(value) for value in message.received_modalities),
        rung_index=message.rung_index,
        snr_db=message.snr_db_estimated,
        num_bits=message.feedback_bits,
    )
