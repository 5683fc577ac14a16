"""How do the packets of one picture leave in one system call?

A system call for each packet is half the cost of a viewer. Linux takes a run of packets of equal
size (the last may be shorter) in one `sendmsg` with `UDP_SEGMENT` (generic segmentation offload,
udp(7)); elsewhere, through a TURN relay, or where the path refuses it, packets leave one by one.
Nothing queues here: what the socket does not take at once is lost, as on any UDP path, and comes
back by NACK or PLI.
"""

import asyncio
import errno
import functools
import logging
import os
import socket
import struct
import sys
from collections.abc import Sequence

logger = logging.getLogger(__name__)

UDP_SEGMENT = 103
"""include/uapi/linux/udp.h; Python does not name it."""

MAX_SEGMENTS = 64
MAX_BATCH_BYTES = 60_000

# The kernel or the device cannot segment, or the path's MTU is below the packet size.
_REFUSALS = {errno.EINVAL, errno.EIO, errno.EMSGSIZE, errno.ENOPROTOOPT, errno.EOPNOTSUPP}


@functools.lru_cache(maxsize=64)  # the packets of a picture have the same sizes for all viewers
def equal_runs(sizes: tuple[int, ...]) -> list[tuple[int, int]]:
    """Cuts packets into runs [start, end): equal sizes, only the last of a run may be smaller."""
    runs: list[tuple[int, int]] = []
    start = 0
    for index in range(1, len(sizes) + 1):
        if index < len(sizes):
            fits = (index - start + 1) * sizes[start] <= MAX_BATCH_BYTES
            full = index - start >= MAX_SEGMENTS
            if sizes[index - 1] == sizes[start] >= sizes[index] and fits and not full:
                continue
        runs.append((start, index))
        start = index
    return runs


class BatchSocket:
    """Sends batches over an asyncio datagram transport; owns a duplicate of its socket."""

    def __init__(self, transport: asyncio.DatagramTransport) -> None:
        self.transport = transport
        shared = transport.get_extra_info("socket")
        self._socket: socket.socket | None = None
        # A relay has no socket of its own: its packets leave wrapped, one by one.
        if sys.platform == "linux" and shared is not None:
            self._socket = socket.socket(fileno=os.dup(shared.fileno()))
            self._socket.setblocking(False)

    def send(self, packets: Sequence[bytes], address: tuple[str, int]) -> None:
        """Sends all packets to `address`; never waits."""
        if self._socket is None:
            self._send_singly(packets, address)
            return
        for start, end in equal_runs(tuple(map(len, packets))):
            try:
                self._send_run(self._socket, packets[start:end], address)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in _REFUSALS:
                    logger.debug("packets to %s were lost: %s", address, error)
                    return
                logger.info("no segmentation offload to %s (%s): one by one", address, error)
                self.close()
                self._send_singly(packets[start:], address)
                return

    def close(self) -> None:
        """Gives the duplicate back; sending goes on packet by packet."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @staticmethod
    def _send_run(sock: socket.socket, run: Sequence[bytes], address: tuple[str, int]) -> None:
        if len(run) == 1:
            sock.sendto(run[0], address)
            return
        segment_size = struct.pack("H", len(run[0]))
        sock.sendmsg(run, [(socket.IPPROTO_UDP, UDP_SEGMENT, segment_size)], 0, address)

    def _send_singly(self, packets: Sequence[bytes], address: tuple[str, int]) -> None:
        for packet in packets:
            self.transport.sendto(packet, address)
