"""What a semcast session is made of, in plain types: set-up, radio frames, feedback.

Data flows one way: a `RadioFrame` of symbols per video frame interval, from the transmitter through
the channel to the receiver. `Feedback` is the only thing that flows back and is acted on. The
protobuf twins of these types are in `proto/semcast/v1/link.proto`; `semcast.rpc.messages` converts.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

MAX_UNACKNOWLEDGED_FRAMES = 4
"""Credits: at most this many frames may be unacknowledged between two services."""


class Modality(enum.IntEnum):
    """What a block of symbols means. Values equal those of the protobuf enum."""

    CAPTION = 1
    SKETCH = 2
    KEYFRAME = 3
    CONTOURS = 4
    LOWRES = 5
    VIDEO = 6
    MOTION = 7
    CONTROL = 8
    PILOT = 9

    @property
    def label(self) -> str:
        """Lower-case name, as in reports."""
        return self.name.lower()


class ChannelModel(enum.IntEnum):
    """Kind of channel. Values equal those of the protobuf enum."""

    AWGN = 1
    RAYLEIGH = 2
    BURST = 3

    @property
    def label(self) -> str:
        """Lower-case name, as on the command line."""
        return self.name.lower()


class SessionSetup(BaseModel):
    """Set-up of one link: numbers and ids, fixed before the first frame.

    This and the received symbols are all a receiver ever knows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    session_id: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    generation: int = Field(default=1, ge=1, description="Counts restarts; a new one flushes all.")
    scheme: str = Field(min_length=1, max_length=80, description="Scheme id.")
    width: int = Field(ge=16, le=4096, description="Width of the video, pixels.")
    height: int = Field(ge=16, le=4096, description="Height of the video, pixels.")
    fps: float = Field(gt=0, le=120, description="Video frames per second.")
    segment_frames: int = Field(default=8, ge=1, le=10_000)
    symbols_per_frame: int = Field(
        ge=1, le=4_000_000, description="Average symbols a frame, pilots and control included."
    )
    mcs: str = Field(default="auto", description='"auto" or a rung id of the ladder.')
    seed: int = Field(default=7777, ge=0, lt=2**63)
    generator: str = Field(default="passthrough")
    feedback_delay_frames: int = Field(default=1, ge=1, le=MAX_UNACKNOWLEDGED_FRAMES)
    pilots_per_frame: int = Field(default=16, ge=1, le=4096)
    channel_model: ChannelModel = Field(default=ChannelModel.AWGN)
    live: bool = Field(default=False, description="Late frames may be skipped.")
    measurement_tap: bool = Field(default=False, description="Send received frames to the meter.")
    codec_weights: str = Field(
        default="", max_length=80, description='Of learned codecs, "name:digest,...".'
    )
    generator_steps: int = Field(
        default=0, ge=0, le=8, description="Denoising steps a frame; 0: the generator's choice."
    )
    guidance: float = Field(
        default=0.0, ge=0, le=10, allow_inf_nan=False, description="Its weight; 0 for none."
    )


@dataclass(frozen=True, slots=True)
class Block:
    """Symbols of one modality in one video frame interval.

    samples: [num_symbols], complex64, unit mean power before the channel.
    """

    modality: Modality
    samples: NDArray[np.complex64]


@dataclass(frozen=True, slots=True)
class RadioFrame:
    """All symbols of one video frame interval, in the order they go on the air."""

    generation: int
    sequence: int
    pts_us: int
    blocks: tuple[Block, ...]

    @property
    def num_symbols(self) -> int:
        """Complex symbols in all blocks."""
        return sum(len(block.samples) for block in self.blocks)


SNR_REPORT_STEP_DB = 0.25
SNR_REPORT_MIN_DB = -20.0
SNR_REPORT_BITS = 8
RUNG_REPORT_BITS = 4


@dataclass(frozen=True, slots=True)
class Feedback:
    """What the receiver sends back after each radio frame; assumed error-free and counted.

    received: modalities whose block of this frame was decoded (a digital block: CRC held).
    rung_index: rung of the ladder to use from frame sequence + feedback_delay_frames on.
    snr_db: the receiver's estimate on a grid of 0.25 dB (8 bits, -20 .. 43.75 dB).
    num_bits: what this costs: one acknowledgement bit a digital block, the rung, the SNR.
    """

    generation: int
    sequence: int
    received: frozenset[Modality]
    rung_index: int
    snr_db: float
    num_bits: int


def quantise_snr_db(snr_db: float) -> float:
    """The SNR as 8 bits of feedback carry it: multiples of 0.25 dB from -20 to 43.75 dB."""
    steps = round((snr_db - SNR_REPORT_MIN_DB) / SNR_REPORT_STEP_DB)
    last = 2**SNR_REPORT_BITS - 1
    return float(SNR_REPORT_MIN_DB + SNR_REPORT_STEP_DB * min(max(steps, 0), last))
