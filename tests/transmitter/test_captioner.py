"""Which caption is taken, and what the captioner's thread does with frames that come too fast."""

import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from transmitter.extractors.captioner import (
    CaptionOrigin,
    CaptionWorker,
    choose_caption,
    wants_captioner,
)

PATIENCE_S = 20
words = st.none() | st.text(st.sampled_from("ab \n\t"), max_size=6)


@pytest.mark.parametrize(
    ("given_text", "beside", "captioned", "text", "origin"),
    [
        ("a cat", "a dog", "a cow", "a cat", CaptionOrigin.GIVEN),
        ("", "a dog", "a cow", "a dog", CaptionOrigin.BESIDE),
        ("", None, "a cow", "a cow", CaptionOrigin.CAPTIONER),
        (" \n", "  ", "a cow", "a cow", CaptionOrigin.CAPTIONER),
        ("", None, None, "", CaptionOrigin.NONE),
        (" a\n  cat ", None, None, "a cat", CaptionOrigin.GIVEN),
    ],
)
def test_order_of_captions(
    given_text: str, beside: str | None, captioned: str | None, text: str, origin: CaptionOrigin
) -> None:
    chosen = choose_caption(given_text, beside, captioned)
    assert (chosen.text, chosen.origin) == (text, origin)


@given(given_text=st.text(st.sampled_from("ab \n"), max_size=5), beside=words, captioned=words)
def test_a_captioner_is_wanted_just_where_it_is_heard(
    given_text: str, beside: str | None, captioned: str | None
) -> None:
    chosen = choose_caption(given_text, beside, captioned)
    assert chosen.text == " ".join(chosen.text.split())
    assert (chosen.origin is CaptionOrigin.NONE) == (chosen.text == "")
    if chosen.origin is CaptionOrigin.CAPTIONER:
        assert wants_captioner(given_text, beside)
    if chosen.origin in (CaptionOrigin.GIVEN, CaptionOrigin.BESIDE):
        assert not wants_captioner(given_text, beside)


class GatedCaptioner:
    """Says the grey level of the last frame; each caption waits until it is let go."""

    def __init__(self) -> None:
        self.started = threading.Semaphore(0)
        self.let_go = threading.Semaphore(0)
        self.threads: set[int] = set()
        self.seen: list[int] = []

    def caption(self, frames: Sequence[NDArray[np.uint8]]) -> str:
        level = int(frames[-1][0, 0, 0])
        self.threads.add(threading.get_ident())
        self.seen.append(level)
        self.started.release()
        assert self.let_go.acquire(timeout=PATIENCE_S)
        if level == 255:
            raise RuntimeError("out of memory")
        return f" level\n{level} " if level else ""


def frame(level: int) -> list[NDArray[np.uint8]]:
    return [np.full((4, 4, 3), level, dtype=np.uint8)]


@pytest.fixture
def gated() -> GatedCaptioner:
    return GatedCaptioner()


@pytest.fixture
def worker(gated: GatedCaptioner) -> Iterator[CaptionWorker]:
    worker = CaptionWorker(lambda: gated)
    yield worker
    gated.let_go.release(100)
    worker.close()


def test_frames_are_captioned_on_another_thread_and_nobody_waits(
    worker: CaptionWorker, gated: GatedCaptioner
) -> None:
    worker.submit(frame(7), pts_us=125_000)
    assert gated.started.acquire(timeout=PATIENCE_S)
    assert worker.newest() is None  # and `submit` has come back while the captioner hangs
    gated.let_go.release()
    assert worker.drain(PATIENCE_S)
    assert worker.newest() == "level 7"
    assert worker.newest_pts_us == 125_000
    assert gated.threads.isdisjoint({threading.get_ident()})


def test_only_the_latest_of_those_that_wait_is_captioned(
    worker: CaptionWorker, gated: GatedCaptioner
) -> None:
    worker.submit(frame(1), 1)
    assert gated.started.acquire(timeout=PATIENCE_S)
    for level in (2, 3, 4):
        worker.submit(frame(level), level)
    gated.let_go.release(2)
    assert worker.drain(PATIENCE_S)
    assert gated.seen == [1, 4]
    assert (worker.newest(), worker.newest_pts_us) == ("level 4", 4)
    assert len(gated.threads) == 1


def test_a_captioner_with_nothing_to_say_leaves_the_last_caption(
    worker: CaptionWorker, gated: GatedCaptioner
) -> None:
    gated.let_go.release(2)
    worker.submit(frame(9), 1)
    assert worker.drain(PATIENCE_S)
    worker.submit(frame(0), 2)
    assert worker.drain(PATIENCE_S)
    assert (worker.newest(), worker.newest_pts_us) == ("level 9", 1)


def test_after_a_reset_no_caption_of_the_scene_before_appears(
    worker: CaptionWorker, gated: GatedCaptioner
) -> None:
    worker.submit(frame(1), 1)
    assert gated.started.acquire(timeout=PATIENCE_S)
    worker.submit(frame(2), 2)
    worker.reset()
    gated.let_go.release()
    assert worker.drain(PATIENCE_S)
    assert gated.seen == [1]
    assert worker.newest() is None
    gated.let_go.release()
    worker.submit(frame(3), 3)
    assert worker.drain(PATIENCE_S)
    assert worker.newest() == "level 3"


def test_a_failure_ends_the_captions_and_says_why(
    worker: CaptionWorker, gated: GatedCaptioner
) -> None:
    gated.let_go.release(2)
    worker.submit(frame(5), 1)
    assert worker.drain(PATIENCE_S)
    assert worker.failure is None
    worker.submit(frame(255), 2)
    assert worker.drain(PATIENCE_S)
    assert worker.failure == "out of memory"
    assert worker.newest() == "level 5"
    worker.submit(frame(6), 3)
    assert worker.drain(PATIENCE_S)
    assert gated.seen == [5, 255]


def test_a_captioner_that_cannot_be_loaded_is_a_failure() -> None:
    def load() -> GatedCaptioner:
        raise RuntimeError("no weights")

    worker = CaptionWorker(load)
    assert worker.drain(PATIENCE_S)
    assert worker.failure == "no weights"
    worker.close()


def test_draining_gives_up_after_its_time_and_closing_ends_the_thread(
    worker: CaptionWorker, gated: GatedCaptioner
) -> None:
    worker.submit(frame(1), 1)
    assert gated.started.acquire(timeout=PATIENCE_S)
    assert not worker.drain(timeout_s=0)
    worker.submit(frame(2), 2)
    gated.let_go.release()
    worker.close(PATIENCE_S)
    assert not worker._thread.is_alive()
    worker.submit(frame(3), 3)
    assert worker.drain(PATIENCE_S)
    assert gated.seen == [1]


def test_no_frames_are_refused(worker: CaptionWorker) -> None:
    with pytest.raises(ValueError, match="at least one"):
        worker.submit([], 0)
