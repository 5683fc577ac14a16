"""Objects of frames to objects of a video: one label for one thing, and steady outlines.

A track remembers its mask as a soft map, 0 to 1. At each frame the map is moved along the flow, the
mask that fits it best is mixed in, and what exceeds a half is shown, with a little inertia at the
border. So a mask that is missing or ragged for a frame changes little, and the outline of something
that stands still stands still.

    masks of a frame -> moved tracks claim them (overlap first, then colour and place)
        two tracks under one mask: each keeps its part of it, for a while; then they are one
        a small piece within a track's map: joins it
    -> tracks without a mask fade and end; masks without a track begin one, shown when seen again
    -> label 1 is the main object; others take the lowest free label and keep it

Only the past is looked at; the same frames and masks give the same labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from transmitter.extractors.cuts import COLOUR_LEVELS, CutDetector, colour_codes
from transmitter.extractors.object_motion import Flow, Grey, Warp, backward_flow
from transmitter.extractors.working_size import working_size

MAX_OBJECTS = 15
MAIN_LABEL = 1


@dataclass(frozen=True)
class TrackerSettings:
    """How much a track trusts what it was over what it is shown. Chosen on DAVIS's training half.

    memory: weight of the moved map against a new mask. inertia: added to the map where the object
    was, taken from it where it was not. least_overlap: IoU at which a mask is a track's.
    births: frames a mask must be seen for its track to show; late_births: of one inside another
    object. coasting: frames a track shows without a mask. lifetime: frames without a mask that end
    it. patience: frames that two tracks under one mask stay two, at most. promotion: how many times
    as salient as the main object another must be, for `promotion_frames`, to become it.
    least_area: smallest object, as a share of the frame. least_salience: smallest, of the main
    object's; one that is shown may have 0.6 of it.
    """

    memory: float = 0.5
    inertia: float = 0.08
    least_overlap: float = 0.2
    births: int = 2
    late_births: int = 6
    coasting: int = 3
    lifetime: int = 8
    patience: int = 8
    promotion: float = 1.25
    promotion_frames: int = 8
    least_area: float = 0.0012
    least_salience: float = 0.12


@dataclass
class _Track:
    """One object. soft: float32 [h, w]; shown: bool [h, w], what was last shown of it.

    label: 0 until it is shown. births: frames it must be seen. alone, shared: frames it had a mask
    to itself, and frames in a row it was under another track's. torn: how often, of late, a large
    piece of it was a mask of its own.
    """

    label: int
    soft: NDArray[np.float32]
    shown: NDArray[np.bool_]
    colours: NDArray[np.float32]
    salience: float
    births: int
    seen: int = 1
    missed: int = 0
    challenge: int = 0
    alone: int = 0
    shared: int = 0
    torn: float = 0.0

    @property
    def visible(self) -> bool:
        """Whether it has been seen often enough to be shown."""
        return self.seen >= self.births


class Tracker:
    """Labels of a video from masks of its frames."""

    def __init__(self, settings: TrackerSettings | None = None) -> None:
        self._settings = settings or TrackerSettings()
        self._cuts = CutDetector()
        self.reset()

    def reset(self) -> None:
        """Forgets all objects: another video begins."""
        self._tracks: list[_Track] = []
        self._grey: Grey | None = None
        self._cuts.reset()

    def update(
        self,
        masks: NDArray[np.bool_] | NDArray[np.float32],
        scores: NDArray[np.floating] | Sequence[float],
        rgb: NDArray[np.uint8],
        flow: Flow | None = None,
    ) -> NDArray[np.uint8]:
        """Labels uint8 [H, W] of the next frame: 0 nothing, 1 the main object, 2 to 15 others.

        masks: [n, h, w], of any size that shows the whole frame, bool or probabilities; they may
        overlap. scores: how sure or how salient each is, 0 to 1. rgb: the frame, [H, W, 3].
        flow: to the frame before, at `working_size`, where the caller knows it.
        Raises ValueError where masks and scores differ in number.
        """
        if len(masks) != len(scores):
            raise ValueError(f"{len(masks)} masks and {len(scores)} scores: give one for each")
        height, width = rgb.shape[:2]
        size = working_size(width, height)
        small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
        grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
        soft = self._at_working_size(np.asarray(masks), size)
        saliences = _saliences(soft, np.asarray(scores, np.float32))
        codes = colour_codes(small)
        if self._cuts.is_cut(codes):
            self._tracks.clear()
        elif self._tracks:
            if flow is None and self._grey is not None:
                flow = backward_flow(grey, self._grey)
            if flow is not None:
                self._move(flow)
        self._take(soft, saliences, codes)
        self._grey = grey
        self._rank()
        return self._draw(width, height)

    def _at_working_size(
        self, masks: NDArray[np.generic], size: tuple[int, int]
    ) -> NDArray[np.float32]:
        """The masks that are large enough, float32 [n, h, w]; too small ones are empty."""
        soft = np.zeros((len(masks), size[1], size[0]), np.float32)
        for k, mask in enumerate(masks):
            plane = mask.astype(np.float32)
            if plane.shape != soft.shape[1:]:
                plane = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
            if int((plane > 0.5).sum()) >= self._settings.least_area * plane.size:
                soft[k] = plane
        return soft

    def _move(self, flow: Flow) -> None:
        """Tracks' maps to where the flow says they are now."""
        move = Warp(flow)
        for track in self._tracks:
            track.soft = move(track.soft)
            track.shown = move(255 * track.shown.astype(np.uint8)) > 127

    def _take(
        self,
        masks: NDArray[np.float32],
        saliences: NDArray[np.float32],
        codes: NDArray[np.intp],
    ) -> None:
        """Gives masks to tracks, begins and ends tracks."""
        settings = self._settings
        found = masks > 0.5
        areas = found.sum((1, 2))
        colours = [_histogram(codes, plane) for plane in found]
        began = not self._tracks
        covered = np.zeros(found.shape[1:], bool)
        for track in self._tracks:
            covered |= track.shown
        owners = self._match(found, areas, colours)
        merged = self._merge(owners)
        evidence: dict[int, NDArray[np.float32]] = {}
        salience_of: dict[int, float] = {}
        for k, claimed in enumerate(owners):
            if len(claimed) > 1:
                parts = np.stack([self._tracks[t].soft for t in claimed]).argmax(0)
            for place, t in enumerate(claimed):
                part = masks[k] if len(claimed) == 1 else np.where(parts == place, masks[k], 0)
                evidence[t] = np.maximum(evidence[t], part) if t in evidence else part
                salience_of[t] = max(salience_of.get(t, 0.0), float(saliences[k]))
        for t, track in enumerate(self._tracks):
            if t not in evidence:
                track.missed += 1
                track.soft = track.soft * (0.95 if track.missed <= settings.coasting else 0.7)
                track.salience *= 0.9
                continue
            track.soft = settings.memory * track.soft + (1 - settings.memory) * evidence[t]
            track.colours = 0.8 * track.colours + 0.2 * _histogram(codes, evidence[t] > 0.5)
            track.salience = 0.85 * track.salience + 0.15 * salience_of[t]
            track.seen += 1
            track.missed = 0
        self._tracks = [
            track
            for t, track in enumerate(self._tracks)
            if t not in merged
            and track.missed <= (settings.lifetime if track.visible else 1)
            and float(track.soft.max()) > 0.3
        ]
        for k in np.argsort(-saliences, kind="stable"):
            if areas[k] and not owners[k] and len(self._tracks) < MAX_OBJECTS:
                inside = int((found[k] & covered).sum()) > 0.5 * areas[k]
                births = settings.late_births if inside else settings.births
                self._tracks.append(
                    _Track(
                        0,
                        masks[k].copy(),
                        found[k].copy(),
                        colours[k],
                        float(saliences[k]),
                        1 if began else births,
                    )
                )

    def _merge(self, owners: list[list[int]]) -> set[int]:
        """Ends tracks that have been under another's mask for too long; changes `owners`.

        The longer a track was seen on its own, the longer it is believed to be another object.
        """
        merged: set[int] = set()
        for claimed in owners:
            if len(claimed) == 1:
                self._tracks[claimed[0]].alone += 1
                self._tracks[claimed[0]].shared = 0
            first = max(claimed, key=lambda t: self._tracks[t].salience, default=-1)
            for t in claimed[:]:
                track = self._tracks[t]
                if t == first or len(claimed) == 1:
                    continue
                track.shared += 1
                if track.shared > min(self._settings.patience, 2 + track.alone // 2):
                    claimed.remove(t)
                    merged.add(t)
                    kept = self._tracks[first]
                    kept.soft = np.maximum(kept.soft, track.soft)
                    if track.label == MAIN_LABEL:
                        kept.label = MAIN_LABEL
        return merged

    def _match(
        self,
        found: NDArray[np.bool_],
        areas: NDArray[np.intp],
        colours: list[NDArray[np.float32]],
    ) -> list[list[int]]:
        """Which tracks each mask belongs to: none, one, or several that are under one mask."""
        owners: list[list[int]] = [[] for _ in found]
        if not self._tracks or not len(found):
            return owners
        maps = np.stack([track.soft > 0.5 for track in self._tracks])
        flat = maps[:, :, ::2].reshape(len(maps), -1).astype(np.float32)
        both = 2 * flat @ found[:, :, ::2].reshape(len(found), -1).astype(np.float32).T
        own = 2 * flat.sum(1)[:, None]
        overlap = both / np.maximum(own + areas - both, 1)
        alike = np.array([[np.minimum(t.colours, c).sum() for c in colours] for t in self._tracks])
        free_tracks, free_masks = set(range(len(maps))), {k for k in range(len(found)) if areas[k]}
        scores, least = overlap + 0.2 * alike, self._settings.least_overlap
        for place in np.argsort(-scores, axis=None, kind="stable"):
            t, k = divmod(int(place), len(found))
            if t in free_tracks and k in free_masks and overlap[t, k] >= least:
                owners[k].append(t)
                free_tracks.discard(t)
                free_masks.discard(k)
        for track in self._tracks:
            track.torn = max(0, track.torn - 0.5)
        for t in sorted(free_tracks):  # several tracks under one mask
            k = int(both[t].argmax())
            if owners[k] and own[t] and both[t, k] > 0.6 * own[t, 0] and self._tracks[t].visible:
                owners[k].append(t)
        for k in sorted(free_masks):  # a piece of a track that has another mask
            t = int(both[:, k].argmax())
            if t in free_tracks or both[t, k] <= 0.6 * areas[k]:
                continue
            track = self._tracks[t]
            large = areas[k] > 0.35 * own[t, 0]
            if large:
                track.torn += 1
            if not large or track.torn <= self._settings.late_births:
                owners[k].append(t)
        self._match_far(owners, found, alike, areas, maps)
        return owners

    def _match_far(
        self,
        owners: list[list[int]],
        found: NDArray[np.bool_],
        alike: NDArray[np.float32],
        areas: NDArray[np.intp],
        maps: NDArray[np.bool_],
    ) -> None:
        """Tracks that lost touch take a mask of their colours, of like size, not far away."""
        taken = {t for claimed in owners for t in claimed}
        reach = 0.2 * max(found.shape[1:])
        for t, track in enumerate(self._tracks):
            if t in taken or not maps[t].any():
                continue
            size, centre = maps[t].sum(), _centre(maps[t])
            best, best_alike = -1, 0.6
            for k, claimed in enumerate(owners):
                if claimed or not areas[k] or not 0.5 < areas[k] / size < 2:
                    continue
                near = float(np.hypot(*(_centre(found[k]) - centre))) < reach
                if near and alike[t, k] > best_alike:
                    best, best_alike = k, float(alike[t, k])
            if best >= 0:
                owners[best].append(t)
                track.soft = found[best].astype(np.float32)

    def _rank(self) -> None:
        """Labels: the most salient object is main until another clearly exceeds it."""
        settings = self._settings
        visible = [track for track in self._tracks if track.visible]
        most = max((track.salience for track in visible), default=0.0)
        for track in visible:
            share = settings.least_salience * (0.6 if track.label else 1.0)
            if track.salience < share * most and track.label != MAIN_LABEL:
                track.label = 0
        shown = [t for t in visible if t.label or t.salience >= settings.least_salience * most]
        main = next((t for t in shown if t.label == MAIN_LABEL), None)
        used = {track.label for track in shown}
        for track in sorted(shown, key=lambda t: -t.salience):
            if track.label:
                continue
            free = [n for n in range(1, MAX_OBJECTS + 1) if n not in used]
            # A newcomer does not become main by coming: it waits as long as any challenger.
            nobody = all(other.label == 0 for other in shown)
            track.label = free[0] if nobody or free[0] != MAIN_LABEL else free[1]
            used.add(track.label)
            main = track if track.label == MAIN_LABEL else main
        if main is None and shown:
            main = max(shown, key=lambda t: t.salience)
            main.label = MAIN_LABEL
        for track in shown:
            ahead = main is not None and track.salience > settings.promotion * main.salience
            track.challenge = track.challenge + 1 if ahead else 0
            if main is not None and track.challenge >= settings.promotion_frames:
                track.label, main.label = main.label, track.label
                main, track.challenge = track, 0

    def _draw(self, width: int, height: int) -> NDArray[np.uint8]:
        """Labels at the frame's size; remembers what is shown."""
        settings = self._settings
        labels = np.zeros((height, width), np.uint8)
        strongest = np.full((height, width), 0.5, np.float32)
        for track in self._tracks:
            if track.label == 0 or track.missed > settings.coasting:
                track.shown = np.zeros_like(track.shown)
                continue
            level = track.soft + settings.inertia * (2 * track.shown.astype(np.float32) - 1)
            track.shown = tidy(level > 0.5)
            level = np.where(track.shown, np.maximum(level, 0.51), np.minimum(level, 0.49))
            rows, columns, fine = _enlarged(level, width, height)
            rivals = strongest[rows, columns]
            wins = fine > rivals
            labels[rows, columns][wins] = track.label
            rivals[wins] = fine[wins]
        return labels


def _enlarged(
    level: NDArray[np.float32], width: int, height: int
) -> tuple[slice, slice, NDArray[np.float32]]:
    """Where a map [h, w] exceeds a half: rows and columns at full size, and the map enlarged there.

    Pixel centres lie on pixel centres, as in `cv2.resize`.
    """
    left, top, wide, high = cv2.boundingRect((level > 0.5).astype(np.uint8))
    to_x, to_y = width / level.shape[1], height / level.shape[0]
    x = max(0, int((left - 1) * to_x)), min(width, int((left + wide + 1) * to_x) + 1)
    y = max(0, int((top - 1) * to_y)), min(height, int((top + high + 1) * to_y) + 1)
    back = np.array(
        [
            [1 / to_x, 0, (x[0] + 0.5) / to_x - 0.5],
            [0, 1 / to_y, (y[0] + 0.5) / to_y - 0.5],
        ]
    )
    fine = cv2.warpAffine(
        level,
        back,
        (x[1] - x[0], y[1] - y[0]),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return slice(*y), slice(*x), np.asarray(fine, np.float32)


def tidy(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask [h, w] without holes and specks that are small against it."""
    area = int(mask.sum())
    if not area:
        return mask
    least = max(10, area // 25)
    left, top, wide, high = cv2.boundingRect(mask.astype(np.uint8))
    box = slice(max(0, top - 1), top + high + 1), slice(max(0, left - 1), left + wide + 1)
    whole = mask.copy()
    out = mask[box]
    for value in (True, False):
        plane = (out == value).astype(np.uint8)
        count, parts, stats, _ = cv2.connectedComponentsWithStats(plane, connectivity=4)
        if count <= 2:
            continue
        small = stats[:, cv2.CC_STAT_AREA] < least
        small[0] = False
        out = np.where(small[parts], not value, out)
    whole[box] = out
    return whole


def _saliences(masks: NDArray[np.float32], scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """What each mask is worth to a viewer: its score, its size, and how near the middle it is."""
    rows, columns = masks.shape[1:]
    y = np.linspace(-1, 1, rows, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, columns, dtype=np.float32)[None]
    middle = np.exp(-0.7 * (x**2 + y**2)).astype(np.float32)
    weighted = (masks * middle).sum((1, 2)) / (rows * columns)
    return np.asarray(scores * np.sqrt(weighted), np.float32)


def _histogram(codes: NDArray[np.intp], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Shares of colours under every other row and column of a mask; zeros under an empty one."""
    seen = codes[::2, ::2][mask[::2, ::2]]
    counts = np.bincount(seen, minlength=COLOUR_LEVELS**3).astype(np.float32)
    return counts / max(1.0, float(counts.sum()))


def _centre(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    rows, columns = np.nonzero(mask)
    return np.array([columns.mean(), rows.mean()])
