"""Frames to an mp4 and back."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from semcast.cli.video_file import VideoFile
from semcast.errors import InputError


def write(path: Path, frames: list[NDArray[np.uint8]], fps: float = 8.0) -> Path:
    height, width = frames[0].shape[:2]
    with VideoFile(path, width=width, height=height, fps=fps) as file:
        for frame in frames:
            file.add(frame)
    return path


def read(path: Path) -> tuple[list[NDArray[np.uint8]], float]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert stream.average_rate is not None
        return frames, float(stream.average_rate)


def soft_pictures(count: int, width: int, height: int) -> list[NDArray[np.uint8]]:
    """Smooth colours that change from picture to picture."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return [
        np.stack([200 * x + 4 * k, 200 * y + 4 * k, 200 * (1 - x) + 0 * y], axis=-1).astype(
            np.uint8
        )
        for k in range(count)
    ]


@pytest.mark.parametrize(("width", "height"), [(64, 48), (256, 256), (16, 16), (98, 50)])
def test_frames_come_back_as_many_as_large_and_nearly_as_they_were(
    tmp_path: Path, width: int, height: int
) -> None:
    frames = soft_pictures(7, width, height)
    back, fps = read(write(tmp_path / "v.mp4", frames))
    assert len(back) == 7
    assert fps == pytest.approx(8.0)
    for frame, again in zip(frames, back, strict=True):
        assert again.shape == frame.shape
        # Half the chroma resolution costs more the steeper the colours are.
        assert np.abs(again.astype(int) - frame).mean() < 1.5 + 80 / min(width, height)


@pytest.mark.parametrize("colour", [(200, 40, 30), (20, 180, 40), (30, 50, 210)])
def test_colours_are_those_of_the_frames(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    """A file that does not say its matrix turns red into another red in players."""
    frames = [np.full((64, 64, 3), colour, np.uint8)] * 3
    back, _ = read(write(tmp_path / "v.mp4", frames))
    assert np.abs(back[1].mean((0, 1)) - colour).max() < 4


@pytest.mark.parametrize("fps", [0.0001, 0.5, 1.0, 7.5, 23.976, 29.97, 120.0])
def test_any_rate_a_session_can_have_can_be_written(tmp_path: Path, fps: float) -> None:
    back, rate = read(write(tmp_path / "v.mp4", soft_pictures(3, 32, 32), fps))
    assert len(back) == 3
    if fps >= 0.5:
        assert rate == pytest.approx(fps, rel=1e-3)


def test_a_file_of_no_frames_breaks_nothing(tmp_path: Path) -> None:
    with VideoFile(tmp_path / "v.mp4", width=32, height=32, fps=8.0):
        pass


@pytest.mark.parametrize("name", ["v.avi", "v", "v.mp4.txt"])
def test_only_mp4_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"\.mp4"):
        VideoFile(tmp_path / name, width=32, height=32, fps=8.0)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    for path in (tmp_path / "folder.mp4", tmp_path / "missing" / "v.mp4"):
        with pytest.raises(InputError, match="cannot be written"):
            VideoFile(path, width=32, height=32, fps=8.0)


def test_a_failure_on_the_way_leaves_the_failure_and_closes_the_file(tmp_path: Path) -> None:
    class OursError(Exception):
        pass

    with pytest.raises(OursError), VideoFile(tmp_path / "v.mp4", width=32, height=32, fps=8) as f:
        f.add(soft_pictures(1, 32, 32)[0])
        raise OursError
