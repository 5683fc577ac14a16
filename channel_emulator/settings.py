"""Settings of the channel emulator's process."""

from __future__ import annotations

from pydantic import Field

from semcast.rpc.settings import ADDRESS_PATTERN, ServiceSettings


class EmulatorSettings(ServiceSettings):
    """The channel emulator: adds noise between transmitter and receiver."""

    port: int = Field(
        default=50052, ge=0, le=65535, description="Port to listen on; 0 picks a free one."
    )
    receiver_address: str = Field(
        default="127.0.0.1:50053",
        pattern=ADDRESS_PATTERN,
        description="HOST:PORT of the receiver that sessions are forwarded to.",
    )
