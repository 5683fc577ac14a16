"""Runs on a lent machine: what must travel, what may not be missing there, what comes back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

import training.gpu
import training.pack
import training.run
from semcast.errors import InputError
from semcast.weights import FOLDER as BUNDLED
from training.gpu import (
    MAX_ALL_MB,
    MAX_CARRIED_MB,
    MAX_COMMAND,
    MAX_TREE_MB,
    Job,
    bring_back,
    describe,
    fetch_packages,
    main,
    plan,
    read_job,
    read_requirements,
    refuse_too_much,
    there,
)
from training.run import RECIPES

ROOT = Path(__file__).resolve().parents[2]

ABSENT = "aioice aiortc av constriction fastapi grpc mujoco plotly pydantic_settings rich uvicorn"
"""Packages of semcast that a lent machine lacks, and that no run should need."""

JOB = Job(
    recipe="autoencoder",
    weights_name="latent_codec",
    pack=".gpu/autoencoder/data.pack",
    start=None,
    budget="8m",
    seed=7777,
)


# What training imports.


def _imports_without(absent: str, recipes: list[str]) -> subprocess.CompletedProcess[str]:
    """Imports what a run of recipes imports, as if packages were not installed."""
    code = f"""
import sys
from importlib.machinery import PathFinder
absent = set({absent!r}.split())
class Without:
    invalidate_caches = PathFinder.invalidate_caches
    find_distributions = PathFinder.find_distributions
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in absent:
            return None
        return PathFinder.find_spec(name, path, target)
sys.meta_path[:] = [Without if f is PathFinder else f for f in sys.meta_path]
import training.command, training.gpu, training.loop
from training.run import find_recipe
for recipe in {recipes!r}:
    find_recipe(recipe)
