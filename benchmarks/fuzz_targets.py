"""Decoders to be fuzzed: real payloads of each, and what a decoder may make of others.

A target has cases: a payload as an encoder made it from the bundled samples, and the call that
decodes it as the receiver would, from the state it would have. A decoder may refuse with
`CorruptPayloadError` (nothing else), or give something wrong of the right kind, which the call
checks. What a codec gives becomes the state that the next frame is predicted from, so `follow`
decodes a real frame from it.

Decoders of the air link get bits as samples of that sign, of magnitudes fixed per case.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from semcast.air import control, crc, digital, polar, turbo
from semcast.air.ladder import rung
from semcast.codecs import contours, lowres, motion, sketch, text
from semcast.codecs.classical import ClassicalDecoder, ClassicalEncoder
from semcast.codecs.range_payload import PayloadReader, PayloadWriter
from semcast.samples import sample_caption, sample_masks, sample_names
from transmitter.sources import read_clip

Bits = NDArray[np.uint8]

SIDE = 256
NUM_FRAMES = 6


@dataclass(frozen=True)
class Case:
    """bits: uint8 [n] of 0 and 1. decode: bits to a result. follow: what comes after the result.

    fixed_length: the decoder takes n values, no more and no fewer.
    """

    bits: Bits
    decode: Callable[[Bits], object]
    follow: Callable[[object], object] | None = None
    fixed_length: bool = False


def _frames(sample: str) -> list[NDArray[np.uint8]]:
    clip = read_clip(f"sample:{sample}", fps=8, width=SIDE, height=SIDE, max_frames=NUM_FRAMES)
    return [frame.rgb for frame in clip]


def _in_a_block(bits: Bits) -> Bits:
    """A payload, and some of the zeros that fill its block."""
    return np.concatenate([bits, np.zeros(8, np.uint8)])


def _check(holds: bool, what: str) -> None:
    if not holds:
        raise AssertionError(f"a decoder gave {what}")


def lowres_cases() -> list[Case]:
    """Budgets from the least to the most a frame has, each from the state before and from none."""
    geometry = lowres.LowresGeometry(32, 32)

    def decode(bits: Bits, reference: lowres.LowresState | None) -> lowres.LowresState:
        state = lowres.decode(bits, reference, geometry)
        _check(state.rgb.shape == (32, 32, 3) and state.rgb.dtype == np.uint8, "another picture")
        return state

    cases = []
    for sample, budget_bits in zip(sample_names(), (64, 200, 400), strict=False):
        reference = None
        made = []
        for rgb in _frames(sample):
            small = lowres.shrink(rgb, geometry)
            bits, state = lowres.encode(small, reference, budget_bits)
            made.append((bits, reference))
            reference = state
        for (bits, before), (after, _) in zip(made, [*made[1:], made[1]], strict=True):
            cases.append(Case(bits, partial(decode, reference=before), partial(decode, after)))
    return cases


def contour_cases() -> list[Case]:
    """Label maps of the samples, within little and within enough."""
    settings = contours.ContourSettings(width=SIDE, height=SIDE)

    def decode(bits: Bits, reference: contours.ContourState | None) -> contours.ContourState:
        state = contours.read_contours(PayloadReader(bits), reference, settings)
        _check(state.labels.shape == (SIDE, SIDE) and state.labels.max() <= 15, "no label map")
        _check(set(np.unique(state.labels)) - {0} <= set(state.polygons), "labels without rings")
        return state

    cases = []
    for sample, budget_bits in zip(sample_names(), (120, 400, 1500), strict=False):
        masks, _ = sample_masks(sample)
        reference = None
        made = []
        for labels in masks[: 4 * NUM_FRAMES : 4]:
            labels = cv2.resize(labels, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
            labels = np.where(labels > 15, 0, labels).astype(np.uint8)
            plan = contours.plan_contours(labels, reference, budget_bits, settings)
            writer = PayloadWriter()
            contours.write_contours(writer, plan, reference, settings)
            made.append((_in_a_block(writer.finish()), reference))
            reference = plan.state
        for (bits, before), (after, _) in zip(made, [*made[1:], made[1]], strict=True):
            cases.append(Case(bits, partial(decode, reference=before), partial(decode, after)))
    return cases


def sketch_cases() -> list[Case]:
    """Edges of the samples' frames, lossy and lossless."""
    geometry = sketch.geometry_for(SIDE, SIDE)

    def decode(bits: Bits, reference: sketch.SketchState | None) -> sketch.SketchState:
        state = sketch.read_sketch(PayloadReader(bits), reference, geometry)
        _check(state.bitmap.shape == (geometry.height, geometry.width), "another size")
        _check(state.bitmap.max() <= 1, "no bitmap")
        return state

    cases = []
    for sample, budget_bits in zip(sample_names(), (80, 400, 20_000), strict=False):
        reference = None
        made = []
        for rgb in _frames(sample):
            edges = (cv2.Canny(rgb, 80, 160) > 0).astype(np.uint8)
            bitmap = sketch.shrink_sketch(edges, geometry)
            plan = sketch.plan_sketch(bitmap, reference, budget_bits)
            writer = PayloadWriter()
            state = sketch.write_sketch(writer, plan, reference)
            made.append((_in_a_block(writer.finish()), reference))
            reference = state
        for (bits, before), (after, _) in zip(made, [*made[1:], made[1]], strict=True):
            cases.append(Case(bits, partial(decode, reference=before), partial(decode, after)))
    return cases


