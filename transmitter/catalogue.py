"""Clips a session may name: samples, files named at start, uploads.

Sessions started over the network may play what is listed here and nothing else, so that a page
cannot make the transmitter read any file of its machine.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from semcast.errors import CapacityError, InputError, NotFoundError
from semcast.samples import sample_names, sample_path
from semcast.v1 import transmitter_pb2
from transmitter.sources import caption_beside, probe_clip

logger = logging.getLogger(__name__)

_MEGABYTE = 1_000_000
_SAMPLE_PREFIX = "sample:"
_UPLOAD_PREFIX = "upload:"
_UPLOADS_KEPT = 4
"""Uploads of the largest size that fit at once."""


@dataclass(slots=True)
class _Upload:
    path: Path
    title: str
    last_used_s: float


class Catalogue:
    """What can be played. Uploads live in a folder of their own, removed with the catalogue."""

    def __init__(self, files: Sequence[Path], max_upload_mb: int, upload_hours: float) -> None:
        """Raises InputError or NotFoundError for a file that cannot be a source."""
        self._files: dict[str, str] = {}
        self._uploads: dict[str, _Upload] = {}
        for path in files:
            # The current folder has a name only once it is absolute.
            name = path.absolute().name
            if f"file:{name}" in self._files:
                raise InputError(f"Two clips are called '{name}': rename one of them.")
            self._files[f"file:{name}"] = str(path)
            self._describe(f"file:{name}")
        self._max_upload_bytes = max_upload_mb * _MEGABYTE
        self._upload_s = upload_hours * 3600
        self._folder = Path(tempfile.mkdtemp(prefix="semcast-uploads-"))

    def clips(self) -> list[transmitter_pb2.Clip]:
        """Everything that can be played, files first, then uploads, then samples."""
        ids = [
            *self._files,
            *self._uploads,
            *(f"{_SAMPLE_PREFIX}{name}" for name in sample_names()),
        ]
        clips = []
        for clip_id in ids:
            try:
                clips.append(self._describe(clip_id))
            except InputError as error:
                logger.warning("clip %s is left out: %s", clip_id, error)
        return clips

    def locate(self, clip_id: str) -> str:
        """The path or sample name behind an id. Raises NotFoundError for what is not listed."""
        if clip_id in self._files:
            return self._files[clip_id]
        if upload := self._uploads.get(clip_id):
            return str(upload.path)
        if clip_id.startswith(_SAMPLE_PREFIX):
            sample_path(clip_id.removeprefix(_SAMPLE_PREFIX))
            return clip_id
        raise NotFoundError(f"No clip '{clip_id[:80]}': choose one of those listed.")

    def _describe(self, clip_id: str) -> transmitter_pb2.Clip:
        path = self.locate(clip_id)
        info = probe_clip(path)
        upload = self._uploads.get(clip_id)
        return transmitter_pb2.Clip(
            id=clip_id,
            title=upload.title if upload else clip_id.partition(":")[2],
            width_px=info.width,
            height_px=info.height,
            frames_per_second=info.fps or 0.0,
            duration_s=info.duration_s or 0.0,
            caption=caption_beside(path) or "",
        )

    async def upload(
        self, requests: AsyncIterator[transmitter_pb2.UploadClipRequest]
    ) -> transmitter_pb2.Clip:
        """Takes in a file piece by piece. Raises InputError for one too large or not a video."""
        first = await anext(aiter(requests), None)
        if first is None or first.WhichOneof("part") != "file_name":
            raise InputError("The first message of an upload must be its file name.")
        title = Path(first.file_name).name[:80] or "upload"
        clip_id = f"{_UPLOAD_PREFIX}{secrets.token_hex(6)}"
        suffix = Path(title).suffix
        kept = suffix if re.fullmatch(r"\.\w{1,7}", suffix, re.ASCII) else ""
        path = self._folder / f"{clip_id.removeprefix(_UPLOAD_PREFIX)}{kept}"
        num_bytes = 0
        try:
            with path.open("wb") as file:
                async for request in requests:
                    num_bytes += len(request.data)
                    if num_bytes > self._max_upload_bytes:
                        raise InputError(
                            f"'{title}' is too large: uploads may have "
                            f"{self._max_upload_bytes // _MEGABYTE} MB."
                        )
                    if self._stored_bytes() > _UPLOADS_KEPT * self._max_upload_bytes:
                        raise CapacityError(
                            "The transmitter has no room for more uploads: delete one first."
                        )
                    file.write(request.data)
            await asyncio.to_thread(_check_video, path, title)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self._uploads[clip_id] = _Upload(path, title, time.monotonic())
        return await asyncio.to_thread(self._describe, clip_id)

    def delete_upload(self, clip_id: str) -> None:
        """Removes an upload. Raises NotFoundError where there is none."""
        upload = self._uploads.pop(clip_id, None)
        if upload is None:
            raise NotFoundError(f"No upload '{clip_id[:80]}'.")
        upload.path.unlink(missing_ok=True)

    def _stored_bytes(self) -> int:
        return sum(path.stat().st_size for path in self._folder.iterdir())

    def expire(self, in_use: Collection[str]) -> None:
        """Removes uploads that have not been played for long. in_use: ids being played now."""
        now_s = time.monotonic()
        for clip_id, upload in list(self._uploads.items()):
            if clip_id in in_use:
                upload.last_used_s = now_s
            elif now_s - upload.last_used_s > self._upload_s:
                self.delete_upload(clip_id)

    def close(self) -> None:
        """Removes all uploads."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _check_video(path: Path, title: str) -> None:
    try:
        probe_clip(str(path))
    except InputError as error:
        # The caller knows the file by its title, not by where it was put.
        raise type(error)(str(error).replace(str(path), title)) from error
