"""Settings every service has, and how they are read.

Sources, the first that says something wins: command-line flags, environment (`SEMCAST_PORT` for
`port`), the YAML file named by `--config` or `SEMCAST_CONFIG`, defaults.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import yaml
from pydantic import Field, FilePath, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from semcast.errors import InputError
from semcast.rpc.client import ClientTls
from semcast.rpc.validation import describe_first_error

ENV_PREFIX = "SEMCAST_"
ADDRESS_PATTERN = r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):[0-9]{1,5}$"
"""HOST:PORT, an IPv6 host in square brackets."""


class ServiceSettings(BaseSettings):
    """What every service can be told. Services add their own fields in a subclass."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=ENV_PREFIX,
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_exit_on_error=False,
    )

    config: FilePath | None = Field(
        default=None, description="YAML file with any of these settings, by their names."
    )
    host: str = Field(
        default="127.0.0.1", min_length=1, description="Address to listen on; 0.0.0.0 for all."
    )
    port: int = Field(
        default=0, ge=0, le=65535, description="Port to listen on; 0 picks a free one."
    )
    metrics_port: int = Field(
        default=0, ge=0, le=65535, description="Port for Prometheus metrics; 0 serves none."
    )
    tls_cert_file: FilePath | None = Field(
        default=None,
        description="Certificate (PEM) of this service; with tls_key_file turns TLS on.",
    )
    tls_key_file: FilePath | None = Field(
        default=None, description="Private key (PEM) of tls_cert_file."
    )
    tls_client_ca_file: FilePath | None = Field(
        default=None,
        description="CA (PEM) that client certificates must come from; turns mutual TLS on.",
    )
    tls_ca_file: FilePath | None = Field(
        default=None,
        description="CA (PEM) by which this service, as a client, knows the services it calls; "
        "turns TLS on for those calls.",
    )
    grace_s: float = Field(
        default=3.0, ge=0, le=300, description="Seconds that calls may take to end at shutdown."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe messages that are logged."
    )

    @model_validator(mode="after")
    def _tls_files_fit(self) -> Self:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("--tls-cert-file and --tls-key-file go together: give both or neither")
        if self.tls_client_ca_file is not None and self.tls_cert_file is None:
            raise ValueError("--tls-client-ca-file needs --tls-cert-file and --tls-key-file")
        return self

    @property
    def client_tls(self) -> ClientTls | None:
        """How this service calls others: None without tls_ca_file, i.e. in the clear."""
        if self.tls_ca_file is None:
            return None
        return ClientTls(self.tls_ca_file, self.tls_cert_file, self.tls_key_file)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, environment, YAML; pydantic-settings puts the command line before them."""
        return init_settings, env_settings, _ConfigFileSource(settings_cls)


class _ConfigFileSource(PydanticBaseSettingsSource):
    """The YAML file that a source of higher priority named."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Not used: the file is read as a whole."""
        raise NotImplementedError

    def __call__(self) -> dict[str, Any]:
        path = self.current_state.get("config")
        if path is None:
            return {}
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"The config file {path} cannot be read: {reason}.") from error
        if content is None:
            return {}
        if not isinstance(content, dict):
            raise InputError(f"The config file {path} must hold lines of the form 'name: value'.")
        return {str(key): value for key, value in content.items()}


SettingsT = TypeVar("SettingsT", bound=ServiceSettings)


def load_settings(
    settings_class: type[SettingsT], argv: Sequence[str], prog: str = "semcast serve"
) -> SettingsT:
    """The settings out of all sources.

    argv: flags, without the program's name. `--help` prints them and exits with status 0.
    Raises InputError: one sentence that names the flag.
    """
    try:
        # The two arguments are pydantic-settings' own, known to mypy only by a plugin.
        return settings_class(_cli_parse_args=list(argv), _cli_prog_name=prog)  # type: ignore[call-arg]
    except SettingsError as error:
        reason = str(error).removeprefix("error parsing CLI: ")
        raise InputError(f"{prog}: {reason} (see {prog} --help).") from error
    except ValidationError as error:
        raise InputError(f"{prog}: {describe_first_error(error, flag_name)}.") from error


def flag_name(field: str) -> str:
    """The command-line flag of a setting: `metrics_port` -> `--metrics-port`."""
    return "--" + field.replace("_", "-")
