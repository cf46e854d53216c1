"""Owns how sessions begin and go on in the fake: Login, Refresh, ExchangeSession, validation.

The rules are those of authsvc; one conformance test holds both to them.
"""

from collections.abc import Sequence
from typing import Final
from uuid import uuid4

from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import resources_pb2 as resources
from authsvc_client.testing.fake.deployment import Deployment, narrowed
from authsvc_client.testing.fake.messages import session_message, timestamp
from authsvc_client.testing.fake.records import Caller, Session, User
from authsvc_client.testing.fake.refusals import Refused, require
from authsvc_client.testing.fake.revoking import end

REPLAY_WINDOW_MS: Final = 30_000
REPLAY_LIMIT: Final = 3
_CREDENTIALS: Final = frozenset({resources.CREDENTIAL_SESSION, resources.CREDENTIAL_TOKENS})


def login(deployment: Deployment, request: pb.LoginRequest, caller: Caller) -> pb.LoginResponse:
    """Start a session. Raises Refused."""
    require(bool(request.username) and len(request.username.encode()) <= 256, "username")
    require(len(request.password.encode()) <= 1024, "password")
    require(_CREDENTIALS.issuperset(request.credentials), "credentials")
    require(not request.cookies, "cookies")
    audiences = narrowed(deployment.clients[caller.client_id].audiences, request.audiences, "audiences")
    user = deployment.users.get(request.username.casefold())
    if user is None or user.is_disabled or user.password != request.password:
        raise Refused("INVALID_CREDENTIALS")
    session = start(deployment, user, caller.client_id, request, audiences)
    response = pb.LoginResponse()
    if session.session_expires_at is not None:
        response.session_token = deployment.session_token(session)
    if session.refresh_expires_at is not None:
        refresh_token = deployment.refresh_token(session)
        response.tokens.CopyFrom(_pair(deployment, session, refresh_token, session.audiences, session.scopes))
    response.session.CopyFrom(session_message(session, caller))
    return response


def start(
    deployment: Deployment, user: User, client_id: str, request: pb.LoginRequest, audiences: tuple[str, ...]
) -> Session:
    """A new session for a user who has proved who they are."""
    lifetimes, now = deployment.lifetimes, deployment.clock()
    of_client = deployment.clients[client_id].scopes
    allowed = [scope for scope in user.scopes if not of_client or scope in of_client]
    idle_ms, absolute_ms = lifetimes.session_idle_ms, lifetimes.session_ms
    if request.remember:
        idle_ms, absolute_ms = lifetimes.remember_idle_ms, lifetimes.remember_ms
    wanted = request.credentials or list(_CREDENTIALS)
    has_session = resources.CREDENTIAL_SESSION in wanted
    has_tokens = resources.CREDENTIAL_TOKENS in wanted
    session = Session(
        id=str(uuid4()),
        user=user,
        client_id=client_id,
        scopes=narrowed(allowed, request.scopes, "scopes"),
        audiences=audiences,
        device=request.device,
        created_at=now,
        seen_at=now,
        session_idle_ms=idle_ms,
        session_expires_at=now + absolute_ms if has_session else None,
        session_idle_expires_at=now + min(idle_ms, absolute_ms),
        refresh_expires_at=now + lifetimes.refresh_ms if has_tokens else None,
        refresh_idle_expires_at=now + min(lifetimes.refresh_idle_ms, lifetimes.refresh_ms),
    )
    deployment.sessions[session.id] = session
    return session


def refresh(deployment: Deployment, request: pb.RefreshRequest, caller: Caller) -> pb.RefreshResponse:
    """Rotate, replay, or find reuse and end the session. Raises Refused."""
    token = request.refresh_token
    require(0 < len(token) <= 4096, "refresh_token")
    found = deployment.by_refresh_token(token)
    if found is None:
        raise Refused("REFRESH_TOKEN_NOT_ACTIVE")
    session, generation = found
    audiences = narrowed(session.audiences, request.audiences, "audiences")
    scopes = narrowed(session.scopes, request.scopes, "scopes")
    if session.client_id != caller.client_id:
        raise Refused("CALLER_NOT_PERMITTED")
    now = deployment.clock()
    if not session.refresh_is_live(now):
        raise Refused("REFRESH_TOKEN_NOT_ACTIVE")
    replayed = generation != session.generation
    if replayed:
        _replay(deployment, session, generation, now)
    else:
        _rotate(deployment, session, now)
    tokens = _pair(deployment, session, session.newest, audiences, scopes)
    return pb.RefreshResponse(session=session_message(session, caller), tokens=tokens, replayed=replayed)


def exchange(
    deployment: Deployment, request: pb.ExchangeSessionRequest, caller: Caller
) -> pb.ExchangeSessionResponse:
    """Mint an access token for a live session. Raises Refused."""
    require(0 < len(request.session_token) <= 4096, "session_token")
    session = validated(deployment, request.session_token)
    if session is None:
        raise Refused("SESSION_NOT_ACTIVE")
    audiences = narrowed(session.audiences, request.audiences, "audiences")
    scopes = narrowed(session.scopes, request.scopes, "scopes")
    token, expires_at = deployment.access_token(session, audiences, scopes)
    return pb.ExchangeSessionResponse(
        access_token=token,
        token_type="Bearer",
        access_expire_time=timestamp(expires_at),
        session=session_message(session, caller),
        revision=deployment.log.revision,
    )


def validated(deployment: Deployment, session_token: str) -> Session | None:
    """The live session of a session token, with its idle deadline moved; None for any other token."""
    session, now = deployment.by_session_token(session_token), deployment.clock()
    if session is None or not session.session_is_live(now):
        return None
    session.seen_at = now
    session.session_idle_expires_at = min(now + session.session_idle_ms, session.session_expires_at or 0)
    return session


def _rotate(deployment: Deployment, session: Session, now: int) -> None:
    session.generation += 1
    session.rotated_at, session.replay_count = now, 0
    deployment.refresh_token(session)
    idle_ms = deployment.lifetimes.refresh_idle_ms
    session.refresh_idle_expires_at = min(now + idle_ms, session.refresh_expires_at or 0)


def _replay(deployment: Deployment, session: Session, generation: int, now: int) -> None:
    """Count a lost reply; end the session if it was none."""
    in_time = now - session.rotated_at <= REPLAY_WINDOW_MS
    if generation < session.generation - 1 or not in_time or session.replay_count >= REPLAY_LIMIT:
        end(deployment, [session], resources.REVOKE_REASON_REFRESH_TOKEN_REUSED)
        raise Refused("REFRESH_TOKEN_REUSED")
    session.replay_count += 1


def _pair(
    deployment: Deployment,
    session: Session,
    refresh_token: str,
    audiences: Sequence[str],
    scopes: Sequence[str],
) -> resources.TokenPair:
    token, expires_at = deployment.access_token(session, audiences, scopes)
    return resources.TokenPair(
        access_token=token,
        token_type="Bearer",
        access_expire_time=timestamp(expires_at),
        refresh_token=refresh_token,
        refresh_expire_time=timestamp(session.refresh_idle_expires_at),
        scopes=scopes,
        audiences=audiences,
    )
