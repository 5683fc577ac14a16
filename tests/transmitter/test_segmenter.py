"""The bundled segmenter finds objects of real and simulated clips, live, and says so plainly."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from semcast.errors import NotFoundError
from semcast.samples import sample_masks, sample_path
from training.data import open_library
from transmitter.extractors.object_motion import backward_flow, camera_flow, segmenter_planes
from transmitter.extractors.segmenter import BundledSegmenter, masks_of, open_segmenter
from transmitter.extractors.segmenter_network import (
    IN_PLANES,
    OUT_PLANES,
    SegmenterNetwork,
    fold,
)
from transmitter.extractors.working_size import WORKING_AREA, working_size
from transmitter.sources import read_clip

torch = pytest.importorskip("torch")

DAVIS_VAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "masks" / "davis" / "val"


@pytest.fixture(scope="module")
def tumble() -> NDArray[np.uint8]:
    """Twelve frames of a bundled sample, [12, 256, 256, 3]."""
    clip = str(sample_path("tumble"))
    return np.stack([f.rgb for f in read_clip(clip, fps=8.0, width=256, height=256, max_frames=12)])


@pytest.fixture(scope="module")
def segmenter() -> BundledSegmenter:
    return BundledSegmenter()


def _labels(segmenter: BundledSegmenter, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    segmenter.reset()
    return np.stack([segmenter.segment(frame) for frame in frames])


def test_labels_are_deterministic_and_causal(
    segmenter: BundledSegmenter, tumble: NDArray[np.uint8]
) -> None:
    whole = _labels(segmenter, tumble)
    assert whole.shape == tumble.shape[:3]
    assert whole.dtype == np.uint8
    assert whole.max() <= 15
    changed = tumble.copy()
    changed[6:] = 255 - changed[6:]
    assert np.array_equal(_labels(BundledSegmenter(), changed)[:6], whole[:6])


def test_it_finds_the_objects_of_a_simulated_scene(segmenter: BundledSegmenter) -> None:
    """Most of what is labelled is of an object, and most of the objects' area is found."""
    labels, _ = sample_masks("tumble")
    clip = str(sample_path("tumble"))
    frames = [f.rgb for f in read_clip(clip, fps=16.0, width=384, height=384, max_frames=24)]
    found = _labels(segmenter, np.stack(frames))[8:] > 0
    truth = labels[8:24] > 0
    overlap = (found & truth).sum() / (found | truth).sum()
    assert overlap > 0.35


def test_nothing_is_found_in_an_even_picture(segmenter: BundledSegmenter) -> None:
    grey = np.full((4, 256, 256, 3), 118, np.uint8)
    assert not _labels(segmenter, grey).any()


def test_another_size_begins_anew(segmenter: BundledSegmenter, tumble: NDArray[np.uint8]) -> None:
    _labels(segmenter, tumble[:3])
    wide = np.ascontiguousarray(tumble[0, 40:168])
    after = segmenter.segment(wide)
    assert after.shape == (128, 256)
    assert np.array_equal(after, _labels(BundledSegmenter(), wide[None])[0])


@pytest.mark.slow
def test_main_object_of_davis(segmenter: BundledSegmenter) -> None:
    """Not to get worse: 0.33 when this was written. The bar of issue 4, 0.6, is not reached."""
    if not DAVIS_VAL.is_dir():
        pytest.skip("needs shared/data/masks/davis/val")
    library = open_library(DAVIS_VAL, max_fps=8.0)
    scores = []
    for shot in (*library.train, *library.val):
        assert shot.labels is not None
        main = _labels(segmenter, shot.frames) == 1
        truth = shot.labels > 0
        either = (main | truth).sum((1, 2))
        scores.append(float(((main & truth).sum((1, 2)) / np.maximum(either, 1)).mean()))
    assert len(scores) == 3
    assert np.mean(scores) > 0.25


def test_masks_cut_along_outlines() -> None:
    probabilities = np.zeros((3, 96, 96), np.float32)
    probabilities[0, 20:70, 20:76] = 0.9
    probabilities[2] = probabilities[0]
    masks, scores = masks_of(probabilities)
    assert len(masks) == 1
    assert scores[0] == pytest.approx(0.9, abs=1e-5)
    probabilities[1, 20:70, 46:48] = 0.9
    masks, _ = masks_of(probabilities)
    assert len(masks) == 2
    assert np.array_equal(masks.any(0), probabilities[0] > 0)
    assert masks.sum(0).max() == 1


def test_neighbours_that_move_alike_are_one_object() -> None:
    probabilities = np.zeros((3, 96, 96), np.float32)
    probabilities[0, 20:70, 20:46] = probabilities[0, 20:70, 50:76] = 0.9
    own = np.zeros((96, 96, 2), np.float32)
    assert len(masks_of(probabilities, own)[0]) == 2
    own[20:70, 20:76, 0] = 3.0
    masks, _ = masks_of(probabilities, own)
    assert len(masks) == 1
    assert masks[0, 45, 47] == 1, "the gap between them belongs to it"
    own[20:70, 50:76, 0] = -3.0
    assert len(masks_of(probabilities, own)[0]) == 2


def test_camera_motion_is_what_most_of_the_picture_does() -> None:
    rng = np.random.default_rng(1)
    picture = np.repeat(np.repeat(rng.integers(0, 255, (30, 30)), 8, 0), 8, 1).astype(np.uint8)
    before, now = picture[20:196, 20:196].copy(), picture[20:196, 17:193].copy()
    now[60:110, 60:110] = picture[85:135, 85:135]  # an object that stays where it was
    before[60:110, 60:110] = picture[85:135, 85:135]
    flow = backward_flow(now, before)
    camera = camera_flow(flow)
    assert np.allclose(np.median(camera, axis=(0, 1)), (-3, 0), atol=0.2)
    own = np.abs(flow - camera)[..., 0]
    assert np.median(own[70:100, 70:100]) > 2.5
    assert np.median(own[:50]) < 0.3


def test_a_first_frame_has_no_motion() -> None:
    planes = segmenter_planes(np.full((32, 32, 3), 255, np.uint8), None)
    assert planes.shape == (IN_PLANES, 32, 32)
    assert planes[:3].min() == 1.0
    assert not planes[3:].any()


def test_folding_changes_nothing() -> None:
    torch.manual_seed(0)
    network = SegmenterNetwork((8, 12, 16, 24))
    x = torch.randn(2, IN_PLANES, 48, 64)
    with torch.no_grad():
        for _ in range(3):
            network(x)  # running statistics
        network.eval()
        expected = network(x)
        fold(network)
        assert expected.shape == (2, OUT_PLANES, 48, 64)
        assert torch.allclose(network(x), expected, atol=1e-4)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())


@pytest.mark.parametrize("size", [(256, 256), (1024, 512), (570, 320), (320, 568)])
def test_working_size_keeps_area_and_shape(size: tuple[int, int]) -> None:
    width, height = working_size(*size)
    assert width % 16 == height % 16 == 0
    assert 0.8 < width * height / WORKING_AREA < 1.25
    assert 0.85 < (width / height) / (size[0] / size[1]) < 1.18


def test_unknown_segmenters_are_named() -> None:
    with pytest.raises(NotFoundError, match="bundled"):
        open_segmenter("nonsense")
