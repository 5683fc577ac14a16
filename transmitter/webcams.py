"""Webcams that have come by WHIP, as sources of sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from aiortc import RTCIceServer
from numpy.typing import NDArray

from semcast.errors import NotFoundError
from semcast.media.webcam import WebcamIngest
from semcast.v1 import transmitter_pb2
from transmitter.session import FrameSource
from transmitter.sources import LiveGrid, SourceFrame

PREFIX = "webcam:"


@dataclass(slots=True)
class _Webcam:
    """grids: one a session that shows this webcam. Replaced, not changed: the ingest reads it."""

    grids: tuple[LiveGrid, ...] = ()
    size: tuple[int, int] = (0, 0)
    gone: asyncio.Event = field(default_factory=asyncio.Event)


class Webcams:
    """All webcams of a transmitter. Clip id: "webcam:ID"."""

    def __init__(self, ice_servers: list[RTCIceServer]) -> None:
        self._ingest = WebcamIngest(ice_servers)
        self._webcams: dict[str, _Webcam] = {}

    async def open(self, offer_sdp: str) -> tuple[str, str]:
        """Webcam id and SDP answer to a WHIP offer."""
        webcam = _Webcam()
        opened: list[str] = []

        def on_frame(rgb: NDArray[np.uint8], t_us: int) -> None:
            webcam.size = (rgb.shape[1], rgb.shape[0])
            for grid in webcam.grids:
                grid.push(rgb, t_us)

        def on_closed() -> None:
            webcam.gone.set()
            for webcam_id in opened:
                self._webcams.pop(webcam_id, None)

        webcam_id, answer_sdp = await self._ingest.answer(offer_sdp, on_frame, on_closed)
        opened.append(webcam_id)
        if not webcam.gone.is_set():
            self._webcams[webcam_id] = webcam
        return webcam_id, answer_sdp

    async def close(self, webcam_id: str) -> None:
        """Ends a webcam. Raises NotFoundError where there is none."""
        if webcam_id not in self._webcams:
            raise NotFoundError(f"No webcam '{webcam_id[:80]}'.")
        await self._ingest.close(webcam_id)

    async def close_all(self) -> None:
        """Ends all webcams."""
        await self._ingest.close_all()

    def clips(self) -> list[transmitter_pb2.Clip]:
        """Webcams as clips."""
        return [
            transmitter_pb2.Clip(
                id=f"{PREFIX}{webcam_id}",
                title="Webcam",
                width_px=webcam.size[0],
                height_px=webcam.size[1],
            )
            for webcam_id, webcam in self._webcams.items()
        ]

    def source(self, clip_id: str, *, fps: float, width: int, height: int) -> FrameSource:
        """A session's view of a webcam. Raises NotFoundError where there is none."""
        webcam = self._webcams.get(clip_id.removeprefix(PREFIX))
        if webcam is None:
            raise NotFoundError(f"No webcam '{clip_id[:80]}' is connected: start it again.")
        grid = LiveGrid(fps=fps, width=width, height=height)
        webcam.grids = (*webcam.grids, grid)

        def frames() -> Iterator[SourceFrame | None]:
            while not webcam.gone.is_set():
                yield grid.tick()

        def close() -> None:
            webcam.grids = tuple(other for other in webcam.grids if other is not grid)

        return FrameSource(open=frames, live=True, close=close)
