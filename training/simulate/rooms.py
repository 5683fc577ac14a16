"""Where a scene plays: the worktop, the wall behind it, what hangs there, and the lamps.

World axes: x to the right, y away from the camera, z up; metres. The worktop (or play floor) is
the plane z = 0, x in -0.9..0.9, y in -0.7..0.46; the wall stands at y = 0.46. Room parts are
background (label 0) except the objects on the wall shelf.
"""

from dataclasses import dataclass

import mujoco
import numpy as np

from training.simulate import meshes, objects, textures
from training.simulate.assembly import SceneBuilder
from training.simulate.meshes import Mesh
from training.simulate.textures import Colour, Picture
from training.simulate.things import article

SETTINGS = ("kitchen", "desk", "table", "playroom")
WALL_Y_M = 0.46
WORKTOP_X_M = (-0.9, 0.9)
WORKTOP_Y_M = (-0.7, WALL_Y_M)

WALL_COLOURS: list[tuple[Colour, Colour]] = [
    ((232, 208, 168), (250, 234, 206)),
    ((138, 178, 188), (214, 230, 226)),
    ((158, 180, 136), (218, 224, 190)),
    ((226, 164, 130), (246, 214, 188)),
    ((88, 122, 158), (148, 176, 198)),
    ((236, 200, 100), (250, 230, 170)),
]
TILE_COLOURS: list[tuple[Colour, Colour]] = [
    ((240, 236, 224), (40, 92, 160)),
    ((236, 240, 232), (30, 130, 120)),
    ((244, 232, 210), (190, 84, 48)),
    ((150, 200, 206), (246, 246, 238)),
]
CLOTH_COLOURS: list[tuple[Colour, Colour]] = [
    ((246, 242, 232), (196, 48, 52)),
    ((242, 242, 238), (46, 100, 176)),
    ((242, 230, 196), (60, 130, 90)),
    ((58, 84, 128), (228, 200, 138)),
]


@dataclass(frozen=True)
class Room:
    """setting: one of `SETTINGS`. surface: how a caption calls the worktop ("an oak table")."""

    setting: str
    surface: str


def _pair(rng: np.random.Generator, pairs: list[tuple[Colour, Colour]]) -> tuple[Colour, Colour]:
    return pairs[int(rng.integers(len(pairs)))]


def _facing_camera(
    left_m: float, bottom_m: float, width_m: float, height_m: float, y_m: float, repeat_m: float
) -> Mesh:
    """An upright rectangle whose texture, `repeat_m` a side, starts at the top left."""
    sheet = meshes.sheet(
        np.array([left_m, y_m, bottom_m]),
        np.array([width_m, 0.0, 0.0]),
        np.array([0.0, 0.0, height_m]),
        repeat_m,
        max(2, int(max(width_m, height_m) * 12)),
    )
    upright = sheet.texcoords * [1, -1] + [0, height_m / repeat_m]
    return Mesh(sheet.vertices, sheet.normals, upright, sheet.faces)


def _add_worktop(builder: SceneBuilder, picture: Picture, repeat_m: float, specular: float) -> None:
    """The top itself, its front edge, and the plane that things stand on."""
    width, depth = WORKTOP_X_M[1] - WORKTOP_X_M[0], WORKTOP_Y_M[1] - WORKTOP_Y_M[0]
    top = meshes.sheet(
        np.array([WORKTOP_X_M[0], WORKTOP_Y_M[0], 0.0]),
        np.array([width, 0.0, 0.0]),
        np.array([0.0, depth, 0.0]),
        repeat_m,
        36,
    )
    front = _facing_camera(WORKTOP_X_M[0], -0.04, width, 0.04, WORKTOP_Y_M[0], repeat_m)
    material = builder.add_material(picture, specular, 0.6)
    builder.add_surface(meshes.merge([top, front]), material)
    builder.add_static_collider("box", (4.0, 4.0, 0.1), (0, 0, -0.1))
    builder.add_static_collider("box", (4.0, 0.05, 2.0), (0, WALL_Y_M + 0.05, 0))


