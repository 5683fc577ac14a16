"""Relay end to end: a transmitter's call, the emulator, a recording receiver."""

from __future__ import annotations

import asyncio
import gc
import os
import socket

import grpc
import grpc.aio
import numpy as np
import pytest
from relay_bench import SETUP, frame_request, radio_frame, setup_request

from channel_emulator.impairments import ChannelSettings, impair
from semcast.errors import CapacityError, InputError, NotFoundError, UnavailableError
from semcast.rpc.client import error_from_rpc, open_channel
from semcast.rpc.limits import MAX_MESSAGE_BYTES
from semcast.rpc.messages import samples_from_bytes
from semcast.session import ChannelModel
from semcast.v1 import channel_pb2, channel_pb2_grpc, link_pb2


async def fate(call) -> grpc.aio.AioRpcError:
    """The error a call ends with; its other answers are skipped."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with asyncio.timeout(10):
            while await call.read() is not grpc.aio.EOF:
                pass
            pytest.fail(f"the call ended with {await call.code()}")
    return caught.value


async def answers_to(call, sequence: int) -> dict:
    """Reads the four answers a frame gets; fails where they are about another frame."""
    seen = {}
    for _ in range(4):
        async with asyncio.timeout(10):
            answer = await call.read()
        kind = answer.WhichOneof("message")
        message = getattr(answer, kind)
        assert message.sequence == sequence
        seen[kind] = message
    return seen


async def test_frames_go_forward_in_order_and_answers_come_back(bench):
    call = await bench.open(snr_db=6.0)
    for sequence in range(20):
        await call.write(frame_request(radio_frame(sequence)))
        seen = await answers_to(call, sequence)
        assert list(seen) == ["channel", "feedback", "receiver", "tap_frame"]
        assert seen["channel"].num_symbols == 216
        assert seen["channel"].snr_db_requested == 6.0
        assert seen["channel"].signal_energy == pytest.approx(216, rel=1e-5)
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK
    assert [frame.sequence for frame in bench.receiver.frames] == list(range(20))
    assert bench.receiver.endings == ["half-closed"]


async def test_what_arrives_is_what_the_channel_makes_of_it(bench):
    call = await bench.open(snr_db=3.0, seed=99)
    # The second frame is beyond what the event loop does itself.
    for sequence, count in ((4, 500), (9, 20_000)):
        sent = radio_frame(sequence, count)
        await call.write(frame_request(sent))
        await answers_to(call, sequence)
        expected, _ = impair(sent, ChannelSettings(snr_db=3.0, seed=99))
        received = bench.receiver.frames[-1]
        assert received.pts_us == sent.pts_us
        assert received.session_id == SETUP.session_id
        for block, wire in zip(expected.blocks, received.blocks, strict=True):
            assert wire.modality == block.modality
            np.testing.assert_array_equal(samples_from_bytes(wire.iq), block.samples)
    call.cancel()


async def test_the_receiver_learns_the_setup_and_nothing_of_the_channel(bench):
    """The same set-up bytes whatever the channel's settings, and no other message before frames."""
    for snr_db, seed in ((17.5, 1), (-4.0, 2)):
        call = await bench.open(snr_db=snr_db, seed=seed)
        await call.write(frame_request(radio_frame(0)))
        await answers_to(call, 0)
        call.cancel()
    first, second = bench.receiver.setups
    assert first.SerializeToString() == second.SerializeToString()
    assert first.session_id == SETUP.session_id
    assert first.symbols_per_frame == SETUP.symbols_per_frame


async def test_new_settings_are_in_force_from_the_next_frame(bench):
    call = await bench.open(snr_db=0.0)
    requested = []
    for sequence, snr_db in enumerate([None, 20.0, None, -5.0]):
        if snr_db is not None:
            settings = link_pb2.ChannelSettings(snr_db=snr_db, model=1, seed=7)
            await call.write(channel_pb2.RelayRequest(channel=settings))
        await call.write(frame_request(radio_frame(sequence)))
        telemetry = (await answers_to(call, sequence))["channel"]
        requested.append(telemetry.snr_db_requested)
        model = ChannelSettings(snr_db=requested[-1], seed=7)
        expected = impair(radio_frame(sequence), model)[0].blocks[1].samples
        got = samples_from_bytes(bench.receiver.frames[-1].blocks[1].iq)
        np.testing.assert_array_equal(got, expected)
    assert requested == [0.0, 20.0, 20.0, -5.0]
    call.cancel()


async def test_bursts_take_their_default_lengths_and_are_told(bench):
    call = await bench.open(model=link_pb2.CHANNEL_MODEL_BURST)
    lost = []
    for sequence in range(60):
        await call.write(frame_request(radio_frame(sequence)))
        lost.append((await answers_to(call, sequence))["channel"].block_lost)
    call.cancel()
    settings = ChannelSettings(snr_db=10.0, model=ChannelModel.BURST, seed=7)
    assert lost == [impair(radio_frame(k), settings)[1].block_lost for k in range(60)]
    assert True in lost and False in lost


