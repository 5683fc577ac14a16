"""The sessions people asked for, and the tasks that keep them running.

The console owns the desired state. For each session one task watches its events; when the
transmitter has lost the session (it was killed and started again), the task starts it again with
the spec as it is then desired, the latest SNR included. A console that was restarted adopts what
the transmitter reports.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Mapping
from typing import Any

from console.backend import Backend, ServiceHealth, ServiceName
from console.convert import JsonDict, event_json, session_spec, set_fields, spec_json, state_name
from console.fanout import Fanout
from console.metrics import ConsoleMetrics
from console.reconcile import Action, Step, after_failed_start, after_watch
from console.request import LIVE_FIELDS, SessionRequest
from semcast.errors import CapacityError, InputError, NotFoundError, SemcastError, UnavailableError
from semcast.v1.transmitter_pb2 import (
    SESSION_STATE_CONNECTING,
    SESSION_STATE_FAILED,
    SESSION_STATE_STREAMING,
    RunningSession,
    SessionEvent,
    SessionSpec,
    SessionState,
)

logger = logging.getLogger(__name__)

SERVICES: tuple[ServiceName, ...] = ("transmitter", "receiver")
MAX_SESSIONS = 64
_HEALTH_PERIOD_S = 0.5


class Session:
    """One desired session, and how it is going."""

    def __init__(self, desired: SessionSpec, fanout: Fanout) -> None:
        self.desired = desired
        self.fanout = fanout
        # Of the main leg's newest frame; None before the first.
        self.cbr_target: float | None = None
        self.state: SessionState = SESSION_STATE_CONNECTING
        self.detail = ""
        # Names of fields that were changed while the transmitter was away.
        self.pending: set[str] = set()
        # Counts starts, so that the end of a stream that was replaced is not taken for a loss.
        self.starts = 0
        self.has_played = False
        self.failed_attempts = 0
        self.lock = asyncio.Lock()
        self.task: asyncio.Task[None] | None = None

    @property
    def id(self) -> str:
        """The session's id; its baseline leg is `{id}.baseline` at the receiver."""
        return self.desired.session_id

    def count_start(self) -> None:
        """Notes that the transmitter was made to start it."""
        self.starts += 1
        self.has_played = False

    @property
    def is_over(self) -> bool:
        """Nobody looks after it any more: it came to its end, or can never run."""
        return self.task is None or self.task.done()

    def to_json(self) -> JsonDict:
        """The session as REST and the page see it."""
        return {
            "id": self.id,
            **spec_json(self.desired),
            "cbr_target": self.cbr_target,
            "state": state_name(self.state),
            "detail": self.detail,
            "starts": self.starts,
        }


