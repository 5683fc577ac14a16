"""How does a worker thread hand something to an event loop that may be gone?"""

import asyncio
from collections.abc import Callable
from typing import TypeVarTuple

Args = TypeVarTuple("Args")


def post(loop: asyncio.AbstractEventLoop, call: Callable[[*Args], object], *args: *Args) -> bool:
    """Runs `call(*args)` on `loop`; from any thread. False when the loop is closed already."""
    try:
        loop.call_soon_threadsafe(call, *args)
    except RuntimeError:
        return False
    return True
