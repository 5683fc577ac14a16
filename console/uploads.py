"""Uploads: a multipart body passed on in pieces, never held in memory or on disk here."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import AsyncIterator
from pathlib import PurePosixPath

from fastapi import HTTPException
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.datastructures import Headers

from semcast.errors import InputError

VIDEO_SUFFIXES = (
    ".3gp", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg",
    ".mts", ".ogv", ".ts", ".webm", ".wmv", ".y4m",
)  # fmt: skip
_OTHER_VIDEO_TYPES = frozenset(
    {"", "application/octet-stream", "application/x-matroska", "application/ogg", "image/gif"}
)
# A multipart body is larger than its file by the boundaries and the headers of its parts.
_MULTIPART_OVERHEAD_BYTES = 64 * 1024


def check_length(headers: Headers, limit_bytes: int) -> None:
    """Refuses by Content-Length, before a byte of the body is read. Raises HTTPException 413."""
    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > limit_bytes + _MULTIPART_OVERHEAD_BYTES:
        raise too_large(limit_bytes)


def too_large(limit_bytes: int) -> HTTPException:
    """413; the connection is closed, or the client would go on sending."""
    return HTTPException(
        413,
        f"The file is larger than the {limit_bytes // 1_000_000} MB this console takes: cut it "
        "shorter or lower its resolution, or raise SEMCAST_MAX_UPLOAD_MB.",
        headers={"Connection": "close"},
    )


def check_type(file_name: str, content_type: str) -> None:
    """Refuses what is not a video by its name or type. Raises HTTPException 415."""
    suffix = PurePosixPath(file_name).suffix.lower()
    essence = content_type.partition(";")[0].strip().lower()
    if suffix not in VIDEO_SUFFIXES:
        raise HTTPException(
            415,
            f"'{file_name}' is not a video file this console knows: give one of "
            f"{', '.join(item[1:] for item in VIDEO_SUFFIXES)}.",
            headers={"Connection": "close"},
        )
    if not essence.startswith("video/") and essence not in _OTHER_VIDEO_TYPES:
        raise HTTPException(
            415,
            f"'{file_name}' was sent as {essence}, which is not video: send it as video/... or "
            "application/octet-stream.",
            headers={"Connection": "close"},
        )


class UploadReader:
    """The file in a multipart/form-data body, read as it arrives.

    Call `open` for its name and type, then iterate over `pieces`. Raises HTTPException 415 for
    another kind of body, 413 past the limit, and InputError for a broken one.
    """

    def __init__(self, headers: Headers, body: AsyncIterator[bytes], limit_bytes: int) -> None:
        kind, parameters = parse_options_header(headers.get("content-type", ""))
        boundary = parameters.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise HTTPException(
                415,
                "An upload is a form: send the file as multipart/form-data, "
                "for example with 'curl -F file=@clip.mp4'.",
                headers={"Connection": "close"},
            )
        self._body = body
        self._limit_bytes = limit_bytes
        self._file_bytes = 0
        self._pieces: deque[bytes] = deque()
        self._in_file = False
        self._ended = False
        self._header_name = b""
        self._header_value = b""
        self._part_headers: dict[bytes, bytes] = {}
        self.file_name: str | None = None
        self.content_type = ""
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    async def open(self) -> tuple[str, str]:
        """(file name without folders, content type) of the first file in the form."""
        while self.file_name is None:
            if not await self._feed():
                raise InputError("The form holds no file: send one under the name 'file'.")
        return self.file_name, self.content_type

    async def pieces(self) -> AsyncIterator[bytes]:
        """The bytes of the file, as they arrive."""
        more = True
        while more or self._pieces:
            while self._pieces:
                yield self._pieces.popleft()
            more = await self._feed()
        if not self._ended:
            raise InputError("The upload broke off before its end: send it again.")

    async def _feed(self) -> bool:
        """Parses the next bytes of the body; False at its end."""
        async for data in self._body:
            try:
                self._parser.write(data)
            except FormParserError as error:
                raise InputError(
                    "The upload is not a well-formed multipart/form-data body: send it again."
                ) from error
            return True
        return False

    def _on_part_begin(self) -> None:
        self._part_headers = {}

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        self._part_headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._part_headers.get(b"content-disposition", b""))
        name = options.get(b"filename")
        # Other fields of the form, and files after the first, are passed over.
        self._in_file = name is not None and self.file_name is None
        if self._in_file and name is not None:
            text = name.decode("utf-8", "replace")
            self.file_name = re.split(r"[\\/]", text)[-1][-200:]
            self.content_type = self._part_headers.get(b"content-type", b"").decode("latin-1")

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if not self._in_file:
            return
        self._file_bytes += end - start
        if self._file_bytes > self._limit_bytes:
            raise too_large(self._limit_bytes)
        self._pieces.append(data[start:end])

    def _on_part_end(self) -> None:
        self._in_file = False

    def _on_end(self) -> None:
        self._ended = True