async def test_answers_come_while_no_frame_goes(bench):
    """The directions do not wait for each other."""
    bench.receiver.may_answer.clear()
    call = await bench.open()
    await call.write(frame_request(radio_frame(0)))
    assert (await call.read()).WhichOneof("message") == "channel"
    bench.receiver.may_answer.set()
    assert (await call.read()).WhichOneof("message") == "feedback"
    call.cancel()


async def test_the_last_answers_arrive_after_the_transmitters_half_close(bench):
    bench.receiver.may_answer.clear()
    call = await bench.open()
    for sequence in range(3):
        await call.write(frame_request(radio_frame(sequence)))
    await call.done_writing()
    bench.receiver.may_answer.set()
    kinds = [answer.WhichOneof("message") async for answer in call]
    assert sorted(kinds) == sorted(["channel", "feedback", "receiver", "tap_frame"] * 3)
    assert await call.code() is grpc.StatusCode.OK


async def test_a_slow_receiver_holds_the_transmitter_back(bench):
    """Flow control end to end: with no frame read at the far end, writes stop."""
    bench.receiver.may_answer.clear()
    call = await bench.open()
    written = 0
    try:
        for sequence in range(400):
            async with asyncio.timeout(1):
                await call.write(frame_request(radio_frame(sequence, count=100_000)))
            written += 1
    except TimeoutError:
        pass
    # 0.8 MB a frame: windows and socket buffers of two hops, not 320 MB of queue.
    assert written < 100
    call.cancel()


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (InputError("Scheme 'lowres' is not served here."), "INVALID_ARGUMENT", InputError),
        (NotFoundError("No generator 'x'."), "NOT_FOUND", NotFoundError),
        (CapacityError("All 4 places are taken: wait."), "RESOURCE_EXHAUSTED", CapacityError),
        (UnavailableError("The model is gone: restart."), "UNAVAILABLE", UnavailableError),
    ],
)
async def test_the_receivers_refusal_comes_back_as_it_was(bench, error, code, kind):
    bench.receiver.refuse_setup = error
    failure = await fate(await bench.open())
    assert failure.code().name == code
    assert failure.details() == str(error)
    mapped = error_from_rpc(failure, "the channel emulator")
    assert type(mapped) is kind
    assert str(mapped) == str(error)


async def test_a_fault_of_the_receiver_names_it(bench, caplog):
    bench.receiver.fail_at = (2, RuntimeError("secret detail"))
    call = await bench.open()
    for sequence in range(3):
        await call.write(frame_request(radio_frame(sequence)))
    failure = await fate(call)
    assert failure.code() is grpc.StatusCode.UNAVAILABLE
    assert f"The receiver at {bench.receiver_address}" in failure.details()
    assert "secret detail" not in failure.details()
    assert "secret detail" in caplog.text


async def test_a_receiver_that_leaves_early_is_named(bench):
    bench.receiver.leave_at = 1
    call = await bench.open()
    for sequence in range(2):
        await call.write(frame_request(radio_frame(sequence)))
    failure = await fate(call)
    assert failure.code() is grpc.StatusCode.UNAVAILABLE
    assert failure.details().startswith(f"The receiver at {bench.receiver_address} ended")


async def test_no_receiver_is_unavailable_and_names_the_address(make_bench):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
        bench = await make_bench(receiver_address=address)
        failure = await fate(await bench.open())
    assert failure.code() is grpc.StatusCode.UNAVAILABLE
    assert f"The receiver at {address} cannot be reached" in failure.details()


async def test_a_cancelled_transmitter_cancels_the_receiver(bench):
    call = await bench.open()
    await call.write(frame_request(radio_frame(0)))
    await answers_to(call, 0)
    call.cancel()
    async with asyncio.timeout(10):
        await bench.receiver.ended.wait()
    assert bench.receiver.endings == ["cancelled"]


def broken(change) -> channel_pb2.RelayRequest:
    request = frame_request(radio_frame(1))
    change(request.frame)
    return request


def set_nan(frame):
    frame.blocks[1].iq = np.full(200, np.nan, "<c8").tobytes()


def set_overpower(frame):
    frame.blocks[1].iq = np.full(200, 1.5, "<c8").tobytes()


def set_short(frame):
    frame.blocks[1].num_symbols = 201


def set_unknown_modality(frame):
    frame.blocks[1].modality = 42


def set_no_modality(frame):
    frame.blocks[1].modality = 0


def set_repeated_modality(frame):
    frame.blocks[1].modality = frame.blocks[0].modality


def set_generation(frame):
    frame.generation = 2


def set_session(frame):
    frame.session_id = "other"


