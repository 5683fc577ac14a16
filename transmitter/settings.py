"""What the transmitter can be told."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from semcast.rpc.settings import ADDRESS_PATTERN, ServiceSettings


class TransmitterSettings(ServiceSettings):
    """Settings of `semcast serve transmitter`."""

    channel_address: str = Field(
        default="127.0.0.1:50052", pattern=ADDRESS_PATTERN, description="The channel emulator."
    )
    clips: list[Path] = Field(
        default=[], description="Files and folders offered as clips beside the samples."
    )
    any_path: bool = Field(
        default=False,
        description="Let RunSession play any file this process can read, as `semcast send` needs; "
        "for a transmitter that only its own user can reach.",
    )
    max_sessions: int = Field(
        default=8, ge=1, le=1024, description="Sessions at once; more are refused."
    )
    max_upload_mb: int = Field(
        default=512, ge=1, le=100_000, description="Largest upload, megabytes."
    )
    upload_hours: float = Field(
        default=1.0, gt=0, le=1000, description="Uploads not in use are removed after this long."
    )
    ice_servers: str = Field(
        default="", description="STUN and TURN servers: JSON, as RTCConfiguration.iceServers."
    )
