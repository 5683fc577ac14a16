"""Weight files: fp16 with a header, whole or not at all, and nothing else is taken for one."""

import json
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import semcast.weights
from semcast.errors import NotFoundError
from semcast.weights import bundled_weights, find_weights, read_weights, write_weights

HEADER = {"recipe": "test", "config": {"width": 4, "levels": [1, 2]}, "steps": 12}


def _network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def test_weights_come_back_rounded_to_fp16_with_their_header(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    network = _network()
    network(torch.randn(2, 3, 8, 8))
    write_weights(path, network.state_dict(), HEADER)
    state, header = read_weights(path)
    assert header == HEADER
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            assert state[name].dtype == torch.float32
            assert torch.equal(state[name], value.half().float())
        else:
            assert state[name].dtype == value.dtype and torch.equal(state[name], value)
    again = _network()
    again.load_state_dict(state)


def test_the_file_holds_two_bytes_a_number(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_weights(path, {"x": torch.randn(10_000), "n": torch.tensor(3)}, HEADER)
    with safe_open(str(path), "pt") as file:
        assert file.get_tensor("x").dtype == torch.float16
        assert file.get_tensor("n").dtype == torch.int64
        assert json.loads(file.metadata()["semcast"]) == HEADER
    assert 20_000 < path.stat().st_size < 21_000


def test_channels_last_weights_keep_their_meaning(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    weight = torch.randn(4, 3, 3, 3).half().float()
    write_weights(path, {"w": weight.to(memory_format=torch.channels_last)}, HEADER)
    assert torch.equal(read_weights(path)[0]["w"], weight)


@pytest.mark.parametrize("value", [1e6, float("nan"), float("inf")])
def test_what_fp16_cannot_hold_leaves_the_old_file(tmp_path: Path, value: float) -> None:
    path = tmp_path / "a.safetensors"
    write_weights(path, {"x": torch.ones(3)}, HEADER)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="x has values that fp16 cannot hold"):
        write_weights(path, {"x": torch.tensor([1.0, value])}, HEADER)
    assert path.read_bytes() == before


def test_a_disk_that_is_full_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_weights(path, {"x": torch.ones(3)}, HEADER)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(OSError):
            write_weights(path, {"x": torch.zeros(100_000)}, HEADER)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    write_weights(path, {"x": torch.zeros(100_000)}, HEADER)
    assert torch.equal(read_weights(path)[0]["x"], torch.zeros(100_000))


def test_files_may_be_read_by_others(tmp_path: Path) -> None:
    """As any file one writes: a service may run under another name than the training did."""
    (tmp_path / "plain").write_bytes(b"")
    write_weights(tmp_path / "a.safetensors", {"x": torch.ones(3)}, HEADER)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "a.safetensors")]
    assert modes[0] == modes[1]


def _broken(path: Path, kind: str) -> None:
    if kind == "text":
        path.write_text("weights, supposedly")
    elif kind == "pickle":
        torch.save({"x": torch.ones(3)}, path)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        write_weights(path, {"x": torch.ones(300)}, HEADER)
        path.write_bytes(path.read_bytes()[:-100])
    elif kind == "foreign":
        save_file({"x": torch.ones(3)}, str(path), {"format": "pt"})
    elif kind == "no header":
        save_file({"x": torch.ones(3)}, str(path))
    elif kind == "header":
        save_file({"x": torch.ones(3)}, str(path), {"semcast": "{not JSON"})
    elif kind == "folder":
        path.mkdir()


@pytest.mark.parametrize(
    "kind",
    ["missing", "text", "pickle", "empty", "truncated", "foreign", "no header", "header", "folder"],
)
def test_what_is_not_ours_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "given.safetensors"
    _broken(path, kind)
    with pytest.raises(NotFoundError) as caught:
        read_weights(path)
    assert "given.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_are_found_by_name(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(semcast.weights, "FOLDER", tmp_path)
    with pytest.raises(NotFoundError, match="No weights 'b' in this version, which has none"):
        find_weights("b")
    for name in ("b", "a"):
        write_weights(tmp_path / f"{name}.safetensors", {"x": torch.ones(3)}, HEADER)
    assert find_weights("b") == tmp_path / "b.safetensors"
    with pytest.raises(NotFoundError, match=r"No weights 'c' in this version, which has a, b\."):
        find_weights("c")
    listed = bundled_weights()
    assert [file.name for file in listed] == ["a", "b"]
    assert listed[0].header == HEADER
    assert listed[0].num_bytes == (tmp_path / "a.safetensors").stat().st_size


def test_bundled_files_are_small_finite_and_have_cards() -> None:
    files = bundled_weights()
    assert sum(file.num_bytes for file in files) < 20e6, "all weights of the project"
    for file in files:
        assert file.header.keys() >= {"recipe", "config", "steps"}
        state, _ = read_weights(file.path)
        assert all(value.isfinite().all() for value in state.values()), file.name
        card = file.path.with_suffix(".md").read_text()
        for heading in (f"# {file.name}", "## Held-out figures", "## Trained on", "| hardware |"):
            assert heading in card, (file.name, heading)
        assert "val" not in card.partition("## Trained on")[2].partition("##")[0]


def test_the_package_is_imported_without_torch() -> None:
    code = "import sys, semcast.weights; semcast.weights.FOLDER; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
