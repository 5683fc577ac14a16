"""What receivers had: windows really sent, their file, and which belong to a library."""

from __future__ import annotations

import io
import math
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from moving_shots import Picture, moving_shot, spec_of, window_of

import receiver.session
from channel_emulator.impairments import ChannelSettings, Emulator
from receiver.generator import Conditions
from semcast.errors import InputError
from semcast.link import LinkReceiver, LinkSender, ReceivedFrame
from semcast.metrics.psnr import psnr_db
from semcast.schemes import symbols_per_frame
from semcast.semantics import Received, Semantics
from semcast.session import Modality, RadioFrame, SessionSetup
from training.data import Library, Shot
from training.received import (
    HELD_OUT_CBRS,
    KEY_PICTURES,
    RECEIVED_NAME,
    RECEIVED_PATH,
    SKETCHES,
    ReceivedWindow,
    load_windows,
    make_held_out_windows,
    make_windows,
    save_windows,
    send_window,
    windows_beside,
    windows_for,
)
from training.windows import MIN_FRAMES, SIZE, WindowSpec, belongs, held_out_spec, source_frame

LOWRES, KEYFRAME = Modality.LOWRES, Modality.KEYFRAME


def lowres_ages(window: ReceivedWindow) -> list[int]:
    return [c.age_frames.get(LOWRES, -1) for c in window.conditions]


def assert_same(before: ReceivedWindow, after: ReceivedWindow) -> None:
    assert after.spec == before.spec
    for a, b in zip(before.conditions, after.conditions, strict=True):
        assert b.age_frames == a.age_frames
        assert b.caption == a.caption
        assert (b.snr_db is None) == (a.snr_db is None)
        assert b.snr_db is None or b.snr_db == pytest.approx(a.snr_db, rel=1e-5)
        assert b.pictures.keys() == a.pictures.keys()
        shown = [(a.labels, b.labels), (a.sketch, b.sketch)]
        shown += [(a.pictures[m], b.pictures[m]) for m in a.pictures]
        for x, y in shown:
            assert (x is None) == (y is None)
            if x is not None and y is not None:
                assert y.dtype == np.uint8
                assert np.array_equal(x, y)


# Sending a window.


@pytest.mark.parametrize(("first", "step"), [(2, 1), (9, -1)])
def test_what_is_sent_is_the_square_that_the_window_names(
    first: int, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Picture] = []
    encode = LinkSender.encode

    def noting(self: LinkSender, semantics: Semantics, pts_us: int) -> object:
        assert pts_us == round(1e6 * len(sent) / 8)
        sent.append(semantics.rgb.copy())
        return encode(self, semantics, pts_us)

    monkeypatch.setattr(LinkSender, "encode", noting)
    source = moving_shot()
    spec = spec_of(source, first=first, step=step, snr_db=15.0)
    send_window(source, spec)
    assert len(sent) == 8
    for k, rgb in enumerate(sent):
        assert np.array_equal(rgb, source_frame(source, spec, k))


def test_the_pictures_are_those_that_a_receiver_at_that_snr_held(window: ReceivedWindow) -> None:
    source = moving_shot()
    setup = SessionSetup(
        session_id="another",
        scheme="lowres",
        width=SIZE,
        height=SIZE,
        fps=8.0,
        seed=77,
        symbols_per_frame=symbols_per_frame(0.004, SIZE, SIZE),
    )
    sender, link, emulator = LinkSender(setup), LinkReceiver(setup), Emulator(1)
    channel = ChannelSettings(snr_db=-9.0, seed=77)
    held: Picture | None = None
    age = -1
    for k, had in enumerate(window.conditions):
        sent = sender.encode(Semantics(source_frame(source, window.spec, k)), 0)
        received = link.receive(emulator.apply(sent.radio, channel)[0])
        sender.feedback(received.feedback)
        if LOWRES in received.came.pictures:
            held, age = received.came.pictures[LOWRES], 0
        elif held is not None:
            age += 1
        assert had.age_frames.get(LOWRES, -1) == age
        assert (LOWRES in had.pictures) == (held is not None)
        if held is not None:
            assert np.array_equal(had.pictures[LOWRES], held)
        assert had.snr_db == pytest.approx(received.snr_db, nan_ok=True)
    # At this SNR most frames are lost.
    assert {-1, 0, 1} <= set(lowres_ages(window))


