"""What may be played by name, and the life of an upload."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
from clip_files import numbered, write_picture, write_sound, write_video

from semcast.errors import CapacityError, InputError, NotFoundError
from semcast.samples import sample_names
from semcast.v1 import transmitter_pb2
from transmitter import catalogue as catalogue_module
from transmitter.catalogue import Catalogue

HOUR_S = 3600.0


class Clock:
    """A monotonic clock that the test turns."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(catalogue_module, "time", made)
    return made


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go during the test, and nothing else does."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def catalogue(temporary: Path) -> Iterator[Catalogue]:
    made = Catalogue([], max_upload_mb=1, upload_hours=1.0)
    yield made
    made.close()


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("video") / "v.mp4"
    return write_video(path, numbered(6, height=48, width=80)).read_bytes()


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def content(catalogue: Catalogue, clip_id: str) -> bytes:
    """What was stored for a clip."""
    return Path(catalogue.locate(clip_id)).read_bytes()


def entries(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def pieces(
    name: str | None, data: bytes, size: int = 1000
) -> AsyncIterator[transmitter_pb2.UploadClipRequest]:
    if name is not None:
        yield transmitter_pb2.UploadClipRequest(file_name=name)
    for start in range(0, len(data), size):
        yield transmitter_pb2.UploadClipRequest(data=data[start : start + size])


def ids(catalogue: Catalogue) -> list[str]:
    return [clip.id for clip in catalogue.clips()]


# What is listed, and nothing else.


def test_samples_are_listed_with_size_rate_length_and_caption(catalogue: Catalogue) -> None:
    clips = {clip.id: clip for clip in catalogue.clips()}
    assert set(clips) == {f"sample:{name}" for name in sample_names()}
    gripper = clips["sample:gripper"]
    assert gripper.title == "gripper"
    assert gripper.width_px >= 256 and gripper.height_px >= 256
    assert gripper.frames_per_second > 0
    assert 5 <= gripper.duration_s <= 10
    assert gripper.caption


def test_files_named_at_start_come_first_under_their_name(tmp_path: Path, temporary: Path) -> None:
    path = write_video(tmp_path / "walk.mp4", numbered(4))
    (tmp_path / "walk.txt").write_text("Somebody walks.")
    folder = tmp_path / "stills"
    folder.mkdir()
    write_picture(folder / "a.png", np.zeros((32, 48, 3), np.uint8))
    catalogue = Catalogue([path, folder], 1, 1.0)
    clips = catalogue.clips()
    assert [clip.id for clip in clips[:2]] == ["file:walk.mp4", "file:stills"]
    assert clips[0].title == "walk.mp4"
    assert clips[0].caption == "Somebody walks."
    assert (clips[1].width_px, clips[1].height_px) == (48, 32)
    assert catalogue.locate("file:walk.mp4") == str(path)
    catalogue.close()


@pytest.mark.parametrize(
    "clip_id",
    [
        "",
        "/etc/passwd",
        "file:/etc/passwd",
        "file:../walk.mp4",
        "file:other.mp4",
        "upload:",
        "upload:../../etc/passwd",
        "sample:",
        "sample:nothing",
        "sample:../samples/gripper",
        "sample:/etc/passwd",
        "webcam:abc",
        "gripper",
    ],
)
def test_what_is_not_listed_is_not_found(catalogue: Catalogue, clip_id: str) -> None:
    with pytest.raises(NotFoundError):
        catalogue.locate(clip_id)


def test_everything_listed_can_be_located(catalogue: Catalogue) -> None:
    for clip_id in ids(catalogue):
        assert catalogue.locate(clip_id)


def test_a_file_that_cannot_be_a_source_is_refused_at_start(
    tmp_path: Path, temporary: Path
) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video " * 50)
    with pytest.raises(InputError):
        Catalogue([text], 1, 1.0)
    with pytest.raises(NotFoundError, match=r"missing\.mp4"):
        Catalogue([tmp_path / "missing.mp4"], 1, 1.0)
    walk = write_video(tmp_path / "walk.mp4", numbered(2))
    (tmp_path / "walk.txt").write_bytes(b"\xff\xfe\x00 no text")
    with pytest.raises(InputError, match=r"walk\.txt"):
        Catalogue([walk], 1, 1.0)
    assert entries(temporary) == []


def test_two_files_of_one_name_are_refused_rather_than_one_lost(
    tmp_path: Path, temporary: Path
) -> None:
    paths = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        paths.append(write_video(tmp_path / name / "same.mp4", numbered(2)))
    with pytest.raises(InputError, match=r"same\.mp4"):
        Catalogue(paths, 1, 1.0)


def test_a_folder_named_by_a_dot_has_a_name(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "stills"
    folder.mkdir()
    write_picture(folder / "a.png", np.zeros((32, 32, 3), np.uint8))
    monkeypatch.chdir(folder)
    catalogue = Catalogue([Path(".")], 1, 1.0)
    clip = catalogue.clips()[0]
    assert (clip.id, clip.title) == ("file:stills", "stills")
    catalogue.close()


def test_a_file_that_has_gone_takes_no_other_from_the_list(tmp_path: Path, temporary: Path) -> None:
    gone = write_video(tmp_path / "gone.mp4", numbered(2))
    stays = write_video(tmp_path / "stays.mp4", numbered(2))
    catalogue = Catalogue([gone, stays], 1, 1.0)
    gone.unlink()
    listed = ids(catalogue)
    assert "file:gone.mp4" not in listed
    assert "file:stays.mp4" in listed
    assert len(listed) == 1 + len(sample_names())
    catalogue.close()


# Uploads.


async def test_an_upload_can_be_listed_and_located(catalogue: Catalogue, video: bytes) -> None:
    clip = await catalogue.upload(pieces("My walk.mp4", video))
    assert clip.id.startswith("upload:")
    assert clip.title == "My walk.mp4"
    assert (clip.width_px, clip.height_px) == (80, 48)
    assert clip in catalogue.clips()
    assert content(catalogue, clip.id) == video


async def test_two_uploads_of_one_name_are_two(catalogue: Catalogue, video: bytes) -> None:
    first = await catalogue.upload(pieces("a.mp4", video))
    second = await catalogue.upload(pieces("a.mp4", video))
    assert first.id != second.id
    assert catalogue.locate(first.id) != catalogue.locate(second.id)


@pytest.mark.parametrize(
    "name",
    [
        "../../../escape.mp4",
        "/absolute/escape.mp4",
        "..",
        ".",
        "/",
        "a/../../b.mp4",
        "..\\..\\escape.mp4",
        "C:\\escape.mp4",
        "nul\0.mp4",
        "suffix.m\0p4",
        "line\nbreak.mp4",
        "no suffix",
        ".mp4",
        "x" * 5000 + ".mp4",
        "é" * 200 + ".mp4",
        "tail." + "é" * 200,
        "-rf.mp4",
    ],
)
async def test_a_name_cannot_lead_out_of_the_folder(
    catalogue: Catalogue, temporary: Path, video: bytes, name: str
) -> None:
    clip = await catalogue.upload(pieces(name, video))
    assert [Path(catalogue.locate(clip.id)).parent] == entries(temporary)
    assert content(catalogue, clip.id) == video
    assert len(clip.title) <= 80
    assert "/" not in clip.title
    assert clip.title
    catalogue.close()
    assert files_in(temporary) == []


async def refusal(catalogue: Catalogue, name: str | None, data: bytes) -> str:
    with pytest.raises(InputError) as refused:
        await catalogue.upload(pieces(name, data))
    return str(refused.value)


async def test_what_is_too_large_is_refused_and_removed(
    catalogue: Catalogue, temporary: Path
) -> None:
    sentence = await refusal(catalogue, "big.mp4", bytes(1_000_001))
    assert "big.mp4" in sentence
    assert "1 MB" in sentence
    assert str(temporary) not in sentence
    assert files_in(temporary) == []


async def test_what_is_too_large_is_refused_before_it_has_all_come(
    catalogue: Catalogue, temporary: Path
) -> None:
    sent = 0

    async def endless() -> AsyncIterator[transmitter_pb2.UploadClipRequest]:
        nonlocal sent
        yield transmitter_pb2.UploadClipRequest(file_name="endless.mp4")
        while True:
            sent += 100_000
            yield transmitter_pb2.UploadClipRequest(data=bytes(100_000))

    with pytest.raises(InputError, match="too large"):
        await catalogue.upload(endless())
    assert sent <= 1_100_000
    assert files_in(temporary) == []


async def test_an_upload_of_just_the_limit_is_taken(catalogue: Catalogue, video: bytes) -> None:
    padded = video + bytes(1_000_000 - len(video))
    clip = await catalogue.upload(pieces("full.mp4", padded, size=64_000))
    assert len(content(catalogue, clip.id)) == 1_000_000


async def test_what_is_no_video_is_refused_by_its_title_and_removed(
    catalogue: Catalogue, temporary: Path, tmp_path: Path, video: bytes
) -> None:
    bad = {
        "text.mp4": b"this is not a video\n" * 100,
        "empty.mp4": b"",
        "sound.m4a": write_sound(tmp_path / "s.m4a").read_bytes(),
        "cut.mp4": video[:200],
    }
    for title, data in bad.items():
        sentence = await refusal(catalogue, f"some/folder/{title}", data)
        assert title in sentence
        assert str(temporary) not in sentence
        assert "semcast-uploads" not in sentence
        assert "\n" not in sentence
    assert files_in(temporary) == []
    assert ids(catalogue) == [f"sample:{name}" for name in sample_names()]


async def test_an_upload_begins_with_its_name(catalogue: Catalogue, video: bytes) -> None:
    assert "file name" in await refusal(catalogue, None, video)
    assert "file name" in await refusal(catalogue, None, b"")


async def test_an_upload_that_breaks_off_leaves_nothing(
    catalogue: Catalogue, temporary: Path, video: bytes
) -> None:
    begun = asyncio.Event()

    async def hangs() -> AsyncIterator[transmitter_pb2.UploadClipRequest]:
        yield transmitter_pb2.UploadClipRequest(file_name="half.mp4")
        yield transmitter_pb2.UploadClipRequest(data=video[:500])
        begun.set()
        await asyncio.Event().wait()

    uploading = asyncio.create_task(catalogue.upload(hangs()))
    await begun.wait()
    uploading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await uploading
    assert files_in(temporary) == []
    assert len(ids(catalogue)) == len(sample_names())


async def test_a_removed_upload_is_gone(
    catalogue: Catalogue, temporary: Path, video: bytes
) -> None:
    clip = await catalogue.upload(pieces("a.mp4", video))
    catalogue.delete_upload(clip.id)
    assert files_in(temporary) == []
    for call in (catalogue.locate, catalogue.delete_upload):
        with pytest.raises(NotFoundError):
            call(clip.id)


def test_nothing_but_uploads_can_be_removed(tmp_path: Path, temporary: Path) -> None:
    path = write_video(tmp_path / "walk.mp4", numbered(2))
    catalogue = Catalogue([path], 1, 1.0)
    for clip_id in ("file:walk.mp4", "sample:gripper", str(path), "../walk.mp4"):
        with pytest.raises(NotFoundError):
            catalogue.delete_upload(clip_id)
    assert path.exists()
    catalogue.close()


async def test_closing_removes_the_folder(temporary: Path, video: bytes) -> None:
    catalogue = Catalogue([], 1, 1.0)
    await catalogue.upload(pieces("a.mp4", video))
    assert files_in(temporary)
    catalogue.close()
    assert entries(temporary) == []


# Expiry.


async def test_an_upload_not_used_for_long_is_removed(
    catalogue: Catalogue, temporary: Path, clock: Clock, video: bytes
) -> None:
    clip = await catalogue.upload(pieces("a.mp4", video))
    clock.now_s += HOUR_S - 1
    catalogue.expire(set())
    assert catalogue.locate(clip.id)
    clock.now_s += 2
    catalogue.expire(set())
    with pytest.raises(NotFoundError):
        catalogue.locate(clip.id)
    assert files_in(temporary) == []


async def test_looking_at_the_list_is_no_use(
    catalogue: Catalogue, temporary: Path, clock: Clock, video: bytes
) -> None:
    """A page that is left open lists the clips now and then; that keeps nothing alive."""
    await catalogue.upload(pieces("a.mp4", video))
    for _ in range(3):
        clock.now_s += 0.4 * HOUR_S
        catalogue.clips()
        catalogue.expire(set())
    assert files_in(temporary) == []


async def test_an_upload_in_use_is_kept_however_long(
    catalogue: Catalogue, temporary: Path, clock: Clock, video: bytes
) -> None:
    """A session that loops opens the file again at each pass."""
    clip = await catalogue.upload(pieces("a.mp4", video))
    other = await catalogue.upload(pieces("b.mp4", video))
    for _ in range(3):
        clock.now_s += 10 * HOUR_S
        catalogue.expire({clip.id, "sample:gripper"})
    assert catalogue.locate(clip.id)
    with pytest.raises(NotFoundError):
        catalogue.locate(other.id)
    # It was in use until now: its hour begins.
    clock.now_s += 0.9 * HOUR_S
    catalogue.expire(set())
    assert files_in(temporary)
    clock.now_s += 0.2 * HOUR_S
    catalogue.expire(set())
    assert files_in(temporary) == []


async def test_uploads_cannot_fill_the_disk(
    catalogue: Catalogue, temporary: Path, video: bytes
) -> None:
    padded = video + bytes(1_000_000 - len(video))
    with pytest.raises(CapacityError, match="delete one first"):
        for number in range(100):
            await catalogue.upload(pieces(f"{number}.mp4", padded, size=100_000))
    stored = sum(path.stat().st_size for path in files_in(temporary))
    assert stored <= 5_000_000
    assert stored % 1_000_000 == 0
    # Room is made by removing one.
    last = [clip for clip in catalogue.clips() if clip.id.startswith("upload:")][-1]
    catalogue.delete_upload(last.id)
    await catalogue.upload(pieces("again.mp4", video))
