"""One session at the receiver, with no stream and no clock around it."""

from __future__ import annotations

import numpy as np
import pytest
from receiver_link import NumberedGenerator, bytes_of, radio_frames, setup

from receiver.generator import GeneratorContext, PassthroughGenerator
from receiver.session import ReceiverSession
from semcast.errors import InputError
from semcast.session import Modality, RadioFrame


def test_the_generator_is_told_what_the_session_asks_of_it() -> None:
    generator = NumberedGenerator()
    session = setup(width=96, height=48, fps=12.5, seed=99, generator_steps=3, guidance=2.5)
    ReceiverSession(session, generator)
    assert generator.contexts == [GeneratorContext(96, 48, 12.5, 99, num_steps=3, guidance=2.5)]


def test_a_frame_says_what_its_generator_remembers_once_it_is_made() -> None:
    generator = NumberedGenerator(on_step=lambda step: remember(generator, step))
    session = ReceiverSession(setup(), generator)
    # Step 0 is the frame before the first picture. Frame 2 is lost: nothing is made for it.
    shown = [session.render(session.decode(frame)) for frame in radio_frames(setup(), 4, lost=(2,))]
    assert [frame.cached_frames for frame in shown] == [1, 2, 2, 0]
    assert [frame.cache_resets for frame in shown] == [0, 0, 0, 1]


def remember(generator: NumberedGenerator, step: int) -> None:
    """One frame more at each step; all forgotten at the third."""
    generator.cached_frames, generator.cache_resets = (0, 1) if step == 3 else (step, 0)


def test_grey_is_shown_until_the_first_picture_comes() -> None:
    session = ReceiverSession(setup(), PassthroughGenerator())
    shown = [
        session.render(session.decode(frame)) for frame in radio_frames(setup(), 3, lost=(0, 1))
    ]
    for frame in shown[:2]:
        assert np.all(frame.rgb == 128)
        assert frame.rgb.shape == (64, 64, 3)
        assert frame.concealed
    assert not np.all(shown[2].rgb == 128)
    assert not shown[2].concealed


def test_the_last_good_frame_is_held_over_a_loss_and_said_so() -> None:
    session = ReceiverSession(setup(), PassthroughGenerator())
    shown = [
        session.render(session.decode(frame)) for frame in radio_frames(setup(), 6, lost=(2, 3))
    ]
    assert [frame.concealed for frame in shown] == [False, False, True, True, False, False]
    rgb = bytes_of(iter(shown))
    assert rgb[1] == rgb[2] == rgb[3] != rgb[4]


def test_a_loss_asks_nothing_of_the_generator() -> None:
    generator = NumberedGenerator()
    session = ReceiverSession(setup(), generator)
    for frame in radio_frames(setup(), 5, lost=(1, 3)):
        session.render(session.decode(frame))
    # One step for the frame before the first picture, one for each that came.
    assert len(generator.seen) == 1 + 3


def test_a_long_loss_becomes_an_outage_and_ends() -> None:
    session = ReceiverSession(setup(), PassthroughGenerator())
    frames = radio_frames(setup(), 12, lost=range(1, 10))
    outages = [session.render(session.decode(frame)).outage for frame in frames]
    assert outages == [False] * 6 + [True] * 4 + [False] * 2


def test_conditions_tell_what_there_is_and_how_old_it_is() -> None:
    generator = NumberedGenerator()
    session = ReceiverSession(setup(), generator)
    for frame in radio_frames(setup(), 4, lost=(1, 2)):
        decoded = session.decode(frame)
        session.render(decoded)
        age = {0: 0, 1: 1, 2: 2, 3: 0}[frame.sequence]
        assert decoded.conditions.age_frames == {Modality.LOWRES: age}
    assert generator.seen[0].pictures == {}
    assert [set(conditions.pictures) for conditions in generator.seen[1:]] == [
        {Modality.LOWRES},
        {Modality.LOWRES},
    ]


def test_conditions_are_snapshots_so_late_rendering_gives_the_same_frames() -> None:
    frames = radio_frames(setup(), 10, lost=(3, 7))
    prompt = ReceiverSession(setup(), PassthroughGenerator())
    at_once = [prompt.render(prompt.decode(frame)) for frame in frames]
    tardy = ReceiverSession(setup(), PassthroughGenerator())
    decoded = [tardy.decode(frame) for frame in frames]
    late = [tardy.render(frame) for frame in decoded]
    assert bytes_of(iter(at_once)) == bytes_of(iter(late))
    assert [(f.concealed, f.outage) for f in at_once] == [(f.concealed, f.outage) for f in late]


def test_a_frame_that_is_held_is_the_last_good_one_though_its_turn_was_skipped() -> None:
    """A live session skips rendering frame 4; frame 5 is lost: 4 is the last good one."""
    frames = radio_frames(setup(), 7, lost=(5,))
    every = ReceiverSession(setup(), PassthroughGenerator())
    rendered = [every.render(every.decode(frame)) for frame in frames]
    hasty = ReceiverSession(setup(), PassthroughGenerator())
    decoded = [hasty.decode(frame) for frame in frames]
    shown = {k: hasty.render(decoded[k]) for k in range(7) if k != 4}
    assert np.array_equal(shown[5].rgb, rendered[4].rgb)
    assert shown[5].concealed


def test_skipped_frames_count_as_held_where_they_were_lost() -> None:
    """Otherwise the more a busy receiver skips, the later an outage is told."""
    session = ReceiverSession(setup(), PassthroughGenerator())
    decoded = [session.decode(frame) for frame in radio_frames(setup(), 9, lost=range(1, 9))]
    assert session.render(decoded[8]).outage


def test_decoding_gives_the_feedback_whether_or_not_anything_is_rendered() -> None:
    frames = radio_frames(setup(), 8, lost=(3,))
    rendering, decoding = (
        ReceiverSession(setup(), NumberedGenerator()),
        ReceiverSession(setup(), NumberedGenerator()),
    )
    for frame in frames:
        decoded = rendering.decode(frame)
        rendering.render(decoded)
        assert decoding.decode(frame).received.feedback == decoded.received.feedback


def test_equal_radio_frames_give_equal_pictures() -> None:
    frames = radio_frames(setup(), 5)
    runs = []
    for _ in range(2):
        session = ReceiverSession(setup(), PassthroughGenerator())
        runs.append(bytes_of(session.render(session.decode(frame)) for frame in frames))
    assert runs[0] == runs[1]


def test_what_is_not_of_this_session_is_refused() -> None:
    frames = radio_frames(setup(), 3)
    session = ReceiverSession(setup(), PassthroughGenerator())
    session.decode(frames[0])
    other = RadioFrame(2, 1, 0, frames[1].blocks)
    for wrong in (frames[0], frames[2], other, RadioFrame(1, 1, 0, ())):
        with pytest.raises(InputError):
            session.decode(wrong)
    session.decode(frames[1])


def test_classical_video_is_shown_at_its_own_size() -> None:
    classical = setup(scheme="h264-ldpc", mcs="qpsk-1/2", symbols_per_frame=2000)
    session = ReceiverSession(classical, PassthroughGenerator())
    shown = [session.render(session.decode(frame)) for frame in radio_frames(classical, 4)]
    assert not shown[0].concealed
    assert shown[0].rgb.shape == (64, 64, 3)
    assert not np.all(shown[0].rgb == 128)
