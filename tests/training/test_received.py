"""What was received beside what was sent: windows, their file, and the pairs drawn from them."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import semcast.link
from channel_emulator.impairments import ChannelSettings, Emulator
from semcast.errors import InputError
from semcast.link import LinkReceiver, LinkSender, ReceivedFrame, plan_grid
from semcast.metrics.psnr import psnr_db
from semcast.schemes import symbols_per_frame
from semcast.semantics import Received, Semantics
from semcast.session import Modality, RadioFrame, SessionSetup
from training.data import Shot
from training.received import (
    HELD_OUT_FRAMES,
    HELD_OUT_SNR_DB,
    MIN_FRAMES,
    RECEIVED_NAME,
    RECEIVED_PATH,
    SIZE,
    PairSampler,
    ReceivedWindow,
    WindowSpec,
    belongs,
    draw_spec,
    held_out_pairs,
    held_out_spec,
    load_windows,
    make_held_out_windows,
    make_windows,
    number_shots,
    save_windows,
    send_window,
    source_frame,
    windows_beside,
)

HEIGHT, WIDTH = 144, 192
Picture = NDArray[np.uint8]


def moving(num_frames: int, seed: int = 1, height: int = HEIGHT, width: int = WIDTH) -> Picture:
    """A bright blob that wanders over a background of its own, [F, H, W, 3]."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 200, (4, 5, 3)).astype(np.uint8)
    background = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(float)
    y, x = np.mgrid[0:height, 0:width]
    frames = []
    for k in range(num_frames):
        blob = 120 * np.exp(-((x - 20 - 5 * k) ** 2 + (y - 70) ** 2) / 300)
        frames.append(np.clip(background + blob[..., None], 0, 255).astype(np.uint8))
    return np.stack(frames)


def shot(clip: str = "walk", num_frames: int = 12, seed: int = 1) -> Shot:
    return Shot(clip, moving(num_frames, seed), 8.0)


def spec_of(source: Shot, **changes: object) -> WindowSpec:
    """A window in the middle of a shot, all numbers plain."""
    spec = replace(
        held_out_spec((source.clip, 0), source, "lowres"),
        first=2,
        num_frames=8,
        top=10,
        left=33,
        side=120,
        cbr=0.004,
        seed=77,
    )
    spec = replace(spec, **changes)  # type: ignore[arg-type]
    quarters = cv2.resize(source_frame(source, spec, 0), (2, 2), interpolation=cv2.INTER_AREA)
    return replace(spec, levels=[float(level) for level in quarters.ravel()])


def crop(source: Shot, frame: int, top: int, left: int, side: int) -> Picture:
    square = source.frames[frame, top : top + side, left : left + side]
    return np.asarray(cv2.resize(square, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC), np.uint8)


# Sending a window.


@pytest.mark.parametrize(("first", "step"), [(2, 1), (9, -1)])
def test_what_is_sent_is_the_crop_that_the_window_names(
    first: int, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Picture] = []
    encode = LinkSender.encode

    def noting(self: LinkSender, semantics: Semantics, pts_us: int) -> object:
        assert pts_us == round(1e6 * len(sent) / 8)
        sent.append(semantics.rgb.copy())
        return encode(self, semantics, pts_us)

    monkeypatch.setattr(LinkSender, "encode", noting)
    source = shot()
    spec = spec_of(source, first=first, step=step, snr_db=15.0)
    send_window(source, spec)
    assert len(sent) == 8
    for k, rgb in enumerate(sent):
        assert np.array_equal(rgb, source_frame(source, spec, k))
        assert np.array_equal(rgb, crop(source, first + k * step, 10, 33, 120))


def test_a_square_larger_than_the_frame_is_averaged() -> None:
    large = Shot("large", moving(8, 1, 600, 700), 8.0)
    spec = spec_of(large, first=0, top=20, left=50, side=512)
    expected = large.frames[3, 20:532, 50:562].reshape(SIZE, 2, SIZE, 2, 3).mean((1, 3))
    assert abs(source_frame(large, spec, 3) - expected).max() <= 1


