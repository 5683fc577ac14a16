"""Runs on a GPU machine that is lent for minutes: prepared here, run there.

    python -m training.gpu prepare autoencoder --budget 8m

puts what the run needs into `.gpu/`, which git ignores, and prints what to give the device tool:
the paths to carry and the command. That command is

    python3 -m training.gpu there .gpu/autoencoder

It unpacks the packages that the machine lacks, trains, and copies weights, card, log, curve and
sheets to $OUT every half minute, so that they come back whatever happens. Where the machine is
still warm from an earlier call of the same job the run goes on; else it starts from the weights
that were carried.

    .gpu/packages/    wheels.tar.xz: all wheels, unpacked as an installation has them
    .gpu/RECIPE/      job.json, data.pack, start.safetensors, files that settings name

The part that runs there needs nothing but Python before it has unpacked them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from semcast.errors import InputError

CHECKOUT = Path(__file__).resolve().parents[1]
FOLDER = Path(".gpu")
BUNDLED = Path("semcast") / "weights"
PACKAGES = FOLDER / "packages" / "wheels.tar.xz"
WHEELS_LIST = Path(__file__).with_name("wheels.txt")

MAX_TREE_MB = 34.0
MAX_CARRIED_MB = 28.0
MAX_ALL_MB = 66.0
"""The tree, packs and wheels, and these with weights to start from; megabytes of 1e6 bytes. 64 MiB
travel at most."""

MAX_COMMAND = 2000
MAX_PATHS = 8
CALL_S = 600
"""What the device tool allows: characters, carried paths, seconds a call."""

STOP_AFTER_S = 550
"""Then training is told to save and end; wheels, data and Python count as well."""

GRACE_S = 30
TRAIN_A_CALL_S = 480
"""What is surely left of a call for a budget, after start and decoding and before the last figures
are measured."""

MAX_FILES = 8
MAX_FILE_MB = 16.7
COPY_EVERY_S = 30.0

_PLATFORMS = (
    "manylinux_2_28_x86_64",
    "manylinux_2_27_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
    "manylinux1_x86_64",
)
_PYTHON = "3.12"


@dataclass(frozen=True)
class Job:
    """One run there. Paths are relative to the root of the repository.

    start: EMA weights to begin from. budget: of the whole run, which may take several calls.
    settings: as `--set` takes them.
    """

    recipe: str
    weights_name: str
    pack: str
    start: str | None
    budget: str
    seed: int
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where it was prepared."""
        return FOLDER / self.recipe

    @property
    def run_dir(self) -> Path:
        """Of its own: another job of this recipe does not go on with this one's checkpoint."""
        same = {k: v for k, v in asdict(self).items() if k not in ("start", "budget")}
        key = hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()[:8]
        return Path("out") / "training" / f"{self.recipe}-{key}"

    def write(self) -> None:
        """Into its folder."""
        (self.folder / "job.json").write_text(json.dumps(asdict(self), indent=1) + "\n")


def read_job(folder: Path) -> Job:
    """The job in a folder. Raises InputError where there is none."""
    try:
        stored = json.loads((folder / "job.json").read_text())
        return Job(**stored)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{folder} holds no job: make it with 'python -m training.gpu prepare RECIPE'."
        ) from error


# Here: prepare.


