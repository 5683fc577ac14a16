"""Uploads: passed on in pieces, refused early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from console_bench import Bench, until
from starlette.datastructures import Headers

from console.uploads import UploadReader
from semcast.errors import InputError

LIMIT = 1_000_000
BOUNDARY = "cut-here"
FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


def form(data: bytes, file_name: str = "a.mp4", kind: str = "video/mp4", end: bool = True) -> bytes:
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n'
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{file_name}"\r\n'
        f"Content-Type: {kind}\r\n\r\n"
    )
    return head.encode() + data + (f"\r\n--{BOUNDARY}--\r\n".encode() if end else b"")


async def in_pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def test_an_upload_becomes_a_clip_and_can_be_removed(bench: Bench) -> None:
    files = {"file": ("my clip.MP4", b"x" * 300_000, "video/mp4")}
    response = await bench.client.post("/api/v1/uploads", files=files)
    assert response.status_code == 201
    clip = response.json()
    assert clip["title"] == "my clip.MP4"
    assert bench.transmitter.uploads[clip["id"]] == ("my clip.MP4", 300_000)
    path = f"/api/v1/uploads/{clip['id']}"
    assert (await bench.client.delete(path)).status_code == 204
    assert bench.transmitter.uploads == {}
    again = await bench.client.delete(path.replace("upload:", ""))
    assert again.status_code == 404 and "no upload" in again.json()["error"]


async def test_the_file_is_passed_on_while_it_arrives(socket_bench: Bench) -> None:
    """The transmitter has bytes of a file whose end was not sent yet."""
    body = form(b"x" * 400_000)
    rest = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield body[:200_000]
        await rest.wait()
        yield body[200_000:]

    posting = asyncio.create_task(
        socket_bench.client.post("/api/v1/uploads", content=slowly(), headers=FORM)
    )
    await until(lambda: socket_bench.transmitter.largest_piece_bytes)
    assert not posting.done()
    rest.set()
    assert (await posting).status_code == 201
    assert socket_bench.transmitter.largest_piece_bytes < 400_000


async def test_three_gigabytes_are_refused_before_they_are_sent(socket_bench: Bench) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", socket_bench.settings.port)
    writer.write(
        b"POST /api/v1/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000000\r\n"
        + f"Content-Type: {FORM['content-type']}\r\n\r\n".encode()
    )
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    assert b" 413 " in answer.split(b"\r\n")[0]
    assert b"larger than the 1 MB" in answer
    # The connection is closed, so that nobody goes on sending into it.
    assert b"connection: close" in answer.lower()


async def test_past_the_limit_without_a_length_is_413_and_the_transmitter_drops_it(
    socket_bench: Bench,
) -> None:
    body = form(b"x" * (LIMIT + 100_000))
    response = await socket_bench.client.post(
        "/api/v1/uploads", content=in_pieces(body, 60_000), headers=FORM
    )
    assert response.status_code == 413
    await until(lambda: socket_bench.transmitter.uploads_broken_off)
    assert socket_bench.transmitter.uploads == {}


async def test_a_file_of_exactly_the_limit_passes(bench: Bench) -> None:
    response = await bench.client.post("/api/v1/uploads", content=form(b"x" * LIMIT), headers=FORM)
    assert response.status_code == 201


@pytest.mark.parametrize(
    ("file_name", "kind"),
    [("notes.txt", "text/plain"), ("notes.mp4", "text/plain"), ("film", "video/mp4"),
     ("film.exe", "application/octet-stream")],
)  # fmt: skip
async def test_what_is_no_video_by_name_or_type_is_415(
    bench: Bench, file_name: str, kind: str
) -> None:
    response = await bench.client.post(
        "/api/v1/uploads", content=form(b"x", file_name, kind), headers=FORM
    )
    assert response.status_code == 415
    assert file_name in response.json()["error"]
    assert bench.transmitter.uploads == {}


async def test_what_the_transmitter_refuses_midway_keeps_its_sentence(bench: Bench) -> None:
    bench.transmitter.refuse_upload_after = 100_000
    response = await bench.client.post(
        "/api/v1/uploads", content=form(b"x" * 900_000), headers=FORM
    )
    assert response.status_code == 422
    assert response.json() == {"error": "'a.mp4' has no video in it: give a video file."}


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"x" * 10, {"content-type": "video/mp4"}, 415),
        (b"x" * 10, {"content-type": "multipart/form-data"}, 415),
        (b"no boundary in here", FORM, 422),
        (f"--{BOUNDARY}--\r\n".encode(), FORM, 422),
        (form(b"x" * 10, end=False), FORM, 422),
        (b"", FORM, 422),
    ],
)
async def test_broken_forms_get_a_sentence(
    bench: Bench, content: bytes, headers: dict[str, str], status: int
) -> None:
    response = await bench.client.post("/api/v1/uploads", content=content, headers=headers)
    assert response.status_code == status
    assert list(response.json()) == ["error"]
    assert bench.transmitter.uploads == {}


@pytest.mark.parametrize("size", [1, 7, 64, 100_000])
async def test_the_bytes_are_the_same_however_they_arrive(size: int) -> None:
    data = bytes(range(256)) * 20 + b"\r\n--cut-her\r\n--cut-here!" + b"\r"
    body = form(data, "dir/../Ünï.mp4")
    reader = UploadReader(Headers(FORM), in_pieces(body, size), LIMIT)
    assert await reader.open() == ("Ünï.mp4", "video/mp4")
    assert b"".join([piece async for piece in reader.pieces()]) == data


async def test_a_body_that_breaks_off_is_an_error() -> None:
    body = form(b"x" * 1000)[:-10]
    reader = UploadReader(Headers(FORM), in_pieces(body, 64), LIMIT)
    await reader.open()
    with pytest.raises(InputError, match="broke off"):
        async for _ in reader.pieces():
            pass
