"""SEMCAST_ICE_SERVERS: the browser's JSON, or one sentence that says what is wrong."""

import pytest
from aiortc import RTCIceServer

from semcast.errors import InputError
from semcast.media.ice import candidate_addresses, parse_ice_servers


@pytest.mark.parametrize("text", ["", "  ", "[]"])
def test_none_by_default(text: str) -> None:
    assert parse_ice_servers(text) == []


def test_the_browsers_own_json() -> None:
    assert parse_ice_servers(
        '[{"urls": "stun:stun.example:3478"},'
        ' {"urls": ["turn:t.example:3478?transport=udp", "turns:t.example"],'
        '  "username": "u", "credential": "p", "credentialType": "password"}]'
    ) == [
        RTCIceServer(urls=["stun:stun.example:3478"]),
        RTCIceServer(
            urls=["turn:t.example:3478?transport=udp", "turns:t.example"],
            username="u",
            credential="p",
        ),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("stun:stun.example", "is not JSON"),
        ('{"urls": "stun:a"}', "must be a JSON list"),
        ('["stun:a"]', "Server 1 .* must be an object"),
        ('[{"url": "stun:a"}]', "unknown key 'url'"),
        ("[{}]", "needs urls"),
        ('[{"urls": []}]', "needs urls"),
        ('[{"urls": [3]}]', "needs urls"),
        ('[{"urls": "http://a"}]', "'http://a' is no STUN or TURN address"),
        ('[{"urls": "stun:"}]', "no STUN or TURN address"),
        ('[{"urls": "stun:a"}, {"urls": "turn:b"}]', "Server 2 .* username and a credential"),
        ('[{"urls": "stun:a", "credentialType": "oauth"}]', "only the credentialType 'password'"),
    ],
)
def test_malformed(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_ice_servers(text)


def test_loopback_only_where_there_is_nothing_else() -> None:
    assert candidate_addresses(["192.0.2.1", "2001:db8::1"]) == ["192.0.2.1", "2001:db8::1"]
    assert candidate_addresses([]) == ["127.0.0.1"]
