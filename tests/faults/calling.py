"""Owns making calls and putting them on record: what was asked, what the reply named, how it ended."""

import base64
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2

from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1 import auth_service_pb2 as pb
from tests.faults.checking import IMPATIENT
from tests.faults.deployment import Deployment, now_ms
from tests.faults.history import Call, History, Outcome
from tests.parts.service import PASSWORD

PATIENCE_S = 2.0
_NOT_KNOWN = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)
# Refused before anything was done, whatever the code says.
_DID_NOTHING = frozenset({"VIEW_TOO_OLD", "REVISION_NOT_REACHED"})


@dataclass
class Held:
    """A session as the client that holds it knows it. `stale`: refresh tokens that have been replaced."""

    id: str
    user: str
    session_token: str
    refresh_token: str
    access_token: str
    access_at: int
    generation: int = 0
    revision: int = 0
    stale: list[str] = field(default_factory=list)


class Callers:
    """Calls instances of a deployment, and writes down what became of each call."""

    def __init__(self, deployment: Deployment, history: History) -> None:
        self._deployment = deployment
        self.history = history
        self.begun: list[Held] = []
        """Every session that a login is known to have begun."""

    async def login(self, instance: int, username: str, patience_s: float = 5.0) -> Held | None:
        """Log in; return the session, if that is known to have worked."""
        call = self._call("Login", instance, user=self._deployment.user_ids[username])
        request = pb.LoginRequest(username=username, password=PASSWORD)
        reply = await self._record(call, "web", self._auth(instance).Login, request, patience_s, _read_login)
        if reply is None:
            return None
        tokens = reply.tokens
        held = Held(
            reply.session.id,
            call.user,
            reply.session_token,
            tokens.refresh_token,
            tokens.access_token,
            now_ms(),
        )
        self.begun.append(held)
        return held

    async def guess(self, instance: int, username: str) -> None:
        """Try a wrong password."""
        call = self._call("Guess", instance, user=self._deployment.user_ids[username])
        request = pb.LoginRequest(username=username, password="not this one at all")
        await self._record(call, "web", self._auth(instance).Login, request, 5.0, _read_nothing)

    async def validate(
        self, instance: int, held: Held, min_revision: int = 0, patience_s: float = PATIENCE_S
    ) -> None:
        """Validate the session token."""
        call = self._call("Validate", instance, held, held.session_token, min_revision=min_revision)
        request = pb.ValidateSessionRequest(session_token=held.session_token, min_revision=min_revision)
        await self._record(
            call, "gateway", self._auth(instance).ValidateSession, request, patience_s, _read_session
        )

    async def validate_batch(self, instance: int, several: list[Held]) -> None:
        """Validate several session tokens with one call; on record as one call each."""
        calls = [self._call("Batch", instance, held, held.session_token) for held in several]
        request = pb.BatchValidateSessionsRequest(session_tokens=[held.session_token for held in several])

        def read(_: Call, reply: Any) -> None:
            for call, result in zip(calls, reply.results, strict=True):
                _read_session(call, result)
                call.active = result.active

        await self._record(
            calls[0], "gateway", self._auth(instance).BatchValidateSessions, request, PATIENCE_S, read
        )
        for call in calls[1:]:
            call.ended, call.outcome, call.reason = calls[0].ended, calls[0].outcome, calls[0].reason

    async def introspect(self, instance: int, held: Held) -> None:
        """Introspect the session token."""
        await self._introspect(instance, "Introspect", held, held.session_token)

    async def introspect_access(self, instance: int, held: Held) -> None:
        """Introspect the access token."""
        await self._introspect(instance, "IntrospectAccess", held, held.access_token)

    async def _introspect(self, instance: int, rpc: str, held: Held, token: str) -> None:
        call = self._call(rpc, instance, held, token)
        request = pb.IntrospectRequest(token=token)
        await self._record(
            call, "gateway", self._auth(instance).Introspect, request, PATIENCE_S, _read_introspection
        )

    async def exchange(self, instance: int, held: Held) -> None:
        """Exchange the session token for an access token."""
        call = self._call("Exchange", instance, held, held.session_token)
        request = pb.ExchangeSessionRequest(session_token=held.session_token)
        await self._record(
            call, "gateway", self._auth(instance).ExchangeSession, request, PATIENCE_S, _read_session
        )

    async def refresh(
        self, instance: int, held: Held, token: str = "", patience_s: float = PATIENCE_S
    ) -> Any:
        """Present a refresh token, the newest unless told otherwise; return the reply."""
        token = token or held.refresh_token
        call = self._call("Refresh", instance, held, token)
        call.generation = self._deployment.mint.read_refresh(token).generation
        request = pb.RefreshRequest(refresh_token=token)
        return await self._record(
            call, "web", self._auth(instance).Refresh, request, patience_s, _read_refresh
        )

    async def revoke(self, instance: int, held: Held, token: str = "", patience_s: float = PATIENCE_S) -> Any:
        """Revoke by a token, the session token unless told otherwise."""
        call = self._call("Revoke", instance, held, token or held.session_token)
        request = pb.RevokeRequest(token=token or held.session_token)
        return await self._record(
            call, "web", self._auth(instance).Revoke, request, patience_s, _read_revocation
        )

    async def revoke_user(self, instance: int, user_id: str) -> Any:
        """Revoke all sessions of a user."""
        call = self._call("RevokeUser", instance, user=user_id)
        request = pb.RevokeRequest(user_id=user_id)
        return await self._record(
            call, "root", self._auth(instance).Revoke, request, PATIENCE_S, _read_revocation
        )

    async def list_users(self, instance: int) -> None:
        """Ask for something that only SQL knows."""
        call = self._call("List", instance)
        request = admin.ListUsersRequest(page_size=1)
        stub = self._deployment.instances[instance].admin
        await self._record(call, "root", stub.ListUsers, request, PATIENCE_S, _read_nothing)

    def _auth(self, instance: int) -> Any:
        return self._deployment.instances[instance].auth

    def _call(self, rpc: str, instance: int, held: Held | None = None, token: str = "", **known: Any) -> Call:
        if held is not None:
            known |= {"session": held.id, "user": held.user}
        call = Call(rpc, instance, now_ms(), token=digest(token), **known)
        self.history.calls.append(call)
        return call

    async def _record(
        self,
        call: Call,
        client_id: str,
        method: Callable[..., Awaitable[Any]],
        request: Any,
        patience_s: float,
        read: Callable[[Call, Any], None],
    ) -> Any:
        try:
            reply = await method(request, metadata=self._deployment.metadata(client_id), timeout=patience_s)
        except grpc.aio.AioRpcError as error:
            _read_refusal(call, error, impatient=patience_s < 1)
            call.ended = now_ms()
            return None
        call.ended = now_ms()
        call.outcome = Outcome.OK
        read(call, reply)
        return reply


