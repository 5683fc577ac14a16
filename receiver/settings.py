"""What the receiver can be told."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from semcast.rpc.settings import ServiceSettings


class ReceiverSettings(ServiceSettings):
    """Settings of `semcast serve receiver`."""

    max_sessions: int = Field(
        default=16,
        ge=1,
        le=1024,
        description="Links received at once, baselines among them; more are refused.",
    )
    preload: str = Field(
        default="",
        max_length=80,
        description="Generator (or auto) to have ready before serving; others load when asked for.",
    )
    max_load: float = Field(
        default=0.9,
        ge=0,
        le=10,
        allow_inf_nan=False,
        description="Share of real time that live sessions may need of the generators' thread; "
        "more are refused. 0 takes all, and lets them drop frames.",
    )
    record_dir: Path | None = Field(
        default=None, description="Folder for a record of every message that enters the receiver."
    )
    ice_servers: str = Field(
        default="", description="STUN and TURN servers: JSON, as RTCConfiguration.iceServers."
    )
