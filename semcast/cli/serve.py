"""`semcast serve`: one service as this process. Only its own room is imported."""

from __future__ import annotations

from collections.abc import Sequence

from semcast.errors import NotFoundError


def run(service: str, arguments: Sequence[str]) -> None:
    """Runs until told to stop. Raises InputError for bad settings or a taken port."""
    from semcast.rpc.settings import load_settings

    prog = f"semcast serve {service}"
    match service:
        case "transmitter":
            from transmitter.server import serve as serve_transmitter
            from transmitter.settings import TransmitterSettings

            serve_transmitter(load_settings(TransmitterSettings, arguments, prog))
        case "channel":
            from channel_emulator.server import serve as serve_channel
            from channel_emulator.settings import EmulatorSettings

            serve_channel(load_settings(EmulatorSettings, arguments, prog))
        case "receiver":
            from receiver.server import serve as serve_receiver
            from receiver.settings import ReceiverSettings

            serve_receiver(load_settings(ReceiverSettings, arguments, prog))
        case "console":
            from console.server import run_console
            from console.settings import ConsoleSettings

            run_console(load_settings(ConsoleSettings, arguments, prog))
        case _:
            raise NotFoundError(
                f"Unknown service '{service}': choose transmitter, channel, receiver or console."
            )
