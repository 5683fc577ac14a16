"""Settings: which source wins, and what a wrong one says."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from channel_emulator.settings import EmulatorSettings
from semcast.errors import InputError
from semcast.rpc.settings import ServiceSettings, load_settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in ServiceSettings.model_fields:
        monkeypatch.delenv(f"SEMCAST_{name.upper()}", raising=False)
    monkeypatch.delenv("SEMCAST_RECEIVER_ADDRESS", raising=False)


def test_defaults_are_loopback_and_quiet():
    settings = load_settings(ServiceSettings, [])
    assert settings.host == "127.0.0.1"
    assert settings.metrics_port == 0
    assert settings.client_tls is None


def test_flags_beat_environment_beats_file_beats_defaults(monkeypatch, tmp_path):
    config = tmp_path / "channel.yaml"
    config.write_text("port: 1001\nhost: 10.0.0.1\ngrace_s: 7\nreceiver_address: from-file:1\n")
    monkeypatch.setenv("SEMCAST_HOST", "10.0.0.2")
    monkeypatch.setenv("SEMCAST_PORT", "1002")
    settings = load_settings(EmulatorSettings, ["--config", str(config), "--port", "1003"])
    assert settings.port == 1003
    assert settings.host == "10.0.0.2"
    assert settings.grace_s == 7
    assert settings.receiver_address == "from-file:1"
    assert settings.metrics_port == 0


def test_the_environment_can_name_the_file_and_a_flag_overrides_it(monkeypatch, tmp_path):
    for name, port in (("a", 1), ("b", 2)):
        (tmp_path / f"{name}.yaml").write_text(f"port: {port}\n")
    monkeypatch.setenv("SEMCAST_CONFIG", str(tmp_path / "a.yaml"))
    assert load_settings(ServiceSettings, []).port == 1
    assert load_settings(ServiceSettings, [f"--config={tmp_path / 'b.yaml'}"]).port == 2


def test_an_empty_file_says_nothing(tmp_path):
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    settings = load_settings(EmulatorSettings, ["--config", str(tmp_path / "empty.yaml")])
    assert settings.port == 50052


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--port", "banana"], "--port is 'banana', but should be a valid integer"),
        (["--port", "70000"], "--port is '70000', but should be less than or equal to 65535"),
        (["--port"], "argument --port: expected one argument"),
        (["--metrics-port", "-1"], "--metrics-port is '-1'"),
        (["--grace-s", "nan"], "--grace-s is 'nan'"),
        (["--log-level", "loud"], "--log-level"),
        (["--receiver-address", "nowhere"], "--receiver-address is 'nowhere'"),
        (["--frobnicate", "1"], "unrecognized arguments: --frobnicate 1"),
        (["--tls-cert-file", __file__], "--tls-cert-file and --tls-key-file go together"),
        (["--tls-client-ca-file", __file__], "--tls-client-ca-file needs --tls-cert-file"),
        (["--tls-ca-file", "/no/such.pem"], "--tls-ca-file is '/no/such.pem'"),
        (["--config", "/no/such.yaml"], "config file /no/such.yaml cannot be read"),
    ],
)
def test_a_wrong_flag_is_one_sentence_that_names_it(argv, sentence, capsys):
    with pytest.raises(InputError) as caught:
        load_settings(EmulatorSettings, argv, prog="semcast serve channel")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


def test_a_wrong_variable_is_named_by_its_flag(monkeypatch):
    monkeypatch.setenv("SEMCAST_METRICS_PORT", "99999")
    with pytest.raises(InputError, match="--metrics-port is '99999'"):
        load_settings(ServiceSettings, [])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("prot: 1\n", "--prot is not a known setting"),
        ("port: [1\n", "cannot be read"),
        ("- port\n", "must hold lines of the form 'name: value'"),
        ("port: many\n", "--port is 'many'"),
        ("1: 2\n", "--1 is not a known setting"),
        ("\x00", "cannot be read"),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path, content, sentence):
    (tmp_path / "x.yaml").write_text(content)
    with pytest.raises(InputError) as caught:
        load_settings(ServiceSettings, ["--config", str(tmp_path / "x.yaml")])
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_help_lists_every_setting_and_exits_0(capsys):
    with pytest.raises(SystemExit) as caught:
        load_settings(EmulatorSettings, ["--help"], prog="semcast serve channel")
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: semcast serve channel")
    for name in EmulatorSettings.model_fields:
        assert f"--{name.replace('_', '-')}" in shown


def test_settings_are_described_and_frozen():
    for name, field in EmulatorSettings.model_fields.items():
        assert field.description, name
    with pytest.raises(ValidationError):
        ServiceSettings().port = 5
    with pytest.raises(ValidationError):
        ServiceSettings(prot=5)