def _add_wall(builder: SceneBuilder, picture: Picture, repeat_m: float, specular: float) -> None:
    wall = _facing_camera(-2.2, -0.8, 4.4, 2.6, WALL_Y_M, repeat_m)
    builder.add_surface(wall, builder.add_material(picture, specular, 0.6))


def _add_block(
    builder: SceneBuilder,
    picture: Picture,
    size_m: tuple[float, float, float],
    at_m: tuple[float, float, float],
) -> None:
    """A box of background: a shelf board, a picture frame, a skirting."""
    mesh = meshes.rounded_box(size_m, 0.004, 0.3, cells=10).moved(at_m)
    builder.add_surface(mesh, builder.add_material(picture, 0.3, 0.4))


def _hang_picture(builder: SceneBuilder, rng: np.random.Generator, x_m: float, z_m: float) -> None:
    """A framed landscape on the wall."""
    width, height = rng.uniform(0.2, 0.27), rng.uniform(0.17, 0.23)
    kind = ("oak", "walnut", "pine")[int(rng.integers(3))]
    frame = textures.wood(rng, kind, 1, 256)
    _add_block(
        builder, frame, (width + 0.036, 0.02, height + 0.036), (x_m, WALL_Y_M - 0.01, z_m - 0.018)
    )
    art = meshes.sheet(
        np.array([x_m - width / 2, WALL_Y_M - 0.021, z_m]),
        np.array([width, 0, 0]),
        np.array([0, 0, height]),
        1.0,
        8,
    )
    unit = np.stack(
        [(art.vertices[:, 0] - x_m) / width + 0.5, 1 - (art.vertices[:, 2] - z_m) / height], 1
    )
    canvas = Mesh(art.vertices, art.normals, unit, art.faces)
    builder.add_surface(canvas, builder.add_material(textures.landscape(rng), 0.1, 0.2))


def _add_shelf(builder: SceneBuilder, rng: np.random.Generator, z_m: float) -> None:
    """A wall board carrying a row of crockery, plants, tins and bottles, labelled and fixed."""
    kind = ("oak", "walnut", "pine")[int(rng.integers(3))]
    board = (1.5, 0.12, 0.02)
    _add_block(builder, textures.wood(rng, kind, 1, 512), board, (0.0, WALL_Y_M - 0.06, z_m - 0.02))
    x = -0.66 + rng.uniform(0, 0.1)
    while x < 0.66:
        recipe = ("mug", "can", "mug", "plant", "bottle", "fruit")[int(rng.integers(6))]
        thing = objects.RECIPES[recipe](rng)
        reach = thing.radius_m
        turned = np.array([np.cos(0.3), 0, 0, np.sin(0.3)])
        builder.add_object(thing, (x + reach, WALL_Y_M - 0.068, z_m), turned, fixed=True)
        x += 2 * reach + rng.uniform(0.02, 0.08)


def _add_lamps(builder: SceneBuilder, rng: np.random.Generator) -> None:
    """A warm key lamp and a cool fill, both casting shadows, over a little ambient light."""
    side = -1.0 if rng.uniform() < 0.5 else 1.0
    warmth = rng.uniform(0.0, 0.12)
    world = builder.spec.worldbody
    key = np.array([side * rng.uniform(0.9, 1.5), -1.0 - rng.uniform(0, 0.5), 2.1])
    fill = np.array([-side * rng.uniform(1.3, 1.9), -1.2, 1.7])
    across = np.array([key[1], -key[0], 0.0]) / np.hypot(key[0], key[1])
    # The key lamp is three lamps side by side, so that its shadows have a soft rim.
    lamps = [(key + offset * across, 0.19, warmth) for offset in (-0.09, 0.0, 0.09)]
    lamps.append((fill, 0.24, -0.08))
    for position, level, tint in lamps:
        aim = np.array([0.0, 0.1, 0.08]) - position
        world.add_light(
            type=mujoco.mjtLightType.mjLIGHT_SPOT,
            pos=list(position),
            dir=list(aim / np.linalg.norm(aim)),
            cutoff=30.0,
            exponent=2.0,
            diffuse=[level * (1 + tint), level, level * (1 - tint)],
            specular=[level * 0.7] * 3,
            ambient=[0.0, 0.0, 0.0],
            castshadow=True,
        )
    head = builder.spec.visual.headlight
    head.ambient = [0.38, 0.375, 0.375]
    head.diffuse = [0.2, 0.195, 0.185]
    head.specular = [0.05, 0.05, 0.05]


