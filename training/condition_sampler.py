"""Draws windows of what receivers had, beside the source, cropped alike, with parts left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from receiver.diffusion.adapters import TEXT_CHANNELS
from receiver.diffusion.conditions import (
    CONDITION_DOWNSCALE,
    control_planes,
    degraded_modality,
    facts_of,
    to_condition_size,
)
from receiver.diffusion.text import MAX_TOKENS, CaptionEncoder
from receiver.generator import Conditions
from semcast.errors import InputError
from semcast.session import Modality
from training.data import Shot, recoloured
from training.received import ReceivedWindow
from training.windows import SIZE, belongs, number_shots, source_frame

NOTHING, LOWRES, KEYFRAME = range(3)
"""What a frame's degraded picture is."""

_LEFT_OUT = {
    Modality.LOWRES: 0.12,
    Modality.KEYFRAME: 0.3,
    Modality.CONTOURS: 0.25,
    Modality.SKETCH: 0.25,
    Modality.CAPTION: 0.4,
}
"""How often a window goes without."""

_NO_TOKENS = np.zeros((MAX_TOKENS, TEXT_CHANNELS), np.float16)

_SNR_LEFT_OUT = 0.2
_CROP_STEP = 16
_MID_GREY = 128
"""What the generator takes for a picture where there is none."""


