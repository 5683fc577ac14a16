"""How fast and how steady is the live system? Real processes, real WebRTC viewers, one machine.

    .venv/bin/python benchmarks/live.py latency    # glass to glass, realtime factor, CPU
    .venv/bin/python benchmarks/live.py slider     # SNR slider to received picture
    .venv/bin/python benchmarks/live.py restart    # kill -9 each service, time to the next frame
    .venv/bin/python benchmarks/live.py viewers    # CPU of one viewer and of ten
    .venv/bin/python benchmarks/live.py soak --minutes 30

Each writes `benchmarks/results/live_NAME.json`. The source is a clip whose frames show their number
as eight large squares, which survive the low-res codec. A frame's capture time is known from its
report (time of arrival less latency); the viewer is aiortc, which decodes at once, so a browser's
jitter buffer is not in these figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from numpy.typing import NDArray

from semcast.cli.processes import LocalServices
from semcast.rpc.client import open_channel
from semcast.v1 import (
    link_pb2,
    receiver_pb2,
    receiver_pb2_grpc,
    transmitter_pb2,
    transmitter_pb2_grpc,
)

RESULTS = Path(__file__).parent / "results"
SIDE, FPS, BITS = 256, 8, 8
SESSION = "bench"
WARM_UP_S = 8.0


def numbered_picture(number: int) -> NDArray[np.uint8]:
    """Frame `number` as eight squares (Gray code) over a soft gradient. [256, 256, 3], uint8."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    image = np.stack([60 + x // 4, 90 + y // 4, 120 - x // 5], axis=-1).astype(np.uint8)
    gray = number ^ (number >> 1)
    for bit in range(BITS):
        row, column = divmod(bit, 4)
        top, left = 24 + 112 * row, 6 + 62 * column
        image[top : top + 96, left : left + 56] = 230 if gray >> bit & 1 else 25
    return image


def read_number(image: NDArray[np.uint8]) -> int:
    """The number a picture shows."""
    gray = 0
    for bit in range(BITS):
        row, column = divmod(bit, 4)
        top, left = 24 + 112 * row, 6 + 62 * column
        square = image[top + 24 : top + 72, left + 14 : left + 42]
        gray |= int(square.mean() > 128) << bit
    number = gray
    while gray := gray >> 1:
        number ^= gray
    return number


def write_clip(path: Path) -> None:
    """256 numbered frames at 8 fps, then over again."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "8", "preset": "veryfast"}
        for number in range(2**BITS):
            frame = av.VideoFrame.from_ndarray(numbered_picture(number), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@dataclass
class Viewer:
    """A WebRTC viewer that notes when it first saw each number."""

    peer: RTCPeerConnection = field(default_factory=RTCPeerConnection)
    seen: list[tuple[float, int]] = field(default_factory=list)
    frames: int = 0

    async def watch(self, stub: receiver_pb2_grpc.ReceiverServiceStub, session_id: str) -> None:
        @self.peer.on("track")
        def on_track(track: Any) -> None:
            asyncio.ensure_future(self._take(track))  # noqa: RUF006 (ends with the peer)

        self.peer.addTransceiver("video", direction="recvonly")
        await self.peer.setLocalDescription(await self.peer.createOffer())
        request = receiver_pb2.ReceiverServiceOpenViewerRequest(
            session_id=session_id, offer_sdp=self.peer.localDescription.sdp
        )
        answer = await stub.OpenViewer(request)
        await self.peer.setRemoteDescription(RTCSessionDescription(answer.answer_sdp, "answer"))

    async def _take(self, track: Any) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            now_s = time.monotonic()
            self.frames += 1
            number = read_number(frame.to_ndarray(format="rgb24"))
            if not self.seen or self.seen[-1][1] != number:
                self.seen.append((now_s, number))


@dataclass
class Live:
    """A running system with one session and one viewer."""

    services: LocalServices
    transmitter: transmitter_pb2_grpc.TransmitterServiceStub
    viewer: Viewer
    reports: list[tuple[float, transmitter_pb2.FrameReport]] = field(default_factory=list)
    baseline_frames: int = 0

    async def collect(self) -> None:
        """Keeps the main leg's reports with their time of arrival."""
        request = transmitter_pb2.WatchSessionRequest(session_id=SESSION)
        async for response in self.transmitter.WatchSession(request):
            event = response.event
            if event.WhichOneof("event") == "frame":
                if event.leg == "main":
                    self.reports.append((time.monotonic(), event.frame))
                else:
                    self.baseline_frames += 1

    async def set_snr(self, snr_db: float) -> float:
        """Moves the slider; when."""
        moved_s = time.monotonic()
        request = transmitter_pb2.UpdateSessionRequest(session_id=SESSION, snr_db=snr_db)
        await self.transmitter.UpdateSession(request)
        return moved_s


