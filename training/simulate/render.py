"""How a frame is drawn: colour, exact labels, and soft shading where surfaces meet.

Two passes of MuJoCo's rasteriser: a multisampled colour pass, and an identity pass without
multisampling, which gives each pixel centre its geom (so its label) and its depth. From the depth
we darken creases (screen-space ambient occlusion), which the rasteriser's lamps cannot do.

Drawing needs an offscreen OpenGL: OSMesa (software, Debian package libosmesa6) unless the
environment variable MUJOCO_GL says "egl" (GPU).
"""

import os
from types import TracebackType
from typing import Any

import cv2
import mujoco
import numpy as np
from numpy.typing import NDArray

from semcast.errors import InputError
from training.simulate.assembly import COLLIDER_GROUP

MAX_GEOMS = 2000


def _open_gl(width: int, height: int) -> Any:
    """An offscreen OpenGL context of MUJOCO_GL's kind ("osmesa" if unset)."""
    kind = os.environ.get("MUJOCO_GL", "osmesa").lower()
    try:
        if kind == "egl":
            from mujoco.egl import GLContext
        elif kind == "osmesa":
            from mujoco.osmesa import GLContext
        else:
            raise InputError(f"MUJOCO_GL={kind} cannot draw offscreen; set it to osmesa or egl")
        context = GLContext(width, height)
    except (ImportError, AttributeError, OSError, RuntimeError) as error:
        raise InputError(
            f"no offscreen OpenGL ({kind}: {error}); install libosmesa6, or set MUJOCO_GL=egl on "
            "a machine with a GPU"
        ) from error
    context.make_current()
    return context


def crease_shading(disparity: NDArray[np.float32], reach_m: float = 0.03) -> NDArray[np.float32]:
    """Light that reaches each pixel's surroundings, 0..1 [H, W], from 1/depth [H, W] (1/m).

    Ambient occlusion by pairs of opposite neighbours: on a plane 1/depth is linear in the image,
    so a pair's mean equals the centre; where it is nearer than the centre, the surface is
    hollow there and gets less light, fully so at `reach_m`. A pair with a neighbour further off
    than three times that belongs to another object and does not count.
    """
    height = disparity.shape[0]
    occlusion = np.zeros_like(disparity)
    to_metres = 1 / np.maximum(disparity, 1e-3) ** 2
    weights = 0.0
    for scale, weight in ((0.008, 1.0), (0.018, 1.0), (0.036, 0.8), (0.06, 0.5)):
        step = max(1.0, scale * height)
        for angle in (0.0, 0.785, 1.571, 2.356):
            dx, dy = round(step * np.cos(angle)), round(step * np.sin(angle))
            if dx == 0 and dy == 0:
                continue
            pad = int(max(abs(dx), abs(dy)))
            padded = cv2.copyMakeBorder(disparity, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
            rows, columns = disparity.shape
            sides = [
                padded[pad + s * dy : pad + s * dy + rows, pad + s * dx : pad + s * dx + columns]
                for s in (1, -1)
            ]
            nearer = [(side - disparity) * to_metres for side in sides]
            hollow = (nearer[0] + nearer[1]) / (2 * reach_m)
            apart = np.maximum(np.abs(nearer[0]), np.abs(nearer[1])) > 3 * reach_m
            occlusion += weight * np.where(apart, 0, np.clip(hollow, 0, 1)).astype(np.float32)
            weights += weight
    smooth = cv2.GaussianBlur(occlusion / np.float32(weights), (0, 0), max(0.8, height / 360))
    return np.asarray(np.clip(1 - 1.5 * smooth, 0.35, 1), np.float32)


def grade(rgb: NDArray[np.uint8], light: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Apply the crease shading, a gentle contrast curve and a little vignette: RGB uint8."""
    height, width = light.shape
    yy, xx = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    vignette = (1 - 0.1 * (xx**2 + yy**2)).astype(np.float32)
    value = rgb.astype(np.float32) / 255 * (light * vignette)[..., None]
    value = np.clip(value * 1.06, 0, 1.3)
    curved = value * (1.12 - 0.12 * value) + 0.06 * value * (value - 0.4)
    grey = curved.mean(-1, keepdims=True)
    vivid = grey + 1.08 * (curved - grey)
    return np.asarray(np.clip(np.rint(vivid * 255), 0, 255), np.uint8)


class FrameRenderer:
    """Draws one model from a free camera pose. Use as a context manager: it owns OpenGL state.

    labels_by_geom: uint8 [ngeom], the label of each geom.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        labels_by_geom: NDArray[np.uint8],
        width: int,
        height: int,
    ) -> None:
        self._model = model
        self._labels_by_geom = labels_by_geom
        self._gl = _open_gl(width, height)
        self._scene = mujoco.MjvScene(model, MAX_GEOMS)
        self._option = mujoco.MjvOption()
        self._option.geomgroup[COLLIDER_GROUP] = 0
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = 0
        self._viewport = mujoco.MjrRect(0, 0, width, height)
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR

    def __enter__(self) -> "FrameRenderer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._context.free()
        self._gl.free()

    def draw(
        self, data: mujoco.MjData, position_m: NDArray[np.float64], rotation: NDArray[np.float64]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """RGB uint8 [H, W, 3] and labels uint8 [H, W] of `data` seen from a camera pose.

        position_m: [3]. rotation: [3, 3], columns right, up, backward.
        """
        self._gl.make_current()
        data.cam_xpos[0] = position_m
        data.cam_xmat[0] = rotation.ravel()
        category = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(
            self._model, data, self._option, None, self._camera, category, self._scene
        )
        height, width = self._viewport.height, self._viewport.width
        rgb = np.empty((height, width, 3), np.uint8)
        mujoco.mjr_render(self._viewport, self._scene, self._context)
        mujoco.mjr_readPixels(rgb, None, self._viewport, self._context)

        identity, depth = np.empty_like(rgb), np.empty((height, width), np.float32)
        flags = self._scene.flags.copy()
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = True
        self._scene.flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = True
        mujoco.mjr_render(self._viewport, self._scene, self._context)
        mujoco.mjr_readPixels(identity, depth, self._viewport, self._context)
        np.copyto(self._scene.flags, flags)

        labels = self._labels(identity)
        light = crease_shading(self._disparity(depth))
        return np.flipud(grade(rgb, light)).copy(), np.flipud(labels).copy()

    def _labels(self, identity: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Labels [H, W] from the identity pass: colour = segid + 1, 0 where nothing is."""
        wide = identity.astype(np.uint32)
        segment = wide[..., 0] + (wide[..., 1] << 8) + (wide[..., 2] << 16)
        label_of = np.zeros(self._scene.ngeom + 1, np.uint8)
        for geom in self._scene.geoms[: self._scene.ngeom]:
            if geom.segid >= 0 and geom.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                label_of[geom.segid + 1] = self._labels_by_geom[geom.objid]
        return np.asarray(label_of[segment])

    def _disparity(self, depth: NDArray[np.float32]) -> NDArray[np.float32]:
        """1/depth (1/m) from the reversed-z buffer, in which it is affine."""
        near = self._model.vis.map.znear * self._model.stat.extent
        far = self._model.vis.map.zfar * self._model.stat.extent
        return np.asarray(depth * (1 / near - 1 / far) + 1 / far, np.float32)
