"""What surfaces look like: wood, cloth, tiles, stone, walls, fruit and glaze, drawn from noise.

Every function returns an RGB picture, uint8 [H, W, 3], and takes the random generator it draws
from. Colours are sRGB triples in 0..255. Printed packaging is in `labels.py`.
"""

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]
Field = NDArray[np.float64]


def to_picture(colour_field: Field) -> Picture:
    """Round and clip a float [H, W, 3] field in 0..255."""
    return np.clip(np.rint(colour_field), 0, 255).astype(np.uint8)


def fractal_noise(
    rng: np.random.Generator, height: int, width: int, cells: tuple[int, int], octaves: int = 4
) -> Field:
    """Smooth noise in about -1..1, [height, width], that repeats seamlessly at the borders.

    cells: (vertical, horizontal) number of lattice cells of the coarsest octave; different
    numbers give streaks.
    """
    total, amplitude, norm = np.zeros((height, width)), 1.0, 0.0
    rows, columns = cells
    for _ in range(octaves):
        rows, columns = min(rows, height), min(columns, width)
        lattice = rng.uniform(-1, 1, (rows, columns))
        padded = np.pad(lattice, 2, mode="wrap")
        scaled = cv2.resize(
            padded,
            ((columns + 4) * width // columns, (rows + 4) * height // rows),
            interpolation=cv2.INTER_CUBIC,
        )
        top, left = 2 * height // rows, 2 * width // columns
        total += amplitude * scaled[top : top + height, left : left + width]
        norm += amplitude
        amplitude, rows, columns = amplitude * 0.55, rows * 2, columns * 2
    return np.asarray(total / norm * 1.6, dtype=np.float64)


def blend(low: Colour, high: Colour, weight: Field) -> Field:
    """Colours between `low` (weight 0) and `high` (weight 1): [H, W] to [H, W, 3]."""
    mix = np.clip(weight, 0, 1)[..., None]
    return np.asarray((1 - mix) * np.array(low, float) + mix * np.array(high, float))


WOODS: dict[str, tuple[Colour, Colour]] = {
    "oak": ((150, 98, 52), (222, 176, 118)),
    "walnut": ((70, 40, 22), (142, 92, 56)),
    "cherry": ((122, 54, 28), (196, 112, 66)),
    "pine": ((190, 142, 84), (240, 208, 152)),
}


def wood(rng: np.random.Generator, kind: str, planks: int = 4, size: int = 768) -> Picture:
    """Planks of `kind` (see `WOODS`), grain running along u, each plank cut elsewhere."""
    dark, light = WOODS[kind]
    out = np.zeros((size, size, 3))
    edges = np.linspace(0, size, planks + 1).astype(int)
    for top, bottom in pairwise(edges):
        height = bottom - top
        warp = fractal_noise(rng, height, size, (2, 3), 3)
        y = np.linspace(0, 1, height)[:, None] - rng.uniform(0.2, 0.8)
        rings = np.sin(2 * np.pi * (rng.uniform(3, 6) * (y + 0.35 * warp) * 2 + rng.uniform()))
        fibre = fractal_noise(rng, height, size, (max(height // 3, 2), 10), 3)
        pores = fractal_noise(rng, height, size, (max(height // 2, 2), 40), 2) > 0.75
        weight = 0.5 + 0.17 * rings + 0.32 * fibre + rng.uniform(-0.14, 0.14) - 0.25 * pores
        out[top:bottom] = blend(dark, light, weight)
        out[bottom - 2 : bottom] *= 0.45
        out[top : top + 1] *= 0.75
    return to_picture(out)


def _weave(size: int, threads: int) -> Field:
    """Shading of an over-under weave in about 0.75..1.05, [size, size]."""
    phase = np.arange(size) * threads / size
    over = np.sin(np.pi * phase) ** 2
    parity = (np.floor(phase)[:, None] + np.floor(phase)[None]) % 2
    return np.asarray(0.78 + 0.26 * np.where(parity > 0, over[:, None], over[None, :]))


def cloth(
    rng: np.random.Generator, base: Colour, accent: Colour, pattern: str, size: int = 512
) -> Picture:
    """Woven cloth; pattern is "gingham", "stripes", "tartan" or "plain"."""
    along = np.arange(size) / size
    if pattern == "gingham":
        band = (np.floor(along * 8) % 2).astype(float)
        weight = (band[:, None] + band[None]) / 2
    elif pattern == "stripes":
        band = ((along * 8) % 1 < 0.3) | (np.abs((along * 8) % 1 - 0.62) < 0.05)
        weight = np.broadcast_to(band.astype(float)[:, None], (size, size))
    elif pattern == "tartan":
        stops = np.sort(rng.uniform(0, 1, 9))
        band = (np.searchsorted(stops, along) % 2).astype(float)
        band += 0.6 * (np.abs((along * 4) % 1 - 0.5) < 0.03)
        weight = (band[:, None] + band[None]) / 2
    else:
        weight = 0.3 + 0.4 * fractal_noise(rng, size, size, (40, 40), 3)
    shade = _weave(size, 96) * (1 + 0.06 * fractal_noise(rng, size, size, (8, 8), 4))
    return to_picture(blend(base, accent, weight) * shade[..., None])


def tiles(
    rng: np.random.Generator, base: Colour, accent: Colour, count: int = 4, size: int = 768
) -> Picture:
    """Glazed wall tiles: `count` per side, pale grout, bevelled rims, some with a motif."""
    cell = size // count
    size = cell * count
    out = np.zeros((size, size, 3))
    yy, xx = np.mgrid[0:cell, 0:cell] / cell
    rim = np.minimum.reduce([xx, yy, 1 - xx, 1 - yy])
    light = 1 + 0.12 * ((rim < 0.07) & (yy + xx < 1)) - 0.14 * ((rim < 0.07) & (yy + xx > 1))
    radius = np.hypot(xx - 0.5, yy - 0.5)
    angle = np.arctan2(yy - 0.5, xx - 0.5)
    petals = radius < 0.16 + 0.15 * np.abs(np.cos(2 * angle))
    corner = np.minimum.reduce([np.hypot(xx - a, yy - b) for a in (0.0, 1.0) for b in (0.0, 1.0)])
    motif = ((petals & (radius > 0.07)) | (np.abs(corner - 0.3) < 0.035)).astype(float)
    for row in range(count):
        for column in range(count):
            gloss = fractal_noise(rng, cell, cell, (3, 3), 3)
            patterned = motif if (row + column) % 2 == 0 else np.zeros_like(motif)
            tile = blend(base, accent, patterned * 0.85) * rng.uniform(0.93, 1.04)
            tile *= (light * (1 + 0.04 * gloss))[..., None]
            tile[rim < 0.018] = np.array([196, 190, 180])
            out[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell] = tile
    return to_picture(out)


def terrazzo(
    rng: np.random.Generator, base: Colour, chips: list[Colour], size: int = 768
) -> Picture:
    """Polished stone with coloured chips (worktops)."""
    mottled = 1 + 0.06 * fractal_noise(rng, size, size, (6, 6), 5)[..., None]
    out = to_picture(np.array(base, float) * mottled)
    for _ in range(420):
        centre = rng.uniform(0, size, 2)
        radius = rng.gamma(2.5, 2.6) + 2
        count = int(rng.integers(5, 8))
        angle = np.sort(rng.uniform(0, 2 * np.pi, count))
        reach = radius * rng.uniform(0.6, 1.2, count)
        corners = centre + np.stack([np.cos(angle), np.sin(angle)], 1) * reach[:, None]
        colour = np.array(chips[int(rng.integers(len(chips)))]) * rng.uniform(0.85, 1.1)
        cv2.fillPoly(out, [corners.astype(np.int32)], np.clip(colour, 0, 255).tolist(), cv2.LINE_AA)
    return out


def wallpaper(
    rng: np.random.Generator, base: Colour, accent: Colour, pattern: str, size: int = 768
) -> Picture:
    """A wall: "plaster", "leaves", "dots" or "panels", with a little unevenness."""
    uneven = fractal_noise(rng, size, size, (4, 4), 6)
    grain = fractal_noise(rng, size, size, (96, 96), 2)
    if pattern == "plaster":
        return to_picture(blend(base, accent, 0.35 + 0.45 * uneven) * (1 + 0.04 * grain[..., None]))
    canvas = np.zeros((size, size), np.uint8)
    step = size // 6
    for row in range(-1, 8):
        for column in range(-1, 8):
            x = int((column + 0.5 * (row % 2)) * step)
            y = row * step
            if pattern == "dots":
                cv2.circle(canvas, (x, y), step // 6, 255, -1, cv2.LINE_AA)
            elif pattern == "leaves":
                tilt = 35 if (row + column) % 2 else -35
                cv2.ellipse(canvas, (x, y), (step // 3, step // 9), tilt, 0, 360, 255, -1, 16)
                cv2.ellipse(canvas, (x, y), (step // 3, step // 9), -tilt, 0, 360, 170, -1, 16)
                cv2.line(canvas, (x, y - step // 2), (x, y + step // 2), 120, 2, 16)
            else:
                left = column * step
                cv2.rectangle(canvas, (left + 8, 0), (left + 11, size), 150, -1)
                cv2.rectangle(canvas, (left + 12, 0), (left + 14, size), 255, -1)
    weight = canvas / 255 * 0.8
    shade = 1 + 0.05 * uneven + 0.03 * grain
    return to_picture(blend(base, accent, weight) * shade[..., None])


def fruit_skin(
    rng: np.random.Generator, base: Colour, blush: Colour, speckle: Colour, size: int = 256
) -> Picture:
    """Skin with a blush on one side, streaks from pole to pole, and speckles."""
    u = np.linspace(0, 2 * np.pi, size)[None]
    side = 0.5 + 0.5 * np.cos(u + rng.uniform(0, 6)) + 0.0 * np.ones((size, 1))
    streak = fractal_noise(rng, size, size, (3, 40), 3)
    mottle = fractal_noise(rng, size, size, (6, 6), 4)
    out = blend(base, blush, side * 0.9 + 0.35 * streak + 0.25 * mottle - 0.2)
    spots = fractal_noise(rng, size, size, (64, 64), 2) > 0.85
    out[spots] = 0.55 * out[spots] + 0.45 * np.array(speckle)
    return to_picture(out)


def glaze(
    rng: np.random.Generator, base: Colour, accent: Colour, pattern: str, size: int = 512
) -> Picture:
    """Painted crockery to wrap once around: "bands", "dots", "chevrons", "speckled" or "dipped".

    The rows run from the rim (top) to the foot.
    """
    v, u = np.mgrid[0:size, 0:size] / size
    if pattern == "bands":
        weight = ((np.abs(v - 0.25) < 0.05) | (np.abs(v - 0.38) < 0.018) | (v > 0.82)).astype(float)
    elif pattern == "dots":
        rows = np.floor(v * 7)
        du = (u * 14 + 0.5 * (rows % 2)) % 1 - 0.5
        weight = (np.hypot(du * 1.1, (v * 7) % 1 - 0.5) < 0.24).astype(float)
    elif pattern == "chevrons":
        weight = (((v * 7 + np.abs((u * 12) % 1 - 0.5) * 1.4) % 1) < 0.42).astype(float)
    elif pattern == "dipped":
        wave = 0.5 + 0.05 * np.sin(2 * np.pi * (3 * u)) + 0.03 * np.sin(2 * np.pi * (7 * u + 0.3))
        weight = (v > wave).astype(float)
    else:
        weight = (fractal_noise(rng, size, size, (72, 72), 2) > 0.62).astype(float)
    weight = cv2.GaussianBlur(weight, (0, 0), 1.0)
    shade = 1 + 0.035 * fractal_noise(rng, size, size, (6, 6), 4)
    return to_picture(blend(base, accent, weight) * shade[..., None])


def ball_panels(rng: np.random.Generator, colours: list[Colour], kind: str) -> Picture:
    """A ball's skin: "beach" (gores), "bands" or "swirl" of the given colours."""
    size = 256
    v, u = np.mgrid[0:size, 0:size] / size
    if kind == "beach":
        index = np.floor(u * 2 * len(colours)).astype(int) % len(colours)
        index = np.where((v < 0.06) | (v > 0.94), 0, index)
    elif kind == "bands":
        index = np.floor(v * 7).astype(int) % len(colours)
    else:
        turbulence = fractal_noise(rng, size, size, (3, 3), 4)
        index = np.floor((v * 3 + u * 2 + 0.5 * turbulence) * len(colours)).astype(int)
        index %= len(colours)
    return to_picture(np.array(colours, float)[index])


def brushed_metal(rng: np.random.Generator, tone: int = 190, size: int = 256) -> Picture:
    """Metal with fine streaks running around (along u)."""
    streak = fractal_noise(rng, size, size, (128, 3), 2)
    value = tone * (1 + 0.12 * streak)
    return to_picture(np.stack([value, value * 1.0, value * 1.03], -1))


def plain(rng: np.random.Generator, colour: Colour, roughness: float = 0.04) -> Picture:
    """One colour with a little mottling, so that no surface is perfectly flat."""
    mottle = fractal_noise(rng, 256, 256, (8, 8), 5)
    return to_picture(np.array(colour, float) * (1 + roughness * mottle[..., None]))


def landscape(rng: np.random.Generator, size: int = 256) -> Picture:
    """A small abstract landscape to frame and hang: sky, sun, rows of hills."""
    hue = rng.uniform(0, 1)
    top = np.array([90 + 120 * hue, 150 + 40 * hue, 220 - 90 * hue])
    low = np.array([250.0, 214, 170])
    fade = np.linspace(0, 1, size)[:, None, None]
    out = (1 - fade) * top + fade * low + np.zeros((size, size, 3))
    picture = to_picture(out)
    centre = (int(rng.uniform(0.2, 0.8) * size), int(rng.uniform(0.2, 0.4) * size))
    cv2.circle(picture, centre, size // 10, (255, 240, 190), -1, cv2.LINE_AA)
    x = np.arange(size)
    for layer in range(4):
        base = size * (0.45 + 0.14 * layer)
        ridge = base + sum(
            rng.uniform(3, 12) * np.sin(x * rng.uniform(0.01, 0.06) + rng.uniform(0, 6))
            for _ in range(3)
        )
        colour = np.array([70, 130, 110]) * (1.25 - 0.22 * layer) + rng.uniform(-25, 25, 3)
        corners = np.concatenate([np.stack([x, ridge], 1), [[size, size], [0, size]]])
        cv2.fillPoly(
            picture, [corners.astype(np.int32)], np.clip(colour, 0, 255).tolist(), cv2.LINE_AA
        )
    return picture
