"""REST: options, clips, uploads, sessions and their events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from console.convert import JsonDict, clip_json
from console.fanout import Fanout, Subscriber, encode_event
from console.options import page_options
from console.request import SessionPatch, SessionRequest
from console.sessions import Session
from console.state import ConsoleState, console_state
from console.uploads import UploadReader, check_length, check_type

HEARTBEAT_S = 10.0

router = APIRouter(prefix="/api/v1", tags=["sessions"])
State = Annotated[ConsoleState, Depends(console_state)]


@router.get("/options", summary="Schemes, limits and the schema of a session")
async def get_options(state: State) -> JsonDict:
    """What the page draws its controls from."""
    return page_options(state.settings)


@router.get("/clips", summary="Samples, uploads and webcams")
async def list_clips(state: State) -> JsonDict:
    """Clips that a session can play."""
    return {"clips": [clip_json(clip) for clip in await state.backend.list_clips()]}


@router.post("/uploads", status_code=201, summary="Upload a video (multipart/form-data)")
async def upload(request: Request, state: State) -> JsonDict:
    """The new clip. The file is streamed to the transmitter, which checks that it can be played."""
    limit_bytes = state.settings.max_upload_bytes
    check_length(request.headers, limit_bytes)
    reader = UploadReader(request.headers, request.stream(), limit_bytes)
    file_name, content_type = await reader.open()
    check_type(file_name, content_type)

    async def counted() -> AsyncIterator[bytes]:
        async for piece in reader.pieces():
            state.metrics.upload_bytes_total.inc(len(piece))
            yield piece

    return clip_json(await state.backend.upload_clip(file_name, counted()))


@router.delete("/uploads/{clip_id}", status_code=204, summary="Remove an upload")
async def delete_upload(clip_id: str, state: State) -> None:
    """Takes the id with or without "upload:"."""
    await state.backend.delete_upload(f"upload:{clip_id.removeprefix('upload:')}")


@router.post("/sessions", status_code=201, summary="Start a live session")
async def start_session(body: SessionRequest, response: Response, state: State) -> JsonDict:
    """The session. It plays until it is deleted, whoever watches."""
    session = await state.keeper.start(body)
    response.headers["Location"] = f"/api/v1/sessions/{session.id}"
    return session.to_json()


@router.get("/sessions", summary="The sessions this console looks after")
async def list_sessions(state: State) -> JsonDict:
    """Oldest first."""
    return {"sessions": [session.to_json() for session in state.keeper.all()]}


@router.get("/sessions/{session_id}", summary="One session")
async def get_session(session_id: str, state: State) -> JsonDict:
    """What was asked for, and how it is going."""
    return state.keeper.get(session_id).to_json()


@router.patch("/sessions/{session_id}", summary="Change a session while it plays")
async def change_session(
    session_id: str,
    body: SessionPatch,  # type: ignore[valid-type]
    response: Response,
    state: State,
) -> JsonDict:
    """The SNR changes in place, anything else starts the session again under its id.

    202: the transmitter is away, and the change will hold when it is back.
    """
    session = state.keeper.get(session_id)
    patch: BaseModel = body
    fields: dict[str, Any] = patch.model_dump(exclude_unset=True)
    if fields and not await state.keeper.change(session, fields):
        response.status_code = 202
    return session.to_json()


@router.delete("/sessions/{session_id}", status_code=204, summary="Stop a session")
async def stop_session(session_id: str, state: State) -> None:
    """Stops it and forgets it."""
    await state.keeper.stop(state.keeper.get(session_id))


@router.get(
    "/sessions/{session_id}/events",
    summary="Events of a session (Server-Sent Events)",
    response_class=StreamingResponse,
)
async def session_events(session_id: str, state: State) -> StreamingResponse:
    """JSON objects with a `type`: session, services, status, frame."""
    session = state.keeper.get(session_id)
    return StreamingResponse(
        _stream(session, state),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _stream(session: Session, state: ConsoleState) -> AsyncIterator[bytes]:
    fanout: Fanout = session.fanout
    subscriber: Subscriber = fanout.subscribe()
    state.metrics.sse_clients.inc()
    try:
        # `retry` is the browser's wait before it connects again, in ms.
        yield b"retry: 500\n\n"
        yield encode_event(state.keeper.services_json())
        yield encode_event({"type": "session", **session.to_json()})
        dropped_seen = 0
        while (event := await subscriber.get(HEARTBEAT_S)) is not None:
            yield event or b": keep-alive\n\n"
            if subscriber.dropped_total != dropped_seen:
                # What was dropped may have been news of the state.
                dropped_seen = subscriber.dropped_total
                yield encode_event({"type": "session", **session.to_json()})
    finally:
        fanout.unsubscribe(subscriber)
        state.metrics.sse_clients.dec()
