"""What the receiver knows of the channel, learnt from received samples alone.

The channel is y = g x + w, w complex Gaussian of total variance N0. Three kinds of samples tell:

* pilots: x is known. mean |y - g x|^2 is an unbiased estimate of N0, relative variance 1/M.
* decoded blocks sent again in thought (decision-directed): x is known once the CRC holds.
* anything else: transmitted power is exactly 1, so mean |y|^2 - |g|^2 estimates N0 blindly, with
  variance (N0^2 + 2 |g|^2 N0) / M: as good as pilots at low SNR, useless at high SNR.

In AWGN the gain is 1 by the definition of the channel fixed at session set-up. In fading it is
estimated afresh in each radio frame from that frame's known samples, which costs one degree of
freedom, and the blind term, which would need the gain better than it is known, is not used.

Estimates are averaged over the last `window_frames` frames. When the noise changes abruptly (the
SNR slider), a generalised likelihood-ratio test over all split points of the window finds the
change and the frames before it are forgotten.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semcast.errors import InputError

MIN_NOISE_VAR: Final = 1e-6
"""Floor of the estimate, an SNR of 60 dB; keeps demodulators away from division by zero."""

CHANGE_THRESHOLD: Final = 24.0
"""Twice the log-likelihood ratio above which a change of noise is declared. Under no change it is
about chi-square with one degree of freedom at each split: 24 has probability 1e-6 each."""

BLIND_POWER_ERROR: Final = 0.005
"""Error (standard deviation) allowed for in the assumption that blind samples were sent at power 1:
half of what the channel tolerates. Their number does not average it away."""


@dataclass
class _Frame:
    """Sufficient statistics of one radio frame."""

    num_known: int = 0
    cross: complex = 0j
    """Sum of y conj(x) over known samples."""
    energy_sent: float = 0.0
    energy_received: float = 0.0
    num_blind: int = 0
    energy_blind: float = 0.0


@dataclass(frozen=True)
class _NoiseEvidence:
    """Noise evidence of a group of frames."""

    noise_var: float
    weight: float
    """Equivalent number of known samples (complex degrees of freedom)."""


class LinkEstimator:
    """Gain and noise of one link. Pure: no clock, no channel side information.

    Call `observe_pilots` once a radio frame, first; it opens the frame (with empty arrays where a
    frame has no pilots). `observe_resent` and `observe_blind` then add to that frame.

    Args:
        window_frames: radio frames averaged over, e.g. 2 s worth; >= 1.
        fading: estimate the gain anew in each frame.
    """

    def __init__(self, window_frames: int, fading: bool = False) -> None:
        if window_frames < 1:
            raise InputError(f"The window must be at least 1 frame, not {window_frames}.")
        self._fading = fading
        self._frames: deque[_Frame] = deque(maxlen=window_frames)
        self._noise_var: float | None = None
        self._gain: complex = 1.0 + 0j
        self._mean_gain_power = 1.0

    def observe_pilots(
        self, received: NDArray[np.complexfloating], sent: NDArray[np.complexfloating]
    ) -> None:
        """Opens a new frame with its pilots, received and sent: [M] complex each, M >= 0."""
        self._require_pair(received, sent)
        self._frames.append(_Frame())
        self._add_known(received, sent)

    def observe_resent(
        self, received: NDArray[np.complexfloating], sent: NDArray[np.complexfloating]
    ) -> None:
        """Adds a block whose symbols are now known since its CRC holds, [M] complex each.

        `received` are the raw samples, not equalised. Do not also pass them to `observe_blind`.
        """
        self._require_pair(received, sent)
        self._require_open_frame()
        self._add_known(received, sent)

    def observe_blind(self, received: NDArray[np.complexfloating]) -> None:
        """Adds a block of unit transmitted power whose symbols are not known, [M] complex, raw."""
        self._require_open_frame()
        finite = received[np.isfinite(received)]
        frame = self._frames[-1]
        frame.num_blind += finite.size
        frame.energy_blind += _energy(finite)
        self._update()

    @property
    def is_ready(self) -> bool:
        """Whether anything has been observed."""
        return self._noise_var is not None

    @property
    def gain(self) -> complex:
        """Complex gain of the current frame; 1 in AWGN."""
        return self._gain

    @property
    def noise_var(self) -> float:
        """N0 at the receiver, >= 1e-6.

        Raises:
            InputError: nothing has been observed yet.
        """
        if self._noise_var is None:
            raise InputError("The noise is unknown before the first pilots: observe a frame first.")
        return self._noise_var

    @property
    def snr_db(self) -> float:
        """|gain|^2 / N0 of the current frame, in dB."""
        return _decibel(abs(self._gain) ** 2 / self.noise_var)

    @property
    def mean_snr_db(self) -> float:
        """Mean |gain|^2 over the window / N0, in dB; in AWGN the same as `snr_db`."""
        return _decibel(self._mean_gain_power / self.noise_var)

    @property
    def num_frames(self) -> int:
        """Frames the noise estimate rests on; falls to the newest ones at a change."""
        return len(self._frames)

    def _require_open_frame(self) -> None:
        if not self._frames:
            raise InputError("No frame is open: call observe_pilots first in each frame.")

    @staticmethod
    def _require_pair(
        received: NDArray[np.complexfloating], sent: NDArray[np.complexfloating]
    ) -> None:
        if received.shape != sent.shape or received.ndim != 1:
            raise InputError(
                f"Received {received.shape} and sent {sent.shape} must be equally long rows."
            )

    def _add_known(
        self, received: NDArray[np.complexfloating], sent: NDArray[np.complexfloating]
    ) -> None:
        finite = np.isfinite(received)
        y = received[finite].astype(np.complex128)
        x = sent[finite].astype(np.complex128)
        frame = self._frames[-1]
        frame.num_known += y.size
        frame.cross += complex(np.vdot(x, y))
        frame.energy_sent += _energy(x)
        frame.energy_received += _energy(y)
        self._update()

    def _update(self) -> None:
        """Gain, change detection and noise from the frames held."""
        frames = self._frames
        split = self._change_point()
        for _ in range(split):
            frames.popleft()
        evidence = self._evidence(frames)
        if evidence.weight > 0.0:
            self._noise_var = max(evidence.noise_var, MIN_NOISE_VAR)
        if self._fading:
            # |cross / energy|^2 overestimates |g|^2 by N0 / energy.
            powers = [
                max(
                    abs(f.cross / f.energy_sent) ** 2 - (self._noise_var or 0.0) / f.energy_sent,
                    0.0,
                )
                for f in frames
                if f.energy_sent > 0.0
            ]
            self._mean_gain_power = float(np.mean(powers)) if powers else 1.0
            newest = frames[-1]
            if newest.energy_sent > 0.0:
                self._gain = newest.cross / newest.energy_sent

    def _change_point(self) -> int:
        """Number of oldest frames to forget: the likeliest split if it is beyond the threshold."""
        frames = list(self._frames)
        best_split, best_statistic = 0, CHANGE_THRESHOLD
        for split in range(1, len(frames)):
            before, after = self._evidence(frames[:split]), self._evidence(frames[split:])
            total = before.weight + after.weight
            if before.weight <= 0.0 or after.weight <= 0.0:
                continue
            noise_before = max(before.noise_var, MIN_NOISE_VAR)
            noise_after = max(after.noise_var, MIN_NOISE_VAR)
            pooled = (before.weight * noise_before + after.weight * noise_after) / total
            statistic = 2.0 * (
                total * np.log(pooled)
                - before.weight * np.log(noise_before)
                - after.weight * np.log(noise_after)
            )
            if statistic > best_statistic:
                best_split, best_statistic = split, float(statistic)
        return best_split

    def _evidence(self, frames: "deque[_Frame] | list[_Frame]") -> _NoiseEvidence:
        """N0 of a group of frames that share one noise level."""
        if self._fading:
            residual = 0.0
            weight = 0.0
            for f in frames:
                if f.num_known > 1:
                    residual += f.energy_received - abs(f.cross) ** 2 / f.energy_sent
                    weight += f.num_known - 1
            return _NoiseEvidence(residual / weight if weight else 0.0, weight)
        # Gain 1: sum |y - x|^2 = sum |y|^2 - 2 Re sum y x* + sum |x|^2.
        known = float(sum(f.num_known for f in frames))
        residual = sum(f.energy_received - 2.0 * f.cross.real + f.energy_sent for f in frames)
        blind = float(sum(f.num_blind for f in frames))
        blind_noise = sum(f.energy_blind for f in frames) / blind - 1.0 if blind else 0.0
        noise_var = residual / known if known else max(blind_noise, MIN_NOISE_VAR)
        blind_weight = 0.0
        if blind:
            # The blind term's weight depends on the noise it helps to find: a short fixed point.
            for _ in range(4):
                reference = max(noise_var, MIN_NOISE_VAR)
                variance = (reference**2 + 2.0 * reference) / blind + BLIND_POWER_ERROR**2
                blind_weight = reference**2 / variance
                if known:
                    noise_var = (residual + blind_weight * blind_noise) / (known + blind_weight)
                    noise_var = max(noise_var, 0.25 * residual / known)
        return _NoiseEvidence(max(noise_var, 0.0), known + blind_weight)


def _energy(samples: NDArray[np.complexfloating]) -> float:
    real = samples.real.astype(np.float64)
    imag = samples.imag.astype(np.float64)
    return float(real @ real + imag @ imag)


def _decibel(ratio: float) -> float:
    return float(10.0 * np.log10(max(ratio, 1e-12)))
