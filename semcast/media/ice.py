"""Which servers and addresses does a peer connection use?

STUN and TURN servers come from `SEMCAST_ICE_SERVERS`, the JSON of a browser's
`RTCConfiguration.iceServers`, so one text serves the page and the services:

    [{"urls": "stun:stun.example:3478"},
     {"urls": ["turn:turn.example:3478"], "username": "u", "credential": "p"}]

None is the default: nothing outside this machine is asked unless somebody says so. aiortc uses the
first STUN and the first TURN server of the list.

Host candidates are all addresses of the machine. RFC 8445 section 5.1.1.1 leaves loopback out, and
so does aioice; but then two processes of a machine without network could not meet, so where there
is no other address, loopback is used.
"""

import functools
import json
from typing import Any

from aiortc import RTCIceServer, RTCPeerConnection
from aiortc.rtcicetransport import parse_stun_turn_uri

from semcast.errors import InputError

LOOPBACK = "127.0.0.1"

_EXAMPLE = 'like [{"urls": "stun:stun.example:3478"}]'


def parse_ice_servers(json_text: str) -> list[RTCIceServer]:
    """Reads `SEMCAST_ICE_SERVERS`; an empty text means no servers.

    Raises:
        InputError: not JSON, not a list of servers, an unknown key, a URL that is neither STUN nor
            TURN, or a TURN server without username and credential.
    """
    if not json_text.strip():
        return []
    try:
        entries = json.loads(json_text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"SEMCAST_ICE_SERVERS is not JSON ({error}); give a list {_EXAMPLE}."
        ) from error
    if not isinstance(entries, list):
        raise InputError(f"SEMCAST_ICE_SERVERS must be a JSON list of servers, {_EXAMPLE}.")
    return [_server(index, entry) for index, entry in enumerate(entries, start=1)]


def _server(index: int, entry: Any) -> RTCIceServer:
    where = f"Server {index} of SEMCAST_ICE_SERVERS"
    if not isinstance(entry, dict):
        raise InputError(f"{where} must be an object, {_EXAMPLE}.")
    unknown = sorted(set(entry) - {"urls", "username", "credential", "credentialType"})
    if unknown:
        raise InputError(
            f"{where} has the unknown key {unknown[0]!r}; "
            "the keys are urls, username and credential."
        )
    if entry.get("credentialType", "password") != "password":
        raise InputError(f"{where}: only the credentialType 'password' is supported.")
    urls = [entry["urls"]] if isinstance(entry.get("urls"), str) else entry.get("urls")
    if not isinstance(urls, list) or not urls or not all(isinstance(url, str) for url in urls):
        raise InputError(f"{where} needs urls, a text or a list of texts, {_EXAMPLE}.")
    username, credential = entry.get("username"), entry.get("credential")
    for url in urls:
        try:
            parsed = parse_stun_turn_uri(url)
        except ValueError as error:
            raise InputError(
                f"{where}: {url!r} is no STUN or TURN address; write stun:HOST:PORT or "
                "turn:HOST:PORT."
            ) from error
        is_turn = parsed["scheme"] in ("turn", "turns")
        if is_turn and not (isinstance(username, str) and isinstance(credential, str)):
            raise InputError(f"{where}: a TURN server needs a username and a credential.")
    return RTCIceServer(urls=urls, username=username, credential=credential)


def candidate_addresses(addresses: list[str]) -> list[str]:
    """The addresses to offer: those of the machine, or loopback where it has none."""
    return addresses or [LOOPBACK]


def bound_gathering(connection: RTCPeerConnection, timeout_s: float) -> None:
    """Makes `connection` gather on `candidate_addresses`, for at most `timeout_s` seconds.

    aiortc offers no setting for either; aioice's method that takes both is wrapped on the one
    connection at hand. Call it after `setRemoteDescription` (the transports exist by then) and
    before `setLocalDescription` (which gathers).
    """
    for transceiver in connection.getTransceivers():
        ice = transceiver.receiver.transport.transport.iceGatherer._connection
        if isinstance(ice.get_component_candidates, functools.partial):
            continue  # bundled: several transceivers, one transport

        async def gather(original: Any, component: int, addresses: list[str]) -> Any:
            return await original(component, candidate_addresses(addresses), timeout=timeout_s)

        bounded = functools.partial(gather, ice.get_component_candidates)
        ice.get_component_candidates = bounded  # type: ignore[assignment, method-assign]
