"""Which crockery and plants there are: mugs, bowls, teapots, pot plants."""

import numpy as np

from training.simulate import meshes, textures
from training.simulate.meshes import Mesh
from training.simulate.things import (
    COLOURS,
    Collider,
    ObjectModel,
    Part,
    article,
    choose,
    pick_colour,
)


def mug(rng: np.random.Generator) -> ObjectModel:
    """A glazed mug with a handle."""
    radius, height, wall = rng.uniform(0.038, 0.045), rng.uniform(0.085, 0.105), 0.004
    name, colour = pick_colour(rng, ("red", "blue", "yellow", "green", "turquoise", "pink"))
    pattern = choose(rng, ["bands", "dots", "chevrons", "speckled", "dipped"])
    cream = (246, 240, 226)
    outside = meshes.lathe(
        [
            [(radius * 0.86, 0.0), (radius * 0.95, 0.004), (radius, 0.014), (radius, height)],
            [(radius, height), (radius - wall / 2, height + 0.0015), (radius - wall, height)],
        ]
    )
    inside = meshes.lathe(
        [
            [(radius - wall, height), (radius - wall, 0.012), (radius * 0.7, 0.006)],
            [(radius * 0.7, 0.006), (0.0, 0.006)],
        ]
    )
    angle = np.linspace(-np.pi * 0.5, np.pi * 0.5, 20)
    reach = height * 0.33
    path = np.stack(
        [
            radius - 0.004 + reach * 0.85 * np.cos(angle),
            np.zeros_like(angle),
            height * 0.52 + reach * np.sin(angle),
        ],
        1,
    )
    handle = meshes.tube(path, np.full(20, 0.0058))
    return ObjectModel(
        name=f"{name} mug",
        kind="mug",
        parts=(
            Part(outside, textures.glaze(rng, cream, colour, pattern), 0.7, 0.8),
            Part(inside, textures.plain(rng, cream), 0.4, 0.6),
            Part(
                meshes.merge([handle, meshes.underside(radius * 0.86)]),
                textures.plain(rng, colour),
                0.7,
                0.8,
            ),
        ),
        colliders=(
            Collider("cylinder", (radius, height / 2), (0, 0, height / 2)),
            Collider("box", (reach * 0.42, 0.006, reach), (radius + reach * 0.4, 0, height * 0.52)),
        ),
        mass_kg=0.3,
        height_m=height,
        radius_m=radius + reach,
    )


def bowl(rng: np.random.Generator) -> ObjectModel:
    """A wide bowl that things can be put into."""
    radius, height = rng.uniform(0.085, 0.1), rng.uniform(0.055, 0.068)
    name, colour = pick_colour(rng, ("blue", "green", "turquoise", "red", "white", "yellow"))
    accent = (246, 240, 226)
    if name == "white":
        name, accent = "white and blue", COLOURS["blue"]
    t = np.linspace(0, np.pi / 2, 14)
    outer = [
        (
            float(radius * (0.42 + 0.58 * np.sin(a))),
            float(0.006 + (height - 0.006) * (1 - np.cos(a))),
        )
        for a in t
    ]
    inner = [(r - 0.005 if r > 0.006 else r, z + 0.003) for r, z in outer][::-1]
    outside = meshes.lathe(
        [
            [(radius * 0.4, 0.0), (radius * 0.42, 0.006)],
            outer,
            [outer[-1], (radius - 0.002, height + 0.003), inner[0]],
        ]
    )
    inside = meshes.lathe([inner, [inner[-1], (0.0, inner[-1][1])]])
    pattern = choose(rng, ["bands", "dots", "chevrons", "speckled"])
    segments = 14
    ring = tuple(
        Collider(
            "box",
            (0.004, radius * np.pi / segments * 1.05, height * 0.42),
            (
                float(radius * 0.88 * np.cos(a)),
                float(radius * 0.88 * np.sin(a)),
                height * 0.56,
            ),
            yaw_rad=float(a),
        )
        for a in 2 * np.pi * np.arange(segments) / segments
    )
    return ObjectModel(
        name=f"{name} bowl",
        kind="bowl",
        parts=(
            Part(outside, textures.glaze(rng, colour, accent, pattern), 0.7, 0.8),
            Part(
                meshes.merge([inside, meshes.underside(radius * 0.4)]),
                textures.plain(rng, accent),
                0.5,
                0.7,
            ),
        ),
        colliders=(Collider("cylinder", (radius * 0.8, 0.005), (0, 0, 0.005)), *ring),
        mass_kg=0.7,
        height_m=height,
        radius_m=radius,
    )


