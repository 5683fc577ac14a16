"""Pictures by joint source-channel coding over the whole link, with networks that need no weights.

`linear_djscc` makes every figure known beforehand: PSNR follows SNR dB for dB, so that a slip of
3 dB anywhere between the training graph and the receiver's picture shows as 3 dB.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from linear_djscc import linear_djscc, squares, unit_values
from numpy.typing import NDArray

from channel_emulator.impairments import ChannelSettings, Emulator, fading_gain
from receiver.generator import PassthroughGenerator
from receiver.record import Recorder, find_record, replay
from receiver.session import ReceiverSession
from semcast.errors import InputError
from semcast.link import LinkReceiver, LinkSender, ReceivedFrame, SentFrame, plan_grid
from semcast.metrics.psnr import psnr_db
from semcast.networks.djscc import Djscc, awgn
from semcast.schemes import SCHEMES, symbols_per_frame
from semcast.semantics import Semantics
from semcast.session import (
    Block,
    ChannelModel,
    Modality,
    RadioFrame,
    SessionSetup,
    quantise_snr_db,
)

WIDTH, HEIGHT = 128, 96
SOURCE = squares(3, WIDTH, HEIGHT)
GAIN = float(np.sqrt(np.mean(unit_values(SOURCE) ** 2)))
COLOURS = WIDTH // 8 * (HEIGHT // 8) * 3 // 2
"""Symbols that hold the three colours of every square: 288."""
PILOTS = 16

Use = Callable[[Djscc], None]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    """Puts a network where the bundled one is found."""

    def put(network: Djscc) -> None:
        monkeypatch.setattr("semcast.parts.djscc._network", lambda: network)

    return put


@pytest.fixture
def linear(use: Use) -> Djscc:
    network = linear_djscc(GAIN)
    use(network)
    return network


def setup(**changes: object) -> SessionSetup:
    values: dict[str, object] = {
        "session_id": "test",
        "scheme": "djscc-rgb",
        "width": WIDTH,
        "height": HEIGHT,
        "fps": 8.0,
        "symbols_per_frame": COLOURS + PILOTS,
        "pilots_per_frame": PILOTS,
        "seed": 7,
    }
    return SessionSetup(**{**values, **changes})


def run(
    session: SessionSetup,
    num_frames: int,
    *,
    picture: NDArray[np.uint8] = SOURCE,
    **channel: object,
) -> list[tuple[SentFrame, ReceivedFrame]]:
    """One picture again and again over the channel that `semcast send` has."""
    sender, receiver, emulator = LinkSender(session), LinkReceiver(session), Emulator(1)
    settings = ChannelSettings.model_validate({"seed": 21, **channel})
    results = []
    for index in range(num_frames):
        assert sender.may_encode
        sent = sender.encode(Semantics(picture), index * 125_000)
        noisy, _ = emulator.apply(sent.radio, settings)
        received = receiver.receive(noisy)
        sender.feedback(received.feedback)
        results.append((sent, received))
    return results


def mean_square_error(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(np.mean((a.astype(float) - b.astype(float)) ** 2))


def decibel(ratio: float) -> float:
    return 10 * math.log10(ratio)


def psnr_of(errors: list[float]) -> float:
    return decibel(255**2 / float(np.mean(errors)))


# Quality.


def expected_psnr_db(snr_db: float) -> float:
    """Noise of N0 gain^2 on -1..1, and rounding to 256 levels."""
    noise = 10 ** (-snr_db / 10) * (GAIN * 127.5) ** 2
    return decibel(255**2 / (noise + 1 / 12))


def psnr_in_training_graph(network: Djscc, snr_db: float, num_draws: int) -> float:
    """As the recipe measures it: `encode`, `awgn`, `decode`, both ends told the SNR."""
    torch.manual_seed(3)
    x = torch.from_numpy(unit_values(SOURCE)).permute(2, 0, 1)[None]
    known = torch.full((1,), snr_db)
    errors = []
    with torch.inference_mode():
        symbols = network.encode(x, known, COLOURS)
        for _ in range(num_draws):
            made = network.decode(awgn(symbols, known), known, WIDTH, HEIGHT)[0]
            levels = ((made.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
            errors.append(mean_square_error(levels.permute(1, 2, 0).numpy(), SOURCE))
    return psnr_of(errors)


@pytest.mark.parametrize("snr_db", [6.0, 10.0, 17.0])
def test_the_link_gives_what_the_training_graph_promises(linear: Djscc, snr_db: float) -> None:
    """Over 250 draws of 576 noisy values each, a PSNR has a standard deviation of
    4.34 sqrt(2 / 144,000) = 0.016 dB, the difference of two 0.023 dB: 0.1 dB is four of those."""
    results = run(setup(), 250, snr_db=snr_db)
    over_link = psnr_of(
        [mean_square_error(r.came.pictures[Modality.KEYFRAME], SOURCE) for _, r in results]
    )
    in_graph = psnr_in_training_graph(linear, snr_db, 250)
    assert over_link == pytest.approx(in_graph, abs=0.1)
    assert over_link == pytest.approx(expected_psnr_db(snr_db), abs=0.1)


def test_without_noise_the_picture_comes_through_to_the_level(linear: Djscc) -> None:
    ((_, received),) = run(setup(), 1, snr_db=60.0)
    error = received.came.pictures[Modality.KEYFRAME].astype(int) - SOURCE
    assert abs(error).max() <= 1


def test_quality_slopes_and_has_no_cliff(linear: Djscc) -> None:
    """A digital scheme steps down; this one gives a dB for a dB, and something even at -5 dB."""
    quality = []
    for snr_db in range(-5, 21, 5):
        results = run(setup(), 24, snr_db=float(snr_db))
        assert all(received.complete for _, received in results)
        assert not any(received.checked for _, received in results)
        errors = [mean_square_error(r.came.pictures[Modality.KEYFRAME], SOURCE) for _, r in results]
        quality.append(psnr_of(errors))
    gains = np.diff(quality)
    assert np.all(gains > 2)
    assert np.all(gains < 6)


# What is sent.


def test_every_frame_is_one_block_of_fixed_size_and_unit_power(linear: Djscc) -> None:
    results = run(setup(), 4, snr_db=3.0)
    for sent, _ in results:
        assert sent.symbols_by_modality == {Modality.PILOT: PILOTS, Modality.KEYFRAME: COLOURS}
        block = sent.radio.blocks[1]
        assert block.samples.dtype == np.complex64
        assert block.samples.flags.c_contiguous
        assert float(np.mean(np.abs(block.samples) ** 2)) == pytest.approx(1, abs=1e-3)
        assert sent.payload_bits_by_modality == {}
        assert sent.information_bits == 0


def test_the_block_holds_the_networks_symbols_in_their_order(linear: Djscc) -> None:
    """Real and imaginary part of symbol i are values 2i and 2i + 1 of the grid, row by row."""
    ((sent, _),) = run(setup(), 1, snr_db=3.0)
    reds = unit_values(SOURCE)[::8, ::8, 0].ravel()
    symbols = sent.radio.blocks[1].samples
    scale = np.sqrt(0.5) / GAIN
    assert symbols[: len(reds) // 2].real == pytest.approx(reds[0::2] * scale, abs=1e-3)
    assert symbols[: len(reds) // 2].imag == pytest.approx(reds[1::2] * scale, abs=1e-3)


def test_fewer_symbols_send_the_first_ones(linear: Djscc) -> None:
    """Red and green alone: blue arrives as the grey that stands for nothing."""
    ((_, received),) = run(setup(symbols_per_frame=COLOURS * 2 // 3 + PILOTS), 1, snr_db=60.0)
    picture = received.came.pictures[Modality.KEYFRAME].astype(int)
    assert np.all(abs(picture[..., 2] - 128) <= 1)
    reds, sent = picture[::8, ::8, 0].ravel(), SOURCE[::8, ::8, 0].ravel()
    assert np.corrcoef(reds, sent)[0, 1] > 0.999


def test_each_picture_stands_for_itself(linear: Djscc) -> None:
    """No frame is predicted from another: equal pictures give equal symbols."""
    results = run(setup(), 3, snr_db=3.0)
    blocks = [sent.radio.blocks[1].samples for sent, _ in results]
    assert np.array_equal(blocks[0], blocks[1])
    assert np.array_equal(blocks[1], blocks[2])


def test_how_a_frame_lies_in_memory_does_not_matter(linear: Djscc) -> None:
    turned = np.ascontiguousarray(SOURCE[::-1, ::-1])[::-1, ::-1]
    assert not turned.flags.c_contiguous
    ((plain, _),) = run(setup(), 1, snr_db=3.0)
    ((other, _),) = run(setup(), 1, picture=turned, snr_db=3.0)
    assert np.array_equal(plain.radio.blocks[1].samples, other.radio.blocks[1].samples)


@pytest.mark.parametrize(("width", "height"), [(16, 16), (250, 130), (97, 33), (64, 48)])
def test_frames_of_any_size_come_back_in_their_size(use: Use, width: int, height: int) -> None:
    use(linear_djscc(GAIN))
    columns, rows = -(-width // 8), -(-height // 8)
    session = setup(width=width, height=height, symbols_per_frame=columns * rows * 3 // 2 + PILOTS)
    ramp = np.broadcast_to(
        np.linspace(60, 190, width).astype(np.uint8)[None, :, None], (height, width, 3)
    )
    ((_, received),) = run(session, 1, picture=np.ascontiguousarray(ramp), snr_db=60.0)
    picture = received.came.pictures[Modality.KEYFRAME]
    assert picture.shape == (height, width, 3)
    assert picture.dtype == np.uint8
    # The gain is another picture's, but what is bright is right of what is dark, to the borders.
    columns_seen = picture.astype(float).mean((0, 2))
    assert np.corrcoef(columns_seen, ramp[0, :, 0])[0, 1] > 0.85


# How many symbols.


def test_more_symbols_than_the_network_has_are_refused_naming_the_most(use: Use) -> None:
    use(linear_djscc(GAIN))
    most = WIDTH // 8 * (HEIGHT // 8) * 4 // 2
    plan_grid(setup(symbols_per_frame=most + PILOTS))
    for end in (plan_grid, LinkSender, LinkReceiver):
        with pytest.raises(InputError, match=f"can fill {most} symbols .* CBR of at most") as tall:
            end(setup(symbols_per_frame=most + PILOTS + 1))
    cbr = float(str(tall.value).rsplit("at most ", 1)[1].rstrip("."))
    named = symbols_per_frame(cbr, WIDTH, HEIGHT)
    assert most - 10 <= named - PILOTS <= most
    results = run(setup(symbols_per_frame=named), 1, snr_db=10.0)
    assert Modality.KEYFRAME in results[0][1].came.pictures


@pytest.mark.parametrize("num_symbols", [1, PILOTS - 1, PILOTS])
def test_no_symbols_at_all_are_refused_naming_the_least(use: Use, num_symbols: int) -> None:
    use(linear_djscc(GAIN))
    for end in (plan_grid, LinkSender, LinkReceiver):
        with pytest.raises(InputError, match="CBR of at least") as refusal:
            end(setup(symbols_per_frame=num_symbols))
    cbr = float(str(refusal.value).rsplit("at least ", 1)[1].split(" ")[0].rstrip("."))
    results = run(setup(symbols_per_frame=symbols_per_frame(cbr, WIDTH, HEIGHT)), 2, snr_db=10.0)
    assert all(Modality.KEYFRAME in received.came.pictures for _, received in results)


def test_a_single_symbol_crosses(use: Use) -> None:
    use(linear_djscc(GAIN))
    results = run(setup(symbols_per_frame=PILOTS + 1), 3, snr_db=10.0)
    for sent, received in results:
        assert sent.symbols_by_modality[Modality.KEYFRAME] == 1
        assert received.came.pictures[Modality.KEYFRAME].shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(("width", "height"), [(256, 256), (64, 64), (16, 16), (1920, 1080)])
def test_the_schemes_own_rate_fits_at_every_size(use: Use, width: int, height: int) -> None:
    """7,800 symbols at 256x256: what GVSC spends on a first frame (papers/03)."""
    use(Djscc(3, 16, (3, 3, 3), (3, 3, 3)))
    cbr = SCHEMES["djscc-rgb"].default_cbr
    budget = symbols_per_frame(cbr, width, height)
    grid = plan_grid(setup(width=width, height=height, symbols_per_frame=budget))
    assert grid.part_symbols == {Modality.KEYFRAME: budget - PILOTS}
    assert grid.control_symbols == 0
    if (width, height) == (256, 256):
        assert budget - PILOTS == 7800


def test_a_block_of_another_size_is_refused(linear: Djscc) -> None:
    ((sent, _),) = run(setup(), 1, snr_db=3.0)
    pilots, block = sent.radio.blocks
    for samples in (block.samples[:-1], np.append(block.samples, block.samples[:1])):
        frame = RadioFrame(1, 0, 0, (pilots, Block(Modality.KEYFRAME, samples)))
        with pytest.raises(InputError, match=f"keyframe block of {len(samples)} symbols"):
            LinkReceiver(setup()).receive(frame)


# What each end knows of the SNR.


class _Listening(Djscc):
    """Notes the SNR that each end of the link tells it."""

    def __init__(self) -> None:
        super().__init__(3, 4, (3, 3, 3), (3, 3, 3))
        self.load_state_dict(linear_djscc(GAIN).state_dict())
        self.eval().requires_grad_(False)
        self.told_sender: list[float] = []
        self.told_receiver: list[float] = []

    def encode(self, picture: torch.Tensor, snr_db: torch.Tensor, num: int) -> torch.Tensor:
        assert snr_db.shape == (1,)
        self.told_sender.append(float(snr_db))
        return super().encode(picture, snr_db, num)

    def decode(
        self, symbols: torch.Tensor, snr_db: torch.Tensor, width: int, height: int
    ) -> torch.Tensor:
        assert snr_db.shape == (1,)
        self.told_receiver.append(float(snr_db))
        return super().decode(symbols, snr_db, width, height)


@pytest.mark.parametrize("delay", [1, 3])
def test_the_transmitter_uses_the_feedback_in_force_and_none_before_the_first(
    use: Use, delay: int
) -> None:
    listening = _Listening()
    use(listening)
    results = run(setup(feedback_delay_frames=delay), 8, snr_db=7.0)
    told = listening.told_sender
    assert all(math.isnan(snr_db) for snr_db in told[:delay])
    reported = [received.feedback.snr_db for _, received in results]
    assert told[delay:] == reported[:-delay]
    assert all(snr_db == quantise_snr_db(snr_db) for snr_db in reported)


def test_the_receiver_uses_its_own_estimate_from_the_first_frame(use: Use) -> None:
    listening = _Listening()
    use(listening)
    for snr_db in (-3.0, 7.0, 15.0):
        listening.told_receiver.clear()
        results = run(setup(), 16, snr_db=snr_db)
        # Sixteen pilots know the noise to 1.1 dB (one sigma), 16 frames of them to 0.3 dB.
        assert listening.told_receiver[0] == pytest.approx(snr_db, abs=4.4)
        assert np.mean(listening.told_receiver[-3:]) == pytest.approx(snr_db, abs=1.1)
        assert results[-1][1].snr_db == pytest.approx(snr_db, abs=1.1)


def test_beyond_forty_db_the_network_is_told_forty(use: Use) -> None:
    listening = _Listening()
    use(listening)
    run(setup(), 3, snr_db=60.0)
    assert all(snr_db == pytest.approx(40) for snr_db in listening.told_receiver)


def test_a_change_of_snr_reaches_both_ends(use: Use) -> None:
    listening = _Listening()
    use(listening)
    session = setup()
    sender, receiver, emulator = LinkSender(session), LinkReceiver(session), Emulator(1)
    for index in range(32):
        settings = ChannelSettings(snr_db=18.0 if index < 16 else 2.0, seed=4)
        noisy, _ = emulator.apply(sender.encode(Semantics(SOURCE), index).radio, settings)
        sender.feedback(receiver.receive(noisy).feedback)
    for told in (listening.told_sender, listening.told_receiver):
        assert np.mean(told[12:16]) == pytest.approx(18.0, abs=1.5)
        assert np.mean(told[-4:]) == pytest.approx(2.0, abs=1.5)


# Other channels, and the same again.


def test_a_fading_gain_is_divided_out(linear: Djscc) -> None:
    """At 40 dB what is left of a fade is the error of 16 pilots' gain: the picture is the same."""
    session = setup(channel_model=ChannelModel.RAYLEIGH)
    results = run(session, 24, snr_db=40.0, model=ChannelModel.RAYLEIGH)
    quality = [psnr_db(r.came.pictures[Modality.KEYFRAME], SOURCE) for _, r in results]
    assert np.median(quality) > 35


