"""Simulated scenes: the same seed gives the same frames, and labels tell what the caption tells."""

import os
import subprocess
import sys
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from semcast.errors import InputError
from training.simulate.seeds import RESERVED_SAMPLE_SEEDS, is_reserved_for_samples

mujoco = pytest.importorskip("mujoco", reason="MuJoCo (extra `simulate`) is not installed")

from training.simulate import objects  # noqa: E402
from training.simulate.actions import ACTIONS  # noqa: E402
from training.simulate.assembly import SceneBuilder  # noqa: E402
from training.simulate.camera import MOVES, draw_camera, fovy_for  # noqa: E402
from training.simulate.render import FrameRenderer, crease_shading  # noqa: E402
from training.simulate.rooms import SETTINGS  # noqa: E402
from training.simulate.samples import RECIPES  # noqa: E402
from training.simulate.scene import (  # noqa: E402
    SimulatedFrame,
    scene_info,
    simulate_scene,
    simulate_training_scene,
)

_PROBE = (
    "import numpy, mujoco; from training.simulate.render import _open_gl; _open_gl(16, 16).free()"
)


@cache
def _why_no_gl() -> str:
    """Empty if offscreen OpenGL works here. Tried in a child: a bad driver may abort."""
    probe = subprocess.run(
        [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=60, check=False
    )
    lines = probe.stderr.strip().splitlines()
    return "" if probe.returncode == 0 else (lines[-1] if lines else "the OpenGL probe aborted")


@pytest.fixture
def offscreen_gl() -> None:
    """Skips where frames cannot be drawn."""
    if _why_no_gl():
        pytest.skip(f"no offscreen OpenGL (install libosmesa6): {_why_no_gl()}")


def _frames(seed: int, action: str, fps: float = 2.0, seconds: float = 2.0) -> list[SimulatedFrame]:
    return list(simulate_scene(seed, 96, 64, fps, seconds, action, shadow_size=256))


@pytest.mark.usefixtures("offscreen_gl")
def test_same_seed_gives_same_frames_and_another_seed_other_ones() -> None:
    first, again, other = (_frames(seed, "roll", seconds=1.0) for seed in (5, 5, 6))
    assert len(first) == 2
    for a, b, c in zip(first, again, other, strict=True):
        assert a.rgb.shape == (64, 96, 3) and a.rgb.dtype == np.uint8
        np.testing.assert_array_equal(a.rgb, b.rgb)
        np.testing.assert_array_equal(a.labels, b.labels)
        assert np.abs(a.rgb.astype(int) - c.rgb).mean() > 5


@pytest.mark.usefixtures("offscreen_gl")
def test_labels_are_the_listed_objects_and_cover_a_fair_part_of_the_frame() -> None:
    info = scene_info(8, 2.0, "fall")
    for frame in _frames(8, "fall"):
        assert frame.labels.shape == (64, 96) and frame.labels.dtype == np.uint8
        present = np.unique(frame.labels)
        assert present.max() <= len(info.objects)
        assert len(present) > 4
        assert 0.05 < (frame.labels > 0).mean() < 0.9


@pytest.mark.usefixtures("offscreen_gl")
def test_a_label_stays_with_its_object() -> None:
    """The picked thing is lifted: its label's pixels rise; the bowl's label hardly moves."""
    info = scene_info(12, 8.0, "pick", move="handheld")
    frames = list(simulate_scene(12, 96, 96, 1.0, 8.0, "pick", move="handheld", shadow_size=256))
    label = {name: k + 1 for k, name in enumerate(info.objects)}
    bowl = next(name for name in info.objects if name.endswith("bowl"))
    thing = info.caption.split("picks up ")[1].split(" and drops")[0].split(" ", 1)[1]

    def height(name: str, second: int) -> float:
        rows = np.nonzero(frames[second].labels == label[name])[0]
        return float(96 - rows.mean())

    assert height(thing, 4) > height(thing, 0) + 15
    assert abs(height(bowl, 4) - height(bowl, 0)) < 8
    columns = [np.nonzero(frames[7].labels == label[name])[1] for name in (thing, bowl)]
    assert columns[1].min() <= columns[0].mean() <= columns[1].max(), "it is dropped into the bowl"


@pytest.mark.usefixtures("offscreen_gl")
def test_labels_are_not_blended_by_multisampling() -> None:
    """Labels equal those of a model drawn without multisampling, while the colours differ."""
    drawn = []
    for samples in (4, 0):
        builder = SceneBuilder(96, 96, shadow_size=256)
        rng = np.random.default_rng(4)
        for k, kind in enumerate(("mug", "plant", "duck", "banana", "teapot", "can")):
            model = objects.RECIPES[kind](rng)
            builder.add_object(model, (0.14 * (k % 3) - 0.14, 0.12 * (k // 3), 0.0))
        builder.spec.worldbody.add_camera(name="view", fovy=40.0)
        builder.spec.visual.quality.offsamples = samples
        model, labels_by_geom = builder.compile()
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        position_m, rotation = draw_camera(rng, "pan", (0.0, 0.05, 0.08), 0.6).pose(4.0, 8.0)
        with FrameRenderer(model, labels_by_geom, 96, 96) as renderer:
            drawn.append(renderer.draw(data, position_m, rotation))
    (smooth, labels), (jagged, exact) = drawn
    assert set(np.unique(labels)) == set(range(7))
    np.testing.assert_array_equal(labels, exact)
    assert (smooth != jagged).any(), "the colour pass is multisampled"


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_makes_a_model_and_one_sentence(action: str) -> None:
    info = scene_info(31, 2.0, action)
    assert info.action == action and info.setting in SETTINGS and info.move in MOVES
    assert info.caption.endswith(".") and info.caption.count(".") == 1
    assert "{" not in info.caption and "\n" not in info.caption
    assert 5 < len(info.objects) < 256


@pytest.mark.parametrize("kind", objects.RECIPES)
def test_every_object_is_as_large_as_it_says(kind: str) -> None:
    model = objects.RECIPES[kind](np.random.default_rng(3))
    vertices = np.concatenate([part.mesh.vertices for part in model.parts])
    assert vertices[:, 2].min() > -0.002
    assert vertices[:, 2].max() < model.height_m + 0.03
    low = vertices[vertices[:, 2] < 0.07]  # leaves may reach further out above the neighbours
    assert np.hypot(low[:, 0], low[:, 1]).max() < 1.25 * model.radius_m + 0.005
    for part in model.parts:
        corners = part.mesh.vertices[part.mesh.faces]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        stated = part.mesh.normals[part.mesh.faces].mean(1)
        assert (np.einsum("ij,ij->i", normal, stated) > -1e-9).mean() > 0.97, "faces turn inwards"
        np.testing.assert_allclose(np.linalg.norm(part.mesh.normals, axis=1), 1, atol=1e-6)


def test_training_refuses_the_samples_seeds() -> None:
    for seed in (RESERVED_SAMPLE_SEEDS[0], RESERVED_SAMPLE_SEEDS[-1], RECIPES[0].seed):
        with pytest.raises(InputError, match="set aside for the bundled samples"):
            simulate_training_scene(seed, 64, 64, 8.0, 1.0)
    assert not is_reserved_for_samples(0)
    assert not is_reserved_for_samples(RESERVED_SAMPLE_SEEDS.stop)
    assert all(is_reserved_for_samples(recipe.seed) for recipe in RECIPES)


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="unknown action 'juggle'; choose one of pick"):
        scene_info(0, 2.0, "juggle")
    with pytest.raises(InputError, match="kitchen"):
        scene_info(0, 2.0, setting="moon")
    with pytest.raises(InputError, match="pixels a side"):
        next(simulate_scene(0, 8, 8, 8.0, 1.0))


def test_gl_of_an_unknown_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "MUJOCO_GL", "glfw")
    with pytest.raises(InputError, match="set it to osmesa or egl"):
        next(simulate_scene(0, 64, 64, 8.0, 1.0))


@pytest.mark.parametrize("move", MOVES)
def test_camera_moves_smoothly_and_looks_at_the_action(move: str) -> None:
    path = draw_camera(np.random.default_rng(2), move, (0.0, 0.02, 0.1), 0.65)
    poses = [path.pose(t, 8.0) for t in np.arange(0, 8, 1 / 16)]
    steps = [np.linalg.norm(b[0] - a[0]) for a, b in pairwise(poses)]
    assert 0.02 < sum(steps) and max(steps) < 0.02
    for position, rotation in poses:
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
        towards = np.array([0.0, 0.02, 0.1]) - position
        cosine = -rotation[:, 2] @ towards / np.linalg.norm(towards)
        assert cosine > np.cos(np.deg2rad(15))


def test_narrow_frames_open_the_view_and_wide_ones_leave_it() -> None:
    assert fovy_for(40.0, 640, 480) == pytest.approx(40.0)
    assert fovy_for(40.0, 1920, 1080) == pytest.approx(40.0)
    assert fovy_for(40.0, 256, 256) > 44.0


def test_creases_darken_and_planes_do_not() -> None:
    rows = np.linspace(0, 1, 64, dtype=np.float32)[:, None]
    tilted_plane = np.broadcast_to(1.0 + 0.6 * rows, (64, 64)).astype(np.float32)
    assert crease_shading(tilted_plane)[8:-8, 8:-8].min() > 0.99
    corner = (1.2 + 0.6 * np.abs(rows - 0.5)) + np.zeros((64, 64), np.float32)
    light = crease_shading(corner.astype(np.float32))
    assert light[32, 32] < light[16, 32] - 0.05
