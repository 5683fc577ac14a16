"""A picture over the air by deep joint source-channel coding: one analogue block a frame.

The block's size is fixed at set-up. There is no CRC and nothing to fail: noise on the symbols is
noise in the picture. Each end uses the SNR it knows: the transmitter the one that feedback told,
the receiver its own estimate; before the first feedback, none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from semcast.air.control import ControlField
from semcast.air.ladder import Rung
from semcast.errors import InputError, UnavailableError
from semcast.parts import ReceivedPart, SentPart
from semcast.semantics import Received, Semantics
from semcast.session import Modality, SessionSetup

if TYPE_CHECKING:
    from semcast.networks.djscc import Djscc

WEIGHTS = "djscc_rgb"

_SIDE_MULTIPLE = 8
_LEAST_NOISE_VAR = 1e-4
"""The network was trained up to 20 dB; beyond 40 dB there is nothing more to tell it."""


def _network() -> Djscc:
    try:
        from semcast.networks.djscc import bundled_djscc
    except ImportError as error:
        raise UnavailableError(
            f'Learned codecs need the "models" extra of semcast ({error.name} is missing).'
        ) from error
    return bundled_djscc(WEIGHTS)


def _working_size(setup: SessionSetup) -> tuple[int, int]:
    """Width and height up to the next multiple of 8."""
    width, height = (
        -(-side // _SIDE_MULTIPLE) * _SIDE_MULTIPLE for side in (setup.width, setup.height)
    )
    return width, height


def _resized(picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    if picture.shape[:2] == (height, width):
        return picture
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def check_rate(setup: SessionSetup, num_symbols: int) -> None:
    """Raises InputError where a block is empty, or larger than the network can fill."""
    if num_symbols < 1:
        cbr = (setup.pilots_per_frame + 1) / (3 * setup.width * setup.height)
        raise InputError(
            f"{setup.symbols_per_frame} symbols a frame are too few for '{setup.scheme}': pilots "
            f"take {setup.pilots_per_frame}; give a CBR of at least {1.05 * cbr:.2g} at this size."
        )
    width, height = _working_size(setup)
    most = _network().max_symbols(width, height)
    if num_symbols > most:
        cbr = (most + setup.pilots_per_frame) / (3 * setup.width * setup.height)
        raise InputError(
            f"'{setup.scheme}' can fill {most} symbols a frame at this size, not {num_symbols}: "
            f"give a CBR of at most {math.floor(1e4 * cbr) / 1e4:g}."
        )


class DjsccSender:
    """Transmitter half. num_symbols: size of the block, fixed for the session."""

    modality = Modality.KEYFRAME
    control_fields: tuple[ControlField, ...] = ()

    def __init__(self, setup: SessionSetup, num_symbols: int) -> None:
        """Raises InputError for a block that the network cannot fill, or that is empty."""
        check_rate(setup, num_symbols)
        self._network = _network()
        self._size = _working_size(setup)
        self._num_symbols = num_symbols

    def encode(
        self,
        semantics: Semantics,
        sequence: int,
        rung: Rung,
        snr_db: float | None,
        sent: frozenset[Modality],
    ) -> SentPart:
        """The picture's symbols, of unit mean power."""
        import torch

        from semcast.networks.pixels import to_unit

        x = to_unit(torch.from_numpy(np.array(_resized(semantics.rgb, *self._size))[None]))
        known = torch.tensor([math.nan if snr_db is None else snr_db])
        with torch.inference_mode():
            symbols = self._network.encode(x, known, self._num_symbols)[0].numpy()
        samples = np.ascontiguousarray(symbols, np.float32).view(np.complex64)[:, 0]
        return SentPart(samples, payload_bits={}, crc_bits=0, control={})

    def acknowledge(self, sequence: int, received: bool) -> None:
        """Each picture stands for itself."""


class DjsccReceiver:
    """Receiver half."""

    modality = Modality.KEYFRAME
    control_fields: tuple[ControlField, ...] = ()
    fixed_size = True

    def __init__(self, setup: SessionSetup, num_symbols: int) -> None:
        """Raises InputError for a block that the network cannot fill, or that is empty."""
        check_rate(setup, num_symbols)
        self._network = _network()
        self._size = _working_size(setup)
        self._frame_size = (setup.width, setup.height)
        self._num_symbols = num_symbols

    def num_symbols(self, control: Mapping[str, int]) -> int:
        """Fixed at set-up."""
        return self._num_symbols

    def decode(
        self,
        samples: NDArray[np.complex64],
        noise_var: float,
        sequence: int,
        rung: Rung,
        control: Mapping[str, int],
        sent: frozenset[Modality],
    ) -> ReceivedPart:
        """The picture, however noisy."""
        import torch

        from semcast.networks.pixels import to_pixels

        reals = np.ascontiguousarray(samples, np.complex64).view(np.float32).reshape(1, -1, 2)
        snr_db = -10 * math.log10(max(noise_var, _LEAST_NOISE_VAR))
        width, height = self._size
        with torch.inference_mode():
            known = torch.tensor([snr_db])
            x = self._network.decode(torch.from_numpy(reals), known, width, height)
            picture = to_pixels(x)[0].numpy()
        came = Received({self.modality: _resized(picture, *self._frame_size)})
        return ReceivedPart(came, expected=False, ok=True, resent=None)

    def lost(self, sequence: int) -> None:
        """A fixed block needs no control; there is nothing to lose but the block itself."""
