"""The air link compiled and loaded before the first frame."""

from typing import Final

import numpy as np

from semcast.air import crc
from semcast.air.control import ControlField, ControlLayout, decode_control, encode_control
from semcast.air.digital import decode_block, encode_block, num_symbols
from semcast.air.ladder import LADDER
from semcast.air.turbo import turbo_decode, turbo_encode

_NOISE_VAR: Final = 0.01
_POLAR_BITS: Final = 64
_LDPC_BITS: Final = 800


def warm_up() -> None:
    """Sends short and long blocks, a turbo word and a control block through, without noise.

    Compiles the kernels of all codes (seconds the first time on a machine, then from numba's
    cache): then no frame has to wait for it.
    """
    for num_bits in (_POLAR_BITS, _LDPC_BITS):
        payload = np.zeros(num_bits, dtype=np.uint8)
        for rung in LADDER:
            block = encode_block(payload, num_symbols(num_bits, rung), rung, key=0)
            decode_block(block, _NOISE_VAR, rung, num_bits, key=0)
    word = crc.attach_inverted(np.zeros(_POLAR_BITS, dtype=np.uint8), "crc16")
    llr = 4.0 * turbo_encode(word).astype(np.float32) - 2.0
    turbo_decode(llr, word.size, "crc16")
    layout = ControlLayout((ControlField("warm", 8),))
    decode_control(encode_control({"warm": 0}, layout, key=0), _NOISE_VAR, layout, key=0)