class _Lossy(LinkReceiver):
    """Loses the pictures of some frames."""

    lost: frozenset[int] = frozenset()

    def receive(self, frame: RadioFrame) -> ReceivedFrame:
        received = super().receive(frame)
        return replace(received, came=Received()) if frame.sequence in self.lost else received


def test_what_is_lost_is_held_and_its_age_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver.session, "LinkReceiver", _Lossy)
    monkeypatch.setattr(_Lossy, "lost", frozenset({0, 1, 4, 5}))
    source = moving_shot()
    window = send_window(source, spec_of(source, snr_db=15.0))
    assert lowres_ages(window) == [-1, -1, 0, 0, 1, 2, 0, 0]
    had = window.conditions
    assert not had[0].pictures and not had[1].pictures
    assert had[5].pictures[LOWRES] is had[3].pictures[LOWRES]
    assert not np.array_equal(had[6].pictures[LOWRES], had[5].pictures[LOWRES])
    # A later loss changes nothing of what comes before it.
    monkeypatch.setattr(_Lossy, "lost", frozenset({0, 1}))
    again = send_window(source, spec_of(source, snr_db=15.0)).conditions
    assert np.array_equal(again[3].pictures[LOWRES], had[3].pictures[LOWRES])


def test_sending_again_gives_the_same(window: ReceivedWindow) -> None:
    assert_same(window, send_window(moving_shot(), window.spec))
    other = send_window(moving_shot(), replace(window.spec, seed=78))
    assert lowres_ages(other) != lowres_ages(window)


@pytest.fixture(scope="module")
def window() -> ReceivedWindow:
    """One that was really sent, at an SNR at which most frames are lost."""
    return send_window(moving_shot(), spec_of(moving_shot(), snr_db=-9.0))


def test_what_other_schemes_bring_is_there_as_well() -> None:
    """A key picture in its full size, which looks like its frame, beside what the first brings."""
    source = moving_shot()
    spec = spec_of(source, snr_db=15.0, num_frames=3)
    alone, both = send_window(source, spec), send_window(source, spec, [KEY_PICTURES])
    for k, (one, two) in enumerate(zip(alone.conditions, both.conditions, strict=True)):
        assert set(one.pictures) == {LOWRES}
        assert set(two.pictures) == {LOWRES, KEYFRAME}
        assert np.array_equal(one.pictures[LOWRES], two.pictures[LOWRES])
        assert (one.snr_db, one.age_frames[LOWRES]) == (two.snr_db, two.age_frames[LOWRES])
        assert two.age_frames[KEYFRAME] == k
        key = two.pictures[KEYFRAME]
        assert key.shape == (SIZE, SIZE, 3)
        quality = [psnr_db(key, source_frame(source, spec, at)) for at in range(3)]
        assert quality[0] > 20
        assert quality[0] == max(quality)
    assert source.caption == both.conditions[-1].caption
    assert not alone.conditions[-1].caption


# Making windows.


def noted_sending(monkeypatch: pytest.MonkeyPatch) -> list[tuple[WindowSpec, tuple[str, ...]]]:
    """What would be sent, by which schemes beside the first; nothing is."""
    sent = []

    def note(source: Shot, spec: WindowSpec, more_schemes: Sequence[str] = ()) -> ReceivedWindow:
        assert belongs(source, spec)
        sent.append((spec, tuple(more_schemes)))
        return ReceivedWindow(spec, (Conditions({}, {}),) * spec.num_frames)

    monkeypatch.setattr("training.received.send_window", note)
    return sent


SHOTS = [
    moving_shot("a", MIN_FRAMES - 1, 1),
    moving_shot("a", 10, 2),
    moving_shot("b", 9, 3),
    moving_shot("photo", 1, 4),
    moving_shot("a", 14, 5),
]


def test_every_clip_gets_its_windows_from_shots_that_are_long_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noted_sending(monkeypatch)
    windows = make_windows(SHOTS, per_clip=12, max_frames=10, seed=5)
    drawn = [(w.spec.clip, w.spec.shot) for w in windows]
    assert drawn.count(("b", 0)) == 12
    assert drawn.count(("a", 1)) + drawn.count(("a", 2)) == 12
    assert {("a", 1), ("a", 2)} <= set(drawn)
    again = make_windows(SHOTS, per_clip=12, max_frames=10, seed=5)
    assert [w.spec for w in again] == [w.spec for w in windows]
    other = make_windows(SHOTS, per_clip=12, max_frames=10, seed=6)
    assert [w.spec for w in other] != [w.spec for w in windows]


