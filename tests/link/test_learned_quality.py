"""Learned codecs over the whole link: how good pictures are, and what each end knows of the SNR.

`linear_codecs` makes every figure known beforehand: PSNR follows SNR dB for dB, so that a slip of
3 dB anywhere between the training graph and the receiver's picture shows as 3 dB.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from learned_link import (
    HEIGHT,
    MOVING,
    PATCHES,
    PILOTS,
    SEGMENT,
    SOURCE,
    WIDTH,
    Written,
    run,
    sent_of,
    setup,
    shown,
)
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

from channel_emulator.impairments import ChannelSettings, Emulator, fading_gain
from semcast.air.ladder import rung
from semcast.codecs.base_layer import no_base, read_base
from semcast.codecs.range_payload import PayloadReader
from semcast.link import (
    HEAD_MARGIN_DB,
    LinkReceiver,
    LinkSender,
)
from semcast.networks.ntscc import Base, Ntscc
from semcast.networks.pixels import to_pixels, to_unit
from semcast.semantics import Semantics
from semcast.session import ChannelModel, Modality, quantise_snr_db
from training.recipes.latent_video import PictureVideo
from training.recipes.ntscc import _across

pytestmark = pytest.mark.usefixtures("networks")

# Quality.


NUM_PICTURES = 12
VARIED = np.concatenate(
    [made_pictures(40 + k, WIDTH, HEIGHT, contrast=1 - 0.05 * k) for k in range(NUM_PICTURES)]
)
"""Of several contrasts, so that the steps of the power scalar, which make the noise of one picture
up to an eighth of a decibel more or less, do so evenly."""


def bases_of(blocks: list[Written]) -> Base:
    """The bases that blocks carry; grey where one has none."""
    pictures, patch_bits = [], []
    for block in blocks:
        layout = block.allocation.layout
        picture = no_base(WIDTH, HEIGHT)
        if layout.base:
            picture = read_base(PayloadReader(block.base), layout.base)
        pictures.append(picture)
        patch_bits.append(layout.base_bits / PATCHES)
    return Base(to_unit(torch.from_numpy(np.stack(pictures))), torch.tensor(patch_bits))


def psnr_in_training_graph(
    network: Ntscc, pictures: NDArray[np.uint8], blocks: list[Written], snr_db: float
) -> float:
    """As the recipe crosses its channel, with the reals and bases that the link had, both ends
    told."""
    torch.manual_seed(3)
    known = torch.full((len(pictures),), snr_db)
    x = to_unit(torch.from_numpy(pictures))
    counts = torch.from_numpy(np.stack([block.allocation.counts for block in blocks]))
    base = bases_of(blocks) if network.shape.base else None
    with torch.inference_mode():
        y = network.analyse(x, known, base)
        made = _across(network, y, counts, known, known, known, base)
    pairs = zip(to_pixels(made).numpy(), pictures, strict=True)
    return psnr_of([squared_error(picture, source) for picture, source in pairs])


def awake(network: Ntscc) -> Ntscc:
    """Rates, SNR and base matter to it, and it is no longer linear."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.01 * torch.randn(parameter.shape, generator=generator)
    return network


