"""Where the boundaries in a picture are, found without anybody's drawings, to learn sketches from.

Colours, and features of SqueezeNet's first layers, are sorted into a few dozen kinds per picture.
Kinds that occur side by side more often than chance belong together: their pointwise mutual
information is the affinity of neighbouring pixels (Isola et al., Crisp Boundary Detection, 2014).
The graph's first eigenvectors are flat within regions and steep between them (Shi & Malik's
normalised cuts; Arbeláez et al.'s spectral boundaries); multiplied with plain gradients, which know
the place to the pixel, they give the map. Texture is thus no boundary, a faint outline is one.

No human edge map and no edge network has part in this. About 0.4 s a picture on one core.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from semcast.metrics.weights import MetricWeights

Floats = NDArray[np.float32]

PMI_POWER = 1.25
"""rho of Isola et al.: of the joint probability, against the two single ones."""

NUM_EIGENVECTORS = 12
_COLOUR_KINDS, _FEATURE_KINDS = 32, 24
_FEATURE_WEIGHT = 0.5
_FEATURE_LAYERS = (4, 7)
"""SqueezeNet's second and fourth fire module: stride 4 and 8."""

_GRID_SCALE = 0.5
"""Size of the graph's grid, beside the picture's."""

_REACH = 4
"""Of the graph's edges, in positions of the grid."""

_SPECTRAL_SHARE = 0.55
_FAINTEST = 1.2
"""Strongest gradient (in Lab units a pixel) that still counts as a picture with full-strength
lines: in one with less, lines are fainter. Ours, so that empty walls stay empty."""

_SAVED_EVERY = 64


@dataclass(frozen=True)
class _Kinds:
    """kinds: intp [n], of each pixel. pmi: [k, k]. weight: of this view of the picture."""

    kinds: NDArray[np.intp]
    pmi: NDArray[np.float64]
    weight: float


def boundary_strength(rgb: NDArray[np.uint8]) -> Floats:
    """Strength of the boundary at every pixel, float32 [H, W], 0 to 1; soft, not thinned.

    rgb: uint8 [H, W, 3], sides about 200 to 500. Raises MetricUnavailableError without SqueezeNet.
    """
    spectral = np.clip(
        cv2.resize(_levelled(_spectral(rgb)), rgb.shape[1::-1], interpolation=cv2.INTER_CUBIC), 0, 1
    )
    gradient = _gradient(rgb)
    both = spectral**_SPECTRAL_SHARE * _levelled(gradient) ** (1 - _SPECTRAL_SHARE)
    presence = min(1.0, float(np.percentile(gradient, 99)) / _FAINTEST)
    return np.asarray(presence * np.clip(_levelled(both), 0, 1), np.float32)


def _levelled(strength: Floats) -> Floats:
    """Scaled so that a hundredth of the picture is at 1."""
    return np.clip(strength / (np.percentile(strength, 99) + 1e-6), 0, 1).astype(np.float32)


def _lab(rgb: NDArray[np.uint8]) -> Floats:
    return np.asarray(cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)


def _gradient(rgb: NDArray[np.uint8]) -> Floats:
    """Gradients of colour at three scales, together."""
    lab = _lab(rgb)
    total = np.zeros(rgb.shape[:2], np.float32)
    for sigma in (1.0, 2.0, 4.0):
        blurred = cv2.GaussianBlur(lab, (0, 0), sigma)
        dx = cv2.Sobel(blurred, cv2.CV_32F, 1, 0) / 8
        dy = cv2.Sobel(blurred, cv2.CV_32F, 0, 1) / 8
        total += np.sqrt((dx * dx + dy * dy).sum(2) * sigma)
    return total / 3


@cache
def _squeezenet() -> nn.Module:
    from safetensors.torch import load_file
    from torchvision.models import squeezenet1_1

    network = squeezenet1_1(weights=None)
    network.load_state_dict(load_file(MetricWeights.from_environment().squeezenet()))
    features: nn.Module = network.features.eval().requires_grad_(False)
    return features


