"""What surfaces are made of: triangle meshes with normals and texture coordinates, from code.

Lengths are metres. z is up; an object's mesh has its origin at the middle of its footprint on the
ground. Texture coordinates (u, v) have v = 0 at the top row of the texture.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int32]


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh.

    vertices: [N, 3] metres. normals: [N, 3] unit length, outward. texcoords: [N, 2] (u, v).
    faces: [M, 3] int32 vertex indices, counter-clockwise seen from outside.
    """

    vertices: FloatArray
    normals: FloatArray
    texcoords: FloatArray
    faces: IntArray

    def moved(self, offset: tuple[float, float, float]) -> "Mesh":
        """The same mesh translated by `offset` metres."""
        return Mesh(self.vertices + np.array(offset), self.normals, self.texcoords, self.faces)

    def rotated(self, rotation: FloatArray) -> "Mesh":
        """The same mesh turned about the origin by a 3x3 rotation matrix."""
        return Mesh(
            self.vertices @ rotation.T, self.normals @ rotation.T, self.texcoords, self.faces
        )


def merge(meshes: list[Mesh]) -> Mesh:
    """Several meshes as one, in order."""
    offsets = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.normals for mesh in meshes]),
        np.concatenate([mesh.texcoords for mesh in meshes]),
        np.concatenate(
            [mesh.faces + offset for mesh, offset in zip(meshes, offsets, strict=True)]
        ).astype(np.int32),
    )


def rotation_about(axis: str, angle_rad: float) -> FloatArray:
    """3x3 rotation matrix about the "x", "y" or "z" axis."""
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    matrices = {
        "x": [[1, 0, 0], [0, cos, -sin], [0, sin, cos]],
        "y": [[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]],
        "z": [[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]],
    }
    return np.array(matrices[axis], dtype=float)


def _grid_faces(rows: int, columns: int) -> IntArray:
    """Triangles of a [rows, columns] grid of vertices; rows run along the first tangent."""
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b = index[:-1, :-1].ravel(), index[1:, :-1].ravel()
    c, d = index[1:, 1:].ravel(), index[:-1, 1:].ravel()
    return np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.int32)


def sheet(
    origin: FloatArray, edge_u: FloatArray, edge_v: FloatArray, texture_size_m: float, cells: int
) -> Mesh:
    """A flat rectangle, tessellated so that per-vertex lighting of it looks smooth.

    origin: [3] the corner at (u, v) = (0, 0). edge_u, edge_v: [3] the two sides; the normal is
    edge_u x edge_v. texture_size_m: side of one repeat of the texture. cells: per side.
    """
    along = np.linspace(0, 1, cells + 1)
    u, v = np.meshgrid(along, along, indexing="ij")
    vertices = origin + u[..., None] * edge_u + v[..., None] * edge_v
    normal = np.cross(edge_u, edge_v)
    normal = normal / np.linalg.norm(normal)
    lengths_m = np.array([np.linalg.norm(edge_u), np.linalg.norm(edge_v)])
    texcoords = np.stack([u, v], -1).reshape(-1, 2) * lengths_m / texture_size_m
    flat = vertices.reshape(-1, 3)
    return Mesh(flat, np.tile(normal, (len(flat), 1)), texcoords, _grid_faces(cells + 1, cells + 1))


def lathe(strips: list[list[tuple[float, float]]], slices: int = 36) -> Mesh:
    """A surface of revolution about z.

    strips: polylines of (radius, height) in metres; going along a strip the outside is to the
    right (a cylinder's wall runs upwards). Normals are smooth within a strip and sharp between
    strips. Texture: u once around, v from 1 at the start of the first strip to 0 at the end of
    the last, by arc length.
    """
    lengths = [np.r_[0, np.cumsum(np.hypot(*np.diff(np.array(s), axis=0).T))] for s in strips]
    total = sum(length[-1] for length in lengths)
    angle = np.linspace(0, 2 * np.pi, slices + 1)
    parts, start = [], 0.0
    for strip, length in zip(strips, lengths, strict=True):
        profile = np.array(strip, dtype=float)
        tangent = np.gradient(profile, np.maximum(length, 1e-9), axis=0, edge_order=1)
        normal_rz = np.stack([tangent[:, 1], -tangent[:, 0]], 1)
        normal_rz /= np.maximum(np.linalg.norm(normal_rz, axis=1, keepdims=True), 1e-12)
        ring = np.stack([np.cos(angle), np.sin(angle)], 1)[:, None, :]

        def revolve(rz: FloatArray, ring: FloatArray = ring) -> FloatArray:
            height = np.broadcast_to(rz[None, :, 1:], (slices + 1, len(rz), 1))
            return np.concatenate([ring * rz[None, :, :1], height], -1).reshape(-1, 3)

        u = np.repeat(angle / (2 * np.pi), len(profile))
        v = np.tile(1 - (start + length) / total, slices + 1)
        parts.append(
            Mesh(
                revolve(profile),
                revolve(normal_rz),
                np.stack([u, v], 1),
                _grid_faces(slices + 1, len(profile)),
            )
        )
        start += length[-1]
    return merge(parts)


