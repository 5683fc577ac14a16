"""The Dockerfiles of deploy/docker as far as tests need them: what is copied, what is run."""

from __future__ import annotations

import fnmatch
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from compose_file import REPOSITORY

FOLDER = REPOSITORY / "deploy" / "docker"


@dataclass
class Stage:
    """One FROM and what follows. copies: (sources, target) out of the build context."""

    base: str
    name: str
    copies: list[tuple[tuple[str, ...], str]] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    instructions: list[tuple[str, str]] = field(default_factory=list)


def read(path: Path) -> list[Stage]:
    """The stages of a Dockerfile, its continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    stages: list[Stage] = []
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        keyword, _, rest = line.strip().partition(" ")
        if not keyword:
            continue
        if keyword == "FROM":
            base, _, name = rest.partition(" AS ")
            stages.append(Stage(base, name))
        elif stages:
            stages[-1].instructions.append((keyword, rest))
            if keyword == "COPY" and not rest.startswith("--from="):
                *sources, target = rest.split()
                stages[-1].copies.append((tuple(sources), target))
            elif keyword == "RUN":
                stages[-1].runs.append(rest)
    return stages


def stage(path: Path, name: str) -> Stage:
    """A stage by its name; the last, which makes the image, is called ""."""
    return next(item for item in read(path) if item.name == name)


def extras(path: Path) -> set[str]:
    """The extras of pyproject.toml that the image installs by default."""
    installs = " ; ".join(run for run in stage(path, "build").runs if "constraints.txt" in run)
    if default := re.search(r"extras=(\S+?);", installs):
        return set(default[1].split(","))
    found = re.search(r'"\.\[([a-z,]+)\]"', installs)
    return set(found[1].split(",")) if found else set()


def copy_context(path: Path, target: Path) -> None:
    """Copies what the build stage copies, out of what .dockerignore lets through, to `target`."""
    for sources, place in stage(path, "build").copies:
        for source in sources:
            # COPY of a folder copies what is in it; of a file into "folder/", the file.
            into = target / place
            for file in _context_files(source):
                if (REPOSITORY / source).is_dir():
                    destination = into / file.relative_to(REPOSITORY / source)
                else:
                    destination = into / file.name if place.endswith("/") else into
                destination.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, destination)


def _context_files(source: str) -> Iterator[Path]:
    path = REPOSITORY / source
    files = path.rglob("*") if path.is_dir() else [path]
    yield from (file for file in files if file.is_file() and not ignored(file))


def ignored(file: Path) -> bool:
    """Whether .dockerignore keeps a file of the repository out; its last fitting line decides."""
    relative = file.relative_to(REPOSITORY).as_posix()
    verdict = False
    for line in (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!")
        if _fits(relative, pattern):
            verdict = not line.startswith("!")
    return verdict


def _fits(relative: str, pattern: str) -> bool:
    """A pattern fits a path, or a folder above it; `**/` stands for any folders."""
    parts = relative.split("/")
    above = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
    if pattern.startswith("**/"):
        return any(fnmatch.fnmatchcase(part, pattern[3:]) for part in parts)
    return any(
        fnmatch.fnmatchcase(path, pattern) and path.count("/") == pattern.count("/")
        for path in above
    )
