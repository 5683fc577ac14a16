"""What to do for a session whose events have stopped. Decisions only; `sessions.py` acts."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from semcast.errors import InputError, NotFoundError, SemcastError
from semcast.v1.transmitter_pb2 import (
    SESSION_STATE_ENDED,
    SESSION_STATE_FAILED,
    SessionState,
)

RETRY_FIRST_S = 0.2
RETRY_LAST_S = 5.0


class Action(enum.Enum):
    """The next step for a session."""

    WATCH = "watch"
    """Ask for its events again: the transmitter has it, or cannot be reached to say otherwise."""
    START = "start"
    """Start it again with the desired spec: the transmitter has lost it."""
    FINISH = "finish"
    """Leave it: it came to its end, or can never run."""


@dataclass(frozen=True, slots=True)
class Step:
    """An action, and how long to wait before it in seconds."""

    action: Action
    wait_s: float


def after_watch(
    failure: SemcastError | None,
    state: SessionState,
    *,
    loop: bool,
    has_played: bool,
    failed_attempts: int,
) -> Step:
    """The step after a stream of events has ended.

    failure: how it ended; None where the transmitter closed it in good order.
    state: the last state of the main leg that was seen.
    loop: the session is meant to go on for ever.
    has_played: there was a frame since it was last started.
    failed_attempts: starts and watches in a row that brought no frame.
    """
    if isinstance(failure, NotFoundError):
        return Step(Action.START, 0.0 if failed_attempts == 0 else retry_wait_s(failed_attempts))
    if isinstance(failure, InputError):
        return Step(Action.FINISH, 0.0)
    if failure is not None:
        # A fixed short wait: whoever restarts a service should see the picture within a second.
        return Step(Action.WATCH, RETRY_FIRST_S)
    if state == SESSION_STATE_ENDED and not loop:
        return Step(Action.FINISH, 0.0)
    if state == SESSION_STATE_FAILED and not has_played:
        # The transmitter waits for services that are away; this is a verdict on what was asked for.
        return Step(Action.FINISH, 0.0)
    if state in (SESSION_STATE_ENDED, SESSION_STATE_FAILED):
        return Step(Action.START, retry_wait_s(failed_attempts))
    return Step(Action.WATCH, retry_wait_s(failed_attempts))


def after_failed_start(failure: SemcastError, failed_attempts: int) -> Step:
    """The step after a start was refused or did not get through."""
    if isinstance(failure, InputError):
        return Step(Action.FINISH, 0.0)
    return Step(Action.START, retry_wait_s(failed_attempts))


def retry_wait_s(failed_attempts: int) -> float:
    """Wait before the next attempt: doubling from 0.2 s to 5 s."""
    return float(min(RETRY_LAST_S, RETRY_FIRST_S * 2 ** min(failed_attempts, 10)))
