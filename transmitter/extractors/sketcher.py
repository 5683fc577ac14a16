"""Sketches of frames: thin lines, 0 or 1, where things end; the same lines from frame to frame.

The network gives probabilities, `thinning` their ridges, and this file the lines: which ridges are
strong enough (or hang together with one that is), how many of them fit a density, and, in time,
that a line which was drawn a moment ago is drawn on for less. Frames are looked at once, in order.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from semcast.codecs.sketch_bitmap import thin
from semcast.errors import InputError, NotFoundError
from semcast.networks.pixels import to_unit
from semcast.weights import find_weights, read_weights
from transmitter.extractors.sketch_network import STRIDE, SketchNetwork
from transmitter.extractors.thinning import ridges

SKETCHERS = ("bundled", "pidinet")
"""Names of `open_sketcher`."""

WEIGHTS = "sketcher"

DEFAULT_DENSITY = 0.025
"""Share of a 256x256 picture that may be line: about as much as one would draw."""

_WORK_PIXELS = 256 * 256
"""Larger frames are looked at in this size: what it does not show, no sketch of ours sends."""

_LEAST_CONTRAST = 8.0
"""Levels between the brightest and the darkest of 5x5 pixels: where there are fewer, the network
has seen nothing to judge by, and its probability counts for less."""

_FAINTEST = -0.5
"""Logit (strength, below) under which nothing is a line, however empty the sketch."""

_FOLLOWED = 1.5
"""A ridge that hangs together with a line is followed this much further down."""

_REMEMBERED = 1.0
"""Beside a line of the last sketch, this much less is enough."""

_NO_RIDGE = -20.0

_SHORTEST = 0.045
"""Of a picture's side: the shortest stroke; one shorter than twice that has to be sure."""

_SURE = 1.0
"""Above the threshold."""

_STILL_LEVELS = 5.0
"""Where a frame differs by less, its probabilities are averaged with those before."""

_MEMORY = 0.6
"""Share of what was before in that average."""

_THRESHOLD_MEMORY = 0.7

Bitmap = NDArray[np.uint8]
Floats = NDArray[np.float32]


class SketchExtractor(Protocol):
    """What draws sketches of a video, a frame at a time."""

    def reset(self) -> None:
        """Forget all frames: the next one begins a video."""

    def sketch(self, rgb: NDArray[np.uint8]) -> Bitmap:
        """Sketch of a frame, uint8 [H, W, 3]: uint8 [H, W], 1 on a line."""


