r"""What the air does to a radio frame: noise, fading, bursts of loss.

Per symbol, with Es = E|x|^2 = 1 and SNR = Es/N0:

    y = h x + n,    n ~ CN(0, 1/snr), i.e. variance 1/(2 snr) per real dimension.

AWGN: h = 1. Rayleigh: h ~ CN(0, 1), one draw a radio frame. Burst: h = 0 in lost frames, else 1.

Every draw comes from Philox, a counter-based generator, and depends on nothing but what it is for:

| draw             | key (2 x 64 bit)                        | counter (4 x 64 bit)      |
|------------------|-----------------------------------------|---------------------------|
| noise of a block | seed, generation + 2^32 modality        | 0, 0, sequence, 0         |
| fading gain      | seed, generation + 2^32 * 254           | 0, 0, sequence, 0         |
| burst uniforms   | seed, generation + 2^32 * 255           | sequence // 4, 0, 0, 0    |

So equal seeds give equal noise to the bit, whatever the other modalities send, whichever frames
were lost before, and however often the emulator was restarted; a change of SNR scales the same
noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from semcast.errors import InputError
from semcast.session import Block, ChannelModel, RadioFrame

MAX_MEAN_POWER = 1.01
"""A block may exceed unit mean power by 1 %: rounding of the transmitter's normalisation."""

_FADING_STREAM = 254
_BURST_STREAM = 255
_DRAWS_PER_COUNTER = 4
_FIRST_WINDOW_FRAMES = 64


