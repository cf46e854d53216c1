"""Owns guarding a grpc.aio server: each call is judged before its request is even read. Leaves the rules to `judging`.

On the common path, a token verified before, there is one look-up of the method, one pass over the metadata, one
verification without I/O, and one contextvar; no message is touched and no handler of a unary call is wrapped.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

import grpc
import grpc.aio

from authsvc_client.clock import Clock, wall_clock
from authsvc_client.guarding import handlers, metadata, plain_handlers
from authsvc_client.guarding.bearers import Bearers
from authsvc_client.guarding.handlers import Handler
from authsvc_client.guarding.judging import (
    STALE_AFTER_MS,
    Judge,
    Lifetime,
    insufficient,
    is_session_token,
    refused_by,
)
from authsvc_client.guarding.policy import Policy, Rule, Services
from authsvc_client.guarding.principal import Who, get_current, set_current
from authsvc_client.guarding.refusals import Refused, Status
from authsvc_client.guarding.remote_checks import RemoteChecks
from authsvc_client.guarding.streams import Context, OpenStreams
from authsvc_client.revision import min_revision as passed_on
from authsvc_client.strict import AccessToken
from authsvc_client.verifying import Verifier

_KNOWN_METHODS: Final = 4_096
_log = logging.getLogger("authsvc_client.guarding")


def server_interceptor(
    verifier: Verifier,
    policy: Policy,
    *,
    remote: RemoteChecks | None = None,
    services: Services | None = None,
    on_expiry: Literal["end", "finish"] = "end",
    stale_after_ms: int = STALE_AFTER_MS,
    clock: Clock = wall_clock,
) -> grpc.aio.ServerInterceptor:
    """The interceptor that guards a grpc.aio server. Put it first, so that what it refuses reaches nothing else.

    `remote` is how session tokens, and strict rules while revocations are not heard of for `stale_after_ms`, are
    checked; without it both are refused. `services` says what the server has, for checking the policy; without it,
    all imported services count. With `on_expiry="finish"`, streams that are open stay open.

    Raises PolicyMistaken when the policy names what the server does not have.
    """
    judge = Judge(verifier, policy, services, stale_after_ms, clock)
    return _Guard(judge, remote, ends_streams=on_expiry == "end")


class _Guard(grpc.aio.ServerInterceptor):
    def __init__(self, judge: Judge, remote: RemoteChecks | None, *, ends_streams: bool) -> None:
        self._judge = judge
        self._verify = judge.verifier.verify
        self._rule_of = judge.policy.get
        self._bearers = Bearers(judge, remote)
        self._streams = OpenStreams(judge, self._recheck) if ends_streams else None
        # Per method: the handler that gRPC found, and the one to run instead (None: one per call).
        self._known: dict[str, tuple[Handler, Handler | None]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        method = handler_call_details.method
        handler = await continuation(handler_call_details)
        rule = self._rule_of(method)
        if handler is None or (rule is not None and rule.is_public):  # None: gRPC itself says UNIMPLEMENTED
            set_current(None)
            return handler
        try:
            if rule is None:
                raise Refused("CALLER_NOT_PERMITTED")
            bearer, min_revision = metadata.read(handler_call_details.invocation_metadata)
            if min_revision or rule.strict or is_session_token(bearer):
                who = await self._bearers.check_slowly(bearer, rule, min_revision)
            else:
                who = self._verify(bearer)
            if not rule.scopes <= who.scopes:
                raise insufficient(rule)
        except Exception as error:  # noqa: BLE001  whatever went wrong, nobody is let in, and no text leaves
            return _refusing(self._status(error, method))
        set_current(who)
        if min_revision:
            passed_on.set(min_revision)  # What the handler asks of others in turn is answered as freshly.
        known = self._known.get(method)
        if known is None or known[0] is not handler:
            known = self._learn(method, handler, rule)
        return known[1] or self._wrap_plain(handler, rule, bearer)

    async def _recheck(self, lifetime: Lifetime) -> Who:
        if not isinstance(lifetime.who, AccessToken):
            return await self._bearers.validate(lifetime.bearer)
        await self._bearers.confirm(lifetime.bearer)
        return lifetime.who

    def _status(self, error: Exception, method: str) -> Status:
        refused = refused_by(error)
        if refused is None:
            _log.error("a call of %s could not be judged", method, exc_info=error)
        return self._judge.refusals.status(refused or Refused("INTERNAL"))

    def _learn(self, method: str, handler: Handler, rule: Rule) -> tuple[Handler, Handler | None]:
        """What to run for a method. Kept, for gRPC hands out the same handler each time, as a rule."""
        if len(self._known) >= _KNOWN_METHODS:
            self._known.clear()
        known = self._known[method] = (handler, self._wrap(handler, rule))
        return known

    def _wrap(self, handler: Handler, rule: Rule) -> Handler | None:
        """A handler that follows the caller's lifetime; None for a plain function, which has to be wrapped per call."""
        if not handlers.is_async(handler):
            return None
        if self._streams is None or not handlers.is_stream(handler):
            return handler
        run, streams = handlers.runner(handler), self._streams

        async def followed(request: Any, context: Context) -> Any:
            bearer, _ = metadata.read(context.invocation_metadata() or ())
            lifetime = self._lifetime(bearer, rule)
            try:
                with streams.following(lifetime, context):
                    return await run(request, context)
            except Refused as refused:
                status = self._judge.refusals.status(refused)
                return await context.abort(status.code, status.message, status.metadata)

        return handlers.like(handler, followed)

    def _wrap_plain(self, handler: Handler, rule: Rule, bearer: str) -> Handler:
        """A plain function for this one call."""
        inner = handlers.behaviour(handler)
        follower = None
        if self._streams is not None and handlers.is_stream(handler):
            lifetime = self._lifetime(bearer, rule)
            follower = plain_handlers.Follower(lifetime, self._judge.refusals, self._recheck)
        if handler.response_streaming:
            return handlers.like(handler, plain_handlers.answering_often(inner, follower))
        if follower is not None:
            return handlers.like(handler, plain_handlers.answering_once(inner, follower))
        return handlers.like(handler, plain_handlers.in_context(inner))

    def _lifetime(self, bearer: str, rule: Rule) -> Lifetime:
        who = get_current()
        if who is None:
            raise LookupError("a guarded call has lost its context")
        return self._judge.lifetime(who, bearer, rule)


def _refusing(status: Status) -> Handler:
    """A handler of no shape in particular that refuses without waiting for a request."""

    async def refuse(_requests: Any, context: Context) -> None:
        await context.abort(status.code, status.message, status.metadata)

    return grpc.stream_stream_rpc_method_handler(refuse)