def build_room(builder: SceneBuilder, rng: np.random.Generator, setting: str) -> Room:
    """Furnish the builder's world as `setting`, one of `SETTINGS`."""
    wood_kind = tuple(textures.WOODS)[int(rng.integers(len(textures.WOODS)))]
    planks = textures.wood(rng, wood_kind, int(rng.integers(3, 6)))
    base, accent = _pair(rng, WALL_COLOURS)
    if setting == "kitchen":
        ground, motif = _pair(rng, TILE_COLOURS)
        _add_wall(builder, textures.tiles(rng, ground, motif, 4), 0.5, 0.5)
        if rng.uniform() < 0.5:
            chips: list[Colour] = [(120, 96, 80), (206, 132, 84), (70, 84, 92), (232, 206, 160)]
            stone = (206, 200, 188) if rng.uniform() < 0.5 else (98, 112, 116)
            _add_worktop(builder, textures.terrazzo(rng, stone, chips), 0.6, 0.5)
            surface = "a stone kitchen worktop"
        else:
            _add_worktop(builder, planks, 0.55, 0.4)
            surface = f"a kitchen worktop of {wood_kind}"
        _add_shelf(builder, rng, rng.uniform(0.275, 0.295))
    elif setting == "desk":
        pattern = ("leaves", "dots", "plaster")[int(rng.integers(3))]
        _add_wall(builder, textures.wallpaper(rng, base, accent, pattern), 0.45, 0.1)
        _add_worktop(builder, planks, 0.6, 0.4)
        for x in (-0.42, 0.06, 0.5):
            _hang_picture(builder, rng, x + rng.uniform(-0.05, 0.05), rng.uniform(0.27, 0.33))
        surface = f"{article(wood_kind)} {wood_kind} desk"
    elif setting == "table":
        weave = ("gingham", "stripes", "tartan")[int(rng.integers(3))]
        ground, band = _pair(rng, CLOTH_COLOURS)
        _add_wall(builder, textures.wallpaper(rng, base, accent, "plaster"), 0.9, 0.1)
        _add_worktop(builder, textures.cloth(rng, ground, band, weave), 0.32, 0.05)
        if rng.uniform() < 0.5:
            _add_shelf(builder, rng, rng.uniform(0.275, 0.295))
        else:
            _hang_picture(builder, rng, rng.uniform(-0.4, -0.2), rng.uniform(0.24, 0.3))
            _hang_picture(builder, rng, rng.uniform(0.15, 0.4), rng.uniform(0.24, 0.3))
        adjective = {"gingham": "gingham", "stripes": "striped", "tartan": "tartan"}[weave]
        surface = f"a table with a {adjective} cloth"
    else:
        _add_wall(builder, textures.wallpaper(rng, base, accent, "panels"), 0.8, 0.1)
        _add_worktop(builder, planks, 0.7, 0.4)
        skirting = textures.plain(rng, (240, 236, 226))
        _add_block(builder, skirting, (3.6, 0.016, 0.09), (0, WALL_Y_M - 0.008, 0))
        ground, band = _pair(rng, CLOTH_COLOURS)
        weave = ("stripes", "tartan", "plain")[int(rng.integers(3))]
        rug = meshes.rounded_box((1.3, 0.8, 0.006), 0.003, 0.4, cells=14)
        rug_picture = textures.cloth(rng, ground, band, weave)
        builder.add_surface(
            rug.moved((0, -0.06, -0.004)), builder.add_material(rug_picture, 0.02, 0.1)
        )
        _hang_picture(builder, rng, rng.uniform(-0.3, 0.3), 0.26)
        surface = f"a rug on {article(wood_kind)} {wood_kind} floor"
    _add_lamps(builder, rng)
    return Room(setting, surface)
