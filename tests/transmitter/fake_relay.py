"""A channel emulator in memory: the call object of `Relay` without gRPC, steered by the test.

`FakeRelay` stands in for the stub. What a leg writes waits in `FakeCall.requests`; what the test
puts by `answer`, `fail` or `end` is what the leg reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import numpy as np
from numpy.typing import NDArray

from semcast.session import Modality
from semcast.v1 import channel_pb2, link_pb2, transmitter_pb2
from transmitter.leg import CapturedFrame

SIDE = 64
PATIENCE_S = 20.0
"""How long a test waits for something that must come; never how long something may take."""


class InlineExecutor(Executor):
    """Runs at once what it is given, so that nothing but the event loop has to be waited for."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


async def settle() -> None:
    """Returns when the tasks of this loop have gone as far as they can without outside help."""
    for _ in range(200):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Returns when something comes true that no event tells of."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - the state is a counter of another thread
            await asyncio.sleep(0.005)


def rpc_error(code: grpc.StatusCode, details: str, *, ours: bool = True) -> grpc.aio.AioRpcError:
    """A status as gRPC reports it. ours: a sentence that a semcast service raised."""
    trailing = grpc.aio.Metadata(*([("semcast-sentence", "1")] if ours else []))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details)


class FakeCall:
    """One `Relay` call, from the emulator's side."""

    def __init__(self) -> None:
        self.requests: asyncio.Queue[channel_pb2.RelayRequest | None] = asyncio.Queue()
        self.half_closed = asyncio.Event()
        self.cancelled = False
        self.may_write = asyncio.Event()
        self.may_write.set()
        self._responses: asyncio.Queue[channel_pb2.RelayResponse | BaseException | None] = (
            asyncio.Queue()
        )
        self._over = False

    # What the leg calls.

    async def write(self, request: channel_pb2.RelayRequest) -> None:
        await self.may_write.wait()
        if self._over:
            raise asyncio.InvalidStateError("RPC already finished.")
        copy = channel_pb2.RelayRequest()
        copy.CopyFrom(request)
        self.requests.put_nowait(copy)

    async def initial_metadata(self) -> tuple[()]:
        """The set-up is accepted at once."""
        return ()

    async def done_writing(self) -> None:
        if self._over:
            raise asyncio.InvalidStateError("RPC already finished.")
        self.half_closed.set()

    async def __aiter__(self) -> AsyncIterator[channel_pb2.RelayResponse]:
        while (response := await self._responses.get()) is not None:
            if isinstance(response, BaseException):
                raise response
            yield response

    def cancel(self) -> bool:
        self.cancelled = True
        self._over = True
        self.requests.put_nowait(None)
        return True

    def done(self) -> bool:
        return self._over

    # What the test calls.

    async def next(self) -> channel_pb2.RelayRequest:
        """What the leg writes next."""
        async with asyncio.timeout(PATIENCE_S):
            request = await self.requests.get()
        assert request is not None, "the leg has given up the call"
        return request

    async def next_frame(self) -> link_pb2.RadioFrame:
        """What the leg writes next, which must be a frame."""
        request = await self.next()
        assert request.WhichOneof("message") == "frame", request
        return request.frame

    def waiting(self) -> list[str]:
        """Kinds of the messages that were written and not taken by the test yet."""
        taken = []
        while not self.requests.empty():
            request = self.requests.get_nowait()
            assert request is not None, "the leg has given up the call"
            taken.append(request.WhichOneof("message") or "empty")
        return taken

    def answer(self, *responses: channel_pb2.RelayResponse) -> None:
        """Sends responses back."""
        for response in responses:
            self._responses.put_nowait(response)

    def fail(self, error: BaseException) -> None:
        """Ends the call by an error."""
        self._over = True
        self._responses.put_nowait(error)
        self.may_write.set()

    def end(self) -> None:
        """Ends the call with status OK."""
        self._over = True
        self._responses.put_nowait(None)


