"""`python -m training`: what `semcast train` does, without the rest of the command line."""

import sys

from semcast.errors import InputError
from training.command import run_command

if __name__ == "__main__":
    try:
        sys.exit(run_command(sys.argv[1:], "python -m training"))
    except InputError as error:
        print(f"training: {error}", file=sys.stderr)
        sys.exit(2)