@asynccontextmanager
async def live_system(scheme: str, snr_db: float) -> AsyncIterator[Live]:
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "numbers.mp4"
        write_clip(clip)
        async with LocalServices(live=True, clips=[str(clip)]) as services:
            async with (
                open_channel(services.transmitter.address) as to_transmitter,
                open_channel(services.receiver.address) as to_receiver,
            ):
                stub = transmitter_pb2_grpc.TransmitterServiceStub(to_transmitter)
                live = Live(services, stub, Viewer())
                spec = transmitter_pb2.SessionSpec(
                    session_id=SESSION,
                    clip="file:numbers.mp4",
                    scheme=scheme,
                    baseline_scheme="h264-ldpc",
                    width_px=SIDE,
                    height_px=SIDE,
                    frames_per_second=FPS,
                    segment_frames=8,
                    seed=7777,
                    generator="passthrough",
                    paced=True,
                    loop=True,
                    measurement_tap=True,
                    channel=link_pb2.ChannelSettings(snr_db=snr_db, model=1, seed=7777),
                )
                await stub.StartSession(transmitter_pb2.StartSessionRequest(spec=spec))
                collecting = asyncio.create_task(live.collect())
                await until(lambda: bool(live.reports))
                receiver = receiver_pb2_grpc.ReceiverServiceStub(to_receiver)
                await live.viewer.watch(receiver, SESSION)
                await until(lambda: bool(live.viewer.seen))
                await asyncio.sleep(WARM_UP_S)
                yield live
                collecting.cancel()
                await asyncio.gather(collecting, return_exceptions=True)
                await live.viewer.peer.close()


