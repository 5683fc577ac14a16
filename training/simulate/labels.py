"""What is printed on packaging: brand words, bands, pictures, small print and bar codes.

All of it is invented here and drawn with OpenCV's stroke fonts. Pictures are RGB, uint8
[H, W, 3], row 0 at the top of the package.
"""

import cv2
import numpy as np

from training.simulate.textures import Colour, Picture

PALETTES: list[tuple[Colour, Colour, Colour]] = [
    ((196, 32, 44), (250, 240, 214), (244, 186, 40)),
    ((20, 74, 148), (244, 246, 250), (246, 196, 52)),
    ((24, 116, 74), (250, 246, 226), (236, 96, 48)),
    ((240, 150, 24), (252, 248, 236), (120, 40, 28)),
    ((112, 44, 128), (252, 240, 250), (250, 200, 70)),
    ((14, 134, 150), (250, 250, 244), (232, 62, 86)),
]
"""(ground, paper, accent) of each brand."""

PALETTE_NAMES = ["red", "blue", "green", "orange", "purple", "teal"]


def _word(picture: Picture, word: str, box: tuple[int, int, int, int], colour: Colour) -> None:
    """Write `word` as large as fits into box = (left, top, width, height) pixels, centred."""
    left, top, width, height = box
    font = cv2.FONT_HERSHEY_DUPLEX
    (unit_width, unit_height), _ = cv2.getTextSize(word, font, 10.0, 20)
    scale = 10.0 * min(width / unit_width, height / unit_height)
    thickness = max(1, round(scale * 2.6))
    (text_width, text_height), _ = cv2.getTextSize(word, font, scale, thickness)
    origin = (left + (width - text_width) // 2, top + (height + text_height) // 2)
    cv2.putText(picture, word, origin, font, scale, colour, thickness, cv2.LINE_AA)


def _small_print(
    rng: np.random.Generator, picture: Picture, box: tuple[int, int, int, int]
) -> None:
    """Rows of dashes that read as small print."""
    left, top, width, height = box
    for y in range(top, top + height - 4, 9):
        x = left
        while x < left + width - 6:
            length = int(rng.integers(6, 26))
            end = min(x + length, left + width)
            cv2.line(picture, (x, y), (end, y), (70, 66, 64), 2)
            x = end + 6


def _bar_code(rng: np.random.Generator, picture: Picture, box: tuple[int, int, int, int]) -> None:
    """A white patch with random bars."""
    left, top, width, height = box
    picture[top : top + height, left : left + width] = 250
    x = left + 5
    while x < left + width - 6:
        bar = int(rng.integers(1, 4))
        picture[top + 4 : top + height - 8, x : x + bar] = 20
        x += bar + int(rng.integers(2, 5))


def _emblem(
    rng: np.random.Generator,
    picture: Picture,
    centre: tuple[int, int],
    radius: int,
    paper: Colour,
    accent: Colour,
) -> None:
    """A round picture: a bowl, a sun, a leaf or a fruit on a disc."""
    x, y = centre
    cv2.circle(picture, centre, radius, paper, -1, cv2.LINE_AA)
    cv2.circle(picture, centre, radius, accent, max(2, radius // 14), cv2.LINE_AA)
    kind = int(rng.integers(4))
    inner = int(radius * 0.62)
    if kind == 0:
        cv2.ellipse(picture, (x, y), (inner, inner), 0, 0, 180, accent, -1, cv2.LINE_AA)
        for k in range(9):
            angle = np.pi * (k + 0.5) / 9
            spot = (int(x - 0.75 * inner * np.cos(angle)), int(y - 0.4 * inner * np.sin(angle)))
            cv2.circle(picture, spot, radius // 7, (216, 160, 70), -1, cv2.LINE_AA)
    elif kind == 1:
        for k in range(12):
            angle = 2 * np.pi * k / 12
            tip = (int(x + inner * 1.2 * np.cos(angle)), int(y + inner * 1.2 * np.sin(angle)))
            cv2.line(picture, (x, y), tip, accent, max(2, radius // 10), cv2.LINE_AA)
        cv2.circle(picture, (x, y), int(inner * 0.7), (250, 206, 66), -1, cv2.LINE_AA)
    elif kind == 2:
        cv2.ellipse(picture, (x, y), (inner, inner // 2), -40, 0, 360, (72, 150, 70), -1, 16)
        start = (x - int(inner * 0.75), y + int(inner * 0.65))
        end = (x + int(inner * 0.7), y - int(inner * 0.6))
        cv2.line(picture, start, end, (230, 244, 214), max(2, radius // 16), cv2.LINE_AA)
    else:
        for dx, dy in ((-0.42, 0.2), (0.42, 0.2), (0.0, -0.1)):
            spot = (int(x + dx * inner), int(y + dy * inner))
            cv2.circle(picture, spot, int(inner * 0.5), (206, 40, 52), -1, cv2.LINE_AA)
            glint = (spot[0] - inner // 6, spot[1] - inner // 6)
            cv2.circle(picture, glint, max(2, inner // 9), (255, 220, 220), -1, cv2.LINE_AA)
        cv2.line(picture, (x, y - inner // 3), (x + inner // 3, y - inner), (60, 120, 50), 4, 16)


def front_panel(
    rng: np.random.Generator, word: str, palette: int, width: int, height: int
) -> Picture:
    """The face that sells: ground colour with a sunburst, brand word, emblem, a band below."""
    ground, paper, accent = PALETTES[palette]
    yy, xx = np.mgrid[0:height, 0:width]
    angle = np.arctan2(yy - height * 0.62, xx - width * 0.5)
    rays = (np.sin(angle * 14) > 0)[..., None]
    picture = np.where(rays, np.array(ground), np.array(ground) * 0.86 + 18).astype(np.uint8)
    picture = np.ascontiguousarray(picture)
    band = int(height * 0.32)
    cv2.rectangle(picture, (0, int(height * 0.06)), (width, band), paper, -1)
    cv2.rectangle(picture, (0, band), (width, band + height // 40), accent, -1)
    _word(
        picture,
        word,
        (width // 14, int(height * 0.09), width * 12 // 14, int(height * 0.19)),
        ground,
    )
    radius = int(min(width * 0.36, height * 0.24))
    _emblem(rng, picture, (width // 2, int(height * 0.6)), radius, paper, accent)
    cv2.rectangle(picture, (0, int(height * 0.88)), (width, int(height * 0.96)), accent, -1)
    _word(
        picture,
        "NET 400 g",
        (width // 5, int(height * 0.9), width * 3 // 5, height // 26),
        paper,
    )
    return picture


def side_panel(rng: np.random.Generator, palette: int, width: int, height: int) -> Picture:
    """The face nobody reads: paper, small print, a table, a bar code."""
    ground, paper, accent = PALETTES[palette]
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = paper
    picture[: height // 8] = ground
    picture[height // 8 : height // 7] = accent
    margin = max(4, width // 10)
    _small_print(rng, picture, (margin, height // 5, width - 2 * margin, height // 4))
    table = (margin, int(height * 0.5), width - margin, int(height * 0.74))
    cv2.rectangle(picture, table[:2], table[2:], (60, 60, 60), 2)
    for y in range(table[1] + 14, table[3], 14):
        cv2.line(picture, (table[0], y), (table[2], y), (110, 110, 110), 1)
    _bar_code(rng, picture, (margin, int(height * 0.8), width - 2 * margin, int(height * 0.14)))
    return picture


def carton(rng: np.random.Generator, word: str, palette: int, cell: int = 256) -> Picture:
    """A face atlas for `meshes.rounded_box` (see `meshes.BOX_FACES`): ±x front and back."""
    ground = PALETTES[palette][0]
    front = front_panel(rng, word, palette, cell, cell)
    side = side_panel(rng, palette, cell, cell)
    lid = np.empty((cell, cell, 3), np.uint8)
    lid[:] = ground
    _word(lid, word, (cell // 8, cell // 3, cell * 3 // 4, cell // 3), PALETTES[palette][1])
    base = np.empty((cell, cell, 3), np.uint8)
    base[:] = 206, 186, 150
    return np.concatenate(
        [np.concatenate([front, front, side], 1), np.concatenate([side, lid, base], 1)], 0
    )


def wrapper(rng: np.random.Generator, word: str, palette: int, height: int = 256) -> Picture:
    """A label that wraps once around a can or bottle: front, print, front, print."""
    front = front_panel(rng, word, palette, height, height)
    back = side_panel(rng, palette, height // 2, height)
    return np.concatenate([front, back, front, back], 1)


def book_cover(rng: np.random.Generator, word: str, palette: int, cell: int = 256) -> Picture:
    """A face atlas of a book lying on its back: cover on +z, spine on -y, pages elsewhere."""
    ground, paper, accent = PALETTES[palette]
    pages = np.empty((cell, cell, 3), np.uint8)
    lines = (np.arange(cell) // 5 % 2 * 22)[:, None, None]
    pages[:] = np.clip(np.array([238, 230, 208]) - lines, 0, 255)
    cover = np.empty((cell, cell, 3), np.uint8)
    cover[:] = ground
    cv2.rectangle(cover, (12, 12), (cell - 13, cell - 13), accent, 4)
    _word(cover, word, (30, 40, cell - 60, 60), paper)
    _emblem(rng, cover, (cell // 2, int(cell * 0.66)), cell // 5, paper, accent)
    spine = np.empty((cell, cell, 3), np.uint8)
    spine[:] = ground
    spine[:, cell // 10 : cell // 7] = accent
    spine[:, -cell // 7 : -cell // 10] = accent
    _word(spine, word, (cell // 5, cell // 4, cell * 3 // 5, cell // 2), paper)
    return np.concatenate(
        [np.concatenate([pages, pages, pages], 1), np.concatenate([spine, cover, cover], 1)], 0
    )


def framed_letter(face: Picture, letter: str, colour: Colour) -> Picture:
    """`face` [S, S, 3] with a painted frame and a letter (toy building blocks)."""
    painted = np.ascontiguousarray(face.copy())
    cell = len(painted)
    cv2.rectangle(painted, (8, 8), (cell - 9, cell - 9), colour, cell // 16)
    _word(painted, letter, (cell // 4, cell // 4, cell // 2, cell // 2), colour)
    return painted


def domino_faces(rng: np.random.Generator, colour: Colour, cell: int = 128) -> Picture:
    """A face atlas of a domino with pips on ±x."""
    plainface = np.empty((cell, cell, 3), np.uint8)
    plainface[:] = colour
    spotted = plainface.copy()
    cv2.line(spotted, (12, cell // 2), (cell - 12, cell // 2), (250, 246, 236), 3)
    for half in (0, 1):
        for _ in range(int(rng.integers(1, 5))):
            x = int((0.25 + 0.25 * rng.integers(3)) * cell)
            y = int((0.12 + 0.13 * rng.integers(3) + 0.5 * half) * cell)
            cv2.circle(spotted, (x, y), cell // 14, (250, 246, 236), -1, cv2.LINE_AA)
    return np.concatenate(
        [
            np.concatenate([spotted, spotted, plainface], 1),
            np.concatenate([plainface, plainface, plainface], 1),
        ],
        0,
    )