class ConditionSampler:
    """Windows of `num_frames` frames, squares of `size` pixels of SIZE."""

    def __init__(
        self,
        windows: Sequence[ReceivedWindow],
        shots: Sequence[Shot],
        size: int,
        num_frames: int,
        colour: float,
        tokens: Mapping[str, NDArray[np.float16]] | None = None,
    ) -> None:
        """colour: strength of the change of colours, alike for all pictures of a window. tokens: of
        captions, [MAX_TOKENS, TEXT_CHANNELS], zeros beyond their end.

        Raises InputError where no window is long enough or belongs to these shots.
        """
        self._shots = number_shots(shots)
        self._windows = [
            w
            for w in windows
            if w.spec.num_frames >= num_frames
            and belongs(self._shots.get((w.spec.clip, w.spec.shot)), w.spec)
        ]
        if not self._windows:
            raise InputError(
                f"No received window of {num_frames} frames belongs to these clips: make them anew "
                "with 'python -m training.received', or set fewer num_frames."
            )
        self._size, self._num_frames, self._colour = size, num_frames, colour
        self._tokens = tokens or {}

    def draw(self, rng: np.random.Generator) -> dict[str, NDArray[np.generic]]:
        """source: uint8 [T, size, size, 3]. picture: the degraded picture, uint8 at a quarter of
        the side. kind: NOTHING, LOWRES or KEYFRAME, [T]. key: the key picture where it is that,
        uint8 [T, size, size, 3]. control: int8 [T, 7, size, size], 127 for 1. facts: [T, 10].
        stays_at: which frame of the window is the key picture's, as each sees it; -1 for none.
        text: tokens of captions, float16 [T, MAX_TOKENS, TEXT_CHANNELS], zeros for none.
        """
        window = self._windows[rng.integers(len(self._windows))]
        spec, count = window.spec, self._num_frames
        first = int(rng.integers(spec.num_frames - count + 1))
        shot = self._shots[spec.clip, spec.shot]
        kept = {m: rng.random() >= share for m, share in _LEFT_OUT.items()}
        knows_snr = rng.random() >= _SNR_LEFT_OUT
        conditions = [
            _without(window.conditions[k], kept, knows_snr) for k in range(first, first + count)
        ]
        source = [source_frame(shot, spec, k) for k in range(first, first + count)]

        size, quarter = self._size, SIZE // CONDITION_DOWNSCALE
        kinds = [degraded_modality(c) for c in conditions]
        no_picture = np.full((quarter, quarter, 3), _MID_GREY, np.uint8)
        no_key = np.zeros((SIZE, SIZE, 3), np.uint8)
        pictures = [
            to_condition_size(c.pictures[kind], quarter, quarter) if kind else no_picture
            for c, kind in zip(conditions, kinds, strict=True)
        ]
        keys = [
            to_condition_size(c.pictures[kind], SIZE, SIZE) if kind == Modality.KEYFRAME else no_key
            for c, kind in zip(conditions, kinds, strict=True)
        ]
        recolour = np.random.default_rng(rng.integers(1 << 31))
        changed = recoloured([*source, *pictures, *keys], self._colour, recolour)
        source, pictures, keys = (changed[k * count : (k + 1) * count] for k in range(3))
        # What stands for nothing keeps its colour, as it does at the receiver.
        pictures = [p if kind else no_picture for p, kind in zip(pictures, kinds, strict=True)]
        keys = [
            p if kind == Modality.KEYFRAME else no_key for p, kind in zip(keys, kinds, strict=True)
        ]
        control = [control_planes(c, SIZE, SIZE) for c in conditions]

        room = (SIZE - size) // _CROP_STEP
        top, left = (int(rng.integers(room + 1)) * _CROP_STEP for _ in range(2))
        flip = rng.random() < 0.5

        def crop(planes: Sequence[NDArray[np.generic]], scale: int = 1) -> NDArray[np.generic]:
            """Of pictures [H, W, C]."""
            rows = slice(top // scale, (top + size) // scale)
            columns = slice(left // scale, (left + size) // scale)
            cut = np.stack([plane[rows, columns] for plane in planes])
            return np.ascontiguousarray(cut[:, :, ::-1] if flip else cut)

        planes = crop([np.round(127 * c).astype(np.int8).transpose(1, 2, 0) for c in control])
        index = {None: NOTHING, Modality.LOWRES: LOWRES, Modality.KEYFRAME: KEYFRAME}
        return {
            "source": crop(source),
            "picture": crop(pictures, CONDITION_DOWNSCALE),
            "kind": np.array([index[kind] for kind in kinds]),
            "key": crop(keys),
            "control": np.ascontiguousarray(planes.transpose(0, 3, 1, 2)),
            "facts": np.stack([facts_of(c) for c in conditions]),
            "stays_at": _stays_at(conditions),
            "text": np.stack([self._tokens.get(c.caption, _NO_TOKENS) for c in conditions]),
        }


def tokens_of(
    windows: Sequence[ReceivedWindow], encoder: CaptionEncoder
) -> dict[str, NDArray[np.float16]]:
    """Tokens of all captions in windows, as a `ConditionSampler` takes them."""
    captions = {c.caption for w in windows for c in w.conditions if c.caption}
    tokens = {}
    for caption in sorted(captions):
        padded = _NO_TOKENS.copy()
        found = encoder.tokens(caption)[0].cpu().numpy()
        padded[: len(found)] = found
        tokens[caption] = padded
    return tokens


def _without(conditions: Conditions, kept: dict[Modality, bool], knows_snr: bool) -> Conditions:
    """What is left of conditions when whole kinds are left out."""
    return replace(
        conditions,
        pictures={m: p for m, p in conditions.pictures.items() if kept.get(m, True)},
        age_frames={m: a for m, a in conditions.age_frames.items() if kept.get(m, True)},
        labels=conditions.labels if kept[Modality.CONTOURS] else None,
        caption=conditions.caption if kept[Modality.CAPTION] else "",
        sketch=conditions.sketch if kept[Modality.SKETCH] else None,
        snr_db=conditions.snr_db if knows_snr else None,
    )


def _stays_at(conditions: Sequence[Conditions]) -> NDArray[np.int64]:
    """The newest frame before each that a key picture came with."""
    newest, at = -1, []
    for index, of_frame in enumerate(conditions):
        at.append(newest)
        if of_frame.age_frames.get(Modality.KEYFRAME) == 0:
            newest = index
    return np.array(at, np.int64)