def digest(token: str) -> str:
    """A short name for a token."""
    return hashlib.sha256(token.encode()).hexdigest()[:16] if token else ""


async def said(call: Awaitable[Any]) -> str:
    """How a call ends: `OK`, the reason of its refusal, or the name of its code if nobody gave a reason."""
    seen = Call("", 0, 0)
    try:
        await call
    except grpc.aio.AioRpcError as error:
        _read_refusal(seen, error, impatient=False)
        return seen.reason
    return "OK"


def _read_refusal(call: Call, error: grpc.aio.AioRpcError, impatient: bool) -> None:
    details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
    call.reason = error.code().name
    if details is not None:
        for detail in status_pb2.Status.FromString(details).details:
            if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                call.reason = error_details_pb2.ErrorInfo.FromString(detail.value).reason
            if detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
                call.wait_ms = error_details_pb2.RetryInfo.FromString(
                    detail.value
                ).retry_delay.ToMilliseconds()
    unknown = error.code() in _NOT_KNOWN and call.reason not in _DID_NOTHING
    if impatient and unknown:
        call.reason = IMPATIENT  # and whether the server or we noticed first that time was up is chance
    call.outcome = Outcome.UNKNOWN if unknown else Outcome.FAIL


def _read_nothing(call: Call, reply: Any) -> None:
    pass


def _read_session(call: Call, reply: Any) -> None:
    call.said_session, call.said_user = reply.session.id, reply.session.user_id
    if getattr(reply, "access_token", ""):
        _read_access(call, reply.access_token)


def _read_access(call: Call, access_token: str) -> None:
    """What an access token says must be what the reply says."""
    body = access_token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    if (claims["sid"], claims["sub"]) != (call.said_session, call.said_user):
        call.said_session = f"{call.said_session}, and {claims['sid']} of {claims['sub']}"


def _read_login(call: Call, reply: Any) -> None:
    _read_session(call, reply)
    _read_access(call, reply.tokens.access_token)


def _read_refresh(call: Call, reply: Any) -> None:
    _read_login(call, reply)
    call.successor, call.replayed = digest(reply.tokens.refresh_token), reply.replayed


def _read_introspection(call: Call, reply: Any) -> None:
    call.active = reply.active
    call.said_session, call.said_user = reply.sid, reply.sub


def _read_revocation(call: Call, reply: Any) -> None:
    call.revision, call.count = reply.revision, reply.revoked_count
