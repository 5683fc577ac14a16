"""docker-compose.yml as a text: what each profile starts, and that all it names is there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_file import (
    COMPOSE_FILE,
    REPOSITORY,
    ComposeError,
    Service,
    duration_s,
    interpolate,
    load,
    read_env_file,
    variables,
)

from channel_emulator.settings import EmulatorSettings
from console.settings import ConsoleSettings
from receiver.settings import ReceiverSettings
from semcast.media.ice import parse_ice_servers
from semcast.rpc.settings import ENV_PREFIX, ServiceSettings
from semcast.version import __version__
from transmitter.settings import TransmitterSettings

_OWN = ("receiver", "channel", "transmitter", "console")
_SETTINGS: dict[str, type[ServiceSettings]] = {
    "receiver": ReceiverSettings,
    "receiver-gpu": ReceiverSettings,
    "channel": EmulatorSettings,
    "transmitter": TransmitterSettings,
    "console": ConsoleSettings,
}
_COMPOSE_FOLDER = REPOSITORY / "deploy" / "compose"
_TLS_FILE = _COMPOSE_FOLDER / "tls.yml"


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("$A-b", "1-b"),
        ("${A}", "1"),
        ("${B:-x}", "x"),
        ("${E:-x}", "x"),
        ("${E-x}", ""),
        ("${B:-${A}2}", "12"),
        ("${A:+on}${B:+off}", "on"),
        ("$$A", "$A"),
        ("${B}", ""),
    ],
)
def test_variables_are_filled_in_as_compose_does(text: str, filled: str) -> None:
    assert interpolate({"key": [text]}, {"A": "1", "E": ""}) == {"key": [filled]}


@pytest.mark.parametrize("text", ["${B:?is needed}", "${A", "${A/x/y}", "$1"])
def test_what_compose_refuses_is_refused(text: str) -> None:
    with pytest.raises(ComposeError):
        interpolate(text, {"A": "1"})


@pytest.mark.parametrize(
    ("env", "started"),
    [
        ({}, {"receiver", "channel", "transmitter", "console"}),
        (
            {"COMPOSE_PROFILES": "metrics"},
            {"receiver", "channel", "transmitter", "console", "prometheus", "grafana"},
        ),
        ({"COMPOSE_PROFILES": "turn"}, {"receiver", "channel", "transmitter", "console", "turn"}),
        (
            read_env_file(_COMPOSE_FOLDER / "gpu.env"),
            {"receiver-gpu", "channel", "transmitter", "console"},
        ),
    ],
)
def test_each_profile_starts_one_receiver_and_what_it_names(
    env: dict[str, str], started: set[str]
) -> None:
    running = [service.name for service in load(env).running()]
    assert set(running) == started
    receiver = next(name for name in running if name.startswith("receiver"))
    order = [running.index(name) for name in (receiver, "channel", "transmitter", "console")]
    assert order == sorted(order)


def test_own_services_wait_for_healthy_ones_and_come_back() -> None:
    for service in _own_services():
        raw = service.raw
        assert service.healthcheck, service.name
        assert all(how["condition"] == "service_healthy" for how in service.depends_on.values())
        assert raw["restart"] == "unless-stopped"
        assert service.stop_grace_s > 3 + ServiceSettings.model_fields["grace_s"].default
        assert duration_s(raw["healthcheck"]["timeout"]) < duration_s(
            raw["healthcheck"]["interval"]
        )


def test_own_services_write_only_where_they_may() -> None:
    for service in _own_services():
        raw = service.raw
        assert raw["read_only"] is True
        assert raw["user"] == "10001:10001"
        assert raw["cap_drop"] == ["ALL"]
        assert any(entry.startswith("/tmp:size=") for entry in raw["tmpfs"])
        # numba passes over a cache folder that cannot be written to, and compiles at every start.
        compiles = service.name in ("receiver", "receiver-gpu", "transmitter")
        mounts = [mount.partition(":")[2] for mount in raw.get("volumes", [])]
        assert mounts == (["/var/cache/semcast"] if compiles else [])


def test_media_ports_are_the_hosts() -> None:
    """Random UDP ports cannot be published; the host's network or a relay carries them."""
    model = load({})
    for name in ("receiver", "receiver-gpu", "transmitter", "turn"):
        assert model.services[name].raw["network_mode"] == "host"
    assert all("ports" not in service.raw for service in model.services.values())


