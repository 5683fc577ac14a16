"""Learned codecs on the link: what is lost with what, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from learned_link import (
    CAPTION,
    HEIGHT,
    MOVING,
    SEGMENT,
    SOURCE,
    SYMBOLS,
    WIDTH,
    block_of,
    learned_modality,
    losing,
    run,
    setup,
    shown,
    strokes_of,
)
from linear_codecs import (
    psnr_of,
    squared_error,
)

from channel_emulator.impairments import ChannelSettings, is_lost
from receiver.generator import PassthroughGenerator
from receiver.session import ReceiverSession
from semcast.errors import InputError, NotFoundError
from semcast.link import (
    LinkReceiver,
    LinkSender,
)
from semcast.parts.learned import codec_weights
from semcast.schemes import SCHEMES
from semcast.semantics import Semantics
from semcast.session import Block, ChannelModel, Modality, RadioFrame, SessionSetup
from semcast.weights import digest

pytestmark = pytest.mark.usefixtures("networks")

# What is lost.


@pytest.mark.usefixtures("only_changes")
@pytest.mark.parametrize("delay", [1, 3])
@pytest.mark.parametrize("at", [0, 3, SEGMENT])
def test_changes_are_not_added_to_what_was_lost(delay: int, at: int) -> None:
    """A picture follows as soon as the transmitter knows. Until then nothing is shown that was to
    be added to a picture which never came; a change needs no more than the picture."""
    modality = learned_modality("dvst")
    session = setup("dvst", feedback_delay_frames=delay)
    results = run(session, 2 * SEGMENT, MOVING, losing(modality, at), snr_db=14.0)
    for index, (_, received) in enumerate(results):
        lost = index == at if at % SEGMENT else at <= index < at + delay
        assert (modality in received.came.modalities) == (not lost)
        assert (modality in received.crc_failed) == lost
        assert (modality in received.feedback.received) == (not lost)
        assert received.complete == (not lost)


def test_a_lost_sketch_costs_itself() -> None:
    modality = learned_modality("sketches-desc")
    session, lost = setup("sketches-desc"), (SEGMENT, SEGMENT + 2)
    results = run(session, 2 * SEGMENT, MOVING, losing(modality, *lost), snr_db=14.0)
    for index, (_, received) in enumerate(results):
        assert (received.came.sketch is None) == (index in lost)
        assert received.complete == (index not in lost)


@pytest.mark.parametrize("scheme", ["first-frame-desc", "sketch-desc"])
def test_a_segment_whose_only_picture_is_lost_is_not_complete(scheme: str) -> None:
    """The picture of the segment before is held, and known to be no longer the right one."""
    modality = learned_modality(scheme)
    results = run(setup(scheme), 3 * SEGMENT, MOVING, losing(modality, SEGMENT), snr_db=14.0)
    for index, (_, received) in enumerate(results):
        lost = SEGMENT <= index < 2 * SEGMENT
        assert received.complete == (not lost)
        assert (modality in received.came.modalities) == (index in (0, 2 * SEGMENT))
        assert (modality in received.crc_failed) == (index == SEGMENT)


def test_a_lost_change_costs_itself_and_is_made_up_for() -> None:
    still = np.stack([SOURCE] * SEGMENT)
    whole = run(setup("dvst"), SEGMENT, still, snr_db=14.0)
    lossy = run(setup("dvst"), SEGMENT, still, losing(Modality.KEYFRAME, 3), snr_db=14.0)
    for index, (_, received) in enumerate(lossy):
        assert received.complete == (index != 3)
        assert (Modality.KEYFRAME in received.came.pictures) == (index != 3)
        if index not in (3,):
            mine, other = (squared_error(shown(r[index][1]), SOURCE) for r in (lossy, whole))
            assert mine < 3 * other + 20


def test_each_picture_lost_is_lost_alone_where_one_is_sent_each_frame() -> None:
    results = run(setup(), 8, corrupt=losing(Modality.KEYFRAME, 0, 4, 5), snr_db=9.0)
    assert [received.complete for _, received in results] == [k not in (0, 4, 5) for k in range(8)]
    for index, (_, received) in enumerate(results):
        if index in (0, 4, 5):
            assert received.came.pictures == {}
            assert received.crc_failed == received.checked == (Modality.KEYFRAME,)


@pytest.mark.usefixtures("only_changes")
def test_both_ends_agree_at_any_feedback_delay_and_under_loss() -> None:
    """Each end's network is at the same rung, sizes and context, whatever was lost before."""
    for delay in (1, 2, 4):
        session = setup("dvst", feedback_delay_frames=delay)
        lossy = losing(Modality.KEYFRAME, 2, 8, 13)
        results = run(session, 3 * SEGMENT, MOVING, lossy, snr_db=11.0)
        failed = [k for k, (_, received) in enumerate(results) if received.crc_failed]
        # Changes to the picture that was lost at the beginning are lost until another comes.
        assert failed == sorted({2, *range(8, 8 + delay), 13})


