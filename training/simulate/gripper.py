"""How the two-finger gripper is built, and how it picks things up or pushes them.

The hand hangs from an arm that comes from above. Its reference point is the tool centre: midway
between the finger tips. Four joints (x, y, z, yaw) and two fingers follow position servos. While
a thing is held, a weld keeps it in the hand: friction grasps slip at random and would spoil the
caption; the fingers close to the thing's own width, so what is seen is a grasp.
"""

from dataclasses import dataclass

import mujoco
import numpy as np

from training.simulate import meshes, textures
from training.simulate.assembly import COLLIDER_GROUP, PlacedObject, SceneBuilder
from training.simulate.motion import Vector, minimum_jerk
from training.simulate.textures import Colour

HAND_BODY = "hand"
AXES = ("x", "y", "z", "yaw", "left", "right")
OPEN_M = 0.056
"""Half the gap between the fingers when open."""


@dataclass(frozen=True)
class Waypoint:
    """Where the hand is to be at `time_s`: tool centre [3] m, yaw, half the finger gap."""

    time_s: float
    tool_m: tuple[float, float, float]
    yaw_rad: float
    gap_m: float


def add_gripper(builder: SceneBuilder, rng: np.random.Generator, pushes: bool) -> int:
    """Hang the gripper in the scene; returns its label. `pushes`: the closed hand collides."""
    label = builder.new_label("two-finger gripper")
    accents: list[Colour] = [(240, 120, 24), (34, 110, 196), (220, 50, 50), (60, 170, 90)]
    accent = builder.add_material(
        textures.plain(rng, accents[int(rng.integers(len(accents)))]), 0.6, 0.6
    )
    shell = builder.add_material(textures.plain(rng, (232, 232, 228)), 0.6, 0.6)
    steel = builder.add_material(textures.brushed_metal(rng, 150), 0.9, 0.7)
    rubber = builder.add_material(textures.plain(rng, (52, 52, 58)), 0.2, 0.3)
    hand = builder.spec.worldbody.add_body(name=HAND_BODY, pos=[0, 0, 0], gravcomp=1)
    hand.add_geom(
        type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[0.03, 0, 0], pos=[0, 0, 0.14], mass=1.0,
        contype=0, conaffinity=0, group=COLLIDER_GROUP,
    )  # fmt: skip
    for axis, direction in (("x", [1, 0, 0]), ("y", [0, 1, 0]), ("z", [0, 0, 1])):
        hand.add_joint(name=axis, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=direction, armature=1.0)
    hand.add_joint(name="yaw", type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0, 0, 1], armature=0.1)
    palm = meshes.rounded_box((0.15, 0.06, 0.045), 0.01, 0.2).moved((0, 0, 0.105))
    builder.add_surface(palm, shell, hand, label)
    stripe = meshes.rounded_box((0.152, 0.062, 0.01), 0.004, 0.2).moved((0, 0, 0.12))
    builder.add_surface(stripe, accent, hand, label)
    wrist = meshes.lathe(
        [
            [(0.0, 0.15), (0.034, 0.15)],
            [(0.034, 0.15), (0.034, 0.185)],
            [(0.034, 0.185), (0.026, 0.195), (0.026, 0.21)],
        ]
    )
    builder.add_surface(wrist, steel, hand, label)
    collar = meshes.lathe(
        [
            [(0.026, 0.205), (0.036, 0.21)],
            [(0.036, 0.21), (0.036, 0.24)],
            [(0.036, 0.24), (0.03, 0.245)],
        ]
    )
    builder.add_surface(collar, accent, hand, label)
    arm = meshes.lathe([[(0.03, 0.24), (0.03, 1.3)]])
    builder.add_surface(arm, shell, hand, label)
    for side, sign in (("left", -1.0), ("right", 1.0)):
        finger = hand.add_body(name=f"finger-{side}", gravcomp=1)
        finger.add_joint(
            name=side, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[sign, 0, 0], armature=0.2
        )
        finger.add_geom(
            type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[0.01, 0, 0], pos=[0, 0, 0.08], mass=0.05,
            contype=0, conaffinity=0, group=COLLIDER_GROUP,
        )  # fmt: skip
        bar = meshes.rounded_box((0.012, 0.022, 0.115), 0.004, 0.1).moved((sign * 0.013, 0, -0.006))
        pad = meshes.rounded_box((0.007, 0.026, 0.04), 0.003, 0.1).moved((sign * 0.0035, 0, -0.018))
        builder.add_surface(bar, steel, finger, label)
        builder.add_surface(pad, rubber, finger, label)
    if pushes:
        hand.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.02, 0.016, 0.06], pos=[0, 0, 0.045],
            mass=0.01, group=COLLIDER_GROUP, friction=[0.3, 0.005, 0.0001],
        )  # fmt: skip
    for axis in AXES:
        servo = builder.spec.add_actuator(name=axis, target=axis, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        stiffness = 300.0 if axis in ("yaw", "left", "right") else 6000.0
        damping = 20.0 if axis in ("yaw", "left", "right") else 220.0
        servo.set_to_position(kp=stiffness, kv=damping)
    return label


def allow_holding(builder: SceneBuilder, placed: PlacedObject) -> str:
    """Prepare (inactive) the weld by which the hand may hold `placed`; returns its name."""
    name = f"hold-{placed.body}"
    builder.spec.add_equality(
        name=name,
        type=mujoco.mjtEq.mjEQ_WELD,
        name1=HAND_BODY,
        name2=placed.body,
        objtype=mujoco.mjtObj.mjOBJ_BODY,
        active=False,
        solref=[0.006, 1.0],
    )
    return name


@dataclass
class HandController:
    """Follows waypoints; holds with `weld` from `grasp_s` to `release_s` (no weld: just moves)."""

    waypoints: list[Waypoint]
    weld: str | None = None
    grasp_s: float = 0.0
    release_s: float = 0.0
    _started: bool = False

    def target(self, time_s: float) -> Vector:
        """Joint targets [6] in the order of `AXES`."""
        rows = [np.array([*w.tool_m, w.yaw_rad, w.gap_m, w.gap_m]) for w in self.waypoints]
        if time_s <= self.waypoints[0].time_s:
            return rows[0]
        for k in range(1, len(rows)):
            begin, end = self.waypoints[k - 1].time_s, self.waypoints[k].time_s
            if time_s < end:
                mix = minimum_jerk((time_s - begin) / (end - begin))
                return np.asarray((1 - mix) * rows[k - 1] + mix * rows[k])
        return rows[-1]

    def step(self, model: mujoco.MjModel, data: mujoco.MjData, time_s: float) -> None:
        """Set the servos, and hold or let go."""
        target = self.target(time_s)
        for axis, value in zip(AXES, target, strict=True):
            data.actuator(axis).ctrl[0] = value
            if not self._started:
                data.joint(axis).qpos[0] = value
        self._started = True
        if self.weld is None:
            return
        equality = model.equality(self.weld).id
        holding = self.grasp_s <= time_s < self.release_s
        if holding and not data.eq_active[equality]:
            self._weld_here(model, data, equality)
        data.eq_active[equality] = holding

    @staticmethod
    def _weld_here(model: mujoco.MjModel, data: mujoco.MjData, equality: int) -> None:
        """Make the weld's rest pose the present pose of the thing in the hand."""
        hand, thing = model.eq_obj1id[equality], model.eq_obj2id[equality]
        hand_rotation = data.xmat[hand].reshape(3, 3)
        offset = hand_rotation.T @ (data.xpos[thing] - data.xpos[hand])
        inverse, relative = np.zeros(4), np.zeros(4)
        mujoco.mju_negQuat(inverse, data.xquat[hand])
        mujoco.mju_mulQuat(relative, inverse, data.xquat[thing])
        model.eq_data[equality, 0:3] = 0.0
        model.eq_data[equality, 3:6] = offset
        model.eq_data[equality, 6:10] = relative
        model.eq_data[equality, 10] = 1.0