def test_every_kind_of_condition_is_sent_and_none_always(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = noted_sending(monkeypatch)
    make_windows(SHOTS, per_clip=100, max_frames=10, seed=5)
    schemes = Counter(spec.scheme for spec, _ in sent)
    assert set(schemes) == {"contours-lowres", "contours,sketch,lowres", "lowres"}
    with_keys = sum(KEY_PICTURES in more for _, more in sent) / len(sent)
    # 200 windows, a share of 0.4: 4 sigma.
    assert with_keys == pytest.approx(0.4, abs=4 * math.sqrt(0.24 / 200))
    with_sketches = [spec.scheme for spec, more in sent if SKETCHES in more]
    assert 0 < len(with_sketches) < 100
    assert "contours,sketch,lowres" not in with_sketches, "they have one"


def test_held_out_windows_are_of_each_clips_beginning_at_two_rates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent = noted_sending(monkeypatch)
    make_held_out_windows(SHOTS)
    assert [(spec.clip, spec.shot, spec.cbr) for spec, _ in sent] == [
        ("b", 0, cbr) for cbr in HELD_OUT_CBRS
    ]
    for spec, more in sent:
        assert more == (KEY_PICTURES,)
        assert (spec.scheme, spec.first, spec.snr_db) == ("contours-lowres", 0, 10.0)
    make_held_out_windows(SHOTS, more_schemes=())
    assert sent[-1][1] == ()


# The file.


def rich_window(clip: str = "walk") -> ReceivedWindow:
    """All kinds of conditions, each there at some frames and held at others."""
    rng = np.random.default_rng(4)
    source = moving_shot(clip)
    small, key, labels, sketch = (
        [rng.integers(0, top, shape, np.uint8) for _ in range(2)]
        for top, shape in ((256, (9, 7, 3)), (256, (20, 20, 3)), (4, (20, 20)), (256, (10, 10)))
    )

    def had(k: int, _: Picture) -> Conditions:
        if not k:
            return Conditions({}, {})
        pictures = {LOWRES: small[k % 2]} | ({KEYFRAME: key[k // 5]} if k > 2 else {})
        ages = {LOWRES: 0} | ({KEYFRAME: k % 5} if k > 2 else {})
        return Conditions(
            pictures,
            ages,
            labels=labels[k // 4] if k != 3 else None,
            sketch=sketch[0] if k > 1 else None,
            caption="façade — 'x'" if k > 1 else "",
            snr_db=-3.25 + k if k < 6 else None,
        )

    return window_of(source, spec_of(source), had)


def test_windows_come_back_from_their_file(window: ReceivedWindow, tmp_path: Path) -> None:
    odd = replace(rich_window(), spec=replace(window.spec, clip="façade — 'x'", shot=3))
    path = tmp_path / "new" / "folder" / RECEIVED_NAME
    save_windows(path, [window, odd])
    assert [file.name for file in path.parent.iterdir()] == [RECEIVED_NAME]
    again = load_windows(path)
    for before, after in zip((window, odd), again, strict=True):
        assert_same(before, after)
    assert_same(odd, load_windows(io.BytesIO(path.read_bytes()))[1])
    assert belongs(moving_shot(), again[0].spec)


def test_what_is_held_is_written_once_and_read_as_one_array(tmp_path: Path) -> None:
    """A generator knows a new key picture by its being another array."""
    path = tmp_path / RECEIVED_NAME
    save_windows(path, [rich_window()])
    with np.load(path) as arrays:
        assert arrays["0.keyframe"].shape == (2, 20, 20, 3)
        assert arrays["0.sketch"].shape == (1, 10, 10)
    had = load_windows(path)[0].conditions
    keys = [c.pictures.get(KEYFRAME) for c in had]
    assert keys[3] is keys[4] and keys[5] is keys[7]
    assert keys[4] is not keys[5]


def test_a_file_that_is_none_of_ours_is_refused_with_the_command_that_makes_one(
    window: ReceivedWindow, tmp_path: Path
) -> None:
    path = tmp_path / RECEIVED_NAME
    save_windows(path, [window])
    whole = path.read_bytes()
    with np.load(path) as arrays:
        kept = dict(arrays)
    others = {
        "other": {"pictures": np.zeros(3)},
        "no specs": {name: value for name, value in kept.items() if name != "specs"},
        "no ages": {name: value for name, value in kept.items() if name != "0.ages"},
        "beyond": kept | {"0.lowres.at": np.full(8, 99, np.int16)},
        "too few": kept | {"0.snr_db": kept["0.snr_db"][:-1]},
        "specs of before": kept | {"specs": np.frombuffer(b'[{"clip": "walk"}]', np.uint8)},
    }
    files: dict[str, bytes | None] = {
        "missing": None,
        "empty": b"",
        "text": b"not an array" * 50,
        "cut": whole[: len(whole) // 2],
        "end cut": whole[:-30],
    }
    for name, given in others.items():
        np.savez(tmp_path / "made.npz", **given)
        files[name] = (tmp_path / "made.npz").read_bytes()
    one_array = io.BytesIO()
    np.save(one_array, np.zeros(4))
    files["one array"] = one_array.getvalue()
    for name, content in files.items():
        bad = tmp_path / f"{name}.bin"
        if content is not None:
            bad.write_bytes(content)
        with pytest.raises(InputError, match=r"python -m training\.received"):
            load_windows(bad)


def test_damage_within_the_file_is_refused_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / RECEIVED_NAME
    save_windows(path, [rich_window()])
    whole = path.read_bytes()
    refused = 0
    for at in range(0, len(whole), max(1, len(whole) // 300)):
        damaged = bytearray(whole)
        damaged[at] ^= 0x5A
        try:
            load_windows(io.BytesIO(bytes(damaged)))
        except InputError:
            refused += 1
    assert refused > 100


# Which windows go with a library.


def library_of(path: Path, train: str, val: str) -> Library:
    return Library(path, (moving_shot(train, 12, 1),), (moving_shot(val, 12, 1),), ())


def test_windows_are_found_in_the_pack_or_where_they_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    clips, pack = tmp_path / "clips", tmp_path / "some.pack"
    clips.mkdir()
    with pytest.raises(InputError, match=r"python -m training\.received"):
        windows_beside(clips)
    save_windows(RECEIVED_PATH, [rich_window()])
    assert [w.spec.clip for w in windows_beside(clips)] == ["walk"]
    with zipfile.ZipFile(pack, "w") as archive:
        archive.writestr("pack.json", "{}")
    with pytest.raises(InputError, match=r"some\.pack holds no received windows"):
        windows_for(library_of(pack, "walk", "run"))
    save_windows(tmp_path / "packed.npz", [rich_window("packed")])
    with zipfile.ZipFile(pack, "a") as archive:
        archive.write(tmp_path / "packed.npz", RECEIVED_NAME)
    assert [w.spec.clip for w in windows_beside(pack)] == ["packed"]


def test_windows_to_train_on_and_to_measure_on_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_windows(RECEIVED_PATH, [rich_window(name) for name in ("walk", "run", "swim")])
    train, val = windows_for(library_of(tmp_path, "walk", "run"))
    assert [w.spec.clip for w in train] == ["walk"]
    assert [w.spec.clip for w in val] == ["run"]
    with pytest.raises(InputError, match=r"make them anew with 'python -m training\.received'"):
        windows_for(library_of(tmp_path, "fly", "run"))


def test_windows_are_made_where_there_are_none_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sent = noted_sending(monkeypatch)
    library = library_of(tmp_path, "walk", "run")
    train, val = windows_for(library)
    assert {w.spec.clip for w in train} == {"walk"}
    assert {w.spec.clip for w in val} == {"run"}
    count = len(sent)
    again = windows_for(library)
    assert len(sent) == count, "they are kept"
    assert [w.spec for w in again[0]] == [w.spec for w in train]
    spec = held_out_spec(("run", 0), library.val[0], "contours-lowres")
    assert [w.spec for w in val] == [replace(spec, cbr=cbr) for cbr in HELD_OUT_CBRS]
