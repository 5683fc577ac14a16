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

CHANGE_THRESHOLD: Final = 20.0
"""Twice the log-likelihood ratio above which a change of noise is declared. Under no change it is
about chi-square with one degree of freedom at each split: 20 has probability 8e-6 each."""

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

    def evidence(self, fading: bool) -> tuple[float, float, float, float]:
        """(degrees of freedom, residual energy, blind samples, blind energy); frames add up."""
        if not fading:
            # Gain 1: sum |y - x|^2 = sum |y|^2 - 2 Re sum y x* + sum |x|^2.
            residual = self.energy_received - 2.0 * self.cross.real + self.energy_sent
            return float(self.num_known), residual, float(self.num_blind), self.energy_blind
        if self.num_known < 2:
            return 0.0, 0.0, 0.0, 0.0
        residual = self.energy_received - abs(self.cross) ** 2 / self.energy_sent
        return float(self.num_known - 1), residual, 0.0, 0.0


def _noise_from(evidence: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """N0 of groups of frames that share one noise level.

    Args:
        evidence: [..., 4], sums of `_Frame.evidence` over each group.

    Returns:
        (N0 [...], >= `MIN_NOISE_VAR`; its weight [...] in known samples, 0 if nothing is known).
    """
    known, residual, blind, blind_energy = np.moveaxis(evidence, -1, 0)
    from_known = np.maximum(residual / np.maximum(known, 1.0), MIN_NOISE_VAR)
    from_blind = blind_energy / np.maximum(blind, 1.0) - 1.0
    noise_var = np.where(known > 0.0, from_known, np.maximum(from_blind, MIN_NOISE_VAR))
    weight = np.zeros_like(noise_var)
    # The blind term's weight depends on the noise it helps to find: a short fixed point.
    for _ in range(4):
        variance = (noise_var**2 + 2.0 * noise_var) / np.maximum(blind, 1.0)
        weight = np.where(blind > 0.0, noise_var**2 / (variance + BLIND_POWER_ERROR**2), 0.0)
        combined = (known * from_known + weight * from_blind) / np.maximum(known + weight, 1e-9)
        noise_var = np.where(known > 0.0, np.maximum(combined, 0.25 * from_known), noise_var)
    return noise_var, known + weight


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
        """Change detection, noise and gain from the frames held."""
        evidence = np.array([frame.evidence(self._fading) for frame in self._frames])
        split = _change_point(evidence)
        for _ in range(split):
            self._frames.popleft()
        noise_var, weight = _noise_from(evidence[split:].sum(axis=0))
        if weight > 0.0:
            self._noise_var = float(noise_var)
        if self._fading:
            self._update_gain()

    def _update_gain(self) -> None:
        """Gain of the newest frame, mean of |gain|^2 over the window."""
        noise_var = self._noise_var or 0.0
        # |cross / energy|^2 overestimates |g|^2 by N0 / energy.
        powers = [
            max(abs(frame.cross / frame.energy_sent) ** 2 - noise_var / frame.energy_sent, 0.0)
            for frame in self._frames
            if frame.energy_sent > 0.0
        ]
        if powers:
            self._mean_gain_power = float(np.mean(powers))
        newest = self._frames[-1]
        if newest.energy_sent > 0.0:
            self._gain = newest.cross / newest.energy_sent


def _change_point(evidence: NDArray[np.float64]) -> int:
    """Number of oldest frames to forget: the likeliest split if beyond the threshold, else 0.

    Args:
        evidence: [frames, 4], oldest first.
    """
    if evidence.shape[0] < 2:
        return 0
    sums = np.cumsum(evidence, axis=0)
    noise_before, weight_before = _noise_from(sums[:-1])
    noise_after, weight_after = _noise_from(sums[-1] - sums[:-1])
    total = weight_before + weight_after
    testable = (weight_before > 0.0) & (weight_after > 0.0)
    pooled = (weight_before * noise_before + weight_after * noise_after) / np.maximum(total, 1e-9)
    statistic = 2.0 * (
        total * np.log(np.maximum(pooled, MIN_NOISE_VAR))
        - weight_before * np.log(noise_before)
        - weight_after * np.log(noise_after)
    )
    statistic = np.where(testable, statistic, 0.0)
    best = int(statistic.argmax())
    return best + 1 if statistic[best] > CHANGE_THRESHOLD else 0


def _energy(samples: NDArray[np.complexfloating]) -> float:
    real = samples.real.astype(np.float64)
    imag = samples.imag.astype(np.float64)
    return float(real @ real + imag @ imag)


def _decibel(ratio: float) -> float:
    return float(10.0 * np.log10(max(ratio, 1e-12)))
