"""Which groceries there are: tins, cartons, bottles, bananas and other fruit."""

from itertools import pairwise

import numpy as np

from training.simulate import labels, meshes, textures
from training.simulate.meshes import Mesh
from training.simulate.textures import Picture
from training.simulate.things import SLIPPERY, Collider, ObjectModel, Part, choose, pick_colour


def can(rng: np.random.Generator, size_m: tuple[float, float] | None = None) -> ObjectModel:
    """A tin with a printed wrapper and metal ends; `size_m` fixes (radius, height)."""
    radius, height = size_m or (rng.uniform(0.033, 0.038), rng.uniform(0.095, 0.125))
    palette = int(rng.integers(len(labels.PALETTES)))
    word = choose(rng, ["SOUP", "TOMATO", "PEAS", "COLA", "BEANS", "CORN"])
    rim = 0.004
    side = meshes.lathe([[(radius, rim * 1.5), (radius, height - rim * 1.5)]])
    metal = meshes.lathe(
        [
            [(0.0, 0.002), (radius * 0.93, 0.0)],
            [(radius * 0.93, 0.0), (radius * 1.02, rim * 0.6), (radius, rim * 1.5)],
            [(radius, height - rim * 1.5), (radius * 1.02, height - rim * 0.5)],
            [(radius * 1.02, height - rim * 0.5), (radius * 0.94, height)],
            [(radius * 0.94, height), (radius * 0.9, height - rim)],
            [(radius * 0.9, height - rim), (0.0, height - rim)],
        ]
    )
    return ObjectModel(
        name=f"{labels.PALETTE_NAMES[palette]} {word.lower()} can",
        kind="can",
        parts=(
            Part(side, labels.wrapper(rng, word, palette), 0.5, 0.6),
            Part(metal, textures.brushed_metal(rng), 0.9, 0.7),
        ),
        colliders=(Collider("cylinder", (radius, height / 2), (0, 0, height / 2)),),
        mass_kg=0.25,
        height_m=height,
        radius_m=radius,
        grasp_width_m=2 * radius,
        grasp_height_m=height * 0.72,
        rolls=True,
    )


def carton(rng: np.random.Generator) -> ObjectModel:
    """A printed cardboard box."""
    kind = choose(rng, ["cereal box", "tea box", "cracker box", "milk carton"])
    sizes = {
        "cereal box": (0.06, 0.15, 0.21),
        "tea box": (0.065, 0.1, 0.09),
        "cracker box": (0.05, 0.13, 0.16),
        "milk carton": (0.075, 0.075, 0.19),
    }
    words = {
        "cereal box": ["OATS", "FLAKES", "CRUNCH"],
        "tea box": ["TEA", "MINT"],
        "cracker box": ["CRISPS", "SALTY"],
        "milk carton": ["MILK", "OAT"],
    }
    x, y, z = (s * rng.uniform(0.92, 1.06) for s in sizes[kind])
    palette = int(rng.integers(len(labels.PALETTES)))
    atlas = labels.carton(rng, choose(rng, words[kind]), palette)
    return ObjectModel(
        name=f"{labels.PALETTE_NAMES[palette]} {kind}",
        kind="carton",
        parts=(Part(meshes.rounded_box((x, y, z), 0.003), atlas, 0.3, 0.4),),
        colliders=(Collider("box", (x / 2, y / 2, z / 2), (0, 0, z / 2)),),
        mass_kg=0.3,
        height_m=z,
        radius_m=float(np.hypot(x, y) / 2),
        grasp_width_m=x,
        grasp_height_m=z * 0.75,
        front_yaw_rad=np.pi / 2,
    )


