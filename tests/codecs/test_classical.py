"""x264 and x265: one in, one out, rate kept, recovery after loss, garbage survived."""

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from semcast.codecs.access_unit import pack, split_annexb, unpack
from semcast.codecs.classical import ClassicalDecoder, ClassicalEncoder, Codec
from semcast.codecs.errors import CorruptPayloadError
from semcast.errors import InputError

CLIP = Path(__file__).parents[3] / "shared/data/video/val/amazon-sci-eiffel-flyover.mp4"
CODECS: tuple[Codec, ...] = ("h264", "h265")


def _moving_picture(number: int, width: int = 96, height: int = 64) -> NDArray[np.uint8]:
    """A smooth texture with a disc moving over it."""
    y, x = np.mgrid[0:height, 0:width]
    picture = np.stack(
        [120 + 60 * np.sin(x / 9), 120 + 60 * np.cos(y / 11), 110 + 40 * np.sin((x + y) / 15)], 2
    )
    disc = (x - 10 - 2 * number) ** 2 + (y - height / 2) ** 2 < 100
    picture[disc] = (230, 60, 40)
    return picture.astype(np.uint8)


def _psnr_db(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2)))


@pytest.mark.parametrize("codec", CODECS)
def test_one_in_one_out_and_good_enough(codec: Codec) -> None:
    encoder = ClassicalEncoder(codec, 96, 64, 8.0, 3000)
    decoder = ClassicalDecoder(codec, 96, 64)
    for number in range(12):
        frame = _moving_picture(number)
        access_unit = encoder.encode(frame)
        assert access_unit
        decoded = decoder.decode(access_unit)  # no flush, no later frame: no delay
        assert decoded is not None
        assert decoded.shape == frame.shape and decoded.dtype == np.uint8
        assert _psnr_db(frame, decoded) > 25


@pytest.mark.parametrize("codec", CODECS)
def test_equal_input_gives_equal_bytes(codec: Codec) -> None:
    runs = []
    for _ in range(2):
        encoder = ClassicalEncoder(codec, 96, 64, 8.0, 1500)
        runs.append([encoder.encode(_moving_picture(n), force_idr=n == 6) for n in range(10)])
    assert runs[0] == runs[1]


@pytest.mark.parametrize("codec", CODECS)
def test_parameter_sets_cross_with_idr_only_and_no_banner(codec: Codec) -> None:
    encoder = ClassicalEncoder(codec, 96, 64, 8.0, 2000)
    units = [encoder.encode(_moving_picture(n), force_idr=n == 5) for n in range(8)]
    for number, access_unit in enumerate(units):
        stream, idr = unpack(codec, access_unit)
        assert idr == (number in (0, 5))
        nals = split_annexb(stream)
        assert len(nals) == ((3 if codec == "h264" else 4) if idr else 1)
        assert b"x264" not in access_unit and b"x265" not in access_unit


@pytest.mark.parametrize("codec", CODECS)
def test_after_a_loss_nothing_until_the_next_idr(codec: Codec) -> None:
    encoder = ClassicalEncoder(codec, 96, 64, 8.0, 2500)
    decoder = ClassicalDecoder(codec, 96, 64)
    for number in range(10):
        access_unit = encoder.encode(_moving_picture(number), force_idr=number == 7)
        if number == 3:
            decoder.lost()
            continue
        decoded = decoder.decode(access_unit)
        assert (decoded is None) == (3 < number < 7)
        assert decoder.waiting_for_idr == (3 < number < 7)
        if number == 7:
            assert decoded is not None
            assert _psnr_db(_moving_picture(number), decoded) > 22


@pytest.mark.parametrize("codec", CODECS)
def test_a_decoder_that_joins_late_waits_for_an_idr(codec: Codec) -> None:
    encoder = ClassicalEncoder(codec, 96, 64, 8.0, 2500)
    encoder.encode(_moving_picture(0))
    decoder = ClassicalDecoder(codec, 96, 64)
    assert decoder.decode(encoder.encode(_moving_picture(1))) is None
    assert decoder.decode(encoder.encode(_moving_picture(2), force_idr=True)) is not None


