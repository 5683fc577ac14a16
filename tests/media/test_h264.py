"""The H.264 that goes to browsers: profile, structure, and how much of the picture it keeps."""

from pathlib import Path

import av
import numpy as np
import pytest

from semcast.media.h264 import H264Encoder, default_bitrate_bps
from semcast.media.rtp_h264 import split_nal_units

VAL = Path(__file__).parents[3] / "shared" / "data" / "video" / "val"
SLICE, IDR, SPS, PPS = 1, 5, 7, 8


def decode(packets) -> list[np.ndarray]:
    decoder = av.CodecContext.create("h264", "r")
    frames = [f for packet in packets for f in decoder.decode(av.Packet(bytes(packet)))]
    return [f.to_ndarray(format="rgb24") for f in frames + decoder.decode(None)]


def encode(pictures, idr_at=(0,), fps=8) -> list:
    height, width, _ = pictures[0].shape
    bitrate_bps = default_bitrate_bps(width, height, fps)
    encoder = H264Encoder(width=width, height=height, fps=fps, bitrate_bps=bitrate_bps)
    return [
        encoder.encode(rgb, time_us=k * 1_000_000 // fps, idr=k in idr_at)
        for k, rgb in enumerate(pictures)
    ]


def test_constrained_baseline_with_parameter_sets_at_each_idr(scene) -> None:
    units = encode([scene.picture(k) for k in range(8)], idr_at=(0, 5))
    nals = [split_nal_units(bytes(unit.packet)) for unit in units]
    kinds = [[nal[0] & 0x1F for nal in unit if nal[0] & 0x1F != 6] for unit in nals]
    whole = [SPS, PPS, IDR]
    assert kinds == [whole, *[[SLICE]] * 4, whole, *[[SLICE]] * 2]
    assert [unit.is_idr for unit in units] == [k in (0, 5) for k in range(8)]
    profile_idc, constraints, level_idc = next(n for n in nals[0] if n[0] & 0x1F == SPS)[1:4]
    assert profile_idc == 66
    assert constraints & 0xC0 == 0xC0  # constraint_set0 and 1: constrained baseline
    assert level_idc <= 31


def test_no_delay_and_times_in_90_khz(scene) -> None:
    units = encode([scene.picture(k) for k in range(6)])
    assert [unit.ticks for unit in units] == [k * 11_250 for k in range(6)]
    assert [unit.packet.pts for unit in units] == [k * 11_250 for k in range(6)]
    frames = decode([unit.packet for unit in units])
    assert min(scene.psnr_db(frame, k) for k, frame in enumerate(frames)) > 40


def test_odd_sides_are_made_even() -> None:
    y, x = np.mgrid[:33, :51]
    rgb = np.stack([2 * x + y, 100 + x, 200 - 2 * y], axis=-1).astype(np.uint8)
    (frame,) = decode([unit.packet for unit in encode([rgb])])
    assert frame.shape == (34, 52, 3)
    error = np.mean((frame[:33, :51].astype(float) - rgb) ** 2)
    assert 10 * np.log10(255**2 / error) > 35


def test_noise_stays_under_the_ceiling() -> None:
    noise = [np.random.default_rng(k).integers(0, 256, (256, 256, 3), np.uint8) for k in range(32)]
    units = encode(noise, idr_at=(0, 12, 24))
    bits_per_s = sum(8 * unit.packet.size for unit in units) / (len(units) / 8)
    assert bits_per_s < 1.3 * default_bitrate_bps(256, 256, 8)


@pytest.mark.skipif(not VAL.is_dir(), reason="../shared/data is absent")
def test_a_real_clip_keeps_38_db() -> None:
    pictures = []
    with av.open(VAL / "amazon-sci-eiffel-flyover.mp4") as clip:
        for frame in clip.decode(video=0):
            if frame.time >= len(pictures) / 8:
                rgb = frame.reformat(format="rgb24", width=456, height=256).to_ndarray()
                pictures.append(np.ascontiguousarray(rgb[:, 100:356]))
            if len(pictures) == 16:
                break
    frames = decode([unit.packet for unit in encode(pictures, idr_at=(0, 12))])
    errors = [np.mean((a.astype(float) - b) ** 2) for a, b in zip(frames, pictures, strict=True)]
    assert 10 * np.log10(255**2 / np.mean(errors)) > 38
