"""Owns guarding a Django project, under WSGI and ASGI. Leaves what a request says to `saying`, judging to `guarding`.

# orders/auth.py
AuthMiddleware = auth_middleware(verifier, rules={"/": authenticated(), "/health": public()})

# settings.py
MIDDLEWARE = ["orders.auth.AuthMiddleware", ...]
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from inspect import iscoroutinefunction
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_and_async_middleware

from authsvc_client.clock import Clock, wall_clock
from authsvc_client.frameworks import saying
from authsvc_client.frameworks.answers import Answers
from authsvc_client.frameworks.paths import PathRules
from authsvc_client.guarding.bearers import SyncBearers
from authsvc_client.guarding.judging import STALE_AFTER_MS, Judge, is_session_token, refused_by
from authsvc_client.guarding.policy import Policy, Rule
from authsvc_client.guarding.principal import Principal, Who, set_current
from authsvc_client.guarding.refusals import Refused
from authsvc_client.guarding.sync_remote_checks import SyncRemoteChecks
from authsvc_client.strict import AccessToken
from authsvc_client.verifying import Verifier

View = Callable[[HttpRequest], Any]

_log = logging.getLogger("authsvc_client.frameworks")


def auth_middleware(
    verifier: Verifier,
    *,
    rules: Mapping[str, Rule] | None = None,
    remote: SyncRemoteChecks | None = None,
    cookie_name: str = saying.COOKIE,
    trusted_origins: Collection[str] = (),
    stale_after_ms: int = STALE_AFTER_MS,
    clock: Clock = wall_clock,
) -> Callable[[View], View]:
    """A Django middleware that lets through whom the rules let: `request.authsvc_principal`, `current_principal()`.

    `rules` are by path prefix; without them every path needs a good token. On a public path the principal is None.
    Session tokens, from the header or the cookie, are checked by `remote`. Raises PolicyMistaken for bad rules.
    """
    judge = Judge(verifier, Policy({}), (), stale_after_ms, clock)
    gate = _Gate(judge, PathRules(rules), SyncBearers(judge, remote), cookie_name, frozenset(trusted_origins))

    @sync_and_async_middleware  # type: ignore[untyped-decorator]  # Django has no types
    def middleware(get_response: View) -> View:
        if iscoroutinefunction(get_response):
            return _asynchronous(gate, get_response)

        return _synchronous(gate, get_response)

    return middleware  # type: ignore[no-any-return]  # nor here


def _synchronous(gate: "_Gate", get_response: View) -> View:
    def guarded(request: HttpRequest) -> Any:
        try:
            return gate.enter(request) or get_response(request)
        finally:
            set_current(None)  # The thread goes on to others' requests.

    return guarded


def _asynchronous(gate: "_Gate", get_response: Callable[[HttpRequest], Awaitable[Any]]) -> View:
    async def guarded(request: HttpRequest) -> Any:
        return await gate.enter_async(request) or await get_response(request)

    return guarded


class _Gate:
    """Judges requests; what it returns is the response of one that is refused."""

    def __init__(
        self,
        judge: Judge,
        rules: PathRules,
        bearers: SyncBearers,
        cookie_name: str,
        trusted_origins: Collection[str],
    ) -> None:
        self._rules = rules
        self._bearers = bearers
        self._cookie_name = cookie_name
        self._trusted_origins = trusted_origins
        self._answers = Answers(judge.verifier.issuer)

    def enter(self, request: HttpRequest) -> HttpResponse | None:
        """Judge in this thread."""
        try:
            rule, said = self._asked(request)
            who = None if said is None else self._bearers.check(said.bearer, rule, said.min_revision)
        except Exception as error:  # noqa: BLE001  whatever went wrong, nobody is let in, and no text leaves
            return self._refuse(error, request)
        self._let_in(request, who)
        return None

    async def enter_async(self, request: HttpRequest) -> HttpResponse | None:
        """Judge on the event loop; what has to ask or wait does so in a thread."""
        try:
            rule, said = self._asked(request)
            if said is None:
                who = None
            elif said.min_revision or rule.strict or is_session_token(said.bearer):
                who = await asyncio.to_thread(self._bearers.check, said.bearer, rule, said.min_revision)
            else:
                who = self._bearers.check(said.bearer, rule)
        except Exception as error:  # noqa: BLE001  as above
            return self._refuse(error, request)
        self._let_in(request, who)
        return None

    def _asked(self, request: HttpRequest) -> tuple[Rule, saying.Said | None]:
        """The rule of a request and what it says; on a public path that is not looked at."""
        rule = self._rules.get(request.path_info)
        if rule is None:
            raise Refused("CALLER_NOT_PERMITTED")
        if rule.is_public:
            return rule, None
        headers = [(name.lower(), value) for name, value in request.headers.items()]
        return rule, saying.read(request.method or "", headers, self._cookie_name, self._trusted_origins)

    @staticmethod
    def _let_in(request: HttpRequest, who: Who | None) -> None:
        set_current(who)
        request.authsvc_principal = Principal.of_token(who) if isinstance(who, AccessToken) else who

    def _refuse(self, error: Exception, request: HttpRequest) -> HttpResponse:
        refused = refused_by(error)
        if refused is None:
            _log.error("a request for %s could not be judged", request.path_info, exc_info=error)
        answer = self._answers.of(refused or Refused("INTERNAL"))
        return HttpResponse(answer.body, status=answer.status, headers=dict(answer.headers))
