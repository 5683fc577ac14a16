"""Real files of many kinds: what is seen, and when."""

import itertools
import logging
import sys
import types
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clip_files import (
    QUADRANTS,
    number_of,
    numbered,
    quadrants,
    write_picture,
    write_sound,
    write_video,
)

from semcast.errors import InputError
from transmitter.sources import caption_beside, probe_clip, read_clip, render_frame
from transmitter.sources.tone_map import Transfer, nits_to_pq, to_sdr

VAL = Path(__file__).parents[3] / "shared" / "data" / "video" / "val"


def first(path: Path, width: int = 48, height: int = 32) -> np.ndarray:
    return next(read_clip(str(path), fps=15, width=width, height=height)).rgb


def numbers(path: Path, fps: float, **options: int | bool) -> list[int]:
    frames = read_clip(str(path), fps=fps, width=32, height=32, **options)
    return [number_of(f.rgb) for f in frames]


def corners(rgb: np.ndarray) -> list[str]:
    """Names of the colours at top left, top right, bottom left, bottom right."""
    height, width = rgb.shape[:2]
    points = itertools.product((height // 4, 3 * height // 4), (width // 4, 3 * width // 4))
    names = []
    for y, x in points:
        distance = {n: np.abs(rgb[y, x].astype(int) - c).max() for n, c in QUADRANTS.items()}
        name = min(distance, key=distance.__getitem__)
        assert distance[name] < 30, f"{rgb[y, x]} is none of the colours"
        names.append(name)
    return names


UPRIGHT = ["red", "green", "blue", "grey"]


def assert_colours(rgb: np.ndarray, tolerance: int = 4) -> None:
    """All four quadrants have their colours, to a few levels."""
    assert corners(rgb) == UPRIGHT
    height, width = rgb.shape[:2]
    for (y, x), colour in zip(
        itertools.product((height // 4, 3 * height // 4), (width // 4, 3 * width // 4)),
        QUADRANTS.values(),
        strict=True,
    ):
        assert np.abs(rgb[y, x].astype(int) - colour).max() <= tolerance


# --- containers, codecs, sizes -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("a.mkv", "libx265", "yuv420p10le"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.avi", "mpeg4", "yuv420p"),
        ("b.mkv", "ffv1", "yuv444p16le"),
        ("c.mkv", "ffv1", "gray"),
        ("a.mov", "prores_ks", "yuv422p10le"),
        ("a.ts", "libx264", "yuv422p"),
    ],
)
def test_containers_and_pixel_formats(
    tmp_path: Path, name: str, codec: str, pixel_format: str
) -> None:
    pictures = numbered(12) if pixel_format == "gray" else [quadrants()] * 12
    path = write_video(tmp_path / name, pictures, codec=codec, pixel_format=pixel_format)
    frames = list(read_clip(str(path), fps=15, width=48, height=32))
    assert [f.index for f in frames] == list(range(12))
    assert [f.pts_us for f in frames] == [round(k * 1e6 / 15) for k in range(12)]
    for frame in frames:
        assert frame.rgb.shape == (32, 48, 3)
        assert frame.rgb.dtype == np.uint8
        assert frame.rgb.flags.c_contiguous
    if pixel_format != "gray":
        assert_colours(frames[-1].rgb, tolerance=6)
    info = probe_clip(str(path))
    assert info.pixel_format == pixel_format
    assert info.fps == pytest.approx(15)
    assert info.name == str(path)


def test_odd_sizes(tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "odd.mkv", [quadrants(61, 97)] * 3, codec="ffv1", pixel_format="yuv420p"
    )
    assert (probe_clip(str(path)).width, probe_clip(str(path)).height) == (97, 61)
    assert corners(first(path)) == UPRIGHT


def test_large_frames_keep_colours_and_geometry(tmp_path: Path) -> None:
    """Shrunk in the coded format first: same picture as of the small one."""
    large = write_video(
        tmp_path / "large.mkv", [quadrants(722, 1282)] * 2, tags={"colorspace": BT709}
    )
    rgb = first(large, 48, 32)
    assert_colours(rgb)
    edge_row = np.abs(np.diff(rgb[:, 6, 0].astype(int))).argmax()
    edge_column = np.abs(np.diff(rgb[6, :, 0].astype(int))).argmax()
    assert (edge_row, edge_column) in {(15, 23), (16, 24), (15, 24), (16, 23), (14, 23), (15, 22)}


def test_non_square_pixels(tmp_path: Path) -> None:
    path = write_video(tmp_path / "wide.mp4", [quadrants(64, 48)] * 3, pixel_aspect=Fraction(2))
    info = probe_clip(str(path))
    assert (info.width, info.height) == (96, 64)
    rgb = first(path, 96, 64)
    assert corners(rgb) == UPRIGHT
    assert np.abs(rgb[8, 0].astype(int) - QUADRANTS["red"]).max() < 8


def test_sound_beside_the_video_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "both.mkv"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=48000)
        video = container.add_stream("ffv1", rate=10)
        video.width = video.height = 32
        video.pix_fmt = "yuv420p"
        tone = av.AudioFrame.from_ndarray(
            np.zeros((1, 48000), np.float32), format="fltp", layout="mono"
        )
        tone.rate = 48000
        for picture in numbered(5, 32, 32):
            for packet in video.encode(av.VideoFrame.from_ndarray(picture)):
                container.mux(packet)
        for packet in [*sound.encode(tone), *sound.encode(), *video.encode()]:
            container.mux(packet)
    assert numbers(path, 10) == [0, 1, 2, 3, 4]


# --- which way up --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counterclockwise_deg", "seen", "clockwise_deg"),
    [
        (0, ["red", "green", "blue", "grey"], 0),
        (90, ["green", "grey", "red", "blue"], 270),
        (180, ["grey", "blue", "green", "red"], 180),
        (270, ["blue", "red", "grey", "green"], 90),
    ],
)
def test_rotation_metadata(
    tmp_path: Path, counterclockwise_deg: int, seen: list[str], clockwise_deg: int
) -> None:
    path = write_video(
        tmp_path / "turned.mp4", [quadrants()] * 3, rotation_deg=counterclockwise_deg
    )
    turned = clockwise_deg % 180 == 90
    info = probe_clip(str(path))
    assert info.rotation_deg == clockwise_deg
    assert (info.width, info.height) == ((64, 96) if turned else (96, 64))
    size = (32, 48) if turned else (48, 32)
    assert corners(first(path, *size)) == seen


