"""Learned codecs on the link: what is sent and when, how much of it, and what is shown."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from learned_link import (
    CAPTION,
    HEIGHT,
    MOVING,
    PATCHES,
    PILOTS,
    SEGMENT,
    SOURCE,
    SYMBOLS,
    WIDTH,
    Written,
    block_of,
    learned_modality,
    run,
    sent_of,
    setup,
    shown,
    strokes_of,
)
from linear_codecs import (
    put,
    squared_error,
)
from numpy.typing import NDArray

from channel_emulator.impairments import ChannelSettings, Emulator
from receiver.generator import PassthroughGenerator
from receiver.record import Recorder, find_record, replay
from receiver.session import ReceiverSession
from semcast.errors import InputError
from semcast.link import (
    LinkReceiver,
    LinkSender,
    ReceivedFrame,
    SentFrame,
    plan_grid,
)
from semcast.metrics.psnr import psnr_db
from semcast.networks.latent_video import LatentVideo
from semcast.networks.ntscc import Ntscc
from semcast.parts.learned import codec_weights
from semcast.schemes import SCHEMES, symbols_per_frame
from semcast.semantics import Semantics
from semcast.session import Modality, SessionSetup
from training.recipes.latent_video import PictureVideo
from training.recipes.ntscc import NtsccRecipe
from training.recipes.sketch_code import SketchCode

pytestmark = pytest.mark.usefixtures("networks")

# What is sent, and when.


@pytest.mark.parametrize("scheme", SYMBOLS)
def test_a_picture_at_each_start_and_between_them_what_the_scheme_sends(scheme: str) -> None:
    learned = SCHEMES[scheme].learned
    assert learned is not None
    modality = learned.modality
    results = run(setup(scheme), 2 * SEGMENT + 1, MOVING, snr_db=14.0)
    for index, (sent, received) in enumerate(results):
        begins = index % SEGMENT == 0
        between = bool(learned.changes) or learned.smaller
        expected = learned.every_frame or begins or between
        assert (len(block_of(sent, modality)) > 0) == expected
        assert (modality in received.came.modalities) == expected
        assert (modality in received.checked) == expected
        assert not received.crc_failed
        assert sent.symbols_by_modality.get(modality, 0) == len(block_of(sent, modality))
    if between:
        first, others = len(block_of(results[0][0], modality)), results[1:SEGMENT]
        assert all(len(block_of(sent, modality)) < first for sent, _ in others)


@pytest.mark.parametrize("scheme", SYMBOLS)
def test_the_receiver_knows_every_size_from_the_set_up_alone(scheme: str) -> None:
    """Of learned parts: no symbol says how many follow."""
    session, modality = setup(scheme), learned_modality(scheme)
    part = LinkReceiver(session)._parts[modality]
    assert part.fixed_size
    for index, (sent, _) in enumerate(run(session, SEGMENT + 2, MOVING, snr_db=6.0)):
        assert len(block_of(sent, modality)) == part.num_symbols({}, index)


@pytest.mark.parametrize("scheme", SYMBOLS)
def test_what_is_counted_is_what_was_asked_for(scheme: str) -> None:
    """Over a segment; a caption that is acknowledged early leaves symbols over."""
    session = setup(scheme)
    results = run(session, 2 * SEGMENT, MOVING, snr_db=14.0)
    asked = SEGMENT * session.symbols_per_frame
    most_caption = LinkSender(session)._grid.part_symbols.get(Modality.CAPTION, 0)
    for begin in (0, SEGMENT):
        frames = [sent for sent, _ in results[begin : begin + SEGMENT]]
        counted = sum(sent.radio.num_symbols for sent in frames)
        caption = sum(len(block_of(sent, Modality.CAPTION)) for sent in frames)
        # To the rounding of each frame's share.
        assert abs(counted + most_caption - caption - asked) <= SEGMENT
        assert counted == sum(sum(sent.symbols_by_modality.values()) for sent in frames)


@pytest.mark.parametrize("scheme", SYMBOLS)
def test_blocks_have_unit_power_and_the_bits_of_their_heads_are_counted(
    scheme: str, blocks: list[Written]
) -> None:
    modality = learned_modality(scheme)
    results = run(setup(scheme), SEGMENT + 1, MOVING, snr_db=9.0)
    written = sent_of(blocks, results, modality)
    for sent, _ in results:
        samples = block_of(sent, modality)
        if not len(samples):
            assert modality not in sent.payload_bits_by_modality
            continue
        assert samples.dtype == np.complex64 and samples.flags.c_contiguous
        assert float(np.mean(np.abs(samples) ** 2)) == pytest.approx(1, abs=1e-3)
        layout = written.pop(0).allocation.layout
        assert sent.payload_bits_by_modality[modality] == layout.num_bits
        others = sum(sent.payload_bits_by_modality.values()) - layout.num_bits
        crcs = sent.information_bits - others - layout.num_bits
        assert crcs == 16 * (1 + (others > 0))


def test_the_pilots_block_and_the_pictures_are_all_of_a_frame() -> None:
    for sent, _ in run(setup(), 2, snr_db=9.0):
        assert [block.modality for block in sent.radio.blocks] == [
            Modality.PILOT,
            Modality.KEYFRAME,
        ]
        assert sent.radio.num_symbols == SYMBOLS["djscc-rgb"]


def test_each_picture_stands_for_itself_where_one_is_sent_each_frame() -> None:
    """No frame is predicted from another: equal pictures give equal reals behind the head,
    whose scrambling differs."""
    pictures = np.stack([SOURCE, MOVING[0], SOURCE])
    results = run(setup(), 6, pictures, snr_db=9.0)
    blocks = [block_of(sent, Modality.KEYFRAME)[-300:] for sent, _ in results]
    assert np.array_equal(blocks[3], blocks[5])
    assert not np.array_equal(blocks[3], blocks[4])


def test_pictures_that_move_are_followed_by_what_changed() -> None:
    """`dvst` without noise: what is still stays as good, and what moved is followed at once, as
    far as each patch's first reals go."""
    slow = np.stack([SOURCE] * 3 + [MOVING[0]] * 5)
    session = setup("dvst", symbols_per_frame=PILOTS + 500)
    results = run(session, SEGMENT, slow, snr_db=40.0)
    errors = [squared_error(shown(r), slow[k]) for k, (_, r) in enumerate(results)]
    assert errors[2] < 1.1 * errors[0]
    change = squared_error(SOURCE, MOVING[0])
    assert errors[3] < 0.4 * change
    assert all(later <= 1.01 * sooner for sooner, later in pairwise(errors[3:]))
    assert all(received.complete for _, received in results)


