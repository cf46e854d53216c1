"""Owns guarding an ASGI application: each request is judged before the application sees it. Needs no framework.

Leaves what a request says to `saying`, judging to `authsvc_client.guarding`. Websockets are judged when they open and
end when their token or session does.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, MutableMapping
from typing import Any, Final

from google.rpc import error_details_pb2, status_pb2

from authsvc_client.clock import Clock, wall_clock
from authsvc_client.frameworks import saying
from authsvc_client.frameworks.answers import Answer, Answers
from authsvc_client.frameworks.paths import PathRules
from authsvc_client.guarding.bearers import Bearers
from authsvc_client.guarding.judging import STALE_AFTER_MS, Judge, Lifetime, refused_by
from authsvc_client.guarding.policy import Policy, Rule
from authsvc_client.guarding.principal import Principal, Who, set_current
from authsvc_client.guarding.refusals import DETAILS_KEY, Refused
from authsvc_client.guarding.remote_checks import RemoteChecks
from authsvc_client.guarding.streams import OpenStreams
from authsvc_client.strict import AccessToken
from authsvc_client.verifying import Verifier

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

PRINCIPAL: Final = "authsvc.principal"
"""Where in the scope the Principal is; None on public paths."""
ANSWERS: Final = "authsvc.answers"
"""Where in the scope the `Answers` are, for refusals that an application makes itself."""
POLICY_VIOLATION: Final = 1008
"""The code that a websocket is closed with (RFC 6455 §7.4.1); its reason is an ErrorReason."""

_log = logging.getLogger("authsvc_client.frameworks")


class AuthMiddleware:
    """Lets through whom the rules let, as `scope["authsvc.principal"]` and `current_principal()`.

    `rules` are by path prefix as the server decoded it; without them every path needs a good token.
    Session tokens, from the header or the cookie, are checked by `remote`, which may be a function that makes it: it is
    called in the event loop, at the first request. `trusted_origins` (`https://shop.example`) may send this site's
    cookie.
    """

    def __init__(
        self,
        app: Application,
        verifier: Verifier,
        *,
        rules: Mapping[str, Rule] | None = None,
        remote: RemoteChecks | Callable[[], RemoteChecks] | None = None,
        cookie_name: str = saying.COOKIE,
        trusted_origins: Collection[str] = (),
        stale_after_ms: int = STALE_AFTER_MS,
        clock: Clock = wall_clock,
    ) -> None:
        """Raises PolicyMistaken for rules that are none."""
        self._app = app
        self._rules = PathRules(rules)
        self._judge = Judge(verifier, Policy({}), (), stale_after_ms, clock)
        self._answers = Answers(verifier.issuer)
        self._make_remote = remote if callable(remote) else None
        self._bearers = Bearers(self._judge, None if callable(remote) else remote)
        self._cookie_name = cookie_name
        self._trusted_origins = frozenset(trusted_origins)
        self._streams = OpenStreams(self._judge, self._recheck)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge an HTTP request or a websocket; pass everything else on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        scope[ANSWERS] = self._answers
        rule = self._rules.get(scope["path"])
        if rule is not None and rule.is_public:
            set_current(None)
            scope[PRINCIPAL] = None
            await self._app(scope, receive, send)
            return
        try:
            who, said = await self._check(scope, rule)
        except Exception as error:  # noqa: BLE001  whatever went wrong, nobody is let in, and no text leaves
            answer = self._answers.of(self._refused(error, scope["path"]))
            await (_refuse if scope["type"] == "http" else _refuse_websocket)(answer, scope, receive, send)
            return
        set_current(who)
        scope[PRINCIPAL] = who if isinstance(who, Principal) else Principal.of_token(who)
        if scope["type"] == "http":
            await self._app(scope, receive, send)
        elif rule is not None:
            await self._follow(self._judge.lifetime(who, said.bearer, rule), scope, receive, send)

    async def _check(self, scope: Scope, rule: Rule | None) -> tuple[Who, saying.Said]:
        if rule is None:
            raise Refused("CALLER_NOT_PERMITTED")
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        method = scope.get("method", "WEBSOCKET")
        said = saying.read(method, headers, self._cookie_name, self._trusted_origins)
        if self._make_remote is not None:
            self._bearers, self._make_remote = Bearers(self._judge, self._make_remote()), None
        return await self._bearers.check(said.bearer, rule, said.min_revision), said

    async def _follow(self, lifetime: Lifetime, scope: Scope, receive: Receive, send: Send) -> None:
        """Run a websocket for as long as its lifetime goes on."""
        closing = _Closing(send)
        try:
            with self._streams.following(lifetime, closing):  # type: ignore[arg-type]  # needs no more of a context
                await self._app(scope, receive, closing.send)
        except Refused as refused:
            await closing.close(refused.reason)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not closing.was_cut or task is None:
                raise
            task.uncancel()

    async def _recheck(self, lifetime: Lifetime) -> Who:
        if not isinstance(lifetime.who, AccessToken):
            return await self._bearers.validate(lifetime.bearer)
        await self._bearers.confirm(lifetime.bearer)
        return lifetime.who

    def _refused(self, error: Exception, path: str) -> Refused:
        refused = refused_by(error)
        if refused is None:
            _log.error("a request for %s could not be judged", path, exc_info=error)
        return refused or Refused("INTERNAL")


class _Closing:
    """What a followed stream needs of its call, for a websocket: whether it is over, and ending it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._is_over = False
        self.was_cut = False

    async def send(self, message: Message) -> None:
        self._is_over = self._is_over or message["type"] in (
            "websocket.close",
            "websocket.http.response.start",
        )
        await self._send(message)

    def done(self) -> bool:
        return self._is_over

    async def abort(self, _code: Any, _message: str, metadata: Any) -> None:
        self.was_cut = True
        await self.close(_reason_of(metadata))

    async def close(self, reason: str) -> None:
        await self.send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": reason})


def _reason_of(metadata: Iterable[tuple[str, bytes]]) -> str:
    """The ErrorReason in the metadata of a status."""
    info = error_details_pb2.ErrorInfo()
    for detail in status_pb2.Status.FromString(dict(metadata)[DETAILS_KEY]).details:
        if detail.Unpack(info):
            break
    return str(info.reason)


async def _refuse(answer: Answer, _scope: Scope, _receive: Receive, send: Send) -> None:
    await _respond("http.response", answer, send)


async def _refuse_websocket(answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse before the handshake is over: as an HTTP response where the server can, else by closing (HTTP 403)."""
    await receive()  # websocket.connect
    if "websocket.http.response" in scope.get("extensions", {}):
        await _respond("websocket.http.response", answer, send)
    else:
        await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": answer.reason})


async def _respond(kind: str, answer: Answer, send: Send) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    await send({"type": f"{kind}.start", "status": answer.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": answer.body})
