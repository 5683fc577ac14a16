"""The Helm chart: rendered where `helm` is installed, and read without it everywhere."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_file import REPOSITORY, load

from channel_emulator.settings import EmulatorSettings
from console.settings import ConsoleSettings
from receiver.settings import ReceiverSettings
from semcast.rpc.settings import ENV_PREFIX, ServiceSettings
from semcast.version import __version__
from transmitter.settings import TransmitterSettings

_CHART = REPOSITORY / "deploy" / "helm" / "semcast"
_TEMPLATES = sorted((_CHART / "templates").iterdir())
_SETTINGS: dict[str, type[ServiceSettings]] = {
    "receiver": ReceiverSettings,
    "channel": EmulatorSettings,
    "transmitter": TransmitterSettings,
    "console": ConsoleSettings,
}
_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)


def _yaml(name: str) -> dict[str, Any]:
    content = yaml.safe_load((_CHART / name).read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def test_the_chart_is_of_this_version() -> None:
    chart = _yaml("Chart.yaml")
    assert (chart["apiVersion"], chart["name"]) == ("v2", "semcast")
    assert chart["version"] == chart["appVersion"] == __version__


@pytest.mark.parametrize("template", _TEMPLATES, ids=lambda path: path.name)
def test_every_block_is_closed(template: Path) -> None:
    text = template.read_text(encoding="utf-8")
    assert text.count("{{") == text.count("}}") == len(_ACTION.findall(text))
    depth = 0
    for action in _ACTION.findall(text):
        keyword = action.split()[0]
        depth += {"if": 1, "with": 1, "range": 1, "define": 1, "end": -1}.get(keyword, 0)
        assert depth >= 0, action
    assert depth == 0


@pytest.mark.parametrize("template", _TEMPLATES, ids=lambda path: path.name)
def test_every_value_that_is_used_is_declared(template: Path) -> None:
    values = _yaml("values.yaml")
    for path in re.findall(r"\.Values((?:\.[A-Za-z]+)+)", template.read_text(encoding="utf-8")):
        node: Any = values
        for key in path.strip(".").split("."):
            assert key in node, f".Values{path}"
            node = node[key]


def test_every_partial_that_is_included_is_defined() -> None:
    text = "\n".join(template.read_text(encoding="utf-8") for template in _TEMPLATES)
    defined = re.findall(r'\{\{-? define "([a-zA-Z.]+)"', text)
    assert len(defined) == len(set(defined))
    assert set(re.findall(r'include "([a-zA-Z.]+)"', text)) == set(defined)


def test_ports_and_images_are_those_of_compose() -> None:
    values, services = _yaml("values.yaml"), load({}).services
    for name in _SETTINGS:
        environment = services[name].environment
        assert str(values[name]["port"]) == environment["SEMCAST_PORT"]
        assert str(values[name]["metricsPort"]) == environment["SEMCAST_METRICS_PORT"]
        image = services[name].raw["image"].partition(":")[0]
        assert values[name]["image"] == image
    gpu_image = services["receiver-gpu"].raw["image"].partition(":")[0]
    assert values["receiver"]["gpu"]["image"] == gpu_image


def test_every_variable_is_a_setting_of_some_service() -> None:
    text = "\n".join(template.read_text(encoding="utf-8") for template in _TEMPLATES)
    used = set(re.findall(r"name: (SEMCAST_[A-Z_]+)", text))
    fields = {
        ENV_PREFIX + field.upper()
        for settings in _SETTINGS.values()
        for field in settings.model_fields
    }
    assert used and used <= fields


def test_no_secret_is_in_the_values() -> None:
    values = _yaml("values.yaml")
    assert values["console"]["tokenSecret"] == values["turn"]["existingSecret"] == ""
    assert not re.search(r"credential|password", json.dumps(values), re.IGNORECASE)


def _render(*settings: str) -> list[dict[str, Any]]:
    helm = shutil.which("helm")
    if helm is None:
        pytest.skip("helm is not installed: the chart was read, not rendered")
    options = [part for setting in settings for part in ("--set", setting)]
    rendered = subprocess.run(
        [helm, "template", "lab", str(_CHART), *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [document for document in yaml.safe_load_all(rendered.stdout) if document]


def test_rendered_it_is_four_deployments_that_call_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    documents = _render("console.tokenSecret=secret")
    deployments = {
        document["metadata"]["labels"]["app.kubernetes.io/component"]: document["spec"]
        for document in documents
        if document["kind"] == "Deployment"
    }
    services = {
        document["metadata"]["name"]: document["spec"]
        for document in documents
        if document["kind"] == "Service"
    }
    assert set(deployments) == set(_SETTINGS)
    for component, spec in deployments.items():
        assert spec["replicas"] == 1
        assert f"lab-{component}" in services
        [container] = spec["template"]["spec"]["containers"]
        assert container["args"] == ["python", "-m", "semcast", "serve", component]
        with monkeypatch.context() as patch:
            for variable in container["env"]:
                patch.setenv(variable["name"], variable.get("value", "0123456789abcdef"))
            settings = _SETTINGS[component]()
        for field in ("channel_address", "receiver_address", "transmitter_address"):
            if address := getattr(settings, field, None):
                host, _, port = address.partition(":")
                assert int(port) in [entry["port"] for entry in services[host]["ports"]]


def test_rendered_with_a_gpu_the_receiver_asks_for_it() -> None:
    documents = _render("console.tokenSecret=secret", "receiver.gpu.enabled=true")
    [receiver] = [
        document["spec"]["template"]["spec"]["containers"][0]
        for document in documents
        if (document["kind"], document["metadata"]["name"]) == ("Deployment", "lab-receiver")
    ]
    assert receiver["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert receiver["image"].startswith("semcast-receiver-cuda:")
