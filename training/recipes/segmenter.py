"""The network that finds objects: DAVIS's masks, simulated scenes, and what teachers see.

Thirteen sequences with masks are few, so most of what the network learns of shapes it learns from
`training.teachers`, and most of what it learns of motion from objects cut out of one clip and moved
over another: the pair of pictures, and so the flow between them, is then composed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from semcast.errors import InputError
from training.data import DAVIS, TRAIN, Library, Shot, open_library, recoloured
from training.recipe import Batch, Losses, Progress, Recipe, RecipeSettings
from training.sheets import contact_sheet
from training.teachers import LABELS_DIR, read_labels
from transmitter.extractors.object_motion import motion_between, segmenter_planes
from transmitter.extractors.segmenter_network import (
    DEFAULT_WIDTHS,
    FIRST_KIND,
    KINDS,
    MAIN,
    OUTLINE,
    SegmenterNetwork,
)
from transmitter.extractors.working_size import working_size

_SCENES_DIR = Path("out") / "training" / "scenes"
"""Where `training.pack --simulated` renders scenes; it is not imported, since it needs PyAV."""

_STORED_SHORT_SIDE = 208
_DAVIS_FPS = 24.0
_MEASURED_EVERY = 5
_MAX_SPEED_S = 0.15
"""Frames of a pair are at most this far apart."""

_FIRST_FRAME_SHARE = 0.12
_THING = KINDS.index("thing")
_CLIP_SHARES = {"davis": 6, "scene": 3, "teacher": 7}
"""Of a batch, on average."""

_TEACHERS_CUT = 0.4
"""Of the objects that are cut out, how many are cut along what teachers see."""

_PASTE_SHARE = {"davis": 0.4, "scene": 0.25, "teacher": 0.6}


class SegmenterSettings(RecipeSettings):
    """Numbers of the segmenter's training."""

    size: int = Field(160, ge=32, le=1024, multiple_of=16, description="Side of a training crop.")
    learning_rate: float = Field(3e-3, gt=0, le=1, description="Peak of the schedule.")
    weight_decay: float = Field(0.02, ge=0, description="AdamW's.")
    ema_decay: float = Field(0.998, ge=0, lt=1, description="Of the weights that are kept.")
    held_out: str = Field(
        "camel,car-roundabout,dance-twirl", description="Clips with masks to measure on."
    )
    all_clips: bool = Field(False, description="Train on the held-out clips too: the last run.")
    colour: float = Field(0.35, ge=0, le=1, description="Strength of changes of colour.")


@dataclass(frozen=True)
class _Clip:
    """One shot, made small. labels: uint8 [F, h, w]; kinds: uint8 [F, rows, columns, K], 255ths.

    origin: "davis" (one main object), "scene" (every object), "teacher" (kinds only).
    """

    name: str
    origin: str
    frames: NDArray[np.uint8]
    fps: float
    labels: NDArray[np.uint8] | None
    kinds: NDArray[np.uint8] | None


@dataclass
class _Pair:
    """A picture and the one before, with what is to be learned of the first; all [h, w].

    objects: instance numbers, 0 none. main, main_weight, outline_weight: float32.
    kinds: float32 [h, w, K]. kinds_weight: float32.
    """

    now: NDArray[np.uint8]
    before: NDArray[np.uint8]
    objects: NDArray[np.uint8]
    main: NDArray[np.float32]
    main_weight: NDArray[np.float32]
    outline_weight: NDArray[np.float32]
    kinds: NDArray[np.float32]
    kinds_weight: NDArray[np.float32]