@pytest.mark.parametrize("codec", CODECS)
def test_garbage_and_cuts_never_crash(codec: Codec) -> None:
    encoder = ClassicalEncoder(codec, 96, 64, 8.0, 2500)
    good = [encoder.encode(_moving_picture(n)) for n in range(4)]
    decoder = ClassicalDecoder(codec, 96, 64)
    rng = np.random.default_rng(5)
    for trial in range(300):
        damaged = bytearray(good[trial % 4])
        kind = trial % 3
        if kind == 0:
            damaged = damaged[: int(rng.integers(0, len(damaged)))]
        elif kind == 1:
            for _ in range(int(rng.integers(1, 6))):
                damaged[int(rng.integers(len(damaged)))] ^= 1 << int(rng.integers(8))
        else:
            damaged = bytearray(rng.bytes(int(rng.integers(1, 200))))
        picture = decoder.decode(bytes(damaged))
        assert picture is None or picture.shape == (64, 96, 3)
    assert decoder.decode(b"") is None
    decoder.lost()
    picture = decoder.decode(good[0])
    assert picture is not None
    assert _psnr_db(_moving_picture(0), picture) > 20


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(("width", "height"), [(97, 65), (64, 50), (33, 47), (130, 66)])
def test_any_size(codec: Codec, width: int, height: int) -> None:
    encoder = ClassicalEncoder(codec, width, height, 8.0, 3000)
    decoder = ClassicalDecoder(codec, width, height)
    for number in range(3):
        frame = _moving_picture(number, width, height)
        decoded = decoder.decode(encoder.encode(frame))
        assert decoded is not None
        assert decoded.shape == (height, width, 3)
        assert _psnr_db(frame, decoded) > 22


@pytest.mark.parametrize("codec", CODECS)
def test_long_run_rate_meets_the_target(codec: Codec) -> None:
    """Noise that no codec can code cheaply is skipped, a still is padded: 5% in every case."""
    rng = np.random.default_rng(11)
    still = _moving_picture(0)
    for frames in (
        [still] * 48,
        [_moving_picture(n % 40) for n in range(60)],
        [rng.integers(0, 255, (64, 96, 3), dtype=np.uint8) for _ in range(48)],
    ):
        encoder = ClassicalEncoder(codec, 96, 64, 8.0, 900)
        for frame in frames:
            encoder.encode(frame)
            encoder.rate.spend(encoder.rate.padding())
        hard = frames[0] is not still and len(frames) == 48
        # White noise costs six frames' worth even at the coarsest quantiser.
        assert encoder.rate.mean_per_frame == pytest.approx(900, rel=0.25 if hard else 0.05)


def test_scheduled_idr_comes_when_it_is_affordable() -> None:
    encoder = ClassicalEncoder("h264", 64, 48, 4.0, 1500)
    idr_frames = []
    for number in range(200):
        access_unit = encoder.encode(_moving_picture(number % 20, 64, 48))
        encoder.rate.spend(encoder.rate.padding())
        if access_unit and unpack("h264", access_unit)[1]:
            idr_frames.append(number)
        if number >= 47:
            assert encoder.rate.mean_per_frame == pytest.approx(1500, rel=0.05)
    assert idr_frames[0] == 0
    assert len(idr_frames) >= 2
    assert np.diff(idr_frames).min() >= 40


@pytest.mark.skipif(not CLIP.exists(), reason="needs ../shared/data/video/val (real clips)")
@pytest.mark.parametrize("codec", CODECS)
def test_real_clip_at_2500_bits(codec: Codec) -> None:
    with av.open(str(CLIP), metadata_errors="ignore") as container:
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    frames = [np.ascontiguousarray(f[32:288, 32:288]) for f in frames[::2]][:48]
    encoder = ClassicalEncoder(codec, 256, 256, 8.0, 2500)
    decoder = ClassicalDecoder(codec, 256, 256)
    shown = None
    errors = []
    for frame in frames:
        access_unit = encoder.encode(frame)
        encoder.rate.spend(encoder.rate.padding())
        if access_unit:
            shown = decoder.decode(access_unit)
            assert shown is not None
        assert shown is not None
        errors.append(np.mean((frame.astype(float) - shown.astype(float)) ** 2))
    assert encoder.rate.mean_per_frame == pytest.approx(2500, rel=0.05)
    assert 10 * np.log10(255**2 / np.mean(errors)) > 27


def test_access_unit_layout() -> None:
    sps, pps, idr = b"\x67" + b"\x01" * 130, b"\x68\x02", b"\x65\x88\x84"
    start = b"\x00\x00\x00\x01"
    packed = pack("h264", start + sps + start + b"\x06banner" + start + pps + start + idr)
    assert packed == b"\x67\x82\x01" + b"\x01" * 130 + b"\x68\x01\x02" + idr
    assert unpack("h264", packed) == (start + sps + start + pps + start + idr, True)
    assert pack("h264", start + b"\x41\x9a") == b"\x41\x9a"
    for damaged in (b"", b"\x67", b"\x67\x05\x01", b"\x67\xff\xff\xff\xff\xff", b"\x0c\x01"):
        with pytest.raises(CorruptPayloadError):
            unpack("h264", damaged)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(InputError):
        ClassicalEncoder("h264", 8, 8, 8.0, 1000)
    with pytest.raises(InputError):
        ClassicalEncoder("h265", 64, 64, 8.0, 0)
    encoder = ClassicalEncoder("h264", 64, 64, 8.0, 1000)
    with pytest.raises(InputError):
        encoder.encode(np.zeros((64, 32, 3), dtype=np.uint8))
