"""The command line. Exit status: 0 done, 1 a failure of the program, 2 bad input or usage."""

from __future__ import annotations

import os
import sys

# gRPC's C core prints notes of its own on stderr; errors here are one line of ours.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
# Our matrices are tiny: a second BLAS thread only spins between them, at most of a core.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def main() -> None:
    """Entry point of `semcast`."""
    import typer

    from semcast.cli.app import app
    from semcast.errors import InputError, SemcastError

    try:
        # With standalone_mode off, typer returns the status of `typer.Exit` and raises the rest.
        status = app(standalone_mode=False)
    except typer.TyperException as error:
        sys.exit(_usage(error))
    except SemcastError as error:
        print(f"semcast: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, InputError) else 1)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    sys.exit(status if isinstance(status, int) else 0)


def _usage(error: Exception) -> int:
    """One line for a mistake in usage. A command without arguments carries its help as message."""
    message: str = error.format_message()  # type: ignore[attr-defined]
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "semcast"
    if type(error).__name__ == "NoArgsIsHelpError":
        print(message)
    else:
        print(f"semcast: {' '.join(message.split())} (see '{command} --help')", file=sys.stderr)
    return 2
