"""Records: what goes in comes out, and what is damaged is refused and never crashes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from receiver_link import bytes_of, radio_frames, setup

from receiver.generator import make_generator
from receiver.record import SUFFIX, Recorder, find_record, read_record, replay
from receiver.session import ReceiverSession
from semcast.errors import InputError, NotFoundError
from semcast.session import RadioFrame, SessionSetup

SMALL = setup(symbols_per_frame=120)
"""A session whose record is small enough to damage at every byte."""


def record(folder: Path, session: SessionSetup, frames: list[RadioFrame]) -> Path:
    """Records frames; the file that was written."""
    before = set(folder.glob("*"))
    with Recorder(folder, session) as recorder:
        for frame in frames:
            recorder.add(frame)
    (path,) = set(folder.glob("*")) - before
    return path


def same(a: RadioFrame, b: RadioFrame) -> bool:
    return (a.generation, a.sequence, a.pts_us) == (b.generation, b.sequence, b.pts_us) and all(
        x.modality == y.modality and x.samples.tobytes() == y.samples.tobytes()
        for x, y in zip(a.blocks, b.blocks, strict=True)
    )


@pytest.fixture(scope="module")
def small_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("record"), SMALL, radio_frames(SMALL, 3))


def test_what_was_recorded_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    session = setup(
        generation=3,
        seed=2**62,
        fps=29.97,
        live=True,
        measurement_tap=True,
        generator_steps=2,
        guidance=1.7,
    )
    frames = radio_frames(session, 4, lost=(2,))
    path = record(tmp_path / "new" / "folder", session, frames)
    assert path.name == f"test-3{SUFFIX}"
    read_setup, read_frames = read_record(path)
    assert read_setup == session
    assert all(same(a, b) for a, b in zip(frames, read_frames, strict=True))


def test_replay_gives_the_frames_that_were_shown(tmp_path: Path) -> None:
    session = setup()
    frames = radio_frames(session, 12, lost=(0, 5, 6))
    live = ReceiverSession(session, make_generator(session.generator))
    shown = [live.render(live.decode(frame)) for frame in frames]
    read_setup, replayed = replay(record(tmp_path, session, frames))
    again = list(replayed)
    assert read_setup == session
    assert bytes_of(iter(again)) == bytes_of(iter(shown))
    assert [f.concealed for f in again] == [f.concealed for f in shown]


def test_the_record_is_complete_without_closing_it_only_once_closed(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, SMALL)
    for frame in radio_frames(SMALL, 2):
        recorder.add(frame)
    recorder.close()
    _, frames = read_record(find_record(tmp_path))
    assert len(list(frames)) == 2


def test_no_record_overwrites_another(tmp_path: Path) -> None:
    """A session that is started again begins with generation 1 again."""
    frames = radio_frames(SMALL, 3)
    first = record(tmp_path, SMALL, frames)
    kept = first.read_bytes()
    second = record(tmp_path, SMALL, frames[:1])
    third = record(tmp_path, SMALL, frames[:2])
    assert len({first, second, third}) == 3
    assert first.read_bytes() == kept
    assert [len(list(read_record(path)[1])) for path in (first, second, third)] == [3, 1, 2]


@pytest.mark.parametrize("session_id", ["..", ".hidden", "a-1", "-", "x" * 64])
def test_a_record_stays_in_its_folder_whatever_the_session_is_called(
    tmp_path: Path, session_id: str
) -> None:
    folder = tmp_path / "records"
    Recorder(folder, setup(session_id=session_id)).close()
    assert len(list(folder.iterdir())) == 1
    assert list(tmp_path.iterdir()) == [folder]


# Finding.


def test_a_record_is_found_by_its_file_or_by_a_folder_that_holds_no_other(
    small_record: Path,
) -> None:
    assert find_record(small_record) == small_record
    assert find_record(small_record.parent) == small_record


def test_where_there_is_none_the_way_to_make_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(NotFoundError, match="--record"):
            find_record(path)


def test_among_several_the_caller_chooses(tmp_path: Path) -> None:
    paths = [record(tmp_path, setup(generation=k, symbols_per_frame=120), []) for k in (1, 2)]
    with pytest.raises(InputError, match="2 records") as refusal:
        find_record(tmp_path)
    for path in paths:
        assert path.name in str(refusal.value)


# Damage.


def read_all(path: Path) -> list[RadioFrame] | None:
    """Frames of a record; None where it is refused. Anything else is a crash."""
    try:
        return list(read_record(path)[1])
    except InputError as refusal:
        assert "\n" not in str(refusal)
        return None


def replay_all(path: Path) -> list[bytes] | None:
    try:
        return bytes_of(replay(path)[1])
    except InputError:
        return None


def test_a_record_cut_at_any_byte_is_refused_or_shorter(small_record: Path, tmp_path: Path) -> None:
    whole = small_record.read_bytes()
    frames = read_all(small_record)
    assert frames is not None and len(frames) == 3
    cut = tmp_path / f"cut{SUFFIX}"
    lengths = set()
    for end in range(len(whole)):
        cut.write_bytes(whole[:end])
        read = read_all(cut)
        if read is not None:
            lengths.add(len(read))
            assert all(same(a, b) for a, b in zip(read, frames, strict=False))
    # Whole messages are left where the cut falls between two: 0, 1 or 2 frames.
    assert lengths == {0, 1, 2}


def test_replay_of_a_cut_record_gives_the_frames_before_the_cut(
    small_record: Path, tmp_path: Path
) -> None:
    whole = small_record.read_bytes()
    shown = replay_all(small_record)
    assert shown is not None and len(shown) == 3
    cut = tmp_path / f"cut{SUFFIX}"
    for end in range(0, len(whole), 41):
        cut.write_bytes(whole[:end])
        frames: list[bytes] = []
        try:
            _, rendered = replay(cut)
            frames.extend(frame.rgb.tobytes() for frame in rendered)
        except InputError:
            pass
        assert frames == shown[: len(frames)]
        assert len(frames) < 3


def damaged(whole: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    """Records with a few bytes changed, left out or put in, the first ones more often."""
    for _ in range(300):
        broken = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(0, len(broken) if rng.random() < 0.5 else 100))
            match rng.integers(3):
                case 0:
                    broken[at] = int(rng.integers(256))
                case 1:
                    del broken[at : at + int(rng.integers(1, 9))]
                case _:
                    broken[at:at] = rng.bytes(int(rng.integers(1, 9)))
        yield bytes(broken)


def test_a_damaged_record_never_crashes_the_receiver(small_record: Path, tmp_path: Path) -> None:
    path = tmp_path / f"broken{SUFFIX}"
    outcomes = []
    with np.errstate(all="ignore"):
        for broken in damaged(small_record.read_bytes(), np.random.default_rng(5)):
            path.write_bytes(broken)
            outcomes.append(replay_all(path) is None)
    # Both happen: refusals, and damage that only shows as noise.
    assert 0 < sum(outcomes) < len(outcomes)


@pytest.mark.parametrize("size", [2**20, 2**31, 2**34, 2**40, 2**62, 2**64 - 1])
def test_an_absurd_length_is_refused_without_trying(
    small_record: Path, tmp_path: Path, size: int
) -> None:
    prefix = bytearray()
    while size >= 128:
        prefix.append(size & 127 | 128)
        size >>= 7
    prefix.append(size)
    for head in (b"", small_record.read_bytes()):
        path = tmp_path / f"long{SUFFIX}"
        path.write_bytes(head + bytes(prefix) + b"abc")
        assert read_all(path) is None


@pytest.mark.parametrize("content", [b"", b"\0", b"\0" * 50, b"\xff" * 300, b"hello, world\n" * 9])
def test_what_is_no_record_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / f"no{SUFFIX}"
    path.write_bytes(content)
    assert read_all(path) is None


def test_frames_that_are_missing_or_of_another_session_are_refused(tmp_path: Path) -> None:
    frames = radio_frames(SMALL, 3)
    gap = record(tmp_path, SMALL, [frames[0], frames[2]])
    assert replay_all(gap) is None
    stranger = RadioFrame(9, 0, 0, frames[0].blocks)
    other = record(tmp_path, SMALL, [stranger])
    assert read_all(other) is None


def test_a_record_of_a_generator_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    path = record(tmp_path, setup(generator="dreams"), [])
    with pytest.raises(NotFoundError, match="passthrough"):
        replay(path)
