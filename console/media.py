"""WHEP (viewers) and WHIP (webcams): SDP passed on to the service that speaks WebRTC.

Media flows between the browser and the service; the console sees the offer and the answer only.
There is no trickle ICE: an offer carries its candidates, PATCH is answered 405 (RFC 9725, 4.3.2).
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Request, Response

from console.settings import IceServer
from console.state import ConsoleState, console_state
from semcast.errors import InputError

MAX_SDP_BYTES = 256 * 1024
BASELINE_SUFFIX = ".baseline"

Leg = Literal["received", "source", "baseline"]

router = APIRouter(tags=["media"])
State = Annotated[ConsoleState, Depends(console_state)]


@router.post("/whep/{session_id}", status_code=201, summary="Watch what the receiver makes")
async def watch_received(session_id: str, request: Request, state: State) -> Response:
    """SDP offer in, SDP answer out; DELETE the Location to end."""
    offer = await read_offer(request)
    viewer_id, answer = await state.backend.open_received_viewer(session_id, offer)
    return _answer(state, f"/whep/{session_id}/received/{viewer_id}", answer)


@router.post("/whep/{session_id}/source", status_code=201, summary="Watch the source")
async def watch_source(session_id: str, request: Request, state: State) -> Response:
    """A preview by the transmitter; it never crossed the channel."""
    offer = await read_offer(request)
    viewer_id, answer = await state.backend.open_source_viewer(session_id, offer)
    return _answer(state, f"/whep/{session_id}/source/{viewer_id}", answer)


@router.post("/whep/{session_id}/baseline", status_code=201, summary="Watch the baseline")
async def watch_baseline(session_id: str, request: Request, state: State) -> Response:
    """What the receiver makes of the second link, of equal CBR."""
    offer = await read_offer(request)
    viewer_id, answer = await state.backend.open_received_viewer(
        session_id + BASELINE_SUFFIX, offer
    )
    return _answer(state, f"/whep/{session_id}/baseline/{viewer_id}", answer)


@router.delete("/whep/{session_id}/{leg}/{viewer_id}", summary="Stop watching")
async def stop_watching(session_id: str, leg: Leg, viewer_id: str, state: State) -> Response:
    """Ends a viewer."""
    if leg == "source":
        await state.backend.close_source_viewer(viewer_id)
    else:
        await state.backend.close_received_viewer(viewer_id)
    return Response(status_code=200)


@router.post("/whip", status_code=201, summary="Publish a webcam or an encoder")
async def publish(request: Request, state: State) -> Response:
    """SDP offer in, SDP answer out. The clip's id is in X-Semcast-Clip."""
    offer = await read_offer(request)
    webcam_id, answer = await state.backend.open_webcam(offer)
    response = _answer(state, f"/whip/{webcam_id}", answer)
    response.headers["X-Semcast-Clip"] = f"webcam:{webcam_id}"
    return response


@router.delete("/whip/{webcam_id}", summary="Stop publishing")
async def stop_publishing(webcam_id: str, state: State) -> Response:
    """Ends a webcam."""
    await state.backend.close_webcam(webcam_id)
    return Response(status_code=200)


async def read_offer(request: Request) -> str:
    """The SDP offer in a request. Raises HTTPException 413 or 415, and InputError."""
    essence = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if essence != "application/sdp":
        raise HTTPException(
            415,
            f"The offer must be sent as application/sdp, not as '{essence or 'nothing'}'.",
            headers={"Accept-Post": "application/sdp"},
        )
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_SDP_BYTES:
            raise HTTPException(
                413,
                f"The offer is larger than {MAX_SDP_BYTES // 1024} KB: that is no SDP.",
                headers={"Connection": "close"},
            )
    try:
        offer = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError("The offer is not UTF-8 text: send an SDP offer.") from error
    if not offer.startswith("v=0"):
        raise InputError("The offer is not SDP: its first line must be 'v=0'.")
    return offer


def _answer(state: ConsoleState, location: str, answer_sdp: str) -> Response:
    response = Response(answer_sdp, status_code=201, media_type="application/sdp")
    response.headers["Location"] = location
    for server in state.settings.ice_servers:
        for link in ice_links(server):
            response.headers.append("Link", link)
    return response


def ice_links(server: IceServer) -> list[str]:
    """Link header fields of one ICE server (RFC 9725, 4.6)."""
    extra = ""
    if server.username is not None and server.credential is not None:
        extra = (
            f'; username="{server.username}"; credential="{server.credential}"'
            '; credential-type="password"'
        )
    return [f'<{address}>; rel="ice-server"{extra}' for address in server.addresses]
