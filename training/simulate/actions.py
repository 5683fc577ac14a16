"""What happens in a clip: picking, pushing, falling, rolling, a pendulum, dominoes, nothing.

An action places the things it needs around the world origin, on the plane z = 0, and returns how
to move them and how to tell it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import mujoco
import numpy as np

from training.simulate import crockery, gripper, groceries, meshes, objects, textures, toys
from training.simulate.assembly import COLLIDER_GROUP, PlacedObject, SceneBuilder, yaw_quat
from training.simulate.gripper import HandController, Waypoint
from training.simulate.motion import Controller, HeldHinge, Launch, Launcher, Nothing
from training.simulate.things import COLOURS, ObjectModel, article

Footprint = tuple[float, float, float]
"""x, y, radius (metres) of ground that bystanders must keep clear of."""


@dataclass(frozen=True)
class ActionPlan:
    """phrase: the caption's main clause, "{surface}" where the place goes. focus_m: what the
    camera should look at, from distance_m. taken: footprints in use. told: names of objects that
    the phrase already mentions.
    """

    phrase: str
    controller: Controller
    focus_m: tuple[float, float, float]
    distance_m: float
    taken: tuple[Footprint, ...]
    told: tuple[str, ...]


ActionPlanner = Callable[[SceneBuilder, np.random.Generator, float], ActionPlan]


def with_article(noun: str) -> str:
    """An object's name with its indefinite article: apple -> an apple."""
    return f"{article(noun)} {noun}"


def _draw(rng: np.random.Generator, kinds: tuple[str, ...]) -> ObjectModel:
    return objects.RECIPES[kinds[int(rng.integers(len(kinds)))]](rng)


def _upright(
    builder: SceneBuilder, model: ObjectModel, x: float, y: float, yaw: float, z: float = 0.0005
) -> PlacedObject:
    return builder.add_object(model, (x, y, z), yaw_quat(yaw))


def pick(builder: SceneBuilder, rng: np.random.Generator, duration_s: float) -> ActionPlan:
    """The gripper lifts a thing and lets it go over a bowl."""
    side = -1.0 if rng.uniform() < 0.5 else 1.0
    thing = _draw(rng, ("fruit", "banana", "ball", "duck", "brick", "cube", "block"))
    x, y, yaw = -side * rng.uniform(0.13, 0.18), rng.uniform(-0.06, 0.02), rng.uniform(-0.5, 0.5)
    held = _upright(builder, thing, x, y, yaw)
    bowl = crockery.bowl(rng)
    bowl_x, bowl_y = side * rng.uniform(0.12, 0.17), rng.uniform(-0.03, 0.06)
    _upright(builder, bowl, bowl_x, bowl_y, rng.uniform(0, 6))
    gripper.add_gripper(builder, rng, pushes=False)
    weld = gripper.allow_holding(builder, held)
    low, high = thing.grasp_height_m - 0.005, bowl.height_m + thing.height_m + 0.06
    drop = bowl.height_m + thing.grasp_height_m + 0.025
    closed, opened = thing.grasp_width_m / 2, gripper.OPEN_M
    turn = yaw + rng.uniform(-0.6, 0.6)
    t = duration_s / 8
    waypoints = [
        Waypoint(0.0, (side * 0.06, y + 0.05, high + 0.04), 0.0, opened),
        Waypoint(1.5 * t, (x, y, high - 0.03), yaw, opened),
        Waypoint(2.4 * t, (x, y, low), yaw, opened),
        Waypoint(2.9 * t, (x, y, low), yaw, closed),
        Waypoint(4.0 * t, (x, y, high), yaw, closed),
        Waypoint(5.4 * t, (bowl_x, bowl_y, high), turn, closed),
        Waypoint(6.1 * t, (bowl_x, bowl_y, drop), turn, closed),
        Waypoint(6.5 * t, (bowl_x, bowl_y, drop), turn, opened),
        Waypoint(7.8 * t, (0.0, bowl_y, high + 0.06), 0.0, opened),
    ]
    hand = HandController(waypoints, weld, grasp_s=2.9 * t, release_s=6.18 * t)
    return ActionPlan(
        phrase=(
            f"A robot gripper picks up {with_article(thing.name)} and drops it into "
            f"{with_article(bowl.name)} on {{surface}}"
        ),
        controller=hand,
        focus_m=(0.0, 0.02, 0.115),
        distance_m=0.66,
        taken=((x, y, thing.radius_m + 0.05), (bowl_x, bowl_y, bowl.radius_m + 0.02)),
        told=(thing.name, bowl.name, "two-finger gripper"),
    )