def read_requirements(text: str) -> list[str]:
    """The pinned requirements of a list with comments."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def fetch_packages(requirements: Sequence[str], archive: Path) -> None:
    """Puts packages for the lent machine into one archive, unless it holds just these.

    A wheel is a zip whose files lie as they will be installed; all in one xz archive are less than
    half the size. Raises InputError where pip cannot fetch them.
    """
    listed = archive.with_name("requirements.txt")
    wanted = "\n".join(requirements) + "\n"
    if archive.is_file() and listed.is_file() and listed.read_text() == wanted:
        return
    shutil.rmtree(archive.parent, ignore_errors=True)
    archive.parent.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
                *("--only-binary=:all:", "--python-version", _PYTHON, "--implementation", "cp"),
                *(f"--platform={platform}" for platform in _PLATFORMS),
                *("--dest", folder, *requirements),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise InputError(f"pip cannot fetch what training/wheels.txt names: {reason}")
        with tarfile.open(archive, "w:xz") as packed:
            for wheel in sorted(Path(folder).glob("*.whl")):
                with zipfile.ZipFile(wheel) as files:
                    for name in files.namelist():
                        entry = tarfile.TarInfo(name)
                        entry.size = files.getinfo(name).file_size
                        packed.addfile(entry, files.open(name))
    listed.write_text(wanted)


def _start_weights(choice: str, recipe: str, weights_name: str) -> Path | None:
    """What a run begins from: the last that came back, else the last made here, else bundled."""
    if choice == "none":
        return None
    if choice != "auto":
        if not Path(choice).is_file():
            raise InputError(f"{choice} is not there: give --start-from a weight file.")
        return Path(choice)
    name = f"{weights_name}.safetensors"
    runs = Path("out") / "training"
    places = (runs / f"{recipe}-gpu" / name, runs / recipe / name, BUNDLED / name)
    return next((place for place in places if place.is_file()), None)


def megabytes(path: Path) -> float:
    """Of a file, or of all files in a folder; 1e6 bytes each."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def tree_mb() -> float:
    """What travels without being carried: tracked files, and new ones that git does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
    )
    return sum(megabytes(Path(name)) for name in listed.stdout.split("\0") if name)


def refuse_too_much(tree: float, carried: float, beside: float = 0.0) -> None:
    """Raises InputError where more would travel than may.

    tree: what git has. carried: packs and wheels. beside: other carried files. Megabytes.
    """
    if tree > MAX_TREE_MB:
        raise InputError(
            f"The working tree is {tree:.1f} MB, and {MAX_TREE_MB:g} MB may travel: move large new "
            "files out of the repository, or let git ignore them."
        )
    if carried > MAX_CARRIED_MB:
        raise InputError(
            f"Packs and wheels are {carried:.1f} MB, and {MAX_CARRIED_MB:g} MB may travel: make "
            "smaller packs with --max-mb, or share one with --pack."
        )
    if tree + carried + beside > MAX_ALL_MB:
        raise InputError(
            f"In all {tree + carried + beside:.1f} MB would travel, and {MAX_ALL_MB:g} MB may: "
            "make smaller packs with --max-mb, or start from smaller weights."
        )


def plan(jobs: Sequence[Job]) -> tuple[list[str], str]:
    """Paths to carry, and the command that runs the jobs at the same time.

    Raises InputError for what the device tool would refuse.
    """
    folders = [str(job.folder) for job in jobs]
    pack_folders = [str(Path(job.pack).parent) for job in jobs]
    carry = list(dict.fromkeys([*folders, *pack_folders, str(PACKAGES.parent)]))
    command = f"python3 -m training.gpu there {' '.join(folders)}"
    if len(carry) > MAX_PATHS or len(command) > MAX_COMMAND:
        raise InputError(f"{len(jobs)} jobs are too many for one call: prepare fewer of them.")
    packs = sum(megabytes(Path(path)) for path in {job.pack for job in jobs})
    carried = packs + megabytes(PACKAGES)
    refuse_too_much(tree_mb(), carried, sum(megabytes(Path(path)) for path in carry) - carried)
    return carry, command


def prepare(asked: argparse.Namespace) -> Job:
    """Puts what a run needs into `.gpu/RECIPE` and `.gpu/packages`."""
    from training.run import default_data, find_recipe, parse_duration_s, read_settings

    recipe = find_recipe(asked.recipe)
    parse_duration_s(asked.budget)
    settings = _pairs(asked.set)
    files = {name: Path(path) for name, path in _pairs(asked.set_file).items()}
    chosen = read_settings(
        recipe, {**settings, **{name: str(path) for name, path in files.items()}}
    )
    weights_name = recipe.weights_name_for(chosen)
    start = _start_weights(asked.start_from, recipe.name, weights_name)
    folder = FOLDER / recipe.name
    shared_pack = _shared_pack(asked.pack, folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

    requirements = read_requirements(WHEELS_LIST.read_text())
    print(f"packages: {' '.join(requirements)}", flush=True)
    fetch_packages(requirements, PACKAGES)
    print(f"starts from {start or 'random weights'}", flush=True)
    if start is not None and start.parent != BUNDLED:
        shutil.copyfile(start, folder / "start.safetensors")
        start = folder / "start.safetensors"
    for name, path in files.items():
        if not path.is_file():
            raise InputError(f"{path} is not there: give --set-file {name}= a file.")
        shutil.copyfile(path, folder / path.name)
        settings[name] = str(folder / path.name)
    if shared_pack is None:
        from training.pack import MAX_MB, SCENES_DIR, make_pack, render_scenes

        room = MAX_CARRIED_MB - megabytes(PACKAGES)
        report = make_pack(
            recipe.name,
            folder / "data.pack",
            data=asked.data or default_data(),
            max_mb=asked.max_mb or min(MAX_MB, room),
            scenes=render_scenes(asked.simulated, SCENES_DIR),
            windows_per_clip=asked.windows,
        )
        print(f"pack: {report}", flush=True)
    job = Job(
        recipe=recipe.name,
        weights_name=weights_name,
        pack=str(shared_pack or folder / "data.pack"),
        start=None if start is None else str(start),
        budget=asked.budget,
        seed=asked.seed,
        settings=settings,
    )
    job.write()
    return job


def _shared_pack(pack: Path | None, folder: Path) -> Path | None:
    """A pack of another job, to be carried once. Raises InputError for one that cannot be."""
    if pack is None:
        return None
    inside = FOLDER.resolve() in pack.resolve().parents
    if not pack.is_file() or not inside or folder.resolve() in pack.resolve().parents:
        raise InputError(f"--pack {pack} is no pack of another job: give {FOLDER}/OTHER/data.pack.")
    return pack


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    pairs = dict(text.partition("=")[::2] for text in texts)
    if not all(pairs) or not all(pairs.values()):
        raise InputError(f"Settings are given as NAME=VALUE, not as {' '.join(texts)}.")
    return pairs


def describe(jobs: Sequence[Job]) -> str:
    """What to give to the device tool. Raises InputError for what it would refuse."""
    from training.run import parse_duration_s

    carry, command = plan(jobs)
    calls = max(-(-parse_duration_s(job.budget) // TRAIN_A_CALL_S) for job in jobs)
    lines = [
        f"tree {tree_mb():.1f} MB, carried {sum(megabytes(Path(p)) for p in carry):.1f} MB",
        f"carry: {json.dumps(carry)}",
        f"timeout_s: {CALL_S}",
        f"command: {command}",
    ]
    if calls > 1:
        lines.append(
            f"The budget takes {calls:g} calls: repeat the same call at once, while the machine is "
            "warm, and the run goes on."
        )
    return "\n".join(lines)


# There: install, train, bring back.


def there(folders: Sequence[Path], out: Path, stop_after_s: float) -> int:
    """Runs prepared jobs at the same time. Returns 0, or the status of one that failed."""
    started = time.monotonic()
    jobs = [read_job(folder) for folder in folders]
    environment = _unpack(PACKAGES)
    if len(jobs) > 1:
        environment["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // len(jobs)))
    places = [out if len(jobs) == 1 else out / job.recipe for job in jobs]
    runs = [_start(job, environment) for job in jobs]
    try:
        told = False
        while any(run.poll() is None for run in runs):
            left_s = started + stop_after_s - time.monotonic()
            if left_s < -GRACE_S:
                break
            if left_s <= 0 and not told:
                print("time is up: saving", flush=True)
                _signal(runs, signal.SIGTERM)
                told = True
            _wait(runs, left_s + GRACE_S + 0.1 if told else min(COPY_EVERY_S, left_s))
            for job, place in zip(jobs, places, strict=True):
                bring_back(job, place, MAX_FILES // len(jobs))
                print(
                    f"{time.monotonic() - started:4.0f} s  {job.recipe}: {_latest(job)}", flush=True
                )
    finally:
        _signal(runs, signal.SIGKILL)
    worst = 0
    for job, place, run in zip(jobs, places, runs, strict=True):
        status = run.wait()
        bring_back(job, place, MAX_FILES // len(jobs))
        print(f"{job.recipe}: status {status}; {_latest(job)}", flush=True)
        if status not in (0, STOPPED):
            print((job.run_dir / "output.txt").read_text()[-3000:], flush=True)
            worst = status
    return worst


STOPPED = 130
"""Exit status of a run that was told to stop, and has saved; as `training.command` says it."""


def _unpack(archive: Path) -> dict[str, str]:
    """Packages go into a folder of their own. Returns the environment to train in."""
    site = Path(tempfile.gettempdir()) / "semcast-packages"
    with tarfile.open(archive) as packed:
        packed.extractall(site, filter="data")
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def _start(job: Job, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    job.run_dir.mkdir(parents=True, exist_ok=True)
    start = ["--start-from", job.start] if job.start else []
    settings = [part for pair in job.settings.items() for part in ("--set", "=".join(pair))]
    with (job.run_dir / "output.txt").open("ab") as output:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "training", job.recipe, "--resume"),
                *("--data", job.pack, "--run", str(job.run_dir), "--budget", job.budget),
                *("--seed", str(job.seed), *start, *settings),
            ],
            env=dict(environment),
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )


def _signal(runs: Sequence[subprocess.Popen[bytes]], number: signal.Signals) -> None:
    for run in runs:
        if run.poll() is None:
            run.send_signal(number)


def _wait(runs: Sequence[subprocess.Popen[bytes]], seconds: float) -> None:
    """Until `seconds` have passed, or all runs are over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and any(run.poll() is None for run in runs):
        time.sleep(0.2)


