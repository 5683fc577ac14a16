"""Many datagrams in one system call arrive as the same datagrams, also where that is refused."""

import asyncio
import errno
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semcast.media.udp_batch import MAX_BATCH_BYTES, MAX_SEGMENTS, BatchSocket, equal_runs

PACKETS = [b"a" * 40, *[bytes([k]) * 1200 for k in range(5)], b"z" * 700, b"y" * 700, b"x" * 900]


@given(st.lists(st.integers(1, 1300), max_size=200).map(tuple))
def test_runs_cover_all_and_suit_the_kernel(sizes: tuple[int, ...]) -> None:
    runs = equal_runs(sizes)
    assert [k for start, end in runs for k in range(start, end)] == list(range(len(sizes)))
    for start, end in runs:
        run = sizes[start:end]
        assert set(run[:-1]) <= {run[0]} and run[-1] <= run[0]
        assert len(run) <= MAX_SEGMENTS and sum(run) <= MAX_BATCH_BYTES


def test_runs_are_as_long_as_can_be() -> None:
    assert equal_runs((40, 1200, 1200, 1200, 700, 700, 900)) == [(0, 1), (1, 5), (5, 6), (6, 7)]
    assert equal_runs((10,) * 70) == [(0, 64), (64, 70)]


class Inbox(asyncio.DatagramProtocol):
    def __init__(self, expected: int) -> None:
        self.got: list[bytes] = []
        self.complete = asyncio.Event()
        self._expected = expected

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.got.append(data)
        if len(self.got) == self._expected:
            self.complete.set()


async def received(outbox: BatchSocket, packets: list[bytes]) -> list[bytes]:
    loop = asyncio.get_running_loop()
    transport, inbox = await loop.create_datagram_endpoint(
        lambda: Inbox(len(packets)), local_addr=("127.0.0.1", 0)
    )
    outbox.send(packets, transport.get_extra_info("sockname"))
    await asyncio.wait_for(inbox.complete.wait(), 10)
    transport.close()
    return inbox.got


@pytest.fixture
async def outbox():
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
    )
    batch = BatchSocket(transport)
    yield batch
    batch.close()
    transport.close()


async def test_batch_arrives_in_order(outbox) -> None:
    assert await received(outbox, PACKETS) == PACKETS


async def test_a_relay_sends_one_by_one(outbox) -> None:
    outbox.close()
    assert await received(outbox, PACKETS) == PACKETS


async def test_where_segmentation_is_refused_packets_leave_one_by_one(outbox, monkeypatch) -> None:
    def refuse(sock: socket.socket, run: list[bytes], address: tuple[str, int]) -> None:
        if len(run) > 1:
            raise OSError(errno.EIO, "no offload")
        sock.sendto(run[0], address)

    monkeypatch.setattr(BatchSocket, "_send_run", staticmethod(refuse))
    assert await received(outbox, PACKETS) == PACKETS
    assert await received(outbox, PACKETS) == PACKETS  # and goes on so


async def test_a_full_socket_loses_packets_instead_of_waiting(outbox, monkeypatch) -> None:
    def full(sock: socket.socket, run: list[bytes], address: tuple[str, int]) -> None:
        raise BlockingIOError

    monkeypatch.setattr(BatchSocket, "_send_run", staticmethod(full))
    outbox.send(PACKETS, ("127.0.0.1", 9))
    assert outbox.transport.get_write_buffer_size() == 0
