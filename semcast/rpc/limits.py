"""Limits of every gRPC connection of semcast: sizes, deadlines, keepalive, reconnection."""

from __future__ import annotations

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Largest message either way. A 1920x1080 tap frame (6.2 MB) fits; nothing needs more."""

MAX_SYMBOLS_PER_FRAME = 2_000_000
"""16 MB of complex64: the most that fits a message. 1080p at CBR 0.3 stays below it."""

UNARY_DEADLINE_S = 10.0
"""Deadline of calls with one answer; none of them does more than look something up or start it."""

_KEEPALIVE_TIME_MS = 10_000
_KEEPALIVE_TIMEOUT_MS = 5_000

_BOTH_ENDS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # A peer that vanished without closing its connection is noticed within 15 s.
    ("grpc.keepalive_time_ms", _KEEPALIVE_TIME_MS),
    ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)

SERVER_OPTIONS: tuple[tuple[str, int], ...] = (
    *_BOTH_ENDS,
    # Otherwise two services bind the same port and connections go to either.
    ("grpc.so_reuseport", 0),
    # Clients ping every 10 s, streams open or not: that is no abuse.
    ("grpc.http2.min_ping_interval_without_data_ms", _KEEPALIVE_TIME_MS // 2),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", _KEEPALIVE_TIME_MS // 2),
)

CLIENT_OPTIONS: tuple[tuple[str, int], ...] = (
    *_BOTH_ENDS,
    # A service that was killed and started again is found within a second, also at a new address.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    # Services talk to each other directly, whatever HTTP proxy the machine is configured with.
    ("grpc.enable_http_proxy", 0),
)
