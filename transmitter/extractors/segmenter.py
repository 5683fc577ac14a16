"""Which objects are in a frame: the protocol of segmenters, and the one that ships.

    frame -> small picture and its flow to the frame before -> network (`segmenter_network`)
    -> probabilities, mixed with those before, moved along the flow
    -> masks of single objects (`masks_of`) -> labels kept over time (`tracking`) -> [H, W]

Label 1 is the main object: the one that stands out, or moves against its surroundings.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from semcast.errors import NotFoundError, UnavailableError
from transmitter.extractors.cuts import CutDetector, colour_codes
from transmitter.extractors.hub_segmenters import HUB_SEGMENTERS, load_hub_segmenter
from transmitter.extractors.object_motion import (
    Flow,
    Grey,
    motion_between,
    segmenter_planes,
    warp,
)
from transmitter.extractors.tracking import Tracker, tidy
from transmitter.extractors.working_size import working_size

if TYPE_CHECKING:
    from transmitter.extractors.segmenter_network import SegmenterNetwork

_LIKELY, _SURE = 0.35, 0.55
"""A region is of likely pixels, and has a sure one. Chosen on held-out clips of DAVIS's training
half."""

_OBJECT, _OUTLINE = 0.5, 0.5

_MOVES_PX, _ALIKE, _NEAR_PX = 0.6, 0.4, 13
"""Parts move alike that are at most 6 pixels apart, move by more than 0.6 pixels a frame against
the camera's motion, and differ in that by less than 0.4 of it."""

_MEMORY = 0.5
"""Weight of the probabilities before."""

_LEAST_MAIN_AREA = 0.0015
_LEAST_OTHER_AREA = 0.006
"""Shares of the frame. A part that is not of the main object must be larger to count."""

_MAX_MASKS = 15


class Segmenter(Protocol):
    """Finds the objects of a video, frame after frame."""

    def reset(self) -> None:
        """Forgets the past: another video begins."""

    def segment(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Labels uint8 [H, W] of the next frame, RGB uint8 [H, W, 3].

        0 is background; an object keeps its label, 1 to 15, while it is seen; 1 is the main one.
        The same frames give the same labels, and no later frame is needed.
        """


class BundledSegmenter:
    """The small network that ships with semcast: 1 M parameters, real time on one core."""

    def __init__(self, network: SegmenterNetwork | None = None) -> None:
        """network: other weights than those that ship, from `build_network`.

        Raises UnavailableError without torch, NotFoundError without the weight file.
        """
        self._network = network or _bundled_network()
        self._tracker = Tracker()
        self._cuts = CutDetector()
        self.reset()

    def reset(self) -> None:
        """As in `Segmenter`."""
        self._tracker.reset()
        self._cuts.reset()
        self._before: Grey | None = None
        self._mixed: NDArray[np.float32] | None = None

    def segment(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """As in `Segmenter`. Frames may change size, which begins anew."""
        size = working_size(*rgb.shape[1::-1])
        small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
        grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
        if self._cuts.is_cut(colour_codes(small)):
            self._before = self._mixed = None
        motion = None if self._before is None else motion_between(grey, self._before)
        found = self.probabilities(segmenter_planes(small, motion))
        if motion is not None and self._mixed is not None:
            found = mix(self._mixed, found, motion.flow)
        self._before, self._mixed = grey, found
        masks, scores = masks_of(found, None if motion is None else motion.own)
        return self._tracker.update(masks, scores, rgb, None if motion is None else motion.flow)

    def probabilities(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [3, h, w] of main object, outline, any kind; of what `segmenter_planes` gives."""
        import torch

        from transmitter.extractors.segmenter_network import FIRST_KIND, MAIN, OUTLINE

        with torch.inference_mode():
            x = torch.from_numpy(planes[None]).contiguous(memory_format=torch.channels_last)
            logits = self._network(x)[0]
            nothing = logits[FIRST_KIND:].softmax(0)[0]
            found = torch.stack([logits[MAIN].sigmoid(), logits[OUTLINE].sigmoid(), 1 - nothing])
            return np.asarray(found.numpy(), np.float32)


def mix(before: NDArray[np.float32], now: NDArray[np.float32], flow: Flow) -> NDArray[np.float32]:
    """Probabilities [n, h, w] of a frame, steadied by those of the frame before."""
    moved = np.moveaxis(warp(np.ascontiguousarray(np.moveaxis(before, 0, -1)), flow), -1, 0)
    return np.asarray(_MEMORY * moved + (1 - _MEMORY) * now, np.float32)


def masks_of(
    probabilities: NDArray[np.float32], own: Flow | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Objects of one frame: soft masks float32 [n, h, w], and their scores [n], the best first.

    probabilities: [3, h, w] of main object, outline, any kind of object. What is likely main and
    what is only likely an object are cut apart, each along likely outlines; the pixels of outlines
    go to the nearest part. own: flow less the camera's, if there is any; neighbours that it moves
    alike are one object.
    """
    main, outline, kind = probabilities
    is_main = _grown(main)
    others = ((kind > _OBJECT) & ~is_main).astype(np.uint8)
    is_other = cv2.morphologyEx(others, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8)) > 0
    found: list[tuple[float, NDArray[np.float32], float]] = []
    for region, least in ((is_main, _LEAST_MAIN_AREA), (is_other, _LEAST_OTHER_AREA)):
        parts = _parts(region, outline, least * main.size)
        for part in parts if own is None else _moving_alike(parts, own):
            score = float(main[part].mean())
            found.append((score * float(part.sum()) ** 0.5, part.astype(np.float32), score))
    found.sort(key=lambda entry: -entry[0])
    del found[_MAX_MASKS:]
    masks = np.zeros((len(found), *main.shape), np.float32)
    for k, (_, mask, _) in enumerate(found):
        masks[k] = mask
    return masks, np.array([score for _, _, score in found], np.float32)


def _grown(probability: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The likely regions, [h, w], that have a sure pixel; without their small holes."""
    _, places = cv2.connectedComponents((probability > _LIKELY).astype(np.uint8), connectivity=4)
    sure = np.unique(places[probability > _SURE])
    return tidy(np.isin(places, sure[sure > 0]))


def _parts(
    region: NDArray[np.bool_], outline: NDArray[np.float32], least_area: float
) -> list[NDArray[np.bool_]]:
    """A region cut along outlines, [h, w] each; parts that are too small go to their neighbours."""
    count, pieces, sizes, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8))
    cores = (region & (outline < _OUTLINE)).astype(np.uint8)
    _, places, areas, _ = cv2.connectedComponentsWithStats(cores, connectivity=4)
    large = areas[:, cv2.CC_STAT_AREA] >= max(8.0, 0.4 * least_area)
    large[0] = False
    parts = []
    for piece in range(1, count):
        if sizes[piece, cv2.CC_STAT_AREA] < least_area:
            continue
        whole = pieces == piece
        within = np.unique(places[whole])
        within = within[large[within]]
        if len(within) < 2:
            parts.append(whole)
            continue
        nearest = _nearest_core(places, within)
        parts += [
            part for k in range(len(within)) if (part := whole & (nearest == k)).sum() >= least_area
        ]
    return parts