def test_rendering_leaves_no_cycle_behind(tmp_path: Path) -> None:
    """A frame goes when its last user lets go, not when the garbage collector comes round."""
    path = write_video(tmp_path / "turned.mp4", [quadrants()] * 3, rotation_deg=90)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    before = sys.getrefcount(frame)
    render_frame(frame, 32, 32)
    assert sys.getrefcount(frame) == before


# --- colour --------------------------------------------------------------------------------------

LIMITED, FULL = 1, 2
BT709, BT601, BT2020 = 1, 6, 9


@pytest.mark.parametrize("matrix", [BT709, BT601, BT2020])
@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuv420p10le"])
def test_tagged_matrices(tmp_path: Path, matrix: int, pixel_format: str) -> None:
    path = write_video(
        tmp_path / "tagged.mkv",
        [quadrants()] * 2,
        codec="ffv1",
        pixel_format=pixel_format,
        tags={"colorspace": matrix, "color_range": LIMITED},
    )
    assert_colours(first(path), tolerance=2)


def yuv_frame(y: int, u: int, v: int, side: int, **tags: int) -> av.VideoFrame:
    frame = av.VideoFrame(side, side, "yuv444p")
    for plane, level in zip(frame.planes, (y, u, v), strict=True):
        plane.update(bytes([level]) * plane.buffer_size)
    for name, value in tags.items():
        setattr(frame, name, value)
    return frame


# Pure red by BT.601 and by BT.709, limited range (ITU-R BT.601 / BT.709, 8 bits).
RED_601, RED_709 = (81, 90, 240), (63, 102, 240)


