"""Streams that start at the same moment clear away what nobody watches once, not twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from receiver.session import DecodedFrame
from receiver.streams import FrameOutcome, Streams
from semcast.session import RadioFrame, SessionSetup


def setup(session_id: str) -> SessionSetup:
    return SessionSetup(
        session_id=session_id, scheme="lowres", width=64, height=64, fps=8.0, symbols_per_frame=800
    )


async def no_frames() -> AsyncIterator[RadioFrame]:
    return
    yield  # an empty stream


async def decoded(frame: DecodedFrame) -> None:
    raise AssertionError("there was no frame")


async def outcome(frame: FrameOutcome) -> None:
    raise AssertionError("there was no frame")


async def test_streams_that_start_together_do_not_trip_over_old_publishers() -> None:
    streams = Streams(max_sessions=16, record_folder=None, max_load=0)
    try:
        for batch in range(4):
            await asyncio.gather(
                *(
                    streams.run(setup(f"s{batch}-{k}"), no_frames(), decoded, outcome)
                    for k in range(4)
                )
            )
        assert streams.num_running == 0
    finally:
        await streams.close()