def test_the_gpu_receiver_reserves_a_gpu() -> None:
    model = load(read_env_file(_COMPOSE_FOLDER / "gpu.env"))
    [device] = model.services["receiver-gpu"].raw["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    cpu, gpu = model.services["receiver"], model.services["receiver-gpu"]
    assert (cpu.environment, cpu.command) == (gpu.environment, gpu.command)


def test_every_file_that_is_named_exists() -> None:
    model = load({})
    for service in model.services.values():
        build = service.raw.get("build")
        if build is not None:
            context = REPOSITORY / build["context"]
            assert (context / build["dockerfile"]).is_file(), service.name
            assert set(build["secrets"]) <= set(model.secrets)
        for mount in service.raw.get("volumes", []):
            source = mount.partition(":")[0]
            known = source in model.volumes or (REPOSITORY / source).exists()
            assert known, f"{service.name}: {source}"
        for entry in service.raw.get("configs", []):
            assert entry["source"] in model.configs
    assert {secret["file"] for secret in model.secrets.values()} == {"./deploy/docker/pip.conf"}
    assert (REPOSITORY / "deploy" / "docker" / "pip.conf").is_file()


def test_images_that_are_built_here_are_pulled_from_nobody() -> None:
    """A name with a slash is somebody's on Docker Hub, and would be pulled where it exists."""
    for service in load({}).services.values():
        repository, _, tag = service.raw["image"].rpartition(":")
        assert tag and tag != "latest"
        assert ("build" in service.raw) == ("/" not in repository)
        assert "build" not in service.raw or tag == __version__


@pytest.mark.parametrize("name", sorted(_SETTINGS))
def test_every_variable_is_a_setting_and_its_value_is_good(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = load({}).services[name].environment
    fields = {ENV_PREFIX + field.upper() for field in _SETTINGS[name].model_fields}
    assert set(environment) <= fields
    _settings(name, environment, monkeypatch)


def test_ports_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each service calls the next one where that one listens, by default and after a change."""
    for env in ({}, {"SEMCAST_RECEIVER_PORT": "6003", "SEMCAST_CHANNEL_PORT": "6002"}):
        found: dict[str, Any] = {}
        for name, service in load(env).services.items():
            if name in _SETTINGS:
                with monkeypatch.context() as patch:
                    found[name] = _settings(name, service.environment, patch)
        address = {name: f"{it.host}:{it.port}" for name, it in found.items()}
        assert found["transmitter"].channel_address == address["channel"]
        assert found["channel"].receiver_address == address["receiver"]
        assert found["console"].receiver_address == address["receiver"]
        assert found["console"].transmitter_address == address["transmitter"]
        assert address["receiver-gpu"] == address["receiver"]
        ports = [it.port for it in found.values()] + [it.metrics_port for it in found.values()]
        assert len(set(ports)) == len(ports) - 2  # the two receivers share theirs


def test_by_default_nothing_listens_beyond_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, service in load({}).services.items():
        if name in _SETTINGS:
            assert service.environment["SEMCAST_HOST"] == "127.0.0.1"
    model = load({"COMPOSE_PROFILES": "metrics"})
    assert "--web.listen-address=127.0.0.1:9090" in model.services["prometheus"].command
    assert model.services["grafana"].environment["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"


def test_beyond_this_machine_the_page_wants_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    open_page = {"SEMCAST_CONSOLE_HOST": "0.0.0.0"}
    without = load(open_page).services["console"].environment
    with pytest.raises(ValueError, match="SEMCAST_TOKEN"), monkeypatch.context() as patch:
        _settings("console", without, patch)
    environment = load({**open_page, "SEMCAST_TOKEN": "0123456789abcdef"}).services["console"]
    settings = _settings("console", environment.environment, monkeypatch)
    assert isinstance(settings, ConsoleSettings) and settings.token is not None
    others = [load(open_page).services[name] for name in _OWN if name != "console"]
    assert all(service.environment["SEMCAST_HOST"] == "127.0.0.1" for service in others)


def test_the_turn_example_reaches_page_and_services(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Filled in as its comments say, it configures coturn, the services and the page alike."""
    filled = tmp_path / "turn.env"
    text = (_COMPOSE_FOLDER / "turn.env.example").read_text(encoding="utf-8")
    text = text.replace("SEMCAST_TURN_HOST=\n", "SEMCAST_TURN_HOST=turn.example\n")
    text = text.replace("SEMCAST_TURN_PASSWORD=\n", "SEMCAST_TURN_PASSWORD=c0ffee\n")
    text = text.replace("SEMCAST_TURN_RELAY_IP=\n", "SEMCAST_TURN_RELAY_IP=192.0.2.7\n")
    filled.write_text(text, encoding="utf-8")
    model = load(read_env_file(filled))
    assert "turn" in {service.name for service in model.running()}
    turn = model.services["turn"].command
    assert "--user=semcast:c0ffee" in turn
    assert {"--relay-ip=192.0.2.7", "--allowed-peer-ip=192.0.2.7"} <= set(turn)
    for name in ("receiver", "transmitter"):
        [server] = parse_ice_servers(model.services[name].environment["SEMCAST_ICE_SERVERS"])
        assert (server.username, server.credential) == ("semcast", "c0ffee")
        assert server.urls[0] == "turn:turn.example:3478?transport=udp"
    console = _settings("console", model.services["console"].environment, monkeypatch)
    assert isinstance(console, ConsoleSettings)
    assert console.ice_servers[0].credential == "c0ffee"


def test_without_a_turn_password_nobody_is_let_in() -> None:
    """coturn with an empty password answers 401 to all; it must not have a known one."""
    assert "--user=semcast:" in load({}).services["turn"].command


def test_https_is_a_file_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ComposeError, match="SEMCAST_TLS_DIR"):
        load({}, COMPOSE_FILE, _TLS_FILE)
    console = load({"SEMCAST_TLS_DIR": "/certs"}, COMPOSE_FILE, _TLS_FILE).services["console"]
    assert console.raw["volumes"] == ["/certs:/etc/semcast/tls:ro"]
    assert console.environment["SEMCAST_TLS_CERT_FILE"].startswith("/etc/semcast/tls/")
    assert console.healthcheck[-1] == "https://127.0.0.1:8080/readyz"
    assert console.environment["SEMCAST_PORT"] == "8080"


def test_the_example_env_names_every_variable_with_its_default() -> None:
    example = (REPOSITORY / ".env.example").read_text(encoding="utf-8")
    shown = dict(re.findall(r"^#([A-Z_]+)=(.*)$", example, re.MULTILINE))
    compose = COMPOSE_FILE.read_text(encoding="utf-8")
    defaults = dict(re.findall(r"\$\{([A-Z_]+):-([^${}]*)\}", compose))
    elsewhere = {"SEMCAST_CPU_RECEIVERS"} | {
        name for name in variables() if name.startswith("SEMCAST_TURN_")
    }
    assert set(defaults) - elsewhere == set(shown) - {"SEMCAST_TOKEN", "COMPOSE_PROFILES"}
    assert {name: defaults[name] for name in shown if name in defaults} == {
        name: value for name, value in shown.items() if name in defaults
    }


def test_grafana_is_provisioned_with_the_dashboard() -> None:
    grafana = load({"COMPOSE_PROFILES": "metrics"}).services["grafana"]
    folder = REPOSITORY / "deploy" / "grafana"
    mounts = dict(mount.split(":")[:2] for mount in grafana.raw["volumes"])
    provider = yaml.safe_load((folder / "provisioning/dashboards/semcast.yml").read_text())
    assert provider["providers"][0]["options"]["path"] == mounts["./deploy/grafana/dashboards"]
    datasources = yaml.safe_load((folder / "provisioning/datasources/prometheus.yml").read_text())
    [source] = datasources["datasources"]
    url = interpolate(source["url"], grafana.environment)
    assert url == "http://127.0.0.1:9090"
    dashboard = json.loads((folder / "dashboards" / "semcast.json").read_text())
    used = {panel["datasource"]["uid"] for panel in dashboard["panels"]}
    assert used == {source["uid"]}


def test_prometheus_reads_the_targets_that_compose_writes() -> None:
    prometheus = load({}).services["prometheus"]
    config = yaml.safe_load((REPOSITORY / "deploy/prometheus/prometheus.yml").read_text())
    [job] = config["scrape_configs"]
    [entry] = prometheus.raw["configs"]
    folder, _, name = entry["target"].rpartition("/")
    assert job["file_sd_configs"] == [{"files": [name]}]
    assert f"--config.file={folder}/prometheus.yml" in prometheus.command
    # The dashboard's expressions name the job.
    assert job["job_name"] == "semcast"


def _own_services() -> list[Service]:
    services = load({}).services
    return [services[name] for name in (*_OWN, "receiver-gpu")]


def _settings(name: str, environment: Any, monkeypatch: pytest.MonkeyPatch) -> ServiceSettings:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    return _SETTINGS[name]()
