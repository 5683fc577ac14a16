"""`semcast send`: a clip through the three services, and what came out, as files and figures."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from semcast.cli.in_process import label_maps, pictures, run_in_process
from semcast.cli.processes import LocalServices
from semcast.cli.video_file import VideoFile, require_folders, write_arrays
from semcast.errors import InputError
from semcast.metrics.quality import QualityMeter
from semcast.report import Report, ReportBuilder
from semcast.rpc.client import open_channel, rpc_errors
from semcast.schemes import find_scheme
from semcast.session import Modality
from semcast.v1 import transmitter_pb2, transmitter_pb2_grpc
from transmitter.plan import plan_legs
from transmitter.sources import probe_clip


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where results go; None for nowhere."""

    video: Path | None
    report: Path | None
    frames: Path | None
    record_dir: Path | None


Item = transmitter_pb2.FrameReport | transmitter_pb2.FramePair


def send(spec: transmitter_pb2.SessionSpec, outputs: Outputs, *, in_process: bool) -> Report:
    """Streams the clip, writes what was asked for, and prints a summary.

    Raises InputError before anything is started for what cannot be, UnavailableError where a
    service fails on the way.
    """
    info = probe_clip(spec.clip)
    plan = plan_legs(spec)[0]
    require_folders(outputs.video, outputs.report, outputs.frames)
    record_dir = outputs.record_dir
    if record_dir is not None and record_dir.exists() and not record_dir.is_dir():
        raise InputError(f"'{record_dir}' is a file: name a folder to record into.")
    total = spec.max_frames or None
    if info.duration_s:
        in_clip = max(1, round(info.duration_s * spec.frames_per_second))
        total = min(total or in_clip, in_clip)
    console = Console(stderr=True)
    spec.mcs = plan.setup.mcs
    gathering = _Gathering(spec, outputs)
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(_progress(console))
        task = progress.add_task("starting", total=total)
        stack.enter_context(gathering)
        if in_process:
            for item in _in_process_items(spec, outputs.record_dir):
                gathering.add(item)
                progress.update(task, description="sending", completed=gathering.frames)
        else:

            async def run() -> None:
                async for item in _grpc_items(spec, outputs.record_dir):
                    await asyncio.to_thread(gathering.add, item)
                    progress.update(task, description="sending", completed=gathering.frames)

            asyncio.run(run())
        progress.update(task, description="done", total=gathering.frames)
    report = gathering.finish()
    Console().print(_summary(report))
    return report


def _in_process_items(spec: transmitter_pb2.SessionSpec, record_dir: Path | None) -> Iterator[Item]:
    for finished in run_in_process(spec, record_dir):
        yield finished.report
        if finished.pair is not None:
            yield finished.pair


async def _grpc_items(
    spec: transmitter_pb2.SessionSpec, record_dir: Path | None
) -> AsyncIterator[Item]:
    async with LocalServices(record_dir=record_dir, any_path=True) as services:
        address = services.transmitter.address
        async with open_channel(address) as channel:
            stub = transmitter_pb2_grpc.TransmitterServiceStub(channel)
            request = transmitter_pb2.RunSessionRequest(spec=spec, include_frames=True)
            with rpc_errors("the transmitter"):
                async for response in stub.RunSession(request):
                    event = response.event
                    match event.WhichOneof("event"):
                        case "frame":
                            yield event.frame
                        case "frames":
                            yield event.frames


class _Gathering:
    """Takes the run's items as they come, keeping pictures only where frames are asked for."""

    def __init__(self, spec: transmitter_pb2.SessionSpec, outputs: Outputs) -> None:
        self._spec = spec
        self._outputs = outputs
        self._builder = ReportBuilder(spec, QualityMeter())
        self._stack = contextlib.ExitStack()
        self._video: VideoFile | None = None
        self._source: list[NDArray[np.uint8]] = []
        self._received: list[NDArray[np.uint8]] = []
        self._labels: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = []
        self.frames = 0

    def __enter__(self) -> _Gathering:
        spec = self._spec
        if self._outputs.video:
            self._video = self._stack.enter_context(
                VideoFile(
                    self._outputs.video,
                    width=spec.width_px,
                    height=spec.height_px,
                    fps=spec.frames_per_second,
                )
            )
        return self

    def __exit__(self, *failure: object) -> None:
        self._stack.__exit__(*failure)  # type: ignore[arg-type]

    def add(self, item: Item) -> None:
        """Counts a frame report, or scores and writes a pair of pictures."""
        if isinstance(item, transmitter_pb2.FrameReport):
            self._builder.add_frame(item)
            self.frames += 1
            return
        source, received = pictures(item, self._spec.width_px, self._spec.height_px)
        self._builder.add_pictures(source, received)
        if self._video:
            self._video.add(received)
        if self._outputs.frames:
            self._source.append(source)
            self._received.append(received)
            labels = label_maps(item, self._spec.width_px, self._spec.height_px)
            if labels is None:
                labels = (np.zeros(source.shape[:2], np.uint8),) * 2
            self._labels.append(labels)

    def finish(self) -> Report:
        """Writes report and frames."""
        if not self.frames:
            raise InputError(f"'{self._spec.clip}' gave no frame.")
        if self._outputs.frames:
            arrays = {"received": np.stack(self._received), "source": np.stack(self._source)}
            if Modality.CONTOURS in find_scheme(self._spec.scheme).modalities:
                # Frames in which `auto` sent none have nothing but background.
                arrays["labels_sent"] = np.stack([sent for sent, _ in self._labels])
                arrays["labels_received"] = np.stack([received for _, received in self._labels])
            write_arrays(self._outputs.frames, **arrays)
        report = self._builder.build(notes={})
        if self._outputs.report:
            self._outputs.report.write_text(report.model_dump_json(indent=2) + "\n")
        return report


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:>8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not sys.stderr.isatty(),
        transient=True,
    )


def _summary(report: Report) -> Table:
    title = f"{report.scheme} at {report.snr_db:g} dB: {Path(report.clip).name}"
    table = Table(title=title, title_justify="left")
    table.add_column("what")
    table.add_column("value", justify="right")
    concealed = f"{report.frames_concealed} of {report.frames_sent}"
    rows: list[tuple[str, str]] = [
        ("frames received (concealed)", f"{report.frames_received} ({concealed})"),
        ("symbols a frame", f"{report.symbols / report.frames_sent:.0f}"),
        ("CBR (payload)", f"{report.cbr:.3g} ({report.cbr_payload:.3g})"),
        ("bits a pixel", f"{report.bpp:.3g}"),
        ("SNR measured", _db(report.snr_db_measured)),
        ("SNR estimated", _db(report.snr_db_estimated)),
        (
            "blocks lost",
            f"{sum(report.crc_failures_by_modality.values())} of "
            f"{sum(report.blocks_by_modality.values())}",
        ),
        ("PSNR", _db(report.psnr_db)),
        ("SSIM", "-" if report.ssim is None else f"{report.ssim:.3f}"),
        (
            "LPIPS (SqueezeNet, Caffe)",
            "-" if report.lpips_squeeze_caffe is None else f"{report.lpips_squeeze_caffe:.3f}",
        ),
        ("latency p50 / p95", f"{_ms(report.latency_ms_p50)} / {_ms(report.latency_ms_p95)}"),
        (
            "realtime factor",
            "-" if report.realtime_factor is None else f"{report.realtime_factor:.2f}",
        ),
    ]
    for name, value in rows:
        table.add_row(name, value)
    return table


def _db(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} dB"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"
