"""REST: shapes, and every way a request can be wrong."""

from __future__ import annotations

import asyncio

import pytest
from console_bench import Bench, console_in_process, free_port, until
from fake_services import FakeTransmitter, serving

from console.settings import ConsoleSettings
from semcast.v1 import transmitter_pb2

CLIP = {"clip": "sample:gripper"}


async def start(bench: Bench, **fields: object) -> dict:  # type: ignore[type-arg]
    response = await bench.client.post("/api/v1/sessions", json={**CLIP, **fields})
    assert response.status_code == 201, response.text
    return response.json()  # type: ignore[no-any-return]


def sentence(response) -> str:  # type: ignore[no-untyped-def]
    """The one sentence of an error, which is all its body may hold."""
    body = response.json()
    assert list(body) == ["error"]
    assert isinstance(body["error"], str) and body["error"].endswith((".", "'"))
    return str(body["error"])


async def test_probes_tell_alive_from_ready(bench: Bench) -> None:
    assert (await bench.client.get("/healthz")).json() == {"status": "alive"}
    ready = await bench.client.get("/readyz")
    assert ready.json() == {
        "ready": True,
        "services": {"transmitter": "serving", "receiver": "serving"},
    }


async def test_without_services_it_is_alive_and_not_ready_and_says_which_is_down() -> None:
    dead = f"127.0.0.1:{free_port()}"
    settings = ConsoleSettings(transmitter_address=dead, receiver_address=dead)
    async with console_in_process(settings) as client:
        assert (await client.get("/healthz")).status_code == 200
        ready = await client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["services"]["transmitter"] == "unreachable"
        clips = await client.get("/api/v1/clips")
        assert clips.status_code == 503
        assert "transmitter" in sentence(clips) and dead in sentence(clips)
        # Not "there is none": nobody knows yet.
        assert (await client.get("/api/v1/sessions")).status_code == 503
        assert (await client.post("/api/v1/sessions", json=CLIP)).status_code == 503


async def test_options_hold_what_the_page_draws(bench: Bench) -> None:
    options = (await bench.client.get("/api/v1/options")).json()
    schemes = {scheme["id"]: scheme for scheme in options["schemes"]}
    assert schemes["h264-ldpc"]["baseline"] and not schemes["lowres"]["baseline"]
    assert schemes["lowres"]["default_cbr"] == pytest.approx(0.004)
    assert options["snr_db"] == {"min": -5.0, "max": 20.0, "step": 0.5}
    assert {"default", "auto", "qpsk-3/4"} <= set(options["mcs"])
    assert options["segmenters"][0] == "" and "segformer-b0" in options["segmenters"]
    assert options["captioners"][:2] == ["", "none"]
    assert options["max_upload_bytes"] == 1_000_000
    assert schemes["contours-lowres"]["modalities"] == ["contours", "lowres"]
    titles = {generator["name"]: generator["title"] for generator in options["generators"]}
    assert titles["passthrough"].startswith("Passthrough") and next(iter(titles)) == "auto"
    properties = options["session_schema"]["properties"]
    assert all(field["description"] and field["title"] for field in properties.values())


async def test_clips_are_those_of_the_transmitter(bench: Bench) -> None:
    clips = (await bench.client.get("/api/v1/clips")).json()["clips"]
    assert clips[0]["id"] == "sample:gripper"
    assert (clips[0]["width"], clips[0]["duration_s"]) == (256, 8.0)


async def test_a_session_is_started_live_with_a_baseline(bench: Bench) -> None:
    session = await start(bench, snr_db=3.5, cbr=0.002, width=320, height=192)
    spec = bench.transmitter.sessions[session["id"]].spec
    assert spec.paced and spec.loop and spec.measurement_tap
    assert (spec.scheme, spec.baseline_scheme) == ("lowres", "h264-ldpc")
    assert (spec.width_px, spec.height_px, spec.cbr) == (320, 192, 0.002)
    assert (spec.channel.snr_db, spec.channel.seed, spec.seed) == (3.5, 7777, 7777)
    shown = await bench.client.get(f"/api/v1/sessions/{session['id']}")
    assert shown.json()["snr_db"] == 3.5
    await until(lambda: _state(bench, session["id"], "streaming"))
    listed = (await bench.client.get("/api/v1/sessions")).json()["sessions"]
    assert [item["id"] for item in listed] == [session["id"]]


async def _state(bench: Bench, session_id: str, state: str) -> bool:
    session = (await bench.client.get(f"/api/v1/sessions/{session_id}")).json()
    return bool(session["state"] == state)