class Segmenter(Recipe):
    """Objects and their outlines, from a picture and its motion."""

    name: ClassVar[str] = "segmenter"
    title: ClassVar[str] = "Segmenter: main object, outlines, kinds"
    weights_name: ClassVar[str] = "segmenter"
    settings_class: ClassVar[type[RecipeSettings]] = SegmenterSettings
    folders: ClassVar[tuple[str, ...]] = (TRAIN,)
    settings: SegmenterSettings

    def __init__(self, settings: SegmenterSettings, library: Library, device: torch.device) -> None:
        """Raises InputError where no clip has masks, or none of those to measure on is there."""
        super().__init__(settings, library, device)
        names = set(settings.held_out.split(","))
        clips = _all_clips(library)
        held_out = [clip for clip in clips if clip.origin != "teacher" and clip.name in names]
        if not held_out:
            held_out = [clip for clip in _small(library.val, "davis") if clip.labels is not None]
        if not settings.all_clips:
            clips = [clip for clip in clips if clip.name.removeprefix("mathlee-") not in names]
        self._clips = {
            origin: [clip for clip in clips if clip.origin == origin] for origin in _CLIP_SHARES
        }
        with_masks = [clip for clip in clips if clip.labels is not None]
        self._cuttable = with_masks, [clip for clip in clips if clip.origin == "teacher"]
        if not with_masks or not held_out:
            raise InputError("The segmenter needs clips with masks, to train and to measure on.")
        self._held_out = held_out
        counts = {origin: len(found) for origin, found in self._clips.items() if found}
        self.library = replace(
            library,
            train=(),
            sources=(
                *library.sources,
                *(f"{origin}: {count} shots" for origin, count in counts.items()),
                "teachers of kinds: DeepLabv3-MobileNetV2 (google-coral/test_data, Apache-2.0), "
                "SINet portrait (MIT)",
            ),
        )

    def build(self) -> nn.Module:
        """At random."""
        return SegmenterNetwork()

    def config(self) -> dict[str, Any]:
        """Widths of the network."""
        return {"widths": list(DEFAULT_WIDTHS)}

    def draw(self, rng: np.random.Generator) -> Batch:
        """planes [B, 6, h, w]; targets [B, 3 + K, h, w]; weights [B, 3, h, w], float32."""
        origins = [origin for origin in _CLIP_SHARES if self._clips[origin]]
        shares = np.array([_CLIP_SHARES[origin] for origin in origins], float)
        planes, targets, weights = [], [], []
        for _ in range(self.settings.batch_size):
            origin = origins[rng.choice(len(origins), p=shares / shares.sum())]
            clips = self._clips[origin]
            pair = _draw_pair(clips[rng.integers(len(clips))], self.settings.size, rng)
            pair.now, pair.before = recoloured((pair.now, pair.before), self.settings.colour, rng)
            if rng.random() < _PASTE_SHARE[origin]:
                for _ in range(1 + (rng.random() < 0.4)):
                    with_masks, others = self._cuttable
                    sources = others if others and rng.random() < _TEACHERS_CUT else with_masks
                    source = sources[rng.integers(len(sources))]
                    _paste(pair, source, self.settings.colour, rng)
            _spoil(pair, rng)
            planes.append(_planes(pair, rng))
            targets.append(_targets(pair))
            weights.append(np.stack([pair.main_weight, pair.outline_weight, pair.kinds_weight]))
        return {
            "planes": torch.from_numpy(np.stack(planes)).contiguous(
                memory_format=torch.channels_last
            ),
            "targets": torch.from_numpy(np.stack(targets)),
            "weights": torch.from_numpy(np.stack(weights)),
        }

    def losses(
        self, network: nn.Module, critic: nn.Module | None, batch: Batch, progress: Progress
    ) -> Losses:
        """Cross entropies of main, outline and kinds, and soft IoU of main."""
        logits = network(batch["planes"]).float()
        targets, weights = batch["targets"], batch["weights"]
        main_target, outline_target, kinds_target = targets[:, 0], targets[:, 1], targets[:, 2:]
        main = _weighted(
            functional.binary_cross_entropy_with_logits(
                logits[:, MAIN], main_target, reduction="none"
            ),
            weights[:, 0],
        )
        outline = _weighted(
            functional.binary_cross_entropy_with_logits(
                logits[:, OUTLINE], outline_target, reduction="none"
            ),
            weights[:, 1] * (1 + 3 * outline_target),
        )
        kinds = _weighted(
            functional.cross_entropy(logits[:, FIRST_KIND:], kinds_target, reduction="none"),
            weights[:, 2] * (2 - kinds_target[:, 0]),
        )
        overlap = _soft_iou_loss(torch.sigmoid(logits[:, MAIN]), main_target, weights[:, 0])
        total = main + 0.5 * overlap + 0.5 * outline + 0.7 * kinds
        return Losses(total, {"main": main, "overlap": overlap, "outline": outline, "kinds": kinds})

    def measure(self, network: nn.Module) -> dict[str, float]:
        """IoU of plane 0 with the mask of the main object, frame by frame, on held-out clips.

        Named "seen_..." in a last run on all clips, which has trained on them too.
        """
        figures = {}
        for clip in self._held_out:
            scores = []
            for k in range(1, len(clip.frames), _MEASURED_EVERY):
                logits, truth = self._look(network, clip, k)
                scores.append(_iou(logits[MAIN] > 0, truth > 0))
            figures[f"iou_{clip.name}"] = float(np.mean(scores))
        figures = {"main_iou": float(np.mean(list(figures.values()))), **figures}
        prefix = "seen_" if self.settings.all_clips else ""
        return {f"{prefix}{name}": value for name, value in figures.items()}

    def sheet(self, network: nn.Module) -> NDArray[np.uint8]:
        """Picture, truth, main object, outline, kinds, of two frames of each held-out clip."""
        rows: list[list[NDArray[np.uint8]]] = []
        for clip in self._held_out[:4]:
            for k in (len(clip.frames) // 3, 2 * len(clip.frames) // 3):
                logits, truth = self._look(network, clip, k)
                kinds = torch.from_numpy(logits[FIRST_KIND:]).softmax(0).numpy()
                shown = [(truth > 0).astype(np.float32), _sigmoid(logits[MAIN])]
                shown += [_sigmoid(logits[OUTLINE]), 1 - kinds[0]]
                pictures = [cv2.resize(clip.frames[k], (192, 192))]
                for plane in shown:
                    grey = np.round(255 * cv2.resize(plane, (192, 192))).astype(np.uint8)
                    pictures.append(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB))
                rows.append(pictures)
        titles = ("picture", "truth", "main", "outline", "any kind")
        columns = [np.stack(column) for column in zip(*rows, strict=True)]
        return contact_sheet(list(zip(titles, columns, strict=True)))

    def _look(
        self, network: nn.Module, clip: _Clip, k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Logits [7, h, w] and labels [h, w] of frame k, in the size that the segmenter uses."""
        width, height = working_size(clip.frames.shape[2], clip.frames.shape[1])
        now, before = (
            cv2.resize(clip.frames[i], (width, height), interpolation=cv2.INTER_AREA)
            for i in (k, k - 1)
        )
        grey, grey_before = (cv2.cvtColor(p, cv2.COLOR_RGB2GRAY) for p in (now, before))
        planes = segmenter_planes(now, motion_between(grey, grey_before))
        x = torch.from_numpy(planes[None]).to(self.device)
        logits = network(x.contiguous(memory_format=torch.channels_last))[0].float().cpu().numpy()
        assert clip.labels is not None
        truth = cv2.resize(clip.labels[k], (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        return logits, truth


def _all_clips(library: Library) -> list[_Clip]:
    """Of `shared/data`: DAVIS at its own rate, rendered scenes, teachers' clips. Else all alike."""
    if not (library.path / "masks" / DAVIS / TRAIN).is_dir():
        return _small(library.train, "davis")
    clips = _small(library.train, "teacher")
    davis = open_library(library.path, max_fps=_DAVIS_FPS, folders=(DAVIS,))
    clips += _small(davis.train, "davis")
    if _SCENES_DIR.is_dir() and len(list(_SCENES_DIR.glob("scene-*.mp4"))) > 1:
        scenes = open_library(_SCENES_DIR)
        clips += _small((*scenes.train, *scenes.val), "scene")
    return clips


def _small(shots: tuple[Shot, ...], origin: str) -> list[_Clip]:
    """Shots at the stored size. Those with neither masks nor teachers' labels are left out."""
    clips = []
    for shot in shots:
        kinds = read_labels(LABELS_DIR, shot.clip)
        if kinds is not None:
            kinds = _kinds_of_shot(kinds, shot)
        if len(shot.frames) < 2 or (kinds is None and shot.labels is None):
            continue
        height, width = shot.frames.shape[1:3]
        scale = min(1.0, _STORED_SHORT_SIDE / min(height, width))
        size = (round(width * scale), round(height * scale))
        frames = [cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in shot.frames]
        labels = None
        if shot.labels is not None:
            nearest = cv2.INTER_NEAREST_EXACT
            labels = np.stack([cv2.resize(p, size, interpolation=nearest) for p in shot.labels])
        clips.append(_Clip(shot.clip, origin, np.stack(frames), shot.fps, labels, kinds))
    return clips


def _kinds_of_shot(kinds: NDArray[np.uint8], shot: Shot) -> NDArray[np.uint8] | None:
    """Teachers' labels of the frames that were read of a clip; None of a clip with cuts.

    Every n-th frame of the file was read, from the first.
    """
    step = round(len(kinds) / len(shot.frames))
    thinned = kinds[:: max(1, step)]
    return thinned if len(thinned) == len(shot.frames) else None


def _draw_pair(clip: _Clip, size: int, rng: np.random.Generator) -> _Pair:
    """A crop of a clip at two times, and what is known of the later one."""
    count = len(clip.frames)
    reach = max(1, min(count - 1, int(_MAX_SPEED_S * clip.fps)))
    gap = int(rng.integers(1, reach + 1)) * (1 if rng.random() < 0.5 else -1)
    low, high = max(0, gap), min(count, count + gap)
    k = int(rng.integers(low, high))
    height, width = clip.frames.shape[1:3]
    short = min(height, width)
    crop_height = int(min(height, short * rng.uniform(0.6, 1.0) ** 0.7))
    crop_width = int(min(width, crop_height * np.exp(rng.uniform(-0.2, 0.45))))
    top = int(rng.integers(height - crop_height + 1))
    left = int(rng.integers(width - crop_width + 1))
    flip = rng.random() < 0.5

    def cut(plane: NDArray[Any], interpolation: int = cv2.INTER_AREA) -> NDArray[Any]:
        scale_y, scale_x = plane.shape[0] / height, plane.shape[1] / width
        # A crop between pixels of a coarser grid: place the corners, and let OpenCV interpolate.
        to = np.array(
            [
                [size / (crop_width * scale_x), 0, 0],
                [0, size / (crop_height * scale_y), 0],
            ]
        )
        to[0, 2] = -left * scale_x * to[0, 0] + 0.5 * to[0, 0] - 0.5
        to[1, 2] = -top * scale_y * to[1, 1] + 0.5 * to[1, 1] - 0.5
        if interpolation == cv2.INTER_AREA:
            interpolation = cv2.INTER_LINEAR
        out = cv2.warpAffine(
            plane, to, (size, size), flags=interpolation, borderMode=cv2.BORDER_REPLICATE
        )
        return np.ascontiguousarray(out[:, ::-1] if flip else out)

    objects = np.zeros((size, size), np.uint8)
    if clip.labels is not None:
        objects = cut(clip.labels[k], cv2.INTER_NEAREST)
    ones = np.ones((size, size), np.float32)
    kinds = np.zeros((size, size, len(KINDS)), np.float32)
    kinds_weight = ones
    if clip.origin == "scene":
        kinds[..., _THING] = objects > 0
        kinds[..., 0] = objects == 0
    elif clip.kinds is not None:
        kinds = cut(clip.kinds[k]).astype(np.float32) / 255
        kinds[..., 0] += 1 - kinds.sum(-1)
    else:
        kinds[..., 0] = 1
        kinds_weight = 0 * ones
    main = (objects > 0).astype(np.float32)
    main_weight, outline_weight = ones, ones
    if clip.origin == "scene":
        main_weight = np.where(main > 0, np.float32(0.3), np.float32(1))
    elif clip.labels is None:
        objects, main, main_weight = _subject_by_kinds(kinds)
        outline_weight = 0.5 * ones
    return _Pair(
        now=cut(clip.frames[k]),
        before=cut(clip.frames[k - gap]),
        objects=objects,
        main=main,
        main_weight=main_weight.astype(np.float32),
        outline_weight=outline_weight,
        kinds=kinds,
        kinds_weight=kinds_weight,
    )


def _subject_by_kinds(
    kinds: NDArray[np.float32],
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
    """What teachers see as objects, main, and its weight; all [h, w].

    Nobody said which object is the main one: those that are much smaller than the largest, and
    where teachers are not sure, do not count; the rest counts half.
    """
    seen = 1 - kinds[..., 0]
    _, parts, stats, _ = cv2.connectedComponentsWithStats((seen > 0.5).astype(np.uint8))
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    large = areas > 0.25 * areas.max()
    large[0] = False
    subject = large[parts]
    sure = (seen > 0.8) & subject | (seen < 0.1)
    objects = np.where(subject, np.minimum(parts, 200), 0).astype(np.uint8)
    return objects, subject.astype(np.float32), 0.5 * sure.astype(np.float32)


def _paste(pair: _Pair, source: _Clip, colour: float, rng: np.random.Generator) -> None:
    """Cuts an object out of another clip and moves it over the pair."""
    size = pair.now.shape[0]
    k = int(rng.integers(1, len(source.frames)))
    masks = _cut_out(source, k, rng)
    if masks is None:
        return
    left, top, width, height = cv2.boundingRect(masks[0])
    target = size * rng.uniform(0.22, 0.8)
    scale = min(target / max(width, height), 1.6)
    stretch = np.exp(rng.uniform(-0.15, 0.15))
    angle = rng.normal(0, 0.1)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn = turn @ np.diag([stretch * (1 if rng.random() < 0.5 else -1), 1 / stretch])
    centre = np.array([left + width / 2, top + height / 2])
    place = size * rng.uniform(0.15, 0.85, 2)
    # Most objects that are cut out move against the picture they are put on; some stand still.
    drift = rng.normal(0, 2.5, 2) if rng.random() < 0.85 else np.zeros(2)
    jitter = recoloured((source.frames[k], source.frames[k - 1]), colour, rng)
    kind = None
    if source.origin != "scene" and source.kinds is not None:
        inside = cv2.resize(masks[0], source.kinds.shape[2:0:-1], interpolation=cv2.INTER_AREA) > 0
        mean = source.kinds[k][inside].mean(0) / 255
        # A rider is a person and a vehicle: of the things, those the teachers saw.
        mean[0] *= 0.2
        kind = mean / mean.sum()
    else:
        kind = np.eye(len(KINDS))[_THING]
    for which, (picture, mask) in enumerate(zip(jitter, masks, strict=True)):
        offset = place - turn @ centre + (drift if which == 1 else 0)
        to = np.concatenate([turn, offset[:, None]], axis=1)
        alpha = cv2.warpAffine(mask.astype(np.float32), to, (size, size), flags=cv2.INTER_LINEAR)
        alpha = cv2.GaussianBlur(alpha, (3, 3), 0)[..., None]
        moved = cv2.warpAffine(picture, to, (size, size), flags=cv2.INTER_LINEAR)
        under = pair.before if which == 1 else pair.now
        blended = np.round(alpha * moved + (1 - alpha) * under).astype(np.uint8)
        if which == 1:
            pair.before = blended
        else:
            pair.now = blended
            covered = alpha[..., 0] > 0.5
    if covered.sum() < 60:
        return
    unsure = (pair.main > 0) & ~covered
    pair.main_weight = np.where(unsure, 0.3 * pair.main_weight, pair.main_weight)
    pair.objects = np.where(covered, np.uint8(1 + pair.objects.max() % 254), pair.objects)
    for plane in (pair.main, pair.main_weight, pair.outline_weight, pair.kinds_weight):
        plane[covered] = 1
    pair.kinds[covered] = kind


def _cut_out(
    source: _Clip, k: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
    """Masks 0 or 1, [h, w], of one object in frames k and k - 1, if there is one to be had.

    Of what teachers saw, the largest part, unless the frame's border cuts much of it off.
    """
    if source.labels is not None:
        present = np.unique(source.labels[k])
        present = present[present > 0]
        if not len(present):
            return None
        label = int(rng.choice(present))
        now, before = ((source.labels[i] == label).astype(np.uint8) for i in (k, k - 1))
    else:
        assert source.kinds is not None
        size = source.frames.shape[2:0:-1]
        seen = [
            (cv2.resize(source.kinds[i][..., 0], size) < 0.4 * 255).astype(np.uint8)
            for i in (k, k - 1)
        ]
        _, parts, stats, _ = cv2.connectedComponentsWithStats(seen[0])
        if len(stats) < 2:
            return None
        now = (parts == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())).astype(np.uint8)
        area, whole = int(now.sum()), now.size
        cut_off = int(now[[0, -1]].sum() + now[:, [0, -1]].sum())
        if not 0.02 < area / whole < 0.5 or cut_off > 0.6 * area**0.5:
            return None
        before = seen[1] * cv2.dilate(now, np.ones((9, 9), np.uint8))
    return (now, before) if now.sum() >= 150 and before.sum() >= 100 else None


def _spoil(pair: _Pair, rng: np.random.Generator) -> None:
    """Now and then blur, noise, or no colour: what cameras and coders do."""
    sigma = rng.uniform(0.4, 1.2) if rng.random() < 0.25 else 0.0
    noise = rng.uniform(2, 10) if rng.random() < 0.25 else 0.0
    grey = rng.random() < 0.06
    spoilt = []
    for picture in (pair.now, pair.before):
        if sigma:
            picture = cv2.GaussianBlur(picture, (0, 0), sigma)
        if grey:
            picture = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        if noise:
            noisy = picture + noise * rng.standard_normal(picture.shape, np.float32)
            picture = np.clip(noisy, 0, 255).astype(np.uint8)
        spoilt.append(picture)
    pair.now, pair.before = spoilt


def _planes(pair: _Pair, rng: np.random.Generator) -> NDArray[np.float32]:
    if rng.random() < _FIRST_FRAME_SHARE:
        return segmenter_planes(pair.now, None)
    now, before = (cv2.cvtColor(p, cv2.COLOR_RGB2GRAY) for p in (pair.now, pair.before))
    return segmenter_planes(pair.now, motion_between(now, before))


def _targets(pair: _Pair) -> NDArray[np.float32]:
    """[2 + K, h, w]: main, outline, kinds."""
    return np.concatenate(
        [pair.main[None], outline(pair.objects)[None], np.moveaxis(pair.kinds, -1, 0)]
    ).astype(np.float32)


def outline(objects: NDArray[np.uint8]) -> NDArray[np.float32]:
    """1 on the pixels on both sides of an object's border, [h, w]; frame edges are none."""
    edge = np.zeros(objects.shape, bool)
    down, across = objects[1:] != objects[:-1], objects[:, 1:] != objects[:, :-1]
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    return edge.astype(np.float32)


def _weighted(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp_min(1.0)


def _soft_iou_loss(found: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """1 less the soft intersection over union, mean over pictures that have an object."""
    both = (found * truth * weights).sum((1, 2))
    either = ((found + truth - found * truth) * weights).sum((1, 2))
    has_object = ((truth * weights).sum((1, 2)) > 20).float()
    loss = 1 - (both + 1) / (either + 1)
    return (loss * has_object).sum() / has_object.sum().clamp_min(1.0)


def _iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    union = int((a | b).sum())
    return float((a & b).sum() / union) if union else 1.0


def _sigmoid(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(1 / (1 + np.exp(-x)), np.float32)
