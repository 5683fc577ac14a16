"""How fast is the full-size generator on a GPU? SD-Turbo's shapes with RANDOM weights, no download.

    .venv/bin/python benchmarks/full_size.py                # a CUDA device; the real sizes
    .venv/bin/python benchmarks/full_size.py --tiny         # any machine: does it run at all?

Random weights cost what real ones cost; their frames are noise and no quality is measured. Sessions
share the networks and take turns, as on the receiver's one model thread: in each round every one of
them asks for a frame at the same moment, and a frame's latency counts from then, waiting included.
A frame's time is that of `step`: received pictures in, pixels out, both in the CPU's memory. The
caption's embedding is cached, as in a stream. Writes `benchmarks/results/full_size.json`.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import (
    AutoencoderTiny,
    ControlNetModel,
    EulerDiscreteScheduler,
    UNet2DConditionModel,
)
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from receiver.diffusion.attention_cache import give_memory
from receiver.diffusion.checkpoints import FullSizeNetworks
from receiver.diffusion.full_size import WINDOW_FRAMES, FullSizeGenerator
from receiver.generator import Conditions, GeneratorContext
from semcast.session import Modality

RESULTS = Path(__file__).parent / "results" / "full_size.json"
KEY_EVERY_FRAMES = 8
CAPTION_TOKENS = 77

# Shapes of stabilityai/sd-turbo's U-Net, which are those of Stable Diffusion 2.1.
SD_TURBO: dict[str, Any] = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "attention_head_dim": (5, 10, 20, 20),
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
}
TINY: dict[str, Any] = {
    "sample_size": 8,
    "block_out_channels": (32, 64),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "attention_head_dim": (2, 4),
    "cross_attention_dim": 32,
    "use_linear_projection": True,
    "norm_num_groups": 16,
}


def random_networks(shapes: dict[str, Any], device: torch.device) -> FullSizeNetworks:
    """Networks of these shapes, as `load_networks` would leave them."""
    torch.manual_seed(0)
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    with device:
        unet: Any = UNet2DConditionModel(**shapes)
        controlnet: Any = ControlNetModel.from_unet(unet, load_weights_from_unet=False)
        codec: Any = AutoencoderTiny()
    give_memory(unet)
    for network in (unet, controlnet, codec):
        network.eval().requires_grad_(False)
        torch.nn.Module.to(network, dtype=dtype, memory_format=torch.channels_last)
    shape = (1, CAPTION_TOKENS, shapes["cross_attention_dim"])
    embedded = torch.randn(shape, device=device, dtype=dtype)
    schedule: Any = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
    )

    def embed(caption: str) -> Tensor:
        return embedded

    signal_shares = schedule.alphas_cumprod.double()
    return FullSizeNetworks(unet, controlnet, codec, embed, signal_shares, device, dtype)


def received(frame: int, size_px: int, contours: bool) -> Conditions:
    """A key picture now and then, a low-res picture with every frame; contours of one object."""
    moving = np.random.default_rng(frame).integers(108, 148, (48, 48, 3), np.uint8)
    pictures = {Modality.LOWRES: moving}
    ages = {Modality.LOWRES: 0, Modality.KEYFRAME: frame % KEY_EVERY_FRAMES}
    key = np.random.default_rng(frame // KEY_EVERY_FRAMES).integers(108, 148, (256, 256, 3))
    pictures[Modality.KEYFRAME] = key.astype(np.uint8)
    labels: NDArray[np.uint8] | None = None
    if contours:
        labels = np.zeros((size_px, size_px), np.uint8)
        labels[size_px // 4 : size_px // 2, size_px // 4 : size_px // 2] = 1
    return Conditions(pictures, ages, labels=labels, caption="a caption")


def measure(
    networks: FullSizeNetworks,
    size_px: int,
    num_steps: int,
    sessions: int,
    contours: bool,
    window_frames: int,
    rounds: int,
    warm_up_rounds: int,
) -> dict[str, Any]:
    """One row: all sessions for some rounds, after a warm-up that fills their caches."""
    on_gpu = networks.device.type == "cuda"
    if on_gpu:
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    generators = [FullSizeGenerator(networks, window_frames, size_px) for _ in range(sessions)]
    for index, generator in enumerate(generators):
        generator.reset(GeneratorContext(size_px, size_px, 8.0, index, num_steps))
    latencies_ms: list[float] = []
    started = 0.0
    stream = [received(frame, size_px, contours) for frame in range(warm_up_rounds + rounds)]
    for frame, conditions in enumerate(stream, -warm_up_rounds):
        asked = time.perf_counter()
        started = asked if frame == 0 else started
        for generator in generators:
            generator.step(conditions)
            if frame >= 0:
                latencies_ms.append(1e3 * (time.perf_counter() - asked))
    taken_s = time.perf_counter() - started
    return {
        "num_steps": num_steps,
        "sessions": sessions,
        "contours": contours,
        "frames_per_second_of_each": rounds / taken_s,
        "frames_per_second_of_all": rounds * sessions / taken_s,
        "latency_ms_p50": float(np.percentile(latencies_ms, 50)),
        "latency_ms_p95": float(np.percentile(latencies_ms, 95)),
        "cache_mib_of_each": generators[0].cache_bytes / 2**20,
        "gpu_memory_peak_mib": torch.cuda.max_memory_allocated() / 2**20 if on_gpu else None,
        "cached_frames": generators[0].cached_frames,
        "cache_resets": sum(generator.cache_resets for generator in generators),
    }


def commit() -> str:
    """Short hash of the checkout, or "unknown" outside of one."""
    asked = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or "unknown"


def numbers(listed: str) -> list[int]:
    return [int(number) for number in listed.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="tiny networks, on any machine")
    parser.add_argument("--steps", type=numbers, default=[1, 2, 4])
    parser.add_argument("--sessions", type=numbers, default=[1, 4, 16])
    parser.add_argument("--window", type=int, default=WINDOW_FRAMES, help="past frames seen")
    parser.add_argument("--rounds", type=int, default=40, help="measured, after the warm-up")
    parser.add_argument("--warm-up", type=int, default=10, help="rounds before")
    parser.add_argument("--output", type=Path, help="default: benchmarks/results/full_size.json")
    options = parser.parse_args()
    if not options.tiny and not torch.cuda.is_available():
        parser.error("no CUDA device here: run it where there is one, or with --tiny")
    if options.tiny and not options.output:
        parser.error("--tiny needs an --output: its figures are not to be kept")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size_px = 64 if options.tiny else 512
    networks = random_networks(TINY if options.tiny else SD_TURBO, device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.machine()
    parts = (networks.unet, networks.controlnet, networks.codec)
    result: dict[str, Any] = {
        "weights": "random: speed and memory only, no quality",
        "networks": "tiny, of no use" if options.tiny else "shapes of stabilityai/sd-turbo",
        "million_parameters": sum(p.numel() for part in parts for p in part.parameters()) / 1e6,
        "size_px": size_px,
        "number_format": str(networks.dtype).removeprefix("torch."),
        "window_frames": options.window,
        "warm_up_rounds": options.warm_up,
        "rounds": options.rounds,
        "machine": f"{name}; torch {torch.__version__}, diffusers {diffusers.__version__}",
        "commit": commit(),
        "rows": [],
    }
    cases = [
        (steps, sessions, contours)
        for steps in options.steps
        for sessions in options.sessions
        for contours in (False, True)
    ]
    output = options.output or RESULTS
    for steps, sessions, contours in tqdm(cases, unit="case"):
        rounds = (options.rounds, options.warm_up)
        row = measure(networks, size_px, steps, sessions, contours, options.window, *rounds)
        result["rows"].append(row)
        # Kept as it grows: a lent machine may be taken away.
        output.write_text(json.dumps(result, indent=1) + "\n")
        tqdm.write(
            f"{steps} steps, {sessions:2} sessions, contours {'yes' if contours else 'no':3} "
            f"{row['frames_per_second_of_all']:7.1f} frames/s in all, latency p50 "
            f"{row['latency_ms_p50']:.0f} ms, p95 {row['latency_ms_p95']:.0f} ms, memory "
            f"{row['gpu_memory_peak_mib'] or 0:.0f} MiB"
        )


if __name__ == "__main__":
    main()