def bottle(rng: np.random.Generator) -> ObjectModel:
    """A bottle with a printed label and a cap."""
    radius, height = rng.uniform(0.031, 0.036), rng.uniform(0.2, 0.235)
    name, colour = pick_colour(rng, ("green", "red", "orange", "yellow", "blue"))
    word = choose(rng, ["JUICE", "SAUCE", "OIL", "SODA"])
    palette = int(rng.integers(len(labels.PALETTES)))
    shoulder, neck = height * 0.62, radius * 0.38
    t = np.linspace(0, np.pi / 2, 10)
    curve = [
        (float(neck + (radius - neck) * np.cos(a)), float(shoulder + height * 0.18 * np.sin(a)))
        for a in t
    ]
    glass = meshes.lathe(
        [
            [
                (radius * 0.9, 0.0),
                (radius, 0.006),
                (radius, shoulder),
                *curve[1:],
                (neck, height * 0.9),
            ]
        ]
    )
    cap = meshes.lathe(
        [
            [(neck * 1.25, height * 0.89), (neck * 1.25, height)],
            [(neck * 1.25, height), (0.0, height)],
        ]
    )
    band = meshes.lathe([[(radius * 1.01, height * 0.14), (radius * 1.01, height * 0.5)]])
    return ObjectModel(
        name=f"{name} bottle",
        kind="bottle",
        parts=(
            Part(glass, textures.plain(rng, colour, 0.08), 0.9, 0.9),
            Part(
                meshes.merge([cap, meshes.underside(radius * 0.9)]),
                textures.plain(rng, (240, 236, 228)),
                0.5,
                0.6,
            ),
            Part(band, labels.wrapper(rng, word, palette), 0.3, 0.4),
        ),
        colliders=(
            Collider("cylinder", (radius, shoulder / 2), (0, 0, shoulder / 2)),
            Collider("cylinder", (neck * 1.25, height * 0.19), (0, 0, height * 0.81)),
        ),
        mass_kg=0.35,
        height_m=height,
        radius_m=radius,
        rolls=True,
    )


def banana(rng: np.random.Generator) -> ObjectModel:
    """A banana lying on its side, curved in the plane of the table."""
    count, bend = 28, rng.uniform(1.2, 1.6)
    length = rng.uniform(0.17, 0.195)
    t = np.linspace(-0.5, 0.5, count)
    arc = length / bend
    path = np.stack(
        [arc * (np.cos(t * bend) - np.cos(bend / 2) * 0.6 - 0.35), arc * np.sin(t * bend), 0 * t], 1
    )
    path[:, 0] -= path[:, 0].mean()
    radii = 0.0185 * np.clip(1 - np.abs(2 * t) ** 3.2, 0, 1) ** 0.55
    radii = np.maximum(radii, np.where(t > 0.42, 0.0048, 0.004))
    radii[0] = radii[-1] = 0.0006
    path[:, 2] = 0.0185
    size = 256
    v = np.linspace(0, 1, size)[:, None]
    base = textures.fruit_skin(rng, (246, 206, 52), (238, 184, 30), (120, 80, 30)).astype(float)
    ends = np.clip((np.abs(v - 0.5) - 0.43) / 0.05, 0, 1)[..., None]
    green = np.clip((v - 0.8) / 0.15, 0, 1)[..., None] * 0.5
    skin = (1 - green) * base + green * np.array([150, 180, 60])
    skin = (1 - ends) * skin + ends * np.array([92, 66, 34])
    joints = [0, 7, 13, 20, 27]
    capsules = []
    for a, b in pairwise(joints):
        middle, step = (path[a] + path[b]) / 2, path[b] - path[a]
        capsules.append(
            Collider(
                "capsule",
                (0.0155, float(np.linalg.norm(step) / 2 - 0.004)),
                (float(middle[0]), float(middle[1]), 0.0185),
                axis="y",
                yaw_rad=float(np.arctan2(-step[0], step[1])),
            )
        )
    return ObjectModel(
        name="banana",
        kind="banana",
        parts=(Part(meshes.tube(path, radii, 20), textures.to_picture(skin), 0.25, 0.4),),
        colliders=tuple(capsules),
        mass_kg=0.12,
        height_m=0.037,
        radius_m=length * 0.48,
        grasp_width_m=0.037,
        grasp_height_m=0.02,
    )