def test_the_pictures_are_those_that_a_receiver_at_that_snr_held() -> None:
    source = shot()
    spec = spec_of(source, snr_db=-9.0, cbr=0.004)
    window = send_window(source, spec)
    setup = SessionSetup(
        session_id="another",
        scheme="lowres",
        width=SIZE,
        height=SIZE,
        fps=8.0,
        seed=77,
        symbols_per_frame=symbols_per_frame(0.004, SIZE, SIZE),
    )
    sender, receiver, emulator = LinkSender(setup), LinkReceiver(setup), Emulator(1)
    channel = ChannelSettings(snr_db=-9.0, seed=77)
    held: Picture | None = None
    age = -1
    for k in range(8):
        radio, _ = emulator.apply(
            sender.encode(Semantics(crop(source, 2 + k, 10, 33, 120)), 0).radio, channel
        )
        received = receiver.receive(radio)
        sender.feedback(received.feedback)
        if Modality.LOWRES in received.came.pictures:
            held, age = received.came.pictures[Modality.LOWRES], 0
        elif held is not None:
            age += 1
        assert window.ages[k] == age
        if held is not None:
            assert np.array_equal(window.pictures[k], held)
    # At this SNR most frames are lost.
    assert {-1, 0, 1} <= set(window.ages.tolist())


def test_a_received_picture_looks_like_its_source_and_not_like_another_frame() -> None:
    source = shot(num_frames=16)
    window = send_window(source, spec_of(source, first=0, num_frames=16, snr_db=20.0, cbr=0.02))
    assert np.all(window.ages == 0)
    height, width = window.pictures.shape[1:3]
    frames = [
        cv2.resize(source_frame(source, window.spec, k), (width, height), None, 0, 0, 3)
        for k in range(16)
    ]
    for k in (0, 5, 10, 15):
        quality = [psnr_db(window.pictures[k], frame) for frame in frames]
        assert int(np.argmax(quality)) == k
        assert quality[k] > 25


class _Lossy(LinkReceiver):
    """Loses the pictures of some frames."""

    lost: frozenset[int] = frozenset()

    def receive(self, frame: RadioFrame) -> ReceivedFrame:
        received = super().receive(frame)
        return replace(received, came=Received()) if frame.sequence in self.lost else received


def test_what_is_lost_is_held_and_its_age_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(semcast.link, "LinkReceiver", _Lossy)
    monkeypatch.setattr(_Lossy, "lost", frozenset({0, 1, 4, 5}))
    window = send_window(shot(), spec_of(shot(), snr_db=15.0))
    assert window.ages.tolist() == [-1, -1, 0, 0, 1, 2, 0, 0]
    pictures = window.pictures
    assert np.all(pictures[:2] == 128)
    assert np.array_equal(pictures[4], pictures[3])
    assert np.array_equal(pictures[5], pictures[3])
    assert not np.array_equal(pictures[6], pictures[5])
    assert pictures.dtype == np.uint8
    # A shorter loss changes nothing of what comes before it.
    monkeypatch.setattr(_Lossy, "lost", frozenset({0, 1}))
    assert np.array_equal(
        send_window(shot(), spec_of(shot(), snr_db=15.0)).pictures[3], pictures[3]
    )


def test_a_window_of_which_nothing_came_is_grey_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(semcast.link, "LinkReceiver", _Lossy)
    monkeypatch.setattr(_Lossy, "lost", frozenset(range(8)))
    window = send_window(shot(), spec_of(shot(), snr_db=15.0))
    assert np.all(window.ages == -1)
    assert window.pictures.shape[0] == 8
    assert np.all(window.pictures == 128)


def test_sending_again_gives_the_same(window: ReceivedWindow) -> None:
    again = send_window(shot(), window.spec)
    assert np.array_equal(again.pictures, window.pictures)
    assert np.array_equal(again.ages, window.ages)
    assert {-1, 0, 1} <= set(window.ages.tolist())
    other = send_window(shot(), replace(window.spec, seed=78))
    assert not np.array_equal(other.ages, window.ages)


@pytest.fixture(scope="module")
def window() -> ReceivedWindow:
    """One that was really sent, at an SNR at which most frames are lost."""
    return send_window(shot(), spec_of(shot(), snr_db=-9.0))


