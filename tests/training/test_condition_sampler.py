"""Windows of conditions as they are drawn for training: all planes alike, and parts left out."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from moving_shots import (
    Picture,
    map_shot,
    moving_shot,
    quarter,
    spec_of,
    whole_spec,
    window_of,
)
from numpy.typing import NDArray

import training.condition_sampler
from receiver.diffusion.adapters import TEXT_CHANNELS
from receiver.diffusion.conditions import control_planes, facts_of, to_condition_size
from receiver.diffusion.text import MAX_TOKENS
from receiver.generator import Conditions
from semcast.errors import InputError
from semcast.session import Modality
from training.condition_sampler import (
    KEYFRAME,
    LOWRES,
    NOTHING,
    ConditionSampler,
    tokens_of,
)
from training.data import Shot
from training.received import ReceivedWindow
from training.windows import SIZE

KEY_FRAMES = (2, 5)
CAPTION, CAPTION_FROM = "a map", 3
TOKENS = np.zeros((MAX_TOKENS, TEXT_CHANNELS), np.float16)
TOKENS[:4] = 0.5
Drawn = dict[str, NDArray[Any]]

Labels = NDArray[np.uint8]
ROWS, COLUMNS = np.indices((SIZE, SIZE))


def label_map(k: int) -> Labels:
    """Tells rows and columns apart, and the frame."""
    return ((ROWS // 32 + COLUMNS // 16 + k) % 16).astype(np.uint8)


def full_window(source: Shot, spec: Any = None) -> ReceivedWindow:
    """All kinds at each frame, exact: key pictures at KEY_FRAMES, held afterwards."""
    keys: dict[int, Picture] = {}

    def had(k: int, rgb: Picture) -> Conditions:
        if k in KEY_FRAMES:
            keys[k] = rgb
        pictures, ages = {Modality.LOWRES: quarter(rgb)}, dict.fromkeys(Modality, 0)
        del ages[Modality.KEYFRAME]
        if keys:
            came = max(keys)
            pictures[Modality.KEYFRAME], ages[Modality.KEYFRAME] = keys[came], k - came
        sketch = np.where(COLUMNS % 64 == 3 * k, 255, 0).astype(np.uint8)
        caption = CAPTION if k >= CAPTION_FROM else ""
        return Conditions(
            pictures, ages, labels=label_map(k), sketch=sketch, caption=caption, snr_db=4.0
        )

    return window_of(source, spec or whole_spec(source), had)


@pytest.fixture
def nothing_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out(monkeypatch)


def leave_out(monkeypatch: pytest.MonkeyPatch, *kinds: Modality, snr: bool = False) -> None:
    """These always, others never."""
    shares = dict.fromkeys(training.condition_sampler._LEFT_OUT, 0.0)
    monkeypatch.setattr(training.condition_sampler, "_LEFT_OUT", shares | dict.fromkeys(kinds, 1.0))
    monkeypatch.setattr(training.condition_sampler, "_SNR_LEFT_OUT", float(snr))


def sampler_of(
    source: Shot, size: int = SIZE, num_frames: int = 8, colour: float = 0.0
) -> ConditionSampler:
    tokens = {CAPTION: TOKENS}
    return ConditionSampler([full_window(source)], [source], size, num_frames, colour, tokens)


@pytest.mark.usefixtures("nothing_left_out")
@pytest.mark.parametrize("size", [64, 96, 256])
def test_all_planes_are_cropped_and_mirrored_alike(size: int) -> None:
    source = map_shot()
    window, sampler = full_window(source), sampler_of(source, size, num_frames=3)
    rng = np.random.default_rng(3)
    firsts, corners, mirrored = set(), set(), set()
    for _ in range(40):
        drawn: Drawn = sampler.draw(rng)
        rgb = drawn["source"]
        assert rgb.shape == (3, size, size, 3)
        flip = bool(rgb[0, 0, 0, 1] > rgb[0, 0, -1, 1])
        upright = {
            name: drawn[name][..., ::-1] if name == "control" else drawn[name][:, :, ::-1]
            for name in ("source", "picture", "key", "control")
        }
        upright = upright if flip else {name: drawn[name] for name in upright}
        top, left, level = map(int, upright["source"][0, 0, 0])
        first = level // 20
        rows, columns = slice(top, top + size), slice(left, left + size)
        for t in range(3):
            frame, had = source.frames[first + t], window.conditions[first + t]
            assert np.array_equal(upright["source"][t], frame[rows, columns])
            kind = drawn["kind"][t]
            assert kind == (KEYFRAME if first + t in KEY_FRAMES else LOWRES)
            key = frame if kind == KEYFRAME else np.zeros_like(frame)
            assert np.array_equal(upright["key"][t], key[rows, columns])
            small = to_condition_size(frame, SIZE // 4, SIZE // 4)
            near = slice(top // 4, (top + size) // 4), slice(left // 4, (left + size) // 4)
            assert np.array_equal(upright["picture"][t], small[near])
            planes = 127 * control_planes(had, SIZE, SIZE)[:, rows, columns]
            assert abs(upright["control"][t] - planes).max() <= 0.5 + 1e-4
            assert np.array_equal(drawn["facts"][t], facts_of(had))
        assert all(array.flags.c_contiguous for array in drawn.values())
        firsts.add(first)
        corners.add((top, left))
        mirrored.add(flip)
    assert firsts == set(range(6))
    assert mirrored == {False, True}
    for axis in range(2):
        starts = {corner[axis] for corner in corners}
        # Every part of a frame can be drawn, to its last row and column.
        assert min(starts) == 0
        assert max(starts) == SIZE - size
        assert len(starts) > 3 or size == SIZE


@pytest.mark.usefixtures("nothing_left_out")
def test_a_frame_sees_the_newest_key_picture_before_it() -> None:
    source = map_shot()
    whole = sampler_of(source).draw(np.random.default_rng(1))
    assert whole["stays_at"].tolist() == [-1, -1, -1, 2, 2, 2, 5, 5]
    sampler = sampler_of(source, num_frames=3)
    expected = {
        0: [-1, -1, -1],
        1: [-1, -1, 1],
        2: [-1, 0, 0],
        # One that came before the window is none of its frames.
        3: [-1, -1, -1],
        4: [-1, -1, 1],
        5: [-1, 0, 0],
    }
    rng = np.random.default_rng(2)
    seen = set()
    for _ in range(40):
        drawn: Drawn = sampler.draw(rng)
        first = int(drawn["source"][0, 0, 0, 2]) // 20
        assert drawn["stays_at"].tolist() == expected[first]
        seen.add(first)
    assert seen == set(expected)


def drawn_without(
    monkeypatch: pytest.MonkeyPatch, *kinds: Modality, snr: bool = False, count: int = 6
) -> list[Drawn]:
    leave_out(monkeypatch, *kinds, snr=snr)
    sampler = sampler_of(map_shot(), 64, colour=1.0)
    return [sampler.draw(np.random.default_rng(seed)) for seed in range(count)]


PLANES = {Modality.CONTOURS: slice(0, 5), Modality.SKETCH: slice(5, 7)}
FACTS = {
    Modality.LOWRES: slice(2, 4),
    Modality.KEYFRAME: slice(4, 6),
    Modality.CONTOURS: slice(6, 8),
    Modality.SKETCH: slice(8, 10),
}


@pytest.mark.parametrize("left_out", list(FACTS))
def test_what_is_left_out_is_in_no_array(
    left_out: Modality, monkeypatch: pytest.MonkeyPatch
) -> None:
    for drawn in drawn_without(monkeypatch, left_out):
        assert not drawn["facts"][:, FACTS[left_out]].any()
        for modality, planes in PLANES.items():
            assert drawn["control"][:, planes].any() == (modality != left_out)
        if left_out == Modality.KEYFRAME:
            assert set(drawn["kind"].tolist()) == {LOWRES}
            assert not drawn["key"].any()
            assert np.all(drawn["stays_at"] == -1)
        if left_out == Modality.LOWRES:
            # Before the first key picture there is nothing; later, the key picture.
            assert drawn["kind"].tolist() == [NOTHING] * 2 + [KEYFRAME] * 6
            assert np.all(drawn["picture"][:2] == 128)
            assert not drawn["key"][:2].any()
            assert np.array_equal(drawn["key"][7], drawn["key"][5])


def test_without_any_picture_what_stands_for_it_is_that_of_the_generator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Mid-grey, whatever is done to the colours of the source."""
    for drawn in drawn_without(monkeypatch, Modality.LOWRES, Modality.KEYFRAME):
        assert not drawn["kind"].any()
        assert np.all(drawn["picture"] == 128)
        assert not drawn["key"].any()