def test_in_a_fade_the_network_is_told_the_snr_of_that_frame(use: Use) -> None:
    """The gain is divided out, and the noise with it: a deep fade leaves more of it."""
    listening = _Listening()
    use(listening)
    session = setup(channel_model=ChannelModel.RAYLEIGH)
    run(session, 32, snr_db=20.0, model=ChannelModel.RAYLEIGH)
    true = [20 + 20 * math.log10(abs(fading_gain(1, k, 21))) for k in range(32)]
    assert np.std(true) > 3
    # The first frames know the noise from few pilots.
    errors = np.array(listening.told_receiver[8:]) - true[8:]
    assert abs(np.median(errors)) < 1
    assert np.median(abs(errors - np.median(errors))) < 1


def test_a_burst_is_over_when_it_is_over(linear: Djscc) -> None:
    """Lost frames are noise, whatever they look like; the next whole one is as good as ever."""
    channel: dict[str, object] = {
        "model": ChannelModel.BURST,
        "burst_frames_mean": 2.0,
        "gap_frames_mean": 4.0,
    }
    results = run(setup(channel_model=ChannelModel.BURST), 40, snr_db=25.0, **channel)
    quality = np.array([psnr_db(r.came.pictures[Modality.KEYFRAME], SOURCE) for _, r in results])
    lost = quality < 20
    assert 3 <= lost.sum() <= 30
    assert quality[~lost].min() > expected_psnr_db(25.0) - 1.5