async def until(holds: Callable[[], bool], timeout_s: float = 60.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not holds():  # noqa: ASYNC110 (nothing to wait on)
            await asyncio.sleep(0.005)


def summary(values: list[float]) -> dict[str, float]:
    return {
        "p50": round(float(np.percentile(values, 50)), 1),
        "p95": round(float(np.percentile(values, 95)), 1),
        "max": round(max(values), 1),
        "count": len(values),
    }


async def latency(seconds: float) -> dict[str, Any]:
    """Glass to glass, stage times, realtime factor and CPU, while everything runs."""
    async with live_system("lowres", 10.0) as live:
        processes = {p.service: psutil.Process(p.pid) for p in live.services.all}
        before = {name: sum(p.cpu_times()[:2]) for name, p in processes.items()}
        first, start_s = len(live.reports), time.monotonic()
        first_seen = len(live.viewer.seen)
        await asyncio.sleep(seconds)
        elapsed_s = time.monotonic() - start_s
        cpu = {
            name: round((sum(p.cpu_times()[:2]) - before[name]) / elapsed_s * 100, 1)
            for name, p in processes.items()
        }
        reports = live.reports[first:]
        captured = {
            round(report.pts_us * FPS / 1e6) % 2**BITS: arrived_s - report.latency_ms / 1e3
            for arrived_s, report in reports
        }
        glass_ms = [
            1e3 * (seen_s - captured[number])
            for seen_s, number in live.viewer.seen[first_seen:]
            if number in captured and 0 < seen_s - captured[number] < 10
        ]
        stages: dict[str, list[float]] = {}
        for _, report in reports:
            for stage in (*report.stages, *report.receiver.stages):
                stages.setdefault(stage.stage, []).append(stage.duration_ms)
            stages.setdefault("channel", []).append(report.channel.process_ms)
        busiest_ms = max(float(np.percentile(times, 95)) for times in stages.values())
        return {
            "what": "lowres main leg and h264-ldpc baseline, 256x256, 8 fps, 10 dB, one viewer",
            "seconds": seconds,
            "glass_to_glass_ms": summary(glass_ms),
            "source_to_receiver_ms": summary([report.latency_ms for _, report in reports]),
            "stage_ms": {name: summary(times) for name, times in stages.items()},
            "realtime_factor": round(busiest_ms * FPS / 1e3, 3),
            "frames_per_second_main": round(len(reports) / elapsed_s, 2),
            "frames_skipped": reports[-1][1].frames_skipped_total,
            "cpu_percent_of_one_core": cpu,
        }


async def slider(trials: int) -> dict[str, Any]:
    """From the call that moves the slider to the picture that shows it."""
    back_ms, lost_ms = [], []
    async with live_system("lowres", 12.0) as live:
        for _ in range(trials):
            moved_s = await live.set_snr(-25.0)
            await asyncio.sleep(1.5)
            lost_ms.append(1e3 * (live.viewer.seen[-1][0] - moved_s))
            count = len(live.viewer.seen)
            moved_s = await live.set_snr(12.0)
            await until(lambda count=count: len(live.viewer.seen) > count)
            back_ms.append(1e3 * (live.viewer.seen[count][0] - moved_s))
            await asyncio.sleep(1.0)
    return {
        "what": "SNR 12 -> -25 dB (picture stops) and back (picture moves), lowres, 8 fps",
        "moves_again_after_ms": summary(back_ms),
        "last_new_picture_after_ms": summary(lost_ms),
    }


async def restart(trials: int) -> dict[str, Any]:
    """From a restarted service's SERVING to the next frame of the session."""
    resumed: dict[str, list[float]] = {"receiver": [], "channel": []}
    async with live_system("lowres", 10.0) as live:
        for _ in range(trials):
            for process in live.services.all:
                if process.service not in resumed:
                    continue
                others = [p.pid for p in live.services.all if p is not process]
                await asyncio.to_thread(process.kill)
                count = len(live.reports)
                process.start()
                await process.wait_ready()
                serving_s = time.monotonic()
                await until(lambda count=count: len(live.reports) > count)
                resumed[process.service].append(1e3 * (live.reports[count][0] - serving_s))
                assert others == [p.pid for p in live.services.all if p is not process]
                await asyncio.sleep(3.0)
    return {
        "what": "kill -9, start again; from SERVING to the next frame's report",
        "resumed_after_ms": {name: summary(values) for name, values in resumed.items()},
        "note": "the transmitter's restart is the console's to mend: tests/browser",
    }


async def viewers(seconds: float) -> dict[str, Any]:
    """CPU of the whole receiver process with one viewer and with ten of the same stream."""
    async with live_system("lowres", 10.0) as live:
        process = psutil.Process(live.services.receiver.pid)
        extra = [Viewer() for _ in range(9)]
        cpu: dict[str, float] = {}
        async with open_channel(live.services.receiver.address) as channel:
            stub = receiver_pb2_grpc.ReceiverServiceStub(channel)
            for count in (1, 10):
                if count == 10:
                    for viewer in extra:
                        await viewer.watch(stub, SESSION)
                    await until(lambda: all(viewer.seen for viewer in extra))
                    await asyncio.sleep(WARM_UP_S)
                before_s, start_s = sum(process.cpu_times()[:2]), time.monotonic()
                await asyncio.sleep(seconds)
                used_s = sum(process.cpu_times()[:2]) - before_s
                cpu[str(count)] = round(100 * used_s / (time.monotonic() - start_s), 2)
            for viewer in extra:
                await viewer.peer.close()
        return {
            "what": "CPU of the receiver process, percent of one core, by number of viewers",
            "cpu_percent": cpu,
            "ten_to_one": round(cpu["10"] / cpu["1"], 3),
        }


async def soak(minutes: float) -> dict[str, Any]:
    """Resident memory, descriptors and threads of every process over time."""
    samples = []
    async with live_system("lowres", 10.0) as live:
        processes = {p.service: psutil.Process(p.pid) for p in live.services.all}
        start_s = time.monotonic()
        while (elapsed_min := (time.monotonic() - start_s) / 60) < minutes:
            live.reports[:-1] = []
            live.viewer.seen[:-1] = []
            samples.append(
                {
                    "minute": round(elapsed_min, 2),
                    **{
                        name: {
                            "rss_mb": round(p.memory_info().rss / 1e6, 1),
                            "fds": p.num_fds(),
                            "threads": p.num_threads(),
                        }
                        for name, p in processes.items()
                    },
                }
            )
            await asyncio.sleep(30)
        skipped = live.reports[-1][1].frames_skipped_total
        frames = live.viewer.frames
    return {"minutes": minutes, "viewer_frames": frames, "skipped": skipped, "samples": samples}


def commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["latency", "slider", "restart", "viewers", "soak"])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=30.0)
    options = parser.parse_args()
    runs = {
        "latency": lambda: latency(options.seconds),
        "slider": lambda: slider(options.trials),
        "restart": lambda: restart(options.trials),
        "viewers": lambda: viewers(options.seconds),
        "soak": lambda: soak(options.minutes),
    }
    load = os.getloadavg()[0]
    result = asyncio.run(runs[options.what]())
    result["machine"] = {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "load_before": round(load, 2),
        "load_after": round(os.getloadavg()[0], 2),
        "commit": commit(),
    }
    path = RESULTS / f"live_{options.what}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps({k: v for k, v in result.items() if k != "samples"}, indent=2))


if __name__ == "__main__":
    main()
