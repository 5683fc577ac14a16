"""Which frames to skip, and how much to pad, so that the long-run rate meets its target.

A controller counts in any unit (payload bits, channel symbols). It has no clock and looks at no
frame: each video frame earns `target_per_frame`, what is sent is spent, and the running balance

    balance = frames * target_per_frame - spent

steers both. Below `-max_debt` the frame is skipped; above `max_credit` the excess is padded. So
after F frames the mean differs from the target by at most (max_debt + one frame's burst) / F on
the one side and max_credit / F on the other.

A burst (the first key picture, one sent on request) is paid back over `amortise_frames` frames:
`allowance()` says how much a frame may spend so that debt shrinks by that fraction a frame.

The order per video frame: `begin_frame()`, `should_skip()`, encode to about `allowance()`,
`spend(...)`, and send `padding()` more units, which are spent by `spend` too.
"""

from dataclasses import dataclass

from semcast.errors import InputError


@dataclass(frozen=True)
class RateLimits:
    """How far a controller lets its balance run, in frames' worth of the target."""

    max_debt_frames: float = 2.0
    """Skip while the balance is below this many frames' worth of debt."""
    max_credit_frames: float = 1.0
    """Pad what the balance holds above this many frames' worth of credit."""
    amortise_frames: float = 8.0
    """Debt and credit shrink by 1/amortise_frames a frame where the content allows."""
    min_allowance_frames: float = 0.25
    """An encoded frame is always allowed this much, however deep the debt."""

    def __post_init__(self) -> None:
        if self.max_debt_frames < 0 or self.max_credit_frames < 0:
            raise InputError("rate limits: debt and credit must be at least 0 frames")
        if self.amortise_frames < 1:
            raise InputError("rate limits: amortise_frames must be at least 1")
        if not 0 < self.min_allowance_frames <= 1:
            raise InputError("rate limits: min_allowance_frames must be in (0, 1]")


class RateController:
    """Token bucket over video frames; pure arithmetic on what was spent so far."""

    def __init__(self, target_per_frame: float, limits: RateLimits | None = None) -> None:
        """`target_per_frame`: long-run mean of what a video frame spends, in the caller's unit."""
        if not target_per_frame > 0:
            raise InputError(f"rate target must be positive, not {target_per_frame}")
        self._target = target_per_frame
        self._limits = limits or RateLimits()
        self._balance = 0.0
        self._frames = 0
        self._spent = 0.0

    @property
    def target_per_frame(self) -> float:
        """Long-run mean, units per frame."""
        return self._target

    @property
    def balance(self) -> float:
        """Units earned and not spent; negative is debt."""
        return self._balance

    @property
    def mean_per_frame(self) -> float:
        """Units spent per frame begun so far; 0 before the first frame."""
        return self._spent / self._frames if self._frames else 0.0

    def begin_frame(self) -> None:
        """One more video frame: it earns the target."""
        self._frames += 1
        self._balance += self._target

    def should_skip(self) -> bool:
        """Whether the debt is too large to send anything for this frame.

        The first frame is never skipped.
        """
        if self._frames <= 1:
            return False
        return self._balance - self._target < -self._limits.max_debt_frames * self._target

    def allowance(self) -> float:
        """Units this frame may spend: the target, plus a share of the balance carried so far."""
        carried = self._balance - self._target
        wanted = self._target + carried / self._limits.amortise_frames
        return max(wanted, self._limits.min_allowance_frames * self._target)

    def spend(self, amount: float) -> None:
        """Count `amount` units (>= 0) as sent for this frame."""
        if amount < 0:
            raise InputError(f"cannot spend a negative amount ({amount})")
        self._balance -= amount
        self._spent += amount

    def padding(self) -> float:
        """Units of padding to send after this frame: the credit above its bound, else 0."""
        return max(0.0, self._balance - self._limits.max_credit_frames * self._target)
