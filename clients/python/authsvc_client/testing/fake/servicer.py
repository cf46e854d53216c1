"""Owns AuthService as the fake speaks it: who calls, `min_revision`, one lock around each answer."""

# ruff: noqa: N802  methods are named like their RPCs

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import grpc

from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import auth_service_pb2_grpc
from authsvc_client.testing.fake import asking, revoking, signing_in
from authsvc_client.testing.fake.callers import caller_of, require_permission
from authsvc_client.testing.fake.deployment import Deployment
from authsvc_client.testing.fake.records import Caller
from authsvc_client.testing.fake.refusals import Refused, abort, invalid

Context = grpc.ServicerContext
Asked = TypeVar("Asked")
Answer = TypeVar("Answer")
Rule = Callable[[Deployment, Asked, Caller], Answer]

_KEY_SET_MAX_AGE_MS: Final = 300_000
_WAIT_SECONDS: Final = 2.0
# What is left of the caller's time for saying that the revision was not reached.
_REPLY_SECONDS: Final = 0.05


class FakeServicer(auth_service_pb2_grpc.AuthServiceServicer):
    """AuthService over one Deployment. `calls` counts by RPC name; while `is_down`, nothing is known."""

    def __init__(self, deployment: Deployment) -> None:
        self.calls: Counter[str] = Counter()
        self.is_down = False
        self.is_closed = False
        self._deployment = deployment
        self._domain = urlsplit(deployment.issuer).hostname or ""

    def Login(self, request: pb.LoginRequest, context: Context) -> pb.LoginResponse:
        return self._answer("Login", request, context, signing_in.login, "login")

    def Refresh(self, request: pb.RefreshRequest, context: Context) -> pb.RefreshResponse:
        return self._answer("Refresh", request, context, signing_in.refresh, "login")

    def Revoke(self, request: pb.RevokeRequest, context: Context) -> pb.RevokeResponse:
        return self._answer("Revoke", request, context, revoking.revoke)

    def ValidateSession(
        self, request: pb.ValidateSessionRequest, context: Context
    ) -> pb.ValidateSessionResponse:
        return self._answer("ValidateSession", request, context, asking.validate, "introspect")

    def BatchValidateSessions(
        self, request: pb.BatchValidateSessionsRequest, context: Context
    ) -> pb.BatchValidateSessionsResponse:
        return self._answer("BatchValidateSessions", request, context, asking.validate_many, "introspect")

    def ExchangeSession(
        self, request: pb.ExchangeSessionRequest, context: Context
    ) -> pb.ExchangeSessionResponse:
        return self._answer("ExchangeSession", request, context, signing_in.exchange, "introspect")

    def Introspect(self, request: pb.IntrospectRequest, context: Context) -> pb.IntrospectResponse:
        return self._answer("Introspect", request, context, asking.introspect, "introspect")

    def ListSessions(self, request: pb.ListSessionsRequest, context: Context) -> pb.ListSessionsResponse:
        return self._answer("ListSessions", request, context, asking.list_sessions)

    # What people do with their own accounts is no part of the fake.

    def ChangePassword(
        self, request: pb.ChangePasswordRequest, context: Context
    ) -> pb.ChangePasswordResponse:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "the fake has no accounts")

    def ListSecurityEvents(
        self, request: pb.ListSecurityEventsRequest, context: Context
    ) -> pb.ListSecurityEventsResponse:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "the fake has no accounts")

    def StepUp(self, request: pb.StepUpRequest, context: Context) -> pb.StepUpResponse:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "the fake has no accounts")

    def GetSecondFactor(
        self, request: pb.GetSecondFactorRequest, context: Context
    ) -> pb.GetSecondFactorResponse:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "the fake has no accounts")

    def EnrollTotp(self, request: pb.EnrollTotpRequest, context: Context) -> pb.EnrollTotpResponse:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "the fake has no accounts")

    def ConfirmTotp(self, request: pb.ConfirmTotpRequest, context: Context) -> pb.ConfirmTotpResponse:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "the fake has no accounts")

    def DisableTotp(self, request: pb.DisableTotpRequest, context: Context) -> pb.DisableTotpResponse:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "the fake has no accounts")

    def RegenerateRecoveryCodes(
        self, request: pb.RegenerateRecoveryCodesRequest, context: Context
    ) -> pb.RegenerateRecoveryCodesResponse:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "the fake has no accounts")

    def GetKeySet(self, request: pb.GetKeySetRequest, context: Context) -> pb.GetKeySetResponse:
        self.calls["GetKeySet"] += 1
        if self.is_down:
            abort(context, Refused("DEPENDENCY_UNAVAILABLE"), self._domain)
        deployment = self._deployment
        response = pb.GetKeySetResponse(keys=deployment.public_keys(), jwks=deployment.jwks)
        response.max_age.FromMilliseconds(_KEY_SET_MAX_AGE_MS)
        return response

    def Watch(self, request: pb.WatchRequest, context: Context) -> Iterator[pb.WatchResponse]:
        self._answer("Watch", request, context, _check_watch, "introspect")
        changed = self._deployment.log.changed

        def alive() -> bool:
            return context.is_active() and not (self.is_down or self.is_closed)

        def wake() -> None:
            with changed:
                changed.notify_all()

        if context.add_callback(wake):
            yield from self._deployment.log.follow(request, alive)
        if self.is_down:
            abort(context, Refused("DEPENDENCY_UNAVAILABLE"), self._domain)

    def _answer(
        self,
        name: str,
        request: Asked,
        context: Context,
        rule: Rule[Asked, Answer],
        permission: str | None = None,
    ) -> Answer:
        try:
            with self._deployment.log.changed:
                self.calls[name] += 1
                if self.is_down:
                    raise Refused("DEPENDENCY_UNAVAILABLE")
                caller = caller_of(self._deployment, context.invocation_metadata())
                if permission is not None:
                    require_permission(caller, permission)
            self._reach(request, context)
            with self._deployment.log.changed:
                return rule(self._deployment, request, caller)
        except Refused as refused:
            abort(context, refused, self._domain)

    def _reach(self, request: Any, context: Context) -> None:
        wanted = getattr(request, "min_revision", 0)
        if wanted < 0:
            raise invalid("min_revision")
        remaining: float | None = context.time_remaining()
        seconds = _WAIT_SECONDS if remaining is None else min(remaining, _WAIT_SECONDS)
        if not self._deployment.log.wait_for(wanted, seconds - _REPLY_SECONDS):
            raise Refused("REVISION_NOT_REACHED")


def _check_watch(_deployment: Deployment, request: pb.WatchRequest, _caller: Caller) -> None:
    if request.from_revision < 0:
        raise invalid("from_revision")
