"""What an object is: surfaces to see, primitives to collide, weight, and how a caption calls it.

Sizes are those of the real things, in metres. An object's origin is the middle of its footprint,
on the ground, z up. The things there are: `groceries`, `crockery`, `toys`; all of them: `objects`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from training.simulate.meshes import Mesh
from training.simulate.textures import Colour, Picture

COLOURS: dict[str, Colour] = {
    "red": (206, 40, 44),
    "blue": (34, 92, 196),
    "yellow": (244, 198, 40),
    "green": (40, 150, 76),
    "orange": (240, 126, 28),
    "turquoise": (28, 166, 170),
    "purple": (130, 62, 160),
    "pink": (238, 130, 160),
    "white": (240, 236, 226),
}


SLIPPERY = 0.22
"""Friction of balls and fruit; with more, one that rolls into something climbs up it."""


@dataclass(frozen=True)
class Part:
    """One surface of an object: a mesh and the picture wrapped on it.

    specular, shininess: MuJoCo material values, 0..1 (0 is matt).
    """

    mesh: Mesh
    texture: Picture
    specular: float = 0.3
    shininess: float = 0.5


@dataclass(frozen=True)
class Collider:
    """A primitive that collides: "box" (half sizes), "cylinder" (radius, half height),
    "sphere" (radius) or "capsule" (radius, half length), centred at `centre_m`, long axis
    along `axis` ("x", "y" or "z"); `yaw_rad` turns it about z.
    """

    shape: str
    size_m: tuple[float, ...]
    centre_m: tuple[float, float, float]
    axis: str = "z"
    yaw_rad: float = 0.0


@dataclass(frozen=True)
class ObjectModel:
    """A thing that can be put into a scene.

    name: how a caption calls it, without an article ("red mug"). kind: the recipe's name.
    mass_kg; height_m above its origin; radius_m of its footprint; grasp_width_m: what a gripper
    closes to, across x, at grasp_height_m (0: not for the gripper). rolls: it rolls when
    pushed. front_yaw_rad: the turn that shows its best side to a camera at -y.
    """

    name: str
    kind: str
    parts: tuple[Part, ...]
    colliders: tuple[Collider, ...]
    mass_kg: float
    height_m: float
    radius_m: float
    grasp_width_m: float = 0.0
    grasp_height_m: float = 0.0
    rolls: bool = False
    friction: float = 0.8
    front_yaw_rad: float = 0.0


Recipe = Callable[[np.random.Generator], ObjectModel]


def article(noun: str) -> str:
    """The indefinite article that goes before `noun`."""
    return "an" if noun[0] in "aeiou" else "a"


def pick_colour(rng: np.random.Generator, among: tuple[str, ...] = ()) -> tuple[str, Colour]:
    names = among or tuple(COLOURS)
    name = names[int(rng.integers(len(names)))]
    return name, COLOURS[name]


def choose(rng: np.random.Generator, options: list[str]) -> str:
    return options[int(rng.integers(len(options)))]