def push(builder: SceneBuilder, rng: np.random.Generator, duration_s: float) -> ActionPlan:
    """The closed gripper pushes a few things along in two strokes."""
    side = -1.0 if rng.uniform() < 0.5 else 1.0
    kinds = rng.choice(["can", "block", "cube", "brick", "carton", "mug"], 3, replace=False)
    things = [objects.RECIPES[str(kind)](rng) for kind in kinds]
    taken: list[Footprint] = []
    x = -side * 0.1
    for thing in things:
        y = rng.uniform(-0.05, 0.05)
        x += side * thing.radius_m
        _upright(builder, thing, x, y, rng.uniform(0, 6))
        taken.append((x, y, thing.radius_m + 0.03))
        x += side * (thing.radius_m + 0.012)
    gripper.add_gripper(builder, rng, pushes=True)
    t = duration_s / 8
    back, closed = -side * 0.24, 0.004
    waypoints = [
        Waypoint(0.0, (back - side * 0.02, -0.04, 0.24), 0.0, closed),
        Waypoint(1.4 * t, (back, -0.02, 0.012), 0.0, closed),
        Waypoint(3.6 * t, (side * 0.01, -0.02, 0.012), 0.0, closed),
        Waypoint(4.6 * t, (back * 0.6, 0.03, 0.014), 0.3, closed),
        Waypoint(7.0 * t, (side * 0.1, 0.03, 0.012), 0.3, closed),
        Waypoint(8.0 * t, (0.0, 0.0, 0.24), 0.0, closed),
    ]
    names = [thing.name for thing in things]
    return ActionPlan(
        phrase=(
            f"A robot gripper pushes {with_article(names[0])}, {with_article(names[1])} and "
            f"{with_article(names[2])} across {{surface}}"
        ),
        controller=HandController(waypoints),
        focus_m=(0.02 * side, 0.01, 0.07),
        distance_m=0.62,
        taken=(*taken, (-side * 0.24, 0.0, 0.08), (side * 0.25, 0.0, 0.16)),
        told=(*names, "two-finger gripper"),
    )


def _random_quat(rng: np.random.Generator) -> np.ndarray:
    quat = rng.normal(size=4)
    return np.asarray(quat / np.linalg.norm(quat))


def fall(builder: SceneBuilder, rng: np.random.Generator, duration_s: float) -> ActionPlan:
    """Things drop one after another onto each other and tumble."""
    count = int(rng.integers(11, 16))
    kinds = ("brick", "block", "fruit", "ball", "cube", "can", "duck", "banana", "carton")
    launches, names = [], []
    for k in range(count):
        thing = _draw(rng, kinds)
        placed = builder.add_object(thing, (0.6 * k - 2.0, 0, -6.0))
        where = np.array(
            [rng.uniform(-0.13, 0.13), rng.uniform(-0.09, 0.09), rng.uniform(0.44, 0.52)]
        )
        launches.append(
            Launch(
                placed,
                (0.25 + 0.82 * duration_s * k / count),
                where,
                _random_quat(rng),
                np.array([-0.6 * where[0], -0.4 * where[1], -0.3]),
                rng.uniform(-4, 4, 3),
            )
        )
        names.append(thing.name)
    base = [toys.brick(rng), toys.wooden_block(rng), toys.brick(rng)]
    spots = ((-0.1, 0.0), (0.0, 0.04), (0.11, -0.01))
    for model, (x, y) in zip(base, spots, strict=True):
        _upright(builder, model, x, y, rng.uniform(0, 3))
    return ActionPlan(
        phrase=(
            f"{with_article(names[0]).capitalize()}, {with_article(names[1])} and other things "
            f"fall and tumble over each other on {{surface}}"
        ),
        controller=Launcher(launches),
        focus_m=(0.0, 0.02, 0.09),
        distance_m=0.62,
        taken=((0.0, 0.0, 0.2),),
        told=(*names, *(model.name for model in base)),
    )


