"""docker-compose.yml read as `docker compose` reads it: files merged, variables filled in.

Covers what this project's files use; anything else raises, so that a test never passes on a file
that compose would read differently.

Interpolation (compose specification, "Interpolation"): `$NAME`, `${NAME}`, `${NAME:-default}`,
`${NAME-default}`, `${NAME:+other}`, `${NAME:?message}`, `$$`; defaults may hold variables. An
environment variable with no value is taken from the environment, or left out where it is not there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
COMPOSE_FILE = REPOSITORY / "docker-compose.yml"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATORS = (":-", ":+", ":?", "-")


class ComposeError(Exception):
    """What compose would refuse, or what this reader does not know."""


@dataclass(frozen=True)
class Service:
    """One service after interpolation. raw: the whole entry, for what has no field here."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    healthcheck: tuple[str, ...]
    depends_on: Mapping[str, Mapping[str, Any]]
    profiles: frozenset[str]
    replicas: int
    stop_grace_s: float
    raw: Mapping[str, Any]


@dataclass(frozen=True)
class Model:
    """A compose project. services: all of them, whatever their profile."""

    services: Mapping[str, Service]
    configs: Mapping[str, Any]
    secrets: Mapping[str, Any]
    volumes: Mapping[str, Any]
    profiles: frozenset[str]

    def running(self) -> list[Service]:
        """What `docker compose up` runs, dependencies first."""
        active = {
            name: service
            for name, service in self.services.items()
            if (not service.profiles or service.profiles & self.profiles) and service.replicas
        }
        ordered: list[Service] = []
        left = dict(active)
        while left:
            ready = [
                service
                for service in left.values()
                if not any(dependency in left for dependency in service.depends_on)
            ]
            if not ready:
                raise ComposeError(f"services depend on each other: {sorted(left)}")
            for service in ready:
                for dependency, how in service.depends_on.items():
                    if dependency not in active and how.get("required", True):
                        raise ComposeError(f"{service.name} is missing dependency {dependency}")
                ordered.append(service)
                del left[service.name]
        return ordered


def load(environment: Mapping[str, str], *files: Path) -> Model:
    """The project of these files (docker-compose.yml by default) under an environment.

    environment: what the shell and `.env` hold; COMPOSE_PROFILES names the active profiles.
    """
    merged: dict[str, Any] = {}
    for file in files or (COMPOSE_FILE,):
        merged = _merge(merged, interpolate(_read_yaml(file), environment))
    services = {
        name: _service(name, entry, environment) for name, entry in merged["services"].items()
    }
    profiles = filter(None, environment.get("COMPOSE_PROFILES", "").split(","))
    return Model(
        services=services,
        configs=merged.get("configs", {}),
        secrets=merged.get("secrets", {}),
        volumes=merged.get("volumes", {}),
        profiles=frozenset(profiles),
    )


def read_env_file(path: Path, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of an env file: NAME=VALUE lines, unquoted, which may use earlier ones."""
    values: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, separator, value = line.partition("=")
        if not separator or not _NAME.fullmatch(name) or value[:1] in ("'", '"') or " #" in value:
            raise ComposeError(f"{path.name}: a line this reader does not know: {line}")
        values[name] = _fill_in(value.strip(), {**values, **(environment or {})})
    return values


def interpolate(node: Any, environment: Mapping[str, str]) -> Any:
    """The same YAML with its variables filled in; keys are left as they are."""
    match node:
        case str():
            return _fill_in(node, environment)
        case list():
            return [interpolate(item, environment) for item in node]
        case dict():
            return {key: interpolate(value, environment) for key, value in node.items()}
    return node


def _read_yaml(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {key: value for key, value in content.items() if not key.startswith("x-")}


def _merge(base: Any, over: Any) -> Any:
    """Mappings merge, `volumes` and other lists append, commands and the rest are replaced."""
    if isinstance(base, dict) and isinstance(over, dict):
        merged = dict(base)
        for key, value in over.items():
            keep = key in base and key not in ("command", "test")
            merged[key] = _merge(base[key], value) if keep else value
        return merged
    if isinstance(base, list) and isinstance(over, list):
        return base + over
    return over


def _service(name: str, entry: Mapping[str, Any], environment: Mapping[str, str]) -> Service:
    test = entry.get("healthcheck", {}).get("test", ["NONE"])
    if not isinstance(test, list) or test[0] not in ("CMD", "NONE"):
        raise ComposeError(f"{name}: healthcheck must be [CMD, ...]")
    command = entry.get("command", [])
    if not isinstance(command, list):
        raise ComposeError(f"{name}: command must be a list")
    return Service(
        name=name,
        command=tuple(map(str, command)),
        environment=_environment(entry.get("environment", {}), environment),
        healthcheck=tuple(map(str, test[1:])),
        depends_on=entry.get("depends_on", {}),
        profiles=frozenset(entry.get("profiles", ())),
        replicas=int(entry.get("deploy", {}).get("replicas", 1)),
        stop_grace_s=duration_s(entry.get("stop_grace_period", "10s")),
        raw=entry,
    )


def _environment(entry: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in entry.items():
        if value is not None:
            values[name] = str(value)
        elif name in environment:
            values[name] = environment[name]
    return values


def duration_s(text: str) -> float:
    """Seconds of "90s" or "2m"."""
    match = re.fullmatch(r"([0-9.]+)(ms|s|m|h)", text)
    if match is None:
        raise ComposeError(f"not a duration: {text}")
    return float(match[1]) * {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}[match[2]]


def _fill_in(text: str, environment: Mapping[str, str]) -> str:
    filled, rest = "", text
    while "$" in rest:
        before, _, rest = rest.partition("$")
        filled += before
        if rest.startswith("$"):
            filled, rest = filled + "$", rest[1:]
        elif rest.startswith("{"):
            end = _closing_brace(rest)
            filled, rest = filled + _expand(rest[1:end], environment), rest[end + 1 :]
        elif name := _NAME.match(rest):
            filled, rest = filled + environment.get(name[0], ""), rest[name.end() :]
        else:
            raise ComposeError(f"not a variable: ${rest}")
    return filled + rest


def _closing_brace(text: str) -> int:
    depth = 0
    for index, character in enumerate(text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return index
    raise ComposeError(f"a brace is not closed: ${text}")


def _expand(expression: str, environment: Mapping[str, str]) -> str:
    name = _NAME.match(expression)
    if name is None:
        raise ComposeError(f"not a variable: ${{{expression}}}")
    value, tail = environment.get(name[0]), expression[name.end() :]
    if not tail:
        return value or ""
    operator = next((item for item in _OPERATORS if tail.startswith(item)), None)
    if operator is None:
        raise ComposeError(f"an operator this reader does not know: ${{{expression}}}")
    other = tail[len(operator) :]
    match operator:
        case ":-":
            return value or _fill_in(other, environment)
        case "-":
            return value if value is not None else _fill_in(other, environment)
        case ":+":
            return _fill_in(other, environment) if value else ""
        case _:
            if not value:
                raise ComposeError(f"required variable {name[0]}: {other}")
            return value


def variables(files: Sequence[Path] = (COMPOSE_FILE,)) -> set[str]:
    """Names of all variables that the files use."""
    names: set[str] = set()
    for file in files:
        lines = (
            line
            for line in file.read_text(encoding="utf-8").splitlines()
            if not line.lstrip().startswith("#")
        )
        names.update(re.findall(r"\$\{([A-Za-z_][A-Za-z0-9_]*)", "\n".join(lines)))
    return names