def _fruit(
    name: str,
    mesh: Mesh,
    skin: Picture,
    radius_m: float,
    height_m: float,
    stem: Mesh | None,
    rng: np.random.Generator,
    specular: float,
    more_colliders: tuple[Collider, ...] = (),
) -> ObjectModel:
    parts = [Part(mesh, skin, specular, 0.6)]
    if stem is not None:
        parts.append(Part(stem, textures.plain(rng, (92, 64, 36)), 0.1, 0.2))
    core_m = min(radius_m, height_m / 2)
    return ObjectModel(
        name=name,
        kind="fruit",
        parts=tuple(parts),
        colliders=(Collider("sphere", (core_m,), (0, 0, core_m)), *more_colliders),
        mass_kg=0.16,
        height_m=height_m,
        radius_m=radius_m,
        grasp_width_m=2 * radius_m,
        grasp_height_m=core_m,
        rolls=True,
        friction=SLIPPERY,
    )


def fruit(rng: np.random.Generator) -> ObjectModel:
    """An apple, an orange, a lemon or a pear."""
    kind = choose(rng, ["apple", "green apple", "orange", "lemon", "pear"])
    polar = np.linspace(-np.pi / 2, np.pi / 2, 25)
    radius = rng.uniform(0.034, 0.039)
    if kind in ("apple", "green apple"):
        dip = np.exp(-(((polar - np.pi / 2) / 0.42) ** 2)) * 0.34
        dip_low = np.exp(-(((polar + np.pi / 2) / 0.35) ** 2)) * 0.16
        profile = [
            (float(radius * np.cos(p) * (1 + 0.08 * np.sin(p))), float(radius * z))
            for p, z in zip(polar, 0.93 * (np.sin(polar) + 1) - dip + dip_low, strict=True)
        ]
        base, blush = (
            ((190, 26, 34), (236, 178, 66)) if kind == "apple" else ((126, 176, 50), (206, 206, 84))
        )
        skin = textures.fruit_skin(rng, base, blush, (250, 224, 160))
        steps = np.linspace(0, 1, 6)
        path = np.stack([0.006 * steps**2, 0 * steps, radius * 1.5 + 0.026 * steps], 1)
        stem = meshes.tube(path, np.full(6, 0.0016), 8)
        return _fruit(kind, meshes.lathe([profile]), skin, radius, radius * 1.86, stem, rng, 0.7)
    if kind == "orange":
        skin = textures.fruit_skin(rng, (244, 136, 22), (250, 160, 40), (206, 96, 10))
        return _fruit(
            kind, meshes.sphere(radius, 0.97), skin, radius, radius * 1.94, None, rng, 0.5
        )
    if kind == "lemon":
        small = radius * 0.82
        profile = [
            (float(small * np.cos(p) ** 1.15), float(small * (1.28 + 1.28 * np.sin(p))))
            for p in polar
        ]
        lying = meshes.rotation_about("x", np.pi / 2)
        mesh = meshes.lathe([profile]).moved((0, 0, -1.28 * small)).rotated(lying)
        skin = textures.fruit_skin(rng, (248, 222, 60), (238, 204, 44), (214, 176, 40))
        return _fruit(kind, mesh.moved((0, 0, small)), skin, small, 2 * small, None, rng, 0.5)
    width = 1 - 0.42 * np.clip(np.sin(polar), 0, 1) ** 1.2
    profile = [
        (
            float(radius * np.cos(p) * w),
            float(radius * (1.35 * np.sin(p) * (1.0 if p < 0 else 1.25) + 1.3)),
        )
        for p, w in zip(polar, width, strict=True)
    ]
    profile = [(r, max(z - profile[0][1], 0.0)) for r, z in profile]
    height = profile[-1][1]
    skin = textures.fruit_skin(rng, (176, 186, 60), (220, 150, 60), (110, 120, 40))
    steps = np.linspace(0, 1, 5)
    path = np.stack([0.005 * steps, 0 * steps, height - 0.003 + 0.022 * steps], 1)
    stem = meshes.tube(path, np.full(5, 0.0018), 8)
    top = Collider("sphere", (radius * 0.62,), (0, 0, height - radius * 0.62))
    return _fruit("pear", meshes.lathe([profile]), skin, radius, height, stem, rng, 0.4, (top,))
