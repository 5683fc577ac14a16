"""Prometheus metrics of the console."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from semcast.rpc.metrics import ServiceMetrics


class ConsoleMetrics:
    """What the console counts, beside what every process of semcast measures (`process`)."""

    def __init__(self) -> None:
        self.process = ServiceMetrics()
        self.registry = self.process.registry
        self.requests_total = Counter(
            "semcast_console_requests",
            "HTTP requests answered.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "semcast_console_request_seconds",
            "Time to the head of the answer.",
            ("route",),
            registry=self.registry,
        )
        self.sse_clients = Gauge(
            "semcast_console_sse_clients",
            "Pages that follow the events of a session.",
            registry=self.registry,
        )
        self.events_dropped_total = Counter(
            "semcast_console_events_dropped",
            "Events dropped because a page was too slow.",
            registry=self.registry,
        )
        self.sessions = Gauge(
            "semcast_console_sessions", "Sessions the console looks after.", registry=self.registry
        )
        self.session_restarts_total = Counter(
            "semcast_console_session_restarts",
            "Sessions started again because the transmitter had lost them.",
            registry=self.registry,
        )
        self.upload_bytes_total = Counter(
            "semcast_console_upload_bytes",
            "Bytes of uploads passed to the transmitter.",
            registry=self.registry,
        )
        self.service_serving = Gauge(
            "semcast_console_service_serving",
            "1 while a service says it is SERVING.",
            ("service",),
            registry=self.registry,
        )
