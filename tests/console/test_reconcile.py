"""Sessions survive their transmitter and their console."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from console_bench import console_in_process, free_port, is_ready, until
from fake_services import FakeReceiver, FakeTransmitter, serving

from console.reconcile import RETRY_LAST_S, Action, after_failed_start, after_watch, retry_wait_s
from console.settings import ConsoleSettings
from semcast.errors import (
    CapacityError,
    InputError,
    NotFoundError,
    SemcastError,
    UnavailableError,
)
from semcast.v1.transmitter_pb2 import (
    SESSION_STATE_ENDED,
    SESSION_STATE_FAILED,
    SESSION_STATE_STREAMING,
    SessionSpec,
    SessionState,
    StartSessionRequest,
)

LOST = NotFoundError("gone")
AWAY = UnavailableError("away")


@pytest.mark.parametrize(
    ("failure", "state", "loop", "has_played", "action"),
    [
        (LOST, SESSION_STATE_STREAMING, True, True, Action.START),
        (AWAY, SESSION_STATE_STREAMING, True, True, Action.WATCH),
        (CapacityError("full"), SESSION_STATE_STREAMING, True, True, Action.WATCH),
        (InputError("no"), SESSION_STATE_STREAMING, True, True, Action.FINISH),
        (None, SESSION_STATE_STREAMING, True, True, Action.WATCH),
        (None, SESSION_STATE_ENDED, False, True, Action.FINISH),
        (None, SESSION_STATE_ENDED, True, True, Action.START),
        (None, SESSION_STATE_FAILED, True, True, Action.START),
        (None, SESSION_STATE_FAILED, True, False, Action.FINISH),
    ],
)
def test_the_step_after_events_have_stopped(
    failure: SemcastError | None,
    state: SessionState,
    loop: bool,
    has_played: bool,
    action: Action,
) -> None:
    step = after_watch(failure, state, loop=loop, has_played=has_played, failed_attempts=0)
    assert step.action is action


def test_a_lost_session_is_started_at_once_and_then_less_and_less_often() -> None:
    waits = [
        after_watch(
            LOST, SESSION_STATE_STREAMING, loop=True, has_played=True, failed_attempts=attempts
        ).wait_s
        for attempts in range(8)
    ]
    assert waits[0] == 0
    assert waits == sorted(waits) and waits[-1] == RETRY_LAST_S
    assert retry_wait_s(10_000) == RETRY_LAST_S


def test_a_start_that_can_never_succeed_is_given_up() -> None:
    assert after_failed_start(NotFoundError("no clip"), 0).action is Action.FINISH
    assert after_failed_start(InputError("no"), 0).action is Action.FINISH
    assert after_failed_start(UnavailableError("away"), 3).action is Action.START
    assert after_failed_start(CapacityError("full"), 3).action is Action.START


def settings_for(transmitter_port: int, receiver_port: int) -> ConsoleSettings:
    return ConsoleSettings(
        transmitter_address=f"127.0.0.1:{transmitter_port}",
        receiver_address=f"127.0.0.1:{receiver_port}",
    )


async def started(client: httpx.AsyncClient, **fields: object) -> str:
    body = {"clip": "sample:gripper", "fps": 20, **fields}
    response = await client.post("/api/v1/sessions", json=body)
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


async def is_streaming(client: httpx.AsyncClient, session_id: str) -> bool:
    session = await client.get(f"/api/v1/sessions/{session_id}")
    return bool(session.json()["state"] == "streaming")


async def is_down(client: httpx.AsyncClient) -> bool:
    services = (await client.get("/readyz")).json()["services"]
    return bool(services["transmitter"] == "unreachable")


async def test_a_restarted_transmitter_gets_its_sessions_back_as_they_are_now_desired() -> None:
    port = free_port()
    async with serving(FakeReceiver()) as receiver_port:
        async with console_in_process(settings_for(port, receiver_port)) as client:
            async with serving(FakeTransmitter(), port):
                await until(lambda: is_ready(client))
                session_id = await started(client, snr_db=10, scheme="h265-ldpc")
                await until(lambda: is_streaming(client, session_id))
            path = f"/api/v1/sessions/{session_id}"
            await until(lambda: is_down(client))
            # Changes while it is away are kept: 202.
            away = await client.patch(path, json={"snr_db": -1.5})
            assert (away.status_code, away.json()["snr_db"]) == (202, -1.5)
            assert (await client.patch(path, json={"fps": 25})).status_code == 202
            reborn = FakeTransmitter()
            async with serving(reborn, port):
                # Well within a second on an idle machine; the bound here is only a backstop.
                await until(lambda: session_id in reborn.sessions)
                spec = reborn.sessions[session_id].spec
                assert (spec.scheme, spec.channel.snr_db) == ("h265-ldpc", -1.5)
                assert spec.frames_per_second == 25
                await until(lambda: is_streaming(client, session_id))
                # Once, and not again.
                await asyncio.sleep(0.7)
                assert reborn.sessions[session_id].generation == 1


async def test_a_restarted_console_adopts_what_runs() -> None:
    transmitter = FakeTransmitter()
    async with serving(transmitter) as port, serving(FakeReceiver()) as receiver_port:
        settings = settings_for(port, receiver_port)
        async with console_in_process(settings) as client:
            await until(lambda: is_ready(client))
            session_id = await started(client, snr_db=3)
        assert session_id in transmitter.sessions, "a console that stops leaves sessions playing"
        async with console_in_process(settings) as client:
            await until(lambda: is_ready(client))
            [session] = (await client.get("/api/v1/sessions")).json()["sessions"]
            assert (session["id"], session["snr_db"]) == (session_id, 3)
            await until(lambda: is_streaming(client, session_id))
            assert transmitter.sessions[session_id].generation == 1
            # Adopted means kept, like one of its own.
            await client.patch(f"/api/v1/sessions/{session_id}", json={"snr_db": 7})
            assert transmitter.updates == [(session_id, 7.0)]


async def test_unpaced_sessions_of_others_are_left_alone() -> None:
    transmitter = FakeTransmitter()
    async with serving(transmitter) as port, serving(FakeReceiver()) as receiver_port:
        settings = settings_for(port, receiver_port)
        async with console_in_process(settings) as client:
            await until(lambda: is_ready(client))
            session_id = await started(client)
        transmitter.sessions[session_id].spec.paced = False
        async with console_in_process(settings) as client:
            await until(lambda: is_ready(client))
            assert (await client.get("/api/v1/sessions")).json()["sessions"] == []


async def test_a_session_stopped_while_the_transmitter_is_away_does_not_come_back() -> None:
    port = free_port()
    async with (
        serving(FakeReceiver()) as receiver_port,
        console_in_process(settings_for(port, receiver_port)) as client,
    ):
        async with serving(FakeTransmitter(), port):
            await until(lambda: is_ready(client))
            session_id = await started(client)
        await until(lambda: is_down(client))
        assert (await client.delete(f"/api/v1/sessions/{session_id}")).status_code == 204
        # It was only out of reach, and still runs the session.
        back = FakeTransmitter()
        async with serving(back, port):
            spec = SessionSpec(session_id=session_id, clip="sample:gripper", scheme="lowres")
            spec.frames_per_second, spec.width_px, spec.height_px = 5, 64, 64
            await back.StartSession(StartSessionRequest(spec=spec), None)
            await until(lambda: back.sessions == {})


async def test_a_looping_session_that_ends_is_started_again() -> None:
    transmitter = FakeTransmitter()
    async with (
        serving(transmitter) as port,
        serving(FakeReceiver()) as receiver_port,
        console_in_process(settings_for(port, receiver_port)) as client,
    ):
        await until(lambda: is_ready(client))
        session_id = await started(client)
        await until(lambda: is_streaming(client, session_id))
        await transmitter.finish(session_id, SESSION_STATE_FAILED, "The channel broke.")
        await until(lambda: session_id in transmitter.sessions)
        await until(lambda: is_streaming(client, session_id))
        assert (await client.get(f"/api/v1/sessions/{session_id}")).json()["starts"] == 2