def test_sketches_come_as_strength_in_the_size_of_the_video() -> None:
    for scheme in ("sketch-desc", "sketches-desc"):
        results = run(setup(scheme), 3, MOVING, snr_db=20.0)
        sketch = results[0][1].came.sketch
        assert sketch is not None
        assert sketch.shape == (HEIGHT, WIDTH) and sketch.dtype == np.uint8
        assert len(np.unique(sketch)) > 10, "how sure it is, not black and white"
        lines = strokes_of(MOVING[0])
        assert sketch[lines > 0].mean() > 1.5 * sketch[lines == 0].mean()


def test_a_frame_without_strokes_is_sent_as_an_empty_sketch() -> None:
    session = setup("sketch-desc")
    sent = LinkSender(session).encode(Semantics(SOURCE, caption=CAPTION), 0)
    received = LinkReceiver(session).receive(sent.radio)
    assert received.came.sketch is not None
    assert received.came.sketch.mean() < 10


def test_the_caption_comes_beside_the_picture() -> None:
    for scheme in ("first-frame-desc", "sketch-desc", "sketches-desc"):
        results = run(setup(scheme), SEGMENT, MOVING, snr_db=14.0)
        assert CAPTION in [received.came.caption for _, received in results]


@pytest.mark.parametrize("scheme", SYMBOLS)
def test_no_frame_depends_on_those_after_it(scheme: str) -> None:
    """And what is sent follows from set-up, frames and feedback alone."""
    session = setup(scheme)
    other = MOVING.copy()
    other[5:] = MOVING[-1]
    first, same, later = (
        run(session, SEGMENT, pictures, snr_db=7.0) for pictures in (MOVING, MOVING, other)
    )

    def samples(
        results: list[tuple[SentFrame, ReceivedFrame]], index: int
    ) -> NDArray[np.complex64]:
        return np.concatenate([block.samples for block in results[index][0].radio.blocks])

    for index in range(SEGMENT):
        assert np.array_equal(samples(first, index), samples(same, index))
        if index < 5:
            assert np.array_equal(samples(first, index), samples(later, index))
    learned = SCHEMES[scheme].learned
    assert learned is not None
    if learned.every_frame or learned.changes:
        assert not np.array_equal(samples(first, 5), samples(later, 5))
    for (_, a), (_, b) in zip(first, same, strict=True):
        assert np.array_equal(a.constellation, b.constellation)
        for picture, again in zip(a.came.pictures.values(), b.came.pictures.values(), strict=True):
            assert np.array_equal(picture, again)


