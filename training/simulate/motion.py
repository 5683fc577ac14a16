"""What moves a scene: controllers that set actuators and launch things as physics steps.

A controller's `step` is called before every physics step with the time since the action began.
"""

from dataclasses import dataclass, field
from typing import Protocol

import mujoco
import numpy as np
from numpy.typing import NDArray

from training.simulate.assembly import PlacedObject

Vector = NDArray[np.float64]


class Controller(Protocol):
    """Moves what an action moves."""

    def step(self, model: mujoco.MjModel, data: mujoco.MjData, time_s: float) -> None:
        """Act on `data` for the physics step that begins at `time_s`."""


class Nothing:
    """Leaves the scene to gravity."""

    def step(self, model: mujoco.MjModel, data: mujoco.MjData, time_s: float) -> None:
        """Do nothing."""


def minimum_jerk(progress: float) -> float:
    """Smooth 0..1 ramp with zero speed and acceleration at both ends (Flash and Hogan 1985)."""
    p = min(max(progress, 0.0), 1.0)
    return p * p * p * (10 - 15 * p + 6 * p * p)


@dataclass(frozen=True)
class Launch:
    """An object that enters at `time_s` with a pose and velocity (m/s, rad/s, world axes)."""

    placed: PlacedObject
    time_s: float
    position_m: Vector
    quat: Vector
    velocity: Vector
    spin: Vector


@dataclass
class Launcher:
    """Keeps every launched object parked out of sight, below the room, until its time."""

    launches: list[Launch]
    _gone: set[str] = field(default_factory=set)

    def step(self, model: mujoco.MjModel, data: mujoco.MjData, time_s: float) -> None:
        """Release what is due; hold the rest."""
        for k, launch in enumerate(self.launches):
            if launch.placed.body in self._gone:
                continue
            joint = data.joint(launch.placed.joint)
            if time_s < launch.time_s:
                joint.qpos = np.array([0.6 * k - 2.0, 0, -6.0, 1, 0, 0, 0])
                joint.qvel = np.zeros(6)
                continue
            joint.qpos = np.concatenate([launch.position_m, launch.quat])
            rotation = np.zeros(9)
            mujoco.mju_quat2Mat(rotation, launch.quat)
            # A free joint's angular velocity is in the body's own axes.
            joint.qvel = np.concatenate([launch.velocity, rotation.reshape(3, 3).T @ launch.spin])
            self._gone.add(launch.placed.body)


@dataclass
class HeldHinge:
    """Holds a hinge at an angle until `release_s`, then lets it swing."""

    joint: str
    angle_rad: float
    release_s: float

    def step(self, model: mujoco.MjModel, data: mujoco.MjData, time_s: float) -> None:
        """Hold or let go."""
        if time_s < self.release_s:
            data.joint(self.joint).qpos[0] = self.angle_rad
            data.joint(self.joint).qvel[0] = 0.0
