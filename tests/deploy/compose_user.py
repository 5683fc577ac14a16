"""What a user of docker-compose.yml does: sets ports in .env, opens the page, watches."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from av import VideoFrame

SERVICES = ("transmitter", "channel", "receiver", "console")
PORT_VARIABLES = tuple(
    f"SEMCAST_{service.upper()}_{kind}" for service in SERVICES for kind in ("PORT", "METRICS_PORT")
)


def free_ports(number: int) -> list[int]:
    """Distinct TCP ports that nobody listens on right now."""
    probes = [socket.socket() for _ in range(number)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def env_with_free_ports() -> dict[str, str]:
    """A .env that puts every service on a free port."""
    ports = free_ports(len(PORT_VARIABLES))
    return {name: str(port) for name, port in zip(PORT_VARIABLES, ports, strict=True)}


class Page:
    """What the page does over HTTP."""

    def __init__(self, port: str) -> None:
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", timeout=20.0, trust_env=False
        )
        self.last_offer_sdp = ""

    def close(self) -> None:
        """Closes its connections."""
        self._client.close()

    def clips(self) -> list[str]:
        """Ids of what can be played."""
        answer = self._client.get("/api/v1/clips")
        assert answer.status_code == 200, answer.text
        return [clip["id"] for clip in answer.json()["clips"]]

    def start(self, **fields: Any) -> str:
        """Starts a session; its id."""
        answer = self._client.post("/api/v1/sessions", json=fields)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    @contextmanager
    def session(self, **fields: Any) -> Iterator[str]:
        """The id of a session that runs meanwhile."""
        session_id = self.start(**fields)
        try:
            yield session_id
        finally:
            ended = self._client.delete(f"/api/v1/sessions/{session_id}")
            assert ended.status_code == 204, ended.text

    def frame_events(self, session_id: str, number: int, timeout_s: float) -> list[dict[str, Any]]:
        """The next reports of received frames of the main link."""
        deadline_s = time.monotonic() + timeout_s
        frames: list[dict[str, Any]] = []
        with self._client.stream("GET", f"/api/v1/sessions/{session_id}/events") as events:
            for line in events.iter_lines():
                assert time.monotonic() < deadline_s, f"only {len(frames)} frames came"
                if not line.startswith("data:"):
                    continue
                event = json.loads(line[5:])
                if event["type"] == "frame" and event["leg"] == "main":
                    frames.append(event)
                if len(frames) == number:
                    return frames
        raise AssertionError(f"the events ended after {len(frames)} frames")

    async def watch(
        self, path: str, num_frames: int, configuration: RTCConfiguration | None = None
    ) -> list[VideoFrame]:
        """Frames of a WHEP endpoint, as a browser gets them. AssertionError where none come."""
        peer = RTCPeerConnection(configuration)
        try:
            video = peer.addTransceiver("video", direction="recvonly")
            await peer.setLocalDescription(await peer.createOffer())
            self.last_offer_sdp = peer.localDescription.sdp
            answer = self._client.post(
                path,
                content=self.last_offer_sdp,
                headers={"Content-Type": "application/sdp"},
            )
            assert answer.status_code == 201, answer.text
            await peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
            received: list[VideoFrame] = []
            while len(received) < num_frames:
                frame = await video.receiver.track.recv()
                assert isinstance(frame, VideoFrame)
                received.append(frame)
            return received
        finally:
            await peer.close()