@dataclass
class FakeRelay:
    """The stub. answer_all: every call is answered as by a perfect link until it is half-closed.

    hold_writes: a call takes nothing before the test sets its `may_write`.
    errors: how the first calls end, at once, one each; later ones work.
    refused: how the calls of a session id end when their set-up comes (with answer_all).
    """

    answer_all: bool = False
    hold_writes: bool = False
    errors: list[BaseException] = field(default_factory=list)
    refused: dict[str, BaseException] = field(default_factory=dict)
    frames_answered: int = 0
    calls: list[FakeCall] = field(default_factory=list)
    setups: list[channel_pb2.RelaySetup] = field(default_factory=list)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def Relay(self) -> FakeCall:
        call = FakeCall()
        if self.hold_writes:
            call.may_write.clear()
        self.calls.append(call)
        self._tasks.append(asyncio.create_task(self._notify()))
        if len(self.calls) <= len(self.errors):
            call.fail(self.errors[len(self.calls) - 1])
        elif self.answer_all:
            self.serve(call)
        return call

    def serve(self, call: FakeCall) -> None:
        """Answers all of a call from now on, until it is half-closed."""
        self._tasks.append(asyncio.create_task(self._serve(call)))

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def call(self, index: int) -> FakeCall:
        """The index-th call, once it is made."""
        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(lambda: len(self.calls) > index)
        return self.calls[index]

    async def _serve(self, call: FakeCall) -> None:
        closed = asyncio.create_task(call.half_closed.wait())
        while True:
            taking = asyncio.create_task(call.requests.get())
            await asyncio.wait({taking, closed}, return_when=asyncio.FIRST_COMPLETED)
            if not taking.done():
                taking.cancel()
                call.end()
                return
            if (request := taking.result()) is None:
                closed.cancel()
                return
            match request.WhichOneof("message"):
                case "setup":
                    self.setups.append(request.setup)
                    if error := self.refused.get(request.setup.session.session_id):
                        call.fail(error)
                case "frame":
                    call.answer(*answers(request.frame))
                    self.frames_answered += 1

    async def stop(self) -> None:
        """Ends what `answer_all` has started."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def feedback(
    sequence: int, *, generation: int = 1, received: Iterable[Modality] = (Modality.LOWRES,)
) -> channel_pb2.RelayResponse:
    """Feedback that keeps the lowest rung."""
    return channel_pb2.RelayResponse(
        feedback=link_pb2.Feedback(
            generation=generation,
            sequence=sequence,
            received_modalities=[int(modality) for modality in received],
            rung_index=0,
            snr_db_estimated=3.0,
            feedback_bits=13,
        )
    )


def passed_on(sequence: int, *, generation: int = 1) -> channel_pb2.RelayResponse:
    """The emulator's telemetry."""
    return channel_pb2.RelayResponse(
        channel=link_pb2.ChannelTelemetry(
            generation=generation,
            sequence=sequence,
            signal_energy=100.0,
            noise_energy=10.0,
            num_symbols=100,
            process_ms=0.5,
        )
    )


def shown(
    sequence: int, *, generation: int = 1, skipped: bool = False
) -> channel_pb2.RelayResponse:
    """The receiver's telemetry."""
    return channel_pb2.RelayResponse(
        receiver=link_pb2.ReceiverTelemetry(
            generation=generation, sequence=sequence, skipped=skipped, generator="passthrough"
        )
    )


def tapped(
    sequence: int, rgb: NDArray[np.uint8], *, generation: int = 1
) -> channel_pb2.RelayResponse:
    """A received picture on its way back."""
    return channel_pb2.RelayResponse(
        tap_frame=link_pb2.TapFrame(
            generation=generation,
            sequence=sequence,
            height_px=rgb.shape[0],
            width_px=rgb.shape[1],
            rgb=rgb.tobytes(),
        )
    )


def answers(frame: link_pb2.RadioFrame) -> list[channel_pb2.RelayResponse]:
    """All that comes back for a frame on a perfect link without tap."""
    modalities = [Modality(block.modality) for block in frame.blocks]
    payload = [m for m in modalities if m in (Modality.LOWRES, Modality.VIDEO)]
    position = {"sequence": frame.sequence, "generation": frame.generation}
    return [passed_on(**position), feedback(**position, received=payload), shown(**position)]


def picture(level: int, side: int = SIDE) -> NDArray[np.uint8]:
    """One grey level."""
    return np.full((side, side, 3), level, np.uint8)


def captured(index: int) -> CapturedFrame:
    """A source frame that can be told by its time stamp."""
    return CapturedFrame(picture(40 + index), index * 125_000, captured_s=0.0, source_ms=1.0)


def spec(**changes: Any) -> transmitter_pb2.SessionSpec:
    """A small `lowres` session."""
    values: dict[str, Any] = {
        "session_id": "test",
        "clip": "sample:gripper",
        "scheme": "lowres",
        "width_px": SIDE,
        "height_px": SIDE,
        "frames_per_second": 8.0,
        "segment_frames": 8,
        "cbr": 0.05,
        "seed": 7,
        "generator": "passthrough",
        "channel": link_pb2.ChannelSettings(snr_db=10.0, model=link_pb2.CHANNEL_MODEL_AWGN, seed=7),
    }
    return transmitter_pb2.SessionSpec(**{**values, **changes})
