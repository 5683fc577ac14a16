"""Parts of a scheme: how semantics cross the link, both halves of each in one file.

A part turns semantics into the symbols of one block a frame, and back. It carries one modality, or
several that share a block (`bundle`). What it may rely on at the receiver: the session set-up, the
control values decoded for this frame, the rung both ends agreed on by feedback, and the block's
symbols.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from semcast.air.control import ControlField
from semcast.air.ladder import Rung
from semcast.semantics import Received, Semantics
from semcast.session import Modality

State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class SentPart:
    """One part of one frame at the transmitter.

    samples: [num_symbols], complex64; empty where the part sends nothing this time.
    payload_bits: information bits of each modality, less the CRC. crc_bits: the CRC's.
    means: the semantics as the receiver will read them, where the codec tells (digital ones).
    """

    samples: NDArray[np.complex64]
    payload_bits: Mapping[Modality, int]
    crc_bits: int
    control: Mapping[str, int]
    means: Received = field(default_factory=Received)


@dataclass(frozen=True, slots=True)
class ReceivedPart:
    """One part of one frame at the receiver.

    came: what is new. ok: the part has all it should have by now.
    expected: whether a CRC-checked block was expected.
    resent: the block (or its beginning, where it may be shorter than what was read) as it must have
        been sent, where its CRC holds: pilots after the fact.
    """

    came: Received
    expected: bool
    ok: bool
    resent: NDArray[np.complex64] | None


_AGE_STEP = 0x9E3779B97F4A7C15
"""Spreads ages over all 64 bits of a key: the golden ratio's, as hashes use it."""


def block_key(seed: int, sequence: int, modality: Modality, age: int = 0) -> int:
    """Scrambler key of one block; both ends derive it from set-up and position.

    age: frames since the one that this block must be read with; 0 where it stands by itself.
    """
    return (age * _AGE_STEP) ^ (seed << 40) ^ (sequence << 8) ^ int(modality)


class PartSender(Protocol):
    """Transmitter half of a part. modality: what its block is called on the air."""

    modality: Modality
    control_fields: tuple[ControlField, ...]

    def encode(
        self,
        semantics: Semantics,
        sequence: int,
        rung: Rung,
        snr_db: float | None,
        sent: frozenset[Modality],
    ) -> SentPart:
        """Symbols for frame `sequence`.

        rung: the session's; for the head of analogue symbols, one that is surely safe.
        snr_db: the receiver's estimate, by the newest feedback in force; None before the first.
        sent: modalities of the scheme in force; the part sends those of them that it carries.
        """

    def acknowledge(self, sequence: int, received: bool) -> None:
        """Feedback on this part's block of frame `sequence` is in force from now on."""


class PartReceiver(Protocol):
    """Receiver half of a part.

    fixed_size: the size of its block follows from set-up and the frame's number.
    """

    modality: Modality
    control_fields: tuple[ControlField, ...]
    fixed_size: bool

    def num_symbols(self, control: Mapping[str, int], sequence: int) -> int:
        """Symbols to read for a frame's block, from set-up, control and feedback alone."""

    def decode(
        self,
        samples: NDArray[np.complex64],
        noise_var: float,
        sequence: int,
        rung: Rung,
        control: Mapping[str, int],
        sent: frozenset[Modality],
    ) -> ReceivedPart:
        """What the block means; samples are equalised, noise_var is theirs (complex)."""

    def lost(self, sequence: int) -> None:
        """Nothing could be read of this part of frame `sequence` (its control was lost)."""


class References(Generic[State]):
    """States both ends may predict from: those acknowledged by the time a frame is coded.

    Feedback on frame j is in force from frame j + delay on, at both ends, so the newest state known
    to both when frame k is coded is the newest received one with j <= k - delay.
    """

    def __init__(self, delay_frames: int) -> None:
        self._delay_frames = delay_frames
        self._states: dict[int, State] = {}

    def add(self, sequence: int, state: State) -> None:
        """Frame `sequence` was received, with this state."""
        self._states[sequence] = state

    def newest(self, sequence: int) -> State | None:
        """State to predict frame `sequence` from; forgets what no later frame can use."""
        usable = [j for j in self._states if j <= sequence - self._delay_frames]
        if not usable:
            return None
        newest = max(usable)
        for j in usable:
            if j != newest:
                del self._states[j]
        return self._states[newest]