async def test_snr_changes_in_place(bench: Bench) -> None:
    session = await start(bench)
    path = f"/api/v1/sessions/{session['id']}"
    changed = await bench.client.patch(path, json={"snr_db": -2.5})
    assert changed.status_code == 200 and changed.json()["snr_db"] == -2.5
    assert bench.transmitter.updates == [(session["id"], -2.5)]
    assert bench.transmitter.sessions[session["id"]].generation == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scheme", "h265-ldpc"),
        ("channel", "rayleigh"),
        ("fps", 12.0),
        ("generator", "tiny"),
        ("generator_steps", 2),
        ("guidance", 1.5),
    ],
)
async def test_other_fields_start_the_session_again_under_its_id(
    bench: Bench, field: str, value: object
) -> None:
    session = await start(bench, snr_db=4)
    changed = await bench.client.patch(f"/api/v1/sessions/{session['id']}", json={field: value})
    assert changed.json()[field] == value
    assert changed.json()["snr_db"] == 4
    running = bench.transmitter.sessions[session["id"]]
    assert running.generation == 2
    # The stream of the first generation has ended; the keeper must not take that for a loss.
    await until(lambda: _state(bench, session["id"], "streaming"))
    assert bench.transmitter.sessions[session["id"]].generation == 2


async def test_a_refused_change_changes_nothing(bench: Bench) -> None:
    session = await start(bench)
    path = f"/api/v1/sessions/{session['id']}"
    refused = await bench.client.patch(path, json={"scheme": "telepathy", "snr_db": 1})
    assert refused.status_code == 404
    assert sentence(refused) == "Unknown scheme 'telepathy': choose lowres."
    shown = (await bench.client.get(path)).json()
    assert (shown["scheme"], shown["snr_db"]) == ("lowres", 10.0)
    assert bench.transmitter.sessions[session["id"]].generation == 1


async def test_stop_ends_it_at_the_transmitter(bench: Bench) -> None:
    session = await start(bench)
    path = f"/api/v1/sessions/{session['id']}"
    assert (await bench.client.delete(path)).status_code == 204
    assert bench.transmitter.sessions == {}
    gone = await bench.client.get(path)
    assert gone.status_code == 404 and session["id"] in sentence(gone)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({**CLIP, "snr_db": "banana"}, "snr_db cannot be 'banana'"),
        ({**CLIP, "snr_db": 61}, "snr_db cannot be 61"),
        ({**CLIP, "fps": 0}, "fps cannot be 0"),
        ({**CLIP, "width": 255}, "width cannot be 255"),
        ({**CLIP, "channel": "wire"}, "channel cannot be 'wire'"),
        ({**CLIP, "cbr": 0}, "cbr cannot be 0"),
        ({**CLIP, "seed": -1}, "seed cannot be -1"),
        ({**CLIP, "generator_steps": 9}, "generator_steps cannot be 9"),
        ({**CLIP, "generator_steps": 1.5}, "generator_steps cannot be 1.5"),
        ({**CLIP, "guidance": -0.5}, "guidance cannot be -0.5"),
        ({**CLIP, "guidance": 11}, "guidance cannot be 11"),
        ({**CLIP, "snr": 3}, "snr is not a field"),
        ({}, "clip is missing"),
        ([], "not a JSON object"),
    ],
)
async def test_bad_values_get_one_sentence_that_names_the_field(
    bench: Bench, body: object, said: str
) -> None:
    response = await bench.client.post("/api/v1/sessions", json=body)
    assert response.status_code == 422
    assert said in sentence(response)
    assert bench.transmitter.sessions == {}


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe", b'{"clip": "a", "snr_db": NaN}'])
async def test_what_is_no_json_gets_one_sentence(bench: Bench, content: bytes) -> None:
    response = await bench.client.post(
        "/api/v1/sessions", content=content, headers={"content-type": "application/json"}
    )
    assert 400 <= response.status_code < 500
    sentence(response)


async def test_the_transmitters_sentences_pass_unchanged(bench: Bench) -> None:
    unknown = await bench.client.post("/api/v1/sessions", json={"clip": "sample:nothing"})
    assert unknown.status_code == 404
    assert sentence(unknown) == "Clip 'sample:nothing' is not there: choose sample:gripper."


@pytest.mark.parametrize("path", ["/api/v1/sessions/x", "/api/v1/sessions/x/events", "/nothing"])
async def test_what_is_not_there_is_404(bench: Bench, path: str) -> None:
    response = await bench.client.get(path)
    assert response.status_code == 404
    sentence(response)


