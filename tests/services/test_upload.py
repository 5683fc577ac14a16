"""A video uploaded to the real console plays; what is no video is refused with its own name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from semcast.cli.processes import LocalServices, ServiceProcess, free_port
from semcast.samples import sample_path


@asynccontextmanager
async def console() -> AsyncIterator[httpx.AsyncClient]:
    async with LocalServices(live=True) as services:
        port = free_port()
        process = ServiceProcess(
            "console",
            port,
            [
                *("--transmitter-address", services.transmitter.address),
                *("--receiver-address", services.receiver.address),
                *("--max-upload-mb", "2"),
            ],
        )
        process.start()
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
            try:
                async with asyncio.timeout(60):
                    while not await _is_ready(client):  # noqa: ASYNC110 (nothing to wait on)
                        await asyncio.sleep(0.1)
                yield client
            finally:
                await asyncio.to_thread(process.stop)


async def _is_ready(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/readyz")).status_code == 200
    except httpx.TransportError:
        return False


async def refusal_of_three_gigabytes(port: int) -> str:
    """The answer to an upload's head alone: it must not wait for the body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = [
        "POST /api/v1/uploads HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Content-Type: multipart/form-data; boundary=x",
        "Content-Length: 3000000000",
    ]
    writer.write(("\r\n".join(head) + "\r\n\r\n--x\r\n").encode())
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer.decode()


async def test_upload_plays_and_others_are_refused_by_name() -> None:
    async with console() as client:
        video = sample_path("tumble").read_bytes()
        uploaded = await client.post("/api/v1/uploads", files={"file": ("mine.mp4", video)})
        assert uploaded.status_code == 201, uploaded.text
        clip = uploaded.json()
        listed = (await client.get("/api/v1/clips")).json()["clips"]
        assert clip["id"] in {item["id"] for item in listed}

        request = {
            "clip": clip["id"],
            "scheme": "lowres",
            "snr_db": 10,
            "width": 128,
            "height": 128,
        }
        started = await client.post("/api/v1/sessions", json=request)
        assert started.status_code == 201, started.text
        session_id = started.json()["id"]
        frames = 0
        async with (
            asyncio.timeout(60),
            client.stream("GET", f"/api/v1/sessions/{session_id}/events") as events,
        ):
            async for line in events.aiter_lines():
                if line.startswith("data:") and json.loads(line[5:]).get("type") == "frame":
                    frames += 1
                if frames >= 5:
                    break

        text = await client.post(
            "/api/v1/uploads", files={"file": ("letter.mp4", b"dear video, " * 500)}
        )
        assert text.status_code == 422
        assert "letter.mp4" in text.json()["error"]
        assert "/tmp" not in text.json()["error"]

        assert (await refusal_of_three_gigabytes(client.base_url.port or 0)).startswith(
            "HTTP/1.1 413"
        )

        await client.delete(f"/api/v1/sessions/{session_id}")
        gone = await client.delete(f"/api/v1/uploads/{clip['id']}")
        assert gone.status_code in (200, 204)
        listed = (await client.get("/api/v1/clips")).json()["clips"]
        assert clip["id"] not in {item["id"] for item in listed}