def _nearest_core(places: NDArray[Any], numbers: NDArray[Any]) -> NDArray[np.intp]:
    """For each pixel, which of the components `numbers` of `places` is the nearest."""
    distances = [
        cv2.distanceTransform((places != number).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_3)
        for number in numbers
    ]
    return np.asarray(np.argmin(distances, axis=0), np.intp)


def _moving_alike(parts: list[NDArray[np.bool_]], own: Flow) -> list[NDArray[np.bool_]]:
    """The parts, where those that nearly touch and move alike are joined, and the gap between."""
    if not parts:
        return []
    # Every fourth pixel is enough for a median.
    speeds = [np.median(own[part][::4], axis=0) for part in parts]
    moving = [k for k, speed in enumerate(speeds) if np.hypot(*speed) > _MOVES_PX]
    reach = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_NEAR_PX, _NEAR_PX))
    joined = list(range(len(parts)))
    for place, a in enumerate(moving):
        near = cv2.dilate(parts[a].astype(np.uint8), np.ones((_NEAR_PX, _NEAR_PX), np.uint8)) > 0
        for b in moving[place + 1 :]:
            apart = np.hypot(*(speeds[a] - speeds[b]))
            alike = apart < _ALIKE * max(np.hypot(*speeds[a]), np.hypot(*speeds[b]))
            if alike and bool((near & parts[b]).any()):
                joined = [joined[a] if group == joined[b] else group for group in joined]
    taken = np.any(parts, axis=0)
    whole = []
    for group in dict.fromkeys(joined):
        members = [parts[k] for k, other in enumerate(joined) if other == group]
        part = np.any(members, axis=0)
        if len(members) > 1:
            closed = cv2.morphologyEx(part.astype(np.uint8), cv2.MORPH_CLOSE, reach) > 0
            part = tidy(part | (closed & ~taken))
        whole.append(part)
    return whole


def _bundled_network() -> SegmenterNetwork:
    try:
        from transmitter.extractors.segmenter_network import bundled_network
    except ImportError as error:
        raise UnavailableError(
            f'The bundled segmenter needs the "models" extra of semcast ({error.name} is missing).'
        ) from error
    return bundled_network()


SEGMENTERS: dict[str, Callable[[], Segmenter]] = {
    "bundled": BundledSegmenter,
    **{name: partial(load_hub_segmenter, name) for name in HUB_SEGMENTERS},
}
"""Segmenters by name. Those of the hub raise UnavailableError until `semcast models pull NAME`."""


def open_segmenter(name: str) -> Segmenter:
    """A new segmenter by name. Raises NotFoundError naming those there are."""
    if name not in SEGMENTERS:
        raise NotFoundError(f"No segmenter '{name}': choose one of {', '.join(SEGMENTERS)}.")
    return SEGMENTERS[name]()