def tube(path: FloatArray, radii_m: FloatArray, sides: int = 16) -> Mesh:
    """A round tube along `path` [P, 3] with one radius [P] per point (bananas, mug handles).

    The path should lie near a plane. Texture: u around the tube, v along the path.
    """
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    plane_normal = np.linalg.svd(path - path.mean(0))[2][-1]
    side = np.cross(tangent, plane_normal)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    up = np.cross(side, tangent)
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    normal = (
        np.cos(angle)[:, None, None] * side[None] + np.sin(angle)[:, None, None] * up[None]
    )  # [sides + 1, P, 3]
    vertices = path[None] + radii_m[None, :, None] * normal
    u, v = np.meshgrid(angle / (2 * np.pi), np.linspace(0, 1, len(path)), indexing="ij")
    # Which way the triangles turn depends on the path; make them face outwards.
    faces = _grid_faces(sides + 1, len(path))
    flat, flat_normal = vertices.reshape(-1, 3), normal.reshape(-1, 3)
    a, b, c = (flat[faces[:, k]] for k in range(3))
    outward = np.einsum("ij,ij->i", np.cross(b - a, c - a), flat_normal[faces[:, 0]])
    faces = faces if outward.sum() > 0 else faces[:, ::-1]
    return Mesh(flat, flat_normal, np.stack([u, v], -1).reshape(-1, 2), faces.astype(np.int32))


BOX_FACES = ("+x", "-x", "+y", "-y", "+z", "-z")
"""Order of a box's faces in a face atlas: 3 columns, 2 rows, row-major."""


def rounded_box(
    size_m: tuple[float, float, float],
    bevel_m: float,
    texture_size_m: float | None = None,
    cells: int = 4,
) -> Mesh:
    """A box resting on z = 0 whose edges are rounded, so that they catch highlights.

    size_m: full side lengths. Texture: with `texture_size_m` None each face shows its cell of a
    face atlas (`BOX_FACES`), upright on the four sides; else the texture repeats every
    `texture_size_m` metres on every face.
    """
    half = np.array(size_m) / 2
    bevel_m = float(min(bevel_m, half.min() * 0.98))
    parts = []
    for k, face in enumerate(BOX_FACES):
        axis, sign = "xyz".index(face[1]), 1.0 if face[0] == "+" else -1.0
        normal = np.zeros(3)
        normal[axis] = sign
        upward = np.array([0.0, 0, 1]) if axis != 2 else np.array([0.0, sign, 0])
        right = np.cross(upward, normal)
        extent_right = float(half @ np.abs(right))
        extent_up = float(half @ np.abs(upward))

        def ticks(extent: float) -> FloatArray:
            """Fine near the rounded rims, coarse between."""
            rim = extent - bevel_m + bevel_m * np.sin(np.linspace(0, np.pi / 4, 4)) * np.sqrt(2)
            inner = np.linspace(-rim[0], rim[0], cells + 1)[1:-1]
            return np.concatenate([-rim[::-1], inner, rim])

        across, along = ticks(extent_right), ticks(extent_up)
        s, t = np.meshgrid(across, along, indexing="ij")
        cube = s[..., None] * right + t[..., None] * upward + normal * (half @ np.abs(normal))
        core = np.clip(cube, -(half - bevel_m), half - bevel_m)
        direction = cube - core
        direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
        vertices = (core + bevel_m * direction).reshape(-1, 3) + np.array([0, 0, half[2]])
        if texture_size_m is None:
            inset = 0.01
            u = inset + (1 - 2 * inset) * (s / extent_right + 1) / 2
            v = inset + (1 - 2 * inset) * (1 - t / extent_up) / 2
            u, v = (u + k % 3) / 3, (v + k // 3) / 2
        else:
            u, v = s / texture_size_m + 0.37 * k, -t / texture_size_m + 0.19 * k
        parts.append(
            Mesh(
                vertices,
                direction.reshape(-1, 3),
                np.stack([u, v], -1).reshape(-1, 2),
                _grid_faces(len(across), len(along)),
            )
        )
    return merge(parts)


def underside(radius_m: float) -> Mesh:
    """A disc at z = 0 that faces down: what is seen of a round thing when it tips over."""
    return lathe([[(0.0, 0.0), (radius_m, 0.0)]], 32)


def sphere(radius_m: float, stretch_z: float = 1.0, slices: int = 32) -> Mesh:
    """A ball (or, with `stretch_z` not 1, a spheroid) resting on z = 0."""
    polar = np.linspace(-np.pi / 2, np.pi / 2, slices // 2 + 1)
    profile = [
        (float(radius_m * np.cos(p)), float(radius_m * stretch_z * (np.sin(p) + 1))) for p in polar
    ]
    return lathe([profile], slices)
