"""Who may talk to the console: Host, Origin, token; and what the answers carry."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from console_bench import console_in_process, fakes, is_ready, until
from pydantic import SecretStr, ValidationError

from console.security import COOKIE, cookie_digest, host_refusal, origin_refusal, token_refusal
from console.settings import ConsoleSettings

TOKEN = "correct-horse-battery"
CLIP = {"clip": "sample:gripper"}


@pytest.fixture
async def guarded() -> AsyncIterator[httpx.AsyncClient]:
    """A console for the network, with a token."""
    async with fakes() as (_, _, addresses):
        settings = ConsoleSettings(host="0.0.0.0", token=SecretStr(TOKEN), **addresses)
        async with console_in_process(settings, "http://bench.example:8080") as client:
            await until(lambda: is_ready(client))
            yield client


async def test_without_the_token_only_the_probes_answer(guarded: httpx.AsyncClient) -> None:
    for path in ("/", "/api/v1/clips", "/metrics", "/static/app.js", "/docs", "/openapi.json"):
        response = await guarded.get(path)
        assert response.status_code == 401, path
        assert "token" in response.json()["error"]
        assert response.headers["www-authenticate"] == "Bearer"
    assert (await guarded.post("/whip", content="v=0")).status_code == 401
    assert (await guarded.get("/healthz")).status_code == 200
    assert (await guarded.get("/readyz")).status_code == 200


async def test_a_bearer_token_opens(guarded: httpx.AsyncClient) -> None:
    right = await guarded.get("/api/v1/clips", headers={"authorization": f"Bearer {TOKEN}"})
    assert right.status_code == 200
    for wrong in (f"Bearer {TOKEN}x", "Bearer ", f"Basic {TOKEN}", TOKEN, "Bearer ü"):
        response = await guarded.get(
            "/api/v1/clips", headers={"authorization": wrong.encode("latin-1")}
        )
        assert response.status_code == 401, wrong


async def test_one_visit_with_the_token_sets_a_cookie_that_opens(
    guarded: httpx.AsyncClient,
) -> None:
    visit = await guarded.get("/", params={"token": TOKEN})
    assert visit.status_code == 303 and visit.headers["location"] == "/"
    cookie = visit.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "Path=/" in cookie
    # Whoever reads the cookie does not have the token.
    assert TOKEN not in cookie
    assert (await guarded.get("/api/v1/clips")).status_code == 200
    guarded.cookies.clear()
    guarded.cookies.set(COOKIE, cookie_digest("another-token-of-16"))
    assert (await guarded.get("/api/v1/clips")).status_code == 401


async def test_a_wrong_token_in_the_address_sets_nothing(guarded: httpx.AsyncClient) -> None:
    visit = await guarded.get("/", params={"token": "wrong"})
    assert visit.status_code == 401
    assert "set-cookie" not in visit.headers


async def test_pages_of_other_sites_change_nothing_even_with_the_cookie(
    guarded: httpx.AsyncClient,
) -> None:
    await guarded.get("/", params={"token": TOKEN})
    for headers in (
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        # Another port of the same machine is "same-site", and another program.
        {"sec-fetch-site": "same-site"},
        {"origin": "http://bench.example:3000"},
    ):
        response = await guarded.post("/api/v1/sessions", json=CLIP, headers=headers)
        assert response.status_code == 403, headers
    own = {"origin": "http://bench.example:8080", "sec-fetch-site": "same-origin"}
    assert (await guarded.post("/api/v1/sessions", json=CLIP, headers=own)).status_code == 201


@pytest.mark.parametrize(
    ("host", "served"),
    [("localhost:8080", True), ("127.0.0.1:8080", True), ("[::1]:8080", True), ("127.0.0.2", True),
     ("evil.example:8080", False), ("localhost.evil.example", False), ("192.168.1.7:8080", False),
     ("", False), ("[", False)],
)  # fmt: skip
def test_on_loopback_only_this_machines_names_are_served(host: str, served: bool) -> None:
    refusal = host_refusal(host, ConsoleSettings())
    assert (refusal is None) == served


async def test_dns_rebinding_is_refused_at_the_door() -> None:
    async with fakes() as (_, _, addresses):
        settings = ConsoleSettings(**addresses)
        async with console_in_process(settings, "http://evil.example:8080") as client:
            response = await client.get("/api/v1/clips")
            assert response.status_code == 421
            assert "localhost" in response.json()["error"]


def test_programs_send_no_origin_and_pass() -> None:
    assert origin_refusal("POST", "localhost", None, None) is None
    assert origin_refusal("GET", "localhost", "http://evil.example", "cross-site") is None


def test_a_broken_cookie_is_no_crash() -> None:
    settings = ConsoleSettings(token=SecretStr(TOKEN))
    assert token_refusal("/", None, 'a="\x00;=;;\\', settings) is not None


async def test_answers_forbid_foreign_scripts_and_frames(guarded: httpx.AsyncClient) -> None:
    headers = (await guarded.get("/", headers={"authorization": f"Bearer {TOKEN}"})).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "bench.example"])
def test_beyond_loopback_a_token_is_wanted(host: str) -> None:
    with pytest.raises(ValidationError, match="SEMCAST_TOKEN"):
        ConsoleSettings(host=host)
    ConsoleSettings(host=host, token=SecretStr(TOKEN))


def test_a_short_token_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValidationError) as caught:
        ConsoleSettings(token=SecretStr("hunter2"))
    assert "too short" in str(caught.value) and "hunter2" not in str(caught.value)