def _latest(job: Job) -> str:
    log = job.run_dir / "log.jsonl"
    lines = log.read_text().splitlines() if log.is_file() else []
    return lines[-1] if lines else "no step yet"


def bring_back(job: Job, place: Path, max_files: int) -> None:
    """Copies what is worth having, most valuable first; each file appears whole."""
    run = job.run_dir
    sheets = sorted((run / "sheets").glob("*.png"), reverse=True)
    found = [
        run / f"{job.weights_name}.safetensors",
        run / f"{job.weights_name}.md",
        run / "log.jsonl",
        *sheets[:1],
        run / "output.txt",
        run / "curve.png",
        *sheets[1:3],
    ]
    kept = [path for path in found if path.is_file()][:max_files]
    place.mkdir(parents=True, exist_ok=True)
    for old in place.glob("*.png"):
        if old.name not in {path.name for path in kept}:
            old.unlink()
    for path in kept:
        if megabytes(path) > MAX_FILE_MB:
            print(f"{path} is too large to come back: {megabytes(path):.1f} MB", flush=True)
            continue
        partial = place / f"partial-{path.name}"
        shutil.copyfile(path, partial)
        partial.replace(place / path.name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.gpu", description="Train on a GPU machine that is lent."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    here = commands.add_parser("prepare", help="put what a run needs into .gpu/, and say what next")
    here.add_argument("recipe")
    here.add_argument("--budget", default="8m", help="of the whole run; one call trains 8 minutes")
    here.add_argument("--seed", type=int, default=7777)
    here.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    here.add_argument(
        "--set-file", action="append", default=[], metavar="NAME=PATH", help="a file travels too"
    )
    here.add_argument(
        "--start-from", default="auto", help="none, or a weight file; default the last ones"
    )
    here.add_argument(
        "--with",
        dest="others",
        action="append",
        default=[],
        metavar="RECIPE",
        help="run one that is prepared already at the same time",
    )
    here.add_argument("--pack", type=Path, help="of another job, instead of one of its own")
    here.add_argument("--data", type=Path, help="folder of clips; default ../shared/data")
    here.add_argument("--max-mb", type=float, help="of the pack; default what is left")
    here.add_argument("--simulated", type=int, default=0, metavar="N", help="simulated scenes")
    here.add_argument("--windows", type=int, default=1, metavar="N", help="received, of each clip")
    run = commands.add_parser("there", help="run prepared jobs on the lent machine")
    run.add_argument("folders", type=Path, nargs="+")
    run.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "out/gpu")))
    run.add_argument("--stop-after", type=float, default=STOP_AFTER_S, metavar="SECONDS")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; see the module docstring. Returns the exit status."""
    asked = _parser().parse_args(arguments)
    try:
        if Path.cwd() != CHECKOUT:
            raise InputError(f"Run this in the root of the repository, {CHECKOUT}.")
        if asked.command == "there":
            return there(asked.folders, asked.out, asked.stop_after)
        job = prepare(asked)
        print(describe([*(read_job(FOLDER / other) for other in asked.others), job]))
    except InputError as error:
        print(f"training.gpu: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
