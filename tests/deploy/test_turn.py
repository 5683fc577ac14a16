"""The turn profile at work: coturn as compose starts it, and a viewer that reaches nothing else."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import shutil
import socket
from pathlib import Path

import pytest
from aiortc import RTCConfiguration, RTCIceServer, RTCIceTransportPolicy
from compose_file import REPOSITORY, load, read_env_file
from compose_processes import ComposeUp
from compose_user import Page, env_with_free_ports, free_ports

_EXAMPLE = REPOSITORY / "deploy" / "compose" / "turn.env.example"
_PASSWORD = "5e3ca57"
_RELAY_ONLY = RTCIceTransportPolicy.RELAY


def own_address() -> str:
    """This machine's address on its network; skips where it has none but loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Nothing is sent: connecting a UDP socket only chooses a route.
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no network but loopback, which coturn does not relay to")
        return str(probe.getsockname()[0])


def fill_in(values: dict[str, str], folder: Path) -> dict[str, str]:
    """The variables of turn.env.example with these values, for an env file like the user's."""
    text = _EXAMPLE.read_text(encoding="utf-8")
    for name, value in values.items():
        text, found = re.subn(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
        assert found == 1, name
    filled = folder / "turn.env"
    filled.write_text(text, encoding="utf-8")
    return read_env_file(filled)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_viewer_that_can_only_relay_sees_the_video(tmp_path: Path) -> None:
    if shutil.which("turnserver") is None:
        pytest.skip("coturn's turnserver is not installed: the turn profile was read, not run")
    [port] = free_ports(1)
    turn_env = fill_in(
        {
            "SEMCAST_TURN_HOST": "127.0.0.1",
            "SEMCAST_TURN_PASSWORD": _PASSWORD,
            "SEMCAST_TURN_RELAY_IP": own_address(),
            "SEMCAST_TURN_PORT": str(port),
        },
        tmp_path,
    )
    env = {**env_with_free_ports(), **turn_env}
    model = load(env)
    # What the image adds to compose's arguments: its program, and a /tmp of its own.
    turn = model.services["turn"]
    arguments = (argument.replace("=/tmp/", f"={tmp_path}/") for argument in turn.command)
    turn = dataclasses.replace(turn, command=("turnserver", *arguments))
    model = dataclasses.replace(model, services={**model.services, "turn": turn})
    server = RTCIceServer(f"turn:127.0.0.1:{port}?transport=tcp", "semcast", _PASSWORD)
    viewer = RTCConfiguration([server], iceTransportPolicy=_RELAY_ONLY)

    async def watch(page: Page, path: str) -> int:
        async with asyncio.timeout(30):
            return len(await page.watch(path, num_frames=3, configuration=viewer))

    with ComposeUp(model, tmp_path):
        page = Page(env["SEMCAST_CONSOLE_PORT"])
        with page.session(clip=page.clips()[0]) as session_id:
            page.frame_events(session_id, number=2, timeout_s=30.0)
            assert asyncio.run(watch(page, f"/whep/{session_id}")) == 3
        page.close()
    kinds = set(re.findall(r"^a=candidate:.* typ (\S+)", page.last_offer_sdp, re.MULTILINE))
    assert kinds == {"relay"}, "the viewer had other ways than the relay"