@pytest.mark.parametrize(
    ("levels", "side", "tags"),
    [
        (RED_601, 64, {}),  # untagged and small: BT.601
        (RED_709, 720, {}),  # untagged and large: BT.709
        (RED_601, 720, {"colorspace": BT601}),
        (RED_709, 64, {"colorspace": BT709}),
        ((76, 85, 255), 64, {"colorspace": BT601, "color_range": FULL}),
        (RED_601, 64, {"colorspace": BT601, "color_range": LIMITED}),
    ],
)
def test_matrix_and_range_of_a_frame(
    levels: tuple[int, int, int], side: int, tags: dict[str, int]
) -> None:
    rgb = render_frame(yuv_frame(*levels, side, **tags), 16, 16)
    assert np.abs(rgb.astype(int) - (255, 0, 0)).max() <= 2


@pytest.mark.parametrize(
    ("tags", "level", "expected"),
    [
        ({"color_range": LIMITED}, 16, 0),
        ({"color_range": LIMITED}, 235, 255),
        ({"color_range": FULL}, 235, 235),
        ({"color_range": FULL}, 16, 16),
        ({}, 235, 255),
    ],
)
def test_range(tags: dict[str, int], level: int, expected: int) -> None:
    rgb = render_frame(yuv_frame(level, 128, 128, 32, **tags), 16, 16)
    assert np.abs(rgb.astype(int) - expected).max() <= 1


PQ, HLG, PRIMARIES_2020 = 16, 18, 9


@pytest.mark.parametrize(("tag", "transfer"), [(PQ, Transfer.PQ), (HLG, Transfer.HLG)])
def test_hdr_is_tone_mapped(tmp_path: Path, tag: int, transfer: Transfer) -> None:
    """A grey staircase in HDR comes out as the tone map says, not as if it were SDR."""
    signal = np.repeat(np.linspace(0.05, 0.75, 8), 12)  # eight stairs, 96 columns
    deep = np.rint(signal * 65535).astype(np.uint16)
    picture = np.ascontiguousarray(np.broadcast_to(deep[None, :, None], (64, 96, 3)))
    path = write_video(
        tmp_path / "hdr.mkv",
        [picture] * 3,
        codec="libx265",
        pixel_format="yuv420p10le",
        picture_format="rgb48le",
        tags={
            "colorspace": BT2020,
            "color_primaries": PRIMARIES_2020,
            "color_trc": tag,
            "color_range": LIMITED,
        },
    )
    rgb = first(path, 96, 64)
    middles = rgb[32, 6::12].astype(int)
    wanted = to_sdr(picture[32:33, 6::12], transfer, wide_gamut=True)[0].astype(int)
    assert np.abs(middles - wanted).max() <= 5
    as_if_sdr = np.rint(signal[6::12] * 255)
    assert np.abs(middles[:, 0] - as_if_sdr).max() > 25


def test_hdr_white_is_near_white() -> None:
    white = float(nits_to_pq(np.float32([203]))[0])
    deep = np.full((32, 32, 3), round(white * 65535), np.uint16)
    frame = av.VideoFrame.from_ndarray(deep, format="rgb48le")
    frame.color_trc, frame.color_primaries = PQ, PRIMARIES_2020
    assert 215 <= int(render_frame(frame, 16, 16)[8, 8, 0]) <= 245


def test_interlaced_frames_show_no_comb(tmp_path: Path) -> None:
    """Fields of different moments: even lines white, odd lines black."""
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[::2] = 255
    path = write_video(
        tmp_path / "fields.mkv",
        [picture] * 3,
        pixel_format="yuv444p",
        options={"x264-params": "interlaced=1:tff=1"},
    )
    rgb = first(path, 96, 64)
    assert rgb.min() > 240


def test_alpha_lies_on_black(tmp_path: Path) -> None:
    rgba = np.full((32, 32, 4), 255, np.uint8)
    rgba[:, :16, 3] = 0
    rgba[16:, 16:, 3] = 128
    rgb = first(write_picture(tmp_path / "alpha.png", rgba, "rgba"), 32, 32)
    assert rgb[:, :15].max() == 0
    assert rgb[:15, 17:].min() == 255
    assert np.abs(rgb[17:, 17:].astype(int) - 128).max() <= 1


# --- time ----------------------------------------------------------------------------------------


def test_variable_frame_rate(tmp_path: Path) -> None:
    """Pictures at 0, 40, 300, 310, 1000 ms on a grid of 10 per second."""
    path = write_video(
        tmp_path / "vfr.mkv",
        numbered(5),
        codec="ffv1",
        pts=[0, 40, 300, 310, 1000],
        time_base=Fraction(1, 1000),
        fps=25,
    )
    assert numbers(path, 10)[:11] == [0, 1, 1, 2, 3, 3, 3, 3, 3, 3, 4]


