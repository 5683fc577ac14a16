"""The images, without an engine: what each holds is put together and its service started.

A built image has the rooms its Dockerfile copies and the packages of the extras it installs. Both
are reproduced from what is installed here: the copied files become a wheel's content, and links to
the closure of the extras' requirements stand for the image's site-packages. Python starts without
its own site-packages, so that a room or package which an image lacks is missing here too.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import dockerfile
import pytest
from compose_file import REPOSITORY, load
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_IMAGES = sorted(path.name.partition(".")[0] for path in dockerfile.FOLDER.glob("*.Dockerfile"))
_SERVICES = [
    ("channel", "channel"),
    ("media", "transmitter"),
    ("media", "receiver"),
    ("console", "console"),
]
_HEAVY = {"torch", "torchvision", "transformers", "diffusers", "triton"}


def _path(image: str) -> Path:
    return dockerfile.FOLDER / f"{image}.Dockerfile"


def test_compose_builds_every_image() -> None:
    built = {
        service.raw["build"]["dockerfile"]
        for service in load({}).services.values()
        if "build" in service.raw
    }
    assert built == {f"deploy/docker/{image}.Dockerfile" for image in _IMAGES}


@pytest.mark.parametrize("image", _IMAGES)
def test_what_is_copied_exists_and_is_let_through(image: str) -> None:
    for stage in dockerfile.read(_path(image)):
        for sources, _ in stage.copies:
            for source in sources:
                assert (REPOSITORY / source).exists(), source
                assert not dockerfile.ignored(REPOSITORY / source), source


def test_the_build_context_holds_sources_only() -> None:
    for kept_out in (".git/config", ".env", ".venv/bin/python", "tests/deploy/dockerfile.py"):
        assert dockerfile.ignored(REPOSITORY / kept_out), kept_out
    assert dockerfile.ignored(REPOSITORY / "semcast/air/__pycache__/ldpc.cpython-311.pyc")
    assert not dockerfile.ignored(REPOSITORY / "semcast/air/ldpc.py")


@pytest.mark.parametrize("image", _IMAGES)
def test_images_run_as_nobody_and_start_by_exec(image: str) -> None:
    final = dict(dockerfile.read(_path(image))[-1].instructions)
    assert final["USER"] == "10001:10001"
    command = json.loads(final["CMD"])
    assert command[:4] == ["python", "-m", "semcast", "serve"]


@pytest.mark.parametrize("image", _IMAGES)
def test_no_index_and_no_secret_is_written_down(image: str) -> None:
    text = _path(image).read_text(encoding="utf-8")
    assert not re.search(r"https?://|--(extra-)?index-url|PASSWORD|TOKEN", text)
    installs = [run for run in dockerfile.stage(_path(image), "build").runs if "pip install" in run]
    assert len(installs) == 2
    assert all("--mount=type=secret,id=pip_conf,target=/etc/pip.conf" in run for run in installs)
    assert "-c constraints.txt" in installs[0] and "--no-deps" in installs[1]


@pytest.mark.parametrize("image", ["channel", "console", "media"])
def test_torch_comes_with_models_only(image: str) -> None:
    assert "models" not in dockerfile.extras(_path(image))
    assert not _HEAVY & _closure(dockerfile.extras(_path(image)))


def test_the_channel_is_the_core_alone() -> None:
    assert dockerfile.extras(_path("channel")) == set()
    assert not {"av", "aiortc", "opencv-python-headless"} & _closure(set())


def test_the_cuda_receiver_has_models() -> None:
    assert dockerfile.extras(_path("receiver-cuda")) == {"media", "models"}
    assert "torch" in _closure({"media", "models"})


def test_constraints_pin_all_that_images_install() -> None:
    text = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8")
    pinned = {canonicalize_name(name) for name in re.findall(r"^([^#=\s]+)==", text, re.MULTILINE)}
    # torch wants setuptools, which `pip freeze` leaves out.
    pinned.add(canonicalize_name("setuptools"))
    for image in _IMAGES:
        assert _closure(dockerfile.extras(_path(image))) - pinned == set(), image


@pytest.fixture(scope="module")
def image_paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """PYTHONPATH of each image: its rooms, then its packages."""
    paths: dict[str, str] = {}
    for image in dict.fromkeys(image for image, _ in _SERVICES):
        folder = tmp_path_factory.mktemp(image)
        dockerfile.copy_context(_path(image), folder / "src")
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"),
                *("--no-build-isolation", "--target", str(folder / "rooms"), str(folder / "src")),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
        _link_packages(dockerfile.extras(_path(image)), folder / "packages")
        paths[image] = os.pathsep.join((str(folder / "rooms"), str(folder / "packages")))
    return paths


@pytest.mark.slow
@pytest.mark.parametrize(("image", "service"), _SERVICES)
def test_the_service_becomes_ready_with_what_its_image_holds(
    image_paths: dict[str, str], image: str, service: str, tmp_path: Path
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # A console alone is alive, not ready.
    target = f"http://127.0.0.1:{port}/healthz" if service == "console" else f"127.0.0.1:{port}"
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": image_paths[image],
        "PYTHONDONTWRITEBYTECODE": "1",
        "NUMBA_CACHE_DIR": str(tmp_path / "numba"),
        "TMPDIR": str(tmp_path),
        "SEMCAST_PORT": str(port),
    }
    python = [sys.executable, "-S"]
    with subprocess.Popen(
        [*python, "-m", "semcast", "serve", service],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            check = [*python, "-m", "semcast.rpc.healthcheck", target]
            _until_ready(check, environment, process)
        finally:
            process.terminate()
            output, _ = process.communicate(timeout=20)
    assert process.returncode == 0, output


@pytest.mark.slow
def test_the_transmitter_image_holds_the_samples(image_paths: dict[str, str]) -> None:
    program = (
        "from semcast.samples import sample_names\n"
        "from transmitter.sources import probe_clip\n"
        "print([probe_clip(f'sample:{name}').width for name in sample_names()])"
    )
    widths = subprocess.run(
        [sys.executable, "-S", "-c", program],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": image_paths["media"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert len(json.loads(widths)) >= 3
    assert min(json.loads(widths)) >= 256


def _until_ready(
    check: list[str], environment: dict[str, str], process: subprocess.Popen[str]
) -> None:
    # Decoders are compiled into an empty cache here, which takes a while on a busy machine.
    deadline_s = time.monotonic() + 180
    while subprocess.run(check, env=environment, capture_output=True, timeout=30).returncode:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline_s, "not ready"
        time.sleep(0.5)


def _closure(extras: set[str]) -> set[str]:
    """Names of all distributions that semcast with these extras needs, by their metadata."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = list(project["dependencies"])
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    found: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    left = [Requirement(text) for text in wanted]
    while left:
        requirement = left.pop()
        key = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if key in seen:
            continue
        seen.add(key)
        found.add(key[0])
        left += _requirements(*key)
    return found


def _requirements(name: str, extras: Iterable[str]) -> Iterator[Requirement]:
    for text in importlib.metadata.requires(name) or ():
        requirement = Requirement(text)
        contexts = [{"extra": extra} for extra in ("", *extras)]
        if requirement.marker is None or any(map(requirement.marker.evaluate, contexts)):
            yield requirement


def _link_packages(extras: set[str], folder: Path) -> None:
    """Links to everything these distributions put into site-packages."""
    folder.mkdir()
    for name in _closure(extras):
        distribution = importlib.metadata.distribution(name)
        for file in distribution.files or ():
            if file.parts[0] in ("..", "__pycache__"):
                continue
            link = folder / file.parts[0]
            if not link.exists():
                link.symlink_to(Path(str(distribution.locate_file(file.parts[0]))))