class SessionKeeper:
    """Keeps the desired sessions running. `run` is its life; everything else may be called then."""

    def __init__(self, backend: Backend, metrics: ConsoleMetrics) -> None:
        self._backend = backend
        self._metrics = metrics
        self._sessions: dict[str, Session] = {}
        self._orphans: set[str] = set()
        self._adopted = False
        self._transmitter_back = asyncio.Event()
        self._monitor: asyncio.Task[None] | None = None
        self.services: dict[ServiceName, ServiceHealth] = dict.fromkeys(SERVICES, "unreachable")

    def open(self) -> None:
        """Starts to look after sessions."""
        self._monitor = asyncio.create_task(self._monitor_services(), name="monitor services")
        self._monitor.add_done_callback(_log_crash)

    async def close(self) -> None:
        """Stops looking after sessions; they go on at the transmitter."""
        self.end_streams()
        tasks = [session.task for session in self._sessions.values()] + [self._monitor]
        for task in tasks:
            if task is not None:
                await _cancel(task)

    def end_streams(self) -> None:
        """Ends every page's stream of events."""
        for session in self._sessions.values():
            session.fanout.close()

    def all(self) -> list[Session]:
        """Every session, oldest first."""
        self._require_adoption()
        return list(self._sessions.values())

    def get(self, session_id: str) -> Session:
        """The session of this id. Raises NotFoundError."""
        session = self._sessions.get(session_id)
        if session is None:
            self._require_adoption()
            raise NotFoundError(
                f"There is no session '{session_id}': it was stopped, or never started."
            )
        return session

    async def start(self, request: SessionRequest) -> Session:
        """Starts a session. Raises what the transmitter refuses it with."""
        self._require_adoption()
        self._make_room()
        spec = session_spec(secrets.token_hex(4), request)
        await self._backend.start_session(spec)
        session = self._new_session(spec)
        self._keep(session)
        return session

    async def change(self, session: Session, fields: Mapping[str, Any]) -> bool:
        """Changes fields (names of SessionRequest) of a session.

        The SNR changes in place; any other field starts the session again under its id.

        Returns False where the transmitter is away: the change is kept, and holds when it is back.
        Raises what the transmitter refuses the change with; nothing is changed then.
        """
        async with session.lock:
            desired = SessionSpec()
            desired.CopyFrom(session.desired)
            set_fields(desired, fields)
            changed = session.pending.union(fields)
            restarts = session.is_over or not LIVE_FIELDS.issuperset(changed)
            try:
                if restarts:
                    await self._backend.start_session(desired)
                    session.count_start()
                    self._set_state(session, SESSION_STATE_CONNECTING, "")
                else:
                    await self._backend.set_snr(session.id, desired.channel.snr_db)
                session.pending.clear()
            except (NotFoundError, UnavailableError) as error:
                if restarts and isinstance(error, NotFoundError):
                    raise
                session.pending = changed
            session.desired = desired
            applied = not session.pending
        session.fanout.publish({"type": "session", **session.to_json()})
        if session.is_over:
            self._keep(session)
        return applied

    async def stop(self, session: Session) -> None:
        """Stops a session and forgets it. A transmitter that is away is told when it is back."""
        self._sessions.pop(session.id, None)
        self._metrics.sessions.set(len(self._sessions))
        if session.task is not None:
            await _cancel(session.task)
        session.fanout.publish({"type": "session", **session.to_json(), "state": "stopped"})
        session.fanout.close()
        try:
            await self._backend.stop_session(session.id)
        except NotFoundError:
            logger.info("Session %s had ended before it was stopped.", session.id)
        except UnavailableError:
            self._orphans.add(session.id)

    @property
    def ready(self) -> bool:
        """Both services are SERVING, and the sessions that ran before are known."""
        return self._adopted and all(health == "serving" for health in self.services.values())

    def services_json(self) -> JsonDict:
        """The state of both services as an event."""
        return {"type": "services", **{str(name): health for name, health in self.services.items()}}

    # How sessions are kept running.

    def _new_session(self, desired: SessionSpec) -> Session:
        dropped = self._metrics.events_dropped_total
        session = Session(desired, Fanout(on_drop=dropped.inc))
        session.starts = 1
        self._sessions[session.id] = session
        self._metrics.sessions.set(len(self._sessions))
        return session

    def _keep(self, session: Session) -> None:
        session.task = asyncio.create_task(self._keep_running(session), name=f"keep {session.id}")
        session.task.add_done_callback(_log_crash)

    def _make_room(self) -> None:
        """Forgets the oldest session that is over, if there are too many."""
        if len(self._sessions) < MAX_SESSIONS:
            return
        for session in list(self._sessions.values()):
            if session.is_over:
                del self._sessions[session.id]
                session.fanout.close()
                return
        raise CapacityError(
            f"This console looks after {MAX_SESSIONS} sessions already: stop one first."
        )

    async def _keep_running(self, session: Session) -> None:
        step = Step(Action.WATCH, 0.0)
        starts = session.starts
        while step.action is not Action.FINISH:
            await self._pause(step.wait_s)
            if step.action is Action.WATCH:
                starts = session.starts
                step = await self._watch(session)
            else:
                step = await self._start_again(session, starts)

    async def _watch(self, session: Session) -> Step:
        starts = session.starts
        failure: SemcastError | None = None
        try:
            async for event in self._backend.watch_session(session.id):
                self._on_event(session, event)
        except SemcastError as error:
            failure = error
        async with session.lock:
            if session.starts != starts:
                # It ended because `change` replaced it.
                return Step(Action.WATCH, 0.0)
            step = after_watch(
                failure,
                session.state,
                loop=session.desired.loop,
                has_played=session.has_played,
                failed_attempts=session.failed_attempts,
            )
            session.failed_attempts += 1
            if step.action is Action.FINISH and failure is not None:
                self._set_state(session, SESSION_STATE_FAILED, str(failure))
            elif step.action is not Action.FINISH and session.state != SESSION_STATE_FAILED:
                self._set_state(session, SESSION_STATE_CONNECTING, str(failure or ""))
            return step

    async def _start_again(self, session: Session, starts: int) -> Step:
        """starts: how often it had been started when it was found lost."""
        async with session.lock:
            if session.starts != starts:
                # `change` has started it since.
                return Step(Action.WATCH, 0.0)
            try:
                await self._backend.start_session(session.desired)
            except SemcastError as error:
                step = after_failed_start(error, session.failed_attempts)
                session.failed_attempts += 1
                failed = step.action is Action.FINISH
                state = SESSION_STATE_FAILED if failed else SESSION_STATE_CONNECTING
                self._set_state(session, state, str(error))
                return step
            session.pending.clear()
            session.count_start()
        self._metrics.session_restarts_total.inc()
        logger.info("Session %s had gone from the transmitter; started again.", session.id)
        self._set_state(session, SESSION_STATE_CONNECTING, "")
        return Step(Action.WATCH, 0.0)

    def _on_event(self, session: Session, event: SessionEvent) -> None:
        record = event_json(event)
        if record is None:
            return
        session.fanout.publish(record)
        if record["type"] == "frame":
            session.failed_attempts = 0
            session.has_played = True
            if event.leg == "main":
                session.cbr_target = record["cbr_target"]
                self._set_state(session, SESSION_STATE_STREAMING, "")
        elif event.leg == "main":
            self._set_state(session, event.status.state, event.status.detail)

    def _set_state(self, session: Session, state: SessionState, detail: str) -> None:
        if (session.state, session.detail) == (state, detail):
            return
        session.state, session.detail = state, detail
        session.fanout.publish({"type": "session", **session.to_json()})

    async def _pause(self, wait_s: float) -> None:
        """Waits, but no longer than until the transmitter is back."""
        if wait_s:
            self._transmitter_back.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._transmitter_back.wait(), wait_s)

    # The services, and what a restart of one asks for.

    async def _monitor_services(self) -> None:
        while True:
            healths = await asyncio.gather(*(self._backend.health(name) for name in SERVICES))
            await self._on_health(dict(zip(SERVICES, healths, strict=True)))
            await asyncio.sleep(_HEALTH_PERIOD_S)

    async def _on_health(self, services: dict[ServiceName, ServiceHealth]) -> None:
        changed = services != self.services
        returned = (
            services["transmitter"] == "serving" and self.services["transmitter"] != "serving"
        )
        self.services = services
        for name, health in services.items():
            self._metrics.service_serving.labels(name).set(health == "serving")
        if changed:
            for session in self._sessions.values():
                session.fanout.publish(self.services_json())
        if returned:
            self._transmitter_back.set()
        if services["transmitter"] == "serving":
            if not self._adopted:
                await self._adopt()
            if self._orphans:
                await self._stop_orphans()
            for session in [item for item in self._sessions.values() if item.pending]:
                await self._apply_pending(session)

    async def _adopt(self) -> None:
        try:
            running = await self._backend.list_sessions()
        except SemcastError as error:
            logger.warning("Could not ask the transmitter for its sessions yet: %s", error)
            return
        for item in running:
            if _is_ours(item) and item.spec.session_id not in self._sessions:
                session = self._new_session(item.spec)
                session.state, session.detail = item.status.state, item.status.detail
                self._keep(session)
                logger.info("Adopted session %s, which was running already.", session.id)
        self._adopted = True

    async def _stop_orphans(self) -> None:
        for session_id in list(self._orphans):
            try:
                await self._backend.stop_session(session_id)
            except InputError:
                logger.info("Session %s had gone with its transmitter.", session_id)
            except SemcastError:
                return
            self._orphans.discard(session_id)

    async def _apply_pending(self, session: Session) -> None:
        try:
            await self.change(session, {})
        except SemcastError as error:
            # Refused: what was asked for while the transmitter was away cannot be had.
            session.pending.clear()
            self._set_state(session, session.state, str(error))

    def _require_adoption(self) -> None:
        if not self._adopted:
            raise UnavailableError(
                "The console has not reached the transmitter since it started, so it does not know "
                "the running sessions yet: try again in a moment."
            )


def _is_ours(item: RunningSession) -> bool:
    """Whether to adopt a session: one that plays live and is not over. (`semcast send` runs
    unpaced sessions, which end with their caller.)"""
    return item.spec.paced and item.status.state in (
        SESSION_STATE_CONNECTING,
        SESSION_STATE_STREAMING,
    )


def _log_crash(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("Task '%s' failed.", task.get_name(), exc_info=error)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