class ChannelSettings(BaseModel):
    """The live setting of the channel."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    snr_db: float = Field(
        ge=-30, le=60, allow_inf_nan=False, description="Es/N0 for unit mean symbol power, dB."
    )
    model: ChannelModel = Field(default=ChannelModel.AWGN, description="Kind of channel.")
    seed: int = Field(default=7777, ge=0, lt=2**63, description="Seed of noise, fading and bursts.")
    burst_frames_mean: float = Field(
        default=4.0, ge=1, le=10_000, description="Mean length of a burst of lost frames."
    )
    gap_frames_mean: float = Field(
        default=20.0, ge=2, le=10_000, description="Mean number of frames between bursts."
    )

    @property
    def noise_var(self) -> float:
        """N0: noise variance of a complex symbol, both dimensions together."""
        return float(10.0 ** (-self.snr_db / 10.0))


@dataclass(frozen=True, slots=True)
class Measurement:
    """What the channel knows it did to one frame; sums, so that any window averages exactly.

    snr_db_requested: the setting that was in force.
    signal_energy: sum of |h x|^2, i.e. of the signal as it arrives; 0 in a lost frame.
    noise_energy: sum of |n|^2.
    """

    generation: int
    sequence: int
    snr_db_requested: float
    signal_energy: float
    noise_energy: float
    num_symbols: int
    block_lost: bool


class Emulator:
    """The channel of one stream: frames of one generation, in ascending order."""

    def __init__(self, generation: int) -> None:
        self._generation = generation
        self._last_sequence = -1

    def apply(self, frame: RadioFrame, settings: ChannelSettings) -> tuple[RadioFrame, Measurement]:
        """The frame as it arrives, by `impair`.

        Raises InputError for what `impair` refuses, and for a frame of another generation or out of
        order: its noise would be drawn twice.
        """
        if frame.generation != self._generation:
            raise InputError(
                f"A frame of generation {frame.generation} came on a stream of generation "
                f"{self._generation}: open a stream for each."
            )
        if frame.sequence <= self._last_sequence:
            raise InputError(
                f"Frame {frame.sequence} came after frame {self._last_sequence}: number the frames "
                "of a stream in ascending order."
            )
        self._last_sequence = frame.sequence
        return impair(frame, settings)


def impair(frame: RadioFrame, settings: ChannelSettings) -> tuple[RadioFrame, Measurement]:
    """The frame as it arrives.

    Sizes and order of the blocks never change, so a lost frame shows only in its samples. The
    result depends on the arguments alone.

    Raises InputError for a block with NaN or infinite samples, or of mean power above 1.01.
    """
    for block in frame.blocks:
        _check_power(block, frame.sequence)
    lost = settings.model is ChannelModel.BURST and is_lost(
        frame.generation, frame.sequence, settings
    )
    gain = 0.0 + 0.0j if lost else 1.0 + 0.0j
    if settings.model is ChannelModel.RAYLEIGH:
        gain = fading_gain(frame.generation, frame.sequence, settings.seed)
    signal_energy = noise_energy = 0.0
    blocks: list[Block] = []
    for block in frame.blocks:
        signal = _scale(block.samples, gain)
        noise = block_noise(frame, block, settings)
        signal_energy += _energy(signal)
        noise_energy += _energy(noise)
        blocks.append(Block(block.modality, signal + noise))
    arrived = RadioFrame(frame.generation, frame.sequence, frame.pts_us, tuple(blocks))
    measurement = Measurement(
        generation=frame.generation,
        sequence=frame.sequence,
        snr_db_requested=settings.snr_db,
        signal_energy=signal_energy,
        noise_energy=noise_energy,
        num_symbols=frame.num_symbols,
        block_lost=lost,
    )
    return arrived, measurement


def block_noise(
    frame: RadioFrame, block: Block, settings: ChannelSettings
) -> NDArray[np.complex64]:
    """Noise of one block: [num_symbols], complex64, variance N0/2 per real dimension."""
    bits = _philox(settings.seed, frame.generation, int(block.modality), frame.sequence)
    normal = np.random.Generator(bits).standard_normal(2 * len(block.samples), dtype=np.float32)
    normal *= np.float32(math.sqrt(settings.noise_var / 2.0))
    return normal.view(np.complex64)


def fading_gain(generation: int, sequence: int, seed: int) -> complex:
    """Gain of flat Rayleigh block fading, CN(0, 1): the mean received power is unchanged."""
    bits = _philox(seed, generation, _FADING_STREAM, sequence)
    real, imaginary = np.random.Generator(bits).standard_normal(2)
    return complex(real, imaginary) / math.sqrt(2.0)


def is_lost(generation: int, sequence: int, settings: ChannelSettings) -> bool:
    """Whether a frame falls into a burst.

    Gilbert's chain: a gap ends with probability p = 1/gap_frames_mean a frame, a burst with
    q = 1/burst_frames_mean, and frame 0 is lost with the stationary probability p/(p+q). Frame k
    draws one uniform u_k and is lost where u_k < (1-q if frame k-1 was lost, else p). Where u_k is
    below or above both thresholds the past does not matter, so the state of any frame follows from
    the draws since the last such frame: no history is kept, and a change of the means acts as if
    they had always been so.
    """
    p_start = 1.0 / settings.gap_frames_mean
    p_stay = 1.0 - 1.0 / settings.burst_frames_mean
    low, high = min(p_start, p_stay), max(p_start, p_stay)
    frames_since = 0
    window = _FIRST_WINDOW_FRAMES
    end = sequence + 1
    while end > 0:
        begin = max(0, end - window)
        uniforms = _burst_uniforms(generation, begin, end, settings.seed)
        below = uniforms < low
        decided = below | (uniforms >= high)
        if begin == 0:
            below[0] = uniforms[0] < p_start / (p_start + 1.0 - p_stay)
            decided[0] = True
        positions = np.flatnonzero(decided)
        if len(positions):
            last = int(positions[-1])
            frames_since += len(uniforms) - 1 - last
            # Between the thresholds a frame copies the one before it where bursts are longer than
            # by chance (p < 1-q), and negates it where they are shorter.
            negated = p_stay < p_start and frames_since % 2 == 1
            return bool(below[last]) ^ negated
        frames_since += len(uniforms)
        end = begin
        window *= 2
    raise ValueError(f"sequence must not be negative, got {sequence}")


def _burst_uniforms(generation: int, begin: int, end: int, seed: int) -> NDArray[np.float64]:
    """u_k for begin <= k < end: the top 53 bits of the k-th 64-bit word of the burst stream."""
    counter = begin // _DRAWS_PER_COUNTER
    skipped = begin - counter * _DRAWS_PER_COUNTER
    bits = np.random.Philox(
        key=_key(seed, generation, _BURST_STREAM), counter=_words(counter, 0, 0, 0)
    )
    words: NDArray[np.uint64] = bits.random_raw(skipped + end - begin)
    uniforms: NDArray[np.float64] = (words[skipped:] >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return uniforms


def _philox(seed: int, generation: int, stream: int, sequence: int) -> np.random.Philox:
    return np.random.Philox(key=_key(seed, generation, stream), counter=_words(0, 0, sequence, 0))


def _key(seed: int, generation: int, stream: int) -> NDArray[np.uint64]:
    return _words(seed, generation | stream << 32)


def _words(*values: int) -> NDArray[np.uint64]:
    # A list would pass through float64 where a value exceeds 63 bits.
    return np.array(values, dtype=np.uint64)


def _check_power(block: Block, sequence: int) -> None:
    if not len(block.samples):
        return
    mean_power = _energy(block.samples) / len(block.samples)
    if not math.isfinite(mean_power):
        raise InputError(
            f"The {block.modality.label} block of frame {sequence} holds NaN or infinite samples: "
            "send finite ones."
        )
    if mean_power > MAX_MEAN_POWER:
        raise InputError(
            f"The {block.modality.label} block of frame {sequence} has mean power "
            f"{mean_power:.3f}, more than {MAX_MEAN_POWER}: scale the block to unit mean power."
        )


def _scale(samples: NDArray[np.complex64], gain: complex) -> NDArray[np.complex64]:
    """gain * samples. Products and sums apart: numpy's complex product fuses them on some CPUs,
    which changes the last bit."""
    real, imaginary = np.float32(gain.real), np.float32(gain.imag)
    scaled = np.empty(len(samples), np.complex64)
    scaled.real = real * samples.real - imaginary * samples.imag
    scaled.imag = real * samples.imag + imaginary * samples.real
    return scaled


def _energy(samples: NDArray[np.complex64]) -> float:
    """Sum of squared magnitudes, in double precision, by pairwise summation."""
    parts = samples.view(np.float32).astype(np.float64)
    return float(np.sum(parts * parts))