class Sketcher:
    """The bundled network, and lines that keep still."""

    def __init__(self, density: float = DEFAULT_DENSITY, *, weights: Path | None = None) -> None:
        """density: largest share of pixels on lines, at 256x256; lines keep their number and not
        their share when a picture is larger. weights: another file than the bundled one.

        Raises InputError for a density out of 0.001 to 0.2, NotFoundError without weights.
        """
        if not 0.001 <= density <= 0.2:
            raise InputError(f"a sketch's density is 0.001 to 0.2, not {density}")
        state, header = read_weights(weights or find_weights(WEIGHTS))
        self._network = SketchNetwork(tuple(header["config"]["widths"]))
        self._network.load_state_dict(state)
        self._network.eval().to(_working_dtype(), memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._lines = LineDrawer(density)

    def reset(self) -> None:
        """Forget all frames: the next one begins a video."""
        self._lines.reset()

    def probability(self, rgb: NDArray[np.uint8]) -> Floats:
        """Probability of a line at every pixel of uint8 [H, W, 3], float32 [H, W]."""
        height, width = rgb.shape[:2]
        scale = min(1.0, (_WORK_PIXELS / (height * width)) ** 0.5)
        if scale < 1:
            size = max(STRIDE, round(width * scale)), max(STRIDE, round(height * scale))
            rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
        rows, columns = -rgb.shape[0] % STRIDE, -rgb.shape[1] % STRIDE
        padded = cv2.copyMakeBorder(rgb, 0, rows, 0, columns, cv2.BORDER_REPLICATE)
        with torch.inference_mode():
            picture = to_unit(torch.from_numpy(padded)[None])
            logits = self._network(picture.to(_working_dtype())).float()
            found = logits[0, 0].sigmoid().numpy()[: rgb.shape[0], : rgb.shape[1]]
        found = found * np.minimum(1, _contrast(rgb) / _LEAST_CONTRAST)
        if scale < 1:
            found = cv2.resize(found, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(found, np.float32)

    def sketch(self, rgb: NDArray[np.uint8]) -> Bitmap:
        """Sketch of the next frame, uint8 [H, W, 3]: uint8 [H, W], 1 on a line.

        A frame of another size than the last begins a video.
        Raises InputError for any other array.
        """
        checked_frame(rgb)
        return self._lines.draw(rgb, self.probability(rgb))


def _working_dtype() -> torch.dtype:
    """Half the time for the same lines (99 % of them within a pixel) where the processor computes
    in bfloat16; where it does not, that would be slower."""
    usable = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.bfloat16 if usable else torch.float32


def open_sketcher(name: str = "bundled", density: float = DEFAULT_DENSITY) -> SketchExtractor:
    """A sketcher by name: `bundled` ships, `pidinet` is fetched by its user.

    Raises NotFoundError for another name, UnavailableError for one whose network is not here.
    """
    if name == "bundled":
        return Sketcher(density)
    if name == "pidinet":
        from transmitter.extractors.pidinet import PidinetSketcher

        return PidinetSketcher(density)
    raise NotFoundError(f"No sketcher '{name}': choose one of {', '.join(SKETCHERS)}.")


def checked_frame(rgb: NDArray[np.uint8]) -> None:
    """Raises InputError for what is no frame, uint8 [H, W, 3]."""
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or not rgb.size:
        raise InputError(f"a frame is uint8 [H, W, 3], not {rgb.dtype} {list(rgb.shape)}")


class LineDrawer:
    """Probabilities of one frame after another to lines."""

    def __init__(self, density: float) -> None:
        self._density = density
        self.reset()

    def reset(self) -> None:
        """Forget all frames."""
        self._grey: Floats | None = None
        self._probability: Floats | None = None
        self._near_lines: NDArray[np.bool_] | None = None
        self._threshold: float | None = None

    def draw(self, rgb: NDArray[np.uint8], probability: Floats) -> Bitmap:
        """Lines of the next frame, uint8 [H, W]; probability: float32 [H, W]."""
        if self._grey is not None and self._grey.shape != probability.shape:
            self.reset()
        steady = self._steadied(rgb, probability)
        on_ridge = np.clip(ridges(steady), 0, 1 - 1e-6)
        strength = np.full(on_ridge.shape, _NO_RIDGE, np.float32)
        found = on_ridge > 0.01
        strength[found] = np.log(on_ridge[found] / (1 - on_ridge[found]))
        if self._near_lines is not None:
            strength[self._near_lines] += _REMEMBERED
        threshold = self._threshold_for(strength)
        lines = _followed(strength, threshold, threshold - _FOLLOWED)
        thin(lines)
        lines = _without_short_strokes(lines, strength > threshold + _SURE)
        reach = 2 * max(1, round(min(lines.shape) / 256)) + 1
        self._near_lines = cv2.dilate(lines, np.ones((reach, reach), np.uint8)) > 0
        return lines

    def _steadied(self, rgb: NDArray[np.uint8], probability: Floats) -> Floats:
        """Averaged with what was before, where the picture stands still."""
        light = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
        grey = np.asarray(cv2.blur(light, (5, 5)), np.float32)
        steady = probability
        if self._grey is not None and self._probability is not None:
            change = cv2.blur(np.abs(grey - self._grey), (5, 5))
            memory = _MEMORY * np.clip(2 - change / _STILL_LEVELS, 0, 1)
            steady = probability + memory * (self._probability - probability)
        self._grey, self._probability = grey, steady
        return steady

    def _threshold_for(self, strength: Floats) -> float:
        """Of lines: as low as the density allows, at least _FAINTEST, moving slowly."""
        height, width = strength.shape
        allowed = round(self._density * 256 * (height * width) ** 0.5)
        candidates = strength[strength > _FAINTEST - _FOLLOWED]
        threshold = _FAINTEST
        if len(candidates) > allowed:
            # Ridges that are followed come on top of those above the threshold: it is set so that
            # half way between the two just fills the density.
            least = np.partition(candidates, len(candidates) - allowed)[len(candidates) - allowed]
            threshold = max(threshold, float(least) + 0.5 * _FOLLOWED)
        if self._threshold is not None:
            threshold += _THRESHOLD_MEMORY * (self._threshold - threshold)
        self._threshold = threshold
        return threshold


def _contrast(rgb: NDArray[np.uint8]) -> Floats:
    """Levels between brightest and darkest around each pixel, of the colour with most, [H, W]."""
    around = np.ones((5, 5), np.uint8)
    levels = cv2.subtract(cv2.dilate(rgb, around), cv2.erode(rgb, around))
    return np.asarray(levels.max(2), np.float32)


def _followed(strength: Floats, high: float, low: float) -> Bitmap:
    """Pixels above `low` that hang together with one above `high` (Canny's hysteresis)."""
    count, labels = cv2.connectedComponents((strength > low).astype(np.uint8), connectivity=8)
    keep = np.zeros(count, np.uint8)
    keep[labels[strength > high]] = 1
    keep[0] = 0
    return np.asarray(keep[labels], np.uint8)


def _without_short_strokes(lines: Bitmap, sure: NDArray[np.bool_]) -> Bitmap:
    """Texture is short strokes: they go, unless they are sure, and the shortest all the same."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(lines, connectivity=8)
    length = stats[:, cv2.CC_STAT_AREA]
    shortest = round(_SHORTEST * min(lines.shape))
    keep = length >= 2 * shortest
    keep[labels[sure]] |= length[labels[sure]] >= shortest
    keep[0] = False
    return np.asarray(keep[labels], np.uint8)