async def test_wrong_methods_are_405(bench: Bench) -> None:
    response = await bench.client.put("/api/v1/sessions")
    assert response.status_code == 405
    sentence(response)


async def test_an_ended_clip_is_left_and_a_change_starts_it_again(bench: Bench) -> None:
    session = await start(bench, loop=False)
    session_id = session["id"]
    await until(lambda: bench.transmitter.watch_calls)
    await bench.transmitter.finish(session_id, transmitter_pb2.SESSION_STATE_ENDED)
    await until(lambda: _state(bench, session_id, "ended"))
    assert bench.transmitter.sessions == {}
    again = await bench.client.patch(f"/api/v1/sessions/{session_id}", json={"snr_db": 2})
    assert again.status_code == 200
    await until(lambda: _state(bench, session_id, "streaming"))


async def test_a_session_that_can_never_run_again_says_why(bench: Bench) -> None:
    bench.transmitter.uploads["upload:1"] = ("a.mp4", 9)
    session = await start(bench, clip="upload:1")
    await until(lambda: _state(bench, session["id"], "streaming"))
    del bench.transmitter.uploads["upload:1"]
    await bench.transmitter.finish(session["id"], transmitter_pb2.SESSION_STATE_FAILED, "Broke.")
    await until(lambda: _detail(bench, session["id"], "Clip 'upload:1' is not there"))
    assert await _state(bench, session["id"], "failed")


async def test_a_session_that_fails_before_its_first_frame_is_left_until_it_is_changed(
    bench: Bench,
) -> None:
    session = await start(bench, fps=1)
    await until(lambda: bench.transmitter.watch_calls)
    failed = transmitter_pb2.SESSION_STATE_FAILED
    await bench.transmitter.finish(session["id"], failed, "Too few symbols.")
    await until(lambda: _detail(bench, session["id"], "Too few symbols."))
    await asyncio.sleep(0.6)
    assert bench.transmitter.sessions == {}
    changed = await bench.client.patch(f"/api/v1/sessions/{session['id']}", json={"cbr": 0.01})
    assert changed.json()["starts"] == 2
    await until(lambda: _state(bench, session["id"], "streaming"))


async def _detail(bench: Bench, session_id: str, text: str) -> bool:
    session = (await bench.client.get(f"/api/v1/sessions/{session_id}")).json()
    return text in session["detail"]


async def test_metrics_count_requests_and_sessions(bench: Bench) -> None:
    await start(bench)
    text = (await bench.client.get("/metrics")).text
    assert (
        'semcast_console_requests_total{method="POST",route="/api/v1/sessions",status="201"} 1.0'
        in text
    )
    assert "semcast_console_sessions 1.0" in text
    assert 'semcast_console_service_serving{service="receiver"} 1.0' in text


async def test_pages_load_nothing_from_elsewhere(bench: Bench) -> None:
    for path in ("/", "/docs", "/static/app.js", "/static/style.css", "/static/docs.js"):
        response = await bench.client.get(path)
        assert response.status_code == 200
        assert "http://" not in response.text.replace("http://www.w3.org", "")
        assert "https://" not in response.text
    assert "<script>" not in (await bench.client.get("/")).text
    plotly = await bench.client.get("/vendor/plotly.min.js")
    assert plotly.status_code == 200 and len(plotly.content) > 1_000_000


async def test_openapi_describes_every_field(bench: Bench) -> None:
    schemas = (await bench.client.get("/openapi.json")).json()["components"]["schemas"]
    assert all("description" in item for item in schemas["SessionPatch"]["properties"].values())
    assert "required" not in schemas["SessionPatch"]


async def test_one_service_missing_is_not_ready_and_serves_what_it_can() -> None:
    async with serving(FakeTransmitter()) as port:
        settings = ConsoleSettings(
            transmitter_address=f"127.0.0.1:{port}", receiver_address=f"127.0.0.1:{free_port()}"
        )
        async with console_in_process(settings) as client:
            ready = await until(lambda: _services(client, "transmitter", "serving"))
            assert ready["services"]["receiver"] == "unreachable" and not ready["ready"]
            # One service is enough to look at clips.
            assert (await client.get("/api/v1/clips")).status_code == 200


async def _services(client, name: str, health: str):  # type: ignore[no-untyped-def]
    body = (await client.get("/readyz")).json()
    return body if body["services"][name] == health else None
