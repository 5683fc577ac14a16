"""Kill -9 any one service mid-stream and start it again: the session goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc.aio
import pytest

from semcast.cli.processes import LocalServices, ServiceProcess
from semcast.rpc.client import open_channel
from semcast.v1 import link_pb2, transmitter_pb2, transmitter_pb2_grpc

SPEC = transmitter_pb2.SessionSpec(
    session_id="restart",
    clip="sample:gripper",
    scheme="lowres",
    baseline_scheme="h264-ldpc",
    width_px=128,
    height_px=128,
    frames_per_second=8,
    segment_frames=8,
    cbr=0.01,
    seed=7,
    generator="passthrough",
    paced=True,
    loop=True,
    measurement_tap=True,
    channel=link_pb2.ChannelSettings(snr_db=12, model=link_pb2.CHANNEL_MODEL_AWGN, seed=7),
)


@pytest.fixture
async def services() -> AsyncIterator[LocalServices]:
    async with LocalServices(live=True) as running:
        yield running


async def frames_until(
    stub: transmitter_pb2_grpc.TransmitterServiceStub, legs: set[str], *, at_least: int
) -> list[transmitter_pb2.FrameReport]:
    """Watches until each leg has delivered so many frames; gives the last of the main leg's."""
    seen = dict.fromkeys(legs, 0)
    main: list[transmitter_pb2.FrameReport] = []
    request = transmitter_pb2.WatchSessionRequest(session_id=SPEC.session_id)
    call = stub.WatchSession(request)
    async for response in call:
        event = response.event
        if event.WhichOneof("event") == "frame":
            seen[event.leg] = seen.get(event.leg, 0) + 1
            if event.leg == "main":
                main.append(event.frame)
        if min(seen[leg] for leg in legs) >= at_least:
            break
    call.cancel()
    return main


async def restart(process: ServiceProcess) -> None:
    await asyncio.to_thread(process.kill)
    process.start()
    await process.wait_ready()


@pytest.mark.parametrize("victim", ["receiver", "channel"])
async def test_session_survives_the_death_of_a_service(
    services: LocalServices, victim: str
) -> None:
    others = [process for process in services.all if process.service != victim]
    pids = [process.pid for process in others]
    async with open_channel(services.transmitter.address) as channel:
        stub = transmitter_pb2_grpc.TransmitterServiceStub(channel)
        await stub.StartSession(transmitter_pb2.StartSessionRequest(spec=SPEC))
        async with asyncio.timeout(60):
            before = await frames_until(stub, {"main", "baseline"}, at_least=6)
            await restart(next(p for p in services.all if p.service == victim))
            after = await frames_until(stub, {"main", "baseline"}, at_least=6)
    assert after[-1].generation > before[-1].generation
    assert not after[-1].receiver.concealed
    assert after[-1].psnr_db > 18
    assert [process.pid for process in others] == pids
    assert all(process.exit_status is None for process in others)


async def test_slider_moves_from_the_next_frame_on_and_only_forward_in_the_stream(
    services: LocalServices,
) -> None:
    async with open_channel(services.transmitter.address) as channel:
        stub = transmitter_pb2_grpc.TransmitterServiceStub(channel)
        await stub.StartSession(transmitter_pb2.StartSessionRequest(spec=SPEC))
        async with asyncio.timeout(60):
            await frames_until(stub, {"main"}, at_least=3)
            await stub.UpdateSession(
                transmitter_pb2.UpdateSessionRequest(session_id=SPEC.session_id, snr_db=-20.0)
            )
            lost = await frames_until(stub, {"main", "baseline"}, at_least=16)
            await stub.UpdateSession(
                transmitter_pb2.UpdateSessionRequest(session_id=SPEC.session_id, snr_db=12.0)
            )
            back = await frames_until(stub, {"main", "baseline"}, at_least=24)
    assert lost[-1].channel.snr_db_requested == -20
    assert lost[-1].receiver.concealed
    assert lost[-1].receiver.outage
    assert not back[-1].receiver.concealed
    assert not back[-1].receiver.outage
    assert back[-1].generation == lost[-1].generation


async def test_bad_values_come_back_as_the_same_sentence(services: LocalServices) -> None:
    async with open_channel(services.transmitter.address) as channel:
        stub = transmitter_pb2_grpc.TransmitterServiceStub(channel)
        bad = {
            "scheme": ("telepathy", "choose one of"),
            "clip": ("/etc/hostname", "choose one of those listed"),
            "mcs": ("psk-1/9", "qpsk"),
        }
        for field, (value, says) in bad.items():
            spec = transmitter_pb2.SessionSpec()
            spec.CopyFrom(SPEC)
            setattr(spec, field, value)
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await stub.StartSession(transmitter_pb2.StartSessionRequest(spec=spec))
            assert refusal.value.code() in (
                grpc.StatusCode.INVALID_ARGUMENT,
                grpc.StatusCode.NOT_FOUND,
            )
            assert says in (refusal.value.details() or "")
