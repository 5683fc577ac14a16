"""Which toys and books there are: bricks, balls, puzzle cubes, ducks, dominoes, letter blocks."""

import numpy as np

from training.simulate import labels, meshes, textures
from training.simulate.things import (
    COLOURS,
    SLIPPERY,
    Collider,
    ObjectModel,
    Part,
    choose,
    pick_colour,
)


def brick(rng: np.random.Generator) -> ObjectModel:
    """A large toy brick with studs, 2 x 2 or 2 x 4."""
    name, colour = pick_colour(
        rng, ("red", "blue", "yellow", "green", "orange", "turquoise", "pink")
    )
    columns = 4 if rng.uniform() < 0.5 else 2
    pitch, height = 0.024, 0.038
    body = meshes.rounded_box((2 * pitch, columns * pitch, height), 0.0025, 0.2, cells=3)
    stud = meshes.lathe(
        [
            [(pitch * 0.31, 0.0), (pitch * 0.31, 0.007)],
            [(pitch * 0.31, 0.007), (pitch * 0.26, 0.0085)],
            [(pitch * 0.26, 0.0085), (0.0, 0.0085)],
        ],
        20,
    )
    studs = [
        stud.moved(((i - 0.5) * pitch, (j - (columns - 1) / 2) * pitch, height))
        for i in range(2)
        for j in range(columns)
    ]
    mesh = meshes.merge([body, *studs])
    half = (pitch, columns * pitch / 2, height / 2)
    return ObjectModel(
        name=f"{name} toy brick",
        kind="brick",
        parts=(Part(mesh, textures.plain(rng, colour, 0.03), 0.6, 0.7),),
        colliders=(Collider("box", half, (0, 0, height / 2)),),
        mass_kg=0.07,
        height_m=height,
        radius_m=float(np.hypot(half[0], half[1])),
        grasp_width_m=2 * pitch,
        grasp_height_m=height * 0.55,
    )


def ball(rng: np.random.Generator) -> ObjectModel:
    """A toy ball with coloured panels."""
    radius = rng.uniform(0.032, 0.042)
    names = [
        str(n) for n in rng.choice(["red", "blue", "yellow", "green", "orange", "pink"], 2, False)
    ]
    kind = choose(rng, ["beach", "bands", "swirl"])
    panels = [COLOURS[names[0]], COLOURS["white"], COLOURS[names[1]]]
    return ObjectModel(
        name=f"{names[0]} and {names[1]} ball",
        kind="ball",
        parts=(Part(meshes.sphere(radius), textures.ball_panels(rng, panels, kind), 0.6, 0.7),),
        colliders=(Collider("sphere", (radius,), (0, 0, radius)),),
        mass_kg=0.12,
        height_m=2 * radius,
        radius_m=radius,
        grasp_width_m=2 * radius,
        grasp_height_m=radius,
        rolls=True,
        friction=SLIPPERY,
    )


def cube(rng: np.random.Generator) -> ObjectModel:
    """A puzzle cube with nine stickers a face."""
    side, cell = 0.058, 132
    colours = [COLOURS[n] for n in ("red", "orange", "blue", "green", "white", "yellow")]
    faces = []
    for _ in range(6):
        face = np.full((cell, cell, 3), 22, np.uint8)
        for row in range(3):
            for column in range(3):
                y, x = 5 + row * 42, 5 + column * 42
                face[y : y + 38, x : x + 38] = colours[int(rng.integers(6))]
        faces.append(face)
    atlas = np.concatenate([np.concatenate(faces[:3], 1), np.concatenate(faces[3:], 1)], 0)
    return ObjectModel(
        name="puzzle cube",
        kind="cube",
        parts=(Part(meshes.rounded_box((side,) * 3, 0.003), atlas, 0.6, 0.7),),
        colliders=(Collider("box", (side / 2,) * 3, (0, 0, side / 2)),),
        mass_kg=0.1,
        height_m=side,
        radius_m=side * 0.71,
        grasp_width_m=side,
        grasp_height_m=side * 0.55,
    )


