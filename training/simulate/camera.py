"""How the camera moves: paths round the action, as a pure function of time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOVES = ("orbit", "pan", "dolly", "handheld")

MOVE_PHRASES = {
    "orbit": "while the camera circles slowly around",
    "pan": "while the camera glides sideways",
    "dolly": "while the camera moves closer",
    "handheld": "filmed with a hand-held camera",
}


@dataclass(frozen=True)
class CameraPath:
    """A camera's way through one clip.

    focus_m: [3] what it looks at. distance_m, azimuth_rad (0 looks along +y), elevation_rad:
    where it stands at mid-clip. sweep: how far the move goes (radians for an orbit, metres for a
    pan, a fraction of the distance for a dolly). shake_m: amplitude of hand shake.
    phases_rad: [6] of the shake. fovy_deg: vertical field of view.
    """

    move: str
    focus_m: tuple[float, float, float]
    distance_m: float
    azimuth_rad: float
    elevation_rad: float
    sweep: float
    shake_m: float
    phases_rad: tuple[float, ...]
    fovy_deg: float

    def pose(
        self, time_s: float, duration_s: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Position [3] in metres and rotation [3, 3] (columns: right, up, backward)."""
        progress = float(np.clip(time_s / duration_s, 0, 1)) - 0.5
        eased = progress * (1.5 - 2 * progress**2)
        azimuth, distance = self.azimuth_rad, self.distance_m
        focus = np.array(self.focus_m)
        shift = np.zeros(3)
        if self.move == "orbit":
            azimuth += self.sweep * eased
        elif self.move == "pan":
            shift = np.array([self.sweep * eased, 0, 0])
        elif self.move == "dolly":
            distance *= 1 - self.sweep * eased
        else:
            azimuth += 0.25 * self.sweep * eased
        direction = np.array(
            [
                np.sin(azimuth) * np.cos(self.elevation_rad),
                -np.cos(azimuth) * np.cos(self.elevation_rad),
                np.sin(self.elevation_rad),
            ]
        )
        position = focus + distance * direction + shift
        target = focus + 0.85 * shift
        wobble = [
            np.sin(2 * np.pi * rate * time_s + phase)
            for rate, phase in zip(
                (0.31, 0.43, 0.37, 0.83, 0.71, 0.97), self.phases_rad, strict=True
            )
        ]
        position = position + self.shake_m * np.array(wobble[:3])
        target = target + self.shake_m * 0.8 * np.array(wobble[3:])
        backward = position - target
        backward /= np.linalg.norm(backward)
        right = np.cross(np.array([0.0, 0, 1]), backward)
        right /= np.linalg.norm(right)
        up = np.cross(backward, right)
        return position, np.stack([right, up, backward], 1)


def fovy_for(fovy_deg: float, width: int, height: int) -> float:
    """`fovy_deg` is meant for 4:3; a narrower frame opens up, so that the action stays in view."""
    widen = max(1.0, (4 / 3) * height / width) ** 0.7
    return float(np.rad2deg(2 * np.arctan(widen * np.tan(np.deg2rad(fovy_deg) / 2))))


def draw_camera(
    rng: np.random.Generator, move: str, focus_m: tuple[float, float, float], distance_m: float
) -> CameraPath:
    """A path of kind `move` (one of `MOVES`) around `focus_m`."""
    sign = -1.0 if rng.uniform() < 0.5 else 1.0
    sweep = {
        "orbit": rng.uniform(0.45, 0.75),
        "pan": rng.uniform(0.22, 0.36),
        "dolly": rng.uniform(0.25, 0.4),
        "handheld": rng.uniform(0.3, 0.7),
    }[move]
    return CameraPath(
        move=move,
        focus_m=focus_m,
        distance_m=distance_m,
        azimuth_rad=rng.uniform(-0.22, 0.22),
        elevation_rad=rng.uniform(0.36, 0.52),
        sweep=sweep if move == "dolly" else sign * sweep,
        shake_m=rng.uniform(0.005, 0.008) if move == "handheld" else rng.uniform(0.0, 0.002),
        phases_rad=tuple(rng.uniform(0, 2 * np.pi, 6).tolist()),
        fovy_deg=rng.uniform(36, 42),
    )
