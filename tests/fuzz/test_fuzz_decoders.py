"""Decoders take any bits: they give something of the right kind or refuse, in little memory.

A few payloads a run. benchmarks/fuzz_decoders.py does it 200,000 times, and measures time as well.
"""

import functools
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.fuzz_decoders import LARGEST_GROWTH, LONGEST_CALL_S, Fuzzer
from benchmarks.fuzz_targets import TARGETS, Bits, Case, random_payload, with_one_bit_flipped
from semcast.codecs.errors import CorruptPayloadError


@functools.cache
def cases_of(name: str) -> list[Case]:
    """Made once, and each payload decoded, so that all is compiled."""
    cases = TARGETS[name]()
    for case in cases:
        case.decode(case.bits)
    return cases


def decode_and_follow(case: Case, bits: Bits) -> None:
    """As the fuzzer does; fails where it would find something, memory included."""
    tracemalloc.start()
    try:
        result = case.decode(bits)
        if case.follow is not None:
            case.follow(result)
    except CorruptPayloadError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < LARGEST_GROWTH


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_any_bits(name: str, data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(cases_of(name)))
    packed = data.draw(st.binary(max_size=case.bits.size // 4))
    bits = np.unpackbits(np.frombuffer(packed, np.uint8))
    if case.fixed_length:
        bits = np.resize(bits, case.bits.size) if bits.size else np.zeros_like(case.bits)
    decode_and_follow(case, bits)


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_real_payloads_with_some_bits_wrong(name: str, data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(cases_of(name)))
    places = data.draw(st.lists(st.integers(0, case.bits.size - 1), min_size=1, max_size=8))
    bits = case.bits.copy()
    bits[places] ^= 1
    decode_and_follow(case, bits)


@pytest.mark.parametrize("name", TARGETS)
def test_real_payloads_decode(name: str) -> None:
    """The payloads are those of encoders: none is refused, and the frame after each is sound."""
    assert len(cases_of(name)) >= 2
    for case in cases_of(name):
        result = case.decode(case.bits)
        assert result is not None


# The fuzzer itself.


def fuzzed(case: Case) -> Fuzzer:
    fuzzer = Fuzzer()
    fuzzer.call(case, case.bits, "random")
    return fuzzer


def busy(bits: Bits) -> None:
    end_s = time.thread_time() + 2 * LONGEST_CALL_S
    while time.thread_time() < end_s:
        pass


def test_the_fuzzer_finds_what_it_looks_for() -> None:
    bits = np.ones(9, np.uint8)

    def crash(bits: Bits) -> None:
        raise IndexError("out of range")

    def refuse(bits: Bits) -> None:
        raise CorruptPayloadError("no payload")

    def take_memory(bits: Bits) -> None:
        raise MemoryError("Unable to allocate 1 TiB")

    (found,) = fuzzed(Case(bits, crash)).findings
    assert found == {
        "what": "IndexError: out of range",
        "kind": "random",
        "num_bits": 9,
        "hex": "ff80",
    }
    assert "MemoryError" in fuzzed(Case(bits, take_memory)).findings[0]["what"]
    assert fuzzed(Case(bits, refuse, crash)).findings == []
    fuzzer = fuzzed(Case(bits, len, lambda result: crash(bits)))
    assert fuzzer.findings[0]["kind"] == "random, the frame after it"
    assert fuzzer.counts == {"random: decoded": 1, "random, the frame after it: failed": 1}
    # Of processor time: another process that takes the processor makes no difference.
    assert "ms" in fuzzed(Case(bits, busy)).findings[0]["what"]


def test_mutations_are_of_the_kinds_they_are_called() -> None:
    rng = np.random.default_rng(0)
    case = Case(np.zeros(40, np.uint8), len)
    sizes = [random_payload(case, rng).size for _ in range(300)]
    assert (min(sizes), max(sizes)) == pytest.approx((0, 80), abs=3)
    assert random_payload(Case(case.bits, len, fixed_length=True), rng).size == 40
    flipped = [with_one_bit_flipped(case, rng) for _ in range(600)]
    assert {int(bits.sum()) for bits in flipped} == {1}
    assert (np.sum(flipped, axis=0) > 0).all()
    assert not case.bits.any()
