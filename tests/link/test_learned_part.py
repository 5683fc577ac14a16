"""Learned codecs over the whole link, with networks that need no weights.

`linear_codecs` makes every figure known beforehand: PSNR follows SNR dB for dB, so that a slip of
3 dB anywhere between the training graph and the receiver's picture shows as 3 dB.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from linear_codecs import (
    expected_error,
    linear_ntscc,
    linear_video,
    made_pictures,
    psnr_of,
    put,
    squared_error,
)
from numpy.typing import NDArray

from channel_emulator.impairments import ChannelSettings, Emulator, fading_gain, is_lost
from receiver.generator import PassthroughGenerator
from receiver.record import Recorder, find_record, replay
from receiver.session import ReceiverSession
from semcast.air.ladder import Rung, rung
from semcast.errors import InputError, NotFoundError
from semcast.link import SIDE_MARGIN_DB, LinkReceiver, LinkSender, ReceivedFrame, SentFrame
from semcast.networks.ntscc import Ntscc
from semcast.networks.pixels import to_pixels, to_unit
from semcast.parts.learned import codec_weights
from semcast.parts.patch_blocks import Allocation, PatchBlocks, SentBlock
from semcast.schemes import SCHEMES
from semcast.semantics import Semantics
from semcast.session import Block, ChannelModel, Modality, RadioFrame, SessionSetup, quantise_snr_db
from semcast.weights import digest
from training.recipes.ntscc import _across

WIDTH, HEIGHT = 256, 192
PATCHES = 16 * 12
PILOTS = 16
SEGMENT = 8
CAPTION = "A red disc and a blue bar drift over a green hillside."
SOURCE = made_pictures(3, WIDTH, HEIGHT)[0]
MOVING = made_pictures(4, WIDTH, HEIGHT, count=3 * SEGMENT)

SYMBOLS = {
    "djscc-rgb": PILOTS + 1000,
    "first-frame-desc": PILOTS + 150,
    "sketch-desc": PILOTS + 80,
    "sketches-desc": PILOTS + 224,
    "dvst": PILOTS + 300,
}
"""A frame, so that no block is limited by what its network can fill."""

Corrupt = Callable[[RadioFrame], RadioFrame]


@pytest.fixture(autouse=True)
def networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linear codes in the places of those that ship."""
    put(
        monkeypatch,
        ntscc=linear_ntscc(3),
        djscc_sketch_k03=linear_ntscc(1),
        picture_video=linear_video(3),
        sketch_video=linear_video(1),
    )
    monkeypatch.setattr("semcast.parts.learned.digest", lambda name: "0a1b2c3d")


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Allocation, Rung]]:
    """What each block was shared out like, and the rung of its side information."""
    noted: list[tuple[Allocation, Rung]] = []
    write = PatchBlocks.write

    def noting(
        self: PatchBlocks, allocation: Allocation, reals: NDArray[np.float32], safe: Rung, key: int
    ) -> SentBlock:
        noted.append((allocation, safe))
        return write(self, allocation, reals, safe, key)

    monkeypatch.setattr(PatchBlocks, "write", noting)
    return noted


def setup(scheme: str = "djscc-rgb", **changes: object) -> SessionSetup:
    values: dict[str, object] = {
        "session_id": "test",
        "scheme": scheme,
        "width": WIDTH,
        "height": HEIGHT,
        "fps": 8.0,
        "segment_frames": SEGMENT,
        "symbols_per_frame": SYMBOLS[scheme],
        "pilots_per_frame": PILOTS,
        "seed": 7,
    }
    return SessionSetup.model_validate({**values, **changes})


