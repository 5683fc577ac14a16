"""The low-res codec: exact agreement, exact budgets, quality, loss, garbage."""

import hashlib
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from semcast.codecs import lowres
from semcast.codecs.errors import CorruptPayloadError
from semcast.codecs.lowres import LowresGeometry, LowresState, decode, encode, geometry_for, shrink
from semcast.codecs.range_payload import PayloadReader, PayloadWriter, categorical
from semcast.errors import InputError

GEOMETRY = LowresGeometry(32, 32)


def _moving_picture(number: int, width: int = 32, height: int = 32) -> NDArray[np.uint8]:
    """A panning texture with a coloured disc that moves the other way; integer arithmetic."""
    y, x = np.mgrid[0:height, 0:width]
    u, v = x * 8 + 5 * number, y * 8
    red = 60 + (u * v // 37 + u) % 160 // 2 + 40 * ((u // 48 + v // 64) % 2)
    green = 90 + (v * 3 + u) % 256 // 4
    blue = 70 + abs((u * 2 - v) % 300 - 150) // 2
    picture = np.stack([red, green, blue], axis=2)
    disc = (x - width + 4 + number) ** 2 + (y - height // 2) ** 2 < 30
    picture[disc] = (220, 70, 40)
    return picture.astype(np.uint8)


def _psnr_db(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    error = np.mean((a.astype(float) - b.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def _sequence(budget_bits: int, num_frames: int, age: int = 1) -> list[NDArray[np.uint8]]:
    """Payloads of the synthetic sequence, each frame predicted from `age` frames before."""
    states: list[LowresState | None] = [None] * age
    payloads = []
    for number in range(num_frames):
        payload, state = encode(_moving_picture(number), states[number], budget_bits)
        payloads.append(payload)
        states.append(state)
    return payloads


def test_golden_bitstream() -> None:
    """Any change of the format, the tables or the encoder's choices shows here."""
    digest = hashlib.sha256()
    for budget in (30, 100, 400, 1200):
        for payload in _sequence(budget, 6):
            digest.update(payload.tobytes())
    assert digest.hexdigest() == GOLDEN_BITS


def test_golden_pictures() -> None:
    """The decoder's pictures, to the last bit: the same on every machine."""
    digest = hashlib.sha256()
    state = None
    for payload in _sequence(400, 6):
        state = decode(payload, state, GEOMETRY)
        digest.update(state.planes.astype("<i4").tobytes())
    assert digest.hexdigest() == GOLDEN_PLANES


@pytest.mark.parametrize("budget_bits", [24, 40, 100, 253, 1500, 6000])
@pytest.mark.parametrize("size", [(32, 32), (24, 40), (16, 16), (48, 32)])
def test_decoder_state_equals_encoder_state(budget_bits: int, size: tuple[int, int]) -> None:
    geometry = LowresGeometry(*size)
    state = None
    for number in range(4):
        frame = _moving_picture(3 * number, *size)
        payload, encoded = encode(frame, state, budget_bits)
        assert payload.shape == (budget_bits,)
        assert payload.dtype == np.uint8
        assert payload.max(initial=0) <= 1
        decoded = decode(payload, state, geometry)
        assert decoded == encoded
        assert np.array_equal(decoded.rgb, encoded.rgb)
        assert decoded.rgb.shape == (size[1], size[0], 3)
        state = decoded


@given(
    seed=st.integers(0, 2**32 - 1),
    budget_bits=st.integers(24, 2000),
    width=st.sampled_from([16, 24, 32, 40]),
    height=st.sampled_from([16, 24, 32]),
    kind=st.sampled_from(["noise", "flat", "extreme", "smooth"]),
    with_reference=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_any_picture_round_trips(
    seed: int, budget_bits: int, width: int, height: int, kind: str, with_reference: bool
) -> None:
    rng = np.random.default_rng(seed)
    shape = (height, width, 3)
    picture = {
        "noise": rng.integers(0, 256, shape),
        "flat": np.broadcast_to(rng.integers(0, 256, 3), shape),
        "extreme": 255 * rng.integers(0, 2, shape),
        "smooth": np.clip(rng.normal(0, 20, shape).cumsum(0).cumsum(1) / 8 + 128, 0, 255),
    }[kind].astype(np.uint8)
    geometry = LowresGeometry(width, height)
    reference = None
    if with_reference:
        _, reference = encode(_moving_picture(seed % 20, width, height), None, 500)
    payload, state = encode(picture, reference, budget_bits)
    assert len(payload) == budget_bits
    assert decode(payload, reference, geometry) == state


def test_quality_grows_with_the_budget() -> None:
    """Over a sequence of eight frames, each budget beats the one before by 0.7 dB or more."""
    values = []
    for budget in (40, 100, 200, 400, 800, 1600):
        state = None
        error = 0.0
        for number in range(8):
            frame = _moving_picture(number)
            _, state = encode(frame, state, budget)
            error += float(np.mean((state.rgb.astype(float) - frame) ** 2))
        values.append(10 * np.log10(255**2 * 8 / error))
    assert all(b - a > 0.7 for a, b in itertools.pairwise(values)), values


def test_one_frame_never_gets_worse_with_more_bits() -> None:
    frame = _moving_picture(0)
    values = [
        _psnr_db(frame, encode(frame, None, bits)[1].rgb)
        for bits in (*range(24, 120, 8), *range(120, 1500, 60))
    ]
    # The search is greedy: a larger budget may land up to 0.15 dB below, never more.
    assert all(b - a > -0.15 for a, b in itertools.pairwise(values)), values


def test_static_scene_converges_to_near_lossless() -> None:
    frame = _moving_picture(0)
    state = None
    values = []
    for _ in range(60):
        _, state = encode(frame, state, 400)
        values.append(_psnr_db(frame, state.rgb))
    assert values[-1] > 42
    assert values[-1] > values[0] + 15
    assert all(b - a > -0.01 for a, b in itertools.pairwise(values)), values


@pytest.mark.parametrize("num_symbols", [0, 3, 40])
def test_a_frame_follows_symbols_of_other_codecs(num_symbols: int) -> None:
    """The payload holds the prefix, then the frame, in exactly the budget; the prefix is kept."""
    model = categorical([5, 2, 1])
    symbols = [number * 7 % 3 for number in range(num_symbols)]
    prefix = PayloadWriter()
    for symbol in symbols:
        prefix.write(symbol, model)
    before = prefix.finish()
    reference = None
    for number in range(3):
        payload, state = encode(_moving_picture(number), reference, 300, prefix)
        assert payload.shape == (300,)
        assert np.array_equal(prefix.finish(), before)
        reader = PayloadReader(payload)
        assert [reader.read(model) for _ in symbols] == symbols
        assert lowres.read(reader, reference, GEOMETRY) == state
        reference = state
    with pytest.raises(InputError, match="at least"):
        encode(_moving_picture(0), None, prefix.num_bits + lowres.MIN_BUDGET_BITS - 1, prefix)


def test_a_lost_frame_costs_itself_only() -> None:
    """Frames predicted from what was acknowledged decode exactly, whatever was lost between."""
    acknowledged: LowresState | None = None
    receiver: LowresState | None = None
    for number in range(12):
        payload, encoded = encode(_moving_picture(number), acknowledged, 400)
        if number % 3 == 1:
            continue  # lost: the receiver keeps its picture, the transmitter its reference
        receiver = decode(payload, acknowledged, GEOMETRY)
        assert receiver == encoded
        acknowledged = receiver


@pytest.mark.parametrize(
    ("side", "budget_bits", "least_db"), [(16, 30, 20), (24, 40, 20), (32, 60, 20), (64, 100, 19)]
)
def test_a_still_picture_builds_up_from_few_bits(
    side: int, budget_bits: int, least_db: float
) -> None:
    """At up to 40 pixels a bit every frame adds to the picture, colour included."""
    frame = _moving_picture(0, side, side)
    state = None
    values = []
    for _ in range(24):
        _, state = encode(frame, state, budget_bits)
        values.append(_psnr_db(frame, state.rgb))
    assert values[-1] > values[0] + 3, values
    assert values[-1] > least_db, values
    assert all(b - a > -0.01 for a, b in itertools.pairwise(values)), values
    for channel in range(3):
        mean = state.rgb[..., channel].astype(float).mean()
        assert abs(mean - frame[..., channel].mean()) < 8


def test_the_fewest_bits_send_the_mean_colour() -> None:
    for colour in ((0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (40, 90, 255)):
        picture = np.full((24, 24, 3), colour, dtype=np.uint8)
        payload, state = encode(picture, None, lowres.MIN_BUDGET_BITS)
        assert len(payload) == lowres.MIN_BUDGET_BITS
        assert np.abs(state.rgb.astype(int) - np.array(colour)).max() < 16, colour


def test_what_has_arrived_is_held_for_a_few_bits() -> None:
    """Where the reference is the target, nothing is spent and nothing changes."""
    _, reference = encode(_moving_picture(0), None, 800)
    payload, state = encode(reference.rgb, reference, 100)
    assert _psnr_db(reference.rgb, state.rgb) > 45
    assert np.flatnonzero(payload).max(initial=0) < 100


def test_a_scene_cut_is_no_worse_than_starting_anew() -> None:
    before, after = _moving_picture(0), 255 - _moving_picture(40)[::-1]
    _, reference = encode(before, None, 800)
    _, fresh = encode(after, None, 400)
    _, cut = encode(after, reference, 400)
    assert _psnr_db(after, cut.rgb) > _psnr_db(after, fresh.rgb) - 0.4


def test_motion_is_compensated() -> None:
    """A pan is predicted: at 100 bits far better than a fresh frame with the same bits."""
    _, reference = encode(_moving_picture(0), None, 4000)
    shifted = _moving_picture(1)
    _, moved = encode(shifted, reference, 100)
    _, fresh = encode(shifted, None, 100)
    assert _psnr_db(shifted, moved.rgb) > _psnr_db(shifted, fresh.rgb) + 4


def test_random_payloads_never_crash() -> None:
    rng = np.random.default_rng(17)
    _, reference = encode(_moving_picture(0), None, 600)
    corrupt = 0
    for trial in range(2000):
        bits = rng.integers(0, 2, int(rng.integers(0, 900)), dtype=np.uint8)
        if trial % 5 == 0:
            bits[:] = trial % 2
        corrupt += _decodes_or_refuses(bits, reference if trial % 2 else None)
    assert corrupt < 2000


def test_single_bit_errors_and_truncation_never_crash() -> None:
    _, reference = encode(_moving_picture(0), None, 600)
    for source in (None, reference):
        payload, state = encode(_moving_picture(2), source, 500)
        changed = 0
        for position in range(500):
            damaged = payload.copy()
            damaged[position] ^= 1
            _decodes_or_refuses(damaged, source)
            _decodes_or_refuses(payload[:position], source)
            try:
                changed += decode(damaged, source, GEOMETRY) != state
            except CorruptPayloadError:
                changed += 1
        assert changed > 400  # there is no slack in the payload to speak of


def _decodes_or_refuses(bits: NDArray[np.uint8], reference: LowresState | None) -> bool:
    """Decodes to a picture of the right size (False) or raises `CorruptPayloadError` (True)."""
    try:
        state = decode(bits, reference, GEOMETRY)
    except CorruptPayloadError:
        return True
    assert state.rgb.shape == (32, 32, 3)
    assert not state.planes.flags.writeable
    return False


def test_shrink_is_the_exact_area_average() -> None:
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 256, (96, 64, 3), dtype=np.uint8)
    small = shrink(picture, LowresGeometry(16, 24))
    expected = np.floor(picture.reshape(24, 4, 16, 4, 3).mean(axis=(1, 3)) + 0.5)
    assert np.array_equal(small, expected.astype(np.uint8))
    # Fractional cells: the mean over a fine common grid.
    odd = rng.integers(0, 256, (50, 70, 3), dtype=np.uint8)
    fine = odd.repeat(16, axis=0).repeat(24, axis=1)
    expected = np.floor(fine.reshape(16, 50, 24, 70, 3).mean(axis=(1, 3)) + 0.5)
    assert np.array_equal(shrink(odd, LowresGeometry(24, 16)), expected.astype(np.uint8))


def test_shrink_takes_pictures_smaller_than_the_geometry() -> None:
    picture = np.full((1, 1, 3), (10, 20, 30), dtype=np.uint8)
    assert np.array_equal(shrink(picture, GEOMETRY), np.broadcast_to(picture, (32, 32, 3)))


@given(width=st.integers(1, 4096), height=st.integers(1, 4096), bits=st.floats(1.0, 20000.0))
@settings(max_examples=100, deadline=None)
def test_geometry_is_valid_and_grows_with_bits(width: int, height: int, bits: float) -> None:
    small = geometry_for(width, height, bits)
    large = geometry_for(width, height, 2 * bits)
    assert large.width * large.height >= small.width * small.height
    assert small.width <= max(width, 16) and small.height <= max(height, 16)


def test_geometry_keeps_the_aspect_ratio() -> None:
    assert geometry_for(256, 256, 400.0).width == geometry_for(256, 256, 400.0).height
    for width, height in ((320, 180), (180, 320), (640, 480), (854, 480)):
        for bits in (200.0, 400.0, 800.0):
            geometry = geometry_for(width, height, bits)
            assert 0.66 < geometry.width / geometry.height * height / width < 1.5


def test_bad_arguments_are_refused() -> None:
    frame = _moving_picture(0)
    _, reference = encode(frame, None, 300)
    with pytest.raises(InputError, match="at least 24 bits"):
        encode(frame, None, 23)
    with pytest.raises(InputError):
        encode(frame[:30], None, 300)
    with pytest.raises(InputError):
        encode(_moving_picture(0, 24, 24), reference, 300)
    with pytest.raises(InputError):
        decode(np.zeros(100, dtype=np.uint8), reference, LowresGeometry(24, 24))
    with pytest.raises(InputError):
        LowresGeometry(20, 32)
    with pytest.raises(InputError):
        geometry_for(0, 10, 100.0)


def test_reading_far_past_the_end_is_bounded() -> None:
    """An empty payload reads as zeros and ends."""
    assert _decodes_or_refuses(np.zeros(0, dtype=np.uint8), None) in (True, False)


GOLDEN_BITS = "a3d0236a8a2f8315750117e6894c0e00ce71a7ee728cceb063752e99988f423d"
GOLDEN_PLANES = "7afe25d3dd63cdee880297b15d74ff4b8f1fe00bc29650ed8fdb5f3f25ecaaff"


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_uniform_picture_can_be_repeated(grey: int) -> None:
    picture = np.full((32, 32, 3), grey, np.uint8)
    geometry = lowres.LowresGeometry(32, 32)
    state = None
    for _ in range(4):
        bits, encoded = lowres.encode(picture, state, 112)
        assert lowres.decode(bits, state, geometry) == encoded
        state = encoded
    assert np.abs(state.rgb.astype(int) - grey).max() <= 4
