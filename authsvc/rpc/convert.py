"""Owns turning values into messages. Leaves checking requests to `requests`.

On the path of every validation, so it sets fields once, in constructors, and makes timestamps without a detour.
"""

from collections.abc import Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from authsvc.core.access_tokens import AccessToken
from authsvc.core.callers import Caller
from authsvc.core.clock import SECOND
from authsvc.core.exchange import Exchanged
from authsvc.core.introspect import Introspected
from authsvc.core.login import LoggedIn
from authsvc.core.model import Client, KeyState, Revocation, RevokeReason, Session, SigningKey, Subject, User
from authsvc.core.refresh import Refreshed
from authsvc.core.signing_keys import KeyRing
from authsvc.core.validate import LiveSession
from authsvc.rpc.requests import PERMISSIONS, REASONS
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import resources_pb2 as resources

_REASONS = {reason: number for number, reason in REASONS.items()}
_PERMISSIONS = {permission: number for number, permission in PERMISSIONS.items()}
_STATES = {
    KeyState.PREPARED: resources.SIGNING_KEY_STATE_PREPARED,
    KeyState.ACTIVE: resources.SIGNING_KEY_STATE_ACTIVE,
    KeyState.RETIRING: resources.SIGNING_KEY_STATE_RETIRING,
    KeyState.RETIRED: resources.SIGNING_KEY_STATE_RETIRED,
    KeyState.TAINTED: resources.SIGNING_KEY_STATE_TAINTED,
}


def timestamp(at: int | None) -> Timestamp | None:
    """Return the moment, or None for none."""
    if at is None:
        return None
    seconds, milliseconds = divmod(at, SECOND)
    return Timestamp(seconds=seconds, nanos=milliseconds * 1_000_000)


def session_message(
    session: Session, caller: Caller, idle_expires_at: int | None = None, current: bool = False
) -> resources.Session:
    """Return the session as this caller may see it. `idle_expires_at`: what a validation has just found."""
    device = session.device
    seen_at = session.seen_at if session.rotated_at is None else max(session.seen_at, session.rotated_at)
    return resources.Session(
        id=session.id,
        user_id=session.user_id,
        username=session.username if caller.may_see_username(session) else "",
        client_id=session.client_id,
        scopes=session.scopes,
        audiences=session.audiences,
        amr=session.amr,
        create_time=timestamp(session.created_at),
        last_seen_time=timestamp(seen_at),
        session_expire_time=timestamp(session.session_expires_at),
        session_idle_expire_time=timestamp(idle_expires_at or session.session_idle_expires_at),
        refresh_expire_time=timestamp(session.refresh_expires_at),
        device=resources.Device(
            ip_address=device.ip_address, user_agent=device.user_agent, label=device.label
        ),
        current=current,
        revoke_time=timestamp(session.revoked_at),
        revoke_reason=_REASONS[session.revoke_reason or RevokeReason.UNSPECIFIED],
    )


def token_pair(session: Session, refresh_token: str, access: AccessToken) -> resources.TokenPair:
    """Return the pair."""
    return resources.TokenPair(
        access_token=access.text,
        token_type="Bearer",
        access_expire_time=timestamp(access.expires_at),
        refresh_token=refresh_token,
        refresh_expire_time=timestamp(session.refresh_idle_expires_at),
        scopes=access.scopes,
        audiences=access.audiences,
    )


def login_response(logged_in: LoggedIn, caller: Caller) -> pb.LoginResponse:
    """Return the session and the tokens that were issued."""
    session, access = logged_in.session, logged_in.access
    return pb.LoginResponse(
        session=session_message(session, caller),
        session_token=logged_in.session_token,
        tokens=token_pair(session, logged_in.refresh_token, access) if access else None,
    )


def refresh_response(refreshed: Refreshed, caller: Caller) -> pb.RefreshResponse:
    """Return the renewed pair."""
    return pb.RefreshResponse(
        session=session_message(refreshed.session, caller),
        tokens=token_pair(refreshed.session, refreshed.refresh_token, refreshed.access),
        replayed=refreshed.replayed,
    )


def introspect_response(
    found: Introspected | None, caller: Caller, issuer: str, revision: int
) -> pb.IntrospectResponse:
    """Return what RFC 7662 §2.2 tells; of an inactive token nothing at all."""
    if found is None:
        return pb.IntrospectResponse()
    session = found.session
    return pb.IntrospectResponse(
        active=True,
        token_type=found.token_type,
        sub=found.user_id,
        username=session.username if session and caller.may_see_username(session) else "",
        scope=" ".join(found.scopes),
        client_id=found.client_id,
        aud=found.audiences,
        iss=issuer,
        exp=found.expires_at // SECOND,
        iat=found.issued_at // SECOND,
        jti=found.token_id,
        sid=found.session_id,
        cache_until_time=timestamp(found.cache_until_at),
        revision=revision,
    )


def revocation_message(entry: Revocation) -> resources.Revocation:
    """Return the entry."""
    message = resources.Revocation(
        revision=entry.revision,
        issued_before_time=timestamp(entry.issued_before_at),
        expire_time=timestamp(entry.expires_at),
    )
    match entry.subject:
        case Subject.SESSION:
            message.session_id = entry.subject_id
        case Subject.USER:
            message.user_id = entry.subject_id
        case Subject.KEY:
            message.key_id = entry.subject_id
        case Subject.EVERYONE:
            message.everyone = True
    return message


def public_key(key: SigningKey) -> resources.PublicKey:
    """Return the public half."""
    return resources.PublicKey(
        jwk=key.public_jwk,
        key_id=key.id,
        algorithm=key.algorithm,
        state=_STATES[key.state],
        create_time=timestamp(key.created_at),
    )


def public_keys(ring: KeyRing) -> list[resources.PublicKey]:
    """Return every believable key, active first."""
    return [public_key(key) for key in ring.keys]


def user_message(user: User) -> resources.User:
    """Return the user."""
    return resources.User(
        id=user.id,
        username=user.username,
        scopes=user.scopes,
        create_time=timestamp(user.created_at),
        disable_time=timestamp(user.disabled_at),
        password_change_time=timestamp(user.password_changed_at),
    )


def client_message(client: Client) -> resources.Client:
    """Return the client."""
    return resources.Client(
        id=client.id,
        display_name=client.display_name,
        permissions=sorted(_PERMISSIONS[permission] for permission in client.permissions),
        audiences=client.audiences,
        scopes=client.scopes,
        create_time=timestamp(client.created_at),
        revoke_time=timestamp(client.revoked_at),
    )


def batch_response(
    found: Sequence[LiveSession | None], caller: Caller, revision: int
) -> pb.BatchValidateSessionsResponse:
    """Return one result per token, in order."""
    results = [
        pb.BatchValidateSessionsResponse.Result(
            active=True, session=session_message(live.session, caller, live.idle_expires_at)
        )
        if live
        else pb.BatchValidateSessionsResponse.Result()
        for live in found
    ]
    return pb.BatchValidateSessionsResponse(results=results, revision=revision)


def exchange_response(exchanged: Exchanged, caller: Caller, revision: int) -> pb.ExchangeSessionResponse:
    """Return the access token and the session it is for."""
    live, access = exchanged.live, exchanged.access
    return pb.ExchangeSessionResponse(
        access_token=access.text,
        token_type="Bearer",
        access_expire_time=timestamp(access.expires_at),
        session=session_message(live.session, caller, live.idle_expires_at),
        revision=revision,
    )