def strokes_of(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Upright lines whose places follow from the picture."""
    sketch = np.zeros(rgb.shape[:2], np.uint8)
    sketch[20:-20, 16 + int(rgb[0, 0, 0]) % 64 :: 48] = 1
    return sketch


def run(
    session: SessionSetup,
    num_frames: int,
    pictures: NDArray[np.uint8] = SOURCE[None],
    corrupt: Corrupt = lambda frame: frame,
    **channel: object,
) -> list[tuple[SentFrame, ReceivedFrame]]:
    """Pictures in turn over the channel that `semcast send` has."""
    sender, receiver, emulator = LinkSender(session), LinkReceiver(session), Emulator(1)
    settings = ChannelSettings.model_validate({"seed": 21, **channel})
    results = []
    for index in range(num_frames):
        assert sender.may_encode
        rgb = pictures[index % len(pictures)]
        semantics = Semantics(rgb, sketch=strokes_of(rgb), caption=CAPTION)
        sent = sender.encode(semantics, index * 125_000)
        noisy, _ = emulator.apply(sent.radio, settings)
        received = receiver.receive(corrupt(noisy))
        sender.feedback(received.feedback)
        results.append((sent, received))
    return results


def losing(modality: Modality, *frames: int) -> Corrupt:
    """Only noise arrives of a modality's block at these frames."""

    def corrupt(frame: RadioFrame) -> RadioFrame:
        if frame.sequence not in frames:
            return frame
        rng = np.random.default_rng(frame.sequence)
        kept = []
        for block in frame.blocks:
            noise = 0.7 * rng.standard_normal((len(block.samples), 2)) @ [1, 1j]
            wrong = block.modality == modality
            kept.append(
                Block(block.modality, noise.astype(np.complex64) if wrong else block.samples)
            )
        return RadioFrame(frame.generation, frame.sequence, frame.pts_us, tuple(kept))

    return corrupt


def shown(received: ReceivedFrame) -> NDArray[np.uint8]:
    return received.came.pictures[Modality.KEYFRAME]


def learned_modality(scheme: str) -> Modality:
    learned = SCHEMES[scheme].learned
    assert learned is not None
    return learned.modality


def block_of(sent: SentFrame, modality: Modality) -> NDArray[np.complex64]:
    """A modality's samples; empty where it sent none."""
    samples = {block.modality: block.samples for block in sent.radio.blocks}
    return samples.get(modality, np.empty(0, np.complex64))


# Quality.


NUM_PICTURES = 12
VARIED = np.concatenate(
    [made_pictures(40 + k, WIDTH, HEIGHT, contrast=1 - 0.05 * k) for k in range(NUM_PICTURES)]
)
"""Of several contrasts, so that the steps of the power scalar, which make the noise of one picture
up to an eighth of a decibel more or less, do so evenly."""


def psnr_in_training_graph(
    network: Ntscc, pictures: NDArray[np.uint8], counts: NDArray[np.int64], snr_db: float
) -> float:
    """As the recipe crosses its channel, with as many reals as the link had, both ends told."""
    torch.manual_seed(3)
    known = torch.full((len(pictures),), snr_db)
    x, on_patches = to_unit(torch.from_numpy(pictures)), torch.from_numpy(counts)
    with torch.inference_mode():
        made = _across(network, network.analyse(x, known), on_patches, known, known, known)
    pairs = zip(to_pixels(made).numpy(), pictures, strict=True)
    return psnr_of([squared_error(picture, source) for picture, source in pairs])


@pytest.mark.parametrize("snr_db", [0.0, 6.0, 10.0, 17.0])
@pytest.mark.parametrize("awake", [False, True], ids=["linear", "awake"])
def test_the_link_gives_what_the_training_graph_promises(
    snr_db: float,
    awake: bool,
    blocks: list[tuple[Allocation, Rung]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Over 60 frames of about 1,900 noisy reals a PSNR has a standard deviation of
    4.34 sqrt(2 / 114,000) = 0.018 dB, the difference of two 0.026 dB: 0.1 dB is nearly four.

    awake: rates and SNR matter to the network, and it is no longer linear."""
    network = linear_ntscc(3)
    if awake:
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter += 0.01 * torch.randn(parameter.shape, generator=generator)
    put(monkeypatch, ntscc=network)
    # The first frames do not know the SNR, and take side information for the worst of them.
    results = run(setup(), 6 * NUM_PICTURES, VARIED, snr_db=snr_db)[NUM_PICTURES:]
    pictures = np.concatenate([VARIED] * 5)
    counts = np.stack([allocation.counts for allocation, _ in blocks[NUM_PICTURES:]])
    over_link = psnr_of(
        [squared_error(shown(r), source) for (_, r), source in zip(results, pictures, strict=True)]
    )
    in_graph = psnr_in_training_graph(network, pictures, counts, snr_db)
    assert over_link == pytest.approx(in_graph, abs=0.1)
    if not awake:
        noise_var = 10 ** (-snr_db / 10)
        foreseen = [
            expected_error(source, noise_var, of_patches)
            for source, of_patches in zip(pictures, counts, strict=True)
        ]
        assert over_link == pytest.approx(psnr_of(foreseen), abs=0.1)


def test_without_noise_the_picture_comes_through_to_the_level() -> None:
    """But for the step of the power scalar, at most 1.5 % of what differs from grey."""
    few = made_pictures(3, WIDTH, HEIGHT, unused=2)[0]
    results = run(setup(), 3, few[None], snr_db=60.0)
    error = shown(results[-1][1]).astype(int) - few
    assert abs(error).max() <= 3


def test_quality_slopes_and_has_no_cliff() -> None:
    """A digital scheme steps down; this one gives a dB for a dB, and something even at -5 dB."""
    few = made_pictures(3, WIDTH, HEIGHT, unused=1)[0]
    quality = []
    for snr_db in range(-5, 21, 5):
        results = run(setup(), 16, few[None], snr_db=float(snr_db))
        assert all(received.complete for _, received in results)
        assert not any(received.crc_failed for _, received in results)
        quality.append(psnr_of([squared_error(shown(r), few) for _, r in results[4:]]))
    gains = np.diff(quality)
    assert np.all(gains > 2)
    assert np.all(gains < 6.5)


# What is sent, and when.


@pytest.mark.parametrize("scheme", SYMBOLS)
def test_a_picture_at_each_start_and_between_them_what_the_scheme_sends(scheme: str) -> None:
    learned = SCHEMES[scheme].learned
    assert learned is not None
    modality = learned.modality
    results = run(setup(scheme), 2 * SEGMENT + 1, MOVING, snr_db=14.0)
    for index, (sent, received) in enumerate(results):
        begins = index % SEGMENT == 0
        expected = learned.every_frame or begins or bool(learned.changes)
        assert (len(block_of(sent, modality)) > 0) == expected
        assert (modality in received.came.modalities) == expected
        assert (modality in received.checked) == expected
        assert not received.crc_failed
        assert sent.symbols_by_modality.get(modality, 0) == len(block_of(sent, modality))
    if learned.changes:
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
def test_blocks_have_unit_power_and_the_bits_of_their_side_information_are_counted(
    scheme: str, blocks: list[tuple[Allocation, Rung]]
) -> None:
    modality = learned_modality(scheme)
    for sent, _ in run(setup(scheme), SEGMENT + 1, MOVING, snr_db=9.0):
        samples = block_of(sent, modality)
        if not len(samples):
            assert modality not in sent.payload_bits_by_modality
            continue
        assert samples.dtype == np.complex64 and samples.flags.c_contiguous
        assert float(np.mean(np.abs(samples) ** 2)) == pytest.approx(1, abs=1e-3)
        layout = blocks.pop(0)[0].layout
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
    """No frame is predicted from another: equal pictures give equal reals behind the side
    information, whose scrambling differs."""
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


# What each end knows of the SNR.


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[float]]:
    """The SNR that each end of the link tells its network."""
    noted: dict[str, list[float]] = {"sender": [], "receiver": []}
    analyse, synthesise = Ntscc.analyse, Ntscc.synthesise

    def analysing(self: Ntscc, picture: torch.Tensor, snr_db: torch.Tensor) -> torch.Tensor:
        assert snr_db.shape == (1,)
        noted["sender"].append(float(snr_db))
        return analyse(self, picture, snr_db)

    def synthesising(
        self: Ntscc, y: torch.Tensor, counts: torch.Tensor, snr_db: torch.Tensor
    ) -> torch.Tensor:
        assert snr_db.shape == (1,)
        noted["receiver"].append(float(snr_db))
        return synthesise(self, y, counts, snr_db)

    monkeypatch.setattr(Ntscc, "analyse", analysing)
    monkeypatch.setattr(Ntscc, "synthesise", synthesising)
    return noted


@pytest.mark.parametrize("scheme", ["djscc-rgb", "dvst"])
@pytest.mark.parametrize("delay", [1, 3])
def test_the_transmitter_uses_the_feedback_in_force_and_none_before_the_first(
    scheme: str, delay: int, told: dict[str, list[float]]
) -> None:
    results = run(setup(scheme, feedback_delay_frames=delay), 8, MOVING, snr_db=7.0)
    assert all(math.isnan(snr_db) for snr_db in told["sender"][:delay])
    reported = [received.feedback.snr_db for _, received in results]
    assert told["sender"][delay:] == reported[:-delay]
    assert all(snr_db == quantise_snr_db(snr_db) for snr_db in reported)
    assert all(received.complete for _, received in results)


def test_the_receiver_uses_its_own_estimate_from_the_first_frame(
    told: dict[str, list[float]],
) -> None:
    for snr_db in (-3.0, 7.0, 15.0):
        told["receiver"].clear()
        results = run(setup(), 16, snr_db=snr_db)
        # Sixteen pilots know the noise to 1.1 dB (one sigma), 16 frames of them to 0.3 dB.
        assert told["receiver"][0] == pytest.approx(snr_db, abs=4.4)
        assert np.mean(told["receiver"][-3:]) == pytest.approx(snr_db, abs=1.1)
        assert results[-1][1].snr_db == pytest.approx(snr_db, abs=1.1)


def test_beyond_forty_db_the_network_is_told_forty(told: dict[str, list[float]]) -> None:
    run(setup(), 3, snr_db=60.0)
    assert all(snr_db == pytest.approx(40) for snr_db in told["receiver"])


def test_a_change_of_snr_reaches_both_ends(told: dict[str, list[float]]) -> None:
    session = setup()
    sender, receiver, emulator = LinkSender(session), LinkReceiver(session), Emulator(1)
    for index in range(40):
        settings = ChannelSettings(snr_db=18.0 if index < 20 else 4.0, seed=4)
        noisy, _ = emulator.apply(sender.encode(Semantics(SOURCE), index).radio, settings)
        sender.feedback(receiver.receive(noisy).feedback)
    for end in ("sender", "receiver"):
        # A frame whose side information did not hold while the SNR fell was never decoded.
        assert np.mean(told[end][12:16]) == pytest.approx(18.0, abs=1.5)
        assert np.mean(told[end][-4:]) == pytest.approx(4.0, abs=1.5)


# The rung of side information.


@pytest.mark.parametrize("mcs", ["auto", "qam64-5/6"])
@pytest.mark.parametrize("snr_db", [-5.0, 3.0, 15.0])
def test_side_information_is_safe_well_below_the_snr_whatever_the_sessions_rung(
    mcs: str, snr_db: float, blocks: list[tuple[Allocation, Rung]]
) -> None:
    results = run(setup(mcs=mcs), 40, snr_db=snr_db)
    assert all(received.complete for _, received in results)
    assert blocks[0][1] == rung("qpsk-1/12"), "nothing is known yet"
    for (_, safe), (_, before) in zip(blocks[1:], results, strict=False):
        if safe.index:
            assert safe.min_snr_db <= before.feedback.snr_db - SIDE_MARGIN_DB
    if snr_db == 15.0:
        assert min(safe.index for _, safe in blocks[-8:]) >= rung("qpsk-3/4").index


def test_in_fading_it_is_safer_still(blocks: list[tuple[Allocation, Rung]]) -> None:
    results = run(setup(), 12, snr_db=15.0)
    plain = [safe.index for _, safe in blocks[8:]]
    blocks.clear()
    session = setup(channel_model=ChannelModel.RAYLEIGH)
    results = run(session, 60, snr_db=15.0, model=ChannelModel.RAYLEIGH)
    assert max(safe.index for _, safe in blocks[8:]) < min(plain)
    # Three decibels and six: frames that fade by more than nine are lost, 12 in 100.
    lost = sum(not received.complete for _, received in results)
    assert lost <= 16
    quality = [psnr_of([squared_error(shown(r), SOURCE)]) for _, r in results if r.complete]
    assert np.median(quality) > 22


def test_a_fading_gain_is_divided_out_and_the_network_told_what_is_left(
    told: dict[str, list[float]],
) -> None:
    """A deep fade leaves more noise."""
    session = setup(channel_model=ChannelModel.RAYLEIGH)
    results = run(session, 32, snr_db=20.0, model=ChannelModel.RAYLEIGH)
    gains = [20 * math.log10(abs(fading_gain(1, k, 21))) for k in range(32)]
    came = [k for k, (_, received) in enumerate(results) if received.complete]
    assert len(came) > 24 and np.std(gains) > 3
    errors = np.array(told["receiver"]) - 20 - np.array(gains)[came]
    # The first frames know the noise from few pilots.
    assert abs(np.median(errors[8:])) < 1
    assert np.median(abs(errors[8:] - np.median(errors[8:]))) < 1


# What is lost.


@pytest.mark.parametrize("scheme", ["dvst", "sketches-desc"])
def test_without_its_first_picture_a_segments_changes_say_nothing(scheme: str) -> None:
    modality = learned_modality(scheme)
    results = run(setup(scheme), 3 * SEGMENT, MOVING, losing(modality, SEGMENT), snr_db=14.0)
    for index, (_, received) in enumerate(results):
        lost = SEGMENT <= index < 2 * SEGMENT
        assert (modality in received.came.modalities) == (not lost)
        assert (modality in received.crc_failed) == lost
        assert (modality in received.feedback.received) == (not lost)
        assert received.complete == (not lost)


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


def test_both_ends_agree_at_any_feedback_delay_and_under_loss() -> None:
    """Each end's network is at the same rung, sizes and context, whatever was lost before."""
    for delay in (1, 2, 4):
        session = setup("dvst", feedback_delay_frames=delay)
        lossy = losing(Modality.KEYFRAME, 2, 8, 13)
        results = run(session, 3 * SEGMENT, MOVING, lossy, snr_db=11.0)
        failed = [k for k, (_, received) in enumerate(results) if received.crc_failed]
        assert failed == [2, *range(8, 16)]


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
            if not lost:
                quality.append(psnr_of([squared_error(shown(received), SOURCE)]))
        assert 4 <= len(quality) <= 36
        assert max(quality[2:]) - min(quality[2:]) < 4


def test_in_a_burst_a_segment_without_its_picture_is_held() -> None:
    session = setup("dvst", channel_model=ChannelModel.BURST)
    channel: dict[str, object] = {
        "model": ChannelModel.BURST,
        "burst_frames_mean": 1.5,
        "gap_frames_mean": 6.0,
    }
    settings = ChannelSettings.model_validate({"seed": 21, "snr_db": 14.0, **channel})
    results = run(session, 6 * SEGMENT, MOVING, snr_db=14.0, **channel)
    lost = [is_lost(1, index, settings) for index in range(len(results))]
    assert any(lost[::SEGMENT]) and not all(lost[::SEGMENT])
    for index, (_, received) in enumerate(results):
        begin = index - index % SEGMENT
        assert received.complete == (not lost[begin] and not lost[index])


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
    assert named["sketches-desc"] == "djscc_sketch_k03:0a1b2c3d,sketch_video:0a1b2c3d"
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