def set_old_sequence(frame):
    frame.sequence = 0


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (broken(set_nan), "lowres block of frame 1 holds NaN"),
        (broken(set_overpower), "mean power 2.250, more than 1.01: scale the block to unit"),
        (broken(set_short), "says 201 symbols but carries 1600 bytes"),
        (broken(set_unknown_modality), "Modality 42 is not known"),
        (broken(set_no_modality), "Modality 0 is not known"),
        (broken(set_repeated_modality), "two blocks of pilot"),
        (broken(set_generation), "generation 2, came on the stream of"),
        (broken(set_session), "session 'other'"),
        (broken(set_old_sequence), "Frame 0 came after frame 0"),
        (setup_request(), "second set-up"),
        (channel_pb2.RelayRequest(), "empty message"),
        (
            channel_pb2.RelayRequest(channel=link_pb2.ChannelSettings(snr_db=99, model=1)),
            "snr_db is 99.0, but should be less than or equal to 60",
        ),
        (
            channel_pb2.RelayRequest(channel=link_pb2.ChannelSettings(snr_db=9)),
            "Channel model 0 is not known",
        ),
    ],
)
async def test_a_bad_message_ends_the_call_with_one_sentence(bench, request_, sentence):
    call = await bench.open()
    await call.write(frame_request(radio_frame(0)))
    await answers_to(call, 0)
    await call.write(request_)
    failure = await fate(call)
    assert failure.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert sentence in failure.details()
    async with asyncio.timeout(10):
        await bench.receiver.ended.wait()
    assert bench.receiver.endings == ["cancelled"]


@pytest.mark.parametrize(
    "first",
    [
        frame_request(radio_frame(0)),
        channel_pb2.RelayRequest(),
        channel_pb2.RelayRequest(channel=link_pb2.ChannelSettings(snr_db=9, model=1)),
        None,
    ],
)
async def test_a_call_without_setup_is_refused(bench, first):
    call = bench.stub.Relay()
    if first is not None:
        await call.write(first)
    else:
        await call.done_writing()
    failure = await fate(call)
    assert failure.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "must be its set-up" in failure.details()
    assert bench.receiver.setups == []


async def test_a_bad_setup_is_refused(bench):
    request = setup_request()
    request.setup.session.width_px = 4
    call = bench.stub.Relay()
    await call.write(request)
    failure = await fate(call)
    assert failure.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "width_px is 4, but should be greater than or equal to 16" in failure.details()


async def test_an_oversized_message_ends_its_call_only(bench):
    # A client without our limits: the emulator's own must hold.
    channel = grpc.aio.insecure_channel(
        bench.address, options=[("grpc.max_send_message_length", -1)]
    )
    call = channel_pb2_grpc.ChannelServiceStub(channel).Relay()
    await call.write(setup_request())
    await call.write(frame_request(radio_frame(0, count=MAX_MESSAGE_BYTES // 8 + 1000)))
    failure = await fate(call)
    assert failure.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await channel.close()
    await assert_works(bench)


async def assert_works(bench):
    call = await bench.open()
    await call.write(frame_request(radio_frame(0)))
    await answers_to(call, 0)
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def test_bytes_that_are_no_message_end_their_call_only(bench):
    channel = open_channel(bench.address)
    raw = channel.stream_stream("/semcast.v1.ChannelService/Relay")
    for payload in (b"\xff" * 40, b"\x0a\xff\xff\xff\xff\x0f", b""):
        call = raw()
        await call.write(payload)
        failure = await fate(call)
        assert failure.code() is grpc.StatusCode.INVALID_ARGUMENT
    await channel.close(None)
    await assert_works(bench)


async def test_garbage_on_the_port_does_no_harm(bench):
    generator = np.random.default_rng(0)
    host, port = bench.address.split(":")
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    for k in range(60):
        garbage = generator.bytes(int(generator.integers(1, 4000)))
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(preface + garbage if k % 2 else garbage)
        try:
            await writer.drain()
        except ConnectionError:
            pass
        writer.close()
    await assert_works(bench)


async def test_reconnects_leak_nothing(bench):
    """Every way a call can end, again and again: no task, descriptor or call stays behind."""

    async def one_of_each() -> None:
        await assert_works(bench)
        cancelled = await bench.open()
        await cancelled.write(frame_request(radio_frame(0)))
        await answers_to(cancelled, 0)
        cancelled.cancel()
        refused = await bench.open()
        await refused.write(broken(set_nan))
        await fate(refused)
        channel = open_channel(bench.address)
        dropped = channel_pb2_grpc.ChannelServiceStub(channel).Relay()
        await dropped.write(setup_request())
        await dropped.write(frame_request(radio_frame(0)))
        await answers_to(dropped, 0)
        await channel.close(None)

    async def settled() -> tuple[int, int]:
        """Tasks and descriptors once they stay the same for half a second."""
        same, before = 0, (0, 0)
        while same < 10:
            gc.collect()
            now = (len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd")))
            same = same + 1 if now == before else 0
            before = now
            await asyncio.sleep(0.05)
        return before

    for _ in range(5):
        await one_of_each()
    before = await settled()
    for _ in range(60):
        await one_of_each()
    after = await settled()
    assert after[0] <= before[0]
    assert after[1] <= before[1]
    assert len(bench.receiver.endings) == 65 * 4
