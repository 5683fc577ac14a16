"""The packaged samples: whole, consistent with one another, small enough to carry."""

from pathlib import Path

import av
import numpy as np
import pytest

from semcast.errors import NotFoundError
from semcast.samples import sample_caption, sample_masks, sample_names, sample_path


def _packaged() -> list[str]:
    return ["gripper", "kitchen-pan", "tumble"]


def test_three_samples_are_packaged_under_4_mb() -> None:
    assert sample_names() == _packaged()
    folder = sample_path("gripper").parent
    files = [path for path in folder.iterdir() if path.suffix in {".mp4", ".txt", ".npz"}]
    assert len(files) == 9
    assert sum(path.stat().st_size for path in files) < 4_000_000


@pytest.mark.parametrize("name", _packaged())
def test_video_masks_and_caption_agree(name: str) -> None:
    with av.open(str(sample_path(name))) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        seconds = len(frames) / float(stream.average_rate)
    labels, names = sample_masks(name)
    assert 5 <= seconds <= 10
    assert labels.dtype == np.uint8
    assert labels.shape == (len(frames), *frames[0].shape[:2])
    assert min(frames[0].shape[:2]) >= 256
    assert labels.max() <= len(names)
    assert all(len(np.unique(frame)) > 3 for frame in labels), "objects in every frame"
    caption = sample_caption(name)
    assert caption.endswith(".") and "\n" not in caption and len(caption) > 40


@pytest.mark.parametrize("name", _packaged())
def test_masks_lie_on_the_pictures_edges(name: str) -> None:
    """Across mask borders the picture changes more than elsewhere: masks fit frame by frame."""
    labels, _ = sample_masks(name)
    with av.open(str(sample_path(name))) as container:
        for k, frame in enumerate(container.decode(video=0)):
            if k % 32:
                continue
            grey = frame.to_ndarray(format="gray").astype(float)
            change = np.abs(np.diff(grey, axis=1))
            border = np.diff(labels[k].astype(int), axis=1) != 0
            assert change[border].mean() > 2 * change[~border].mean()


@pytest.mark.parametrize("name", _packaged())
def test_something_moves_throughout(name: str) -> None:
    """Each second of the clip some object's outline moves (the camera alone would do that too)."""
    labels, _ = sample_masks(name)
    moved = [(a != b).mean() for a, b in zip(labels[:-16:16], labels[16::16], strict=True)]
    assert min(moved) > 0.01


def test_unknown_sample_names_the_known_ones() -> None:
    with pytest.raises(NotFoundError, match="'juggling'; choose one of gripper, kitchen-pan"):
        sample_path("juggling")
    assert isinstance(sample_path("tumble"), Path)
