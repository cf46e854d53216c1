"""Owns guarding a threaded gRPC server. Leaves the rules to `judging`.

gRPC runs interceptors in the one thread that accepts calls. So only what needs no waiting is judged there; the rest is
judged in the call's own thread, just before its handler.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, Literal

import grpc

from authsvc_client.clock import Clock, wall_clock
from authsvc_client.guarding import handlers, metadata
from authsvc_client.guarding.bearers import SyncBearers
from authsvc_client.guarding.handlers import Handler
from authsvc_client.guarding.judging import (
    STALE_AFTER_MS,
    Judge,
    Lifetime,
    is_session_token,
    refused_by,
)
from authsvc_client.guarding.policy import Policy, Rule, Services
from authsvc_client.guarding.principal import Who, set_current
from authsvc_client.guarding.refusals import Refused
from authsvc_client.guarding.sync_remote_checks import SyncRemoteChecks
from authsvc_client.guarding.sync_streams import SyncOpenStreams, abort
from authsvc_client.revision import min_revision as passed_on
from authsvc_client.strict import AccessToken
from authsvc_client.verifying import Verifier

_log = logging.getLogger("authsvc_client.guarding")


def sync_server_interceptor(
    verifier: Verifier,
    policy: Policy,
    *,
    remote: SyncRemoteChecks | None = None,
    services: Services | None = None,
    on_expiry: Literal["end", "finish"] = "end",
    stale_after_ms: int = STALE_AFTER_MS,
    clock: Clock = wall_clock,
) -> grpc.ServerInterceptor:
    """The interceptor that guards a `grpc.server`; everything else as in `server_interceptor`.

    A stream that is open takes one thread more than it would without; `on_expiry="finish"` spares it.
    """
    judge = Judge(verifier, policy, services, stale_after_ms, clock)
    return _Guard(judge, remote, ends_streams=on_expiry == "end")


class _Guard(grpc.ServerInterceptor):
    def __init__(self, judge: Judge, remote: SyncRemoteChecks | None, *, ends_streams: bool) -> None:
        self._judge = judge
        self._bearers = SyncBearers(judge, remote)
        self._streams = SyncOpenStreams(judge, self._recheck) if ends_streams else None

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Handler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        method = handler_call_details.method
        handler = continuation(handler_call_details)
        rule = self._judge.policy.get(method)
        if handler is None or (rule is not None and rule.is_public):  # None: gRPC itself says UNIMPLEMENTED
            set_current(None)
            return handler
        try:
            if rule is None:
                raise Refused("CALLER_NOT_PERMITTED")
            bearer, min_revision = metadata.read(handler_call_details.invocation_metadata)
            if min_revision or rule.strict or is_session_token(bearer):
                return self._judged_later(handler, rule, bearer, min_revision, method)
            who = self._bearers.check(bearer, rule)
        except Exception as error:  # noqa: BLE001  whatever went wrong, nobody is let in, and no text leaves
            return self._refusing(self._refused(error, method))
        set_current(who)
        if self._streams is None or not handlers.is_stream(handler):
            return handler
        return self._followed(handler, lambda: self._judge.lifetime(who, bearer, rule))

    def _judged_later(
        self, handler: Handler, rule: Rule, bearer: str, min_revision: int, method: str
    ) -> Handler:
        """The handler of a call that is judged in its own thread."""
        inner = handlers.behaviour(handler)

        def judged(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                who = self._bearers.check(bearer, rule, min_revision)
            except Exception as error:  # noqa: BLE001  whatever went wrong, nobody is let in
                abort(context, self._judge, self._refused(error, method))
            set_current(who)
            if min_revision:
                passed_on.set(min_revision)  # What the handler asks of others in turn is answered as freshly.
            if self._streams is None or not handlers.is_stream(handler):
                return inner(request, context)
            followed = self._followed(handler, lambda: self._judge.lifetime(who, bearer, rule))
            return handlers.behaviour(followed)(request, context)

        return handlers.like(handler, judged)

    def _recheck(self, lifetime: Lifetime) -> Who:
        if not isinstance(lifetime.who, AccessToken):
            return self._bearers.validate(lifetime.bearer)
        self._bearers.confirm(lifetime.bearer)
        return lifetime.who

    def _followed(self, handler: Handler, lifetime: Callable[[], Lifetime]) -> Handler:
        """A stream's handler that ends with its caller's lifetime."""
        inner, streams = handlers.behaviour(handler), self._streams
        if streams is None:
            return handler

        def responses(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            return streams.follow(lifetime(), lambda: iter(inner(request, context)), context)

        def response(requests: Any, context: grpc.ServicerContext) -> Any:
            def work() -> Iterator[Any]:
                yield inner(requests, context)

            return next(streams.follow(lifetime(), work, context), None)

        return handlers.like(handler, responses if handler.response_streaming else response)

    def _refused(self, error: Exception, method: str) -> Refused:
        refused = refused_by(error)
        if refused is None:
            _log.error("a call of %s could not be judged", method, exc_info=error)
        return refused or Refused("INTERNAL")

    def _refusing(self, refused: Refused) -> Handler:
        """A handler of no shape in particular that refuses without waiting for a request."""

        def refuse(_requests: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            abort(context, self._judge, refused)

        return grpc.stream_stream_rpc_method_handler(refuse)