def test_how_a_frame_lies_in_memory_does_not_matter() -> None:
    turned = np.ascontiguousarray(SOURCE[::-1, ::-1])[::-1, ::-1]
    assert not turned.flags.c_contiguous
    plain, other = (
        LinkSender(setup()).encode(Semantics(rgb), 0).radio.blocks[1].samples
        for rgb in (SOURCE, turned)
    )
    assert np.array_equal(plain, other)


@pytest.mark.parametrize("scheme", ["djscc-rgb", "dvst", "sketches-desc"])
@pytest.mark.parametrize(("width", "height"), [(250, 130), (97, 333), (176, 144)])
def test_frames_of_any_size_come_back_in_their_size(scheme: str, width: int, height: int) -> None:
    session = setup(scheme, width=width, height=height)
    ramp = np.broadcast_to(
        np.linspace(60, 190, width).astype(np.uint8)[None, :, None], (height, width, 3)
    )
    results = run(session, 2, np.ascontiguousarray(ramp)[None], snr_db=40.0)
    for _, received in results:
        if scheme == "sketches-desc":
            assert received.came.sketch is not None
            assert received.came.sketch.shape == (height, width)
            continue
        picture = shown(received)
        assert picture.shape == (height, width, 3)
        assert picture.dtype == np.uint8
        # What is bright is right of what is dark, to the borders.
        assert np.corrcoef(picture.astype(float).mean((0, 2)), ramp[0, :, 0])[0, 1] > 0.95


def test_segments_of_one_frame_are_pictures_alone() -> None:
    results = run(setup("dvst", segment_frames=1), 3, MOVING, snr_db=14.0)
    assert len({len(block_of(sent, Modality.KEYFRAME)) for sent, _ in results}) == 1
    errors = [squared_error(shown(r), MOVING[k]) for k, (_, r) in enumerate(results)]
    assert max(errors) < 3 * min(errors)


# How many symbols.


@pytest.mark.parametrize("scheme", ["djscc-rgb", "first-frame-desc", "dvst"])
@pytest.mark.parametrize("num_symbols", [1, PILOTS - 1, PILOTS, PILOTS + 15])
def test_too_few_symbols_are_refused_naming_a_cbr_that_will_do(
    scheme: str, num_symbols: int
) -> None:
    for end in (LinkSender, LinkReceiver):
        with pytest.raises(InputError, match=f"too few for '{scheme}'.*CBR") as refusal:
            end(setup(scheme, symbols_per_frame=num_symbols))
    text = str(refusal.value)
    if "at least" not in text:
        assert "a larger CBR" in text
        return
    cbr = float(text.rsplit("at least ", 1)[1].split(" ")[0].rstrip("."))
    enough = setup(scheme, symbols_per_frame=round(cbr * 3 * WIDTH * HEIGHT))
    (first,) = run(enough, 1, snr_db=14.0)
    assert Modality.KEYFRAME in first[1].came.pictures


@pytest.mark.parametrize(
    ("scheme", "side"),
    [("djscc-rgb", 64), ("dvst", 32), ("sketch-desc", 96), ("sketches-desc", 64)],
)
def test_a_video_too_small_to_need_a_block_is_refused(scheme: str, side: int) -> None:
    """All that 16 patches of 12 reals say takes fewer symbols than side information may."""
    for end in (LinkSender, LinkReceiver):
        with pytest.raises(InputError, match=f"{side}x{side} is too small for '{scheme}'.*larger"):
            end(setup(scheme, width=side, height=side, symbols_per_frame=4000))


def test_a_frame_that_has_more_symbols_than_pictures_can_fill_sends_what_they_can() -> None:
    session = setup(symbols_per_frame=9000)
    ((sent, received),) = run(session, 1, snr_db=30.0)
    assert len(block_of(sent, Modality.KEYFRAME)) == PATCHES * 12 // 2
    assert squared_error(shown(received), SOURCE) < 60


