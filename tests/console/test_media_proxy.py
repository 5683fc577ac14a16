"""WHEP and WHIP at the HTTP edge (the SDP itself belongs to the services)."""

from __future__ import annotations

import pytest
from console_bench import Bench, console_in_process, fakes, is_ready, until
from fake_services import ANSWER_SDP

from console.media import MAX_SDP_BYTES, ice_links
from console.settings import ConsoleSettings, IceServer

OFFER = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
SDP = {"content-type": "application/sdp"}


async def start(bench: Bench) -> str:
    response = await bench.client.post("/api/v1/sessions", json={"clip": "sample:gripper"})
    return str(response.json()["id"])


@pytest.mark.parametrize(
    ("suffix", "service", "watched"),
    [("", "receiver", "{id}"), ("/source", "transmitter", "{id}"),
     ("/baseline", "receiver", "{id}.baseline")],
)  # fmt: skip
async def test_whep_opens_at_the_right_service_and_delete_closes(
    bench: Bench, suffix: str, service: str, watched: str
) -> None:
    session_id = await start(bench)
    viewers = getattr(bench, service).viewers
    opened = await bench.client.post(f"/whep/{session_id}{suffix}", content=OFFER, headers=SDP)
    assert opened.status_code == 201
    assert opened.headers["content-type"].startswith("application/sdp")
    assert opened.text == ANSWER_SDP
    assert list(viewers.values()) == [watched.format(id=session_id)]
    assert (await bench.client.delete(opened.headers["location"])).status_code == 200
    assert viewers == {}


async def test_whip_makes_a_clip(bench: Bench) -> None:
    opened = await bench.client.post("/whip", content=OFFER, headers=SDP)
    assert opened.status_code == 201
    clip_id = opened.headers["x-semcast-clip"]
    assert opened.headers["location"] == f"/whip/{clip_id.removeprefix('webcam:')}"
    clips = (await bench.client.get("/api/v1/clips")).json()["clips"]
    assert clip_id in [clip["id"] for clip in clips]
    assert (await bench.client.delete(opened.headers["location"])).status_code == 200
    assert (await bench.client.delete(opened.headers["location"])).status_code == 404


@pytest.mark.parametrize("path", ["/whip", "/whep/any"])
@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (OFFER, "text/plain", 415),
        (OFFER, "", 415),
        ("hello", "application/sdp", 422),
        (b"\xff\xfe", "application/sdp", 422),
        ("v=0" + "x" * MAX_SDP_BYTES, "application/sdp", 413),
    ],
)
async def test_what_is_no_offer_is_refused(
    bench: Bench, path: str, content: str | bytes, content_type: str, status: int
) -> None:
    response = await bench.client.post(
        path, content=content, headers={"content-type": content_type}
    )
    assert response.status_code == status
    assert list(response.json()) == ["error"]
    assert bench.receiver.viewers == {} and bench.transmitter.webcams == set()


async def test_other_methods_are_405(bench: Bench) -> None:
    assert (await bench.client.get("/whip")).status_code == 405
    assert (await bench.client.get("/whep/any")).status_code == 405
    # No trickle ICE (RFC 9725 section 4.3.2).
    assert (await bench.client.patch("/whip/cam1")).status_code == 405
    assert (await bench.client.patch("/whep/any/source/v1")).status_code == 405


async def test_an_unknown_session_is_404_with_the_services_sentence(bench: Bench) -> None:
    response = await bench.client.post("/whep/missing", content=OFFER, headers=SDP)
    assert response.status_code == 404
    assert response.json() == {"error": "There is no session 'missing' at the receiver."}


async def test_nobody_elses_page_may_read_answers(bench: Bench) -> None:
    response = await bench.client.get("/api/v1/clips", headers={"origin": "http://evil.example"})
    assert not [name for name in response.headers if name.startswith("access-control")]


async def test_ice_servers_go_to_page_and_to_whip_clients() -> None:
    turn = IceServer(urls="turn:turn.example:3478", username="u", credential="p")
    async with fakes() as (_, _, addresses):
        settings = ConsoleSettings(ice_servers=(turn,), **addresses)
        async with console_in_process(settings) as client:
            await until(lambda: is_ready(client))
            options = (await client.get("/api/v1/options")).json()
            assert options["ice_servers"] == [
                {"urls": "turn:turn.example:3478", "username": "u", "credential": "p"}
            ]
            opened = await client.post("/whip", content=OFFER, headers=SDP)
            assert opened.headers["link"] == ice_links(turn)[0]


def test_ice_servers_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMCAST_ICE_SERVERS", '[{"urls": ["stun:a.example:1", "stun:b.example"]}]')
    [server] = ConsoleSettings().ice_servers
    assert ice_links(server) == [
        '<stun:a.example:1>; rel="ice-server"',
        '<stun:b.example>; rel="ice-server"',
    ]