def test_in_a_burst_no_noise_is_taken_for_a_picture() -> None:
    """A lost frame shows nothing; the next whole one is as good as ever."""
    channel: dict[str, object] = {
        "model": ChannelModel.BURST,
        "burst_frames_mean": 2.0,
        "gap_frames_mean": 4.0,
    }
    session = setup(channel_model=ChannelModel.BURST)
    for snr_db in (0.0, 20.0):
        results = run(session, 40, snr_db=snr_db, **channel)
        settings = ChannelSettings.model_validate({"seed": 21, "snr_db": snr_db, **channel})
        quality = []
        for index, (_, received) in enumerate(results):
            lost = is_lost(1, index, settings)
            assert (received.came.pictures == {}) == lost
            assert received.complete == (not lost)
            assert received.checked == (Modality.KEYFRAME,)
            assert received.crc_failed == ((Modality.KEYFRAME,) if lost else ())
            # Nor for symbols of unit power, which would make the channel look better than it is.
            assert received.snr_db < snr_db + 1
            if not lost:
                quality.append(psnr_of([squared_error(shown(received), SOURCE)]))
        assert 4 <= len(quality) <= 36
        assert max(quality[2:]) - min(quality[2:]) < 4


def test_after_a_burst_a_picture_comes_at_once() -> None:
    session = setup("dvst", channel_model=ChannelModel.BURST, feedback_delay_frames=1)
    channel: dict[str, object] = {
        "model": ChannelModel.BURST,
        "burst_frames_mean": 1.5,
        "gap_frames_mean": 6.0,
    }
    settings = ChannelSettings.model_validate({"seed": 21, "snr_db": 14.0, **channel})
    results = run(session, 6 * SEGMENT, MOVING, snr_db=14.0, **channel)
    lost = [is_lost(1, index, settings) for index in range(len(results))]
    assert any(lost[::SEGMENT]) and not all(lost[::SEGMENT])
    assert [received.complete for _, received in results] == [not gone for gone in lost]


# What is refused.


@pytest.mark.parametrize("scheme", SYMBOLS)
def test_a_block_of_another_size_is_refused_by_name(scheme: str) -> None:
    modality = learned_modality(scheme)
    sent = LinkSender(setup(scheme)).encode(
        Semantics(SOURCE, sketch=strokes_of(SOURCE), caption=CAPTION), 0
    )
    samples = block_of(sent, modality)
    for wrong in (samples[:-1], np.append(samples, samples[:1]), samples[:0]):
        blocks = tuple(
            Block(block.modality, wrong if block.modality == modality else block.samples)
            for block in sent.radio.blocks
        )
        with pytest.raises(
            InputError,
            match=f"A {modality.label} block of {len(wrong)} symbols came where the set-up fixes "
            f"{len(samples)}",
        ):
            LinkReceiver(setup(scheme)).receive(RadioFrame(1, 0, 0, blocks))


