"""The air link compiled and loaded before the first frame."""

from typing import Final

import numpy as np

from semcast.air.control import ControlField, ControlLayout, decode_control, encode_control
from semcast.air.digital import decode_block, encode_block, num_symbols
from semcast.air.ladder import LADDER

_NOISE_VAR: Final = 0.01


def warm_up() -> None:
    """Sends a block at every rung and a control block through the link, without noise.

    Compiles the LDPC kernels (seconds the first time on a machine, then from numba's cache): then
    no frame has to wait for it.
    """
    payload = np.zeros(64, dtype=np.uint8)
    for rung in LADDER:
        block = encode_block(payload, num_symbols(payload.size, rung), rung, key=0)
        decode_block(block, _NOISE_VAR, rung, payload.size, key=0)
    layout = ControlLayout((ControlField("warm", 8),))
    decode_control(encode_control({"warm": 0}, layout, key=0), _NOISE_VAR, layout, key=0)