def text_cases() -> list[Case]:
    """Captions of the samples, and captions that are no English."""

    def decode(bits: Bits) -> str:
        caption = text.decode_text(bits)
        _check(len(caption) <= text.MAX_CHARS, "an endless text")
        caption.encode()  # no half characters
        return caption

    captions = [sample_caption(name) for name in sample_names()]
    captions += ["a", "Ça, déjà vu: 猫が走る 🐈", "QWERTY 1234567890 !?", "a" * 512]
    return [Case(_in_a_block(text.encode_text(caption)), decode) for caption in captions]


def motion_cases() -> list[Case]:
    """Every level."""

    def decode(bits: Bits) -> int:
        level = motion.read_motion(PayloadReader(bits))
        _check(0 <= level < motion.NUM_LEVELS, "no level")
        motion.motion_of_level(level)
        return level

    cases = []
    for level in range(motion.NUM_LEVELS):
        writer = PayloadWriter()
        motion.write_motion(writer, level)
        cases.append(Case(_in_a_block(writer.finish()), decode))
    return cases


def _magnitudes(num_values: int) -> NDArray[np.float32]:
    """Of a weak signal: some values count for little."""
    draws = np.random.default_rng(num_values).normal(2.0, 1.5, num_values)
    return np.abs(draws).astype(np.float32)


