"""What the routes share."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from console.backend import Backend
from console.metrics import ConsoleMetrics
from console.sessions import SessionKeeper
from console.settings import ConsoleSettings


@dataclass(frozen=True, slots=True)
class ConsoleState:
    """The parts of a running console."""

    settings: ConsoleSettings
    backend: Backend
    keeper: SessionKeeper
    metrics: ConsoleMetrics


def console_state(request: Request) -> ConsoleState:
    """The console a request came to (a FastAPI dependency)."""
    state: ConsoleState = request.app.state.console
    return state
