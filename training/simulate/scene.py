"""What a simulated clip is: a room, an action, bystanders, a camera, a caption, from one seed.

    for frame in simulate_scene(seed=3, width=256, height=256, fps=8.0, seconds=2.0):
        frame.rgb, frame.labels

The same arguments give the same frames on the same machine and OpenGL; the scene (what is where,
and how it is told) does not depend on the frame size. Seeds in
`seeds.RESERVED_SAMPLE_SEEDS` belong to the bundled samples: recipes that train must draw their
scenes through `simulate_training_scene`, which refuses them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from semcast.errors import InputError
from training.simulate import objects
from training.simulate.actions import ACTIONS, ActionPlan, Footprint, with_article
from training.simulate.assembly import SceneBuilder, yaw_quat
from training.simulate.camera import MOVE_PHRASES, MOVES, CameraPath, draw_camera, fovy_for
from training.simulate.render import FrameRenderer
from training.simulate.rooms import SETTINGS, Room, build_room
from training.simulate.seeds import refuse_reserved_seed

SHORTEST_ACTION_S = 5.0
"""An action takes at least this long; a shorter clip shows a stretch from within it."""

SETTLE_S = 0.4
"""Physics time before the action, in which things come to rest on the ground."""


@dataclass(frozen=True)
class SceneInfo:
    """caption: one sentence. objects: name of label k at index k - 1. The rest as drawn."""

    caption: str
    objects: tuple[str, ...]
    seed: int
    action: str
    setting: str
    move: str


@dataclass(frozen=True)
class SimulatedFrame:
    """rgb: uint8 [H, W, 3]. labels: uint8 [H, W], 0 background, k: `SceneInfo.objects[k - 1]`."""

    rgb: NDArray[np.uint8]
    labels: NDArray[np.uint8]


@dataclass(frozen=True)
class _Stage:
    builder: SceneBuilder
    plan: ActionPlan
    camera: CameraPath
    info: SceneInfo
    action_s: float
    start_s: float


def _bystanders(
    builder: SceneBuilder, rng: np.random.Generator, taken: list[Footprint], count: int
) -> list[str]:
    """Stand things around the action: tall ones behind it, low ones at its sides."""
    names: list[str] = []
    tall = ("bottle", "carton", "plant", "teapot", "can", "mug")
    low = ("mug", "fruit", "cube", "block", "brick", "duck", "book", "banana")
    for k in range(count):
        kinds = tall if k % 2 == 0 else low
        model = objects.RECIPES[kinds[int(rng.integers(len(kinds)))]](rng)
        for _ in range(40):
            x = float(rng.uniform(-0.4, 0.4))
            nearest = 0.16 if kinds is tall else -0.2
            y = float(rng.uniform(nearest, 0.34))
            if kinds is low and abs(x) < 0.16 and y < 0.12:
                continue
            if all(np.hypot(x - a, y - b) > model.radius_m + r + 0.008 for a, b, r in taken):
                yaw = float(rng.uniform(-0.6, 0.6)) + model.front_yaw_rad
                builder.add_object(model, (x, y, 0.0005), yaw_quat(yaw))
                taken.append((x, y, model.radius_m))
                names.append(model.name)
                break
    return names


def _caption(plan: ActionPlan, room: Room, move: str, bystanders: list[str]) -> str:
    """One sentence: the action, the place, up to two things beside it, the camera."""
    sentence = plan.phrase.format(surface=room.surface)
    beside = [name for name in dict.fromkeys(bystanders) if name not in plan.told][:2]
    if beside:
        sentence += ", beside " + " and ".join(with_article(name) for name in beside)
    return f"{sentence}, {MOVE_PHRASES[move]}."


def _check(name: str, value: str | None, allowed: tuple[str, ...]) -> None:
    if value is not None and value not in allowed:
        raise InputError(f"unknown {name} {value!r}; choose one of {', '.join(allowed)}")


def _build(
    seed: int,
    width: int,
    height: int,
    seconds: float,
    action: str | None,
    setting: str | None,
    move: str | None,
    shadow_size: int,
) -> _Stage:
    _check("action", action, tuple(ACTIONS))
    _check("setting", setting, SETTINGS)
    _check("camera move", move, MOVES)
    if not (16 <= width <= 4096 and 16 <= height <= 4096 and 0 < seconds <= 600):
        raise InputError("a simulated clip is 16 to 4096 pixels a side and up to 600 seconds long")
    rng = np.random.default_rng(seed)
    drawn = (
        tuple(ACTIONS)[int(rng.integers(len(ACTIONS)))],
        SETTINGS[int(rng.integers(len(SETTINGS)))],
        MOVES[int(rng.integers(len(MOVES)))],
    )
    action, setting, move = action or drawn[0], setting or drawn[1], move or drawn[2]
    action_s = max(seconds, SHORTEST_ACTION_S)
    start_s = float(rng.uniform(0, 1)) * (action_s - seconds)
    room_rng, action_rng, other_rng, camera_rng = rng.spawn(4)
    builder = SceneBuilder(width, height, shadow_size)
    room = build_room(builder, room_rng, setting)
    plan = ACTIONS[action](builder, action_rng, action_s)
    count = int(other_rng.integers(8, 12))
    bystanders = _bystanders(builder, other_rng, list(plan.taken), count)
    camera = draw_camera(camera_rng, move, plan.focus_m, plan.distance_m)
    builder.spec.worldbody.add_camera(name="view", fovy=fovy_for(camera.fovy_deg, width, height))
    info = SceneInfo(
        caption=_caption(plan, room, move, bystanders),
        objects=tuple(builder.label_names),
        seed=seed,
        action=action,
        setting=setting,
        move=move,
    )
    return _Stage(builder, plan, camera, info, action_s, start_s)


def scene_info(
    seed: int,
    seconds: float,
    action: str | None = None,
    setting: str | None = None,
    move: str | None = None,
) -> SceneInfo:
    """What `simulate_scene` with the same arguments will show, without drawing it."""
    return _build(seed, 16, 16, seconds, action, setting, move, 256).info


def simulate_scene(
    seed: int,
    width: int,
    height: int,
    fps: float,
    seconds: float,
    action: str | None = None,
    *,
    setting: str | None = None,
    move: str | None = None,
    shadow_size: int = 2048,
) -> Iterator[SimulatedFrame]:
    """Frames of the scene `seed`, `fps` a second for `seconds`.

    action, setting, move: names from `actions.ACTIONS`, `rooms.SETTINGS`, `camera.MOVES`; drawn
    from the seed if None. shadow_size: side of the shadow maps in texels (finer is slower).
    Raises `InputError` for unknown names, or where no offscreen OpenGL can be had.
    """
    stage = _build(seed, width, height, seconds, action, setting, move, shadow_size)
    model, labels_by_geom = stage.builder.compile()
    data = mujoco.MjData(model)
    timestep_s = float(model.opt.timestep)
    settle_steps = round(SETTLE_S / timestep_s)
    step = -settle_steps
    with FrameRenderer(model, labels_by_geom, width, height) as renderer:
        for k in range(round(seconds * fps)):
            due_step = round((stage.start_s + k / fps) / timestep_s)
            while step < due_step:
                stage.plan.controller.step(model, data, max(step, 0) * timestep_s)
                mujoco.mj_step(model, data)
                step += 1
            mujoco.mj_forward(model, data)
            position_m, rotation = stage.camera.pose(stage.start_s + k / fps, stage.action_s)
            rgb, labels = renderer.draw(data, position_m, rotation)
            yield SimulatedFrame(rgb, labels)


def simulate_training_scene(
    seed: int, width: int, height: int, fps: float, seconds: float, action: str | None = None
) -> Iterator[SimulatedFrame]:
    """`simulate_scene` for training: raises `InputError` on seeds reserved for the samples."""
    refuse_reserved_seed(seed)
    return simulate_scene(seed, width, height, fps, seconds, action)
