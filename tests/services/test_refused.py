"""A live session that the receiver cannot serve in time: why, told through three services."""

from __future__ import annotations

import asyncio

import pytest

from semcast.cli.processes import LocalServices
from semcast.errors import CapacityError
from semcast.rpc.client import open_channel, rpc_errors
from semcast.v1 import link_pb2, transmitter_pb2, transmitter_pb2_grpc

pytest.importorskip("torch")

# At 256x256 the generator needs some 50 ms of a CPU; 120 frames a second leave 8.
SPEC = transmitter_pb2.SessionSpec(
    session_id="refused",
    clip="sample:gripper",
    scheme="lowres",
    width_px=256,
    height_px=256,
    frames_per_second=120,
    segment_frames=8,
    cbr=0.004,
    seed=7,
    generator="tiny",
    paced=True,
    channel=link_pb2.ChannelSettings(snr_db=12, model=link_pb2.CHANNEL_MODEL_AWGN, seed=7),
)


async def test_the_receivers_reason_reaches_whoever_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    async with (
        LocalServices(live=True) as services,
        open_channel(services.transmitter.address) as channel,
    ):
        stub = transmitter_pb2_grpc.TransmitterServiceStub(channel)
        states = []
        with pytest.raises(CapacityError, match="fewer denoising steps") as refused:
            with rpc_errors("the transmitter"):
                async with asyncio.timeout(60):
                    request = transmitter_pb2.RunSessionRequest(spec=SPEC)
                    async for response in stub.RunSession(request):
                        assert response.event.WhichOneof("event") != "frame"
                        states.append(response.event.status)
    assert "Generator 'tiny' at 256x256" in str(refused.value)
    # What the page shows.
    assert states[-1].state == transmitter_pb2.SESSION_STATE_FAILED
    assert states[-1].detail == str(refused.value)
