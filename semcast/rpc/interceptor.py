"""The one server interceptor: measures every call, and turns errors into gRPC statuses.

A `SemcastError` becomes its status with its sentence as details, marked in the trailing metadata so
that `semcast.rpc.client` can raise the same error at the other end. Anything else that a handler
raises is logged with its traceback and becomes INTERNAL with a short sentence.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from semcast.errors import (
    CapacityError,
    InputError,
    NotFoundError,
    SemcastError,
    UnavailableError,
)
from semcast.rpc.client import SENTENCE_KEY
from semcast.rpc.metrics import ServiceMetrics

_log = logging.getLogger(__name__)
_MAX_SENTENCE_CHARS = 1000
_CANCELLATION_PAUSE_S = 0.005

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context = Any
"""grpc.aio.ServicerContext, or the counting stand-in below."""


def status_of(error: Exception) -> grpc.StatusCode:
    """The gRPC status an exception becomes."""
    match error:
        case NotFoundError():
            return grpc.StatusCode.NOT_FOUND
        case InputError() | DecodeError():
            return grpc.StatusCode.INVALID_ARGUMENT
        case CapacityError():
            return grpc.StatusCode.RESOURCE_EXHAUSTED
        case UnavailableError():
            return grpc.StatusCode.UNAVAILABLE
        case _:
            return grpc.StatusCode.INTERNAL


def _sentence_of(error: Exception, method: str) -> str:
    if isinstance(error, SemcastError):
        return str(error)[:_MAX_SENTENCE_CHARS]
    if isinstance(error, DecodeError):
        return f"A message sent to {method} is not what semcast.v1 defines: check the version."
    return f"a fault of the service ({type(error).__name__}) in {method}, see its log"


class _CountingContext:
    """A servicer context whose `read` and `write` are counted."""

    def __init__(
        self, context: Context, count_in: Callable[[], None], count_out: Callable[[], None]
    ) -> None:
        self._context = context
        self._count_in = count_in
        self._count_out = count_out

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def read(self) -> Any:
        """The next request, or grpc.aio.EOF."""
        message = await self._context.read()
        if message is grpc.aio.EOF:  # type: ignore[attr-defined]
            await _let_cancellation_arrive()
        else:
            self._count_in()
        return message

    async def write(self, message: Any) -> None:
        """Sends one response."""
        await self._context.write(message)
        self._count_out()


@dataclass(slots=True)
class Admission:
    """Whether the service takes calls.

    refusal: while not empty, semcast's own methods fail with UNAVAILABLE and this sentence.
    """

    refusal: str = ""


class _Call:
    """One method's measurements and error mapping."""

    def __init__(self, method: str, metrics: ServiceMetrics, admission: Admission) -> None:
        self._method = method
        self._ours = method.startswith("/semcast.")
        self._admission = admission
        self._metrics = metrics
        self._in_flight = metrics.in_flight.labels(method)
        self._seconds = metrics.request_seconds.labels(method)
        self.count_in = metrics.stream_messages.labels(method, "in").inc
        self.count_out = metrics.stream_messages.labels(method, "out").inc

    def check(self, request: Any) -> None:
        """UnavailableError while the service is not warm (health and reflection always pass);
        DecodeError where the request could not be decoded."""
        if isinstance(request, DecodeError):
            raise request
        if self._ours and self._admission.refusal:
            raise UnavailableError(self._admission.refusal)

    @contextmanager
    def measured(self, context: Context) -> Iterator[None]:
        """Counts the call while it runs, and its status code once it ends."""
        started_s = time.perf_counter()
        code = "UNKNOWN"
        try:
            with self._in_flight.track_inprogress():
                yield
            code = _code_name(context)
        except asyncio.CancelledError:
            code = "CANCELLED"
            raise
        except grpc.aio.AbortError:
            code = _code_name(context)
            raise
        finally:
            self._seconds.observe(time.perf_counter() - started_s)
            self._metrics.requests.labels(self._method, code).inc()

    async def abort(self, context: Context, error: Exception) -> None:
        """Ends the call with the status that `error` becomes. Always raises."""
        code = status_of(error)
        if code is grpc.StatusCode.INTERNAL:
            _log.error("%s failed", self._method, exc_info=error)
        elif not isinstance(error, InputError):
            _log.warning("%s: %s", self._method, error)
        marks = () if code is grpc.StatusCode.INTERNAL else ((SENTENCE_KEY, "1"),)
        await context.abort(code, _sentence_of(error, self._method), marks)

    async def counted(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """The same requests, counted; ends only where the caller half-closed."""
        async for request in requests:
            self.count_in()
            yield request
        await _let_cancellation_arrive()


async def _let_cancellation_arrive() -> None:
    """To a handler that is reading, gRPC shows a call its caller cancelled as the end of the stream
    first, and cancels the handler in the same turn of the event loop or the next. Without a pause
    the handler would take an abandoned stream for a finished one."""
    await asyncio.sleep(_CANCELLATION_PAUSE_S)


def _code_name(context: Context) -> str:
    code = context.code()
    if not code:
        return "OK"
    for status in grpc.StatusCode:
        if code is status or code == status.value[0]:
            return status.name
    return "UNKNOWN"


class ServiceInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Metrics and error mapping for all four kinds of RPC."""

    def __init__(self, metrics: ServiceMetrics, admission: Admission) -> None:
        self._metrics = metrics
        self._admission = admission
        self._calls: dict[str, _Call] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """The method's handler, wrapped; an unknown method is left to gRPC (UNIMPLEMENTED)."""
        handler: Handler | None = await continuation(handler_call_details)
        if handler is None:
            return handler  # type: ignore[return-value]
        method = handler_call_details.method
        call = self._calls.get(method)
        if call is None:
            call = self._calls[method] = _Call(method, self._metrics, self._admission)
        kind = (
            f"{'stream' if handler.request_streaming else 'unary'}_"
            f"{'stream' if handler.response_streaming else 'unary'}"
        )
        behaviour = getattr(handler, kind)
        wrapped: Callable[[Any, Context], Any]
        if not handler.response_streaming:
            wrapped = _wrap_single_answer(call, behaviour, handler.request_streaming)
        elif inspect.isasyncgenfunction(behaviour):
            wrapped = _wrap_generator(call, behaviour, handler.request_streaming)
        else:
            wrapped = _wrap_writer(call, behaviour, handler.request_streaming)
        make_handler = getattr(grpc, f"{kind}_rpc_method_handler")
        decode = handler.request_deserializer
        if not handler.request_streaming and decode is not None:
            decode = functools.partial(_decode_or_error, decode)
        made: Handler = make_handler(wrapped, decode, handler.response_serializer)
        return made


def _decode_or_error(decode: Callable[[bytes], Any], wire: bytes) -> Any:
    """A single request is decoded before its handler is entered, where nothing can map an error:
    the handler gets the error in place of the message, and raises it."""
    try:
        return decode(wire)
    except DecodeError as error:
        return error


def _wrap_single_answer(
    call: _Call, behaviour: Callable[..., Any], request_streaming: bool
) -> Callable[[Any, Context], Awaitable[Any]]:
    @functools.wraps(behaviour)
    async def answer(request: Any, context: Context) -> Any:
        with call.measured(context):
            try:
                call.check(request)
                if request_streaming:
                    counting = _CountingContext(context, call.count_in, call.count_out)
                    return await behaviour(call.counted(request), counting)
                return await behaviour(request, context)
            except grpc.aio.AbortError:
                raise
            except Exception as error:
                await call.abort(context, error)

    return answer


def _wrap_generator(
    call: _Call, behaviour: Callable[..., Any], request_streaming: bool
) -> Callable[[Any, Context], AsyncIterator[Any]]:
    @functools.wraps(behaviour)
    async def answer(request: Any, context: Context) -> AsyncIterator[Any]:
        with call.measured(context):
            responses = behaviour(call.counted(request) if request_streaming else request, context)
            try:
                call.check(request)
                async for response in responses:
                    yield response
                    call.count_out()
            except grpc.aio.AbortError:
                raise
            except Exception as error:
                await call.abort(context, error)
            finally:
                await responses.aclose()

    return answer


def _wrap_writer(
    call: _Call, behaviour: Callable[..., Any], request_streaming: bool
) -> Callable[[Any, Context], Awaitable[None]]:
    @functools.wraps(behaviour)
    async def answer(request: Any, context: Context) -> None:
        counting = _CountingContext(context, call.count_in, call.count_out)
        with call.measured(context):
            try:
                call.check(request)
                await behaviour(call.counted(request) if request_streaming else request, counting)
            except grpc.aio.AbortError:
                raise
            except Exception as error:
                await call.abort(context, error)

    return answer
