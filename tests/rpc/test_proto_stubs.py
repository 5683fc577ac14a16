"""The committed stubs are what proto/ generates, and proto/ keeps its conventions."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor, FileDescriptor

from semcast.v1 import channel_pb2, link_pb2, receiver_pb2, transmitter_pb2

ROOT = Path(__file__).resolve().parents[2]
FILES: list[FileDescriptor] = [
    module.DESCRIPTOR for module in (link_pb2, channel_pb2, receiver_pb2, transmitter_pb2)
]
# Numbers that carry a unit in their name; bare counts say what they count instead.
UNITS = ("_px", "_us", "_ms", "_s", "_db", "_bits", "_second", "_percent")
MEANS_ITSELF = {
    *("generation", "sequence", "seed", "cbr", "cbr_target", "count", "rung_index"),
    *("num_symbols", "symbols_per_frame", "pilots_per_frame", "segment_frames", "max_frames"),
    *("feedback_delay_frames", "frames_dropped_total", "frames_skipped_total"),
    *("queue_depth_frames", "burst_frames_mean", "gap_frames_mean"),
    *("snr_db_estimated", "snr_db_requested", "signal_energy", "noise_energy"),
    *("coarseness", "label", "age_frames"),
    *("generator_steps", "guidance", "cached_frames", "cache_resets"),
}
NUMBERS = {
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
    FieldDescriptor.CPPTYPE_FLOAT,
    FieldDescriptor.CPPTYPE_DOUBLE,
}


def makefile_command() -> list[str]:
    """The arguments after `python` in the Makefile's proto target."""
    recipe = re.search(r"^proto:.*\n\t(.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe
    words = recipe.group(1).split()
    assert words[0] == "$(BIN)/python"
    return words[1:]


def test_stubs_are_what_the_makefile_generates(tmp_path):
    command = []
    for word in makefile_command():
        if word.endswith("_out=."):
            command.append(word[:-1] + str(tmp_path))
        elif "*" in word:
            command += sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(word))
        else:
            command.append(word)
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True, capture_output=True)
    committed = ROOT / "semcast" / "v1"
    generated = sorted(path.name for path in (tmp_path / "semcast" / "v1").iterdir())
    present = sorted(path.name for path in committed.glob("*_pb2*"))
    assert generated == present
    assert len(generated) == 12
    for name in generated:
        fresh = (tmp_path / "semcast" / "v1" / name).read_bytes()
        assert fresh == (committed / name).read_bytes(), f"{name} is stale: run make proto"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_package_is_versioned(file):
    assert file.package == "semcast.v1"
    assert file.name.startswith("semcast/v1/")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_enums_start_unspecified_and_carry_their_name(file):
    for enum in file.enum_types_by_name.values():
        prefix = re.sub(r"(?<!^)([A-Z])", r"_\1", enum.name).upper()
        assert enum.values_by_number[0].name == f"{prefix}_UNSPECIFIED"
        assert all(value.name.startswith(f"{prefix}_") for value in enum.values)


def test_every_method_has_request_and_response_of_its_own():
    used: list[str] = []
    for file in FILES:
        for service in file.services_by_name.values():
            assert service.name.endswith("Service")
            for method in service.methods:
                stems = (method.name, f"{service.name}{method.name}")
                assert method.input_type.name in {f"{stem}Request" for stem in stems}
                assert method.output_type.name in {f"{stem}Response" for stem in stems}
                used += [method.input_type.full_name, method.output_type.full_name]
    assert len(used) == len(set(used))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_fields_are_snake_case_and_numbers_say_their_unit(file):
    for message in file.message_types_by_name.values():
        for field in message.fields:
            assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", field.name), field.full_name
            if field.cpp_type in NUMBERS:
                says = field.name.endswith(UNITS) or field.name in MEANS_ITSELF
                assert says, f"{field.full_name} needs a unit"
