"""How meshes, pictures and objects become one MuJoCo model with a label for every geom.

`SceneBuilder` collects bodies in an `MjSpec`. Seen geoms are meshes in group 0 without mass or
contact; colliding geoms are primitives in group 3, which is never drawn. Each object gets the
next instance label, 1, 2, ...; everything else is background, label 0.
"""

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from semcast.errors import InputError
from training.simulate.meshes import Mesh
from training.simulate.textures import Picture
from training.simulate.things import ObjectModel

MAX_LABEL = 255
COLLIDER_GROUP = 3

_SHAPES = {
    "box": mujoco.mjtGeom.mjGEOM_BOX,
    "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
    "sphere": mujoco.mjtGeom.mjGEOM_SPHERE,
    "capsule": mujoco.mjtGeom.mjGEOM_CAPSULE,
}
_AXIS_TO_QUAT = {
    "x": np.array([np.sqrt(0.5), 0, np.sqrt(0.5), 0]),
    "y": np.array([np.sqrt(0.5), -np.sqrt(0.5), 0, 0]),
    "z": np.array([1.0, 0, 0, 0]),
}


def quat_multiply(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Product of two quaternions (w, x, y, z)."""
    out = np.zeros(4)
    mujoco.mju_mulQuat(out, np.asarray(left, float), np.asarray(right, float))
    return out


def yaw_quat(angle_rad: float) -> NDArray[np.float64]:
    """Quaternion (w, x, y, z) of a turn about z."""
    return np.array([np.cos(angle_rad / 2), 0, 0, np.sin(angle_rad / 2)])


@dataclass(frozen=True)
class PlacedObject:
    """An object in the scene. `body` names its MuJoCo body and, with "/free", its free joint."""

    model: ObjectModel
    body: str
    label: int

    @property
    def joint(self) -> str:
        return f"{self.body}/free"


class SceneBuilder:
    """Collects what a scene is made of; `compile` gives the model and the label of each geom."""

    def __init__(self, width: int, height: int, shadow_size: int = 2048) -> None:
        self.spec = mujoco.MjSpec()
        self.placed: list[PlacedObject] = []
        self.label_names: list[str] = []
        self._counter = 0
        self._geom_labels: dict[str, int] = {}
        self.spec.option.timestep = 0.002
        self.spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        self.spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
        self.spec.option.impratio = 4
        visual = self.spec.visual
        visual.global_.offwidth, visual.global_.offheight = width, height
        visual.quality.offsamples = 4
        visual.quality.shadowsize = shadow_size
        visual.map.znear, visual.map.zfar = 0.03, 12.0
        visual.map.shadowscale = 1.0
        self.spec.stat.extent = 1.0
        self.spec.stat.center = [0, 0, 0]

    def _name(self, stem: str) -> str:
        self._counter += 1
        return f"{stem}{self._counter}"

    def new_label(self, name: str) -> int:
        """Reserve the next instance label for the object a caption would call `name`."""
        if len(self.label_names) == MAX_LABEL:
            raise InputError(f"a scene holds at most {MAX_LABEL} labelled objects; place fewer")
        self.label_names.append(name)
        return len(self.label_names)

    def add_material(
        self, picture: Picture, specular: float, shininess: float, emission: float = 0.0
    ) -> str:
        """A material that shows `picture`; returns its name."""
        texture_name, material_name = self._name("texture"), self._name("material")
        texture = self.spec.add_texture(
            name=texture_name,
            type=mujoco.mjtTexture.mjTEXTURE_2D,
            height=picture.shape[0],
            width=picture.shape[1],
            nchannel=3,
        )
        texture.data = np.ascontiguousarray(picture).tobytes()
        material = self.spec.add_material(
            name=material_name, specular=specular, shininess=shininess, emission=emission
        )
        material.textures[int(mujoco.mjtTextureRole.mjTEXROLE_RGB)] = texture_name
        return material_name

    def add_surface(
        self,
        mesh: Mesh,
        material: str,
        body: "mujoco.MjsBody | None" = None,
        label: int = 0,
    ) -> None:
        """Show `mesh` with `material` on `body` (the world if None)."""
        mesh_name, geom_name = self._name("mesh"), self._name("seen")
        asset = self.spec.add_mesh(name=mesh_name)
        asset.uservert = mesh.vertices.astype(np.float32).ravel()
        asset.usernormal = mesh.normals.astype(np.float32).ravel()
        asset.usertexcoord = mesh.texcoords.astype(np.float32).ravel()
        asset.userface = mesh.faces.ravel()
        asset.userfacenormal = mesh.faces.ravel()
        asset.userfacetexcoord = mesh.faces.ravel()
        asset.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
        (body or self.spec.worldbody).add_geom(
            name=geom_name,
            type=mujoco.mjtGeom.mjGEOM_MESH,
            meshname=mesh_name,
            material=material,
            contype=0,
            conaffinity=0,
            mass=0,
            group=0,
        )
        self._geom_labels[geom_name] = label

    def add_static_collider(
        self,
        shape: str,
        size_m: tuple[float, ...],
        centre_m: tuple[float, float, float],
        quat: NDArray[np.float64] | None = None,
    ) -> None:
        """An unseen thing that objects bump into."""
        self.spec.worldbody.add_geom(
            type=_SHAPES[shape],
            size=[*size_m, 0, 0][:3],
            pos=list(centre_m),
            quat=list(quat if quat is not None else _AXIS_TO_QUAT["z"]),
            group=COLLIDER_GROUP,
            friction=[0.8, 0.005, 0.0002],
            condim=4,
        )

    def add_object(
        self,
        model: ObjectModel,
        position_m: tuple[float, float, float],
        quat: NDArray[np.float64] | None = None,
        fixed: bool = False,
    ) -> PlacedObject:
        """Put `model` at `position_m` (of its origin); `fixed` nails it down."""
        label = self.new_label(model.name)
        body_name = self._name(f"{model.kind}-")
        body = self.spec.worldbody.add_body(
            name=body_name,
            pos=list(position_m),
            quat=list(quat if quat is not None else _AXIS_TO_QUAT["z"]),
        )
        if not fixed:
            body.add_freejoint(name=f"{body_name}/free")
        for part in model.parts:
            material = self.add_material(part.texture, part.specular, part.shininess)
            self.add_surface(part.mesh, material, body, label)
        volumes = [float(np.prod(collider.size_m[:3])) for collider in model.colliders]
        for collider in model.colliders:
            quat_collider = quat_multiply(yaw_quat(collider.yaw_rad), _AXIS_TO_QUAT[collider.axis])
            body.add_geom(
                type=_SHAPES[collider.shape],
                size=[*collider.size_m, 0, 0][:3],
                pos=list(collider.centre_m),
                quat=list(quat_collider),
                mass=model.mass_kg * float(np.prod(collider.size_m[:3])) / sum(volumes),
                group=COLLIDER_GROUP,
                condim=6 if model.rolls else 4,
                friction=[model.friction, 0.004, 0.0004],
                # MuJoCo takes the greater friction of two geoms unless one has priority.
                priority=1 if model.friction < 0.5 else 0,
            )
        placed = PlacedObject(model, body_name, label)
        self.placed.append(placed)
        return placed

    def compile(self) -> tuple["mujoco.MjModel", NDArray[np.uint8]]:
        """The model, and the label of each geom id: uint8 [ngeom]."""
        model = self.spec.compile()
        labels = np.zeros(model.ngeom, np.uint8)
        for geom_name, label in self._geom_labels.items():
            labels[model.geom(geom_name).id] = label
        return model, labels
