"""How does one peer connection live, and end without a trace?

A peer ends when its owner closes it, when the other side says goodbye (DTLS close), when ICE
consent is lost (about 30 s after the other side vanished, RFC 7675), or when the connection does
not come up in time. Whatever the cause, `closed` is set once, after tasks and sockets are gone.
"""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable, Coroutine

from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection
from aiortc.exceptions import InternalError, InvalidAccessError, InvalidStateError, OperationError

from semcast.errors import InputError
from semcast.media.ice import bound_gathering
from semcast.media.offer import VideoOffer

logger = logging.getLogger(__name__)

GATHER_TIMEOUT_S = 2.0
"""How long a STUN or TURN server that does not answer may hold up the answer."""

CONNECT_TIMEOUT_S = 20.0
"""A browser that has its answer connects within a second; one that left never does."""


class Peer:
    """One `RTCPeerConnection` on the answering side.

    Args:
        ice_servers: STUN and TURN servers.
        on_closed: called once on the event loop when the peer has ended.
    """

    def __init__(
        self,
        ice_servers: list[RTCIceServer],
        on_closed: Callable[["Peer"], None],
    ) -> None:
        self.id = uuid.uuid4().hex
        # An empty list, not None: None would mean a public STUN server.
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=list(ice_servers)))
        self._on_closed = on_closed
        self._connect_timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[None] | None = None
        self.connection.on("connectionstatechange", self._state_changed)

    async def answer(self, offer: VideoOffer, prepare: Callable[[], None]) -> str:
        """Answers `offer` with all candidates in the SDP (no trickle).

        Args:
            offer: what `read_offer` gave.
            prepare: called when the transceivers exist, to set directions and codecs.

        Raises:
            InputError: the offer cannot be met.
        """
        try:
            await self.connection.setRemoteDescription(offer.description)
            prepare()
            bound_gathering(self.connection, GATHER_TIMEOUT_S)
            await self.connection.setLocalDescription(await self.connection.createAnswer())
        except (InternalError, InvalidAccessError, OperationError, ValueError) as error:
            await self.close()
            raise InputError(f"The SDP offer cannot be answered: {error}.") from error
        except BaseException:
            await self.close()
            raise
        loop = asyncio.get_running_loop()
        if self.connection.connectionState != "connected":
            self._connect_timer = loop.call_later(CONNECT_TIMEOUT_S, self._give_up)
        if offer.mdns_candidates:
            self.spawn(self._add_mdns_candidates(offer))
        return self.connection.localDescription.sdp

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Runs `work` as a task that ends with the peer."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close_soon(self) -> None:
        """Starts closing, from a callback."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())

    async def close(self) -> None:
        """Ends the connection, its tasks and sockets."""
        self.close_soon()
        assert self._closing is not None
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._connect_timer is not None:
            self._connect_timer.cancel()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await self.connection.close()
        finally:
            self._on_closed(self)

    def _state_changed(self) -> None:
        state = self.connection.connectionState
        logger.debug("peer %s is %s", self.id, state)
        if state == "connected" and self._connect_timer is not None:
            self._connect_timer.cancel()
        elif state in ("failed", "closed"):
            self.close_soon()

    def _give_up(self) -> None:
        logger.info("peer %s did not connect in %g s", self.id, CONNECT_TIMEOUT_S)
        self.close_soon()

    async def _add_mdns_candidates(self, offer: VideoOffer) -> None:
        # The other side may close, or mDNS be impossible here; its host candidates lead to us
        # all the same.
        with contextlib.suppress(OSError, ValueError, InvalidStateError):
            await asyncio.gather(*map(self.connection.addIceCandidate, offer.mdns_candidates))