def _features(rgb: NDArray[np.uint8]) -> list[Tensor]:
    """SqueezeNet's features, [1, C, h, w] each."""
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    x = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float() / 255
    x = nn.functional.pad((x - mean) / std, (4, 4, 4, 4), mode="reflect")
    layers: Any = _squeezenet()
    found = []
    with torch.no_grad():
        for index in range(_FEATURE_LAYERS[-1] + 1):
            x = layers[index](x)
            if index in _FEATURE_LAYERS:
                found.append(x)
    return found


def _spectral(rgb: NDArray[np.uint8]) -> Floats:
    """Boundaries between what the graph's eigenvectors tell apart, on the graph's grid."""
    grid = round(rgb.shape[0] * _GRID_SCALE), round(rgb.shape[1] * _GRID_SCALE)
    cv2.setRNGSeed(1)
    views = [_colour_kinds(rgb, grid)]
    for layer in _features(rgb):
        at_grid = nn.functional.interpolate(layer, size=grid, mode="bilinear", align_corners=False)[
            0
        ]
        values = np.sqrt(np.maximum(at_grid.flatten(1).T.numpy(), 0))
        values -= values.mean(0)
        basis = np.linalg.svd(values.T @ values)[0][:, :8]
        projected = values @ basis
        kinds, centres = _sorted_into_kinds(projected / (projected.std() + 1e-6), _FEATURE_KINDS)
        views.append(_Kinds(kinds, _pmi(kinds, centres, grid), _FEATURE_WEIGHT))
    return _between(*_eigenvectors(views, grid), grid)


def _colour_kinds(rgb: NDArray[np.uint8], grid: tuple[int, int]) -> _Kinds:
    """Lab and the contrast around a pixel."""
    lab = _lab(cv2.resize(rgb, grid[::-1], interpolation=cv2.INTER_AREA))
    light = lab[..., 0]
    variance = cv2.blur(light * light, (5, 5)) - cv2.blur(light, (5, 5)) ** 2
    contrast = 0.7 * np.sqrt(np.maximum(variance, 0))
    blurred = cv2.GaussianBlur(lab, (0, 0), 0.7)
    kinds, centres = _sorted_into_kinds(
        np.concatenate([blurred, contrast[..., None]], 2).reshape(-1, 4), _COLOUR_KINDS
    )
    return _Kinds(kinds, _pmi(kinds, centres, grid), 1.0)


