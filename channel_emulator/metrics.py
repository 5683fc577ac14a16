"""Prometheus metrics of the channel emulator."""

from __future__ import annotations

import math

from prometheus_client import CollectorRegistry, Counter, Gauge

from channel_emulator.impairments import Measurement
from semcast.session import RadioFrame


class ChannelMetrics:
    """What passed the channel of this process, all sessions together."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._frames = Counter(
            "semcast_channel_frames", "Radio frames that passed.", registry=registry
        )
        self._symbols = Counter(
            "semcast_channel_symbols",
            "Complex symbols that passed, by modality.",
            ["modality"],
            registry=registry,
        )
        self._blocks_lost = Counter(
            "semcast_channel_blocks_lost",
            "Blocks lost to bursts, by modality.",
            ["modality"],
            registry=registry,
        )
        self._snr_db_requested = Gauge(
            "semcast_channel_snr_db_requested", "Es/N0 asked for, latest frame.", registry=registry
        )
        self._snr_db_measured = Gauge(
            "semcast_channel_snr_db_measured",
            "Es/N0 measured over the symbols of the latest frame that was not lost.",
            registry=registry,
        )

    def record(self, frame: RadioFrame, measurement: Measurement) -> None:
        """Counts one frame."""
        self._frames.inc()
        for block in frame.blocks:
            self._symbols.labels(block.modality.label).inc(len(block.samples))
            if measurement.block_lost:
                self._blocks_lost.labels(block.modality.label).inc()
        self._snr_db_requested.set(measurement.snr_db_requested)
        if measurement.signal_energy > 0 and measurement.noise_energy > 0:
            ratio = measurement.signal_energy / measurement.noise_energy
            self._snr_db_measured.set(10.0 * math.log10(ratio))
