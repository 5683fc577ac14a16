"""Settings of the console: flags, environment (`SEMCAST_...`) and YAML set the same fields."""

from __future__ import annotations

import ipaddress
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FilePath, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from semcast.rpc.client import ClientTls
from semcast.rpc.settings import ADDRESS_PATTERN, ServiceSettings

_TOKEN_MIN_CHARS = 16


class IceServer(BaseModel):
    """One STUN or TURN server, in the shape `RTCPeerConnection` takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    urls: tuple[str, ...] | str = Field(description="stun:, turn: or turns: addresses.")
    username: str | None = Field(default=None, description="TURN user name.")
    credential: str | None = Field(default=None, description="TURN password.")
    credentialType: Literal["password"] | None = Field(
        default=None, description="Only passwords are supported."
    )

    @property
    def addresses(self) -> tuple[str, ...]:
        """`urls` as a tuple, however it was given."""
        return (self.urls,) if isinstance(self.urls, str) else self.urls


class ConsoleSettings(ServiceSettings):
    """What the console needs to know before it starts; see ServiceSettings for the rest.

    tls_cert_file and tls_key_file serve HTTPS; tls_ca_file speaks TLS to the services.
    """

    # `SEMCAST_TOKEN=` in a compose file means: none.
    model_config = SettingsConfigDict(env_ignore_empty=True)

    port: int = Field(default=8080, ge=0, le=65535, description="Port of the page; 0 for any.")
    transmitter_address: str = Field(
        default="127.0.0.1:50051",
        pattern=ADDRESS_PATTERN,
        description="HOST:PORT of the transmitter.",
    )
    receiver_address: str = Field(
        default="127.0.0.1:50053",
        pattern=ADDRESS_PATTERN,
        description="HOST:PORT of the receiver.",
    )
    token: SecretStr | None = Field(
        default=None,
        description="Secret (16 characters or more) of all who may use the console; needed beyond "
        "loopback.",
    )
    max_upload_mb: int = Field(
        default=512, ge=1, le=16384, description="Largest upload, in units of 1e6 bytes."
    )
    ice_servers: tuple[IceServer, ...] = Field(
        default=(), description="STUN and TURN servers (a JSON list); the page uses them too."
    )
    grpc_cert_file: FilePath | None = Field(
        default=None,
        description="Certificate (PEM) the console shows to the services (mutual TLS).",
    )
    grpc_key_file: FilePath | None = Field(
        default=None, description="Private key (PEM) of grpc_cert_file."
    )

    @property
    def client_tls(self) -> ClientTls | None:
        """How the console calls the services. Its HTTPS certificate is not used for that."""
        if self.tls_ca_file is None:
            return None
        return ClientTls(self.tls_ca_file, self.grpc_cert_file, self.grpc_key_file)

    @property
    def max_upload_bytes(self) -> int:
        """Largest upload in bytes."""
        return self.max_upload_mb * 1_000_000

    @property
    def serves_tls(self) -> bool:
        """Whether the page is served over HTTPS."""
        return self.tls_cert_file is not None

    @model_validator(mode="after")
    def _client_files_fit(self) -> Self:
        if (self.grpc_cert_file is None) != (self.grpc_key_file is None):
            raise ValueError("--grpc-cert-file and --grpc-key-file go together: give both")
        if self.grpc_cert_file is not None and self.tls_ca_file is None:
            raise ValueError("--grpc-cert-file needs --tls-ca-file")
        if self.tls_client_ca_file is not None:
            raise ValueError("--tls-client-ca-file is for services: a console has its --token")
        return self

    @model_validator(mode="after")
    def _token_keeps_others_out(self) -> Self:
        # Not a bound of the field: its message would show the token.
        if self.token is not None and len(self.token.get_secret_value()) < _TOKEN_MIN_CHARS:
            raise ValueError(
                f"the token is too short: use at least {_TOKEN_MIN_CHARS} characters, e.g. from "
                "'openssl rand -hex 16'"
            )
        if not is_loopback(self.host) and self.token is None:
            raise ValueError(
                f"{self.host} shows the console to the network: set SEMCAST_TOKEN to a secret of "
                f"at least {_TOKEN_MIN_CHARS} characters (e.g. from 'openssl rand -hex 16'), or "
                "use 127.0.0.1"
            )
        return self


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
