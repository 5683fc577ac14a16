"""The report of a run: what was sent, what arrived, how good and how fast. JSON of `send --report`.

Built frame by frame from what the three services counted; of each frame only a few durations are
kept. `docs/METRICS.md` explains the figures.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from semcast.metrics.quality import QualityMeter
from semcast.schemes import find_scheme
from semcast.session import Modality
from semcast.v1 import transmitter_pb2
from semcast.version import __version__

_COUNTED = tuple(Modality)
_BLOCKS = tuple(m for m in Modality if m != Modality.PILOT)


class StageTime(BaseModel):
    """Service time of one stage over all frames, milliseconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    p50: float
    p95: float


class Report(BaseModel):
    """One run, everything counted. CONTRACT names the fields; outside scripts rely on them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scheme: str
    clip: str
    seed: int
    width: int
    height: int
    fps: float
    segment: int
    mcs: str
    channel: str
    generator: str
    generator_steps: int = Field(description="Asked for; 0 for the generator's own choice")
    guidance: float
    device: str
    version: str
    frames_sent: int
    frames_received: int

    symbols: int = Field(description="Every complex symbol sent: payload, control and pilots.")
    symbols_by_modality: dict[str, int]
    cbr: float = Field(description="symbols / (3 H W F)")
    cbr_target: float
    cbr_payload: float = Field(description="cbr without control and pilots, as the papers count")
    payload_bits_by_modality: dict[str, int]
    bpp: float = Field(description="Digital information bits, CRC and control included, / (H W F)")
    bpp_payload: float = Field(description="Digital payload bits / (H W F), no CRC, no control")
    feedback_bits: int

    snr_db: float = Field(description="Requested Es/N0")
    snr_db_measured: float | None = Field(description="By the emulator, over frames not lost")
    snr_db_estimated: float | None = Field(description="By the receiver, at the last frame")
    blocks_by_modality: dict[str, int]
    crc_failures_by_modality: dict[str, int]
    frames_concealed: int
    caption_sent: str | None
    caption_received: str | None

    psnr_db: float | None
    ssim: float | None
    lpips: float | None
    lpips_squeeze_caffe: float | None
    clip_score: float | None
    bert_score: float | None

    stage_ms: dict[str, StageTime]
    latency_ms_p50: float | None
    latency_ms_p95: float | None
    realtime_factor: float | None = Field(
        description="p95 over frames of the busiest stage's service time / frame duration"
    )
    notes: dict[str, str] = Field(description="Why a field is null; what to know about the run")


class ReportBuilder:
    """Gathers a run's frames. Give it every frame report and, where there is one, its pictures."""

    def __init__(self, spec: transmitter_pb2.SessionSpec, quality: QualityMeter) -> None:
        self._spec = spec
        self._quality = quality
        self._frames_sent = 0
        self._frames_received = 0
        self._symbols: Counter[int] = Counter()
        self._payload_bits: Counter[int] = Counter()
        self._checked: Counter[int] = Counter()
        self._crc_failed: Counter[int] = Counter()
        self._information_bits = 0
        self._feedback_bits = 0
        self._signal_energy = 0.0
        self._noise_energy = 0.0
        self._concealed = 0
        self._stages: defaultdict[str, list[float]] = defaultdict(list)
        self._latencies_ms: list[float] = []
        self._snr_estimated: float | None = None
        self._device = ""
        self._generator = spec.generator
        self._cbr_target = 0.0
        self._caption_sent = ""
        self._caption_received = ""

    def add_frame(self, report: transmitter_pb2.FrameReport) -> None:
        """Counts one frame."""
        receiver, channel = report.receiver, report.channel
        self._frames_sent += 1
        self._frames_received += not receiver.skipped
        for item in report.symbols_by_modality:
            self._symbols[item.modality] += item.count
        for item in report.payload_bits_by_modality:
            self._payload_bits[item.modality] += item.count
        self._checked.update(receiver.crc_checked_modalities)
        self._crc_failed.update(receiver.crc_failed_modalities)
        self._information_bits += report.information_bits
        self._feedback_bits += report.feedback_bits
        if not channel.block_lost:
            self._signal_energy += channel.signal_energy
            self._noise_energy += channel.noise_energy
        self._concealed += receiver.concealed
        for stage in (*report.stages, *receiver.stages):
            self._stages[stage.stage].append(stage.duration_ms)
        self._stages["channel"].append(channel.process_ms)
        self._latencies_ms.append(report.latency_ms)
        self._snr_estimated = receiver.snr_db_estimated
        self._device = receiver.device or self._device
        self._generator = receiver.generator or self._generator
        self._cbr_target = report.cbr_target
        self._caption_sent = report.caption_sent or self._caption_sent
        self._caption_received = receiver.caption_received or self._caption_received

    def add_pictures(self, source: NDArray[np.uint8], received: NDArray[np.uint8]) -> None:
        """Scores one received frame. Both: [H, W, 3], uint8, RGB."""
        self._quality.add(source, received)

    def build(self, notes: Mapping[str, str]) -> Report:
        """The finished report."""
        spec = self._spec
        pixels = spec.width_px * spec.height_px * max(1, self._frames_sent)
        symbols = sum(self._symbols.values())
        overhead = self._symbols[Modality.PILOT] + self._symbols[Modality.CONTROL]
        payload_bits = sum(self._payload_bits.values()) - self._payload_bits[Modality.CONTROL]
        quality, quality_notes = self._quality.result()
        frame_ms = 1e3 / spec.frames_per_second
        stage_ms = {
            stage: StageTime(
                p50=float(np.percentile(times, 50)), p95=float(np.percentile(times, 95))
            )
            for stage, times in self._stages.items()
        }
        busiest = max((times.p95 for times in stage_ms.values()), default=None)
        return Report(
            scheme=spec.scheme,
            clip=spec.clip,
            seed=spec.seed,
            width=spec.width_px,
            height=spec.height_px,
            fps=spec.frames_per_second,
            segment=spec.segment_frames,
            mcs=spec.mcs,
            channel=_channel_label(spec),
            generator=self._generator,
            generator_steps=spec.generator_steps,
            guidance=spec.guidance,
            device=self._device,
            version=__version__,
            frames_sent=self._frames_sent,
            frames_received=self._frames_received,
            symbols=symbols,
            symbols_by_modality=_by_label(self._symbols, _COUNTED),
            cbr=symbols / (3 * pixels),
            cbr_target=self._cbr_target,
            cbr_payload=(symbols - overhead) / (3 * pixels),
            payload_bits_by_modality=_by_label(self._payload_bits, _BLOCKS),
            bpp=self._information_bits / pixels,
            bpp_payload=payload_bits / pixels,
            feedback_bits=self._feedback_bits,
            snr_db=spec.channel.snr_db,
            snr_db_measured=_ratio_db(self._signal_energy, self._noise_energy),
            snr_db_estimated=self._snr_estimated,
            blocks_by_modality=_by_label(self._checked, _BLOCKS),
            crc_failures_by_modality=_by_label(self._crc_failed, _BLOCKS),
            frames_concealed=self._concealed,
            caption_sent=self._caption_sent or None,
            caption_received=self._caption_received or None,
            psnr_db=quality["psnr_db"],
            ssim=quality["ssim"],
            lpips=quality["lpips"],
            lpips_squeeze_caffe=quality["lpips_squeeze_caffe"],
            clip_score=quality["clip_score"],
            bert_score=quality["bert_score"],
            stage_ms=stage_ms,
            latency_ms_p50=_percentile(self._latencies_ms, 50),
            latency_ms_p95=_percentile(self._latencies_ms, 95),
            realtime_factor=None if busiest is None else busiest / frame_ms,
            notes={**quality_notes, **self._caption_notes(), **notes},
        )

    def _caption_notes(self) -> dict[str, str]:
        sends = Modality.CAPTION in find_scheme(self._spec.scheme).modalities
        if not sends or self._caption_sent:
            return {}
        return {
            "caption_sent": "there was nothing to say: give --caption, put a .txt beside the clip, "
            "or install a captioner ('semcast models')"
        }


def _by_label(counts: Counter[int], modalities: tuple[Modality, ...]) -> dict[str, int]:
    return {modality.label: counts[modality] for modality in modalities}


def _ratio_db(signal: float, noise: float) -> float | None:
    return 10 * math.log10(signal / noise) if signal > 0 and noise > 0 else None


def _percentile(values: list[float], percent: float) -> float | None:
    return float(np.percentile(values, percent)) if values else None


def _channel_label(spec: transmitter_pb2.SessionSpec) -> str:
    from semcast.session import ChannelModel

    return ChannelModel(spec.channel.model).label