def test_a_clip_that_starts_late_starts_at_once(tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "late.ts", numbered(6), pts=[90 + k for k in range(6)], fps=15, codec="libx264"
    )
    assert numbers(path, 15) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("name", ["b.mkv", "b.mp4"])
def test_reordered_frames_come_in_the_order_of_display(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name, numbered(30), options={"bf": "3", "preset": "medium"})
    assert numbers(path, 15) == list(range(30))


def test_other_rates(tmp_path: Path) -> None:
    path = write_video(tmp_path / "thirty.mp4", numbered(30), fps=30)
    assert numbers(path, 10) == list(range(0, 30, 3))
    assert numbers(path, 60) == [k // 2 for k in range(60)]
    assert numbers(path, 8, max_frames=3) == [0, 3, 7]


def test_repeated_frames_do_not_share_memory(tmp_path: Path) -> None:
    path = write_video(tmp_path / "slow.mp4", numbered(2), fps=5)
    frames = list(read_clip(str(path), fps=15, width=32, height=32))
    frames[0].rgb[:] = 0
    assert number_of(frames[1].rgb) == 0


def test_a_loop_goes_on_counting(tmp_path: Path) -> None:
    path = write_video(tmp_path / "loop.mp4", numbered(4))
    frames = list(
        itertools.islice(read_clip(str(path), fps=15, width=32, height=32, loop=True), 10)
    )
    assert [number_of(f.rgb) for f in frames] == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    assert [f.index for f in frames] == list(range(10))
    assert [f.pts_us for f in frames] == [round(k * 1e6 / 15) for k in range(10)]
    assert numbers(path, 15, loop=True, max_frames=5) == [0, 1, 2, 3, 0]


def test_decoding_stays_a_few_frames_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After ten frames of a clip of 400, most of the clip has not been decoded."""
    path = write_video(tmp_path / "long.mp4", numbered(5, 16, 16) * 80)
    decoded = []
    place = "transmitter.sources.video_file.PresentationClock.place"
    from transmitter.sources.grid import PresentationClock

    original = PresentationClock.place

    def counting(self: PresentationClock, *stamps: float | None) -> tuple[float, float]:
        decoded.append(1)
        return original(self, *stamps)

    monkeypatch.setattr(place, counting)
    frames = read_clip(str(path), fps=15, width=16, height=16)
    decoded.clear()
    for _ in range(10):
        next(frames)
    assert len(decoded) <= 12


def test_gif(tmp_path: Path) -> None:
    pictures = [np.full((32, 32, 3), level, np.uint8) for level in (0, 255, 0, 255)]
    path = write_video(tmp_path / "a.gif", pictures, codec="gif", pixel_format="gray", fps=10)
    shown = [int(f.rgb.mean() > 128) for f in read_clip(str(path), fps=10, width=32, height=32)]
    assert shown == [0, 1, 0, 1]


# --- damage --------------------------------------------------------------------------------------


def test_a_missing_tail_ends_the_clip_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = write_video(
        tmp_path / "whole.mp4", numbered(60), container_options={"movflags": "faststart"}
    )
    content = whole.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(content[: len(content) * 2 // 3])
    with caplog.at_level(logging.WARNING):
        shown = numbers(cut, 15)
    assert 5 < len(shown) < 60
    assert shown == list(range(len(shown)))
    assert "cut off" in caplog.text


def test_damage_in_the_middle_is_skipped(tmp_path: Path) -> None:
    whole = write_video(
        tmp_path / "whole.ts", numbered(60), codec="mpeg2video", fps=25, options={"g": "5"}
    )
    content = bytearray(whole.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = np.random.default_rng(0).bytes(2000)
    damaged = tmp_path / "damaged.ts"
    damaged.write_bytes(bytes(content))
    shown = numbers(damaged, 25)
    assert shown[:10] == list(range(10))
    assert shown[-1] == 59
    assert len(shown) >= 55


# --- folders, captions, samples ------------------------------------------------------------------


def test_a_folder_in_the_order_a_person_would_number(tmp_path: Path) -> None:
    names = ["f10.png", "f2.png", "f1.png", "F3.PNG", "f004.bmp", "f11.jpg"]
    order = ["f1.png", "f2.png", "F3.PNG", "f004.bmp", "f10.png", "f11.jpg"]
    for name in names:
        k = order.index(name)
        small = write_picture(
            tmp_path / f"tmp{Path(name).suffix.lower()}", numbered(6, 32 + 2 * k, 48)[k]
        )
        small.rename(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden.png").write_bytes(b"no picture either")
    (tmp_path / "sub.png").mkdir()
    assert numbers(tmp_path, 8) == [0, 1, 2, 3, 4, 5]
    assert numbers(tmp_path, 8, loop=True, max_frames=8) == [0, 1, 2, 3, 4, 5, 0, 1]
    info = probe_clip(str(tmp_path))
    assert (info.num_frames, info.fps, info.codec) == (6, None, "png")
    assert (info.width, info.height) == (48, 32)


def test_a_broken_picture_in_a_folder_is_named(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", quadrants())
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    frames = read_clip(str(tmp_path), fps=8, width=32, height=32)
    next(frames)
    with pytest.raises(InputError, match=r"b\.png"):
        next(frames)


def test_names_that_ffmpeg_would_take_for_something_else(tmp_path: Path) -> None:
    folder = tmp_path / "concat:odd, %03d"
    folder.mkdir()
    video = write_video(tmp_path / "a.mp4", numbered(3)).rename(folder / "http:b%d.mp4")
    assert numbers(video, 15) == [0, 1, 2]


def test_captions(tmp_path: Path) -> None:
    clip = tmp_path / "walk.v2.mp4"
    clip.write_bytes(b"x")
    assert caption_beside(str(clip)) is None
    beside = tmp_path / "walk.v2.txt"
    beside.write_bytes("\ufeffA dog \n walks\tpast. ".encode())
    assert caption_beside(str(clip)) == "A dog walks past."
    beside.write_text(" \n")
    assert caption_beside(str(clip)) is None
    beside.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        caption_beside(str(clip))
    beside.write_text("word " * 2000)
    with pytest.raises(InputError, match="too long"):
        caption_beside(str(clip))
    folder = tmp_path / "pictures"
    folder.mkdir()
    (tmp_path / "pictures.txt").write_text("Pictures of a dog.")
    assert caption_beside(str(folder)) == "Pictures of a dog."
    assert caption_beside(str(tmp_path / "missing.mp4")) is None


def test_samples_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "ball.mp4", numbered(3))
    (tmp_path / "ball.txt").write_text("A ball falls.")
    samples = types.ModuleType("semcast.samples")
    samples.sample_path = lambda name: tmp_path / f"{name}.mp4"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "semcast.samples", samples)
    assert probe_clip("sample:ball").name == "sample:ball"
    frames = read_clip("sample:ball", fps=15, width=32, height=32)
    assert [number_of(f.rgb) for f in frames] == [0, 1, 2]
    assert caption_beside("sample:ball") == "A ball falls."


@pytest.mark.skipif(not VAL.is_dir(), reason="../shared/data/video/val is not on this machine")
def test_every_real_clip_plays() -> None:
    clips = sorted(VAL.glob("*.mp4"))
    assert len(clips) >= 10
    for clip in clips:
        info = probe_clip(str(clip))
        frames = list(read_clip(str(clip), fps=8, width=64, height=64))
        assert info.duration_s is not None
        assert abs(len(frames) - info.duration_s * 8) <= 1
        assert all(f.rgb.std() > 5 for f in frames)


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    """A song with a picture in its tag has a "video" stream of one frame."""
    sound = write_sound(tmp_path / "sound.mp4")
    cover = write_picture(tmp_path / "cover.png", quadrants())
    song = tmp_path / "song.mp4"
    with (
        av.open(str(sound)) as audio,
        av.open(str(cover)) as art,
        av.open(str(song), "w") as container,
    ):
        track = container.add_stream_from_template(audio.streams.audio[0])
        picture = container.add_stream_from_template(art.streams.video[0])
        picture.disposition = av.stream.Disposition.attached_pic
        for source, target in ((art, picture), (audio, track)):
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = target
                    container.mux(packet)
    with pytest.raises(InputError, match="only sound"):
        probe_clip(str(song))