def _soft(bits: Bits, magnitudes: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(bits == 1, magnitudes, -magnitudes).astype(np.float32)


def _random_payload(num_bits: int) -> Bits:
    return np.random.default_rng(num_bits).integers(0, 2, num_bits, dtype=np.uint8)


def turbo_cases() -> list[Case]:
    """Words of captions: short, of filler bits, and of 800 bits; at rate 1/3 and punctured."""

    def decode(bits: Bits, num_word_bits: int, magnitudes: NDArray[np.float32]) -> object:
        empty = np.zeros(turbo.buffer_size(num_word_bits), np.float32)
        combined = turbo.de_rate_match(empty, _soft(bits, magnitudes), 0)
        decoded = turbo.turbo_decode(combined, num_word_bits, "crc16")
        if decoded.payload is not None:
            _check(decoded.payload.shape == (num_word_bits - 16,), "another size")
        return decoded

    cases = []
    for num_word_bits, rate in ((64, 1 / 3), (176, 1 / 3), (321, 0.5), (800, 0.6)):
        buffer = turbo.turbo_encode(
            crc.attach_inverted(_random_payload(num_word_bits - 16), "crc16")
        )
        bits = turbo.rate_match(buffer, round(num_word_bits / rate), 0)
        call = partial(decode, num_word_bits=num_word_bits, magnitudes=_magnitudes(bits.size))
        cases.append(Case(bits, call, fixed_length=True))
    return cases


def polar_cases() -> list[Case]:
    """Words of 40 to 256 bits, punctured, shortened and repeated."""

    def decode(bits: Bits, code: polar.PolarCode, magnitudes: NDArray[np.float32]) -> object:
        decoded = code.decode(_soft(bits, magnitudes), "crc16")
        if decoded.payload is not None:
            _check(decoded.payload.shape == (code.k - 16,), "another size")
        return decoded

    cases = []
    for k, n in ((40, 120), (128, 256), (128, 200), (256, 1100)):
        code = polar.polar_code(k, n)
        bits = code.encode(crc.attach_inverted(_random_payload(k - 16), "crc16"))
        call = partial(decode, code=code, magnitudes=_magnitudes(bits.size))
        cases.append(Case(bits, call, fixed_length=True))
    return cases


def _samples_of(bits: Bits, magnitudes: NDArray[np.float32]) -> NDArray[np.complex64]:
    signs = -_soft(bits, magnitudes)
    return (signs[0::2] + 1j * signs[1::2]).astype(np.complex64)


def _signs_of(symbols: NDArray[np.complex64]) -> Bits:
    bits = np.empty(2 * symbols.size, np.uint8)
    bits[0::2], bits[1::2] = symbols.real < 0, symbols.imag < 0
    return bits


def block_cases() -> list[Case]:
    """Digital blocks as the receiver takes them: polar and LDPC, at two rungs of 4-QAM."""

    def decode(
        bits: Bits, num_payload_bits: int, rung_id: str, magnitudes: NDArray[np.float32]
    ) -> object:
        samples = _samples_of(bits, magnitudes)
        block = digital.decode_block(samples, 0.5, rung(rung_id), num_payload_bits, key=7)
        _check(block.crc_ok == (block.payload is not None), "a payload without its CRC")
        if block.payload is not None:
            _check(block.payload.shape == (num_payload_bits,), "another size")
        return block

    cases = []
    for rung_id, num_payload_bits in (("qpsk-1/3", 100), ("qpsk-1/2", 240), ("qpsk-1/2", 900)):
        num_symbols = digital.num_symbols(num_payload_bits, rung(rung_id))
        symbols = digital.encode_block(
            _random_payload(num_payload_bits), num_symbols, rung(rung_id), key=7
        )
        call = partial(
            decode,
            num_payload_bits=num_payload_bits,
            rung_id=rung_id,
            magnitudes=_magnitudes(2 * num_symbols),
        )
        cases.append(Case(_signs_of(symbols), call, fixed_length=True))
    return cases


def control_cases() -> list[Case]:
    """Control blocks of 6 and of 40 bits."""

    def decode(
        bits: Bits, layout: control.ControlLayout, magnitudes: NDArray[np.float32]
    ) -> object:
        values = control.decode_control(_samples_of(bits, magnitudes), 0.5, layout, key=3)
        for field in layout.fields:
            _check(values is None or 0 <= values[field.name] < 1 << field.bits, "no value")
        return values

    cases = []
    for sizes in ((6,), (12, 20, 8)):
        fields = tuple(control.ControlField(f"f{i}", size) for i, size in enumerate(sizes))
        layout = control.ControlLayout(fields)
        symbols = control.encode_control({field.name: 3 for field in fields}, layout, key=3)
        call = partial(decode, layout=layout, magnitudes=_magnitudes(2 * layout.num_symbols))
        cases.append(Case(_signs_of(symbols), call, fixed_length=True))
    return cases


def classical_cases(codec: str) -> list[Case]:
    """Access units: the IDR of a fresh decoder, and pictures after a sound one."""

    def decode(bits: Bits, sound: list[bytes]) -> object:
        decoder = ClassicalDecoder(codec, SIDE, SIDE)
        for access_unit in sound:
            _check(decoder.decode(access_unit) is not None, "nothing for a sound access unit")
        return step(np.packbits(bits).tobytes(), decoder)

    def step(access_unit: bytes, decoder: ClassicalDecoder) -> ClassicalDecoder:
        picture = decoder.decode(access_unit)
        if picture is not None:
            _check(picture.shape == (SIDE, SIDE, 3) and picture.dtype == np.uint8, "no picture")
        return decoder

    encoder = ClassicalEncoder(codec, SIDE, SIDE, fps=8, bits_per_frame=1500)
    units = [unit for unit in map(encoder.encode, _frames(sample_names()[0])) if unit]
    cases = []
    for k, unit in enumerate(units[:3]):
        bits = np.unpackbits(np.frombuffer(unit, np.uint8))
        follow = partial(step, units[k + 1]) if k + 1 < len(units) else None
        cases.append(Case(bits, partial(decode, sound=units[: min(k, 1)]), follow))
    return cases


TARGETS: dict[str, Callable[[], list[Case]]] = {
    "lowres": lowres_cases,
    "contours": contour_cases,
    "sketch": sketch_cases,
    "text": text_cases,
    "motion": motion_cases,
    "turbo": turbo_cases,
    "polar": polar_cases,
    "block": block_cases,
    "control": control_cases,
    "h264": partial(classical_cases, "h264"),
    "h265": partial(classical_cases, "h265"),
}


def random_payload(case: Case, rng: np.random.Generator) -> Bits:
    """Random bits where the case's are, of any length up to twice its own where that is free."""
    num_bits = case.bits.size
    if not case.fixed_length:
        num_bits = int(rng.integers(0, 2 * case.bits.size + 1))
    return rng.integers(0, 2, num_bits, dtype=np.uint8)


def with_one_bit_flipped(case: Case, rng: np.random.Generator) -> Bits:
    """The case's payload with one bit wrong."""
    bits = case.bits.copy()
    bits[rng.integers(bits.size)] ^= 1
    return bits