def test_a_block_where_none_is_due_is_refused() -> None:
    session = setup("first-frame-desc")
    sender, receiver = LinkSender(session), LinkReceiver(session)
    first = sender.encode(Semantics(SOURCE, caption=CAPTION), 0).radio
    sender.feedback(receiver.receive(first).feedback)
    second = sender.encode(Semantics(SOURCE, caption=CAPTION), 1).radio
    keyframe = next(block for block in first.blocks if block.modality == Modality.KEYFRAME)
    with pytest.raises(InputError, match="where the set-up fixes 0"):
        receiver.receive(RadioFrame(1, 1, 0, (*second.blocks, keyframe)))


@pytest.mark.parametrize("value", [np.nan, np.inf, complex(0, np.nan)])
def test_samples_that_are_no_numbers_are_refused(value: complex) -> None:
    session = setup()
    sent = LinkSender(session).encode(Semantics(SOURCE), 0).radio
    pilots, block = sent.blocks
    samples = block.samples.copy()
    samples[-1] = value
    receiver = LinkReceiver(session)
    with pytest.raises(InputError, match="not finite"):
        receiver.receive(RadioFrame(1, 0, 0, (pilots, Block(Modality.KEYFRAME, samples))))
    # Nothing has happened: the frame itself is still due.
    assert Modality.KEYFRAME in receiver.receive(sent).came.pictures


@pytest.mark.parametrize("scheme", SYMBOLS)
def test_symbols_of_other_weights_are_refused_before_any_come(scheme: str) -> None:
    ours = codec_weights(SCHEMES[scheme].learned)
    named = setup(scheme, codec_weights=ours)
    ReceiverSession(named, PassthroughGenerator())
    for theirs, says in ((ours.replace("0a1b2c3d", "ffffffff"), "ffffffff"), ("", "not named")):
        other = named.model_copy(update={"codec_weights": theirs})
        with pytest.raises(InputError, match=f"'{scheme}' is sent with weights.*{says}") as refusal:
            ReceiverSession(other, PassthroughGenerator())
        assert ours in str(refusal.value)
        assert "install the same version" in str(refusal.value)


def test_weights_of_a_scheme_that_learned_nothing_are_refused_as_well() -> None:
    plain = SessionSetup(
        session_id="test",
        scheme="lowres",
        width=WIDTH,
        height=HEIGHT,
        fps=8.0,
        symbols_per_frame=400,
        codec_weights="ntscc:0a1b2c3d",
    )
    with pytest.raises(InputError, match=r"'lowres' is sent with weights ntscc.* has none"):
        ReceiverSession(plain, PassthroughGenerator())


def test_a_set_up_names_all_weights_of_its_scheme() -> None:
    named = {scheme: codec_weights(SCHEMES[scheme].learned) for scheme in SCHEMES}
    assert named["djscc-rgb"] == named["first-frame-desc"] == "ntscc:0a1b2c3d"
    assert named["sketch-desc"] == "djscc_sketch_k03:0a1b2c3d"
    assert named["sketches-desc"] == "djscc_sketch_k03:0a1b2c3d"
    assert named["dvst"] == "ntscc:0a1b2c3d,picture_video:0a1b2c3d"
    assert {named[s] for s in ("lowres", "desc", "auto", "h264-ldpc")} == {""}
    # It has to fit into a set-up.
    for scheme in SYMBOLS:
        setup(scheme, codec_weights=named[scheme])


def test_a_digest_tells_files_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semcast.weights.FOLDER", tmp_path)
    digests = []
    for name, content in (("one_x", b"weights"), ("two_x", b"weightt"), ("three_x", b"weights")):
        (tmp_path / f"{name}.safetensors").write_bytes(content)
        digests.append(digest(name))
    assert digests[0] == digests[2] != digests[1]
    assert all(len(d) == 8 and int(d, 16) >= 0 for d in digests)
    with pytest.raises(NotFoundError, match="'four_x' in this version, which has one_x"):
        digest("four_x")