print("all", *(name for name in absent if name in sys.modules))
"""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )


def test_training_runs_without_what_a_lent_machine_lacks() -> None:
    done = _imports_without(ABSENT, list(RECIPES))
    assert (done.returncode, done.stdout) == (0, "all\n"), done.stderr[-2000:]


def test_that_test_would_notice() -> None:
    done = _imports_without("tqdm", ["autoencoder"])
    assert done.returncode == 1
    assert "tqdm" in done.stderr


def test_the_part_that_runs_there_starts_without_any_package() -> None:
    code = "import sys; sys.path.insert(0, '.'); import training.gpu"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# Packages.


def test_packages_are_those_that_semcast_is_tested_with() -> None:
    named = read_requirements(training.gpu.WHEELS_LIST.read_text())
    assert {pin.partition("==")[0] for pin in named} >= {"pydantic", "pydantic_core", "lpips"}
    assert set(named) <= set((ROOT / "constraints.txt").read_text().split())
    assert read_requirements("# why\na==1\n\nb==2  # note\n") == ["a==1", "b==2"]


def _wheel(folder: Path, name: str, files: dict[str, str]) -> None:
    with zipfile.ZipFile(folder / f"{name}-1-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)


def test_packages_travel_as_one_archive_and_are_found_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []

    def pip(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        folder = Path(command[command.index("--dest") + 1])
        _wheel(folder, "parrot", {"parrot/__init__.py": "", "parrot/says.py": f"# {command[-1]}"})
        _wheel(folder, "cage", {"cage.py": ""})
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    archive = tmp_path / "packages" / "wheels.tar.xz"
    fetch_packages(["a==1"], archive)
    fetch_packages(["a==1"], archive)
    assert len(calls) == 1, "what is there is not fetched again"
    assert {"--no-deps", "--only-binary=:all:", "3.12", "a==1"} < set(calls[0])
    fetch_packages(["a==2"], archive)
    assert len(calls) == 2

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", "mine")
    environment = training.gpu._unpack(archive)
    site, mine = environment["PYTHONPATH"].split(os.pathsep)
    assert mine == "mine"
    assert (Path(site) / "parrot" / "says.py").read_text() == "# a==2"
    assert (Path(site) / "cage.py").is_file()


def test_packages_that_cannot_be_fetched_are_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "ERROR: one\nERROR: no such version\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    for _ in range(2):
        with pytest.raises(InputError, match="no such version"):
            fetch_packages(["a==1"], tmp_path / "packages" / "wheels.tar.xz")


# What travels.


def test_what_is_too_large_to_travel_is_refused_and_says_what_to_do() -> None:
    refuse_too_much(MAX_TREE_MB, MAX_CARRIED_MB, MAX_ALL_MB - MAX_TREE_MB - MAX_CARRIED_MB)
    for tree, carried, beside, says in (
        (MAX_TREE_MB + 0.1, 1, 0, "ignore"),
        (1, MAX_CARRIED_MB + 0.1, 0, "--max-mb"),
        (30, 26, 11, "start"),
    ):
        with pytest.raises(InputError, match=says):
            refuse_too_much(tree, carried, beside)
    assert MAX_ALL_MB * 1e6 < 64 * 2**20


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a job in it; the present folder."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training.gpu, "CHECKOUT", tmp_path)
    (tmp_path / ".gitignore").write_text(".gpu/\nout/\n")
    (tmp_path / "tree").write_bytes(bytes(300_000))
    _prepare(JOB)
    training.gpu.PACKAGES.parent.mkdir()
    training.gpu.PACKAGES.write_bytes(bytes(1_000_000))
    return tmp_path


def _prepare(job: Job) -> Job:
    job.folder.mkdir(parents=True)
    job.write()
    if Path(job.pack).parent == job.folder:
        Path(job.pack).write_bytes(bytes(2_000_000))
    return job


def test_the_plan_carries_what_git_ignores_and_fits_the_tool(repository: Path) -> None:
    carry, command = plan([JOB])
    assert carry == [".gpu/autoencoder", ".gpu/packages"]
    assert command == "python3 -m training.gpu there .gpu/autoencoder"
    text = describe([JOB])
    assert "tree 0.3 MB, carried 3.0 MB" in text
    assert json.dumps(carry) in text
    assert "calls" not in text


def test_a_shared_pack_travels_once(repository: Path) -> None:
    other = _prepare(replace(JOB, recipe="picture-video"))
    carry, command = plan([JOB, other])
    assert carry == [".gpu/autoencoder", ".gpu/picture-video", ".gpu/packages"]
    assert command.endswith(".gpu/autoencoder .gpu/picture-video")
    with pytest.raises(InputError, match="too many"):
        plan([replace(JOB, recipe=f"r{k}") for k in range(9)])
    assert len(command) < MAX_COMMAND


def test_a_plan_that_is_too_large_is_refused(repository: Path) -> None:
    with (repository / ".gpu" / "autoencoder" / "data.pack").open("r+b") as pack:
        pack.truncate(round(1e6 * MAX_CARRIED_MB) + 1)
    with pytest.raises(InputError, match="--max-mb"):
        plan([JOB])
    (repository / ".gpu" / "autoencoder" / "data.pack").write_bytes(b"")
    with (repository / "tree").open("r+b") as new_file:
        new_file.truncate(round(1e6 * MAX_TREE_MB) + 1)
    with pytest.raises(InputError, match="working tree"):
        plan([JOB])


def test_a_long_budget_takes_several_calls(repository: Path) -> None:
    assert "takes 3 calls" in describe([replace(JOB, budget="24m")])


def test_a_job_is_read_as_it_was_written(repository: Path) -> None:
    job = replace(JOB, recipe="x", settings={"size": "64"}, start="s")
    _prepare(job)
    assert read_job(job.folder) == job
    (job.folder / "job.json").write_text("{}")
    with pytest.raises(InputError, match="prepare"):
        read_job(job.folder)


def test_another_job_does_not_go_on_with_this_ones_run() -> None:
    same = [replace(JOB, budget="20m"), replace(JOB, start="w")]
    other = [replace(JOB, seed=1), replace(JOB, settings={"size": "64"}), replace(JOB, recipe="b")]
    assert {job.run_dir for job in same} == {JOB.run_dir}
    assert len({job.run_dir for job in [JOB, *other]}) == 4


# Preparing.


@pytest.fixture
def packed(repository: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """What would be packed; nothing is fetched."""
    asked: list[dict[str, object]] = []

    def pack(recipe: str, path: Path, **options: object) -> str:
        asked.append({"recipe": recipe, "path": path, **options})
        path.write_bytes(b"pack")
        return "a pack"

    def fetch(requirements: list[str], archive: Path) -> None:
        archive.write_bytes(bytes(5_000_000))

    monkeypatch.setattr(training.pack, "make_pack", pack)
    monkeypatch.setattr(training.gpu, "fetch_packages", fetch)
    return asked


def test_prepare_leaves_a_job_and_says_how_to_run_it(
    packed: list[dict[str, object]], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("codec.bin").write_bytes(b"codec")
    options = ["--budget", "5m", "--seed", "3", "--set", "size=64", "--data", "clips"]
    options += ["--set-file", "codec=codec.bin"]
    assert main(["prepare", "picture-video", *options]) == 0
    job = read_job(Path(".gpu/picture-video"))
    assert (job.recipe, job.weights_name, job.budget, job.seed) == (
        "picture-video",
        "picture_video",
        "5m",
        3,
    )
    assert job.settings == {"size": "64", "codec": ".gpu/picture-video/codec.bin"}
    assert Path(job.settings["codec"]).read_bytes() == b"codec"
    assert Path(job.pack).read_bytes() == b"pack"
    assert (packed[0]["recipe"], packed[0]["data"]) == ("picture-video", Path("clips"))
    assert packed[0]["max_mb"] == pytest.approx(MAX_CARRIED_MB - 5), "what packages leave"
    out = capsys.readouterr().out
    assert 'carry: [".gpu/picture-video", ".gpu/packages"]' in out
    assert "command: python3 -m training.gpu there .gpu/picture-video\n" in out


@pytest.mark.usefixtures("packed")
def test_a_run_starts_from_the_last_weights_there_are() -> None:
    def start() -> str | None:
        assert main(["prepare", "picture-video"]) == 0
        job = read_job(Path(".gpu/picture-video"))
        return None if job.start is None else Path(job.start).read_text()

    assert start() is None
    for folder in (
        str(BUNDLED.relative_to(ROOT)),
        "out/training/picture-video",
        "out/training/picture-video-gpu",
    ):
        Path(folder).mkdir(parents=True)
        (Path(folder) / "picture_video.safetensors").write_text(folder)
        assert start() == folder
    assert main(["prepare", "picture-video", "--start-from", "none"]) == 0
    assert read_job(Path(".gpu/picture-video")).start is None
    Path("mine.safetensors").write_text("mine")
    assert main(["prepare", "picture-video", "--start-from", "mine.safetensors"]) == 0
    job = read_job(Path(".gpu/picture-video"))
    assert job.start == ".gpu/picture-video/start.safetensors", "it travels with the job"


def test_two_jobs_may_share_a_pack_and_a_call(
    packed: list[dict[str, object]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prepare", "picture-video"]) == 0
    shared = ".gpu/picture-video/data.pack"
    assert main(["prepare", "djscc-sketch", "--pack", shared, "--with", "picture-video"]) == 0
    assert len(packed) == 1
    assert read_job(Path(".gpu/djscc-sketch")).pack == shared
    assert "there .gpu/picture-video .gpu/djscc-sketch\n" in capsys.readouterr().out


@pytest.mark.usefixtures("packed")
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["nonsense"], "No recipe"),
        (["picture-video", "--budget", "soon"], "duration"),
        (["picture-video", "--set", "smell=rose"], "smell"),
        (["picture-video", "--set", "size"], "NAME=VALUE"),
        (["picture-video", "--set-file", "codec=nowhere"], "nowhere"),
        (["picture-video", "--start-from", "nowhere"], "nowhere"),
        (["picture-video", "--pack", "nowhere.pack"], "--pack"),
        (["picture-video", "--with", "nothing"], "prepare"),
    ],
)
def test_what_cannot_be_prepared_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    assert main(["prepare", *options]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert says in error


def test_it_says_where_it_has_to_be_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", "autoencoder"]) == 2
    assert "root of the repository" in capsys.readouterr().err


# There.

_TRAINING = """
import pathlib, signal, sys, time
arguments = sys.argv[1:]
run = pathlib.Path(arguments[arguments.index("--run") + 1])
name = {"a": "one", "b": "two"}[arguments[0]]
print(*arguments, flush=True)
if "fail=1" in arguments:
    sys.exit("it broke")
