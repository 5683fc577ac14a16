"""Who may talk to the console.

- On loopback the Host header must name this machine, or a page of another site could reach the
  console by pointing its own name at 127.0.0.1 (DNS rebinding).
- A request that changes something must not come from a page of another site (`Sec-Fetch-Site`,
  `Origin`). Programs send neither header and pass.
- With a token, every request but the health checks must carry it, as `Authorization: Bearer` or in
  the cookie that a visit of `/?token=...` sets. The cookie holds a digest, not the token.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.settings import ConsoleSettings, is_loopback

COOKIE = "semcast_console"
COOKIE_MAX_AGE_S = 30 * 24 * 3600
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OPEN_PATHS = frozenset({"/healthz", "/readyz"})

# plotly.js writes its styles into the page; scripts come from this origin alone.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob: mediastream:",
        "connect-src 'self'",
        "font-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_SECURITY_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    # The token may be in the address of the first visit.
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not served: HTTP status and one sentence."""

    status: int
    sentence: str


def host_refusal(host_header: str, settings: ConsoleSettings) -> Refusal | None:
    """Refuses, on loopback, a Host that is not this machine."""
    if not is_loopback(settings.host):
        return None
    try:
        hostname = urlsplit(f"//{host_header}").hostname or ""
    except ValueError:
        hostname = ""
    if is_loopback(hostname) or hostname == settings.host:
        return None
    return Refusal(
        421,
        f"This console answers to localhost only, not to '{hostname}': open it by that name, or "
        "set SEMCAST_HOST and SEMCAST_TOKEN to serve others.",
    )


def origin_refusal(
    method: str, host_header: str, origin: str | None, fetch_site: str | None
) -> Refusal | None:
    """Refuses a change asked for by a page of another site."""
    if method in _SAFE_METHODS:
        return None
    foreign = Refusal(403, "A page of another site may not control this console.")
    if fetch_site is not None and fetch_site not in ("same-origin", "none"):
        return foreign
    if origin is not None and origin.lower() not in (
        f"http://{host_header}".lower(),
        f"https://{host_header}".lower(),
    ):
        return foreign
    return None


def token_refusal(
    path: str, authorization: str | None, cookie: str | None, settings: ConsoleSettings
) -> Refusal | None:
    """Refuses a request without the token, where one is set."""
    if settings.token is None or path in _OPEN_PATHS:
        return None
    token = settings.token.get_secret_value()
    if authorization is not None:
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() == "bearer" and _same(given.strip(), token):
            return None
    if cookie is not None and _same(_cookie_value(cookie), cookie_digest(token)):
        return None
    return Refusal(
        401,
        "This console wants its token: open /?token=... once in a browser, or send it as "
        "'Authorization: Bearer'.",
    )


def cookie_digest(token: str) -> str:
    """What the cookie holds: it opens this console, and does not give the token away."""
    return hmac.new(token.encode(), b"semcast console cookie", hashlib.sha256).hexdigest()


def _cookie_value(cookie_header: str) -> str:
    try:
        cookies = SimpleCookie(cookie_header)
    except CookieError:
        return ""
    morsel = cookies.get(COOKIE)
    return morsel.value if morsel is not None else ""


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


class Guard:
    """ASGI middleware: the rules above, and the security headers on every answer."""

    def __init__(self, app: ASGIApp, settings: ConsoleSettings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves, refuses, or trades a token in the address for a cookie."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = self._answer(scope)
        if answer is not None:
            await answer(scope, receive, send_guarded)
        else:
            await self._app(scope, receive, send_guarded)

    def _answer(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        refusal = host_refusal(host, self._settings) or origin_refusal(
            scope["method"], host, headers.get("origin"), headers.get("sec-fetch-site")
        )
        if refusal is None:
            welcome = self._welcome(scope)
            if welcome is not None:
                return welcome
            refusal = token_refusal(
                scope["path"], headers.get("authorization"), headers.get("cookie"), self._settings
            )
        if refusal is None:
            return None
        extra = {"www-authenticate": "Bearer"} if refusal.status == 401 else None
        return JSONResponse({"error": refusal.sentence}, refusal.status, headers=extra)

    def _welcome(self, scope: Scope) -> Response | None:
        """Trades a right token in the address for the cookie, and takes it out of the address."""
        if self._settings.token is None or scope["path"] != "/" or scope["method"] != "GET":
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        token = self._settings.token.get_secret_value()
        if not given or not _same(given, token):
            return None
        response = RedirectResponse("/", status_code=303)
        response.set_cookie(
            COOKIE,
            cookie_digest(token),
            max_age=COOKIE_MAX_AGE_S,
            path="/",
            secure=self._settings.serves_tls,
            httponly=True,
            # A link in a chat is a visit from another site; strict would lose the cookie then.
            samesite="lax",
        )
        return response