def _rolling(
    placed: PlacedObject, time_s: float, start: tuple[float, float], goal: tuple[float, float],
    speed: float,
) -> Launch:  # fmt: skip
    """A ball that rolls without slipping from `start` towards `goal`."""
    heading = np.array([goal[0] - start[0], goal[1] - start[1], 0.0])
    heading /= np.linalg.norm(heading)
    radius = placed.model.height_m / 2
    return Launch(
        placed,
        time_s,
        np.array([*start, 0.001]),
        np.array([1.0, 0, 0, 0]),
        speed * heading,
        speed / radius * np.cross(np.array([0, 0, 1.0]), heading),
    )


def roll(builder: SceneBuilder, rng: np.random.Generator, duration_s: float) -> ActionPlan:
    """Balls and fruit roll in from both sides and bump into things."""
    count = int(rng.integers(7, 11))
    launches, names = [], []
    for k in range(count):
        thing = _draw(rng, ("ball", "fruit"))
        placed = builder.add_object(thing, (0.6 * k - 2.0, 0, -6.0))
        side = -1.0 if (k + int(rng.integers(2))) % 2 else 1.0
        start = (side * 0.5, rng.uniform(-0.2, 0.0))
        goal = (rng.uniform(-0.13, 0.13), rng.uniform(0.02, 0.09))
        speed = rng.uniform(0.5, 0.9)
        launches.append(_rolling(placed, 0.8 * duration_s * k / count, start, goal, speed))
        names.append(thing.name)
    pins = [_draw(rng, ("can", "bottle", "carton", "block")) for _ in range(4)]
    taken: list[Footprint] = [(0.0, -0.06, 0.17)]
    taken += [
        (side * x, -0.1, radius) for side in (-1, 1) for x, radius in ((0.3, 0.11), (0.5, 0.17))
    ]
    for k, pin in enumerate(pins):
        x, y = -0.15 + 0.1 * k + rng.uniform(-0.02, 0.02), rng.uniform(0.07, 0.15)
        _upright(builder, pin, x, y, rng.uniform(-0.4, 0.4) + pin.front_yaw_rad)
        taken.append((x, y, pin.radius_m + 0.02))
    return ActionPlan(
        phrase=(
            f"{with_article(names[0]).capitalize()} and {with_article(names[1])} roll over "
            f"{{surface}} and bump into {with_article(pins[0].name)}"
        ),
        controller=Launcher(launches),
        focus_m=(0.0, 0.06, 0.125),
        distance_m=0.62,
        taken=tuple(taken),
        told=(*names, *(pin.name for pin in pins)),
    )


def pendulum(builder: SceneBuilder, rng: np.random.Generator, duration_s: float) -> ActionPlan:
    """A heavy ball on a rod swings into a tower and knocks it over."""
    length, radius, anchor_z = 0.54, 0.042, 0.64
    side = -1.0 if rng.uniform() < 0.5 else 1.0
    weight_name, colour = tuple(COLOURS.items())[int(rng.integers(8))]
    label = builder.new_label(f"{weight_name} pendulum")
    body = builder.spec.worldbody.add_body(name="pendulum", pos=[-side * 0.04, 0, anchor_z])
    body.add_joint(name="swing", type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0, 1, 0], damping=0.002)
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[radius, 0, 0], pos=[0, 0, -length], mass=1.0,
        group=COLLIDER_GROUP, friction=[0.4, 0.005, 0.0001],
    )  # fmt: skip
    picture = textures.ball_panels(rng, [colour, COLOURS["white"], colour], "bands")
    weight = meshes.sphere(radius).moved((0, 0, -length - radius))
    builder.add_surface(weight, builder.add_material(picture, 0.8, 0.8), body, label)
    steps = np.linspace(0, 1, 6)
    path = np.stack([0 * steps, 0 * steps, -(length - radius) * steps], 1)
    rod = meshes.tube(path, np.full(6, 0.0035), 10)
    builder.add_surface(
        rod, builder.add_material(textures.brushed_metal(rng), 0.9, 0.7), body, label
    )
    kind = ("block", "can", "brick")[int(rng.integers(3))]
    pitch_m, rows = {
        "block": (0.053, (3, 2, 3, 2, 1)),
        "can": (0.075, (3, 2, 1)),
        "brick": (0.051, (3, 2, 3, 2, 3, 2)),
    }[kind]
    names, level_m = [], 0.0005
    for row in rows:
        tallest = 0.0
        for k in range(row):
            size = (0.035, 0.1)
            model = groceries.can(rng, size) if kind == "can" else objects.RECIPES[kind](rng)
            x = side * (0.06 + pitch_m * (k + 0.5 * (rows[0] - row)))
            yaw = 0.0 if kind == "brick" else float(rng.uniform(-0.06, 0.06))
            _upright(builder, model, x, 0.0, yaw, level_m)
            tallest = max(tallest, model.height_m)
            names.append(model.name)
        level_m += tallest + 0.0005
    pile = {"block": "letter blocks", "can": "tins", "brick": "toy bricks"}[kind]
    return ActionPlan(
        phrase=(
            f"{with_article(weight_name).capitalize()} pendulum swings into a tower of {pile} "
            f"and knocks it over on {{surface}}"
        ),
        controller=HeldHinge("swing", side * np.deg2rad(68.0), 0.09 * duration_s),
        focus_m=(side * 0.05, 0.02, 0.1),
        distance_m=0.64,
        taken=((0.0, 0.0, 0.16), (side * 0.2, 0.0, 0.16), (-side * 0.2, 0.0, 0.08)),
        told=(*names, f"{weight_name} pendulum"),
    )