@pytest.mark.parametrize(
    ("scheme", "cbr"),
    [
        ("desc", 0.00073),
        ("sketch-desc", 0.00138),
        ("sketches-desc", 0.0033),
        ("first-frame-desc", 0.0057),
        ("dvst", 0.004),
    ],
)
def test_schemes_have_the_papers_rates(
    scheme: str, cbr: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GVSC's table (papers/03), pilots not counted, at 8 frames of 256x256 and 4 a second, with
    networks of the shapes that ship: none is too small to fill its blocks."""
    put(
        monkeypatch,
        ntscc=Ntscc(NtsccRecipe.shape),
        djscc_sketch_k03=Ntscc(SketchCode.shape),
        picture_video=LatentVideo(PictureVideo.shape),
    )
    num_symbols = symbols_per_frame(SCHEMES[scheme].default_cbr, 256, 256)
    values = setup().model_dump() | {"scheme": scheme, "width": 256, "height": 256, "fps": 4.0}
    session = SessionSetup(**values | {"symbols_per_frame": num_symbols})
    receiver = LinkReceiver(session)
    grid = plan_grid(session)
    total = grid.part_symbols[Modality.CAPTION] if scheme != "dvst" else 0
    learned = SCHEMES[scheme].learned
    if learned:
        part = receiver._parts[learned.modality]
        pictures = sum(part.num_symbols({}, index) for index in range(SEGMENT))
        assert pictures == pytest.approx(grid.part_symbols[learned.modality], abs=SEGMENT)
        total += pictures
    assert total / (3 * 256 * 256 * SEGMENT) == pytest.approx(cbr, rel=0.015)
    first = {"sketch-desc": 1024, "sketches-desc": 1024, "first-frame-desc": 7818}
    if scheme in first:
        assert learned is not None
        begins = receiver._parts[learned.modality].num_symbols({}, 0)
        assert begins == pytest.approx(first[scheme], rel=0.01)


# Shown, and again.


def test_the_passthrough_shows_it_as_it_came_and_holds_it() -> None:
    session = setup("first-frame-desc", codec_weights="ntscc:0a1b2c3d")
    receiver, sender, emulator = (
        ReceiverSession(session, PassthroughGenerator()),
        LinkSender(session),
        Emulator(1),
    )
    frames = []
    for index in range(4):
        sent = sender.encode(Semantics(MOVING[index], caption=CAPTION), index)
        noisy, _ = emulator.apply(sent.radio, ChannelSettings(snr_db=14.0))
        decoded = receiver.decode(noisy)
        sender.feedback(decoded.received.feedback)
        rendered = receiver.render(decoded)
        assert not rendered.concealed
        frames.append(rendered.rgb)
        if index == 0:
            picture = shown(decoded.received)
    # The caption is written below.
    top = HEIGHT // 2
    assert all(np.array_equal(frame[:top], picture[:top]) for frame in frames)


def test_equal_seeds_give_equal_pictures_and_a_record_gives_them_again(tmp_path: Path) -> None:
    session = setup("dvst", codec_weights=codec_weights(SCHEMES["dvst"].learned))
    live = ReceiverSession(session, PassthroughGenerator())
    sender, emulator = LinkSender(session), Emulator(1)
    frames = []
    with Recorder(tmp_path, session) as recorder:
        for index in range(5):
            sent = sender.encode(Semantics(MOVING[index]), index)
            noisy, _ = emulator.apply(sent.radio, ChannelSettings(snr_db=5.0, seed=9))
            recorder.add(noisy)
            decoded = live.decode(noisy)
            sender.feedback(decoded.received.feedback)
            frames.append(live.render(decoded).rgb)
    read, rendered = replay(find_record(tmp_path))
    assert read == session
    again = [frame.rgb for frame in rendered]
    assert len(again) == 5
    assert all(np.array_equal(a, b) for a, b in zip(frames, again, strict=True))
    assert all(not np.array_equal(a, b) for a, b in pairwise(frames))


def test_where_another_scene_begins_a_picture_goes_instead_of_what_changed(
    blocks: list[Written],
) -> None:
    """`dvst`: a still scene is sent as changes; after a cut the better of the two is a picture."""
    scenes = np.stack([SOURCE] * 4 + [MOVING[2 * SEGMENT]] * 4)
    results = run(setup("dvst"), SEGMENT, scenes, snr_db=14.0)
    has_base = [
        bool(block.allocation.layout.base)
        for block in sent_of(blocks, results, Modality.KEYFRAME)[1:5]
    ]
    assert has_base == [False, False, False, True], "only pictures have one"
    assert all(received.complete for _, received in results)
    assert psnr_db(shown(results[4][1]), scenes[4]) > 18
