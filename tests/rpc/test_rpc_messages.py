"""Conversions: round trips, bytes on the wire, and every way a message can be wrong."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from semcast.errors import InputError, SemcastError
from semcast.rpc.limits import MAX_MESSAGE_BYTES, MAX_SYMBOLS_PER_FRAME
from semcast.rpc.messages import (
    feedback_from_proto,
    feedback_to_proto,
    frame_from_proto,
    frame_to_proto,
    samples_from_bytes,
    samples_to_bytes,
    setup_from_proto,
    setup_to_proto,
)
from semcast.session import Block, ChannelModel, Feedback, Modality, RadioFrame, SessionSetup
from semcast.v1 import link_pb2

SETUP = SessionSetup(
    session_id="s-1",
    generation=3,
    scheme="contours,lowres",
    width=320,
    height=240,
    fps=12.5,
    segment_frames=9,
    symbols_per_frame=1234,
    mcs="qpsk-1/3",
    seed=2**62,
    generator="stabilityai/sd-turbo",
    feedback_delay_frames=2,
    pilots_per_frame=20,
    channel_model=ChannelModel.RAYLEIGH,
    live=True,
    measurement_tap=True,
    codec_weights="ntscc:0a1b2c3d,picture_video:4e5f6071",
    generator_steps=3,
    guidance=1.7,
)

blocks = st.lists(
    st.tuples(
        st.sampled_from(Modality),
        st.binary(max_size=99).map(lambda raw: np.frombuffer(raw[: len(raw) // 8 * 8], "<c8")),
    ),
    max_size=len(Modality),
    unique_by=lambda item: item[0],
)


def test_setup_round_trip_carries_every_field():
    message = setup_to_proto(SETUP)
    assert setup_from_proto(link_pb2.SessionSetup.FromString(message.SerializeToString())) == SETUP
    unset = [
        field.name
        for field in link_pb2.SessionSetup.DESCRIPTOR.fields
        if not getattr(message, field.name)
    ]
    assert unset == []


def test_enums_have_the_same_values_and_names_in_both_worlds():
    for wire, plain in ((link_pb2.Modality, Modality), (link_pb2.ChannelModel, ChannelModel)):
        prefix = wire.DESCRIPTOR.values[0].name.removesuffix("UNSPECIFIED")
        names = {value.name.removeprefix(prefix): value.number for value in wire.DESCRIPTOR.values}
        assert names == {"UNSPECIFIED": 0} | {item.name: item.value for item in plain}


@given(sequence=st.integers(0, 2**64 - 1), pts_us=st.integers(-(2**63), 2**63 - 1), blocks=blocks)
def test_frame_round_trip(sequence, pts_us, blocks):
    frame = RadioFrame(3, sequence, pts_us, tuple(Block(*block) for block in blocks))
    wire = frame_to_proto(frame, SETUP.session_id).SerializeToString()
    back = frame_from_proto(link_pb2.RadioFrame.FromString(wire), SETUP)
    assert (back.generation, back.sequence, back.pts_us) == (3, sequence, pts_us)
    assert [block.modality for block in back.blocks] == [block.modality for block in frame.blocks]
    for sent, got in zip(frame.blocks, back.blocks, strict=True):
        assert got.samples.tobytes() == sent.samples.tobytes()


def test_samples_are_little_endian_float32_pairs():
    samples = np.array([1 - 2j, 0.5 + 3j], np.complex64)
    assert samples_to_bytes(samples) == struct.pack("<4f", 1, -2, 0.5, 3)
    # A strided array of another byte order is the same on the wire.
    swapped = np.repeat(samples, 2).astype(">c8")[::2]
    assert samples_to_bytes(swapped) == samples_to_bytes(samples)


def test_decoding_samples_copies_nothing():
    iq = struct.pack("<4f", 1, -2, 0.5, 3)
    samples = samples_from_bytes(iq)
    assert not samples.flags.owndata
    assert not samples.flags.writeable
    assert np.shares_memory(samples, np.frombuffer(iq, np.uint8))


def test_a_fraction_of_a_symbol_is_refused():
    with pytest.raises(InputError, match="7 bytes of IQ are no whole number of symbols"):
        samples_from_bytes(bytes(7))


@given(
    received=st.frozensets(st.sampled_from(Modality)),
    rung=st.integers(0, 15),
    steps=st.integers(0, 255),
)
def test_feedback_round_trip(received, rung, steps):
    feedback = Feedback(1, 77, received, rung, -20 + 0.25 * steps, 15)
    wire = feedback_to_proto(feedback).SerializeToString()
    assert feedback_from_proto(link_pb2.Feedback.FromString(wire)) == feedback


def test_feedback_without_a_number_is_refused():
    with pytest.raises(InputError, match="SNR of nan"):
        feedback_from_proto(link_pb2.Feedback(snr_db_estimated=float("nan")))
    with pytest.raises(InputError, match="Modality 0 is not known"):
        feedback_from_proto(link_pb2.Feedback(received_modalities=[0]))


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("session_id", "", "session_id is ''"),
        ("session_id", "a b", "session_id is 'a b'"),
        ("generation", 0, "generation is 0, but should be greater than or equal to 1"),
        ("scheme", "", "scheme is '', which is not an id"),
        ("scheme", "a free text about the clip", "which is not an id"),
        ("mcs", "x" * 81, "which is not an id"),
        ("generator", "tiny\n", "which is not an id"),
        ("codec_weights", "a free text about the clip", "which is not an id"),
        ("codec_weights", "x" * 81, "which is not an id"),
        ("width_px", 4097, "width_px is 4097"),
        ("height_px", 0, "height_px is 0"),
        ("frames_per_second", 0.0, "frames_per_second is 0.0"),
        ("frames_per_second", float("nan"), "frames_per_second is nan"),
        ("frames_per_second", float("inf"), "frames_per_second is inf"),
        ("segment_frames", 0, "segment_frames is 0"),
        ("symbols_per_frame", 0, "symbols_per_frame is 0"),
        ("seed", 2**63, "seed is 9223372036854775808"),
        ("feedback_delay_frames", 5, "feedback_delay_frames is 5"),
        ("pilots_per_frame", 0, "pilots_per_frame is 0"),
        ("channel_model", 0, "Channel model 0 is not known"),
        ("channel_model", 9, "Channel model 9 is not known"),
        ("generator_steps", 9, "generator_steps is 9, but should be less than or equal to 8"),
        ("guidance", -0.5, "guidance is -0.5"),
        ("guidance", 10.5, "guidance is 10.5"),
        ("guidance", float("nan"), "guidance is nan"),
    ],
)
def test_a_setup_out_of_bounds_is_refused_by_one_sentence(field, value, sentence):
    message = setup_to_proto(SETUP)
    setattr(message, field, value)
    with pytest.raises(InputError) as caught:
        setup_from_proto(message)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_frame_beyond_the_limit_is_refused_and_the_limit_fits_a_message():
    zeros = np.zeros(MAX_SYMBOLS_PER_FRAME, np.complex64)
    message = frame_to_proto(RadioFrame(3, 1, 0, (Block(Modality.VIDEO, zeros),)), "s-1")
    assert message.ByteSize() < MAX_MESSAGE_BYTES
    assert frame_from_proto(message, SETUP).num_symbols == MAX_SYMBOLS_PER_FRAME
    message.blocks.add(modality=link_pb2.MODALITY_PILOT, num_symbols=1, iq=bytes(8))
    with pytest.raises(InputError, match="at most 2000000 a frame"):
        frame_from_proto(message, SETUP)


def test_a_frame_of_very_many_blocks_is_refused():
    message = link_pb2.RadioFrame(session_id="s-1", generation=3)
    message.blocks.extend(link_pb2.Block() for _ in range(1000))
    with pytest.raises(InputError, match="1000 blocks: send one a modality"):
        frame_from_proto(message, SETUP)


@given(wire=st.binary(max_size=200))
def test_any_bytes_give_a_frame_or_an_error_of_ours(wire):
    for message_type, convert in (
        (link_pb2.RadioFrame, lambda message: frame_from_proto(message, SETUP)),
        (link_pb2.SessionSetup, setup_from_proto),
        (link_pb2.Feedback, feedback_from_proto),
    ):
        try:
            convert(message_type.FromString(wire))
        except (DecodeError, SemcastError):
            pass
