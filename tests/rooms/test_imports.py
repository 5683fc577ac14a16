"""The "must not" column of DESIGN's rooms, held by reading every import statement."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = {"transmitter", "channel_emulator", "receiver", "console"}
OFFLINE = {"evaluation", "training"}
PIXELS = {"torch", "cv2", "av", "aiortc", "PIL", "torchvision"}

FORBIDDEN = {
    "semcast": SERVICES | OFFLINE,
    "transmitter": {"receiver", "channel_emulator", "console"} | OFFLINE,
    "channel_emulator": {"receiver", "transmitter", "console"} | OFFLINE | PIXELS,
    "receiver": {"transmitter", "channel_emulator", "console"} | OFFLINE,
    "console": {"transmitter", "channel_emulator", "receiver"} | OFFLINE | PIXELS,
}


def imports(path: Path) -> set[str]:
    """Top-level names that a file imports anywhere, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def files(room: str) -> list[Path]:
    cli = ROOT / "semcast" / "cli"
    return [path for path in (ROOT / room).rglob("*.py") if cli not in path.parents]


@pytest.mark.parametrize("room", FORBIDDEN)
def test_room_imports_nothing_it_must_not(room: str) -> None:
    found = files(room)
    assert found
    offenders = {
        str(path.relative_to(ROOT)): sorted(bad)
        for path in found
        if (bad := imports(path) & FORBIDDEN[room])
    }
    assert offenders == {}


def loaded_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


def test_importing_semcast_loads_no_torch() -> None:
    assert "torch" not in loaded_after("import semcast, semcast.link, semcast.schemes")


def test_channel_emulator_process_loads_no_torch_and_no_pixels() -> None:
    assert loaded_after("import channel_emulator.server") & PIXELS == set()


def test_console_process_loads_no_torch_and_no_pixels() -> None:
    assert loaded_after("import console.server, console.app") & PIXELS == set()