def test_captions_are_tokens_from_when_they_came_or_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for drawn in drawn_without(monkeypatch):
        assert drawn["text"].dtype == np.float16
        for k, text in enumerate(drawn["text"]):
            assert np.array_equal(text, TOKENS if k >= CAPTION_FROM else np.zeros_like(TOKENS))
    for drawn in drawn_without(monkeypatch, Modality.CAPTION):
        assert not drawn["text"].any()


def test_captions_without_tokens_are_none() -> None:
    source = map_shot()
    sampler = ConditionSampler([full_window(source)], [source], 64, 8, 0.0)
    assert not sampler.draw(np.random.default_rng(0))["text"].any()


def test_tokens_of_windows_are_those_of_their_captions() -> None:
    class Encoder:
        def tokens(self, caption: str) -> torch.Tensor:
            return torch.full((1, len(caption), TEXT_CHANNELS), 0.25)

    found = tokens_of([full_window(map_shot())], Encoder())  # type: ignore[arg-type]
    assert list(found) == [CAPTION]
    assert found[CAPTION].shape == (MAX_TOKENS, TEXT_CHANNELS)
    assert (found[CAPTION][: len(CAPTION)] == 0.25).all()
    assert not found[CAPTION][len(CAPTION) :].any()


def test_an_snr_that_is_left_out_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for drawn in drawn_without(monkeypatch, snr=True):
        assert not drawn["facts"][:, :2].any()
    for drawn in drawn_without(monkeypatch):
        assert drawn["facts"][:, :2].tolist() == [[pytest.approx(0.4), 1.0]] * 8