# Drawing windows.


def test_windows_lie_within_their_shots_and_can_be_sent() -> None:
    source = shot(num_frames=30)
    specs = [
        draw_spec(np.random.default_rng(seed), ("walk", 2), source, "lowres", 20)
        for seed in range(200)
    ]
    for spec in specs:
        assert (spec.clip, spec.shot, spec.scheme) == ("walk", 2, "lowres")
        at = [spec.first + k * spec.step for k in range(spec.num_frames)]
        assert len(at) == 20
        assert min(at) >= 0
        assert max(at) < 30
        assert 0 <= spec.top <= HEIGHT - spec.side
        assert 0 <= spec.left <= WIDTH - spec.side
        assert 0.75 * HEIGHT - 1 <= spec.side <= HEIGHT
        assert -5 <= spec.snr_db <= 20
        assert 0.001 <= spec.cbr <= 0.008
        assert belongs(source, spec)
        setup = SessionSetup(
            session_id="t",
            scheme="lowres",
            width=SIZE,
            height=SIZE,
            fps=8.0,
            seed=spec.seed,
            symbols_per_frame=symbols_per_frame(spec.cbr, SIZE, SIZE),
        )
        plan_grid(setup)
    assert {spec.step for spec in specs} == {1, -1}
    assert len({spec.seed for spec in specs}) == 200
    # Uniform in dB and in the logarithm of the rate: means within 4 sigma.
    snrs = [spec.snr_db for spec in specs]
    assert np.mean(snrs) == pytest.approx(7.5, abs=4 * 25 / math.sqrt(12 * 200))
    rates = np.log([spec.cbr for spec in specs])
    spread = math.log(8) / math.sqrt(12 * 200)
    assert rates.mean() == pytest.approx(math.log(0.001 * math.sqrt(8)), abs=4 * spread)
    firsts = {spec.first for spec in specs if spec.step == 1}
    assert firsts == set(range(11))


def test_a_short_shot_is_sent_whole() -> None:
    spec = draw_spec(np.random.default_rng(1), ("walk", 0), shot(num_frames=9), "lowres", 40)
    assert spec.num_frames == 9
    assert spec.first == (0 if spec.step == 1 else 8)


