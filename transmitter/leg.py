"""One link of a running session: frames in, radio frames out, and what comes back.

    offer ──► queue of 2 ──► credit ──► extract ──► encode ──► channel ──► feedback, telemetry
                                                                       └──► deliver

The credit is the feedback that the next frame depends on, and room for its report: what comes back
is always read at once, and a slow taker of reports holds up encoding, not reading.

When the stream breaks, the leg starts a new generation as soon as the services are back; frames in
between are lost, nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import grpc
import grpc.aio
import numpy as np
from numpy.typing import NDArray

from semcast.errors import UnavailableError
from semcast.link import LinkSender
from semcast.rpc.client import error_from_rpc
from semcast.rpc.messages import feedback_from_proto, frame_to_proto, setup_to_proto
from semcast.schemes import find_scheme
from semcast.timing import timed
from semcast.v1 import channel_pb2, channel_pb2_grpc, link_pb2
from transmitter.coarseness import Coarseness, adapt
from transmitter.extraction import Extraction, LiveExtraction
from transmitter.ledger import FinishedFrame, Ledger
from transmitter.plan import LegPlan

logger = logging.getLogger(__name__)

_QUEUE_FRAMES = 2
_UNDELIVERED_REPORTS = 8
_RETRY_S = 0.25
_PATIENCE = 0.25
"""Part of a frame interval that a live frame waits for its own labels, where they come in time."""
_BROKEN = (grpc.aio.AioRpcError, asyncio.InvalidStateError)

Result = TypeVar("Result")
_Call = grpc.aio.StreamStreamCall[channel_pb2.RelayRequest, channel_pb2.RelayResponse]


@dataclass(frozen=True, slots=True)
class CapturedFrame:
    """A source frame and when it was captured. captured_s: monotonic clock."""

    rgb: NDArray[np.uint8]
    pts_us: int
    captured_s: float
    source_ms: float


class Leg:
    """Runs one link.

    worker: thread of the codecs. eyes: thread of the extractors.
    paced: drop late frames and survive restarts; else block, and fail on loss. A paced leg looks
    for objects less often when it gets late; any other looks at every frame.
    """

    def __init__(
        self,
        plan: LegPlan,
        channel: link_pb2.ChannelSettings,
        stub: channel_pb2_grpc.ChannelServiceStub,
        worker: Executor,
        eyes: Executor,
        on_finished: Callable[[str, FinishedFrame], Awaitable[None]],
        on_state: Callable[[str, str], Awaitable[None]],
        wants_pictures: Callable[[], bool],
        *,
        paced: bool,
    ) -> None:
        self.name = plan.name
        self.frames_dropped = 0
        self._plan = plan
        self._channel = channel
        self._channel_changed = False
        self._stub = stub
        self._worker = worker
        self._eyes = eyes
        self._extraction: Extraction | None = None
        self._coarseness = Coarseness()
        self._on_finished = on_finished
        self._on_state = on_state
        self._wants_pictures = wants_pictures
        self._paced = paced
        self._queue: asyncio.Queue[CapturedFrame | None] = asyncio.Queue(_QUEUE_FRAMES)
        self._source_ended = False
        self._over = False

    def set_channel(self, channel: link_pb2.ChannelSettings) -> None:
        """New channel settings, in force from the next frame."""
        self._channel = channel
        self._channel_changed = True

    async def offer(self, frame: CapturedFrame) -> None:
        """Takes a frame: waits for room, or, in a paced session, drops the oldest.

        A leg that has ended or failed takes nothing and holds up nobody.
        """
        if self._over:
            return
        if self._paced:
            if self._queue.full():
                self._queue.get_nowait()
                self.frames_dropped += 1
            self._queue.put_nowait(frame)
        else:
            await self._queue.put(frame)

    async def end(self) -> None:
        """No more frames; `run` returns when what is under way has come back."""
        if self._over:
            return
        if self._paced and self._queue.full():
            self._queue.get_nowait()
            self.frames_dropped += 1
        await self._queue.put(None)

    async def run(self) -> None:
        """Runs until the source has ended. Raises SemcastError where that cannot succeed."""
        try:
            await self._run_generations()
        finally:
            self._over = True
            while not self._queue.empty():
                self._queue.get_nowait()
            if self._extraction:
                self._extraction.close()

    async def _run_generations(self) -> None:
        generation = 1
        while True:
            try:
                await self._run_generation(generation)
                return
            except UnavailableError as error:
                if not self._paced:
                    raise
                logger.info("%s leg, generation %d: %s", self.name, generation, error)
                if self._source_ended:
                    return
                await self._on_state(self.name, str(error))
            generation += 1
            await asyncio.sleep(_RETRY_S)

    async def _run_generation(self, generation: int) -> None:
        setup = self._plan.setup.model_copy(update={"generation": generation})
        link, _ = await self._on_worker(lambda: LinkSender(setup))
        extraction = await self._fresh_extraction()
        stream = _Stream(link, Ledger(generation, setup.measurement_tap, self._plan.cbr))
        call = self._stub.Relay()
        reader = asyncio.create_task(self._read(call, stream))
        writer = asyncio.create_task(self._write(call, stream, extraction))
        deliverer = asyncio.create_task(self._deliver(stream))
        tasks = (reader, writer, deliverer)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            if writer.done() and isinstance(writer.exception(), _BROKEN):
                # Why it broke is in the call's status, which the reader gets.
                await asyncio.wait({reader})
            for task in tasks:
                if task.done():
                    task.result()
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error, "the channel emulator") from error
        finally:
            call.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _fresh_extraction(self) -> Extraction:
        """On its thread: the first time it loads networks."""
        plan = self._plan

        def make() -> Extraction:
            if self._extraction is None:
                scheme = find_scheme(plan.setup.scheme)
                return Extraction(scheme, plan.setup, plan.caption, plan.extractors)
            self._extraction.reset()
            return self._extraction

        extraction, _ = await self._on(self._eyes, make)
        self._extraction = extraction
        return extraction

    async def _write(self, call: _Call, stream: _Stream, extraction: Extraction) -> None:
        setup, link = self._plan.setup, stream.link
        live = LiveExtraction(extraction, self._eyes)
        dropped_before = self.frames_dropped
        self._channel_changed = False
        await call.write(
            channel_pb2.RelayRequest(
                setup=channel_pb2.RelaySetup(
                    session=setup_to_proto(
                        setup.model_copy(update={"generation": stream.ledger.generation})
                    ),
                    channel=self._channel,
                )
            )
        )
        # It comes when channel and receiver have accepted the set-up, or when the call has ended.
        await call.initial_metadata()
        if call.done():
            raise asyncio.InvalidStateError("the set-up was not accepted")
        await self._on_state(self.name, "")
        while (frame := await self._queue.get()) is not None:
            while not link.may_encode:
                stream.fed_back.clear()
                await stream.fed_back.wait()
            while stream.finished.qsize() >= _UNDELIVERED_REPORTS:
                stream.delivered.clear()
                await stream.delivered.wait()
            start_s = time.monotonic()
            # Without pacing, a frame counts as come in when the link takes it.
            captured_s = frame.captured_s if self._paced else start_s
            coarseness = self._coarseness
            if extraction.immediate:
                semantics, extract_ms = extraction.extract(frame.rgb), 0.0
            elif self._paced:
                semantics = await live.extract(
                    frame.rgb,
                    period_frames=coarseness.period_frames,
                    patience_s=0.0 if coarseness.level else _PATIENCE / setup.fps,
                )
                extract_ms = live.extract_ms
            else:
                semantics, extract_ms = await self._on(
                    self._eyes, partial(extraction.extract, frame.rgb)
                )
            encode = partial(link.encode, semantics, frame.pts_us)
            sent, encode_ms = await self._on_worker(encode)
            stages_ms = {"source": frame.source_ms, "extract": extract_ms, "encode": encode_ms}
            stream.ledger.sent(sent, frame.rgb, captured_s, stages_ms, coarseness)
            if self._paced and not extraction.immediate:
                self._coarseness = adapt(
                    coarseness,
                    age=(time.monotonic() - frame.captured_s) * setup.fps,
                    extractor_behind=live.behind,
                    dropped=self.frames_dropped > dropped_before,
                    fps=setup.fps,
                )
                dropped_before = self.frames_dropped
            while self._channel_changed:
                self._channel_changed = False
                await call.write(channel_pb2.RelayRequest(channel=self._channel))
            message = frame_to_proto(sent.radio, setup.session_id)
            await call.write(channel_pb2.RelayRequest(frame=message))
        self._source_ended = True
        await call.done_writing()
        stream.all_sent = True

    async def _read(self, call: _Call, stream: _Stream) -> None:
        ledger = stream.ledger
        try:
            async for response in call:
                match response.WhichOneof("message"):
                    case "feedback":
                        ledger.feedback(response.feedback)
                        stream.link.feedback(feedback_from_proto(response.feedback))
                        stream.fed_back.set()
                    case "channel":
                        ledger.channel(response.channel)
                    case "receiver":
                        ledger.receiver(response.receiver, time.monotonic())
                    case "tap_frame":
                        ledger.tap(response.tap_frame)
                for frame in ledger.finished(pictures=self._wants_pictures()):
                    stream.finished.put_nowait(frame)
        except asyncio.CancelledError:
            if call.done():
                # grpc reports a call that the other end cancelled in this way.
                raise UnavailableError("The channel emulator broke off the stream.") from None
            raise
        if not stream.all_sent or ledger.num_open:
            raise UnavailableError("The channel emulator ended the stream early.")
        stream.finished.put_nowait(None)

    async def _deliver(self, stream: _Stream) -> None:
        while (frame := await stream.finished.get()) is not None:
            await self._on_finished(self.name, frame)
            stream.delivered.set()

    async def _on_worker(self, function: Callable[[], Result]) -> tuple[Result, float]:
        return await self._on(self._worker, function)

    @staticmethod
    async def _on(thread: Executor, function: Callable[[], Result]) -> tuple[Result, float]:
        """Result, and service time in milliseconds (waiting for the thread left out)."""
        return await asyncio.get_running_loop().run_in_executor(thread, timed, function)


@dataclass(slots=True)
class _Stream:
    """One generation's stream."""

    link: LinkSender
    ledger: Ledger
    fed_back: asyncio.Event = field(default_factory=asyncio.Event)
    finished: asyncio.Queue[FinishedFrame | None] = field(default_factory=asyncio.Queue)
    delivered: asyncio.Event = field(default_factory=asyncio.Event)
    all_sent: bool = False
