"""`semcast models` and `pull`: the hub's table, and what happens without a network."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from semcast.cli import main
from semcast.errors import NotFoundError, UnavailableError
from semcast.hub import (
    HUB_MODELS,
    HubUse,
    NamedModel,
    find_hub_model,
    first_installed,
    installed_folder,
    is_installed,
    missing_packages,
    pull,
)

Run = Callable[..., tuple[int, str, str]]
SMALL = HUB_MODELS["segformer-b0"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `semcast models` in this process; exit status, stdout and stderr."""
    monkeypatch.setenv("COLUMNS", "200")

    def semcast_models(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["semcast", "models", *arguments])
        with pytest.raises(SystemExit) as leaving:
            main()
        captured = capsys.readouterr()
        return int(leaving.value.code or 0), captured.out, captured.err

    return semcast_models


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that does not answer; nothing may be asked of the real one."""
    from httpx2 import ConnectError

    def ask(*arguments: Any, **options: Any) -> None:
        raise ConnectError("Name or service not known\nand more lines")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", ask)


@pytest.fixture
def hub_of_one_file(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A hub that answers; what was asked of it. Files come when `local_files_only` is not set."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked: list[dict[str, Any]] = []

    def download(**options: Any) -> str:
        folder = put_in_cache(Path(options["cache_dir"]), SMALL, make=False)
        if options.get("local_files_only"):
            if not folder.is_dir():
                raise LocalEntryNotFoundError("not here")
        else:
            asked.append(options)
            folder.mkdir(parents=True)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda url, timeout: None)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return asked


def put_in_cache(cache: Path, model: NamedModel, make: bool = True) -> Path:
    """The folder of a model in a hub cache."""
    repository = "models--" + model.repository.replace("/", "--")
    folder = cache / repository / "snapshots" / model.revision
    if make:
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    return folder


def test_every_model_is_listed_with_licence_size_and_commit(run: Run) -> None:
    status, out, _ = run()
    assert status == 0
    hub = out[out.index("On the hub") :].splitlines()
    for model in HUB_MODELS.values():
        line = next(line for line in hub if f" {model.name} " in line)
        for what in (model.use.value, f"{model.megabytes} MB", model.revision[:7]):
            assert what in line
    for licence in ("Apache-2.0", "non-commercial"):
        assert licence in out


def test_every_model_is_pinned_to_a_commit_and_says_what_may_be_done_with_it() -> None:
    assert len({model.repository for model in HUB_MODELS.values()}) == len(HUB_MODELS)
    for name, model in HUB_MODELS.items():
        assert name == model.name
        assert len(model.revision) == 40
        assert set(model.revision) <= set("0123456789abcdef")
        assert model.licence
    assert {model.use for model in HUB_MODELS.values()} == set(HubUse)


def test_pull_without_a_network_is_one_line(run: Run, no_network: None) -> None:
    status, _, err = run("pull", "smolvlm-256m")
    assert status == 1
    assert err.count("\n") == 1
    for what in ("smolvlm-256m", "HuggingFaceTB/SmolVLM-256M-Instruct", "check the network"):
        assert what in err


@pytest.mark.parametrize("arguments", [["pull"], ["pull", "resnet"], ["pull", "../etc"]])
def test_pull_of_nothing_that_is_offered_is_bad_input(run: Run, arguments: list[str]) -> None:
    status, _, err = run(*arguments)
    assert (status, err.count("\n")) == (2, 1)
    assert "segformer-b0" in err
    assert "semcast models" in err


def test_pull_fetches_the_pinned_commit_and_no_pickles(
    hub_of_one_file: list[dict[str, Any]], tmp_path: Path
) -> None:
    folder = pull(SMALL, tmp_path)
    assert folder.is_dir()
    (asked,) = hub_of_one_file
    assert asked["repo_id"] == "nvidia/segformer-b0-finetuned-ade-512-512"
    assert asked["revision"] == SMALL.revision
    kept = list(
        huggingface_hub.utils.filter_repo_objects(
            "config.json model.safetensors pytorch_model.bin tf_model.h5 a.pt onnx/model.onnx "
            "onnx/config.json tokenizer.json merges.txt run.py".split(),
            allow_patterns=asked["allow_patterns"],
            ignore_patterns=asked["ignore_patterns"],
        )
    )
    assert kept == ["config.json", "model.safetensors", "tokenizer.json", "merges.txt"]
    assert pull(SMALL, tmp_path) == folder
    assert len(hub_of_one_file) == 1, "what is here already was fetched again"


def test_pull_says_where_the_files_are_and_what_else_is_needed(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("semcast.cli.models.pull", lambda model: tmp_path / model.name)
    monkeypatch.setattr("semcast.cli.models.missing_packages", lambda model: ("num2words",))
    status, out, _ = run("pull", "smolvlm2-256m")
    assert status == 0
    for what in (str(tmp_path / "smolvlm2-256m"), "1030 MB", "install num2words"):
        assert what in out


def test_what_is_in_the_cache_is_found_without_a_network(no_network: None, tmp_path: Path) -> None:
    assert not is_installed(SMALL, tmp_path)
    assert first_installed(HubUse.SEGMENTER, tmp_path) is None
    for name in ("mask2former-tiny", "segformer-b0"):
        put_in_cache(tmp_path, HUB_MODELS[name])
    assert installed_folder(SMALL, tmp_path) == put_in_cache(tmp_path, SMALL, make=False)
    assert first_installed(HubUse.SEGMENTER, tmp_path) == SMALL, "the lightest comes first"
    assert first_installed(HubUse.CAPTIONER, tmp_path) is None
    assert pull(SMALL, tmp_path) == installed_folder(SMALL, tmp_path)


def test_a_model_whose_packages_are_missing_says_which(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = {"torch", "transformers", "huggingface_hub"}
    monkeypatch.setattr(
        "semcast.hub.importlib.util.find_spec", lambda name: name if name in here else None
    )
    video = HUB_MODELS["smolvlm2-500m"]
    assert missing_packages(SMALL) == ()
    assert missing_packages(video) == ("num2words",)
    with pytest.raises(UnavailableError, match="needs num2words: pip install num2words"):
        installed_folder(video, tmp_path)
    here.clear()
    with pytest.raises(UnavailableError, match=r'torch, transformers.*the "models" extra'):
        installed_folder(SMALL, tmp_path)
    assert not is_installed(SMALL, tmp_path)


def test_names_are_looked_up_by_use() -> None:
    assert find_hub_model("qwen2-vl-2b") is HUB_MODELS["qwen2-vl-2b"]
    assert find_hub_model("sam2.1-tiny", HubUse.SEGMENTER).use is HubUse.SEGMENTER
    with pytest.raises(NotFoundError, match=r"No captioner 'sam2.1-tiny'") as refusal:
        find_hub_model("sam2.1-tiny", HubUse.CAPTIONER)
    assert "segformer" not in str(refusal.value)


def test_what_needs_torch_is_imported_only_when_it_is_used() -> None:
    extractors = ("captioner", "hub_captioners", "hub_segmenters", "motion")
    names = ["semcast.hub", "semcast.cli.models"]
    names += [f"transmitter.extractors.{name}" for name in extractors]
    heavy = {"torch", "transformers", "huggingface_hub"}
    code = f"import sys, {', '.join(names)}; print(*({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
