"""Owns which path leads where. Leaves each answer to the file named after it."""

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute

from authsvc.http.answers import Answers, Endpoint, refusal, route
from authsvc.http.check import Check
from authsvc.http.inside import Inside
from authsvc.http.known import KEY_SET_PATH, KeySet, Metadata
from authsvc.http.page_files import Pages

_METRICS = "text/plain; version=0.0.4; charset=utf-8"


def application(inside: Inside) -> Starlette:
    """Return the ASGI application."""
    metadata = Metadata(inside.issuer)
    routes: list[BaseRoute] = [
        route("keys", KEY_SET_PATH, KeySet(inside.keys).answer),
        *(route("metadata", path, metadata.answer) for path in sorted(metadata.paths)),
        route("check", "/check", Check(inside).answer),
        route("health", "/healthz", _health(inside)),
        *Pages(inside).routes(),
    ]
    if inside.metrics_page is not None:
        routes.append(route("metrics", "/metrics", _metrics(inside.metrics_page)))
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Answers, metrics=inside.metrics)],
        exception_handlers={404: _not_found, 405: _not_allowed},
    )
    app.router.redirect_slashes = False  # or it would send people to whatever host the request names
    return app


def _health(inside: Inside) -> Endpoint:
    async def health(_request: Request) -> Response:
        return PlainTextResponse("ok\n") if inside.is_serving() else PlainTextResponse("not serving\n", 503)

    return health


def _metrics(page: Callable[[], Awaitable[bytes]]) -> Endpoint:
    async def metrics(_request: Request) -> Response:
        return Response(await page(), headers={"content-type": _METRICS})

    return metrics


async def _not_found(_request: Request, _error: Exception) -> Response:
    return refusal(404, "There is no such thing here.")


async def _not_allowed(_request: Request, _error: Exception) -> Response:
    return refusal(405, "Only GET is for this listener.", {"allow": "GET, HEAD"})
