"""What cannot be a clip: one sentence, of the right kind, before anything plays."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from clip_files import numbered, quadrants, write_picture, write_sound, write_video

from semcast.errors import InputError, NotFoundError
from transmitter.sources import probe_clip, read_clip


def text_as_mp4(folder: Path) -> Path:
    path = folder / "text.mp4"
    path.write_text("This is no video.\n" * 50)
    return path


def garbage(folder: Path) -> Path:
    path = folder / "garbage.mp4"
    path.write_bytes(np.random.default_rng(0).bytes(100_000))
    return path


def empty(folder: Path) -> Path:
    path = folder / "empty.mp4"
    path.touch()
    return path


def text_file(folder: Path) -> Path:
    """FFmpeg would draw it."""
    path = folder / "notes.txt"
    path.write_text("Some notes.\n" * 50)
    return path


def no_index(folder: Path) -> Path:
    """An mp4 that was being written when the power went: no moov box."""
    whole = write_video(folder / "whole.mp4", numbered(30))
    path = folder / "cut.mp4"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    return path


def index_only(folder: Path) -> Path:
    """An mp4 with its index in front and not one picture after it."""
    whole = write_video(
        folder / "whole.mp4", numbered(30), container_options={"movflags": "faststart"}
    )
    content = whole.read_bytes()
    path = folder / "index.mp4"
    path.write_bytes(content[: content.index(b"mdat") + 8])
    return path


def one_pixel(folder: Path) -> Path:
    return write_video(
        folder / "one.mkv", [np.zeros((1, 1, 3), np.uint8)] * 3, codec="ffv1", pixel_format="bgr0"
    )


def long_and_thin(folder: Path) -> Path:
    return write_picture(folder / "thin.png", np.zeros((15, 400, 3), np.uint8))


def empty_folder(folder: Path) -> Path:
    path = folder / "folder"
    path.mkdir()
    (path / "readme.txt").write_text("no pictures")
    (path / "clip.mp4").write_bytes(b"x")
    return path


def pipe(folder: Path) -> Path:
    path = folder / "pipe.mp4"
    os.mkfifo(path)
    return path


def device(folder: Path) -> Path:
    return Path("/dev/zero")


def playlist(folder: Path) -> Path:
    """It would make FFmpeg read another file, or another host."""
    segment = write_video(folder / "segment.ts", numbered(30))
    path = folder / "list.m3u8"
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:2,\n{segment}\n#EXT-X-ENDLIST\n")
    return path


def script(folder: Path) -> Path:
    write_video(folder / "part.mp4", numbered(10))
    path = folder / "script.ffconcat"
    path.write_text("ffconcat version 1.0\nfile part.mp4\n")
    return path


def sound_only(folder: Path) -> Path:
    return write_sound(folder / "sound.mp4")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (text_as_mp4, "not a video"),
        (garbage, "not a video"),
        (empty, "empty file"),
        (text_file, "text file"),
        (no_index, "cut off"),
        (index_only, "cut off"),
        (sound_only, "only sound"),
        (one_pixel, "1x1 pixels, which is too small"),
        (long_and_thin, "400x15 pixels, which is too small"),
        (empty_folder, "holds no pictures"),
        (pipe, "device, pipe or socket"),
        (device, "device, pipe or socket"),
        (playlist, "playlist"),
        (script, "playlist"),
    ],
)
def test_files_that_are_no_clips(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], make: Callable[[Path], Path], words: str
) -> None:
    path = make(tmp_path)
    capfd.readouterr()
    for call in (
        lambda: probe_clip(str(path)),
        lambda: read_clip(str(path), fps=8, width=32, height=32),
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert words in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1
        assert not isinstance(caught.value, NotFoundError)
    assert capfd.readouterr().err == "", "FFmpeg's own chatter belongs nowhere"


@pytest.mark.parametrize(
    "clip", ["missing.mp4", "no/such/folder/a.mp4", "http://a.invalid/b.mp4", "concat:a.mp4"]
)
def test_what_does_not_exist(clip: str) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        probe_clip(clip)


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(NotFoundError):
        probe_clip(str(tmp_path / "a.mp4" / "b.mp4"))
    (tmp_path / "dangling.mp4").symlink_to(tmp_path / "nowhere")
    with pytest.raises(NotFoundError):
        probe_clip(str(tmp_path / "dangling.mp4"))


@pytest.mark.parametrize("clip", ["", "a\0b.mp4", "x" * 5000])
def test_names_that_are_no_names(clip: str) -> None:
    with pytest.raises(InputError) as caught:
        probe_clip(clip)
    assert len(str(caught.value)) < 400


def test_a_name_cannot_break_the_line(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        probe_clip(str(tmp_path / "a\nb\x1b[31m.mp4"))
    assert str(caught.value).isprintable()


def test_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # socket names are short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("clip.mp4")
        with pytest.raises(InputError, match="socket"):
            probe_clip("clip.mp4")


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    path = tmp_path / "clip.mp4"
    if kind == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"x")
    path.chmod(0)
    if os.geteuid() == 0:  # root may read everything; then the system's answer is stood in for
        monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="may not be read"):
        probe_clip(str(path))
    path.chmod(0o700)


def test_a_picture_too_large_to_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_picture(tmp_path / "large.png", quadrants(200, 300))
    monkeypatch.setattr("transmitter.sources.rendering.MAX_SOURCE_PIXELS", 50_000)
    with pytest.raises(InputError, match="300x200 pixels, which is too large"):
        probe_clip(str(path))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fps": 0.0}, "frames per second"),
        ({"fps": -8.0}, "frames per second"),
        ({"fps": float("nan")}, "frames per second"),
        ({"fps": 121.0}, "frames per second"),
        ({"width": 15}, "size"),
        ({"height": 33}, "size"),
        ({"max_frames": 0}, "at least one"),
    ],
)
def test_sessions_that_cannot_be(tmp_path: Path, options: dict[str, float], words: str) -> None:
    path = write_video(tmp_path / "a.mp4", numbered(3))
    with pytest.raises(InputError, match=words):
        read_clip(str(path), **{"fps": 8.0, "width": 32, "height": 32, **options})