def test_equal_seeds_give_equal_pictures_and_a_record_gives_them_again(
    linear: Djscc, tmp_path: Path
) -> None:
    session = setup()
    live = ReceiverSession(session, PassthroughGenerator())
    sender, emulator = LinkSender(session), Emulator(1)
    shown = []
    with Recorder(tmp_path, session) as recorder:
        for index in range(5):
            sent = sender.encode(Semantics(SOURCE), index)
            noisy, _ = emulator.apply(sent.radio, ChannelSettings(snr_db=5.0, seed=9))
            recorder.add(noisy)
            decoded = live.decode(noisy)
            sender.feedback(decoded.received.feedback)
            shown.append(live.render(decoded).rgb)
    read, rendered = replay(find_record(tmp_path))
    assert read == session
    again = [frame.rgb for frame in rendered]
    assert len(again) == 5
    assert all(np.array_equal(a, b) for a, b in zip(shown, again, strict=True))
    assert not np.array_equal(shown[0], shown[1])
    first = run(session, 3, snr_db=5.0)
    second = run(session, 3, snr_db=5.0)
    for (_, a), (_, b) in zip(first, second, strict=True):
        assert np.array_equal(
            a.came.pictures[Modality.KEYFRAME], b.came.pictures[Modality.KEYFRAME]
        )


def test_the_passthrough_shows_it_as_it_came(linear: Djscc) -> None:
    session = setup()
    receiver = ReceiverSession(session, PassthroughGenerator())
    noisy, _ = Emulator(1).apply(
        LinkSender(session).encode(Semantics(SOURCE), 0).radio, ChannelSettings(snr_db=12.0)
    )
    decoded = receiver.decode(noisy)
    assert decoded.newest == 0
    shown = receiver.render(decoded)
    assert not shown.concealed
    assert np.array_equal(shown.rgb, decoded.received.came.pictures[Modality.KEYFRAME])