def test_each_kind_is_left_out_as_often_as_it_should_be() -> None:
    """For a whole window or not at all; within 4 sigma."""
    sampler = sampler_of(map_shot(), 64, num_frames=4)
    rng = np.random.default_rng(1)
    count = 300
    left_out = dict.fromkeys(FACTS, 0)
    with_key = 0
    for _ in range(count):
        drawn: Drawn = sampler.draw(rng)
        has_key = drawn["source"][:, 0, 0, 2] // 20 >= KEY_FRAMES[0]
        with_key += bool(has_key.all())
        for modality, at in FACTS.items():
            there = drawn["facts"][:, at.start]
            if modality == Modality.KEYFRAME:
                assert there.any() <= has_key.any()
                left_out[modality] += bool(has_key.all()) and not there.any()
            else:
                assert len(set(there.tolist())) == 1
                left_out[modality] += not there.any()
    for modality in FACTS:
        share = training.condition_sampler._LEFT_OUT[modality]
        of = with_key if modality == Modality.KEYFRAME else count
        sigma = math.sqrt(share * (1 - share) / of)
        assert left_out[modality] / of == pytest.approx(share, abs=4 * sigma)


@pytest.mark.usefixtures("nothing_left_out")
def test_colours_are_changed_alike_and_objects_are_not() -> None:
    """Of a picture of middling colours, so that none is clipped."""
    frames = np.stack([cv2.resize(f, (SIZE, SIZE)) // 4 + 90 for f in moving_shot().frames[:8]])
    source = Shot("soft", frames, 8.0)
    plain = sampler_of(source).draw(np.random.default_rng(0))
    sampler = sampler_of(source, colour=0.3)
    changed = 0
    for seed in range(12):
        drawn: Drawn = sampler.draw(np.random.default_rng(seed))
        changed += not any(
            np.array_equal(side, plain["source"])
            for side in (drawn["source"], drawn["source"][:, :, ::-1])
        )
        for t in range(8):
            rgb = drawn["source"][t]
            assert abs(quarter(rgb).astype(int) - drawn["picture"][t]).max() <= 2
            if t in KEY_FRAMES:
                assert np.array_equal(drawn["key"][t], rgb)
        assert any(
            np.array_equal(drawn["control"], planes)
            for planes in (plain["control"], plain["control"][..., ::-1])
        )
    assert changed > 4


def test_a_window_depends_on_the_generator_alone() -> None:
    sampler = sampler_of(map_shot(), 64, 4, colour=0.3)
    first = sampler.draw(np.random.default_rng(4))
    other = sampler.draw(np.random.default_rng(5))
    again = sampler.draw(np.random.default_rng(4))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["source"], other["source"])


def test_clips_to_measure_on_are_never_drawn() -> None:
    train, val = (
        Shot(clip, np.full((10, 144, 192, 3), level, np.uint8), 8.0)
        for clip, level in (("walk", 60), ("held-out", 180))
    )
    windows = [full_window(shot, spec_of(shot)) for shot in (train, val)]
    sampler = ConditionSampler(windows, [train], 64, 3, 0.0)
    for seed in range(20):
        drawn = sampler.draw(np.random.default_rng(seed))
        assert np.all(drawn["source"] == 60)
        assert set(np.unique(drawn["picture"])) <= {60, 128}


def test_windows_too_short_or_of_other_clips_are_refused() -> None:
    source = map_shot()
    window = full_window(source)
    with pytest.raises(InputError, match="num_frames"):
        ConditionSampler([window], [source], 64, 9, 0.0)
    with pytest.raises(InputError, match="make them anew"):
        ConditionSampler([window], [map_shot("other")], 64, 4, 0.0)
    # A second shot of the clip is not its first.
    later = replace(window, spec=replace(window.spec, shot=1))
    with pytest.raises(InputError, match="make them anew"):
        ConditionSampler([later], [source], 64, 4, 0.0)
    changed = Shot("map", source.frames[:, ::-1], 8.0)
    with pytest.raises(InputError, match="windows of map"):
        ConditionSampler([window], [changed], 64, 4, 0.0)