def leave(*_):
    (run / f"{name}.safetensors").write_text("saved")
    sys.exit(130)
signal.signal(signal.SIGTERM, leave)
if "deaf=1" in arguments:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
(run / "sheets").mkdir(exist_ok=True)
(run / "sheets" / "0000010.png").write_text("sheet")
(run / "log.jsonl").write_text('{"step": 10}\\n')
(run / f"{name}.safetensors").write_text("early")
while "wait=1" in arguments:
    time.sleep(0.05)
(run / f"{name}.md").write_text("card")
"""


@pytest.fixture
def lent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose training only writes files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "__init__.py").touch()
    (tmp_path / "training" / "__main__.py").write_text(_TRAINING)
    training.gpu.PACKAGES.parent.mkdir(parents=True)
    tarfile.open(training.gpu.PACKAGES, "w:xz").close()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def _job(recipe: str, **settings: str) -> Path:
    weights_name = {"a": "one", "b": "two"}[recipe]
    job = replace(JOB, recipe=recipe, weights_name=weights_name, pack="p.pack", settings=settings)
    job.folder.mkdir(parents=True, exist_ok=True)
    job.write()
    return job.folder


def test_a_run_is_asked_for_as_the_job_says_and_comes_back(lent: Path) -> None:
    folder = _job("a", size="64")
    job = replace(read_job(folder), start="s.safetensors")
    job.write()
    assert there([folder], lent / "out1", stop_after_s=60) == 0
    back = {path.name: path.read_text() for path in (lent / "out1").iterdir()}
    assert set(back) == {"one.safetensors", "one.md", "log.jsonl", "0000010.png", "output.txt"}
    assert back["one.md"] == "card"
    asked = back["output.txt"].split()
    assert asked[:2] == ["a", "--resume"]
    for option, value in (
        ("--data", "p.pack"),
        ("--budget", "8m"),
        ("--seed", "7777"),
        ("--start-from", "s.safetensors"),
        ("--set", "size=64"),
        ("--run", str(job.run_dir)),
    ):
        assert asked[asked.index(option) + 1] == value


def test_when_time_is_up_a_run_saves_and_that_is_no_failure(lent: Path) -> None:
    assert there([_job("a", wait="1")], lent / "back", stop_after_s=2) == 0
    assert (lent / "back" / "one.safetensors").read_text() == "saved"


def test_a_run_that_does_not_listen_is_ended_and_leaves_what_it_had(
    lent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.gpu, "GRACE_S", 1)
    status = there([_job("a", wait="1", deaf="1")], lent / "back", stop_after_s=2)
    assert status not in (0, 130)
    assert (lent / "back" / "one.safetensors").read_text() == "early"


def test_two_jobs_run_at_the_same_time_and_come_back_apart(lent: Path) -> None:
    # Each waits for ever, so one after the other would leave the second without a start.
    folders = [_job("a", wait="1"), _job("b", wait="1")]
    assert there(folders, lent / "back", stop_after_s=2) == 0
    assert (lent / "back" / "a" / "one.safetensors").read_text() == "saved"
    assert (lent / "back" / "b" / "two.safetensors").read_text() == "saved"
    assert all(len(list((lent / "back" / name).iterdir())) <= 4 for name in "ab")


def test_a_failure_is_told_and_does_not_take_the_other_run_along(
    lent: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert there([_job("a", fail="1"), _job("b")], lent / "back", stop_after_s=60) == 1
    assert "it broke" in capsys.readouterr().out
    assert (lent / "back" / "b" / "two.md").read_text() == "card"


def test_what_is_most_valuable_comes_back_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run, back = JOB.run_dir, tmp_path / "back"
    (run / "sheets").mkdir(parents=True)
    for name in ("latent_codec.safetensors", "latent_codec.md", "log.jsonl", "output.txt"):
        (run / name).write_text(name)
    (run / "curve.png").write_text("curve")
    (run / "checkpoint.pt").write_text("not for shipping")
    for step in (10, 20, 30, 40):
        (run / "sheets" / f"{step:07d}.png").write_text(str(step))
    bring_back(JOB, back, max_files=4)
    assert {path.name for path in back.iterdir()} == {
        "latent_codec.safetensors", "latent_codec.md", "log.jsonl", "0000040.png",
    }  # fmt: skip
    (run / "sheets" / "0000050.png").write_text("50")
    bring_back(JOB, back, max_files=8)
    names = {path.name for path in back.iterdir()}
    assert names >= {"0000050.png", "0000040.png", "0000030.png", "curve.png", "output.txt"}
    assert len(names) == 8
    assert not any(name.startswith("partial") for name in names)


def test_a_file_too_large_to_come_back_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training.gpu, "MAX_FILE_MB", 1e-5)
    JOB.run_dir.mkdir(parents=True)
    (JOB.run_dir / "latent_codec.safetensors").write_bytes(bytes(100))
    (JOB.run_dir / "latent_codec.md").write_bytes(b"card")
    bring_back(JOB, tmp_path / "back", max_files=8)
    assert [path.name for path in (tmp_path / "back").iterdir()] == ["latent_codec.md"]
    assert "latent_codec.safetensors is too large" in capsys.readouterr().out
