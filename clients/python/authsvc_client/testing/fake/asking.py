"""Owns what the fake tells about sessions and tokens: validation, introspection, lists."""

from typing import Final

from authsvc.v1 import auth_service_pb2 as pb
from authsvc_client.testing.fake.deployment import Deployment
from authsvc_client.testing.fake.messages import session_message
from authsvc_client.testing.fake.records import Caller, Session
from authsvc_client.testing.fake.refusals import Refused, invalid, require
from authsvc_client.testing.fake.signing_in import validated

_CACHE_FOR_MS: Final = 5_000
_PAGE: Final = 50


def validate(
    deployment: Deployment, request: pb.ValidateSessionRequest, caller: Caller
) -> pb.ValidateSessionResponse:
    """Tell whose session a token is. Raises Refused."""
    require(bool(request.session_token), "session_token")
    session = validated(deployment, request.session_token)
    if session is None:
        raise Refused("SESSION_NOT_ACTIVE")
    return pb.ValidateSessionResponse(
        session=session_message(session, caller), revision=deployment.log.revision
    )


def validate_many(
    deployment: Deployment, request: pb.BatchValidateSessionsRequest, caller: Caller
) -> pb.BatchValidateSessionsResponse:
    """Tell the same for each of many. Raises Refused."""
    require(1 <= len(request.session_tokens) <= 256, "session_tokens")
    response = pb.BatchValidateSessionsResponse(revision=deployment.log.revision)
    for token in request.session_tokens:
        session = validated(deployment, token)
        result = response.results.add(active=session is not None)
        if session is not None:
            result.session.CopyFrom(session_message(session, caller))
    return response


def introspect(
    deployment: Deployment, request: pb.IntrospectRequest, caller: Caller
) -> pb.IntrospectResponse:
    """Tell about any token (RFC 7662 §2.2); of what is not active, nothing. Raises Refused."""
    require(bool(request.token), "token")
    found = _found(deployment, request.token, caller)
    if found is None or (request.audience and request.audience not in found.aud):
        return pb.IntrospectResponse()
    found.active, found.iss, found.revision = True, deployment.issuer, deployment.log.revision
    until = min(deployment.clock() + _CACHE_FOR_MS, found.exp * 1000)
    found.cache_until_time.FromMilliseconds(until)
    return found


def list_sessions(
    deployment: Deployment, request: pb.ListSessionsRequest, caller: Caller
) -> pb.ListSessionsResponse:
    """List a user's sessions, newest first. Raises Refused."""
    whose = _whose(request, caller)
    require(0 <= request.page_size <= 100, "page_size")
    now = deployment.clock()
    mine = [session for session in reversed(deployment.sessions.values()) if session.user.id == whose]
    if not request.include_ended:
        mine = [session for session in mine if session.session_is_live(now) or session.refresh_is_live(now)]
    start, size = _start(request.page_token), request.page_size or _PAGE
    page = mine[start : start + size]
    return pb.ListSessionsResponse(
        sessions=[session_message(each, caller, current=each.id == caller.session_id) for each in page],
        next_page_token=str(start + size) if len(mine) > start + size else "",
    )


def _found(deployment: Deployment, token: str, caller: Caller) -> pb.IntrospectResponse | None:
    if session := validated(deployment, token):
        deadline = session.session_idle_expires_at
        return _of_session("session_token", session, deadline, caller)
    if known := deployment.by_refresh_token(token):
        session = known[0]
        if token != session.newest or not session.refresh_is_live(deployment.clock()):
            return None
        deadline = min(session.refresh_expires_at or 0, session.refresh_idle_expires_at)
        return _of_session("refresh_token", session, deadline, caller)
    return _of_access_token(deployment, token)


def _of_session(token_type: str, session: Session, deadline: int, caller: Caller) -> pb.IntrospectResponse:
    return pb.IntrospectResponse(
        token_type=token_type,
        sub=session.user.id,
        username=session.user.username if caller.may_see_username(session) else "",
        scope=" ".join(session.scopes),
        client_id=session.client_id,
        aud=session.audiences,
        exp=deadline // 1000,
        iat=session.created_at // 1000,
        sid=session.id,
    )


def _of_access_token(deployment: Deployment, token: str) -> pb.IntrospectResponse | None:
    try:
        access = deployment.check_access_token(token)
    except Refused:
        return None
    return pb.IntrospectResponse(
        token_type="access_token",
        sub=access.subject,
        scope=" ".join(sorted(access.scopes)),
        client_id=access.client_id,
        aud=access.audiences,
        exp=access.expires_at // 1000,
        iat=access.issued_at // 1000,
        jti=access.token_id,
        sid=access.session_id,
    )


def _whose(request: pb.ListSessionsRequest, caller: Caller) -> str:
    if not caller.is_known:
        raise Refused("CREDENTIALS_MISSING")
    if not caller.user_id and not caller.is_admin:
        raise Refused("CALLER_NOT_PERMITTED")
    whose = request.user_id or caller.user_id
    require(bool(whose), "user_id")
    if whose != caller.user_id and not caller.is_admin:
        raise Refused("CALLER_NOT_PERMITTED")
    return whose


def _start(page_token: str) -> int:
    if page_token and not (page_token.isascii() and page_token.isdecimal() and len(page_token) < 10):
        raise invalid("page_token")
    return int(page_token or 0)