@pytest.mark.parametrize("snr_db", [0.0, 6.0, 10.0, 17.0])
@pytest.mark.parametrize("kind", ["linear", "awake", "with bases"])
def test_the_link_gives_what_the_training_graph_promises(
    snr_db: float, kind: str, blocks: list[Written], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over 60 frames of about 1,900 noisy reals a PSNR has a standard deviation of
    4.34 sqrt(2 / 114,000) = 0.018 dB, the difference of two 0.026 dB: 0.1 dB is nearly four.

    With bases, pictures go as those of `dvst` at the start of a segment; else as `djscc-rgb`."""
    network = linear_ntscc(3, base=kind != "linear")
    put(
        monkeypatch,
        ntscc=network if kind == "linear" else awake(network),
        picture_video=linear_video(3),
    )
    session = setup()
    if kind == "with bases":
        session = setup("dvst", segment_frames=1, symbols_per_frame=PILOTS + 1000)
    # The first frames do not know the SNR, and have a head for the worst of them.
    results = run(session, 6 * NUM_PICTURES, VARIED, snr_db=snr_db)[NUM_PICTURES:]
    blocks = blocks[NUM_PICTURES:]
    pictures = np.concatenate([VARIED] * 5)
    over_link = psnr_of(
        [squared_error(shown(r), source) for (_, r), source in zip(results, pictures, strict=True)]
    )
    assert all((len(block.base) > 0) == (kind == "with bases") for block in blocks)
    in_graph = psnr_in_training_graph(network, pictures, blocks, snr_db)
    assert over_link == pytest.approx(in_graph, abs=0.1)
    if kind == "linear":
        noise_var = 10 ** (-snr_db / 10)
        foreseen = [
            expected_error(source, noise_var, block.allocation.counts)
            for source, block in zip(pictures, blocks, strict=True)
        ]
        assert over_link == pytest.approx(psnr_of(foreseen), abs=0.1)


@pytest.mark.usefixtures("only_changes")
def test_video_over_the_link_is_what_its_training_graph_promises(
    blocks: list[Written], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`dvst`, with the same rates in both: each end's context, noise that stays, and all. Over 80
    frames of about 1,200 noisy reals, some of which last for several: 0.1 dB is about three
    standard deviations."""
    ends = made_pictures(60, WIDTH, HEIGHT, count=11, unused=2).astype(float)
    shares = np.linspace(0, 1, SEGMENT)[:, None, None, None]
    segments = np.stack(
        [np.round((1 - shares) * a + shares * b).astype(np.uint8) for a, b in pairwise(ends)]
    )
    frames = segments.reshape(-1, HEIGHT, WIDTH, 3)
    session = setup("dvst", symbols_per_frame=PILOTS + 900)
    results = run(session, len(frames), frames, snr_db=5.0)
    blocks = sent_of(blocks, results, Modality.KEYFRAME)
    over_link = psnr_of(
        [squared_error(shown(r), source) for (_, r), source in zip(results, frames, strict=True)]
    )

    of_blocks = torch.from_numpy(np.stack([block.allocation.counts for block in blocks]))
    at_frames = iter(of_blocks.unflatten(0, (10, SEGMENT)).unbind(1))
    monkeypatch.setattr("training.recipes.latent_video.share_out", lambda *_: next(at_frames))
    known, codec = torch.full((10,), 5.0), linear_ntscc(3, base=True)
    recipe = object.__new__(PictureVideo)
    recipe._codec, recipe.device = codec, torch.device("cpu")
    base = bases_of(blocks[::SEGMENT])
    assert base.patch_bits.min() > 0
    monkeypatch.setattr(recipe, "_base", lambda batch: base)
    torch.manual_seed(3)
    batch = dict.fromkeys(("picture_reals", "change_reals", "group"), torch.zeros(10))
    with torch.inference_mode():
        y = recipe._latents(torch.from_numpy(segments), base)
        held = recipe._run(linear_video(3), y, {"snr_db": known, **batch}, lossy=False)
        made = [to_pixels(codec.synthesise(h.latent, h.counts, known, base)).numpy() for h in held]
    in_graph = psnr_of([squared_error(made[t], segments[:, t]) for t in range(SEGMENT)])
    assert over_link == pytest.approx(in_graph, abs=0.1)


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


# What each end knows of the SNR.


@pytest.mark.parametrize("scheme", ["djscc-rgb", "dvst"])
@pytest.mark.parametrize("delay", [1, 3])
def test_the_transmitter_uses_the_feedback_in_force_and_none_before_the_first(
    scheme: str, delay: int, told: dict[str, list[float]]
) -> None:
    results = run(setup(scheme, feedback_delay_frames=delay), 8, MOVING, snr_db=7.0)
    assert all(math.isnan(snr_db) for snr_db in told["sender"][:delay])
    reported = [received.feedback.snr_db for _, received in results]
    frame_by_frame = told["sender"]
    if scheme == "dvst":
        # Between beginnings of segments a picture and what changed are both tried.
        assert frame_by_frame[1::2] == pytest.approx(frame_by_frame[2::2], nan_ok=True)
        frame_by_frame = [frame_by_frame[0], *frame_by_frame[1::2]]
    assert frame_by_frame[delay:] == reported[:-delay]
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
        # A frame whose head did not hold while the SNR fell was never decoded.
        assert np.mean(told[end][12:16]) == pytest.approx(18.0, abs=1.5)
        assert np.mean(told[end][-4:]) == pytest.approx(4.0, abs=1.5)


# The rung of heads.


@pytest.mark.parametrize("mcs", ["auto", "qam64-5/6"])
@pytest.mark.parametrize("snr_db", [-5.0, 3.0, 15.0])
def test_a_head_is_safe_well_below_the_snr_whatever_the_sessions_rung(
    mcs: str, snr_db: float, blocks: list[Written]
) -> None:
    results = run(setup(mcs=mcs), 40, snr_db=snr_db)
    assert all(received.complete for _, received in results)
    assert blocks[0].head_rung == rung("qpsk-1/12"), "nothing is known yet"
    for block, (_, before) in zip(blocks[1:], results, strict=False):
        if block.head_rung.index:
            assert block.head_rung.min_snr_db <= before.feedback.snr_db - HEAD_MARGIN_DB
    if snr_db == 15.0:
        assert min(block.head_rung.index for block in blocks[-8:]) >= rung("qpsk-3/4").index


def test_in_fading_it_is_safer_still(blocks: list[Written]) -> None:
    results = run(setup(), 12, snr_db=10.0)
    plain = [block.head_rung.index for block in blocks[8:]]
    blocks.clear()
    session = setup(channel_model=ChannelModel.RAYLEIGH)
    results = run(session, 60, snr_db=10.0, model=ChannelModel.RAYLEIGH)
    assert max(block.head_rung.index for block in blocks[8:]) < min(plain)
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
