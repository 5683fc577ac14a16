"""Segmenters of the hub: from frames to labels, with tiny networks that were taught one scene."""

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_segmenters import save_mask2former, save_sam2, save_segformer

from semcast.errors import NotFoundError, UnavailableError
from semcast.hub import HUB_MODELS, HubUse
from transmitter.extractors.hub_segmenters import (
    HubSegmenter,
    Mask2FormerMasks,
    Sam2Masks,
    SegformerMasks,
    load_hub_segmenter,
)
from transmitter.extractors.segmenter import SEGMENTERS

WIDTH, HEIGHT = 96, 64


def scene(x: int, y: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """A red box on grey, and which pixels it covers."""
    rgb = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    box = np.zeros((HEIGHT, WIDTH), np.int64)
    box[y : y + 24, x : x + 32] = 1
    rgb[box == 1] = (230, 40, 40)
    return rgb, box


SCENES = [scene(8, 20), scene(52, 8)]
BOXES = torch.from_numpy(np.stack([box for _, box in SCENES]))


def segformer_loss(network: Any, pixels: torch.Tensor) -> torch.Tensor:
    return network(pixel_values=pixels, labels=BOXES).loss


def mask2former_loss(network: Any, pixels: torch.Tensor) -> torch.Tensor:
    masks = [box[None].float() for box in BOXES]
    classes = [torch.tensor([0]) for _ in SCENES]
    return network(pixel_values=pixels, mask_labels=masks, class_labels=classes).loss


def sam2_loss(network: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Wherever it is asked, it is to show the box, and be sure of it."""
    points = torch.rand(len(SCENES), 4, 1, 2, generator=torch.Generator().manual_seed(1)) * 128
    output = network(pixel_values=pixels, input_points=points)
    wanted = torch.nn.functional.interpolate(
        BOXES[:, None].float(), size=output.pred_masks.shape[-2:]
    )[:, :, None].expand_as(output.pred_masks)
    wrong = torch.nn.functional.binary_cross_entropy_with_logits(output.pred_masks, wanted)
    return wrong + ((output.iou_scores - 0.95) ** 2).mean()


NETWORKS = {
    "segformer": (save_segformer, SegformerMasks, {"long_side_px": 96}, segformer_loss, 45, 1e-2),
    "sam2": (save_sam2, Sam2Masks, {"grid": 3}, sam2_loss, 45, 5e-3),
    "mask2former": (
        save_mask2former,
        Mask2FormerMasks,
        {"long_side_px": 96},
        mask2former_loss,
        35,
        5e-3,
    ),
}


def taught(name: str, folder: Path) -> Any:
    """A network that knows both scenes by heart."""
    save, kind, options, loss_of, steps, rate = NETWORKS[name]
    network = kind(save(folder), device="cpu", **options)
    inner = network._network._network.train()
    size = (128, 128) if name == "sam2" else (WIDTH, HEIGHT)
    pixels = torch.cat([network._network.pixels(rgb, size) for rgb, _ in SCENES])
    optimizer = torch.optim.Adam(inner.parameters(), lr=rate)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for _ in range(steps):
            loss = loss_of(inner, pixels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    inner.eval()
    return network


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_that_was_taught_two_scenes_labels_them(name: str, tmp_path: Path) -> None:
    """So pixels, prompts and outputs pass through the real network, and the tracker takes them."""
    network = taught(name, tmp_path)
    for rgb, box in SCENES:
        masks, scores = network.masks(rgb)
        assert masks.shape[0] == len(scores) == 1
        full = cv2.resize(masks[0], (WIDTH, HEIGHT)) > 0.5
        assert iou(full, box == 1) > 0.6
        segmenter = HubSegmenter(network)
        labels = [segmenter.segment(rgb) for _ in range(3)]
        assert all(frame.dtype == np.uint8 and frame.shape == box.shape for frame in labels)
        assert set(np.unique(labels[-1])) == {0, 1}
        assert iou(labels[-1] == 1, box == 1) > 0.5


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", [(64, 64), (90, 160), (200, 120)])
def test_frames_of_any_shape_have_labels(name: str, shape: tuple[int, int], tmp_path: Path) -> None:
    save, kind, options, *_ = NETWORKS[name]
    segmenter = HubSegmenter(kind(save(tmp_path), device="cpu", **options))
    rgb = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    first = segmenter.segment(rgb)
    assert first.shape == shape
    assert first.max() <= 15
    segmenter.reset()
    np.testing.assert_array_equal(segmenter.segment(rgb), first)


def test_a_pulled_segmenter_is_loaded_by_name(tmp_path: Path) -> None:
    model = HUB_MODELS["segformer-b0"]
    repository = "models--" + model.repository.replace("/", "--")
    folder = tmp_path / "cache" / repository / "snapshots" / model.revision
    shutil.copytree(save_segformer(tmp_path / "tiny"), folder)
    segmenter = load_hub_segmenter("segformer-b0", tmp_path / "cache")
    assert segmenter.segment(SCENES[0][0]).shape == (HEIGHT, WIDTH)
    (folder / "model.safetensors").unlink()
    with pytest.raises(UnavailableError, match="cannot be loaded"):
        load_hub_segmenter("segformer-b0", tmp_path / "cache")


def test_every_segmenter_of_the_table_can_be_asked_for(tmp_path: Path) -> None:
    names = [model.name for model in HUB_MODELS.values() if model.use is HubUse.SEGMENTER]
    assert set(names) <= set(SEGMENTERS)
    for name in names:
        with pytest.raises(UnavailableError, match=f"semcast models pull {name}"):
            load_hub_segmenter(name, tmp_path)
    with pytest.raises(NotFoundError, match="No segmenter 'smolvlm-256m'"):
        load_hub_segmenter("smolvlm-256m", tmp_path)
