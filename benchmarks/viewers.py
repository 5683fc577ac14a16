"""What does a viewer cost? CPU of a publishing process with no, one and ten viewers.

    python benchmarks/viewers.py [--clip PATH] [--seconds 20] [--viewers 0,1,10] [--rounds 5]

The viewers are aiortc peers in another process, so the figures hold for the publisher alone: RGB to
H.264, packetisation, SRTP, sending, RTCP. Joining (ICE, DTLS, the extra IDR) is measured apart.
Without `--clip` the picture is a drawn scene in motion. Writes `benchmarks/results/viewers.json`.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import av
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from numpy.typing import NDArray

from semcast.media.publisher import VideoPublisher
from semcast.media.viewers import ViewerPeers

SIDE_PX = 256
FPS = 8
RESULT = Path(__file__).parent / "results" / "viewers.json"


def drawn_scene(num_frames: int) -> list[NDArray[np.uint8]]:
    """A textured background that pans under a moving disc, [256, 256, 3] each."""
    rng = np.random.default_rng(7777)
    coarse = rng.integers(40, 216, (40, 40, 3)).astype(np.uint8)
    wide = av.VideoFrame.from_ndarray(coarse, format="rgb24")
    texture = wide.reformat(width=512, height=512, interpolation="BICUBIC").to_ndarray()
    texture = np.clip(texture + rng.normal(0, 4, texture.shape), 0, 255).astype(np.uint8)
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    frames = []
    for k in range(num_frames):
        frame = texture[k % 200 : k % 200 + SIDE_PX, 2 * k % 200 : 2 * k % 200 + SIDE_PX].copy()
        disc = (x - 128 - 80 * np.cos(k / 8)) ** 2 + (y - 128 - 80 * np.sin(k / 8)) ** 2 < 30**2
        frame[disc] = (220, 60, 40)
        frames.append(frame)
    return frames


def clip_frames(path: str, num_frames: int) -> list[NDArray[np.uint8]]:
    """Centre-cropped squares of a clip at 8 fps."""
    frames: list[NDArray[np.uint8]] = []
    with av.open(path) as container:
        for frame in container.decode(video=0):
            if (frame.time or 0) < len(frames) / FPS:
                continue
            scale = SIDE_PX / min(frame.width, frame.height)
            rgb = frame.reformat(
                width=round(frame.width * scale),
                height=round(frame.height * scale),
                format="rgb24",
                interpolation="AREA",
            ).to_ndarray()
            top, left = (rgb.shape[0] - SIDE_PX) // 2, (rgb.shape[1] - SIDE_PX) // 2
            frames.append(
                np.ascontiguousarray(rgb[top : top + SIDE_PX, left : left + SIDE_PX], np.uint8)
            )
            if len(frames) == num_frames:
                break
    return frames


async def watch() -> None:
    """The other process: a peer for each answer asked for; reports its frame count at the end."""
    loop = asyncio.get_running_loop()
    peers: list[RTCPeerConnection] = []
    tasks: list[asyncio.Task[None]] = []
    frames = 0

    async def drain(track: MediaStreamTrack) -> None:
        nonlocal frames
        try:
            while True:
                await track.recv()
                frames += 1
        except MediaStreamError:
            return

    while line := await loop.run_in_executor(None, sys.stdin.readline):
        message = json.loads(line)
        if message["do"] == "offer":
            peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
            peer.addTransceiver("video", direction="recvonly")
            peer.on("track", lambda track: tasks.append(asyncio.ensure_future(drain(track))))
            await peer.setLocalDescription(await peer.createOffer())
            peers.append(peer)
            print(json.dumps({"sdp": peer.localDescription.sdp}), flush=True)
        elif message["do"] == "answer":
            await peers[-1].setRemoteDescription(
                RTCSessionDescription(sdp=message["sdp"], type="answer")
            )
        else:
            print(json.dumps({"frames": frames}), flush=True)
    await asyncio.gather(*(peer.close() for peer in peers))


async def measure(
    pictures: list[NDArray[np.uint8]], num_viewers: int, seconds: float
) -> dict[str, float]:
    """CPU of this process with `num_viewers` viewers, in ms per second of video."""
    publisher = VideoPublisher(width=SIDE_PX, height=SIDE_PX, fps=FPS)
    viewers = ViewerPeers()
    stop = threading.Event()

    def produce() -> None:
        start_s, k = time.monotonic(), 0
        while not stop.wait(max(0.0, start_s + k / FPS - time.monotonic())):
            publisher.push(pictures[k % len(pictures)], k * 1_000_000 // FPS)
            k += 1

    producer = threading.Thread(target=produce)
    producer.start()
    watcher = await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        "--watch",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        limit=1 << 20,
    )
    assert watcher.stdin is not None and watcher.stdout is not None
    stdin, stdout = watcher.stdin, watcher.stdout

    async def ask(message: dict[str, str], reply: bool) -> dict[str, str]:
        stdin.write((json.dumps(message) + "\n").encode())
        await stdin.drain()
        return json.loads(await stdout.readline()) if reply else {}

    cpu_before_s = time.process_time()
    for _ in range(num_viewers):
        offer = await ask({"do": "offer"}, True)
        _, answer = await viewers.answer(offer["sdp"], publisher)
        await ask({"do": "answer", "sdp": answer}, False)
    while publisher.stats.viewers < num_viewers:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    join_cpu_s = time.process_time() - cpu_before_s
    await asyncio.sleep(4.0)  # warm-up: join IDRs, first RTCP reports

    before, frames_before = publisher.stats, (await ask({"do": "count"}, True))["frames"]
    cpu_before_s, wall_before_s = time.process_time(), time.monotonic()
    await asyncio.sleep(seconds)
    cpu_s, wall_s = time.process_time() - cpu_before_s, time.monotonic() - wall_before_s
    after, frames_after = publisher.stats, (await ask({"do": "count"}, True))["frames"]

    stop.set()
    producer.join()
    await viewers.close_all()
    await publisher.close()
    stdin.close()
    await watcher.wait()
    return {
        "viewers": num_viewers,
        "cpu_ms_per_s": 1e3 * cpu_s / wall_s,
        "join_cpu_ms_per_viewer": 1e3 * join_cpu_s / num_viewers if num_viewers else 0.0,
        "frames_encoded_per_s": (after.frames_encoded - before.frames_encoded) / wall_s,
        "frames_seen_per_s": (int(frames_after) - int(frames_before)) / wall_s,
        "bitrate_kbps": 8e-3 * (after.bytes_encoded - before.bytes_encoded) / wall_s,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--watch", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--clip")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--viewers", default="0,1,10")
    parser.add_argument("--rounds", type=int, default=5, help="each measures every viewer count")
    args = parser.parse_args()
    if args.watch:
        asyncio.run(watch())
        return
    pictures = clip_frames(args.clip, 64) if args.clip else drawn_scene(64)
    counts = [int(count) for count in args.viewers.split(",")]
    # The counts alternate, so that what else the machine does falls on all of them alike.
    rounds = [
        {count: asyncio.run(measure(pictures, count, args.seconds)) for count in counts}
        for _ in range(args.rounds)
    ]
    median_ms = {
        count: statistics.median(runs[count]["cpu_ms_per_s"] for runs in rounds) for count in counts
    }
    ratios = [
        runs[10]["cpu_ms_per_s"] / runs[1]["cpu_ms_per_s"]
        for runs in rounds
        if {1, 10} <= set(runs)
    ]
    result = {
        "what": f"CPU of the publishing process, {SIDE_PX}×{SIDE_PX} at {FPS} fps",
        "command": " ".join(["python", "benchmarks/viewers.py", *sys.argv[1:]]),
        "picture": Path(args.clip).name if args.clip else "drawn scene",
        "seconds": args.seconds,
        "warm_up_s": 4.0,
        "machine": {"cpus": os.cpu_count(), "arch": platform.machine()},
        "python": platform.python_version(),
        "load_average_1min": os.getloadavg()[0],
        "median_cpu_ms_per_s": median_ms,
        "ratio_10_to_1_median": statistics.median(ratios) if ratios else None,
        "ratio_10_to_1_each_round": ratios,
        "runs": [run for runs in rounds for run in runs.values()],
    }
    print(json.dumps(result, indent=2))
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
