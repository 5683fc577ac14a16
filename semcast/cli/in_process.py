"""The three services' work in this process, without gRPC: the same domain code, equal frames."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from channel_emulator.convert import settings_from_proto
from channel_emulator.convert import telemetry_to_proto as channel_telemetry
from channel_emulator.impairments import Emulator
from receiver.convert import tap_to_proto, telemetry_to_proto
from receiver.generator import make_generator, settle_generator
from receiver.record import Recorder
from receiver.session import ReceiverSession
from receiver.streams import FrameOutcome
from semcast.link import LinkSender
from semcast.rpc.messages import feedback_to_proto
from semcast.schemes import find_scheme
from semcast.v1 import transmitter_pb2
from semcast.warm import warm_up
from transmitter.extraction import Extraction
from transmitter.extractors.captioner import choose_caption
from transmitter.ledger import FinishedFrame, Ledger
from transmitter.plan import plan_legs
from transmitter.sources import caption_beside, read_clip


def run_in_process(
    spec: transmitter_pb2.SessionSpec, record_dir: Path | None
) -> Iterator[FinishedFrame]:
    """Streams a clip through link, emulator and receiver; yields each frame's report and pair."""
    spec.caption = choose_caption(spec.caption, caption_beside(spec.clip), None).text
    plan = plan_legs(spec)[0]
    warm_up()
    setup = settle_generator(plan.setup)
    frames = read_clip(
        spec.clip,
        fps=setup.fps,
        width=setup.width,
        height=setup.height,
        max_frames=spec.max_frames or None,
    )
    extraction = Extraction(find_scheme(setup.scheme), setup, plan.caption, plan.extractors)
    sender = LinkSender(setup)
    emulator = Emulator(setup.generation)
    channel = settings_from_proto(spec.channel)
    receiver = ReceiverSession(setup, make_generator(setup.generator))
    ledger = Ledger(setup.generation, measurement_tap=True, cbr_target=plan.cbr)
    with ExitStack() as stack:
        stack.callback(extraction.close)
        recorder = stack.enter_context(Recorder(record_dir, setup)) if record_dir else None
        captured_s = time.monotonic()
        for frame in frames:
            source_s = time.monotonic()
            semantics = extraction.extract(frame.rgb)
            extracted_s = time.monotonic()
            sent = sender.encode(semantics, frame.pts_us)
            encoded_s = time.monotonic()
            stages_ms = {
                "source": 1e3 * (source_s - captured_s),
                "extract": 1e3 * (extracted_s - source_s),
                "encode": 1e3 * (encoded_s - extracted_s),
            }
            ledger.sent(sent, frame.rgb, source_s, stages_ms)
            noisy, measurement = emulator.apply(sent.radio, channel)
            relayed_s = time.monotonic()
            if recorder:
                recorder.add(noisy)
            decoded = receiver.decode(noisy)
            decoded_s = time.monotonic()
            rendered = receiver.render(decoded)
            rendered_s = time.monotonic()
            feedback = decoded.received.feedback
            sender.feedback(feedback)
            outcome = FrameOutcome(
                decoded=decoded,
                rendered=rendered,
                decode_ms=1e3 * (decoded_s - relayed_s),
                render_ms=1e3 * (rendered_s - decoded_s),
                queue_depth=0,
                dropped_total=0,
            )
            ledger.feedback(feedback_to_proto(feedback))
            channel_ms = 1e3 * (relayed_s - encoded_s)
            ledger.channel(channel_telemetry(measurement, channel_ms))
            ledger.tap(tap_to_proto(setup, outcome))
            ledger.receiver(telemetry_to_proto(setup, outcome), rendered_s)
            yield from ledger.finished(pictures=True)
            captured_s = time.monotonic()


def label_maps(
    pair: transmitter_pb2.FramePair, width: int, height: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
    """Labels sent and received, [height, width], uint8; None where no contours are sent.

    Before the first have arrived, nothing but background.
    """
    if not pair.labels_sent:
        return None
    sent = np.frombuffer(pair.labels_sent, np.uint8).reshape(height, width)
    if not pair.labels_received:
        return sent, np.zeros_like(sent)
    return sent, np.frombuffer(pair.labels_received, np.uint8).reshape(height, width)


def pictures(
    pair: transmitter_pb2.FramePair, width: int, height: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Source and received picture of a pair, [height, width, 3], uint8."""
    shape = (height, width, 3)
    source = np.frombuffer(pair.source_rgb, np.uint8).reshape(shape)
    received = np.frombuffer(pair.received_rgb, np.uint8).reshape(shape)
    return source, received