def teapot(rng: np.random.Generator) -> ObjectModel:
    """A round teapot with spout, handle and lid."""
    name, colour = pick_colour(rng, ("red", "blue", "turquoise", "white", "green", "yellow"))
    accent = (246, 240, 226) if name != "white" else COLOURS["blue"]
    r = 0.062
    polar = np.linspace(-1.15, 1.2, 22)
    profile = [
        (float(r * np.cos(p)), float(0.84 * r * (np.sin(p) - np.sin(polar[0])))) for p in polar
    ]
    top_r, top_z = profile[-1]
    lid = meshes.lathe(
        [
            [(top_r * 1.15, top_z), (top_r, top_z + 0.006), (0.008, top_z + 0.012)],
            [
                (0.006, top_z + 0.012),
                (0.011, top_z + 0.02),
                (0.008, top_z + 0.027),
                (0.0, top_z + 0.029),
            ],
        ]
    )
    s = np.linspace(0, 1, 14)
    spout = meshes.tube(
        np.stack([0.05 + 0.052 * s, 0 * s, 0.03 + 0.065 * s**1.6 + 0.0 * s], 1), 0.014 - 0.0065 * s
    )
    a = np.linspace(-1.35, 1.35, 20)
    handle = meshes.tube(
        np.stack([-0.05 - 0.042 * np.cos(a), 0 * a, 0.054 + 0.034 * np.sin(a)], 1),
        np.full(20, 0.0065),
    )
    pattern = choose(rng, ["dots", "bands", "chevrons", "speckled"])
    return ObjectModel(
        name=f"{name} teapot",
        kind="teapot",
        parts=(
            Part(meshes.lathe([profile]), textures.glaze(rng, colour, accent, pattern), 0.8, 0.85),
            Part(
                meshes.merge([lid, meshes.underside(profile[0][0])]),
                textures.plain(rng, accent),
                0.8,
                0.8,
            ),
            Part(meshes.merge([spout, handle]), textures.plain(rng, colour), 0.8, 0.8),
        ),
        colliders=(
            Collider("cylinder", (r * 0.92, top_z / 2), (0, 0, top_z / 2)),
            Collider("box", (0.1, 0.008, 0.03), (0, 0, 0.056)),
        ),
        mass_kg=0.6,
        height_m=top_z + 0.029,
        radius_m=0.1,
    )


def plant(rng: np.random.Generator) -> ObjectModel:
    """A pot plant with broad leaves."""
    name, colour = pick_colour(rng, ("orange", "white", "blue", "pink"))
    pot = meshes.lathe(
        [
            [(0.032, 0.0), (0.046, 0.07)],
            [(0.046, 0.07), (0.05, 0.07), (0.05, 0.085)],
            [(0.05, 0.085), (0.044, 0.085)],
            [(0.044, 0.085), (0.043, 0.074), (0.0, 0.076)],
        ]
    )
    leaves = []
    for k in range(16):
        s = np.linspace(0, 1, 10)
        lean, turn = rng.uniform(0.25, 1.15), 2.4 * k + rng.uniform(-0.3, 0.3)
        length = rng.uniform(0.07, 0.13)
        out = length * np.sin(lean) * s + 0.02 * s**2
        up = 0.075 + length * np.cos(lean) * s - 0.035 * lean * s**2
        path = np.stack([out, 0 * s, up], 1)
        width = 0.004 + 0.016 * np.sin(np.pi * s**0.8) ** 1.2
        width[-1] = 0.0006
        blade = meshes.tube(path, width, 12)
        flat = blade.vertices.copy()
        spine_z = np.interp(flat[:, 0], path[:, 0], path[:, 2])
        flat[:, 2] = spine_z + 0.16 * (flat[:, 2] - spine_z)
        leaf = Mesh(flat, blade.normals, blade.texcoords, blade.faces)
        leaves.append(leaf.rotated(meshes.rotation_about("z", turn)))
    green = textures.fruit_skin(rng, (40, 116, 52), (104, 168, 70), (170, 206, 110))
    return ObjectModel(
        name=f"plant in {article(name)} {name} pot",
        kind="plant",
        parts=(
            Part(pot, textures.glaze(rng, colour, (244, 236, 220), "bands"), 0.4, 0.5),
            Part(meshes.merge(leaves), green, 0.3, 0.4),
        ),
        colliders=(Collider("cylinder", (0.047, 0.043), (0, 0, 0.043)),),
        mass_kg=0.6,
        height_m=0.2,
        radius_m=0.07,
    )
