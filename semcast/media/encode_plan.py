"""What does the encoder do next: a frame, a repeat, an IDR, nothing?

A pure decision, taken by the publisher's worker each time something happened:

- nobody watches: nothing is encoded;
- a frame waits: it is encoded;
- somebody cannot decode yet (joined, or lost packets): an IDR at once, made from the waiting frame
  or, if none waits, by repeating the last picture;
- the source has stalled: the last picture is repeated now and then. The repeat carries the tail of
  the last real frame over a loss (a receiver notices a lost packet only by the one behind it) and
  keeps browsers from taking the silence for a failure.
"""

import enum
from dataclasses import dataclass


class IdrRequest(enum.IntEnum):
    """How urgently an IDR is wanted; the larger wins."""

    NONE = 0
    LOSS = 1
    """A viewer reports loss (PLI, FIR): soon, but no two within `min_idr_gap_s`."""
    JOIN = 2
    """A new viewer has no picture at all: at once."""


@dataclass(frozen=True)
class EncodeTiming:
    """Intervals in seconds."""

    idr_interval_s: float
    min_idr_gap_s: float
    repeat_interval_s: float


@dataclass(frozen=True)
class EncodeState:
    """What the decision depends on; times in seconds on one monotonic clock."""

    viewers: int
    frame_waiting: bool
    picture_known: bool
    idr_request: IdrRequest
    last_idr_s: float | None
    last_packet_s: float | None


@dataclass(frozen=True)
class EncodeStep:
    """Encode something now (`frame` or the last picture), or wait.

    Attributes:
        encode: encode now.
        idr: as an IDR picture.
        wait_s: how long to wait if nothing happens meanwhile; None is for ever.
    """

    encode: bool
    idr: bool = False
    wait_s: float | None = None


def plan_encode(state: EncodeState, timing: EncodeTiming, now_s: float) -> EncodeStep:
    """The next step of the encoder."""
    if not state.viewers or not (state.frame_waiting or state.picture_known):
        return EncodeStep(encode=False)
    if state.last_idr_s is None or state.last_packet_s is None:
        return EncodeStep(encode=True, idr=True)
    since_idr_s = now_s - state.last_idr_s
    request_due_s = {
        IdrRequest.NONE: timing.idr_interval_s,
        IdrRequest.LOSS: timing.min_idr_gap_s,
        IdrRequest.JOIN: 0.0,
    }[state.idr_request]
    idr_due = since_idr_s >= request_due_s
    if state.frame_waiting:
        return EncodeStep(encode=True, idr=idr_due)
    requested = state.idr_request is not IdrRequest.NONE
    if requested and idr_due:
        return EncodeStep(encode=True, idr=True)
    repeat_in_s = state.last_packet_s + timing.repeat_interval_s - now_s
    if repeat_in_s <= 0:
        return EncodeStep(encode=True, idr=idr_due)
    wait_s = min(repeat_in_s, request_due_s - since_idr_s) if requested else repeat_in_s
    return EncodeStep(encode=False, wait_s=wait_s)
