"""Moving pictures for the fake services, so that a browser has something to show.

Also a program: `python tests/console/fake_pictures.py [--port 8080] [--clip PATH]` serves the
console in front of fake services, to look at the page without the real ones.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from fake_semantics import semantics_of
from fake_services import FakeReceiver, FakeTransmitter, serving
from numpy.typing import NDArray

from console.server import serve
from console.settings import ConsoleSettings
from semcast.media.publisher import VideoPublisher
from semcast.media.viewers import ViewerPeers
from semcast.media.webcam import WebcamIngest
from semcast.v1 import link_pb2

FPS = 8
SIZE_PX = 256


class MovingPictures:
    """Three legs of one invented source; the baseline freezes below its threshold.

    is_driven: frames come from `show` only, not of themselves.
    """

    def __init__(
        self, frames: list[NDArray[np.uint8]] | None = None, *, is_driven: bool = False
    ) -> None:
        self._frames = frames or list(invented_frames(64))
        self._peers = ViewerPeers()
        self._webcams = WebcamIngest([])
        self.webcam_frames = 0
        self._publishers: dict[str, VideoPublisher] = {}
        self._task: asyncio.Task[None] | None = None
        self.snr_db = 10.0
        self._is_driven = is_driven

    async def answer(self, leg: str, offer_sdp: str) -> tuple[str, str]:
        if self._task is None and not self._is_driven:
            self._task = asyncio.create_task(self._play())
        if leg not in self._publishers:
            self._publishers[leg] = VideoPublisher(width=SIZE_PX, height=SIZE_PX, fps=FPS)
        return await self._peers.answer(offer_sdp, self._publishers[leg])

    async def answer_webcam(self, offer_sdp: str) -> tuple[str, str]:
        def on_frame(rgb: NDArray[np.uint8], time_us: int) -> None:
            self.webcam_frames += 1

        return await self._webcams.answer(offer_sdp, on_frame, lambda: None)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        await self._peers.close_all()
        await self._webcams.close_all()
        for publisher in self._publishers.values():
            await publisher.close()
        self._publishers.clear()

    async def _play(self) -> None:
        sequence = 0
        while True:
            self.show(sequence, time.monotonic_ns() // 1000)
            sequence += 1
            await asyncio.sleep(1 / FPS)

    def show(self, sequence: int, pts_us: int) -> None:
        frame = self._frames[sequence % len(self._frames)]
        for leg, publisher in self._publishers.items():
            if leg == "main":
                publisher.push(self._lowres(frame), pts_us)
            elif leg == "source" or self.snr_db > 4.5:
                publisher.push(frame, pts_us)

    def _lowres(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        side = 32 if self.snr_db > 5 else 20
        small = cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA)
        big = cv2.resize(small, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_CUBIC)
        return np.asarray(big, dtype=np.uint8)


class MaskedFilm:
    """Pictures and the objects in them, for both services at once."""

    def __init__(self, frames: list[NDArray[np.uint8]], labels: list[NDArray[np.uint8]]) -> None:
        self.pictures = [MovingPictures(frames, is_driven=True) for _ in range(2)]
        self._semantics = [semantics_of(*pair) for pair in zip(frames, labels, strict=True)]

    def show(self, sequence: int, pts_us: int) -> None:
        for pictures in self.pictures:
            pictures.show(sequence, pts_us)

    def semantics(self, sequence: int) -> link_pb2.ReceivedSemantics:
        return self._semantics[sequence % len(self._semantics)]


BALL_PERIOD = 64
BALL_RADIUS_PX = 30


def ball_centre_px(index: int) -> NDArray[np.float64]:
    """x, y of the ball in a frame of `invented_frames(BALL_PERIOD)`."""
    phase = 2 * np.pi * index / BALL_PERIOD
    return np.asarray(128 + 80 * np.array([np.cos(phase), np.sin(phase)]))


def invented_film() -> MaskedFilm:
    """The ball (1), which has a hole of half its size, and a box that stands still (11)."""
    frames = list(invented_frames(BALL_PERIOD))
    y, x = np.mgrid[0:SIZE_PX, 0:SIZE_PX]
    labels = []
    for index in range(BALL_PERIOD):
        distance_px = np.hypot(
            *(np.stack([x, y], axis=-1) - ball_centre_px(index)).transpose(2, 0, 1)
        )
        ball = (distance_px < BALL_RADIUS_PX) & (distance_px > BALL_RADIUS_PX / 2)
        box = (abs(x - 128) < 14) & (abs(y - 128) < 20)
        labels.append(np.where(ball, 1, np.where(box, 11, 0)).astype(np.uint8))
    return MaskedFilm(frames, labels)


def invented_frames(count: int) -> Iterator[NDArray[np.uint8]]:
    """A ball over stripes: [256, 256, 3] uint8, different in each frame."""
    y, x = np.mgrid[0:SIZE_PX, 0:SIZE_PX]
    for index in range(count):
        phase = 2 * np.pi * index / count
        stripes = 90 + 50 * np.sin(x / 11 + phase * 4) * np.cos(y / 17)
        frame = np.stack([stripes * 0.6, stripes * 0.9, stripes], axis=-1)
        centre = 128 + 80 * np.array([np.cos(phase), np.sin(phase)])
        frame[np.hypot(x - centre[0], y - centre[1]) < BALL_RADIUS_PX] = (230, 120, 60)
        yield frame.clip(0, 255).astype(np.uint8)


def clip_frames(path: str, count: int = 96) -> list[NDArray[np.uint8]]:
    """The first frames of a clip, centre-cropped to the size the fakes play."""
    frames = []
    with av.open(path) as container:
        stream = container.streams.video[0]
        step = max(1, round(float(stream.average_rate or 24) / FPS))
        for index, frame in enumerate(container.decode(stream)):
            if index % step == 0:
                rgb = frame.to_ndarray(format="rgb24")
                side = min(rgb.shape[:2])
                top, left = (rgb.shape[0] - side) // 2, (rgb.shape[1] - side) // 2
                square = rgb[top : top + side, left : left + side]
                frames.append(cv2.resize(square, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_AREA))
            if len(frames) == count:
                break
    return frames


def masked_clip(path: str) -> MaskedFilm:
    """A clip, and the masks beside it (CLIP_masks.npz, packed bits) if there are any."""
    frames = clip_frames(path)
    masks_path = Path(path).with_name(f"{Path(path).stem}_masks.npz")
    labels = [np.zeros((SIZE_PX, SIZE_PX), dtype=np.uint8)] * len(frames)
    if masks_path.exists():
        packed = np.load(masks_path)
        count, height, width = packed["shape"]
        masks = np.unpackbits(packed["masks"], axis=2)[:, :, :width]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        step = max(1, round(count / len(frames)))
        labels = [
            cv2.resize(mask, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_NEAREST)
            for mask in masks[::step, top : top + side, left : left + side]
        ][: len(frames)]
        frames = frames[: len(labels)]
    return MaskedFilm(frames, labels)


class _FollowingTransmitter(FakeTransmitter):
    """Lets the pictures follow the slider."""

    def __init__(self, pictures: list[MovingPictures]) -> None:
        super().__init__(pictures[0])
        self._all = pictures

    async def UpdateSession(self, request, context):  # type: ignore[no-untyped-def]
        for pictures in self._all:
            pictures.snr_db = request.snr_db
        return await super().UpdateSession(request, context)


async def _main(port: int, clip: str | None) -> None:
    film = masked_clip(clip) if clip else invented_film()
    sent, received = film.pictures
    transmitter = _FollowingTransmitter([sent, received])
    transmitter.film = film
    async with (
        serving(transmitter) as transmitter_port,
        serving(FakeReceiver(received)) as receiver_port,
    ):
        await serve(
            ConsoleSettings(
                port=port,
                transmitter_address=f"127.0.0.1:{transmitter_port}",
                receiver_address=f"127.0.0.1:{receiver_port}",
            )
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--clip", help="a video; masks beside it make its contours")
    arguments = parser.parse_args()
    asyncio.run(_main(arguments.port, arguments.clip))