def dominoes(builder: SceneBuilder, rng: np.random.Generator, duration_s: float) -> ActionPlan:
    """A ball rolls into the first domino of a winding row, and all of them topple."""
    side = -1.0 if rng.uniform() < 0.5 else 1.0
    depth, waves = rng.uniform(0.09, 0.12), rng.uniform(0.9, 1.15)
    fine = np.linspace(0, 1, 4000)
    x = side * (-0.27 + 0.54 * fine)
    y = depth * np.sin(2 * np.pi * waves * fine) * np.clip(4 * fine, 0, 1) ** 0.5 - 0.01
    arc = np.r_[0, np.cumsum(np.hypot(np.diff(x), np.diff(y)))]
    spacing = 0.033
    taken: list[Footprint] = []
    at = np.searchsorted(arc, np.arange(0, arc[-1], spacing))
    for index in at:
        ahead, behind = min(index + 40, 3999), max(index - 40, 0)
        yaw = float(np.arctan2(y[ahead] - y[behind], x[ahead] - x[behind]))
        _upright(builder, toys.domino(rng), float(x[index]), float(y[index]), yaw)
        taken.append((float(x[index]), float(y[index]), 0.07))
    runner = toys.ball(rng)
    placed = builder.add_object(runner, (0.0, 0.0, -6.0))
    heading = np.array([x[80] - x[0], y[80] - y[0]])
    heading /= np.linalg.norm(heading)
    goal = (float(x[0]), float(y[0]))
    start = (goal[0] - 0.36 * float(heading[0]), goal[1] - 0.36 * float(heading[1]))
    launch = _rolling(placed, 0.06 * duration_s, start, goal, rng.uniform(0.3, 0.4))
    taken += [(goal[0] - d * float(heading[0]), goal[1] - d * float(heading[1]), 0.06)
              for d in (0.08, 0.16, 0.24, 0.32)]  # fmt: skip
    return ActionPlan(
        phrase=(
            f"{with_article(runner.name).capitalize()} rolls into a winding row of coloured "
            f"dominoes on {{surface}} and topples them one by one"
        ),
        controller=Launcher([launch]),
        focus_m=(0.0, 0.02, 0.06),
        distance_m=0.64,
        taken=tuple(taken),
        told=(runner.name, *(o.model.name for o in builder.placed if o.model.kind == "domino")),
    )


def still(builder: SceneBuilder, rng: np.random.Generator, duration_s: float) -> ActionPlan:
    """Nothing moves but the camera."""
    main = _draw(rng, ("teapot", "plant", "carton", "bottle", "bowl"))
    placed = _upright(builder, main, 0.0, 0.02, rng.uniform(-0.6, 0.6))
    return ActionPlan(
        phrase=f"{with_article(placed.model.name).capitalize()} stands on {{surface}}",
        controller=Nothing(),
        focus_m=(0.0, 0.02, 0.09),
        distance_m=0.6,
        taken=((0.0, 0.02, main.radius_m + 0.02),),
        told=(main.name,),
    )


ACTIONS: dict[str, ActionPlanner] = {
    "pick": pick,
    "push": push,
    "fall": fall,
    "roll": roll,
    "pendulum": pendulum,
    "dominoes": dominoes,
    "still": still,
}
"""Every action by name."""
