"""Prometheus metrics of one process: a registry of its own, served on its own port.

A service makes its counters with `registry=metrics.registry`; nothing registers globally, so two
services can live in one test process.
"""

from __future__ import annotations

import asyncio
from collections import deque

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from semcast.errors import InputError

_LAG_TICK_S = 0.1
_LAG_WINDOW_TICKS = 150
# Calls last from a millisecond (health) to hours (a session).
_DURATION_BUCKETS_S = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 600.0, 3600.0)

STAGE_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 2.0, 5.0)
"""Buckets of what happens to one video frame: from well under to well over a frame interval."""


class ServiceMetrics:
    """The metrics every semcast process has: its process, its event loop, its gRPC calls."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self.registry)
        prometheus_client.PlatformCollector(registry=self.registry)
        self.requests = Counter(
            "semcast_grpc_requests",
            "Finished gRPC calls, by method and status code.",
            ["method", "code"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "semcast_grpc_request_seconds",
            "How long gRPC calls took, streams from first to last message.",
            ["method"],
            buckets=_DURATION_BUCKETS_S,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "semcast_grpc_requests_in_flight",
            "gRPC calls being answered now.",
            ["method"],
            registry=self.registry,
        )
        self.stream_messages = Counter(
            "semcast_grpc_stream_messages",
            "Messages of streams, received (in) and sent (out).",
            ["method", "direction"],
            registry=self.registry,
        )
        self.event_loop_lag_seconds = Gauge(
            "semcast_event_loop_lag_seconds",
            f"Longest time in the last {_LAG_TICK_S * _LAG_WINDOW_TICKS:.0f} s by which the event "
            "loop woke a sleeper too late.",
            registry=self.registry,
        )

    async def watch_event_loop(self) -> None:
        """Measures the event loop's lag until cancelled."""
        loop = asyncio.get_running_loop()
        lags_s: deque[float] = deque(maxlen=_LAG_WINDOW_TICKS)
        while True:
            due_s = loop.time() + _LAG_TICK_S
            await asyncio.sleep(_LAG_TICK_S)
            lags_s.append(max(0.0, loop.time() - due_s))
            self.event_loop_lag_seconds.set(max(lags_s))


class MetricsServer:
    """`/metrics` over HTTP on a thread of its own."""

    def __init__(self, metrics: ServiceMetrics, host: str, port: int) -> None:
        """Listens at once; InputError where the port is taken."""
        try:
            self._server, self._thread = prometheus_client.start_http_server(
                port, addr=host, registry=metrics.registry
            )
        except OSError as error:
            raise InputError(
                f"Metrics cannot be served on {host}:{port} ({error.strerror}): "
                "choose another --metrics-port, or 0 for none."
            ) from error

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
