"""The console's way to the services: a thin asynchronous gRPC client.

Every call has a deadline. What a service refuses comes out as one of the exceptions of
`semcast.errors` with the service's own sentence; a service that cannot be reached as an
UnavailableError that names it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from console.settings import ConsoleSettings
from semcast.rpc.client import open_channel, rpc_errors
from semcast.rpc.limits import UNARY_DEADLINE_S
from semcast.v1 import (
    receiver_pb2,
    receiver_pb2_grpc,
    transmitter_pb2,
    transmitter_pb2_grpc,
)

ServiceName = Literal["transmitter", "receiver"]
ServiceHealth = Literal["serving", "not serving", "unreachable"]

_OPEN_DEADLINE_S = 20.0
"""Opening a session or a peer connection: the service may have to open a clip or gather ICE."""
_UPLOAD_DEADLINE_S = 3600.0
_HEALTH_DEADLINE_S = 1.0


class Backend:
    """Transmitter and receiver as the console needs them.

    Opens its channels lazily; must be made and closed inside a running event loop.
    """

    def __init__(self, settings: ConsoleSettings) -> None:
        addresses: dict[ServiceName, str] = {
            "transmitter": settings.transmitter_address,
            "receiver": settings.receiver_address,
        }
        self._peers = {service: f"the {service} at {at}" for service, at in addresses.items()}
        self._channels: dict[ServiceName, grpc.aio.Channel] = {
            service: open_channel(at, settings.client_tls) for service, at in addresses.items()
        }
        self._transmitter = transmitter_pb2_grpc.TransmitterServiceStub(  # type: ignore[no-untyped-call]
            self._channels["transmitter"]
        )
        self._receiver = receiver_pb2_grpc.ReceiverServiceStub(  # type: ignore[no-untyped-call]
            self._channels["receiver"]
        )
        self._health = {
            service: health_pb2_grpc.HealthStub(channel)
            for service, channel in self._channels.items()
        }

    async def close(self) -> None:
        """Closes the channels; calls under way end with an UnavailableError."""
        for channel in self._channels.values():
            await channel.close(None)

    async def health(self, service: ServiceName) -> ServiceHealth:
        """What the service's grpc.health.v1 says of the whole server."""
        try:
            reply = await self._health[service].Check(
                health_pb2.HealthCheckRequest(), timeout=_HEALTH_DEADLINE_S
            )
        except grpc.aio.AioRpcError:
            return "unreachable"
        serving = reply.status == health_pb2.HealthCheckResponse.SERVING
        return "serving" if serving else "not serving"

    async def start_session(self, spec: transmitter_pb2.SessionSpec) -> None:
        """Starts the session, or replaces the one of this id."""
        with rpc_errors(self._peers["transmitter"]):
            await self._transmitter.StartSession(
                transmitter_pb2.StartSessionRequest(spec=spec), timeout=_OPEN_DEADLINE_S
            )

    async def set_snr(self, session_id: str, snr_db: float) -> None:
        """Sets the SNR of a running session."""
        with rpc_errors(self._peers["transmitter"]):
            await self._transmitter.UpdateSession(
                transmitter_pb2.UpdateSessionRequest(session_id=session_id, snr_db=snr_db),
                timeout=UNARY_DEADLINE_S,
            )

    async def stop_session(self, session_id: str) -> None:
        """Stops a session."""
        with rpc_errors(self._peers["transmitter"]):
            await self._transmitter.StopSession(
                transmitter_pb2.StopSessionRequest(session_id=session_id),
                timeout=UNARY_DEADLINE_S,
            )

    async def list_sessions(self) -> list[transmitter_pb2.RunningSession]:
        """The sessions the transmitter runs."""
        with rpc_errors(self._peers["transmitter"]):
            reply = await self._transmitter.ListSessions(
                transmitter_pb2.ListSessionsRequest(), timeout=UNARY_DEADLINE_S
            )
        return list(reply.sessions)

    async def watch_session(self, session_id: str) -> AsyncIterator[transmitter_pb2.SessionEvent]:
        """Events of a running session, without a deadline, until it or the transmitter ends."""
        call = self._transmitter.WatchSession(
            transmitter_pb2.WatchSessionRequest(session_id=session_id)
        )
        try:
            with rpc_errors(self._peers["transmitter"]):
                async for reply in call:
                    yield reply.event
        finally:
            call.cancel()

    async def list_clips(self) -> list[transmitter_pb2.Clip]:
        """Samples, uploads and webcams."""
        with rpc_errors(self._peers["transmitter"]):
            reply = await self._transmitter.ListClips(
                transmitter_pb2.ListClipsRequest(), timeout=UNARY_DEADLINE_S
            )
        return list(reply.clips)

    async def upload_clip(
        self, file_name: str, pieces: AsyncIterator[bytes]
    ) -> transmitter_pb2.Clip:
        """Streams a file to the transmitter, a piece at a time, as fast as it takes them.

        Errors of `pieces` pass through, and end the call so that the transmitter drops the file.
        """
        call = self._transmitter.UploadClip(timeout=_UPLOAD_DEADLINE_S)
        try:
            with rpc_errors(self._peers["transmitter"]):
                await call.write(transmitter_pb2.UploadClipRequest(file_name=file_name))
                async for piece in pieces:
                    # A transmitter that has refused the file answers before its end.
                    if call.done():
                        break
                    await call.write(transmitter_pb2.UploadClipRequest(data=piece))
                if not call.done():
                    await call.done_writing()
                reply = await call
        finally:
            call.cancel()
        clip: transmitter_pb2.Clip = reply.clip
        return clip

    async def delete_upload(self, clip_id: str) -> None:
        """Removes an uploaded clip."""
        with rpc_errors(self._peers["transmitter"]):
            await self._transmitter.DeleteUpload(
                transmitter_pb2.DeleteUploadRequest(clip_id=clip_id), timeout=UNARY_DEADLINE_S
            )

    async def open_source_viewer(self, session_id: str, offer_sdp: str) -> tuple[str, str]:
        """(viewer id, answer SDP) of a preview of the session's source."""
        with rpc_errors(self._peers["transmitter"]):
            reply = await self._transmitter.OpenViewer(
                transmitter_pb2.TransmitterServiceOpenViewerRequest(
                    session_id=session_id, offer_sdp=offer_sdp
                ),
                timeout=_OPEN_DEADLINE_S,
            )
        return reply.viewer_id, reply.answer_sdp

    async def close_source_viewer(self, viewer_id: str) -> None:
        """Ends a preview."""
        with rpc_errors(self._peers["transmitter"]):
            await self._transmitter.CloseViewer(
                transmitter_pb2.TransmitterServiceCloseViewerRequest(viewer_id=viewer_id),
                timeout=UNARY_DEADLINE_S,
            )

    async def open_received_viewer(self, session_id: str, offer_sdp: str) -> tuple[str, str]:
        """(viewer id, answer SDP) of what the receiver made of one leg."""
        with rpc_errors(self._peers["receiver"]):
            reply = await self._receiver.OpenViewer(
                receiver_pb2.ReceiverServiceOpenViewerRequest(
                    session_id=session_id, offer_sdp=offer_sdp
                ),
                timeout=_OPEN_DEADLINE_S,
            )
        return reply.viewer_id, reply.answer_sdp

    async def close_received_viewer(self, viewer_id: str) -> None:
        """Ends a viewer of the receiver."""
        with rpc_errors(self._peers["receiver"]):
            await self._receiver.CloseViewer(
                receiver_pb2.ReceiverServiceCloseViewerRequest(viewer_id=viewer_id),
                timeout=UNARY_DEADLINE_S,
            )

    async def open_webcam(self, offer_sdp: str) -> tuple[str, str]:
        """(webcam id, answer SDP); the webcam is the clip webcam:ID from then on."""
        with rpc_errors(self._peers["transmitter"]):
            reply = await self._transmitter.OpenWebcam(
                transmitter_pb2.OpenWebcamRequest(offer_sdp=offer_sdp), timeout=_OPEN_DEADLINE_S
            )
        return reply.webcam_id, reply.answer_sdp

    async def close_webcam(self, webcam_id: str) -> None:
        """Ends a webcam's stream."""
        with rpc_errors(self._peers["transmitter"]):
            await self._transmitter.CloseWebcam(
                transmitter_pb2.CloseWebcamRequest(webcam_id=webcam_id), timeout=UNARY_DEADLINE_S
            )