def _sorted_into_kinds(values: Floats, count: int) -> tuple[NDArray[np.intp], Floats]:
    """k-means on every few values; kind of each, and the kinds' centres."""
    some = np.ascontiguousarray(values[:: max(1, len(values) // 6000)], np.float32)
    stop = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 12, 0.01)
    start = np.zeros((len(some), 1), np.int32)
    _, _, centres = cv2.kmeans(some, count, start, stop, 1, cv2.KMEANS_PP_CENTERS)
    distance = (centres**2).sum(1) - 2 * values @ centres.T
    return distance.argmin(1), centres


def _pairs() -> list[tuple[int, int]]:
    """Half of all steps (down, right) of at most `_REACH` positions."""
    return [
        (dy, dx)
        for dy in range(_REACH + 1)
        for dx in range(-_REACH, _REACH + 1)
        if (dy > 0 or dx > 0) and dy * dy + dx * dx <= _REACH**2
    ]


def _ends(plane: NDArray[np.intp], dy: int, dx: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The two ends of all pairs that lie (dy, dx) apart."""
    height, width = plane.shape
    first = plane[: height - dy, max(0, -dx) : width - max(0, dx)]
    second = plane[dy:, max(0, dx) : width + min(0, dx)]
    return first.ravel(), second.ravel()


def _pmi(kinds: NDArray[np.intp], centres: Floats, grid: tuple[int, int]) -> NDArray[np.float64]:
    """log(P(a, b)^rho / P(a) P(b)) of kinds side by side, their counts blurred to like kinds."""
    count = len(centres)
    joint = np.zeros((count, count))
    for dy, dx in _pairs():
        first, second = _ends(kinds.reshape(grid), dy, dx)
        counted = np.bincount(first * count + second, minlength=count * count)
        joint += np.exp(-(dy * dy + dx * dx) / 18) * counted.reshape(count, count)
    joint += joint.T
    apart = ((centres[:, None] - centres[None]).astype(np.float64) ** 2).sum(-1)
    nearest = float(np.median(np.sort(apart, 1)[:, 1]))
    blur = np.exp(-apart / (nearest + 1e-6))
    blur /= blur.sum(1, keepdims=True)
    joint = blur.T @ joint @ blur
    joint = joint / joint.sum() + 1e-7
    single = joint.sum(1)
    return np.asarray(np.log(joint**PMI_POWER / np.outer(single, single)))


def _eigenvectors(
    views: list[_Kinds], grid: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Smallest eigenvalues but the first, and their vectors [n, k], of the normalised Laplacian."""
    from scipy import sparse
    from scipy.sparse.linalg import ArpackNoConvergence, eigsh

    index = np.arange(grid[0] * grid[1]).reshape(grid)
    ends = [_ends(index, dy, dx) for dy, dx in _pairs()]
    first = np.concatenate([a for a, _ in ends])
    second = np.concatenate([b for _, b in ends])
    score = sum(v.weight * v.pmi[v.kinds[first], v.kinds[second]] for v in views)
    affinity = np.exp(np.minimum(score, np.percentile(score, 99)))
    graph = sparse.coo_matrix((affinity, (first, second)), shape=(index.size, index.size)).tocsr()
    graph = graph + graph.T
    degree = np.asarray(graph.sum(1)).ravel()
    scale = sparse.diags(1 / np.sqrt(degree))
    start = np.random.default_rng(1).standard_normal(index.size)
    try:
        found, vectors = eigsh(
            scale @ graph @ scale, NUM_EIGENVECTORS, which="LA", tol=3e-3, ncv=40, v0=start
        )
    except ArpackNoConvergence as error:  # fewer are enough
        found, vectors = error.eigenvalues, error.eigenvectors
    order = np.argsort(-found)[1:]
    return 1 - found[order], (vectors / np.sqrt(degree)[:, None])[:, order]


def _between(
    values: NDArray[np.float64], vectors: NDArray[np.float64], grid: tuple[int, int]
) -> Floats:
    """Steepness of all eigenvectors together, in the direction where it is greatest."""
    turned = np.zeros((8, *grid), np.float32)
    for value, vector in zip(values, vectors.T, strict=True):
        plane = vector.reshape(grid).astype(np.float32)
        plane = cv2.GaussianBlur(plane / (np.ptp(plane) + 1e-9), (0, 0), 0.8)
        dx = cv2.Sobel(plane, cv2.CV_32F, 1, 0) / 8
        dy = cv2.Sobel(plane, cv2.CV_32F, 0, 1) / 8
        for k in range(8):
            angle = np.pi * k / 8
            steep = np.abs(np.cos(angle) * dx + np.sin(angle) * dy)
            turned[k] += steep / np.sqrt(max(value, 1e-5))
    return np.asarray(turned.max(0), np.float32)


def boundaries_of(pictures: Sequence[NDArray[np.uint8]], kept: Path) -> NDArray[np.uint8]:
    """`boundary_strength` of equally large pictures, uint8 [n, H, W], 255 strongest.

    kept: a file of what was found before, by digest of the picture; it grows by what is new.
    """
    found: dict[str, NDArray[np.uint8]] = {}
    if kept.is_file():
        with np.load(kept) as stored:
            found = {name: stored[name] for name in stored}
    digests = [hashlib.sha256(np.ascontiguousarray(p)).hexdigest()[:24] for p in pictures]
    new = {d: p for d, p in zip(digests, pictures, strict=True) if d not in found}
    bar = tqdm(total=len(new), desc="boundaries", unit="picture", disable=len(new) < 8)
    names = list(new)
    with bar, ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="boundaries") as pool:
        for start in range(0, len(names), _SAVED_EVERY):
            batch = names[start : start + _SAVED_EVERY]
            for name, strength in zip(
                batch, pool.map(boundary_strength, [new[d] for d in batch]), strict=True
            ):
                levels = np.rint(255 * strength).astype(np.uint8)
                found[name] = cv2.imencode(".png", levels)[1].ravel()
                bar.update()
            _keep(found, kept)
    return np.stack([cv2.imdecode(found[d], cv2.IMREAD_GRAYSCALE) for d in digests])


def _keep(found: Mapping[str, NDArray[np.uint8]], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"partial-{path.name}")
    with partial.open("wb") as file:
        np.savez(file, **found)  # type: ignore[arg-type]
    partial.replace(path)
