"""Owns what every answer has in common: security headers, refusing bodies, and that no defect is told to anybody.

Leaves what is in an answer to whoever gives it.
"""

from collections.abc import Awaitable, Callable
from secrets import token_hex

import structlog
from prometheus_client import CollectorRegistry, Counter
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# What an answer has that does not say otherwise.
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
HEADERS_MAX_BYTES = 16 * 1024
_CLOSED = {"connection": "close"}
_NAME = "authsvc.route"
_log = structlog.get_logger("authsvc.incident")

Endpoint = Callable[[Request], Awaitable[Response]]


def route(name: str, path: str, endpoint: Endpoint) -> Route:
    """Return a route, whose answers are counted under its name."""

    async def named(request: Request) -> Response:
        request.scope[_NAME] = name
        return await endpoint(request)

    return Route(path, named, methods=["GET"], name=name)


def refusal(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """Return a refusal, as the edge has them: the message of google.rpc.Status, in JSON."""
    return JSONResponse({"message": message}, status, headers)


def unavailable() -> Response:
    """Return that nothing is known now, and when to ask again."""
    text = "A part of the service did not answer in time. Nothing is known; try again."
    return refusal(503, text, {"retry-after": "1"})


class Answers:
    """Every answer passes here, whatever becomes of the request.

    Counts by the name of the route, never by the path: a path is what somebody typed.
    """

    def __init__(self, app: ASGIApp, metrics: CollectorRegistry) -> None:
        self._app = app
        self._answered = Counter(
            "authsvc_http_answers", "Answers of the HTTP listener.", ("route", "status"), registry=metrics
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await (_refused(scope) or self._app)(scope, receive, answer)
        except Exception as error:  # noqa: BLE001  nothing may pass by it
            incident = token_hex(8)
            _log.error("incident", incident=incident, exc_info=error)
            if not status:
                await refusal(500, f"Something went wrong here. Incident {incident}.")(scope, receive, answer)
        finally:
            self._answered.labels(scope.get(_NAME, "none"), str(status)).inc()


def _refused(scope: Scope) -> Response | None:
    """What is said to a request that is too large."""
    headers = Request(scope).headers
    if sum(len(name) + len(value) for name, value in headers.raw) > HEADERS_MAX_BYTES:
        return refusal(431, "The headers are too large.", _CLOSED)
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        return refusal(413, "Nothing here takes a body.", _CLOSED)
    return None
