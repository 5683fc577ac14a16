"""What RTP timestamp does a picture get?

Stream time (`pts_us`) is the transmitter's: it may restart at zero, stand still or jump. RTP time
must only go forward, and a browser's jitter buffer takes a picture whose timestamp runs ahead of
its arrival as "early" and holds it back, so latency would grow. The clock therefore keeps the
spacing of `pts_us` in ordinary running and starts a new anchor (timestamp = now) whenever stream
time has moved away from wall time: after a stall, a pause, a restart, or a burst.
"""

from dataclasses import dataclass, field

RTP_CLOCK_HZ = 90_000
"""Clock rate of every video payload format (RFC 6184 section 8.2.1)."""

MIN_STEP_US = 1_000
"""Least distance between two timestamps: keeps a repeat and the frame behind it apart."""


def rtp_ticks(time_us: int) -> int:
    """Microseconds as 90 kHz ticks, rounded down; not wrapped to 32 bits."""
    return time_us * RTP_CLOCK_HZ // 1_000_000


@dataclass
class RtpClock:
    """Maps stream time to a strictly increasing output time in microseconds.

    Args:
        max_lead_us: how far a timestamp may run ahead of wall time before a new anchor is set.
        max_lag_us: how far it may fall behind.
    """

    max_lead_us: int
    max_lag_us: int
    _offset_us: int | None = field(default=None, init=False)
    _last_us: int | None = field(default=None, init=False)

    def stamp(self, pts_us: int, now_us: int) -> int:
        """Output time of a frame with stream time `pts_us` that is ready at wall time `now_us`."""
        if self._offset_us is None or not self._on_time(pts_us + self._offset_us, now_us):
            self._offset_us = now_us - pts_us
        return self._advance(pts_us + self._offset_us)

    def stamp_repeat(self, now_us: int) -> int:
        """Output time of a repeat of the last picture; it does not move the anchor."""
        return self._advance(now_us)

    def _on_time(self, time_us: int, now_us: int) -> bool:
        return -self.max_lag_us <= time_us - now_us <= self.max_lead_us

    def _advance(self, time_us: int) -> int:
        if self._last_us is not None:
            time_us = max(time_us, self._last_us + MIN_STEP_US)
        self._last_us = time_us
        return time_us
