"""The console as an ASGI application: routes, errors, static files, probes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console import api, media
from console.backend import Backend
from console.metrics import ConsoleMetrics
from console.security import Guard
from console.sentence import validation_sentence
from console.sessions import SessionKeeper
from console.settings import ConsoleSettings
from console.state import ConsoleState
from semcast.errors import CapacityError, InputError, NotFoundError, SemcastError, UnavailableError
from semcast.rpc.metrics import MetricsServer
from semcast.version import __version__

STATIC_DIR = Path(__file__).parent / "static"
# Clients may send any word as a method; a metric must not grow by it.
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_HTTP_STATUS: dict[type[SemcastError], int] = {
    NotFoundError: 404,
    InputError: 422,
    CapacityError: 503,
    UnavailableError: 503,
}


def create_app(settings: ConsoleSettings) -> FastAPI:
    """The application; its lifespan opens and closes the gRPC channels and the session keeper."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        backend = Backend(settings)
        metrics = ConsoleMetrics()
        keeper = SessionKeeper(backend, metrics)
        app.state.console = ConsoleState(settings, backend, keeper, metrics)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(backend.close)
            stack.push_async_callback(keeper.close)
            if settings.metrics_port:
                server = MetricsServer(metrics.process, settings.host, settings.metrics_port)
                stack.push_async_callback(asyncio.to_thread, server.close)
            lag_watcher = asyncio.create_task(metrics.process.watch_event_loop())
            stack.callback(lag_watcher.cancel)
            keeper.open()
            yield

    app = FastAPI(
        title="semcast console",
        version=__version__,
        description="Live sessions of semcast: video over a noisy radio channel, as meaning.",
        lifespan=lifespan,
        # The packaged /docs page loads its scripts from another host; ours is static/docs.html.
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(api.router)
    app.include_router(media.router)
    _add_probes(app)
    _add_pages(app)
    _add_error_handlers(app)
    app.add_middleware(Guard, settings=settings)
    app.add_middleware(RequestMeter, app_state=app)
    return app


def _add_probes(app: FastAPI) -> None:
    @app.get("/healthz", tags=["probes"], summary="The process is alive")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz", tags=["probes"], summary="Both services are SERVING")
    async def readyz(request: Request) -> JSONResponse:
        keeper: SessionKeeper = request.app.state.console.keeper
        return JSONResponse(
            {"ready": keeper.ready, "services": keeper.services}, 200 if keeper.ready else 503
        )

    @app.get("/metrics", tags=["probes"], summary="Prometheus metrics")
    async def metrics(request: Request) -> PlainTextResponse:
        registry = request.app.state.console.metrics.registry
        return PlainTextResponse(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _add_pages(app: FastAPI) -> None:
    plotly = Path(str(files("plotly"))) / "package_data" / "plotly.min.js"

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC_DIR / "index.html", headers={"Cache-Control": "no-cache"})

    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(STATIC_DIR / "docs.html", headers={"Cache-Control": "no-cache"})

    @app.get("/favicon.ico", include_in_schema=False)
    async def favicon() -> FileResponse:
        return FileResponse(STATIC_DIR / "favicon.svg", media_type="image/svg+xml")

    @app.get("/vendor/plotly.min.js", include_in_schema=False)
    async def plotly_script() -> FileResponse:
        return FileResponse(
            plotly, media_type="text/javascript", headers={"Cache-Control": "private, max-age=3600"}
        )

    app.mount("/static", _FreshStaticFiles(directory=STATIC_DIR), name="static")


class _FreshStaticFiles(StaticFiles):
    """Static files a browser asks about each time (and mostly gets 304), so that an upgraded
    console never runs with half of an old page."""

    def file_response(self, *args: object, **kwargs: object):  # type: ignore[no-untyped-def]
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "no-cache"
        return response


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(SemcastError)
    async def semcast_error(request: Request, error: SemcastError) -> JSONResponse:
        status = next(status for kind, status in _HTTP_STATUS.items() if isinstance(error, kind))
        return JSONResponse({"error": str(error)}, status)

    @app.exception_handler(RequestValidationError)
    async def validation_error(request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"error": validation_sentence(error.errors())}, 422)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        sentence = str(error.detail)
        if error.status_code == 404:
            sentence = f"There is nothing at {request.url.path}."
        elif error.status_code == 405:
            sentence = f"{request.method} is not possible at {request.url.path}."
        return JSONResponse({"error": sentence}, error.status_code, headers=error.headers)

    @app.exception_handler(Exception)
    async def failure(request: Request, error: Exception) -> JSONResponse:
        # Starlette logs the traceback; the caller gets the place to look.
        return JSONResponse(
            {"error": f"The console failed ({type(error).__name__}): look at its log."}, 500
        )


class RequestMeter:
    """ASGI middleware that counts requests by route and times them to the head of the answer."""

    def __init__(self, app: ASGIApp, app_state: FastAPI) -> None:
        self._app = app
        self._app_state = app_state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on and notes how it was answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        metrics: ConsoleMetrics = self._app_state.state.console.metrics
        began = time.perf_counter()

        async def send_noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Known after routing; the path itself would make a series per session.
                route = getattr(scope.get("route"), "path", "other")
                method = scope["method"] if scope["method"] in _METHODS else "other"
                metrics.requests_total.labels(method, route, message["status"]).inc()
                metrics.request_seconds.labels(route).observe(time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, send_noted)
