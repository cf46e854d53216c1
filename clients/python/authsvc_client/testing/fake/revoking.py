"""Owns how sessions end in the fake, and on whose word: Revoke. Idempotent, as RFC 7009 §2.2 has it."""

from collections.abc import Iterable, Sequence
from typing import Final

from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import resources_pb2 as resources
from authsvc_client.testing.fake.deployment import Deployment
from authsvc_client.testing.fake.messages import timestamp
from authsvc_client.testing.fake.records import Caller, Session
from authsvc_client.testing.fake.refusals import Refused, invalid, require

# The longest access token, the verifiers' leeway, and a minute for clocks that disagree.
GRACE_MS: Final = 15 * 60_000 + 15_000 + 60_000
_RESERVED: Final = frozenset(
    {
        resources.REVOKE_REASON_ADMIN,
        resources.REVOKE_REASON_PASSWORD_CHANGED,
        resources.REVOKE_REASON_ACCOUNT_DISABLED,
        resources.REVOKE_REASON_REFRESH_TOKEN_REUSED,
        resources.REVOKE_REASON_EXPIRED,
    }
)


def revoke(deployment: Deployment, request: pb.RevokeRequest, caller: Caller) -> pb.RevokeResponse:
    """End what the request names. Raises Refused."""
    require(request.reason in resources.RevokeReason.values(), "reason")
    require(caller.is_admin or request.reason not in _RESERVED, "reason")
    sessions = _named(deployment, request, caller)
    if sessions is None:
        return pb.RevokeResponse()
    live = [session for session in sessions if session.revoked_at is None]
    for session in live:
        end(deployment, [session], request.reason or _implied(caller, session))
    return pb.RevokeResponse(revision=deployment.log.revision, revoked_count=len(live))


def end(
    deployment: Deployment, sessions: Iterable[Session], reason: "resources.RevokeReason.ValueType"
) -> None:
    """Revoke live sessions and write the log."""
    now = deployment.clock()
    for session in sessions:
        session.revoked_at, session.revoke_reason = now, reason
        until = max(session.session_expires_at or 0, now + GRACE_MS)
        deployment.log.append(resources.Revocation(session_id=session.id, expire_time=timestamp(until)))


def of_user(deployment: Deployment, user_id: str) -> Sequence[Session]:
    """The user's sessions of which anything may still be alive."""
    now = deployment.clock()
    found = [session for session in deployment.sessions.values() if session.user.id == user_id]
    return [s for s in found if s.revoked_at is None and s.last_deadline + GRACE_MS > now]


def _named(deployment: Deployment, request: pb.RevokeRequest, caller: Caller) -> Sequence[Session] | None:
    """The sessions that the request names; None if there is nothing by that name."""
    match request.WhichOneof("target"):
        case "token" if request.token:
            return _by_token(deployment, request.token, caller)
        case "session_id" if request.session_id:
            return _by_session(deployment, request.session_id, caller)
        case "user_id" if request.user_id:
            _require_own(caller, request.user_id)
            return of_user(deployment, request.user_id)
        case "other_sessions" if request.other_sessions:
            if not caller.user_id:
                raise _unfit(caller)
            return [s for s in of_user(deployment, caller.user_id) if s.id != caller.session_id]
    raise invalid(request.WhichOneof("target") or "target")


def _by_token(deployment: Deployment, token: str, caller: Caller) -> Sequence[Session] | None:
    try:
        session = _session_of(deployment, token)
    except Refused as refused:
        return () if refused.reason == "ACCESS_TOKEN_REVOKED" else None
    if session is None:
        return None
    if caller.is_known and caller.client_id != session.client_id and not caller.is_admin:
        raise Refused("CALLER_NOT_PERMITTED")
    return [session]


def _by_session(deployment: Deployment, session_id: str, caller: Caller) -> Sequence[Session] | None:
    if not caller.user_id and not caller.is_admin:
        raise _unfit(caller)
    session = deployment.sessions.get(session_id)
    if session is None:
        return None
    _require_own(caller, session.user.id)
    return [session]


def _session_of(deployment: Deployment, token: str) -> Session | None:
    """Any generation of a refresh token names its session, an access token only while it is good. Raises Refused."""
    if found := deployment.by_refresh_token(token):
        return found[0]
    if session := deployment.by_session_token(token):
        return session
    return deployment.sessions.get(deployment.check_access_token(token).session_id)


def _implied(caller: Caller, session: Session) -> "resources.RevokeReason.ValueType":
    if caller.is_admin:
        return resources.REVOKE_REASON_ADMIN
    if caller.user_id and caller.session_id != session.id:
        return resources.REVOKE_REASON_USER
    return resources.REVOKE_REASON_LOGOUT


def _require_own(caller: Caller, user_id: str) -> None:
    if not caller.is_admin and (not caller.user_id or caller.user_id != user_id):
        raise _unfit(caller)


def _unfit(caller: Caller) -> Refused:
    return Refused("CALLER_NOT_PERMITTED" if caller.is_known else "CREDENTIALS_MISSING")