def duck(rng: np.random.Generator) -> ObjectModel:
    """A rubber duck."""
    name, colour = pick_colour(rng, ("yellow", "yellow", "pink", "turquoise"))
    body = meshes.sphere(0.036, 0.82)
    tail = meshes.tube(
        np.array([[-0.018, 0, 0.034], [-0.03, 0, 0.04], [-0.04, 0, 0.049], [-0.045, 0, 0.058]]),
        np.array([0.02, 0.015, 0.009, 0.001]),
    )
    head = meshes.sphere(0.023, slices=24).moved((0.016, 0, 0.046))
    wing = meshes.sphere(0.019, 0.62, 16)
    yellow = meshes.merge(
        [body, tail, head, wing.moved((-0.004, 0.024, 0.024)), wing.moved((-0.004, -0.024, 0.024))]
    )
    beak = meshes.tube(
        np.array([[0.032, 0, 0.066], [0.042, 0, 0.064], [0.05, 0, 0.066], [0.052, 0, 0.067]]),
        np.array([0.009, 0.008, 0.005, 0.0008]),
    )
    eye = meshes.sphere(0.0038, slices=12)
    eyes = meshes.merge([eye.moved((0.032, 0.012, 0.073)), eye.moved((0.032, -0.012, 0.073))])
    return ObjectModel(
        name=f"{name} rubber duck",
        kind="duck",
        parts=(
            Part(yellow, textures.plain(rng, colour, 0.03), 0.7, 0.7),
            Part(beak, textures.plain(rng, (236, 110, 24)), 0.5, 0.6),
            Part(eyes, textures.plain(rng, (20, 18, 18)), 0.9, 0.9),
        ),
        colliders=(
            Collider("box", (0.026, 0.024, 0.025), (0, 0, 0.025)),
            Collider("sphere", (0.023,), (0.016, 0, 0.069)),
        ),
        mass_kg=0.06,
        height_m=0.092,
        radius_m=0.05,
        grasp_width_m=0.066,
        grasp_height_m=0.03,
    )


def domino(rng: np.random.Generator) -> ObjectModel:
    """A large domino standing on end, pips facing along x."""
    name, colour = pick_colour(
        rng, ("red", "blue", "yellow", "green", "orange", "turquoise", "purple")
    )
    x, y, z = 0.015, 0.045, 0.09
    return ObjectModel(
        name=f"{name} domino",
        kind="domino",
        parts=(
            Part(
                meshes.rounded_box((x, y, z), 0.002, cells=3),
                labels.domino_faces(rng, colour),
                0.6,
                0.7,
            ),
        ),
        colliders=(Collider("box", (x / 2, y / 2, z / 2), (0, 0, z / 2)),),
        mass_kg=0.06,
        height_m=z,
        radius_m=0.024,
        friction=0.4,
    )


def wooden_block(rng: np.random.Generator) -> ObjectModel:
    """A painted wooden building block with a letter on every side."""
    name, colour = pick_colour(rng, ("red", "blue", "green", "orange", "purple", "turquoise"))
    side, cell = 0.05, 128
    faces = []
    for letter in rng.choice(list("ABCDEFGHKLMNPRSTXYZ"), 6):
        face = textures.wood(rng, "pine", 1, cell)
        faces.append(labels.framed_letter(face, str(letter), colour))
    atlas = np.concatenate([np.concatenate(faces[:3], 1), np.concatenate(faces[3:], 1)], 0)
    return ObjectModel(
        name=f"{name} letter block",
        kind="block",
        parts=(Part(meshes.rounded_box((side,) * 3, 0.004, cells=4), atlas, 0.3, 0.4),),
        colliders=(Collider("box", (side / 2,) * 3, (0, 0, side / 2)),),
        mass_kg=0.08,
        height_m=side,
        radius_m=side * 0.71,
        grasp_width_m=side,
        grasp_height_m=side * 0.55,
    )


def book(rng: np.random.Generator) -> ObjectModel:
    """A book lying on its back."""
    x, y, z = rng.uniform(0.13, 0.17), rng.uniform(0.19, 0.23), rng.uniform(0.022, 0.036)
    palette = int(rng.integers(len(labels.PALETTES)))
    word = choose(rng, ["TIDES", "ATLAS", "BIRDS", "STARS", "PASTA"])
    atlas = labels.book_cover(rng, word, palette)
    return ObjectModel(
        name=f"{labels.PALETTE_NAMES[palette]} book",
        kind="book",
        parts=(Part(meshes.rounded_box((x, y, z), 0.003), atlas, 0.3, 0.4),),
        colliders=(Collider("box", (x / 2, y / 2, z / 2), (0, 0, z / 2)),),
        mass_kg=0.5,
        height_m=z,
        radius_m=float(np.hypot(x, y) / 2),
    )
