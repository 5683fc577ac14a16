"""Which frames to skip, and how much to pad, so that the long-run rate meets its target.

A controller counts in any unit (payload bits, channel symbols). It has no clock and looks at no
frame: each video frame earns `target_per_frame`, what is sent is spent, and the running balance

    balance = frames * target_per_frame - spent

steers everything. A frame is skipped when sending one as large as the last would leave too deep a
debt; credit above its bound is padded. A key picture at the start or on request is a burst: it may
be paid back over `amortise_frames` frames: the debt limit rises by the debt it left and comes
down again linearly. So after F frames, F > amortise_frames, the mean
exceeds the target by about max_debt_frames / F at most (plus what a frame that grew unforeseen
cost) and falls short by at most max_credit_frames / F, or by `planned_burst` while credit is saved
up for frames that cannot be made small.

Per video frame: `begin_frame()`; then `should_skip()`, or encode to about `allowance()`, `spend`
and `expect`; then `padding()` says how much more to send, which `spend` counts like the rest.
"""

from dataclasses import dataclass

from semcast.errors import InputError


@dataclass(frozen=True)
class RateLimits:
    """How far a controller lets its balance run, in frames' worth of the target."""

    max_debt_frames: float = 2.0
    """The debt that a frame may leave, bursts apart."""
    max_credit_frames: float = 1.0
    """Pad what the balance holds above this."""
    amortise_frames: int = 32
    """A burst's debt is tolerated, in linearly falling measure, for so many frames."""
    correction_frames: float = 8.0
    """`allowance` takes back 1/correction_frames of the balance in a frame."""
    min_allowance_frames: float = 0.25
    """`allowance` never falls below this, however deep the debt."""
    planned_burst: float = 0.04
    """What can wait (a scheduled key picture, saving up) keeps the mean within this fraction."""

    def __post_init__(self) -> None:
        if self.max_debt_frames < 0 or self.max_credit_frames < 0:
            raise InputError("rate limits: debt and credit must be at least 0 frames")
        if self.amortise_frames < 1 or self.correction_frames < 1:
            raise InputError("rate limits: amortise and correction must be at least 1 frame")
        if not 0 < self.min_allowance_frames <= 1:
            raise InputError("rate limits: min_allowance_frames must be in (0, 1]")


class RateController:
    """Token bucket over video frames: pure arithmetic on what was spent so far."""

    def __init__(self, target_per_frame: float, limits: RateLimits | None = None) -> None:
        """`target_per_frame`: long-run mean of what a video frame spends, in the caller's unit."""
        if not 0 < target_per_frame < float("inf"):
            raise InputError(f"a rate target must be positive, not {target_per_frame}")
        self._target = target_per_frame
        self._limits = limits or RateLimits()
        self._balance = 0.0
        self._frames = 0
        self._spent = 0.0
        self._expected = target_per_frame
        self._tolerated = 0.0
        self._tolerated_step = 0.0

    @property
    def target_per_frame(self) -> float:
        """Long-run mean, units per frame."""
        return self._target

    @property
    def balance(self) -> float:
        """Units earned and not spent, this frame's included; negative is debt."""
        return self._balance

    @property
    def mean_per_frame(self) -> float:
        """Units spent per frame begun so far; 0 before the first frame."""
        return self._spent / self._frames if self._frames else 0.0

    def begin_frame(self) -> None:
        """One more video frame: it earns the target."""
        self._tolerated = max(0.0, self._tolerated - self._tolerated_step)
        self._frames += 1
        self._balance += self._target

    def _needed(self) -> float:
        """Balance at the start of a frame (its earning included) that a frame like the last needs.

        Never more than saving up may withhold: frames that are always too large get sent, late.
        """
        debt = self._limits.max_debt_frames * self._target + self._tolerated
        saved = max(self._limits.max_credit_frames, self._limits.planned_burst * self._frames)
        return min(self._expected - debt, (saved + 1) * self._target)

    def should_skip(self) -> bool:
        """Whether sending a frame as large as the last would leave too deep a debt."""
        return self._balance < self._needed()

    def may_burst(self, amount: float) -> bool:
        """Whether a burst of `amount` that could as well wait keeps the mean near the target."""
        room = self._limits.planned_burst * self._frames * self._target
        return amount - self._balance <= room

    def allowance(self) -> float:
        """Units this frame may spend: the target, plus a share of the balance carried so far."""
        carried = self._balance - self._target
        wanted = self._target + carried / self._limits.correction_frames
        return max(wanted, self._limits.min_allowance_frames * self._target)

    def spend(self, amount: float, *, burst: bool = False) -> None:
        """Count `amount` units (>= 0) as sent for this frame.

        `burst`: a key picture, larger than others by nature and no sign of what is to come.
        """
        if not amount >= 0:
            raise InputError(f"cannot spend {amount}: an amount is at least 0")
        self._balance -= amount
        self._spent += amount
        if burst:
            self._tolerated = max(self._tolerated, -self._balance)
            self._tolerated_step = self._tolerated / self._limits.amortise_frames

    def expect(self, amount: float) -> None:
        """What the next frame is likely to cost: what the last ordinary one did."""
        self._expected = amount

    def padding(self) -> float:
        """Units of padding to send after this frame: the credit above its bound, else 0."""
        # Half a frame above what the next one needs: its need may have grown by then.
        needed = self._needed() - 0.5 * self._target
        bound = max(self._limits.max_credit_frames * self._target, needed)
        return max(0.0, self._balance - bound)
