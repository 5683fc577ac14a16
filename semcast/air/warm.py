"""Everything compiled, loaded and tabulated before the first frame."""

from semcast.air import ldpc


def warm_up() -> None:
    """Compiles the air link once (seconds the first time on a machine, then from numba's cache)."""
    ldpc.warm_up()
