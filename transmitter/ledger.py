"""What became of each frame: matches what was sent with what came back. Pure bookkeeping.

A frame's report is complete when the channel and the receiver have both spoken of it, and, with the
measurement tap, when the received picture has come back (unless the receiver skipped it). Reports
leave in order of sequence.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from semcast.link import SentFrame
from semcast.metrics.psnr import psnr_db
from semcast.rpc.messages import modality_to_proto
from semcast.semantics import Received
from semcast.session import Modality
from semcast.v1 import link_pb2, transmitter_pb2
from transmitter.coarseness import Coarseness

_FINE = Coarseness()


@dataclass(slots=True)
class _Entry:
    sent: SentFrame
    source_rgb: NDArray[np.uint8]
    captured_s: float
    stages_ms: dict[str, float]
    coarseness: Coarseness
    channel: link_pb2.ChannelTelemetry | None = None
    receiver: link_pb2.ReceiverTelemetry | None = None
    tap: link_pb2.TapFrame | None = None
    feedback_bits: int = 0
    latency_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class FinishedFrame:
    """A frame's report, and its pictures where the tap is on."""

    report: transmitter_pb2.FrameReport
    pair: transmitter_pb2.FramePair | None


@dataclass(slots=True)
class Ledger:
    """Open entries of one generation of one leg."""

    generation: int
    measurement_tap: bool
    cbr_target: float
    _open: dict[int, _Entry] = field(default_factory=dict)
    _said: Received = field(default_factory=Received)
    _next: int = 0

    @property
    def num_open(self) -> int:
        """Frames that were sent and are not complete, or not taken out yet."""
        return len(self._open)

    def sent(
        self,
        frame: SentFrame,
        source_rgb: NDArray[np.uint8],
        captured_s: float,
        stages_ms: dict[str, float],
        coarseness: Coarseness = _FINE,
    ) -> None:
        """Opens the entry of a frame that was put on the air; captured_s: monotonic clock."""
        entry = _Entry(frame, source_rgb, captured_s, dict(stages_ms), coarseness)
        self._open[frame.radio.sequence] = entry

    def feedback(self, message: link_pb2.Feedback) -> None:
        """Counts what the feedback on a frame cost."""
        if entry := self._entry(message.generation, message.sequence):
            entry.feedback_bits = message.feedback_bits

    def channel(self, message: link_pb2.ChannelTelemetry) -> None:
        """The emulator has passed the frame on."""
        if entry := self._entry(message.generation, message.sequence):
            entry.channel = message

    def receiver(self, message: link_pb2.ReceiverTelemetry, now_s: float) -> None:
        """The receiver has shown the frame, or skipped it."""
        if entry := self._entry(message.generation, message.sequence):
            entry.receiver = message
            entry.latency_ms = 1e3 * (now_s - entry.captured_s)

    def tap(self, message: link_pb2.TapFrame) -> None:
        """The received picture has come back."""
        if entry := self._entry(message.generation, message.sequence):
            entry.tap = message

    def _entry(self, generation: int, sequence: int) -> _Entry | None:
        return self._open.get(sequence) if generation == self.generation else None

    def finished(self, *, pictures: bool) -> list[FinishedFrame]:
        """Takes out the entries that are complete, in order. pictures: give the pairs too."""
        done: list[FinishedFrame] = []
        while (entry := self._open.get(self._next)) and self._complete(entry):
            del self._open[self._next]
            self._next += 1
            done.append(self._finish(entry, pictures))
        return done

    def _complete(self, entry: _Entry) -> bool:
        if entry.channel is None or entry.receiver is None:
            return False
        return not self.measurement_tap or entry.tap is not None or entry.receiver.skipped

    def _finish(self, entry: _Entry, pictures: bool) -> FinishedFrame:
        sent = entry.sent
        self._said = self._said.then(sent.means)
        report = transmitter_pb2.FrameReport(
            sequence=sent.radio.sequence,
            pts_us=sent.radio.pts_us,
            generation=self.generation,
            symbols_by_modality=_counts(sent.symbols_by_modality),
            payload_bits_by_modality=_counts(sent.payload_bits_by_modality),
            information_bits=sent.information_bits,
            feedback_bits=entry.feedback_bits,
            receiver=entry.receiver,
            channel=entry.channel,
            latency_ms=entry.latency_ms,
            cbr_target=self.cbr_target,
            caption_sent=self._said.caption or "",
            coarseness=entry.coarseness.level,
            coarseness_detail=entry.coarseness.detail,
            stages=[
                link_pb2.StageDuration(stage=stage, duration_ms=duration_ms)
                for stage, duration_ms in entry.stages_ms.items()
            ],
        )
        if entry.tap is None:
            return FinishedFrame(report, None)
        tap = entry.tap
        received = np.frombuffer(tap.rgb, np.uint8).reshape(tap.height_px, tap.width_px, 3)
        report.psnr_db = psnr_db(entry.source_rgb, received)
        if not pictures:
            return FinishedFrame(report, None)
        contours = self._said.contours
        pair = transmitter_pb2.FramePair(
            sequence=sent.radio.sequence,
            source_rgb=entry.source_rgb.tobytes(),
            received_rgb=tap.rgb,
            labels_sent=b"" if contours is None else contours.labels.tobytes(),
            labels_received=tap.labels,
        )
        return FinishedFrame(report, pair)


def _counts(counts: dict[Modality, int]) -> list[transmitter_pb2.ModalityCount]:
    return [
        transmitter_pb2.ModalityCount(modality=modality_to_proto(modality), count=count)
        for modality, count in counts.items()
    ]
