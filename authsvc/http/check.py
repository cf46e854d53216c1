"""Owns `/check`: what proxies ask before they let a request through. Leaves judging to core.gate.

nginx (`auth_request`), Caddy and Traefik (`forward_auth`) send the headers of the request under way; the address says
what its service wants, in the names of `core.gate.read_wishes`: `/check?audience=orders&mode=page`. Who passes gets
200, and its headers are those to set for the service; what is not among them is to be taken away. Anything else is no
entry, and for whoever asked: JSON, or the way to the login page.

Whoever asks proves to be a client with `introspect`, by its key in `x-authsvc-key`. A question that makes no sense, and
one by nobody known, is answered 503 and not 401: it is the proxy that is wrong, not the user.
"""

import asyncio

import structlog
from starlette.requests import Request
from starlette.responses import Response

from authsvc.core.caller import Caller
from authsvc.core.callers import Callers
from authsvc.core.errors import Refusal
from authsvc.core.gate import Arrival, Gate, Wishes, WishesUnusable, login_address, read_wishes
from authsvc.core.model import Permission
from authsvc.http.answers import refusal
from authsvc.http.inside import Inside

_WAIT_S = 2.0
_SEE_OTHER = 303
# For nginx, which knows 401 and 403 alone: the way to the login page is a header of a 401 then.
_REDIRECTS = "redirects"
_LOGIN = "x-authsvc-login"
_KEY = "x-authsvc-key"
_LOOPBACK = ("127.0.0.1", "::1")
_log = structlog.get_logger("authsvc.check")


class QuestionUnusable(Exception):
    """The proxy asks in a way that cannot be answered. The message says why."""


class Check:
    """Answers proxies."""

    def __init__(self, inside: Inside) -> None:
        self._gate: Gate = inside.gate
        self._callers: Callers = inside.callers
        self._anonymous = inside.anonymous
        self._refused = inside.refused
        self._said: set[str] = set()

    async def answer(self, request: Request) -> Response:
        """Return 200 with headers for the service, or what is to be told to whoever wants in."""
        try:
            wishes, redirects = _wishes(request)
            return await self._judged(request, _arrival(request), wishes, redirects)
        except (QuestionUnusable, WishesUnusable) as error:
            return self._unusable(str(error))

    async def _judged(self, request: Request, arrival: Arrival, wishes: Wishes, redirects: bool) -> Response:
        try:
            async with asyncio.timeout(_WAIT_S):
                caller = await self._caller(request)
                admitted = await self._gate.admit(arrival, wishes, caller)
        except Exception as error:
            answer = self._refused(error)
            if answer is None:
                raise
            return _denied(*answer, login_address(arrival, wishes), redirects)
        return Response(headers=dict(admitted.headers))

    async def _caller(self, request: Request) -> Caller:
        """Return the proxy. Raises QuestionUnusable, StoreUnavailable."""
        keys = request.headers.getlist(_KEY)
        if not keys and self._anonymous is not None and _is_local(request):
            return self._anonymous
        try:
            caller = await self._callers.resolve(keys[0]) if len(keys) == 1 else None
        except Refusal:
            caller = None
        if caller is None or not caller.has(Permission.INTROSPECT) or not caller.is_client:
            raise QuestionUnusable(f"{_KEY} is not the key of a client with `introspect`")
        return caller

    def _unusable(self, sentence: str) -> Response:
        if sentence not in self._said and len(self._said) < 100:
            self._said.add(sentence)
            _log.error("a proxy asks in a way that cannot be answered", cause=sentence)
        return refusal(503, "The way to this service is not set up as it should be.", {"retry-after": "1"})


def _wishes(request: Request) -> tuple[Wishes, bool]:
    """Return what the service wants, and whether the proxy can redirect. Raises WishesUnusable, QuestionUnusable."""
    given = dict(request.query_params)
    if len(given) != len(request.query_params.multi_items()):
        raise QuestionUnusable("a wish comes twice")
    redirects = given.pop(_REDIRECTS, "true")
    if redirects not in ("true", "false"):
        raise QuestionUnusable("redirects must be true or false")
    return read_wishes(given), redirects == "true"


def _arrival(request: Request) -> Arrival:
    def all_of(name: str) -> tuple[str, ...]:
        return tuple(request.headers.getlist(name))

    return Arrival(
        method=_one(request, "x-forwarded-method"),
        target=_one(request, "x-forwarded-uri"),
        cookies=all_of("cookie"),
        authorization=all_of("authorization"),
        origins=all_of("origin"),
        sites=all_of("sec-fetch-site"),
        accept=request.headers.get("accept", ""),
        upgrade=request.headers.get("upgrade", ""),
    )


def _one(request: Request, name: str) -> str:
    values = request.headers.getlist(name)
    if len(values) != 1 or not values[0]:
        raise QuestionUnusable(f"{name} must come once")
    return values[0]


def _denied(code: int, body: str, headers: dict[str, str], login: str | None, redirects: bool) -> Response:
    if code == 401 and login is not None:
        if redirects:
            return Response(status_code=_SEE_OTHER, headers={"location": login})
        headers = {**headers, _LOGIN: login}
    if code == 400 and not redirects:
        code = 403
    return Response(body, code, headers)


def _is_local(request: Request) -> bool:
    """Whether the proxy is on this machine: loopback, or a Unix socket."""
    return request.client is None or request.client.host in _LOOPBACK