def test_held_out_windows_show_what_send_shows() -> None:
    """The beginning, the centre square, 10 dB, the scheme's own rate."""
    source = shot(num_frames=40)
    spec = held_out_spec(("walk", 0), source, "lowres")
    assert (spec.first, spec.step, spec.num_frames) == (0, 1, HELD_OUT_FRAMES)
    assert (spec.top, spec.left, spec.side) == (0, (WIDTH - HEIGHT) // 2, HEIGHT)
    assert (spec.snr_db, spec.cbr, spec.seed) == (HELD_OUT_SNR_DB, 0.004, 7777)
    assert belongs(source, spec)


def test_shots_are_numbered_within_their_clip() -> None:
    shots = [shot("a", 8, 1), shot("b", 8, 2), shot("a", 8, 3), shot("a", 8, 4)]
    numbered = number_shots(shots)
    assert numbered == {
        ("a", 0): shots[0],
        ("a", 1): shots[2],
        ("a", 2): shots[3],
        ("b", 0): shots[1],
    }


def test_every_clip_gets_its_windows_from_shots_that_are_long_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def noted(source: Shot, spec: WindowSpec) -> ReceivedWindow:
        assert belongs(source, spec)
        return ReceivedWindow(spec, np.zeros((1, 8, 8, 3), np.uint8), np.zeros(1, np.int16))

    monkeypatch.setattr("training.received.send_window", noted)
    shots = [
        shot("a", MIN_FRAMES - 1, 1),
        shot("a", 10, 2),
        shot("b", 9, 3),
        shot("photo", 1, 4),
        shot("a", 14, 5),
    ]
    windows = make_windows(shots, "lowres", per_clip=12, max_frames=10, seed=5)
    drawn = [(w.spec.clip, w.spec.shot) for w in windows]
    assert drawn.count(("b", 0)) == 12
    assert drawn.count(("a", 1)) + drawn.count(("a", 2)) == 12
    assert {("a", 1), ("a", 2)} <= set(drawn)
    again = make_windows(shots, "lowres", per_clip=12, max_frames=10, seed=5)
    assert [w.spec for w in again] == [w.spec for w in windows]
    other = make_windows(shots, "lowres", per_clip=12, max_frames=10, seed=6)
    assert [w.spec for w in other] != [w.spec for w in windows]
    held_out = make_held_out_windows(shots, "lowres")
    assert [(w.spec.clip, w.spec.shot) for w in held_out] == [("b", 0)]


# The file.


def test_windows_come_back_from_their_file(window: ReceivedWindow, tmp_path: Path) -> None:
    odd = ReceivedWindow(
        replace(window.spec, clip="façade — 'x'", shot=3),
        np.full((2, 9, 7, 3), 200, np.uint8),
        np.array([-1, 0], np.int16),
    )
    path = tmp_path / "new" / "folder" / RECEIVED_NAME
    save_windows(path, [window, odd])
    again = load_windows(path)
    assert [w.spec for w in again] == [window.spec, odd.spec]
    for before, after in zip((window, odd), again, strict=True):
        assert np.array_equal(before.pictures, after.pictures)
        assert np.array_equal(before.ages, after.ages)
        assert after.pictures.dtype == np.uint8
        assert after.ages.dtype == np.int16
    assert load_windows(io.BytesIO(path.read_bytes()))[1].spec == odd.spec
    assert belongs(shot(), again[0].spec)


def test_a_file_that_is_none_of_ours_is_refused_with_the_command_that_makes_one(
    window: ReceivedWindow, tmp_path: Path
) -> None:
    path = tmp_path / RECEIVED_NAME
    save_windows(path, [window])
    whole = path.read_bytes()
    np.savez(tmp_path / "other.npz", pictures=np.zeros(3))
    files = {
        "missing": None,
        "empty": b"",
        "text": b"not an array" * 50,
        "cut": whole[: len(whole) // 2],
        "end cut": whole[:-30],
        "other": (tmp_path / "other.npz").read_bytes(),
        "one array": b"",
    }
    for name, content in files.items():
        bad = tmp_path / f"{name}.bin"
        if content is not None:
            bad.write_bytes(content)
        if name == "one array":
            with bad.open("wb") as file:
                np.save(file, np.zeros(4))
        with pytest.raises(InputError, match=r"python -m training\.received"):
            load_windows(bad)


def test_damage_within_the_file_is_refused_or_harmless(
    window: ReceivedWindow, tmp_path: Path
) -> None:
    path = tmp_path / RECEIVED_NAME
    save_windows(path, [window])
    whole = bytearray(path.read_bytes())
    for at in range(0, len(whole), max(1, len(whole) // 60)):
        damaged = bytearray(whole)
        damaged[at] ^= 0x5A
        try:
            load_windows(io.BytesIO(bytes(damaged)))
        except InputError:
            pass


def test_windows_are_found_in_the_pack_or_where_they_are_made(
    window: ReceivedWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    clips, pack = tmp_path / "clips", tmp_path / "some.pack"
    clips.mkdir()
    with pytest.raises(InputError, match=r"python -m training\.received"):
        windows_beside(clips)
    save_windows(RECEIVED_PATH, [window])
    assert [w.spec for w in windows_beside(clips)] == [window.spec]
    with zipfile.ZipFile(pack, "w") as archive:
        archive.writestr("pack.json", "{}")
    with pytest.raises(InputError, match=r"some\.pack holds no received windows"):
        windows_beside(pack)
    packed = replace(window, spec=replace(window.spec, clip="packed"))
    save_windows(tmp_path / "packed.npz", [packed])
    with zipfile.ZipFile(pack, "a") as archive:
        archive.write(tmp_path / "packed.npz", RECEIVED_NAME)
    assert [w.spec.clip for w in windows_beside(pack)] == ["packed"]


# Whether a window is of these clips.


def test_a_changed_clip_is_refused_by_its_name(window: ReceivedWindow) -> None:
    assert belongs(shot(), window.spec)
    for changed in (
        Shot("walk", moving(12, seed=2), 8.0),
        Shot("walk", shot().frames[:, :, ::-1], 8.0),
        Shot("walk", shot().frames[..., ::-1], 8.0),
        Shot("walk", 255 - shot().frames, 8.0),
    ):
        with pytest.raises(InputError, match=r"windows of walk .*python -m training\.received"):
            belongs(changed, window.spec)
        with pytest.raises(InputError, match="walk"):
            PairSampler([window], [changed], 64, 4)
        with pytest.raises(InputError, match="walk"):
            held_out_pairs([window], [changed], 2)


def test_another_decoder_is_not_another_clip(window: ReceivedWindow) -> None:
    """Frames that a level or two of rounding sets apart are the same."""
    noise = np.random.default_rng(1).integers(-2, 3, shot().frames.shape)
    rounded = np.clip(shot().frames.astype(int) + noise, 0, 255).astype(np.uint8)
    assert belongs(Shot("walk", rounded, 8.0), window.spec)


def test_a_trimmed_clip_loses_the_windows_that_reach_beyond_it() -> None:
    source = shot(num_frames=20)
    specs = {
        "early": spec_of(source, first=0, num_frames=8),
        "late": spec_of(source, first=9, num_frames=8),
        "late, backwards": spec_of(source, first=16, step=-1, num_frames=8),
        "to its end": spec_of(source, first=4, num_frames=8),
        "one too far": spec_of(source, first=5, num_frames=8),
    }
    trimmed = Shot("walk", source.frames[:12], 8.0)
    assert [name for name, spec in specs.items() if belongs(trimmed, spec)] == [
        "early",
        "to its end",
    ]
    assert all(belongs(source, spec) for spec in specs.values())
    assert not belongs(None, specs["early"])


# Pairs.


def exact_window(source: Shot, spec: WindowSpec, ages: Sequence[int]) -> ReceivedWindow:
    """A window whose pictures are the very frames, at a quarter of the side."""
    quarter = (SIZE // 4, SIZE // 4)
    pictures = [
        cv2.resize(source_frame(source, spec, k), quarter, interpolation=cv2.INTER_AREA)
        for k in range(spec.num_frames)
    ]
    return ReceivedWindow(spec, np.stack(pictures), np.asarray(ages, np.int16))


def smaller(rgb: Picture) -> Picture:
    size = (rgb.shape[1] // 4, rgb.shape[0] // 4)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def map_shot() -> Shot:
    """Each pixel says where it is: row, column, and frame number times 20."""
    rows, columns = np.indices((SIZE, SIZE))
    frames = [np.stack([rows, columns, np.full_like(rows, 20 * k)], -1) for k in range(8)]
    return Shot("walk", np.stack(frames).astype(np.uint8), 8.0)


@pytest.mark.parametrize("size", [64, 96, 256])
def test_source_and_received_are_cropped_and_mirrored_alike(size: int) -> None:
    source = map_shot()
    spec = spec_of(source, first=0, top=0, left=0, side=SIZE)
    sampler = PairSampler([exact_window(source, spec, [0] * 8)], [source], size, 4)
    rng = np.random.default_rng(3)
    frames, corners, mirrored = set(), set(), set()
    for _ in range(60):
        rgb, small = sampler.draw(rng)
        for side, length in ((rgb, size), (small, size // 4)):
            assert side.shape == (length, length, 3)
            assert side.dtype == np.uint8
            assert side.flags.c_contiguous
        assert abs(smaller(rgb).astype(int) - small).max() <= 1
        flip = bool(rgb[0, 0, 1] > rgb[0, -1, 1])
        upright = rgb[:, ::-1] if flip else rgb
        frame, top, left = int(upright[0, 0, 2]) // 20, *map(int, upright[0, 0, :2])
        assert np.array_equal(upright, source.frames[frame, top : top + size, left : left + size])
        frames.add(frame)
        corners.add((top, left))
        mirrored.add(flip)
    assert frames == set(range(8))
    assert mirrored == {False, True}
    for axis in range(2):
        starts = {corner[axis] for corner in corners}
        assert min(starts) == 0
        # Every part of a frame can be drawn, to its last row and column.
        assert max(starts) == SIZE - size
        assert len(starts) > 3 or size == SIZE


def test_received_pictures_are_enlarged_as_the_receiver_does_it(window: ReceivedWindow) -> None:
    """What training shows the network is what the tiny generator will show it."""
    from receiver.diffusion.tiny import to_condition_size

    sampler = PairSampler([window], [shot()], SIZE, 4)
    seen = [to_condition_size(p, SIZE // 4, SIZE // 4) for p in window.pictures]
    rng = np.random.default_rng(1)
    for _ in range(10):
        _, small = sampler.draw(rng)
        assert any(
            np.array_equal(small, picture) or np.array_equal(small[:, ::-1], picture)
            for picture in seen
        )


def test_pairs_depend_on_the_generator_alone(window: ReceivedWindow) -> None:
    sampler = PairSampler([window], [shot()], 64, 4)
    first = sampler.draw(np.random.default_rng(4))
    sampler.draw(np.random.default_rng(5))
    again = sampler.draw(np.random.default_rng(4))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_frames_before_the_first_picture_are_never_drawn() -> None:
    source = shot()
    spec = spec_of(source)
    exact = exact_window(source, spec, [-1, -1, -1, -1, -1, 0, 0, -1])
    exact.pictures[exact.ages < 0] = 128
    nothing = ReceivedWindow(spec, np.full((8, 8, 8, 3), 128, np.uint8), np.full(8, -1, np.int16))
    sampler = PairSampler([nothing, exact], [source], 64, 4)
    rng = np.random.default_rng(1)
    for _ in range(30):
        rgb, small = sampler.draw(rng)
        assert abs(smaller(rgb).astype(int) - small).max() <= 1
    with pytest.raises(InputError, match="make them anew"):
        PairSampler([nothing], [source], 64, 4)


def coloured(clip: str, level: int) -> Shot:
    return Shot(clip, np.full((10, HEIGHT, WIDTH, 3), level, np.uint8), 8.0)


def test_clips_to_measure_on_never_reach_the_training_pairs() -> None:
    train, val = coloured("walk", 60), coloured("held-out", 180)
    windows = [exact_window(s, spec_of(s), [0] * 8) for s in (train, val)]
    sampler = PairSampler(windows, [train], 64, 4)
    rng = np.random.default_rng(1)
    for _ in range(40):
        rgb, small = sampler.draw(rng)
        assert np.all(rgb == 60)
        assert np.all(small == 60)
    ((source, received),) = held_out_pairs(windows, [val], 2)
    assert np.all(source == 180)
    assert np.all(received == 180)


def test_windows_of_no_clip_at_hand_are_refused() -> None:
    train, other = coloured("walk", 60), coloured("other", 90)
    windows = [exact_window(train, spec_of(train), [0] * 8)]
    with pytest.raises(InputError, match="make them anew"):
        PairSampler(windows, [other], 64, 4)
    assert held_out_pairs(windows, [other], 2) == []
    # A second shot of the clip is not its first.
    later = [replace(w, spec=replace(w.spec, shot=1)) for w in windows]
    with pytest.raises(InputError, match="make them anew"):
        PairSampler(later, [train], 64, 4)


@pytest.mark.parametrize(
    ("count", "at"), [(1, [7]), (2, [3, 7]), (4, [1, 3, 5, 7]), (8, list(range(8)))]
)
def test_held_out_frames_are_evenly_spaced_and_end_with_the_last(count: int, at: list[int]) -> None:
    source = shot()
    spec = spec_of(source)
    ((frames, received),) = held_out_pairs([exact_window(source, spec, [0] * 8)], [source], count)
    assert len(frames) == len(received) == count
    for rgb, small, k in zip(frames, received, at, strict=True):
        assert np.array_equal(rgb, source_frame(source, spec, k))
        assert np.array_equal(small, smaller(rgb))


def test_more_held_out_frames_than_there_are_still_belong_together() -> None:
    source = shot(num_frames=30)
    spec = spec_of(source)
    ((frames, received),) = held_out_pairs([exact_window(source, spec, [0] * 8)], [source], 11)
    for rgb, small in zip(frames, received, strict=True):
        assert np.array_equal(small, smaller(rgb))
