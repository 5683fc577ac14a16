"""docker-compose.yml at work: its commands and environments as processes, and a stream through.

No Docker engine is needed; what is not covered is the images (see test_images.py) and the engine.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from compose_file import REPOSITORY, load
from compose_processes import ComposeUp
from compose_user import SERVICES, Page, env_with_free_ports

_DASHBOARD = REPOSITORY / "deploy" / "grafana" / "dashboards" / "semcast.json"
_WATCH_TIMEOUT_S = 20.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


class Stack:
    """A running project and the .env it was started with."""

    def __init__(self, up: ComposeUp, env: dict[str, str], page: Page) -> None:
        self.up = up
        self.env = env
        self.page = page

    def scrape(self, service: str) -> str:
        """The metrics of one process, as Prometheus gets them."""
        port = self.env[f"SEMCAST_{service.upper()}_METRICS_PORT"]
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            return str(answer.read().decode())


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    env = env_with_free_ports()
    with ComposeUp(load(env), tmp_path_factory.mktemp("compose")) as up:
        page = Page(env["SEMCAST_CONSOLE_PORT"])
        yield Stack(up, env, page)
        page.close()


def test_a_session_started_on_the_page_arrives_at_the_receiver(stack: Stack) -> None:
    clip = next(clip for clip in stack.page.clips() if clip.startswith("sample:"))
    with stack.page.session(clip=clip, scheme="lowres", snr_db=10.0) as session_id:
        frames = stack.page.frame_events(session_id, number=20, timeout_s=30.0)
    received = [frame["receiver"] for frame in frames if frame.get("receiver")]
    # Whether the generator kept up is this machine's affair, not compose's.
    good = [report for report in received if not report["concealed"]]
    # At 10 dB the low-res rung loses next to nothing; a stalled or empty link conceals everything.
    assert len(good) >= len(frames) / 2
    sequences = [frame["sequence"] for frame in frames]
    assert sequences == sorted(set(sequences))
    # The receiver's own estimate: over 20 frames of pilots its sigma is well under 0.5 dB.
    assert abs(received[-1]["snr_db_estimated"] - 10.0) < 1.5
    assert all(sum(frame["symbols_by_modality"].values()) > 0 for frame in frames)


def test_media_reaches_a_viewer_without_published_ports(stack: Stack) -> None:
    async def watch(path: str) -> list[tuple[int, int]]:
        async with asyncio.timeout(_WATCH_TIMEOUT_S):
            frames = await stack.page.watch(path, num_frames=4)
        return [(frame.width, frame.height) for frame in frames]

    with stack.page.session(clip=stack.page.clips()[0], width=256, height=192) as session_id:
        stack.page.frame_events(session_id, number=2, timeout_s=30.0)
        assert asyncio.run(watch(f"/whep/{session_id}")) == [(256, 192)] * 4
        assert asyncio.run(watch(f"/whep/{session_id}/source")) == [(256, 192)] * 4


@pytest.mark.parametrize("service", SERVICES)
def test_every_process_serves_metrics(stack: Stack, service: str) -> None:
    metrics = stack.scrape(service)
    assert re.search(r"^process_resident_memory_bytes [0-9.e+]+$", metrics, re.MULTILINE)
    assert "semcast_event_loop_lag_seconds" in metrics


def test_prometheus_scrapes_the_ports_that_env_names(stack: Stack) -> None:
    content = stack.up.model.configs["prometheus-targets"]["content"]
    targets = {group["labels"]["service"]: group["targets"] for group in yaml.safe_load(content)}
    assert targets == {
        service: [f"127.0.0.1:{stack.env[f'SEMCAST_{service.upper()}_METRICS_PORT']}"]
        for service in SERVICES
    }


def test_the_dashboard_asks_for_metrics_that_exist(stack: Stack) -> None:
    scraped = "\n".join(stack.scrape(service) for service in SERVICES)
    exposed = set(re.findall(r"^# TYPE (\S+) ", scraped, re.MULTILINE))
    asked = dashboard_metrics(_DASHBOARD)
    assert len(asked) > 15
    assert asked - exposed == set()


def test_counts_move_where_the_dashboard_looks(stack: Stack) -> None:
    """The stream of the tests above left its traces under the labels that the panels use."""
    channel, receiver = stack.scrape("channel"), stack.scrape("receiver")
    assert _value(channel, "semcast_channel_symbols_total", 'modality="lowres"') > 0
    assert _value(receiver, "semcast_receiver_frames_total", 'outcome="shown"') > 0
    assert math.isclose(_value(channel, "semcast_channel_snr_db_requested"), 10.0)


def test_sigterm_ends_every_process_cleanly_mid_stream(stack: Stack) -> None:
    session_id = stack.page.start(clip=stack.page.clips()[0])
    stack.page.frame_events(session_id, number=4, timeout_s=30.0)
    statuses = stack.up.stop()
    logs = {name: process.log() for name, process in stack.up.processes.items()}
    assert statuses == dict.fromkeys(statuses, 0), logs
    assert not any("Traceback" in log for log in logs.values()), logs
    assert list(stack.up.processes["transmitter"].tmp.iterdir()) == [], "uploads stay behind"


def dashboard_metrics(path: Path) -> set[str]:
    """Names of the metrics in the expressions of a dashboard; `up` is Prometheus' own."""
    names: set[str] = set()
    for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
        for target in panel["targets"]:
            found = re.findall(r"\b((?:semcast|process)_[a-z_]+)", target["expr"])
            names.update(re.sub(r"_(bucket|sum|count)$", "", name) for name in found)
    return names


def _value(metrics: str, name: str, labels: str = "") -> float:
    pattern = rf"^{name}{{{labels}}} (\S+)$" if labels else rf"^{name} (\S+)$"
    match = re.search(pattern, metrics, re.MULTILINE)
    assert match is not None, f"{name}{{{labels}}} is not among the metrics"
    return float(match[1])
